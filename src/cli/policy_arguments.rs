//! What can be typed after `policy`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::domain::UpstreamName;

use super::policy_apply::{Apply, Versions};
use super::policy_diff::Diff;
use super::policy_explain::Explain;
use super::policy_replay::Replay;
use super::policy_suggest::Suggest;

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Look for mistakes in policy files and for what is probably not meant
    Lint(PolicyLint),
    /// Check the policy files and run their cases
    Test(PolicyTest),
    /// Write the JSON Schemas of the policy files, for editors
    Schema(PolicySchema),
    /// Propose an endpoint catalogue
    #[command(subcommand)]
    Import(PolicyImport),
    /// Make the running gateway read the policy files again
    Reload,
    /// Say what would be decided about a request, step by step, without sending it
    #[command(
        after_help = "Exit codes: 0 allowed, 3 denied, 4 there is no such credential set, 7 invalid.\nExamples:\n  policy explain --credential webshop --path '/v1/orders?archived=true'\n  policy explain --credential webshop --method POST --path /v1/orders --at 2026-11-23T21:00:00+05:00\n  policy explain --credential webshop --method POST --path /v1/rpc --body call.json --client 192.0.2.7 -o json"
    )]
    Explain(Box<Explain>),
    /// Change one file of the policy folder in the running gateway; it is in force when this returns
    #[command(
        after_help = "Exit codes: 0 in force, 4 there is no file to delete, 5 something else is in force than the text was made from, or the folder is not the gateway's to write, 7 the policies would have mistakes.\nExamples:\n  policy apply order-reader.yaml\n  policy apply ~/draft.yaml --as endpoints/erp.yaml --based-on HASH\n  policy apply --delete old-reader.yaml"
    )]
    Apply(Apply),
    /// List the versions of the policies that were in force, newest first
    Versions(Versions),
    /// Compare a proposed folder with what is in force, as decisions: who gains or loses what
    #[command(
        after_help = "Exit codes: 0 no decision would change, 1 some would, 2 failure, 7 the proposed folder has mistakes.\nExamples:\n  policy diff ~/policies\n  policy diff ~/policies -o json"
    )]
    Diff(Diff),
    /// Decide the recorded requests again under a proposed folder, and list those whose decision would change
    #[command(
        after_help = "Exit codes: 0 no decision would change, 1 some would, 2 failure, 7 the proposed folder has mistakes, 130 interrupted.\nExamples:\n  policy replay ~/policies --since 7d\n  policy replay ~/policies --since 2026-11-01T00:00:00Z --until 2026-12-01T00:00:00Z -o json"
    )]
    Replay(Replay),
    /// Write the smallest policy that would have covered what a credential set really did, for review
    #[command(
        after_help = "Exit codes: 0 ok, 4 there is no such credential set, or nothing that it was allowed, 5 the policy exists, 130 interrupted.\nNothing is granted or changed.\nExamples:\n  policy suggest --credential webshop --since 30d --name webshop > webshop.yaml\n  policy suggest --credential webshop --to ~/policies"
    )]
    Suggest(Suggest),
}

/// `policy lint`
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 nothing or warnings only, 7 errors.
Nothing is changed. A folder that is named here is looked at by itself: no configuration, no gateway, no store is needed,
and grants are not checked.")]
pub struct PolicyLint {
    /// The folder to look at [default: the configured one]
    pub directory: Option<PathBuf>,
    /// Treat warnings as errors: exit code 7
    #[arg(long)]
    pub deny_warnings: bool,
}

/// `policy test`
#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 every case came out as expected, 1 one did not, 7 the files have errors.")]
pub struct PolicyTest {
    /// The folder to test [default: the configured one]
    pub directory: Option<PathBuf>,
    /// List the rules that no case exercises and the endpoints that none reaches
    #[arg(long)]
    pub coverage: bool,
}

/// `policy schema`
#[derive(Debug, Args)]
pub struct PolicySchema {
    /// The folder to write to [default: the configured policy folder]
    #[arg(long)]
    pub directory: Option<PathBuf>,
}

/// `policy import …`
#[derive(Debug, Subcommand)]
pub enum PolicyImport {
    /// Propose endpoints from an `OpenAPI` document, to be reviewed by a person; nothing is allowed by importing
    #[command(
        after_help = "Exit codes: 0 proposed, 7 the document cannot be read or the file to write exists already."
    )]
    Openapi {
        /// The document: `OpenAPI` 3.0 or 3.1, in JSON or YAML, at most 16 MiB
        file: PathBuf,
        /// The upstream to which the endpoints lead [default: the only one that is configured]
        #[arg(long, value_name = "NAME")]
        upstream: Option<UpstreamName>,
        /// The file to write; it must not exist [default: standard output]
        #[arg(long, value_name = "FILE")]
        write: Option<PathBuf>,
    },
}
