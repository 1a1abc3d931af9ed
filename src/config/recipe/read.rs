//! `session:` of an upstream: how to sign in and what to send along.

use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use serde_json::Value as Json;

use super::super::decode::{Choice, Section, Wrong};
use super::super::scalar;
use super::super::template::{self, ACCOUNT, BUILT_IN};
use super::super::texts::Place;
use super::super::tree::{Entry, Node, Value};
use super::fields::{self, pointer, statuses};
use super::{
    BodyMatch, Extract, ExtractFrom, Injection, Lifetime, LifetimeSource, LostRule, Recipe, SecretsOf, SignInStep,
    Success, Template, body,
};
use crate::domain::UpstreamName;

/// A text that somebody wrote as a template, and where.
pub(super) struct Written {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) template: Template,
}

/// A step, with the places of its templates.
struct WrittenStep {
    step: Option<SignInStep>,
    templates: Vec<Written>,
    extracts: Vec<String>,
}

impl Choice for SecretsOf {
    const WORDS: &'static [(&'static str, Self)] =
        &[("upstream", Self::Upstream), ("account", Self::Account), ("account_or_upstream", Self::AccountOrUpstream)];
}

/// Reads a session; `upstreams` are the names of all upstreams as written.
pub(in super::super) fn read(section: &Section<'_, '_>, upstreams: &[&str]) -> Recipe {
    // Both were resolved before: what a recipe says stands in this section now.
    for name in ["recipe", "parameters"] {
        if let Some(entry) = section.ask(name) {
            section.note_plain(name, &show_plain(&entry.node), entry.node.place);
        }
    }
    let secrets = section.choice("sign_in_as", SecretsOf::Upstream);
    let account = || ACCOUNT.iter().map(ToString::to_string);
    let mut known: Vec<String> = BUILT_IN.iter().map(ToString::to_string).collect();
    if secrets == SecretsOf::Account {
        known.extend(account());
    }
    let steps = section.sections("steps", |step| read_step(step, upstreams));
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
    let logout = section.optional_section("logout", |logout| read_step(logout, upstreams));
    if let Some(logout) = &logout {
        check(section, &logout.templates, &known, &[]);
        if !logout.extracts.is_empty() {
            section.wrong("logout", Wrong::new("extracts something, and nothing comes after it"));
        }
    }
    let (mut templates, mut in_cookies) = (Vec::new(), Vec::new());
    let inject = section.section("inject", |inject| Injection {
        headers: fields::headers(inject, "headers", &mut templates),
        write_headers: fields::headers(inject, "write_headers", &mut templates),
        cookies: fields::cookies(inject, &mut in_cookies),
    });
    // One line of cookies is made for a session; only headers are made for each account that shares it.
    check(section, &in_cookies, &known, &[]);
    known.extend(account().filter(|_| secrets != SecretsOf::Account));
    check(section, &templates, &known, &[]);
    Recipe {
        secrets,
        steps: steps.into_iter().filter_map(|step| step.step).collect(),
        inject,
        lifetime: read_lifetime(section, signs_in),
        lost: read_lost_rules(section),
        logout: logout.and_then(|logout| logout.step),
        survives_restart: section.switch("survives_restart", true),
        secure_over_http: section.switch("secure_over_http", false),
        attempts_per_minute: section.whole("attempts_per_minute", 6, 1..=600),
    }
}

fn show_plain(node: &Node) -> String {
    match &node.value {
        Value::Map(entries) => {
            let shown: Vec<_> =
                entries.iter().map(|entry| format!("{}: {}", entry.key, show_plain(&entry.node))).collect();
            format!("{{ {} }}", shown.join(", "))
        }
        Value::Text(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::List(_) => String::new(),
    }
}

fn read_lifetime(section: &Section<'_, '_>, signs_in: bool) -> Lifetime {
    let entry = section.ask("lifetime");
    match entry {
        Some(entry) if matches!(entry.node.value, Value::Map(_)) => {
            section.section_of(entry, |lifetime| read_told_lifetime(lifetime, signs_in))
        }
        _ => {
            let fallback = fixed(section, "lifetime", signs_in);
            Lifetime { source: LifetimeSource::Recipe, fallback, skew: None, idle: false }
        }
    }
}

/// Sessions that are signed in live 50 minutes by default; secrets that are sent as they are do not end.
fn fixed(section: &Section<'_, '_>, name: &str, signs_in: bool) -> Option<Duration> {
    let default = signs_in.then_some(Duration::from_mins(50));
    let show = |lifetime: &Option<Duration>| lifetime.map_or("until_lost".to_owned(), scalar::show_duration);
    section.value(name, default, show, |node| match scalar::duration(node) {
        Ok(lifetime) if lifetime < Duration::from_secs(1) => Err(Wrong::new("is shorter than 1s")),
        Ok(lifetime) => Ok(Some(lifetime)),
        Err(_) if matches!(&node.value, Value::Text(text) if text == "until_lost") => Ok(None),
        Err(wrong) => Err(wrong.with_help("write for example `50m`, or `until_lost`")),
    })
}

fn read_told_lifetime(section: &Section<'_, '_>, signs_in: bool) -> Lifetime {
    let quoted = |text: &String| scalar::quoted(text);
    let seconds = section.optional("seconds", quoted, pointer).map(LifetimeSource::Seconds);
    let minutes = section.optional("minutes", quoted, pointer).map(LifetimeSource::Minutes);
    let cookie = section.optional("cookie", quoted, cookie_name).map(LifetimeSource::Cookie);
    let mut sources = [seconds, minutes, cookie].into_iter().flatten();
    let source = sources.next().unwrap_or(LifetimeSource::Recipe);
    if sources.next().is_some() {
        section.wrong(
            "cookie",
            Wrong::new("stands beside another source").with_help("keep one of `seconds`, `minutes`, `cookie`"),
        );
    }
    let zero_to_an_hour = Duration::ZERO..=Duration::from_hours(1);
    let skew = section.ask("skew").is_some();
    Lifetime {
        fallback: fixed(section, if source == LifetimeSource::Recipe { "fixed" } else { "fallback" }, signs_in),
        source,
        skew: skew.then(|| section.duration("skew", Duration::from_secs(10), zero_to_an_hour)),
        idle: section.switch("idle", false),
    }
}

/// One rule, or a list of them.
fn read_lost_rules(section: &Section<'_, '_>) -> Vec<LostRule> {
    let is_list = section.ask("lost").is_some_and(|entry| matches!(entry.node.value, Value::List(_)));
    if is_list { section.sections("lost", read_lost) } else { vec![section.section("lost", read_lost)] }
}

fn read_lost(section: &Section<'_, '_>) -> LostRule {
    let rule = read_lost_rule(section);
    if rule.body.is_none() && rule.headers.is_empty() && rule.status.iter().any(StatusCode::is_success) {
        let help = "add `header` or `body`: otherwise each answer of that status would end the session";
        section.wrong("status", Wrong::new("names a status of success").with_help(help));
    }
    rule
}

fn read_lost_rule(section: &Section<'_, '_>) -> LostRule {
    LostRule {
        status: statuses(section, vec![StatusCode::UNAUTHORIZED], 200..=599),
        headers: section.section("header", |header| {
            let read = |entry: &Entry| -> Result<(HeaderName, String), Wrong> {
                let name = entry.key.parse().map_err(|_| Wrong::new("is not the name of a header field"))?;
                Ok((name, scalar::text(&entry.node)?.to_owned()))
            };
            let mut headers = Vec::new();
            for entry in header.ask_all() {
                match read(entry) {
                    Ok(read) => {
                        header.note_plain(&entry.key, &read.1, entry.node.place);
                        headers.push(read);
                    }
                    Err(wrong) => header.wrong_at(&entry.key, entry.place, wrong),
                }
            }
            headers
        }),
        body: section.optional_section("body", read_body_match).flatten(),
    }
}

pub(in super::super) fn read_body_match(section: &Section<'_, '_>) -> Option<BodyMatch> {
    let pointer = section.required("pointer", |text: &String| scalar::quoted(text), pointer);
    let equals = section.list("equals", Vec::new(), Json::to_string, |node| match &node.value {
        Value::Bool(value) => Ok(Json::Bool(*value)),
        Value::Number(number) => Ok(Json::Number(number.clone())),
        Value::Text(text) => Ok(Json::String(text.clone())),
        Value::Null | Value::List(_) | Value::Map(_) => {
            Err(Wrong::new("is neither text nor number, nor true or false"))
        }
    });
    Some(BodyMatch { pointer: pointer?, equals })
}

fn check(section: &Section<'_, '_>, templates: &[Written], known: &[String], later: &[String]) {
    for written in templates {
        if let Err(wrong) = template::check_variables(&written.template, known, later) {
            section.wrong_key(&written.key, written.place, wrong);
        }
    }
}

fn read_step(section: &Section<'_, '_>, upstreams: &[&str]) -> WrittenStep {
    let mut templates = Vec::new();
    let at = section.optional("at", UpstreamName::to_string, |node| {
        let name = scalar::text(node)?;
        let known = upstreams.contains(&name).then(|| name.parse().ok()).flatten();
        known.ok_or_else(|| Wrong::new("names no upstream").with_help(format!("there are: {}", upstreams.join(", "))))
    });
    let method = section.value("method", Method::POST, Method::to_string, fields::method);
    let path = section.required("path", |path: &String| path.clone(), fields::path);
    let headers = fields::headers(section, "headers", &mut templates);
    let cookies = fields::cookies(section, &mut templates);
    let body = body::read(section, &mut templates);
    let success = section.section("success", |success| Success {
        status: statuses(success, vec![StatusCode::OK], 200..=399),
        present: success.list("present", Vec::new(), |pointer| scalar::quoted(pointer), pointer),
        absent: success.list("absent", Vec::new(), |pointer| scalar::quoted(pointer), pointer),
    });
    let extract = section.section("extract", read_extract);
    let extracts = extract.iter().map(|extract| extract.variable.clone()).collect();
    let step = path.map(|path| SignInStep { at, method, path, headers, cookies, body, success, extract });
    WrittenStep { step, templates, extracts }
}

fn read_extract(section: &Section<'_, '_>) -> Vec<Extract> {
    let mut extracts = Vec::new();
    for entry in section.ask_all() {
        if !template::is_variable_name(&entry.key) {
            let wrong = Wrong::new("is not the name of a variable").with_help("names are made of a-z, 0-9 and _");
            section.wrong_at(&entry.key, entry.place, wrong);
        }
        let variable = entry.key.clone();
        if matches!(entry.node.value, Value::Map(_)) {
            let read = section.section_of(entry, |extract| read_extract_from(extract, variable));
            extracts.extend(read);
            continue;
        }
        match pointer(&entry.node) {
            Ok(pointer) => {
                section.note_plain(&entry.key, &pointer, entry.node.place);
                extracts.push(Extract { variable, from: ExtractFrom::Pointer(pointer), optional: false });
            }
            Err(wrong) => section.wrong_at(&entry.key, entry.node.place, wrong),
        }
    }
    extracts
}

fn read_extract_from(section: &Section<'_, '_>, variable: String) -> Option<Extract> {
    let from_pointer = section.optional("pointer", |text: &String| scalar::quoted(text), pointer);
    let from_header = section.optional("header", HeaderName::to_string, |node| {
        scalar::text(node)?.parse::<HeaderName>().map_err(|_| Wrong::new("is not the name of a header field"))
    });
    let from_cookie = section.optional("cookie", |text: &String| scalar::quoted(text), cookie_name);
    let optional = section.switch("optional", false);
    let mut sources = [
        from_pointer.map(ExtractFrom::Pointer),
        from_header.map(ExtractFrom::Header),
        from_cookie.map(ExtractFrom::Cookie),
    ]
    .into_iter()
    .flatten();
    let from = sources.next();
    if from.is_none() && !["pointer", "header", "cookie"].iter().any(|name| section.has_items(name)) {
        let help = "write a JSON pointer, `{ header: NAME }` or `{ cookie: NAME }`";
        section.wrong("pointer", Wrong::new("is missing").with_help(help));
    }
    if sources.next().is_some() {
        section.wrong(
            "cookie",
            Wrong::new("stands beside another source").with_help("keep one of `pointer`, `header`, `cookie`"),
        );
    }
    Some(Extract { variable, from: from?, optional })
}

fn cookie_name(node: &Node) -> Result<String, Wrong> {
    let name = scalar::text(node)?;
    fields::cookie_name(name).map(|()| name.to_owned())
}
