//! The whole decision about a request, on one screen: [`Gate::admit`].
//!
//! Each step takes the proof of the step before it by value and returns its own. Proofs have private fields, so a step
//! can be neither skipped nor reordered, and an [`Admission`] can be had from here only:
//!
//! ```compile_fail
//! let admission = erp_access::gate::Admission { relay: todo!() };
//! ```

mod admission;
mod authenticate;
mod certificate;
mod correlation;
mod denial;
mod head;
mod hours;
mod limits;
mod obligations;
mod permit;
mod presented;
mod record;
mod rehearse;
mod session;
mod stopped;
mod trail;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::audit::{AuditUnavailable, Auditor, Entry, Redactor, Step};
use crate::config::{RateLimits, Upstream};
use crate::directory::{CutInFlight, Directory};
use crate::domain::{Clock, Code, Fingerprint, RequestId, UpstreamName};
use crate::policy::PolicyStore;
use crate::secrets::KeyRing;
use crate::upstream::Sessions;

pub use admission::{Admission, CutOff};
pub use certificate::lacking_certificate;
pub use correlation::accepted_correlation;
pub use denial::{Challenge, Denial, Public, Quota, ReachedLimit};
pub use head::{BodyFraming, CleanHead, Head, HeadLimits, HeadRefused};
pub use presented::{BasicCredentials, PresentedError, presented_api_key, presented_basic, presented_bearer};
pub use trail::Trail;

use limits::Usage;
pub use limits::{LimitState, Place, network};

/// What stands between a client and the ERP.
#[derive(Debug)]
pub struct Gate {
    pub(crate) directory: Arc<Directory>,
    pub(crate) policies: Arc<PolicyStore>,
    pub(crate) key_ring: Arc<KeyRing>,
    pub(crate) auditor: Arc<Auditor>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) upstreams: HashMap<UpstreamName, Arc<Upstream>>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rules: GateRules,
    usage: Usage,
}

/// What a gate is made of.
#[derive(Debug)]
pub struct GateParts {
    /// Who is live.
    pub directory: Arc<Directory>,
    /// What is allowed.
    pub policies: Arc<PolicyStore>,
    /// Keys, for the keyed hashes of tokens and x-api-keys.
    pub key_ring: Arc<KeyRing>,
    /// The audit trail.
    pub auditor: Arc<Auditor>,
    /// Sessions at the ERPs.
    pub sessions: Arc<Sessions>,
    /// The ERPs.
    pub upstreams: HashMap<UpstreamName, Arc<Upstream>>,
    /// Knows what is secret.
    pub redactor: Arc<Redactor>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What the configuration says.
    pub rules: GateRules,
}

/// What the configuration says about admission.
#[derive(Debug, Clone, Copy)]
pub struct GateRules {
    /// The limits on a request's head.
    pub head: HeadLimits,
    /// The largest body, in bytes; `None` is unlimited.
    pub body: Option<u64>,
    /// Whether the x-api-key must come with each relay.
    pub api_key: ApiKeyOnRelay,
    /// How much may be asked for, where accounts and sets say nothing themselves, and by addresses.
    pub rate_limits: RateLimits,
    /// Which changes cut relays in progress.
    pub cut: CutInFlight,
}

/// Whether the x-api-key must come with each relay. Where it is sent it must always match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiKeyOnRelay {
    /// Only checked where sent.
    Optional,
    /// Must be sent.
    Required,
}

/// A request as it came in.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The id that we gave it.
    pub id: RequestId,
    /// Its head.
    pub head: Head<'a>,
    /// Where it came from, trusted proxies taken into account.
    pub client: Option<IpAddr>,
    /// What protects the connection that brought it; `None` where nothing does.
    pub tls: Option<TlsInUse<'a>>,
    /// When it came.
    pub now: Timestamp,
}

/// What protects a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsInUse<'a> {
    /// The version, as in `TLSv1.3`.
    pub version: &'a str,
    /// The cipher suite.
    pub cipher: &'a str,
    /// The certificate that the client has shown, and that one of our authorities has signed.
    pub certificate: Option<Fingerprint>,
}

impl fmt::Display for TlsInUse<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.version, self.cipher)?;
        self.certificate.map_or(Ok(()), |certificate| write!(out, " certificate={certificate}"))
    }
}

/// The body of a request that is still on its way.
#[async_trait]
pub trait RequestBody: Send {
    /// Reads the whole body, keeping it for the relay.
    ///
    /// # Errors
    /// When it is longer than `limit` bytes, late, or broken off.
    async fn read_whole(&mut self, limit: usize) -> Result<Bytes, BodyProblem>;
}

/// A body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyProblem {
    /// Longer than allowed.
    TooLarge,
    /// It did not arrive in time.
    Late,
    /// The client broke off or its framing is wrong.
    Broken,
}

impl Gate {
    /// Puts a gate together.
    #[must_use]
    pub fn new(parts: GateParts) -> Self {
        let GateParts { directory, policies, key_ring, auditor, sessions, upstreams, redactor, clock, rules } = parts;
        let usage = Usage::new(&clock);
        Self { directory, policies, key_ring, auditor, sessions, upstreams, redactor, clock, rules, usage }
    }

    /// Decides about a request, step by step. Whatever happens, there is an audit row.
    ///
    /// # Errors
    /// A [`Denial`] for everything that is not expressly allowed.
    pub async fn admit(&self, asked: Asked<'_>, body: &mut dyn RequestBody) -> Result<Admission, Denial> {
        let slot = self.auditor.reserve().await.map_err(unrecorded)?;
        let mut trail = Trail::begin(&asked);
        match self.decide(asked, body, &mut trail).await {
            Err(denial) => {
                slot.close_with(trail.denied(&denial));
                Err(denial)
            }
            Ok(cleared) => {
                let recorded = self.record(cleared, slot, trail).await?; // 6: on disk before the ERP sees a byte
                self.bind_session(recorded).await //                        7: the ERP's session
            }
        }
    }

    /// The row of a request that is refused before anybody is asked who sent it.
    #[must_use]
    pub fn refused_row(&self, asked: &Asked<'_>, denial: &Denial) -> Entry {
        let mut trail = Trail::begin(asked);
        trail.target_as_it_came(asked.head.raw_target, &self.redactor);
        trail.denied(denial)
    }

    async fn decide(
        &self,
        asked: Asked<'_>,
        body: &mut dyn RequestBody,
        trail: &mut Trail,
    ) -> Result<limits::WithinLimits, Denial> {
        let request = self.read_head(asked, trail)?; //            1: one meaning
        let running = self.not_stopped(request, trail)?; //        2: no kill switch on everything
        let running = self.address_has_room(running, trail)?; //      and the limit of the address is not reached
        let known = self.authenticate(running, trail)?; //         3: a live token of a live set of a live account
        let permitted = self.permit(known, body, trail).await?; // 4: the endpoint exists, a policy allows it, none denies
        let open = self.in_hours(permitted, trail)?; //            5: the API is open, and no scoped kill switch
        self.within_limits(open, trail) //                            and no limit is reached
    }
}

fn unrecorded(_: AuditUnavailable) -> Denial {
    Denial::new(Step::Audit, Code::AuditUnavailable, "the audit row cannot be written")
        .retry_after(std::time::Duration::from_secs(1))
}
