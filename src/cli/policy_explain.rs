//! `policy explain`: what would be decided about a request, without sending it.

use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use serde_json::Value;

use super::arguments::Output;
use super::audit_search::moment;
use super::audit_show::excerpt;
use super::output::{self, Failure, line, safe};
use super::run::{Asking, DENIED};
use crate::control::{Command, Question};

/// Bytes of body that are looked at: one more than any endpoint looks into, so that a longer one is seen to be too long.
const LOOKED_AT: usize = 65_537;

/// `policy explain`
#[derive(Debug, clap::Args)]
pub struct Explain {
    /// Who would send it: the id or the name of a credential set
    #[arg(long, value_name = "ID_OR_NAME")]
    pub credential: String,
    /// The method
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// Path and query as a client would send them, as in `/v1/orders?archived=true`
    #[arg(long)]
    pub path: String,
    /// When: a moment, or how long ago, as in `24h` [default: now]
    #[arg(long, value_name = "INSTANT", value_parser = moment)]
    pub at: Option<Timestamp>,
    /// The address that it would come from
    #[arg(long, value_name = "IP")]
    pub client: Option<IpAddr>,
    /// A file with the body, or `-` for standard input; JSON unless a `content-type` header says otherwise
    #[arg(long, value_name = "FILE")]
    pub body: Option<PathBuf>,
    /// A header; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = name_and_value)]
    pub headers: Vec<(String, String)>,
}

pub(super) fn run(asking: &Asking, arguments: Explain) -> Result<ExitCode, Failure> {
    let Explain { credential, method, path, at, client, body, mut headers } = arguments;
    let body = body.as_deref().map(read).transpose()?;
    let body = body.map(|mut body| {
        headers.push(("content-length".to_owned(), body.len().to_string()));
        body.truncate(LOOKED_AT);
        BASE64.encode(body)
    });
    let question = Question { credential, method, target: path, at, client, headers, body };
    let answer = asking.ask(Command::PolicyExplain(Box::new(question)))?;
    if asking.output == Output::Table {
        lines(&answer).iter().try_for_each(|text| line(text))?;
    } else {
        output::print(&answer, &[], asking.output)?;
    }
    let allowed = text(&answer, "decision") == "allowed";
    Ok(if allowed { ExitCode::SUCCESS } else { ExitCode::from(DENIED) })
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map_err(|error| Failure::other(format!("`{}`: {error}", file.display())))?;
    Ok(bytes)
}

fn lines(answer: &Value) -> Vec<String> {
    let asked = answer.get("asked").unwrap_or(&Value::Null);
    let from = asked.get("client").and_then(Value::as_str);
    let from = from.map_or_else(String::new, |from| format!(" from {}", safe(from)));
    let mut lines = vec![
        format!(
            "{} {} at {}{from}, by credential set `{}` ({}, {}) of account `{}`",
            text(asked, "method"),
            text(asked, "target"),
            text(asked, "at"),
            text(asked, "name"),
            text(asked, "credential"),
            text(asked, "kind"),
            text(asked, "account"),
        ),
        String::new(),
        "decision path".to_owned(),
    ];
    let sentences = list(answer, "sentences").iter().filter_map(Value::as_str).map(safe);
    for ((step, said), number) in list(answer, "steps").iter().zip(sentences).zip(1..) {
        let passed = step.get(1).and_then(Value::as_str) == Some("allowed");
        let mark = if passed { "passed" } else { "DENIED" };
        lines.push(format!("  {number:>2}. {mark}  {said}"));
    }
    lines.extend(list(answer, "granted").iter().flat_map(at_endpoint));
    if let Some(policy) = answer.get("text").filter(|text| !text.is_null()) {
        lines.extend([String::new(), format!("{}, as it is in force", text(policy, "file"))]);
        lines.extend(excerpt(policy));
    }
    lines.push(String::new());
    lines.extend(list(answer, "notes").iter().filter_map(Value::as_str).map(safe));
    lines.push(verdict(answer));
    lines
}

fn verdict(answer: &Value) -> String {
    let rule = match (text(answer, "policy"), text(answer, "rule")) {
        (policy, _) if policy.is_empty() => String::new(),
        (policy, rule) if rule.is_empty() => format!(" by policy `{policy}`"),
        (policy, rule) => format!(" by rule `{policy}/{rule}`"),
    };
    if text(answer, "decision") == "allowed" {
        let rule = if rule.is_empty() { ", because the credential set is unrestricted".to_owned() } else { rule };
        return format!("ALLOWED{rule}");
    }
    let status = answer.get("status").and_then(Value::as_u64).unwrap_or_default();
    format!("DENIED{rule}: the client gets status {status}, code `{}`", text(answer, "code"))
}

fn at_endpoint(endpoint: &Value) -> Vec<String> {
    let title = format!("granted policies at `{}` ({})", text(endpoint, "endpoint"), text(endpoint, "route"));
    let mut lines = vec![String::new(), title];
    lines.extend(endpoint.get("unrestricted").and_then(Value::as_str).map(|note| format!("   {note}")));
    let policies = list(endpoint, "policies");
    if policies.is_empty() {
        lines.push("   none is granted".to_owned());
    }
    for policy in policies {
        let hours = match (text(policy, "schedule"), policy.get("open").and_then(Value::as_bool)) {
            (schedule, _) if schedule == "exempt" => "; exempt from the schedule".to_owned(),
            (schedule, Some(true)) => format!("; schedule `{schedule}` is open"),
            (schedule, Some(false)) => format!("; schedule `{schedule}` is closed"),
            (_, None) => String::new(),
        };
        lines.push(format!("   {} {}, {}{hours}", text(policy, "policy"), text(policy, "said"), text(policy, "why")));
        lines.extend(list(policy, "rules").iter().map(|rule| format!("      {}", of_rule(rule))));
        let others = policy.get("other_rules").and_then(Value::as_u64).unwrap_or_default();
        if others > 0 {
            lines.push(format!("      {others} more about other endpoints"));
        }
    }
    lines
}

fn of_rule(rule: &Value) -> String {
    let applies = match rule.get("applies").and_then(Value::as_bool) {
        Some(true) => "applies".to_owned(),
        Some(false) => "does not apply".to_owned(),
        None => format!("cannot be evaluated, so it denies: {}", text(rule, "failed")),
    };
    let narrowed = text(rule, "narrowed");
    let narrowed = if narrowed.is_empty() { narrowed } else { format!(" when {narrowed}") };
    let owes: Vec<String> = list(rule, "owes").iter().filter_map(Value::as_str).map(safe).collect();
    let owes = if owes.is_empty() { String::new() } else { format!(", with {}", owes.join(", ")) };
    format!("{} `{}` ({}){narrowed}{owes}: {applies}", text(rule, "effect"), text(rule, "id"), text(rule, "at"))
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).map(safe).unwrap_or_default()
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    text.split_once(':')
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        // What was typed may be a secret, so it is not repeated.
        .ok_or_else(|| "a header is written `NAME: VALUE`".to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_in_an_answer_can_steer_the_terminal() {
        let evil = "x\u{1b}[2Jy\u{202e}z\n";
        let rule = json!({ "id": evil, "effect": evil, "at": evil, "narrowed": evil, "owes": [evil], "failed": evil });
        let policy =
            json!({ "policy": evil, "said": evil, "why": evil, "schedule": evil, "open": true, "rules": [rule] });
        let answer = json!({
            "decision": "denied", "code": evil, "status": 403, "policy": evil, "rule": evil, "notes": [evil],
            "asked": { "method": evil, "target": evil, "client": evil, "name": evil, "account": evil },
            "steps": [["policy", "denied", evil]], "sentences": [evil],
            "granted": [{ "endpoint": evil, "route": evil, "unrestricted": null, "policies": [policy] }],
            "text": { "file": evil, "lines": [{ "number": 1, "text": evil, "deciding": true }] },
        });
        for line in lines(&answer) {
            assert!(!line.contains(['\u{1b}', '\u{202e}', '\n']), "{line:?}");
        }
    }

    #[test]
    fn a_header_is_split_at_its_first_colon() {
        assert_eq!(name_and_value("x-from: a:b"), Ok(("x-from".to_owned(), "a:b".to_owned())));
        assert!(name_and_value("secret").is_err_and(|why| !why.contains("secret")));
    }
}
