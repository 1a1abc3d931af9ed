//! Why a request is not served: what the client may know, and what only the operator sees.

use std::borrow::Cow;
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::Step;
use crate::domain::Code;
use crate::kill_switch::Engaged;

use super::BodyProblem;

/// A request that is not served.
///
/// `reason` goes to the audit row; the client sees the code's title and the public parts only.
#[derive(Debug, Clone)]
#[must_use = "a denial must be answered and recorded"]
pub struct Denial {
    /// The stable code, as the client sees it.
    pub code: Code,
    /// The code in the audit row, where the client must not see the difference.
    pub recorded_as: Option<Code>,
    /// The step of the gate that said no.
    pub step: Step,
    /// On what grounds, for the operator.
    pub reason: Cow<'static, str>,
    /// What may be said besides.
    pub public: Box<Public>,
}

/// What the client is told besides the code.
#[derive(Debug, Clone, Default)]
pub struct Public {
    /// More about it, where the client may know more.
    pub detail: Option<Cow<'static, str>>,
    /// The operator's message.
    pub message: Option<String>,
    /// When the API opens again.
    pub opens_at: Option<Timestamp>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// The limit that was reached.
    pub limit: Option<ReachedLimit>,
    /// The authentication scheme to ask for.
    pub challenge: Option<Challenge>,
}

/// A limit that was reached.
#[derive(Debug, Clone)]
pub struct ReachedLimit {
    /// Whose it is, as clients see it.
    pub name: String,
    /// So much.
    pub quota: Quota,
    /// Per period, where it counts by time.
    pub period: Option<Duration>,
    /// What is left, too little for the request.
    pub left: u64,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// Requests.
    Requests(u32),
    /// Bytes of answers.
    Bytes(u64),
    /// Requests at once.
    AtOnce(u32),
}

/// The value of `WWW-Authenticate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// Bearer, nothing was sent (RFC 6750 section 3.1: no error code then).
    Bearer,
    /// Bearer, what was sent is not valid.
    BearerInvalid,
    /// Basic, at the token endpoint.
    Basic,
}

impl Challenge {
    /// The header's value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer realm=\"erp-access\"",
            Self::BearerInvalid => "Bearer realm=\"erp-access\", error=\"invalid_token\"",
            Self::Basic => "Basic realm=\"erp-access\", charset=\"UTF-8\"",
        }
    }
}

impl Denial {
    /// A denial about which the client learns the code only.
    pub fn new(step: Step, code: Code, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, recorded_as: None, step, reason: reason.into(), public: Box::default() }
    }

    /// The denial of an engaged kill switch: the reason for the operator, the message for the client.
    pub fn stopped(step: Step, engaged: &Engaged, now: Timestamp) -> Self {
        let reason = format!("engaged for `{}` by {} at {}: {}", engaged.scope, engaged.by, engaged.at, engaged.reason);
        let ends_in = engaged.until.and_then(|until| Duration::try_from(until.duration_since(now)).ok());
        let wait = ends_in.unwrap_or(Duration::from_mins(1)).max(Duration::from_secs(1));
        let mut denial = Self::new(step, Code::KillSwitchEngaged, reason).retry_after(wait);
        denial.public.message.clone_from(&engaged.message);
        denial
    }

    /// The denial of a request that comes while too many are in progress.
    pub fn overloaded() -> Self {
        Self::new(Step::Limits, Code::Overloaded, "too many requests are in progress")
            .retry_after(Duration::from_secs(1))
    }

    /// The denial of a request whose body could not be read.
    pub fn body_unread(step: Step, problem: BodyProblem, limit: usize) -> Self {
        match problem {
            BodyProblem::TooLarge => Self::new(step, Code::TooLarge, format!("a body of more than {limit} bytes")),
            BodyProblem::Late => Self::new(step, Code::RequestTimeout, "the body did not arrive in time"),
            BodyProblem::Broken => Self::new(step, Code::BadRequest, "the body broke off or its framing is wrong"),
        }
    }

    /// The same, with another code in the audit row.
    pub fn recorded_as(mut self, code: Code) -> Self {
        self.recorded_as = Some(code);
        self
    }

    /// The code for the audit row.
    #[must_use]
    pub fn row_code(&self) -> Code {
        self.recorded_as.unwrap_or(self.code)
    }

    /// The same, with a time after which to try again.
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.public.retry_after = Some(after);
        self
    }

    /// The same, asking for credentials.
    pub fn challenge(mut self, challenge: Challenge) -> Self {
        self.public.challenge = Some(challenge);
        self
    }

    /// The same, with a sentence that the client may read.
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.public.detail = Some(detail.into());
        self
    }
}
