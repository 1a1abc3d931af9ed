//! Sends answers of our own.

use http::HeaderValue;
use pingora::http::ResponseHeader;
use pingora_core::Result;
use pingora_proxy::Session;

use crate::relay::Answer;

/// Sends the answer. The connection stays usable where the request's body has been read.
pub(super) async fn send(session: &mut Session, answer: Answer, hsts: Option<HeaderValue>) -> Result<()> {
    let without_body = session.req_header().method == http::Method::HEAD;
    let mut head = ResponseHeader::build(answer.status, Some(answer.headers.len() + 5))?;
    for (name, value) in answer.headers {
        head.insert_header(name, value)?;
    }
    if let Some(hsts) = hsts {
        head.insert_header(http::header::STRICT_TRANSPORT_SECURITY, hsts)?;
    }
    head.insert_header(http::header::CONTENT_LENGTH, answer.body.len())?;
    if answer.body.is_empty() || without_body {
        return session.write_response_header(Box::new(head), true).await;
    }
    session.write_response_header(Box::new(head), false).await?;
    session.write_response_body(Some(answer.body), true).await
}
