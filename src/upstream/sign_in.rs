//! Runs the steps of a recipe: send, check, extract.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, header};
use serde_json::Value;

use super::answer::Answer;
use super::error::{Refusal, SessionError, UnusableRecipe};
use super::key::AccountRef;
use super::template;
use super::transport::{SignInAnswer, SignInRequest, SignInTransport, TransportError};
use super::variables::{SHORTEST_TOKEN, Variables};
use super::vault::UpstreamSecrets;
use crate::config::{BodyTemplate, Extract, ExtractFrom, LifetimeSource, Recipe, SignInStep, Success, Upstream};
use crate::domain::{Secret, UpstreamName};

/// All upstreams, for steps that go to another than the one that is signed in to.
pub(super) type Upstreams = BTreeMap<UpstreamName, Arc<Upstream>>;

/// What a sign-in gave.
#[derive(Debug)]
pub(super) struct SignedIn {
    pub(super) variables: Variables,
    /// How long the answers say that the session serves.
    pub(super) lifetime: Option<Duration>,
}

/// Sees each step go by, for an operator who wants to know why it fails.
pub(super) trait Observer: Send {
    /// Whether anybody looks; what is seen is gathered only then.
    fn looks(&self) -> bool;

    /// A step was sent and answered, or not; `secrets` are all values that must not be shown.
    fn step(&mut self, sent: &SignInRequest, answer: Result<&SignInAnswer, &TransportError>, secrets: &[Secret]);
}

/// Nobody looks.
pub(super) struct Unobserved;

impl Observer for Unobserved {
    fn step(&mut self, _: &SignInRequest, _: Result<&SignInAnswer, &TransportError>, _: &[Secret]) {}

    fn looks(&self) -> bool {
        false
    }
}

/// Signs in and returns the secrets with all that the steps extracted.
pub(super) async fn sign_in(
    upstreams: &Upstreams,
    upstream: &Arc<Upstream>,
    secrets: &UpstreamSecrets,
    account: Option<&AccountRef>,
    transport: &dyn SignInTransport,
    observer: &mut dyn Observer,
) -> Result<SignedIn, SessionError> {
    let recipe = &upstream.session;
    let mut signed_in = SignedIn { variables: Variables::of(secrets).for_account(account), lifetime: None };
    for (step, number) in recipe.steps.iter().zip(1..) {
        let refused = |reason| SessionError::SignInRefused { step: number, reason };
        let to = target(upstreams, upstream, step)?;
        let sent = request(step, &signed_in.variables)?;
        let told = observer.looks().then(|| sent.for_the_record());
        let received = transport.send(to, sent).await;
        if let Some(told) = &told {
            let secrets = secrets_of(step, received.as_ref().ok(), &signed_in.variables);
            observer.step(told, received.as_ref(), &secrets);
        }
        let answer = received.map_err(|reason| match reason {
            TransportError::TooLarge => refused(Refusal::TooLarge),
            TransportError::Connect(_) | TransportError::Protocol(_) | TransportError::TimedOut => {
                SessionError::Unreachable { reason }
            }
        })?;
        let answer = Answer::of(&answer).map_err(refused)?;
        let protected = recipe.secure_over_http || to.tls.is_some();
        for (variable, value) in read(step, &answer, protected).map_err(refused)? {
            signed_in.variables.keep(variable, value);
        }
        signed_in.lifetime = told_lifetime(recipe, &answer).or(signed_in.lifetime);
    }
    Ok(signed_in)
}

/// All values that must not be shown: those known, and those that this answer brings.
fn secrets_of(step: &SignInStep, received: Option<&SignInAnswer>, variables: &Variables) -> Vec<Secret> {
    let mut secrets = variables.secrets();
    for header in &step.headers {
        secrets.extend(template::secrets_on_the_wire(&header.value, variables).unwrap_or_default());
    }
    if let Some(answer) = received.and_then(|received| Answer::of(received).ok()) {
        let brought = step.extract.iter().filter_map(|extract| extracted(extract, &answer, true).ok());
        secrets.extend(brought.filter(|value| value.expose().len() >= SHORTEST_TOKEN));
    }
    secrets
}

/// Ends a session at the ERP.
pub(super) async fn sign_out(
    upstreams: &Upstreams,
    upstream: &Arc<Upstream>,
    variables: &Variables,
    transport: &dyn SignInTransport,
) -> Result<(), SessionError> {
    let Some(step) = &upstream.session.logout else { return Ok(()) };
    let to = target(upstreams, upstream, step)?;
    let answer = transport.send(to, request(step, variables)?).await;
    let answer = answer.map_err(|reason| SessionError::Unreachable { reason })?;
    let refused = |reason| SessionError::SignInRefused { step: 0, reason };
    read(step, &Answer::of(&answer).map_err(refused)?, true).map_err(refused)?;
    Ok(())
}

fn target<'a>(
    upstreams: &'a Upstreams,
    own: &'a Arc<Upstream>,
    step: &SignInStep,
) -> Result<&'a Arc<Upstream>, SessionError> {
    let Some(name) = &step.at else { return Ok(own) };
    upstreams.get(name).ok_or_else(|| SessionError::Unusable { reason: UnusableRecipe::NoSuchUpstream(name.clone()) })
}

fn request(step: &SignInStep, variables: &Variables) -> Result<SignInRequest, SessionError> {
    let (body, content_type) = match &step.body {
        BodyTemplate::None => (None, None),
        BodyTemplate::Json(json) => {
            (Some(template::json(json, variables)?), Some(HeaderValue::from_static("application/json")))
        }
        BodyTemplate::Form(fields) => (
            Some(template::form(fields, variables)?),
            Some(HeaderValue::from_static("application/x-www-form-urlencoded")),
        ),
    };
    Ok(SignInRequest {
        method: step.method.clone(),
        path: step.path.clone(),
        headers: headers(step, variables)?,
        body,
        content_type,
    })
}

fn headers(step: &SignInStep, variables: &Variables) -> Result<Vec<(HeaderName, HeaderValue)>, SessionError> {
    let mut headers = Vec::with_capacity(step.headers.len() + 1);
    for header in &step.headers {
        headers.extend(template::header(header, variables)?);
    }
    headers.extend(template::cookies(&step.cookies, variables)?);
    // SECURITY: a step that says nothing of cookies sends none.
    debug_assert!(headers.iter().filter(|(name, _)| *name == header::COOKIE).count() <= 1, "one Cookie header");
    Ok(headers)
}

/// What the step wants to keep of `answer`, if that is a success.
fn read<'a>(step: &'a SignInStep, answer: &Answer<'_>, protected: bool) -> Result<Vec<(&'a str, Secret)>, Refusal> {
    if !step.success.status.contains(&answer.status()) {
        return Err(Refusal::Status(answer.status()));
    }
    check(&step.success, answer)?;
    step.extract.iter().map(|extract| Ok((extract.variable.as_str(), extracted(extract, answer, protected)?))).collect()
}

/// A status alone proves little: Tryton and Odoo report failures with 200.
fn check(success: &Success, answer: &Answer<'_>) -> Result<(), Refusal> {
    if success.present.is_empty() && success.absent.is_empty() {
        return Ok(());
    }
    let body = answer.json()?;
    let exists = |pointer: &String| body.pointer(pointer).is_some_and(|value| !value.is_null());
    if let Some(pointer) = success.absent.iter().find(|pointer| exists(pointer)) {
        return Err(Refusal::Present(pointer.clone()));
    }
    match success.present.iter().find(|pointer| !exists(pointer)) {
        Some(pointer) => Err(Refusal::Missing(pointer.clone())),
        None => Ok(()),
    }
}

fn extracted(extract: &Extract, answer: &Answer<'_>, protected: bool) -> Result<Secret, Refusal> {
    let found = match &extract.from {
        ExtractFrom::Pointer(pointer) => at_pointer(pointer, answer.json()?)?,
        ExtractFrom::Header(name) => answer.header(name)?,
        ExtractFrom::Cookie(name) => from_cookie(name, answer, protected)?,
    };
    match (found, &extract.from) {
        (Some(value), _) => Ok(Secret::new(value)),
        (None, _) if extract.optional => Ok(Secret::new(String::new())),
        (None, ExtractFrom::Pointer(pointer)) => Err(Refusal::Missing(pointer.clone())),
        (None, ExtractFrom::Header(name)) => Err(Refusal::NoHeader(name.clone())),
        (None, ExtractFrom::Cookie(name)) => Err(Refusal::NoCookie(name.clone())),
    }
}

fn from_cookie(name: &str, answer: &Answer<'_>, protected: bool) -> Result<Option<String>, Refusal> {
    match answer.cookie(name) {
        // SECURITY: `Secure` says that the ERP does not want it on a wire that others can read.
        Some(cookie) if cookie.secure && !protected => Err(Refusal::SecureCookie(name.to_owned())),
        Some(cookie) => Ok(Some(cookie.value)),
        None => Ok(None),
    }
}

fn at_pointer(pointer: &str, body: &Value) -> Result<Option<String>, Refusal> {
    match body.pointer(pointer) {
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        None => Ok(None),
        Some(Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            Err(Refusal::NotText(pointer.to_owned()))
        }
    }
}

/// What this answer says of the session's life; an answer that says nothing readable says nothing.
fn told_lifetime(recipe: &Recipe, answer: &Answer<'_>) -> Option<Duration> {
    let number = |pointer: &str| match answer.json().ok()?.pointer(pointer)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    let told = match &recipe.lifetime.source {
        LifetimeSource::Recipe => None,
        LifetimeSource::Seconds(pointer) => number(pointer).map(Duration::from_secs),
        LifetimeSource::Minutes(pointer) => {
            number(pointer).map(|minutes| Duration::from_secs(minutes.saturating_mul(60)))
        }
        LifetimeSource::Cookie(name) => answer.cookie(name)?.max_age,
    };
    told.filter(|lifetime| !lifetime.is_zero())
}
