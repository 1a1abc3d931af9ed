//! A real Tryton with a database of its own.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::process::free_address;

/// Tryton. It ends when dropped.
pub(crate) struct Tryton {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
    password: String,
    rest_key: String,
}

impl Tryton {
    /// Starts it; `None` where it is not installed.
    #[expect(clippy::disallowed_methods, reason = "the test script says where Tryton is installed")]
    pub(crate) fn start() -> Option<Self> {
        let Some(installed) = std::env::var_os("ERP_ACCESS_TEST_TRYTON").map(PathBuf::from) else {
            eprintln!("SKIPPED: ERP_ACCESS_TEST_TRYTON is not set: Tryton could not be installed");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let address = free_address();
        let child = launch(address, folder.path());
        let read = |name: &str| std::fs::read_to_string(installed.join(name)).expect("a secret").trim().to_owned();
        let tryton = Self { child, address, folder, password: read("admin-password"), rest_key: read("rest-key") };
        tryton.wait();
        Some(tryton)
    }

    /// Stops it and starts it again on the same address and database.
    pub(crate) fn restart(&mut self) {
        self.stop();
        self.child = launch(self.address, self.folder.path());
        self.wait();
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn wait(&self) {
        for _ in 0..3000 {
            if TcpStream::connect(self.address).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("Tryton does not accept");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The password of `admin`.
    pub(crate) fn password(&self) -> &str {
        &self.password
    }

    /// The key of a user application, for its REST interface.
    pub(crate) fn rest_key(&self) -> &str {
        &self.rest_key
    }

    fn database(&self) -> rusqlite::Connection {
        let database = rusqlite::Connection::open(self.folder.path().join("erp.sqlite")).expect("the database");
        database.busy_timeout(Duration::from_secs(10)).expect("set");
        database
    }

    /// The tokens of all its sessions.
    pub(crate) fn session_tokens(&self) -> Vec<String> {
        let database = self.database();
        let mut statement = database.prepare("SELECT key FROM ir_session").expect("a query");
        let keys = statement.query_map([], |row| row.get(0)).expect("rows");
        keys.collect::<Result<_, _>>().expect("keys")
    }

    pub(crate) fn lose_all_sessions(&self) {
        assert!(self.database().execute("DELETE FROM ir_session", []).expect("deleted") > 0);
    }

    pub(crate) fn parties(&self) -> i64 {
        self.database().query_row("SELECT COUNT(*) FROM party_party", [], |row| row.get(0)).expect("a count")
    }
}

impl Drop for Tryton {
    fn drop(&mut self) {
        self.stop();
    }
}

fn launch(address: SocketAddr, folder: &Path) -> Child {
    let start = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tryton/start");
    let mut command = Command::new(start);
    command.arg(address.port().to_string()).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("Tryton starts")
}
