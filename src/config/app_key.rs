//! `app_key:`: where `APP_KEY` comes from.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroize as _;

use super::decode::{Section, Wrong};
use super::environment::Environment;
use super::scalar;
use super::tree::{Node, Value};
use crate::domain::Secret;

/// Where `APP_KEY` and its predecessors come from.
#[derive(Debug, Clone)]
pub struct AppKeyConfig {
    /// The first source that exists; `None` where nothing names one.
    pub source: Option<AppKeySource>,
    /// Files of former keys, newest first; they stay readable until `key rotate` has moved every row.
    pub previous_files: Vec<PathBuf>,
}

/// Where `APP_KEY` is.
#[derive(Debug, Clone)]
pub enum AppKeySource {
    /// `$CREDENTIALS_DIRECTORY/app_key`, handed over by systemd.
    Credential(PathBuf),
    /// `app_key.file`.
    File(PathBuf),
    /// `ERP_ACCESS_APP_KEY`.
    Environment(Secret),
}

/// The texts of the keys, not decoded yet.
#[derive(Debug)]
pub struct AppKeyTexts {
    /// `APP_KEY`.
    pub current: Secret,
    /// Its predecessors, newest first.
    pub previous: Vec<Secret>,
}

/// `APP_KEY` cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AppKeyError {
    /// Nothing names a key.
    #[error(
        "there is no APP_KEY: make one with `erp-access key generate` and name its file in `app_key.file`, pass it as the \
         systemd credential `app_key`, or set `ERP_ACCESS_APP_KEY`"
    )]
    Missing,
    /// The file cannot be read.
    #[error("the key file `{file}` cannot be read: {source}")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Others than the owner may read or change the file.
    #[error("the key file `{file}` is open to others (mode {mode:04o}): run `chmod 0600 {file}`")]
    OpenToOthers {
        /// The file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file is too large to be a key.
    #[error("`{file}` is too large to be a key file")]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
}

impl AppKeyConfig {
    pub(super) fn read_section(section: &Section<'_, '_>, environment: &Environment) -> Self {
        let file =
            section.optional("file", |path: &PathBuf| path.display().to_string(), |node| key_file(section, node));
        let previous_files = section.list(
            "previous_files",
            Vec::new(),
            |path: &PathBuf| scalar::quoted(&path.display().to_string()),
            |node| key_file(section, node),
        );
        Self { source: AppKeySource::first(file, environment), previous_files }
    }

    /// Reads the texts of the keys.
    ///
    /// # Errors
    /// There is no key, or a key file cannot be read or is open to others.
    pub fn texts(&self) -> Result<AppKeyTexts, AppKeyError> {
        let current = match &self.source {
            // systemd guards the folder of credentials itself and may show an access list as group permissions.
            Some(AppKeySource::Credential(file)) => read_file(file, Guarded::BySystemd)?,
            Some(AppKeySource::File(file)) => read_file(file, Guarded::ByMode)?,
            Some(AppKeySource::Environment(key)) => Secret::new(key.expose().trim().to_owned()),
            None => return Err(AppKeyError::Missing),
        };
        let previous =
            self.previous_files.iter().map(|file| read_file(file, Guarded::ByMode)).collect::<Result<_, _>>()?;
        Ok(AppKeyTexts { current, previous })
    }
}

impl AppKeySource {
    fn first(file: Option<PathBuf>, environment: &Environment) -> Option<Self> {
        let credential = environment.get("CREDENTIALS_DIRECTORY").map(|folder| Path::new(folder).join("app_key"));
        credential
            .filter(|file| file.exists())
            .map(Self::Credential)
            .or(file.map(Self::File))
            .or_else(|| environment.secret("ERP_ACCESS_APP_KEY").map(Self::Environment))
    }
}

/// `app_key` where it is not a section: somebody wrote the key itself.
pub(super) fn refuse_inline(root: &Section<'_, '_>) -> bool {
    let Some(entry) = root.ask("app_key") else { return false };
    match &entry.node.value {
        Value::Map(_) | Value::Null => false,
        Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            root.wrong("app_key", inline());
            true
        }
    }
}

fn inline() -> Wrong {
    Wrong::new("does not take the key itself").with_help(
        "configuration files are copied, mailed and kept in version control: put the key into a file of its own with mode \
         0600 and name it in `app_key.file`; treat the key that stood here as leaked and replace it with `erp-access key rotate`",
    )
}

fn key_file(section: &Section<'_, '_>, node: &Node) -> Result<PathBuf, Wrong> {
    let text = scalar::text(node)?;
    if text.starts_with("base64:") {
        return Err(inline());
    }
    Ok(section.in_folder(text))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Guarded {
    ByMode,
    BySystemd,
}

/// More than any key takes.
const MAX_BYTES: usize = 4096;

fn read_file(path: &Path, guarded: Guarded) -> Result<Secret, AppKeyError> {
    let unreadable = |source| AppKeyError::Unreadable { file: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    // SECURITY: asked of the open file, so that nobody exchanges it between the check and the reading.
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    if guarded == Guarded::ByMode && mode & 0o077 != 0 {
        return Err(AppKeyError::OpenToOthers { file: path.to_owned(), mode });
    }
    // One byte more than fits shows that the file is too large. Reserved at once: a growing text leaves copies behind.
    let mut text = String::with_capacity(MAX_BYTES + 1);
    let most = u64::try_from(MAX_BYTES + 1).unwrap_or(u64::MAX);
    let read = file.take(most).read_to_string(&mut text).map_err(unreadable);
    let secret = Secret::new(text.trim().to_owned());
    let too_large = text.len() > MAX_BYTES;
    text.zeroize();
    read?;
    if too_large { Err(AppKeyError::TooLarge { file: path.to_owned() }) } else { Ok(secret) }
}
