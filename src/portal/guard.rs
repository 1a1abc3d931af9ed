//! What every answer carries, and which requests are not answered: forms come from our own pages only.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

/// SECURITY: nothing is loaded but our own style and script; no page is framed; a form goes to us only.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

const HEADERS: [(&str, &str); 7] = [
    ("content-security-policy", POLICY),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
];

/// Lets a request pass that comes from our own pages, and gives every answer its headers.
pub(super) async fn guard(request: Request, next: Next) -> Response {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let mut response = if changes && !is_ours(request.headers()) {
        (StatusCode::FORBIDDEN, "this does not come from a page of the portal; open the page and try again")
            .into_response()
    } else {
        next.run(request).await
    };
    for (name, value) in HEADERS {
        // What a page says of itself stays (the style may be kept by the browser).
        response.headers_mut().entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// Whether a form was sent by one of our own pages, as the browser says: with `Sec-Fetch-Site`, else with `Origin`, which
/// must name the host that is asked. A browser sends one of both with every form.
fn is_ours(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    let (Some(origin), Some(host)) = (text("origin"), headers.get(header::HOST).and_then(|host| host.to_str().ok()))
    else {
        return false;
    };
    let named = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    named.is_some_and(|named| named.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(pairs: &[(&'static str, &'static str)]) -> bool {
        let pairs = pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        is_ours(&pairs.collect())
    }

    #[test]
    fn a_form_of_another_site_is_told_from_ours() {
        let host = ("host", "portal.example:8445");
        assert!(ours(&[host, ("sec-fetch-site", "same-origin")]));
        assert!(ours(&[host, ("origin", "https://portal.example:8445")]));
        for site in ["cross-site", "same-site", "none"] {
            assert!(!ours(&[host, ("sec-fetch-site", site), ("origin", "https://portal.example:8445")]), "{site}");
        }
        for origin in
            ["https://evil.example", "null", "https://portal.example", "https://portal.example:8445.evil.example"]
        {
            assert!(!ours(&[host, ("origin", origin)]), "{origin}");
        }
        assert!(!ours(&[host]), "no browser");
    }
}
