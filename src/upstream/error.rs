//! Why there is no session. No text here holds anything that an ERP or a vault has said.

use http::{HeaderName, StatusCode};
use jiff::Timestamp;

use super::transport::TransportError;
use super::vault::VaultError;
use crate::domain::{AccountName, UpstreamName};

/// Why there is no session at an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No upstream has this name.
    #[error("there is no such upstream")]
    Unknown,
    /// The recipe needs a secret that nobody has set; the ERP was not contacted.
    #[error("the recipe needs `{missing}`, which is not set")]
    NoSecret {
        /// `username`, `password` or `api_key`.
        missing: String,
    },
    /// The account has no ERP user of its own, and the recipe asks for one; the ERP was not contacted.
    #[error(
        "account `{account}` has no secrets of its own here; set them with `erp-access upstream secret set --account`"
    )]
    NoAccountSecret {
        /// The account.
        account: AccountName,
    },
    /// The ERP answered, and the answer is not what the recipe calls success.
    #[error("step {step} of the sign-in was refused: {reason}")]
    SignInRefused {
        /// Which step, counted from 1.
        step: usize,
        /// What was wrong with the answer.
        reason: Refusal,
    },
    /// The ERP gave no whole answer.
    #[error("the upstream cannot be reached: {reason}")]
    Unreachable {
        /// What went wrong on the way.
        reason: TransportError,
    },
    /// There was no session within `timeouts.sign_in`.
    #[error("the sign-in took too long")]
    TimedOut,
    /// Sign-ins failed or were too many; the ERP is left alone for a while.
    #[error("no sign-in before {until}: {last}")]
    BackingOff {
        /// When the next sign-in may begin.
        until: Timestamp,
        /// Why we wait.
        last: String,
    },
    /// The recipe does not fit the secrets or the answers.
    #[error("the session recipe cannot be used: {reason}")]
    Unusable {
        /// What does not fit.
        reason: UnusableRecipe,
    },
    /// The secrets could not be read.
    #[error("the secrets cannot be read: {reason}")]
    Vault {
        /// What the vault says.
        reason: VaultError,
    },
    /// The sign-in ended without a result: a defect or a shutdown.
    #[error("the sign-in was interrupted")]
    Interrupted,
}

/// What was wrong with the answer to a step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The status is not one of those that mean success.
    #[error("status {}", .0.as_u16())]
    Status(StatusCode),
    /// A pointer had to be looked up, and the body is not JSON.
    #[error("the answer is not JSON")]
    NotJson,
    /// This pointer must exist and does not.
    #[error("`{0}` is missing")]
    Missing(String),
    /// This pointer must not exist and does.
    #[error("`{0}` is present")]
    Present(String),
    /// This header is to be kept and is missing, or is no visible ASCII.
    #[error("the header `{0}` is missing")]
    NoHeader(HeaderName),
    /// This cookie is to be kept and is not set.
    #[error("the cookie `{0}` is not set")]
    NoCookie(String),
    /// This cookie is marked `Secure`, and there is no TLS to the ERP.
    #[error("the cookie `{0}` is for TLS only; use TLS, or set `secure_over_http: true` in the session")]
    SecureCookie(String),
    /// This pointer is to be kept, and it is neither a text that is not empty nor a number.
    #[error("`{0}` is neither text nor number")]
    NotText(String),
    /// The body is larger than [`super::MAX_ANSWER`].
    #[error("the answer is too large")]
    TooLarge,
}

/// What in a recipe does not fit the secrets or the answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnusableRecipe {
    /// No step extracts this variable before it is used.
    #[error("no step extracts `{0}`")]
    Variable(String),
    /// A value would put characters into this header that a header cannot hold.
    #[error("header `{0}` would hold characters that no header may hold")]
    Header(HeaderName),
    /// A value would put characters into this cookie that a cookie cannot hold.
    #[error("cookie `{0}` would hold characters that no cookie may hold")]
    Cookie(String),
    /// A step goes to an upstream that is not configured.
    #[error("there is no upstream `{0}`")]
    NoSuchUpstream(UpstreamName),
    /// The body of a step could not be written as JSON.
    #[error("a body cannot be written as JSON")]
    Body,
}

impl SessionError {
    /// Whether the ERP shall be left alone for a while after this.
    pub(super) fn calls_for_back_off(&self) -> bool {
        match self {
            Self::SignInRefused { .. }
            | Self::Unreachable { .. }
            | Self::TimedOut
            | Self::Unusable { .. }
            | Self::Interrupted => true,
            // These never got as far as the ERP.
            Self::Unknown
            | Self::NoSecret { .. }
            | Self::NoAccountSecret { .. }
            | Self::BackingOff { .. }
            | Self::Vault { .. } => false,
        }
    }
}
