//! What the sources must hold that the compiler does not check. docs/adr/0001 says why.

#[path = "architecture/source.rs"]
mod source;

use std::fmt;
use std::path::Path;

use source::{File, NamedPath, Sources, files};

/// Libraries that only some modules may use. A name with `*` stands for every crate that begins so.
const FENCES: &[(&str, &[&str])] = &[
    ("pingora*", &["proxy", "relay", "app"]),
    ("axum*", &["control", "portal"]),
    ("clap*", &["cli"]),
    ("rusqlite*", &["store", "audit"]),
    ("r2d2*", &["store", "audit"]),
    ("serde_saphyr", &["config", "policy"]),
    // The proxy hands Pingora its own section of the configuration (docs/adr/0005).
    ("serde_yaml", &["config", "policy", "proxy"]),
    ("cel", &["policy"]),
    ("anyhow", &["cli", "main"]),
];

/// Modules that compute and do nothing else.
const PURE: &[&str] = &["domain", "schedule", "kill_switch"];
const IMPURE: &[&[&str]] = &[&["std", "fs"], &["std", "env"], &["std", "process"], &["std", "os"], &["tokio"]];
const ADDRESSES: &[&str] =
    &["IpAddr", "Ipv4Addr", "Ipv6Addr", "SocketAddr", "SocketAddrV4", "SocketAddrV6", "AddrParseError"];

const EMPTY_NAMES: &[&str] = &["utils", "common", "helpers", "core", "manager", "misc", "types"];
const LONGEST_FILE: usize = 400;

/// One place that breaks a rule.
struct Violation {
    file: String,
    line: usize,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "src/{}:{}: {}", self.file, self.line, self.text)
    }
}

// --- the rules ---

fn against_the_order(sources: &Sources) -> Vec<Violation> {
    let order = order(sources);
    let place = |module: &str| order.iter().position(|listed| listed == module);
    violations(&files(sources), |file, path| {
        let here = place(file.module())?;
        let [root, module, ..] = path.segments.as_slice() else { return None };
        let there = place(module).filter(|_| root == "crate")?;
        (there > here).then(|| format!("`{}` uses `{module}`, which stands after it in src/lib.rs", file.module()))
    })
}

/// The modules as `src/lib.rs` lists them.
fn order(sources: &Sources) -> Vec<String> {
    let root = sources.get("lib.rs").map_or("", String::as_str);
    root.lines()
        .filter_map(|line| line.trim().trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

fn over_a_fence(sources: &Sources) -> Vec<Violation> {
    violations(&files(sources), |file, path| {
        // `use pingora;` and `pingora::…` both count; a variable or field that happens to be called `cel` does not.
        let [library, _, ..] = path.segments.as_slice() else { return None };
        let (_, homes) = FENCES.iter().find(|(fenced, _)| match fenced.strip_suffix('*') {
            Some(start) => library.starts_with(start),
            None => library == fenced,
        })?;
        let at_home = homes.contains(&file.module());
        (!at_home).then(|| format!("`{library}` is used outside of {}", homes.join(", ")))
    })
}

fn impure(sources: &Sources) -> Vec<Violation> {
    violations(&files(sources), |file, path| {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let acts = IMPURE.iter().any(|start| segments.starts_with(start));
        let socket = match segments.as_slice() {
            ["std", "net", item, ..] => !ADDRESSES.contains(item),
            ["std", "net"] => true,
            _ => false,
        };
        let pure = PURE.contains(&file.module());
        (pure && (acts || socket))
            .then(|| format!("`{}` only computes; it may not use `{}`", file.module(), segments.join("::")))
    })
}

fn empty_names(sources: &Sources) -> Vec<Violation> {
    let empty = |name: &&String| name.trim_end_matches(".rs").split('/').any(|part| EMPTY_NAMES.contains(&part));
    let text = "the name says nothing about what is inside".to_owned();
    sources.keys().filter(empty).map(|name| Violation { file: name.clone(), line: 1, text: text.clone() }).collect()
}

fn too_long(sources: &Sources) -> Vec<Violation> {
    let long = files(sources).into_iter().filter(|file| file.length > LONGEST_FILE);
    long.map(|file| Violation {
        line: file.length,
        text: format!("{} lines that are not tests; at {LONGEST_FILE} a file is split", file.length),
        file: file.name,
    })
    .collect()
}

fn promises_without_reference(sources: &Sources) -> Vec<Violation> {
    let lines =
        sources.iter().flat_map(|(name, text)| (1..).zip(text.lines()).map(move |(line, text)| (name, line, text)));
    lines
        .filter(|(.., text)| {
            let mut behind_marks = ["TODO", "FIXME"].iter().flat_map(|mark| text.split(mark).skip(1));
            behind_marks.any(|behind| !behind.starts_with("(#") && !behind.starts_with("(docs/"))
        })
        .map(|(name, line, _)| Violation {
            file: name.clone(),
            line,
            text: "say where it is tracked: `TODO(#12)` or `TODO(docs/adr/0001)`".to_owned(),
        })
        .collect()
}

fn violations(files: &[File], check: impl Fn(&File, &NamedPath) -> Option<String>) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in files {
        for path in file.paths() {
            if let Some(text) = check(file, &path) {
                found.push(Violation { file: file.name.clone(), line: path.line, text });
            }
        }
    }
    found
}

// --- the crate itself ---

fn hold(rule: fn(&Sources) -> Vec<Violation>) {
    let sources = source::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let unreadable = |error| Violation { file: String::new(), line: 0, text: format!("cannot be read: {error}") };
    let found = sources.map_or_else(|error: std::io::Error| vec![unreadable(error)], |sources| rule(&sources));
    let list: Vec<String> = found.iter().map(Violation::to_string).collect();
    assert!(list.is_empty(), "\n{}\n", list.join("\n"));
}

#[test]
fn modules_use_only_modules_listed_before_them() {
    hold(against_the_order);
}

#[test]
fn libraries_stay_in_the_modules_that_own_them() {
    hold(over_a_fence);
}

#[test]
fn pure_modules_do_no_input_or_output() {
    hold(impure);
}

#[test]
fn no_module_has_an_empty_name() {
    hold(empty_names);
}

#[test]
fn no_file_is_longer_than_one_can_follow() {
    hold(too_long);
}

#[test]
fn every_promise_has_a_reference() {
    hold(promises_without_reference);
}

/// What a document says of tests can be looked up.
#[test]
fn every_test_that_a_document_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in ["src", "tests"] {
        gather(&root.join(folder), &mut code).expect("the sources");
    }
    for document in ["SECURITY.md", "docs/known-attacks.md"] {
        let text = std::fs::read_to_string(root.join(document)).expect("a document");
        let named: Vec<&str> =
            text.split('`').skip(1).step_by(2).filter_map(|word| Some(word.split_once("::")?.1)).collect();
        assert!(named.len() > 10, "{document} names {}", named.len());
        for test in named {
            assert!(code.contains(&format!("fn {test}()")), "{document} names `{test}`, which is not there");
        }
    }
}

/// All Rust below this folder.
fn gather(folder: &Path, code: &mut String) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            gather(&path, code)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            code.push_str(&std::fs::read_to_string(path)?);
        }
    }
    Ok(())
}

// --- the rules find what they look for ---

fn found(rule: fn(&Sources) -> Vec<Violation>, files: &[(&str, &str)]) -> Vec<String> {
    let root = (
        "lib.rs",
        "pub mod domain;\npub mod schedule;\npub mod policy;\npub mod gate;\npub mod proxy;\npub mod cli;\n",
    );
    let sources = files.iter().chain([&root]).map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    rule(&sources).iter().map(|violation| format!("{}:{}", violation.file, violation.line)).collect()
}

#[test]
fn an_import_of_a_later_module_is_found_in_every_spelling() {
    for text in [
        "use crate::gate::Gate;",
        "use crate::{domain::Id, gate::Gate};",
        "use crate::{\n    domain::{Id, Name as Other},\n    gate,\n};",
        "fn f() { let _ = crate::gate::admit(); }",
        "use super::gate::Gate;",
        "use {super::gate::Gate, std::fmt};",
        "#[cfg(test)]\nmod tests;\nuse crate::gate::Gate;",
        "#[cfg(test)]\nuse crate::domain::{Id};\nuse crate::gate::Gate;",
    ] {
        assert_eq!(found(against_the_order, &[("policy/mod.rs", text)]).len(), 1, "{text}");
    }
    assert_eq!(
        found(against_the_order, &[("policy/rule.rs", "//! One.\n\nuse super::super::cli;")]),
        ["policy/rule.rs:3"]
    );
    assert_eq!(
        found(against_the_order, &[("policy.rs", "use crate::{\n    domain::Id,\n    gate::Gate,\n};")]),
        ["policy.rs:3"]
    );
}

#[test]
fn an_allowed_import_a_comment_a_text_and_test_code_are_not_found() {
    for text in [
        "use crate::domain::Id;\nuse crate::policy::Rule;\nuse super::domain;",
        "// use crate::gate::Gate;\n/// see [`crate::gate`]\n/* crate::gate */",
        "const TEXT: &str = \"crate::gate\"; const RAW: &str = r#\"crate::gate \" \"#; const QUOTE: char = '\"';",
        "#[cfg(test)]\nmod tests {\n    use crate::gate::Gate;\n    fn f() {}\n}",
        "fn f<'a>(x: &'a str) -> &'a str { x }\n#[cfg(test)]\nmod tests { use crate::gate::Gate; }",
    ] {
        assert_eq!(found(against_the_order, &[("policy/mod.rs", text)]), [""; 0], "{text}");
    }
    let tests = [("policy/mod.rs", "#[cfg(test)]\nmod tests;"), ("policy/tests.rs", "use crate::gate::Gate;")];
    assert_eq!(found(against_the_order, &tests), [""; 0]);
    assert_eq!(found(against_the_order, &[("main.rs", "use crate::cli;")]), [""; 0]);
}

#[test]
fn a_library_outside_of_its_home_is_found() {
    for text in
        ["use pingora_core::Error;", "use {std::fmt, rusqlite::Connection};", "#[derive(clap::Parser)]\nstruct A;"]
    {
        assert_eq!(found(over_a_fence, &[("gate/mod.rs", text)]), ["gate/mod.rs:1"], "{text}");
    }
    assert_eq!(found(over_a_fence, &[("proxy/mod.rs", "use pingora::Error;\nuse serde_yaml::Value;")]), [""; 0]);
    assert_eq!(found(over_a_fence, &[("proxy/mod.rs", "use serde_saphyr::Options;")]), ["proxy/mod.rs:1"]);
    assert_eq!(found(over_a_fence, &[("gate/mod.rs", "fn f(cel: u8) -> u8 { cel }")]), [""; 0]);
}

#[test]
fn input_and_output_in_a_pure_module_is_found() {
    let text = "use std::{fs, net::{IpAddr, TcpStream}};\nfn f() { tokio::spawn(g()); std::env::var(\"A\"); }";
    assert_eq!(
        found(impure, &[("schedule/mod.rs", text)]),
        ["schedule/mod.rs:1", "schedule/mod.rs:1", "schedule/mod.rs:2", "schedule/mod.rs:2"]
    );
    assert_eq!(found(impure, &[("schedule.rs", "use std::net;")]), ["schedule.rs:1"]);
    assert_eq!(found(impure, &[("domain/id.rs", "use std::net::{IpAddr, SocketAddr};"), ("gate.rs", text)]), [""; 0]);
}

#[test]
fn an_empty_name_is_found_as_file_and_as_folder() {
    assert_eq!(found(empty_names, &[("gate/utils.rs", ""), ("common/mod.rs", ""), ("domain/types.rs", "")]).len(), 3);
    assert_eq!(found(empty_names, &[("gate/score.rs", "")]), [""; 0]);
}

#[test]
fn a_long_file_is_found_and_its_tests_do_not_count() {
    let lines = |count: usize| "fn f() {}\n".repeat(count);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(300));
    assert_eq!(found(too_long, &[("gate.rs", &(lines(400) + &tests))]), [""; 0]);
    assert_eq!(found(too_long, &[("gate.rs", &(lines(401) + &tests))]), ["gate.rs:401"]);
}

#[test]
fn a_promise_without_reference_is_found() {
    let text = "// TODO(#12): later\n// TODO: never\n// FIXME\n";
    assert_eq!(found(promises_without_reference, &[("gate.rs", text)]), ["gate.rs:2", "gate.rs:3"]);
}
