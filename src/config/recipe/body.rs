//! Bodies of sign-in requests: JSON and forms whose texts are templates.

use serde_json::Value as Json;

use super::super::decode::{Section, Wrong};
use super::super::mask;
use super::super::scalar;
use super::super::template;
use super::super::tree::{Entry, Node, Value};
use super::read::Written;
use super::{BodyTemplate, JsonTemplate, Template};

pub(super) fn read(section: &Section<'_, '_>, templates: &mut Vec<Written>) -> BodyTemplate {
    let (json, form) = (section.ask("json"), section.ask("form"));
    if json.is_some() && form.is_some() {
        section.wrong("form", Wrong::new("stands beside `json`").with_help("a request has one body: keep one of them"));
    }
    match (json, form) {
        (Some(entry), _) => {
            section.note("json", &show_json(&entry.node), Some(entry.node.place));
            BodyTemplate::Json(read_json(section, &entry.node, templates))
        }
        (None, Some(entry)) => section.section_of(entry, |form| read_form(form, templates)),
        (None, None) => BodyTemplate::None,
    }
}

fn read_form(form: &Section<'_, '_>, templates: &mut Vec<Written>) -> BodyTemplate {
    let field = |entry: &Entry| -> Result<(String, Template), Wrong> {
        // An empty text is a field that is left out, as a parameter without value makes it.
        let is_empty = matches!(&entry.node.value, Value::Text(text) if text.is_empty());
        let text = if is_empty { "" } else { scalar::text(&entry.node)? };
        let template = template::parse(text)?;
        form.note(&entry.key, &scalar::quoted(text), Some(entry.node.place));
        Ok((entry.key.clone(), template))
    };
    let mut fields = Vec::new();
    for entry in form.ask_all() {
        match field(entry) {
            Ok((name, template)) => {
                templates.push(Written {
                    key: form.key(&entry.key),
                    place: entry.node.place,
                    template: template.clone(),
                });
                fields.push((name, template));
            }
            Err(wrong) => form.wrong_at(&entry.key, entry.node.place, wrong),
        }
    }
    BodyTemplate::Form(fields)
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
            Value::Text(text) => Json::String(mask::value_of(key, text)),
            Value::List(items) => items.iter().map(|item| json(key, item)).collect(),
            Value::Map(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), json(&entry.key, &entry.node))).collect()
            }
        }
    }
    json("", node).to_string()
}
