//! Files that say what was agreed. Where a difference is meant, run the test with `GOLDEN=write` and look at what
//! `git diff` shows.

use std::path::Path;

#[expect(clippy::disallowed_methods, reason = "whoever runs the test says so in its environment")]
fn is_to_be_written() -> bool {
    std::env::var_os("GOLDEN").is_some_and(|value| value == "write")
}

/// Fails where the file, named from the root of the project, does not say exactly this.
pub(crate) fn assert_kept(name: &str, now: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if is_to_be_written() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(&file, now).expect("written");
    }
    let agreed = std::fs::read_to_string(&file).unwrap_or_default();
    let difference: Vec<String> = agreed
        .lines()
        .zip(now.lines())
        .filter(|(agreed, now)| agreed != now)
        .take(20)
        .map(|(agreed, now)| format!("- {agreed}\n+ {now}"))
        .collect();
    let difference = difference.join("\n");
    assert!(agreed == now, "{name} says otherwise; where that is meant, run with GOLDEN=write:\n{difference}");
}
