//! What can be typed after `audit`.

use std::path::PathBuf;

use clap::Subcommand;

use super::audit_export::{Export, Tail};
use super::audit_search::AuditSearch;
use super::audit_stats::AuditStats;
use super::evidence::{Prune, Verify};
use crate::domain::RequestId;

/// `audit …`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Search rows, newest first
    #[command(
        after_help = "Examples:\n  audit search --since 24h --decision denied\n  audit search --account acme --code rate_limited -o ndjson\n  audit search --upstream-status 500 --min-duration 2000"
    )]
    Search(Box<AuditSearch>),
    /// Count rows in groups, of the last 24 hours unless `--since` or `--until` says otherwise
    #[command(
        after_help = "Examples:\n  audit stats\n  audit stats --by code --decision denied --since 7d\n  audit stats --by endpoint --account acme -o json"
    )]
    Stats(Box<AuditStats>),
    /// Show one row: the decision path in sentences, the policy text of then, and what today's policies say
    Show { id: RequestId },
    /// Show the newest rows, oldest first, and go on with new ones
    #[command(after_help = "Examples:\n  audit tail -f --decision denied\n  audit tail -f --account acme -o ndjson")]
    Tail(Box<Tail>),
    /// Write all rows that fit, oldest first; the export leaves a row itself
    #[command(
        after_help = "Examples:\n  audit export --since 24h > day.ndjson\n  audit export --format csv --account acme --file acme.csv"
    )]
    Export(Box<Export>),
    /// Check that no row was changed, removed, inserted or moved
    #[command(
        after_help = "Exit codes: 0 intact, 1 damaged, 130 interrupted.\nExamples:\n  audit verify\n  audit verify --checkpoint 2026-10.json\n  audit verify --database copy-of-audit.db --checkpoint 2026-10.json"
    )]
    Verify(Verify),
    /// Make a signed statement of what the history is now, to be kept outside of this host
    Checkpoint {
        /// Where to write it; a file that exists is not overwritten [default: standard output]
        #[arg(long)]
        file: Option<PathBuf>,
    },
    /// Remove old rows, in whole sealed spans; a row that says so is written first
    Prune(Prune),
}
