//! The admin socket: the operations as JSON over HTTP on a Unix socket, open to its owner and group.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

use super::Control;
use super::api::{SocketRoles, over_socket};

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on the admin socket `{path}`: {source}")]
pub struct SocketError {
    path: PathBuf,
    source: io::Error,
}

/// A bound admin socket.
#[derive(Debug)]
pub struct AdminSocket {
    listener: std::os::unix::net::UnixListener,
}

impl AdminSocket {
    /// Binds the socket with mode 0660. A file left by a process that is gone is replaced.
    ///
    /// # Errors
    /// When the folder cannot be written or a live process listens there.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let failed = |source| SocketError { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o750).create(folder).map_err(failed)?;
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(failed(io::Error::other("another process listens there")));
        }
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let listener = std::os::unix::net::UnixListener::bind(path).map_err(failed)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self { listener })
    }

    /// Serves until `stopped` is done.
    ///
    /// # Errors
    /// When the socket breaks.
    pub async fn serve(
        self,
        control: Arc<Control>,
        roles: SocketRoles,
        stopped: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener)?;
        let routes = over_socket(control, roles).into_make_service_with_connect_info::<Peer>();
        axum::serve(listener, routes).with_graceful_shutdown(stopped).await
    }
}

/// Who is at the other end, as the kernel says.
#[derive(Debug, Clone)]
pub(super) struct Peer(Option<u32>);

impl Peer {
    /// The user.
    pub(super) fn user(&self) -> Option<u32> {
        self.0
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}
