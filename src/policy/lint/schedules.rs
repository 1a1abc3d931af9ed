//! Schedules and windows that never open, or change nothing.

use std::path::Path;

use super::Linted;
use crate::policy::texts::{Tree, entry, items, member};
use crate::policy::yaml::{Code, Node, Problem};
use crate::schedule::{Schedule, State, Window};

/// Each schedule with its name and where it stands.
fn each<'l>(linted: &'l Linted<'_>, mut look: impl FnMut(Tree<'l>, (&'l Node, &'l Node), &str, &Schedule)) {
    let Some(tree) = linted.texts.file(Path::new("schedule.yaml")) else { return };
    for (name, schedule) in linted.set.schedules() {
        if let Some(written) = entry(tree.root, name.as_str()) {
            look(tree, written, name.as_str(), schedule);
        }
    }
}

pub(super) fn schedules_that_never_open(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    let Some(now) = linted.around.now else { return };
    each(linted, |tree, (key, _), name, schedule| match schedule.state(now) {
        State::Closed { opens_at: None } => {
            let message = format!(
                "schedule `{name}` does not open within a year; give it windows, or use a kill switch to close the API"
            );
            found.push(tree.problem(Code::NeverOpens, key.place, message));
        }
        State::Closed { opens_at: Some(_) } | State::Open { .. } => {}
    });
}

pub(super) fn windows_inside_of_others(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    each(linted, |tree, (_, node), name, schedule| {
        let windows = schedule.windows();
        for ((index, window), item) in windows.iter().enumerate().zip(items(member(node, "windows"))) {
            let wider = windows.iter().enumerate().find(|(at, other)| {
                // Of two that are the same, the first one stays.
                *at != index && covers(other, window) && (*at < index || !covers(window, other))
            });
            if let Some((_, other)) = wider {
                let message = format!(
                    "this window of schedule `{name}` changes nothing: {} is open on its days already",
                    other.opening()
                );
                found.push(tree.problem(Code::CoveredWindow, item.place, message));
            }
        }
    });
}

/// Whether one window is open whenever the other is.
fn covers(wide: &Window, narrow: &Window) -> bool {
    narrow.days().iter().all(|day| wide.days().contains(day)) && wide.opening().covers(narrow.opening())
}
