//! The portal's listener: pages for people, and the admin API for holders of operator keys.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::listener::{Bound, ListenError};
use crate::service_manager::Inherited;
use crate::tls::Certificates;

/// A bound listener.
#[derive(Debug)]
pub struct PortalListener {
    bound: Bound,
    tls: Option<Arc<Certificates>>,
}

impl PortalListener {
    /// Binds the address. Port 0 lets the system choose.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn bind(address: SocketAddr, inherited: &mut Inherited) -> Result<Self, ListenError> {
        let bound = Bound::bind(address, "portal.listen", inherited)?;
        Ok(Self { bound, tls: None })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.bound.address
    }

    /// Shows these certificates; without, it is plain.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Certificates>>) -> Self {
        Self { tls, ..self }
    }

    /// The certificates that it shows.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<Certificates>> {
        self.tls.clone()
    }

    /// The listener, to be served on.
    ///
    /// # Errors
    /// When the system does not hand it over.
    pub fn into_tokio(self) -> io::Result<tokio::net::TcpListener> {
        self.bound.into_tokio()
    }
}
