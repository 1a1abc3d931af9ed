//! The two heads that leave the gateway: the request to the ERP and the answer to the client.

use http::{HeaderValue, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::domain::Entropy;
use crate::gate::{Admission, LimitState};
use crate::relay::{self, Exchange, RATE_LIMIT, RATE_LIMIT_POLICY, REQUEST_ID};

use super::Settings;

const TRACE_PARENT: &str = "traceparent";
const TRACE_STATE: &str = "tracestate";

/// The request as the ERP sees it: built anew, from what may pass and what the admission says.
pub(super) fn request(
    from_client: &RequestHeader,
    by_pingora: &RequestHeader,
    admission: &Admission,
    entropy: &dyn Entropy,
) -> Result<RequestHeader> {
    let upstream = admission.upstream();
    // SECURITY: the target is what was decided on, never what the client sent.
    let mut request = RequestHeader::build(from_client.method.clone(), admission.target().as_bytes(), Some(16))?;
    request.set_version(by_pingora.version);
    request.insert_header(header::HOST, &upstream.host)?;
    // Framing as Pingora rewrote it; the head check has refused what has two readings.
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION, header::EXPECT] {
        if let Some(value) = by_pingora.headers.get(&name) {
            request.insert_header(name, value.clone())?;
        }
    }
    let obligations = admission.obligations();
    // What is looked into must come uncompressed; what is masked, whole too.
    let plain_only = upstream.looks_into_answers();
    let masks = obligations.masks();
    for (name, value) in &from_client.headers {
        if plain_only && *name == header::ACCEPT_ENCODING || masks && relay::yields_to_mask(name, &from_client.method) {
            continue;
        }
        if relay::forwards_request_header(name, &upstream.forward_headers) {
            request.append_header(name.clone(), value.clone())?;
        }
    }
    if masks {
        request.insert_header(header::ACCEPT_ENCODING, "identity")?;
    }
    for (name, value) in obligations.headers() {
        request.insert_header(name.clone(), value.clone())?;
    }
    request.insert_header(REQUEST_ID, text(&admission.id().to_string())?)?;
    let trace = relay::trace_parent(from_client.headers.get(TRACE_PARENT), entropy);
    if !trace.as_ref().is_some_and(|trace| trace.continues) {
        request.remove_header(TRACE_STATE);
    }
    if let Some(trace) = trace {
        request.insert_header(TRACE_PARENT, text(&trace.parent)?)?;
    }
    let mut inserted = Ok(());
    let session = admission.session();
    let injected = session.inject(&from_client.method, admission.account(), |name, value| {
        if inserted.is_ok() {
            inserted = request.insert_header(name.clone(), value);
        }
    });
    injected.map_err(|error| Error::because(ErrorType::InternalError, "injecting the session", error))?;
    inserted?;
    Ok(request)
}

/// Takes out an expectation that the ERP cannot or need not fulfil.
pub(super) async fn settle_expectation(session: &mut Session, request: &mut RequestHeader) -> Result<()> {
    if session.as_mut().is_body_done() {
        // The body is here already; an ERP that is asked to wait for it would wait.
        request.remove_header(&header::EXPECT);
    } else if request.version == Version::HTTP_2 && request.remove_header(&header::EXPECT).is_some() {
        // Pingora passes on no interim answers over HTTP/2, so the client would wait in vain. It is admitted already.
        session.as_downstream_mut().write_continue_response().await?;
    }
    Ok(())
}

/// The answer as the client sees it: nothing about the ERP's session, its software or its inner addresses.
pub(super) fn response(response: &mut ResponseHeader, exchange: &Exchange, settings: &Settings) -> Result<()> {
    let injected = exchange.admission.session().known_secrets();
    let leaving: Vec<_> = response
        .headers
        .iter()
        .filter(|(name, value)| !relay::keeps_response_header(name) || relay::leaks(value, injected))
        .map(|(name, _)| name.clone())
        .collect();
    for name in leaving {
        response.remove_header(&name);
    }
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        if let Some(location) = response.headers.get(&name).cloned() {
            match relay::rewrite_location(&location, exchange.admission.upstream(), settings.public_url.as_ref()) {
                Some(rewritten) => response.insert_header(name, rewritten)?,
                None => drop(response.remove_header(&name)),
            }
        }
    }
    if !response.headers.contains_key(header::CACHE_CONTROL) {
        response.insert_header(header::CACHE_CONTROL, "no-store")?;
    }
    response.insert_header(REQUEST_ID, text(&exchange.admission.id().to_string())?)?;
    // What the ERP says of limits of its own is about our session there, not about the client.
    response.remove_header(&RATE_LIMIT_POLICY);
    response.remove_header(&RATE_LIMIT);
    let limits = exchange.admission.limits();
    if !limits.is_empty() {
        let list = |item: fn(&LimitState) -> String| limits.iter().map(item).collect::<Vec<_>>().join(", ");
        response.insert_header(RATE_LIMIT_POLICY, text(&list(LimitState::policy_item))?)?;
        response.insert_header(RATE_LIMIT, text(&list(LimitState::state_item))?)?;
    }
    Ok(())
}

fn text(value: &str) -> Result<HeaderValue> {
    HeaderValue::try_from(value).map_err(|error| Error::because(ErrorType::InternalError, "building a header", error))
}
