//! Wiring and shutdown; no decisions.

mod abandon;
mod beside;
mod listeners;
mod record;
pub mod restore;
mod settings;
mod start_error;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::Auditor;
use crate::config::{self, Config};
use crate::control::{
    AdminSocket, Backups, Control, KeyKeeper, Offered, OpsListener, PortalListener, SocketRoles, Watched,
};
use crate::directory::Directory;
use crate::domain::{Clock, Entropy, UpstreamName};
use crate::gate::{Gate, GateParts};
use crate::policy::{PolicyStore, Watcher};
use crate::portal::PortalRules;
use crate::proxy::{self, BoundListener, Connections, Gateway, PeerError, Peers, PingoraTransport, Pulse, Stop};
use crate::secrets::{AppKey, KeyRing, PasswordHasher};
use crate::service_manager::Inherited;
use crate::store::{Store, StoreLock};
use crate::token::TokenEndpoint;
use crate::upstream::{NobodyIsTold, SessionEvents, Sessions, StoreVault};

pub use abandon::abandon_key;
pub use start_error::StartError;

use beside::{Beside, Listeners, watch};
use listeners::Shown;
use record::Recorder;

/// What the outside world gives: time and randomness.
#[derive(Debug, Clone)]
pub struct World {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// The state of a store with everything that works on it, without listeners: what the command line uses when no
/// gateway runs, and what the gateway is built on.
#[derive(Debug)]
pub struct Core {
    /// The operations.
    pub control: Arc<Control>,
    vault: Arc<StoreVault>,
    _lock: StoreLock,
}

impl Core {
    /// Opens the store of this configuration. One process at a time.
    ///
    /// # Errors
    /// When something is missing, broken, of another version, or owned by another process.
    pub fn open(config: &Config, world: &World) -> Result<Self, StartError> {
        let key_ring = Arc::new(key_ring(config)?);
        let lock = StoreLock::take(&config.store.directory)?;
        let store = Arc::new(Store::open(&settings::store_settings(config))?);
        store.check_app_key(&key_ring, &*world.entropy)?;
        let policies = PolicyStore::open(&config.policies.directory).map_err(StartError::Policies)?;
        let auditor = Auditor::open(
            &settings::audit_settings(config),
            settings::queue_settings(config),
            Arc::clone(&key_ring),
            Arc::clone(&world.clock),
        )?
        .with_sinks(&config.audit.sinks)?;
        let directory = Directory::load(Arc::clone(&store), world.clock.now(), Arc::clone(&world.entropy))?;
        let hasher =
            PasswordHasher::new(settings::hashing_settings(config), Arc::clone(&key_ring), Arc::clone(&world.clock))?;
        let vault = StoreVault::new(Arc::clone(&store), Arc::clone(&key_ring), Arc::clone(&world.entropy));
        let control = Control {
            directory: Arc::new(directory),
            store,
            auditor: Arc::new(auditor),
            policies: Arc::new(policies),
            sessions: None,
            gate: None,
            redactor: Arc::new(settings::redactor(config)),
            upstreams: config.upstreams.keys().cloned().collect(),
            offered: Arc::new(Offered::by(&config.gateway)),
            key_ring,
            keys: Arc::new(KeyKeeper::new(config.app_key.clone())),
            connections: None,
            certificates: Arc::default(),
            backups: Arc::new(Backups::new(config.store.backups.clone())),
            hasher: Arc::new(hasher),
            clock: Arc::clone(&world.clock),
            entropy: Arc::clone(&world.entropy),
        };
        control.check_anchor();
        control.keep_policies();
        control.copy_changes();
        Ok(Self { control: Arc::new(control), vault: Arc::new(vault), _lock: lock })
    }
}

fn key_ring(config: &Config) -> Result<KeyRing, StartError> {
    let texts = config.app_key.texts()?;
    let previous: Vec<AppKey> = texts.previous.iter().map(AppKey::parse).collect::<Result<_, _>>()?;
    Ok(KeyRing::new(&AppKey::parse(&texts.current)?, &previous)?)
}

/// What leads to the ERPs.
struct Outbound {
    sessions: Arc<Sessions>,
    peers: Arc<HashMap<UpstreamName, Peers>>,
}

impl Core {
    /// The operations with sessions and gate, for a process that serves no clients.
    ///
    /// # Errors
    /// When a certificate authority cannot be read, or the secrets of accounts.
    pub fn control_with_sessions(&self, config: &Config, world: &World) -> Result<Arc<Control>, StartError> {
        let outbound = self.outbound(config, world)?;
        let gate = self.gate(config, world, &outbound);
        Ok(Arc::new(self.control.with_gate(outbound.sessions, gate)))
    }

    fn gate(&self, config: &Config, world: &World, outbound: &Outbound) -> Arc<Gate> {
        let control = &self.control;
        let upstreams = config.upstreams.iter().map(|(name, upstream)| (name.clone(), Arc::new(upstream.clone())));
        Arc::new(Gate::new(GateParts {
            directory: Arc::clone(&control.directory),
            policies: Arc::clone(&control.policies),
            key_ring: Arc::clone(&control.key_ring),
            auditor: Arc::clone(&control.auditor),
            sessions: Arc::clone(&outbound.sessions),
            upstreams: upstreams.collect(),
            redactor: Arc::clone(&control.redactor),
            clock: Arc::clone(&world.clock),
            rules: settings::gate_rules(config),
        }))
    }

    fn outbound(&self, config: &Config, world: &World) -> Result<Outbound, StartError> {
        let recorder: Arc<dyn SessionEvents> = Arc::new(Recorder(Arc::clone(&self.control)));
        let peers = Arc::new(peers(config, &world.clock, &recorder)?);
        let transport = Arc::new(PingoraTransport::new(Arc::clone(&peers), &config.server.to_yaml())?);
        let upstreams: Vec<_> = config.upstreams.values().cloned().collect();
        let vault = Arc::<StoreVault>::clone(&self.vault);
        let sessions = Sessions::new(upstreams, transport, vault, Arc::clone(&world.clock), recorder)?;
        Ok(Outbound { sessions: Arc::new(sessions), peers })
    }
}

/// Brings both databases to this version's format, creating them where they are missing.
///
/// # Errors
/// When a file cannot be written, or was written by a newer version.
pub fn migrate(config: &Config) -> Result<(), StartError> {
    let _lock = StoreLock::take(&config.store.directory)?;
    Store::migrate(&settings::store_settings(config))?;
    Auditor::migrate(&settings::audit_settings(config))?;
    Ok(())
}

/// A gateway that is ready to run: databases open, sockets bound.
pub struct App {
    control: Arc<Control>,
    gateway: Gateway,
    listeners: Vec<BoundListener>,
    admin: AdminSocket,
    ops: Vec<OpsListener>,
    portal: Vec<PortalListener>,
    roles: SocketRoles,
    pages: PortalRules,
    watcher: Option<Watcher>,
    keep: Option<Duration>,
    server: config::Server,
    /// The hash of its effective values.
    configuration: String,
    stop: Stop,
    _core: Core,
}

impl std::fmt::Debug for App {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("App").field("addresses", &self.addresses()).finish_non_exhaustive()
    }
}

impl App {
    /// Opens the store and binds the sockets. When this returns, clients and operators can connect.
    ///
    /// # Errors
    /// Whatever keeps the gateway from starting; nothing listens then.
    pub fn build(config: &Config, world: &World) -> Result<Self, StartError> {
        Self::build_on(config, world, Inherited::default())
    }

    /// The same on sockets that were handed over, where they fit.
    ///
    /// # Errors
    /// As [`App::build`].
    pub fn build_on(config: &Config, world: &World, mut inherited: Inherited) -> Result<Self, StartError> {
        let core = Core::open(config, world)?;
        check_policies(config, &core.control.policies)?;
        let outbound = core.outbound(config, world)?;
        let gate = core.gate(config, world, &outbound);
        let Outbound { sessions, peers } = outbound;
        let shown = Shown::read(config)?;
        let control = core.control.with_gate(sessions, Arc::clone(&gate));
        let connections = Arc::new(Connections::default());
        let counted = Some(Arc::clone(&connections));
        let control = Arc::new(Control { certificates: shown.served(), connections: counted, ..control });
        let tokens = Arc::new(TokenEndpoint::new(
            Arc::clone(&control.directory),
            Arc::clone(&control.key_ring),
            Arc::clone(&control.hasher),
            Arc::clone(&control.auditor),
            Arc::clone(&world.clock),
            Arc::clone(&world.entropy),
            settings::token_rules(config),
        ));
        let listeners = shown.gateway(config, &mut inherited)?;
        let admin = AdminSocket::bind(&config.admin.socket)?;
        let ops = listeners::ops(config, &mut inherited)?;
        let portal = shown.portal(config, &mut inherited)?;
        inherited.close_unclaimed();
        let watcher = config.policies.watch.then(|| watch(&control)).flatten();
        let gateway = Gateway::new(
            gate,
            tokens,
            peers,
            Arc::clone(&world.entropy),
            connections,
            settings::proxy_settings(config),
        );
        Ok(Self {
            control,
            gateway,
            listeners,
            admin,
            ops,
            portal,
            roles: SocketRoles::new(config.admin.roles.clone()),
            pages: settings::portal_rules(config),
            watcher,
            keep: Some(config.audit.keep).filter(|keep| !keep.is_zero()),
            server: config.server.clone(),
            configuration: record::fingerprint(config),
            stop: Stop::new(),
            _core: core,
        })
    }

    /// Where clients connect.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(BoundListener::address).collect()
    }

    /// Where liveness, readiness and metrics are asked for.
    #[must_use]
    pub fn ops_addresses(&self) -> Vec<SocketAddr> {
        self.ops.iter().map(OpsListener::address).collect()
    }

    /// Where the admin API is served to holders of operator keys.
    #[must_use]
    pub fn portal_addresses(&self) -> Vec<SocketAddr> {
        self.portal.iter().map(PortalListener::address).collect()
    }

    /// The operations.
    #[must_use]
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// A switch that stops the gateway.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Serves until [`App::stop`] ends it; the audit rows are on disk when this returns.
    ///
    /// # Errors
    /// When Pingora does not take the `server` section.
    pub fn run(self) -> Result<(), StartError> {
        let addresses = self.addresses();
        let control = Arc::clone(&self.control);
        record::started(&control, &self.configuration, &addresses);
        log::info!("listening on {addresses:?}; policies: generation {}", control.policies.current().generation());
        let stop = self.stop.clone();
        let watched = Watched::new(Arc::clone(&control), move || stop.is_wanted());
        let listeners =
            Listeners { admin: self.admin, roles: self.roles, ops: self.ops, portal: self.portal, pages: self.pages };
        let pulse = Pulse::new();
        let beside = Beside::new(Arc::clone(&control), listeners, watched, self.keep, pulse.clone());
        let ran = proxy::run(&self.server.to_yaml(), self.gateway, self.listeners, beside, self.stop, &pulse);
        record::stopped(&control);
        control.auditor.stop();
        control.keep_anchor();
        drop(self.watcher);
        Ok(ran?)
    }
}

/// Whether the policies fit the upstreams of the configuration.
///
/// # Errors
/// When an endpoint leads to no upstream, or a rule forces a header that an upstream's session sets.
pub fn check_policies(config: &Config, policies: &PolicyStore) -> Result<(), StartError> {
    let set = policies.current();
    if let Some(endpoint) = set.endpoints().iter().find(|endpoint| !config.upstreams.contains_key(endpoint.upstream()))
    {
        return Err(StartError::UnknownUpstream(endpoint.id().to_string(), endpoint.upstream().clone()));
    }
    for (name, upstream) in &config.upstreams {
        for header in upstream.session.injected_names() {
            if let Some(rule) = set.rule_forcing(header, name) {
                return Err(StartError::HeaderOfSession(rule, header.clone(), name.clone()));
            }
        }
    }
    Ok(())
}

/// Reads the certificates and keys of all upstreams and listeners, and says what is wrong with them.
///
/// # Errors
/// When one of them cannot be used.
pub fn check_certificates(config: &Config, world: &World) -> Result<(), StartError> {
    Shown::read(config)?;
    let nobody: Arc<dyn SessionEvents> = Arc::new(NobodyIsTold);
    Ok(peers(config, &world.clock, &nobody).map(drop)?)
}

fn peers(
    config: &Config,
    clock: &Arc<dyn Clock>,
    events: &Arc<dyn SessionEvents>,
) -> Result<HashMap<UpstreamName, Peers>, PeerError> {
    if let Some(file) = config.server.ca_file() {
        proxy::check_authorities("server.ca_file", Path::new(file))?;
    }
    let numbered = config.upstreams.iter().zip(1_u64..);
    let built = numbered.map(|((name, upstream), group)| {
        let peers = Peers::of(upstream, group, Arc::clone(clock), Arc::clone(events))?;
        Ok((name.clone(), peers))
    });
    built.collect()
}
