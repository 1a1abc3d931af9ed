//! ERP Access: a gateway that a company puts in front of its ERP.
//!
//! # The map of a request
//!
//! The modules stand in the order in which a request meets what they hold; a module uses only modules that
//! stand before it (`tests/architecture.rs` says no otherwise).

pub mod domain;
pub mod config;
pub mod secrets;
pub mod kill_switch;
pub mod schedule;
pub mod store;
pub mod audit;
pub mod directory;
pub mod policy;
pub mod upstream;
pub mod gate;
pub mod relay;
pub mod token;
pub mod service_manager;
pub mod tls;
pub mod proxy;
pub mod control;
pub mod portal;
pub mod telemetry;
pub mod app;
pub mod demo;
pub mod cli;
