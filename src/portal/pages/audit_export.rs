//! The rows of a filter as a file.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use strum::VariantNames as _;
use tokio::sync::OwnedSemaphorePermit;

use super::audit::{FILTER, query};
use super::ui::{Field, Form};
use super::{Asked, Shared, form_of, parsed, refusal, status_of};
use crate::audit::Passed;
use crate::audit::export::{Format, write_header, write_row};
use crate::control::{AuditQuery, Command, ControlError};
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// The form that takes the rows of this filter away.
pub(super) fn form(asked: &Asked) -> Form {
    let formats = Format::VARIANTS.iter().map(|name| ((*name).to_owned(), (*name).to_owned()));
    let kept = FILTER.into_iter().filter(|(name, _)| asked.maybe(name).is_some());
    Form::post("Export", "/audit/export", "Export these rows")
        .about("All rows of this filter, as a file. Who took which rows goes to the audit trail.")
        .field(Field::choice("format", "Format", formats))
        .fields(kept.map(|(name, _)| Field::of("hidden", name, "").value(asked.text(name))))
}

/// An export on its way.
struct Export {
    portal: Arc<Portal>,
    session: Session,
    headers: HeaderMap,
    query: AuditQuery,
    format: Format,
    after: Option<i64>,
    through: Option<i64>,
    done: bool,
    _turn: OwnedSemaphorePermit,
}

impl Export {
    /// The next part, as text.
    async fn part(&mut self) -> Result<Vec<u8>, ControlError> {
        let (query, format) = (Box::new(self.query.clone()), self.format.name().to_owned());
        let command = Command::AuditExport { query, format, after: self.after, through: self.through };
        let passed = self.portal.run(&self.session, command).await?;
        let passed: Passed = serde_json::from_value(passed).map_err(ControlError::failed)?;
        let mut text = Vec::new();
        if self.after.is_none() {
            write_header(self.format, &mut text).map_err(ControlError::failed)?;
        }
        for row in &passed.rows {
            write_row(self.format, row, &mut text).map_err(ControlError::failed)?;
        }
        (self.after, self.through) = (Some(passed.checked_to), Some(passed.end));
        self.done = passed.checked_to >= passed.end;
        Ok(text)
    }

    /// The part after the first. Whoever is no longer signed in gets no more: the file ends with an error.
    async fn next(mut self) -> Option<(io::Result<Vec<u8>>, Option<Self>)> {
        if self.done {
            return None;
        }
        if self.portal.enter(&self.headers).await.is_err() {
            return Some((Err(io::Error::other("the session has ended")), None));
        }
        match self.part().await {
            Ok(text) => Some((Ok(text), Some(self))),
            Err(error) => Some((Err(io::Error::other(error.message)), None)),
        }
    }
}

pub(super) async fn export(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match begin(&portal, &session, asked).await {
        Ok(response) => response,
        Err(error) => portal.page(&session, "Export", "/audit", vec![refusal(&error)]).answer(status_of(&error)),
    }
}

async fn begin(portal: &Arc<Portal>, session: &Session, asked: Asked) -> Result<Response, ControlError> {
    let turn = Arc::clone(&portal.exports).try_acquire_owned();
    let turn = turn.map_err(|_| ControlError::invalid("other exports are under way; try again when they are done"))?;
    let query = AuditQuery { last: 0, before: None, ..query(&asked)? };
    let format: Format = parsed(asked.text("format"))?;
    let mut export = Export {
        portal: Arc::clone(portal),
        session: session.clone(),
        headers: asked.headers,
        query,
        format,
        after: None,
        through: None,
        done: false,
        _turn: turn,
    };
    // What goes wrong at the beginning is told on a page.
    let first = export.part().await?;
    let rest = stream::unfold(Some(export), |export| async { export?.next().await });
    let all = futures_util::StreamExt::chain(stream::iter([Ok(first)]), rest);
    let at = portal.control.clock.now().strftime("%Y%m%dT%H%M%SZ");
    let name = format!("attachment; filename=\"erp-access-audit-{at}.{}\"", extension(format));
    let kind = HeaderValue::from_static(match format {
        Format::Csv => "text/csv; charset=utf-8",
        Format::Ndjson | Format::Ocsf => "application/x-ndjson",
    });
    let name = HeaderValue::from_str(&name).map_err(ControlError::failed)?;
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
    Ok((StatusCode::OK, headers, Body::from_stream(all)).into_response())
}

fn extension(format: Format) -> &'static str {
    match format {
        Format::Csv => "csv",
        Format::Ndjson => "ndjson",
        Format::Ocsf => "ocsf.ndjson",
    }
}
