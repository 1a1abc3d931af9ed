//! Texts, headers and JSON bodies made from templates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use serde::ser::{Error as _, Serialize, Serializer};
use zeroize::Zeroizing;

use super::error::{SessionError, UnusableRecipe};
use super::variables::Variables;
use crate::config::{BodyTemplate, InjectedHeader, JsonTemplate, Piece, Recipe};
use crate::domain::Secret;

/// The text with its variables filled in.
pub(super) fn text(pieces: &[Piece], variables: &Variables) -> Result<Zeroizing<String>, SessionError> {
    let mut filled = Zeroizing::new(String::new());
    for piece in pieces {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Variable(name) => filled.push_str(variables.get(name)?.expose()),
            Piece::Base64(inner) => STANDARD.encode_string(text(inner, variables)?.as_bytes(), &mut filled),
        }
    }
    Ok(filled)
}

/// The header with its variables filled in; the value is marked sensitive.
pub(super) fn header(
    injected: &InjectedHeader,
    variables: &Variables,
) -> Result<(HeaderName, HeaderValue), SessionError> {
    let filled = text(&injected.value.pieces, variables)?;
    // SECURITY: a token with a line break in it would add headers of its own. Beyond ASCII, servers disagree on what they
    // read.
    let fits = Some(filled.as_str()).filter(|text| text.is_ascii()).and_then(|text| HeaderValue::from_str(text).ok());
    let mut value =
        fits.ok_or_else(|| SessionError::Unusable { reason: UnusableRecipe::Header(injected.name.clone()) })?;
    value.set_sensitive(true);
    Ok((injected.name.clone(), value))
}

/// The JSON with its variables filled in.
pub(super) fn json(template: &JsonTemplate, variables: &Variables) -> Result<Zeroizing<Vec<u8>>, SessionError> {
    let mut names = Vec::new();
    names_in_json(template, &mut names);
    names.into_iter().try_for_each(|name| variables.get(name).map(drop))?;

    let mut body = Zeroizing::new(Vec::with_capacity(1024));
    serde_json::to_writer(&mut *body, &Filled { template, variables })
        .map_err(|_| SessionError::Unusable { reason: UnusableRecipe::Body })?;
    Ok(body)
}

struct Filled<'a> {
    template: &'a JsonTemplate,
    variables: &'a Variables,
}

impl Serialize for Filled<'_> {
    // SECURITY: values become JSON strings here, so that a password with a quotation mark stays a password.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = |template| Filled { template, variables: self.variables };
        match self.template {
            JsonTemplate::Plain(value) => value.serialize(serializer),
            JsonTemplate::Text(template) => {
                serializer.serialize_str(&text(&template.pieces, self.variables).map_err(S::Error::custom)?)
            }
            JsonTemplate::List(items) => serializer.collect_seq(items.iter().map(inner)),
            JsonTemplate::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, inner(value))))
            }
        }
    }
}

/// The values that appear on the wire because of secrets in `injected`: the whole value and what `base64()` made.
pub(super) fn secrets_on_the_wire(
    injected: &InjectedHeader,
    variables: &Variables,
) -> Result<Vec<Secret>, SessionError> {
    let mut found = Vec::new();
    collect_secrets(&injected.value.pieces, variables, &mut found)?;
    for piece in &injected.value.pieces {
        collect_encoded(piece, variables, &mut found)?;
    }
    Ok(found)
}

fn collect_secrets(pieces: &[Piece], variables: &Variables, found: &mut Vec<Secret>) -> Result<(), SessionError> {
    let mut names = Vec::new();
    names_in(pieces, &mut names);
    if names.into_iter().any(|name| variables.is_secret(name)) {
        found.push(Secret::new(text(pieces, variables)?.to_string()));
    }
    Ok(())
}

fn collect_encoded(piece: &Piece, variables: &Variables, found: &mut Vec<Secret>) -> Result<(), SessionError> {
    match piece {
        Piece::Text(_) | Piece::Variable(_) => Ok(()),
        Piece::Base64(inner) => {
            collect_secrets(std::slice::from_ref(piece), variables, found)?;
            inner.iter().try_for_each(|piece| collect_encoded(piece, variables, found))
        }
    }
}

/// The names of all variables that a recipe uses.
pub(super) fn names_in_recipe(recipe: &Recipe) -> Vec<&str> {
    let mut names = Vec::new();
    for injected in recipe.inject.iter().chain(recipe.steps.iter().flat_map(|step| &step.headers)) {
        names_in(&injected.value.pieces, &mut names);
    }
    for step in &recipe.steps {
        match &step.body {
            BodyTemplate::None => {}
            BodyTemplate::Json(template) => names_in_json(template, &mut names),
        }
    }
    names
}

fn names_in<'a>(pieces: &'a [Piece], names: &mut Vec<&'a str>) {
    for piece in pieces {
        match piece {
            Piece::Text(_) => {}
            Piece::Variable(name) => names.push(name),
            Piece::Base64(inner) => names_in(inner, names),
        }
    }
}

fn names_in_json<'a>(template: &'a JsonTemplate, names: &mut Vec<&'a str>) {
    match template {
        JsonTemplate::Plain(_) => {}
        JsonTemplate::Text(text) => names_in(&text.pieces, names),
        JsonTemplate::List(items) => items.iter().for_each(|item| names_in_json(item, names)),
        JsonTemplate::Object(members) => members.iter().for_each(|(_, value)| names_in_json(value, names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Template;
    use crate::upstream::UpstreamSecrets;

    fn variables(password: &str) -> Variables {
        let secret = |text: &str| Some(Secret::new(text.into()));
        let secrets =
            UpstreamSecrets { username: secret("admin"), password: secret(password), api_key: None, version: 1 };
        Variables::of(&secrets)
    }

    fn variable(name: &str) -> Piece {
        Piece::Variable(name.into())
    }

    fn authorization(pieces: Vec<Piece>) -> InjectedHeader {
        InjectedHeader { name: http::header::AUTHORIZATION, value: Template { pieces } }
    }

    fn basic() -> InjectedHeader {
        let pair = vec![variable("username"), Piece::Text(":".into()), variable("password")];
        authorization(vec![Piece::Text("Basic ".into()), Piece::Base64(pair)])
    }

    #[test]
    fn base64_encodes_what_is_inside_it() {
        let (_, value) = header(&basic(), &variables("open sesame")).expect("a header");
        assert_eq!(value, "Basic YWRtaW46b3BlbiBzZXNhbWU=");
    }

    #[test]
    fn header_values_are_marked_sensitive() {
        let (_, value) = header(&basic(), &variables("open sesame")).expect("a header");
        assert!(value.is_sensitive());
    }

    #[test]
    fn line_break_in_a_value_is_an_error_and_adds_no_header() {
        for value in ["a\r\nx-admin: yes", "a\nb", "a\0b", "pässwort"] {
            let error = header(&authorization(vec![variable("password")]), &variables(value)).expect_err("refused");
            assert_eq!(
                error,
                SessionError::Unusable { reason: UnusableRecipe::Header(http::header::AUTHORIZATION) },
                "{value:?}"
            );
        }
    }

    #[test]
    fn quotation_marks_in_a_value_stay_inside_the_json_string() {
        let given = "\",\"admin\":true,\"x\":\"\\\u{1}é";
        let template = JsonTemplate::Object(vec![(
            "password".into(),
            JsonTemplate::Text(Template { pieces: vec![variable("password")] }),
        )]);
        let body = json(&template, &variables(given)).expect("a body");
        let read: serde_json::Value = serde_json::from_slice(&body).expect("valid JSON");
        assert_eq!(read, serde_json::json!({ "password": given }));
    }

    #[test]
    fn json_keeps_its_order_and_its_plain_values() {
        let template = JsonTemplate::Object(vec![
            ("z".into(), JsonTemplate::Plain(serde_json::json!(1))),
            ("a".into(), JsonTemplate::List(vec![JsonTemplate::Plain(serde_json::Value::Null)])),
        ]);
        let body = json(&template, &variables("x")).expect("a body");
        assert_eq!(&body[..], br#"{"z":1,"a":[null]}"#);
    }

    #[test]
    fn missing_secret_and_missing_variable_are_told_apart() {
        let nothing = Variables::of(&UpstreamSecrets::default());
        assert_eq!(
            text(&[variable("api_key")], &nothing).expect_err("not set"),
            SessionError::NoSecret { missing: "api_key".into() }
        );
        assert_eq!(
            text(&[variable("uid")], &nothing).expect_err("not extracted"),
            SessionError::Unusable { reason: UnusableRecipe::Variable("uid".into()) }
        );
    }

    #[test]
    fn encoded_password_counts_as_a_secret_on_the_wire() {
        let found = secrets_on_the_wire(&basic(), &variables("open sesame")).expect("rendered");
        let found: Vec<_> = found.iter().map(Secret::expose).collect();
        assert_eq!(found, ["Basic YWRtaW46b3BlbiBzZXNhbWU=", "YWRtaW46b3BlbiBzZXNhbWU="]);
    }

    #[test]
    fn user_name_alone_is_no_secret_on_the_wire() {
        let found = secrets_on_the_wire(&authorization(vec![variable("username")]), &variables("x")).expect("rendered");
        assert!(found.is_empty());
    }
}
