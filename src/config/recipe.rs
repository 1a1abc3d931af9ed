//! `session:` of an upstream: how to sign in and what to send along.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use serde_json::Value as Json;

use super::decode::{Section, Wrong};
use super::scalar;
use super::template::{self, BUILT_IN};
use super::texts::Place;
use super::tree::{Entry, Node, Value};
use super::upstream::{
    BodyTemplate, Extract, InjectedHeader, JsonTemplate, LostRule, Recipe, SignInStep, Success, Template,
};

/// Headers whose values are the connection's own business.
const NEVER_SET: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "content-type",
];

/// A text that somebody wrote as a template, and where.
struct Written {
    key: String,
    place: Place,
    template: Template,
}

/// A step, with the places of its templates.
struct WrittenStep {
    step: Option<SignInStep>,
    templates: Vec<Written>,
    extracts: Vec<String>,
}

pub(super) fn read(section: &Section<'_, '_>) -> Recipe {
    let mut known: Vec<String> = BUILT_IN.iter().map(ToString::to_string).collect();
    let steps = section.sections("steps", read_step);
    for (index, step) in steps.iter().enumerate() {
        let later: Vec<String> = steps.iter().skip(index).flat_map(|step| step.extracts.clone()).collect();
        check(section, &step.templates, &known, &later);
        for name in &step.extracts {
            if known.contains(name) {
                section.wrong("steps", Wrong::new(format!("extract `{name}`, which there is already")));
            }
            known.push(name.clone());
        }
    }
    let signs_in = !steps.is_empty();
    let mut templates = Vec::new();
    let inject = section.section("inject", |inject| read_headers(inject, &mut templates));
    check(section, &templates, &known, &[]);
    Recipe {
        steps: steps.into_iter().filter_map(|step| step.step).collect(),
        inject,
        lifetime: read_lifetime(section, signs_in),
        lost: section
            .section("lost", |lost| LostRule { status: statuses(lost, vec![StatusCode::UNAUTHORIZED], 300..=599) }),
        attempts_per_minute: section.whole("attempts_per_minute", 6, 1..=600),
    }
}

/// Sessions that are signed in live 50 minutes by default; secrets that are sent as they are do not end.
fn read_lifetime(section: &Section<'_, '_>, signs_in: bool) -> Option<Duration> {
    let default = signs_in.then_some(Duration::from_mins(50));
    let show = |lifetime: &Option<Duration>| lifetime.map_or("until_lost".to_owned(), scalar::show_duration);
    section.value("lifetime", default, show, |node| match scalar::duration(node) {
        Ok(lifetime) if lifetime < Duration::from_secs(1) => Err(Wrong::new("is shorter than 1s")),
        Ok(lifetime) => Ok(Some(lifetime)),
        Err(_) if matches!(&node.value, Value::Text(text) if text == "until_lost") => Ok(None),
        Err(wrong) => Err(wrong.with_help("write for example `50m`, or `until_lost`")),
    })
}

fn check(section: &Section<'_, '_>, templates: &[Written], known: &[String], later: &[String]) {
    for written in templates {
        if let Err(wrong) = template::check_variables(&written.template, known, later) {
            section.wrong_key(&written.key, written.place, wrong);
        }
    }
}

fn read_step(section: &Section<'_, '_>) -> WrittenStep {
    let mut templates = Vec::new();
    let method = section.value("method", Method::POST, Method::to_string, method);
    let path = section.required("path", |path: &String| path.clone(), path);
    let headers = read_headers(section, &mut templates);
    let body = match section.ask("json") {
        None => BodyTemplate::None,
        Some(entry) => {
            section.note("json", &show_json(&entry.node), Some(entry.node.place));
            BodyTemplate::Json(read_json(section, &entry.node, &mut templates))
        }
    };
    let success = section.section("success", |success| Success {
        status: statuses(success, vec![StatusCode::OK], 200..=399),
        present: success.list("present", Vec::new(), |pointer| scalar::quoted(pointer), pointer),
        absent: success.list("absent", Vec::new(), |pointer| scalar::quoted(pointer), pointer),
    });
    let extract = section.section("extract", read_extract);
    let extracts = extract.iter().map(|extract| extract.variable.clone()).collect();
    let step = path.map(|path| SignInStep { method, path, headers, body, success, extract });
    WrittenStep { step, templates, extracts }
}

fn method(node: &Node) -> Result<Method, Wrong> {
    match scalar::text(node)? {
        "GET" => Ok(Method::GET),
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        _ => Err(Wrong::new("is none of `GET`, `POST`, `PUT`")),
    }
}

fn path(node: &Node) -> Result<String, Wrong> {
    let text = scalar::text(node)?;
    if text.contains("{{") {
        // SECURITY: paths and queries reach the logs of every server on the way.
        return Err(Wrong::new("takes no variables")
            .with_help("a secret in a path ends up in logs: send it in the body or a header"));
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'"' | b'<' | b'>'));
    if plain && text.starts_with('/') && !text.starts_with("//") {
        return Ok(text.to_owned());
    }
    Err(Wrong::new("is not a path").with_help("begin with one `/`; write what is not plain ASCII as `%XX`"))
}

fn pointer(node: &Node) -> Result<String, Wrong> {
    let text = scalar::text(node)?;
    let escapes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
    if text.starts_with('/') && escapes {
        return Ok(text.to_owned());
    }
    Err(Wrong::new("is not a JSON pointer")
        .with_help("write for example `/result/0`; `~1` stands for `/` and `~0` for `~`"))
}

fn statuses(
    section: &Section<'_, '_>,
    default: Vec<StatusCode>,
    range: std::ops::RangeInclusive<u64>,
) -> Vec<StatusCode> {
    let statuses = section.list(
        "status",
        default,
        |status| status.as_u16().to_string(),
        |node| {
            let number = scalar::whole(node)?;
            let status = u16::try_from(number).ok().and_then(|number| StatusCode::from_u16(number).ok());
            status
                .filter(|_| range.contains(&number))
                .ok_or_else(|| Wrong::new(format!("is not a status from {} to {}", range.start(), range.end())))
        },
    );
    if statuses.is_empty() && !section.has_items("status") {
        section.wrong("status", Wrong::new("names no status"));
    }
    statuses
}

fn read_extract(section: &Section<'_, '_>) -> Vec<Extract> {
    let mut extracts = Vec::new();
    for entry in section.ask_all() {
        if !template::is_variable_name(&entry.key) {
            let wrong = Wrong::new("is not the name of a variable").with_help("names are made of a-z, 0-9 and _");
            section.wrong_at(&entry.key, entry.place, wrong);
        }
        match pointer(&entry.node) {
            Ok(pointer) => {
                section.note_plain(&entry.key, &pointer, entry.node.place);
                extracts.push(Extract { variable: entry.key.clone(), pointer });
            }
            Err(wrong) => section.wrong_at(&entry.key, entry.node.place, wrong),
        }
    }
    extracts
}

fn read_headers(section: &Section<'_, '_>, templates: &mut Vec<Written>) -> Vec<InjectedHeader> {
    section.section("headers", |headers| {
        let mut read = Vec::new();
        for entry in headers.ask_all() {
            match header(entry) {
                Ok((name, template)) => {
                    if read.iter().any(|earlier: &InjectedHeader| earlier.name == name) {
                        headers.wrong_at(&entry.key, entry.place, Wrong::new("is written twice"));
                    }
                    let text = scalar::text(&entry.node).unwrap_or_default();
                    headers.note(&entry.key, &scalar::quoted(text), Some(entry.node.place));
                    templates.push(Written {
                        key: headers.key(&entry.key),
                        place: entry.node.place,
                        template: template.clone(),
                    });
                    read.push(InjectedHeader { name, value: template });
                }
                Err((place, wrong)) => headers.wrong_at(&entry.key, place, wrong),
            }
        }
        read
    })
}

fn header(entry: &Entry) -> Result<(HeaderName, Template), (Place, Wrong)> {
    let name: HeaderName =
        entry.key.parse().map_err(|_| (entry.place, Wrong::new("is not the name of a header field")))?;
    if NEVER_SET.contains(&name.as_str()) {
        return Err((entry.place, Wrong::new("is set by the gateway itself and cannot be set here")));
    }
    let value = scalar::text(&entry.node).map_err(|wrong| (entry.node.place, wrong))?;
    if !value.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        return Err((entry.node.place, Wrong::new("is not printable ASCII on one line")));
    }
    let template = template::parse(value).map_err(|wrong| (entry.node.place, wrong))?;
    Ok((name, template))
}

fn read_json(section: &Section<'_, '_>, node: &Node, templates: &mut Vec<Written>) -> JsonTemplate {
    match &node.value {
        Value::Null => JsonTemplate::Plain(Json::Null),
        Value::Bool(value) => JsonTemplate::Plain(Json::Bool(*value)),
        Value::Number(number) => JsonTemplate::Plain(Json::Number(number.clone())),
        Value::Text(text) => match template::parse(text) {
            Ok(template) => {
                templates.push(Written { key: section.key("json"), place: node.place, template: template.clone() });
                JsonTemplate::Text(template)
            }
            Err(wrong) => {
                section.wrong_at("json", node.place, wrong);
                JsonTemplate::Plain(Json::Null)
            }
        },
        Value::List(items) => {
            JsonTemplate::List(items.iter().map(|item| read_json(section, item, templates)).collect())
        }
        Value::Map(entries) => {
            let member = |entry: &Entry| (entry.key.clone(), read_json(section, &entry.node, templates));
            JsonTemplate::Object(entries.iter().map(member).collect())
        }
    }
}

/// The JSON as written, with what looks like a secret hidden.
fn show_json(node: &Node) -> String {
    fn json(key: &str, node: &Node) -> Json {
        match &node.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(number) => Json::Number(number.clone()),
            Value::Text(text) => Json::String(super::mask::value_of(key, text)),
            Value::List(items) => items.iter().map(|item| json(key, item)).collect(),
            Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), json(&entry.key, &entry.node))).collect()
            }
        }
    }
    json("", node).to_string()
}
