//! The attack corpora, over real sockets, judged at the ERP's socket.
//!
//! The rows are data in `tests/corpus/`. A row passes when its outcome is one of those that keep the promise; what the
//! ERP saw is compared byte for byte.

mod auth;
mod path;
mod raw;

use serde::de::DeserializeOwned;

/// The rows of a file.
fn rows<T: DeserializeOwned>(text: &str) -> Vec<T> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Fails with every row that is wrong, not only the first.
fn judge(wrong: &[String], count: usize) {
    assert!(wrong.is_empty(), "{} of {count} rows:\n{}", wrong.len(), wrong.join("\n"));
}
