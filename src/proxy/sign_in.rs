//! Signs in to an ERP over the same connections and TLS settings as relays.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::http::RequestHeader;
use pingora_core::connectors::ConnectorOptions;
use pingora_core::connectors::http::Connector;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType};

use crate::config::Upstream;
use crate::domain::UpstreamName;
use crate::upstream::{MAX_ANSWER, SignInAnswer, SignInRequest, SignInTransport, TransportError};

use super::peer::{Chosen, Peers};
use super::server::{self, ServerError};

/// Sends sign-in requests with Pingora's connector.
pub struct PingoraTransport {
    connector: Connector,
    peers: Arc<HashMap<UpstreamName, Peers>>,
}

impl PingoraTransport {
    /// A transport over these peers, with the same certificate authorities and own addresses as relays.
    ///
    /// # Errors
    /// When Pingora does not take the `server` section.
    pub fn new(
        peers: Arc<HashMap<UpstreamName, Peers>>,
        server_section: &serde_yaml::Value,
    ) -> Result<Self, ServerError> {
        let options = ConnectorOptions::from_server_conf(&server::configuration(server_section)?);
        Ok(Self { connector: Connector::new(Some(options)), peers })
    }

    async fn exchange(
        &self,
        peer: &HttpPeer,
        peers: &Peers,
        upstream: &Upstream,
        request: &SignInRequest,
    ) -> Result<SignInAnswer, TransportError> {
        let connected = self.connector.get_http_session(peer).await;
        let (session, _reused) =
            connected.map_err(|error| TransportError::Connect(error.etype().as_str().to_owned()))?;
        let (session, answer) = converse(session, upstream, request).await.map_err(|error| broken(&error))?;
        let answer = answer.ok_or(TransportError::TooLarge)?;
        if peers.shares_connections() {
            self.connector.release_http_session(session, peer, Some(upstream.timeouts.idle)).await;
        }
        Ok(answer)
    }
}

type Conversation = (HttpSession, Option<SignInAnswer>);

async fn converse(
    mut session: HttpSession,
    upstream: &Upstream,
    request: &SignInRequest,
) -> pingora_core::Result<Conversation> {
    session.set_read_timeout(Some(upstream.timeouts.read));
    session.set_write_timeout(Some(upstream.timeouts.write));
    session.write_request_header(Box::new(head(upstream, request)?)).await?;
    if let Some(body) = &request.body {
        session.write_request_body(Bytes::copy_from_slice(body), true).await?;
    }
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let answer = read_answer(&mut session).await?;
    Ok((session, answer))
}

/// Pingora's texts may quote what was read, so only the kind of the error is kept.
#[expect(clippy::wildcard_enum_match_arm, reason = "Pingora's kinds of errors are many, and it adds to them")]
fn broken(error: &Error) -> TransportError {
    match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => TransportError::TimedOut,
        other => TransportError::Protocol(other.as_str().to_owned()),
    }
}

impl std::fmt::Debug for PingoraTransport {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("PingoraTransport")
    }
}

fn head(upstream: &Upstream, request: &SignInRequest) -> pingora_core::Result<RequestHeader> {
    let mut head = RequestHeader::build(request.method.clone(), request.path.as_bytes(), Some(8))?;
    head.insert_header(header::HOST, &upstream.host)?;
    head.insert_header(header::ACCEPT, "application/json")?;
    for (name, value) in &request.headers {
        head.insert_header(name.clone(), value.clone())?;
    }
    if let Some(content_type) = &request.content_type {
        head.insert_header(header::CONTENT_TYPE, content_type.clone())?;
    }
    head.insert_header(header::CONTENT_LENGTH, request.body.as_ref().map_or(0, |body| body.len()))?;
    Ok(head)
}

/// The whole answer; `None` where its body is too large.
async fn read_answer(session: &mut HttpSession) -> pingora_core::Result<Option<SignInAnswer>> {
    let (status, headers) =
        session.response_header().map_or_else(Default::default, |head| (head.status, head.headers.clone()));
    let mut body = Vec::new();
    while let Some(chunk) = session.read_response_body().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_ANSWER {
            return Ok(None);
        }
    }
    Ok(Some(SignInAnswer { status, headers, body: Bytes::from(body) }))
}

#[async_trait]
impl SignInTransport for PingoraTransport {
    async fn send(&self, upstream: &Upstream, request: SignInRequest) -> Result<SignInAnswer, TransportError> {
        let peers = self.peers.get(&upstream.name).ok_or_else(|| TransportError::Connect("no such upstream".into()))?;
        let mut last = TransportError::Connect("no peer is configured".into());
        let mut tried = Vec::new();
        while let Some(Chosen { peer, lease, .. }) = peers.choose(&tried) {
            match self.exchange(&peer, peers, upstream, &request).await {
                // Only a peer that took no connection is passed over: another answer would count as a second sign-in.
                Err(error @ TransportError::Connect(_)) => {
                    peers.failed(&lease);
                    tried.push(lease.index());
                    last = error;
                }
                Ok(answer) => {
                    lease.succeeded();
                    return Ok(answer);
                }
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }
}
