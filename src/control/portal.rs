//! The portal's listener: the admin API for holders of operator keys.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Control;
use super::api::over_http;
use super::listener::{Bound, ListenError};

/// A bound listener.
#[derive(Debug)]
pub struct PortalListener(Bound);

impl PortalListener {
    /// Binds the address. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        Bound::bind(address, "portal.listen").map(Self)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Serves until dropped.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn serve(self, control: Arc<Control>) -> io::Result<()> {
        let routes = over_http(&control).into_make_service_with_connect_info::<SocketAddr>();
        axum::serve(self.0.into_tokio()?, routes).await
    }
}
