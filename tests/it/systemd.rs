//! The units that are shipped: systemd understands them, and they give away little.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The highest exposure that a service may have, in tenths, as `systemd-analyze security` counts.
const EXPOSURE: &str = "15";

fn shipped(ending: &[&str]) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let files = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let fits = |file: &PathBuf| file.extension().is_some_and(|found| ending.iter().any(|ending| found == *ending));
    let mut files: Vec<_> = files.filter(fits).collect();
    files.sort();
    files
}

/// What a tool of systemd said; `None` where there is none.
fn ask(tool: &str, arguments: &[&str]) -> Option<Output> {
    let output = Command::new(tool).args(arguments).env("SYSTEMD_COLORS", "0").output();
    if output.is_err() {
        eprintln!("SKIPPED: {tool} is not installed");
    }
    output.ok()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn each_service_gives_away_no_more_than_agreed() {
    let services = shipped(&["service"]);
    assert_eq!(services.len(), 3);
    for service in services {
        let path = service.to_str().expect("a path");
        let arguments = ["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE, path];
        let Some(output) = ask("systemd-analyze", &arguments) else { return };
        assert!(output.status.success(), "{path}:\n{}", said(&output));
        assert!(said(&output).contains("Overall exposure level"), "{}", said(&output));
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    let folder = tempfile::tempdir().expect("a folder");
    // The program is where the tests have built it.
    let units = shipped(&["service", "socket", "timer"]);
    let copies: Vec<String> = units
        .iter()
        .map(|unit| {
            let text = std::fs::read_to_string(unit).expect("a unit");
            let copy = folder.path().join(unit.file_name().expect("a name"));
            std::fs::write(&copy, text.replace("/usr/bin/erp-access", env!("CARGO_BIN_EXE_erp-access")))
                .expect("written");
            copy.to_str().expect("a path").to_owned()
        })
        .collect();
    assert_eq!(copies.len(), 6);
    let mut arguments = vec!["verify", "--man=no"];
    arguments.extend(copies.iter().map(String::as_str));
    let Some(output) = ask("systemd-analyze", &arguments) else { return };
    let about_ours: Vec<String> =
        said(&output).lines().filter(|line| line.contains("erp-access")).map(str::to_owned).collect();
    assert!(output.status.success() && about_ours.is_empty(), "{}", said(&output));
    for timer in shipped(&["timer"]) {
        let text = std::fs::read_to_string(timer).expect("a unit");
        let when = text.lines().find_map(|line| line.strip_prefix("OnCalendar=")).expect("a time");
        let output = ask("systemd-analyze", &["calendar", when]).expect("it was there before");
        assert!(output.status.success(), "{}", said(&output));
    }
}

/// The user and the folders that the package makes, made in a folder that stands for the root.
#[test]
fn the_user_and_the_folders_are_made_with_their_modes() {
    let folder = tempfile::tempdir().expect("a folder");
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can make users, even in a folder");
        return;
    }
    std::fs::create_dir(folder.path().join("etc")).expect("a folder");
    let root = format!("--root={}", folder.path().display());
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join(name).to_str().expect("a path").to_owned();
    let Some(output) = ask("systemd-sysusers", &[&root, &file("systemd/sysusers.d/erp-access.conf")]) else { return };
    assert!(output.status.success(), "{}", said(&output));
    let users = std::fs::read_to_string(folder.path().join("etc/passwd")).expect("users");
    let user = users.lines().find(|line| line.starts_with("erp-access:")).expect("the user");
    assert!(user.ends_with(":/var/lib/erp-access:/usr/sbin/nologin"), "{user}");
    let id: u32 = user.split(':').nth(2).expect("an id").parse().expect("a number");
    let arguments = ["--create", &root, &file("systemd/tmpfiles.d/erp-access.conf")];
    let Some(output) = ask("systemd-tmpfiles", &arguments) else { return };
    assert!(output.status.success(), "{}", said(&output));
    for (path, mode, owner) in
        [("etc/erp-access", 0o750, 0), ("var/lib/erp-access", 0o700, id), ("var/lib/erp-access/backups", 0o700, id)]
    {
        let made = std::fs::metadata(folder.path().join(path)).expect("made");
        assert_eq!((made.permissions().mode() & 0o777, made.uid()), (mode, owner), "{path}");
    }
}
