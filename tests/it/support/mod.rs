//! What the tests share: a gateway on loopback, a client that sees bytes, a recorder in place of the ERP.

pub(crate) mod certificates;
pub(crate) mod erp;
pub(crate) mod gateway;
pub(crate) mod golden;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod http2_client;
pub(crate) mod prepared;
pub(crate) mod process;
pub(crate) mod recorder;
pub(crate) mod sap;
pub(crate) mod secrets;
pub(crate) mod service_manager;
pub(crate) mod tryton;
pub(crate) mod tunnel;
pub(crate) mod wire;
