//! A proposed folder of policies beside what is in force: what would change, for whom, and for which requests.
//!
//! The folder belongs to the operator and may be unreadable for the gateway, so the gateway tells what is in force and
//! what was recorded, and the comparison is made where the folder is.

mod difference;
mod in_force;

pub use difference::Difference;
pub use in_force::{Holder, InForce};
