//! `server:`: Pingora's own settings, checked for names and kinds and passed on.

use serde_yaml::{Mapping, Value as Yaml};

use super::decode::{Section, Wrong};
use super::scalar;
use super::tokens::cores;
use super::tree::{Node, Value};

/// Settings for Pingora's `ServerConf`, ours and the operator's; what is not in it keeps Pingora's default.
#[derive(Debug, Clone, PartialEq)]
pub struct Server(Mapping);

impl Server {
    /// The settings as YAML, to be read as a `ServerConf`.
    #[must_use]
    pub fn to_yaml(&self) -> Yaml {
        Yaml::Mapping(self.0.clone())
    }

    /// Threads of each service.
    #[must_use]
    pub fn threads(&self) -> u64 {
        self.number("threads").unwrap_or(1)
    }

    /// Seconds between the signal to stop and the end of listening.
    #[must_use]
    pub fn grace_period_seconds(&self) -> u64 {
        self.number("grace_period_seconds").unwrap_or_default()
    }

    /// Seconds that requests in progress get after that.
    #[must_use]
    pub fn graceful_shutdown_timeout_seconds(&self) -> u64 {
        self.number("graceful_shutdown_timeout_seconds").unwrap_or_default()
    }

    /// Attempts at an upstream for one request. Never 0.
    #[must_use]
    pub fn max_retries(&self) -> u64 {
        self.number("max_retries").unwrap_or(1)
    }

    /// Certificate authorities for upstreams instead of the system's.
    #[must_use]
    pub fn ca_file(&self) -> Option<&str> {
        self.0.get("ca_file").and_then(Yaml::as_str)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).and_then(Yaml::as_u64)
    }

    pub(super) fn read(section: &Section<'_, '_>) -> Self {
        let mut settings = Mapping::new();
        for (name, kind) in PASSED_ON {
            let default = ours(name).map(Yaml::from);
            if let Some(value) = passed_on(section, name, kind, default) {
                settings.insert(Yaml::from(name), value);
            }
        }
        for (name, why) in REFUSED {
            section.refuse(name, why);
        }
        Self(settings)
    }
}

/// The kinds of values in `ServerConf`.
#[derive(Clone, Copy)]
enum Kind {
    /// From 1.
    Positive,
    /// From 0.
    Whole,
    /// From 0, or `null`.
    WholeOrNull,
    Switch,
    Text,
    Texts,
}

/// The fields of Pingora 0.9.1's `ServerConf` that make sense here.
const PASSED_ON: [(&str, Kind); 16] = [
    ("threads", Kind::Positive),
    ("grace_period_seconds", Kind::Whole),
    ("graceful_shutdown_timeout_seconds", Kind::Whole),
    ("max_retries", Kind::Positive),
    ("upstream_keepalive_pool_size", Kind::Positive),
    ("listener_tasks_per_fd", Kind::Positive),
    ("work_stealing", Kind::Switch),
    ("max_blocking_threads", Kind::Positive),
    ("blocking_threads_ttl_seconds", Kind::Whole),
    ("ca_file", Kind::Text),
    ("client_bind_to_ipv4", Kind::Texts),
    ("client_bind_to_ipv6", Kind::Texts),
    ("upstream_connect_offload_threadpools", Kind::Positive),
    ("upstream_connect_offload_thread_per_pool", Kind::Positive),
    ("fast_timeout_to_tokio_threshold_seconds", Kind::WholeOrNull),
    ("version", Kind::Whole),
];

/// The other fields, with the reason.
const REFUSED: [(&str, &str); 20] = [
    ("daemon", SYSTEMD),
    ("daemon_wait_for_ready", SYSTEMD),
    ("daemon_ready_timeout_seconds", SYSTEMD),
    ("daemon_notify_timeout_seconds", SYSTEMD),
    ("error_log", "the log goes to standard error; systemd keeps it"),
    ("pid_file", SYSTEMD),
    ("working_directory", SYSTEMD),
    ("user", "systemd starts the process as the right user: set `User=` in its unit"),
    ("group", "systemd starts the process in the right group: set `Group=` in its unit"),
    ("upgrade_sock", ONE_OWNER),
    ("upgrade_sock_connect_accept_max_retries", ONE_OWNER),
    ("upstream_debug_ssl_keylog", "it writes the keys of encrypted connections into a file"),
    ("runtime_enable_alt_timer", NOT_BUILT),
    ("runtime_metrics_poll_time_histogram", NOT_BUILT),
    ("runtime_metrics_poll_time_histogram_scale", NOT_BUILT),
    ("runtime_metrics_poll_time_histogram_resolution_micros", NOT_BUILT),
    ("runtime_metrics_poll_time_histogram_buckets", NOT_BUILT),
    ("s2n_config_cache_size", NOT_BUILT),
    ("downstream_tls_offload_threadpools", HANDSHAKES),
    ("downstream_tls_offload_thread_per_pool", HANDSHAKES),
];

const SYSTEMD: &str = "systemd runs the process in the foreground and watches it: remove the line";
const ONE_OWNER: &str =
    "one process owns the store, so two cannot overlap: restart the service; systemd keeps its socket open";
const HANDSHAKES: &str = "handshakes are made where the limits of connections count them: remove the line";
const NOT_BUILT: &str = "this build of the gateway does not have it: remove the line";

/// Our own defaults where Pingora's do not fit: one thread, 300 seconds to stop, 16 attempts.
fn ours(name: &str) -> Option<u64> {
    match name {
        "threads" => Some(u64::from(cores())),
        "grace_period_seconds" => Some(10),
        "graceful_shutdown_timeout_seconds" => Some(5),
        "max_retries" => Some(3),
        _ => None,
    }
}

fn passed_on(section: &Section<'_, '_>, name: &str, kind: Kind, default: Option<Yaml>) -> Option<Yaml> {
    let read = |node: &Node| checked(node, kind);
    match default {
        Some(default) => Some(section.value(name, default, show, read)),
        None => section.ask(name).and_then(|_| section.optional(name, show, read)),
    }
}

fn checked(node: &Node, kind: Kind) -> Result<Yaml, Wrong> {
    match kind {
        Kind::Positive => match scalar::whole(node)? {
            0 => Err(Wrong::new("is 0, which Pingora cannot work with")),
            number => Ok(Yaml::from(number)),
        },
        Kind::WholeOrNull if matches!(node.value, Value::Null) => Ok(Yaml::Null),
        Kind::Whole | Kind::WholeOrNull => scalar::whole(node).map(Yaml::from),
        Kind::Switch => scalar::switch(node).map(Yaml::from),
        Kind::Text => scalar::text(node).map(Yaml::from),
        Kind::Texts => match &node.value {
            Value::List(items) => items
                .iter()
                .map(|item| scalar::text(item).map(Yaml::from))
                .collect::<Result<_, _>>()
                .map(Yaml::Sequence),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                Err(Wrong::new(format!("is not a list but {}", node.value.kind())))
            }
        },
    }
}

fn show(value: &Yaml) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
