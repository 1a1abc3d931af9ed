//! `conf/erp-access.yaml`: raw → checked, all errors at once.

use std::collections::BTreeMap;

use crate::domain::UpstreamName;

mod app_key;
mod key_file;
mod decode;
mod environment;
mod gateway;
mod keeping;
mod load;
mod log;
mod mask;
mod ops;
mod portal;
mod peers;
mod problem;
mod recipe;
mod scalar;
mod secret_file;
mod server;
mod sinks;
mod template;
#[cfg(test)]
mod tests;
mod texts;
mod tls;
mod tokens;
mod tree;
mod upstream;
mod upstreams;

pub use app_key::{AppKeyConfig, AppKeyError, AppKeySource, AppKeyTexts};
pub use decode::Setting;
pub use environment::Environment;
pub use gateway::{ApiKeyOnRelay, CutBy, Gateway, Limits, PublicUrl, RateLimits};
pub use keeping::{Admin, Audit, Guarantee, Policies, Redact, Store, Synchronous};
pub use key_file::{KeyFileError, keys_in, put_key_first, take_key_out};
pub use load::Sources;
pub use log::{LogConfig, LogFormat, LogLevel};
pub use ops::Ops;
pub use portal::Portal;
pub use problem::{ConfigErrors, Problem};
pub use recipe::{
    BodyMatch, BodyTemplate, Extract, ExtractFrom, InjectedCookie, InjectedHeader, Injection, JsonTemplate, Lifetime,
    LifetimeSource, LostRule, Piece, Recipe, SecretsOf, SignInStep, Success, Template,
};
pub use secret_file::{SecretFileError, read_secret_file};
pub use server::Server;
pub use sinks::{Sink, SinkProtocol, SinkStart, SinkTls};
pub use texts::Origin;
pub use tls::{ListenCertificate, ListenTls};
pub use tokens::{PasswordHashing, Tokens};
pub use upstream::{
    ApplicationError, Balance, Connections, Ejection, HealthCheck, HttpVersion, Upstream, UpstreamPeer,
    UpstreamTimeouts, UpstreamTls,
};

/// The checked configuration: what is in it can be used as it is.
#[derive(Debug, Clone)]
pub struct Config {
    /// `server:`, for Pingora.
    pub server: Server,
    /// `gateway:`
    pub gateway: Gateway,
    /// `tokens:`
    pub tokens: Tokens,
    /// `password_hashing:`
    pub password_hashing: PasswordHashing,
    /// `store:`
    pub store: Store,
    /// `audit:`
    pub audit: Audit,
    /// `policies:`
    pub policies: Policies,
    /// `admin:`
    pub admin: Admin,
    /// `ops:`
    pub ops: Ops,
    /// Where people and programs administer the gateway.
    pub portal: Portal,
    /// `log:`
    pub log: LogConfig,
    /// `app_key:`, not read yet.
    pub app_key: AppKeyConfig,
    /// `upstreams:`
    pub upstreams: BTreeMap<UpstreamName, Upstream>,
    settings: Vec<Setting>,
}

impl Config {
    /// Reads and checks everything. Names of upstream peers are resolved, which may ask the network.
    ///
    /// # Errors
    /// Everything that is wrong, at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        load::load(sources, peers::resolve_by_system)
    }

    /// Each effective value with its origin, in the order of the sections; secrets are hidden.
    #[must_use]
    pub fn origins(&self) -> &[Setting] {
        &self.settings
    }

    /// The effective values as an aligned table of key, value and origin; secrets are hidden.
    #[must_use]
    pub fn print(&self) -> String {
        let width = |of: fn(&Setting) -> &str| self.settings.iter().map(|setting| of(setting).chars().count()).max();
        let key_width = width(|setting| &setting.key).unwrap_or_default();
        let value_width = width(|setting| &setting.value).unwrap_or_default().min(WIDEST_VALUE);
        let line = |setting: &Setting| {
            let Setting { key, value, origin } = setting;
            format!("{key:key_width$}  {value:value_width$}  # {origin}\n")
        };
        self.settings.iter().map(line).collect()
    }
}

impl Admin {
    /// Reads `admin:` alone, for commands that only speak to the running process: no name is resolved and what is wrong
    /// elsewhere does not matter.
    ///
    /// # Errors
    /// The file is not readable as YAML, or `admin:` is wrong.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        load::load_admin(sources)
    }
}

/// Longer values push their origin to the right instead of everybody's.
const WIDEST_VALUE: usize = 48;
