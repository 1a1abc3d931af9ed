//! Versions of the policies that were in force: what they changed, their texts, and the way back to them.

use std::collections::BTreeMap;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::policies::{address, numbered};
use super::ui::{Block, Cell, Link, Page, Tone};
use super::{Asked, Shared, draft_findings, drafts, items, refusal, status_of, text, when};
use crate::control::{Command, ControlError, InForce, policies_of};
use crate::policy::PolicyFile;
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// Characters of a hash that are shown in a list.
const SHORT: usize = 12;

fn short(hash: &str) -> String {
    hash.chars().take(SHORT).collect()
}

pub(super) async fn list(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match super::form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let command = Command::PolicyVersions { before: asked.maybe("before"), last: None };
    let (status, blocks) = match portal.run(&session, command).await {
        Err(error) => (status_of(&error), vec![refusal(&error)]),
        Ok(answer) => (StatusCode::OK, listed(&answer)),
    };
    portal.page(&session, "Versions of the policies", "/policies", blocks).answer(status)
}

fn listed(answer: &Value) -> Vec<Block> {
    let row = |version: &Value| {
        let hash = text(version, "hash");
        let in_force = text(version, "in_force") == "true";
        let now =
            if in_force { format!("in force, generation {}", text(version, "generation")) } else { String::new() };
        let changed = match version.get("changed") {
            None | Some(Value::Null) => "the first one".to_owned(),
            Some(changed) => items(changed).iter().map(super::plain).collect::<Vec<_>>().join(", "),
        };
        vec![
            Cell::text(when(version, "first_used_at")),
            Cell::link(short(&hash), format!("/policies/versions/{hash}")),
            Cell::toned(now, in_force.then_some(Tone::Good)),
            Cell::text(text(version, "files")),
            Cell::text(changed),
        ]
    };
    let about = "Every version is kept from the moment on which it first came into force; one that comes back keeps its \
        place. What changed (+ came, - went, ~ changed) is told against the one before it.";
    let columns = ["First in force", "Version", "Now", "Files", "Changed"].map(str::to_owned).into();
    let mut blocks = vec![
        Block::Text(about.to_owned()),
        Block::Table {
            caption: "Versions, newest first".into(),
            columns,
            rows: items(answer.get("items").unwrap_or_default()).iter().map(row).collect(),
            empty: "There is no older version.".into(),
        },
    ];
    let next = text(answer, "next");
    if !next.is_empty() {
        let href = address("/policies/versions", &[("before", &next)]);
        blocks.push(Block::Links(vec![Link { href, text: "Older versions".into(), here: false }]));
    }
    blocks
}

pub(super) async fn show(State(portal): Shared, Path(hash): Path<String>, request: Request) -> Response {
    let (asked, session) = match super::form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match shown(&portal, &session, &hash, &asked).await {
        Ok(page) => page.answer(StatusCode::OK),
        Err(error) => portal.page(&session, "Version", "/policies", vec![refusal(&error)]).answer(status_of(&error)),
    }
}

async fn shown(portal: &Portal, session: &Session, hash: &str, asked: &Asked) -> Result<Page, ControlError> {
    let answer = portal.run(session, Command::PolicySnapshot { hash: hash.to_owned() }).await?;
    let files: Vec<(String, String)> = serde_json::from_value(answer).map_err(ControlError::failed)?;
    let title = format!("Version {}", short(hash));
    if let Some(wanted) = asked.maybe("file") {
        let text = files.iter().find(|(path, _)| *path == wanted).map(|(_, text)| text);
        let text = text.ok_or_else(|| ControlError::not_found(format!("that version has no file `{wanted}`")))?;
        let mut links = vec![Link { href: format!("/policies/versions/{hash}"), text: title.clone(), here: false }];
        if wanted.parse::<PolicyFile>().is_ok() {
            links.push(as_draft(hash, &wanted));
        }
        let blocks = vec![Block::Links(links), numbered(text)];
        return Ok(portal.page(session, &format!("{wanted} in version {}", short(hash)), "/policies", blocks));
    }
    let in_force = drafts::in_force(portal, session).await?;
    let mut blocks = vec![Block::Facts(vec![("Hash of all texts".to_owned(), hash.to_owned())])];
    if in_force.hash == hash {
        blocks.push(Block::Notice(Tone::Good, "This is what is in force.".to_owned()));
    }
    blocks.push(table(&in_force, &files, hash));
    if in_force.hash != hash {
        blocks.push(Block::Heading("What would change if it were in force again, as decisions".to_owned()));
        let compared = tokio::task::spawn_blocking(move || {
            draft_findings::difference(&in_force, &in_force.policies()?, &policies_of(&files)?)
        });
        blocks.push(compared.await.map_err(ControlError::failed)?.unwrap_or_else(|error| refusal(&error)));
    }
    Ok(portal.page(session, &title, "/policies", blocks))
}

fn as_draft(hash: &str, file: &str) -> Link {
    let href = address("/policies/draft", &[("file", file), ("version", hash)]);
    Link { href, text: "Use as draft".into(), here: false }
}

/// Each file of the version and of what is in force.
fn table(in_force: &InForce, files: &[(String, String)], hash: &str) -> Block {
    let now: BTreeMap<&String, &String> = in_force.files.iter().map(|(path, text)| (path, text)).collect();
    let then: BTreeMap<&String, &String> = files.iter().map(|(path, text)| (path, text)).collect();
    let page = format!("/policies/versions/{hash}");
    let draft = |path: &str, is_there: bool| {
        if path.parse::<PolicyFile>().is_err() {
            return Cell::text("");
        }
        if is_there {
            let link = as_draft(hash, path);
            return Cell::link(link.text, link.href);
        }
        Cell::link("Delete as draft", address("/policies/draft", &[("file", path), ("delete", "yes")]))
    };
    let there = then.iter().map(|(path, text)| {
        let (differs, told) = match now.get(path) {
            Some(now) if now == text => (false, "as in force"),
            Some(_) => (true, "another text is in force"),
            None => (true, "not in force"),
        };
        let told = Cell::toned(told, differs.then_some(Tone::Warn));
        let more = if differs { draft(path, true) } else { Cell::text("") };
        vec![Cell::link(path.as_str(), address(&page, &[("file", path)])), told, more]
    });
    let only_now = now.keys().filter(|path| !then.contains_key(*path)).map(|path| {
        let told = Cell::toned("in force, and not in this version", Some(Tone::Warn));
        vec![Cell::text(path.as_str()), told, draft(path, false)]
    });
    Block::Table {
        caption: "Files".into(),
        columns: ["File", "Beside what is in force", "Way back"].map(str::to_owned).into(),
        rows: there.chain(only_now).collect(),
        empty: "It has no file: nothing was allowed.".into(),
    }
}
