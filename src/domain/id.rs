//! Typed ids. Each is a UUIDv7 (RFC 9562), so ids sort by the time at which they were made.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use uuid::{Builder, Uuid};

use super::{Entropy, EntropyError};

/// The text given is not one of our ids.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an id; ids look like `019ab7c2-7d3e-7cc1-8b1f-0242ac120002`")]
pub struct IdError(String);

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id for the moment `now`.
            ///
            /// # Errors
            /// When the source of randomness fails.
            pub fn new(now: Timestamp, entropy: &dyn Entropy) -> Result<Self, EntropyError> {
                Ok(Self(uuid_at(now, entropy)?))
            }

            /// The 16 bytes as stored.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// The id whose stored bytes these are.
            #[must_use]
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(out)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<str>::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                // One spelling per id: what is looked up is exactly what was issued.
                match Uuid::try_parse(text) {
                    Ok(id) if id.hyphenated().to_string() == text => Ok(Self(id)),
                    _ => Err(IdError(text.chars().take(64).collect())),
                }
            }
        }
    };
}

uuid_id!(
    /// An account: an organisation or team that is given access.
    AccountId
);
uuid_id!(
    /// A portal user.
    UserId
);
uuid_id!(
    /// A session of a portal user. Says nothing about what opens it.
    SessionId
);
uuid_id!(
    /// A key with which a program carries operations out.
    OperatorKeyId
);
uuid_id!(
    /// A credential set. Its text form is the client id of OAuth.
    CredentialId
);
uuid_id!(
    /// A gateway token. Says nothing about the token's secret value.
    TokenId
);
uuid_id!(
    /// One exchange; also the id of its audit row and the value of `X-Request-Id`.
    RequestId
);

fn uuid_at(now: Timestamp, entropy: &dyn Entropy) -> Result<Uuid, EntropyError> {
    let mut random = [0_u8; 10];
    entropy.fill(&mut random)?;
    let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Ok(Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    #[test]
    fn an_id_survives_text_and_bytes() {
        let id = RequestId::new(Timestamp::UNIX_EPOCH, &SystemEntropy).expect("entropy");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(RequestId::from_bytes(*id.as_bytes()), id);
    }

    #[test]
    fn another_spelling_of_an_id_is_refused() {
        let id = CredentialId::new(Timestamp::UNIX_EPOCH, &SystemEntropy).expect("entropy");
        let text = id.to_string();
        for other in [text.to_uppercase(), text.replace('-', ""), format!("{{{text}}}"), format!(" {text}")] {
            assert!(other == text || other.parse::<CredentialId>().is_err(), "{other}");
        }
    }

    #[test]
    fn ids_sort_by_time() {
        let early = TokenId::new(Timestamp::from_second(1).expect("time"), &SystemEntropy).expect("entropy");
        let late = TokenId::new(Timestamp::from_second(2).expect("time"), &SystemEntropy).expect("entropy");
        assert!(early < late);
    }
}
