//! Audit records on their way to where they are collected: real collectors, a real process that is killed.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::certificates::{Authority, Validity};
use crate::support::http::{self, find};
use crate::support::prepared::{ERP_KEY, Prepared};
use crate::support::process::{Serving, free_address, log, succeed};
use crate::support::recorder::{Recorded, Recorder};

fn sinks(sinks: &str) -> String {
    format!("audit:\n  fold_after: 1000000\n  sinks:\n{sinks}")
}

fn get(serving: &Serving, token: &str, target: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    http::once(serving.address, "GET", target, &[("Authorization", &bearer)], None).status
}

fn status(folder: &Path) -> Value {
    serde_json::from_str(&succeed(folder, &["status", "-o", "json"], "")).expect("JSON")
}

/// Waits until the first sink fits.
fn wait_for(folder: &Path, fits: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..600 {
        let sink = status(folder)["audit_sinks"][0].clone();
        if fits(&sink) {
            return sink;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{}\n{}", status(folder), log(folder));
}

fn places(batch: &Recorded) -> Vec<i64> {
    let text = String::from_utf8_lossy(&batch.body).into_owned();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["seq"].as_i64().expect("a place"))
        .collect()
}

/// A receiver has a record or gets it again later; it never gets one before another that it does not have.
fn assert_in_order_without_gaps(batches: &[Recorded], end: i64) {
    let mut has = 0;
    for batch in batches {
        for place in places(batch) {
            assert!(place <= has + 1, "{place} came after {has}");
            has = has.max(place);
        }
    }
    assert_eq!(has, end, "all of them came");
}

#[test]
fn a_collector_gets_every_record_in_order_though_the_gateway_is_killed_again_and_again() {
    let erp = Recorder::start();
    let collector = Recorder::start();
    let url = format!("http://{}/ingest", collector.address());
    let config = sinks(&format!("    collector: {{ url: '{url}', gzip: false, batch: 7, poll: 100ms }}\n"));
    let prepared = Prepared::new(erp.address(), &config);
    let folder = prepared.folder.path();
    let mut tokens = Vec::new();
    for round in 0..6 {
        let serving = Serving::start(folder);
        let token = prepared.token(serving.address);
        for number in 0..20 {
            assert_eq!(get(&serving, &token, &format!("/v1/orders/{number}")), 200);
        }
        assert_eq!(get(&serving, &token, "/v1/nothing"), 403);
        tokens.push(token);
        if round % 2 == 0 { serving.kill() } else { assert!(serving.terminate()) }
    }
    let serving = Serving::start(folder);
    wait_for(folder, |sink| sink["state"] == "ok" && sink["lag_records"] == 0);
    assert!(serving.terminate());
    let end = |table: &str| -> i64 {
        let sql = format!("SELECT COALESCE(MAX(seq), 0) FROM {table}");
        prepared.audit().query_row(&sql, [], |row| row.get(0)).expect("a number")
    };
    let sent = {
        let last = Serving::start(folder);
        wait_for(folder, |sink| sink["state"] == "ok" && sink["lag_records"] == 0);
        let end = end("decision").max(end("outcome"));
        drop(last);
        (collector.take(), end)
    };
    assert!(sent.1 > 6 * 40, "{}", sent.1);
    assert!(sent.0.iter().all(|batch| batch.method == "POST" && batch.target == "/ingest" && batch.complete));
    assert_in_order_without_gaps(&sent.0, sent.1);
    for secret in tokens.iter().chain([&prepared.password, &prepared.api_key, &ERP_KEY.to_owned()]) {
        assert!(sent.0.iter().all(|batch| find(&batch.body, secret.as_bytes()).is_none()), "a secret left");
    }
}

#[test]
fn relays_go_on_while_a_collector_is_down_and_status_and_metrics_say_how_far_it_is_behind() {
    let erp = Recorder::start();
    let (down, ops) = (free_address(), free_address());
    let config = sinks(&format!("    siem: {{ url: 'syslog+tcp://{down}', retry: 100ms }}\n"));
    let prepared = Prepared::new(erp.address(), &format!("{config}ops:\n  listen: ['{ops}']\n"));
    let folder = prepared.folder.path();
    assert_eq!(status(folder)["audit_sinks"][0]["state"], "stopped", "no gateway runs");
    let serving = Serving::start(folder);
    let token = prepared.token(serving.address);
    for number in 0..10 {
        assert_eq!(get(&serving, &token, &format!("/v1/orders/{number}")), 200);
    }
    let sink = wait_for(folder, |sink| sink["state"] == "retrying" && sink["lag_records"].as_i64() > Some(20));
    assert!(
        sink["last_error"].as_str().is_some_and(|error| error.contains(&format!("cannot connect to {down}"))),
        "{sink}"
    );
    assert_eq!((&sink["name"], &sink["protocol"], &sink["cursor"]), (&"siem".into(), &"syslog".into(), &0.into()));
    let metrics = http::once(ops, "GET", "/metrics", &[], None).text();
    assert!(metrics.contains("erp_access_audit_sink_failing{sink=\"siem\"} 1\n"), "{metrics}");
    assert!(metrics.contains("erp_access_audit_sink_lag_records{sink=\"siem\"} "), "{metrics}");
    assert_eq!(http::once(ops, "GET", "/readyz", &[], None).status, 200, "another gateway could not reach it either");
    let said = log(folder);
    assert_eq!(said.matches("audit records do not reach the sink `siem`").count(), 1, "{said}");
    let pruned = succeed(folder, &["audit", "prune", "--older-than", "0s", "--yes"], "");
    assert!(pruned.contains("delivered by every sink (all is up to record 0)"), "{pruned}");

    // It comes up, and gets what it has missed.
    let receiver = TcpListener::bind(down).expect("free again");
    std::thread::spawn(move || {
        for stream in receiver.incoming() {
            let _ = stream.expect("a connection").read_to_end(&mut Vec::new());
        }
    });
    wait_for(folder, |sink| sink["state"] == "ok" && sink["lag_records"] == 0);
    assert!(log(folder).contains("audit records reach the sink `siem` again"));
    assert!(serving.terminate());
}

#[test]
fn a_syslog_receiver_is_believed_only_with_a_certificate_of_its_name() {
    let erp = Recorder::start();
    let authority = Authority::new("Test authority");
    let files = tempfile::tempdir().expect("a folder");
    let ca_file = authority.write(files.path());
    let [right, wrong] = ["localhost", "siem.internal"].map(|name| {
        let acceptor = authority.issue(name, Validity::Now).acceptor(b"\x08http/1.1", None);
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = acceptor.accept(stream.expect("a connection")) else { continue };
                let mut bytes = Vec::new();
                let whole = stream.read_to_end(&mut bytes).is_ok();
                // The sink waits for this.
                let _ = stream.shutdown();
                if sender.send((whole, bytes)).is_err() {
                    return;
                }
            }
        });
        (port, receiver)
    });
    let sink = |name: &str, port: u16| {
        let ca_file = ca_file.display();
        format!("    {name}: {{ url: 'syslog+tls://localhost:{port}', ca_file: '{ca_file}', retry: 100ms }}\n")
    };
    let config = sinks(&(sink("right", right.0) + &sink("wrong", wrong.0)));
    let prepared = Prepared::new(erp.address(), &config);
    let folder = prepared.folder.path();
    let serving = Serving::start(folder);
    wait_for(folder, |sink| sink["state"] == "ok" && sink["cursor"].as_i64() > Some(0));
    let (whole, bytes) = right.1.recv_timeout(Duration::from_secs(30)).expect("a batch");
    assert!(whole, "the sink says that no more comes");
    let text = String::from_utf8(bytes).expect("UTF-8");
    assert!(text.contains(" erp-access ") && text.contains("\"record\":\"decision\""), "{text}");
    let wrong_one = || status(folder)["audit_sinks"][1].clone();
    for _ in 0..600 {
        if wrong_one()["state"] == "retrying" {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let refused = wrong_one();
    assert!(
        refused["last_error"].as_str().is_some_and(|error| error.contains("certificate verify failed")),
        "{refused}"
    );
    assert_eq!(refused["cursor"], 0);
    assert!(wrong.1.try_recv().is_err(), "nothing was said to it");
    assert!(serving.terminate());
}
