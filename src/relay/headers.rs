//! Which headers pass, in both directions. Request headers are denied by default; answers lose what tells too much.

use http::{HeaderName, HeaderValue};

use crate::config::Upstream;

/// Request headers that pass to every ERP: negotiation, description of the content, conditionals and the like.
const REQUEST: [&str; 22] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "digest",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "prefer",
    "range",
    "user-agent",
    "tracestate",
];

/// Never passed on from a client, whatever the configuration says.
///
/// SECURITY: credentials, addressing, framing, and what an ERP may trust because a proxy usually sets it.
const NEVER: [&str; 25] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-request-id",
];

/// Headers of an answer that do not reach the client.
const RESPONSE_DROPPED: [&str; 14] = [
    "alt-svc",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-connection",
    "server",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "upgrade",
    "via",
    "www-authenticate",
    "x-csrf-token",
    "x-powered-by",
];

/// How clients reach the gateway, as in `https://api.example.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Takes scheme and host, without path.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        Self(origin.trim_end_matches('/').to_owned())
    }
}

/// Whether a client's header passes to the ERP. `extra` are the names that the upstream's configuration adds.
#[must_use]
pub fn forwards_request_header(name: &HeaderName, extra: &[HeaderName]) -> bool {
    let text = name.as_str();
    let never = NEVER.contains(&text) || text.starts_with("x-forwarded-") || text.starts_with("x-erp-access-");
    !never && (REQUEST.contains(&text) || extra.contains(name))
}

/// Whether a header of the ERP's answer passes to the client.
#[must_use]
pub fn keeps_response_header(name: &HeaderName) -> bool {
    let text = name.as_str();
    !RESPONSE_DROPPED.contains(&text) && !text.starts_with("x-erp-access-")
}

/// `Location` as the client may see it: the same path at the gateway; `None` where it leads elsewhere.
///
/// Inner host names are never shown.
#[must_use]
pub fn rewrite_location(
    location: &HeaderValue,
    upstream: &Upstream,
    public: Option<&PublicUrl>,
) -> Option<HeaderValue> {
    let text = location.to_str().ok()?;
    let path = if text.starts_with('/') && !text.starts_with("//") {
        text
    } else {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
        let (authority, path) = rest.find('/').map(|at| rest.split_at(at))?;
        let inner = authority.eq_ignore_ascii_case(&upstream.host)
            || upstream.peers.iter().any(|peer| peer.address.to_string() == authority);
        inner.then_some(path)?
    };
    let origin = public.map(|public| public.0.as_str()).unwrap_or_default();
    HeaderValue::try_from(format!("{origin}{path}")).ok()
}

/// Whether a header's value holds one of the values that we injected into the request.
#[must_use]
pub fn leaks(value: &HeaderValue, injected: &[crate::domain::Secret]) -> bool {
    let value = value.as_bytes();
    injected
        .iter()
        .map(|secret| secret.expose().as_bytes())
        .any(|secret| !secret.is_empty() && value.windows(secret.len()).any(|window| window == secret))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::UpstreamPeer;
    use crate::domain::Secret;
    use crate::upstream::double::static_key;

    fn name(text: &str) -> HeaderName {
        text.parse().expect("a name")
    }

    fn upstream() -> Upstream {
        let peers = vec![UpstreamPeer { address: ([10, 0, 0, 7], 8069).into(), weight: 1 }];
        Upstream { peers, host: "erp.internal".into(), ..static_key() }
    }

    #[test]
    fn only_listed_request_headers_pass() {
        for passes in ["accept", "range", "idempotency-key", "content-type", "if-none-match"] {
            assert!(forwards_request_header(&name(passes), &[]), "{passes}");
        }
        for stays in
            ["authorization", "cookie", "x-api-key", "x-unknown", "x_api_key", "x-forwarded-for", "x-real-ip", "origin"]
        {
            assert!(!forwards_request_header(&name(stays), &[]), "{stays}");
        }
    }

    #[test]
    fn the_configuration_adds_names_but_never_credentials_or_addresses() {
        assert!(forwards_request_header(&name("x-company"), &[name("x-company")]));
        for stays in
            ["cookie", "authorization", "host", "x-forwarded-host", "x-http-method-override", "transfer-encoding"]
        {
            assert!(!forwards_request_header(&name(stays), &[name(stays)]), "{stays}");
        }
    }

    #[test]
    fn no_rule_forces_a_header_that_never_passes() {
        for never in NEVER.iter().copied().chain(["x-forwarded-for", "x-forwarded-host", "x-erp-access-cause"]) {
            assert!(!crate::policy::may_force(&name(never)), "{never}");
        }
        for may in ["x-company", "accept", "accept-language", "prefer", "user-agent"] {
            assert!(crate::policy::may_force(&name(may)), "{may}");
        }
    }

    #[test]
    fn the_erps_session_and_software_do_not_reach_the_client() {
        for dropped in ["set-cookie", "www-authenticate", "server", "x-powered-by"] {
            assert!(!keeps_response_header(&name(dropped)), "{dropped}");
        }
        assert!(keeps_response_header(&name("etag")));
    }

    #[test]
    fn a_location_shows_the_gateway_or_nothing() {
        let rewritten = |location: &'static str, public: Option<&PublicUrl>| {
            rewrite_location(&HeaderValue::from_static(location), &upstream(), public)
                .map(|value| value.to_str().expect("text").to_owned())
        };
        let public = PublicUrl::new("https://api.example.com/");
        assert_eq!(rewritten("/v1/a", None).as_deref(), Some("/v1/a"));
        assert_eq!(rewritten("http://erp.internal/v1/a?x=1", None).as_deref(), Some("/v1/a?x=1"));
        assert_eq!(
            rewritten("http://10.0.0.7:8069/v1/a", Some(&public)).as_deref(),
            Some("https://api.example.com/v1/a")
        );
        for elsewhere in ["http://evil.test/", "//evil.test/", "javascript:alert(1)", "http://erp.internal"] {
            assert_eq!(rewritten(elsewhere, None), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_header_that_holds_an_injected_value_is_seen() {
        let injected = [Secret::new("token-12345".into())];
        assert!(leaks(&HeaderValue::from_static("session=token-12345; Path=/"), &injected));
        assert!(!leaks(&HeaderValue::from_static("session=other"), &injected));
    }
}
