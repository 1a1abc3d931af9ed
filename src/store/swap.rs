//! Putting databases in the place of others: all of them or none, whenever the process is killed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// The file that says what is being put in place. While it is there, the swap is to be finished.
const JOURNAL: &str = "swap.json";

/// Databases that are ready in a folder inside of the store's, and what becomes of those in their place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Swap {
    /// The folder in which they are ready.
    pub from: PathBuf,
    /// Their files; each is one file without a log beside it.
    pub files: Vec<String>,
    /// What is appended to the names of the files that were in their place.
    pub aside: String,
    /// Files that go aside with nothing in their place.
    pub gone: Vec<String>,
}

/// What SQLite puts beside a database.
const BESIDE: [&str; 3] = ["", "-wal", "-shm"];

impl Swap {
    /// Puts the databases in place. Until the journal is on disk nothing has changed; from then on it is finished by
    /// [`finish`], if not by this call. Nobody may have the databases open.
    ///
    /// # Errors
    /// When a file cannot be moved; the next call of [`finish`] goes on.
    pub fn carry_out(&self, directory: &Path) -> io::Result<()> {
        let (journal, unfinished) = (directory.join(JOURNAL), directory.join("swap.json.new"));
        let text = serde_json::to_vec(self)?;
        let _ = fs::remove_file(&unfinished);
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        file.write_all(&text)?;
        file.sync_all()?;
        sync(&directory.join(&self.from))?;
        fs::rename(&unfinished, &journal)?;
        sync(directory)?;
        self.go_on(directory)
    }

    fn go_on(&self, directory: &Path) -> io::Result<()> {
        let from = directory.join(&self.from);
        for name in &self.gone {
            self.put_aside(directory, name)?;
        }
        for name in &self.files {
            let ready = from.join(name);
            if ready.try_exists()? {
                self.put_aside(directory, name)?;
                fs::rename(&ready, directory.join(name))?;
                sync(directory)?;
            }
        }
        fs::remove_file(directory.join(JOURNAL))?;
        sync(directory)?;
        match fs::remove_dir_all(&from) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// What was in the place of a file, with its log: the newest commits may be in there only.
    fn put_aside(&self, directory: &Path, name: &str) -> io::Result<()> {
        for beside in BESIDE {
            let (there, aside) = (format!("{name}{beside}"), format!("{name}{}{beside}", self.aside));
            match fs::rename(directory.join(there), directory.join(aside)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        sync(directory)
    }
}

/// Finishes a swap that was interrupted.
pub(super) fn finish(directory: &Path) -> io::Result<()> {
    let text = match fs::read(directory.join(JOURNAL)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        read => read?,
    };
    let swap: Swap = serde_json::from_slice(&text)?;
    log::warn!("a restore that was interrupted is being finished");
    swap.go_on(directory)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn swap() -> Swap {
        let files = vec!["a.db".to_owned(), "b.db".to_owned()];
        Swap { from: ".ready".into(), files, aside: ".before".into(), gone: vec!["i.db".into()] }
    }

    /// Two databases in place, two that are ready, and one that goes.
    fn scene() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join(".ready")).expect("created");
        for (name, text) in [
            ("a.db", "old a"),
            ("a.db-wal", "old log"),
            ("b.db", "old b"),
            ("i.db", "old i"),
            (".ready/a.db", "new a"),
            (".ready/b.db", "new b"),
        ] {
            fs::write(folder.path().join(name), text).expect("written");
        }
        folder
    }

    fn listing(folder: &Path) -> Vec<(String, String)> {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
        let mut found: Vec<_> = entries
            .map(|entry| {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                (entry.file_name().to_string_lossy().into_owned(), text)
            })
            .collect();
        found.sort();
        found
    }

    fn swapped() -> Vec<(String, String)> {
        let folder = scene();
        swap().carry_out(folder.path()).expect("swapped");
        listing(folder.path())
    }

    #[test]
    fn the_new_files_are_in_place_and_the_old_ones_are_kept_with_their_logs() {
        let listed: Vec<_> = swapped();
        let texts: Vec<_> = listed.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(
            texts,
            [
                ("a.db", "new a"),
                ("a.db.before", "old a"),
                ("a.db.before-wal", "old log"),
                ("b.db", "new b"),
                ("b.db.before", "old b"),
                ("i.db.before", "old i"),
            ]
        );
    }

    /// Every prefix of the steps, as a crash leaves it, ends as if there had been none.
    #[test]
    fn interrupted_after_any_step_it_ends_as_if_it_had_not_been() {
        let steps: [&dyn Fn(&Path); 7] = [
            &|folder| fs::rename(folder.join("i.db"), folder.join("i.db.before")).expect("moved"),
            &|folder| fs::rename(folder.join("a.db"), folder.join("a.db.before")).expect("moved"),
            &|folder| fs::rename(folder.join("a.db-wal"), folder.join("a.db.before-wal")).expect("moved"),
            &|folder| fs::rename(folder.join(".ready/a.db"), folder.join("a.db")).expect("moved"),
            &|folder| fs::rename(folder.join("b.db"), folder.join("b.db.before")).expect("moved"),
            &|folder| fs::rename(folder.join(".ready/b.db"), folder.join("b.db")).expect("moved"),
            &|folder| fs::remove_file(folder.join(JOURNAL)).expect("removed"),
        ];
        for done in 0..=steps.len() {
            let folder = scene();
            fs::write(folder.path().join(JOURNAL), serde_json::to_vec(&swap()).expect("JSON")).expect("written");
            for step in steps.iter().take(done) {
                step(folder.path());
            }
            finish(folder.path()).expect("finished");
            finish(folder.path()).expect("nothing is left to do");
            let mut listed = listing(folder.path());
            // A folder that is empty, and of no use to anybody, may stay.
            listed.retain(|(name, _)| name != ".ready");
            assert_eq!(listed, swapped(), "after {done} steps");
        }
    }

    #[test]
    fn before_the_journal_is_there_nothing_has_changed() {
        let folder = scene();
        fs::write(folder.path().join("swap.json.new"), "{").expect("written");
        let before = listing(folder.path());
        finish(folder.path()).expect("nothing to do");
        assert_eq!(listing(folder.path()), before);
    }
}
