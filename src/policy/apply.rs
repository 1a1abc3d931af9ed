//! One file of the policy folder changed on behalf of somebody who looked at what is in force: all of it, or nothing.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::PoisonError;

use super::folder;
use super::policy_file::PolicyFile;
use super::replace::{NotWritable, Spot};
use super::set::{PolicySet, SnapshotHash};
use super::store::{PolicyStore, ReloadReport};
use super::yaml::Problems;

/// What is to become of a file.
#[derive(Debug, Clone)]
pub struct Edit {
    /// The file.
    pub file: PolicyFile,
    /// Its new text; `None` takes it away.
    pub text: Option<Vec<u8>>,
    /// What was in force when the draft was made.
    pub based_on: [u8; 32],
}

/// What is about to happen.
#[derive(Debug)]
pub struct Planned {
    /// What is in force.
    pub before: SnapshotHash,
    /// What will be.
    pub after: SnapshotHash,
    /// The text of the file that is in force, by its hash.
    pub text_before: Option<SnapshotHash>,
    /// The one that will be.
    pub text_after: Option<SnapshotHash>,
}

/// Why an edit was not applied. Unless it says otherwise, nothing was touched.
#[derive(Debug, thiserror::Error)]
pub enum NotApplied {
    /// Somebody changed the policies meanwhile.
    #[error(
        "what is in force is no longer what the draft was made from: `{in_force}` is; look at what changed and make the \
         draft again"
    )]
    Conflict {
        /// What is in force.
        in_force: SnapshotHash,
    },
    /// The folder holds something that is not in force.
    #[error(
        "`{}` in the policy folder is not what is in force: somebody is changing it there, or it is broken; put that right \
         first",
        .0.display()
    )]
    Unsettled(PathBuf),
    /// The folder cannot be read.
    #[error("the policy folder cannot be read: {0}")]
    Unreadable(io::Error),
    /// There is no such file.
    #[error("there is no file `{0}` to delete")]
    NoFile(PolicyFile),
    /// It would change nothing.
    #[error("the file holds this text already")]
    Same,
    /// The draft has mistakes.
    #[error("with this draft the policies have mistakes:\n{0}")]
    Mistakes(Problems),
    /// The file is not for the gateway to write.
    #[error(transparent)]
    NotWritable(#[from] NotWritable),
    /// What must be known beforehand could not be put down.
    #[error("nothing was changed: {0}")]
    NotNoted(String),
    /// Writing failed.
    #[error("the file could not be written, and stays as it was: {0}")]
    NotWritten(io::Error),
    /// It was written and did not come into force.
    #[error("the new text did not come into force{}", if *.put_back { "; the former one was put back" } else {
        ", and the former one could not be put back: look into the policy folder now"
    })]
    NotInForce {
        /// Whether the former text is there again.
        put_back: bool,
    },
}

impl PolicyStore {
    /// Whether this file of the folder could be changed.
    ///
    /// # Errors
    /// Why it could not.
    pub fn writable(&self, file: &PolicyFile) -> Result<(), NotWritable> {
        Spot::of(self.folder(), file).map(drop)
    }

    /// Changes one file. It is in force when this returns. `note` is told before anything is touched and can stop it;
    /// `keep` sees each new set before a request can.
    ///
    /// # Errors
    /// When it was not applied; the former text is in force then.
    pub fn apply(
        &self,
        edit: &Edit,
        note: impl FnOnce(&Planned) -> Result<(), String>,
        keep: &dyn Fn(&PolicySet),
    ) -> Result<ReloadReport, NotApplied> {
        // INVARIANT: nobody reads the folder anew, and nobody else applies, from the first look to the end.
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        if current.hash().as_bytes() != &edit.based_on {
            return Err(NotApplied::Conflict { in_force: current.hash() });
        }
        let texts = self.settled(&current)?;
        let path = edit.file.path();
        let before = texts.get(&path).cloned();
        let mut proposed = texts;
        match &edit.text {
            None if before.is_none() => return Err(NotApplied::NoFile(edit.file.clone())),
            Some(text) if before.as_ref() == Some(text) => return Err(NotApplied::Same),
            Some(text) => drop(proposed.insert(path.clone(), text.clone())),
            None => drop(proposed.remove(&path)),
        }
        let proposed: Vec<_> = proposed.into_iter().collect();
        let set = PolicySet::from_texts(&proposed).map_err(NotApplied::Mistakes)?;
        let spot = Spot::of(self.folder(), &edit.file)?;
        let planned = Planned {
            before: current.hash(),
            after: set.hash(),
            text_before: current.text_hash(&path),
            text_after: set.text_hash(&path),
        };
        note(&planned).map_err(NotApplied::NotNoted)?;
        spot.replace(before.as_deref(), edit.text.as_deref()).map_err(NotApplied::NotWritten)?;
        let report = self.reload_held(&mut good, keep);
        if self.current().text_hash(&path) == planned.text_after {
            return Ok(report);
        }
        let back = spot.replace(edit.text.as_deref(), before.as_deref());
        if let Err(error) = &back {
            log::error!("`{}` could not be put back: {error}", edit.file);
        }
        self.reload_held(&mut good, keep);
        Err(NotApplied::NotInForce { put_back: back.is_ok() })
    }

    /// The texts of the folder, which must be those in force.
    fn settled(&self, current: &PolicySet) -> Result<BTreeMap<PathBuf, Vec<u8>>, NotApplied> {
        let reading = folder::read(self.folder()).map_err(NotApplied::Unreadable)?;
        if let Some((path, _)) = reading.unreadable.first() {
            return Err(NotApplied::Unsettled(path.clone()));
        }
        let there: BTreeMap<PathBuf, Vec<u8>> = reading.texts.into_iter().collect();
        let differs = |path: &&PathBuf| {
            let in_force = current.files().iter().find(|file| file.path == **path).map(|file| &file.text);
            there.get(*path) != in_force
        };
        let known = current.files().iter().map(|file| &file.path);
        match there.keys().chain(known).find(differs) {
            Some(path) => Err(NotApplied::Unsettled(path.clone())),
            None => Ok(there),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SCHEDULE: &str = "version: 1
default:
  time_zone: UTC
  windows: [{ days: [mon], from: \"00:00\", to: \"24:00\" }]
";
    const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - { id: orders.list, methods: [GET], path: /v1/orders }
  - { id: stock.list, methods: [GET], path: /v1/stock }
";

    fn reader(endpoint: &str) -> String {
        format!("version: 1\npolicy: reader\nrules:\n  - {{ id: read, allow: [{endpoint}] }}\n")
    }

    fn folder() -> (tempfile::TempDir, PolicyStore) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("endpoints")).expect("a folder");
        write(folder.path(), "schedule.yaml", SCHEDULE);
        write(folder.path(), "endpoints/erp.yaml", ENDPOINTS);
        write(folder.path(), "reader.yaml", &reader("orders.list"));
        let store = PolicyStore::open(folder.path()).expect("opened");
        (folder, store)
    }

    fn write(folder: &Path, file: &str, text: &str) {
        std::fs::write(folder.join(file), text).expect("written");
    }

    fn edit(store: &PolicyStore, file: &str, text: Option<&str>) -> Edit {
        Edit {
            file: file.parse().expect("a name"),
            text: text.map(|text| text.as_bytes().to_vec()),
            based_on: *store.current().hash().as_bytes(),
        }
    }

    fn apply(store: &PolicyStore, edit: &Edit) -> Result<ReloadReport, NotApplied> {
        store.apply(edit, |_| Ok(()), &|_| ())
    }

    #[test]
    fn an_edit_is_in_force_and_in_the_folder_when_it_returns_and_was_kept_before() {
        let (folder, store) = folder();
        let kept = std::cell::RefCell::new(Vec::new());
        let edit = edit(&store, "reader.yaml", Some(&reader("stock.list")));
        let mut told = None;
        let note = |planned: &Planned| {
            told = Some((planned.before, planned.after, planned.text_before, planned.text_after));
            assert_eq!(
                std::fs::read_to_string(folder.path().join("reader.yaml")).expect("read"),
                reader("orders.list")
            );
            Ok(())
        };
        let report = store.apply(&edit, note, &|set| kept.borrow_mut().push(set.hash())).expect("applied");
        let (before, after, text_before, text_after) = told.expect("noted");
        assert_eq!(before.as_bytes(), &edit.based_on);
        assert_eq!((after, report.hash, store.current().hash()), (report.hash, after, after));
        assert!(text_before.is_some() && text_after.is_some() && text_before != text_after);
        assert_eq!(kept.into_inner(), [after]);
        assert_eq!(std::fs::read_to_string(folder.path().join("reader.yaml")).expect("read"), reader("stock.list"));
        assert!(!store.reload().news, "the watch over the folder finds nothing new");
    }

    #[test]
    fn a_file_is_made_and_taken_away() {
        let (folder, store) = folder();
        let other = reader("stock.list").replace("reader", "other");
        apply(&store, &edit(&store, "other.yaml", Some(&other))).expect("made");
        assert!(store.current().policy(&"other".parse().expect("a name")).is_some());
        apply(&store, &edit(&store, "other.yaml", None)).expect("taken away");
        assert!(!folder.path().join("other.yaml").exists());
        assert!(store.current().policy(&"other".parse().expect("a name")).is_none());
    }

    /// Nothing is touched: not the folder, and not what is in force.
    fn is_refused(folder: &tempfile::TempDir, store: &PolicyStore, edit: &Edit, fits: impl Fn(&NotApplied) -> bool) {
        let path = folder.path().join(edit.file.as_str());
        let (text, hash) = (std::fs::read(&path).ok(), store.current().hash());
        let noted = std::cell::Cell::new(false);
        let note = |_: &Planned| {
            noted.set(true);
            Ok(())
        };
        let refused = store.apply(edit, note, &|_| ()).expect_err("refused");
        assert!(fits(&refused), "{refused:?}");
        assert!(!noted.get(), "a refusal is no change");
        assert_eq!((std::fs::read(&path).ok(), store.current().hash()), (text, hash));
    }

    #[test]
    fn a_draft_of_something_else_than_what_is_in_force_is_a_conflict() {
        let (folder, store) = folder();
        let old = edit(&store, "reader.yaml", Some(&reader("stock.list")));
        apply(&store, &edit(&store, "other.yaml", Some(&reader("stock.list").replace("reader", "other"))))
            .expect("applied");
        is_refused(&folder, &store, &old, |refused| matches!(refused, NotApplied::Conflict { .. }));
    }

    #[test]
    fn a_draft_with_mistakes_or_that_leaves_others_with_mistakes_is_refused() {
        let (folder, store) = folder();
        let mistakes = |refused: &NotApplied| matches!(refused, NotApplied::Mistakes(found) if !found.is_empty());
        is_refused(&folder, &store, &edit(&store, "reader.yaml", Some("version: 1\npolicy: [")), mistakes);
        is_refused(&folder, &store, &edit(&store, "reader.yaml", Some(&reader("orders.lst"))), mistakes);
        is_refused(&folder, &store, &edit(&store, "endpoints/erp.yaml", None), mistakes);
        is_refused(&folder, &store, &edit(&store, "reader.yaml", Some("")), mistakes);
    }

    #[test]
    fn a_folder_that_holds_something_else_than_what_is_in_force_is_left_alone() {
        let (folder, store) = folder();
        let unsettled = |wanted: &'static str| move |refused: &NotApplied| matches!(refused, NotApplied::Unsettled(path) if path == Path::new(wanted));
        let other = reader("stock.list").replace("reader", "other");
        write(folder.path(), "other.yaml", &other);
        is_refused(&folder, &store, &edit(&store, "reader.yaml", Some(&reader("stock.list"))), unsettled("other.yaml"));
        std::fs::remove_file(folder.path().join("other.yaml")).expect("removed");
        write(folder.path(), "reader.yaml", "broken: [");
        store.reload();
        is_refused(
            &folder,
            &store,
            &edit(&store, "reader.yaml", Some(&reader("stock.list"))),
            unsettled("reader.yaml"),
        );
    }

    #[test]
    fn what_changes_nothing_or_deletes_nothing_is_refused() {
        let (folder, store) = folder();
        let same = edit(&store, "reader.yaml", Some(&reader("orders.list")));
        is_refused(&folder, &store, &same, |refused| matches!(refused, NotApplied::Same));
        is_refused(&folder, &store, &edit(&store, "none.yaml", None), |refused| {
            matches!(refused, NotApplied::NoFile(_))
        });
    }

    #[test]
    fn without_its_note_nothing_is_changed() {
        let (folder, store) = folder();
        let (edit, hash) = (edit(&store, "reader.yaml", Some(&reader("stock.list"))), store.current().hash());
        let refused = store.apply(&edit, |_| Err("the disk is full".to_owned()), &|_| ()).expect_err("refused");
        assert!(matches!(refused, NotApplied::NotNoted(_)));
        assert_eq!(store.current().hash(), hash);
        assert_eq!(std::fs::read_to_string(folder.path().join("reader.yaml")).expect("read"), reader("orders.list"));
    }

    #[test]
    fn what_does_not_come_into_force_is_put_back() {
        let (folder, store) = folder();
        let edit = edit(&store, "reader.yaml", Some(&reader("stock.list")));
        // Between the look and the change somebody takes the endpoint away that the draft needs.
        let meanwhile = |_: &Planned| {
            write(folder.path(), "endpoints/erp.yaml", &ENDPOINTS.replace("stock.list", "stock.all"));
            Ok(())
        };
        let refused = store.apply(&edit, meanwhile, &|_| ()).expect_err("refused");
        assert!(matches!(refused, NotApplied::NotInForce { put_back: true }), "{refused:?}");
        assert_eq!(std::fs::read_to_string(folder.path().join("reader.yaml")).expect("read"), reader("orders.list"));
        let file = store.current().files().iter().find(|file| file.path == Path::new("reader.yaml")).cloned();
        assert_eq!(file.expect("in force").text, reader("orders.list").into_bytes());
    }
}
