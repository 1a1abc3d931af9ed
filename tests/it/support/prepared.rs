//! A gateway's files with a credential set, for tests of the program as a process of its own.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::gateway::Setup;
use super::http;
use super::process;
use super::secrets::Used;

/// What the gateway signs in to the ERP with.
pub(crate) const ERP_KEY: &str = "erp-side-key-1";

pub(crate) const UNLIMITED: &str = "version: 1
policy: order-reader
schedule: exempt
rules:
  - { id: read, allow: [orders.list, orders.read] }
";

/// A folder with a gateway's files and a credential set; the token is for the gateway at `address`.
pub(crate) struct Prepared {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) basic: String,
    pub(crate) password: String,
    pub(crate) api_key: String,
    used: Used,
}

impl Prepared {
    pub(crate) fn new(erp: SocketAddr, config: &str) -> Self {
        Self::of(Setup::new(erp).config(config))
    }

    pub(crate) fn of(setup: Setup) -> Self {
        let folder = setup.policy("order-reader.yaml", UNLIMITED).write();
        let run = |arguments: &[&str], input: &str| process::succeed(folder.path(), arguments, input);
        run(&["db", "migrate"], "");
        run(&["upstream", "secret", "set", "erp", "--api-key"], ERP_KEY);
        run(&["account", "create", "acme"], "");
        let issue =
            ["credential", "issue", "--account", "acme", "--name", "shop", "--grant", "order-reader", "-o", "json"];
        let issued: Value = serde_json::from_str(&run(&issue, "")).expect("JSON");
        let used = Used::default();
        used.note(ERP_KEY);
        let (basic, password, api_key) = Default::default();
        let mut prepared = Self { folder, basic, password, api_key, used };
        prepared.takes(&issued);
        prepared
    }

    /// Works with these secrets from now on.
    pub(crate) fn takes(&mut self, issued: &Value) {
        let text = |key: &str| issued[key].as_str().expect("a text").to_owned();
        self.basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", text("client_id"), text("password"))));
        (self.password, self.api_key) = (text("password"), text("api_key"));
        self.used.note(&self.api_key);
        self.used.note(&self.password);
    }

    pub(crate) fn token(&self, address: SocketAddr) -> String {
        let headers = [("Authorization", self.basic.as_str()), ("x-api-key", self.api_key.as_str())];
        let response = http::once(address, "POST", "/oauth/token", &headers, Some(b""));
        let token =
            response.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", response.text())).to_owned();
        self.used.note(&token);
        token
    }

    pub(crate) fn audit(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("data/audit.db")).expect("the audit database")
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        self.used.assert_left_nowhere(self.folder.path());
    }
}
