//! The JSON batch format.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{METHODS, Media, Part, media};
use crate::domain::{PointerSet, read_json};
use crate::policy::endpoint::NotResolved;
use crate::policy::operations::PartRefused;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'b> {
    #[serde(borrow)]
    requests: Vec<&'b RawValue>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPart<'b> {
    #[serde(borrow)]
    id: Cow<'b, str>,
    #[serde(borrow)]
    method: Cow<'b, str>,
    #[serde(borrow)]
    url: Cow<'b, str>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(borrow, default)]
    body: Option<&'b RawValue>,
    // Order and atomicity of the parts: they change nothing about what each of them does.
    #[serde(rename = "atomicityGroup", default)]
    _atomicity_group: IgnoredAny,
    #[serde(rename = "dependsOn", default)]
    _depends_on: IgnoredAny,
    #[serde(rename = "if", default)]
    _condition: IgnoredAny,
}

/// Takes a batch apart.
pub(super) fn read(body: &[u8], most_parts: usize) -> Result<Vec<Part<'_>>, NotResolved> {
    // The document has one meaning, so the reading below is that of the ERP.
    read_json(body, &PointerSet::default(), 0).map_err(NotResolved::BodyUnreadable)?;
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(|_| FORM)?;
    if envelope.requests.is_empty() {
        return Err(NotResolved::NotABatch("it holds no request"));
    }
    if envelope.requests.len() > most_parts {
        return Err(NotResolved::NotABatch("it holds more requests than `max_parts` allows"));
    }
    let requests = envelope.requests.into_iter().map(request).collect::<Result<Vec<_>, _>>()?;
    let mut ids = HashSet::new();
    if !requests.iter().all(|part| ids.insert(part.id.as_ref())) {
        return Err(NotResolved::NotABatch("two requests have the same `id`"));
    }
    let parts = requests.into_iter().zip(1..);
    parts.map(|(raw, number)| part(raw).map_err(|why| NotResolved::Part { number, why })).collect()
}

const FORM: NotResolved = NotResolved::NotABatch(
    "it is not `{\"requests\": […]}` with `id`, `method` and `url` in each, or has a member more",
);

fn request(text: &RawValue) -> Result<RawPart<'_>, NotResolved> {
    // SECURITY: a list of values would be taken for the members in their order, which no ERP does.
    if !text.get().starts_with('{') {
        return Err(FORM);
    }
    serde_json::from_str(text.get()).map_err(|_| FORM)
}

fn part(raw: RawPart<'_>) -> Result<Part<'_>, PartRefused> {
    // The format takes methods in any case.
    let (method, with_body) =
        *METHODS.iter().find(|(known, _)| raw.method.eq_ignore_ascii_case(known)).ok_or(PartRefused::Method)?;
    let headers = raw.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let media = media(headers, Media::Json)?;
    let body = raw.body.map(|body| (body.get().as_bytes(), media));
    if body.is_some() && !with_body {
        return Err(PartRefused::BodyOnMethod);
    }
    Ok(Part { method, url: raw.url, body })
}
