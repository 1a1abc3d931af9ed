//! The admin socket: the operations as JSON over HTTP on a Unix socket, open to its owner and group.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::serve::IncomingStream;
use tokio::net::UnixListener;

use crate::domain::Actor;

use super::{Caller, Command, Control, ControlError, ErrorKind, os_user};

/// The largest command, in bytes: a question about a request comes with its body.
const LARGEST: usize = 256 * 1024;

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
        stopped: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener)?;
        let routes = Router::new()
            .route("/v1/command", post(run))
            .layer(DefaultBodyLimit::max(LARGEST))
            .with_state(control)
            .into_make_service_with_connect_info::<Peer>();
        axum::serve(listener, routes).with_graceful_shutdown(stopped).await
    }
}

/// Who is at the other end, as the kernel says.
#[derive(Debug, Clone)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}

async fn run(
    ConnectInfo(peer): ConnectInfo<Peer>,
    State(control): State<Arc<Control>>,
    Json(command): Json<Command>,
) -> Response {
    let Some(user) = peer.0 else {
        return refused(&ControlError::failed("the kernel does not say who is asking"));
    };
    let actor = Actor::Operator(os_user(user));
    match control.run(Caller::admin(actor), command).await {
        Ok(value) => Json(value).into_response(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &ControlError) -> Response {
    let status = match error.kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::Incomplete => StatusCode::BAD_REQUEST,
        ErrorKind::Forbidden => StatusCode::FORBIDDEN,
        ErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
    };
    (status, Json(error)).into_response()
}
