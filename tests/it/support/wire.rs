//! The wire between the gateway and an ERP, on which anything may go wrong.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the wire does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing: bytes pass.
    None,
    /// Requests arrive nowhere, and nothing comes back.
    Hangs,
    /// Answers come this much later.
    Slow(Duration),
    /// Something that is not HTTP comes back.
    Garbage,
    /// HTTP comes back whose body is no JSON and not what anybody asked for.
    Nonsense,
    /// The first half of each answer comes back, then the connection ends.
    Split,
}

/// A wire to an ERP. It stays until the process ends.
pub(crate) struct Wire {
    address: SocketAddr,
    trouble: Arc<Mutex<Trouble>>,
    connections: Arc<AtomicUsize>,
}

impl Wire {
    pub(crate) fn to(erp: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let address = listener.local_addr().expect("an address");
        let trouble = Arc::new(Mutex::new(Trouble::None));
        let connections = Arc::new(AtomicUsize::new(0));
        let (set, counted) = (Arc::clone(&trouble), Arc::clone(&connections));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::AcqRel);
                let set = Arc::clone(&set);
                std::thread::spawn(move || carry(client, erp, &set));
            }
        });
        Self { address, trouble, connections }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on, for new connections and on old ones.
    pub(crate) fn set(&self, trouble: Trouble) {
        *self.trouble.lock().expect("the lock") = trouble;
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }
}

fn carry(mut client: TcpStream, erp: SocketAddr, trouble: &Arc<Mutex<Trouble>>) {
    let Ok(mut upstream) = TcpStream::connect(erp) else { return };
    let (Ok(mut back_to), Ok(mut back_from)) = (client.try_clone(), upstream.try_clone()) else { return };
    let troubled = Arc::clone(trouble);
    let back = std::thread::spawn(move || {
        let mut chunk = vec![0; 64 * 1024];
        let mut hangs = false;
        while let Ok(count @ 1..) = back_from.read(&mut chunk) {
            let trouble = *troubled.lock().expect("the lock");
            let sent = match trouble {
                Trouble::None => back_to.write_all(&chunk[..count]),
                Trouble::Hangs => {
                    hangs = true;
                    Ok(())
                }
                Trouble::Slow(by) => {
                    std::thread::sleep(by);
                    back_to.write_all(&chunk[..count])
                }
                Trouble::Garbage => back_to.write_all(b"\x16\x03\x01 this is no HTTP at all\r\n\r\n"),
                Trouble::Nonsense => back_to.write_all(NONSENSE),
                Trouble::Split => {
                    let _ = back_to.write_all(&chunk[..count / 2]);
                    break;
                }
            };
            if sent.is_err() {
                break;
            }
        }
        // An ERP that hangs does not close the connection either.
        if !hangs {
            let _ = back_to.shutdown(Shutdown::Both);
        }
        let _ = back_from.shutdown(Shutdown::Both);
    });
    let mut chunk = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = client.read(&mut chunk) {
        // Where the ERP has gone, what comes is read and forgotten.
        let _ = upstream.write_all(&chunk[..count]);
    }
    let _ = upstream.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
    let _ = back.join();
}

const NONSENSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<h1>Hello!</h1>";
