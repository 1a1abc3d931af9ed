//! A proposed folder of policies beside what is in force: what would change, for whom, and for which requests.
//!
//! The folder belongs to the operator and may be unreadable for the gateway, so the gateway tells what is in force and
//! what was recorded, and the comparison is made where the folder is.

mod again;
mod difference;
mod draft;
mod in_force;
mod replay;
mod suggest;
mod suggested_text;
#[cfg(test)]
mod tests;
mod words;

pub(super) use again::{Again, Asker, NotTold, Past};
pub use difference::Difference;
pub use draft::{Checked, Draft};
pub(super) use in_force::only;
pub use in_force::{Holder, InForce, policies_of};
pub use replay::{Earlier, Replay, ReplayReport};
pub use suggest::{Suggested, Suggestion, name_for};
pub use words::{difference_in_words, replay_in_words};
