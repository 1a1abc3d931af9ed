//! Credential sets, found, sorted and in parts.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::ui::{Block, Cell, Field, Form, Head, Link, Listing, Tone};
use super::{Asked, Shared, form_of, items, parsed, refusal, status_of, text, when};
use crate::control::{Command, ControlError, SetOrder, SetQuery};
use crate::domain::Role;

/// Credential sets on a page.
pub(super) const ON_A_PAGE: usize = 100;

fn tone(set: &Value) -> Option<Tone> {
    match text(set, "state").as_str() {
        "active" => None,
        "disabled" => Some(Tone::Warn),
        _ => Some(Tone::Bad),
    }
}

fn row(set: &Value) -> Vec<Cell> {
    vec![
        Cell::link(text(set, "name"), format!("/credentials/{}", text(set, "id"))),
        Cell::text(text(set, "account")),
        Cell::text(text(set, "kind")),
        Cell::toned(text(set, "state"), tone(set)),
        Cell::text(text(set, "grants")),
        Cell::text(when(set, "last_used_at")),
        Cell::text(when(set, "expires_at")),
    ]
}

const EMPTY: &str = "There is no credential set yet. One is issued for each integration.";

/// A table of credential sets.
pub(super) fn table(caption: &str, sets: &Value) -> Block {
    Block::Table {
        caption: caption.to_owned(),
        columns: ["Name", "Account", "Kind", "State", "Grants", "Last token", "Ends"].map(str::to_owned).into(),
        rows: items(sets).iter().map(row).collect(),
        empty: EMPTY.into(),
    }
}

/// The columns, and the order that each stands for.
const COLUMNS: [(&str, Option<SetOrder>); 7] = [
    ("Name", Some(SetOrder::Name)),
    ("Account", Some(SetOrder::Account)),
    ("Kind", None),
    ("State", Some(SetOrder::State)),
    ("Grants", None),
    ("Last token", Some(SetOrder::LastUsedAt)),
    ("Ends", Some(SetOrder::ExpiresAt)),
];

/// The address of the page that shows these sets.
pub(super) fn address(query: &SetQuery) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            pairs.append_pair(name, &value);
        }
    };
    put("text", query.text.clone());
    put("account", query.account.as_ref().map(ToString::to_string));
    put("state", query.state.map(|state| <&str>::from(state).to_owned()));
    put("ending_within_days", query.ending_within_days.map(|days| days.to_string()));
    put("unused_for_days", query.unused_for_days.map(|days| days.to_string()));
    put("sort", query.sort.map(|sort| <&str>::from(sort).to_owned()));
    put("descending", query.descending.then(|| "true".to_owned()));
    put("offset", (query.offset > 0).then(|| query.offset.to_string()));
    format!("/credentials?{}", pairs.finish())
}

/// The sets that the address of the page asks for.
fn asked_for(asked: &Asked) -> Result<SetQuery, ControlError> {
    fn named<T: std::str::FromStr<Err: std::fmt::Display>>(
        asked: &Asked,
        name: &str,
    ) -> Result<Option<T>, ControlError> {
        asked.maybe(name).map(|text| parsed(&text)).transpose()
    }
    Ok(SetQuery {
        text: asked.maybe("text"),
        account: named(asked, "account")?,
        state: named(asked, "state")?,
        ending_within_days: named(asked, "ending_within_days")?,
        unused_for_days: named(asked, "unused_for_days")?,
        sort: named(asked, "sort")?,
        descending: asked.text("descending") == "true",
        offset: named(asked, "offset")?.unwrap_or_default(),
        limit: Some(ON_A_PAGE),
    })
}

pub(super) async fn list(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let mut blocks = Vec::new();
    if session.user.user.authority.role() == Role::Admin {
        let link = Link { href: "/credentials/issue".into(), text: "Issue a credential set".into(), here: false };
        blocks.push(Block::Links(vec![link]));
    }
    blocks.push(Block::Form(search_form(&asked, session.user.user.authority.role())));
    let found = match asked_for(&asked) {
        Ok(query) => {
            let found = portal.run(&session, Command::CredentialSearch(Box::new(query.clone()))).await;
            found.map(|found| (query, found))
        }
        Err(error) => Err(error),
    };
    let status = match found {
        Ok((query, found)) => {
            blocks.extend(listed(&query, &found));
            StatusCode::OK
        }
        Err(error) => {
            blocks.push(refusal(&error));
            status_of(&error)
        }
    };
    portal.page(&session, "Credential sets", "/credentials", blocks).answer(status)
}

fn search_form(asked: &Asked, role: Role) -> Form {
    let states = ["active", "disabled", "expired", "revoked"].map(|state| (state.to_owned(), state.to_owned()));
    let states = std::iter::once((String::new(), "any".to_owned())).chain(states);
    let field = |kind, name, label: &str| Field::of(kind, name, label).optional().value(asked.text(name));
    let mut form = Form::get("", "/credentials", "Show")
        .field(field("search", "text", "Words").hint("In name, id, account, purpose or policies"))
        .field(Field::choice("state", "State", states).optional().value(asked.text("state")));
    if role != Role::Client {
        form = form.field(field("text", "account", "Account"));
    }
    form.field(field("number", "ending_within_days", "Ending within days"))
        .field(field("number", "unused_for_days", "Unused for days"))
        .field(Field::of("hidden", "sort", "").value(asked.text("sort")))
        .field(Field::of("hidden", "descending", "").value(asked.text("descending")))
}

/// The part of the sets that was asked for, with the ways to the others.
fn listed(query: &SetQuery, found: &Value) -> Vec<Block> {
    let by = query.sort.unwrap_or(SetOrder::Name);
    let head = |(text, order): (&str, Option<SetOrder>)| {
        let here = order == Some(by);
        let turned = SetQuery { sort: order, descending: here && !query.descending, offset: 0, ..query.clone() };
        let sorted = if query.descending { "descending" } else { "ascending" };
        Head { text: text.to_owned(), href: order.map(|_| address(&turned)), sorted: here.then_some(sorted) }
    };
    let total = found.get("total").and_then(Value::as_u64).and_then(|total| usize::try_from(total).ok());
    let total = total.unwrap_or_default();
    let rows: Vec<_> = items(found.get("items").unwrap_or_default()).iter().map(row).collect();
    let (first, last) = (query.offset.saturating_add(1), query.offset.saturating_add(rows.len()));
    let plain = query.text.is_none() && query.state.is_none() && query.account.is_none();
    let listing = Listing {
        caption: format!("Credential sets {first} to {last} of {total}"),
        heads: COLUMNS.into_iter().map(head).collect(),
        rows,
        empty: if plain && total == 0 { EMPTY.into() } else { "No credential set fits.".into() },
    };
    let page = |offset: usize, text: &str| {
        let href = address(&SetQuery { offset, ..query.clone() });
        Link { href, text: text.to_owned(), here: false }
    };
    let before = (query.offset > 0).then(|| page(query.offset.saturating_sub(ON_A_PAGE), "Those before"));
    let after = (last < total).then(|| page(last, "Those after"));
    vec![Block::Listing(listing), Block::Links(before.into_iter().chain(after).collect())]
}
