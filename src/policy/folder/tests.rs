use std::collections::{HashMap, HashSet};
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("endpoints")).expect("a folder");
    write(folder.path(), "a.yaml", "a");
    write(folder.path(), "endpoints/e.yaml", "e");
    folder
}

fn write(folder: &Path, path: &str, text: &str) {
    std::fs::write(folder.join(path), text).expect("written");
}

fn texts(folder: &Path) -> Vec<(String, String)> {
    let reading = read(folder).expect("read");
    let text = |bytes| String::from_utf8(bytes).expect("a text");
    reading.texts.into_iter().map(|(path, bytes)| (path.display().to_string(), text(bytes))).collect()
}

fn pair(path: &str, text: &str) -> (String, String) {
    (path.to_owned(), text.to_owned())
}

#[test]
fn only_yaml_files_of_ours_are_read() {
    let folder = folder();
    for other in [".a.yaml", "#a.yaml", "a.yaml~", "a.txt", "endpoints/.e.yaml"] {
        write(folder.path(), other, "x");
    }
    std::fs::create_dir_all(folder.path().join("other/deep")).expect("a folder");
    write(folder.path(), "other/o.yaml", "x");
    std::fs::create_dir(folder.path().join("b.yaml")).expect("a folder");
    assert_eq!(texts(folder.path()), [pair("a.yaml", "a"), pair("endpoints/e.yaml", "e")]);
}

#[test]
fn every_way_of_saving_changes_the_stamps() {
    let folder = folder();
    let outside = tempfile::tempdir().expect("a folder");
    write(outside.path(), "linked.yaml", "1");
    symlink(outside.path().join("linked.yaml"), folder.path().join("linked.yaml")).expect("linked");
    let at = |path: &str| folder.path().join(path);
    let ways: [(&str, &dyn Fn()); 7] = [
        ("in place", &|| write(folder.path(), "a.yaml", "other")),
        ("the same length", &|| write(folder.path(), "endpoints/e.yaml", "f")),
        ("behind a symlink", &|| write(outside.path(), "linked.yaml", "2")),
        ("added", &|| write(folder.path(), "new.yaml", "n")),
        ("renamed over", &|| {
            write(folder.path(), "a.tmp", "other");
            std::fs::rename(at("a.tmp"), at("a.yaml")).expect("renamed");
        }),
        ("removed", &|| std::fs::remove_file(at("new.yaml")).expect("removed")),
        ("a folder removed", &|| std::fs::remove_dir_all(at("endpoints")).expect("removed")),
    ];
    for (way, save) in ways {
        let before = Stamps::of(folder.path());
        assert_eq!(before, Stamps::of(folder.path()), "nothing has happened");
        // Two saves within one tick of the file system's clock must not be needed to see one.
        save();
        assert_ne!(before, Stamps::of(folder.path()), "{way}");
    }
}

#[test]
fn a_symlink_that_leads_nowhere_is_no_file_and_one_that_leads_to_itself_cannot_be_read() {
    let folder = folder();
    symlink("nothing", folder.path().join("b.yaml")).expect("linked");
    symlink("c.yaml", folder.path().join("c.yaml")).expect("linked");
    let reading = read(folder.path()).expect("read");
    let paths: Vec<_> = reading.texts.iter().map(|(path, _)| path.display().to_string()).collect();
    assert_eq!(paths, ["a.yaml", "endpoints/e.yaml"]);
    assert_eq!(reading.unreadable.iter().map(|(path, _)| path).collect::<Vec<_>>(), [Path::new("c.yaml")]);
}

/// However a reading ends, the other thread does too.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does something again and again in another thread, with a short pause, until `reading` has seen enough.
fn while_it_happens(pause: Duration, act: impl Fn(usize) + Sync, mut reading: impl FnMut() -> bool) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0.. {
                act(turn);
                std::thread::sleep(pause);
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let _stops = Stops(&stop);
        let enough = (0..5000).any(|_| {
            std::thread::sleep(Duration::from_millis(1));
            reading()
        });
        assert!(enough, "what is looked for does not come");
    });
}

#[test]
fn a_folder_that_is_swapped_all_the_time_is_never_read_as_a_mixture() {
    let outside = tempfile::tempdir().expect("a folder");
    for version in ["0", "1"] {
        std::fs::create_dir_all(outside.path().join(version).join("endpoints")).expect("a folder");
        for file in ["a.yaml", "b.yaml", "endpoints/e.yaml"] {
            write(outside.path(), &format!("{version}/{file}"), version);
        }
    }
    // As Kubernetes mounts it, and the folder itself as a symlink.
    std::fs::create_dir(outside.path().join("mounted")).expect("a folder");
    for entry in ["a.yaml", "b.yaml", "endpoints"] {
        symlink(format!("..data/{entry}"), outside.path().join("mounted").join(entry)).expect("linked");
    }
    for (link, to) in [("mounted/..data", "../"), ("policies", "")] {
        let swap = |turn: usize| {
            let next = outside.path().join("next");
            symlink(format!("{to}{}", turn % 2), &next).expect("linked");
            std::fs::rename(next, outside.path().join(link)).expect("swapped");
        };
        swap(0);
        let folder = outside.path().join(link.split('/').next().expect("a name"));
        let mut seen: HashMap<String, u32> = HashMap::new();
        while_it_happens(Duration::from_millis(25), swap, || {
            let texts = texts(&folder);
            let versions: HashSet<String> = texts.iter().map(|(_, text)| text.clone()).collect();
            assert_eq!((texts.len(), versions.len()), (3, 1), "a mixture: {texts:?}");
            for version in versions {
                *seen.entry(version).or_default() += 1;
            }
            seen.len() == 2 && seen.values().all(|times| *times >= 50)
        });
    }
}

#[test]
fn a_file_that_is_written_in_place_all_the_time_is_never_read_half() {
    let folder = folder();
    let whole = |turn: usize| if turn.is_multiple_of(2) { "a".repeat(64 * 1024) } else { "b".repeat(64 * 1024) };
    write(folder.path(), "a.yaml", &whole(0));
    let mut found = 0;
    while_it_happens(
        Duration::from_millis(10),
        |turn| write(folder.path(), "a.yaml", &whole(turn)),
        || {
            let reading = read(folder.path()).expect("read");
            assert!(reading.texts.iter().any(|(path, _)| path == Path::new("endpoints/e.yaml")), "{reading:?}");
            // One that does not stand still is said to be there, and unreadable: its last good version counts.
            let Some((_, text)) = reading.texts.iter().find(|(path, _)| path == Path::new("a.yaml")) else {
                assert!(reading.unreadable.iter().any(|(path, _)| path == Path::new("a.yaml")), "{reading:?}");
                return false;
            };
            let letters: HashSet<&u8> = text.iter().collect();
            assert_eq!((text.len(), letters.len()), (64 * 1024, 1), "half of a file");
            found += 1;
            found == 200
        },
    );
    assert!(found > 20, "{found} of 200 readings found the file");
}
