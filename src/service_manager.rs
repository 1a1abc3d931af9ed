//! The service manager (systemd): sockets that it hands over, and what it is told. Without one, all of this does nothing.
//!
//! What it holds survives a restart: connections that come between two processes wait in the socket's queue.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// Connections that wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const QUEUE: i32 = 4096;

/// What was handed over is no listening TCP socket.
#[derive(Debug, thiserror::Error)]
#[error("socket {number} of those handed over by the service manager cannot be used: {why}")]
pub struct NotUsable {
    number: usize,
    why: String,
}

/// Listening sockets that the service manager has handed over, and that nobody has claimed yet.
#[derive(Debug, Default)]
pub struct Inherited(Vec<(SocketAddr, TcpListener)>);

impl Inherited {
    /// Takes what stands in this process's environment (`LISTEN_FDS`). Once, before there are threads.
    ///
    /// # Errors
    /// When one of them is no listening TCP socket.
    pub fn take() -> Result<Self, NotUsable> {
        let mut given = ListenFd::from_env();
        let sockets = (0..given.len()).map(|number| {
            let wrong = |why: String| NotUsable { number, why };
            let listener = given.take_tcp_listener(number).map_err(|error| wrong(error.to_string()))?;
            let listener = listener.ok_or_else(|| wrong("it was taken already".to_owned()))?;
            let listens = rustix::net::sockopt::socket_acceptconn(&listener).unwrap_or(false);
            if !listens {
                return Err(wrong("it does not listen".to_owned()));
            }
            let address = listener.local_addr().map_err(|error| wrong(error.to_string()))?;
            Ok((address, listener))
        });
        sockets.collect::<Result<_, _>>().map(Self)
    }

    /// A listener on this address: one that was handed over, or a new one. The service manager is given it to keep.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn listen(&mut self, address: SocketAddr) -> io::Result<TcpListener> {
        let known = self.0.iter().position(|(known, _)| *known == address);
        let listener = match known {
            Some(place) => self.0.swap_remove(place).1,
            None => TcpListener::bind(address)?,
        };
        listener.set_nonblocking(true)?;
        rustix::net::listen(&listener, QUEUE)?;
        // Whoever is not kept loses a few connections at the next restart, and nothing else.
        let name = name_of(listener.local_addr()?);
        let kept = sd_notify::notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(&name)], &[listener.as_fd()]);
        if let Err(error) = kept {
            log::warn!("the service manager does not keep the socket of {address}: {error}");
        }
        Ok(listener)
    }

    /// Closes what the configuration no longer names, here and where it is kept.
    pub fn close_unclaimed(self) {
        for (address, _) in self.0 {
            log::info!("nothing is served on {address} any more");
            tell(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name_of(address))]);
        }
    }
}

/// The name under which a socket is kept: letters, digits and a few signs.
fn name_of(address: SocketAddr) -> String {
    let sign = |letter: char| if letter.is_ascii_alphanumeric() || letter == '.' { letter } else { '_' };
    address.to_string().chars().map(sign).collect()
}

/// The gateway serves.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The gateway stops; what is in progress goes on for a while.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("letting requests in progress end")]);
}

/// How often the service manager wants to hear from the gateway; `None` where it does not.
#[must_use]
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// The gateway is alive.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("the service manager cannot be told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_handed_over_is_used_for_its_address_only() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
        let address = listener.local_addr().expect("an address");
        let mut inherited = Inherited(vec![(address, listener)]);
        let other = inherited.listen("127.0.0.1:0".parse().expect("an address")).expect("bound");
        assert_ne!(other.local_addr().expect("an address"), address);
        assert!(TcpListener::bind(address).is_err(), "it is held still");
        let same = inherited.listen(address).expect("claimed");
        assert_eq!(same.local_addr().expect("an address"), address);
        assert!(inherited.0.is_empty());
        let again = inherited.listen(address);
        assert!(again.is_err(), "it is claimed once");
    }

    #[test]
    fn names_of_sockets_hold_nothing_that_a_message_is_split_by() {
        assert_eq!(name_of("127.0.0.1:8080".parse().expect("an address")), "127.0.0.1_8080");
        assert_eq!(name_of("[::1]:443".parse().expect("an address")), "___1__443");
    }
}
