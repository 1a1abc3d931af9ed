//! Which certificate a client must show, where its account or credential set demands one (as in RFC 8705).

use crate::directory::{Account, Credential};

use super::TlsInUse;

/// Why the certificate of a connection is not enough; `None` where it is.
#[must_use]
pub fn lacking_certificate(account: &Account, set: &Credential, tls: Option<&TlsInUse<'_>>) -> Option<&'static str> {
    let shown = tls.and_then(|tls| tls.certificate);
    let demands = [
        (&account.certificates, "the account demands a client certificate, and none was shown"),
        (&set.certificates, "the credential set demands a client certificate, and none was shown"),
    ];
    demands.into_iter().find_map(|(demanded, none)| match shown {
        _ if demanded.is_empty() => None,
        None => Some(none),
        Some(shown) => (!demanded.contains(&shown)).then_some("the client certificate is not one that is demanded"),
    })
}
