//! W3C Trace Context: a valid `traceparent` is continued with a span of ours, an invalid one is ignored whole.

use http::HeaderValue;

use crate::domain::Entropy;

/// The `traceparent` to send on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The header's value.
    pub parent: String,
    /// Whether the client's trace goes on, so that its `tracestate` may too.
    pub continues: bool,
}

/// The trace for the next hop. Without randomness there is none.
#[must_use]
pub fn trace_parent(sent: Option<&HeaderValue>, entropy: &dyn Entropy) -> Option<Trace> {
    let mut random = [0_u8; 24];
    entropy.fill(&mut random).ok()?;
    let (trace, span) = random.split_at(16);
    let span = hex::encode(span);
    Some(match sent.and_then(|value| value.to_str().ok()).and_then(parts) {
        Some((trace, flags)) => Trace { parent: format!("00-{trace}-{span}-{flags}"), continues: true },
        None => Trace { parent: format!("00-{}-{span}-00", hex::encode(trace)), continues: false },
    })
}

/// Trace id and flags of a valid header.
fn parts(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.splitn(5, '-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Version 00 has exactly four parts; a later version may have more.
    let version_fits = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    let not_zero = |text: &str| text.bytes().any(|byte| byte != b'0');
    let ids_fit = is_hex(trace, 32) && not_zero(trace) && is_hex(span, 16) && not_zero(span) && is_hex(flags, 2);
    (version_fits && ids_fit).then_some((trace, flags))
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    fn trace(sent: &'static str) -> Trace {
        trace_parent(Some(&HeaderValue::from_static(sent)), &SystemEntropy).expect("entropy")
    }

    #[test]
    fn a_valid_trace_goes_on_with_a_span_of_ours() {
        let trace = trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        assert!(trace.continues);
        assert!(trace.parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{trace:?}");
        assert!(trace.parent.ends_with("-01") && !trace.parent.contains("00f067aa0ba902b7"), "{trace:?}");
    }

    #[test]
    fn an_invalid_trace_is_replaced() {
        for sent in [
            "00-00000000000000000000000000000000-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "",
        ] {
            let trace = trace(sent);
            assert!(!trace.continues, "{sent}");
            assert!(parts(&trace.parent).is_some(), "{trace:?}");
        }
    }
}
