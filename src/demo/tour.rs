//! The guided tour: each step does one thing and says which code it expects.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hyper::Method;
use serde_json::Value;

use crate::control::{AuditQuery, Caller, Command};
use crate::domain::{Actor, ManualClock};
use crate::kill_switch::Scope;

use super::DemoError;
use super::client::{self, Answer};
use super::stage::Stage;

/// What the tour found.
#[derive(Debug)]
pub struct Report {
    /// The whole tour as text.
    pub text: String,
    /// Whether every step had the expected code.
    pub as_expected: bool,
}

/// Takes the tour.
///
/// # Errors
/// When a step could not be taken at all.
pub(super) async fn take(stage: &Stage, clock: &ManualClock) -> Result<Report, DemoError> {
    let mut tour = Tour { stage, token: None, report: Report { text: String::new(), as_expected: true }, step: 0 };
    tour.heading("An integrator gets a token with its own credentials");
    let answer = tour.ask_for_token().await?;
    tour.expect("POST /oauth/token", &answer, 200, "ok");
    tour.token = answer.body.get("access_token").and_then(Value::as_str).map(str::to_owned);

    tour.heading("It reads what its policy allows; the gateway signs in to the ERP");
    let answer = tour.relay(Method::GET, "/v1/customers").await?;
    tour.expect("GET /v1/customers", &answer, 200, "ok");
    tour.note(&format!("the ERP answered with {} customers", count_of(&answer.body)));

    tour.heading("It may not write: no granted policy allows it");
    let answer = tour.relay(Method::POST, "/v1/orders").await?;
    tour.expect("POST /v1/orders", &answer, 403, "not_permitted");

    tour.heading("What is not mapped does not exist");
    let answer = tour.relay(Method::GET, "/api/session").await?;
    tour.expect("GET /api/session", &answer, 403, "not_permitted");
    let answer = tour.relay(Method::GET, "/v1/customers/../orders").await?;
    tour.expect("GET /v1/customers/../orders", &answer, 400, "ambiguous_path");

    tour.heading("At 20:00 in Karachi the API closes");
    clock.advance(Duration::from_hours(8));
    let answer = tour.ask_for_token().await?;
    tour.expect("POST /oauth/token", &answer, 200, "ok");
    tour.token = answer.body.get("access_token").and_then(Value::as_str).map(str::to_owned);
    let answer = tour.relay(Method::GET, "/v1/customers").await?;
    tour.expect("GET /v1/customers", &answer, 403, "outside_schedule");
    tour.note(&format!("it opens again at {}", answer.body.get("opens_at").and_then(Value::as_str).unwrap_or("-")));
    clock.advance(Duration::from_hours(16));
    let answer = tour.ask_for_token().await?;
    tour.expect("POST /oauth/token", &answer, 200, "ok");
    tour.token = answer.body.get("access_token").and_then(Value::as_str).map(str::to_owned);

    tour.heading("An operator engages the kill switch, and releases it");
    let message = Some("Stock-taking until 14:00".to_owned());
    tour.operate(Command::KillEngage { scope: Scope::All, message, reason: "the guided tour".into(), until: None })
        .await?;
    let answer = tour.relay(Method::GET, "/v1/customers").await?;
    tour.expect("GET /v1/customers", &answer, 503, "kill_switch_engaged");
    tour.operate(Command::KillRelease { scope: Scope::All, reason: "the guided tour goes on".into() }).await?;
    let answer = tour.relay(Method::GET, "/v1/customers").await?;
    tour.expect("GET /v1/customers", &answer, 200, "ok");

    tour.heading("Its tokens are revoked");
    tour.operate(Command::TokenRevokeAll { credential: stage.credential.id }).await?;
    let answer = tour.relay(Method::GET, "/v1/customers").await?;
    tour.expect("GET /v1/customers", &answer, 401, "token_invalid");

    tour.heading("The audit of all that, newest first");
    tour.audit().await?;
    Ok(tour.report)
}

struct Tour<'a> {
    stage: &'a Stage,
    token: Option<String>,
    report: Report,
    step: usize,
}

impl Tour<'_> {
    fn heading(&mut self, text: &str) {
        self.step += 1;
        let _ = writeln!(self.report.text, "\n{}. {text}", self.step);
    }

    fn note(&mut self, text: &str) {
        let _ = writeln!(self.report.text, "     {text}");
    }

    fn expect(&mut self, what: &str, answer: &Answer, status: u16, code: &str) {
        let fits = answer.status.as_u16() == status && answer.code() == code;
        self.report.as_expected &= fits;
        let mark = if fits { "ok  " } else { "FAIL" };
        let wanted = if fits { String::new() } else { format!("   (expected {status} {code})") };
        let got = answer.status.as_u16();
        let _ =
            writeln!(self.report.text, "  {mark} {what:<28} → {got} {}{wanted}   {}", answer.code(), answer.request_id);
    }

    async fn ask_for_token(&self) -> Result<Answer, DemoError> {
        let credential = &self.stage.credential;
        let basic = BASE64.encode(format!("{}:{}", credential.id, credential.password.expose()));
        let headers =
            [("authorization", format!("Basic {basic}")), ("x-api-key", credential.api_key.expose().to_owned())];
        client::send(self.stage.address, Method::POST, "/oauth/token", &headers, "").await
    }

    async fn relay(&self, method: Method, target: &str) -> Result<Answer, DemoError> {
        let headers = [("authorization", format!("Bearer {}", self.token.as_deref().unwrap_or("-")))];
        let body = if method == Method::POST { r#"{"customer":1,"item":"A-100","quantity":2}"# } else { "" };
        client::send(self.stage.address, method, target, &headers, body).await
    }

    async fn operate(&self, command: Command) -> Result<Value, DemoError> {
        let actor = Actor::Operator("demo".into());
        self.stage.control.run(Caller::admin(actor), command).await.map_err(DemoError::other)
    }

    async fn audit(&mut self) -> Result<(), DemoError> {
        let mut rows = Vec::new();
        let mut relays = 0;
        // A denial is answered before its row is on disk, so the last row may be a moment behind.
        for _ in 0..100 {
            let query = AuditQuery { last: 40, ..AuditQuery::default() };
            rows = self.operate(Command::AuditSearch(Box::new(query))).await?.as_array().cloned().unwrap_or_default();
            relays = rows.iter().filter(|row| row.get("kind").and_then(Value::as_str) == Some("relay")).count();
            if relays >= RELAYS {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        for row in &rows {
            self.note(&super::audit_line(row));
        }
        self.report.as_expected &= relays == RELAYS;
        let mark = if relays == RELAYS { "ok  " } else { "FAIL" };
        let _ = writeln!(self.report.text, "  {mark} each of the {RELAYS} requests has its row");
        Ok(())
    }
}

/// How many records an answer of the little ERP holds.
fn count_of(body: &Value) -> usize {
    let list = body.as_array().or_else(|| body.as_object()?.values().find_map(Value::as_array));
    list.map_or(0, Vec::len)
}

/// How many requests for the ERP the tour makes.
const RELAYS: usize = 8;
