//! Credential sets: issued with a banner that is shown once, rotated, disabled, revoked.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use super::ui::{Block, Cell, Field, Form, Link, Tone, see};
use super::{Asked, Shared, form_of, items, parsed, plain_form, proof, proven, refusal, status_of, text, when};
use crate::control::{Bounds, Command, ControlError, NewSet, Operation};
use crate::domain::{CredentialId, IssuedKind, IssuedSecret, Limits, Role};
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// What the page is called on which a set is issued.
const ISSUE: &str = "Issue a credential set";
/// So many live tokens are shown.
const MOST_TOKENS: usize = 50;

fn id_of(text: &str) -> Result<CredentialId, ControlError> {
    text.parse().map_err(|_| ControlError::not_found(format!("there is no credential set `{text}`")))
}

/// Whether this role may carry the operation out.
fn may(session: &Session, operation: &str) -> bool {
    let role = session.user.user.authority.role();
    Operation::named(operation).is_some_and(|operation| operation.audience.includes(role))
}

pub(super) async fn ask(State(portal): Shared, request: Request) -> Response {
    match portal.enter(request.headers()).await {
        Ok(session) => asking(&portal, &session, None).await,
        Err(response) => response,
    }
}

async fn asking(portal: &Portal, session: &Session, error: Option<ControlError>) -> Response {
    // SECURITY: the form names accounts and policies, which are not for everybody.
    let allowed = may(session, "credential-issue");
    let error = error.or_else(|| (!allowed).then(|| ControlError::forbidden("only an administrator may issue a set")));
    let status = error.as_ref().map_or(StatusCode::OK, status_of);
    let mut blocks: Vec<Block> = error.iter().map(refusal).collect();
    if !allowed {
        return portal.page(session, ISSUE, "/credentials", blocks).answer(status);
    }
    let accounts = portal.run(session, Command::AccountList).await.unwrap_or_default();
    let names = items(&accounts).iter().map(|account| text(account, "name"));
    let policies = portal.control.policies.current();
    let known: Vec<String> = policies.policy_names().iter().map(ToString::to_string).collect();
    let form = Form::post("", "/credentials/issue", "Issue")
        .about("Password and x-api-key are shown on the next page, this once.")
        .field(Field::choice("account", "Account", names.map(|name| (name.clone(), name))))
        .field(Field::of("text", "name", "Name").hint("What the integration is called, as in web shop"))
        .field(Field::of("text", "purpose", "What it is for").optional())
        .field(
            Field::of("text", "grants", "Policies")
                .hint(&format!("Separated by spaces; there are: {}", known.join(" "))),
        )
        .field(
            Field::of("text", "clients", "Networks").optional().hint("From where it may be used; everywhere if empty"),
        )
        .field(Field::of("text", "expires_at", "Ends").optional().hint("As in 2027-01-01T00:00:00Z; never if empty"))
        .fields(proof(portal, session));
    blocks.push(Block::Form(form));
    portal.page(session, ISSUE, "/credentials", blocks).answer(status)
}

/// A set as the form describes it.
fn new_set(asked: &Asked) -> Result<NewSet, ControlError> {
    fn each<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<Vec<T>, ControlError> {
        let words = text.split([' ', ',']).filter(|word| !word.is_empty());
        words.map(|word| word.parse().map_err(|error| ControlError::invalid(format!("`{word}`: {error}")))).collect()
    }
    let account = asked.text("account");
    let account = account.parse().map_err(|error| ControlError::invalid(format!("`{account}`: {error}")))?;
    let end = asked.maybe("expires_at");
    let end = end.map(|end| end.parse().map_err(|error| ControlError::invalid(format!("`{end}`: {error}"))));
    Ok(NewSet {
        account,
        name: asked.text("name").to_owned(),
        kind: Bounds::Bounded,
        reason: None,
        purpose: asked.maybe("purpose"),
        expires_at: end.transpose()?,
        clients: each(asked.text("clients"))?,
        grants: each(asked.text("grants"))?,
    })
}

pub(super) async fn issue(State(portal): Shared, request: Request) -> Response {
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match portal.enter(&asked.headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    if let Err(error) = proven(&portal, &session, &asked).await {
        return asking(&portal, &session, Some(error)).await;
    }
    let done = match new_set(&asked) {
        Ok(new) => portal.run(&session, Command::CredentialIssue(Box::new(new))).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(issued) => banner(&portal, &session, &issued),
        Err(error) => asking(&portal, &session, Some(error)).await,
    }
}

/// SECURITY: the answer to the form itself, never stored: the only time that the secrets leave the process.
fn banner(portal: &Portal, session: &Session, issued: &Value) -> Response {
    let items = [("Client id", "client_id"), ("Password", "password"), ("x-api-key", "api_key")];
    let items = items.map(|(name, member)| (name.to_owned(), text(issued, member))).into();
    let curl = format!(
        "curl -u \"$CLIENT_ID:$PASSWORD\" -H \"x-api-key: $API_KEY\" -d grant_type=client_credentials \\\n  {}",
        portal.control.offered.token_url()
    );
    let about = "Hand them to whoever builds the integration, over a way that you trust. They cannot be shown again; \
        `Rotate` makes new ones.";
    let id = text(issued, "id");
    let hidden = ENV.map(|(_, member)| Field::of("hidden", member, "").value(text(issued, member)));
    let download = plain_form("", "/credentials/env", "Download as .env").fields(hidden);
    let done = plain_form("", &format!("/credentials/{id}/stored"), "Done")
        .field(Field::of("checkbox", "stored", "I have stored them").value("yes"));
    let blocks =
        vec![Block::Secrets { about: about.into(), items, more: Some(curl) }, Block::Form(download), Block::Form(done)];
    portal.page(session, "Credential set issued", "/credentials", blocks).answer(StatusCode::OK)
}

/// The variables of an environment, and the members of the answer that they hold.
const ENV: [(&str, &str); 3] = [("CLIENT_ID", "client_id"), ("PASSWORD", "password"), ("API_KEY", "api_key")];

/// The secrets of the page that was just shown, as a file: the browser sends them back, nothing is kept.
pub(super) async fn env(State(portal): Shared, request: Request) -> Response {
    let (asked, _) = match form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    let kinds = [("password", IssuedKind::Password), ("api_key", IssuedKind::ApiKey)];
    // SECURITY: nothing but secrets of ours is sent back.
    let ours = kinds.iter().all(|(name, kind)| IssuedSecret::parse(*kind, asked.text(name)).is_ok());
    let (Ok(id), true) = (id_of(asked.text("client_id")), ours) else {
        return (StatusCode::UNPROCESSABLE_ENTITY, "these are no secrets of a credential set").into_response();
    };
    let lines = ENV.map(|(name, member)| format!("{name}={}\n", asked.text(member)));
    super::api::file("text/plain; charset=utf-8", &format!("{id}.env"), lines.concat())
}

pub(super) async fn show(State(portal): Shared, Path(id): Path<String>, request: Request) -> Response {
    match portal.enter(request.headers()).await {
        Ok(session) => shown(&portal, &session, &id, None).await,
        Err(response) => response,
    }
}

async fn shown(portal: &Portal, session: &Session, id: &str, error: Option<ControlError>) -> Response {
    let mut status = error.as_ref().map_or(StatusCode::OK, status_of);
    let mut blocks: Vec<Block> = error.iter().map(refusal).collect();
    let mut title = "Credential set".to_owned();
    let found = match id_of(id) {
        Ok(id) => portal.run(session, Command::CredentialShow { id }).await,
        Err(error) => Err(error),
    };
    match found {
        Err(error) => {
            status = status_of(&error);
            blocks.push(refusal(&error));
        }
        Ok(set) => {
            title = text(&set, "name");
            blocks.extend(facts(&set));
            blocks.push(limits(portal, &set));
            let href = format!("/api?credential={id}");
            blocks.push(Block::Links(vec![Link { href, text: "What it may call".to_owned(), here: false }]));
            if let Ok(id) = id_of(id) {
                blocks.push(tokens(portal, session, id).await);
            }
            blocks.extend(forms(portal, session, id, &set).into_iter().map(Block::Form));
        }
    }
    portal.page(session, &title, "/credentials", blocks).answer(status)
}

fn facts(set: &Value) -> Vec<Block> {
    let fact = |name: &str, member: &str| (name.to_owned(), text(set, member));
    let moment = |name: &str, member: &str| (name.to_owned(), when(set, member));
    let mut blocks = vec![Block::Facts(vec![
        fact("Client id", "id"),
        fact("Account", "account"),
        fact("State", "state"),
        fact("Kind", "kind"),
        fact("What it is for", "purpose"),
        fact("Policies", "grants"),
        fact("Networks", "clients"),
        fact("Client certificates", "certificates"),
        fact("Live tokens", "live_tokens"),
        moment("Ends", "expires_at"),
        moment("Issued", "created_at"),
        moment("Secrets from", "rotated_at"),
        moment("Last token", "last_used_at"),
    ])];
    if let Some(former) = set.get("former_secrets").filter(|former| !former.is_null()) {
        blocks.push(Block::Notice(Tone::Warn, "The former secrets serve still, beside the new ones.".into()));
        blocks.push(Block::Facts(vec![
            ("They end".to_owned(), when(former, "end_at")),
            ("They were used last".to_owned(), when(former, "last_used_at")),
        ]));
    }
    blocks
}

/// How much the set may ask for, by itself or as the configuration says.
fn limits(portal: &Portal, set: &Value) -> Block {
    let own = set.get("limits").and_then(|limits| serde_json::from_value::<Limits>(limits.clone()).ok());
    let limits = serde_json::to_value(portal.control.offered.rate_limits.of_credential(own)).unwrap_or_default();
    Block::Facts(super::client_home::limits("Limits", &limits))
}

async fn tokens(portal: &Portal, session: &Session, id: CredentialId) -> Block {
    let tokens = portal.run(session, Command::TokenList { credential: Some(id), account: None }).await;
    let tokens = tokens.unwrap_or_default();
    let row = |token: &Value| {
        vec![Cell::text(text(token, "id")), Cell::text(when(token, "issued_at")), Cell::text(when(token, "expires_at"))]
    };
    Block::Table {
        caption: "Live tokens, by their ids".into(),
        columns: ["Token", "Issued", "Ends"].map(str::to_owned).into(),
        rows: items(&tokens).iter().take(MOST_TOKENS).map(row).collect(),
        empty: "No token is live.".into(),
    }
}

/// What may be done with a set, by whom.
fn forms(portal: &Portal, session: &Session, id: &str, set: &Value) -> Vec<Form> {
    let role = session.user.user.authority.role();
    let (state, action) = (text(set, "state"), |act: &str| format!("/credentials/{id}/{act}"));
    let mut forms = Vec::new();
    if state == "revoked" || role == Role::Auditor {
        return forms;
    }
    if matches!(role, Role::Admin | Role::Client) {
        let overlaps =
            [("86400", "a day"), ("259200", "3 days"), ("604800", "7 days"), ("0", "not at all: end them now")];
        let overlaps = overlaps.map(|(seconds, text)| (seconds.to_owned(), text.to_owned()));
        let form = Form::post("Rotate", action("rotate"), "Make new secrets")
            .about("New secrets are shown once. The former ones serve on for the time that you choose.")
            .field(Field::choice("overlap", "The former ones serve", overlaps))
            .fields(proof(portal, session));
        forms.push(form);
        if set.get("former_secrets").is_some_and(|former| !former.is_null()) {
            forms.push(plain_form("End the former secrets", &action("rotate-end"), "End them now").danger());
        }
    }
    if role == Role::Admin {
        let known = portal.control.policies.current();
        let names: Vec<String> = known.policy_names().iter().map(ToString::to_string).collect();
        let names = names.into_iter().map(|name| (name.clone(), name));
        let form = Form::post("Grant a policy", action("grant"), "Grant")
            .field(Field::choice("policy", "Policy", names))
            .field(
                Field::of("text", "expires_at", "Until")
                    .optional()
                    .hint("As in 2027-01-01T00:00:00Z; for good if empty"),
            );
        forms.push(form);
        for policy in items(set.get("grants").unwrap_or_default()).iter().map(super::plain) {
            let form = plain_form(&format!("Take {policy} back"), &action("take"), "Take back");
            forms.push(form.field(Field::of("hidden", "policy", "").value(policy)));
        }
    }
    if role != Role::Auditor && text(set, "live_tokens") != "0" {
        let form = plain_form("Tokens", &action("end-tokens"), "End all live tokens");
        forms.push(form.about("The set stays; its next request needs a new token.").danger());
    }
    if state == "active" {
        let about = "It can be enabled again. Its tokens end now.";
        forms.push(plain_form("Disable", &action("disable"), "Disable").about(about));
    } else if role == Role::Admin && state == "disabled" {
        forms.push(plain_form("Enable", &action("enable"), "Enable"));
    }
    if matches!(role, Role::Admin | Role::Operator) {
        let name = text(set, "name");
        let form = Form::post("Revoke", action("revoke"), "Revoke for good")
            .about("It never serves again; its tokens end now. To stop it for a while, disable it.")
            .field(Field::of("text", "typed", &format!("Type its name ({name})")))
            .danger();
        forms.push(form);
    }
    forms
}

pub(super) async fn act(State(portal): Shared, Path(path): Path<(String, String)>, request: Request) -> Response {
    let (text_id, act) = path;
    let asked = match Asked::read(request).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match portal.enter(&asked.headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    if act == "stored" {
        return see(&format!("/credentials/{text_id}"));
    }
    match carry_out(&portal, &session, &text_id, &act, &asked).await {
        Ok(issued) if act == "rotate" => banner(&portal, &session, &issued),
        Ok(_) => see(&format!("/credentials/{text_id}")),
        Err(error) => shown(&portal, &session, &text_id, Some(error)).await,
    }
}

async fn carry_out(
    portal: &Portal,
    session: &Session,
    text_id: &str,
    act: &str,
    asked: &Asked,
) -> Result<Value, ControlError> {
    let id = id_of(text_id)?;
    let command = match act {
        "rotate" => {
            proven(portal, session, asked).await?;
            let overlap = asked.text("overlap").parse();
            let overlap = overlap.map_err(|_| ControlError::invalid("say how long the former secrets serve"))?;
            Command::CredentialRotate { id, overlap_seconds: Some(overlap) }
        }
        "grant" => {
            let policy = parsed(asked.text("policy"))?;
            let expires_at = asked.maybe("expires_at").map(|end| parsed(&end)).transpose()?;
            Command::GrantAdd { credential: id, policy, expires_at }
        }
        "take" => Command::GrantRemove { credential: id, policy: parsed(asked.text("policy"))? },
        "end-tokens" => Command::TokenRevokeAll { credential: id },
        "rotate-end" => Command::CredentialRotateEnd { id },
        "disable" => Command::CredentialDisable { id },
        "enable" => Command::CredentialEnable { id },
        "revoke" => {
            let set = portal.run(session, Command::CredentialShow { id }).await?;
            if asked.text("typed") != text(&set, "name") {
                return Err(ControlError::invalid("the name that you typed is another; nothing was revoked"));
            }
            Command::CredentialRevoke { id }
        }
        _ => return Err(ControlError::not_found("there is no such page")),
    };
    portal.run(session, command).await
}
