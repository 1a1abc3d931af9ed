//! The key ring: every key is derived from `APP_KEY`; keyed hashes, sealed values, password hashes.

mod app_key;
mod key_ring;
mod password;
mod sealed;

pub use app_key::{AppKey, AppKeyError};
pub use key_ring::{DeriveError, HashPurpose, KeyId, KeyRing, KeyedHash, is_signed_by};
pub use password::{HashingError, HashingSettings, PasswordHasher, Verified};
pub use sealed::{Place, SealError, SealPurpose};
