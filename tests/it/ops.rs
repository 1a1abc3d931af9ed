//! Liveness, readiness and metrics.

use std::net::SocketAddr;
use std::time::Duration;

use erp_access::control::Command;
use erp_access::kill_switch::Scope;

use crate::support::gateway::{Gateway, Setup};
use crate::support::http::{self, Response};
use crate::support::recorder::Recorder;

const LISTEN: &str = "ops:\n  listen: [\"127.0.0.1:0\"]\n";

/// A gateway that is watched over. The ERP must outlive it.
struct Scene {
    gateway: Gateway,
    ops: SocketAddr,
    _erp: Recorder,
}

impl Scene {
    fn new(config: &str) -> Self {
        let erp = Recorder::start();
        let gateway = Setup::new(erp.address()).config(LISTEN).config(config).start();
        let ops = gateway.ops.expect("an ops listener");
        Self { gateway, ops, _erp: erp }
    }

    fn ask(&self, path: &str) -> Response {
        http::once(self.ops, "GET", path, &[], None)
    }

    /// Asks until the status is as wanted.
    fn ready(&self, status: u16) -> Response {
        for _ in 0..1000 {
            let answer = self.ask("/readyz");
            if answer.status == status {
                return answer;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("never {status}: {}", self.ask("/readyz").text());
    }

    fn reasons(answer: &Response) -> String {
        answer.json()["reasons"].to_string()
    }

    fn audit(&self) -> rusqlite::Connection {
        let audit = rusqlite::Connection::open(self.gateway.folder.path().join("data/audit.db")).expect("opened");
        audit.busy_timeout(Duration::from_secs(5)).expect("set");
        audit
    }

    /// The value of a metric.
    fn metric(&self, name: &str) -> String {
        let text = self.ask("/metrics").text();
        let mut values = text.lines().filter_map(|line| line.rsplit_once(' ')).filter(|(known, _)| *known == name);
        values.next().unwrap_or_else(|| panic!("no {name} in\n{text}")).1.to_owned()
    }
}

#[test]
fn a_gateway_that_can_serve_is_alive_and_ready() {
    let scene = Scene::new("");
    let alive = scene.ask("/healthz");
    assert_eq!((alive.status, alive.text().as_str()), (200, "ok\n"));
    let ready = scene.ready(200);
    assert_eq!(ready.json(), serde_json::json!({ "ready": true, "reasons": [] }));
    assert_eq!(ready.header("cache-control"), Some("no-store"));
    assert_eq!(scene.ask("/v1/command").status, 404, "nothing else is served");
    assert_eq!(http::once(scene.gateway.address, "GET", "/metrics", &[], None).status, 401, "nor on the other side");
}

#[test]
fn what_an_operator_or_the_schedule_has_closed_is_ready() {
    let scene = Scene::new("");
    let engage = Command::KillEngage { scope: Scope::All, message: None, reason: "test".into(), until: None };
    scene.gateway.operate(engage).expect("engaged");
    scene.gateway.clock.set("2026-11-23T23:00:00+05:00".parse().expect("a time"));
    assert_eq!(scene.ready(200).status, 200);
    assert_eq!(scene.metric("erp_access_kill_switch_engaged{scope=\"all\"}"), "1");
}

#[test]
fn a_gateway_that_cannot_write_audit_rows_is_not_ready_until_it_can() {
    let scene = Scene::new("");
    let issued = scene.gateway.issue("acme", &["order-reader"]);
    let audit = scene.audit();
    audit
        .execute_batch("CREATE TRIGGER full BEFORE INSERT ON decision BEGIN SELECT RAISE(ABORT, 'full'); END")
        .expect("broken");
    assert_eq!(scene.gateway.ask_for_token(&issued).code(), "audit_unavailable");
    let answer = scene.ready(503);
    assert_eq!(answer.json()["ready"], false);
    assert!(Scene::reasons(&answer).contains("audit rows cannot be written"), "{}", answer.text());
    assert_eq!(scene.ask("/healthz").status, 200, "it is alive all the same");
    assert_eq!(scene.metric("erp_access_audit_writer_failing"), "1");
    audit.execute_batch("DROP TRIGGER full").expect("mended");
    scene.ready(200);
    assert_eq!(scene.metric("erp_access_audit_writer_failing"), "0");
    assert_eq!(scene.gateway.ask_for_token(&issued).status, 200);
}

#[test]
fn a_stalled_writer_is_told_everywhere_and_leaves_a_row_when_it_goes_on() {
    let scene = Scene::new("");
    let status = || scene.gateway.operate(Command::Status).expect("a status")["audit"].to_string();
    assert_eq!(status(), "\"ok\"");
    let audit = scene.audit();
    audit.execute_batch("BEGIN IMMEDIATE").expect("held");
    // A request without credentials: its row waits for the writer, nobody waits for it.
    let row = http::once(scene.gateway.address, "GET", "/v1/orders", &[], None);
    assert_eq!(row.status, 401);
    let mut told = None;
    for _ in 0..1000 {
        scene.gateway.clock.advance(Duration::from_secs(10));
        let answer = scene.ask("/readyz");
        if Scene::reasons(&answer).contains("stalled") {
            told = Some(answer);
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(told.expect("a stall").status, 503);
    assert_eq!(scene.metric("erp_access_audit_writer_stalled"), "1");
    assert!(status().contains("stalled"), "{}", status());
    let seen = (0..1000).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        scene.metric("erp_access_audit_writer_stalls_total") == "1"
    });
    assert!(seen, "the watch does not look");
    audit.execute_batch("ROLLBACK").expect("released");
    scene.ready(200);
    assert_eq!(status(), "\"ok\"");
    let rows = (0..1000).find_map(|_| {
        std::thread::sleep(Duration::from_millis(10));
        let rows = scene.gateway.audit("system", 1);
        rows.iter().any(|row| row["method"] == "audit.resumed").then_some(rows)
    });
    assert!(rows.is_some(), "no row tells of the stall");
    assert_eq!(scene.gateway.row_of(&row)["code"], "credentials_missing", "its row was kept");
}

#[test]
fn metrics_count_what_happens_and_name_nobody() {
    let scene = Scene::new("");
    let version = format!("erp_access_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(scene.metric(&version), "1");
    assert_eq!(
        (scene.metric("erp_access_tokens").as_str(), scene.metric("erp_access_policy_generation").as_str()),
        ("0", "1")
    );
    let issued = scene.gateway.issue("acme", &["order-reader"]);
    let token = scene.gateway.token(&issued);
    let written: u64 = scene.metric("erp_access_audit_records_written_total").parse().expect("a number");
    let commits: u64 = scene.metric("erp_access_audit_commit_seconds_count").parse().expect("a number");
    assert!(written >= 4 && commits >= 1 && commits <= written, "{written} records, {commits} commits");
    assert_eq!(scene.metric("erp_access_tokens"), "1");
    assert_eq!(scene.metric("erp_access_audit_writer_stalled"), "0");
    assert_eq!(scene.metric("erp_access_policy_warnings"), "0");
    assert_eq!(scene.metric("erp_access_audit_queue_rows_capacity"), "2048");
    let limits = Some(erp_access::domain::Limits::new(Some((1, Duration::from_mins(1))), None, None));
    scene.gateway.operate(Command::CredentialLimit { id: issued.id, limits }).expect("limited");
    let limited = (0..3).filter(|_| scene.gateway.get(&token, "/v1/orders").status == 429).count();
    assert_eq!(limited, 2);
    let counted = |kind: &str| scene.metric(&format!("erp_access_requests_limited_total{{limit=\"{kind}\"}}"));
    assert_eq!((counted("credential").as_str(), counted("account").as_str()), ("2", "0"));
    let count = |name: &str, code: &str, cause: &str| {
        let named = format!("erp_access_{name}{{code=\"{code}\",cause=\"{cause}\"}}");
        scene.metric(&named).parse::<u64>().expect("a number")
    };
    assert_eq!(http::once(scene.gateway.address, "GET", "/v1/orders", &[], None).status, 401);
    let settled = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        count("decisions_total", "rate_limited", "policy") == 2
            && count("decisions_total", "credentials_missing", "client") == 1
    });
    assert!(settled, "{}", scene.ask("/metrics").text());
    assert_eq!((count("decisions_total", "ok", "none"), count("token_requests_total", "ok", "none")), (1, 1));
    // There is no secret for the ERP, so what was let in was not served.
    assert_eq!(count("relays_ended_total", "upstream_session_failed", "outage"), 1);
    assert_eq!(scene.metric("erp_access_gateway_seconds_count"), "1");
    assert_eq!(scene.metric("erp_access_upstream_seconds_count"), "0");
    assert_eq!(scene.metric("erp_access_upstream_sessions{upstream=\"erp\",state=\"no secret set\"}"), "1");
    let page = scene.ask("/metrics");
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let text = page.text();
    for secret in [token, issued.password, issued.api_key, issued.id.to_string(), "acme".into(), "order-reader".into()]
    {
        assert!(!text.contains(secret.as_str()), "{secret} in {text}");
    }
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    let mut unique = names.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(names.len(), unique.len(), "each metric has one head");
}

#[test]
fn without_an_address_there_is_no_such_listener() {
    let erp = Recorder::start();
    assert_eq!(Setup::new(erp.address()).start().ops, None);
}
