//! The sessions as a whole: an ERP that follows a script, a vault in memory, a clock that stands still.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::json;

use super::double::{Act, Heard, MemoryVault, ScriptedErp, account, erp, static_key, tryton};
use super::*;
use crate::config::{BodyTemplate, JsonTemplate, Piece, Template, Upstream};
use crate::domain::{Clock, ManualClock, Secret};

const PASSWORD: &str = "open \"sesame\"";
const SECOND: Duration = Duration::from_secs(1);

/// The sessions of one process, and what they touch.
struct Process {
    sessions: Arc<Sessions>,
    erp: Arc<ScriptedErp>,
    vault: Arc<MemoryVault>,
    clock: ManualClock,
    heard: Arc<Heard>,
}

impl Process {
    fn start(upstream: Upstream, erp: Arc<ScriptedErp>) -> Self {
        let clock = ManualClock::at("2026-11-23T12:00:00Z".parse().expect("a time"));
        Self::start_with(upstream, erp, MemoryVault::with_password(PASSWORD), clock)
    }

    fn start_with(upstream: Upstream, erp: Arc<ScriptedErp>, vault: Arc<MemoryVault>, clock: ManualClock) -> Self {
        let transport: Arc<dyn SignInTransport> = erp.clone();
        let heard = Arc::new(Heard::default());
        let sessions = Sessions::new(vec![upstream], transport, vault.clone(), Arc::new(clock.clone()), heard.clone())
            .expect("sessions");
        Self { sessions: Arc::new(sessions), erp, vault, clock, heard }
    }

    /// The same machine after a restart.
    fn restart(self, upstream: Upstream) -> Self {
        Self::start_with(upstream, self.erp, self.vault, self.clock)
    }

    async fn obtain(&self) -> Result<Arc<UpstreamSession>, SessionError> {
        self.sessions.obtain(&erp(), &account(1)).await
    }

    /// The number of the session that serves now, waiting for one if need be.
    async fn generation(&self) -> u64 {
        self.obtain().await.expect("a session").generation()
    }

    fn sign_ins(&self) -> usize {
        self.erp.requests().len()
    }

    fn status(&self) -> SessionStatus {
        self.sessions.status().pop().expect("one upstream")
    }

    async fn until_the_erp_is_asked(&self, times: usize) {
        while self.sign_ins() < times {
            tokio::task::yield_now().await;
        }
    }
}

fn in_seconds(process: &Process, seconds: u64) -> Timestamp {
    process.clock.now().checked_add(Duration::from_secs(seconds)).expect("a time")
}

fn wrong_password() -> Act {
    Act::Answers(401, "<html>".into())
}

fn authorization(session: &UpstreamSession) -> &str {
    session.headers()[0].1.to_str().expect("ASCII")
}

#[tokio::test]
async fn tryton_sign_in_yields_the_exact_header() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    let session = process.obtain().await.expect("a session");
    // base64 of `admin:1:token-of-sign-in-1`
    assert_eq!(authorization(&session), "Session YWRtaW46MTp0b2tlbi1vZi1zaWduLWluLTE=");
    assert!(session.headers()[0].1.is_sensitive());
    assert_eq!(
        process.erp.requests(),
        [json!({ "id": 1, "method": "common.db.login", "params": ["admin", { "password": PASSWORD }, "en"] })]
    );
}

#[tokio::test]
async fn thousand_cold_requests_cost_one_sign_in() {
    let process = Process::start(tryton(), ScriptedErp::silent());
    let requests: Vec<_> = (0..1000)
        .map(|_| {
            let sessions = Arc::clone(&process.sessions);
            tokio::spawn(async move { sessions.obtain(&erp(), &account(1)).await })
        })
        .collect();
    process.until_the_erp_is_asked(1).await;
    process.erp.answer(1000);
    for request in requests {
        assert_eq!(request.await.expect("no panic").expect("a session").generation(), 1);
    }
    assert_eq!(process.sign_ins(), 1);
}

#[tokio::test]
async fn ready_is_empty_until_a_session_was_obtained() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    assert!(process.sessions.ready(&erp(), &account(1)).is_none());
    process.obtain().await.expect("a session");
    assert!(process.sessions.ready(&erp(), &account(1)).is_some());
}

#[tokio::test]
async fn lost_session_is_replaced_by_one_sign_in() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    let first = process.generation().await;
    process.sessions.lost(&SessionKey::shared(&erp()), first);
    let second = process.generation().await;
    // Requests that ran with the first session report its loss late.
    process.sessions.lost(&SessionKey::shared(&erp()), first);
    assert_eq!(process.generation().await, second);
    assert_eq!((first, second, process.sign_ins()), (1, 2, 2));
}

#[tokio::test]
async fn failure_backs_off_and_recovers() {
    let process = Process::start(tryton(), ScriptedErp::new([wrong_password(), wrong_password()]));
    let refused = SessionError::SignInRefused { step: 1, reason: Refusal::Status(StatusCode::UNAUTHORIZED) };
    assert_eq!(process.obtain().await.expect_err("refused"), refused);
    let until = in_seconds(&process, 1);
    assert_eq!(
        process.obtain().await.expect_err("backing off"),
        SessionError::BackingOff { until, last: refused.to_string() }
    );
    assert_eq!(process.status().state, SessionState::BackingOff { until });

    process.clock.advance(SECOND);
    assert_eq!(process.obtain().await.expect_err("refused again"), refused);
    process.clock.advance(SECOND);
    assert!(matches!(process.obtain().await, Err(SessionError::BackingOff { .. })), "the second pause is longer");
    process.clock.advance(SECOND);
    process.obtain().await.expect("a session");
    assert_eq!((process.status().failures, process.status().last_error), (0, None));
    assert_eq!(process.sign_ins(), 3);
    assert_eq!(process.heard.circuits(), ["Open", "HalfOpen", "Open", "HalfOpen", "Closed"]);
}

#[tokio::test]
async fn unreachable_erp_backs_off() {
    let broken = TransportError::Connect("connection refused".into());
    let process = Process::start(tryton(), ScriptedErp::new([Act::Fails(broken.clone())]));
    assert_eq!(process.obtain().await.expect_err("fails"), SessionError::Unreachable { reason: broken });
    assert!(matches!(process.obtain().await, Err(SessionError::BackingOff { .. })));
}

#[tokio::test]
async fn sessions_that_are_lost_again_and_again_stop_at_the_limit_per_minute() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    for _ in 0..5 {
        let generation = process.generation().await;
        process.sessions.lost(&SessionKey::shared(&erp()), generation);
    }
    let until = in_seconds(&process, 60);
    let error = process.obtain().await.expect_err("too many");
    assert!(matches!(&error, SessionError::BackingOff { until: at, .. } if *at == until), "{error}");
    assert_eq!(process.sign_ins(), 5);
    process.clock.advance(60 * SECOND);
    process.obtain().await.expect("a session");
}

#[tokio::test]
async fn restart_reuses_the_stored_session() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    let before = process.obtain().await.expect("a session");
    let process = process.restart(tryton());
    let after = process.obtain().await.expect("a session");
    assert_eq!(authorization(&before), authorization(&after));
    assert_eq!(before.expires_at(), after.expires_at());
    assert_eq!(process.sign_ins(), 1);
}

#[tokio::test]
async fn restart_after_the_session_expired_signs_in() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    process.obtain().await.expect("a session");
    process.clock.advance(3600 * SECOND);
    let process = process.restart(tryton());
    process.obtain().await.expect("a session");
    assert_eq!(process.sign_ins(), 2);
}

#[tokio::test]
async fn restart_with_other_secrets_signs_in() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    process.obtain().await.expect("a session");
    process.vault.set_password("another", 2);
    let process = process.restart(tryton());
    process.obtain().await.expect("a session");
    assert_eq!(process.sign_ins(), 2);
}

#[tokio::test]
async fn restored_session_that_is_lost_is_not_restored_again() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    process.obtain().await.expect("a session");
    let process = process.restart(tryton());
    let restored = process.generation().await;
    process.sessions.lost(&SessionKey::shared(&erp()), restored);
    assert_ne!(process.generation().await, restored);
    assert_eq!(process.sign_ins(), 2);
}

#[tokio::test]
async fn secret_change_drops_the_session_in_memory_and_vault() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    process.obtain().await.expect("a session");
    process.vault.set_password("another", 2);
    process.sessions.secret_changed(&erp(), None).await.expect("dropped");
    assert!(process.sessions.ready(&erp(), &account(1)).is_none());
    assert!(process.vault.session().is_none());
    process.obtain().await.expect("a session");
    assert_eq!(process.erp.requests()[1]["params"][1]["password"], "another");
}

#[tokio::test]
async fn secret_change_during_a_sign_in_discards_its_session() {
    let process = Process::start(tryton(), ScriptedErp::silent());
    let sessions = Arc::clone(&process.sessions);
    let waiting = tokio::spawn(async move { sessions.obtain(&erp(), &account(1)).await });
    process.until_the_erp_is_asked(1).await;
    process.vault.set_password("another", 2);
    process.sessions.secret_changed(&erp(), None).await.expect("dropped");
    process.erp.answer(2);
    let session = waiting.await.expect("no panic").expect("a session");
    assert_eq!(session.generation(), 2);
    assert_eq!(process.erp.requests()[1]["params"][1]["password"], "another");
    assert_eq!(process.vault.session().expect("stored").secret_version, 2);
}

#[tokio::test]
async fn secret_change_ends_the_back_off() {
    let process = Process::start(tryton(), ScriptedErp::new([wrong_password()]));
    process.obtain().await.expect_err("refused");
    process.sessions.secret_changed(&erp(), None).await.expect("dropped");
    process.obtain().await.expect("a session");
    assert_eq!(process.heard.circuits(), ["Open", "Closed"]);
}

#[tokio::test]
async fn success_status_with_a_failure_body_is_refused() {
    let refused = |reason| SessionError::SignInRefused { step: 1, reason };
    let cases = [
        (r#"{"id":1,"error":["'res.user'",""]}"#, Refusal::Present("/error".into())),
        (r#"{"id":1,"result":null}"#, Refusal::Missing("/result".into())),
        (r#"{"id":1}"#, Refusal::Missing("/result".into())),
        (r#"{"result":[1]}"#, Refusal::Missing("/result/1".into())),
        (r#"{"result":[1,null]}"#, Refusal::NotText("/result/1".into())),
        (r#"{"result":[1,""]}"#, Refusal::NotText("/result/1".into())),
        (r#"{"result":[1,["token"]]}"#, Refusal::NotText("/result/1".into())),
        (r#"{"result":[1,true]}"#, Refusal::NotText("/result/1".into())),
        ("<html>maintenance</html>", Refusal::NotJson),
        ("", Refusal::NotJson),
    ];
    for (body, reason) in cases {
        let process = Process::start(tryton(), ScriptedErp::new([Act::Answers(200, body.into())]));
        assert_eq!(process.obtain().await.expect_err("refused"), refused(reason), "{body}");
    }
}

#[tokio::test]
async fn oversized_answer_is_refused() {
    let body = format!(r#"{{"result":[1,"{}"]}}"#, "x".repeat(MAX_ANSWER));
    let process = Process::start(tryton(), ScriptedErp::new([Act::Answers(200, body)]));
    let refused = SessionError::SignInRefused { step: 1, reason: Refusal::TooLarge };
    assert_eq!(process.obtain().await.expect_err("refused"), refused);
}

#[tokio::test]
async fn line_break_in_a_token_is_an_error() {
    let mut upstream = tryton();
    upstream.session.inject.headers[0].value.pieces = vec![Piece::Variable("token".into())];
    let body = json!({ "result": [1, "token\r\nx-admin: yes"] }).to_string();
    let process = Process::start(upstream, ScriptedErp::new([Act::Answers(200, body)]));
    assert!(matches!(
        process.obtain().await,
        Err(SessionError::Unusable { reason: UnusableRecipe::Header(http::header::AUTHORIZATION) })
    ));
}

#[tokio::test]
async fn later_step_uses_what_an_earlier_step_extracted() {
    let mut upstream = tryton();
    let mut second = upstream.session.steps[0].clone();
    second.body = BodyTemplate::Json(JsonTemplate::Text(Template { pieces: vec![Piece::Variable("token".into())] }));
    upstream.session.steps.push(second);
    let process = Process::start(upstream, ScriptedErp::new([]));
    let session = process.obtain().await.expect("a session");
    assert_eq!(process.erp.requests()[1], "token-of-sign-in-1");
    assert_eq!(authorization(&session), "Session YWRtaW46MTp0b2tlbi1vZi1zaWduLWluLTI=");
    assert_eq!(process.status().sign_ins, 1);
}

#[tokio::test]
async fn waiting_request_times_out_while_the_erp_is_silent() {
    let mut upstream = tryton();
    upstream.timeouts.sign_in = Duration::ZERO;
    let process = Process::start(upstream, ScriptedErp::silent());
    assert_eq!(process.obtain().await.expect_err("no answer"), SessionError::TimedOut);
}

#[tokio::test]
async fn silent_erp_ends_the_sign_in_and_backs_off() {
    let mut upstream = tryton();
    upstream.timeouts.sign_in = Duration::ZERO;
    let process = Process::start(upstream, ScriptedErp::silent());
    process.obtain().await.expect_err("no answer");
    process.sessions.settled(&erp()).await;
    assert_eq!(process.status().last_error, Some(SessionError::TimedOut.to_string()));
    assert!(matches!(process.obtain().await, Err(SessionError::BackingOff { .. })));
}

#[tokio::test]
async fn client_that_goes_away_does_not_stop_the_sign_in() {
    let process = Process::start(tryton(), ScriptedErp::silent());
    let sessions = Arc::clone(&process.sessions);
    let client = tokio::spawn(async move { sessions.obtain(&erp(), &account(1)).await });
    process.until_the_erp_is_asked(1).await;
    client.abort();
    assert!(client.await.expect_err("gone").is_cancelled());
    process.erp.answer(1);
    assert_eq!(process.generation().await, 1);
    assert_eq!(process.sign_ins(), 1);
}

#[tokio::test]
async fn panic_in_the_transport_fails_the_waiting_requests_and_recovers() {
    let process = Process::start(tryton(), ScriptedErp::new([Act::Panics]));
    assert_eq!(process.obtain().await.expect_err("failed"), SessionError::Interrupted);
    process.clock.advance(SECOND);
    process.obtain().await.expect("a session");
}

#[test]
fn runtime_that_shuts_down_leaves_no_flight_behind() {
    let process = Process::start(tryton(), ScriptedErp::new([Act::Hangs]));
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("built");
    let first = runtime();
    let sessions = Arc::clone(&process.sessions);
    first.spawn(async move { sessions.obtain(&erp(), &account(1)).await });
    first.block_on(process.until_the_erp_is_asked(1));
    drop(first);
    process.clock.advance(SECOND);
    runtime().block_on(process.obtain()).expect("a session");
}

#[tokio::test]
async fn late_session_is_renewed_while_it_serves() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    process.obtain().await.expect("a session");
    process.clock.advance(2871 * SECOND);
    assert_eq!(process.sessions.ready(&erp(), &account(1)).expect("no gap").generation(), 1);
    assert!(process.sign_ins() < 2);
    process.clock.advance(SECOND);
    for _ in 0..100 {
        assert!(process.sessions.ready(&erp(), &account(1)).is_some(), "no request waits");
    }
    process.sessions.settled(&erp()).await;
    assert_eq!(process.sessions.ready(&erp(), &account(1)).expect("the next one").generation(), 2);
    assert_eq!(process.sign_ins(), 2);
}

#[tokio::test]
async fn failed_renewal_leaves_the_session_serving_until_its_end() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    process.obtain().await.expect("a session");
    process.erp.next(wrong_password());
    process.clock.advance(3000 * SECOND);
    process.obtain().await.expect("still serves");
    process.sessions.settled(&erp()).await;
    assert_eq!((process.generation().await, process.status().failures), (1, 1));
    assert_eq!(process.status().state, SessionState::SignedIn);
    process.clock.advance(590 * SECOND);
    assert!(process.sessions.ready(&erp(), &account(1)).is_none());
}

#[tokio::test]
async fn expired_session_does_not_serve() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    process.obtain().await.expect("a session");
    process.clock.advance(3590 * SECOND);
    assert!(process.sessions.ready(&erp(), &account(1)).is_none());
    assert_eq!(process.generation().await, 2);
}

#[tokio::test]
async fn static_header_needs_no_sign_in() {
    let process = Process::start(static_key(), ScriptedErp::new([]));
    let session = process.obtain().await.expect("a session");
    assert_eq!(session.headers()[0].0, "x-api-key");
    assert_eq!(authorization(&session), "key-for-the-erp");
    assert_eq!(session.generation(), 1);
    assert_eq!((process.sign_ins(), process.status().sign_ins), (0, 0));
    assert!(process.vault.session().is_none());
}

#[tokio::test]
async fn static_header_that_is_refused_keeps_its_generation() {
    let process = Process::start(static_key(), ScriptedErp::new([]));
    let generation = process.generation().await;
    process.sessions.lost(&SessionKey::shared(&erp()), generation);
    assert_eq!(process.generation().await, generation);
}

#[tokio::test]
async fn secret_change_rebuilds_the_static_header() {
    let process = Process::start(static_key(), ScriptedErp::new([]));
    process.obtain().await.expect("a session");
    process.vault.set_password("another", 7);
    process.sessions.secret_changed(&erp(), None).await.expect("rebuilt");
    assert_eq!(process.sessions.ready(&erp(), &account(1)).expect("ready at once").generation(), 7);
}

#[tokio::test]
async fn missing_secret_contacts_nobody_and_does_not_back_off() {
    let clock = ManualClock::at(Timestamp::UNIX_EPOCH);
    let process = Process::start_with(tryton(), ScriptedErp::new([]), Arc::default(), clock);
    let missing = SessionError::NoSecret { missing: "username".into() };
    for _ in 0..10 {
        assert_eq!(process.obtain().await.expect_err("no secret"), missing);
    }
    assert_eq!(process.status().state, SessionState::NoSecret);
    assert_eq!(process.sign_ins(), 0);
    process.vault.set_password(PASSWORD, 1);
    process.obtain().await.expect("a session");
}

#[tokio::test]
async fn vault_that_fails_denies() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    process.vault.break_down();
    assert!(matches!(process.obtain().await, Err(SessionError::Vault { .. })));
    assert_eq!(process.sign_ins(), 0);
}

#[tokio::test]
async fn unknown_upstream_is_said_to_be_unknown() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    let other = "other".parse().expect("a name");
    assert_eq!(process.sessions.obtain(&other, &account(1)).await.expect_err("unknown"), SessionError::Unknown);
    assert!(process.sessions.ready(&other, &account(1)).is_none());
    assert_eq!(process.sessions.secret_changed(&other, None).await, Err(SessionError::Unknown));
    process.sessions.lost(&SessionKey::shared(&other), 1);
}

#[tokio::test]
async fn status_tells_age_and_end_of_the_session() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    assert_eq!(process.status().state, SessionState::SignedOut);
    process.obtain().await.expect("a session");
    let end = in_seconds(&process, 3590);
    process.clock.advance(30 * SECOND);
    let status = process.status();
    assert_eq!((status.state, status.sign_ins), (SessionState::SignedIn, 1));
    assert_eq!((status.age, status.expires_at), (Some(30 * SECOND), Some(end)));
}

#[tokio::test]
async fn status_tells_a_sign_in_under_way() {
    let process = Process::start(tryton(), ScriptedErp::silent());
    let sessions = Arc::clone(&process.sessions);
    tokio::spawn(async move { sessions.obtain(&erp(), &account(1)).await });
    process.until_the_erp_is_asked(1).await;
    assert_eq!(process.status().state, SessionState::SigningIn);
}

#[tokio::test]
async fn known_secrets_hold_all_spellings_and_nothing_ordinary() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    let session = process.obtain().await.expect("a session");
    let known: Vec<_> = session.known_secrets().iter().map(Secret::expose).collect();
    assert_eq!(
        known,
        [
            PASSWORD,
            "key-for-the-erp",
            "token-of-sign-in-1",
            "Session YWRtaW46MTp0b2tlbi1vZi1zaWduLWluLTE=",
            "YWRtaW46MTp0b2tlbi1vZi1zaWduLWluLTE="
        ]
    );
}

#[tokio::test]
async fn debug_of_everything_shows_no_secret() {
    let process = Process::start(tryton(), ScriptedErp::new([]));
    let session = process.obtain().await.expect("a session");
    let stored = process.vault.session().expect("stored");
    let secrets = process.vault.load_secrets(&SessionKey::shared(&erp()));
    let request = SignInRequest {
        method: http::Method::POST,
        path: "/".into(),
        headers: session.headers().iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        body: Some(zeroize::Zeroizing::new(PASSWORD.into())),
        content_type: None,
    };
    let answer = SignInAnswer {
        status: StatusCode::OK,
        headers: session.headers().iter().map(|(name, value)| (name.clone(), plain(value))).collect(),
        body: "token-of-sign-in-1".into(),
    };
    let shown = format!("{:?} {session:?} {stored:?} {secrets:?} {request:?} {answer:?}", process.sessions);
    let shown = format!("{shown} {:#?} {:?}", process.sessions, process.status());
    for secret in session.known_secrets() {
        assert!(!shown.contains(secret.expose()), "{shown}");
        assert!(!shown.contains(&format!("{:?}", secret.expose())), "{shown}");
        assert!(!shown.contains(&format!("{:?}", secret.expose().as_bytes())), "{shown}");
    }
}

/// The value without its mark, so that only our own `Debug` hides it.
fn plain(value: &http::HeaderValue) -> http::HeaderValue {
    http::HeaderValue::from_bytes(value.as_bytes()).expect("a value")
}

#[tokio::test]
async fn no_error_repeats_what_the_erp_said() {
    for body in [r#"{"error":"token-of-the-erp"}"#, "token-of-the-erp", r#"{"result":[1,{"t":"token-of-the-erp"}]}"#] {
        let process = Process::start(tryton(), ScriptedErp::new([Act::Answers(200, body.into())]));
        let error = process.obtain().await.expect_err("refused");
        let backing_off = process.obtain().await.expect_err("backing off");
        let shown = format!("{error} {error:?} {backing_off} {:?}", process.status());
        assert!(!shown.contains("token-of-the-erp"), "{shown}");
    }
}

#[test]
fn loss_is_what_the_recipe_says() {
    let headers = HeaderMap::new();
    assert_eq!(loss(&tryton(), StatusCode::UNAUTHORIZED, &headers), Loss::Lost);
    assert_eq!(loss(&tryton(), StatusCode::FORBIDDEN, &headers), Loss::None);
}
