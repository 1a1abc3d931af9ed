//! The portal in a real Chromium: whole flows, with and without JavaScript, and pictures of the pages.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::{Clock as _, Role};
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::portal::{PASSWORD, totp};
use crate::support::gateway::{Gateway, Issued, Setup};
use crate::support::http;
use crate::support::process::free_address;
use crate::support::recorder::Recorder;

/// A driver with its browser. Both end when it is dropped.
pub(crate) struct Driver {
    child: Child,
    address: SocketAddr,
    _profile: tempfile::TempDir,
    profile: PathBuf,
}

impl Driver {
    /// `None` where there is no Chromium.
    pub(crate) fn start() -> Option<Self> {
        let address = free_address();
        let child = Process::new("chromedriver")
            .arg(format!("--port={}", address.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            eprintln!("SKIPPED: chromedriver is not installed");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let driver = Self { child, address, profile: folder.path().to_owned(), _profile: folder };
        for _ in 0..500 {
            if std::net::TcpStream::connect(address).is_ok() {
                return Some(driver);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("chromedriver does not accept");
    }

    pub(crate) async fn open(&self, script: Script) -> Client {
        let javascript = match script {
            Script::On => 1,
            Script::Off => 2,
        };
        let arguments = [
            "--headless".to_owned(),
            "--no-sandbox".into(),
            "--disable-gpu".into(),
            "--no-first-run".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--force-color-profile=srgb".into(),
            format!("--user-data-dir={}", self.profile.display()),
        ];
        let options = json!({
            "args": arguments,
            "prefs": { "profile.managed_default_content_settings.javascript": javascript },
        });
        let mut capabilities = Map::new();
        capabilities.insert("goog:chromeOptions".into(), options);
        capabilities.insert("goog:loggingPrefs".into(), json!({ "browser": "ALL" }));
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://{}", self.address))
            .await
            .expect("a browser");
        client.set_window_size(1280, 900).await.expect("a size");
        client
    }

    fn ask(&self, target: &str, body: &Value) -> Value {
        let host = self.address.to_string();
        let headers = [("Content-Type", "application/json"), ("Host", host.as_str())];
        http::once(self.address, "POST", target, &headers, Some(body.to_string().as_bytes())).json()
    }

    /// Shows pages as somebody sees them who prefers this.
    fn prefer(&self, session: &str, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        let command = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.ask(&format!("/session/{session}/goog/cdp/execute"), &command);
    }

    /// What the browser has complained of: a breach of the policy of what may be loaded is among it.
    pub(crate) fn complaints(&self, runtime: &Runtime, client: &Client) -> Vec<String> {
        let session = runtime.block_on(client.session_id()).expect("a session").expect("a session");
        let log = self.ask(&format!("/session/{session}/se/log"), &json!({ "type": "browser" }));
        let lines = log["value"].as_array().unwrap_or_else(|| panic!("{log}")).iter();
        lines.map(|line| line["message"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Script {
    On,
    Off,
}

/// Somebody at a browser.
pub(crate) struct Person<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) client: Client,
    pub(crate) gateway: &'a Gateway,
    pub(crate) origin: String,
    /// Where pictures go, where they are taken.
    pub(crate) pictures: Option<PathBuf>,
    pub(crate) driver: &'a Driver,
    /// What looks for what keeps people out (axe-core), where it is installed.
    pub(crate) axe: Option<String>,
}

impl Person<'_> {
    /// Nothing serious keeps people out of this page, in light or dark.
    pub(crate) fn is_accessible(&self, page: &str) {
        let Some(axe) = &self.axe else { return };
        let session = self.runtime.block_on(self.client.session_id()).expect("a session").expect("a session");
        for scheme in ["light", "dark"] {
            self.driver.prefer(&session, scheme);
            let found = self.runtime.block_on(async {
                self.client.execute(axe, Vec::new()).await.expect("loaded");
                let run = "const done = arguments[arguments.length - 1];\
                    axe.run(document).then(result => done(result.violations), error => done(String(error)));";
                self.client.execute_async(run, Vec::new()).await.expect("looked")
            });
            let found = found.as_array().unwrap_or_else(|| panic!("{page}: {found}")).iter();
            let serious = found.filter(|rule| matches!(rule["impact"].as_str(), Some("serious" | "critical")));
            let told: Vec<_> = serious.map(|rule| format!("{}: {}", rule["id"], rule["nodes"][0]["html"])).collect();
            assert!(told.is_empty(), "{page} in {scheme}: {told:#?}");
        }
        self.driver.prefer(&session, "light");
    }

    pub(crate) fn go(&self, path: &str) {
        self.runtime.block_on(self.client.goto(&format!("{}{path}", self.origin))).expect("opened");
    }

    pub(crate) fn path(&self) -> String {
        self.runtime.block_on(self.client.current_url()).expect("a URL").path().to_owned()
    }

    /// Waits until something is so: a browser goes on while we look.
    pub(crate) fn wait(&self, what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..600 {
            if is_so() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("{what}: still at {}\n{}", self.path(), self.text());
    }

    pub(crate) fn is_at(&self, path: &str) {
        self.wait(path, || self.path() == path);
    }

    pub(crate) fn sees(&self, part: &str) {
        self.wait(part, || self.text().contains(part));
    }

    /// Fills the form with this action and sends it.
    pub(crate) fn send(&self, action: &str, fields: &[(&str, &str)]) {
        let form = format!("form[action=\"{action}\"]");
        self.runtime.block_on(async {
            for (name, value) in fields {
                let field = format!("{form} [name=\"{name}\"]");
                let field = self.client.wait().for_element(Locator::Css(&field)).await;
                let field = field.unwrap_or_else(|error| panic!("{action} {name}: {error}"));
                if field.tag_name().await.expect("a tag") == "select" {
                    field.select_by_value(value).await.expect("chosen");
                } else {
                    field.clear().await.expect("cleared");
                    field.send_keys(value).await.expect("typed");
                }
            }
            let button = format!("{form} button:not([type=button])");
            let button = self.client.wait().for_element(Locator::Css(&button)).await.expect("a button");
            button.click().await.expect("clicked");
        });
    }

    pub(crate) fn follow(&self, link: &str) {
        self.runtime.block_on(async {
            let link = self
                .client
                .wait()
                .for_element(Locator::LinkText(link))
                .await
                .unwrap_or_else(|error| panic!("{link}: {error}"));
            link.click().await.expect("clicked");
            // Whoever leaves a page that shows secrets is asked first, where there is a script.
            let _ = self.client.accept_alert().await;
        });
    }

    /// What is to be read; nothing while a page is on its way.
    pub(crate) fn text(&self) -> String {
        self.runtime.block_on(async {
            match self.client.find(Locator::Css("body")).await {
                Ok(body) => body.text().await.unwrap_or_default(),
                Err(_) => String::new(),
            }
        })
    }

    fn value(&self, label: &str) -> String {
        self.runtime.block_on(async {
            let field = format!("//label[contains(., '{label}')]//input");
            let field = self.client.wait().for_element(Locator::XPath(&field)).await;
            let field = field.unwrap_or_else(|error| panic!("{label}: {error}"));
            field.prop("value").await.expect("a value").expect("a value")
        })
    }

    pub(crate) fn picture(&self, name: &str) {
        self.is_accessible(name);
        if let Some(folder) = &self.pictures {
            let picture = self.runtime.block_on(self.client.screenshot()).expect("a picture");
            std::fs::write(folder.join(format!("{name}.png")), picture).expect("written");
        }
    }

    /// Signs an administrator in for the first time.
    pub(crate) fn sign_in(&self, first: &str) {
        self.go("/");
        self.is_at("/sign-in");
        self.picture("sign-in");
        self.send("/sign-in", &[("name", "anna"), ("password", first)]);
        self.send("/sign-in/password", &[("chosen", PASSWORD), ("again", PASSWORD)]);
        self.is_at("/sign-in/second-factor");
        let key = self.runtime.block_on(async {
            self.client.wait().for_element(Locator::Css("dd")).await.expect("a key").text().await.expect("a text")
        });
        self.gateway.note_secret(&key);
        let now = u64::try_from(self.gateway.clock.now().as_second()).expect("a time");
        self.send("/sign-in/second-factor", &[("code", &totp(&key).generate(now).to_string())]);
        self.sees("Shown once");
        self.follow("I have stored them: go on");
        self.is_at("/");
    }

    /// Issues a set, stops and releases everything, and signs out.
    fn work(&self) {
        let gateway = self.gateway;
        self.go("/accounts");
        self.send("/accounts", &[("name", "acme")]);
        self.is_at("/accounts/acme");
        self.go("/credentials/issue");
        let form = [("account", "acme"), ("name", "shop"), ("grants", "order-reader")];
        self.send("/credentials/issue", &form);
        let secrets = [self.value("Client id"), self.value("Password"), self.value("x-api-key")];
        for secret in &secrets[1..] {
            gateway.note_secret(secret);
        }
        self.is_accessible("the page with the secrets");
        self.follow("I have stored them: done");
        self.wait("the set", || self.path().len() > "/credentials/issue".len());
        let page = self.runtime.block_on(self.client.source()).expect("a page");
        assert!(secrets[1..].iter().all(|secret| !page.contains(secret)), "a secret is shown twice");
        self.picture("credential-set");
        gateway.set_api_key("erp-key-of-the-browser");
        let [id, password, api_key] = secrets;
        let issued = Issued { id: id.parse().expect("an id"), password, api_key };
        let token = gateway.token(&issued);
        assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
        self.go("/kill-switch");
        let form = [("scope", "all"), ("reason", "inventory"), ("message", "back soon"), ("typed", "engage")];
        self.send("/kill-switch/engage", &form);
        self.sees("Kill switch engaged");
        assert_eq!(gateway.get(&token, "/v1/customers").status, 503, "the API is stopped");
        self.picture("kill-switch");
        let pages = ["/", "/credentials", "/audit", "/policies", "/schedules", "/upstreams", "/users", "/doctor"];
        for path in pages.into_iter().chain(["/security", "/me"]) {
            self.go(path);
            self.is_at(path);
            self.picture(if path == "/" { "overview" } else { &path[1..] });
        }
        self.go("/kill-switch");
        self.send("/kill-switch/release", &[("reason", "over")]);
        self.sees("No kill switch is engaged.");
        assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
        self.send("/sign-out", &[]);
        self.is_at("/sign-in");
        self.runtime.block_on(self.client.back()).expect("back");
        assert!(!self.text().contains("Release"), "a page that was left is not kept");
    }
}

#[expect(clippy::disallowed_methods, reason = "the test script says where it is installed")]
pub(crate) fn axe() -> Option<String> {
    let Some(folder) = std::env::var_os("ERP_ACCESS_TEST_AXE") else {
        eprintln!("SKIPPED: ERP_ACCESS_TEST_AXE is not set: axe-core could not be installed");
        return None;
    };
    Some(std::fs::read_to_string(Path::new(&folder).join("node_modules/axe-core/axe.min.js")).expect("axe-core"))
}

/// Gives an administrator who has not signed in yet a browser, and looks at what the browser complained of.
pub(crate) fn flow(script: Script, work: impl Fn(&Person<'_>)) {
    let Some(driver) = Driver::start() else { return };
    let erp = Recorder::answering("application/json", &[], b"[]");
    let gateway = Setup::new(erp.address()).config("portal:\n  listen: [\"127.0.0.1:0\"]\n").start();
    let command = Command::UserCreate { name: "anna".into(), role: Role::Admin, account: None };
    let created = gateway.operate(command).expect("created");
    let first = created["password"].as_str().expect("a password");
    gateway.note_secret(first);
    gateway.note_secret(PASSWORD);
    let pictures = (script == Script::On).then(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/screenshots");
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    });
    let runtime = Runtime::new().expect("a runtime");
    let client = runtime.block_on(driver.open(script));
    let port = gateway.portal.expect("the portal is served").port();
    // Browsers take a secure cookie from this machine by its name.
    let origin = format!("http://localhost:{port}");
    let axe = (script == Script::On).then(axe).flatten();
    let client_of = client.clone();
    let person =
        Person { runtime: &runtime, client: client_of, gateway: &gateway, origin, pictures, driver: &driver, axe };
    person.sign_in(first);
    work(&person);
    let complaints = driver.complaints(&runtime, &client);
    let breaches: Vec<_> = complaints.iter().filter(|line| line.contains("Content Security Policy")).collect();
    assert!(breaches.is_empty(), "{breaches:?}");
    runtime.block_on(client.close()).expect("closed");
}

#[test]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is not general enough")]
fn an_administrator_does_a_days_work_in_a_browser() {
    flow(Script::On, |person| person.work());
}

#[test]
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself is not general enough")]
fn the_same_without_javascript() {
    flow(Script::Off, |person| person.work());
}
