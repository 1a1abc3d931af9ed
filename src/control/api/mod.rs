//! The operations over HTTP: each has its route, and one document describes them all.

mod answers;
mod door;
mod kinds;
mod members;
mod openapi;
mod pages;
mod policy_shapes;
mod problem;
mod request;
mod routes;
mod schemas;
mod shapes;

pub use door::SocketRoles;
pub use openapi::description;
pub use problem::read_problem;
pub use request::{Listing, Wire};

pub use routes::api_over_http;

pub(super) use routes::over_socket;
