//! Labels: what operators note about an account, for conditions of policies.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::name::{LabelKey, NameError};

/// Most labels of one account.
const MOST: usize = 16;
/// Longest value, in characters.
const LONGEST: usize = 64;

/// The value of a label: 1 to 64 printable characters.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelValue(Arc<str>);

/// The labels of an account; at most 16.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(BTreeMap<LabelKey, LabelValue>);

/// One change of labels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum LabelChange {
    /// Sets a label, written `key=value`.
    Set(LabelKey, LabelValue),
    /// Removes a label, written `key-`.
    Remove(LabelKey),
}

/// Labels cannot be like this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// It is neither a label nor the removal of one.
    #[error("`{0}` is neither `key=value` nor `key-`, which removes a label")]
    Form(String),
    /// The key is not one.
    #[error(transparent)]
    Key(#[from] NameError),
    /// The key could not be told from the removal of another.
    #[error("the label key `{0}` ends in `-`, as removals do")]
    Dash(LabelKey),
    /// The value is not one.
    #[error("the value of a label has 1 to 64 printable characters")]
    Value,
    /// There would be too many.
    #[error("an account has at most 16 labels")]
    TooMany,
}

impl LabelValue {
    /// The value as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for LabelValue {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        // Characters that change how a line reads are not printable.
        let steers = |character: char| {
            character.is_control()
                || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        };
        let fits = (1..=LONGEST).contains(&text.chars().count()) && text.trim() == text && !text.contains(steers);
        if fits { Ok(Self(Arc::from(text))) } else { Err(LabelError::Value) }
    }
}

impl TryFrom<String> for LabelValue {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl From<LabelValue> for String {
    fn from(value: LabelValue) -> Self {
        value.0.as_ref().to_owned()
    }
}

impl fmt::Debug for LabelValue {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LabelValue({})", self.0)
    }
}

impl Labels {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The same labels after these changes, one after the other.
    ///
    /// # Errors
    /// When there would be more than 16.
    pub fn changed(&self, changes: &[LabelChange]) -> Result<Self, LabelError> {
        let mut labels = self.0.clone();
        for change in changes {
            match change {
                LabelChange::Set(key, value) => drop(labels.insert(key.clone(), value.clone())),
                LabelChange::Remove(key) => drop(labels.remove(key)),
            }
        }
        if labels.len() <= MOST { Ok(Self(labels)) } else { Err(LabelError::TooMany) }
    }
}

impl FromStr for LabelChange {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if let Some((key, value)) = text.split_once('=') {
            let key: LabelKey = key.parse()?;
            return if key.as_str().ends_with('-') {
                Err(LabelError::Dash(key))
            } else {
                Ok(Self::Set(key, value.parse()?))
            };
        }
        match text.strip_suffix('-') {
            Some(key) => Ok(Self::Remove(key.parse()?)),
            None => Err(LabelError::Form(text.chars().take(LONGEST).flat_map(char::escape_debug).collect())),
        }
    }
}

impl TryFrom<String> for LabelChange {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl From<LabelChange> for String {
    fn from(change: LabelChange) -> Self {
        change.to_string()
    }
}

impl fmt::Display for LabelChange {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(key, value) => write!(out, "{key}={}", value.as_str()),
            Self::Remove(key) => write!(out, "{key}-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(texts: &[&str]) -> Vec<LabelChange> {
        texts.iter().map(|text| text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))).collect()
    }

    #[test]
    fn labels_are_set_and_removed_in_the_order_given() {
        let labels = Labels::default().changed(&changes(&["tier=gold", "region=south", "tier=silver"])).expect("few");
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("region", "south"), ("tier", "silver")]);
        let labels = labels.changed(&changes(&["tier-", "absent-"])).expect("few");
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("region", "south")]);
    }

    #[test]
    fn a_label_is_written_as_it_is_read() {
        for text in ["tier=gold", "tier-", "note=a=b c", "a.b_c=Zürich-"] {
            assert_eq!(changes(&[text]).first().map(LabelChange::to_string).as_deref(), Some(text));
        }
    }

    #[test]
    fn what_is_no_label_is_refused() {
        let long = format!("a={}", "x".repeat(65));
        for text in ["", "tier", "=gold", "-", "Tier=gold", "tier=", "tier= ", "a-=b", "a=b\n", "a=\u{202e}b", &long] {
            assert!(text.parse::<LabelChange>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn more_than_sixteen_labels_are_refused() {
        let many: Vec<LabelChange> = (0..17).map(|number| format!("k{number}=v").parse().expect("a label")).collect();
        let (last, sixteen) = many.split_last().expect("some");
        let labels = Labels::default().changed(sixteen).expect("sixteen");
        assert_eq!(labels.changed(std::slice::from_ref(last)), Err(LabelError::TooMany));
    }
}
