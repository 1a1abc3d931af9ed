//! The recorded requests as a stream from the gateway or the store: one part is worked on while the next one is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use jiff::Timestamp;
use serde_json::Value;

use super::evidence::bar;
use super::output::Failure;
use super::run::Line;
use crate::audit::RecordedPart;
use crate::control::{Command, Earlier, policies_of};
use crate::domain::CredentialId;
use crate::policy::PolicySet;

/// Parts that wait to be worked on.
const WAITING: usize = 2;
/// Earlier policies kept at most: a set may take some MiB.
const KEPT: usize = 32;

/// Which requests.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) credential: Option<CredentialId>,
    pub(super) since: Timestamp,
    pub(super) until: Option<Timestamp>,
    /// Whether the policies of then are needed: they say what a body meant.
    pub(super) earlier: bool,
}

/// How far it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Went {
    Through,
    /// A person interrupted it (Ctrl-C).
    Interrupted,
}

type Part = (RecordedPart, Vec<Option<Arc<PolicySet>>>);

/// Gives each part to `take`, in order.
pub(super) fn stream(
    line: &Line,
    wanted: &Wanted,
    mut take: impl FnMut(&RecordedPart, &Earlier) + Send,
) -> Result<Went, Failure> {
    std::thread::scope(|scope| {
        let (sender, parts) = sync_channel::<Part>(WAITING);
        let worker = scope.spawn(move || parts.iter().for_each(|(part, earlier)| take(&part, &earlier)));
        let went = read(line, wanted, |part| sender.send(part).map_err(|_| Failure::other("a part was not taken")));
        drop(sender);
        match worker.join() {
            Ok(()) => went,
            Err(_) => Err(Failure::other("the requests could not be gone through: a defect; please report it")),
        }
    })
}

fn read(line: &Line, wanted: &Wanted, mut give: impl FnMut(Part) -> Result<(), Failure>) -> Result<Went, Failure> {
    let bar = bar("records");
    let mut known: HashMap<String, Option<Arc<PolicySet>>> = HashMap::new();
    let Some(first) = ask(line, wanted, None, None)? else { return Ok(Went::Interrupted) };
    let (mut after, end) = (first.checked_to, first.end);
    bar.set_length(end.saturating_sub(after).unsigned_abs());
    while after < end {
        let Some(part) = ask(line, wanted, Some(after), Some(end))? else { return Ok(Went::Interrupted) };
        bar.inc(part.checked_to.saturating_sub(after).unsigned_abs());
        after = part.checked_to;
        let earlier = part.snapshots.iter().map(|hash| match known.get(hash) {
            _ if !wanted.earlier => Ok(None),
            Some(set) => Ok(set.clone()),
            None if known.len() >= KEPT => Ok(None),
            None => {
                let set = policies_then(line, hash)?;
                known.insert(hash.clone(), set.clone());
                Ok(set)
            }
        });
        let earlier = earlier.collect::<Result<_, Failure>>()?;
        give((part, earlier))?;
    }
    bar.finish_and_clear();
    Ok(Went::Through)
}

fn ask(
    line: &Line,
    wanted: &Wanted,
    after: Option<i64>,
    through: Option<i64>,
) -> Result<Option<RecordedPart>, Failure> {
    let Wanted { credential, since, until, .. } = *wanted;
    let command = Command::AuditRecorded { credential, since: Some(since), until, after, through };
    let Some(answer) = line.ask_unless_interrupted(command)? else { return Ok(None) };
    serde_json::from_value(answer).map(Some).map_err(Failure::other)
}

/// Texts that are not kept, or that this version cannot read, say nothing about what a body meant.
fn policies_then(line: &Line, hash: &str) -> Result<Option<Arc<PolicySet>>, Failure> {
    let answer: Value = match line.ask(Command::PolicySnapshot { hash: hash.to_owned() }) {
        Ok(answer) => answer,
        Err(failure) if failure.is_not_found() => return Ok(None),
        Err(failure) => return Err(failure),
    };
    let files: Vec<(String, String)> = serde_json::from_value(answer).map_err(Failure::other)?;
    Ok(policies_of(&files).ok().map(Arc::new))
}
