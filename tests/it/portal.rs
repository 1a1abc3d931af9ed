//! The portal as a browser meets it: signing in, pages by role, what is shown once, and what other sites cannot do.

use std::net::SocketAddr;
use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::{Clock as _, Role};
use serde_json::Value;
use totp_rs::{Algorithm, Builder, Totp};

use crate::support::gateway::{Gateway, Setup};
use crate::support::http::{self, Response};
use crate::support::recorder::Recorder;

pub(crate) const PASSWORD: &str = "heather canyon mosaic 42";

pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) erp: Recorder,
}

/// A browser with its one cookie.
pub(crate) struct Browser {
    pub(crate) address: SocketAddr,
    pub(crate) cookie: Option<String>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let erp = Recorder::answering("application/json", &[], b"[]");
        let gateway = Setup::new(erp.address()).config("portal:\n  listen: [\"127.0.0.1:0\"]\n").start();
        Self { gateway, erp }
    }

    pub(crate) fn browser(&self) -> Browser {
        Browser { address: self.gateway.portal.expect("the portal is served"), cookie: None }
    }

    /// A user with the first password.
    pub(crate) fn user(&self, name: &str, role: Role, account: Option<&str>) -> String {
        let account = account.map(|name| name.parse().expect("a name"));
        let command = Command::UserCreate { name: name.to_owned(), role, account };
        let created = self.gateway.operate(command).expect("created");
        let password = created["password"].as_str().expect("a password").to_owned();
        self.gateway.note_secret(&password);
        self.gateway.note_secret(PASSWORD);
        password
    }

    pub(crate) fn code(&self, key: &str) -> String {
        let now = u64::try_from(self.gateway.clock.now().as_second()).expect("a time");
        totp(key).generate(now).to_string()
    }

    /// Signs somebody in for the first time, and gives the key of the second factor where there is one.
    pub(crate) fn signed_in(&self, name: &str, role: Role, account: Option<&str>) -> (Browser, Option<String>) {
        let first = self.user(name, role, account);
        let mut browser = self.browser();
        assert_eq!(browser.post("/sign-in", &[("name", name), ("password", &first)]).goes_to(), "/sign-in/password");
        let chosen = browser.post("/sign-in/password", &[("chosen", PASSWORD), ("again", PASSWORD)]);
        if role != Role::Admin {
            assert_eq!(chosen.goes_to(), "/");
            return (browser, None);
        }
        assert_eq!(chosen.goes_to(), "/sign-in/second-factor");
        let page = browser.get("/sign-in/second-factor").text();
        let key = between(&page, "Key, for typing</dt><dd>", "</dd>").to_owned();
        self.gateway.note_secret(&key);
        let codes = browser.post("/sign-in/second-factor", &[("code", &self.code(&key))]);
        assert_eq!(codes.status, 200, "{}", codes.text());
        (browser, Some(key))
    }
}

pub(crate) fn totp(key: &str) -> Totp {
    let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_step_duration(30);
    let mut bits = 0_u32;
    let (mut buffer, mut secret) = (0_u32, Vec::new());
    for letter in key.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            other => panic!("{other} is no base32"),
        };
        buffer = (buffer << 5) | u32::from(value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            secret.push(u8::try_from((buffer >> bits) & 0xff).expect("a byte"));
        }
    }
    builder.with_secret(secret).with_account_name("anna").build().expect("a second factor")
}

pub(crate) fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let from = text.find(before).unwrap_or_else(|| panic!("`{before}` is not in {text}")) + before.len();
    &text[from..from + text[from..].find(after).expect("an end")]
}

pub(crate) trait Page {
    fn goes_to(&self) -> &str;
}

impl Page for Response {
    fn goes_to(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.text());
        self.header("location").expect("a location")
    }
}

impl Browser {
    pub(crate) fn send(&mut self, method: &str, target: &str, more: &[(&str, &str)], body: Option<&str>) -> Response {
        let mut headers = more.to_vec();
        if let Some(cookie) = &self.cookie {
            headers.push(("Cookie", cookie));
        }
        let response = http::once(self.address, method, target, &headers, body.map(str::as_bytes));
        if let Some(set) = response.header("set-cookie") {
            let (pair, rest) = set.split_once(';').expect("attributes");
            assert!(rest.contains("Secure") && rest.contains("HttpOnly") && rest.contains("SameSite=Strict"), "{set}");
            assert!(pair.starts_with("__Host-") && rest.contains("Path=/") && !rest.contains("Domain"), "{set}");
            self.cookie = Some(pair.to_owned());
        }
        for (name, part) in [
            ("content-security-policy", "default-src 'none'"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert!(response.header(name).is_some_and(|value| value.contains(part)), "{method} {target}: no {name}");
        }
        if !target.starts_with("/assets/") {
            assert_eq!(response.header("cache-control"), Some("no-store"), "{method} {target}");
        }
        response
    }

    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.send("GET", target, &[], None)
    }

    pub(crate) fn post(&mut self, target: &str, fields: &[(&str, &str)]) -> Response {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let body = form.extend_pairs(fields).finish();
        let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Sec-Fetch-Site", "same-origin")];
        self.send("POST", target, &headers, Some(&body))
    }
}

#[test]
fn an_administrator_signs_in_with_a_password_of_their_own_and_a_second_factor() {
    let scene = Scene::new();
    let first = scene.user("anna", Role::Admin, None);
    let mut browser = scene.browser();
    assert_eq!(browser.get("/").goes_to(), "/sign-in");
    assert_eq!(browser.post("/sign-in", &[("name", "anna"), ("password", &first)]).goes_to(), "/sign-in/password");
    let of_password = browser.cookie.clone();
    assert_eq!(browser.get("/").goes_to(), "/sign-in/password", "nothing else is to be had before");
    for (chosen, again, said) in [
        ("password", "password", "among the first"),
        ("short", "short", "at least 8 characters"),
        (PASSWORD, "another", "not the same"),
        (first.as_str(), first.as_str(), "another password than"),
    ] {
        let refused = browser.post("/sign-in/password", &[("chosen", chosen), ("again", again)]);
        assert!(refused.status == 422 && refused.text().contains(said), "{said}: {}", refused.text());
    }
    let chosen = browser.post("/sign-in/password", &[("chosen", PASSWORD), ("again", PASSWORD)]);
    assert_eq!(chosen.goes_to(), "/sign-in/second-factor");
    let mut before = Browser { cookie: of_password, ..scene.browser() };
    assert_eq!(before.get("/").goes_to(), "/sign-in", "an id is never kept over a step");
    let page = browser.get("/sign-in/second-factor").text();
    assert!(page.contains("data:image/svg+xml;base64,"), "{page}");
    let key = between(&page, "Key, for typing</dt><dd>", "</dd>").to_owned();
    assert_eq!(browser.post("/sign-in/second-factor", &[("code", "000000")]).status, 403);
    let code = scene.code(&key);
    let codes = browser.post("/sign-in/second-factor", &[("code", &code)]).text();
    let recovery = between(&codes, "data-secret", ">").to_owned();
    assert!(codes.contains("Shown once") && codes.matches("data-secret").count() == 10, "{recovery}");
    let recovery = between(&codes, "readonly value=\"", "\"").to_owned();
    assert_eq!(browser.get("/").status, 200);
    // From now on a code is asked for, and the one of the enrolment is used up.
    let mut other = scene.browser();
    assert_eq!(other.post("/sign-in", &[("name", "anna"), ("password", PASSWORD)]).goes_to(), "/sign-in/code");
    assert_eq!(other.get("/credentials").goes_to(), "/sign-in/code");
    assert_eq!(other.post("/sign-in/code", &[("code", &code)]).status, 403, "a code serves once");
    scene.gateway.clock.advance(Duration::from_mins(1));
    let code = scene.code(&key);
    assert_eq!(other.post("/sign-in/code", &[("code", &code)]).goes_to(), "/");
    assert_eq!(other.get("/").status, 200);
    // A recovery code serves once too.
    for (outcome, status) in [("first", 303), ("second", 403)] {
        let mut third = scene.browser();
        third.post("/sign-in", &[("name", "anna"), ("password", PASSWORD)]);
        let typed = recovery.to_uppercase();
        assert_eq!(third.post("/sign-in/code", &[("code", &typed)]).status, status, "the {outcome} time");
    }
    let rows = scene.gateway.audit("system", 1);
    let signed_in = rows.iter().filter(|row| row["method"] == "portal.sign-in");
    assert!(signed_in.clone().any(|row| row["decision"] == "allowed"), "{rows:?}");
    assert!(signed_in.clone().any(|row| row["decision"] == "denied"), "{rows:?}");
}

#[test]
fn who_is_unknown_disabled_or_wrong_gets_the_same_answer_and_guessing_is_slowed_down() {
    let scene = Scene::new();
    let first = scene.user("anna", Role::Admin, None);
    let disabled = scene.user("bert", Role::Admin, None);
    scene.gateway.operate(Command::UserDisable { name: "bert".into() }).expect("disabled");
    let wrong = |name: &str, password: &str| {
        let answer = scene.browser().post("/sign-in", &[("name", name), ("password", password)]);
        (answer.status, answer.text())
    };
    let unknown = wrong("nobody", "x");
    assert_eq!(unknown.0, 403);
    assert_eq!(wrong("anna", "wrong"), unknown);
    assert_eq!(wrong("bert", &disabled), unknown);
    let throttled = (0..6).map(|_| wrong("carl", "x").0).collect::<Vec<_>>();
    assert_eq!(throttled.last(), Some(&429), "{throttled:?}");
    // Whoever guesses at one name keeps nobody else out.
    let signed_in = scene.browser().post("/sign-in", &[("name", "anna"), ("password", &first)]);
    assert_eq!(signed_in.goes_to(), "/sign-in/password");
}

#[test]
fn a_form_of_another_site_does_nothing() {
    let scene = Scene::new();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    let host = scene.browser().address.to_string();
    let foreign = format!("https://evil.example:{}", scene.browser().address.port());
    for more in [
        vec![kind],
        vec![kind, ("Sec-Fetch-Site", "cross-site")],
        vec![kind, ("Sec-Fetch-Site", "same-site")],
        vec![kind, ("Origin", "null")],
        vec![kind, ("Origin", foreign.as_str())],
    ] {
        let refused = browser.send("POST", "/accounts", &more, Some("name=acme"));
        assert_eq!(refused.status, 403, "{more:?}");
    }
    assert_eq!(scene.gateway.operate(Command::AccountList).expect("listed"), Value::Array(Vec::new()));
    // A browser that does not know Sec-Fetch-Site sends the origin.
    let own = format!("http://{host}");
    let done = browser.send("POST", "/accounts", &[kind, ("Origin", &own), ("Host", &host)], Some("name=acme"));
    assert_eq!(done.goes_to(), "/accounts/acme");
}

#[test]
fn a_session_ends_by_itself_by_signing_out_and_with_its_user() {
    let scene = Scene::new();
    let (mut idle, key) = scene.signed_in("anna", Role::Admin, None);
    let key = key.expect("a second factor");
    let again = || {
        scene.gateway.clock.advance(Duration::from_mins(1));
        let mut browser = scene.browser();
        browser.post("/sign-in", &[("name", "anna"), ("password", PASSWORD)]);
        assert_eq!(browser.post("/sign-in/code", &[("code", &scene.code(&key))]).goes_to(), "/");
        browser
    };
    scene.gateway.clock.advance(Duration::from_mins(31));
    assert_eq!(idle.get("/").goes_to(), "/sign-in", "it was not used");
    let mut used = again();
    for _ in 0..35 {
        scene.gateway.clock.advance(Duration::from_mins(20));
        assert_eq!(used.get("/").status, 200);
    }
    scene.gateway.clock.advance(Duration::from_mins(21));
    assert_eq!(used.get("/").goes_to(), "/sign-in", "it was used for twelve hours");
    let (mut one, mut other) = (again(), again());
    let devices = one.get("/me").text();
    let id = between(&devices, "name=\"session\" value=\"", "\"").to_owned();
    assert_eq!(one.post("/me/sessions/end", &[("session", &id)]).goes_to(), "/me");
    assert_eq!(other.get("/").goes_to(), "/sign-in", "the other device is signed out");
    let held = one.cookie.clone();
    assert_eq!(one.post("/sign-out", &[]).goes_to(), "/sign-in");
    let mut stolen = Browser { cookie: held, ..scene.browser() };
    assert_eq!(stolen.get("/").goes_to(), "/sign-in", "what the browser held serves no longer");
    let mut last = again();
    scene.user("zoe", Role::Admin, None);
    scene.gateway.operate(Command::UserDisable { name: "anna".into() }).expect("disabled");
    assert_eq!(last.get("/").goes_to(), "/sign-in");
}

#[test]
fn whoever_is_signed_in_sets_a_second_factor_up_with_the_password() {
    let scene = Scene::new();
    let (mut browser, _) = scene.signed_in("olga", Role::Operator, None);
    scene.gateway.clock.advance(Duration::from_mins(11));
    assert_eq!(browser.get("/sign-in/second-factor").goes_to(), "/me", "the password was not given lately");
    assert_eq!(browser.post("/me/second-factor", &[("present", "wrong")]).status, 403);
    assert_eq!(browser.post("/me/second-factor", &[("present", PASSWORD)]).goes_to(), "/sign-in/second-factor");
    let page = browser.get("/sign-in/second-factor").text();
    let key = between(&page, "Key, for typing</dt><dd>", "</dd>").to_owned();
    scene.gateway.note_secret(&key);
    let wrong = browser.post("/sign-in/second-factor", &[("code", "12345")]);
    assert!(wrong.status == 403 && wrong.text().contains(&key), "the key stands there still");
    assert_eq!(browser.post("/sign-in/second-factor", &[("code", &scene.code(&key))]).status, 200);
    let mut again = scene.browser();
    assert_eq!(again.post("/sign-in", &[("name", "olga"), ("password", PASSWORD)]).goes_to(), "/sign-in/code");
}

#[test]
fn another_password_signs_the_other_devices_out() {
    let scene = Scene::new();
    let (mut one, _) = scene.signed_in("olga", Role::Operator, None);
    let mut other = scene.browser();
    assert_eq!(other.post("/sign-in", &[("name", "olga"), ("password", PASSWORD)]).goes_to(), "/");
    let new = "tidal lantern orchard 7";
    scene.gateway.note_secret(new);
    let change = |browser: &mut Browser, present: &str| {
        browser.post("/me/password", &[("present", present), ("chosen", new), ("again", new)])
    };
    assert_eq!(change(&mut one, "wrong").status, 403);
    assert_eq!(other.get("/").status, 200);
    assert_eq!(change(&mut one, PASSWORD).goes_to(), "/me");
    assert_eq!(one.get("/").status, 200);
    assert_eq!(other.get("/").goes_to(), "/sign-in");
    assert_eq!(scene.browser().post("/sign-in", &[("name", "olga"), ("password", PASSWORD)]).status, 403);
}

#[test]
fn issued_secrets_stand_on_one_page_and_nowhere_else() {
    let scene = Scene::new();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    assert_eq!(browser.post("/accounts", &[("name", "acme")]).goes_to(), "/accounts/acme");
    let form = [("account", "acme"), ("name", "shop"), ("grants", "order-reader")];
    let issued = browser.post("/credentials/issue", &form);
    assert_eq!(issued.status, 200, "{}", issued.text());
    let page = issued.text();
    let value = |label: &str| {
        let from = between(&page, &format!("<label>{label}"), "</label>");
        between(from, "value=\"", "\"").to_owned()
    };
    let (id, password, key) = (value("Client id"), value("Password"), value("x-api-key"));
    for secret in [&password, &key] {
        scene.gateway.note_secret(secret);
    }
    // They serve.
    let basic = format!(
        "Basic {}",
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, format!("{id}:{password}"))
    );
    let headers = [("Authorization", basic.as_str()), ("x-api-key", key.as_str())];
    let token = http::once(scene.gateway.address, "POST", "/oauth/token", &headers, Some(b"")).json();
    scene.gateway.note_secret(token["access_token"].as_str().expect("a token"));
    for target in [format!("/credentials/{id}"), "/credentials".to_owned(), "/audit".to_owned(), "/".to_owned()] {
        let text = browser.get(&target).text();
        assert!(!text.contains(&password) && !text.contains(&key), "{target} shows a secret");
    }
    // Revoking takes the name; disabling does not.
    let act = |browser: &mut Browser, act: &str, fields: &[(&str, &str)]| {
        browser.post(&format!("/credentials/{id}/{act}"), fields)
    };
    act(&mut browser, "disable", &[]).goes_to();
    act(&mut browser, "enable", &[]).goes_to();
    let refused = act(&mut browser, "revoke", &[("typed", "another")]);
    assert!(refused.status == 422 && refused.text().contains("nothing was revoked"), "{}", refused.text());
    act(&mut browser, "revoke", &[("typed", "shop")]).goes_to();
    assert!(browser.get(&format!("/credentials/{id}")).text().contains("<dd>revoked</dd>"));
}

#[test]
fn what_matters_asks_for_the_password_again() {
    let scene = Scene::new();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    scene.gateway.clock.advance(Duration::from_mins(11));
    let form = [("scope", "all"), ("reason", "inventory"), ("typed", "engage")];
    assert!(browser.get("/kill-switch").text().contains("Your password"));
    let refused = browser.post("/kill-switch/engage", &form);
    assert!(refused.status == 422 && refused.text().contains("your password is asked for"), "{}", refused.text());
    assert_eq!(scene.gateway.operate(Command::KillStatus).expect("told"), Value::Array(Vec::new()));
    let form = [&form[..], &[("present", PASSWORD)]].concat();
    assert_eq!(browser.post("/kill-switch/engage", &form).goes_to(), "/kill-switch");
}

#[test]
fn the_portal_stays_up_while_the_kill_switch_is_on() {
    let scene = Scene::new();
    let set = scene.gateway.issue("acme", &["order-reader"]);
    scene.gateway.set_api_key("erp-key-of-portal");
    let token = scene.gateway.token(&set);
    let (mut browser, _) = scene.signed_in("olga", Role::Operator, None);
    assert_eq!(scene.gateway.get(&token, "/v1/customers").status, 200);
    let form = [("scope", "all"), ("reason", "<b>inventory</b>"), ("message", "back soon"), ("typed", "stop")];
    assert_eq!(browser.post("/kill-switch/engage", &form).status, 422, "another word");
    let form = [("scope", "all"), ("reason", "<b>inventory</b>"), ("message", "back soon"), ("typed", "engage")];
    assert_eq!(browser.post("/kill-switch/engage", &form).goes_to(), "/kill-switch");
    assert_eq!(scene.gateway.get(&token, "/v1/customers").status, 503);
    for target in ["/", "/accounts", "/credentials", "/audit", "/kill-switch", "/doctor", "/me"] {
        let page = browser.get(target);
        assert_eq!(page.status, 200, "{target}");
        assert!(page.text().contains("Kill switch engaged"), "{target}");
        assert!(!page.text().contains("<b>inventory"), "{target}: what people typed is text");
    }
    assert_eq!(browser.post("/kill-switch/release", &[("scope", "all"), ("reason", "over")]).goes_to(), "/kill-switch");
    assert_eq!(scene.gateway.get(&token, "/v1/customers").status, 200);
    assert!(scene.erp.count() >= 2);
}

#[test]
fn a_client_finds_its_own_and_nothing_of_others_and_a_session_is_no_key() {
    let scene = Scene::new();
    let own = scene.gateway.issue("acme", &["order-reader"]);
    let others = scene.gateway.issue("globex", &["order-reader"]);
    let (mut browser, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    let list = browser.get("/credentials").text();
    assert!(list.contains(&own.id.to_string()) && !list.contains(&others.id.to_string()), "{list}");
    assert_eq!(browser.get(&format!("/credentials/{}", own.id)).status, 200);
    let foreign = browser.get(&format!("/credentials/{}", others.id));
    let nobodys = browser.get("/credentials/019ab7c2-7d3e-7cc1-8b1f-0242ac120099");
    let alike = |page: &Response, id: &str| page.text().replace(id, "…");
    assert_eq!((foreign.status, nobodys.status), (404, 404));
    assert_eq!(
        alike(&foreign, &others.id.to_string()),
        alike(&nobodys, "019ab7c2-7d3e-7cc1-8b1f-0242ac120099"),
        "another's is like nobody's"
    );
    for (target, fields) in [
        (format!("/credentials/{}/disable", others.id), vec![]),
        (format!("/credentials/{}/rotate", others.id), vec![("overlap", "0")]),
        (format!("/credentials/{}/revoke", own.id), vec![("typed", "x")]),
        ("/accounts".to_owned(), vec![("name", "initech")]),
        ("/kill-switch/engage".to_owned(), vec![("scope", "all"), ("reason", "r"), ("typed", "engage")]),
    ] {
        let refused = browser.post(&target, &fields);
        assert!(
            refused.status == 403 || refused.status == 404 || refused.status == 422,
            "{target}: {}",
            refused.status
        );
    }
    for target in ["/accounts", "/accounts/globex", "/kill-switch", "/doctor"] {
        assert!(matches!(browser.get(target).status, 403 | 404), "{target}");
    }
    // Not even a form that it may not send names what is not for it.
    let form = [("account", "acme"), ("name", "mine"), ("grants", "order-reader")];
    let refused = browser.post("/credentials/issue", &form);
    let names = [browser.get("/credentials/issue"), refused];
    for page in names {
        assert!(page.status == 403 && !page.text().contains("order-writer"), "{}", page.text());
    }
    let rows = scene.gateway.audit("change", 1);
    let row = rows.iter().find(|row| row["path"] == "globex").expect("a row of the other's account");
    let row = row["id"].as_str().expect("an id").to_owned();
    assert_eq!(browser.get(&format!("/audit/{row}")).status, 404);
    assert_eq!(scene.gateway.operate(Command::CredentialShow { id: others.id }).expect("shown")["state"], "active");
    // The cookie opens pages, and nothing of the API.
    let cookie = browser.cookie.clone().expect("a session");
    let api = http::once(browser.address, "GET", "/v1/credentials", &[("Cookie", &cookie)], None);
    assert_eq!(api.status, 401, "{}", api.text());
    let secret = cookie.split_once('=').expect("a value").1.to_owned();
    let api = http::once(browser.address, "GET", "/v1/credentials", &[("x-api-key", &secret)], None);
    assert_eq!(api.status, 401);
    scene.gateway.note_secret(&secret);
}

/// The pages and forms that the portal has, as its routes say: a page that is added is among them.
pub(crate) fn routes() -> Vec<(bool, String)> {
    let text = include_str!("../../src/portal/pages/mod.rs");
    let route = |line: &str| {
        let (path, handlers) = line.trim().strip_prefix(".route(\"")?.split_once("\", ")?;
        let open = path.starts_with("/assets/") || path.starts_with("/sign-in");
        let kinds = [(false, handlers.contains("get(")), (true, handlers.contains("post("))];
        let path = path.replace("{name}", "acme").replace("{upstream}", "erp").replace("{act}", "disable");
        let path = path
            .replace("{id}", "01890000-0000-7000-8000-000000000000")
            .replace("{hash}", &"0".repeat(64))
            .replace("{sample}", "curl.sh");
        assert!(!path.contains('{'), "{path}: what stands there?");
        (!open).then(|| kinds.into_iter().filter(|(_, there)| *there).map(move |(form, _)| (form, path.clone())))
    };
    text.lines().filter_map(route).flatten().collect()
}

/// Every page and every form without a session leads to the sign-in and does nothing.
#[test]
fn every_page_is_closed_without_a_session() {
    let scene = Scene::new();
    let set = scene.gateway.issue("acme", &[]);
    let mut all = routes();
    assert!(all.len() > 40 && all.contains(&(true, "/kill-switch/engage".to_owned())), "{all:?}");
    all.push((true, format!("/credentials/{}/disable", set.id)));
    all.push((false, format!("/credentials/{}", set.id)));
    all.push((false, "/nowhere".to_owned()));
    for cookie in [None, Some("__Host-erp-access=erpa_ses_nonsense".to_owned())] {
        let mut browser = Browser { cookie, ..scene.browser() };
        for (form, target) in &all {
            let answer = if *form {
                browser.post(target, &[("reason", "r"), ("to", "suspended"), ("typed", "acme")])
            } else {
                browser.get(target)
            };
            assert_eq!(answer.goes_to(), "/sign-in", "{target}");
        }
    }
    let set = scene.gateway.operate(Command::CredentialShow { id: set.id }).expect("shown");
    assert_eq!(set["state"], "active");
    for asset in ["/assets/portal.css", "/assets/portal.js", "/assets/htmx.min.js", "/sign-in", "/sign-in/first"] {
        assert_eq!(scene.browser().get(asset).status, 200);
    }
}

/// What is not ours is what its table says it is.
#[test]
fn the_library_that_pages_load_is_the_one_that_is_named() {
    let table = include_str!("../../src/portal/assets/README.md");
    let library = include_bytes!("../../src/portal/assets/htmx.min.js");
    let hash: String = openssl::sha::sha256(library).iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(table.contains(&hash), "the table does not name {hash}");
}

#[test]
fn behind_a_trusted_proxy_whoever_guesses_keeps_nobody_else_out() {
    let erp = Recorder::start();
    let config = "portal:\n  listen: [\"127.0.0.1:0\"]\n  trusted_proxies: [\"127.0.0.1/32\"]\n";
    let scene = Scene { gateway: Setup::new(erp.address()).config(config).start(), erp };
    let first = scene.user("anna", Role::Admin, None);
    let sign_in = |from: &str, password: &str| {
        let mut form = form_urlencoded::Serializer::new(String::new());
        let body = form.extend_pairs([("name", "anna"), ("password", password)]).finish();
        let headers = [
            ("Content-Type", "application/x-www-form-urlencoded"),
            ("Sec-Fetch-Site", "same-origin"),
            ("X-Forwarded-For", from),
        ];
        scene.browser().send("POST", "/sign-in", &headers, Some(&body)).status
    };
    let guesses: Vec<u16> = (0..7).map(|_| sign_in("198.51.100.9", "wrong")).collect();
    assert_eq!(guesses.last(), Some(&429), "{guesses:?}");
    assert_eq!(sign_in("192.0.2.7", &first), 303, "the owner comes from elsewhere");
    let rows = scene.gateway.audit("system", 1);
    assert!(rows.iter().any(|row| row["client"] == "198.51.100.9" && row["decision"] == "denied"), "{rows:?}");
}

#[test]
fn users_are_made_changed_and_reset_by_administrators_only() {
    let scene = Scene::new();
    scene.gateway.issue("acme", &[]);
    let (mut admin, _) = scene.signed_in("anna", Role::Admin, None);
    let created = admin.post("/users", &[("name", "bert"), ("role", "client"), ("account", "acme")]);
    assert_eq!(created.status, 200, "{}", created.text());
    let page = created.text();
    let password = between(between(&page, "<label>First password", "</label>"), "value=\"", "\"").to_owned();
    scene.gateway.note_secret(&password);
    let mut bert = scene.browser();
    assert_eq!(bert.post("/sign-in", &[("name", "bert"), ("password", &password)]).goes_to(), "/sign-in/password");
    assert_eq!(bert.post("/sign-in/password", &[("chosen", PASSWORD), ("again", PASSWORD)]).goes_to(), "/");
    assert!(!admin.get("/users/bert").text().contains(&password), "it was shown once");
    // Another role ends what was begun with the one before.
    assert_eq!(admin.post("/users/bert/role", &[("role", "auditor"), ("account", "")]).goes_to(), "/users/bert");
    assert_eq!(bert.get("/").goes_to(), "/sign-in");
    assert_eq!(bert.post("/sign-in", &[("name", "bert"), ("password", PASSWORD)]).goes_to(), "/");
    for (target, fields) in [
        ("/users", vec![("name", "carl"), ("role", "admin")]),
        ("/users/bert/role", vec![("role", "admin")]),
        ("/users/anna/disable", vec![]),
        ("/users/anna/reset-password", vec![]),
    ] {
        assert_eq!(bert.post(target, &fields).status, 403, "{target}");
    }
    let reset = admin.post("/users/bert/reset-password", &[]);
    let page = reset.text();
    let again = between(between(&page, "<label>First password", "</label>"), "value=\"", "\"").to_owned();
    scene.gateway.note_secret(&again);
    assert_eq!(bert.get("/").goes_to(), "/sign-in");
    assert_eq!(bert.post("/sign-in", &[("name", "bert"), ("password", &again)]).goes_to(), "/sign-in/password");
    let refused = admin.post("/users/anna/disable", &[]);
    assert!(refused.status == 409 && refused.text().contains("last administrator"), "{}", refused.text());
}

#[test]
fn schedules_are_drawn_and_held_and_erps_tried_and_policies_asked() {
    let scene = Scene::new();
    let set = scene.gateway.issue("acme", &["order-reader"]);
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    let week = browser.get("/schedules").text();
    assert!(week.contains("Asia/Karachi") && week.contains("#####"), "{week}");
    let hold =
        [("schedule", "default"), ("held", "closed"), ("until", "2026-11-24T12:00:00Z"), ("reason", "inventory")];
    assert_eq!(browser.post("/schedules/hold", &hold).goes_to(), "/schedules");
    assert!(browser.get("/schedules").text().contains("inventory"));
    let wrong = [("schedule", "default"), ("held", "ajar"), ("until", "soon"), ("reason", "x")];
    assert_eq!(browser.post("/schedules/hold", &wrong).status, 422);
    assert_eq!(browser.post("/schedules/lift", &[("schedule", "default"), ("reason", "over")]).goes_to(), "/schedules");
    // A secret goes in and never comes out.
    let secret = "erp-side-key-of-the-portal";
    scene.gateway.note_secret(secret);
    let form = [("account", ""), ("username", ""), ("password", ""), ("api_key", secret)];
    assert_eq!(browser.post("/upstreams/erp/secret", &form).goes_to(), "/upstreams");
    let tried = browser.post("/upstreams/erp/test", &[("account", "")]).text();
    assert!(tried.contains("It works") && !tried.contains(secret), "{tried}");
    assert!(!browser.get("/upstreams").text().contains(secret));
    // What would be decided, and by which rule.
    let policies = browser.get("/policies").text();
    assert!(policies.contains("order-reader.yaml") && policies.contains("Who holds what"), "{policies}");
    let ask = |browser: &mut Browser, method: &str| {
        browser.get(&format!("/policies/explain?credential={}&method={method}&target=%2Fv1%2Fcustomers", set.id)).text()
    };
    assert!(ask(&mut browser, "GET").contains("Allowed by"), "{}", ask(&mut browser, "GET"));
    assert!(ask(&mut browser, "DELETE").contains("Denied: 403"), "{}", ask(&mut browser, "DELETE"));
    assert_eq!(browser.post("/policies/reload", &[]).goes_to(), "/policies");
    // A grant is given and taken back.
    let page = format!("/credentials/{}", set.id);
    let grant = [("policy", "order-writer"), ("expires_at", "")];
    assert_eq!(browser.post(&format!("{page}/grant"), &grant).goes_to(), page);
    assert!(browser.get(&page).text().contains("Take order-writer back"));
    assert_eq!(browser.post(&format!("{page}/take"), &[("policy", "order-writer")]).goes_to(), page);
    assert!(!browser.get(&page).text().contains("Take order-writer back"));
    // A row in plain words, with the policy's text of then.
    let token = scene.gateway.token(&set);
    assert_eq!(scene.gateway.get(&token, "/v1/customers").status, 200);
    let row = scene.gateway.audit("relay", 1)[0]["id"].as_str().expect("an id").to_owned();
    let told = browser.get(&format!("/audit/{row}")).text();
    assert!(told.contains("order-reader.yaml, as it was in force from") && told.contains("With today"), "{told}");
    let filtered = browser.get("/audit?kind=relay&decision=allowed").text();
    assert!(filtered.contains(&format!("/audit/{row}")), "{filtered}");
    assert_eq!(browser.get("/audit?since=whenever").status, 422);
}

/// Pages are small and refer to nothing elsewhere.
#[test]
fn a_page_weighs_little_and_loads_nothing_from_elsewhere() {
    let scene = Scene::new();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    let assets: usize = ["/assets/portal.css", "/assets/portal.js", "/assets/htmx.min.js"]
        .map(|target| browser.get(target).body.len())
        .iter()
        .sum();
    for target in [
        "/",
        "/security",
        "/accounts",
        "/users",
        "/policies",
        "/schedules",
        "/upstreams",
        "/kill-switch",
        "/audit",
        "/me",
    ] {
        let page = browser.get(target);
        let text = page.text();
        assert!(page.body.len() + assets < 150_000, "{target} weighs {} bytes", page.body.len() + assets);
        for reference in ["src=\"http", "href=\"http", "style=\"", "onclick", "<script>"] {
            assert!(!text.contains(reference), "{target}: {reference}");
        }
        assert!(text.contains("<html lang=\"en\">") && text.contains("<main id=\"main\""), "{target}");
        assert_eq!(text.matches("<h1>").count(), 1, "{target}");
    }
}
