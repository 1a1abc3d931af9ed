//! What a case says of a request besides method, path and time: headers, TLS, the client, and who asks.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::facts::{Facts, Requester};
use super::yaml::{Fields, Node, Reader};
use crate::directory::CredentialKind;
use crate::domain::{AccountId, AccountName, CredentialId, LabelChange, Labels};

/// The keys of a case's request that are read here.
pub(super) const KEYS: [&str; 3] = ["headers", "client", "tls"];

/// What a case says of a request besides method, path and time. What it does not say is not known.
#[derive(Debug)]
pub(super) struct Surroundings {
    headers: HeaderMap,
    client: Option<IpAddr>,
    tls: bool,
    requester: Option<Somebody>,
}

/// Who asks. Ids are zero: nobody can know those of real accounts.
#[derive(Debug)]
struct Somebody {
    account: AccountName,
    credential: String,
    kind: CredentialKind,
    labels: Labels,
}

impl Surroundings {
    /// Reads them off the fields of a request and off `principal:` beside it.
    pub(super) fn read(reader: &mut Reader<'_>, request: &Fields<'_>, principal: Option<&Node>) -> Option<Self> {
        let headers = match request.get("headers") {
            Some(node) => read_headers(reader, node)?,
            None => HeaderMap::new(),
        };
        let client = match request.get("client") {
            Some(node) => Some(reader.parsed::<IpAddr>(node, "client")?),
            None => None,
        };
        let tls = match request.get("tls") {
            Some(node) => reader.boolean(node, "tls")?,
            None => false,
        };
        let requester = match principal {
            Some(node) => Some(read_principal(reader, node)?),
            None => None,
        };
        Some(Self { headers, client, tls, requester })
    }

    /// The facts with what is known here.
    pub(super) fn add_to<'a>(&'a self, facts: Facts<'a>) -> Facts<'a> {
        let requester = self.requester.as_ref().map(|somebody| Requester {
            account: somebody.account.as_str(),
            account_id: AccountId::from_bytes([0; 16]),
            credential: &somebody.credential,
            credential_id: CredentialId::from_bytes([0; 16]),
            kind: somebody.kind,
            labels: &somebody.labels,
        });
        Facts { headers: Some(&self.headers), tls: Some(self.tls), client: self.client, requester, ..facts }
    }
}

fn read_headers(reader: &mut Reader<'_>, node: &Node) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, key, value) in reader.any_map(node, "`headers`")?.iter() {
        let text = reader.text(value, name)?;
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(text)) {
            (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
            (Err(_), _) => reader.problem(key.place, "this is not the name of a header"),
            (_, Err(_)) => reader.problem(value.place, "this is not the value of a header"),
        }
    }
    Some(headers)
}

fn read_principal(reader: &mut Reader<'_>, node: &Node) -> Option<Somebody> {
    let fields = reader.map(node, "`principal`", &["account", "credential", "kind", "labels"])?;
    let account = reader.required(&fields, "account", "`principal`").and_then(|node| reader.parsed(node, "account"));
    let credential = match fields.get("credential") {
        Some(node) => reader.text(node, "credential")?.to_owned(),
        None => "integration".to_owned(),
    };
    let kind = match fields.get("kind") {
        None => CredentialKind::Bounded,
        Some(node) => match reader.text(node, "kind")? {
            "bounded" => CredentialKind::Bounded,
            "unrestricted" => CredentialKind::Unrestricted,
            _ => {
                reader.problem(node.place, "`kind` is `bounded` or `unrestricted`");
                return None;
            }
        },
    };
    let labels = match fields.get("labels") {
        None => Labels::default(),
        Some(node) => read_labels(reader, node)?,
    };
    Some(Somebody { account: account?, credential, kind, labels })
}

fn read_labels(reader: &mut Reader<'_>, node: &Node) -> Option<Labels> {
    let mut changes = Vec::new();
    for (name, key, value) in reader.any_map(node, "`labels`")?.iter() {
        let label = format!("{name}={}", reader.text(value, name)?).parse::<LabelChange>();
        changes.push(label.map_err(|error| reader.problem(key.place, error.to_string())).ok()?);
    }
    Labels::default().changed(&changes).map_err(|error| reader.problem(node.place, error.to_string())).ok()
}
