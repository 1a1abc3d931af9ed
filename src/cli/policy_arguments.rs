//! What can be typed after `policy`.

use clap::Subcommand;

use super::policy_diff::Diff;
use super::policy_explain::Explain;
use super::policy_replay::Replay;
use super::policy_suggest::Suggest;

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Check the policy files and run their cases
    Test,
    /// Make the running gateway read the policy files again
    Reload,
    /// Say what would be decided about a request, step by step, without sending it
    #[command(
        after_help = "Exit codes: 0 allowed, 3 denied, 4 there is no such credential set, 7 invalid.\nExamples:\n  policy explain --credential webshop --path '/v1/orders?archived=true'\n  policy explain --credential webshop --method POST --path /v1/orders --at 2026-11-23T21:00:00+05:00\n  policy explain --credential webshop --method POST --path /v1/rpc --body call.json --client 192.0.2.7 -o json"
    )]
    Explain(Box<Explain>),
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
