//! Which audit rows: the filters that every command about them takes.

use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use crate::control::AuditQuery;
use crate::domain::{AccountName, CredentialId, RequestId, TokenId};

/// Which rows; all that is given must hold.
#[derive(Debug, clap::Args)]
pub struct AuditFilter {
    /// Decided then or later: a moment, or how long ago, as in `90m`, `24h` or `7d`
    #[arg(long, value_parser = moment)]
    pub since: Option<Timestamp>,
    /// Decided before then
    #[arg(long, value_parser = moment)]
    pub until: Option<Timestamp>,
    /// Of one account
    #[arg(long)]
    pub account: Option<AccountName>,
    /// Of one credential set
    #[arg(long)]
    pub credential: Option<CredentialId>,
    /// Of one token
    #[arg(long)]
    pub token: Option<TokenId>,
    /// Of one actor, written as rows show it
    #[arg(long)]
    pub actor: Option<String>,
    /// From one address
    #[arg(long)]
    pub client: Option<IpAddr>,
    /// With one request id of the client
    #[arg(long)]
    pub correlation: Option<String>,
    /// Allowed or denied
    #[arg(long, value_parser = ["allowed", "denied"])]
    pub decision: Option<String>,
    /// With one code, as in `not_permitted`
    #[arg(long)]
    pub code: Option<String>,
    /// Of one kind: relay, `token_attempt`, change, system
    #[arg(long)]
    pub kind: Option<String>,
    /// Of one endpoint
    #[arg(long)]
    pub endpoint: Option<String>,
    /// That one policy decided
    #[arg(long)]
    pub policy: Option<String>,
    /// With this id; what `X-Request-Id` says in the answer
    #[arg(long)]
    pub id: Option<RequestId>,
    /// Not served for one class of reasons: whose matter it is
    #[arg(long, value_parser = ["client", "policy", "operator_control", "outage"])]
    pub cause: Option<String>,
    /// Whose decision path or outcome says this, in any case of letters
    #[arg(long)]
    pub text: Option<String>,
    /// To which the ERP answered with this status
    #[arg(long)]
    pub upstream_status: Option<u16>,
    /// That took at least so many milliseconds
    #[arg(long, value_name = "MILLISECONDS")]
    pub min_duration: Option<u32>,
}

/// `audit search`
#[derive(Debug, clap::Args)]
pub struct AuditSearch {
    /// How many
    #[arg(long, default_value_t = 20)]
    pub last: usize,
    /// Older than the row with this `seq`: the next page
    #[arg(long, value_name = "SEQ")]
    pub before: Option<i64>,
    #[command(flatten)]
    pub filter: AuditFilter,
}

impl From<AuditSearch> for AuditQuery {
    fn from(search: AuditSearch) -> Self {
        Self { last: search.last, before: search.before, ..Self::from(search.filter) }
    }
}

impl From<AuditFilter> for AuditQuery {
    fn from(search: AuditFilter) -> Self {
        Self {
            account: search.account,
            credential: search.credential,
            token: search.token,
            code: search.code,
            kind: search.kind,
            since: search.since,
            until: search.until,
            decision: search.decision,
            endpoint: search.endpoint,
            policy: search.policy,
            actor: search.actor,
            client: search.client,
            correlation: search.correlation,
            id: search.id,
            cause: search.cause,
            text: search.text,
            upstream_status: search.upstream_status,
            min_duration_ms: search.min_duration,
            ..Self::default()
        }
    }
}

/// A moment as written, or so long ago.
pub(super) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = text.parse() {
        return Ok(moment);
    }
    let wrong =
        || format!("`{text}` is neither a moment (`2026-11-23T12:00:00+05:00`) nor a time ago (`90m`, `24h`, `7d`)");
    length(text).and_then(|ago| now().checked_sub(ago).ok()).ok_or_else(wrong)
}

/// A length of time, as in `90m`.
pub(super) fn length(text: &str) -> Option<SignedDuration> {
    let split = text.find(|next: char| !next.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let number: i64 = number.parse().ok()?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    Some(SignedDuration::from_secs(number.checked_mul(seconds)?))
}

pub(super) fn now() -> Timestamp {
    use crate::domain::Clock as _;
    crate::domain::SystemClock::default().now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_times_ago_are_understood_and_nothing_else() {
        assert_eq!(moment("2026-11-23T12:00:00+05:00"), Ok("2026-11-23T07:00:00Z".parse().expect("a time")));
        let hour_ago = moment("1h").expect("a moment");
        let away = now().duration_since(hour_ago).as_secs();
        assert!((3600..3700).contains(&away), "{away}");
        assert!(moment("7d").expect("a moment") < hour_ago);
        for wrong in ["", "h", "1", "1y", "-1h", "1.5h", "yesterday", "99999999999999999999d", "9999999999d"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }
}
