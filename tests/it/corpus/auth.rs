//! `auth_headers.jsonl`: what is and what is not a credential.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use erp_access::control::{Bounds, Command};
use serde::Deserialize;
use serde_json::Value;

use super::{judge, rows};
use crate::support::gateway::{Gateway, Issued};
use crate::support::http::{Connection, find};
use crate::support::recorder::Recorder;

#[derive(Deserialize)]
struct Row {
    id: String,
    endpoint: String,
    headers: Vec<(String, String)>,
    #[serde(default)]
    body: Option<String>,
    safe: Vec<String>,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    www_authenticate: Option<String>,
    #[serde(default)]
    must_not_be_logged: Vec<String>,
    #[serde(default)]
    expect_body: Option<Value>,
    #[serde(default)]
    still_valid: Vec<String>,
    #[serde(default)]
    dead_after: Vec<String>,
}

/// Everything that stands in braces in the rows, built from secrets that were really issued.
struct Placeholders(HashMap<String, String>);

impl Placeholders {
    fn build(gateway: &Gateway) -> Self {
        let mut known = HashMap::new();
        let own = gateway.issue("acme", &["corpus"]);
        let other = gateway.issue("other", &["corpus"]);
        let disabled = gateway.issue("acme", &[]);
        let revoked = gateway.issue("acme", &[]);
        let suspended = gateway.issue("suspended", &["corpus"]);
        let expired = gateway.issue_with(
            "acme",
            &[],
            Bounds::Bounded,
            Some("2026-11-23T12:00:01+05:00".parse().expect("a time")),
        );
        let mut put = |name: &str, value: String| drop(known.insert(name.to_owned(), value));
        put("TOKEN", gateway.token(&own));
        put("TOKEN_B", gateway.token(&other));
        put("TOKEN_OTHER_ACCOUNT", gateway.token(&other));
        let before = gateway.control().directory.tokens(Some(own.id), gateway_now(gateway));
        let dead = gateway.token(&own);
        let after = gateway.control().directory.tokens(Some(own.id), gateway_now(gateway));
        let id = after.iter().find(|token| !before.contains(token)).expect("a token").id;
        gateway.operate(Command::TokenRevoke { id }).expect("revoked");
        put("TOKEN_REVOKED", dead);
        for (name, token) in
            [("TOKEN_DISABLED", &disabled), ("TOKEN_EXPIRED", &expired), ("TOKEN_SUSPENDED_ACCOUNT", &suspended)]
        {
            put(name, gateway.token(token));
        }
        gateway.operate(Command::CredentialDisable { id: disabled.id }).expect("disabled");
        gateway.operate(Command::CredentialRevoke { id: revoked.id }).expect("revoked");
        let name = "suspended".parse().expect("a name");
        gateway.operate(Command::AccountSuspend { name, reason: "the corpus".into() }).expect("suspended");
        gateway.clock.advance(std::time::Duration::from_secs(2));
        for (suffix, set) in [
            ("", &own),
            ("_OTHER_ACCOUNT", &other),
            ("_DISABLED", &disabled),
            ("_REVOKED", &revoked),
            ("_EXPIRED", &expired),
            ("_SUSPENDED_ACCOUNT", &suspended),
        ] {
            put(&format!("BASIC{suffix}"), basic(set, &set.password));
            put(&format!("API_KEY{suffix}"), set.api_key.clone());
        }
        variants(&own, &mut put);
        Self(known)
    }

    fn fill(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, value) in &self.0 {
            text = text.replace(&format!("{{{{{name}}}}}"), value);
        }
        text
    }
}

fn gateway_now(gateway: &Gateway) -> jiff::Timestamp {
    erp_access::domain::Clock::now(&gateway.clock)
}

fn basic(set: &Issued, password: &str) -> String {
    STANDARD.encode(format!("{}:{password}", set.id))
}

fn variants(own: &Issued, put: &mut impl FnMut(&str, String)) {
    let plain = basic(own, &own.password);
    put("BASIC_NOPAD", plain.trim_end_matches('=').to_owned());
    put("BASIC_SPACES", format!("{} {}", &plain[..8], &plain[8..]));
    put("BASIC_URLSAFE_SET", URL_SAFE.encode(format!("{}:{}\u{fb}\u{ff}", own.id, own.password)));
    put("BASIC_NONCANONICAL", non_canonical(own));
    put("BASIC_EMPTY_PASSWORD", basic(own, ""));
    put("BASIC_EXTRA_COLON", basic(own, &format!("{}:more", own.password)));
    put("BASIC_TRAILING_NL", basic(own, &format!("{}\n", own.password)));
    put("BASIC_TRAILING_SP", basic(own, &format!("{} ", own.password)));
    put("BASIC_NUL", basic(own, &format!("{}\0", own.password)));
    put("BASIC_UPPER_ID", STANDARD.encode(format!("{}:{}", own.id.to_string().to_uppercase(), own.password)));
    put("BASIC_SP_ID", STANDARD.encode(format!(" {}:{}", own.id, own.password)));
    put("BASIC_WRONG_PASSWORD", basic(own, "erpa_pwd_wrong"));
    let broken = |text: &str| format!("{}{}", &text[..text.len() - 1], if text.ends_with('x') { 'y' } else { 'x' });
    put("API_KEY_BAD_CRC", broken(&own.api_key));
    let stranger = |kind| {
        let secret =
            erp_access::domain::IssuedSecret::generate(kind, &erp_access::domain::SystemEntropy).expect("entropy");
        secret.secret().expose().to_owned()
    };
    put("API_KEY_GOOD_CRC_UNKNOWN", stranger(erp_access::domain::IssuedKind::ApiKey));
    put("TOKEN_GOOD_CRC_UNKNOWN", stranger(erp_access::domain::IssuedKind::Token));
    put("TOKEN_BAD_CRC", broken(&stranger(erp_access::domain::IssuedKind::Token)));
    put("TOKEN_UPPER", stranger(erp_access::domain::IssuedKind::Token).to_uppercase());
    put("TOKEN_TRUNCATED", stranger(erp_access::domain::IssuedKind::Token)[..40].to_owned());
    put("TOKEN_HMAC_HEX", "0123456789abcdef".repeat(4));
    put("PORTAL_SESSION", "portal-session-0123456789abcdef".to_owned());
    put("UPSTREAM_TOKEN", "erp-side-key-1".to_owned());
}

/// The last character changed to one that decodes to the same bytes, where the text is padded.
fn non_canonical(own: &Issued) -> String {
    let mut password = own.password.clone();
    while STANDARD.encode(format!("{}:{password}", own.id)).ends_with(|character| character != '=') {
        password.push('a');
    }
    let text = STANDARD.encode(format!("{}:{password}", own.id));
    let padding = text.len() - text.trim_end_matches('=').len();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (start, last) = text[..text.len() - padding].split_at(text.len() - padding - 1);
    let index = alphabet.find(last).expect("base64");
    format!("{start}{}{}", &alphabet[index + 1..index + 2], "=".repeat(padding))
}

fn ask(gateway: &Gateway, row: &Row, known: &Placeholders) -> Option<crate::support::http::Response> {
    let (method, target) = match row.endpoint.as_str() {
        "token" => ("POST", "/oauth/token"),
        "revoke" => ("POST", "/oauth/revoke"),
        "introspect" => ("POST", "/oauth/introspect"),
        _ => ("GET", "/v1/orders"),
    };
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: gateway.test\r\nConnection: close\r\n").into_bytes();
    for (name, value) in &row.headers {
        bytes.extend(format!("{name}: ").into_bytes());
        // One code point a byte, so that rows with other encodings are sent as they are meant.
        bytes.extend(known.fill(value).chars().map(|character| u8::try_from(u32::from(character)).unwrap_or(b'?')));
        bytes.extend(b"\r\n");
    }
    let body = known.fill(row.body.as_deref().unwrap_or_default());
    if method == "POST" {
        if !body.is_empty() {
            bytes.extend(b"Content-Type: application/x-www-form-urlencoded\r\n");
        }
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).into_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body.into_bytes());
    let mut connection = Connection::open(gateway.address);
    let _ = connection.send(&bytes);
    connection.response(false)
}

#[test]
fn every_credential_of_the_corpus_is_taken_or_refused_as_it_should_be() {
    let erp = Recorder::start();
    let gateway =
        super::path::setup(&erp).config("tokens:\n  attempts_per_client: 1000\n  attempts_per_address: 1000\n").start();
    gateway.set_api_key("erp-side-key-1");
    let known = Placeholders::build(&gateway);
    let rows: Vec<Row> = rows(include_str!("../../corpus/auth_headers.jsonl"));
    let mut wrong = Vec::new();
    for row in &rows {
        let Some(response) = ask(&gateway, row, &known) else {
            if !row.safe.iter().any(|safe| safe == "400" || safe == "close") {
                wrong.push(format!("{}: no answer, safe is {:?}", row.id, row.safe));
            }
            continue;
        };
        let status = response.status.to_string();
        if !row.safe.contains(&status) {
            wrong.push(format!("{}: {status} {}, safe is {:?}", row.id, response.text(), row.safe));
            continue;
        }
        if status == row.safe[0]
            && let Some(code) = &row.code
            && response.code() != *code
        {
            wrong.push(format!("{}: code {}, expected {code}", row.id, response.code()));
        }
        if let Some(challenge) = &row.www_authenticate
            && !response.header("www-authenticate").is_some_and(|value| value.starts_with(challenge.as_str()))
        {
            wrong.push(format!("{}: WWW-Authenticate {:?}", row.id, response.header("www-authenticate")));
        }
        if let Some(body) = &row.expect_body
            && response.json() != *body
        {
            wrong.push(format!("{}: body {}", row.id, response.text()));
        }
        for (tokens, alive) in [(&row.still_valid, true), (&row.dead_after, false)] {
            for token in tokens {
                let served = gateway.get(&known.fill(token), "/v1/orders").status == 200;
                if served != alive {
                    wrong.push(format!("{}: the token is {}", row.id, if served { "alive" } else { "dead" }));
                }
            }
        }
    }
    wrong.extend(logged(&gateway, &rows, &known));
    judge(&wrong, rows.len());
}

/// Secrets that stand in a database file.
fn logged(gateway: &Gateway, rows: &[Row], known: &Placeholders) -> Vec<String> {
    let files = gateway.database_bytes();
    let mut found = Vec::new();
    for row in rows {
        for secret in row.must_not_be_logged.iter().map(|secret| known.fill(secret)) {
            for (path, bytes) in &files {
                if find(bytes, secret.as_bytes()).is_some() {
                    found.push(format!("{}: {secret:?} stands in {}", row.id, path.display()));
                }
            }
        }
    }
    found
}
