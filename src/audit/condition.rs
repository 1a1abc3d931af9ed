//! What a filter says, as SQL.

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use crate::domain::Code;

use super::database::AuditError;
use super::row::{COLUMNS, FROM, Filter, Row, read_row};

/// Conditions that all must hold, with the values in them.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    texts: Vec<String>,
    values: Vec<Value>,
}

impl Condition {
    pub(super) fn of(filter: &Filter) -> Self {
        let mut all = Self { texts: Vec::new(), values: Vec::new() };
        let blob = |id: &[u8; 16]| Value::Blob(id.to_vec());
        all.only("decision.id =", filter.id.as_ref().map(|id| blob(id.as_bytes())));
        all.only("account =", filter.account.as_ref().map(|id| blob(id.as_bytes())));
        all.only("credential =", filter.credential.as_ref().map(|id| blob(id.as_bytes())));
        all.only("token =", filter.token.as_ref().map(|id| blob(id.as_bytes())));
        all.only("COALESCE(decision.code, outcome.code) =", text(filter.code.as_ref()));
        all.only("kind =", text(filter.kind.as_ref()));
        all.only("decision.at >=", filter.since.map(|at| Value::Integer(at.as_microsecond())));
        all.only("decision.at <", filter.until.map(|at| Value::Integer(at.as_microsecond())));
        all.only("decision =", text(filter.decision.as_ref()));
        all.only("endpoint =", text(filter.endpoint.as_ref()));
        all.only("policy =", text(filter.policy.as_ref()));
        all.only("actor =", text(filter.actor.as_ref()));
        all.only("client =", text(filter.client.as_ref()));
        all.only("correlation =", text(filter.correlation.as_ref()));
        all.only("upstream_status =", filter.upstream_status.map(|status| Value::Integer(status.into())));
        all.only("duration >=", filter.min_duration.map(Value::Integer));
        if let Some(cause) = filter.cause {
            let codes = Code::ALL.iter().filter(|code| code.cause() == cause);
            let places: Vec<_> = codes.map(|code| all.bind(Value::Text(code.as_str().to_owned()))).collect();
            all.texts.push(format!("COALESCE(decision.code, outcome.code) IN ({})", places.join(", ")));
        }
        if let Some(said) = &filter.text {
            let place = all.bind(Value::Text(said.to_lowercase()));
            let holds = |column: &str| format!("instr(lower({column}), {place}) > 0");
            all.texts.push(format!("({} OR {})", holds("verdicts"), holds("COALESCE(outcome.detail, '')")));
        }
        all
    }

    /// Adds one.
    pub(super) fn and(&mut self, condition: String) {
        self.texts.push(condition);
    }

    /// The whole, and its values.
    pub(super) fn parts(&self) -> (String, &[Value]) {
        let all = if self.texts.is_empty() { "true".to_owned() } else { self.texts.join(" AND ") };
        (all, &self.values)
    }

    fn only(&mut self, condition: &str, value: Option<Value>) {
        if let Some(value) = value {
            let place = self.bind(value);
            self.texts.push(format!("{condition} {place}"));
        }
    }

    pub(super) fn bind(&mut self, value: Value) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    pub(super) fn rows(&self, trail: &Connection, range: &str, order: &str) -> Result<Vec<Row>, AuditError> {
        let all: Vec<_> = std::iter::once(range).chain(self.texts.iter().map(String::as_str)).collect();
        let text = format!("SELECT {COLUMNS} {FROM} WHERE {} {order}", all.join(" AND "));
        let mut statement = trail.prepare_cached(&text)?;
        let rows = statement.query_map(params_from_iter(&self.values), read_row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn text(text: Option<&String>) -> Option<Value> {
    text.map(|text| Value::Text(text.clone()))
}
