//! Pingora's phases, one short method each. No decision is made here: the gate admits, the relay carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::{FailToProxy, ProxyHttp, Session};

use crate::domain::Code;
use crate::relay::{Answer, Exchange};
use crate::upstream::{Loss, loss};

use super::failure::{self, CUT, SESSION_LOST};
use super::held::Held;
use super::peer::{Attempts, Broken, NoAttempt};
use super::slow_body::{Pace, Stall};
use super::{Gateway, connection, local, outgoing};

/// The state of one exchange between Pingora's phases.
#[derive(Debug)]
pub struct Context {
    /// The relay, once the request is admitted.
    pub(super) exchange: Option<Exchange>,
    /// The answer, where it is held back until it is masked.
    held: Option<Held>,
    /// Which peers it was sent to.
    attempts: Attempts,
    /// The body, over HTTP/2.
    stall: Option<Arc<Stall>>,
    _in_flight: InFlight,
}

/// Counts the exchanges in progress, so that a stop can wait for them.
#[derive(Debug)]
struct InFlight(Arc<AtomicUsize>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Context {
    /// A body that stands still ends the exchange where it is.
    fn drop(&mut self) {
        if let (Some(mut exchange), Some(stall)) = (self.exchange.take(), &self.stall)
            && stall.has_ended_it()
        {
            exchange.failure = Some((Code::RequestTimeout, "the body stood still; the stream was reset".to_owned()));
            exchange.close(None, true, &stall.rows.redactor, &stall.rows.clock);
        }
    }
}

/// Gives the exchange, or fails the request: without an admission nothing may pass.
fn admitted(exchange: &mut Option<Exchange>) -> Result<&mut Exchange> {
    exchange.as_mut().ok_or_else(|| Error::explain(ErrorType::InternalError, "no admission"))
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let in_flight = InFlight(Arc::clone(&self.in_flight));
        let (stall, attempts) = (Stall::at_hand(), Attempts::default());
        Context { exchange: None, held: None, attempts, stall, _in_flight: in_flight }
    }

    /// No compression and no other module: what the ERP sends is what the client gets.
    fn init_downstream_modules(&self, _: &mut pingora_core::modules::http::HttpModules) {}

    async fn early_request_filter(&self, session: &mut Session, _: &mut Context) -> Result<()> {
        connection::head_arrived();
        let limits = &self.settings.downstream;
        let last = self.is_stopping() || connection::has_had_its_time();
        let keep_alive = if last { None } else { Some(limits.keep_alive.as_secs().max(1)) };
        // Pingora keeps a connection for ever unless each request says otherwise; a client's `close` stays.
        if session.get_keepalive().is_some() {
            session.set_keepalive(keep_alive);
        }
        // Each pipelined request is decided by itself, in order; without this the second one would be dropped.
        session.as_downstream_mut().set_pipelining_enabled(!last);
        session.set_read_timeout(Some(limits.body_read));
        session.set_write_timeout(Some(limits.write));
        session.set_min_send_rate(limits.minimum_send_rate);
        session.set_total_drain_timeout(Some(Duration::from_secs(2)));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> Result<bool> {
        let began_at = self.gate.clock.monotonic();
        let Some(id) = self.new_id() else {
            return session.respond_error(500).await.map(|()| true);
        };
        if let Some(answer) = local::answer(self, session, id).await {
            self.send(session, answer).await?;
            return Ok(true);
        }
        match self.admit(session, id).await {
            Ok(admission) => {
                context.exchange = Some(Exchange::begin(admission, began_at, self.settings.preview_bytes));
                Ok(false)
            }
            Err(denial) => {
                self.send(session, Answer::problem(id, &denial)).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Context) -> Result<Box<HttpPeer>> {
        context.held = None;
        let exchange = admitted(&mut context.exchange)?;
        // The request may have waited for a session: does the right to relay still hold?
        self.may_go_on(exchange, &context.attempts)?;
        if exchange.failure.take_if(|(code, _)| *code == Code::UpstreamSessionFailed).is_some() {
            let renewed = exchange.admission.renew_session(&self.gate).await;
            renewed.map_err(|error| failure::noted(exchange, Code::UpstreamSessionFailed, error.to_string()))?;
            exchange.renewed = true;
        }
        let peers = self.peers.get(&exchange.admission.upstream().name).ok_or(NoAttempt::NoPeer);
        let attempts = &mut context.attempts;
        let chosen = peers.and_then(|peers| attempts.next(peers, peers.mark(exchange.admission.session())));
        let (address, peer) = chosen.map_err(|none| failure::no_attempt(exchange, none))?;
        exchange.attempt(address, &session.req_header().headers, self.gate.clock.monotonic());
        Ok(peer)
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        context: &mut Context,
    ) -> Result<()> {
        let exchange = admitted(&mut context.exchange)?;
        *request = outgoing::request(session.req_header(), request, &exchange.admission, &*self.entropy)?;
        outgoing::settle_expectation(session, request).await?;
        if let Some(stall) = &context.stall
            && !session.as_mut().is_body_done()
        {
            stall.await_piece(self.time_of_piece());
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        chunk: &mut Option<Bytes>,
        end: bool,
        context: &mut Context,
    ) -> Result<()> {
        let exchange = admitted(&mut context.exchange)?;
        self.may_go_on(exchange, &context.attempts)?;
        let passed = exchange.request_chunk(chunk.as_deref().unwrap_or_default());
        if let Some(limit) = self.gate.rules.body.filter(|limit| passed > *limit) {
            return Err(failure::noted(exchange, Code::TooLarge, format!("more than {limit} bytes")));
        }
        match &context.stall {
            Some(stall) if end => stall.done(),
            Some(stall) => stall.await_piece(self.time_of_piece()),
            None => {}
        }
        let limits = &self.settings.downstream;
        let pace = Pace { least: limits.minimum_receive_rate, grace: limits.body_read };
        if !end && pace.is_too_slow(passed, exchange.sending_for(self.gate.clock.monotonic())) {
            let detail = format!("the body came slower than {} bytes per second", pace.least.unwrap_or(0));
            return Err(failure::noted(exchange, Code::RequestTimeout, detail));
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let exchange = admitted(&mut context.exchange)?;
        self.may_go_on(exchange, &context.attempts)?;
        if response.status.is_informational() {
            return Ok(());
        }
        context.attempts.answered(response.status, self.gate.clock.monotonic());
        if loss(exchange.admission.upstream(), response.status, &response.headers) == Loss::Lost {
            return Err(failure::session_lost(session, exchange, response.status));
        }
        exchange.answered(response.status, &response.headers, self.gate.clock.monotonic());
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> Result<()> {
        let exchange = admitted(&mut context.exchange)?;
        outgoing::response(response, exchange, &self.settings)?;
        if let Some(hsts) = self.hsts(session) {
            response.insert_header(http::header::STRICT_TRANSPORT_SECURITY, hsts)?;
        }
        context.held = Held::of(session, response, &exchange.admission)?;
        Ok(())
    }

    fn response_body_filter(
        &self,
        _: &mut Session,
        chunk: &mut Option<Bytes>,
        _end: bool,
        context: &mut Context,
    ) -> Result<Option<Duration>> {
        let exchange = admitted(&mut context.exchange)?;
        self.may_go_on(exchange, &context.attempts)?;
        match &mut context.held {
            Some(held) => held.push(&chunk.take().unwrap_or_default(), exchange)?,
            None => exchange.response_chunk(chunk.as_deref().unwrap_or_default()),
        }
        Ok(None)
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        context: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing was sent yet, so the next peer may be tried whatever the method is.
        error.set_retry(context.attempts.not_connected(self.gate.clock.monotonic()));
        error
    }

    fn error_while_proxy(
        &self,
        _: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        context: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        let renewed = context.exchange.as_ref().is_none_or(|exchange| exchange.renewed);
        let whole = !session.as_ref().retry_buffer_truncated();
        if error.etype() == &SESSION_LOST {
            error.set_retry(whole && !renewed);
        } else if error.etype() == &CUT {
            error.set_retry(false);
        } else {
            let broken = Broken { method: &session.req_header().method, whole, pooled: client_reused };
            error.set_retry(context.attempts.broke(broken, &error, self.gate.clock.monotonic()));
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, context: &mut Context) -> FailToProxy {
        let status = failure::answer(self, session, error, context).await;
        FailToProxy { error_code: status, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        let broken = error.is_some() || self.send_held(session, context).await.is_err();
        connection::waiting_for_next_head();
        if let Some(exchange) = context.exchange.take() {
            let status = session.response_written().map(|head| head.status.as_u16());
            if exchange.says_session_is_lost() {
                exchange.admission.forget_session(&self.gate);
            }
            exchange.close(status, broken, &self.gate.redactor, &self.gate.clock);
        }
    }

    /// Pingora's own summary holds the query, which may hold a secret.
    fn request_summary(&self, session: &Session, _: &Context) -> String {
        let head = session.req_header();
        format!("{} {}", head.method, head.uri.path())
    }
}

impl Gateway {
    /// How long a piece of a body may be awaited: the client has its time, and the ERP its own to take the one before.
    fn time_of_piece(&self) -> Duration {
        self.settings.downstream.body_read + self.settings.downstream.write
    }

    /// Sends the answer that is held back, or says why not. Nothing else of it has left yet.
    async fn send_held(&self, session: &mut Session, context: &mut Context) -> Result<()> {
        let Some(held) = context.held.take() else { return Ok(()) };
        let attempts = &context.attempts;
        let exchange = admitted(&mut context.exchange)?;
        let sent = held.send(session, exchange, |exchange| self.may_go_on(exchange, attempts)).await;
        if let Err(error) = &sent {
            failure::answer(self, session, error, context).await;
        }
        sent
    }

    /// Stops a relay whose right to go on has ended, or whose time is up.
    fn may_go_on(&self, exchange: &mut Exchange, attempts: &Attempts) -> Result<()> {
        exchange.admission.still_holds(&self.gate).map_err(|cut| {
            exchange.cut = true;
            exchange.failure = Some((cut.code, cut.reason));
            Error::new(CUT)
        })?;
        if attempts.is_late(self.gate.clock.monotonic()) {
            return Err(failure::no_attempt(exchange, NoAttempt::TimeIsUp));
        }
        Ok(())
    }
}
