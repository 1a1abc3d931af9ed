//! Hides what may be a secret in texts that are shown: excerpts of the configuration, messages, printed values.

// SECURITY: everything here errs on the side of hiding. A hidden path costs a look into the file; a shown password
// ends up in a ticket.

/// What stands in place of a secret.
pub(super) const HIDDEN: &str = "[hidden]";

/// Line `number` (from 1) of `text`, with secrets hidden.
pub(super) fn line_of(text: &str, number: usize) -> String {
    let mut hiding = Hiding::Nothing;
    let mut shown = String::new();
    for line in text.lines().take(number) {
        (shown, hiding) = line_after(line, hiding);
    }
    shown
}

/// Whether something of line `number` is hidden.
pub(super) fn hides(text: &str, number: usize) -> bool {
    text.lines().nth(number.saturating_sub(1)).is_some_and(|line| line != line_of(text, number))
}

/// `key: value` with the value hidden if the key or the value says that it is secret.
pub(super) fn value_of(key: &str, value: &str) -> String {
    let last = key.rsplit('.').next().unwrap_or(key);
    if is_secret_key(last) && !is_template(value) { HIDDEN.to_owned() } else { text(value) }
}

/// Hides what looks like a secret by itself: issued secrets, `base64:…`, long random texts, passwords in URLs.
pub(super) fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let (word, secret, after) = next_word(rest, next);
        shown.push_str(if secret { HIDDEN } else { word });
        rest = after;
    }
    shown
}

/// Control and direction-changing characters replaced, so that a file cannot drive the reader's terminal.
pub(super) fn printable(text: &str) -> String {
    let unsafe_to_show = |shown: char| {
        shown.is_control()
            || matches!(shown, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|shown| if unsafe_to_show(shown) { '\u{fffd}' } else { shown }).collect()
}

/// What of the following lines is still part of a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hiding {
    Nothing,
    /// Lines indented more than this, and list items indented just as much.
    Deeper(usize),
    /// Until this quotation mark.
    Quoted(char),
}

fn line_after(line: &str, hiding: Hiding) -> (String, Hiding) {
    let indent = line.len() - line.trim_start().len();
    let hidden_line = || format!("{:indent$}{HIDDEN}", "");
    match hiding {
        Hiding::Quoted(quote) if line.contains(quote) => (hidden_line(), Hiding::Nothing),
        Hiding::Quoted(_) => (hidden_line(), hiding),
        Hiding::Deeper(_) if line.trim().is_empty() => (line.to_owned(), hiding),
        Hiding::Deeper(outer) if indent > outer || (indent == outer && line.trim_start().starts_with('-')) => {
            (hidden_line(), hiding)
        }
        Hiding::Deeper(_) | Hiding::Nothing => by_keys(line, indent),
    }
}

/// Hides the values of secret keys in a line.
fn by_keys(line: &str, indent: usize) -> (String, Hiding) {
    for (at, mark) in line.match_indices([':', '=']) {
        let (before, after) = (line.get(..at).unwrap_or_default(), line.get(at + mark.len()..).unwrap_or_default());
        let key = key_before(before);
        if !is_secret_key(key) {
            continue;
        }
        let value = after.trim_start();
        if value.is_empty() && SECTIONS.contains(&key) {
            continue;
        }
        if value.is_empty() || value.starts_with('#') {
            return (text(line), Hiding::Deeper(indent));
        }
        if !is_template(value_at(value)) {
            let kept = line.len() - value.len();
            let shown = format!("{}{HIDDEN}", text(line.get(..kept).unwrap_or_default()));
            return (shown, hiding_after(value, indent));
        }
    }
    (text(line), Hiding::Nothing)
}

fn hiding_after(value: &str, indent: usize) -> Hiding {
    let open = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    match open {
        Some(quote) if value.matches(quote).count() < 2 => Hiding::Quoted(quote),
        Some(_) | None => Hiding::Deeper(indent),
    }
}

/// The key that ends `before`, without quotation marks.
fn key_before(before: &str) -> &str {
    let trimmed = before.trim_end().trim_end_matches(['"', '\'']);
    let start = trimmed
        .char_indices()
        .rev()
        .take_while(|(_, part)| part.is_alphanumeric() || matches!(part, '_' | '-' | '.'))
        .last();
    start.and_then(|(start, _)| trimmed.get(start..)).unwrap_or_default()
}

/// The value that begins `rest`: quoted, or until a comma or bracket outside of `{{…}}`.
fn value_at(rest: &str) -> &str {
    if let Some(quote) = rest.chars().next().filter(|first| matches!(first, '"' | '\'')) {
        let end = rest.char_indices().skip(1).find(|(_, part)| *part == quote).map(|(at, _)| at + 1);
        return end.and_then(|end| rest.get(..end)).unwrap_or(rest);
    }
    let mut depth = 0_usize;
    for (at, part) in rest.char_indices() {
        match part {
            '{' => depth += 1,
            '}' | ']' | ',' if depth == 0 => return rest.get(..at).unwrap_or(rest),
            '}' => depth -= 1,
            _ => {}
        }
    }
    rest
}

/// Whether a value is only variables and the names of what is done with them, as in `Basic base64({{username}})`.
fn is_template(value: &str) -> bool {
    let mut rest = value;
    let mut outside = String::new();
    let mut variables = 0_usize;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, behind)) = after.split_once("}}") else { return false };
        if !name.chars().all(|part| part.is_ascii_alphanumeric() || matches!(part, '_' | ' ')) {
            return false;
        }
        outside.push_str(before);
        outside.push(' ');
        variables += 1;
        rest = behind;
    }
    outside.push_str(rest);
    let known = ["Basic", "Bearer", "Session", "Token", "token", "base64", "basic"];
    variables > 0
        && outside.split(|part: char| !part.is_alphanumeric()).all(|word| word.is_empty() || known.contains(&word))
}

/// Our own sections whose names sound secret; what stands under them is judged key by key.
const SECTIONS: [&str; 3] = ["tokens", "password_hashing", "app_key"];

/// Our own keys whose names sound secret and whose values are not.
const PLAIN: [&str; 3] = ["token_path", "api_key_on_relay", "per_credential"];

fn is_secret_key(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    if PLAIN.contains(&key.as_str()) {
        return false;
    }
    let telling = [
        "passw",
        "passphrase",
        "pwd",
        "secret",
        "token",
        "apikey",
        "api_key",
        "api-key",
        "credential",
        "authorization",
        "cookie",
        "pepper",
        "bearer",
    ];
    telling.iter().any(|part| key.contains(part))
        || ["key", "keys", "pass", "pin", "seed"].iter().any(|end| key.split(['_', '-', '.']).next_back() == Some(end))
}

/// Splits the next word off: the word, whether it looks secret, and the rest.
fn next_word(rest: &str, next: char) -> (&str, bool, &str) {
    let (secret, length) = if let Some(key) = rest.strip_prefix("base64:") {
        let length = prefix(key, |part| part.is_ascii_alphanumeric() || matches!(part, '+' | '/' | '=' | '-' | '_'));
        (length > 0, "base64:".len() + length)
    } else if let Some(authority) = rest.strip_prefix("://") {
        let length = prefix(authority, |part| !part.is_whitespace() && !matches!(part, '/' | '"' | '\''));
        let user = authority.get(..length).and_then(|authority| authority.rfind('@'));
        (user.is_some(), "://".len() + user.unwrap_or_default())
    } else if is_word(next) {
        let length = prefix(rest, is_word);
        (looks_random(rest.get(..length).unwrap_or(rest)), length)
    } else {
        (false, next.len_utf8())
    };
    let (word, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
    (word, secret, after)
}

fn is_word(part: char) -> bool {
    part.is_ascii_alphanumeric() || matches!(part, '_' | '-' | '+' | '=' | '~')
}

fn prefix(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|part| !belongs(part)).unwrap_or(text.len())
}

fn looks_random(word: &str) -> bool {
    let has = |kind: fn(&char) -> bool| word.chars().any(|part| kind(&part));
    let mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase) && has(char::is_ascii_digit);
    let hexadecimal = has(char::is_ascii_digit) && word.chars().all(|part| part.is_ascii_hexdigit() || part == '-');
    word.starts_with("erpa_") || (word.len() >= 20 && mixed) || (word.len() >= 32 && hexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_by_what_they_look_like() {
        for secret in [
            "erpa_tok_abc",
            "base64:AAAABBBBCCCC+/==",
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
            "0123456789abcdef0123456789abcdef",
            "https://alice:hunter2@erp.example.com/",
        ] {
            let shown = text(&format!("listen: {secret} # {secret}"));
            assert!(shown.contains(HIDDEN), "{shown}");
            assert!(!shown.contains(secret) && !shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn ordinary_values_stay_readable() {
        for plain in [
            "directory: /var/lib/erp-access",
            "listen: [\"127.0.0.1:8080\", \"[::1]:8080\"]",
            "public_url: https://erp.example.com",
            "token_path: /oauth/token",
            "tokens: { lifetime: 15m }",
            "graceful_shutdown_timeout_seconds: 5",
        ] {
            assert_eq!(line_of(plain, 1), if plain.starts_with("tokens") { "tokens: [hidden]" } else { plain });
        }
    }

    #[test]
    fn value_of_a_secret_key_is_hidden() {
        for line in [
            "password: hunter2",
            "  \"API-Key\" : 'hunter2'",
            "x: {client_secret: hunter2}",
            "#password=hunter2",
            "Authorization: Basic hunter2",
            "key: hunter2",
            "password: \"{{username}} hunter2\"",
        ] {
            let shown = line_of(line, 1);
            assert!(!shown.contains("hunter2") && shown.contains(HIDDEN), "{shown}");
        }
    }

    #[test]
    fn secret_over_several_lines_is_hidden_until_it_ends() {
        for (text, last) in [
            ("a:\n  password: |\n    hunter2\n    hunter2\n  next: 1", 5),
            ("passwords:\n- hunter2\nnext: 1", 3),
            ("password: \"x\nhunter2\nhunter2\"\nnext: 1", 4),
            ("app_key: |\n  hunter2\nnext: 1", 3),
        ] {
            for line in 1..=text.lines().count() {
                assert!(!line_of(text, line).contains("hunter2"), "{text}");
            }
            assert_eq!(line_of(text, last).trim(), "next: 1", "{text}");
        }
    }

    #[test]
    fn templates_and_sections_stay_readable() {
        for line in [
            "json: [\"{{username}}\", {password: \"{{password}}\"}, en]",
            "X-Api-Key: \"{{api_key}}\"",
            "Authorization: \"Basic base64({{username}}:{{password}})\"",
        ] {
            assert_eq!(line_of(line, 1), line);
        }
        assert_eq!(line_of("app_key:\n  file: /etc/x", 2), "  file: /etc/x");
    }

    #[test]
    fn control_characters_are_replaced() {
        assert_eq!(printable("a\u{1b}[31m\u{202e}b"), "a\u{fffd}[31m\u{fffd}b");
    }
}
