//! From what the configuration says to what each part wants to know.

use http::HeaderValue;

use crate::audit::{self, AuditSettings, QueueSettings, Redactor};
use crate::config::{self, Config};
use crate::directory::CutInFlight;
use crate::gate::{ApiKeyOnRelay, GateRules, HeadLimits};
use crate::portal::PortalRules;
use crate::proxy::{Downstream, Settings};
use crate::relay::PublicUrl;
use crate::secrets::HashingSettings;
use crate::store::{self, StoreSettings};
use crate::tls::CertificateFiles;
use crate::token::TokenRules;

pub(super) fn redactor(config: &Config) -> Redactor {
    let headers = config.audit.redact.headers.iter().map(|name| name.as_str().to_owned()).collect();
    Redactor::new(&audit::RedactionLists { headers, fields: config.audit.redact.fields.clone() })
}

pub(super) fn store_settings(config: &Config) -> StoreSettings {
    StoreSettings {
        directory: config.store.directory.clone(),
        synchronous: match config.store.synchronous {
            config::Synchronous::Full => store::Synchronous::Full,
            config::Synchronous::Normal => store::Synchronous::Normal,
        },
        busy_timeout: config.store.busy_timeout,
        connections: config.store.connections,
    }
}

pub(super) fn audit_settings(config: &Config) -> AuditSettings {
    AuditSettings {
        directory: config.store.directory.clone(),
        synchronous: match config.audit.synchronous {
            config::Synchronous::Full => audit::Synchronous::Full,
            config::Synchronous::Normal => audit::Synchronous::Normal,
        },
        busy_timeout: config.store.busy_timeout,
    }
}

pub(super) fn queue_settings(config: &Config) -> QueueSettings {
    QueueSettings {
        rows: count(config.audit.queue_rows),
        bytes: size(config.audit.queue_bytes),
        preview_bytes: size(config.audit.preview_bytes),
        reserve_timeout: config.audit.reserve_timeout,
        fold_after: config.audit.fold_after,
        guarantee: match config.audit.guarantee {
            config::Guarantee::BeforeRelay => audit::Guarantee::BeforeRelay,
            config::Guarantee::AfterResponse => audit::Guarantee::AfterResponse,
        },
        node: config.audit.node.clone(),
        stalled_after: config.audit.stalled_after,
    }
}

pub(super) fn hashing_settings(config: &Config) -> HashingSettings {
    let settings = &config.password_hashing;
    HashingSettings {
        memory_kib: settings.memory_kib,
        iterations: settings.iterations,
        at_once: count(settings.at_once),
        waiting: count(settings.waiting),
    }
}

pub(super) fn gate_rules(config: &Config) -> GateRules {
    let limits = &config.gateway.limits;
    GateRules {
        head: HeadLimits {
            target: size(limits.request_line),
            headers: count(limits.header_count),
            header_bytes: size(limits.header_bytes),
        },
        body: limits.request_body,
        api_key: match config.gateway.api_key_on_relay {
            config::ApiKeyOnRelay::Optional => ApiKeyOnRelay::Optional,
            config::ApiKeyOnRelay::Required => ApiKeyOnRelay::Required,
        },
        rate_limits: config.gateway.rate_limits,
        cut: CutInFlight::new(&config.gateway.cut_in_flight),
    }
}

pub(super) fn certificate_files(tls: &config::ListenTls) -> Vec<CertificateFiles> {
    let files = tls.certificates.iter().cloned();
    files.map(|files| CertificateFiles { chain: files.chain_file, key: files.key_file }).collect()
}

pub(super) fn portal_rules(config: &Config) -> PortalRules {
    let settings = &config.portal;
    PortalRules {
        idle: settings.idle,
        absolute: settings.absolute,
        trusted_proxies: settings.trusted_proxies.clone(),
        tls: settings.tls.is_some(),
        hsts: settings.tls.as_ref().and_then(hsts),
    }
}

pub(super) fn token_rules(config: &Config) -> TokenRules {
    TokenRules {
        lifetime: config.tokens.lifetime,
        per_credential: count(config.tokens.per_credential),
        attempts_per_client: config.tokens.attempts_per_client,
        attempts_per_address: config.tokens.attempts_per_address,
    }
}

/// What clients over TLS are told: how long they shall use nothing else.
pub(super) fn hsts(tls: &config::ListenTls) -> Option<HeaderValue> {
    let seconds = tls.hsts?.as_secs();
    HeaderValue::try_from(format!("max-age={seconds}")).ok()
}

pub(super) fn proxy_settings(config: &Config) -> Settings {
    let limits = &config.gateway.limits;
    let beside_token = |name: &str| match config.gateway.token_path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{name}"),
        None => format!("/{name}"),
    };
    Settings {
        token_path: config.gateway.token_path.clone(),
        revoke_path: beside_token("revoke"),
        introspect_path: beside_token("introspect"),
        public_url: config.gateway.public_url.as_ref().map(|url| PublicUrl::new(&url.to_string())),
        trusted_proxies: config.gateway.trusted_proxies.clone(),
        proxy_protocol: config.gateway.proxy_protocol.clone(),
        hsts: config.gateway.tls.as_ref().and_then(hsts),
        preview_bytes: size(config.audit.preview_bytes),
        downstream: Downstream {
            head: limits.header_timeout,
            body_read: limits.body_read_timeout,
            minimum_receive_rate: limits.minimum_receive_rate,
            write: limits.write_timeout,
            minimum_send_rate: limits.minimum_send_rate.map(size),
            keep_alive: limits.keep_alive,
            connection_lifetime: limits.connection_lifetime,
            requests_per_connection: limits.requests_per_connection,
            http2_streams: limits.http2_streams,
            connections: count(limits.connections),
            connections_per_address: limits.connections_per_address.map(count),
            requests_at_once: count(limits.requests_at_once),
        },
    }
}

fn count(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
