//! A gateway's files with a credential set, for tests of the program as a process of its own.

use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::gateway::Setup;
use super::http::{self, find};
use super::process;

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
}

impl Prepared {
    pub(crate) fn new(erp: SocketAddr, config: &str) -> Self {
        let folder = Setup::new(erp).policy("order-reader.yaml", UNLIMITED).config(config).write();
        let run = |arguments: &[&str], input: &str| process::succeed(folder.path(), arguments, input);
        run(&["db", "migrate"], "");
        run(&["upstream", "secret", "set", "erp", "--api-key"], ERP_KEY);
        run(&["account", "create", "acme"], "");
        let issue =
            ["credential", "issue", "--account", "acme", "--name", "shop", "--grant", "order-reader", "-o", "json"];
        let issued: Value = serde_json::from_str(&run(&issue, "")).expect("JSON");
        let text = |key: &str| issued[key].as_str().expect("a text").to_owned();
        let basic = format!("Basic {}", STANDARD.encode(format!("{}:{}", text("client_id"), text("password"))));
        Self { basic, api_key: text("api_key"), password: text("password"), folder }
    }

    pub(crate) fn token(&self, address: SocketAddr) -> String {
        let headers = [("Authorization", self.basic.as_str()), ("x-api-key", self.api_key.as_str())];
        let response = http::once(address, "POST", "/oauth/token", &headers, Some(b""));
        response.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", response.text())).to_owned()
    }

    pub(crate) fn audit(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.folder.path().join("data/audit.db")).expect("the audit database")
    }
}

/// Searches every file of the data folder and everything printed for each secret, as it stands and encoded.
pub(crate) fn assert_nothing_secret(folder: &Path, secrets: &[String], outputs: &str) {
    let mut places: Vec<(String, Vec<u8>)> = vec![("output".into(), outputs.as_bytes().to_vec())];
    for entry in std::fs::read_dir(folder.join("data")).expect("the data folder") {
        let path = entry.expect("an entry").path();
        places.push((path.display().to_string(), std::fs::read(&path).expect("a file")));
    }
    assert!(places.iter().any(|(name, bytes)| name.contains("audit.db") && bytes.len() > 4096), "the search sees rows");
    for secret in secrets {
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for spelling in [secret.clone(), STANDARD.encode(secret), hex] {
            for (name, bytes) in &places {
                assert!(find(bytes, spelling.as_bytes()).is_none(), "a secret stands in {name}");
            }
        }
    }
}
