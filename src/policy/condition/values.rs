//! What a condition sees of a request, made only when it looks.

use std::any::Any;
use std::net::IpAddr;

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator as Walk, Sizer};
use cel::common::types::{CelBool, CelInt, CelNull, CelString, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;
use http::HeaderMap;

use super::bounds::MOST_ENTRIES;
use super::kinds::{Texts, Variable};
use super::moment::Moment;
use crate::policy::facts::{Facts, Requester};

/// The variables of one evaluation.
pub(super) struct Seen<'a> {
    facts: &'a Facts<'a>,
    params: &'a [(String, String)],
    query: Option<Named<'a>>,
    headers: Option<Named<'a>>,
}

impl<'a> Seen<'a> {
    /// Makes what these variables need.
    ///
    /// # Errors
    /// When something is not known of this request, or a query parameter is sent twice: which one would count?
    pub(super) fn of(
        facts: &'a Facts<'a>,
        params: &'a [(String, String)],
        uses: &[Variable],
        goes_through: &[Texts],
    ) -> Result<Self, String> {
        if facts.requester.is_none() && uses.iter().any(|variable| variable.is_of_the_principal()) {
            return Err("who asks is not known here, and the condition asks for `principal`".into());
        }
        let headers = match (uses.contains(&Variable::Headers), facts.headers) {
            (false, _) => None,
            (true, Some(headers)) => Some(Named::headers(headers)),
            (true, None) => return Err("the headers are not known here, and the condition asks for them".into()),
        };
        if facts.tls.is_none() && uses.contains(&Variable::Tls) {
            return Err("whether the connection was TLS is not known here, and the condition asks for it".into());
        }
        let query = if uses.contains(&Variable::Query) { Some(Named::query(facts.query)?) } else { None };
        let seen = Self { facts, params, query, headers };
        for texts in goes_through {
            if seen.count(*texts) > MOST_ENTRIES {
                let name = texts.variable().name();
                return Err(format!("`{name}` has more than {MOST_ENTRIES} entries, too many to go through"));
            }
        }
        Ok(seen)
    }

    fn count(&self, texts: Texts) -> usize {
        let count = |named: &Option<Named<'_>>| named.as_ref().map_or(0, |named| named.entries.len());
        match texts {
            Texts::Params => self.params.len(),
            Texts::Query => count(&self.query),
            Texts::Headers => count(&self.headers),
            Texts::Labels => self.facts.requester.map_or(0, |requester| requester.labels.len()),
        }
    }

    fn of_requester(&self, read: impl FnOnce(Requester<'a>) -> CowVal<'a, 'a>) -> Option<CowVal<'a, 'a>> {
        self.facts.requester.map(read)
    }
}

impl VariableResolver for Seen<'_> {
    fn resolve<'b>(&'b self, name: &str) -> Option<CowVal<'b, 'b>> {
        Some(match Variable::named(name)? {
            Variable::Method => text(self.facts.method),
            Variable::Path => text(self.facts.path.as_str()),
            Variable::Params => CowVal::owned(Named::params(self.params)),
            Variable::Query => CowVal::Borrowed(self.query.as_ref()?),
            Variable::Headers => CowVal::Borrowed(self.headers.as_ref()?),
            Variable::Tls => CowVal::owned(CelBool::from(self.facts.tls?)),
            Variable::ClientIp => self.facts.client.map_or(CowVal::Borrowed(&CelNull), address),
            Variable::Account => self.of_requester(|requester| text(requester.account))?,
            Variable::AccountId => self.of_requester(|requester| owned(requester.account_id.to_string()))?,
            Variable::Credential => self.of_requester(|requester| text(requester.credential))?,
            Variable::CredentialId => self.of_requester(|requester| owned(requester.credential_id.to_string()))?,
            Variable::CredentialKind => self.of_requester(|requester| text(requester.kind.as_str()))?,
            Variable::Labels => self.of_requester(|requester| CowVal::owned(Named::labels(requester)))?,
            Variable::Now => CowVal::owned(Moment(self.facts.now)),
        })
    }
}

fn text(text: &str) -> CowVal<'_, '_> {
    CowVal::owned(CelString::from(text))
}

fn owned<'v>(text: String) -> CowVal<'v, 'v> {
    CowVal::owned(CelString::from(text))
}

fn address<'v>(address: IpAddr) -> CowVal<'v, 'v> {
    owned(address.to_canonical().to_string())
}

/// Texts by name.
#[derive(Debug, Clone)]
struct Named<'a> {
    entries: Vec<(CelString<'a>, Entry<'a>)>,
    missing: Missing,
}

/// An entry, or why it has no value that counts.
type Entry<'a> = Result<CelString<'a>, &'static str>;

/// What is found where there is no such entry.
#[derive(Debug, Clone, Copy)]
enum Missing {
    Null,
    Fails,
}

impl<'a> Named<'a> {
    fn params(params: &'a [(String, String)]) -> Self {
        let entry = |(name, value): &'a (String, String)| (name.as_str().into(), Ok(value.as_str().into()));
        Self { entries: params.iter().map(entry).collect(), missing: Missing::Fails }
    }

    fn labels(requester: Requester<'a>) -> Self {
        let entry = |(name, value): (&'a str, &'a str)| (name.into(), Ok(value.into()));
        Self { entries: requester.labels.iter().map(entry).collect(), missing: Missing::Null }
    }

    fn query(query: Option<&'a str>) -> Result<Self, String> {
        let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
        let entries: Vec<_> = pairs.map(|(name, value)| (CelString::from(name), Ok(CelString::from(value)))).collect();
        let mut names: Vec<&str> = entries.iter().map(|(name, _)| name.inner()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            return Err("a query parameter is sent twice".into());
        }
        Ok(Self { entries, missing: Missing::Null })
    }

    /// SECURITY: what carries secrets is not among them, whatever name an expression puts together.
    fn headers(headers: &'a HeaderMap) -> Self {
        let names = headers.keys().filter(|name| !super::is_secret_header(name.as_str()));
        let entries = names.map(|name| {
            let mut values = headers.get_all(name).iter();
            let value = match (values.next(), values.next()) {
                (Some(value), None) => {
                    std::str::from_utf8(value.as_bytes()).map(CelString::from).map_err(|_| "a header is not text")
                }
                _ => Err("a header is sent more than once"),
            };
            (CelString::from(name.as_str()), value)
        });
        Self { entries: entries.collect(), missing: Missing::Null }
    }

    fn find(&self, name: &dyn Val) -> Result<Option<&Entry<'a>>, ExecutionError> {
        let name = name.downcast_ref::<CelString>().ok_or_else(|| ExecutionError::UnexpectedType {
            got: name.get_type().name().to_owned(),
            want: "string".to_owned(),
        })?;
        Ok(self.entries.iter().find(|(known, _)| known.inner() == name.inner()).map(|(_, entry)| entry))
    }
}

static NAMED: Type = MAP_TYPE;

impl Val for Named<'_> {
    fn get_type(&self) -> &Type {
        &NAMED
    }

    fn cel_type() -> &'static Type {
        &NAMED
    }

    fn as_container(&self) -> Option<&dyn Container> {
        Some(self)
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        None
    }
}

impl Container for Named<'_> {
    fn contains(&self, name: &dyn Val) -> Result<bool, ExecutionError> {
        self.find(name).map(|entry| entry.is_some())
    }
}

impl Indexer for Named<'_> {
    fn get<'b, 'v>(&'b self, name: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        match (self.find(name)?, self.missing) {
            (Some(Ok(value)), _) => Ok(CowVal::Borrowed(value)),
            (Some(Err(why)), _) => Err(ExecutionError::InternalError((*why).to_owned())),
            (None, Missing::Null) => Ok(CowVal::Borrowed(&CelNull)),
            (None, Missing::Fails) => Err(ExecutionError::InternalError("there is no such path parameter".to_owned())),
        }
    }

    fn steal<'v>(self: Box<Self>, name: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(name).map(CowVal::into_owned)
    }
}

impl Sizer for Named<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.entries.len()).unwrap_or(i64::MAX))
    }
}

impl Iterable for Named<'_> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn Walk<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Names(self.entries.iter()))
    }
}

/// The names of entries, one after the other.
struct Names<'b, 'a>(std::slice::Iter<'b, (CelString<'a>, Entry<'a>)>);

impl<'b, 'v, 'a: 'v> Walk<'b, 'v> for Names<'b, 'a> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        let (name, _) = self.0.next()?;
        Some(name)
    }
}
