//! The environment of the process: read here, once, and nowhere else.

use std::collections::BTreeMap;
use std::fmt;

use crate::domain::Secret;

/// The environment variables as they were when captured.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, Secret>);

/// What variables that set a configuration key begin with.
const PREFIX: &str = "ERP_ACCESS_";

/// What stands between the levels of a key.
const BETWEEN_LEVELS: &str = "__";

impl Environment {
    /// Captures the environment of this process. Bytes that are not UTF-8 are replaced.
    #[must_use]
    pub fn capture() -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self(std::env::vars_os().map(|(name, value)| (text(name), Secret::new(text(value)))).collect())
    }

    /// A variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::expose)
    }

    /// A variable that holds a secret.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.0.get(name).cloned()
    }

    /// The variables that set a key, as (variable, key, value): `ERP_ACCESS_GATEWAY__LISTEN` sets `gateway.listen`.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, String, &str)> {
        self.ours()
            .filter(|(_, name, _)| name.contains(BETWEEN_LEVELS))
            .map(|(variable, name, value)| (variable, dotted(name), value.expose()))
    }

    /// Variables that look as if they should set a key but are written with one underscore, with what was meant.
    pub(super) fn nearly_keys<'a>(&'a self, sections: &'a [&str]) -> impl Iterator<Item = (&'a str, String)> {
        self.ours()
            .filter(|(variable, name, _)| *variable != "ERP_ACCESS_APP_KEY" && !name.contains(BETWEEN_LEVELS))
            .filter_map(|(variable, name, _)| {
                let lower = name.to_ascii_lowercase();
                let mut split = sections.iter().filter_map(|section| Some((section, lower.strip_prefix(section)?)));
                let (section, key) = split.find_map(|(section, key)| Some((section, key.strip_prefix('_')?)))?;
                let meant = format!("{PREFIX}{section}{BETWEEN_LEVELS}{key}").to_ascii_uppercase();
                Some((variable, meant))
            })
    }

    fn ours(&self) -> impl Iterator<Item = (&str, &str, &Secret)> {
        self.0.iter().filter_map(|(variable, value)| Some((variable.as_str(), variable.strip_prefix(PREFIX)?, value)))
    }
}

fn dotted(name: &str) -> String {
    name.to_ascii_lowercase().replace(BETWEEN_LEVELS, ".")
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), Secret::new(value.into()))).collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SECURITY: any variable may hold a secret.
        out.debug_set().entries(self.0.keys()).finish()
    }
}
