//! What operators write, as a tree with places: every mistake is reported with file, line, column and excerpt, and all
//! of them at once. Used for the configuration and for the policy files.
//!
//! A deliberately small YAML: no tags, no anchors, aliases or merge keys, no directives, one document a file.

mod code;
mod problem;
mod reader;
mod tree;

pub use code::{Code, Severity};
pub use problem::{Problem, Problems};
pub use reader::{Fields, Reader};
pub(crate) use reader::{suggestion, suggestion_among};
pub use tree::{Bounds, Node, Place, Source, Value};
