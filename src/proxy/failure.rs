//! What goes wrong after admission: which code it is, and what the client is told.

use http::StatusCode;
use pingora_core::{Error, ErrorSource, ErrorType};
use pingora_proxy::Session;

use crate::audit::Step;
use crate::domain::Code;
use crate::gate::Denial;
use crate::relay::{Answer, Exchange};

use super::Gateway;
use super::peer::NoAttempt;
use super::service::Context;

/// The ERP said that the session is gone.
pub(super) const SESSION_LOST: ErrorType = ErrorType::Custom("erp_session_lost");
/// An operator's act stopped the relay.
pub(super) const CUT: ErrorType = ErrorType::Custom("cut_by_operator");
/// The failure is noted in the exchange already.
const NOTED: ErrorType = ErrorType::Custom("noted");

/// Notes why the relay fails and makes the error that ends it.
#[expect(clippy::unnecessary_box_returns, reason = "Pingora's filters return boxed errors")]
pub(super) fn noted(exchange: &mut Exchange, code: Code, detail: String) -> Box<Error> {
    exchange.failure = Some((code, detail));
    Error::new(NOTED)
}

/// There is nobody to send the request to, or no time.
#[expect(clippy::unnecessary_box_returns, reason = "Pingora's filters return boxed errors")]
pub(super) fn no_attempt(exchange: &mut Exchange, none: NoAttempt) -> Box<Error> {
    match none {
        NoAttempt::NoPeer => noted(exchange, Code::UpstreamUnreachable, "no peer is left to try".into()),
        NoAttempt::TimeIsUp => {
            noted(exchange, Code::UpstreamTimeout, "the whole exchange took longer than `timeouts.total`".into())
        }
    }
}

/// The ERP no longer knows our session: once, and with a whole body, the request is sent again.
#[expect(clippy::unnecessary_box_returns, reason = "Pingora's filters return boxed errors")]
pub(super) fn session_lost(session: &Session, exchange: &mut Exchange, status: StatusCode) -> Box<Error> {
    exchange.upstream_status = Some(status.as_u16());
    let detail = if exchange.renewed {
        format!("the ERP refuses the new session too ({status})")
    } else if session.as_ref().retry_buffer_truncated() {
        format!("the ERP lost the session ({status}) and the body is too long to be sent again")
    } else {
        format!("the ERP lost the session ({status})")
    };
    exchange.failure = Some((Code::UpstreamSessionFailed, detail));
    let mut error = Error::new_up(SESSION_LOST);
    error.as_up();
    error
}

/// Answers the client, where it has no answer yet, and returns the status for Pingora's log.
pub(super) async fn answer(gateway: &Gateway, session: &mut Session, error: &Error, context: &mut Context) -> u16 {
    let Some(exchange) = &mut context.exchange else {
        return 0;
    };
    if exchange.failure.is_none() {
        match code_of(error) {
            Some(code) => exchange.failure = Some((code, describe(error))),
            None => return 0, // the client went away
        }
    }
    let Some((code, detail)) = &exchange.failure else { return 0 };
    if session.response_written().is_some_and(|head| !head.status.is_informational()) {
        return 0; // too late for words: closing the connection tells the client that the answer is not whole
    }
    let mut denial = Denial::new(Step::UpstreamSession, *code, detail.clone());
    if *code == Code::KillSwitchEngaged
        && let Some(engaged) = gateway.gate.directory.snapshot().kill_switches().global(gateway.gate.clock.now())
    {
        denial = Denial::stopped(Step::KillSwitch, engaged, gateway.gate.clock.now());
    }
    let answer = Answer::problem(exchange.admission.id(), &denial);
    let status = answer.status.as_u16();
    session.set_keepalive(None);
    if let Err(error) = gateway.send(session, answer).await {
        log::debug!("the client could not be told: {}", error.etype().as_str());
    }
    status
}

/// The code for an error of Pingora's; `None` when the client itself went away.
#[expect(clippy::wildcard_enum_match_arm, reason = "Pingora's kinds of errors are many, and it adds to them")]
fn code_of(error: &Error) -> Option<Code> {
    let by_client = matches!(error.esource(), ErrorSource::Downstream);
    match error.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout if by_client => Some(Code::RequestTimeout),
        ErrorType::ConnectionClosed | ErrorType::ReadError | ErrorType::WriteError if by_client => None,
        _ if by_client => Some(Code::BadRequest),
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Some(Code::UpstreamTimeout),
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::BindError
        | ErrorType::SocketError
        | ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::TLSWantX509Lookup
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError
        | ErrorType::ConnectProxyFailure => Some(Code::UpstreamUnreachable),
        ErrorType::InternalError => Some(Code::InternalError),
        _ => Some(Code::UpstreamProtocolError),
    }
}

/// Pingora's texts may quote what was read, so only the kind of the error is kept.
fn describe(error: &Error) -> String {
    format!("{} ({})", error.etype().as_str(), error.esource().as_str())
}
