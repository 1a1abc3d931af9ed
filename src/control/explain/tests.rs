use jiff::Timestamp;

use super::*;
use crate::audit::{End, StoredOutcome};
use crate::domain::{AccountId, Code, CredentialId, TokenId};

const SET: [u8; 16] = [7; 16];

fn at() -> Timestamp {
    "2026-11-24T01:58:23.5Z".parse().expect("a time")
}

fn row(kind: &str, method: &str, path: &str) -> Row {
    Row {
        seq: 1,
        id: RequestId::from_bytes([1; 16]),
        kind: kind.into(),
        at: at(),
        correlation: None,
        actor: "unknown".into(),
        account: None,
        credential: None,
        token: None,
        client: None,
        method: method.into(),
        path: path.into(),
        query: None,
        endpoint: None,
        policy: None,
        rule: None,
        policy_snapshot: None,
        generation: 1,
        decision: "denied".into(),
        code: None,
        status: None,
        verdicts: Vec::new(),
        detail: None,
        node: "n".into(),
        cause: None,
        repeats: 1,
        schedule: None,
        kill_switch: None,
        tls: None,
        outcome: None,
    }
}

fn names() -> Names {
    Names { account: Some("acme".into()), credential: Some("webshop".into()) }
}

fn verdict(step: &str, decision: &str, note: &str) -> (String, String, String) {
    (step.into(), decision.into(), note.into())
}

fn exchange(ended: End) -> StoredOutcome {
    StoredOutcome {
        seq: 8,
        at: at(),
        ended: ended.as_str().into(),
        status: Some(200),
        code: None,
        detail: None,
        upstream_peer: Some("10.0.0.9:8080".into()),
        upstream_status: Some(200),
        attempts: 1,
        duration: 12_345,
        upstream_duration: Some(999),
        request_bytes: 0,
        response_bytes: 1,
        request_preview: None,
        response_preview: None,
    }
}

#[test]
fn a_relay_says_who_asked_for_what_when_and_from_where() {
    let id = CredentialId::from_bytes(SET);
    let relay = Row {
        actor: format!("credential:{id}"),
        account: Some(AccountId::from_bytes([2; 16])),
        credential: Some(id),
        client: Some("10.0.0.3".into()),
        query: Some("open=1".into()),
        endpoint: Some("orders.list".into()),
        ..row("relay", "GET", "/v1/orders")
    };
    assert_eq!(
        happened::sentence(&relay, &names()),
        format!(
            "On 2026-11-24 at 01:58:23 UTC credential set `webshop` ({id}) of account `acme` at 10.0.0.3 asked for GET \
             /v1/orders?open=1, which is the endpoint `orders.list`."
        )
    );
    assert_eq!(
        happened::sentence(&relay, &Names::default()),
        format!(
            "On 2026-11-24 at 01:58:23 UTC credential set {id} at 10.0.0.3 asked for GET /v1/orders?open=1, which is the \
             endpoint `orders.list`."
        )
    );
    assert_eq!(
        happened::sentence(&row("relay", "GET", "/v1/orders"), &Names::default()),
        "On 2026-11-24 at 01:58:23 UTC somebody who was not recognised asked for GET /v1/orders."
    );
}

#[test]
fn a_token_attempt_with_a_wrong_password_is_not_said_to_be_by_the_set_that_was_tried() {
    let id = CredentialId::from_bytes(SET);
    let tried = Row {
        credential: Some(id),
        code: Some("credentials_invalid".into()),
        status: Some(401),
        ..row("token_attempt", "POST", "token")
    };
    assert_eq!(
        happened::sentence(&tried, &names()),
        format!(
            "On 2026-11-24 at 01:58:23 UTC somebody who was not recognised asked for a token, with the client id of \
             credential set `webshop` ({id}) of account `acme`."
        )
    );
    let step = steps::sentence("token_attempt", &verdict("authentication", "denied", "the password is wrong"));
    assert_eq!(step, "Client id, password and x-api-key were not accepted: the password is wrong.");
    assert_eq!(
        outcome::sentences(&tried),
        [
            "So it was denied and answered with status 401, code `credentials_invalid`: the credentials are not valid (the \
          request is at fault)."
        ]
    );
    let token = TokenId::from_bytes([3; 16]);
    let right = Row {
        actor: format!("credential:{id}"),
        decision: "allowed".into(),
        token: Some(token),
        status: Some(200),
        ..tried
    };
    let said = happened::sentence(&right, &names());
    assert!(said.ends_with("of account `acme` asked for a token."), "{said}");
    assert_eq!(
        outcome::sentences(&Row { code: None, ..right }),
        [format!("So it was allowed: the token {token} was issued, answered with status 200.")]
    );
}

#[test]
fn a_change_says_what_was_before_and_after_and_why() {
    let change = Row {
        actor: "operator:root".into(),
        decision: "allowed".into(),
        detail: Some(r#"{"before":"active","after":"disabled"}"#.into()),
        ..row("change", "credential.disable", "abc")
    };
    assert_eq!(
        happened::sentence(&change, &names()),
        "On 2026-11-24 at 01:58:23 UTC operator `root` disabled the credential set abc."
    );
    assert_eq!(happened::changed(&change).as_deref(), Some("It was `active` before and is `disabled` since."));
    assert!(outcome::sentences(&change).is_empty());
    let engaged = Row {
        detail: Some(r#"{"message":null,"reason":"stock-taking"}"#.into()),
        ..row("change", "kill.engage", "all")
    };
    assert_eq!(happened::changed(&engaged).as_deref(), Some("With it came: reason `stock-taking`."));
    let unknown = Row { actor: "system".into(), ..row("change", "thing.turn", "x") };
    assert_eq!(
        happened::sentence(&unknown, &names()),
        "On 2026-11-24 at 01:58:23 UTC the gateway by itself did `thing.turn` to `x`."
    );
}

#[test]
fn what_the_gateway_does_by_itself_is_told_and_why_it_failed() {
    let system = Row { actor: "system".into(), ..row("system", "upstream.login", "erp") };
    let failed = Row { code: Some("upstream_session_failed".into()), ..system.clone() };
    assert!(
        happened::sentence(&failed, &names())
            .ends_with("the gateway by itself tried to sign in to the upstream `erp`.")
    );
    assert_eq!(
        outcome::sentences(&failed),
        ["It failed, code `upstream_session_failed`: the gateway cannot sign in to the ERP (something is broken)."]
    );
    let done = Row { decision: "allowed".into(), ..system };
    assert!(happened::sentence(&done, &names()).ends_with("by itself signed in to the upstream `erp`."));
    assert!(outcome::sentences(&done).is_empty());
}

#[test]
fn every_step_has_a_sentence_of_its_own_for_both_verdicts() {
    use crate::audit::Step;
    let steps = [
        Step::Request,
        Step::KillSwitch,
        Step::Authentication,
        Step::Endpoint,
        Step::Policy,
        Step::Schedule,
        Step::ScopedKillSwitch,
        Step::Limits,
        Step::Throttle,
        Step::Audit,
        Step::UpstreamSession,
    ];
    let mut said: Vec<String> = steps
        .iter()
        .flat_map(|step| ["allowed", "denied"].map(|decision| verdict(step.as_str(), decision, "the note")))
        .map(|verdict| steps::sentence("relay", &verdict))
        .collect();
    assert!(said.iter().all(|sentence| sentence.ends_with("the note.")), "{said:#?}");
    said.sort_unstable();
    said.dedup();
    assert_eq!(said.len(), 2 * steps.len());
    assert_eq!(
        steps::sentence("relay", &verdict("of_tomorrow", "denied", "because.")),
        "Step `of_tomorrow` said `denied`: because."
    );
}

#[test]
fn the_exchange_is_told_for_every_end() {
    let allowed = |outcome| Row {
        decision: "allowed".into(),
        policy: Some("p".into()),
        rule: Some("r".into()),
        outcome,
        ..row("relay", "GET", "/a")
    };
    let said = outcome::sentences(&allowed(Some(exchange(End::Completed))));
    assert_eq!(
        said,
        [
            "So it was allowed, by rule `r` of policy `p`.",
            "The request was sent once to the ERP at 10.0.0.9:8080; it answered with status 200 after 999 µs.",
            "The answer was passed on whole with status 200.",
            "It took 12.3 ms in all; 0 bytes of body came in and 1 byte went out.",
        ]
    );
    let failed = StoredOutcome {
        status: Some(504),
        code: Some(Code::UpstreamTimeout.as_str().into()),
        detail: Some("no answer within 5s".into()),
        upstream_status: None,
        attempts: 2,
        duration: 5_001_000,
        ..exchange(End::Failed)
    };
    let said = outcome::sentences(&allowed(Some(failed))).join(" ");
    for part in [
        "sent twice to the ERP at 10.0.0.9:8080; it did not answer.",
        "the client was answered with status 504, code `upstream_timeout`: the ERP did not answer in time (something is broken).",
        "The operator may know: no answer within 5s.",
        "It took 5.00 s in all",
    ] {
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    let withheld = StoredOutcome {
        status: Some(502),
        code: Some(Code::ResponseWithheld.as_str().into()),
        ..exchange(End::Failed)
    };
    let said = outcome::sentences(&allowed(Some(withheld))).join(" ");
    let part = "The ERP's answer was withheld; the client was answered with status 502, code `response_withheld`: the answer \
                may not be passed on (the policies say so).";
    assert!(said.contains(part), "{said}");
    for (end, part) in [
        (End::Aborted, "The client or the ERP broke off."),
        (End::Cut, "An operator's act stopped it on its way."),
        (End::Interrupted, "whether the ERP acted is not known."),
    ] {
        let said = outcome::sentences(&allowed(Some(exchange(end)))).join(" ");
        assert!(said.contains(part), "no `{part}` in {said}");
    }
    assert!(outcome::sentences(&allowed(None)).join(" ").contains("it is in progress"));
    let unsent = StoredOutcome { attempts: 0, ..exchange(End::Failed) };
    assert!(outcome::sentences(&allowed(Some(unsent))).contains(&"The ERP was not contacted.".to_owned()));
}

#[test]
fn a_row_that_stands_for_several_requests_says_so() {
    let folded = Row { repeats: 5000, ..row("relay", "GET", "/a") };
    assert!(outcome::sentences(&folded).contains(&"This row stands for 5000 requests alike.".to_owned()));
    assert_eq!(outcome::sentences(&row("relay", "GET", "/a")).len(), 1);
}

#[test]
fn where_no_policy_text_is_shown_it_is_said_why() {
    let by_default = Row {
        verdicts: vec![verdict("policy", "denied", "no rule of a granted policy allows it (granted: `a`)")],
        ..row("relay", "GET", "/a")
    };
    let said = text::missing(&by_default, None).expect("a sentence");
    assert!(said.contains("denied by default"), "{said}");
    let lost = Row { policy: Some("p".into()), rule: Some("r".into()), ..row("relay", "GET", "/a") };
    assert!(text::missing(&lost, None).expect("a sentence").contains("is not kept"));
    let broken = Row { policy: Some("p".into()), ..row("relay", "GET", "/a") };
    assert!(text::missing(&broken, None).expect("a sentence").contains("no text that could be used"));
    assert_eq!(text::missing(&row("relay", "GET", "/a"), None), None);
}
