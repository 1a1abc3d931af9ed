//! What would be decided about a request that nobody sent, step by step.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::proposal::only;
use super::super::{Control, ControlError, Result};
use super::granted;
use super::steps;
use super::text::PolicyExcerpt;
use crate::audit::{Entry, Verdict};
use crate::directory::Credential;
use crate::domain::RequestId;
use crate::gate::{Asked, BodyProblem, Head, RequestBody};

/// Headers that carry secrets. They play no part in a question, and would stand in the shell's history.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "x-api-key", "cookie"];

/// A request about which an operator asks.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Who would send it: the id or the name of a credential set.
    pub credential: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// When; now where it is not said.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub at: Option<Timestamp>,
    /// Where it would come from.
    #[schema(value_type = Option<String>)]
    pub client: Option<IpAddr>,
    /// Further headers.
    #[serde(default)]
    #[schema(value_type = Vec<Vec<String>>)]
    pub headers: Vec<(String, String)>,
    /// The body in Base64.
    pub body: Option<String>,
}

/// What would be decided.
#[derive(Debug, Serialize)]
struct Answer {
    /// `allowed` or `denied`.
    decision: &'static str,
    /// What the client would be told, where denied.
    code: Option<&'static str>,
    status: Option<u16>,
    asked: Value,
    /// The path in its one form, where it has one.
    path: String,
    endpoint: Option<String>,
    policy: Option<String>,
    rule: Option<String>,
    /// Each step that was taken: its name, what it said, on what grounds.
    steps: Vec<(&'static str, &'static str, String)>,
    /// The same in plain words.
    sentences: Vec<String>,
    /// What each granted policy says, for each operation in the request.
    granted: Vec<granted::AtEndpoint>,
    /// The text of the deciding rule.
    text: Option<PolicyExcerpt>,
    notes: Vec<String>,
}

/// A body that is there already.
struct Whole(Bytes);

#[async_trait]
impl RequestBody for Whole {
    async fn read_whole(&mut self, limit: usize) -> std::result::Result<Bytes, BodyProblem> {
        if self.0.len() > limit { Err(BodyProblem::TooLarge) } else { Ok(self.0.clone()) }
    }
}

impl Control {
    pub(in super::super) async fn explain_question(&self, question: &Question) -> Result<Value> {
        let gate = self.gate.as_ref().ok_or_else(|| ControlError::failed("there is no gate that could be asked"))?;
        let sender = self.sender(&question.credential)?;
        let body = question.body.as_deref().map(|text| BASE64.decode(text)).transpose();
        let body = body.map_err(|_| ControlError::invalid("the body is not in Base64"))?.unwrap_or_default();
        let headers = headers(question, body.len())?;
        let head = Head {
            version: Version::HTTP_11,
            method: &question.method,
            raw_target: question.target.as_bytes(),
            headers: &headers,
        };
        let now = question.at.unwrap_or_else(|| self.clock.now());
        let id = RequestId::new(now, &*self.entropy).map_err(ControlError::failed)?;
        let asked = Asked { id, head, client: question.client, tls: None, now };
        let body = Bytes::from(body);
        let entry = gate.rehearse(asked, sender.id, &mut Whole(body.clone())).await;
        let granted = self.granted(question, &asked, gate.rules.head, &sender, &body);
        let answer = self.answered(question, &sender, entry, granted)?;
        serde_json::to_value(answer).map_err(ControlError::failed)
    }

    /// The credential set with this id or name.
    fn sender(&self, text: &str) -> Result<Arc<Credential>> {
        let snapshot = self.directory.snapshot();
        only(text, snapshot.credentials().into_iter().map(|set| (set.id, set.name.as_str(), Arc::clone(set))))
    }

    fn answered(
        &self,
        question: &Question,
        sender: &Credential,
        entry: Entry,
        granted: Vec<granted::AtEndpoint>,
    ) -> Result<Answer> {
        let text = match (&entry.policy, &entry.rule, &entry.policy_snapshot) {
            (Some(policy), Some(rule), Some(hash)) => self.kept_text(policy.as_str(), rule.as_str(), hash)?,
            _ => None,
        };
        let steps: Vec<_> = entry.verdicts.iter().map(step).collect();
        let spoken = entry.verdicts.iter().map(|verdict| {
            let (step, said, note) = step(verdict);
            steps::sentence(entry.kind.as_str(), &(step.to_owned(), said.to_owned(), note))
        });
        Ok(Answer {
            decision: entry.decision.as_str(),
            code: entry.code.map(crate::domain::Code::as_str),
            status: entry.status,
            asked: asked(question, sender, &entry, self),
            sentences: spoken.collect(),
            steps,
            granted,
            text,
            notes: notes(question),
            path: entry.path,
            endpoint: entry.endpoint.map(String::from),
            policy: entry.policy.map(String::from),
            rule: entry.rule.map(String::from),
        })
    }
}

fn step(verdict: &Verdict) -> (&'static str, &'static str, String) {
    (verdict.step.as_str(), verdict.decision.as_str(), verdict.note.clone().into_owned())
}

fn asked(question: &Question, sender: &Credential, entry: &Entry, control: &Control) -> Value {
    let account = control.directory.snapshot().account(sender.account).map(|account| account.name.clone());
    json!({
        "method": question.method, "target": question.target, "at": entry.at, "client": question.client,
        "credential": sender.id, "name": sender.name, "kind": sender.kind.as_str(), "account": account,
    })
}

/// What the answer takes for granted.
fn notes(question: &Question) -> Vec<String> {
    let mut notes = vec![
        "A live token and the right x-api-key are taken for granted; nothing was sent, counted or recorded.".to_owned(),
    ];
    if question.at.is_some() {
        notes.push("Account, credential set, grants, kill switches and policies are those of now, the time is the one asked for.".to_owned());
    }
    if question.client.is_none() {
        notes.push("No client address was given: a condition that looks at it finds none.".to_owned());
    }
    notes
}

/// The head that such a request would have.
fn headers(question: &Question, length: usize) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &question.headers {
        if SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            return Err(ControlError::invalid(format!("`{name}` plays no part here; name the credential set instead")));
        }
        let wrong = |_| ControlError::invalid(format!("`{name}` is not a header that could be sent"));
        let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let value = HeaderValue::from_str(value).map_err(|error| wrong(error.to_string()))?;
        headers.append(parsed, value);
    }
    headers.entry(header::HOST).or_insert(HeaderValue::from_static("gateway"));
    if question.body.is_some() {
        headers.entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)], body: Option<&str>) -> Question {
        Question {
            credential: "webshop".into(),
            method: "POST".into(),
            target: "/v1/orders".into(),
            at: None,
            client: None,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: body.map(str::to_owned),
        }
    }

    #[test]
    fn a_secret_header_is_refused_and_not_repeated() {
        for name in ["Authorization", "X-Api-Key", "cookie"] {
            let refused = headers(&asked(&[(name, "erpa_tok_secret")], None), 0).expect_err("refused");
            assert!(!refused.message.contains("erpa_tok"), "{refused}");
        }
    }

    #[test]
    fn a_body_comes_with_its_length_and_as_json_unless_something_else_is_said() {
        let said = |given: &[(&str, &str)]| {
            let headers = headers(&asked(given, Some("e30=")), 2).expect("headers");
            (headers[header::CONTENT_LENGTH].clone(), headers[header::CONTENT_TYPE].clone())
        };
        assert_eq!(said(&[]), (HeaderValue::from(2), HeaderValue::from_static("application/json")));
        assert_eq!(said(&[("content-type", "text/plain")]).1, "text/plain");
        assert!(headers(&asked(&[], None), 0).expect("headers").get(header::CONTENT_LENGTH).is_none());
    }
}
