//! An answer that is held back until its body is whole and masked, so that what cannot be masked never begins to leave.
//!
//! Pingora writes the head of an answer before it has read the body. So the head is taken out of its hands: it gets an
//! interim head instead, which it is told to ignore, and no body. The answer is sent when Pingora is done with the ERP;
//! up to that moment the client can still be told that it is withheld. `docs/adr/0009-obligations-add-up.md` says why.

use bytes::Bytes;
use http::{Method, StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora_core::{Error, ErrorType, Result};
use pingora_proxy::Session;

use crate::domain::Code;
use crate::gate::Admission;
use crate::relay::{Exchange, KeptBody, Withheld, speaks_of_bytes};

use super::failure;

/// Bodies up to this length are masked where they are; longer ones on a thread that nobody else waits for.
const SHORT: usize = 256 * 1024;
/// The answer is sent in pieces of this length, so that an operator's act stops it on its way.
const PIECE: usize = 64 * 1024;

/// The answer.
#[derive(Debug)]
pub(super) struct Held {
    head: ResponseHeader,
    body: KeptBody,
}

impl Held {
    /// Holds the answer back where rules mask something in it, and leaves a head that is not written in its place.
    pub(super) fn of(
        session: &mut Session,
        response: &mut ResponseHeader,
        admission: &Admission,
    ) -> Result<Option<Self>> {
        if !admission.obligations().masks() {
            return Ok(None);
        }
        let method = session.req_header().method.clone();
        let body = KeptBody::of(admission.obligations(), &method, response.status, &response.headers);
        let leaving: Vec<_> = response.headers.keys().filter(|name| speaks_of_bytes(name)).cloned().collect();
        for name in leaving {
            response.remove_header(&name);
        }
        if method == Method::HEAD {
            // The length of what a GET would not send.
            response.remove_header(&header::CONTENT_LENGTH);
        }
        let Some(body) = body else { return Ok(None) };
        session.as_downstream_mut().set_ignore_info_resp(true);
        let head = std::mem::replace(response, ResponseHeader::build(StatusCode::PROCESSING, Some(0))?);
        Ok(Some(Self { head, body }))
    }

    /// Keeps the next piece of the body.
    pub(super) fn push(&mut self, piece: &[u8], exchange: &mut Exchange) -> Result<()> {
        exchange.answer_arrives(piece);
        self.body.push(piece).map_err(|why| withheld(exchange, why))
    }

    /// Masks the body, which is whole, and sends the answer. `goes_on` is asked before each piece.
    pub(super) async fn send(
        self,
        session: &mut Session,
        exchange: &mut Exchange,
        goes_on: impl Fn(&mut Exchange) -> Result<()>,
    ) -> Result<()> {
        let Self { mut head, body } = self;
        let masked = mask(body, exchange).await?;
        goes_on(exchange)?;
        head.set_version(Version::HTTP_11);
        head.remove_header(&header::TRANSFER_ENCODING);
        head.insert_header(header::CONTENT_LENGTH, masked.len())?;
        session.write_response_header(Box::new(head), masked.is_empty()).await.map_err(Error::into_down)?;
        let mut rest = masked;
        while !rest.is_empty() {
            goes_on(exchange)?;
            let piece = rest.split_to(rest.len().min(PIECE));
            exchange.answer_leaves(&piece);
            let written = session.write_response_body(Some(piece), rest.is_empty()).await;
            written.map_err(Error::into_down)?;
        }
        Ok(())
    }
}

async fn mask(body: KeptBody, exchange: &mut Exchange) -> Result<Bytes> {
    let obligations = exchange.admission.obligations().clone();
    let masked = if body.length() <= SHORT {
        body.finish(&obligations)
    } else {
        let masking = tokio::task::spawn_blocking(move || body.finish(&obligations));
        masking.await.map_err(|error| Error::because(ErrorType::InternalError, "masking the answer", error))?
    };
    masked.map(Bytes::from).map_err(|why| withheld(exchange, why))
}

#[expect(clippy::unnecessary_box_returns, reason = "Pingora's filters return boxed errors")]
fn withheld(exchange: &mut Exchange, why: Withheld) -> Box<Error> {
    let rules = exchange.admission.obligations().rules_that_mask();
    let detail = format!("the answer is withheld: values in it are masked by {rules}, and that cannot be done: {why}");
    failure::noted(exchange, Code::ResponseWithheld, detail)
}
