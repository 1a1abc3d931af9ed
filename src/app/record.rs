//! Rows of what the running gateway does by itself: it starts and stops, signs in, leaves an ERP alone.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::json;
use sha2::Digest as _;

use crate::audit::{Decision, Entry, Step, Verdict};
use crate::config::Config;
use crate::control::Control;
use crate::domain::Code;
use crate::upstream::{Circuit, Guarded, SessionError, SessionEvents, SessionKey};

/// Leaves an audit row of each sign-in at an ERP, and of each circuit that opens or closes.
#[derive(Debug)]
pub(super) struct Recorder(pub(super) Arc<Control>);

impl Recorder {
    /// Leaves the row when there is room for it. Whoever tells of an event does not wait.
    fn leave(&self, entry: Entry) {
        let control = Arc::clone(&self.0);
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return control.leave(Some(entry)) };
        runtime.spawn(async move { control.auditor.leave_in_time(entry).await });
    }
}

impl SessionEvents for Recorder {
    fn signed_in(&self, key: &SessionKey, result: Result<(), &SessionError>) {
        let (now, subject) = (self.0.clock.now(), key.upstream.to_string());
        let Some(mut entry) = Entry::system(now, &*self.0.entropy, "upstream.login", subject) else { return };
        entry.account = key.account;
        if let Err(error) = result {
            entry.decision = Decision::Denied;
            entry.code = Some(Code::UpstreamSessionFailed);
            entry.verdicts.push(Verdict::denied(Step::UpstreamSession, error.to_string()));
        }
        self.leave(entry);
    }

    fn circuit(&self, guarded: Guarded<'_>, circuit: Circuit, note: String) {
        let (subject, what, account) = match guarded {
            Guarded::SignIn(key) => (key.upstream.to_string(), "sign_in", key.account),
            Guarded::Peer(upstream, address) => (format!("{upstream} {address}"), "peer", None),
        };
        let operation = match circuit {
            Circuit::Open => "upstream.circuit.open",
            Circuit::HalfOpen => "upstream.circuit.half-open",
            Circuit::Closed => "upstream.circuit.closed",
        };
        let detail = json!({ "guards": what, "note": note });
        if let Some(row) = self.0.system_row(operation, subject, &detail) {
            self.leave(Entry { account, ..row });
        }
    }
}

/// The row of a start: which version, on which configuration and policies, serves where.
pub(super) fn started(control: &Control, configuration: &str, addresses: &[SocketAddr]) {
    let policies = control.policies.current();
    let detail = json!({
        "version": env!("CARGO_PKG_VERSION"), "addresses": addresses, "configuration": configuration,
        "policies": policies.hash().to_string(), "generation": policies.generation(),
    });
    write(control, "start", &format!("{addresses:?}"), &detail);
}

/// The row of a stop in good order; after a crash there is none.
pub(super) fn stopped(control: &Control) {
    let detail = json!({
        "version": env!("CARGO_PKG_VERSION"), "records_written": control.auditor.written(),
        "panics": crate::telemetry::panics(),
    });
    write(control, "stop", "the gateway ends", &detail);
}

fn write(control: &Control, operation: &'static str, subject: &str, detail: &serde_json::Value) {
    let row = control.system_row(operation, subject.to_owned(), detail);
    if let Some(Err(error)) = row.map(|row| control.auditor.write_blocking(row)) {
        log::error!("the audit row of `{operation}` could not be written: {error}");
    }
}

/// The hash of a configuration's effective values, to tell which one a gateway ran with. Secrets are hidden in them.
pub(super) fn fingerprint(config: &Config) -> String {
    let mut hash = sha2::Sha256::new();
    for setting in config.origins() {
        hash.update(setting.key.as_bytes());
        hash.update(b"=");
        hash.update(setting.value.as_bytes());
        hash.update(b"\n");
    }
    hex::encode(hash.finalize())
}
