//! What would come of a draft: mistakes, warnings, the difference as decisions, recorded requests decided again.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::ui::{Block, Tone};
use crate::audit::RecordedPart;
use crate::control::{
    Checked, Command, ControlError, Difference, Draft, InForce, Replay, difference_in_words, policies_of,
    replay_in_words,
};
use crate::policy::PolicySet;
use crate::policy::yaml::Problems;
use crate::portal::Portal;
use crate::portal::sessions::Session;

/// Lines of one finding on a page.
const LINES: usize = 200;
/// Characters of a line.
const WIDTH: usize = 300;
/// How long requests are looked back at.
const DAYS: i64 = 7;
/// The records of the trail that are looked at, the newest ones.
const RECORDS: i64 = 20_000;
/// Earlier policies that are read again.
const EARLIER: usize = 16;

/// What was found.
pub(super) struct Verdict {
    /// Whether it could be in force.
    pub(super) is_sound: bool,
    pub(super) findings: Vec<Block>,
}

/// Lines as they fit onto a page.
pub(super) fn cut(lines: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut lines = lines.into_iter();
    let narrow = |line: String| {
        if line.chars().count() > WIDTH { line.chars().take(WIDTH).chain(['…']).collect() } else { line }
    };
    let mut shown: Vec<String> = lines.by_ref().take(LINES).map(narrow).collect();
    let more = lines.count();
    if more > 0 {
        shown.push(format!("… and {more} more lines; the command line (`policy lint`, `diff`, `replay`) shows all"));
    }
    shown
}

fn in_lines(problems: &Problems) -> Block {
    let lines = problems.0.iter().flat_map(|problem| {
        let text = problem.to_string();
        text.lines().map(str::to_owned).chain([String::new()]).collect::<Vec<_>>()
    });
    Block::Lines(cut(lines))
}

/// Runs what takes a while off the threads that serve pages.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ControlError> + Send + 'static,
) -> Result<T, ControlError> {
    tokio::task::spawn_blocking(work).await.map_err(ControlError::failed)?
}

pub(super) async fn check(portal: &Portal, draft: Draft, in_force: InForce) -> Result<Verdict, ControlError> {
    let upstreams = portal.control.upstreams.clone();
    aside(move || {
        let current = in_force.policies()?;
        let text = in_force.files.iter().find(|(path, _)| path == draft.file.as_str()).map(|(_, text)| text);
        if text == draft.text.as_ref() {
            let same = Block::Notice(Tone::Warn, "This is what is in force: nothing would change.".to_owned());
            return Ok(Verdict { is_sound: false, findings: vec![same] });
        }
        Ok(match draft.check(&in_force, &current, &upstreams) {
            Checked::Mistakes(mistakes) => with_mistakes(&mistakes),
            Checked::Sound { proposed, warnings, as_before } => {
                let mut findings = vec![Block::Notice(Tone::Good, "There are no mistakes.".to_owned())];
                if !warnings.0.is_empty() {
                    findings.push(Block::Heading("Probably not meant".to_owned()));
                    findings.push(in_lines(&warnings));
                }
                if as_before > 0 {
                    findings.push(Block::Text(format!("Warnings in other files, as before: {as_before}.")));
                }
                findings.push(Block::Heading("What would change, as decisions".to_owned()));
                findings.push(difference(&in_force, &current, &proposed)?);
                Verdict { is_sound: true, findings }
            }
        })
    })
    .await
}

/// What would change if these policies were in force.
pub(super) fn difference(in_force: &InForce, current: &PolicySet, proposed: &PolicySet) -> Result<Block, ControlError> {
    let difference = Difference::of(in_force, current, proposed);
    let difference = serde_json::to_value(difference).map_err(ControlError::failed)?;
    Ok(Block::Lines(cut(difference_in_words(&difference))))
}

fn with_mistakes(mistakes: &Problems) -> Verdict {
    let count = mistakes.0.len();
    let told = if count == 1 { "1 mistake".to_owned() } else { format!("{count} mistakes") };
    let told = format!("This could not be in force: {told}. Nothing was changed.");
    Verdict { is_sound: false, findings: vec![Block::Notice(Tone::Bad, told), in_lines(mistakes)] }
}

/// Recorded requests, the newest ones, oldest first.
struct Past {
    since: Timestamp,
    parts: Vec<(RecordedPart, Vec<Option<Arc<PolicySet>>>)>,
    /// Whether these are all since then.
    is_all: bool,
}

pub(super) async fn replay(
    portal: &Portal,
    session: &Session,
    draft: Draft,
    in_force: InForce,
) -> Result<Verdict, ControlError> {
    let upstreams = portal.control.upstreams.clone();
    let (in_force, current, checked) = aside(move || {
        let current = in_force.policies()?;
        let checked = draft.check(&in_force, &current, &upstreams);
        Ok((in_force, current, checked))
    })
    .await?;
    let proposed = match checked {
        Checked::Mistakes(mistakes) => return Ok(with_mistakes(&mistakes)),
        Checked::Sound { proposed, .. } => proposed,
    };
    let past = recorded(portal, session, proposed.asks_for_bodies()).await?;
    let findings = aside(move || {
        let mut replaying = Replay::new(&in_force, &current, &proposed);
        past.parts.iter().for_each(|(part, earlier)| replaying.take(part, earlier));
        let report = serde_json::to_value(replaying.finish()).map_err(ControlError::failed)?;
        let looked_at = report.get("requests").and_then(serde_json::Value::as_u64).unwrap_or_default();
        let all = if past.is_all {
            format!("All {looked_at} recorded requests of the last {DAYS} days were decided again.")
        } else {
            format!(
                "The newest {looked_at} recorded requests of the last {DAYS} days were decided again, not all of them; \
                 `erp-access policy replay` goes through all."
            )
        };
        Ok(vec![
            Block::Heading(format!("Requests of the last {DAYS} days, decided again")),
            Block::Text(all),
            Block::Lines(cut(replay_in_words(&report, past.since))),
        ])
    });
    Ok(Verdict { is_sound: true, findings: findings.await? })
}

async fn recorded(portal: &Portal, session: &Session, with_earlier: bool) -> Result<Past, ControlError> {
    let now = portal.control.clock.now();
    let since = now.checked_sub(SignedDuration::from_hours(24 * DAYS)).map_err(ControlError::failed)?;
    let ask = async |after, through| {
        let command = Command::AuditRecorded { credential: None, since: Some(since), until: None, after, through };
        let answer = portal.run(session, command).await?;
        serde_json::from_value::<RecordedPart>(answer).map_err(ControlError::failed)
    };
    let first = ask(None, None).await?;
    let begin = first.checked_to.max(first.end.saturating_sub(RECORDS));
    let (mut after, mut parts) = (begin, Vec::new());
    let mut known: HashMap<String, Option<Arc<PolicySet>>> = HashMap::new();
    while after < first.end {
        let part = ask(Some(after), Some(first.end)).await?;
        if part.checked_to <= after {
            break;
        }
        after = part.checked_to;
        let mut earlier = Vec::with_capacity(part.snapshots.len());
        for hash in &part.snapshots {
            if with_earlier && !known.contains_key(hash) && known.len() < EARLIER {
                known.insert(hash.clone(), policies_then(portal, session, hash).await?);
            }
            earlier.push(known.get(hash).cloned().flatten());
        }
        parts.push((part, earlier));
    }
    Ok(Past { since, parts, is_all: begin == first.checked_to })
}

/// Texts that are not kept, or that cannot be read any more, say nothing about what a body meant.
async fn policies_then(portal: &Portal, session: &Session, hash: &str) -> Result<Option<Arc<PolicySet>>, ControlError> {
    let Ok(answer) = portal.run(session, Command::PolicySnapshot { hash: hash.to_owned() }).await else {
        return Ok(None);
    };
    let files: Vec<(String, String)> = serde_json::from_value(answer).map_err(ControlError::failed)?;
    aside(move || Ok(policies_of(&files).ok().map(Arc::new))).await
}
