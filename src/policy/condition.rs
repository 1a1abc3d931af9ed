//! `when:` conditions in CEL, compiled when the file is loaded. One that cannot be evaluated denies.

use std::fmt;

use cel::{Context, Program, Value};
use serde_json::json;

use super::decision::Facts;

/// Longest expression, in characters.
const LONGEST: usize = 2000;
/// Deepest nesting of brackets.
const DEEPEST: usize = 32;
/// What an expression may refer to.
const VARIABLES: [&str; 3] = ["request", "client", "now"];

/// A compiled condition.
pub(super) struct Condition {
    source: String,
    program: Program,
    /// Query parameters that the expression takes by name; one that was not sent is null.
    parameters: Vec<String>,
    uses_query: bool,
}

impl fmt::Debug for Condition {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Condition({})", self.source)
    }
}

impl Condition {
    /// Compiles an expression.
    pub(super) fn compile(source: &str) -> Result<Self, String> {
        let length = source.chars().count();
        if length > LONGEST {
            return Err(format!("the expression has {length} characters, {LONGEST} are allowed"));
        }
        if depth(source) > DEEPEST {
            return Err(format!("the expression nests deeper than {DEEPEST} brackets"));
        }
        let program = Program::compile(source)
            .map_err(|errors| format!("the expression cannot be read: {}", first_line(&errors)))?;
        let mut unknown: Vec<String> = program
            .references()
            .variables()
            .into_iter()
            .filter(|name| !VARIABLES.contains(name) && !source.contains(&format!("({name},")))
            .map(str::to_owned)
            .collect();
        unknown.sort_unstable();
        if let Some(name) = unknown.first() {
            return Err(format!("unknown name `{name}`; an expression may use `request`, `client` and `now`"));
        }
        // Where the expression itself asks whether a parameter was sent, nothing is put in its place.
        let asks = source.contains(" in request.query") || source.contains("has(");
        let parameters = if asks { Vec::new() } else { indexed_parameters(source) };
        Ok(Self { source: source.to_owned(), program, parameters, uses_query: source.contains("request.query") })
    }

    /// Whether the condition holds.
    ///
    /// # Errors
    /// When it cannot be evaluated, or a query parameter is sent twice: which one would count?
    pub(super) fn holds(&self, facts: &Facts<'_>, parameters: &[(String, String)]) -> Result<bool, String> {
        let mut context = Context::default();
        let query = self.query(facts)?;
        let path: serde_json::Map<_, _> = parameters.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let request = json!({ "method": facts.method, "path": facts.path.as_str(), "query": query, "params": path });
        let client = json!({ "ip": facts.client.map(|address| address.to_string()) });
        let bind = |context: &mut Context<'_, '_>, name: &str, value: serde_json::Value| {
            context.add_variable(name, value).map_err(|_| format!("`{name}` cannot be given to the expression"))
        };
        bind(&mut context, "request", request)?;
        bind(&mut context, "client", client)?;
        bind(&mut context, "now", json!(facts.now.to_string()))?;
        match self.program.execute(&context) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("the expression gave neither true nor false".into()),
            Err(error) => Err(format!("the expression failed: {error}")),
        }
    }

    /// The expression as written.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether it looks at what no audit row holds, so that it cannot be evaluated again.
    pub(super) fn uses_connection(&self) -> bool {
        ["headers", "tls"].iter().any(|name| self.source.contains(name))
    }

    pub(super) fn uses_query(&self) -> bool {
        self.uses_query
    }

    fn query(&self, facts: &Facts<'_>) -> Result<serde_json::Map<String, serde_json::Value>, String> {
        let mut query = serde_json::Map::new();
        if !self.uses_query {
            return Ok(query);
        }
        for (name, value) in form_urlencoded::parse(facts.query.unwrap_or_default().as_bytes()) {
            if query.insert(name.into_owned(), json!(value)).is_some() {
                return Err("a query parameter is sent twice".into());
            }
        }
        for name in &self.parameters {
            query.entry(name.clone()).or_insert(serde_json::Value::Null);
        }
        Ok(query)
    }
}

/// Names taken as `request.query["name"]` or `request.query['name']`.
fn indexed_parameters(source: &str) -> Vec<String> {
    source
        .split("request.query[")
        .skip(1)
        .filter_map(|rest| {
            let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
            rest.split(quote).nth(1).map(str::to_owned)
        })
        .collect()
}

fn depth(source: &str) -> usize {
    let mut now = 0_usize;
    let mut deepest = 0;
    for character in source.chars() {
        match character {
            '(' | '[' | '{' | '!' | '-' => {
                now += usize::from(!matches!(character, '!' | '-'));
                deepest = deepest.max(now);
            }
            ')' | ']' | '}' => now = now.saturating_sub(1),
            _ => {}
        }
    }
    // A chain of `!` or `-` nests without brackets.
    let chains = source.split(|character| character != '!' && character != '-').map(str::len).max().unwrap_or(0);
    deepest.max(chains)
}

fn first_line(error: &impl fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::CanonicalPath;

    fn holds(source: &str, query: Option<&str>) -> Result<bool, String> {
        let path = CanonicalPath::parse(b"/v1/parties/5").expect("a path");
        let client = "192.0.2.7".parse().ok();
        let facts = Facts { method: "GET", path: &path, query, client, now: Timestamp::UNIX_EPOCH };
        Condition::compile(source).expect("compiles").holds(&facts, &[("id".into(), "5".into())])
    }

    #[test]
    fn a_condition_sees_request_client_and_parameters() {
        assert_eq!(holds(r#"request.query["archived"] == "true""#, Some("archived=true")), Ok(true));
        assert_eq!(holds(r#"request.method == "GET" && request.params.id == "5""#, None), Ok(true));
        assert_eq!(holds(r#"client.ip.startsWith("192.0.2.")"#, None), Ok(true));
    }

    #[test]
    fn a_parameter_that_was_not_sent_is_null() {
        assert_eq!(holds(r#"request.query["archived"] == "true""#, None), Ok(false));
        assert_eq!(holds(r#""archived" in request.query"#, Some("x=1")), Ok(false));
    }

    #[test]
    fn a_parameter_sent_twice_cannot_be_decided() {
        assert!(holds(r#"request.query["a"] == "1""#, Some("a=1&%61=2")).is_err());
    }

    #[test]
    fn what_does_not_evaluate_to_a_boolean_is_an_error() {
        assert!(holds("request.method", None).is_err());
        assert!(holds("request.nothing == 1", None).is_err());
    }

    #[test]
    fn what_cannot_be_compiled_is_refused_at_load() {
        let brackets = format!("{}true{}", "(".repeat(3000), ")".repeat(3000));
        let negations = format!("{}true", "!".repeat(3000));
        for source in ["", "request.method ==", "‘a’ == 1", "reqest.method == \"GET\"", &brackets, &negations] {
            assert!(Condition::compile(source).is_err(), "{}", source.chars().take(40).collect::<String>());
        }
    }
}
