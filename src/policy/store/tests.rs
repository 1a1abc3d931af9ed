use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::*;
use crate::domain::Target;
use crate::policy::{Facts, Grants, Refused};

const SCHEDULE: &str = "version: 1
default:
  time_zone: UTC
  windows: [{ days: [mon, tue, wed, thu, fri, sat, sun], from: \"00:00\", to: \"24:00\" }]
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, String)]) -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("schedule.yaml", SCHEDULE);
        folder.write("endpoints/erp.yaml", &endpoints("orders"));
        for (path, text) in files {
            folder.write(path, text);
        }
        folder
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.path(path)).expect("removed");
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join("policies").join(path)
    }

    fn open(&self) -> PolicyStore {
        PolicyStore::open(&self.path("")).unwrap_or_else(|problems| panic!("{problems}"))
    }
}

fn endpoints(id: &str) -> String {
    format!("version: 1\nupstream: erp\nendpoints:\n  - {{ id: {id}, methods: [GET], path: /v1/orders }}\n")
}

fn policy(name: &str, rule: &str, endpoint: &str) -> String {
    format!("version: 1\npolicy: {name}\nrules: [{{ id: {rule}, allow: [{endpoint}] }}]\n")
}

/// The endpoint and the rule that let `GET /v1/orders` pass.
fn decide(set: &PolicySet, grants: &[&str]) -> Result<(String, String), Refused> {
    let target = Target::parse(b"/v1/orders").expect("a target");
    let route = set.route("GET", target.path()).ok_or(Refused::NoRuleMatched)?;
    let matched = route.resolve(None).expect("one endpoint");
    let names: Vec<PolicyName> = grants.iter().map(|name| name.parse().expect("a name")).collect();
    let now = Timestamp::UNIX_EPOCH;
    let facts = Facts::new("GET", target.path(), None, now);
    let allowed = set.decide(&matched, Grants::Bounded(&mut names.iter()), &facts)?;
    Ok((allowed.endpoint().id().to_string(), allowed.by().first().expect("one").name()))
}

fn reader(rule: &str) -> (&'static str, String) {
    ("reader.yaml", policy("reader", rule, "orders"))
}

#[test]
fn a_broken_file_that_is_deleted_stands_in_nobodys_way() {
    let folder = Folder::new(&[reader("read")]);
    let store = folder.open();
    folder.write("new.yaml", "version: 1\npolicy: new\nrules: 7\n");
    store.reload();
    assert!(decide(&store.current(), &["reader", "new"]).is_err());
    folder.remove("new.yaml");
    let report = store.reload();
    assert!(report.changed && report.problems.is_empty(), "{report:?}");
    assert!(decide(&store.current(), &["reader", "new"]).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_keeps_its_last_good_version_and_another_is_deleted_all_the_same() {
    let folder = Folder::new(&[reader("read"), ("other.yaml", policy("other", "read", "orders"))]);
    let store = folder.open();
    folder.remove("reader.yaml");
    symlink("reader.yaml", folder.path("reader.yaml")).expect("linked");
    folder.remove("other.yaml");
    let report = store.reload();
    assert!(report.problems.to_string().contains("reader.yaml"), "{}", report.problems);
    assert!(decide(&store.current(), &["reader"]).is_ok(), "it is there, and was good");
    assert!(decide(&store.current(), &["other"]).is_err(), "it is gone");
}

#[test]
fn a_last_good_version_is_kept_while_another_file_makes_it_unusable() {
    let folder = Folder::new(&[reader("read")]);
    let store = folder.open();
    folder.write("reader.yaml", "version: 1\npolicy: reader\nrules: 7\n");
    store.reload();
    folder.write("endpoints/erp.yaml", &endpoints("renamed"));
    store.reload();
    let refused = decide(&store.current(), &["reader"]).expect_err("its endpoint is gone");
    assert!(matches!(refused, Refused::PolicyBroken { .. }), "{refused}");
    folder.write("endpoints/erp.yaml", &endpoints("orders"));
    store.reload();
    assert!(decide(&store.current(), &["reader"]).is_ok(), "the last good version again");
}

#[test]
fn a_folder_that_is_gone_allows_nothing_until_it_is_back() {
    let folder = Folder::new(&[reader("read")]);
    let store = folder.open();
    let aside = folder.0.path().join("aside");
    std::fs::rename(folder.path(""), &aside).expect("renamed");
    let report = store.reload();
    assert!(report.changed && report.problems.to_string().contains("nothing is allowed"), "{}", report.problems);
    assert!(decide(&store.current(), &["reader"]).is_err());
    std::fs::rename(&aside, folder.path("")).expect("renamed");
    assert!(store.reload().problems.is_empty());
    assert!(decide(&store.current(), &["reader"]).is_ok());
}

#[test]
fn a_new_set_is_kept_before_a_request_can_see_it_and_who_asks_for_problems_does_not_wait() {
    let folder = Folder::new(&[reader("one")]);
    let store = folder.open();
    folder.write("reader.yaml", &reader("two").1);
    let mut kept = None;
    let report = store.reload_keeping(|set| {
        assert_ne!(store.current().hash(), set.hash(), "not in force yet");
        assert!(store.problems().is_empty());
        kept = Some((set.generation(), set.hash()));
    });
    assert_eq!(kept, Some((report.generation, report.hash)));
    assert_eq!(store.current().hash(), report.hash);
}

#[test]
fn a_problem_is_news_once_and_its_end_is_too() {
    let folder = Folder::new(&[reader("read")]);
    let store = folder.open();
    assert!(!store.reload().news);
    folder.write("reader.yaml", "version: 1\npolicy: reader\nrules: 7\n");
    let broken = store.reload();
    assert!(broken.news && !broken.changed, "the last good version stays");
    assert!(!store.reload().news);
    folder.write("reader.yaml", &reader("read").1);
    let mended = store.reload();
    assert!(mended.news && !mended.changed && store.problems().is_empty());
}

/// However a test ends, its other threads do too.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn no_decision_is_made_by_a_state_between_two() {
    let folder = Folder::new(&[]);
    let version = |id: &str| vec![endpoints(id), policy("reader", &format!("rule-{id}"), id)];
    for id in ["one", "two"] {
        let texts = version(id);
        std::fs::create_dir_all(folder.0.path().join(id).join("endpoints")).expect("a folder");
        for (path, text) in ["endpoints/erp.yaml", "reader.yaml", "schedule.yaml"]
            .iter()
            .zip(texts.iter().map(String::as_str).chain([SCHEDULE]))
        {
            std::fs::write(folder.0.path().join(id).join(path), text).expect("written");
        }
    }
    let link = folder.0.path().join("current");
    symlink("one", &link).expect("linked");
    let store = PolicyStore::open(&link).unwrap_or_else(|problems| panic!("{problems}"));
    let (stop, seen) = (AtomicBool::new(false), Mutex::new(BTreeSet::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let set = store.current();
                    let (endpoint, rule) = decide(&set, &["reader"]).expect("allowed in both");
                    assert_eq!(rule, format!("reader/rule-{endpoint}"), "half of one and half of the other");
                    seen.lock().expect("locked").insert((set.hash().to_string(), rule));
                }
            });
        }
        let _ends = Stops(&stop);
        let swap = |to: &str| {
            symlink(to, folder.0.path().join("next")).expect("linked");
            std::fs::rename(folder.0.path().join("next"), &link).expect("swapped");
            store.reload()
        };
        for turn in 2..=200 {
            let report = swap(if turn % 2 == 0 { "two" } else { "one" });
            assert_eq!((report.generation, report.problems.is_empty()), (turn, true));
        }
    });
    assert_eq!(seen.into_inner().expect("unlocked").len(), 2, "each rule is known under one hash only");
}
