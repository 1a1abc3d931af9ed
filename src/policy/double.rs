//! For tests: what a rule written in YAML demands.

use jiff::Timestamp;

use super::{Facts, Grants, Obligations, PolicySet};
use crate::domain::{PolicyName, Target};

/// The obligations of a request that a rule with these further keys allows.
pub(crate) fn obligations(keys: &str) -> Obligations {
    let texts = [
        (
            "endpoints/erp.yaml",
            "version: 1\nupstream: erp\nendpoints: [{ id: orders.list, methods: [GET], path: /v1/orders }]\n"
                .to_owned(),
        ),
        (
            "reader.yaml",
            format!(
                "version: 1\npolicy: reader\nschedule: exempt\nrules:\n  - id: read\n    allow: [orders.list]\n    {keys}\n"
            ),
        ),
    ];
    let texts = texts.map(|(path, text)| (path.into(), text.into_bytes()));
    let set = PolicySet::from_texts(&texts).unwrap_or_else(|problems| panic!("{problems}"));
    let target = Target::parse(b"/v1/orders").expect("a target");
    let matched = set.route("GET", target.path()).expect("mapped").resolve(None).expect("one endpoint");
    let held: PolicyName = "reader".parse().expect("a name");
    let facts = Facts::new("GET", target.path(), None, Timestamp::UNIX_EPOCH);
    let allowed = set.decide(&matched, Grants::Bounded(&mut std::iter::once(&held)), &facts).expect("allowed");
    allowed.obligations().clone()
}
