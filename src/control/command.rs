//! The operations as data: what the command line sends over the admin socket, or runs itself when nothing listens.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantNames};
use utoipa::ToSchema;

use crate::audit::{Checkpoint, Position, StatsBy};
use crate::domain::{
    AccountName, CredentialId, EndpointId, Fingerprint, LabelChange, Limits, OperatorKeyId, PolicyName, RequestId,
    Role, ScheduleName, TokenId, UpstreamName,
};
use crate::kill_switch::Scope;
use crate::policy::PolicyFile;
use crate::schedule::Held;
use crate::secrets::KeyId;

use super::explain::Question;
use super::new_set::NewSet;
use super::secret_text::SecretText;
use super::set_query::SetQuery;

/// One operation.
#[derive(Debug, Clone, Serialize, Deserialize, IntoStaticStr, VariantNames, ToSchema)]
#[serde(tag = "operation", rename_all = "kebab-case", deny_unknown_fields)]
#[strum(serialize_all = "kebab-case")]
pub enum Command {
    /// Creates an account.
    AccountCreate {
        name: AccountName,
        #[serde(default)]
        labels: Vec<LabelChange>,
    },
    /// Sets and removes labels of an account.
    AccountLabel { name: AccountName, changes: Vec<LabelChange> },
    /// Says how much all sets of an account together may ask for; without limits, as much as the configuration says.
    AccountLimit { name: AccountName, limits: Option<Limits> },
    /// Says how much a credential set may ask for; without limits, as much as the configuration says.
    CredentialLimit { id: CredentialId, limits: Option<Limits> },
    /// Says which client certificates the clients of an account must show one of; none is demanded without any.
    AccountCertificates { name: AccountName, certificates: Vec<Fingerprint> },
    /// Says which client certificates the clients of a credential set must show one of; none is demanded without any.
    CredentialCertificates { id: CredentialId, certificates: Vec<Fingerprint> },
    /// Gives an account another name.
    AccountRename { name: AccountName, new_name: AccountName },
    /// Says how an account's people are reached; in place of what was said before.
    AccountContacts { name: AccountName, contacts: Vec<String> },
    /// Deletes an account that nothing belongs to any more. Evidence stays.
    AccountDelete { name: AccountName },
    /// Adds a portal user. The answer holds the first password, once.
    UserCreate {
        name: String,
        role: Role,
        /// The account that a user of the role `client` is held to.
        account: Option<AccountName>,
    },
    /// Lists portal users.
    UserList,
    /// Shows a portal user.
    UserShow { name: String },
    /// Lets a user no longer sign in.
    UserDisable { name: String },
    /// Lets a user sign in again.
    UserEnable { name: String },
    /// Changes what a user may do.
    UserRole {
        name: String,
        role: Role,
        /// The account that a user of the role `client` is held to.
        account: Option<AccountName>,
    },
    /// Gives a user another first password. The answer holds it, once.
    UserResetPassword { name: String },
    /// Takes a user's second factor away.
    UserResetTotp { name: String },
    /// Lists accounts.
    AccountList,
    /// Shows one account with its credential sets.
    AccountShow { name: AccountName },
    /// Suspends an account: none of its requests passes until it is activated.
    AccountSuspend { name: AccountName, reason: String },
    /// Ends a suspension.
    AccountActivate { name: AccountName },
    /// Issues a credential set. The answer holds its secrets, once.
    CredentialIssue(Box<NewSet>),
    /// Changes what a credential set is; what is not said stays.
    CredentialUpdate {
        id: CredentialId,
        name: Option<String>,
        /// What it is for; an empty text takes it away.
        purpose: Option<String>,
        /// The networks from which it may be used; none for everywhere.
        #[schema(value_type = Option<Vec<String>>)]
        clients: Option<Vec<IpNet>>,
        #[schema(value_type = Option<String>, format = DateTime)]
        expires_at: Option<Timestamp>,
        /// It does not end.
        #[serde(default)]
        no_expiry: bool,
    },
    /// Puts new secrets in place of a set's; the former ones serve for the overlap. The answer holds the new ones, once.
    CredentialRotate {
        id: CredentialId,
        /// How long the former secrets serve, in seconds: 0 to 604800; a day where it is not said.
        #[schema(minimum = 0, maximum = 604_800)]
        overlap_seconds: Option<u32>,
    },
    /// Ends the former secrets of a set now, and the tokens that they got.
    CredentialRotateEnd { id: CredentialId },
    /// Lists credential sets.
    CredentialList { account: Option<AccountName> },
    /// Finds credential sets, in the order and in the part that is asked for.
    CredentialSearch(Box<SetQuery>),
    /// Shows one credential set.
    CredentialShow { id: CredentialId },
    /// Tells what a credential set may call, and in which hours.
    CredentialAccess {
        id: CredentialId,
        /// Endpoints whose id, path or method holds this.
        text: Option<String>,
        /// Endpoints behind this one, as `next` said.
        after: Option<String>,
        /// At most so many: 1 to 200.
        #[schema(value_type = Option<u32>, minimum = 1, maximum = 200)]
        last: Option<usize>,
    },
    /// Describes what a credential set may call, as `OpenAPI` 3.1.
    CredentialOpenapi { id: CredentialId },
    /// Tells whether the API is there for an account, and until when.
    AccountApi { name: AccountName },
    /// Disables a credential set; it can be enabled again.
    CredentialDisable { id: CredentialId },
    /// Enables a disabled credential set.
    CredentialEnable { id: CredentialId },
    /// Revokes a credential set and its tokens, for good.
    CredentialRevoke { id: CredentialId },
    /// Grants a policy to a credential set.
    GrantAdd {
        credential: CredentialId,
        policy: PolicyName,
        #[schema(value_type = Option<String>, format = DateTime)]
        expires_at: Option<Timestamp>,
    },
    /// Takes a grant back.
    GrantRemove { credential: CredentialId, policy: PolicyName },
    /// Lists grants.
    GrantList { credential: Option<CredentialId>, account: Option<AccountName> },
    /// Lists live tokens, by their ids.
    TokenList { credential: Option<CredentialId>, account: Option<AccountName> },
    /// Revokes one token.
    TokenRevoke { id: TokenId },
    /// Revokes all tokens of all credential sets of an account.
    TokenRevokeAccount { name: AccountName },
    /// Revokes all tokens of a credential set.
    TokenRevokeAll { credential: CredentialId },
    /// Issues a key with which a program carries operations out. The answer holds it, once.
    OperatorKeyIssue {
        name: String,
        role: Role,
        /// The account that a key of the role `client` is for.
        account: Option<AccountName>,
        #[schema(value_type = String, format = DateTime)]
        expires_at: Timestamp,
        /// The networks from which it serves; everywhere where there are none.
        #[serde(default)]
        #[schema(value_type = Vec<String>)]
        clients: Vec<IpNet>,
    },
    /// Lists operator keys.
    OperatorKeyList,
    /// Revokes an operator key, for good.
    OperatorKeyRevoke { id: OperatorKeyId },
    /// Engages a kill switch.
    KillEngage {
        scope: Scope,
        message: Option<String>,
        reason: String,
        /// When it ends by itself; without, it must be released.
        #[schema(value_type = Option<String>, format = DateTime)]
        until: Option<Timestamp>,
    },
    /// Releases a kill switch.
    KillRelease { scope: Scope, reason: String },
    /// Says which kill switches are engaged.
    KillStatus,
    /// Shows the schedules.
    ScheduleShow,
    /// Says when each schedule changes next.
    ScheduleNext,
    /// Holds a schedule open or closed for a while.
    ScheduleOverride {
        schedule: ScheduleName,
        held: Held,
        #[schema(value_type = String, format = DateTime)]
        until: Timestamp,
        reason: String,
    },
    /// Lifts what holds a schedule; with a kind, that one only.
    ScheduleLift { schedule: ScheduleName, held: Option<Held>, reason: String },
    /// Lists the overrides in force.
    ScheduleOverrides,
    /// Sets the secrets with which the gateway signs in to an ERP.
    UpstreamSecretSet {
        upstream: UpstreamName,
        /// The account whose own ERP user it is; without it, the one that all accounts share.
        account: Option<AccountName>,
        username: Option<String>,
        password: Option<SecretText>,
        api_key: Option<SecretText>,
    },
    /// Removes the secrets that an account has of its own at an upstream.
    UpstreamSecretRemove { upstream: UpstreamName, account: AccountName },
    /// Shows the upstreams and their sessions.
    UpstreamList,
    /// Shows one session.
    UpstreamShow { upstream: UpstreamName, account: Option<AccountName> },
    /// Runs a sign-in step by step and tells what was sent and received.
    UpstreamTest { upstream: UpstreamName, account: Option<AccountName> },
    /// Signs in now.
    UpstreamLogin { upstream: UpstreamName, account: Option<AccountName> },
    /// Drops a session and signs it out.
    UpstreamLogout { upstream: UpstreamName, account: Option<AccountName> },
    /// Reads the policy files again.
    PolicyReload,
    /// Gives the policies in force, and who holds which: what a proposal is compared with.
    PolicyInForce {
        /// Leaves out who holds which: that is long where there are many credential sets.
        #[serde(default)]
        without_holders: bool,
    },
    /// Gives the texts of a snapshot of the policies that rows name.
    PolicySnapshot { hash: String },
    /// Tells what would be decided about a request, without sending it.
    PolicyExplain(Box<Question>),
    /// Changes one file of the policy folder; the new policies are in force when it answers.
    PolicyApply {
        /// The file, by its path inside the policy folder.
        file: PolicyFile,
        /// Its new text.
        text: Option<String>,
        /// Deletes it.
        #[serde(default)]
        delete: bool,
        /// The hash of the policies that were in force when the draft was made.
        based_on: String,
    },
    /// Lists the versions of the policies that were in force, newest first.
    PolicyVersions {
        /// Those before this one, by its hash.
        before: Option<String>,
        /// At most so many: 1 to 100.
        #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
        last: Option<usize>,
    },
    /// Lists the endpoints, with how many credential sets reach each and by which policies.
    EndpointList {
        /// Those whose id, path, method or upstream holds this.
        text: Option<String>,
        /// Those that one credential set reaches, by its id or name.
        credential: Option<String>,
        /// Those behind this one, as `next` said.
        after: Option<String>,
        /// At most so many: 1 to 200.
        #[schema(value_type = Option<u32>, minimum = 1, maximum = 200)]
        last: Option<usize>,
    },
    /// Shows an endpoint with the credential sets that reach it.
    EndpointShow {
        id: EndpointId,
        /// Sets behind this one, as `next` said.
        after: Option<String>,
        /// At most so many sets: 1 to 200.
        #[schema(value_type = Option<u32>, minimum = 1, maximum = 200)]
        last: Option<usize>,
    },
    /// Shows what each grant really gives.
    GrantMatrix {
        account: Option<AccountName>,
        /// Sets that hold this policy.
        policy: Option<PolicyName>,
        /// Sets behind this one, as `next` said.
        after: Option<String>,
        /// At most so many sets: 1 to 200.
        #[schema(value_type = Option<u32>, minimum = 1, maximum = 200)]
        last: Option<usize>,
    },
    /// Searches audit rows, newest first.
    AuditSearch(Box<AuditQuery>),
    /// Counts audit rows in groups; without a time, those of the last 24 hours.
    AuditStats { query: Box<AuditQuery>, by: StatsBy },
    /// The next part of the audit trail, as rows end; without `after`, where it ends.
    AuditForward { query: Box<AuditQuery>, after: Option<i64> },
    /// The next part of an export of the audit trail. The first one, without `after`, leaves a row.
    AuditExport { query: Box<AuditQuery>, format: String, after: Option<i64>, through: Option<i64> },
    /// The next part of what was recorded of requests, for deciding them again; without `after`, where to begin.
    AuditRecorded {
        credential: Option<CredentialId>,
        #[schema(value_type = Option<String>, format = DateTime)]
        since: Option<Timestamp>,
        #[schema(value_type = Option<String>, format = DateTime)]
        until: Option<Timestamp>,
        after: Option<i64>,
        through: Option<i64>,
    },
    /// Shows one audit row.
    AuditShow { id: RequestId },
    /// Checks the next part of the audit trail.
    AuditVerify { position: Option<Position>, from: Option<i64>, checkpoint: Option<Checkpoint> },
    /// Makes a signed statement of how far the audit trail goes.
    AuditCheckpoint,
    /// Removes audit rows that were sealed before a moment, or says what would be removed.
    AuditPrune {
        #[schema(value_type = String, format = DateTime)]
        before: Timestamp,
        dry_run: bool,
    },
    /// Makes a backup of both databases in the folder of backups.
    DbBackup {
        /// The public key (age) to which it is encrypted; without, it is not.
        #[serde(default)]
        encrypt_to: Option<String>,
    },
    /// Puts a new `APP_KEY` into use and moves everything that is sealed to it.
    KeyRotate,
    /// Says what depends on which `APP_KEY`.
    KeyStatus,
    /// Gives a former `APP_KEY` up on which nothing depends.
    KeyRetire {
        #[schema(value_type = String, pattern = "^[0-9a-fA-F]{8}$")]
        key: KeyId,
    },
    /// Shows what the gateway is doing.
    Status,
    /// Lists what an operator should look at.
    Doctor,
}

/// Which audit rows.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuditQuery {
    /// At most so many.
    pub last: usize,
    /// Rows of one account.
    pub account: Option<AccountName>,
    /// Rows of one credential set.
    pub credential: Option<CredentialId>,
    /// Rows of one token.
    pub token: Option<TokenId>,
    /// Rows with one code.
    pub code: Option<String>,
    /// Rows of one kind.
    pub kind: Option<String>,
    /// Rows decided at this moment or later.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Rows decided before this moment.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// `allowed` or `denied`.
    pub decision: Option<String>,
    /// Rows of one endpoint.
    pub endpoint: Option<String>,
    /// Rows that one policy decided.
    pub policy: Option<String>,
    /// Rows of one actor, written as rows show it.
    pub actor: Option<String>,
    /// Rows of requests from one address.
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    /// Rows with one request id of the client.
    pub correlation: Option<String>,
    /// The row with one id.
    pub id: Option<RequestId>,
    /// Rows that were not served for one class of reasons: `client`, `policy`, `operator_control`, `outage`.
    pub cause: Option<String>,
    /// Rows whose decision path or outcome says this.
    pub text: Option<String>,
    /// Rows to which the ERP answered with one status.
    pub upstream_status: Option<u16>,
    /// Rows that took at least so many milliseconds.
    #[schema(value_type = Option<u64>)]
    pub min_duration_ms: Option<u32>,
    /// Rows before this place.
    pub before: Option<i64>,
}
