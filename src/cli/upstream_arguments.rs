//! What can be typed after `upstream`.

use clap::Subcommand;

use crate::domain::{AccountName, UpstreamName};

/// `upstream …`
#[derive(Debug, Subcommand)]
pub enum Upstream {
    /// Show the upstreams and their sessions
    List,
    /// Show one session: its state, age, expiry, failures and last error
    Show(Session),
    /// Sign in step by step and print what was sent and received, secrets masked
    #[command(
        after_help = "Exit codes: 0 signed in, 1 not. Counts as a sign-in at the ERP; the session that serves goes on."
    )]
    Test(Session),
    /// Sign in now, unless a session serves already
    Login(Session),
    /// Drop the session and sign it out; the next request signs in again
    Logout(Session),
    /// The secrets with which the gateway signs in
    #[command(subcommand)]
    Secret(UpstreamSecret),
}

/// Whose session.
#[derive(Debug, clap::Args)]
pub struct Session {
    /// The upstream
    pub upstream: UpstreamName,
    /// The account whose own ERP user it is; without it, the one that all accounts share
    #[arg(long)]
    pub account: Option<AccountName>,
}

/// `upstream secret …`
#[derive(Debug, Subcommand)]
pub enum UpstreamSecret {
    /// Set the secrets, read from standard input; the old session ends at once
    Set {
        /// The upstream
        upstream: UpstreamName,
        /// The account whose own ERP user it is; without it, the one that all accounts share
        #[arg(long)]
        account: Option<AccountName>,
        /// The user name at the ERP
        #[arg(long)]
        username: Option<String>,
        /// Standard input holds an API key instead of a password
        #[arg(long)]
        api_key: bool,
    },
    /// Remove the secrets that an account has of its own; its session ends at once
    Remove {
        /// The upstream
        upstream: UpstreamName,
        /// The account
        #[arg(long)]
        account: AccountName,
    },
}
