//! What the product promises, and what can be seen of whether it holds.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::ui::{Block, Cell, Link, Tone};
use super::{Shared, items, text, when};
use crate::control::Command;
use crate::domain::Role;
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// The promises of SECURITY.md, in short.
const PROMISES: [&str; 7] = [
    "Denied by default: what is not expressly allowed does not reach the ERP, and an error on the way denies.",
    "What was checked is what is sent: one canonical path; what two servers could read differently is refused.",
    "No trace, no pass: the decision is on disk before the ERP sees a byte, sealed in a keyed chain.",
    "A change is in force when it is answered: revoking, suspending, the kill switch.",
    "Credentials do not cross: a client never sees the ERP's session, the ERP never a client's secrets.",
    "Secrets do not rest in clear: passwords are Argon2id hashes, tokens and keys keyed hashes, the rest is sealed.",
    "A stranger learns nothing: what is unknown, wrong, revoked or another's looks alike.",
];

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    let session = match portal.enter(request.headers()).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let mut blocks =
        vec![Block::Lines(PROMISES.iter().zip(1..).map(|(text, number)| format!("{number}. {text}")).collect())];
    match session.user.user.authority.role() {
        Role::Client => {}
        Role::Admin | Role::Operator | Role::Auditor => blocks.extend(live(&portal, &session).await),
    }
    portal.page(&session, "Security", "/security", blocks).answer(StatusCode::OK)
}

/// What can be seen now.
async fn live(portal: &Portal, session: &Session) -> Vec<Block> {
    let control = &portal.control;
    let keys = portal.run(session, Command::KeyStatus).await.unwrap_or_default();
    let status = portal.run(session, Command::Status).await.unwrap_or_default();
    let findings = portal.run(session, Command::Doctor).await.unwrap_or_default();
    let count = |state: &str| items(&findings).iter().filter(|finding| text(finding, "state") == state).count();
    let in_use = items(&keys).first().map(|key| text(key, "key")).unwrap_or_default();
    let since = items(&keys).first().map(|key| when(key, "since")).unwrap_or_default();
    let listener = if portal.rules.tls { "TLS 1.2 and 1.3" } else { "loopback only; a proxy with TLS in front" };
    let ends = control.certificates.iter().flat_map(|served| served.certificates.told());
    let ends = ends.map(|told| format!("{} until {}", told.names.join(", "), told.ends_at));
    let facts = vec![
        ("Password hashing".to_owned(), control.hasher.told()),
        ("APP_KEY in use".to_owned(), in_use),
        ("In use since".to_owned(), since),
        ("Former keys held".to_owned(), items(&keys).len().saturating_sub(1).to_string()),
        ("Certificates".to_owned(), ends.collect::<Vec<_>>().join("; ")),
        ("Audit writer".to_owned(), text(&status, "audit")),
        ("Audit rows lost".to_owned(), text(&status, "audit_rows_lost")),
        ("This listener".to_owned(), listener.to_owned()),
    ];
    let free = status.get("unrestricted_sets").map_or(0, |sets| items(sets).len());
    let row = |what: &str, found: usize| {
        vec![Cell::text(what), Cell::toned(found.to_string(), Some(if found == 0 { Tone::Good } else { Tone::Warn }))]
    };
    let table = Block::Table {
        caption: "What somebody should look at".into(),
        columns: ["What", "How many"].map(str::to_owned).into(),
        rows: vec![
            row("Unrestricted credential sets", free),
            row("Warnings of the doctor", count("warn")),
            row("Failures of the doctor", count("fail")),
        ],
        empty: String::new(),
    };
    let (tone, trail) = super::chain::told(portal);
    let link = Link { href: "/audit/chain".into(), text: "Check the trail".into(), here: false };
    vec![Block::Heading("Now".into()), Block::Notice(tone, trail), Block::Links(vec![link]), Block::Facts(facts), table]
}
