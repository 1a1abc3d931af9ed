//! What can be typed after `credential`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use jiff::Timestamp;

use super::audit_search::length;
use super::certificate_arguments::CertificateArguments;
use super::limit_arguments::LimitArguments;
use super::reach::Part;
use crate::control::{SetOrder, SetState};
use crate::domain::{AccountName, CredentialId, PolicyName};

/// `credential …`
#[derive(Debug, Subcommand)]
pub enum Credential {
    /// Issue a credential set; its secrets are shown once
    Issue(CredentialIssue),
    /// List credential sets
    List {
        /// Of this account only
        #[arg(long)]
        account: Option<AccountName>,
    },
    /// Find credential sets by what they say, by state or by how they are used
    #[command(after_help = "Example: erp-access credential search webshop --unused-for 90 --sort last_used_at")]
    Search {
        /// What name, id, account, purpose or a policy says
        text: Option<String>,
        /// Of this account only
        #[arg(long)]
        account: Option<AccountName>,
        /// In this state: active, disabled, expired, revoked
        #[arg(long)]
        state: Option<SetState>,
        /// Active ones that end within so many days
        #[arg(long, value_name = "DAYS")]
        ending_within: Option<u16>,
        /// Active ones that got no token for so many days, and are as old themselves
        #[arg(long, value_name = "DAYS")]
        unused_for: Option<u16>,
        /// By name, account, state, `created_at`, `expires_at` or `last_used_at`
        #[arg(long, default_value = "name")]
        sort: SetOrder,
        /// The other way round
        #[arg(long)]
        descending: bool,
        /// Leave out so many at the beginning
        #[arg(long, default_value_t = 0)]
        offset: usize,
        /// At most so many, 1000 at most
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Tell what a credential set may call, and in which hours
    Access {
        id: CredentialId,
        /// Endpoints whose id, path or method holds this
        #[arg(long)]
        text: Option<String>,
        #[command(flatten)]
        part: Part,
    },
    /// Describe what a credential set may call, as `OpenAPI` 3.1 in JSON
    #[command(after_help = "Example:\n  credential openapi 01890000-0000-7000-8000-000000000000 > webshop.json")]
    Openapi { id: CredentialId },
    /// Show a credential set
    Show { id: CredentialId },
    /// Change what a credential set is; what is not said stays
    #[command(after_help = "Example: erp-access credential update ID --from 10.1.0.0/16 --purpose 'nightly export'")]
    Update {
        id: CredentialId,
        /// What it is called
        #[arg(long)]
        name: Option<String>,
        /// What it is for; an empty text takes it away
        #[arg(long)]
        purpose: Option<String>,
        /// When it ends
        #[arg(long)]
        expires_at: Option<Timestamp>,
        /// It does not end
        #[arg(long, conflicts_with = "expires_at")]
        no_expiry: bool,
        /// The networks from which it may be used, in place of those before; may be given several times
        #[arg(long = "from", value_name = "NETWORK")]
        clients: Vec<IpNet>,
        /// It may be used from everywhere
        #[arg(long, conflicts_with = "clients")]
        from_anywhere: bool,
    },
    /// Give a set a new password and x-api-key, shown once; the former ones serve until the overlap ends
    #[command(
        after_help = "Both pairs work during the overlap, each by itself; `credential show` says when the former one was used last.\nExample: erp-access credential rotate ID --overlap 3d --secrets-file new.json"
    )]
    Rotate {
        id: CredentialId,
        /// How long the former secrets serve, as in `12h` or `3d`, 7 days at most; 0 ends them and their tokens at once
        #[arg(long, default_value = "24h", value_parser = overlap)]
        overlap: u32,
        /// Write id and secrets to a new file with mode 0600 instead of showing them
        #[arg(long, value_name = "FILE")]
        secrets_file: Option<PathBuf>,
    },
    /// Say how much a set may ask for
    #[command(after_help = "Example: erp-access credential limit ID --requests 60 --per 1m")]
    Limit {
        id: CredentialId,
        #[command(flatten)]
        limits: LimitArguments,
    },
    /// Demand that its clients show a certificate, one of these; needs `gateway.tls.client_authorities_file`
    #[command(
        after_help = "Example: erp-access credential certificates ID \"$(openssl x509 -noout -fingerprint -sha256 -in client.pem)\""
    )]
    Certificates {
        id: CredentialId,
        #[command(flatten)]
        certificates: CertificateArguments,
    },
    /// End the former secrets of a set now, and the tokens that they got
    RotateEnd { id: CredentialId },
    /// Disable a credential set; it can be enabled again
    Disable { id: CredentialId },
    /// Enable a disabled credential set
    Enable { id: CredentialId },
    /// Revoke a credential set and its tokens, for good
    Revoke {
        id: CredentialId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `credential issue`
#[derive(Debug, Args)]
pub struct CredentialIssue {
    /// The account that it is for
    #[arg(long)]
    pub account: AccountName,
    /// What it is called, as in `webshop production`
    #[arg(long)]
    pub name: String,
    /// A policy to grant; may be given several times
    #[arg(long = "grant", value_name = "POLICY")]
    pub grants: Vec<PolicyName>,
    /// When it ends, as in 2027-01-01T00:00:00Z [default: never; an unrestricted set must end]
    #[arg(long)]
    pub expires_at: Option<Timestamp>,
    /// Let it call every mapped endpoint, without grants; needs --reason and --expires-at
    #[arg(long, conflicts_with = "grants", requires_all = ["reason", "expires_at"])]
    pub unrestricted: bool,
    /// Why it is unrestricted; goes to the audit trail, and `status` shows it
    #[arg(long, requires = "unrestricted")]
    pub reason: Option<String>,
    /// What it is for
    #[arg(long)]
    pub purpose: Option<String>,
    /// A network from which it may be used, as in 10.1.0.0/16; may be given several times [default: everywhere]
    #[arg(long = "from", value_name = "NETWORK")]
    pub clients: Vec<IpNet>,
    /// Write id and secrets to a new file with mode 0600 instead of showing them
    #[arg(long, value_name = "FILE")]
    pub secrets_file: Option<PathBuf>,
}

/// A length of time in seconds.
fn overlap(text: &str) -> Result<u32, String> {
    if text == "0" {
        return Ok(0);
    }
    let seconds = length(text).map(|length| length.as_secs());
    seconds
        .and_then(|seconds| u32::try_from(seconds).ok())
        .ok_or_else(|| format!("`{text}` is no length of time, as in `12h` or `3d`"))
}
