//! The client's body, where the gate has to look into it.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header;
use pingora_core::ErrorType;
use pingora_proxy::Session;

use crate::gate::{BodyProblem, RequestBody};

/// The body of the request at hand. What is read stays in Pingora's retry buffer and is relayed from there.
pub(super) struct SessionBody<'a> {
    pub(super) session: &'a mut Session,
    /// How long the whole body may take.
    pub(super) time_limit: Duration,
}

#[async_trait]
impl RequestBody for SessionBody<'_> {
    async fn read_whole(&mut self, limit: usize) -> Result<Bytes, BodyProblem> {
        self.session.as_mut().enable_retry_buffering();
        tokio::time::timeout(self.time_limit, read(self.session, limit)).await.map_err(|_| BodyProblem::Late)?
    }
}

/// Reads a whole body of at most `limit` bytes.
pub(super) async fn read(session: &mut Session, limit: usize) -> Result<Bytes, BodyProblem> {
    let downstream = session.as_downstream_mut();
    if downstream.req_header().headers.contains_key(header::EXPECT) {
        downstream.write_continue_response().await.map_err(|_| BodyProblem::Broken)?;
    }
    let mut body = BytesMut::new();
    loop {
        match downstream.read_request_body().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > limit => return Err(BodyProblem::TooLarge),
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body.freeze()),
            Err(error) if error.etype() == &ErrorType::ReadTimedout => return Err(BodyProblem::Late),
            Err(_) => return Err(BodyProblem::Broken),
        }
    }
}
