//! Overrides of schedules: what they decide, and what they leave behind.

use erp_access::control::{Command, ControlError, ErrorKind};
use erp_access::domain::ScheduleName;
use erp_access::kill_switch::Scope;
use erp_access::schedule::Held;
use erp_access::store::Seq;
use serde_json::Value;

use crate::support::gateway::{Gateway, Issued, Setup};
use crate::support::http::{self, Response};
use crate::support::process::{run, succeed};
use crate::support::recorder::Recorder;

/// Monday evening in Karachi: the default schedule has closed at 20:00.
const EVENING: &str = "2026-11-23T20:30:00+05:00";

struct Scene {
    gateway: Gateway,
    issued: Issued,
    _erp: Recorder,
}

impl Scene {
    fn at(moment: &str) -> Self {
        let erp = Recorder::start();
        let gateway = Setup::new(erp.address()).start();
        gateway.set_api_key("erp-side-key-1");
        let issued = gateway.issue("acme", &["order-reader"]);
        let scene = Self { gateway, issued, _erp: erp };
        scene.set(moment);
        scene
    }

    fn set(&self, moment: &str) {
        self.gateway.clock.set(moment.parse().expect("a time"));
    }

    fn ask(&self, held: Held, until: &str, reason: &str) -> Result<Value, ControlError> {
        let (schedule, until) = (default_name(), until.parse().expect("a time"));
        self.gateway.operate(Command::ScheduleOverride { schedule, held, until, reason: reason.into() })
    }

    fn hold(&self, held: Held, until: &str) {
        self.ask(held, until, "stock-taking").expect("held");
    }

    fn lift(&self, held: Option<Held>) -> Result<Value, ControlError> {
        self.gateway.operate(Command::ScheduleLift { schedule: default_name(), held, reason: "done".into() })
    }

    fn get(&self) -> Response {
        self.gateway.get(&self.gateway.token(&self.issued), "/v1/orders")
    }

    fn status(&self) -> Value {
        http::once(self.gateway.address, "GET", "/status", &[], None).json()
    }

    fn next(&self) -> Value {
        self.gateway.operate(Command::ScheduleNext).expect("said")[0].clone()
    }
}

fn default_name() -> ScheduleName {
    "default".parse().expect("a name")
}

/// What the step of the schedule noted in the row.
fn note(row: &Value) -> &str {
    let verdicts = row["verdicts"].as_array().expect("verdicts");
    let step = verdicts.iter().find(|verdict| verdict[0] == "schedule").unwrap_or_else(|| panic!("{row:#}"));
    step[2].as_str().expect("a note")
}

#[test]
fn an_override_opens_a_closed_api_until_it_ends_by_itself() {
    let scene = Scene::at(EVENING);
    assert_eq!(scene.get().code(), "outside_schedule");
    scene.hold(Held::Open, "2026-11-23T22:00:00+05:00");
    let response = scene.get();
    assert_eq!(response.status, 200, "{}", response.text());
    let row = scene.gateway.row_of(&response);
    assert_eq!(row["schedule"], "open_by_override");
    assert_eq!(note(&row), "`default` is held open by operator:tester until 2026-11-23T17:00:00Z: stock-taking");
    let (status, next) = (scene.status(), scene.next());
    assert_eq!((&status["state"], &status["until"]), (&"open".into(), &"2026-11-23T17:00:00Z".into()), "{status}");
    assert_eq!((&next["state"], &next["changes_at"]), (&"open".into(), &"2026-11-23T17:00:00Z".into()), "{next}");
    scene.set("2026-11-23T22:00:00+05:00");
    assert_eq!(scene.get().code(), "outside_schedule", "it has ended");
    assert_eq!(scene.status()["opens_at"], "2026-11-24T06:00:00Z");
}

#[test]
fn an_override_closes_an_open_api_and_says_when_it_opens_again() {
    let scene = Scene::at("2026-11-23T12:00:00+05:00");
    let always = scene.gateway.issue("night", &["stock-always"]);
    scene.hold(Held::Closed, "2026-11-23T14:00:00+05:00");
    let response = scene.get();
    assert_eq!((response.status, response.code().as_str()), (403, "outside_schedule"));
    assert_eq!(response.json()["opens_at"], "2026-11-23T09:00:00Z");
    assert_eq!(response.header("retry-after"), Some("7200"));
    assert!(!response.text().contains("stock-taking") && !response.text().contains("tester"), "{}", response.text());
    let row = scene.gateway.row_of(&response);
    assert_eq!(row["schedule"], "closed_by_override");
    let held = "schedule `default` is held closed by operator:tester until 2026-11-23T09:00:00Z: stock-taking";
    assert!(note(&row).starts_with(held), "{row:#}");
    let status = scene.status();
    assert_eq!((&status["state"], &status["opens_at"]), (&"closed".into(), &"2026-11-23T09:00:00Z".into()), "{status}");
    let all = scene.gateway.operate(Command::Status).expect("said");
    assert_eq!((&all["api"], &all["schedule_overrides"][0]["held"]), (&"closed".into(), &"closed".into()), "{all}");
    let exempt = scene.gateway.get(&scene.gateway.token(&always), "/v1/stock");
    assert_eq!(exempt.status, 200, "an exempt policy follows no schedule");
    assert_eq!(scene.gateway.row_of(&exempt)["schedule"], "exempt");
    scene.set("2026-11-23T14:00:00+05:00");
    assert_eq!(scene.get().status, 200);
}

#[test]
fn an_override_that_closes_beats_one_that_opens_until_it_is_lifted() {
    let scene = Scene::at(EVENING);
    scene.hold(Held::Open, "2026-11-23T23:00:00+05:00");
    scene.hold(Held::Closed, "2026-11-23T22:00:00+05:00");
    let response = scene.get();
    assert_eq!(response.json()["opens_at"], "2026-11-23T17:00:00Z", "the override that opens comes to the fore");
    let lifted = scene.lift(Some(Held::Closed)).expect("lifted");
    assert_eq!((&lifted["lifted"], &lifted["state"]), (&serde_json::json!(["closed"]), &"open".into()));
    assert_eq!(scene.get().status, 200);
    scene.lift(None).expect("lifted");
    assert_eq!(scene.get().code(), "outside_schedule");
    let error = scene.lift(None).expect_err("nothing is left");
    assert_eq!(error.kind, ErrorKind::NotFound);
}

#[test]
fn an_override_never_opens_what_a_kill_switch_stops() {
    for scope in ["all", "account:acme", "policy:order-reader", "upstream:erp"] {
        let scene = Scene::at(EVENING);
        let token = scene.gateway.token(&scene.issued);
        scene.hold(Held::Open, "2026-11-23T22:00:00+05:00");
        let scope: Scope = scope.parse().expect("a scope");
        scene
            .gateway
            .operate(Command::KillEngage { scope, message: None, reason: "test".into(), until: None })
            .expect("engaged");
        assert_eq!(scene.gateway.get(&token, "/v1/orders").code(), "kill_switch_engaged");
    }
}

#[test]
fn an_override_survives_a_restart() {
    let scene = Scene::at(EVENING);
    scene.hold(Held::Open, "2026-11-23T22:00:00+05:00");
    let scene = Scene { gateway: scene.gateway.restart(), ..scene };
    assert_eq!(scene.get().status, 200);
}

#[test]
fn an_override_leaves_who_when_and_why_in_rows_without_gaps() {
    let scene = Scene::at(EVENING);
    scene.hold(Held::Open, "2026-11-23T22:00:00+05:00");
    scene.hold(Held::Open, "2026-11-23T23:00:00+05:00");
    scene.lift(None).expect("lifted");
    scene.hold(Held::Closed, "2026-11-23T21:00:00+05:00");
    scene.set("2026-11-23T21:00:00+05:00");
    scene.gateway.control().remove_ended_overrides();
    scene.gateway.control().copy_changes();
    let mut rows = scene.gateway.audit("change", 5);
    rows.retain(|row| row["method"].as_str().is_some_and(|method| method.starts_with("schedule.")));
    rows.reverse();
    let told: Vec<_> = rows.iter().map(|row| (row["method"].as_str().expect("a text"), &row["actor"])).collect();
    let tester = Value::from("operator:tester");
    let wanted = [
        ("schedule.override.open", &tester),
        ("schedule.override.open", &tester),
        ("schedule.override.lift", &tester),
        ("schedule.override.close", &tester),
        ("schedule.override.end", &Value::from("system")),
    ];
    assert_eq!(told, wanted);
    let id = rows[0]["id"].as_str().expect("an id").parse().expect("an id");
    let shown = scene.gateway.operate(Command::AuditShow { id }).expect("shown");
    let told = shown["explanation"]["sentences"][0].as_str().expect("a sentence");
    assert!(told.ends_with("operator `tester` held the schedule `default` open."), "{told}");
    let detail = |row: &Value| -> Value { serde_json::from_str(row["detail"].as_str().expect("one")).expect("JSON") };
    let replaced = detail(&rows[1]);
    assert_eq!((&rows[1]["path"], &replaced["reason"]), (&"default".into(), &"stock-taking".into()));
    assert_eq!(replaced["before"]["until"], "2026-11-23T17:00:00Z");
    assert_eq!(replaced["after"]["until"], "2026-11-23T18:00:00Z");
    assert_eq!((&detail(&rows[2])["reason"], &detail(&rows[2])["after"]), (&"done".into(), &Value::Null));
    let changes = scene.gateway.control().store.changes_after(Seq(0), 1000).expect("read");
    let numbers: Vec<u64> = changes.iter().map(|change| change.seq.0).collect();
    assert!(changes.len() > rows.len() && numbers.iter().zip(1..).all(|(number, wanted)| *number == wanted));
}

#[test]
fn an_override_that_cannot_be_meant_is_refused_and_changes_nothing() {
    let scene = Scene::at(EVENING);
    let refused = |until: &str, reason: &str| scene.ask(Held::Open, until, reason).expect_err("refused");
    let past = refused("2026-11-22T22:00:00+05:00", "test");
    assert!(past.kind == ErrorKind::Invalid && past.message.contains("not later than now"), "{past}");
    let far = refused("2028-11-23T22:00:00+05:00", "test");
    assert!(far.kind == ErrorKind::Invalid && far.message.contains("more than a year ahead"), "{far}");
    assert_eq!(refused("2026-11-23T22:00:00+05:00", " ").kind, ErrorKind::Invalid);
    let (schedule, until) = ("defualt".parse().expect("a name"), "2026-11-23T22:00:00+05:00".parse().expect("a time"));
    let unknown =
        scene.gateway.operate(Command::ScheduleOverride { schedule, held: Held::Open, until, reason: "test".into() });
    let unknown = unknown.expect_err("refused");
    assert!(unknown.kind == ErrorKind::NotFound && unknown.message.contains("did you mean `default`?"), "{unknown}");
    assert_eq!(scene.get().code(), "outside_schedule");
}

#[test]
fn the_command_line_holds_lists_draws_and_lifts() {
    let erp = Recorder::start();
    let never = "version: 1\ndefault: { time_zone: Asia/Karachi, windows: [] }\n";
    let folder = Setup::new(erp.address()).policy("schedule.yaml", never).write();
    let folder = folder.path();
    succeed(folder, &["db", "migrate"], "");
    let made = succeed(folder, &["schedule", "override", "open", "--until", "2h", "--reason", "stock-taking"], "");
    assert!(made.contains("stock-taking") && made.contains("operator:"), "{made}");
    let listed: Value =
        serde_json::from_str(&succeed(folder, &["schedule", "override", "list", "-o", "json"], "")).expect("JSON");
    assert_eq!((&listed[0]["schedule"], &listed[0]["held"]), (&"default".into(), &"open".into()), "{listed}");
    let next: Value = serde_json::from_str(&succeed(folder, &["schedule", "next", "-o", "json"], "")).expect("JSON");
    assert_eq!(next[0]["changes_at"], listed[0]["until"], "{next}");
    let shown = succeed(folder, &["schedule", "show"], "");
    let rows: Vec<&str> = shown.lines().filter(|line| line.contains("OO") || line.contains("....")).collect();
    // Two hours from now may be partly tomorrow.
    let drawn = rows.iter().filter_map(|row| row.rsplit(' ').next()).flat_map(str::chars);
    assert!(rows.len() == 7 && (4..=5).contains(&drawn.filter(|cell| *cell == 'O').count()), "{shown}");
    assert!(shown.contains("held open by operator:") && shown.contains(": stock-taking"), "{shown}");
    succeed(folder, &["schedule", "override", "lift", "open", "--reason", "done"], "");
    let row = succeed(folder, &["audit", "search", "--kind", "change", "--last", "1", "-o", "json"], "");
    assert!(row.contains("schedule.override.lift"), "{row}");
    let code = |arguments: &[&str]| run(folder, arguments, "").status.code();
    assert_eq!(code(&["schedule", "override", "lift", "--reason", "done"]), Some(4));
    let wrong = |until: &'static str| ["schedule", "override", "close", "--until", until, "--reason", "x"];
    assert_eq!(code(&wrong("2020-01-01T00:00:00Z")), Some(7));
    assert_eq!(code(&wrong("400d")), Some(7));
    assert_eq!(code(&wrong("tomorrow")), Some(2));
    assert_eq!(code(&["schedule", "override", "open", "--until", "2h"]), Some(2), "a reason is needed");
}
