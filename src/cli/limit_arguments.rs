//! How limits are typed.

use clap::Args;
use jiff::SignedDuration;

use super::audit_search::length;
use super::output::Failure;
use crate::domain::Limits;

/// How much may be asked for.
#[derive(Debug, Args)]
pub struct LimitArguments {
    /// Requests per period
    #[arg(long, requires = "per")]
    pub requests: Option<u32>,
    /// Bytes of answers per period
    #[arg(long, requires = "per")]
    pub bytes: Option<u64>,
    /// The period, as in `1m` or `24h`; a day at most
    #[arg(long, value_parser = period)]
    pub per: Option<SignedDuration>,
    /// Requests at once
    #[arg(long)]
    pub concurrent: Option<u32>,
    /// No limits of its own: as the configuration says (`gateway.rate_limits`)
    #[arg(long, conflicts_with_all = ["requests", "bytes", "per", "concurrent"])]
    pub none: bool,
}

impl LimitArguments {
    /// What was typed; `None` for no limits.
    pub(super) fn limits(&self) -> Result<Option<Limits>, Failure> {
        if self.none {
            return Ok(None);
        }
        let per_seconds = self.per.map(|per| per.as_secs());
        let written = serde_json::json!({
            "requests": self.requests, "bytes": self.bytes, "per_seconds": per_seconds, "concurrent": self.concurrent,
        });
        serde_json::from_value(written).map(Some).map_err(Failure::invalid)
    }
}

fn period(text: &str) -> Result<SignedDuration, String> {
    length(text).ok_or_else(|| format!("`{text}` is no length of time, as in `1m` or `24h`"))
}
