//! Texts, headers and JSON bodies made from templates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, header};
use serde::ser::{Error as _, Serialize, Serializer};
use zeroize::Zeroizing;

use super::error::{SessionError, UnusableRecipe};
use super::variables::Variables;
use crate::config::{BodyTemplate, InjectedCookie, InjectedHeader, JsonTemplate, Piece, Recipe, SignInStep, Template};
use crate::domain::Secret;

/// The text with its variables filled in.
pub(super) fn text(pieces: &[Piece], variables: &Variables) -> Result<Zeroizing<String>, SessionError> {
    let mut filled = Zeroizing::new(String::new());
    for piece in pieces {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Variable(name) => filled.push_str(variables.get(name)?.expose()),
            Piece::Base64(inner) => STANDARD.encode_string(text(inner, variables)?.as_bytes(), &mut filled),
            Piece::UrlEncode(inner) => {
                filled.extend(form_urlencoded::byte_serialize(text(inner, variables)?.as_bytes()));
            }
        }
    }
    Ok(filled)
}

/// The header with its variables filled in; nothing where it comes out empty. The value is marked sensitive.
pub(super) fn header(
    injected: &InjectedHeader,
    variables: &Variables,
) -> Result<Option<(HeaderName, HeaderValue)>, SessionError> {
    let filled = text(&injected.value.pieces, variables)?;
    if filled.is_empty() {
        return Ok(None);
    }
    Ok(Some((injected.name.clone(), header_value(&injected.name, &filled)?)))
}

/// The `Cookie` header with all cookies that do not come out empty; nothing where there is none.
pub(super) fn cookies(
    cookies: &[InjectedCookie],
    variables: &Variables,
) -> Result<Option<(HeaderName, HeaderValue)>, SessionError> {
    let mut line = Zeroizing::new(String::new());
    for cookie in cookies {
        let value = text(&cookie.value.pieces, variables)?;
        // SECURITY: a semicolon would begin another cookie.
        if !value.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b';') {
            return Err(SessionError::Unusable { reason: UnusableRecipe::Cookie(cookie.name.clone()) });
        }
        if !value.is_empty() {
            let between = if line.is_empty() { "" } else { "; " };
            line.extend([between, &cookie.name, "=", &value]);
        }
    }
    if line.is_empty() { Ok(None) } else { Ok(Some((header::COOKIE, header_value(&header::COOKIE, &line)?))) }
}

fn header_value(name: &HeaderName, filled: &str) -> Result<HeaderValue, SessionError> {
    // SECURITY: a token with a line break in it would add headers of its own. Beyond ASCII, servers disagree on what they
    // read.
    let fits = Some(filled).filter(|text| text.is_ascii()).and_then(|text| HeaderValue::from_str(text).ok());
    let mut value = fits.ok_or_else(|| SessionError::Unusable { reason: UnusableRecipe::Header(name.clone()) })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The form with its variables filled in; fields that come out empty are left out.
pub(super) fn form(fields: &[(String, Template)], variables: &Variables) -> Result<Zeroizing<Vec<u8>>, SessionError> {
    let mut body = Zeroizing::new(String::with_capacity(1024));
    for (name, template) in fields {
        let value = text(&template.pieces, variables)?;
        if value.is_empty() {
            continue;
        }
        if !body.is_empty() {
            body.push('&');
        }
        body.extend(form_urlencoded::byte_serialize(name.as_bytes()));
        body.push('=');
        body.extend(form_urlencoded::byte_serialize(value.as_bytes()));
    }
    Ok(Zeroizing::new(body.as_bytes().to_vec()))
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

/// The values that appear on the wire because of secrets in `value`: the whole value and what the functions made.
pub(super) fn secrets_on_the_wire(value: &Template, variables: &Variables) -> Result<Vec<Secret>, SessionError> {
    let mut found = Vec::new();
    collect_secrets(&value.pieces, variables, &mut found)?;
    for piece in &value.pieces {
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
        Piece::Base64(inner) | Piece::UrlEncode(inner) => {
            collect_secrets(std::slice::from_ref(piece), variables, found)?;
            inner.iter().try_for_each(|piece| collect_encoded(piece, variables, found))
        }
    }
}

/// Whether the template speaks of the account on whose behalf a request is relayed.
pub(super) fn names_account(template: &Template) -> bool {
    let mut names = Vec::new();
    names_in(&template.pieces, &mut names);
    names.iter().any(|name| name.starts_with("account."))
}

/// The names of all variables that a recipe uses.
pub(super) fn names_in_recipe(recipe: &Recipe) -> Vec<&str> {
    let mut names = Vec::new();
    let inject = &recipe.inject;
    let headers = inject.headers.iter().chain(&inject.write_headers).map(|header| &header.value);
    for template in headers.chain(inject.cookies.iter().map(|cookie| &cookie.value)) {
        names_in(&template.pieces, &mut names);
    }
    recipe.steps.iter().for_each(|step| names_in_step(step, &mut names));
    names
}

fn names_in_step<'a>(step: &'a SignInStep, names: &mut Vec<&'a str>) {
    let headers = step.headers.iter().map(|header| &header.value);
    for template in headers.chain(step.cookies.iter().map(|cookie| &cookie.value)) {
        names_in(&template.pieces, names);
    }
    match &step.body {
        BodyTemplate::None => {}
        BodyTemplate::Json(template) => names_in_json(template, names),
        BodyTemplate::Form(fields) => fields.iter().for_each(|(_, value)| names_in(&value.pieces, names)),
    }
}

fn names_in<'a>(pieces: &'a [Piece], names: &mut Vec<&'a str>) {
    for piece in pieces {
        match piece {
            Piece::Text(_) => {}
            Piece::Variable(name) => names.push(name),
            Piece::Base64(inner) | Piece::UrlEncode(inner) => names_in(inner, names),
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
        let (_, value) = header(&basic(), &variables("open sesame")).expect("rendered").expect("a header");
        assert_eq!(value, "Basic YWRtaW46b3BlbiBzZXNhbWU=");
    }

    #[test]
    fn header_values_are_marked_sensitive() {
        let (_, value) = header(&basic(), &variables("open sesame")).expect("rendered").expect("a header");
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
        let found = secrets_on_the_wire(&basic().value, &variables("open sesame")).expect("rendered");
        let found: Vec<_> = found.iter().map(Secret::expose).collect();
        assert_eq!(found, ["Basic YWRtaW46b3BlbiBzZXNhbWU=", "YWRtaW46b3BlbiBzZXNhbWU="]);
    }

    #[test]
    fn user_name_alone_is_no_secret_on_the_wire() {
        let found =
            secrets_on_the_wire(&authorization(vec![variable("username")]).value, &variables("x")).expect("rendered");
        assert!(found.is_empty());
    }

    #[test]
    fn url_encoding_is_that_of_forms() {
        let encoded = text(&[Piece::UrlEncode(vec![variable("password")])], &variables("a b&c=é+/")).expect("a text");
        assert_eq!(*encoded, "a+b%26c%3D%C3%A9%2B%2F");
    }

    #[test]
    fn form_leaves_out_what_is_empty_and_encodes_the_rest() {
        let field = |name: &str, pieces| (name.to_owned(), Template { pieces });
        let fields = [
            field("grant_type", vec![Piece::Text("client_credentials".into())]),
            field("scope", vec![]),
            field("client_secret", vec![variable("password")]),
        ];
        let body = form(&fields, &variables("s&cret=1")).expect("a form");
        assert_eq!(&body[..], b"grant_type=client_credentials&client_secret=s%26cret%3D1");
    }

    #[test]
    fn cookies_make_one_header_without_the_empty_ones() {
        let cookie = |name: &str, pieces| InjectedCookie { name: name.into(), value: Template { pieces } };
        let list =
            [cookie("A", vec![variable("password")]), cookie("B", vec![]), cookie("C", vec![Piece::Text("3".into())])];
        let (name, value) = cookies(&list, &variables("one=1")).expect("rendered").expect("a header");
        assert_eq!((name, value.as_bytes()), (header::COOKIE, b"A=one=1; C=3".as_slice()));
        assert_eq!(
            cookies(&list, &variables("x; admin=1")).expect_err("refused"),
            SessionError::Unusable { reason: UnusableRecipe::Cookie("A".into()) }
        );
    }
}
