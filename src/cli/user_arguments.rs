//! What can be typed after `user`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::domain::{AccountName, Role};

/// `user …`
#[derive(Debug, Subcommand)]
pub enum User {
    /// Add a portal user; the first password is shown once, serves 72 hours and must be changed at the first sign-in
    #[command(after_help = "Example: erp-access user create ines --role auditor")]
    Create {
        /// The name to sign in with
        name: String,
        /// What the user may do: admin, operator, auditor or client
        #[arg(long)]
        role: Role,
        /// The account that a user of the role `client` is held to
        #[arg(long)]
        account: Option<AccountName>,
        /// Write the password to a new file with mode 0600 instead of showing it
        #[arg(long, value_name = "FILE")]
        secrets_file: Option<PathBuf>,
    },
    /// List portal users
    List,
    /// Show a portal user
    Show { name: String },
    /// Let a user no longer sign in
    Disable { name: String },
    /// Let a user sign in again
    Enable { name: String },
    /// Change what a user may do
    Role {
        name: String,
        /// admin, operator, auditor or client
        role: Role,
        /// The account that a user of the role `client` is held to
        #[arg(long)]
        account: Option<AccountName>,
    },
    /// Give a user another first password, shown once
    ResetPassword {
        name: String,
        /// Write the password to a new file with mode 0600 instead of showing it
        #[arg(long, value_name = "FILE")]
        secrets_file: Option<PathBuf>,
    },
    /// Take a user's second factor away; the user sets another one at the next sign-in
    ResetTotp { name: String },
}
