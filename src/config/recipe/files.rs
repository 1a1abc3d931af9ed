//! Recipes by name: those that come with the program, and files of the operator's. What a recipe says is put into the
//! session that names it, each line keeping its own place, so that a mistake is shown where it was written.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::decode::most_alike;
use super::super::problem::Problem;
use super::super::texts::{Place, TextKind, Texts};
use super::super::tree::{self, Entry, Node, Value};

/// The recipes that come with the program.
const READY_MADE: [(&str, &str); 11] = [
    ("api-key", include_str!("../../../conf/recipes/api-key.yaml")),
    ("basic", include_str!("../../../conf/recipes/basic.yaml")),
    ("bearer", include_str!("../../../conf/recipes/bearer.yaml")),
    ("erpnext", include_str!("../../../conf/recipes/erpnext.yaml")),
    ("oauth2-client-credentials", include_str!("../../../conf/recipes/oauth2-client-credentials.yaml")),
    ("oauth2-client-credentials-post", include_str!("../../../conf/recipes/oauth2-client-credentials-post.yaml")),
    ("odoo", include_str!("../../../conf/recipes/odoo.yaml")),
    ("sap-b1", include_str!("../../../conf/recipes/sap-b1.yaml")),
    ("sap-gateway", include_str!("../../../conf/recipes/sap-gateway.yaml")),
    ("tryton", include_str!("../../../conf/recipes/tryton.yaml")),
    ("tryton-cookie", include_str!("../../../conf/recipes/tryton-cookie.yaml")),
];

/// What describes a recipe and is not part of a session.
const ABOUT: [&str; 3] = ["version", "description", "parameters"];

/// Puts what recipes say into the sessions that name them. What a session says itself goes before its recipe.
pub(in super::super) fn resolve(root: &mut Node, folder: &Path, texts: &mut Texts, problems: &mut Vec<Problem>) {
    let Some(upstreams) = entry_mut(root, "upstreams") else { return };
    let Value::Map(upstreams) = &mut upstreams.node.value else { return };
    for upstream in upstreams {
        let Some(session) = entry_mut(&mut upstream.node, "session") else { continue };
        if let Value::Map(entries) = &mut session.node.value
            && let Some(added) = named_by(entries, folder, texts, problems)
        {
            entries.extend(added);
        }
    }
}

fn entry_mut<'n>(node: &'n mut Node, key: &str) -> Option<&'n mut Entry> {
    match &mut node.value {
        Value::Map(entries) => entries.iter_mut().find(|entry| entry.key == key),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => None,
    }
}

/// The entries of the recipe that a session names; nothing where it names none, or where that is wrong.
fn named_by(session: &[Entry], folder: &Path, texts: &mut Texts, problems: &mut Vec<Problem>) -> Option<Vec<Entry>> {
    let named = session.iter().find(|entry| entry.key == "recipe")?;
    let steps = session.iter().find(|entry| entry.key == "steps");
    if let Some(steps) = steps {
        let problem = Problem::new(texts, steps.place, "`steps` stands beside `recipe`");
        problems.push(problem.with_help("a recipe brings its own steps; to change them, copy the file"));
    }
    let (kind, text) = find(named, folder, texts).map_err(|problem| problems.push(problem)).ok()?;
    let source = texts.add(kind, text);
    let recipe = tree::parse(texts, source).map_err(|problem| problems.push(problem)).ok()?;
    let Value::Map(mut entries) = recipe.value else {
        problems.push(Problem::new(texts, recipe.place, "a recipe is a section of keys"));
        return None;
    };
    check_version(&entries, source, texts, problems);
    let declared = entries.iter().find(|entry| entry.key == "parameters").map(|entry| entry.node.clone());
    let given = session.iter().find(|entry| entry.key == "parameters");
    let values = parameters(declared.as_ref(), given, named, texts, problems);
    if let Some(declared) = &declared {
        tree::check_keys(declared, texts, problems);
    }
    entries.retain(|entry| !ABOUT.contains(&entry.key.as_str()) && !session.iter().any(|own| own.key == entry.key));
    for entry in &mut entries {
        fill(&mut entry.node, &values);
    }
    Some(entries)
}

/// The text of the recipe that `named` names.
fn find(named: &Entry, folder: &Path, texts: &Texts) -> Result<(TextKind, String), Problem> {
    let wrong = |message: String| Problem::new(texts, named.node.place, message);
    let Value::Text(name) = &named.node.value else {
        return Err(wrong(format!("`recipe` is not a name but {}", named.node.value.kind())));
    };
    if let Some((name, text)) = READY_MADE.iter().find(|(ready, _)| ready == name) {
        return Ok((TextKind::File(format!("recipe {name} (ready-made)")), (*text).to_owned()));
    }
    if name.contains('/') {
        let file = folder.join(name);
        let text = std::fs::read_to_string(&file)
            .map_err(|error| wrong(format!("the recipe `{}` cannot be read: {error}", file.display())))?;
        return Ok((TextKind::File(file.display().to_string()), text));
    }
    let ready_made = || READY_MADE.iter().map(|(name, _)| *name);
    let help = most_alike(name, ready_made()).map_or_else(
        || {
            format!(
                "ready-made: {}; a file is written with a `/`, as `./{name}.yaml`",
                ready_made().collect::<Vec<_>>().join(", ")
            )
        },
        |alike| format!("did you mean `{alike}`?"),
    );
    Err(wrong(format!("there is no ready-made recipe `{name}`")).with_help(help))
}

fn check_version(entries: &[Entry], source: usize, texts: &Texts, problems: &mut Vec<Problem>) {
    let version = entries.iter().find(|entry| entry.key == "version");
    let place = version.map_or(Place::start_of(source), |entry| entry.node.place);
    let is_one =
        version.is_some_and(|entry| matches!(&entry.node.value, Value::Number(number) if number.as_u64() == Some(1)));
    if !is_one {
        problems.push(Problem::new(texts, place, "a recipe begins with `version: 1`"));
    }
}

/// The value of each parameter: what the session gives, else the default.
fn parameters(
    declared: Option<&Node>,
    given: Option<&Entry>,
    named: &Entry,
    texts: &Texts,
    problems: &mut Vec<Problem>,
) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    let declared = declared.map(entries_of).unwrap_or_default();
    let given = given.map(|entry| entries_of(&entry.node)).unwrap_or_default();
    for parameter in given {
        if !declared.iter().any(|known| known.key == parameter.key) {
            let message = format!("the recipe has no parameter `{}`", parameter.key);
            let problem = Problem::new(texts, parameter.place, message);
            let known = || declared.iter().map(|known| known.key.as_str());
            let help = most_alike(&parameter.key, known()).map_or_else(
                || format!("it has: {}", known().collect::<Vec<_>>().join(", ")),
                |alike| format!("did you mean `{alike}`?"),
            );
            problems.push(if declared.is_empty() { problem } else { problem.with_help(help) });
            continue;
        }
        let value = plain(&parameter.node);
        if value.is_none() {
            let message = format!("the parameter `{}` is not a plain text", parameter.key);
            let help = "one line of ASCII without `{` and `}`";
            problems.push(Problem::new(texts, parameter.node.place, message).with_help(help));
        }
        values.insert(parameter.key.clone(), value.unwrap_or_default());
    }
    for parameter in declared {
        let member = |name: &str| entries_of(&parameter.node).iter().find(|entry| entry.key == name);
        if values.contains_key(&parameter.key) {
            continue;
        }
        if let Some(default) = member("default").and_then(|entry| plain(&entry.node)) {
            values.insert(parameter.key.clone(), default);
            continue;
        }
        let message = format!("the recipe needs the parameter `{}`", parameter.key);
        let about = member("description").and_then(|entry| plain(&entry.node)).unwrap_or_default();
        let help = format!("{about}: write `parameters: {{ {}: … }}` beside `recipe`", parameter.key);
        problems.push(Problem::new(texts, named.node.place, message).with_help(help));
        // A placeholder, so that the texts that use it are not reported as well.
        values.insert(parameter.key.clone(), parameter.key.clone());
    }
    values
}

fn entries_of(node: &Node) -> &[Entry] {
    match &node.value {
        Value::Map(entries) => entries,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => &[],
    }
}

fn plain(node: &Node) -> Option<String> {
    let text = match &node.value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Null => String::new(),
        Value::List(_) | Value::Map(_) => return None,
    };
    text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && !matches!(byte, b'{' | b'}')).then_some(text)
}

/// Puts the values where `{{name}}` stands, in keys and texts.
fn fill(node: &mut Node, values: &BTreeMap<String, String>) {
    match &mut node.value {
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
        Value::Text(text) => *text = filled(text, values),
        Value::List(items) => items.iter_mut().for_each(|item| fill(item, values)),
        Value::Map(entries) => {
            for entry in entries {
                entry.key = filled(&entry.key, values);
                fill(&mut entry.node, values);
            }
        }
    }
}

fn filled(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        let value = after.split_once("}}").and_then(|(name, after)| Some((values.get(name.trim_matches(' '))?, after)));
        if let Some((value, after)) = value {
            filled.push_str(value);
            rest = after;
        } else {
            filled.push_str("{{");
            rest = after;
        }
    }
    filled.push_str(rest);
    filled
}
