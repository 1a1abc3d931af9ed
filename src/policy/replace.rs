//! Puts another text in place of a file of the policy folder, whole or not at all, where the folder is ours to write.
//!
//! What takes files from a path that somebody else chose can be led elsewhere, so nothing here follows a symlink.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::policy_file::PolicyFile;

/// Any permission to write.
const WRITABLE: u32 = 0o222;

/// Why a file is not for the gateway to write.
#[derive(Debug, thiserror::Error)]
pub enum NotWritable {
    /// It, or a folder on its way, is a symlink.
    #[error("`{0}` is a symlink: what is there is put in place by somebody else, as a whole")]
    Symlink(PathBuf),
    /// It, or a folder on its way, is something else.
    #[error("`{0}` is neither a file nor a folder")]
    SomethingElse(PathBuf),
    /// There is no such folder.
    #[error("there is no folder `{0}`; make it first")]
    NoFolder(PathBuf),
    /// Nobody has the permission to write: it is meant to stay as it is.
    #[error("`{0}` is read-only: its mode lets nobody write")]
    ReadOnly(PathBuf),
    /// The system says no.
    #[error("the gateway may not write to `{0}`: {1}")]
    NotAllowed(PathBuf, io::Error),
    /// Its owner would change.
    #[error("`{0}` belongs to the user with the number {1}; the gateway could not keep that")]
    OfSomebodyElse(PathBuf, u32),
}

/// Where a file stands, or will: in a folder that is ours to write.
#[derive(Debug)]
pub(super) struct Spot {
    folder: PathBuf,
    path: PathBuf,
    unfinished: PathBuf,
    before: Option<Metadata>,
}

impl Spot {
    /// Looks where this file of the policy folder stands, and whether it may be written.
    pub(super) fn of(folder: &Path, file: &PolicyFile) -> Result<Self, NotWritable> {
        // Behind a slash at its end a symlink would be followed.
        let mut inside = real_folder(folder.components().collect())?;
        if let Some(name) = file.folder() {
            inside = real_folder(inside.join(name))?;
        }
        let path = inside.join(file.name());
        let before = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => return Err(NotWritable::Symlink(path)),
            Ok(metadata) if !metadata.is_file() => return Err(NotWritable::SomethingElse(path)),
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(NotWritable::NotAllowed(path, error)),
        };
        if let Some(before) = &before {
            let user = rustix::process::geteuid();
            if before.mode() & WRITABLE == 0 {
                return Err(NotWritable::ReadOnly(path));
            }
            if !user.is_root() && before.uid() != user.as_raw() {
                return Err(NotWritable::OfSomebodyElse(path, before.uid()));
            }
        }
        // The loader and the watch over the folder pass hidden files over.
        let unfinished = inside.join(format!(".{}.erp-access-new", file.name()));
        Ok(Self { folder: inside, path, unfinished, before })
    }

    /// The text that is there.
    pub(super) fn text(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a text there, or takes the file away, where `expected` is there still. On an error nothing has changed.
    pub(super) fn replace(&self, expected: Option<&[u8]>, text: Option<&[u8]>) -> io::Result<()> {
        let done = match text {
            Some(text) => self.write(text).and_then(|()| {
                self.is_still(expected)?;
                fs::rename(&self.unfinished, &self.path)
            }),
            None => self.is_still(expected).and_then(|()| fs::remove_file(&self.path)),
        };
        if done.is_err() {
            let _ = fs::remove_file(&self.unfinished);
        }
        done?;
        if let Err(error) = File::open(&self.folder).and_then(|folder| folder.sync_all()) {
            // It is in place; only a power cut could bring the former text back.
            log::warn!("`{}`: {error}", self.folder.display());
        }
        Ok(())
    }

    fn is_still(&self, expected: Option<&[u8]>) -> io::Result<()> {
        if self.text()?.as_deref() == expected {
            return Ok(());
        }
        Err(io::Error::other("somebody else is writing it"))
    }

    /// Writes the text beside the file, with the mode and the owner that the file has.
    fn write(&self, text: &[u8]) -> io::Result<()> {
        // What a process left that was killed.
        let _ = fs::remove_file(&self.unfinished);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.unfinished)?;
        file.write_all(text)?;
        let owner = file.metadata()?;
        let mode = match &self.before {
            Some(before) => {
                if (owner.uid(), owner.gid()) != (before.uid(), before.gid()) {
                    std::os::unix::fs::fchown(&file, Some(before.uid()), Some(before.gid()))?;
                }
                before.mode() & 0o7777
            }
            // A new file is as readable as its folder.
            None => fs::metadata(&self.folder)?.mode() & 0o666,
        };
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.sync_all()
    }
}

/// A folder that is one itself and may be written.
fn real_folder(path: PathBuf) -> Result<PathBuf, NotWritable> {
    let found = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(NotWritable::NoFolder(path)),
        Err(error) => return Err(NotWritable::NotAllowed(path, error)),
        Ok(found) => found,
    };
    if found.is_symlink() {
        return Err(NotWritable::Symlink(path));
    }
    if !found.is_dir() {
        return Err(NotWritable::SomethingElse(path));
    }
    // Root is asked for no permission by the system; a mode that lets nobody write is meant for it too.
    if found.mode() & WRITABLE == 0 {
        return Err(NotWritable::ReadOnly(path));
    }
    match accessat(CWD, &path, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        Ok(()) => Ok(path),
        Err(error) => Err(NotWritable::NotAllowed(path, error.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            let folder = Self(tempfile::tempdir().expect("a folder"));
            fs::create_dir_all(folder.path("endpoints")).expect("a folder");
            fs::write(folder.path("a.yaml"), "old").expect("written");
            folder
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join("policies").join(path)
        }

        fn spot(&self, file: &str) -> Result<Spot, NotWritable> {
            Spot::of(&self.0.path().join("policies"), &file.parse().expect("a name"))
        }

        fn mode(&self, path: &str, mode: u32) {
            fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).expect("changed");
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.path("")).expect("a folder");
            let mut names: Vec<_> =
                entries.map(|entry| entry.expect("one").file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        }
    }

    #[test]
    fn a_text_takes_the_place_of_another_with_its_mode_and_leaves_nothing_beside_it() {
        let folder = Folder::new();
        folder.mode("a.yaml", 0o640);
        fs::write(folder.path(".a.yaml.erp-access-new"), "what a killed process left").expect("written");
        let before = fs::metadata(folder.path("a.yaml")).expect("there");
        folder.spot("a.yaml").expect("writable").replace(Some(b"old"), Some(b"new")).expect("replaced");
        let after = fs::metadata(folder.path("a.yaml")).expect("there");
        assert_eq!(fs::read(folder.path("a.yaml")).expect("read"), b"new");
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
        assert_ne!(after.ino(), before.ino(), "a reader has the one or the other, whole");
        assert_eq!(folder.names(), ["a.yaml", "endpoints"]);
    }

    #[test]
    fn a_new_file_is_as_readable_as_its_folder_and_a_file_can_be_taken_away() {
        let folder = Folder::new();
        folder.mode("endpoints", 0o750);
        let spot = folder.spot("endpoints/e.yaml").expect("writable");
        spot.replace(None, Some(b"new")).expect("made");
        assert_eq!(fs::metadata(folder.path("endpoints/e.yaml")).expect("there").mode() & 0o777, 0o640);
        spot.replace(Some(b"new"), None).expect("taken away");
        assert_eq!(spot.text().expect("read"), None);
    }

    #[test]
    fn what_somebody_else_wrote_meanwhile_stays() {
        let folder = Folder::new();
        let spot = folder.spot("a.yaml").expect("writable");
        fs::write(folder.path("a.yaml"), "theirs").expect("written");
        for text in [Some(b"new".as_slice()), None] {
            assert!(spot.replace(Some(b"old"), text).is_err());
            assert_eq!(fs::read(folder.path("a.yaml")).expect("read"), b"theirs");
            assert_eq!(folder.names(), ["a.yaml", "endpoints"]);
        }
    }

    #[test]
    fn no_symlink_is_followed_or_replaced() {
        let folder = Folder::new();
        let outside = folder.0.path().join("outside");
        fs::create_dir(&outside).expect("a folder");
        fs::write(outside.join("target.yaml"), "theirs").expect("written");
        symlink(outside.join("target.yaml"), folder.path("link.yaml")).expect("linked");
        symlink(outside.join("nowhere"), folder.path("broken.yaml")).expect("linked");
        symlink(&outside, folder.path("cases")).expect("linked");
        for file in ["link.yaml", "broken.yaml", "cases/target.yaml", "cases/new.yaml"] {
            assert!(matches!(folder.spot(file), Err(NotWritable::Symlink(_))), "{file}");
        }
        symlink(folder.path(""), folder.0.path().join("swapped")).expect("linked");
        let through = Spot::of(&folder.0.path().join("swapped"), &"a.yaml".parse().expect("a name"));
        assert!(matches!(through, Err(NotWritable::Symlink(_))));
        let through = Spot::of(&folder.0.path().join("swapped/"), &"a.yaml".parse().expect("a name"));
        assert!(matches!(through, Err(NotWritable::Symlink(_))));
        assert_eq!(fs::read(outside.join("target.yaml")).expect("read"), b"theirs");
    }

    #[test]
    fn what_is_no_file_or_not_there_or_read_only_is_refused() {
        let folder = Folder::new();
        fs::create_dir(folder.path("folder.yaml")).expect("a folder");
        assert!(matches!(folder.spot("folder.yaml"), Err(NotWritable::SomethingElse(_))));
        assert!(matches!(folder.spot("cases/a.yaml"), Err(NotWritable::NoFolder(_))));
        folder.mode("a.yaml", 0o444);
        assert!(matches!(folder.spot("a.yaml"), Err(NotWritable::ReadOnly(_))));
        folder.mode("endpoints", 0o555);
        assert!(matches!(folder.spot("endpoints/e.yaml"), Err(NotWritable::ReadOnly(_))));
        folder.mode("", 0o555);
        assert!(matches!(folder.spot("b.yaml"), Err(NotWritable::ReadOnly(_))));
        folder.mode("", 0o755);
    }
}
