//! `app_key:`: where `APP_KEY` comes from.

use std::path::{Path, PathBuf};

use super::decode::{Section, Wrong};
use super::environment::Environment;
use super::key_file::keys_in;
use super::scalar;
use super::secret_file::{Guarded, SecretFileError, read_file};
use super::tree::{Node, Value};
use crate::domain::Secret;

/// Where `APP_KEY` and its predecessors come from.
#[derive(Debug, Clone)]
pub struct AppKeyConfig {
    /// The first source that exists; `None` where nothing names one.
    pub source: Option<AppKeySource>,
    /// Files of former keys, newest first, beside those below the key in use in its own file.
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
    /// A key file cannot be read, or not be trusted.
    #[error("the key file {0}")]
    File(#[from] SecretFileError),
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

    /// Reads the texts of the keys: in each source one in a line, the newest first.
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
        let mut keys = keys_in(&current).into_iter();
        // A file without a key is refused as no key.
        let current = keys.next().unwrap_or(current);
        let mut previous: Vec<Secret> = keys.collect();
        for file in &self.previous_files {
            previous.extend(keys_in(&read_file(file, Guarded::ByMode)?));
        }
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
