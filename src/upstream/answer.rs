//! The answer to a step, read as far as the recipe asks: JSON, headers, cookies.

use std::cell::OnceCell;
use std::time::Duration;

use cookie::Cookie;
use http::{HeaderName, StatusCode, header};
use serde_json::Value;

use super::error::Refusal;
use super::transport::{MAX_ANSWER, SignInAnswer};

/// The answer to a step.
pub(super) struct Answer<'a> {
    answer: &'a SignInAnswer,
    json: OnceCell<Option<Value>>,
}

/// A cookie that an answer sets.
pub(super) struct SetCookie {
    pub(super) value: String,
    pub(super) max_age: Option<Duration>,
    pub(super) secure: bool,
}

impl<'a> Answer<'a> {
    pub(super) fn of(answer: &'a SignInAnswer) -> Result<Self, Refusal> {
        if answer.body.len() > MAX_ANSWER { Err(Refusal::TooLarge) } else { Ok(Self { answer, json: OnceCell::new() }) }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.answer.status
    }

    /// The body as JSON, read when it is first asked for.
    pub(super) fn json(&self) -> Result<&Value, Refusal> {
        // The error of the parser may quote the answer, so it is left out.
        let read = self.json.get_or_init(|| serde_json::from_slice(&self.answer.body).ok());
        read.as_ref().ok_or(Refusal::NotJson)
    }

    /// A header; it must occur once, or which one counts is anybody's guess.
    pub(super) fn header(&self, name: &HeaderName) -> Result<Option<String>, Refusal> {
        let mut values = self.answer.headers.get_all(name).iter();
        let Some(value) = values.next() else { return Ok(None) };
        let text = value.to_str().ok().filter(|text| !text.is_empty() && values.next().is_none());
        text.map(|text| Some(text.to_owned())).ok_or_else(|| Refusal::NoHeader(name.clone()))
    }

    /// The cookie set last under this name; one that the answer takes back is not there.
    pub(super) fn cookie(&self, name: &str) -> Option<SetCookie> {
        let lines = self.answer.headers.get_all(header::SET_COOKIE).iter().rev();
        let mut cookies = lines.filter_map(|line| Cookie::parse(line.to_str().ok()?.to_owned()).ok());
        let cookie = cookies.find(|cookie| cookie.name() == name)?;
        let max_age = cookie.max_age().map(|age| u64::try_from(age.whole_seconds()).unwrap_or(0));
        let (value, secure) = (cookie.value().to_owned(), cookie.secure() == Some(true));
        let set = !value.is_empty() && max_age != Some(0);
        set.then_some(SetCookie { value, max_age: max_age.map(Duration::from_secs), secure })
    }
}
