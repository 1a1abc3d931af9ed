//! What functions take and give.

use cel::common::ast::IdedExpr;

use super::check::{Checker, literal_text, shown};
use super::kinds::Kind;
use crate::policy::yaml::suggestion;

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// `name(x)`
    Function,
    /// `x.name(…)`
    Method,
    /// Either.
    Both,
    /// Expanded before it is checked; what is left of it has another number of arguments.
    Repetition,
}

/// Each function: its name, how it is called, the arguments behind what it is about, and an example.
const FUNCTIONS: [(&str, Style, usize, &str); 21] = [
    ("size", Style::Both, 0, "size(request.path)"),
    ("contains", Style::Method, 1, "request.path.contains(\"/drafts/\")"),
    ("startsWith", Style::Method, 1, "request.path.startsWith(\"/v1/\")"),
    ("endsWith", Style::Method, 1, "request.path.endsWith(\"/lines\")"),
    ("int", Style::Function, 0, "int(request.query[\"page\"])"),
    ("double", Style::Function, 0, "double(request.query[\"price\"])"),
    ("string", Style::Function, 0, "string(5)"),
    ("timestamp", Style::Function, 0, "timestamp(\"2026-12-31T00:00:00Z\")"),
    ("getFullYear", Style::Method, 1, "now.getFullYear(\"Asia/Karachi\")"),
    ("getMonth", Style::Method, 1, "now.getMonth(\"Asia/Karachi\")"),
    ("getDate", Style::Method, 1, "now.getDate(\"Asia/Karachi\")"),
    ("getDayOfWeek", Style::Method, 1, "now.getDayOfWeek(\"Asia/Karachi\")"),
    ("getHours", Style::Method, 1, "now.getHours(\"Asia/Karachi\")"),
    ("getMinutes", Style::Method, 1, "now.getMinutes(\"Asia/Karachi\")"),
    ("has", Style::Repetition, 1, "has(request.query.page)"),
    ("all", Style::Repetition, 2, "request.query.all(name, name != \"debug\")"),
    ("exists", Style::Repetition, 2, "[\"a\", \"b\"].exists(word, request.path.contains(word))"),
    ("exists_one", Style::Repetition, 2, "[\"a\", \"b\"].exists_one(word, request.path.contains(word))"),
    ("existsOne", Style::Repetition, 2, "[\"a\", \"b\"].existsOne(word, request.path.contains(word))"),
    ("filter", Style::Repetition, 2, "request.query.filter(name, name != \"page\")"),
    ("map", Style::Repetition, 2, "[\"a\", \"b\"].map(word, size(word))"),
];

impl Checker {
    /// A call of a function or method; gives what it gives.
    pub(super) fn function(
        &mut self,
        part: u64,
        name: &str,
        target: Option<&Kind>,
        (args, kinds): (&[IdedExpr], &[Kind]),
    ) -> Kind {
        let Some((_, style, count, example)) = FUNCTIONS.into_iter().find(|(known, ..)| *known == name) else {
            self.unknown(part, name);
            return Kind::Unknown;
        };
        let (subject, rest) = match (style, target, kinds) {
            (Style::Method | Style::Both, Some(target), rest) => (target, rest),
            (Style::Function | Style::Both, None, [subject, rest @ ..]) => (subject, rest),
            (Style::Function | Style::Method | Style::Both | Style::Repetition, _, _) => {
                self.flaw(part, format!("`{name}` is called otherwise, as in `{example}`"));
                return Kind::Unknown;
            }
        };
        if rest.len() != count {
            let (given, arguments) = (rest.len(), if count == 1 { "argument" } else { "arguments" });
            let message = format!("`{name}` takes {count} {arguments} here, not {given}, as in `{example}`");
            self.flaw(part, message);
            return Kind::Unknown;
        }
        let (takes, gives) = signature(name);
        self.fits(part, name, subject, takes);
        for kind in rest {
            self.fits(part, name, kind, Takes::Texts);
        }
        self.written_out(part, name, args);
        gives
    }

    fn fits(&mut self, part: u64, name: &str, kind: &Kind, takes: Takes) {
        let fits = match takes {
            Takes::Texts => kind.is_text(),
            Takes::Sized => kind.is_text() || matches!(kind, Kind::List(_) | Kind::Texts(_)),
            Takes::Convertible => kind.is_text() || kind.is_number(),
            Takes::Printable => kind.is_text() || kind.is_number() || *kind == Kind::Bool,
            Takes::Moments => *kind == Kind::Moment,
        };
        if !fits && *kind != Kind::Unknown {
            self.flaw(part, format!("`{name}` cannot take {kind}"));
        }
    }

    /// What is written out in the expression can be tried now.
    fn written_out(&mut self, part: u64, name: &str, args: &[IdedExpr]) {
        let Some(text) = args.last().and_then(literal_text) else { return };
        if name == "timestamp" && super::moment::parse(text).is_none() {
            let message = format!(
                "`{}` is no instant with its offset, as in `timestamp(\"2026-12-31T00:00:00+05:00\")`",
                shown(text)
            );
            self.flaw(part, message);
        }
        if matches!(signature(name).0, Takes::Moments) && super::moment::zone(text).is_none() {
            self.flaw(
                part,
                format!("there is no time zone `{}`; write for example `Asia/Karachi` or `UTC`", shown(text)),
            );
        }
        if name == "int" && text.parse::<i64>().is_err() {
            self.flaw(part, format!("`{}` is no whole number", shown(text)));
        }
    }

    fn unknown(&mut self, part: u64, name: &str) {
        if name == "matches" {
            let message = "regular expressions (`matches`) are not available: their cost cannot be told beforehand; use \
                           `startsWith`, `endsWith`, `contains` or a list with `in`";
            return self.flaw(part, message);
        }
        let known = FUNCTIONS.map(|(known, ..)| known);
        let hint = suggestion(name, &known);
        self.flaw(part, format!("there is no function `{}`{hint}", shown(name)));
    }
}

/// What a function is about.
#[derive(Clone, Copy)]
enum Takes {
    Texts,
    Sized,
    Convertible,
    Printable,
    Moments,
}

fn signature(name: &str) -> (Takes, Kind) {
    match name {
        "size" => (Takes::Sized, Kind::Int),
        "contains" | "startsWith" | "endsWith" => (Takes::Texts, Kind::Bool),
        "int" => (Takes::Convertible, Kind::Int),
        "double" => (Takes::Convertible, Kind::Double),
        "string" => (Takes::Printable, Kind::Text),
        "timestamp" => (Takes::Texts, Kind::Moment),
        _ => (Takes::Moments, Kind::Int),
    }
}
