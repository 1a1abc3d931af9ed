//! A gateway in this process: temporary folder, manual clock, port 0.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use erp_access::app::{self, App, StartError, World};
use erp_access::config::{Config, Environment, Sources};
use erp_access::control::{AuditQuery, Bounds, Caller, Command, Control, ControlError, NewSet, SecretText};
use erp_access::domain::{Actor, CredentialId, ManualClock, OperatorKeyId, Role, Secret, SystemEntropy};
use erp_access::proxy::Stop;
use erp_access::store::StoreError;
use serde_json::Value;

use super::certificates;
use super::http::{self, Response};
use super::secrets::Used;

/// Monday noon in Karachi: the default schedule is open.
pub(crate) const OPEN: &str = "2026-11-23T12:00:00+05:00";

/// A static session: the API key itself is sent, so that no sign-in is needed.
pub(crate) const STATIC_SESSION: &str = "    session:
      inject:
        headers:
          X-ERP-Session: \"{{api_key}}\"
";

/// Signs in at the little ERP.
pub(crate) const LITTLE_ERP_SESSION: &str = "    session:
      steps:
        - path: /api/session
          json: { username: \"{{username}}\", password: \"{{password}}\" }
          success: { status: [200], present: [/token] }
          extract: { token: /token }
      inject:
        headers:
          X-ERP-Session: \"{{token}}\"
";

/// Endpoints, policies and schedule of the tests; a test may replace a file.
fn policies() -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("endpoints/erp.yaml", include_str!("../../../policies/endpoints/erp.yaml").to_owned()),
        ("order-reader.yaml", include_str!("../../../policies/order-reader.yaml").to_owned()),
        ("order-writer.yaml", include_str!("../../../policies/order-writer.yaml").to_owned()),
        ("stock-always.yaml", include_str!("../../../policies/stock-always.yaml").to_owned()),
        ("schedule.yaml", include_str!("../../../policies/schedule.yaml").to_owned()),
    ])
}

/// What a test wants of its gateway.
pub(crate) struct Setup {
    /// The ERP's addresses.
    pub(crate) peers: Vec<SocketAddr>,
    /// `session:` of the upstream, indented by four.
    pub(crate) session: &'static str,
    /// More lines for the upstream, indented by four.
    pub(crate) upstream: String,
    /// More sections for the configuration, such as `audit:` or `tokens:`.
    pub(crate) config: String,
    /// More keys under `gateway:`, indented by two.
    pub(crate) gateway: String,
    /// Files of the policy folder, in place of or beside the samples.
    pub(crate) policies: BTreeMap<&'static str, String>,
}

impl Setup {
    /// A gateway in front of `erp`, with a static session.
    pub(crate) fn new(erp: SocketAddr) -> Self {
        Self {
            peers: vec![erp],
            session: STATIC_SESSION,
            upstream: String::new(),
            config: String::new(),
            gateway: String::new(),
            policies: policies(),
        }
    }

    pub(crate) fn session(mut self, session: &'static str) -> Self {
        self.session = session;
        self
    }

    pub(crate) fn policy(mut self, name: &'static str, text: &str) -> Self {
        self.policies.insert(name, text.to_owned());
        self
    }

    pub(crate) fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    pub(crate) fn gateway(mut self, text: &str) -> Self {
        self.gateway.push_str(text);
        self
    }

    /// Writes the files into a folder of their own.
    pub(crate) fn write(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        self.write_into(folder.path());
        folder
    }

    pub(crate) fn write_into(&self, folder: &Path) {
        for (name, text) in &self.policies {
            let path = folder.join("policies").join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, text).expect("a policy file");
        }
        // Tests look at each row, of many requests from one address.
        let folding = if self.config.contains("audit:") { "" } else { "audit:\n  fold_after: 1000000\n" };
        let peers: Vec<String> = self.peers.iter().map(|peer| format!("\"{peer}\"")).collect();
        let (gateway, session, upstream, config) = (&self.gateway, self.session, &self.upstream, &self.config);
        let text = format!(
            "gateway:\n  listen: [\"127.0.0.1:0\"]\n{gateway}store:\n  directory: data\nadmin:\n  socket: admin.sock\npolicies:\n  watch: false\napp_key:\n  file: app.key\n{folding}{config}upstreams:\n  erp:\n    peers: [{}]\n{upstream}{session}",
            peers.join(", ")
        );
        std::fs::write(folder.join("erp-access.yaml"), text).expect("a configuration");
        let key = folder.join("app.key");
        if !key.exists() {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::write(&key, format!("base64:{}\n", BASE64.encode([7_u8; 32]))).expect("a key");
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("a mode");
        }
    }

    /// TLS with this certificate beside a plain listener.
    pub(crate) fn start_with_tls(self, certificate: &certificates::Issued) -> Gateway {
        self.start_with_client_certificates(certificate, None)
    }

    /// The same, with an authority that signs certificates of clients.
    pub(crate) fn start_with_client_certificates(
        self,
        certificate: &certificates::Issued,
        clients: Option<&certificates::Authority>,
    ) -> Gateway {
        let tls = "  plain_listen: [\"127.0.0.1:0\"]\n  tls:\n    client_authorities_file: clients.pem\n    certificates:\n      main: { chain_file: main.pem, key_file: main.key }\n";
        let tls = match clients {
            Some(_) => tls.to_owned(),
            None => tls.replace("    client_authorities_file: clients.pem\n", ""),
        };
        let folder = self.gateway(&tls).write();
        if let Some(clients) = clients {
            std::fs::write(folder.path().join("clients.pem"), clients.certificate().to_pem().expect("PEM"))
                .expect("written");
        }
        certificate.write(folder.path(), "main");
        Gateway::start(folder, ManualClock::at(OPEN.parse().expect("a time")))
    }

    /// Starts a gateway on files of its own.
    pub(crate) fn start(self) -> Gateway {
        let folder = self.write();
        Gateway::start(folder, ManualClock::at(OPEN.parse().expect("a time")))
    }
}

/// A credential set with its secrets.
#[derive(Debug, Clone)]
pub(crate) struct Issued {
    pub(crate) id: CredentialId,
    pub(crate) password: String,
    pub(crate) api_key: String,
}

impl Issued {
    pub(crate) fn basic(&self) -> String {
        format!("Basic {}", BASE64.encode(format!("{}:{}", self.id, self.password)))
    }

    /// Asks the gateway at `address` for a token.
    pub(crate) fn ask_for_token(&self, address: SocketAddr) -> Response {
        let basic = self.basic();
        let headers = [("Authorization", basic.as_str()), ("x-api-key", self.api_key.as_str())];
        http::once(address, "POST", "/oauth/token", &headers, Some(b""))
    }

    /// A token of the gateway at `address`.
    pub(crate) fn token(&self, address: SocketAddr) -> String {
        let response = self.ask_for_token(address);
        assert_eq!(response.status, 200, "{}", response.text());
        response.json()["access_token"].as_str().expect("a token").to_owned()
    }
}

/// A running gateway. It stops when dropped.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    /// Where they speak TLS, where that is set up with a plain listener beside it.
    pub(crate) tls: Option<SocketAddr>,
    /// Where it is watched over.
    pub(crate) ops: Option<SocketAddr>,
    /// Where operator keys open the admin API.
    pub(crate) portal: Option<SocketAddr>,
    pub(crate) clock: ManualClock,
    pub(crate) folder: tempfile::TempDir,
    /// What must not be found in what it leaves behind.
    used: Used,
    control: Arc<Control>,
    stop: Stop,
    running: Option<JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
}

impl Gateway {
    /// Starts a gateway on the files in `folder`.
    pub(crate) fn start(folder: tempfile::TempDir, clock: ManualClock) -> Self {
        let world = World { clock: Arc::new(clock.clone()), entropy: Arc::new(SystemEntropy) };
        let config = config(folder.path());
        let app = until_the_store_is_free(|| {
            app::migrate(&config)?;
            App::build(&config, &world)
        });
        let (addresses, ops) = (app.addresses(), app.ops_addresses().first().copied());
        let address = *addresses.last().expect("an address");
        let tls = addresses.first().copied().filter(|first| *first != address);
        let portal = app.portal_addresses().first().copied();
        let (control, stop) = (Arc::clone(app.control()), app.stop());
        let running = std::thread::spawn(move || app.run().expect("runs"));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        Self {
            address,
            tls,
            ops,
            portal,
            clock,
            folder,
            used: Used::default(),
            control,
            stop,
            running: Some(running),
            runtime,
        }
    }

    /// Stops the gateway and starts another on the same files.
    pub(crate) fn restart(self) -> Self {
        let clock = self.clock.clone();
        Self::start(self.hand_over(), clock)
    }

    /// Stops the gateway and leaves its files to another.
    pub(crate) fn hand_over(mut self) -> tempfile::TempDir {
        self.halt();
        self.used.assert_left_nowhere(self.folder.path());
        self.used = Used::default();
        std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a temporary folder"))
    }

    /// Stops the gateway; its files stay.
    pub(crate) fn halt(&mut self) {
        self.stop.now();
        if let Some(running) = self.running.take() {
            running.join().expect("ends");
        }
    }

    pub(crate) fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Carries an operation out.
    pub(crate) fn operate(&self, command: Command) -> Result<Value, ControlError> {
        self.runtime.block_on(self.control.run(Caller::admin(Actor::Operator("tester".into())), command))
    }

    /// A secret that must not be found in what the gateway leaves behind.
    pub(crate) fn note_secret(&self, secret: &str) {
        self.used.note(secret);
    }

    /// Sets the static key that is sent to the ERP.
    pub(crate) fn set_api_key(&self, key: &str) {
        self.used.note(key);
        let api_key = Some(SecretText::new(Secret::new(key.to_owned())));
        let upstream = "erp".parse().expect("a name");
        self.operate(Command::UpstreamSecretSet { upstream, account: None, username: None, password: None, api_key })
            .expect("set");
    }

    /// Sets user name and password at the ERP.
    pub(crate) fn set_password(&self, username: &str, password: &str) {
        self.used.note(password);
        let password = Some(SecretText::new(Secret::new(password.to_owned())));
        let (upstream, username) = ("erp".parse().expect("a name"), Some(username.to_owned()));
        self.operate(Command::UpstreamSecretSet { upstream, account: None, username, password, api_key: None })
            .expect("set");
    }

    /// Issues a credential set for an account, which is created where it is missing.
    pub(crate) fn issue(&self, account: &str, grants: &[&str]) -> Issued {
        self.issue_with(account, grants, Bounds::Bounded, None)
    }

    pub(crate) fn issue_with(
        &self,
        account: &str,
        grants: &[&str],
        kind: Bounds,
        expires_at: Option<jiff::Timestamp>,
    ) -> Issued {
        let account: erp_access::domain::AccountName = account.parse().expect("a name");
        let _ = self.operate(Command::AccountCreate { name: account.clone(), labels: Vec::new() });
        let grants = grants.iter().map(|name| name.parse().expect("a name")).collect();
        let name = "integration".to_owned();
        // One that is unrestricted must say why, and end.
        let free = kind == Bounds::Unrestricted;
        let reason = free.then(|| "a test of what it may do".to_owned());
        let expires_at = expires_at.or_else(|| free.then(|| "2027-06-30T00:00:00Z".parse().expect("a time")));
        let issued = self
            .operate(Command::CredentialIssue(Box::new(NewSet {
                kind,
                reason,
                expires_at,
                ..NewSet::bounded(account, name, grants)
            })))
            .expect("issued");
        self.issued(&issued)
    }

    /// The secrets in the answer that issues them.
    pub(crate) fn issued(&self, answer: &Value) -> Issued {
        let text = |key: &str| answer[key].as_str().expect("a text").to_owned();
        for key in ["password", "api_key"] {
            self.used.note(&text(key));
        }
        Issued { id: text("client_id").parse().expect("an id"), password: text("password"), api_key: text("api_key") }
    }

    /// Issues an operator key and gives its id and text.
    pub(crate) fn operator_key(&self, role: Role, account: Option<&str>) -> (OperatorKeyId, String) {
        let account = account.map(|name| name.parse().expect("a name"));
        let name = format!("{role} of {account:?}");
        let expires_at = "2027-06-30T00:00:00Z".parse().expect("a time");
        let clients = Vec::new();
        let issued =
            self.operate(Command::OperatorKeyIssue { name, role, account, expires_at, clients }).expect("issued");
        let text = |key: &str| issued[key].as_str().expect("a text").to_owned();
        self.used.note(&text("api_key"));
        (text("id").parse().expect("an id"), text("api_key"))
    }

    /// Asks for a token as `issued` would.
    pub(crate) fn ask_for_token(&self, issued: &Issued) -> Response {
        issued.ask_for_token(self.address)
    }

    /// A token for `issued`.
    pub(crate) fn token(&self, issued: &Issued) -> String {
        let token = issued.token(self.address);
        self.used.note(&token);
        token
    }

    /// One request with a bearer token, on a connection of its own.
    pub(crate) fn relay(&self, token: &str, method: &str, target: &str, body: Option<&[u8]>) -> Response {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("Authorization", bearer.as_str())];
        if body.is_some() {
            headers.push(("Content-Type", "application/json"));
        }
        http::once(self.address, method, target, &headers, body)
    }

    pub(crate) fn get(&self, token: &str, target: &str) -> Response {
        self.relay(token, "GET", target, None)
    }

    /// Newest audit rows first, when there are at least `at_least` of this kind.
    ///
    /// A denial is answered before its row is on disk, so this waits, and fails when nothing comes.
    pub(crate) fn audit(&self, kind: &str, at_least: usize) -> Vec<Value> {
        let mut rows = Vec::new();
        for _ in 0..1000 {
            let query = AuditQuery { last: 100_000, kind: Some(kind.to_owned()), ..AuditQuery::default() };
            let found = self.operate(Command::AuditSearch(Box::new(query))).expect("rows");
            rows.clone_from(found.as_array().expect("a list"));
            let settled = |row: &Value| row["decision"] == "denied" || !row["outcome"].is_null() || kind != "relay";
            if rows.len() >= at_least && rows.iter().all(settled) {
                return rows;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} rows of kind {kind}, {at_least} expected: {rows:#?}", rows.len());
    }

    /// The newest row of a relay that is like this, when it is written.
    pub(crate) fn relay_row(&self, is: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..1000 {
            if let Some(row) = self.audit("relay", 0).into_iter().find(&is) {
                return row;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("there is no such row")
    }

    /// The row of an answer, by its `X-Request-Id`.
    pub(crate) fn row_of(&self, response: &Response) -> Value {
        let id = response.header("x-request-id").expect("an id").to_owned();
        for _ in 0..1000 {
            let found = self.operate(Command::AuditShow { id: id.parse().expect("an id") });
            if let Ok(row) = found
                && (row["kind"] != "relay" || row["decision"] == "denied" || !row["outcome"].is_null())
            {
                return row;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("no audit row {id}");
    }

    /// Every byte of the databases and their side files.
    pub(crate) fn database_bytes(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let data = self.folder.path().join("data");
        let entries = std::fs::read_dir(data).expect("the data folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), std::fs::read(&path).expect("a file")))
            .collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.halt();
        self.used.assert_left_nowhere(self.folder.path());
    }
}

/// Another test that starts a process holds copies of all open files, the lock of this store among them, until that
/// process has begun.
fn until_the_store_is_free(start: impl Fn() -> Result<App, StartError>) -> App {
    for _ in 0..500 {
        match start() {
            Ok(app) => return app,
            Err(StartError::Store(StoreError::Owned(_))) => std::thread::sleep(Duration::from_millis(10)),
            Err(error) => panic!("the gateway does not start: {error}"),
        }
    }
    panic!("the store is never free");
}

/// The configuration in a folder.
pub(crate) fn config(folder: &Path) -> Config {
    let sources =
        Sources { file: folder.join("erp-access.yaml"), overrides: Vec::new(), environment: Environment::default() };
    Config::load(&sources).unwrap_or_else(|errors| panic!("{errors}"))
}
