//! The files of the policy folder: which kind each is, read and checked one by one.

use std::path::Path;

use super::cases::{self, RawCase};
use super::raw_endpoints::{self, RawEndpoint};
use super::raw_policy::{self, RawPolicy};
use super::raw_schedule::{self, RawSchedule};
use super::yaml::{Code, Problem, Problems, Source};

/// What a file in the policy folder holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Endpoints,
    Schedules,
    Cases,
    Policy,
}

/// One file, read.
#[derive(Debug)]
pub(super) struct File {
    pub(super) source: Source,
    pub(super) content: Content,
}

#[derive(Debug)]
pub(super) enum Content {
    Endpoints(Vec<RawEndpoint>),
    Schedules(Vec<RawSchedule>),
    Cases(Vec<RawCase>),
    Policy(Box<RawPolicy>),
}

/// Whether a path inside the folder is one of ours.
pub(super) fn is_ours(path: &Path) -> bool {
    let yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    // Editors leave hidden and temporary files beside the real ones.
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with(['.', '#']));
    yaml && !hidden && path.components().count() <= 2
}

/// What a path inside the folder holds.
pub(super) fn kind(path: &Path) -> Option<Kind> {
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    match (folder.as_deref(), path.file_name().and_then(|name| name.to_str())) {
        (Some("endpoints"), _) => Some(Kind::Endpoints),
        (Some("cases"), _) => Some(Kind::Cases),
        (None, Some("schedule.yaml")) => Some(Kind::Schedules),
        (None, Some(_)) => Some(Kind::Policy),
        _ => None,
    }
}

/// Reads one file; what is wrong in it is added to `problems`.
pub(super) fn read(path: &Path, bytes: &[u8], problems: &mut Vec<Problem>) -> Option<File> {
    match read_parts(path, bytes) {
        Ok((file, found)) => {
            problems.extend(found.0);
            file
        }
        Err(found) => {
            problems.extend(found.0);
            None
        }
    }
}

/// What could be read, with what was wrong beside it; an error where nothing could.
fn read_parts(path: &Path, bytes: &[u8]) -> Result<(Option<File>, Problems), Problems> {
    let source = Source::new(path, bytes).map_err(|problem| Problems(vec![problem]))?;
    let root = source.parse()?;
    let (content, problems) = match kind(path) {
        Some(Kind::Endpoints) => {
            let (endpoints, problems) = raw_endpoints::read(&source, &root);
            (Some(Content::Endpoints(endpoints)), problems)
        }
        Some(Kind::Schedules) => (Some(Content::Schedules(raw_schedule::read(&source, &root)?)), Problems::default()),
        Some(Kind::Cases) => {
            let (cases, problems) = cases::read(&source, &root);
            (Some(Content::Cases(cases)), problems)
        }
        Some(Kind::Policy) => {
            let (policy, problems) = raw_policy::read(&source, &root);
            (policy.map(|policy| Content::Policy(Box::new(policy))), problems)
        }
        None => {
            let message = "only `endpoints/` and `cases/` are folders of the policy folder";
            return Err(Problems(vec![Problem::of_file(path, Code::MisplacedFile, message)]));
        }
    };
    Ok((content.map(|content| File { source, content }), problems))
}
