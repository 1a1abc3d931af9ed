//! Runs the steps of a recipe: send, check, extract.

use http::HeaderValue;
use serde_json::Value;

use super::error::{Refusal, SessionError};
use super::template;
use super::transport::{MAX_ANSWER, SignInAnswer, SignInRequest, SignInTransport, TransportError};
use super::variables::Variables;
use super::vault::UpstreamSecrets;
use crate::config::{BodyTemplate, Extract, SignInStep, Success, Upstream};
use crate::domain::Secret;

/// Signs in and returns the secrets with all that the steps extracted.
pub(super) async fn sign_in(
    upstream: &Upstream,
    secrets: &UpstreamSecrets,
    transport: &dyn SignInTransport,
) -> Result<Variables, SessionError> {
    let mut variables = Variables::of(secrets);
    for (step, number) in upstream.session.steps.iter().zip(1..) {
        let refused = |reason| SessionError::SignInRefused { step: number, reason };
        let answer = transport.send(upstream, request(step, &variables)?).await.map_err(|reason| match reason {
            TransportError::TooLarge => refused(Refusal::TooLarge),
            TransportError::Connect(_) | TransportError::Protocol(_) | TransportError::TimedOut => {
                SessionError::Unreachable { reason }
            }
        })?;
        for (variable, value) in read(step, &answer).map_err(refused)? {
            variables.keep(variable, value);
        }
    }
    Ok(variables)
}

fn request(step: &SignInStep, variables: &Variables) -> Result<SignInRequest, SessionError> {
    let (body, content_type) = match &step.body {
        BodyTemplate::None => (None, None),
        BodyTemplate::Json(json) => {
            (Some(template::json(json, variables)?), Some(HeaderValue::from_static("application/json")))
        }
    };
    Ok(SignInRequest {
        method: step.method.clone(),
        path: step.path.clone(),
        headers: step.headers.iter().map(|header| template::header(header, variables)).collect::<Result<_, _>>()?,
        body,
        content_type,
    })
}

/// What the step wants to keep of `answer`, if that is a success.
fn read<'a>(step: &'a SignInStep, answer: &SignInAnswer) -> Result<Vec<(&'a str, Secret)>, Refusal> {
    if answer.body.len() > MAX_ANSWER {
        return Err(Refusal::TooLarge);
    }
    if !step.success.status.contains(&answer.status) {
        return Err(Refusal::Status(answer.status));
    }
    if step.success.present.is_empty() && step.success.absent.is_empty() && step.extract.is_empty() {
        return Ok(Vec::new());
    }
    // The error of the parser may quote the answer, so it is left out.
    let body: Value = serde_json::from_slice(&answer.body).map_err(|_| Refusal::NotJson)?;
    check(&step.success, &body)?;
    step.extract.iter().map(|extract| Ok((extract.variable.as_str(), extracted(extract, &body)?))).collect()
}

/// A status alone proves little: Tryton and Odoo report failures with 200.
fn check(success: &Success, body: &Value) -> Result<(), Refusal> {
    let exists = |pointer: &String| body.pointer(pointer).is_some_and(|value| !value.is_null());
    if let Some(pointer) = success.absent.iter().find(|pointer| exists(pointer)) {
        return Err(Refusal::Present(pointer.clone()));
    }
    match success.present.iter().find(|pointer| !exists(pointer)) {
        Some(pointer) => Err(Refusal::Missing(pointer.clone())),
        None => Ok(()),
    }
}

fn extracted(extract: &Extract, body: &Value) -> Result<Secret, Refusal> {
    match body.pointer(&extract.pointer) {
        Some(Value::String(text)) if !text.is_empty() => Ok(Secret::new(text.clone())),
        Some(Value::Number(number)) => Ok(Secret::new(number.to_string())),
        None => Err(Refusal::Missing(extract.pointer.clone())),
        Some(Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Refusal::NotText(extract.pointer.clone()))
        }
    }
}
