//! The codes that clients, operators and audit rows share: why a request was not served, and who can change that.

use std::fmt;

/// Who can do something about a refusal. Sent as `cause` and in the header `X-ERP-Access-Cause`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The request itself is wrong.
    Client,
    /// The policies do not permit it.
    Policy,
    /// An operator closed the API on purpose: schedule, kill switch, suspension.
    OperatorControl,
    /// Something is broken.
    Outage,
}

impl Cause {
    /// The stable text of the cause.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Policy => "policy",
            Self::OperatorControl => "operator_control",
            Self::Outage => "outage",
        }
    }

    /// The cause whose stable text this is.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Client, Self::Policy, Self::OperatorControl, Self::Outage]
            .into_iter()
            .find(|cause| cause.as_str() == text)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = ($text:literal, $status:literal, $cause:ident, $title:literal);)+) => {
        /// Why a request was not served. Stable: clients and scripts match on the text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name),+ }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable text of the code.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// The HTTP status that goes with the code.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status),+ }
            }

            /// Who can do something about it.
            #[must_use]
            pub const fn cause(self) -> Cause {
                match self { $(Self::$name => Cause::$cause),+ }
            }

            /// Whether clients are ever told it; the others stand in audit rows only.
            #[must_use]
            pub const fn is_told(self) -> bool {
                !matches!(self, Self::ConditionFailed | Self::UpstreamAppError)
            }

            /// One sentence for the client. Says nothing that the client may not know.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }

            /// The code whose stable text this is.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|code| code.as_str() == text)
            }
        }
    };
}

codes! {
    /// Framing, headers or form of the request are wrong.
    BadRequest = ("bad_request", 400, Client, "The request is not well formed");
    /// The path could be read in two ways.
    AmbiguousPath = ("ambiguous_path", 400, Client, "The path can be read in more than one way");
    /// No credentials were sent.
    CredentialsMissing = ("credentials_missing", 401, Client, "Credentials are required");
    /// Client id, password or x-api-key are wrong, or the set is not usable.
    CredentialsInvalid = ("credentials_invalid", 401, Client, "The credentials are not valid");
    /// The token is unknown, expired or revoked.
    TokenInvalid = ("token_invalid", 401, Client, "The token is not valid");
    /// Not mapped, not granted or denied by a rule. The audit row knows which.
    NotPermitted = ("not_permitted", 403, Policy, "This request is not permitted");
    /// A rule's condition could not be evaluated. In audit rows only: the client gets `not_permitted`.
    ConditionFailed = ("condition_failed", 403, Policy, "A rule's condition could not be evaluated");
    /// The account is suspended.
    AccountSuspended = ("account_suspended", 403, OperatorControl, "The account is suspended");
    /// The API is closed at this hour.
    OutsideSchedule = ("outside_schedule", 403, OperatorControl, "The API is closed at this time");
    /// A client took too long to send its request.
    RequestTimeout = ("request_timeout", 408, Client, "The request did not arrive in time");
    /// The body is larger than allowed.
    TooLarge = ("too_large", 413, Client, "The request body is too large");
    /// The request target is longer than allowed.
    UriTooLong = ("uri_too_long", 414, Client, "The request target is too long");
    /// The body's media type or coding cannot be examined.
    UnsupportedMediaType = ("unsupported_media_type", 415, Client, "The body must be plain JSON here");
    /// Too many headers or headers too long.
    HeadersTooLarge = ("headers_too_large", 431, Client, "The request headers are too large");
    /// A limit on requests was reached.
    RateLimited = ("rate_limited", 429, Policy, "Too many requests");
    /// A rule masks values of the answer, and they could not be masked. The ERP has carried the request out.
    ResponseWithheld = ("response_withheld", 502, Policy, "The answer may not be passed on");
    /// A defect of the gateway.
    InternalError = ("internal_error", 500, Outage, "The gateway could not serve the request");
    /// No connection to the ERP.
    UpstreamUnreachable = ("upstream_unreachable", 502, Outage, "The ERP cannot be reached");
    /// No signed-in session at the ERP.
    UpstreamSessionFailed = ("upstream_session_failed", 502, Outage, "The gateway cannot sign in to the ERP");
    /// The ERP answered with something that is not valid HTTP, or broke off.
    UpstreamProtocolError = ("upstream_protocol_error", 502, Outage, "The ERP's answer could not be read");
    /// The ERP answered with a failure of its own inside of a success. In audit rows only: the client gets that answer.
    UpstreamAppError = ("upstream_app_error", 502, Outage, "The ERP reports a failure");
    /// The ERP did not answer in time.
    UpstreamTimeout = ("upstream_timeout", 504, Outage, "The ERP did not answer in time");
    /// An operator stopped the API.
    KillSwitchEngaged = ("kill_switch_engaged", 503, OperatorControl, "The API has been stopped by an operator");
    /// The audit row could not be written, so nothing may pass.
    AuditUnavailable = ("audit_unavailable", 503, Outage, "The request cannot be recorded and was not served");
    /// Too much work at once.
    Overloaded = ("overloaded", 503, Outage, "The gateway is overloaded");
}

impl fmt::Display for Code {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_text_and_has_an_error_status() {
        for code in Code::ALL {
            assert_eq!(Code::from_text(code.as_str()), Some(*code));
            assert!((400..600).contains(&code.status()), "{code}");
        }
        assert_eq!(Code::from_text("allowed"), None);
    }
}
