//! Reads texts with variables, as in `Session base64({{username}}:{{uid}}:{{token}})`.

use super::decode::{Wrong, most_alike};
use super::recipe::{Piece, Template};

/// Secrets that every recipe may use.
pub(super) const BUILT_IN: [&str; 3] = ["username", "password", "api_key"];
/// What is known of the account on whose behalf a request is relayed.
pub(super) const ACCOUNT: [&str; 2] = ["account.name", "account.id"];

/// Reads a template.
///
/// # Errors
/// Braces or parentheses do not pair up, or what is between braces is not the name of a variable.
pub(super) fn parse(text: &str) -> Result<Template, Wrong> {
    let mut reader = Reader { rest: text };
    let pieces = reader.pieces(Until::End)?;
    Ok(Template { pieces })
}

/// Checks that each variable of `template` is known by then; `later` are those extracted by a later step.
pub(super) fn check_variables(template: &Template, known: &[String], later: &[String]) -> Result<(), Wrong> {
    check_pieces(&template.pieces, known, later)
}

fn check_pieces(pieces: &[Piece], known: &[String], later: &[String]) -> Result<(), Wrong> {
    pieces.iter().try_for_each(|piece| match piece {
        Piece::Text(_) => Ok(()),
        Piece::Base64(inner) | Piece::UrlEncode(inner) => check_pieces(inner, known, later),
        Piece::Variable(name) if known.contains(name) => Ok(()),
        Piece::Variable(name) if later.contains(name) => {
            Err(Wrong::new(format!("uses `{name}` before a step has extracted it")))
        }
        Piece::Variable(name) => {
            let wrong = Wrong::new(format!("uses the unknown variable `{name}`"));
            Err(match most_alike(name, known.iter().map(String::as_str)) {
                Some(alike) => wrong.with_help(format!("did you mean `{alike}`?")),
                None => wrong.with_help(format!("known here: {}", known.join(", "))),
            })
        }
    })
}

/// Whether `name` can be the name of a variable.
pub(super) fn is_variable_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.bytes().next().is_some_and(|first| first.is_ascii_lowercase()) && name.bytes().all(plain)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    End,
    Parenthesis,
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn pieces(&mut self, until: Until) -> Result<Vec<Piece>, Wrong> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut open = 0_usize;
        loop {
            if until == Until::Parenthesis && open == 0 && self.takes(")") {
                break;
            }
            if self.takes("{{") {
                put_text(&mut pieces, &mut text);
                pieces.push(self.variable()?);
            } else if self.takes("}}") {
                return Err(Wrong::new("closes `}}` without an opening `{{`"));
            } else if self.takes_function("base64(", &text) {
                put_text(&mut pieces, &mut text);
                pieces.push(Piece::Base64(self.pieces(Until::Parenthesis)?));
            } else if self.takes_function("urlencode(", &text) {
                put_text(&mut pieces, &mut text);
                pieces.push(Piece::UrlEncode(self.pieces(Until::Parenthesis)?));
            } else if self.takes_function("basic(", &text) {
                // RFC 7617: the scheme and base64 of user-id, colon, password.
                text.push_str("Basic ");
                put_text(&mut pieces, &mut text);
                pieces.push(Piece::Base64(self.pieces(Until::Parenthesis)?));
            } else {
                let Some(next) = self.next() else {
                    if until == Until::Parenthesis {
                        return Err(Wrong::new("opens a `(` that is never closed"));
                    }
                    break;
                };
                match next {
                    '(' => open += 1,
                    ')' => open = open.saturating_sub(1),
                    _ => {}
                }
                text.push(next);
            }
        }
        put_text(&mut pieces, &mut text);
        Ok(pieces)
    }

    fn variable(&mut self) -> Result<Piece, Wrong> {
        let (name, rest) = self.rest.split_once("}}").ok_or_else(|| Wrong::new("opens `{{` without a closing `}}`"))?;
        self.rest = rest;
        let name = name.trim_matches(' ');
        if !is_variable_name(name.strip_prefix("account.").unwrap_or(name)) {
            return Err(Wrong::new("has something between `{{` and `}}` that is not the name of a variable")
                .with_help("names are made of a-z, 0-9 and _"));
        }
        Ok(Piece::Variable(name.to_owned()))
    }

    fn takes(&mut self, token: &str) -> bool {
        self.rest.strip_prefix(token).map(|rest| self.rest = rest).is_some()
    }

    /// A function's name must not be the tail of another word.
    fn takes_function(&mut self, token: &str, before: &str) -> bool {
        !before.ends_with(|last: char| last.is_alphanumeric() || last == '_') && self.takes(token)
    }

    fn next(&mut self) -> Option<char> {
        let mut rest = self.rest.chars();
        let next = rest.next();
        self.rest = rest.as_str();
        next
    }
}

fn put_text(pieces: &mut Vec<Piece>, text: &mut String) {
    if !text.is_empty() {
        pieces.push(Piece::Text(std::mem::take(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Piece {
        Piece::Text(text.to_owned())
    }

    fn variable(name: &str) -> Piece {
        Piece::Variable(name.to_owned())
    }

    #[test]
    fn base64_takes_everything_up_to_its_own_parenthesis() {
        let template = parse("Session base64({{username}}:(x):{{ uid }})!").expect("a template");
        let inner = vec![variable("username"), text(":(x):"), variable("uid")];
        assert_eq!(template.pieces, [text("Session "), Piece::Base64(inner), text("!")]);
    }

    #[test]
    fn base64_within_base64_is_possible() {
        let template = parse("base64(a:base64({{password}}))").expect("a template");
        let inner = vec![text("a:"), Piece::Base64(vec![variable("password")])];
        assert_eq!(template.pieces, [Piece::Base64(inner)]);
    }

    #[test]
    fn basic_is_the_scheme_and_base64() {
        let template = parse("basic({{username}}:{{password}})").expect("a template");
        let inner = vec![variable("username"), text(":"), variable("password")];
        assert_eq!(template.pieces, [text("Basic "), Piece::Base64(inner)]);
    }

    #[test]
    fn ordinary_text_with_parentheses_and_single_braces_stays_text() {
        for plain in ["Mozilla/5.0 (X11) {a}", "notbase64(x)", "a ) b"] {
            assert_eq!(parse(plain).expect(plain).pieces, [text(plain)]);
        }
    }

    #[test]
    fn braces_and_parentheses_that_do_not_pair_up_are_refused() {
        for bad in ["{{a", "a}}", "{{a}", "base64({{a}}", "base64((a)", "{{}}", "{{A b}}", "{{a-b}}", "{{{a}}}"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
