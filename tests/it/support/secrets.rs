//! Every secret that a test has used is looked for in everything that its gateway left behind.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// The secrets of one gateway.
#[derive(Debug, Default)]
pub(crate) struct Used(Mutex<Vec<String>>);

impl Used {
    pub(crate) fn note(&self, secret: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(secret.to_owned());
    }

    /// Searches the databases with their side files, the log, and what commands have printed.
    pub(crate) fn assert_left_nowhere(&self, folder: &Path) {
        let secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::thread::panicking() || secrets.is_empty() {
            return;
        }
        assert_nothing_secret(folder, &secrets, "");
    }
}

/// As it stands, and as it would look inside of something else. The middle of a base64 text depends on what stands
/// before, so each of the three shifts is looked for without its ends.
fn spellings(secret: &str) -> Vec<Vec<u8>> {
    let hex = secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    let wide = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let shifted = (0..3).map(|shift| {
        let text = STANDARD.encode([&b"xxx"[..shift], secret.as_bytes()].concat());
        text.as_bytes()[4..text.len() - 4].to_vec()
    });
    let url_safe = URL_SAFE_NO_PAD.encode(secret).into_bytes();
    let escaped = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
    let mut all = vec![secret.as_bytes().to_vec(), hex.clone().into_bytes(), hex.to_uppercase().into_bytes(), wide];
    all.extend(shifted.filter(|text| text.len() > 8));
    all.extend([url_safe, escaped.into_bytes()]);
    all
}

/// Searches every file of the data folder, the log and printed texts of the folder, and `outputs`, for each secret.
pub(crate) fn assert_nothing_secret(folder: &Path, secrets: &[String], outputs: &str) {
    let mut places: Vec<(String, Vec<u8>)> = vec![("output".into(), outputs.as_bytes().to_vec())];
    let data = std::fs::read_dir(folder.join("data")).map_or_else(|_| Vec::new(), Iterator::collect);
    let files = data.into_iter().map(|entry| entry.expect("an entry").path());
    for path in files.chain(["log", "printed"].map(|name| folder.join(name))) {
        // A side file of SQLite may vanish in between, and a socket cannot be read.
        if let Ok(bytes) = std::fs::read(&path) {
            places.push((path.display().to_string(), bytes));
        }
    }
    assert!(places.iter().any(|(name, bytes)| name.contains("audit.db") && bytes.len() > 4096), "the search sees rows");
    for secret in secrets {
        for spelling in spellings(secret) {
            let finder = memmem::Finder::new(&spelling);
            for (name, bytes) in &places {
                assert!(finder.find(bytes).is_none(), "a secret stands in {name}");
            }
        }
    }
}

#[test]
fn a_secret_is_found_however_it_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("data")).expect("created");
    std::fs::write(folder.path().join("data/audit.db"), vec![0; 5000]).expect("written");
    let secret = "erpa_tok_S3cretS3cretS3cret";
    let found = |text: &[u8]| {
        std::fs::write(folder.path().join("log"), text).expect("written");
        std::panic::catch_unwind(|| assert_nothing_secret(folder.path(), &[secret.to_owned()], "")).is_err()
    };
    assert!(!found(b"nothing"));
    let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let basic = STANDARD.encode(format!("client:{secret}"));
    let other = STANDARD.encode(format!("client1:{secret}"));
    let escaped = secret.replace('_', "%5F");
    for text in [secret.as_bytes(), &wide, basic.as_bytes(), other.as_bytes(), escaped.as_bytes()] {
        assert!(found(&[b"x=".as_slice(), text, b"&"].concat()), "{}", String::from_utf8_lossy(text));
    }
}
