//! What systemd does for a service, as far as the gateway can see: it hears messages, keeps sockets, and hands them over.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::io::FdFlags;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::process::{self, Serving};

/// Sockets that are handed over have numbers from here on, so that the shell can put them where they belong.
const FIRST: i32 = 100;

pub(crate) struct ServiceManager {
    socket: UnixDatagram,
    path: PathBuf,
    /// What it keeps, by name.
    pub(crate) kept: Vec<(String, OwnedFd)>,
    /// What it was told.
    pub(crate) heard: Vec<String>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    pub(crate) fn new(folder: &Path) -> Self {
        let path = folder.join("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("bound");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        Self { socket, path, kept: Vec::new(), heard: Vec::new(), watchdog: None }
    }

    pub(crate) fn with_watchdog(self, patience: Duration) -> Self {
        Self { watchdog: Some(patience), ..self }
    }

    /// Starts `serve` with what is kept, and waits until it says that it serves.
    pub(crate) fn start(&mut self, folder: &Path, address: SocketAddr) -> Serving {
        let mut script = String::new();
        let handed: Vec<OwnedFd> = self
            .kept
            .iter()
            .map(|(_, fd)| {
                let copy = rustix::io::fcntl_dupfd_cloexec(fd, FIRST).expect("copied");
                rustix::io::fcntl_setfd(&copy, FdFlags::empty()).expect("set");
                copy
            })
            .collect();
        for (number, fd) in handed.iter().enumerate() {
            script.push_str(&format!("exec {}<&{} {}<&-; ", number + 3, fd.as_raw_fd(), fd.as_raw_fd()));
        }
        if !handed.is_empty() {
            script.push_str(&format!("export LISTEN_PID=$$ LISTEN_FDS={}; ", handed.len()));
        }
        if let Some(patience) = self.watchdog {
            script.push_str(&format!("export WATCHDOG_PID=$$ WATCHDOG_USEC={}; ", patience.as_micros()));
        }
        script.push_str("exec \"$@\"");
        let log = std::fs::File::options().create(true).append(true).open(folder.join("log")).expect("a log file");
        let child = Command::new("bash")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("NOTIFY_SOCKET", &self.path)
            .args(["-c", &script, "bash", env!("CARGO_BIN_EXE_erp-access"), "--config"])
            .arg(folder.join("erp-access.yaml"))
            .args(["serve", "--migrate", "--set", &format!("gateway.listen=[\"{address}\"]")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log file"))
            .stderr(log)
            .spawn()
            .expect("the program starts");
        drop(handed);
        let mut service = Serving { child, address };
        self.heard.clear();
        self.hear_until("READY=1", &mut service, folder);
        service
    }

    pub(crate) fn hear_until(&mut self, wanted: &str, service: &mut Serving, folder: &Path) {
        for _ in 0..600 {
            self.hear();
            if self.heard.iter().any(|line| line == wanted) {
                return;
            }
            if let Ok(Some(status)) = service.child.try_wait() {
                panic!("the gateway ended: {status}\n{}", process::log(folder));
            }
        }
        panic!("`{wanted}` was not said: {:?}\n{}", self.heard, process::log(folder));
    }

    /// Takes what was said since.
    pub(crate) fn hear(&mut self) {
        loop {
            let mut bytes = [0; 4096];
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let received = rustix::net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            );
            let Ok(received) = received else { return };
            let text = String::from_utf8_lossy(&bytes[..received.bytes]).into_owned();
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            let name = lines.iter().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored").to_owned();
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    // One that is kept already is not kept twice.
                    self.kept.retain(|(known, _)| *known != name);
                    self.kept.extend(fds.map(|fd| (name.clone(), fd)));
                }
            }
            if lines.iter().any(|line| line == "FDSTOREREMOVE=1") {
                self.kept.retain(|(known, _)| *known != name);
            }
            self.heard.extend(lines);
        }
    }
}
