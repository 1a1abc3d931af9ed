//! The parameters of a token request: a form (RFC 6749) or, as a documented extension, a JSON object.

use std::collections::HashMap;

use http::{HeaderMap, header};
use serde::de::{MapAccess, Visitor};
use zeroize::Zeroizing;

use crate::audit::Step;
use crate::domain::Code;
use crate::gate::Denial;

/// The parameters sent. Each occurs once.
pub(super) struct Parameters(HashMap<String, Zeroizing<String>>);

impl Parameters {
    /// Reads the body.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Denial> {
        if body.is_empty() {
            return Ok(Self(HashMap::new()));
        }
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match media_type.as_str() {
            "application/json" => Self::json(body),
            "application/x-www-form-urlencoded" | "" => Self::form(body),
            _ => Err(Denial::new(Step::Request, Code::UnsupportedMediaType, "neither a form nor JSON")
                .detail("send application/x-www-form-urlencoded or application/json")),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    fn form(body: &[u8]) -> Result<Self, Denial> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            // RFC 6749 section 3.2: parameters must not be sent more than once.
            if parameters.insert(name.into_owned(), Zeroizing::new(value.into_owned())).is_some() {
                return Err(malformed("a parameter is sent twice"));
            }
        }
        Ok(Self(parameters))
    }

    fn json(body: &[u8]) -> Result<Self, Denial> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = HashMap<String, Zeroizing<String>>;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("an object of texts, each name once")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut parameters = HashMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if parameters.insert(name, Zeroizing::new(value)).is_some() {
                        return Err(serde::de::Error::custom("a parameter is sent twice"));
                    }
                }
                Ok(parameters)
            }
        }
        let mut reader = serde_json::Deserializer::from_slice(body);
        // The parser's own message may quote the body, so it is not passed on.
        let parameters = serde::Deserializer::deserialize_map(&mut reader, Once)
            .and_then(|parameters| reader.end().map(|()| parameters))
            .map_err(|_| malformed("the JSON is not an object of texts, each name once"))?;
        Ok(Self(parameters))
    }
}

fn malformed(reason: &'static str) -> Denial {
    Denial::new(Step::Request, Code::BadRequest, reason).detail(reason)
}
