//! Files of cases that test nothing.

use super::Linted;
use crate::policy::texts::{entry, items};
use crate::policy::yaml::{Code, Problem};

pub(super) fn files_without_cases(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    for tree in linted.texts.inside("cases") {
        if let Some((key, list)) = entry(tree.root, "cases").filter(|(_, list)| items(Some(list)).is_empty()) {
            let place = if list.place.line == key.place.line { list.place } else { key.place };
            let message = "there is no case in this file; write one that allows and one that denies, or remove it";
            found.push(tree.problem(Code::NoCases, place, message));
        }
    }
}
