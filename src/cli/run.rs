//! From what was typed to what is done.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;

use super::arguments::{
    Account, Arguments, Audit, Grant, Kill, Noun, Output, Policy, Session, Token, Upstream, UpstreamSecret,
};
use super::output::{self, Failure};
use super::{
    audit_export, audit_show, audit_stats, backups, connection, credentials, demo, doctor, evidence, keys, manual,
    operator_keys, policy_apply, policy_diff, policy_explain, policy_import, policy_lint, policy_replay, policy_schema,
    policy_suggest, policy_test, reach, schedules, secret_input, serve, setup, show, users,
};
use crate::app::{Core, World};
use crate::config::{Admin, Config, Environment, Sources};
use crate::control::{AuditQuery, Caller, Command, Control, SecretText, os_user};
use crate::domain::{Actor, SystemClock, SystemEntropy};

/// Denied or killed.
pub(super) const DENIED: u8 = 3;

pub(super) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { config, set, output, command } = arguments;
    let sources = Sources { file: config, overrides: set, environment: Environment::capture() };
    let asking = Asking { sources, output };
    match command {
        Noun::Demo(arguments) => demo::run(&arguments),
        Noun::Init(arguments) => setup::init(&arguments),
        Noun::Serve(arguments) => serve::serve(&asking.sources, &arguments),
        Noun::Check(arguments) => serve::check(&asking.sources, &arguments),
        Noun::Db(verb) => backups::run(&asking, verb),
        Noun::Key(verb) => keys::run(&asking, verb),
        Noun::Policy(verb) => policy(&asking, verb),
        Noun::Status => show::status(&asking),
        Noun::Doctor => doctor::run(&asking),
        Noun::Completions { shell } => manual::completions(shell),
        Noun::Man { directory } => manual::pages(&directory),
        Noun::Account(verb) => account(&asking, verb),
        Noun::User(verb) => users::run(&asking, verb),
        Noun::Credential(verb) => credentials::run(&asking, verb),
        Noun::Grant(verb) => grant(&asking, verb),
        Noun::Endpoint(verb) => reach::endpoint(&asking, verb),
        Noun::Token(verb) => token(&asking, verb),
        Noun::OperatorKey(verb) => operator_keys::run(&asking, verb),
        Noun::Kill(verb) => kill(&asking, verb),
        Noun::Schedule(verb) => schedules::run(&asking, verb),
        Noun::Upstream(verb) => upstream(&asking, verb),
        Noun::Audit(verb) => audit(&asking, verb),
    }
}

/// What carries commands out.
pub(super) struct Line {
    runtime: Runtime,
    end: End,
}

enum End {
    /// A running gateway.
    Socket(PathBuf),
    /// This process, on the databases.
    Here { control: Arc<Control>, _core: Core },
}

impl Line {
    /// Whoever works here while something is stopped should know it.
    fn warn_of_kill_switches(&self) {
        let engaged = self.ask(Command::KillStatus).unwrap_or_default();
        for switch in engaged.as_array().into_iter().flatten() {
            let text = |name: &str| output::safe(switch.get(name).and_then(Value::as_str).unwrap_or_default());
            let (scope, by, at) = (text("scope"), text("engaged_by"), text("engaged_at"));
            output::shout(&format!("KILL SWITCH engaged for `{scope}` by {by} since {at}: {}", text("reason")));
        }
    }

    /// The process that runs the gateway; `None` where none runs.
    pub(super) fn process(&self) -> Result<Option<u32>, Failure> {
        match &self.end {
            End::Socket(socket) => self.runtime.block_on(connection::process_at(socket)),
            End::Here { .. } => Ok(None),
        }
    }

    /// Waits; `false` when a person interrupts (Ctrl-C).
    pub(super) fn wait(&self, time: Duration) -> bool {
        self.runtime.block_on(async {
            tokio::select! {
                () = tokio::time::sleep(time) => true,
                _ = tokio::signal::ctrl_c() => false,
            }
        })
    }

    pub(super) fn ask(&self, command: Command) -> Result<Value, Failure> {
        self.runtime.block_on(self.carry_out(command))
    }

    /// `None` when a person interrupts (Ctrl-C).
    pub(super) fn ask_unless_interrupted(&self, command: Command) -> Result<Option<Value>, Failure> {
        self.runtime.block_on(async {
            tokio::select! {
                answer = self.carry_out(command) => answer.map(Some),
                _ = tokio::signal::ctrl_c() => Ok(None),
            }
        })
    }

    async fn carry_out(&self, command: Command) -> Result<Value, Failure> {
        match &self.end {
            End::Socket(socket) => connection::over_socket(socket, &command).await,
            End::Here { control, .. } => {
                let actor = Actor::Operator(os_user(rustix::process::getuid().as_raw()));
                Ok(control.run(Caller::admin(actor), command).await?)
            }
        }
    }
}

/// Where to ask, and how to print the answer.
pub(super) struct Asking {
    pub(super) sources: Sources,
    pub(super) output: Output,
}

impl Asking {
    /// Carries a command out: in the running gateway, else here on the databases.
    pub(super) fn ask(&self, command: Command) -> Result<Value, Failure> {
        self.connect()?.ask(command)
    }

    /// The same for several commands.
    pub(super) fn connect(&self) -> Result<Line, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::other)?;
        let admin = Admin::load(&self.sources).map_err(Failure::invalid)?;
        if runtime.block_on(connection::is_there(&admin.socket))? {
            let line = Line { runtime, end: End::Socket(admin.socket) };
            line.warn_of_kill_switches();
            return Ok(line);
        }
        let config = Config::load(&self.sources).map_err(Failure::invalid)?;
        let core = Core::open(&config, &world()).map_err(Failure::other)?;
        let control = core.control_with_sessions(&config, &world()).map_err(Failure::other)?;
        let line = Line { runtime, end: End::Here { control, _core: core } };
        line.warn_of_kill_switches();
        Ok(line)
    }

    pub(super) fn print(&self, command: Command, columns: &[&str]) -> Result<ExitCode, Failure> {
        output::print(&self.ask(command)?, columns, self.output)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The machine's clock and randomness.
pub(super) fn world() -> World {
    World { clock: Arc::new(SystemClock::default()), entropy: Arc::new(SystemEntropy) }
}

fn account(asking: &Asking, verb: Account) -> Result<ExitCode, Failure> {
    let columns = ["name", "state", "reason", "labels", "contacts", "limits", "credential_sets", "created_at"];
    match verb {
        Account::Create { name, labels } => asking.print(Command::AccountCreate { name, labels }, &columns),
        Account::Label { name, changes } => asking.print(Command::AccountLabel { name, changes }, &columns),
        Account::List => asking.print(Command::AccountList, &columns),
        Account::Api { name } => {
            let columns = ["account", "state", "changes_at", "schedules", "stops", "limits", "url"];
            asking.print(Command::AccountApi { name }, &columns)
        }
        Account::Show { name } => asking.print(Command::AccountShow { name }, &columns),
        Account::Suspend { name, reason } => asking.print(Command::AccountSuspend { name, reason }, &columns),
        Account::Activate { name } => asking.print(Command::AccountActivate { name }, &columns),
        Account::Certificates { name, certificates } => {
            let certificates = certificates.fingerprints;
            asking.print(Command::AccountCertificates { name, certificates }, &columns)
        }
        Account::Limit { name, limits } => {
            asking.print(Command::AccountLimit { name, limits: limits.limits()? }, &columns)
        }
        Account::Rename { name, new_name } => asking.print(Command::AccountRename { name, new_name }, &columns),
        Account::Contacts { name, contacts } => asking.print(Command::AccountContacts { name, contacts }, &columns),
        Account::Delete { name, yes } => {
            output::confirm(yes, &format!("Deleting `{name}` is final; its audit rows stay."), name.as_str())?;
            asking.print(Command::AccountDelete { name }, &[])
        }
    }
}

fn grant(asking: &Asking, verb: Grant) -> Result<ExitCode, Failure> {
    let columns = ["credential", "policy", "expires_at", "policy_exists"];
    match verb {
        Grant::Add { credential, policy, expires_at } => {
            asking.print(Command::GrantAdd { credential, policy, expires_at }, &columns)
        }
        Grant::Remove { credential, policy } => asking.print(Command::GrantRemove { credential, policy }, &columns),
        Grant::Matrix(arguments) => reach::matrix(asking, arguments),
        Grant::List { credential } => asking.print(Command::GrantList { credential, account: None }, &columns),
    }
}

fn token(asking: &Asking, verb: Token) -> Result<ExitCode, Failure> {
    match verb {
        Token::List { credential } => asking
            .print(Command::TokenList { credential, account: None }, &["id", "credential", "issued_at", "expires_at"]),
        Token::Revoke { id: Some(id), .. } => asking.print(Command::TokenRevoke { id }, &[]),
        Token::Revoke { account: Some(name), .. } => asking.print(Command::TokenRevokeAccount { name }, &[]),
        Token::Revoke { credential: Some(credential), .. } => asking.print(Command::TokenRevokeAll { credential }, &[]),
        Token::Revoke { id: None, credential: None, account: None } => {
            Err(Failure::invalid("name a token, a credential set or an account"))
        }
    }
}

fn kill(asking: &Asking, verb: Kill) -> Result<ExitCode, Failure> {
    match verb {
        Kill::Engage { scope, message, reason, until, yes } => {
            output::confirm(yes, &format!("This stops `{scope}` now, requests in progress too."), "engage")?;
            asking.print(Command::KillEngage { scope, message, reason, until }, &[])
        }
        Kill::Release { scope, reason } => asking.print(Command::KillRelease { scope, reason }, &[]),
        Kill::Status => {
            let engaged = asking.ask(Command::KillStatus)?;
            output::print(
                &engaged,
                &["scope", "engaged_at", "until", "engaged_by", "reason", "message"],
                asking.output,
            )?;
            let none = engaged.as_array().is_some_and(Vec::is_empty);
            Ok(if none { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
        }
    }
}

const SESSION_COLUMNS: [&str; 8] =
    ["name", "account", "state", "until", "age_seconds", "sign_ins", "failures", "last_error"];

fn upstream(asking: &Asking, verb: Upstream) -> Result<ExitCode, Failure> {
    match verb {
        Upstream::List => asking.print(Command::UpstreamList, &SESSION_COLUMNS),
        Upstream::Show(Session { upstream, account }) => {
            asking.print(Command::UpstreamShow { upstream, account }, &SESSION_COLUMNS)
        }
        Upstream::Login(Session { upstream, account }) => {
            asking.print(Command::UpstreamLogin { upstream, account }, &SESSION_COLUMNS)
        }
        Upstream::Logout(Session { upstream, account }) => {
            asking.print(Command::UpstreamLogout { upstream, account }, &[])
        }
        Upstream::Test(Session { upstream, account }) => {
            show::sign_in(&asking.ask(Command::UpstreamTest { upstream, account })?, asking.output)
        }
        Upstream::Secret(UpstreamSecret::Remove { upstream, account }) => {
            asking.print(Command::UpstreamSecretRemove { upstream, account }, &[])
        }
        Upstream::Secret(UpstreamSecret::Set { upstream, account, username, api_key }) => {
            let secret = secret_input::read(if api_key { "API key" } else { "password" })?;
            let secret = Some(SecretText::new(secret));
            let (password, api_key) = if api_key { (None, secret) } else { (secret, None) };
            asking.print(Command::UpstreamSecretSet { upstream, account, username, password, api_key }, &[])
        }
    }
}

fn policy(asking: &Asking, verb: Policy) -> Result<ExitCode, Failure> {
    match verb {
        Policy::Lint(arguments) => policy_lint::run(asking, &arguments),
        Policy::Test(arguments) => policy_test::run(asking, &arguments),
        Policy::Schema(arguments) => policy_schema::run(asking, &arguments),
        Policy::Import(arguments) => policy_import::run(asking, &arguments),
        Policy::Reload => asking.print(Command::PolicyReload, &[]),
        Policy::Apply(arguments) => policy_apply::apply(asking, arguments),
        Policy::Versions(arguments) => policy_apply::versions(asking, arguments),
        Policy::Diff(arguments) => policy_diff::run(asking, &arguments),
        Policy::Replay(arguments) => policy_replay::run(asking, &arguments),
        Policy::Suggest(arguments) => policy_suggest::run(asking, &arguments),
        Policy::Explain(arguments) => policy_explain::run(asking, *arguments),
    }
}

fn audit(asking: &Asking, verb: Audit) -> Result<ExitCode, Failure> {
    match verb {
        Audit::Search(search) => {
            let query = Box::new(AuditQuery::from(*search));
            show::audit_rows(&asking.ask(Command::AuditSearch(query))?, asking.output)
        }
        Audit::Stats(stats) => audit_stats::run(asking, *stats),
        Audit::Verify(arguments) => evidence::verify(asking, &arguments),
        Audit::Checkpoint { file } => evidence::checkpoint(asking, file.as_deref()),
        Audit::Prune(arguments) => evidence::prune(asking, &arguments),
        Audit::Export(arguments) => audit_export::export(asking, *arguments),
        Audit::Tail(arguments) => audit_export::tail(asking, *arguments),
        Audit::Show { id } => audit_show::row(&asking.ask(Command::AuditShow { id })?, asking.output),
    }
}
