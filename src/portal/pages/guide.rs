//! How clients are built: a token and a request in four languages, and what each refusal asks for.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;

use super::api::file;
use super::ui::{Block, Cell, Link};
use super::{Shared, items, text};
use crate::control::{Command, ControlError, SetQuery, SetState};
use crate::domain::{Cause, Code};
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// A program that gets a token and calls the ERP.
struct Sample {
    language: &'static str,
    /// What its file is called.
    file: &'static str,
    text: &'static str,
}

const SAMPLES: [Sample; 4] = [
    Sample { language: "curl", file: "curl.sh", text: include_str!("../samples/curl.sh") },
    Sample { language: "Python", file: "python.py", text: include_str!("../samples/python.py") },
    Sample { language: "JavaScript", file: "javascript.mjs", text: include_str!("../samples/javascript.mjs") },
    Sample { language: "C#", file: "csharp.cs", text: include_str!("../samples/csharp.cs") },
];

/// What marks the lines that send the x-api-key with each request.
const WITH_KEY: [&str; 2] = ["#@key", "//@key"];

/// What is called in the samples.
const SOME_PATH: &str = "/v1/orders";

impl Sample {
    /// The program for this gateway.
    fn written(&self, portal: &Portal, path: &str) -> String {
        let offered = &portal.control.offered;
        let mut text = String::new();
        for line in self.text.lines() {
            let bare = WITH_KEY.iter().find_map(|mark| line.strip_suffix(mark));
            match bare {
                Some(_) if !offered.api_key => continue,
                Some(bare) => text.push_str(bare.trim_end()),
                None => text.push_str(line),
            }
            text.push('\n');
        }
        text.replace("{{token_url}}", &offered.token_url())
            .replace("{{token_path}}", &offered.token_path)
            .replace("{{gateway}}", offered.base())
            .replace("{{path}}", path)
    }
}

/// Something that whoever reads may call without more: the first endpoint that is read and takes no parameter.
async fn callable_path(portal: &Portal, session: &Session) -> String {
    first_path(portal, session).await.ok().flatten().unwrap_or_else(|| SOME_PATH.to_owned())
}

async fn first_path(portal: &Portal, session: &Session) -> Result<Option<String>, ControlError> {
    if session.client().is_none() {
        return Ok(None);
    }
    let query = SetQuery { state: Some(SetState::Active), limit: Some(1), ..SetQuery::default() };
    let found = portal.run(session, Command::CredentialSearch(Box::new(query))).await?;
    let set = items(found.get("items").unwrap_or_default()).first().map(|set| text(set, "id"));
    let Some(id) = set.and_then(|id| id.parse().ok()) else { return Ok(None) };
    let command = Command::CredentialAccess { id, text: None, after: None, last: None };
    let answer = portal.run(session, command).await?;
    let read = |endpoint: &&Value| {
        let methods = items(endpoint.get("methods").unwrap_or_default());
        methods.iter().any(|method| method == "GET") && !text(endpoint, "path").contains('{')
    };
    Ok(items(answer.get("items").unwrap_or_default()).iter().find(read).map(|endpoint| text(endpoint, "path")))
}

pub(super) async fn show(State(portal): Shared, request: Request) -> Response {
    let session = match portal.enter(request.headers()).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let path = callable_path(&portal, &session).await;
    let offered = &portal.control.offered;
    let mut blocks = vec![Block::Text(
        "Send client id and password as Basic credentials with the x-api-key beside them, and get a token. Send it with \
         each request, keep it while it lasts, and get another one when an answer is 401 `token_invalid`. Secrets stand \
         in the environment of the program or in a secret store, not in its text."
            .to_owned(),
    )];
    if offered.url.is_none() {
        let text = "The gateway's address is not configured: `https://GATEWAY` stands for it.";
        blocks.push(Block::Text(text.to_owned()));
    }
    blocks.push(Block::Facts(vec![
        ("Tokens".to_owned(), format!("POST {}", offered.token_url())),
        ("Is it there?".to_owned(), format!("GET {}/status", offered.base())),
        ("x-api-key with each request".to_owned(), if offered.api_key { "yes" } else { "only with the token" }.into()),
    ]));
    for sample in &SAMPLES {
        blocks.push(Block::Heading(sample.language.to_owned()));
        blocks.push(Block::Lines(sample.written(&portal, &path).lines().map(str::to_owned).collect()));
        let href = format!("/guide/{}", sample.file);
        blocks.push(Block::Links(vec![Link { href, text: format!("Download {}", sample.file), here: false }]));
    }
    blocks.push(refusals());
    portal.page(&session, "Guide", "/guide", blocks).answer(StatusCode::OK)
}

/// What a program does about a refusal.
fn advice(code: Code) -> &'static str {
    const OF_CODES: [(Code, &str); 5] = [
        (Code::TokenInvalid, "Get another token, once."),
        (
            Code::CredentialsInvalid,
            "Compare the secrets; new ones are made on the page of the credential set. Do not try again.",
        ),
        (Code::RateLimited, "Wait for Retry-After; the RateLimit headers say what is left."),
        (Code::OutsideSchedule, "Wait until `opens_at`."),
        (Code::NotPermitted, "Compare with what may be called, or ask for a grant. Do not try again."),
    ];
    let of_cause = match code.cause() {
        Cause::Client => "Change the request. Do not try again as it is.",
        Cause::Policy => "Ask whoever runs the gateway.",
        Cause::OperatorControl => "This is on purpose. Wait for Retry-After, or ask whoever runs the gateway.",
        Cause::Outage => "This is a failure. What only reads may be tried again after Retry-After, or after a pause.",
    };
    OF_CODES.iter().find(|(known, _)| *known == code).map_or(of_cause, |(_, advice)| *advice)
}

fn refusals() -> Block {
    let row = |code: &Code| {
        vec![
            Cell::text(code.status().to_string()),
            Cell::text(code.as_str()),
            Cell::text(code.cause().as_str()),
            Cell::text(code.title()),
            Cell::text(advice(*code)),
        ]
    };
    Block::Table {
        caption: "Refusals: `code` in the body; the X-ERP-Access-Cause header is there when it was not the ERP".into(),
        columns: ["Status", "Code", "Cause", "What it says", "What to do"].map(str::to_owned).into(),
        rows: Code::ALL.iter().filter(|code| code.is_told()).map(row).collect(),
        empty: String::new(),
    }
}

pub(super) async fn sample(State(portal): Shared, Path(name): Path<String>, request: Request) -> Response {
    let session = match portal.enter(request.headers()).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    match SAMPLES.iter().find(|sample| sample.file == name) {
        Some(sample) => {
            let path = callable_path(&portal, &session).await;
            file("text/plain; charset=utf-8", sample.file, sample.written(&portal, &path))
        }
        None => super::nothing(State(portal), request).await,
    }
}
