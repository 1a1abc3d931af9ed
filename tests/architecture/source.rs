//! Rust sources as text: without comments, literals and test code, and the paths that are named in what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};

/// Sources by their path below `src/`, with `/` between folders.
pub(crate) type Sources = BTreeMap<String, String>;

/// Reads every `.rs` file below `folder`.
pub(crate) fn read(folder: &Path) -> io::Result<Sources> {
    let mut sources = Sources::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(current) = folders.pop() {
        for entry in fs::read_dir(current)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
                sources.insert(name, fs::read_to_string(&path)?);
            }
        }
    }
    Ok(sources)
}

/// One file, ready to be asked.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    /// The code as it stands, blanks in place of comments, literals and test code. Lines keep their numbers.
    code: String,
    /// How many lines are not test code.
    pub(crate) length: usize,
}

/// A path such as `crate::gate::Gate`, groups of a `use` taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
}

/// The files that are not test code as a whole.
pub(crate) fn files(sources: &Sources) -> Vec<File> {
    let bare: BTreeMap<&String, String> = sources.iter().map(|(name, text)| (name, without_text(text))).collect();
    let tests: BTreeSet<String> = bare.iter().flat_map(|(name, code)| test_modules(name, code)).collect();
    let is_test = |name: &str| {
        let stem = name.trim_end_matches(".rs").trim_end_matches("/mod");
        tests
            .iter()
            .any(|test| stem.strip_prefix(test.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    };
    bare.iter()
        .filter(|(name, _)| !is_test(name))
        .map(|(name, code)| {
            let all = code.lines().count();
            let (code, test_lines) = without_tests(code);
            File { name: (*name).clone(), code, length: all - test_lines }
        })
        .collect()
}

impl File {
    /// The module at the top that the file belongs to; `lib` and `main` for the roots.
    pub(crate) fn module(&self) -> &str {
        let first = self.name.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// Every path in the code. `super::` is followed up to the crate's root.
    pub(crate) fn paths(&self) -> Vec<NamedPath> {
        let modules = self.name.trim_end_matches(".rs").trim_end_matches("/mod");
        let place: Vec<&str> = modules.split('/').filter(|module| *module != "lib" && *module != "main").collect();
        let mut paths = paths(&tokens(&self.code));
        for path in &mut paths {
            resolve_super(path, &place);
        }
        paths
    }
}

fn resolve_super(path: &mut NamedPath, place: &[&str]) {
    let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
    if ups == 0 {
        return;
    }
    let above = place.iter().take(place.len().saturating_sub(ups)).map(|module| (*module).to_owned());
    let below = path.segments.iter().skip(ups).cloned();
    path.segments = std::iter::once("crate".to_owned()).chain(above).chain(below).collect();
}

/// Blanks in place of comments and of string and character literals.
fn without_text(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => quoted(rest),
            'r' | 'b' | 'c' if !after_word => prefixed_literal(rest),
            '\'' => character(rest),
            _ => 0,
        };
        let taken = if skipped == 0 { first.len_utf8() } else { skipped };
        let (piece, behind) = rest.split_at(taken);
        if skipped == 0 {
            code.push_str(piece);
        } else {
            code.extend(piece.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
        }
        after_word = skipped == 0 && (first.is_alphanumeric() || first == '_');
        rest = behind;
    }
    code
}

/// How long the literal is that begins with `r`, `b` or `c`; 0 if none does.
fn prefixed_literal(text: &str) -> usize {
    let letters = text.len() - text.trim_start_matches(['r', 'b', 'c']).len();
    let (prefix, behind) = text.split_at(letters);
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let (marks, quote) = behind.split_at(hashes);
    if prefix.ends_with('r') && quote.starts_with('"') {
        let end = format!("\"{marks}");
        let inside = quote.get(1..).unwrap_or_default();
        return letters + hashes + 1 + inside.find(&end).map_or(inside.len(), |at| at + end.len());
    }
    match behind.chars().next() {
        Some('"') => letters + quoted(behind),
        Some('\'') if prefix == "b" => letters + character(behind),
        _ => 0,
    }
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// How long the character literal is; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut letters = text.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => letters.skip(1).find(|(_, letter)| *letter == '\'').map_or(0, |(at, _)| at + 1),
        Some(_) => letters.next().filter(|(_, letter)| *letter == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            let Some(letter) = rest.chars().next() else { break };
            at += letter.len_utf8();
        }
    }
    text.len()
}

const TEST_MARK: &str = "#[cfg(test)]";

/// Blanks in place of each item behind `#[cfg(test)]`, and how many lines those items take.
fn without_tests(code: &str) -> (String, usize) {
    let mut kept = String::with_capacity(code.len());
    let mut lines = 0;
    let mut rest = code;
    while let Some(at) = rest.find(TEST_MARK) {
        let (before, marked) = rest.split_at(at);
        let (item, behind) =
            marked.split_at(TEST_MARK.len() + item_length(marked.get(TEST_MARK.len()..).unwrap_or("")));
        kept.push_str(before);
        kept.extend(item.chars().filter(|letter| *letter == '\n'));
        lines += item.lines().count();
        rest = behind;
    }
    kept.push_str(rest);
    (kept, lines)
}

/// How far the item reaches: to its closing brace, or to the semicolon if it has none.
fn item_length(text: &str) -> usize {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' if braces <= 1 => return at + 1,
            '}' => braces -= 1,
            ';' if braces == 0 && others == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Modules in files of their own that exist only for tests: their paths below `src/`, without `.rs`.
fn test_modules(name: &str, code: &str) -> Vec<String> {
    let here = name.trim_end_matches(".rs");
    let here = ["/mod", "lib", "main"].iter().find_map(|root| here.strip_suffix(root)).unwrap_or(here);
    code.split(TEST_MARK)
        .skip(1)
        .filter_map(|behind| {
            let item = behind.get(..item_length(behind))?.trim().trim_end_matches(';');
            let module = item.split_once("mod ").filter(|_| !item.contains('{'))?.1.trim();
            Some(format!("{here}/{module}").trim_start_matches('/').to_owned())
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'code> {
    Word(&'code str),
    Colons,
    Open,
    Close,
    Comma,
    Other,
}

fn tokens(code: &str) -> Vec<(Token<'_>, usize)> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(code.lines()) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
            let (token, length) = match first {
                _ if word > 0 => (Token::Word(rest.get(..word).unwrap_or_default()), word),
                ':' if rest.starts_with("::") => (Token::Colons, 2),
                '{' => (Token::Open, 1),
                '}' => (Token::Close, 1),
                ',' => (Token::Comma, 1),
                _ => (Token::Other, first.len_utf8()),
            };
            tokens.push((token, line));
            rest = rest.get(length..).unwrap_or_default().trim_start();
        }
    }
    tokens
}

fn paths(tokens: &[(Token<'_>, usize)]) -> Vec<NamedPath> {
    let mut paths = Vec::new();
    let mut rest = tokens;
    while let [first, behind @ ..] = rest {
        rest = match first.0 {
            Token::Word(_) => path(rest, &[], &mut paths),
            Token::Colons | Token::Open | Token::Close | Token::Comma | Token::Other => behind,
        };
    }
    paths
}

/// Reads one path or one tree of a `use` that begins with `before`, and gives what follows it.
fn path<'tokens, 'code>(
    mut rest: &'tokens [(Token<'code>, usize)],
    before: &[String],
    found: &mut Vec<NamedPath>,
) -> &'tokens [(Token<'code>, usize)] {
    let mut segments = before.to_vec();
    let mut line = 0;
    loop {
        match rest {
            [(Token::Word(word), at), behind @ ..] => {
                segments.push((*word).to_owned());
                line = *at;
                rest = behind;
            }
            [(Token::Open, _), behind @ ..] => return group(behind, &segments, found),
            _ => break,
        }
        match rest {
            [(Token::Colons, _), behind @ ..] => rest = behind,
            _ => break,
        }
    }
    found.push(NamedPath { segments, line });
    rest
}

fn group<'tokens, 'code>(
    mut rest: &'tokens [(Token<'code>, usize)],
    before: &[String],
    found: &mut Vec<NamedPath>,
) -> &'tokens [(Token<'code>, usize)] {
    while let [first, behind @ ..] = rest {
        rest = match first.0 {
            Token::Close => return behind,
            Token::Word("as") => behind.get(1..).unwrap_or_default(),
            Token::Word(_) => path(rest, before, found),
            Token::Open | Token::Colons | Token::Comma | Token::Other => behind,
        };
    }
    rest
}
