//! Signed-in sessions at the ERPs: recipes, one sign-in at a time, sealed storage.

mod error;
mod key;
mod events;
mod transport;
mod vault;
mod variables;
mod template;
mod session;
mod answer;
mod sign_in;
mod attempts;
mod status;
mod flight;
mod slot;
mod report;
mod sessions;
mod store_vault;

#[cfg(test)]
pub(crate) mod double;
#[cfg(test)]
mod recipe_tests;
#[cfg(test)]
mod tests;

pub use error::{Refusal, SessionError, UnusableRecipe};
pub use events::{Circuit, Guarded, NobodyIsTold, SessionEvents};
pub use key::{AccountRef, SessionKey};
pub use report::{Report, StepReport};
pub use session::{Loss, UpstreamSession, loss};
pub use sessions::Sessions;
pub use status::{SessionState, SessionStatus};
pub use store_vault::StoreVault;
pub use transport::{MAX_ANSWER, SignInAnswer, SignInRequest, SignInTransport, TransportError};
pub use vault::{SessionVault, StoredSession, UpstreamSecrets, VaultError};
