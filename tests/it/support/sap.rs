//! A server shaped like SAP Gateway, see tests/sap.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::http;
use super::process::free_address;

/// The password of `gateway`.
pub(crate) const PASSWORD: &str = "Sap-Password-1";

/// The server. It ends when dropped.
pub(crate) struct Sap {
    child: Child,
    address: SocketAddr,
    installed: PathBuf,
}

impl Sap {
    /// Starts it; `None` where it is not installed.
    #[expect(clippy::disallowed_methods, reason = "the test script says where it is installed")]
    pub(crate) fn start() -> Option<Self> {
        let Some(installed) = std::env::var_os("ERP_ACCESS_TEST_SAP").map(PathBuf::from) else {
            eprintln!("SKIPPED: ERP_ACCESS_TEST_SAP is not set: the SAP-shaped server could not be installed");
            return None;
        };
        let address = free_address();
        let child = launch(&installed, address);
        Some(Self { child, address, installed })
    }

    /// Stops it and starts it again on the same address; its sessions are gone.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = launch(&self.installed, self.address);
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn lose_all_sessions(&self) {
        assert_eq!(http::once(self.address, "POST", "/expire", &[], Some(b"")).status, 200);
    }

    /// Its session ids and CSRF tokens.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let secrets = self.tell();
        let of = |key: &str| secrets[key].as_array().expect("a list").clone();
        let texts = of("sessions").into_iter().chain(of("tokens"));
        texts.map(|text| text.as_str().expect("a text").to_owned()).collect()
    }

    pub(crate) fn sign_ins(&self) -> u64 {
        self.tell()["signIns"].as_u64().expect("a number")
    }

    fn tell(&self) -> Value {
        http::once(self.address, "GET", "/secrets", &[], None).json()
    }
}

impl Drop for Sap {
    fn drop(&mut self) {
        self.stop();
    }
}

fn launch(installed: &Path, address: SocketAddr) -> Child {
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sap/server.js");
    let mut child = Command::new("node")
        .arg(server)
        .arg(installed)
        .env("ERP_ACCESS_TEST_SAP_PASSWORD", PASSWORD)
        .env("ERP_ACCESS_TEST_SAP_PORT", address.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("node starts");
    // It prints its port when it listens.
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("read");
    assert_eq!(line.trim(), address.port().to_string(), "the SAP-shaped server listens");
    child
}
