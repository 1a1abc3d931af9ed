//! A secret inside a command.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::domain::Secret;

/// A secret inside a command. It is written out only when the command travels over the admin socket.
#[derive(Clone)]
pub struct SecretText(Secret);

impl SecretText {
    /// Wraps a secret for the way.
    #[must_use]
    pub fn new(secret: Secret) -> Self {
        Self(secret)
    }

    /// Unwraps it.
    #[must_use]
    pub fn into_secret(self) -> Secret {
        self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("[secret]")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // SECURITY: the admin socket is local and open to its group only.
        serializer.serialize_str(self.0.expose())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        Ok(Self(Secret::new(text.as_str().to_owned())))
    }
}
