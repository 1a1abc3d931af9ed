//! Step 4, the rest of it: what the allowing rules demand can be done for this request.

use http::header;

use crate::audit::Step;
use crate::domain::Code;
use crate::policy::{Allowed, Obligations};

use super::authenticate::Known;
use super::{BodyFraming, Denial, Gate};

impl Gate {
    /// What is demanded of the request, where all of it can be done.
    pub(super) fn owed<'a>(&self, known: &Known<'_>, allowed: &'a Allowed) -> Result<&'a Obligations, Denial> {
        let obligations = allowed.obligations();
        if obligations.is_empty() {
            return Ok(obligations);
        }
        if let Some(rule) = obligations.rule_on_query()
            && brings_a_form(known)
        {
            // SECURITY: servers that merge query and form would take the client's value from the form.
            let reason =
                format!("rule `{rule}` forces a query parameter, and the body is a form, which could bring it again");
            return Err(Denial::new(Step::Policy, Code::NotPermitted, reason));
        }
        let upstream = self.upstreams.get(allowed.upstream());
        let taken = upstream.and_then(|upstream| {
            upstream.session.injected_names().find_map(|name| Some((name, obligations.rule_on_header(name)?)))
        });
        match taken {
            Some((name, rule)) => {
                let upstream = allowed.upstream();
                let reason = format!(
                    "rule `{rule}` forces the header `{name}`, which the session of upstream `{upstream}` sets"
                );
                Err(Denial::new(Step::Policy, Code::NotPermitted, reason))
            }
            None => Ok(obligations),
        }
    }
}

fn brings_a_form(known: &Known<'_>) -> bool {
    let request = &known.running.request;
    let content_type = request.asked.head.headers.get(header::CONTENT_TYPE);
    let text = content_type.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let is_form = text.is_some_and(|text| text.contains("x-www-form-urlencoded") || text.contains("form-data"));
    is_form && !matches!(request.head.framing(), BodyFraming::None | BodyFraming::Length(0))
}
