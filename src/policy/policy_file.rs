//! The name of a file of the policy folder, as it may come from outside: it leads to one of ours and nowhere else.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::files::{is_ours, kind};

/// Longest name inside a folder, in bytes.
const LONGEST: usize = 100;

/// A file of the policy folder: `NAME.yaml`, `endpoints/NAME.yaml` or `cases/NAME.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PolicyFile(String);

/// The text names no file of the policy folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is no file of the policy folder: write `NAME.yaml`, `endpoints/NAME.yaml` or `cases/NAME.yaml`, with a name \
     of letters, digits and . _ - that begins with a letter or digit"
)]
pub struct NotAPolicyFile {
    given: String,
}

impl PolicyFile {
    /// The path inside the policy folder.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same as a path.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(&self.0)
    }

    /// The folder inside the policy folder; nothing for the policy folder itself.
    pub(super) fn folder(&self) -> Option<&str> {
        self.0.split_once('/').map(|(folder, _)| folder)
    }

    /// The name inside its folder.
    pub(super) fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for PolicyFile {
    type Err = NotAPolicyFile;

    // SECURITY: what is not known to be harmless is refused: `..`, absolute paths, other folders, hidden files, names that
    // the loader would pass over.
    fn from_str(text: &str) -> Result<Self, NotAPolicyFile> {
        let name = match text.split_once('/') {
            None => Some(text),
            Some(("endpoints" | "cases", name)) => Some(name),
            Some(_) => None,
        };
        let path = Path::new(text);
        if name.is_some_and(is_plain) && is_ours(path) && kind(path).is_some() {
            return Ok(Self(text.to_owned()));
        }
        let given = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
        Err(NotAPolicyFile { given })
    }
}

fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    name.len() <= LONGEST
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(plain)
}

impl TryFrom<String> for PolicyFile {
    type Error = NotAPolicyFile;

    fn try_from(text: String) -> Result<Self, NotAPolicyFile> {
        text.parse()
    }
}

impl From<PolicyFile> for String {
    fn from(file: PolicyFile) -> Self {
        file.0
    }
}

impl fmt::Display for PolicyFile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_the_loader_reads_has_a_name() {
        for text in ["a.yaml", "order-reader.yml", "schedule.yaml", "endpoints/erp.yaml", "cases/Some_1.2.yaml"] {
            assert_eq!(text.parse::<PolicyFile>().expect(text).as_str(), text);
        }
    }

    #[test]
    fn a_path_that_leaves_the_folder_or_that_the_loader_passes_over_is_refused() {
        let long = format!("{}.yaml", "a".repeat(LONGEST));
        for text in [
            "",
            ".yaml",
            "a",
            "a.json",
            "/etc/a.yaml",
            "../a.yaml",
            "endpoints/../a.yaml",
            "endpoints/../../a.yaml",
            "endpoints//a.yaml",
            "./a.yaml",
            "endpoints/./a.yaml",
            "cases/deep/a.yaml",
            "other/a.yaml",
            "Endpoints/a.yaml",
            "endpoints/",
            "endpoints",
            ".hidden.yaml",
            "#a.yaml",
            "-a.yaml",
            "a b.yaml",
            "a\0.yaml",
            "a\n.yaml",
            "a\\b.yaml",
            "ä.yaml",
            "a.yaml/",
            "a.yaml/..",
            &long,
        ] {
            assert!(text.parse::<PolicyFile>().is_err(), "{text:?}");
        }
    }
}
