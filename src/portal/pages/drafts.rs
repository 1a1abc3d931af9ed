//! Drafts of policy files: edited, checked against what is in force, applied. Checking changes nothing.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use super::draft_findings::{self, Verdict};
use super::draft_form::{Button, DraftForm};
use super::ui::{Block, Tone, see};
use super::{Asked, Shared, proof, proven, refusal, status_of};
use crate::control::{Command, ControlError, Draft, InForce};
use crate::domain::Role;
use crate::policy::PolicyFile;
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// The longest text that is edited in a browser, in bytes: a page weighs less than 150 kB.
pub(super) const LONGEST: usize = 64 * 1024;
/// The largest form with one: each byte may take three.
const LARGEST: usize = 4 * LONGEST;

/// What a new file begins with.
const SAMPLE: &str = "version: 1
policy: NAME
description: What it is for
schedule: default
rules:
  - id: read
    allow: [ENDPOINT]
";

/// A draft as the form holds it.
struct Drafting {
    file: String,
    is_new: bool,
    text: Option<String>,
    based_on: String,
}

/// How far a draft is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is written.
    Written,
    /// It was checked and could be applied.
    Sound,
    /// It was checked, and something else is in force than it was made from.
    Outdated,
}

impl Drafting {
    fn of(asked: &Asked) -> Self {
        let typed = asked.fields.get("text").map(|text| text.replace("\r\n", "\n"));
        Self {
            file: asked.text("file").to_owned(),
            is_new: asked.text("new") == "yes",
            text: typed.filter(|_| asked.text("delete") != "yes"),
            based_on: asked.text("based_on").to_owned(),
        }
    }

    fn draft(&self) -> Result<Draft, ControlError> {
        let file = self.file.parse::<PolicyFile>().map_err(|error| ControlError::invalid(error.to_string()))?;
        if self.text.as_ref().is_some_and(|text| text.len() > LONGEST) {
            return Err(ControlError::invalid(too_long(&file)));
        }
        Ok(Draft { file, text: self.text.clone() })
    }

    fn form(&self, portal: &Portal, session: &Session, stage: Stage) -> Vec<Block> {
        let may = session.user.user.authority.role() == Role::Admin;
        let locked = self.file.parse().ok().and_then(|file| portal.control.policies.writable(&file).err());
        let mut blocks = Vec::new();
        if let Some(why) = &locked {
            blocks.push(Block::Notice(Tone::Warn, told_locked(&why.to_string())));
        }
        let applies = stage == Stage::Sound && may && locked.is_none();
        let mut buttons = Vec::new();
        match stage {
            Stage::Written => buttons.push(Button::main("Check", "/policies/draft/check")),
            Stage::Sound | Stage::Outdated => {
                if applies {
                    buttons.push(Button::main("Apply", "/policies/draft/apply"));
                }
                if stage == Stage::Outdated {
                    buttons.push(Button::main("Base it on what is in force now", "/policies/draft/rebase"));
                }
                buttons.push(Button::other("Replay the last 7 days", "/policies/draft/replay"));
                buttons.push(Button::other("Edit it again", "/policies/draft/edit"));
            }
        }
        let about = match (stage, may, &self.text) {
            (Stage::Written, _, Some(_)) => "Checking changes nothing. The draft is kept on this page only.",
            (Stage::Written, _, None) => "The file is to be deleted. Checking changes nothing.",
            (Stage::Sound, true, _) if applies => {
                "Applying writes this text into the policy folder; it is in force at once."
            }
            (Stage::Sound, false, _) => "An administrator can apply it: hand the text over.",
            (Stage::Sound | Stage::Outdated, ..) => "",
        };
        let what = if self.text.is_none() { "Delete" } else { "Draft of" };
        let title = if self.file.is_empty() { "A new file".to_owned() } else { format!("{what} {}", self.file) };
        blocks.push(Block::Draft(Box::new(DraftForm {
            title,
            about: about.to_owned(),
            action: "/policies/draft/check",
            file: self.file.clone(),
            names_file: self.is_new,
            based_on: self.based_on.clone(),
            text: self.text.clone(),
            is_settled: stage != Stage::Written,
            proof: if applies { proof(portal, session) } else { None },
            buttons,
        })));
        blocks
    }
}

fn told_locked(why: &str) -> String {
    format!(
        "The gateway cannot change this file: {why}. Drafts can be checked here all the same. Copy a draft that is good and \
         put it where the policy files come from: into the folder by hand, or into the repository of your configuration \
         management."
    )
}

pub(super) fn too_long(file: &PolicyFile) -> String {
    format!(
        "`{file}` would be longer than {} KiB, which is too long for a browser's form; change it on the machine, with \
         `erp-access policy apply`",
        LONGEST / 1024
    )
}

/// What is in force.
pub(super) async fn in_force(portal: &Portal, session: &Session) -> Result<InForce, ControlError> {
    let answer = portal.run(session, Command::PolicyInForce { without_holders: false }).await?;
    serde_json::from_value(answer).map_err(ControlError::failed)
}

/// A draft page for somebody who comes to write: of a file, of a file as it was in a version, or of a new file.
pub(super) async fn begin(State(portal): Shared, request: Request) -> Response {
    let (asked, session) = match super::form_of(&portal, request).await {
        Ok(read) => read,
        Err(response) => return response,
    };
    match begun(&portal, &session, &asked).await {
        Ok(drafting) => {
            let blocks = drafting.form(&portal, &session, Stage::Written);
            portal.page(&session, "Draft", "/policies", blocks).answer(StatusCode::OK)
        }
        Err(error) => portal.page(&session, "Draft", "/policies", vec![refusal(&error)]).answer(status_of(&error)),
    }
}

async fn begun(portal: &Portal, session: &Session, asked: &Asked) -> Result<Drafting, ControlError> {
    let in_force = in_force(portal, session).await?;
    let based_on = in_force.hash;
    let Some(file) = asked.maybe("file") else {
        return Ok(Drafting { file: String::new(), is_new: true, text: Some(SAMPLE.to_owned()), based_on });
    };
    let name = file.parse::<PolicyFile>().map_err(|error| ControlError::invalid(error.to_string()))?;
    if asked.text("delete") == "yes" {
        return Ok(Drafting { file, is_new: false, text: None, based_on });
    }
    let files = match asked.maybe("version") {
        None => in_force.files,
        Some(hash) => {
            let answer = portal.run(session, Command::PolicySnapshot { hash }).await?;
            serde_json::from_value(answer).map_err(ControlError::failed)?
        }
    };
    let text = files.into_iter().find(|(path, _)| *path == file).map(|(_, text)| text);
    let text = text.ok_or_else(|| ControlError::not_found(format!("there is no file `{file}`")))?;
    if text.len() > LONGEST {
        return Err(ControlError::invalid(too_long(&name)));
    }
    Ok(Drafting { file, is_new: false, text: Some(text), based_on })
}

pub(super) async fn act(State(portal): Shared, Path(act): Path<String>, request: Request) -> Response {
    let asked = match Asked::read_up_to(request, LARGEST).await {
        Ok(asked) => asked,
        Err(response) => return response,
    };
    let session = match portal.enter(&asked.headers).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    let mut drafting = Drafting::of(&asked);
    let done = match act.as_str() {
        "edit" => Ok((Stage::Written, Vec::new())),
        "apply" => match apply(&portal, &session, &asked, &drafting).await {
            Ok(location) => return see(&location),
            Err(error) => Err(error),
        },
        "check" | "replay" | "rebase" => checked(&portal, &session, &mut drafting, &act).await,
        _ => Err(ControlError::not_found("there is no such page")),
    };
    let (status, stage, mut blocks) = match done {
        Ok((stage, blocks)) => (StatusCode::OK, stage, blocks),
        Err(error) => (status_of(&error), Stage::Written, vec![refusal(&error)]),
    };
    blocks.extend(drafting.form(&portal, &session, stage));
    portal.page(&session, "Draft", "/policies", blocks).answer(status)
}

async fn apply(portal: &Portal, session: &Session, asked: &Asked, drafting: &Drafting) -> Result<String, ControlError> {
    let Draft { file, text } = drafting.draft()?;
    proven(portal, session, asked).await?;
    let (delete, based_on) = (text.is_none(), drafting.based_on.clone());
    portal.run(session, Command::PolicyApply { file: file.clone(), text, delete, based_on }).await?;
    Ok(if delete { "/policies".to_owned() } else { format!("/policies/file?path={file}") })
}

/// What would come of a draft.
async fn checked(
    portal: &Portal,
    session: &Session,
    drafting: &mut Drafting,
    act: &str,
) -> Result<(Stage, Vec<Block>), ControlError> {
    let draft = drafting.draft()?;
    let in_force = in_force(portal, session).await?;
    if act == "rebase" {
        drafting.based_on.clone_from(&in_force.hash);
    }
    let mut blocks = Vec::new();
    let outdated = in_force.hash != drafting.based_on;
    if outdated {
        let text = "Something else is in force than this draft was made from: somebody changed the policies meanwhile. What \
            is told below is the difference to what is in force now, so a change that the draft lacks is told as taken back.";
        blocks.push(Block::Notice(Tone::Warn, text.to_owned()));
    }
    let verdict = if act == "replay" {
        draft_findings::replay(portal, session, draft, in_force).await?
    } else {
        draft_findings::check(portal, draft, in_force).await?
    };
    let Verdict { is_sound, findings } = verdict;
    blocks.extend(findings);
    let stage = match (is_sound, outdated) {
        (false, _) => Stage::Written,
        (true, true) => Stage::Outdated,
        (true, false) => Stage::Sound,
    };
    Ok((stage, blocks))
}
