//! The words that every other module shares: typed ids, secrets, time, addresses and the codes of an answer.

mod actor;
mod answer;
mod client_address;
mod clock;
mod entropy;
mod fingerprint;
mod id;
mod issued;
mod json;
mod label;
mod limits;
mod name;
mod path;
mod role;
mod secret;

pub use actor::{Actor, NoActor, Principal};
pub use answer::{Cause, Code};
pub use client_address::client_address;
pub use clock::{Clock, ManualClock, SystemClock};
pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use fingerprint::{Fingerprint, NoFingerprint};
pub use id::{AccountId, CredentialId, IdError, OperatorKeyId, RequestId, SessionId, TokenId, UserId};
pub use issued::{IssuedKind, IssuedSecret, NotIssued};
pub use json::{
    DEEPEST as DEEPEST_JSON, Document, Found, Held, JsonPointer, JsonRefused, JsonScalar, LARGEST_WHOLE, MaskPointer,
    Masked, NotMasked, PointerRefused, PointerSet, Slot, mask_json, read_json,
};
pub use label::{LabelChange, LabelError, LabelValue, Labels};
pub use limits::{Limits, NoLimits};
pub use name::{
    AccountName, EndpointId, LabelKey, NameError, PolicyName, RuleId, ScheduleName, SinkName, UpstreamName,
};
pub use path::{CanonicalPath, PathRefused, Target};
pub use role::{Authority, Role, RoleError};
pub use secret::Secret;
