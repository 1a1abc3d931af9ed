//! YAML in the documents is real: what a reader copies loads.

use std::path::{Path, PathBuf};

use super::read;

/// The documents that people read.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![root.join("README.md")];
    for folder in ["docs", "docs/adr"] {
        let entries = std::fs::read_dir(root.join(folder)).expect("a folder");
        found.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    found.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    found.sort();
    found
}

/// The YAML in a document, with the line on which each block begins.
fn blocks(text: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, usize, String)> = None;
    for (line, number) in text.lines().zip(1..) {
        let bare = line.trim_start();
        match &mut open {
            None if bare == "```yaml" => open = Some((number, line.len() - bare.len(), String::new())),
            None => {}
            Some(_) if bare == "```" => blocks.extend(open.take().map(|(number, _, block)| (number, block))),
            Some((_, indent, block)) => {
                block.push_str(line.get(*indent..).unwrap_or_default());
                block.push('\n');
            }
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

#[test]
fn every_configuration_in_the_documents_loads() {
    let mut loaded = 0;
    for path in documents() {
        let text = std::fs::read_to_string(&path).expect("a document");
        // Policy files, which all say their version, are loaded by the tests of `policy` and of its commands.
        let is_policy = |block: &str| block.lines().any(|line| line.starts_with("version:"));
        for (line, block) in blocks(&text).into_iter().filter(|(_, block)| !is_policy(block)) {
            if let Err(errors) = read(&block) {
                panic!("{}:{line}:\n{errors}", path.display());
            }
            loaded += 1;
        }
    }
    assert!(loaded >= 3, "{loaded} blocks");
}
