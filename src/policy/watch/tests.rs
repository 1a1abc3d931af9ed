use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::*;
use crate::policy::{PolicySet, PolicyStore};

/// The looks, by their numbers, after which the folder is read.
fn read_after(states: &[u64]) -> Vec<usize> {
    let mut looking = Looking::default();
    let stamps = states.iter().map(|state| Stamps::numbered(*state));
    (1..).zip(stamps).filter_map(|(number, state)| looking.look(state).then_some(number)).collect()
}

#[test]
fn a_folder_is_read_when_it_is_quiet_and_once() {
    assert_eq!(read_after(&[1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2]), [3, 9]);
    assert_eq!(read_after(&[1, 1, 1, 2, 3, 3, 3, 3]), [3, 7], "a second save makes it wait");
}

#[test]
fn a_folder_that_is_never_quiet_is_read_all_the_same_and_again_when_it_is() {
    assert_eq!(read_after(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 12, 12, 12]), [6, 12, 15]);
    assert!(LOOK * (PATIENCE + 2) < Duration::from_secs(1), "a storm does not keep a change waiting for a second");
}

#[test]
fn a_panic_while_reading_does_not_end_the_watch() {
    let folder = tempfile::tempdir().expect("a folder");
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    let watcher = Watcher::start(folder.path().to_owned(), move || {
        assert!(called.fetch_add(1, Ordering::SeqCst) > 0, "a reader that panics the first time");
    });
    let _watcher = watcher.expect("watched");
    wait("the first reading", || calls.load(Ordering::SeqCst) == 1);
    std::fs::write(folder.path().join("a.yaml"), "a").expect("written");
    wait("the second reading", || calls.load(Ordering::SeqCst) == 2);
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} does not come");
}

const SCHEDULE: &str = "version: 1\ndefault: { time_zone: UTC, windows: [] }\n";
const ENDPOINTS: &str = "version: 1\nupstream: erp\nendpoints: [{ id: orders, methods: [GET], path: /v1/orders }]\n";

/// A policy whose description tells which text is in force.
fn policy(name: &str, description: &str) -> String {
    format!("version: 1\npolicy: {name}\ndescription: {description}\nrules: [{{ id: read, allow: [orders] }}]\n")
}

fn write_all(folder: &Path, description: &str) {
    std::fs::create_dir_all(folder.join("endpoints")).expect("a folder");
    std::fs::write(folder.join("schedule.yaml"), SCHEDULE).expect("written");
    std::fs::write(folder.join("endpoints/erp.yaml"), ENDPOINTS).expect("written");
    std::fs::write(folder.join("reader.yaml"), policy("reader", description)).expect("written");
}

/// A store whose folder is watched. `folder` is where the policies are, through whatever symlinks.
struct Watched {
    store: Arc<PolicyStore>,
    _watcher: Watcher,
}

impl Watched {
    fn new(folder: &Path) -> Self {
        let store = PolicyStore::open(folder).unwrap_or_else(|problems| panic!("{problems}"));
        let store = Arc::new(store);
        let reloaded = Arc::clone(&store);
        let watcher = Watcher::start(folder.to_owned(), move || drop(reloaded.reload())).expect("watched");
        Self { store, _watcher: watcher }
    }

    /// Which policies are in force, each with its description.
    fn shown(&self) -> Vec<String> {
        let set = self.store.current();
        let names = set.policy_names();
        names
            .iter()
            .map(|name| format!("{name}={}", set.policy(name).expect("a policy").description().expect("one")))
            .collect()
    }

    fn shows(&self, way: &str, wanted: &[&str]) {
        wait(&format!("{way}: {wanted:?}"), || self.shown() == wanted);
    }
}

#[test]
fn every_way_in_which_editors_save_takes_effect() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write_all(folder, "first");
    let watched = Watched::new(folder);
    let at = |path: &str| folder.join(path);
    let save = |path: &str, description: &str| {
        std::fs::write(at(path), policy("reader", description)).expect("written");
    };
    let rename = |from: &str, to: &str| std::fs::rename(at(from), at(to)).expect("renamed");

    save("reader.yaml", "in-place");
    watched.shows("written in place", &["reader=in-place"]);
    save("reader.yaml.tmp", "renamed");
    rename("reader.yaml.tmp", "reader.yaml");
    watched.shows("written beside and renamed over", &["reader=renamed"]);
    rename("reader.yaml", "reader.yaml~");
    save("reader.yaml", "backup");
    watched.shows("the old one renamed, then written anew", &["reader=backup"]);
    std::fs::write(at("other.yaml"), policy("other", "added")).expect("written");
    watched.shows("added", &["other=added", "reader=backup"]);
    std::fs::write(at("other.yaml"), policy("third", "renamed")).expect("written");
    rename("other.yaml", "third.yaml");
    watched.shows("renamed", &["reader=backup", "third=renamed"]);
    std::fs::write(at("reader.yaml"), "broken: [").expect("written");
    std::fs::remove_file(at("third.yaml")).expect("removed");
    watched.shows("removed while another is broken", &["reader=backup"]);
    assert_eq!(watched.store.problems().0.len(), 1);
    // As `git checkout` does: each file is unlinked and created, one after the other.
    for path in ["reader.yaml", "endpoints/erp.yaml", "schedule.yaml"] {
        std::fs::remove_file(at(path)).expect("removed");
    }
    write_all(folder, "checkout");
    for number in 0..50 {
        let name = format!("policy{number}");
        std::fs::write(at(&format!("{name}.yaml")), policy(&name, "x")).expect("written");
    }
    wait("a checkout of many files", || watched.shown().len() == 51);
    assert!(watched.store.problems().is_empty(), "{}", watched.store.problems());
}

#[test]
fn every_way_of_swapping_by_symlink_takes_effect() {
    let outside = tempfile::tempdir().expect("a folder");
    let at = |path: &str| outside.path().join(path);
    let swap = |to: &str, link: &str| {
        symlink(to, at("next")).expect("linked");
        std::fs::rename(at("next"), at(link)).expect("swapped");
    };
    for version in ["first", "second"] {
        write_all(&at(version), version);
    }
    // The policy folder itself is a symlink.
    symlink("first", at("policies")).expect("linked");
    let watched = Watched::new(&at("policies"));
    swap("second", "policies");
    watched.shows("the folder is swapped", &["reader=second"]);
    std::fs::write(at("second/reader.yaml"), policy("reader", "edited")).expect("written");
    watched.shows("a file behind the new link is edited", &["reader=edited"]);
    drop(watched);

    // As Kubernetes mounts a ConfigMap: files and folders lead through `..data`, and that is swapped.
    std::fs::create_dir(at("mounted")).expect("a folder");
    symlink("../first", at("mounted/..data")).expect("linked");
    for entry in ["reader.yaml", "schedule.yaml", "endpoints"] {
        symlink(format!("..data/{entry}"), at("mounted").join(entry)).expect("linked");
    }
    let watched = Watched::new(&at("mounted"));
    swap("../second", "mounted/..data");
    watched.shows("`..data` is swapped", &["reader=edited"]);

    // One file is a symlink to a place that nobody watches.
    std::fs::write(at("elsewhere"), policy("reader", "elsewhere")).expect("written");
    swap("../elsewhere", "mounted/reader.yaml");
    watched.shows("the link of a file is swapped", &["reader=elsewhere"]);
    std::fs::write(at("elsewhere"), policy("reader", "through")).expect("written");
    watched.shows("the file behind a link is edited", &["reader=through"]);
    drop(watched);

    // The folder is renamed, and another takes its place.
    let watched = Watched::new(&at("first"));
    std::fs::rename(at("first"), at("gone")).expect("renamed");
    std::fs::rename(at("second"), at("first")).expect("renamed");
    watched.shows("another folder of the same name", &["reader=edited"]);
    std::fs::remove_dir_all(at("first")).expect("removed");
    watched.shows("the folder is removed", &[]);
}

/// However a test ends, its other threads do too.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_storm_of_saves_is_followed_while_it_lasts_and_leaves_no_old_set_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    write_all(folder, "first");
    let watched = Watched::new(folder);
    let stop = AtomicBool::new(false);
    let mut sets: Vec<(u64, Weak<PolicySet>)> = Vec::new();
    let saved = std::thread::scope(|scope| {
        let saving = scope.spawn(|| {
            let mut saves = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                saves += 1;
                let text = policy("reader", &format!("save{saves}"));
                if saves.is_multiple_of(2) {
                    std::fs::write(folder.join("reader.yaml"), text).expect("written");
                } else {
                    std::fs::write(folder.join("reader.tmp"), text).expect("written");
                    std::fs::rename(folder.join("reader.tmp"), folder.join("reader.yaml")).expect("renamed");
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            saves
        });
        let ends = Stops(&stop);
        wait("a fifth generation while the storm lasts", || {
            let set = watched.store.current();
            assert_eq!(set.policy_names().len(), 1, "no state without the policy is ever in force");
            if sets.last().is_none_or(|(generation, _)| *generation != set.generation()) {
                sets.push((set.generation(), Arc::downgrade(&set)));
            }
            set.generation() >= 5
        });
        drop(ends);
        saving.join().expect("ends")
    });
    watched.shows("the last save", &[&format!("reader=save{saved}")]);
    let last = watched.store.current().generation();
    let left = sets.iter().filter(|(generation, set)| *generation != last && set.strong_count() > 0).count();
    assert_eq!(left, 0, "sets that are no longer in force are gone");
}
