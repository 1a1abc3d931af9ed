//! The form of a draft: a long text with several buttons. The draft is in the form and nowhere else.

use super::ui::Field;

/// The form.
pub(in crate::portal) struct DraftForm {
    pub(in crate::portal) title: String,
    pub(in crate::portal) about: String,
    /// Where it goes without a button that says otherwise.
    pub(in crate::portal) action: &'static str,
    pub(in crate::portal) file: String,
    /// Whether the file is new, so that its name can be typed.
    pub(in crate::portal) names_file: bool,
    /// What it was made from.
    pub(in crate::portal) based_on: String,
    /// `None` deletes the file.
    pub(in crate::portal) text: Option<String>,
    /// Whether it was checked: what was looked at is what is applied, so it cannot be changed here.
    pub(in crate::portal) is_settled: bool,
    pub(in crate::portal) proof: Option<Field>,
    /// The first one is what the key for a new line in a field does.
    pub(in crate::portal) buttons: Vec<Button>,
}

/// One of several buttons.
pub(in crate::portal) struct Button {
    pub(in crate::portal) text: &'static str,
    pub(in crate::portal) action: &'static str,
    pub(in crate::portal) is_main: bool,
}

impl Button {
    pub(super) fn main(text: &'static str, action: &'static str) -> Self {
        Self { text, action, is_main: true }
    }

    pub(super) fn other(text: &'static str, action: &'static str) -> Self {
        Self { text, action, is_main: false }
    }
}
