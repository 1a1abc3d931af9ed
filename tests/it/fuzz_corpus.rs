//! What the fuzzer starts from and what it has found, checked without it.

#[path = "../../fuzz/checks/mod.rs"]
mod checks;

use std::path::Path;

/// Runs a check on every input that is kept for it.
fn each(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(&folder).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let input = std::fs::read(&path).expect("an input");
        let held = std::panic::catch_unwind(|| check(&input));
        assert!(held.is_ok(), "{}", path.display());
        count += 1;
    }
    assert!(count >= 10, "{count} inputs in {}", folder.display());
}

#[test]
fn every_kept_path_has_one_meaning_or_none() {
    each("path", checks::path);
}

#[test]
fn every_kept_policy_file_is_refused_with_its_place_or_denies_whoever_holds_nothing() {
    each("policy", checks::policy);
}

#[test]
fn every_kept_condition_is_refused_or_decides() {
    each("condition", checks::condition);
}

#[test]
fn every_kept_header_is_credentials_in_one_spelling_or_none() {
    each("credentials", checks::credentials);
}

#[test]
fn every_kept_body_keeps_its_secret_however_it_is_cut() {
    each("redaction", checks::redaction);
}

#[test]
fn every_kept_json_is_what_another_reader_finds_in_it() {
    each("body", checks::body);
}

#[test]
fn every_kept_configuration_is_refused_with_reasons_or_read() {
    each("configuration", checks::configuration);
}

#[test]
fn every_kept_recipe_is_refused_with_reasons_or_read() {
    each("recipe", checks::recipe);
}

#[test]
fn every_kept_choice_of_rules_decides_as_it_reads() {
    each("decision", checks::decision);
}

#[test]
fn every_target_of_the_path_corpus_has_one_meaning_or_none() {
    #[derive(serde::Deserialize)]
    struct Row {
        request_target: Option<String>,
    }
    let rows: Vec<Row> =
        include_str!("../corpus/path.jsonl").lines().map(|line| serde_json::from_str(line).expect("a row")).collect();
    assert!(rows.len() > 164);
    for target in rows.into_iter().filter_map(|row| row.request_target) {
        // One code point stands for one byte.
        let bytes: Vec<u8> = target.chars().filter_map(|character| u8::try_from(u32::from(character)).ok()).collect();
        checks::path(&bytes);
    }
}
