//! The record of who did what, when and why it was let through.

mod redact;

pub use redact::{Preview, PreviewCollector, Redactor};
