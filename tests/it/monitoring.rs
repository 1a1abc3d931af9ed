//! The dashboard and the alerts that are shipped speak of metrics that there are, with codes and states that there are.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use erp_access::domain::{Cause, Code};
use serde_json::Value;

use crate::support::gateway::Setup;
use crate::support::http;
use crate::support::recorder::Recorder;

fn shipped(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/monitoring").join(name);
    std::fs::read_to_string(file).expect("shipped")
}

/// The names of metrics in a text.
fn named(text: &str) -> BTreeSet<String> {
    let is_part = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let words = text.split(|letter: char| !is_part(letter));
    words.filter(|word| word.starts_with("erp_access_")).map(str::to_owned).collect()
}

/// The values that a label is compared with.
fn compared(text: &str, label: &str) -> BTreeSet<String> {
    let mut values = BTreeSet::new();
    for operator in ["=~", "!=", "="] {
        for quote in ["\"", "\\\""] {
            let start = format!("{label}{operator}{quote}");
            for rest in text.split(&start).skip(1) {
                let value = rest.split(['"', '\\']).next().unwrap_or_default();
                values.extend(value.split('|').map(str::to_owned));
            }
        }
    }
    values
}

#[test]
fn dashboard_and_alerts_ask_for_what_there_is() {
    let erp = Recorder::start();
    let sink =
        "audit:\n  sinks:\n    collector: { url: 'http://127.0.0.1:9/ingest' }\nops:\n  listen: [\"127.0.0.1:0\"]\n";
    let authority = crate::support::certificates::Authority::new("an authority");
    let certificate = authority.issue("api.example", crate::support::certificates::Validity::Now);
    let gateway = Setup::new(erp.address()).config(sink).start_with_tls(&certificate);
    let page = http::once(gateway.ops.expect("an ops listener"), "GET", "/metrics", &[], None).text();
    let lines = page.lines().filter(|line| !line.starts_with('#'));
    let there: BTreeSet<String> = lines.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect();
    let (alerts, dashboard) = (shipped("alerts.yaml"), shipped("grafana.json"));
    for text in [&alerts, &dashboard] {
        let asked = named(text);
        let missing: Vec<_> = asked.difference(&there).collect();
        assert!(asked.len() > 8 && missing.is_empty(), "{missing:?}");
        let codes = compared(text, "code");
        assert!(codes.iter().all(|code| code == "ok" || Code::from_text(code).is_some()), "{codes:?}");
        let causes = compared(text, "cause");
        assert!(causes.iter().all(|cause| Cause::from_text(cause).is_some()), "{causes:?}");
    }
    let states = compared(&alerts, "state");
    assert!(
        !states.is_empty() && states.iter().all(|state| page.contains(&format!("state=\"{state}\""))),
        "{states:?}"
    );
    let board: Value = serde_json::from_str(&dashboard).expect("JSON");
    let panels = board["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert!(panels.len() >= 16 && ids.len() == panels.len(), "each panel has an id of its own");
}

#[test]
fn prometheus_takes_the_alerts() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/monitoring/alerts.yaml");
    let Ok(output) = Command::new("promtool").args(["check", "rules"]).arg(file).output() else {
        eprintln!("SKIPPED: promtool is not installed");
        return;
    };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}
