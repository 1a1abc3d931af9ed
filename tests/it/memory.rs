//! What of secrets lives on in the memory of a running gateway, when the requests that brought them are over.

use std::io::{Read as _, Seek as _, SeekFrom};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::http;
use crate::support::prepared::{ERP_KEY, Prepared};
use crate::support::process::Serving;
use crate::support::recorder::Recorder;

/// The memory that a process can write.
fn image_of(pid: u32) -> std::io::Result<Vec<u8>> {
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem"))?;
    let mut image = Vec::new();
    for line in std::fs::read_to_string(format!("/proc/{pid}/maps"))?.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
        let Some((from, to)) = range.split_once('-').filter(|_| rights.starts_with("rw")) else { continue };
        let number = |text| u64::from_str_radix(text, 16).map_err(std::io::Error::other);
        let (from, to) = (number(from)?, number(to)?);
        memory.seek(SeekFrom::Start(from))?;
        // Some of it cannot be read, such as what was reserved only.
        let _ = (&mut memory).take(to - from).read_to_end(&mut image);
    }
    Ok(image)
}

/// Freed memory is wiped, so that what was sent a moment ago is not there; what is in use is.
#[test]
fn secrets_live_on_in_memory_only_while_they_are_in_use() {
    let erp = Recorder::start();
    let prepared = Prepared::new(erp.address(), "");
    let gateway = Serving::start(prepared.folder.path());
    let token = prepared.token(gateway.address);
    let bearer = format!("Bearer {token}");
    for _ in 0..20 {
        let answer = http::once(gateway.address, "GET", "/v1/orders", &[("Authorization", &bearer)], None);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let wrong = http::once(gateway.address, "GET", "/v1/orders", &[("Authorization", "Bearer of-another")], None);
    assert_eq!(wrong.status, 401, "{}", wrong.text());
    let Ok(image) = image_of(gateway.child.id()) else {
        // It may not be dumped, and lets nobody but root look.
        return eprintln!("SKIPPED: only root may look into the memory of the gateway");
    };
    let id_and_password = prepared.basic.trim_start_matches("Basic ");
    let app_key = STANDARD.encode([7_u8; 32]);
    for (name, secret) in [
        ("the APP_KEY as it stands in its file", app_key.as_bytes()),
        ("the APP_KEY", &[7; 32]),
        ("the password", prepared.password.as_bytes()),
        ("client id and password as they were sent", id_and_password.as_bytes()),
        ("the x-api-key", prepared.api_key.as_bytes()),
        ("the token", token.as_bytes()),
        ("a token that was refused", b"of-another"),
    ] {
        let found = memchr::memmem::find(&image, secret).is_some();
        assert!(!found, "{name} lives on in {} bytes of memory", image.len());
    }
    // The session that serves holds it, and so it is found: the search sees what there is.
    assert!(memchr::memmem::find(&image, ERP_KEY.as_bytes()).is_some(), "the ERP's secret is in use");
}
