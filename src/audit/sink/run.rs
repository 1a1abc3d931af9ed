//! The loop that empties a sink: read a batch, deliver it, move the cursor.

use std::sync::Arc;
use std::time::Duration;

use super::http::Http;
use super::{Batch, Sink, SinkError, syslog};
use crate::audit::auditor::Auditor;
use crate::audit::database::AuditError;
use crate::config::SinkProtocol;
use crate::domain::{Clock, Entropy};

/// Runs a sink until it is dropped.
pub async fn run(auditor: Arc<Auditor>, sink: Arc<Sink>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) {
    sink.state().running = true;
    let settings = &sink.settings;
    let most = usize::try_from(settings.batch).unwrap_or(usize::MAX);
    let mut size = most;
    let mut http = Http::default();
    loop {
        let pause = match ship(&auditor, &sink, &mut http, size).await {
            Ok(Some((through, sent))) => {
                auditor.advance(&sink.settings.name, through);
                sink.delivered(through, sent, clock.now());
                // What was too large at once may have been one long record.
                size = size.saturating_mul(2).min(most);
                Duration::ZERO
            }
            Ok(None) => {
                sink.delivered(sink.cursor(), 0, clock.now());
                settings.poll
            }
            Err(error) => {
                if matches!(error, SinkError::TooLarge) {
                    size = (size / 2).max(1);
                }
                http = Http::default();
                let mut random = [0];
                // Without randomness the pause is a little shorter.
                let _ = entropy.fill(&mut random);
                sink.failed(&error, random[0])
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Sends the next batch; says how far it goes and how many records are in it.
async fn ship(
    auditor: &Arc<Auditor>,
    sink: &Arc<Sink>,
    http: &mut Http,
    size: usize,
) -> Result<Option<(i64, usize)>, SinkError> {
    let (source, reading) = (Arc::clone(auditor), Arc::clone(sink));
    let read = move || -> Result<Option<Batch>, AuditError> {
        let (records, settings) = (source.records_after(reading.cursor(), size)?, &reading.settings);
        let expected = reading.cursor().saturating_add(1);
        if let Some(first) = records.first().filter(|first| first.seq > expected) {
            let (name, to) = (&settings.name, first.seq.saturating_sub(1));
            log::warn!(
                "the sink `{name}` never gets the audit records {expected} to {to}: they are gone from the trail"
            );
        }
        Ok(Batch::of(&records, &settings.protocol))
    };
    let batch = tokio::task::spawn_blocking(read).await.map_err(|error| SinkError::Broken(error.to_string()))??;
    let Some(Batch { through, records, oldest, body }) = batch else { return Ok(None) };
    sink.state().oldest = Some(oldest);
    let settings = &sink.settings;
    let deliver = async {
        match &settings.protocol {
            SinkProtocol::Http { .. } => http.deliver(settings, body).await,
            SinkProtocol::Syslog { .. } => syslog::deliver(settings, &body).await,
        }
    };
    tokio::time::timeout(settings.timeout, deliver).await.map_err(|_| SinkError::TimedOut)??;
    Ok(Some((through, records)))
}
