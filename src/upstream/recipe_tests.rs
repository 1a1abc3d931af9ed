//! Recipes as operators write them, read from YAML, against an ERP that follows a script.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;

use super::double::{Act, MemoryVault, ScriptedErp, account, erp};
use super::*;
use crate::audit::{RedactionLists, Redactor};
use crate::config::{Config, Sources, Upstream};
use crate::domain::{Clock as _, ManualClock, UpstreamName};

const PASSWORD: &str = "open sesame & more";

/// All upstreams of a configuration whose `erp` has this session.
fn upstreams(session: &str) -> Vec<Upstream> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("erp-access.yaml");
    let lines: Vec<_> = session.trim().lines().map(|line| format!("      {line}")).collect();
    let text = format!(
        "upstreams:\n  erp:\n    peers: [\"127.0.0.1:1\"]\n    session:\n{}\n  identity:\n    peers: [\"127.0.0.1:2\"]\n",
        lines.join("\n")
    );
    std::fs::write(&file, text).expect("written");
    let config = Config::load(&Sources::of_file(file)).unwrap_or_else(|errors| panic!("{errors}"));
    config.upstreams.into_values().collect()
}

struct Scene {
    sessions: Arc<Sessions>,
    erp: Arc<ScriptedErp>,
    vault: Arc<MemoryVault>,
    clock: ManualClock,
}

fn scene(session: &str, script: impl IntoIterator<Item = Act>) -> Scene {
    scene_with(session, script, |_| {})
}

fn scene_with(session: &str, script: impl IntoIterator<Item = Act>, prepare: impl FnOnce(&MemoryVault)) -> Scene {
    let clock = ManualClock::at("2026-11-23T12:00:00Z".parse().expect("a time"));
    let (erp, vault) = (ScriptedErp::new(script), MemoryVault::with_password(PASSWORD));
    prepare(&vault);
    let transport: Arc<dyn SignInTransport> = erp.clone();
    let sessions =
        Sessions::new(upstreams(session), transport, vault.clone(), Arc::new(clock.clone()), Arc::new(NobodyIsTold));
    Scene { sessions: Arc::new(sessions.expect("sessions")), erp, vault, clock }
}

impl Scene {
    async fn obtain(&self, number: u8) -> Result<Arc<UpstreamSession>, SessionError> {
        self.sessions.obtain(&erp(), &account(number)).await
    }

    async fn session(&self) -> Arc<UpstreamSession> {
        self.obtain(1).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// What a relayed request of account 1 carries.
    async fn injected(&self, method: &Method) -> Vec<String> {
        injected(&*self.session().await, method, 1)
    }

    fn expires_in(&self, session: &UpstreamSession) -> Option<i64> {
        session.expires_at().map(|end| end.duration_since(self.clock.now()).as_secs())
    }
}

fn injected(session: &UpstreamSession, method: &Method, number: u8) -> Vec<String> {
    let mut headers = Vec::new();
    let set = |name: &HeaderName, value: HeaderValue| {
        assert!(value.is_sensitive(), "{name}");
        headers.push(format!("{name}: {}", value.to_str().expect("ASCII")));
    };
    session.inject(method, &account(number), set).expect("injected");
    headers
}

fn sap_answer() -> Act {
    let headers = vec![
        ("set-cookie", "sap-usercontext=sap-client=100; path=/"),
        ("set-cookie", "SAP_SESSIONID_ERP_100=abc%3d; path=/; HttpOnly"),
        ("x-csrf-token", "token-for-writes"),
    ];
    Act::AnswersWith(200, headers, "{}".into())
}

const SAP: &str = "recipe: sap-gateway\nparameters: { system: ERP }";

#[tokio::test]
async fn sap_gateway_gets_cookies_always_and_the_token_on_writes() {
    let scene = scene(SAP, [sap_answer()]);
    let cookie = "cookie: SAP_SESSIONID_ERP_100=abc%3d; sap-usercontext=sap-client=100";
    assert_eq!(scene.injected(&Method::GET).await, [cookie]);
    assert_eq!(
        scene.injected(&Method::POST).await,
        ["x-csrf-token: token-for-writes", cookie].map(str::to_owned).into_iter().rev().collect::<Vec<_>>()
    );
    let basic = "Basic YWRtaW46b3BlbiBzZXNhbWUgJiBtb3Jl";
    let sent = format!(
        "GET /sap/opu/odata4/sap/?sap-client=100\nauthorization: {basic}\naccept: application/json\nx-csrf-token: Fetch"
    );
    assert_eq!(scene.erp.heads(), [sent]);
}

#[tokio::test]
async fn sap_gateway_says_in_two_ways_that_the_session_is_gone() {
    let upstream = upstreams(SAP).into_iter().find(|upstream| upstream.name == erp()).expect("erp");
    let required =
        HeaderMap::from_iter([(HeaderName::from_static("x-csrf-token"), HeaderValue::from_static("required"))]);
    assert_eq!(loss(&upstream, StatusCode::UNAUTHORIZED, &HeaderMap::new()), Loss::Lost);
    assert_eq!(loss(&upstream, StatusCode::FORBIDDEN, &required), Loss::Lost);
    assert_eq!(loss(&upstream, StatusCode::FORBIDDEN, &HeaderMap::new()), Loss::None);
}

#[tokio::test]
async fn idle_session_lives_on_while_it_is_used() {
    let scene = scene(SAP, [sap_answer(), sap_answer()]);
    let first = scene.session().await.generation();
    for _ in 0..5 {
        scene.clock.advance(Duration::from_mins(20));
        assert_eq!(scene.session().await.generation(), first);
    }
    scene.clock.advance(Duration::from_mins(29));
    assert_ne!(scene.session().await.generation(), first, "a minute of skew before half an hour without use");
}

#[tokio::test]
async fn cookie_that_is_missing_or_taken_back_is_no_session() {
    for cookie in ["other=1", "SAP_SESSIONID_ERP_100=; path=/", "SAP_SESSIONID_ERP_100=x; Max-Age=0"] {
        let scene =
            scene(SAP, [Act::AnswersWith(200, vec![("set-cookie", cookie), ("x-csrf-token", "t")], "{}".into())]);
        let error = scene.obtain(1).await.expect_err("no session").to_string();
        assert_eq!(
            error, "step 1 of the sign-in was refused: the cookie `SAP_SESSIONID_ERP_100` is not set",
            "{cookie}"
        );
    }
}

#[tokio::test]
async fn secure_cookie_is_not_used_without_tls_unless_somebody_says_so() {
    let answer = || {
        Act::AnswersWith(200, vec![("set-cookie", "tryton_session=admin:1:abcdefgh; Max-Age=600; Secure")], "[]".into())
    };
    let session = "recipe: tryton-cookie\nparameters: { database: erp }";
    let refused = scene(session, [answer()]).obtain(1).await.expect_err("refused").to_string();
    assert!(refused.contains("`tryton_session` is for TLS only"), "{refused}");
    let scene = scene(&format!("{session}\nsecure_over_http: true"), [answer()]);
    let session = scene.session().await;
    assert_eq!(injected(&session, &Method::GET, 1), ["cookie: tryton_session=admin:1:abcdefgh"]);
    assert_eq!(scene.expires_in(&session), Some(590), "Max-Age minus ten seconds");
}

#[tokio::test]
async fn oauth_token_is_asked_for_as_the_standard_says_and_lives_as_long_as_told() {
    let session = "recipe: oauth2-client-credentials\nparameters: { token_path: /token, scope: read write }";
    let scene =
        scene(session, [Act::Answers(200, json!({ "access_token": "at-12345678", "expires_in": 100 }).to_string())]);
    let session = scene.session().await;
    assert_eq!(injected(&session, &Method::GET, 1), ["authorization: Bearer at-12345678"]);
    assert_eq!(scene.expires_in(&session), Some(95));
    assert_eq!(scene.erp.requests(), [json!("grant_type=client_credentials&scope=read+write")]);
    // RFC 6749 section 2.3.1: id and secret are form-encoded before base64.
    let basic = "Basic YWRtaW46b3BlbitzZXNhbWUrJTI2K21vcmU=";
    let head =
        format!("POST /token\nauthorization: {basic}\naccept: application/json\napplication/x-www-form-urlencoded");
    assert_eq!(scene.erp.heads(), [head]);
}

#[tokio::test]
async fn oauth_secret_in_the_form() {
    let session = "recipe: oauth2-client-credentials-post\nparameters: { token_path: /token }";
    let scene = scene(session, [Act::Answers(200, json!({ "access_token": "at-12345678" }).to_string())]);
    let session = scene.session().await;
    assert_eq!(scene.expires_in(&session), Some(290), "the recipe's fallback where the answer says nothing");
    assert_eq!(
        scene.erp.requests(),
        [json!("grant_type=client_credentials&client_id=admin&client_secret=open+sesame+%26+more")]
    );
}

#[tokio::test]
async fn minutes_and_seconds_as_text_are_understood() {
    let session = "steps:\n- { path: /login, extract: { token: /t } }\ninject: { headers: { X-T: \"{{token}}\" } }\nlifetime: { minutes: /timeout, skew: 0s }";
    let scene = scene(session, [Act::Answers(200, json!({ "t": "abcdefgh", "timeout": "30" }).to_string())]);
    let session = scene.session().await;
    assert_eq!(scene.expires_in(&session), Some(1800));
}

const OWN: &str = "sign_in_as: account
steps:
- path: /login
  headers: { X-For: \"{{account.name}}\" }
  json: { user: \"{{username}}\", password: \"{{password}}\" }
  extract: { token: /token }
inject: { headers: { Authorization: \"Bearer {{token}}\", X-Account: \"{{account.name}}\" } }
logout: { path: /logout, json: { token: \"{{token}}\" } }";

fn token(text: &str) -> Act {
    Act::Answers(200, json!({ "token": text }).to_string())
}

#[tokio::test]
async fn two_accounts_never_share_a_session_that_belongs_to_one() {
    let scene = scene_with(OWN, [token("token-of-one"), token("token-of-two")], |vault| {
        vault.set_own_password(&account(1), "password-of-one");
        vault.set_own_password(&account(2), "password-of-two");
    });
    let (one, two) = (scene.obtain(1).await.expect("one"), scene.obtain(2).await.expect("two"));
    assert_eq!(injected(&one, &Method::GET, 1), ["authorization: Bearer token-of-one", "x-account: account-1"]);
    assert_eq!(injected(&two, &Method::GET, 2), ["authorization: Bearer token-of-two", "x-account: account-2"]);
    assert_eq!(scene.erp.requests()[1]["password"], "password-of-two");
    // The loss of one is not the loss of the other.
    scene.sessions.lost(one.key(), one.generation());
    assert_eq!(scene.obtain(2).await.expect("two").generation(), two.generation());
    let denied = scene.obtain(3).await.expect_err("no secrets of its own");
    assert!(
        matches!(&denied, SessionError::NoAccountSecret { account } if account.as_str() == "account-3"),
        "{denied}"
    );
    assert_eq!(scene.erp.requests().len(), 2, "the ERP is not asked for an account without secrets");
}

#[tokio::test]
async fn account_without_its_own_user_takes_the_shared_one_where_the_recipe_says_so() {
    let session = "recipe: tryton\nparameters: { database: erp }\nsign_in_as: account_or_upstream";
    let scene = scene_with(session, [], |vault| vault.set_own_password(&account(1), "password-of-one"));
    let (own, shared) = (scene.obtain(1).await.expect("own"), scene.obtain(2).await.expect("shared"));
    assert_eq!(own.key(), &SessionKey::own(&erp(), account(1).id));
    assert_eq!(shared.key(), &SessionKey::shared(&erp()));
    assert_eq!(scene.obtain(3).await.expect("shared").generation(), shared.generation());
}

#[tokio::test]
async fn secrets_given_to_an_account_and_taken_again_are_in_force_at_once() {
    let scene = scene(OWN, [token("token-of-one")]);
    assert!(matches!(scene.obtain(1).await, Err(SessionError::NoAccountSecret { .. })));
    scene.vault.set_own_password(&account(1), "password-of-one");
    scene.sessions.secret_changed(&erp(), Some(&account(1))).await.expect("known");
    scene.obtain(1).await.expect("a session");
    scene.sessions.secret_removed(&erp(), &account(1)).await.expect("removed");
    assert!(matches!(scene.obtain(1).await, Err(SessionError::NoAccountSecret { .. })));
}

#[tokio::test]
async fn shared_session_names_the_account_of_each_request() {
    let session = "inject: { headers: { Authorization: \"Bearer {{api_key}}\", X-On-Behalf-Of: \"{{account.name}}\" }, write_headers: { X-Writer: \"{{account.id}}\" } }";
    let scene = scene(session, []);
    let session = scene.session().await;
    let reads = |number| injected(&session, &Method::GET, number);
    assert_eq!(reads(1), ["authorization: Bearer key-for-the-erp", "x-on-behalf-of: account-1"]);
    assert_eq!(reads(2), ["authorization: Bearer key-for-the-erp", "x-on-behalf-of: account-2"]);
    assert_eq!(injected(&session, &Method::DELETE, 2).len(), 3);
}

#[tokio::test]
async fn logout_follows_a_change_of_secrets_and_the_word_of_an_operator() {
    let scene =
        scene_with(OWN, [token("first-token"), Act::Answers(200, "{}".into()), token("second-token")], |vault| {
            vault.set_own_password(&account(1), "password-of-one");
        });
    scene.obtain(1).await.expect("a session");
    scene.sessions.secret_changed(&erp(), Some(&account(1))).await.expect("dropped");
    while scene.erp.requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(scene.erp.requests()[1], json!({ "token": "first-token" }));
    scene.obtain(1).await.expect("another session");
    let key = SessionKey::own(&erp(), account(1).id);
    assert!(scene.sessions.logout(&key).await.expect("signed out"));
    assert_eq!(scene.erp.requests()[3], json!({ "token": "second-token" }));
    assert!(!scene.sessions.logout(&key).await.expect("nothing to do"));
    assert_eq!(scene.erp.heads()[1], "POST /logout\napplication/json");
}

#[tokio::test]
async fn rotation_signs_the_old_session_out_when_its_last_relay_has_ended() {
    let session = OWN
        .replace("sign_in_as: account\n", "lifetime: 1000s\n")
        .replace("  headers: { X-For: \"{{account.name}}\" }\n", "");
    let scene = scene(&session, [token("first-token"), token("second-token"), Act::Answers(200, "{}".into())]);
    let first = scene.session().await;
    scene.clock.advance(Duration::from_mins(15));
    assert_eq!(scene.session().await.generation(), first.generation(), "late, and serves on");
    scene.sessions.settled(&erp()).await;
    assert_ne!(scene.session().await.generation(), first.generation());
    assert_eq!(scene.erp.requests().len(), 2, "a relay still uses the first session");
    drop(first);
    while scene.erp.requests().len() < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(scene.erp.requests()[2], json!({ "token": "first-token" }));
}

#[tokio::test]
async fn session_that_does_not_survive_is_neither_kept_nor_left_behind() {
    let session = OWN
        .replace("sign_in_as: account\n", "survives_restart: false\n")
        .replace("  headers: { X-For: \"{{account.name}}\" }\n", "");
    let scene = scene(&session, [token("first-token"), Act::Answers(200, "{}".into())]);
    scene.session().await;
    assert!(scene.vault.session().is_none());
    scene.sessions.shut_down().await;
    assert_eq!(scene.erp.requests()[1], json!({ "token": "first-token" }));
}

#[tokio::test]
async fn step_may_go_to_another_upstream() {
    let session = "steps:\n- { path: /token, at: identity, extract: { token: /token } }\ninject: { headers: { X-T: \"{{token}}\" } }";
    let upstreams = upstreams(session);
    let erp = upstreams.iter().find(|upstream| upstream.name == erp()).expect("erp");
    assert_eq!(erp.session.steps[0].at, Some("identity".parse::<UpstreamName>().expect("a name")));
}

#[tokio::test]
async fn test_of_a_sign_in_shows_what_happened_and_no_secret() {
    let redactor = Redactor::new(&RedactionLists::default());
    let scene = scene(
        SAP,
        [sap_answer(), Act::AnswersWith(401, vec![("www-authenticate", "Basic realm=\"SAP\"")], "no".into())],
    );
    let report = scene.sessions.test(&SessionKey::shared(&erp()), &redactor).await.expect("tried");
    assert_eq!(report.error, None);
    assert_eq!(report.injects, ["cookie", "x-csrf-token"]);
    let shown = serde_json::to_string(&report).expect("JSON");
    for secret in ["YWRtaW46", "open sesame", "abc%3d", "token-for-writes"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("set-cookie: SAP_SESSIONID_ERP_100=[secret]; path=/; HttpOnly"), "{shown}");
    let failed = scene.sessions.test(&SessionKey::shared(&erp()), &redactor).await.expect("tried");
    assert_eq!(failed.error.as_deref(), Some("step 1 of the sign-in was refused: status 401"));
    assert_eq!(failed.steps[0].answer_headers, ["www-authenticate: Basic realm=\"SAP\""]);
    assert_eq!(scene.sessions.status().len(), 2, "erp and identity");
    assert_eq!(scene.erp.requests().len(), 2, "no session was made to serve");
}

#[tokio::test]
async fn tests_of_a_sign_in_count_against_the_limit_per_minute() {
    let redactor = Redactor::new(&RedactionLists::default());
    let scene = scene(&format!("{SAP}\nattempts_per_minute: 1"), [sap_answer()]);
    scene.session().await;
    let refused = scene.sessions.test(&SessionKey::shared(&erp()), &redactor).await.expect_err("too many");
    assert!(matches!(refused, SessionError::BackingOff { .. }), "{refused}");
}
