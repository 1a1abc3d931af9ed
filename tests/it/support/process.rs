//! The real program as a process of its own: what must survive being killed, and whose output is searched.

use std::io::Read as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// The built program.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_erp-access"));
    command.env_clear().env("PATH", "/usr/bin:/bin");
    command
}

/// Runs a command to its end, with this on standard input.
pub(crate) fn run(folder: &Path, arguments: &[&str], input: &str) -> Output {
    use std::io::Write as _;
    let mut child = program()
        .arg("--config")
        .arg(folder.join("erp-access.yaml"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("the program ends");
    // The one time that secrets are shown.
    if !arguments.contains(&"issue") {
        let mut printed =
            std::fs::File::options().create(true).append(true).open(folder.join("printed")).expect("a file");
        printed.write_all(&output.stdout).and_then(|()| printed.write_all(&output.stderr)).expect("written");
    }
    output
}

/// Runs a command that must succeed and gives what it printed.
pub(crate) fn succeed(folder: &Path, arguments: &[&str], input: &str) -> String {
    let output = run(folder, arguments, input);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {:?}\n{out}{err}", output.status);
    out.into_owned()
}

/// A running program. It is killed when dropped.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
}

impl Serving {
    /// Starts `serve` on the files in `folder`, on a port of its own choice, and waits until it accepts.
    pub(crate) fn start(folder: &Path) -> Self {
        let address = free_address();
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log file");
        let child = program()
            .arg("--config")
            .arg(folder.join("erp-access.yaml"))
            .args(["serve", "--migrate", "--set", &format!("gateway.listen=[\"{address}\"]")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        let mut serving = Self { child, address };
        serving.wait_until_it_accepts(folder);
        serving
    }

    fn wait_until_it_accepts(&mut self, folder: &Path) {
        for _ in 0..1500 {
            let socket = folder.join("admin.sock").exists() || folder.join("data/admin.sock").exists();
            if socket && TcpStream::connect(self.address).is_ok() {
                return;
            }
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("the gateway ended: {status}\n{}", log(folder));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the gateway does not accept\n{}", log(folder));
    }

    /// Memory that the process holds now, without files, in bytes.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the status");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("RssAnon");
        line.split_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number") * 1024
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }

    /// `kill -NAME`.
    pub(crate) fn signal(&self, name: &str) {
        let (name, pid) = (format!("-{name}"), self.child.id().to_string());
        assert!(Command::new("kill").args([name, pid]).status().expect("kill").success());
    }

    /// `kill -TERM`, and whether it ended with success.
    pub(crate) fn terminate(mut self) -> bool {
        self.signal("TERM");
        self.child.wait().expect("ended").success()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the program has said.
pub(crate) fn log(folder: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(folder.join("log")) {
        let _ = file.read_to_string(&mut text);
    }
    text
}

/// An address that nobody uses at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address")
}
