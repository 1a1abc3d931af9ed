//! What administrators and operators can do, once, for every face of it.

mod account_api;
mod accounts;
mod api;
mod audit;
mod backup;
mod callable;
mod certificates;
mod caller;
mod command;
mod credentials;
mod doctor;
mod error;
mod evidence;
mod explain;
mod keys;
mod lint;
mod listener;
mod metrics;
mod new_set;
mod offered;
mod on_policies;
mod operation;
mod operator_keys;
mod ops;
mod part;
mod policy_apply;
mod policy_versions;
mod portal;
mod proposal;
mod reach;
mod render;
mod schedules;
mod search;
mod secret_text;
mod set_openapi;
mod set_query;
mod socket;
mod state;
mod stats;
mod system;
mod tenant;
mod upstreams;
mod users;

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::audit::{Auditor, Filter, Kind, Redactor};
use crate::directory::{By, ChangeError, CredentialChange, Directory};
use crate::domain::{Clock, Entropy, ScheduleName, UpstreamName};
use crate::gate::Gate;
use crate::policy::{PolicySet, PolicyStore, default_schedule_name};
use crate::proxy::Connections;
use crate::schedule::Schedule;
use crate::secrets::{KeyRing, PasswordHasher};
use crate::store::{PolicyText, Store, UserState};
use crate::upstream::Sessions;

use caller::Permitted;
use operator_keys::IssueKey;
use state::Order;
use upstreams::{NewSecrets, Whose};

pub use api::{Listing, SocketRoles, Wire, api_over_http, description, read_problem};
pub use backup::{ArchiveError, Backups, Manifest, PARTS, Part, unpack};
pub use caller::Caller;
pub use certificates::Served;
pub use command::{AuditQuery, Command};
pub use doctor::{Finding, FindingState};
pub use error::{ControlError, ErrorKind};
pub use explain::Question;
pub use keys::KeyKeeper;
pub use listener::ListenError;
pub use new_set::{Bounds, NewSet};
pub use offered::Offered;
pub use operation::{Audience, OPERATIONS, Operation, Verb};
pub use ops::{OpsListener, Watched};
pub use portal::PortalListener;
pub use proposal::{
    Checked, Difference, Draft, Earlier, Holder, InForce, Replay, ReplayReport, Suggested, Suggestion,
    difference_in_words, name_for, policies_of, replay_in_words,
};
pub use secret_text::SecretText;
pub use set_query::{SetOrder, SetQuery, SetState};
pub use socket::{AdminSocket, SocketError};

/// Carries operations out. An operation is in force when its answer is there.
#[derive(Debug, Clone)]
pub struct Control {
    /// The live view and its store.
    pub directory: Arc<Directory>,
    /// The state database.
    pub store: Arc<Store>,
    /// The audit trail.
    pub auditor: Arc<Auditor>,
    /// Policies and catalogue.
    pub policies: Arc<PolicyStore>,
    /// Sessions at the ERPs; absent when no gateway runs.
    pub sessions: Option<Arc<Sessions>>,
    /// Decides about questions of operators, as it does about requests; absent where nobody asks it.
    pub gate: Option<Arc<Gate>>,
    /// Knows what is secret.
    pub redactor: Arc<Redactor>,
    /// The names of the configured upstreams.
    pub upstreams: Vec<UpstreamName>,
    /// What clients are told of the gateway.
    pub offered: Arc<Offered>,
    /// Keys.
    pub key_ring: Arc<KeyRing>,
    /// Where the keys come from.
    pub keys: Arc<KeyKeeper>,
    /// The connections of clients; none where nothing is served.
    pub connections: Option<Arc<Connections>>,
    /// The certificates that the listeners show; none where nothing is served.
    pub certificates: Arc<[Served]>,
    /// Where backups go.
    pub backups: Arc<Backups>,
    /// Hashes API passwords.
    pub hasher: Arc<PasswordHasher>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

type Result<T> = std::result::Result<T, ControlError>;

impl Control {
    /// The same with the sessions at the ERPs and the gate in front of them.
    #[must_use]
    pub fn with_gate(&self, sessions: Arc<Sessions>, gate: Arc<Gate>) -> Self {
        Self { sessions: Some(sessions), gate: Some(gate), ..self.clone() }
    }

    /// Carries one operation out for `caller`, who must be one of those who may have it.
    ///
    /// # Errors
    /// When it was not carried out; nothing has changed then.
    pub async fn run(self: &Arc<Self>, caller: Caller, command: Command) -> Result<Value> {
        let control = Arc::clone(self);
        let asked = tokio::task::spawn_blocking(move || control.permit(caller, command));
        let Permitted { by, command, for_client } = asked.await.map_err(ControlError::failed)??;
        let trail = matches!(command, Command::AuditSearch(_) | Command::AuditShow { .. });
        let answer = self.carry_out(by, command).await?;
        Ok(if for_client && trail { caller::for_client(answer) } else { answer })
    }

    async fn carry_out(self: &Arc<Self>, by: By, command: Command) -> Result<Value> {
        let command = match self.run_waiting(&by, command).await {
            Ok(done) => return done,
            Err(command) => command,
        };
        // Everything else waits for SQLite only.
        let control = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let result = match control.run_on_policies(&by, command) {
                Ok(done) => done,
                Err(command) => control.run_blocking(&by, *command),
            };
            control.copy_changes();
            result
        });
        done.await.map_err(ControlError::failed)?
    }

    /// Operations that may wait for an ERP, for hashing or for a body; gives other commands back.
    #[expect(clippy::wildcard_enum_match_arm, reason = "all other commands go on to where each is named")]
    async fn run_waiting(self: &Arc<Self>, by: &By, command: Command) -> std::result::Result<Result<Value>, Command> {
        Ok(match command {
            Command::CredentialIssue(new) => self.issue_credential(by.clone(), *new).await,
            Command::CredentialRotate { id, overlap_seconds } => {
                self.rotate_credential(by.clone(), id, overlap_seconds).await
            }
            Command::UserCreate { name, role, account } => self.create_user(by.clone(), &name, role, account).await,
            Command::UserResetPassword { name } => self.reset_password(by.clone(), name).await,
            Command::PolicyExplain(question) => self.explain_question(&question).await,
            Command::UpstreamSecretSet { upstream, account, username, password, api_key } => {
                let secrets = NewSecrets { username, password, api_key };
                self.set_upstream_secret(by.clone(), Whose { upstream, account }, secrets).await
            }
            Command::UpstreamSecretRemove { upstream, account } => {
                self.remove_upstream_secret(by.clone(), Whose { upstream, account: Some(account) }).await
            }
            Command::UpstreamTest { upstream, account } => self.test_upstream(&Whose { upstream, account }).await,
            Command::UpstreamLogin { upstream, account } => self.log_in(&Whose { upstream, account }).await,
            Command::UpstreamLogout { upstream, account } => self.log_out(&Whose { upstream, account }).await,
            other => return Err(other),
        })
    }

    /// Makes a change off the async threads. Its audit row is there when this returns.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        by: By,
        change: impl FnOnce(&Self, &By) -> std::result::Result<T, ChangeError> + Send + 'static,
    ) -> Result<T> {
        let control = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let changed = change(&control, &by);
            control.copy_changes();
            changed
        });
        Ok(done.await.map_err(ControlError::failed)??)
    }

    #[expect(clippy::too_many_lines, reason = "a table with a line for each operation")]
    fn run_blocking(&self, by: &By, command: Command) -> Result<Value> {
        match command {
            Command::AccountCreate { name, labels } => self.create_account(by, &name, &labels),
            Command::AccountLabel { name, changes } => self.label_account(by, &name, &changes),
            Command::AccountLimit { name, limits } => self.limit_account(by, &name, limits),
            Command::AccountCertificates { name, certificates } => self.demand_of_account(by, &name, certificates),
            Command::CredentialCertificates { id, certificates } => self.demand_of_credential(by, id, certificates),
            Command::CredentialLimit { id, limits } => self.limit_credential(by, id, limits),
            Command::AccountRename { name, new_name } => self.rename_account(by, &name, &new_name),
            Command::AccountContacts { name, contacts } => self.set_contacts(by, &name, &contacts),
            Command::AccountDelete { name } => self.delete_account(by, &name),
            Command::UserList => self.list_users(),
            Command::UserShow { name } => self.show_user(&name),
            Command::UserDisable { name } => self.set_user_state(by, &name, UserState::Disabled),
            Command::UserEnable { name } => self.set_user_state(by, &name, UserState::Active),
            Command::UserRole { name, role, account } => self.set_user_role(by, &name, role, account.as_ref()),
            Command::UserResetTotp { name } => self.reset_totp(by, &name),
            Command::TokenRevokeAccount { name } => self.revoke_tokens_of_account(by, &name),
            Command::AccountList => Ok(self.list_accounts()),
            Command::AccountShow { name } => self.show_account(&name),
            Command::AccountSuspend { name, reason } => self.suspend_account(by, &name, &reason),
            Command::AccountActivate { name } => self.activate_account(by, &name),
            Command::CredentialList { account } => self.list_credentials(account.as_ref()),
            Command::CredentialSearch(query) => self.search_credentials(&query),
            Command::CredentialShow { id } => self.show_credential(id),
            Command::CredentialDisable { id } => self.disable_credential(by, id),
            Command::CredentialEnable { id } => self.enable_credential(by, id),
            Command::CredentialUpdate { id, name, purpose, clients, expires_at, no_expiry } => {
                let expires_at = new_end(expires_at, no_expiry)?;
                self.update_credential(by, id, CredentialChange { name, purpose, clients, expires_at })
            }
            Command::CredentialRotateEnd { id } => self.end_rotation(by, id),
            Command::CredentialRevoke { id } => self.revoke_credential(by, id),
            Command::GrantAdd { credential, policy, expires_at } => self.add_grant(by, credential, policy, expires_at),
            Command::GrantRemove { credential, policy } => self.remove_grant(by, credential, &policy),
            Command::GrantList { credential, account } => self.list_grants(credential, account.as_ref()),
            Command::TokenList { credential, account } => self.list_tokens(credential, account.as_ref()),
            Command::TokenRevoke { id } => self.revoke_token(by, id),
            Command::TokenRevokeAll { credential } => self.revoke_tokens(by, credential),
            Command::OperatorKeyIssue { name, role, account, expires_at, clients } => {
                self.issue_operator_key(by, IssueKey { name, role, account, expires_at, clients })
            }
            Command::OperatorKeyList => Ok(self.list_operator_keys()),
            Command::OperatorKeyRevoke { id } => self.revoke_operator_key(by, id),
            Command::KillEngage { scope, message, reason, until } => {
                self.engage(by, Order { scope, message, reason, until })
            }
            Command::KillRelease { scope, reason } => self.release(by, &scope, &reason),
            Command::KillStatus => Ok(self.kill_status()),
            Command::ScheduleShow => Ok(self.show_schedules()),
            Command::ScheduleNext => Ok(self.next_changes()),
            Command::ScheduleOverride { schedule, held, until, reason } => {
                self.hold_schedule(by, schedule, held, until, reason)
            }
            Command::ScheduleLift { schedule, held, reason } => self.lift_override(by, &schedule, held, &reason),
            Command::ScheduleOverrides => Ok(self.list_overrides()),
            Command::UpstreamList => Ok(self.list_upstreams()),
            Command::UpstreamShow { upstream, account } => self.show_upstream(&Whose { upstream, account }),
            Command::PolicyReload => self.reload_policies(by),
            Command::PolicyInForce { without_holders } => self.policies_in_force(without_holders),
            Command::PolicySnapshot { hash } => self.snapshot_texts(&hash),
            Command::AuditSearch(query) => self.search_audit(&query),
            Command::AuditStats { query, by } => self.count_audit(&query, by),
            Command::AuditShow { id } => self.show_audit(id),
            Command::AuditForward { query, after } => self.forward_audit(&query, after),
            Command::AuditRecorded { credential, since, until, after, through } => {
                let kind = Some(Kind::Relay.as_str().to_owned());
                self.recorded_requests(&Filter { credential, kind, since, until, ..Filter::default() }, after, through)
            }
            Command::AuditExport { query, format, after, through } => {
                self.export_audit(by, &query, &format, after, through)
            }
            Command::AuditVerify { position, from, checkpoint } => {
                self.verify_audit(position, from, checkpoint.as_ref())
            }
            Command::AuditCheckpoint => self.audit_checkpoint(),
            Command::AuditPrune { before, dry_run } => self.prune_audit(by, before, dry_run),
            Command::DbBackup { encrypt_to } => self.back_up(by, encrypt_to.as_deref()),
            Command::KeyRotate => self.rotate_key(by),
            Command::KeyStatus => self.key_status(),
            Command::KeyRetire { key } => self.retire_key(by, key),
            Command::Status => Ok(self.status()),
            Command::Doctor => self.doctor(),
            // These were taken by `run_on_policies`, or need the async side and were taken by `run`.
            Command::PolicyApply { .. }
            | Command::PolicyVersions { .. }
            | Command::EndpointList { .. }
            | Command::EndpointShow { .. }
            | Command::GrantMatrix { .. }
            | Command::CredentialAccess { .. }
            | Command::CredentialOpenapi { .. }
            | Command::AccountApi { .. }
            | Command::CredentialIssue(_)
            | Command::UserCreate { .. }
            | Command::UserResetPassword { .. }
            | Command::CredentialRotate { .. }
            | Command::PolicyExplain(_)
            | Command::UpstreamSecretSet { .. }
            | Command::UpstreamSecretRemove { .. }
            | Command::UpstreamTest { .. }
            | Command::UpstreamLogin { .. }
            | Command::UpstreamLogout { .. } => {
                Err(ControlError::failed("this operation cannot wait on a blocking thread"))
            }
        }
    }

    /// Keeps the texts of the policies in force, so that an audit row can always say which text allowed it. Called once
    /// for each generation.
    pub fn keep_policies(&self) {
        self.keep(&self.policies.current());
    }

    fn keep(&self, set: &PolicySet) {
        lint::tell(&set.warnings().clone().inside(self.policies.folder()));
        let texts: Vec<_> = set
            .files()
            .iter()
            .map(|file| PolicyText {
                path: file.path.display().to_string(),
                hash: *file.hash.as_bytes(),
                text: &file.text,
            })
            .collect();
        if let Err(error) = self.store.keep_policies(set.hash().as_bytes(), &texts, self.clock.now()) {
            log::error!("the policy texts of generation {} could not be kept: {error}", set.generation());
        }
    }

    /// Forgets the `Idempotency-Key`s of yesterday. For housekeeping.
    pub fn forget_old_keys(&self) {
        let Ok(yesterday) = self.clock.now().checked_sub(jiff::SignedDuration::from_hours(24)) else { return };
        if let Err(error) = self.store.forget_keys_before(yesterday) {
            log::error!("old Idempotency-Keys could not be forgotten: {error}");
        }
    }

    /// Copies changes of state that have no audit row yet; each is copied once.
    pub fn copy_changes(&self) {
        if let Err(error) = audit::copy(self) {
            log::error!("changes of state wait for their audit rows: {error}");
        }
    }
}

impl From<ChangeError> for ControlError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotFound(message) => Self::not_found(message),
            ChangeError::Conflict(message) => Self { kind: ErrorKind::Conflict, message },
            error @ ChangeError::Stale { .. } => Self { kind: ErrorKind::Stale, message: error.to_string() },
            ChangeError::Store(error) => Self::failed(error),
            ChangeError::Entropy(error) => Self::failed(error),
        }
    }
}

/// The end that a set gets; the outer `None` leaves it as it is.
#[expect(clippy::option_option, reason = "nothing said, no end, and an end")]
fn new_end(expires_at: Option<Timestamp>, no_expiry: bool) -> Result<Option<Option<Timestamp>>> {
    match (expires_at, no_expiry) {
        (Some(_), true) => {
            Err(ControlError::invalid("a set has an end or none: leave `expires_at` or `no_expiry` out"))
        }
        (None, true) => Ok(Some(None)),
        (end, false) => Ok(end.map(Some)),
    }
}

fn default_schedule(policies: &PolicySet) -> Option<(ScheduleName, &Schedule)> {
    let name = default_schedule_name()?;
    policies.schedule(&name).map(|schedule| (name, schedule))
}

/// The name of an OS user, for the audit trail; the number where `/etc/passwd` does not know it.
#[must_use]
pub fn os_user(id: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let wanted = id.to_string();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == wanted).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid:{id}"))
}
