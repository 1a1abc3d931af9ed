//! Plain TCP listeners that are bound before anything is served on them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use crate::service_manager::Inherited;

/// A listener cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}` (`{setting}`): {source}; is another process using it?")]
pub struct ListenError {
    address: SocketAddr,
    setting: &'static str,
    source: io::Error,
}

/// A bound listener.
#[derive(Debug)]
pub(super) struct Bound {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Bound {
    /// Binds the address, which this setting named, or takes the socket that was handed over. Port 0 lets the system choose.
    pub(super) fn bind(
        address: SocketAddr,
        setting: &'static str,
        inherited: &mut Inherited,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, setting, source };
        let listener = inherited.listen(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    pub(super) fn into_tokio(self) -> io::Result<tokio::net::TcpListener> {
        tokio::net::TcpListener::from_std(self.listener)
    }
}
