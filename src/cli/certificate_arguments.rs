//! How client certificates are typed.

use clap::Args;

use crate::domain::Fingerprint;

/// The certificates of which one must be shown.
#[derive(Debug, Args)]
#[group(required = true)]
pub struct CertificateArguments {
    /// Their fingerprints, in place of those from before: the SHA-256 of each, as `openssl x509 -fingerprint -sha256` prints it
    #[arg(value_name = "FINGERPRINT")]
    pub fingerprints: Vec<Fingerprint>,
    /// None is demanded any more
    #[arg(long, conflicts_with = "fingerprints")]
    pub none: bool,
}
