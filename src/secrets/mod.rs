//! The key ring: every key is derived from `APP_KEY`; keyed hashes, sealed values, password hashes.

mod app_key;
mod derived;
mod key_id;
mod key_ring;
mod keyed_hash;
mod password;
mod sealed;

pub use app_key::{AppKey, AppKeyError};
pub use derived::DeriveError;
pub use key_id::{KeyId, KeyIdError};
pub use key_ring::{KeyRing, is_signed_by};
pub use keyed_hash::{HashPurpose, KeyedHash};
pub use password::{HashedPassword, HashingError, HashingSettings, PasswordHasher, Verified};
pub use sealed::{Place, SealError, SealPurpose, sealed_with};
