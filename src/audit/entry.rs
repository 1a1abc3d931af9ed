//! What a row says.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;

use crate::domain::{
    AccountId, Actor, Code, CredentialId, EndpointId, Entropy, PolicyName, RequestId, RuleId, TokenId,
};

use super::Preview;

macro_rules! texts {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// The stable text, as stored and shown.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The value whose stable text this is.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

texts! {
    /// What a row is about.
    Kind {
        /// A request for the ERP.
        Relay = "relay",
        /// A request for a token, or to revoke or examine one.
        TokenAttempt = "token_attempt",
        /// An administrative change.
        Change = "change",
        /// Something that the gateway did by itself.
        System = "system",
    }
}

texts! {
    /// What was decided.
    Decision {
        /// Let through, or done.
        Allowed = "allowed",
        /// Not let through.
        Denied = "denied",
    }
}

texts! {
    /// A step of the gate, in the order of the gate.
    Step {
        /// The request has one meaning.
        Request = "request",
        /// No kill switch stops everything.
        KillSwitch = "kill_switch",
        /// The requester is known and live.
        Authentication = "authentication",
        /// The endpoint exists.
        Endpoint = "endpoint",
        /// A policy allows it and none denies it.
        Policy = "policy",
        /// The API is open.
        Schedule = "schedule",
        /// No kill switch stops this account, policy or upstream.
        ScopedKillSwitch = "scoped_kill_switch",
        /// The policy's limits are not reached.
        Limits = "limits",
        /// Guessing is throttled.
        Throttle = "throttle",
        /// The decision is on disk.
        Audit = "audit",
        /// A session at the ERP is at hand.
        UpstreamSession = "upstream_session",
    }
}

texts! {
    /// How a relay ended.
    End {
        /// The ERP's answer was passed on whole.
        Completed = "completed",
        /// There was no answer to pass on; the client was told why.
        Failed = "failed",
        /// The client or the ERP broke off.
        Aborted = "aborted",
        /// An operator's act (kill switch, suspension, revocation) stopped it on its way.
        Cut = "cut",
        /// The gateway ended before the relay did. Whether the ERP acted is not known.
        Interrupted = "interrupted",
    }
}

/// What one step said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The step.
    pub step: Step,
    /// What it said.
    pub decision: Decision,
    /// On what grounds. Never holds a secret.
    pub note: Cow<'static, str>,
}

impl Verdict {
    /// The step let the request through.
    #[must_use]
    pub fn passed(step: Step, note: impl Into<Cow<'static, str>>) -> Self {
        Self { step, decision: Decision::Allowed, note: note.into() }
    }

    /// The step stopped the request.
    #[must_use]
    pub fn denied(step: Step, note: impl Into<Cow<'static, str>>) -> Self {
        Self { step, decision: Decision::Denied, note: note.into() }
    }
}

/// The decision record of a row.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The id of the row; what `X-Request-Id` says.
    pub id: RequestId,
    /// What the row is about.
    pub kind: Kind,
    /// When it was decided.
    pub at: Timestamp,
    /// The request id that the client sent, where it is acceptable.
    pub correlation: Option<String>,
    /// Who did it.
    pub actor: Actor,
    /// The account concerned.
    pub account: Option<AccountId>,
    /// The credential set concerned.
    pub credential: Option<CredentialId>,
    /// The token used or issued, by its id.
    pub token: Option<TokenId>,
    /// Where the request came from, trusted proxies taken into account.
    pub client: Option<IpAddr>,
    /// The method, or the name of the operation.
    pub method: Cow<'static, str>,
    /// The canonical path, or what an operation acted on.
    pub path: String,
    /// The query, redacted.
    pub query: Option<String>,
    /// The endpoint, where one was found.
    pub endpoint: Option<EndpointId>,
    /// The deciding policy.
    pub policy: Option<PolicyName>,
    /// The deciding rule in it.
    pub rule: Option<RuleId>,
    /// The hash of the policy texts in force.
    pub policy_snapshot: Option<[u8; 32]>,
    /// The number of the policies' generation in force.
    pub generation: u64,
    /// What was decided.
    pub decision: Decision,
    /// Why not, where denied.
    pub code: Option<Code>,
    /// The status answered, where the row is over with this record.
    pub status: Option<u16>,
    /// Every step's verdict, in order.
    pub verdicts: Vec<Verdict>,
    /// More about it as JSON: before and after of a change, parameters of an operation.
    pub detail: Option<String>,
    /// The number of the change in the state database, so that each is recorded once.
    pub change: Option<u64>,
    /// How many requests the row stands for: more than one only where a flood was folded.
    pub repeats: u32,
    /// What the schedule said, where it was asked: open or closed, by its windows or by an override.
    pub schedule: Option<Cow<'static, str>>,
    /// The kill switch that was engaged over the request, or that none was.
    pub kill_switch: Option<Cow<'static, str>>,
    /// The protocol version and cipher of a connection under TLS.
    pub tls: Option<Cow<'static, str>>,
}

/// The outcome record of a row.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// How it ended.
    pub end: Option<End>,
    /// When, in time since the epoch.
    pub at: Timestamp,
    /// The status that the client got.
    pub status: Option<u16>,
    /// Why the client did not get the ERP's answer.
    pub code: Option<Code>,
    /// What went wrong, for the operator.
    pub detail: Option<String>,
    /// The peer that was contacted.
    pub upstream_peer: Option<SocketAddr>,
    /// The status that the ERP answered.
    pub upstream_status: Option<u16>,
    /// How many times the request was sent to the ERP.
    pub attempts: u32,
    /// From the first byte in to the last byte out.
    pub duration: Duration,
    /// From sending to the ERP to the head of its answer.
    pub upstream_duration: Option<Duration>,
    /// Bytes of body received from the client.
    pub request_bytes: u64,
    /// Bytes of body sent to the client.
    pub response_bytes: u64,
    /// The start of the request's body, redacted.
    pub request_preview: Option<Preview>,
    /// The start of the answer's body, redacted.
    pub response_preview: Option<Preview>,
}

impl Entry {
    /// A row of which nothing else is known yet: a denial by default, of somebody unknown.
    #[must_use]
    pub fn new(id: RequestId, kind: Kind, at: Timestamp) -> Self {
        Self {
            id,
            kind,
            at,
            correlation: None,
            actor: Actor::Unknown,
            account: None,
            credential: None,
            token: None,
            client: None,
            method: Cow::Borrowed(""),
            path: String::new(),
            query: None,
            endpoint: None,
            policy: None,
            rule: None,
            policy_snapshot: None,
            generation: 0,
            decision: Decision::Denied,
            code: None,
            status: None,
            verdicts: Vec::new(),
            detail: None,
            change: None,
            repeats: 1,
            schedule: None,
            kill_switch: None,
            tls: None,
        }
    }

    /// The row of something that the gateway does by itself; `None` without randomness for its id.
    #[must_use]
    pub fn system(at: Timestamp, entropy: &dyn Entropy, operation: &'static str, subject: String) -> Option<Self> {
        Some(Self {
            actor: Actor::System,
            method: operation.into(),
            path: subject,
            decision: Decision::Allowed,
            ..Self::new(RequestId::new(at, entropy).ok()?, Kind::System, at)
        })
    }
}

impl Outcome {
    /// An outcome of which only the end is known.
    #[must_use]
    pub fn of(end: End, at: Timestamp) -> Self {
        Self { end: Some(end), at, ..Self::default() }
    }
}
