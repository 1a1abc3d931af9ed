//! What can be typed after `operator-key`.

use std::path::PathBuf;

use clap::Subcommand;
use ipnet::IpNet;
use jiff::Timestamp;

use crate::domain::{AccountName, OperatorKeyId, Role};

/// `operator-key …`
#[derive(Debug, Subcommand)]
pub enum OperatorKey {
    /// Issue a key for the admin API on `portal.listen`; it is shown once
    #[command(
        after_help = "Example: erp-access operator-key issue --name ci --role auditor --expires-at 2027-01-01T00:00:00Z"
    )]
    Issue {
        /// What it is called, as in `ticket system`
        #[arg(long)]
        name: String,
        /// What it may do: admin, operator, auditor or client
        #[arg(long)]
        role: Role,
        /// The account that a key of the role `client` is for
        #[arg(long)]
        account: Option<AccountName>,
        /// When it ends, within 400 days
        #[arg(long)]
        expires_at: Timestamp,
        /// A network from which it serves, as in 10.1.0.0/16; may be given several times [default: everywhere]
        #[arg(long = "from", value_name = "NETWORK")]
        clients: Vec<IpNet>,
        /// Write id and key to a new file with mode 0600 instead of showing them
        #[arg(long, value_name = "FILE")]
        secrets_file: Option<PathBuf>,
    },
    /// List keys, without their secrets
    List,
    /// Revoke a key, for good
    Revoke {
        id: OperatorKeyId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}
