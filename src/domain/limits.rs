//! How much may be asked for: by a credential set, an account or an address, or under a policy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Limits on what somebody may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Limits {
    rate: Option<(u32, Duration)>,
    concurrent: Option<u32>,
    bytes: Option<(u64, Duration)>,
}

/// The same as JSON and in a column of the database; periods are whole seconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    requests: Option<u32>,
    bytes: Option<u64>,
    per_seconds: Option<u64>,
    concurrent: Option<u32>,
}

/// The texts say no limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "limits are `requests` (1 to 1000000) or `bytes` of answers with `per_seconds` (1 to 86400), or `concurrent` (1 to \
     100000), or several of them"
)]
pub struct NoLimits;

impl Limits {
    /// Requests per period, requests at once, bytes of answers per period.
    #[must_use]
    pub const fn new(rate: Option<(u32, Duration)>, concurrent: Option<u32>, bytes: Option<(u64, Duration)>) -> Self {
        Self { rate, concurrent, bytes }
    }

    /// Requests per period.
    #[must_use]
    pub const fn rate(&self) -> Option<(u32, Duration)> {
        self.rate
    }

    /// Requests at once.
    #[must_use]
    pub const fn concurrent(&self) -> Option<u32> {
        self.concurrent
    }

    /// Bytes of answers per period.
    #[must_use]
    pub const fn bytes(&self) -> Option<(u64, Duration)> {
        self.bytes
    }
}

impl TryFrom<Written> for Limits {
    type Error = NoLimits;

    fn try_from(written: Written) -> Result<Self, NoLimits> {
        let Written { requests, bytes, per_seconds, concurrent } = written;
        let period = per_seconds.map(Duration::from_secs);
        let fits = requests.is_none_or(|requests| (1..=1_000_000).contains(&requests))
            && bytes.is_none_or(|bytes| (1..=1 << 50).contains(&bytes))
            && per_seconds.is_none_or(|seconds| (1..=86_400).contains(&seconds))
            && concurrent.is_none_or(|concurrent| (1..=100_000).contains(&concurrent))
            && per_seconds.is_some() == (requests.is_some() || bytes.is_some())
            && (per_seconds.is_some() || concurrent.is_some());
        if !fits {
            return Err(NoLimits);
        }
        Ok(Self { rate: requests.zip(period), concurrent, bytes: bytes.zip(period) })
    }
}

impl From<Limits> for Written {
    fn from(limits: Limits) -> Self {
        let period = limits.rate.map(|(_, period)| period).or(limits.bytes.map(|(_, period)| period));
        Self {
            requests: limits.rate.map(|(requests, _)| requests),
            bytes: limits.bytes.map(|(bytes, _)| bytes),
            per_seconds: period.map(|period| period.as_secs()),
            concurrent: limits.concurrent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_survive_their_way_through_json_and_nonsense_does_not() {
        for text in [
            r#"{"requests":600,"bytes":null,"per_seconds":60,"concurrent":null}"#,
            r#"{"requests":null,"bytes":1048576,"per_seconds":3600,"concurrent":5}"#,
            r#"{"requests":null,"bytes":null,"per_seconds":null,"concurrent":1}"#,
        ] {
            let limits: Limits = serde_json::from_str(text).expect(text);
            assert_eq!(serde_json::to_string(&limits).expect("JSON"), text);
        }
        for text in [
            "{}",
            r#"{"requests":600}"#,
            r#"{"per_seconds":60}"#,
            r#"{"requests":0,"per_seconds":60}"#,
            r#"{"requests":1,"per_seconds":0}"#,
            r#"{"requests":1,"per_seconds":86401}"#,
            r#"{"concurrent":0}"#,
            r#"{"concurent":1}"#,
        ] {
            assert!(serde_json::from_str::<Limits>(text).is_err(), "{text}");
        }
    }
}
