//! From a request to the command that it asks for, and back: for those who speak to the API.

use std::fmt;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::super::operation::{Operation, Verb};
use super::super::{Command, ControlError, Result};
use super::answers::{Answer, Shape};
use super::members::{Member, members_of};

/// A command as it travels.
#[derive(Debug)]
pub struct Wire {
    /// The method.
    pub method: Verb,
    /// Path and query.
    pub target: String,
    /// The body, where there is one; JSON.
    pub body: Option<Value>,
    /// What comes back.
    pub answer: Listing,
}

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// One value, as it is.
    None,
    /// One page in `items`; who asked said how much is wanted.
    Page,
    /// Pages in `items`, each with where the next one begins.
    Pages,
}

/// What a path segment or a query value may hold as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b':');

impl Wire {
    /// How this command travels; `None` where the table has no route for it.
    #[must_use]
    pub fn of(command: &Command) -> Option<Self> {
        let operation = Operation::of(command)?;
        let Ok(Value::Object(mut members)) = serde_json::to_value(command) else { return None };
        let answer = match Answer::of(operation).shape {
            Shape::One | Shape::Whole => Listing::None,
            Shape::Newest => Listing::Page,
            Shape::Pages(_) => Listing::Pages,
        };
        members.remove("operation");
        members.retain(|_, member| !member.is_null());
        let mut target = String::new();
        for segment in operation.path.split('/').skip(1) {
            target.push('/');
            match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                None => target.push_str(segment),
                Some(name) => target.push_str(&escaped(&members.remove(name)?)),
            }
        }
        if operation.method == Verb::Post || operation.method == Verb::Put {
            return Some(Self { method: operation.method, target, body: Some(Value::Object(members)), answer });
        }
        for (number, (name, member)) in members.iter().enumerate() {
            target.push(if number == 0 { '?' } else { '&' });
            target.push_str(name);
            target.push('=');
            target.push_str(&escaped(member));
        }
        Some(Self { method: operation.method, target, body: None, answer })
    }

    /// The target of the page that begins after this place, or of the first; the pages are as large as they may be.
    #[must_use]
    pub fn page(&self, after: Option<&str>) -> String {
        let sign = if self.target.contains('?') { '&' } else { '?' };
        let first = format!("{}{sign}limit={}", self.target, super::pages::MOST);
        match after {
            Some(place) => format!("{first}&after={}", utf8_percent_encode(place, PLAIN)),
            None => first,
        }
    }
}

fn escaped(member: &Value) -> String {
    let text = member.as_str().map_or_else(|| member.to_string(), ToOwned::to_owned);
    utf8_percent_encode(&text, PLAIN).to_string()
}

/// The parts of a request that say what is asked for.
#[derive(Debug)]
pub(super) struct Parts<'a> {
    pub(super) path: Vec<(String, String)>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: &'a [u8],
}

/// The command that a request for this operation asks for.
///
/// # Errors
/// When something in it is unknown, missing, said twice or of the wrong kind.
pub(super) fn command(operation: &Operation, parts: Parts<'_>) -> Result<Command> {
    let members = members_of(operation);
    let known = |name: &str| members.iter().find(|member| member.name == name);
    let mut given = Map::new();
    let mut put = |name: String, value: Value| match given.insert(name.clone(), value) {
        None => Ok(()),
        Some(_) => Err(ControlError::invalid(format!("`{name}` is said twice"))),
    };
    for (name, text) in parts.path {
        put(name, Value::String(text))?;
    }
    let takes_query = matches!(operation.method, Verb::Get | Verb::Delete);
    for (name, text) in parts.query {
        let member = known(&name).filter(|_| takes_query).ok_or_else(|| unknown(&name, members))?;
        let value = if member.is_plain() { plain(&name, &text)? } else { Value::String(text) };
        put(name, value)?;
    }
    for (name, value) in object(parts.body)? {
        if known(&name).is_none() || takes_query {
            return Err(unknown(&name, members));
        }
        put(name, value)?;
    }
    if let Some(missing) = members.iter().find(|member| member.required && !given.contains_key(&member.name)) {
        return Err(ControlError::invalid(format!("`{}` is missing", missing.name)));
    }
    given.insert("operation".to_owned(), operation.name.into());
    serde_json::from_value(Value::Object(given)).map_err(|error| ControlError::invalid(error.to_string()))
}

fn unknown(name: &str, members: &[Member]) -> ControlError {
    let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
    let hint = crate::policy::yaml::suggestion(name, &names);
    let name: String = name.chars().take(64).flat_map(char::escape_debug).collect();
    ControlError::invalid(format!("`{name}` means nothing here{hint}"))
}

/// A number or truth value in a query.
fn plain(name: &str, text: &str) -> Result<Value> {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value),
        Ok(Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_)) | Err(_) => {
            Err(ControlError::invalid(format!("`{name}` must be a number, `true` or `false`")))
        }
    }
}

fn object(body: &[u8]) -> Result<Map<String, Value>> {
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice::<Once>(body) {
        Ok(Once(members)) => Ok(members),
        // The parser's message may quote the body, which may hold a secret.
        Err(error) => Err(ControlError::incomplete(format!(
            "the body must be one JSON object with each member once; it is not at line {}, column {}",
            error.line(),
            error.column()
        ))),
    }
}

/// An object in which no member is said twice.
struct Once(Map<String, Value>);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Once;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Once, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a member is said twice"));
                    }
                }
                Ok(Once(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{AuditQuery, Command};

    fn asked(name: &str, path: &[(&str, &str)], query: &[(&str, &str)], body: &str) -> Result<Command> {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let operation = Operation::named(name).expect("an operation");
        command(operation, Parts { path: owned(path), query: owned(query), body: body.as_bytes() })
    }

    #[test]
    fn a_command_survives_its_way() {
        let query =
            AuditQuery {
                last: 5, text: Some("a b&c=d/é".into()), upstream_status: Some(502), ..AuditQuery::default()
            };
        let wire = Wire::of(&Command::AuditSearch(Box::new(query))).expect("a route");
        let (path, query) = wire.target.split_once('?').expect("a query");
        assert_eq!((path, wire.body), ("/v1/audit", None));
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let again = command(
            Operation::named("audit-search").expect("there"),
            Parts { path: Vec::new(), query: pairs, body: b"" },
        );
        let Ok(Command::AuditSearch(found)) = again else { panic!("{again:?}") };
        assert_eq!((found.last, found.upstream_status), (5, Some(502)));
        assert_eq!(found.text.as_deref(), Some("a b&c=d/é"));
    }

    #[test]
    fn a_scope_stands_in_a_path() {
        let scope = "account:acme".parse().expect("a scope");
        let wire = Wire::of(&Command::KillRelease { scope, reason: "over".into() }).expect("a route");
        assert_eq!(wire.target, "/v1/kill-switches/account:acme/release");
        assert_eq!(wire.body, Some(serde_json::json!({ "reason": "over" })));
    }

    #[test]
    fn what_means_nothing_is_missing_or_said_twice_is_refused() {
        let cases = [
            (asked("account-list", &[], &[("limti", "1")], ""), "`limti` means nothing here"),
            (asked("account-create", &[], &[], r#"{"labels":[]}"#), "`name` is missing"),
            (asked("account-create", &[], &[], r#"{"name":"a","name":"b"}"#), "each member once"),
            (asked("account-create", &[], &[], r#"{"name":"a","nmae":"b"}"#), "did you mean `name`"),
            (asked("account-create", &[], &[("name", "a")], ""), "`name` means nothing here"),
            (asked("account-suspend", &[("name", "a")], &[], r#"{"name":"b","reason":"x"}"#), "`name` is said twice"),
            (asked("audit-search", &[], &[("last", "many")], ""), "`last` must be a number"),
            (asked("account-create", &[], &[], "[]"), "one JSON object"),
            (asked("account-create", &[], &[], r#"{"name":"Not a name"}"#), "is not a"),
        ];
        for (result, expected) in cases {
            let error = result.expect_err(expected);
            assert!(error.message.contains(expected), "{}", error.message);
        }
    }

    #[test]
    fn a_secret_in_a_broken_body_is_not_repeated() {
        let body = r#"{"password":"hunter2-hunter2" oops"#;
        let error = asked("upstream-secret-set", &[("upstream", "erp")], &[], body).expect_err("broken");
        assert!(!error.message.contains("hunter2"), "{}", error.message);
    }
}
