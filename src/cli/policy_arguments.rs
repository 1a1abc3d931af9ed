//! What can be typed after `policy`.

use clap::Subcommand;

/// `policy …`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Check the policy files and run their cases
    Test,
    /// Make the running gateway read the policy files again
    Reload,
}
