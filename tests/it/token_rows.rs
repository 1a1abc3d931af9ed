//! The audit row of each way in which a request for a token ends.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use erp_access::control::{Bounds, Command};
use erp_access::kill_switch::Scope;
use serde_json::Value;

use crate::support::gateway::{Gateway, Issued, Setup};
use crate::support::http;
use crate::support::recorder::Recorder;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// A gateway and a credential set. The ERP must outlive the gateway.
struct Scene {
    gateway: Gateway,
    set: Issued,
    _erp: Recorder,
}

/// What the row is expected to name besides the code.
#[derive(Clone, Copy)]
enum Names {
    /// Nobody: what was sent leads to no credential set.
    Nobody,
    /// The credential set that it was about; who asked is not known.
    Set,
    /// The credential set, as the one who asked.
    Actor,
}

impl Scene {
    fn new() -> Self {
        Self::with("")
    }

    fn with(config: &str) -> Self {
        let erp = Recorder::start();
        let gateway = Setup::new(erp.address()).config(config).start();
        let set = gateway.issue("acme", &["order-reader"]);
        Self { gateway, set, _erp: erp }
    }

    fn basic(&self, password: &str) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{password}", self.set.id)))
    }

    fn operate(&self, command: Command) {
        self.gateway.operate(command).expect("done");
    }

    /// Sends a request and gives the row of its answer.
    fn row(&self, headers: &[(&str, &str)], body: &[u8]) -> Value {
        let response = http::once(self.gateway.address, "POST", "/oauth/token", headers, Some(body));
        let row = self.gateway.row_of(&response);
        assert_eq!(row["status"].as_u64(), Some(response.status.into()), "{row:#}");
        assert_eq!((&row["kind"], &row["client"]), (&"token_attempt".into(), &"127.0.0.1".into()), "{row:#}");
        assert_eq!(row["code"].as_str().unwrap_or_default(), response.code(), "{row:#}");
        row
    }

    /// The row of a request with the right credentials.
    fn right(&self, body: &[u8]) -> Value {
        let basic = self.set.basic();
        self.row(&[("Authorization", &basic), ("x-api-key", &self.set.api_key), FORM], body)
    }

    fn denied(&self, row: &Value, code: &str, step: &str, names: Names) {
        assert_eq!((row["decision"].as_str(), row["code"].as_str()), (Some("denied"), Some(code)), "{row:#}");
        let last = row["verdicts"].as_array().and_then(|verdicts| verdicts.last()).expect("a verdict");
        assert_eq!((&last[0], &last[1]), (&step.into(), &"denied".into()), "{row:#}");
        assert!(last[2].as_str().is_some_and(|note| !note.is_empty()), "{row:#}");
        let id = self.set.id.to_string();
        let (credential, actor) = match names {
            Names::Nobody => (None, "unknown".to_owned()),
            Names::Set => (Some(id.as_str()), "unknown".to_owned()),
            Names::Actor => (Some(id.as_str()), format!("credential:{id}")),
        };
        assert_eq!((row["credential"].as_str(), row["actor"].as_str()), (credential, Some(actor.as_str())), "{row:#}");
        assert_eq!(row["account"].is_string(), credential.is_some(), "{row:#}");
        assert!(row["token"].is_null(), "{row:#}");
    }
}

#[test]
fn a_token_that_is_issued_is_named_by_its_id() {
    let scene = Scene::new();
    let row = scene.right(b"");
    assert_eq!((&row["decision"], row["status"].as_u64()), (&"allowed".into(), Some(200)), "{row:#}");
    assert_eq!(row["actor"], format!("credential:{}", scene.set.id));
    assert!(row["token"].is_string() && row["account"].is_string(), "{row:#}");
    assert_eq!((&row["method"], &row["path"], &row["kill_switch"]), (&"POST".into(), &"token".into(), &"none".into()));
    let steps: Vec<_> = row["verdicts"].as_array().expect("verdicts").iter().map(|verdict| &verdict[0]).collect();
    assert_eq!(steps, ["kill_switch", "authentication"]);
}

#[test]
fn credentials_that_are_missing_or_wrong_leave_a_row() {
    let scene = Scene::new();
    let (basic, key) = (scene.set.basic(), scene.set.api_key.clone());
    let other = scene.gateway.issue("other", &[]);
    let stranger =
        format!("Basic {}", STANDARD.encode(format!("019ab7c2-7d3e-7cc1-8b1f-0242ac120002:{}", scene.set.password)));
    let wrong = scene.basic("wrong");
    for (headers, code, names) in [
        (vec![], "credentials_missing", Names::Nobody),
        (vec![("Authorization", basic.as_str())], "credentials_missing", Names::Nobody),
        (vec![("x-api-key", key.as_str())], "credentials_missing", Names::Nobody),
        (vec![("Authorization", "Basic !!!"), ("x-api-key", &key)], "credentials_invalid", Names::Nobody),
        (vec![("Authorization", &basic), ("x-api-key", "no key")], "credentials_invalid", Names::Nobody),
        (vec![("Authorization", &stranger), ("x-api-key", &key)], "credentials_invalid", Names::Nobody),
        (vec![("Authorization", &basic), ("x-api-key", &other.api_key)], "credentials_invalid", Names::Set),
        (vec![("Authorization", &wrong), ("x-api-key", &key)], "credentials_invalid", Names::Set),
    ] {
        scene.denied(&scene.row(&headers, b""), code, "authentication", names);
    }
    let twice = [("Authorization", basic.as_str()), ("Authorization", &basic), ("x-api-key", &key)];
    let row = scene.row(&twice, b"");
    assert_eq!((&row["decision"], row["credential"].is_null()), (&"denied".into(), true), "{row:#}");
}

#[test]
fn sets_and_accounts_that_are_not_live_leave_a_row_that_says_why() {
    let scene = Scene::new();
    let note = |row: &Value| row["verdicts"].as_array().expect("verdicts").last().expect("one")[2].to_string();
    let (id, name) = (scene.set.id, "acme".parse().expect("a name"));
    scene.operate(Command::AccountSuspend { name, reason: "late-payment".into() });
    let row = scene.right(b"");
    scene.denied(&row, "account_suspended", "authentication", Names::Actor);
    assert!(note(&row).contains("late-payment"));
    scene.operate(Command::CredentialDisable { id });
    let row = scene.right(b"");
    scene.denied(&row, "credentials_invalid", "authentication", Names::Actor);
    assert!(note(&row).contains("disabled"));
    scene.operate(Command::CredentialRevoke { id });
    let row = scene.right(b"");
    scene.denied(&row, "credentials_invalid", "authentication", Names::Actor);
    assert!(note(&row).contains("revoked"));
    let mut scene = Scene::new();
    let soon = "2026-11-23T12:01:00+05:00".parse().expect("a time");
    scene.set = scene.gateway.issue_with("acme", &[], Bounds::Bounded, Some(soon));
    scene.gateway.clock.set(soon);
    let row = scene.right(b"");
    scene.denied(&row, "credentials_invalid", "authentication", Names::Actor);
    assert!(note(&row).contains("expired"));
}

#[test]
fn requests_for_a_token_that_make_no_sense_leave_a_row() {
    let scene = Scene::new();
    scene.denied(&scene.right(b"grant_type=password"), "bad_request", "request", Names::Actor);
    scene.denied(&scene.right(b"a=1&a=2"), "bad_request", "request", Names::Nobody);
    scene.denied(&scene.right(&[b'a'; 9000]), "too_large", "request", Names::Nobody);
    let (basic, key) = (scene.set.basic(), scene.set.api_key.clone());
    let headers = [("Authorization", basic.as_str()), ("x-api-key", &key), ("Content-Type", "text/plain")];
    scene.denied(&scene.row(&headers, b"x"), "unsupported_media_type", "request", Names::Nobody);
    let framing = [("Authorization", basic.as_str()), ("x-api-key", &key), ("Upgrade", "websocket")];
    scene.denied(&scene.row(&framing, b""), "bad_request", "request", Names::Nobody);
}

#[test]
fn limits_and_the_kill_switch_leave_a_row() {
    let scene = Scene::with("tokens:\n  per_credential: 1\n  attempts_per_client: 1\n");
    assert_eq!(scene.right(b"")["decision"], "allowed");
    scene.denied(&scene.right(b""), "rate_limited", "limits", Names::Actor);
    let (wrong, key) = (scene.basic("wrong"), scene.set.api_key.clone());
    let headers = [("Authorization", wrong.as_str()), ("x-api-key", &key)];
    scene.denied(&scene.row(&headers, b""), "credentials_invalid", "authentication", Names::Set);
    scene.denied(&scene.row(&headers, b""), "rate_limited", "throttle", Names::Set);
    scene.operate(Command::KillEngage { scope: Scope::All, message: None, reason: "test".into(), until: None });
    let row = scene.right(b"");
    scene.denied(&row, "kill_switch_engaged", "kill_switch", Names::Nobody);
    assert_eq!(row["kill_switch"], "all");
    let scene = Scene::with("tokens:\n  attempts_per_address: 1\n");
    let (wrong, key) = (scene.basic("wrong"), scene.set.api_key.clone());
    let headers = [("Authorization", wrong.as_str()), ("x-api-key", &key)];
    scene.denied(&scene.row(&headers, b""), "credentials_invalid", "authentication", Names::Set);
    scene.denied(&scene.row(&headers, b""), "rate_limited", "throttle", Names::Nobody);
}
