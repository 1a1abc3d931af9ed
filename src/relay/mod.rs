//! What passes between client and ERP: headers, bodies, previews.

mod answer;
mod exchange;
mod headers;
mod mask;
mod trace_context;
mod watch;

pub use answer::{Answer, CAUSE, RATE_LIMIT, RATE_LIMIT_POLICY, REQUEST_ID};
pub use exchange::Exchange;
pub use headers::{PublicUrl, forwards_request_header, keeps_response_header, leaks, rewrite_location};
pub use mask::{KeptBody, Withheld, speaks_of_bytes, yields_to_mask};
pub use trace_context::{Trace, trace_parent};
