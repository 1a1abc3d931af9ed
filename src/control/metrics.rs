//! The gateway's numbers in the text format of Prometheus, version 0.0.4. Labels take few values, all known beforehand.

use std::collections::BTreeSet;
use std::fmt::{Display, Write as _};

use jiff::Timestamp;

use super::{Control, Served};
use crate::audit::{Durations, SinkReport, SinkState, WriterState};
use crate::domain::Code;
use crate::kill_switch::{KillSwitches, Scope};
use crate::schedule::{Held, Overrides};
use crate::upstream::{SessionState, SessionStatus};

/// The media type of the text.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The numbers of this gateway now.
pub(super) fn text(control: &Control) -> String {
    let audit = control.auditor.health();
    let mut page = Page(String::with_capacity(4096));
    let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
    page.gauge("build_info", "The version that runs.", version, 1);
    page.counter("audit_records_written_total", "Audit records written.", audit.written);
    page.counter("audit_write_failures_total", "Attempts to write audit records that failed.", audit.failures);
    page.counter("audit_rows_lost_total", "Rows of refused requests for which there was no room.", audit.lost);
    page.counter("audit_writer_stalls_total", "How often the audit writer has stalled.", audit.stalls);
    page.gauge("audit_queue_rows", "Rows for which room is taken.", "", audit.in_use);
    page.gauge("audit_queue_rows_capacity", "Rows for which there is room in all.", "", audit.capacity);
    page.histogram("audit_commit_seconds", "How long commits of audit records took.", &audit.commits);
    let counts = &audit.counts;
    page.by_code("decisions_total", "Decisions about requests to ERPs, as their rows say.", &counts.relays);
    page.by_code("token_requests_total", "Answers to requests for tokens, as their rows say.", &counts.tokens);
    page.by_code("relays_ended_total", "How requests that were let in ended, as their rows say.", &counts.ended);
    page.histogram("gateway_seconds", "How long the gateway took for a request that was let in.", &counts.gateway);
    page.histogram("upstream_seconds", "How long the ERP took for it.", &counts.upstream);
    let (failing, stalled) = match audit.state {
        WriterState::Ok => (0, 0),
        WriterState::Failing { .. } => (1, 0),
        WriterState::Stalled { .. } => (1, 1),
    };
    page.gauge("audit_writer_failing", "Whether audit records cannot be written now.", "", failing);
    page.gauge("audit_writer_stalled", "Whether none was written for `audit.stalled_after`.", "", stalled);
    page.sinks(&control.auditor.sink_reports(control.clock.now()));
    page.gauge("tokens", "Gateway tokens that are kept; expired ones are forgotten within a minute.", "", {
        control.directory.token_count()
    });
    page.gauge(
        "policy_generation",
        "The number of the policies in force.",
        "",
        control.policies.current().generation(),
    );
    page.gauge("policy_problems", "What is wrong in policy files.", "", control.policies.problems().0.len());
    let warnings = control.policies.current().warnings().0.len();
    page.gauge("policy_warnings", "What is probably not meant in the policies in force.", "", warnings);
    if let Some(sessions) = &control.sessions {
        page.sessions(&sessions.status());
    }
    if let Some(connections) = &control.connections {
        page.gauge("connections", "Open connections of clients.", "", connections.open());
        page.connections_refused(connections.refused());
        let streams = connections.streams_refused();
        page.counter("http2_streams_refused_total", "Streams of HTTP/2 for which there was no room.", streams);
    }
    page.certificates(&control.certificates);
    if let Some(gate) = &control.gate {
        page.limits_reached(gate.limits_reached());
    }
    let snapshot = control.directory.snapshot();
    page.kill_switches(snapshot.kill_switches(), control.clock.now());
    page.overrides(snapshot.overrides(), control.clock.now());
    page.0
}

struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let _ = write!(self.0, "# HELP erp_access_{name} {help}\n# TYPE erp_access_{name} {kind}\n");
    }

    fn value(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "erp_access_{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, labels: &str, value: impl Display) {
        self.head(name, help, "gauge");
        self.value(name, labels, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help, "counter");
        self.value(name, "", value);
    }

    fn histogram(&mut self, name: &str, help: &str, durations: &Durations) {
        self.head(name, help, "histogram");
        for (bound, count) in &durations.within {
            let labels = format!("{{le=\"{}\"}}", bound.as_secs_f64());
            self.value(&format!("{name}_bucket"), &labels, count);
        }
        self.value(&format!("{name}_bucket"), "{le=\"+Inf\"}", durations.count);
        self.value(&format!("{name}_sum"), "", durations.sum.as_secs_f64());
        self.value(&format!("{name}_count"), "", durations.count);
    }

    /// By code, with whose cause it is; `ok` stands for what has no code.
    fn by_code(&mut self, name: &str, help: &str, counts: &[(Option<Code>, u64)]) {
        self.head(name, help, "counter");
        for (code, count) in counts {
            let (code, cause) = code.map_or(("ok", "none"), |code| (code.as_str(), code.cause().as_str()));
            self.value(name, &format!("{{code=\"{code}\",cause=\"{cause}\"}}"), count);
        }
    }

    /// By the names of sinks, which only the configuration gives.
    fn sinks(&mut self, sinks: &[SinkReport]) {
        let mut each = |name: &str, help: &str, value: fn(&SinkReport) -> i64| {
            self.head(name, help, "gauge");
            for sink in sinks {
                self.value(name, &format!("{{sink=\"{}\"}}", sink.name), value(sink));
            }
        };
        each("audit_sink_lag_records", "Audit records that a sink has not delivered.", |sink| sink.lag_records);
        each("audit_sink_lag_seconds", "How old the oldest of them is.", |sink| sink.lag_seconds);
        each("audit_sink_failing", "Whether the last attempt to deliver failed.", |sink| {
            i64::from(sink.state == SinkState::Retrying)
        });
    }

    /// By the upstreams of the configuration; accounts that sign in as somebody of their own are counted together.
    fn sessions(&mut self, sessions: &[SessionStatus]) {
        self.head("upstream_sessions", "Sessions at an ERP in this state.", "gauge");
        let upstreams: BTreeSet<_> = sessions.iter().map(|session| &session.upstream).collect();
        for upstream in upstreams {
            for state in SessionState::NAMES {
                let fits = |one: &&SessionStatus| one.upstream == *upstream && one.state.as_str() == state;
                let labels = format!("{{upstream=\"{upstream}\",state=\"{state}\"}}");
                self.value("upstream_sessions", &labels, sessions.iter().filter(fits).count());
            }
        }
    }

    fn connections_refused(&mut self, refused: impl Iterator<Item = (&'static str, u64)>) {
        self.head("connections_refused_total", "Connections for which there was no room, by the limit.", "counter");
        for (limit, count) in refused {
            self.value("connections_refused_total", &format!("{{limit=\"{limit}\"}}"), count);
        }
    }

    /// By the setting that names them.
    fn certificates(&mut self, served: &[Served]) {
        self.head("certificate_end_timestamp_seconds", "When the first of a listener's certificates ends.", "gauge");
        for Served { setting, certificates } in served {
            if let Some(end) = certificates.told().iter().map(|told| told.ends_at).min() {
                let labels = format!("{{listener=\"{setting}\"}}");
                self.value("certificate_end_timestamp_seconds", &labels, end.as_second());
            }
        }
    }

    /// By the kind of limit; names of policies, sets and accounts are in the audit rows.
    fn limits_reached(&mut self, reached: impl Iterator<Item = (&'static str, u64)>) {
        self.head("requests_limited_total", "Requests that a limit of this kind turned away.", "counter");
        for (kind, count) in reached {
            self.value("requests_limited_total", &format!("{{limit=\"{kind}\"}}"), count);
        }
    }

    /// By the kind of scope; a label with the name would take as many values as there are accounts.
    fn kill_switches(&mut self, switches: &KillSwitches, now: Timestamp) {
        self.head("kill_switch_engaged", "Whether a kill switch of this kind is engaged.", "gauge");
        let kind = |scope: &Scope| match scope {
            Scope::All => "all",
            Scope::Account(_) => "account",
            Scope::Policy(_) => "policy",
            Scope::Upstream(_) => "upstream",
        };
        for wanted in ["all", "account", "policy", "upstream"] {
            let engaged = switches.in_force(now).any(|engaged| kind(&engaged.scope) == wanted);
            self.value("kill_switch_engaged", &format!("{{scope=\"{wanted}\"}}"), u8::from(engaged));
        }
    }

    fn overrides(&mut self, overrides: &Overrides, now: Timestamp) {
        self.head("schedule_override_in_force", "Whether an override holds a schedule open, or closed.", "gauge");
        for wanted in [Held::Open, Held::Closed] {
            let in_force = overrides.in_force(now).any(|held| held.held == wanted);
            self.value("schedule_override_in_force", &format!("{{held=\"{wanted}\"}}"), u8::from(in_force));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_histogram_is_written_with_its_classes_its_sum_and_its_count() {
        let mut page = Page(String::new());
        let within = vec![(Duration::from_millis(1), 2), (Duration::from_secs(5), 3)];
        page.histogram(
            "audit_commit_seconds",
            "How long commits of audit records took.",
            &Durations { within, count: 4, sum: Duration::from_micros(9_002_500) },
        );
        let wanted = "# HELP erp_access_audit_commit_seconds How long commits of audit records took.
# TYPE erp_access_audit_commit_seconds histogram
erp_access_audit_commit_seconds_bucket{le=\"0.001\"} 2
erp_access_audit_commit_seconds_bucket{le=\"5\"} 3
erp_access_audit_commit_seconds_bucket{le=\"+Inf\"} 4
erp_access_audit_commit_seconds_sum 9.0025
erp_access_audit_commit_seconds_count 4
";
        assert_eq!(page.0, wanted);
    }

    #[test]
    fn a_kill_switch_counts_by_its_kind_and_not_by_its_name() {
        let engaged = crate::kill_switch::Engaged {
            scope: "account:acme".parse().expect("a scope"),
            message: None,
            reason: "test".into(),
            by: "tester".into(),
            at: jiff::Timestamp::UNIX_EPOCH,
            until: None,
        };
        let mut page = Page(String::new());
        page.kill_switches(&KillSwitches::new(vec![engaged]), Timestamp::UNIX_EPOCH);
        assert!(page.0.contains("erp_access_kill_switch_engaged{scope=\"account\"} 1\n"), "{}", page.0);
        assert!(page.0.contains("erp_access_kill_switch_engaged{scope=\"all\"} 0\n"), "{}", page.0);
        assert!(!page.0.contains("acme"), "{}", page.0);
    }

    #[test]
    fn an_override_counts_while_it_is_in_force() {
        let held = crate::schedule::Override {
            schedule: "default".parse().expect("a name"),
            held: Held::Closed,
            until: Timestamp::from_second(60).expect("a time"),
            reason: "test".into(),
            by: "tester".into(),
            at: Timestamp::UNIX_EPOCH,
        };
        let shown = |second| {
            let mut page = Page(String::new());
            page.overrides(&Overrides::new(vec![held.clone()]), Timestamp::from_second(second).expect("a time"));
            page.0
        };
        assert!(shown(59).contains("erp_access_schedule_override_in_force{held=\"closed\"} 1\n"), "{}", shown(59));
        assert!(shown(59).contains("erp_access_schedule_override_in_force{held=\"open\"} 0\n"), "{}", shown(59));
        assert!(shown(60).contains("erp_access_schedule_override_in_force{held=\"closed\"} 0\n"), "{}", shown(60));
    }
}
