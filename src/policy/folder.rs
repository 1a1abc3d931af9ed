//! The policy folder, read as one state of it: never half of what somebody is writing.
//!
//! Every path is looked up anew each time, through symlinks, so it does not matter how an editor saves, nor whether a
//! file, a folder or the policy folder itself is swapped.

use std::fs::Metadata;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files::is_ours;

/// The folders inside the policy folder that are ours, and itself.
const FOLDERS: [&str; 3] = ["", "endpoints", "cases"];

/// How often a folder is read in which something changes meanwhile.
const ATTEMPTS: usize = 6;
const PAUSE: Duration = Duration::from_millis(5);

/// What the folder holds.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The files that are ours, by their paths inside the folder, with their texts.
    pub(super) texts: Vec<(PathBuf, Vec<u8>)>,
    /// Files and folders inside that are there and cannot be read.
    pub(super) unreadable: Vec<(PathBuf, io::Error)>,
    has_empty_files: bool,
}

/// What is there, without its content: it differs whenever anything was saved, swapped or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamps(Vec<(PathBuf, Stamp)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stamp {
    File { device: u64, inode: u64, size: u64, modified: (i64, i64), changed: (i64, i64) },
    Unreadable(io::ErrorKind),
}

impl Stamps {
    /// Looks at the folder. What is wrong with the folder itself is a stamp too.
    pub(super) fn of(folder: &Path) -> Self {
        let mut stamps = Vec::new();
        for inside in FOLDERS {
            match files_in(folder, inside) {
                Ok(files) => stamps.extend(files),
                Err(error) if error.kind() == io::ErrorKind::NotFound && !inside.is_empty() => {}
                Err(error) => stamps.push((PathBuf::from(inside), Stamp::Unreadable(error.kind()))),
            }
        }
        stamps.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Self(stamps)
    }

    /// A state of some folder: two are equal where their numbers are.
    #[cfg(test)]
    pub(super) fn numbered(number: u64) -> Self {
        let (times, path) = ((0, 0), PathBuf::from("a.yaml"));
        Self(vec![(path, Stamp::File { device: 0, inode: 0, size: number, modified: times, changed: times })])
    }

    fn get(&self, path: &Path) -> Option<&Stamp> {
        self.0.iter().find(|(known, _)| known == path).map(|(_, stamp)| stamp)
    }
}

/// The files of ours in one of the folders. A listing that breaks off says nothing about what it leaves out.
fn files_in(folder: &Path, inside: &str) -> io::Result<Vec<(PathBuf, Stamp)>> {
    let entries = std::fs::read_dir(folder.join(inside))?.collect::<io::Result<Vec<_>>>()?;
    let files = entries.into_iter().filter_map(|entry| {
        let path = Path::new(inside).join(entry.file_name());
        let stamp = is_ours(&path).then(|| stamp(&entry.path())).flatten()?;
        Some((path, stamp))
    });
    Ok(files.collect())
}

/// `None` for what is no file, and for a symlink that leads nowhere: to us it is not there.
fn stamp(path: &Path) -> Option<Stamp> {
    match std::fs::metadata(path) {
        Ok(metadata) => metadata.is_file().then(|| Stamp::from(&metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(Stamp::Unreadable(error.kind())),
    }
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        Self::File {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads the folder as it was at one moment; while files are saved without a pause, each file as it was at one moment.
///
/// # Errors
/// When the folder itself is not there or cannot be read.
pub(super) fn read(folder: &Path) -> io::Result<Reading> {
    let mut with_empty_files = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        // A folder that is swapped by its symlink is read behind one link only; between two there may be none.
        let Ok(folder) = folder.canonicalize() else { continue };
        let before = Stamps::of(&folder);
        // INVARIANT: a reading that something was written into meanwhile is a mixture of two states.
        match read_as(&folder, &before) {
            Some(reading) if Stamps::of(&folder) == before => match reading {
                // Whoever saves a file empties it first.
                Ok(reading) if reading.has_empty_files => with_empty_files = Some(reading),
                reading => return reading,
            },
            _ => with_empty_files = None,
        }
    }
    with_empty_files.map_or_else(|| read_each(folder), Ok)
}

/// Reads what the stamps say is there; `None` when a file is not as they say any more.
fn read_as(folder: &Path, stamps: &Stamps) -> Option<io::Result<Reading>> {
    let mut reading = Reading::default();
    for (path, stamp) in &stamps.0 {
        match (stamp, read_file(&folder.join(path))) {
            (Stamp::File { .. }, Ok((opened, text))) if opened == *stamp => reading.add(path, text),
            (Stamp::File { .. }, Ok(_)) => return None,
            (Stamp::Unreadable(kind), _) if path.as_os_str().is_empty() => return Some(Err((*kind).into())),
            (Stamp::Unreadable(kind), _) => reading.unreadable.push((path.clone(), (*kind).into())),
            (Stamp::File { .. }, Err(error)) if error.kind() == io::ErrorKind::NotFound => return None,
            (Stamp::File { .. }, Err(error)) => reading.unreadable.push((path.clone(), error)),
        }
    }
    Some(Ok(reading))
}

impl Reading {
    /// An empty file says nothing, and is what one in the middle of being saved looks like.
    fn add(&mut self, path: &Path, text: Vec<u8>) {
        if text.is_empty() {
            self.has_empty_files = true;
            self.unreadable.push((path.to_owned(), io::Error::new(io::ErrorKind::InvalidData, "the file is empty")));
        } else {
            self.texts.push((path.to_owned(), text));
        }
    }
}

/// A text with the stamp of the very file that it was read from.
fn read_file(path: &Path) -> io::Result<(Stamp, Vec<u8>)> {
    let mut file = std::fs::File::open(path)?;
    let stamp = Stamp::from(&file.metadata()?);
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let Stamp::File { size, .. } = stamp else { return Err(io::ErrorKind::InvalidInput.into()) };
    if u64::try_from(text.len()).is_ok_and(|length| length == size) {
        Ok((stamp, text))
    } else {
        Err(io::Error::new(io::ErrorKind::WouldBlock, "it is being written"))
    }
}

/// The same where the folder never stands still: a file that does not either counts as one that cannot be read now.
fn read_each(folder: &Path) -> io::Result<Reading> {
    let first = Stamps::of(folder);
    std::thread::sleep(PAUSE);
    // A file that an editor is just about to put back is in one of the two.
    let second = Stamps::of(folder);
    if let Some(Stamp::Unreadable(kind)) = second.get(Path::new("")) {
        return Err((*kind).into());
    }
    let mut paths: Vec<PathBuf> = first.0.into_iter().chain(second.0).map(|(path, _)| path).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut reading = Reading::default();
    for path in paths {
        match read_settled(&folder.join(&path)) {
            Ok(text) => reading.add(&path, text),
            Err(error) => reading.unreadable.push((path, error)),
        }
    }
    Ok(reading)
}

/// A file that is the same twice, a moment apart.
fn read_settled(path: &Path) -> io::Result<Vec<u8>> {
    let mut last = read_file(path);
    for _ in 0..ATTEMPTS {
        std::thread::sleep(PAUSE / 2);
        let next = read_file(path);
        match (&last, next) {
            (Ok(before), Ok(now)) if *before == now => return Ok(now.1),
            (_, next) => last = next,
        }
    }
    last.and(Err(io::Error::new(io::ErrorKind::WouldBlock, "it is being written all the time")))
}

#[cfg(test)]
mod tests;
