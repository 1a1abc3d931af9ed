//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::Timestamp;

pub(super) use super::audit_arguments::Audit;
pub(super) use super::certificate_arguments::CertificateArguments;
pub(super) use super::credential_arguments::{Credential, CredentialIssue};
pub(super) use super::db_arguments::Db;
pub(super) use super::key_arguments::Key;
pub(super) use super::limit_arguments::LimitArguments;
pub(super) use super::operator_key_arguments::OperatorKey;
pub(super) use super::policy_arguments::{Policy, PolicyImport, PolicyLint, PolicySchema, PolicyTest};
pub(super) use super::reach::{Endpoint, Matrix};
pub(super) use super::schedule_arguments::{Schedule, ahead};
pub(super) use super::upstream_arguments::{Session, Upstream, UpstreamSecret};
pub(super) use super::user_arguments::User;
use crate::domain::{AccountName, CredentialId, LabelChange, PolicyName, TokenId};
use crate::kill_switch::Scope;

const EXIT_CODES: &str = "Exit codes: 0 ok, 1 failure, 2 usage, 3 denied or killed, 4 not found, 5 conflict, 6 unreachable, 7 invalid, 130 interrupted.";

/// A deny-by-default access gateway in front of an ERP.
#[derive(Debug, Parser)]
#[command(name = "erp-access", version, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Arguments {
    /// The configuration file
    #[arg(short, long, global = true, env = "ERP_ACCESS_CONFIG", default_value = "/etc/erp-access/erp-access.yaml")]
    pub config: PathBuf,
    /// Set one configuration key, over file and environment, as in `--set gateway.listen=127.0.0.1:8443`
    #[arg(long, global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// How to print results
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// What to do
    #[command(subcommand)]
    pub command: Noun,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Ndjson,
    /// Comma-separated values (RFC 4180), for spreadsheets.
    Csv,
}

/// The nouns, and the verbs that need none.
#[derive(Debug, Subcommand)]
pub enum Noun {
    /// Try it: a little ERP, the gateway in front of it, and a guided tour
    Demo(Demo),
    /// Write a configuration, an `APP_KEY` and the first administrator
    Init(Init),
    /// Run the gateway
    Serve(Serve),
    /// Check the configuration and the policies without starting
    Check(Check),
    /// Show what the gateway is doing; exit code 3 while a kill switch stops everything
    Status,
    /// Look for trouble: keys, permissions, disk, clock, certificates, ERPs, policies, credential sets
    #[command(
        after_help = "Each finding says what to do. Exit codes: 0 nothing fails, 1 something fails.\nExample: erp-access doctor -o json"
    )]
    Doctor,
    /// Write the completions of a shell to standard output
    #[command(after_help = "Example: erp-access completions bash > /usr/share/bash-completion/completions/erp-access")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    #[command(after_help = "Example: erp-access man /usr/local/share/man/man1")]
    Man {
        /// The folder; it must be there
        directory: PathBuf,
    },
    /// The databases
    #[command(subcommand)]
    Db(Db),
    /// The `APP_KEY`
    #[command(subcommand)]
    Key(Key),
    /// Accounts: who is given access
    #[command(subcommand)]
    Account(Account),
    /// People who sign in to the portal
    #[command(subcommand)]
    User(User),
    /// Credential sets: what an integration holds
    #[command(subcommand)]
    Credential(Credential),
    /// Grants: which policies a credential set holds
    #[command(subcommand)]
    Grant(Grant),
    /// The endpoint catalogue, and who reaches what
    #[command(subcommand)]
    Endpoint(Endpoint),
    /// Gateway tokens
    #[command(subcommand)]
    Token(Token),
    /// Keys with which programs administer the gateway over HTTP
    #[command(subcommand)]
    OperatorKey(OperatorKey),
    /// Kill switches: stop the API now
    #[command(subcommand)]
    Kill(Kill),
    /// When the API is open
    #[command(subcommand)]
    Schedule(Schedule),
    /// Policies and the endpoint catalogue
    #[command(subcommand)]
    Policy(Policy),
    /// The ERPs and the gateway's sessions there
    #[command(subcommand)]
    Upstream(Upstream),
    /// The audit trail
    #[command(subcommand)]
    Audit(Audit),
}

/// `demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// Take the tour without a person and exit 0 only if every step answered as it should
    #[arg(long)]
    pub once: bool,
}

/// `init`
#[derive(Debug, Args)]
pub struct Init {
    /// The folder to write to: configuration, policies, `APP_KEY`, databases
    #[arg(long, default_value = "/etc/erp-access")]
    pub directory: PathBuf,
    /// Where databases go [default: DIRECTORY/data, or /var/lib/erp-access for /etc/erp-access]
    #[arg(long)]
    pub data: Option<PathBuf>,
    /// The name of the first administrator
    #[arg(long, default_value = "admin")]
    pub administrator: String,
    /// The ERP's address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8000")]
    pub upstream: String,
}

/// `serve`
#[derive(Debug, Args)]
pub struct Serve {
    /// Bring the databases to this version's format first
    #[arg(long)]
    pub migrate: bool,
}

/// `check`
#[derive(Debug, Args)]
pub struct Check {
    /// Print each effective value and where it comes from
    #[arg(long)]
    pub print: bool,
}

/// `account …`
#[derive(Debug, Subcommand)]
pub enum Account {
    /// Create an account
    Create {
        name: AccountName,
        /// A label, for conditions of policies; may be given several times
        #[arg(long = "label", value_name = "KEY=VALUE")]
        labels: Vec<LabelChange>,
    },
    /// Set labels (`key=value`) and remove labels (`key-`); conditions of policies see them at once
    Label {
        name: AccountName,
        /// What to set and to remove
        #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
        changes: Vec<LabelChange>,
    },
    /// List accounts
    List,
    /// Tell whether the API is there for an account, until when, and what stops it
    Api { name: AccountName },
    /// Show an account with its credential sets
    Show { name: AccountName },
    /// Suspend an account: none of its requests passes until it is activated
    Suspend {
        name: AccountName,
        /// Why; goes to the audit trail
        #[arg(long)]
        reason: String,
    },
    /// End a suspension
    Activate { name: AccountName },
    /// Give an account another name; a kill switch on it moves along, conditions of policies that name it do not
    Rename { name: AccountName, new_name: AccountName },
    /// Say how an account's people are reached, in place of what was said before; none takes all away
    Contacts {
        name: AccountName,
        /// A mail address, a telephone number, a name
        contacts: Vec<String>,
    },
    /// Say how much all sets of an account together may ask for
    #[command(after_help = "Example: erp-access account limit acme --requests 600 --per 1m --concurrent 20")]
    Limit {
        name: AccountName,
        #[command(flatten)]
        limits: LimitArguments,
    },
    /// Demand that its clients show a certificate, one of these; needs `gateway.tls.client_authorities_file`
    #[command(
        after_help = "Example: erp-access account certificates acme \"$(openssl x509 -noout -fingerprint -sha256 -in client.pem)\""
    )]
    Certificates {
        name: AccountName,
        #[command(flatten)]
        certificates: CertificateArguments,
    },
    /// Delete an account that nothing belongs to any more; its rows in the audit trail stay
    Delete {
        name: AccountName,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `grant …`
#[derive(Debug, Subcommand)]
pub enum Grant {
    /// Grant a policy to a credential set
    Add {
        credential: CredentialId,
        policy: PolicyName,
        /// When the grant ends [default: never]
        #[arg(long)]
        expires_at: Option<Timestamp>,
    },
    /// Take a grant back
    Remove { credential: CredentialId, policy: PolicyName },
    /// List grants
    List {
        /// Of this credential set only
        #[arg(long)]
        credential: Option<CredentialId>,
    },
    /// Say what each grant really gives: broken, ended and closed ones give nothing
    Matrix(Matrix),
}

/// `token …`
#[derive(Debug, Subcommand)]
pub enum Token {
    /// List live tokens, by their ids
    List {
        /// Of this credential set only
        #[arg(long)]
        credential: Option<CredentialId>,
    },
    /// Revoke a token, all tokens of a credential set, or all of an account
    #[command(group(clap::ArgGroup::new("which").required(true)))]
    Revoke {
        /// The token's id
        #[arg(group = "which")]
        id: Option<TokenId>,
        /// All tokens of this credential set
        #[arg(long, group = "which")]
        credential: Option<CredentialId>,
        /// All tokens of all credential sets of this account
        #[arg(long, group = "which")]
        account: Option<AccountName>,
    },
}

/// `kill …`
#[derive(Debug, Subcommand)]
pub enum Kill {
    /// Stop requests now, those in progress too
    Engage {
        /// What to stop: all, account:NAME, policy:NAME or upstream:NAME
        #[arg(long, default_value = "all")]
        scope: Scope,
        /// What clients are told
        #[arg(long)]
        message: Option<String>,
        /// Why; goes to the audit trail
        #[arg(long)]
        reason: String,
        /// When it ends by itself: a moment, or how long from now, as in `90m`, `2h` or `3d` [default: when released]
        #[arg(long, value_parser = ahead)]
        until: Option<Timestamp>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Let requests pass again
    Release {
        /// What to release
        #[arg(long, default_value = "all")]
        scope: Scope,
        /// Why; goes to the audit trail
        #[arg(long)]
        reason: String,
    },
    /// Say which kill switches are engaged; exit code 3 while one is
    Status,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| format!("`{text}` is not KEY=VALUE"))
}
