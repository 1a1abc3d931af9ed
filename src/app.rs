//! Wiring and shutdown; no decisions.

mod settings;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;

use crate::audit::{AuditError, Auditor, Decision, Entry, Step, Verdict};
use crate::config::{self, Config, ConfigErrors};
use crate::control::{AdminSocket, Control, SocketError};
use crate::directory::Directory;
use crate::domain::{Clock, Code, Entropy, UpstreamName};
use crate::gate::{Gate, GateParts};
use crate::policy::{PolicyStore, ReloadReport, Watcher};
use crate::proxy::{self, BindError, BoundListener, Gateway, PeerError, Peers, PingoraTransport, ServerError, Stop};
use crate::secrets::{AppKey, AppKeyError, DeriveError, HashingError, KeyRing, PasswordHasher};
use crate::store::{Store, StoreError, StoreLock};
use crate::token::TokenEndpoint;
use crate::upstream::{SessionError, SessionEvents, SessionKey, Sessions, StoreVault, VaultError};

/// Why the gateway does not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The policies.
    #[error("{0}")]
    Policies(crate::policy::yaml::Problems),
    /// The `APP_KEY` cannot be read.
    #[error(transparent)]
    KeyFile(#[from] config::AppKeyError),
    /// The `APP_KEY` is no key.
    #[error(transparent)]
    Key(#[from] AppKeyError),
    /// A key cannot be derived.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// The state database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit database.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The parameters of password hashing.
    #[error(transparent)]
    Hashing(#[from] HashingError),
    /// An upstream's certificate authority.
    #[error(transparent)]
    Peer(#[from] PeerError),
    /// The secrets at the upstreams.
    #[error("the secrets at the upstreams cannot be read: {0}")]
    Vault(#[from] VaultError),
    /// A listener.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The admin socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The `server` section.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// An endpoint leads to an upstream that is not configured.
    #[error("endpoint `{0}` leads to upstream `{1}`, which the configuration does not have")]
    UnknownUpstream(String, UpstreamName),
}

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
        let texts = config.app_key.texts()?;
        let previous: Vec<AppKey> = texts.previous.iter().map(AppKey::parse).collect::<Result<_, _>>()?;
        let key_ring = Arc::new(KeyRing::new(&AppKey::parse(&texts.current)?, &previous)?);
        let lock = StoreLock::take(&config.store.directory)?;
        let store = Arc::new(Store::open(&settings::store_settings(config))?);
        store.check_app_key(&key_ring, &*world.entropy)?;
        let policies = PolicyStore::open(&config.policies.directory).map_err(StartError::Policies)?;
        let auditor = Auditor::open(
            &settings::audit_settings(config),
            settings::queue_settings(config),
            Arc::clone(&key_ring),
            Arc::clone(&world.clock),
        )?;
        let directory = Directory::load(Arc::clone(&store), world.clock.now(), Arc::clone(&world.entropy))?;
        let hasher = PasswordHasher::new(settings::hashing_settings(config), &key_ring, Arc::clone(&world.clock))?;
        let vault = StoreVault::new(Arc::clone(&store), Arc::clone(&key_ring), Arc::clone(&world.entropy));
        let control = Control {
            directory: Arc::new(directory),
            store,
            auditor: Arc::new(auditor),
            policies: Arc::new(policies),
            sessions: None,
            redactor: Arc::new(settings::redactor(config)),
            upstreams: config.upstreams.keys().cloned().collect(),
            key_ring,
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

/// What leads to the ERPs.
struct Outbound {
    sessions: Arc<Sessions>,
    peers: Arc<HashMap<UpstreamName, Peers>>,
}

impl Core {
    /// The operations with the sessions at the ERPs, for a process that serves no clients.
    ///
    /// # Errors
    /// When a certificate authority cannot be read, or the secrets of accounts.
    pub fn control_with_sessions(&self, config: &Config, world: &World) -> Result<Arc<Control>, StartError> {
        let outbound = self.outbound(config, world)?;
        Ok(Arc::new(self.control.with_sessions(outbound.sessions)))
    }

    fn outbound(&self, config: &Config, world: &World) -> Result<Outbound, StartError> {
        let peers = Arc::new(peers(config, &world.clock)?);
        let transport = Arc::new(PingoraTransport::new(Arc::clone(&peers), &config.server.to_yaml())?);
        let upstreams: Vec<_> = config.upstreams.values().cloned().collect();
        let vault = Arc::<StoreVault>::clone(&self.vault);
        let recorder = Arc::new(Recorder(Arc::clone(&self.control)));
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
    watcher: Option<Watcher>,
    keep: Option<Duration>,
    server: config::Server,
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
        let core = Core::open(config, world)?;
        check_upstreams(config, &core.control.policies)?;
        let Outbound { sessions, peers } = core.outbound(config, world)?;
        let control = Arc::new(core.control.with_sessions(Arc::clone(&sessions)));
        let gate = Arc::new(Gate::new(GateParts {
            directory: Arc::clone(&control.directory),
            policies: Arc::clone(&control.policies),
            key_ring: Arc::clone(&control.key_ring),
            auditor: Arc::clone(&control.auditor),
            sessions,
            upstreams: config
                .upstreams
                .iter()
                .map(|(name, upstream)| (name.clone(), Arc::new(upstream.clone())))
                .collect(),
            redactor: Arc::clone(&control.redactor),
            clock: Arc::clone(&world.clock),
            rules: settings::gate_rules(config),
        }));
        let tokens = Arc::new(TokenEndpoint::new(
            Arc::clone(&control.directory),
            Arc::clone(&control.key_ring),
            Arc::clone(&control.hasher),
            Arc::clone(&control.auditor),
            Arc::clone(&world.clock),
            Arc::clone(&world.entropy),
            settings::token_rules(config),
        ));
        let listeners: Vec<_> =
            config.gateway.listen.iter().map(|address| BoundListener::bind(*address)).collect::<Result<_, _>>()?;
        let admin = AdminSocket::bind(&config.admin.socket)?;
        let watcher = config.policies.watch.then(|| watch(&control)).flatten();
        let gateway = Gateway::new(gate, tokens, peers, Arc::clone(&world.entropy), settings::proxy_settings(config));
        let server = config.server.clone();
        let keep = Some(config.audit.keep).filter(|keep| !keep.is_zero());
        Ok(Self { control, gateway, listeners, admin, watcher, keep, server, stop: Stop::new(), _core: core })
    }

    /// Where clients connect.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(BoundListener::address).collect()
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
        record(&control, "start", &format!("{addresses:?}"));
        log::info!("listening on {addresses:?}; policies: generation {}", control.policies.current().generation());
        let beside =
            Beside { control: Arc::clone(&control), admin: std::sync::Mutex::new(Some(self.admin)), keep: self.keep };
        let ran = proxy::run(&self.server.to_yaml(), self.gateway, self.listeners, beside, self.stop);
        record(&control, "stop", "the gateway ends");
        control.auditor.stop();
        control.keep_anchor();
        drop(self.watcher);
        Ok(ran?)
    }
}

/// Leaves an audit row of each sign-in at an ERP.
#[derive(Debug)]
struct Recorder(Arc<Control>);

impl SessionEvents for Recorder {
    fn signed_in(&self, key: &SessionKey, result: Result<(), &SessionError>) {
        let control = Arc::clone(&self.0);
        let (now, subject) = (control.clock.now(), key.upstream.to_string());
        let Some(mut entry) = Entry::system(now, &*control.entropy, "upstream.login", subject) else { return };
        entry.account = key.account;
        if let Err(error) = result {
            entry.decision = Decision::Denied;
            entry.code = Some(Code::UpstreamSessionFailed);
            entry.verdicts.push(Verdict::denied(Step::UpstreamSession, error.to_string()));
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            match control.auditor.reserve().await {
                Ok(slot) => slot.close_with(entry),
                Err(error) => log::error!("a sign-in has no audit row: {error}"),
            }
        });
    }
}

/// Leaves the row of something that the gateway does by itself.
fn record(control: &Control, operation: &'static str, subject: &str) {
    let entry = Entry::system(control.clock.now(), &*control.entropy, operation, subject.to_owned());
    if let Some(Err(error)) = entry.map(|entry| control.auditor.write_blocking(entry)) {
        log::error!("the audit row of `{operation}` could not be written: {error}");
    }
}

/// What runs in the same process: the admin socket, and housekeeping.
struct Beside {
    control: Arc<Control>,
    admin: std::sync::Mutex<Option<AdminSocket>>,
    /// How long audit rows are kept; `None` for ever.
    keep: Option<Duration>,
}

/// How often expired tokens are forgotten.
const HOUSEKEEPING: Duration = Duration::from_mins(1);

#[async_trait]
impl BackgroundService for Beside {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let admin = self.admin.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        let Some(admin) = admin else { return };
        let mut stopped = shutdown.clone();
        let serving = admin.serve(Arc::clone(&self.control), async move {
            let _ = stopped.changed().await;
        });
        tokio::select! {
            ended = serving => {
                if let Err(error) = ended {
                    log::error!("the admin socket broke: {error}");
                }
            }
            () = housekeeping(&self.control, self.keep) => {}
            _ = shutdown.changed() => {}
        }
        // The exchanges in progress have ended by now.
        if let Some(sessions) = &self.control.sessions {
            sessions.shut_down().await;
        }
    }
}

async fn housekeeping(control: &Arc<Control>, keep: Option<Duration>) {
    loop {
        tokio::time::sleep(HOUSEKEEPING).await;
        let control = Arc::clone(control);
        let done = tokio::task::spawn_blocking(move || {
            control.copy_changes();
            control.auditor.write_folded();
            control.keep_anchor();
            if let Some(keep) = keep {
                control.prune_old_rows(keep);
            }
            control.directory.forget_expired_tokens(control.clock.now())
        });
        match done.await {
            Ok(Ok(0)) => {}
            Ok(Ok(count)) => log::debug!("{count} expired tokens were forgotten"),
            Ok(Err(error)) => log::error!("expired tokens could not be forgotten: {error}"),
            Err(error) => log::error!("housekeeping ended early: {error}"),
        }
    }
}

fn watch(control: &Arc<Control>) -> Option<Watcher> {
    let watching = Arc::clone(control);
    let tell = move |report: &ReloadReport| {
        if report.changed {
            watching.keep_policies();
            log::info!("policies reloaded: generation {}", report.generation);
        }
        if !report.problems.is_empty() {
            log::error!("policy files are broken; the last good versions stay in force:\n{}", report.problems);
        }
    };
    match Watcher::start(Arc::clone(&control.policies), tell) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            log::error!("{error}");
            None
        }
    }
}

fn check_upstreams(config: &Config, policies: &PolicyStore) -> Result<(), StartError> {
    let set = policies.current();
    match set.endpoints().iter().find(|endpoint| !config.upstreams.contains_key(endpoint.upstream())) {
        None => Ok(()),
        Some(endpoint) => Err(StartError::UnknownUpstream(endpoint.id().to_string(), endpoint.upstream().clone())),
    }
}

/// Reads the certificates and keys of all upstreams, and says what is wrong with them.
///
/// # Errors
/// When one of them cannot be used.
pub fn check_certificates(config: &Config, world: &World) -> Result<(), StartError> {
    Ok(peers(config, &world.clock).map(drop)?)
}

fn peers(config: &Config, clock: &Arc<dyn Clock>) -> Result<HashMap<UpstreamName, Peers>, PeerError> {
    if let Some(file) = config.server.ca_file() {
        proxy::check_authorities("server.ca_file", Path::new(file))?;
    }
    let numbered = config.upstreams.iter().zip(1_u64..);
    numbered
        .map(|((name, upstream), group)| Ok((name.clone(), Peers::of(upstream, group, Arc::clone(clock))?)))
        .collect()
}
