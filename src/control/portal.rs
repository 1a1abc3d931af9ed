//! The portal's listener: pages for people, and the admin API for holders of operator keys.

use std::io;
use std::net::SocketAddr;

use super::listener::{Bound, ListenError};
use crate::service_manager::Inherited;

/// A bound listener.
#[derive(Debug)]
pub struct PortalListener(Bound);

impl PortalListener {
    /// Binds the address. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr, inherited: &mut Inherited) -> Result<Self, ListenError> {
        Bound::bind(address, "portal.listen", inherited).map(Self)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// The listener, to be served on.
    ///
    /// # Errors
    /// When the system does not hand it over.
    pub fn into_tokio(self) -> io::Result<tokio::net::TcpListener> {
        self.0.into_tokio()
    }
}
