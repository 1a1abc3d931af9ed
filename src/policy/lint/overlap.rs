//! Path templates that match the same path: which one takes it.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::Linted;
use crate::domain::CanonicalPath;
use crate::policy::endpoint::{Conflict, Endpoint};
use crate::policy::template::Segment;
use crate::policy::texts::Texts;
use crate::policy::yaml::{Code, Problem};

/// How many paths that others take are named for one endpoint.
const NAMED: usize = 3;

pub(super) fn templates_that_overlap(linted: &Linted<'_>, found: &mut Vec<Problem>) {
    let mut lost: BTreeMap<&str, Vec<Lost<'_>>> = BTreeMap::new();
    for pair in pairs(linted) {
        if let Some((loser, winner)) = decided(linted, &pair) {
            lost.entry(loser).or_default().push(Lost { winner, path: pair.path });
        }
    }
    found.extend(lost.into_iter().filter_map(|(loser, lost)| problem(linted, loser, &lost)));
}

/// A path that an endpoint does not get.
struct Lost<'s> {
    winner: &'s str,
    path: String,
}

fn problem(linted: &Linted<'_>, loser: &str, lost: &[Lost<'_>]) -> Option<Problem> {
    let (tree, place) = linted.texts.endpoint(loser)?;
    let named: Vec<_> =
        lost.iter().take(NAMED).map(|Lost { winner, path }| format!("`{path}` (`{winner}` takes it)")).collect();
    let more = match lost.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let message = format!(
        "the path of `{loser}` is also that of other endpoints, and it does not get {}{more}; a literal beats a \
         parameter and the rest of a path: rename a path if that is not meant",
        named.join(", ")
    );
    Some(tree.problem(Code::TemplateOverlap, place.path, message))
}

/// Two templates that the router refuses to hold at once.
pub(super) fn conflict(texts: &Texts<'_>, conflict: &Conflict) -> Problem {
    let Conflict { endpoint, other, why } = conflict;
    let message = match other {
        Some(other) => format!(
            "the path of `{endpoint}` cannot stand beside that of `{other}`: a parameter and the rest of the path begin at \
             the same place; put a literal segment before one of them"
        ),
        None => format!("the path of `{endpoint}` cannot be routed: {why}"),
    };
    match texts.endpoint(endpoint.as_str()) {
        Some((tree, place)) => tree.problem(Code::ConflictingTemplates, place.path, message),
        None => Problem::of_file(Path::new("endpoints"), Code::ConflictingTemplates, message),
    }
}

/// Two endpoints that share a method and match this path.
struct Pair<'s> {
    one: &'s Endpoint,
    other: &'s Endpoint,
    method: &'static str,
    path: String,
}

fn pairs<'s>(linted: &Linted<'s>) -> Vec<Pair<'s>> {
    let mut tries: BTreeMap<&'static str, Trie<'s>> = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut pairs = Vec::new();
    for one in linted.set.endpoints() {
        for method in &one.methods {
            let trie = tries.entry(method).or_default();
            let mut met = Vec::new();
            trie.meet(one.path.segments(), &mut met);
            for other in met {
                // Where the patterns are the same, the bodies tell the endpoints apart.
                let same = one.path.router_pattern() == other.path.router_pattern();
                if !same && seen.insert((other.id.as_str(), one.id.as_str())) {
                    let path = common_path(one.path.segments(), other.path.segments());
                    pairs.push(Pair { one, other, method, path });
                }
            }
            trie.insert(one.path.segments(), one);
        }
    }
    pairs
}

/// Who loses the path to whom; the router itself is asked.
fn decided<'s>(linted: &Linted<'s>, pair: &Pair<'s>) -> Option<(&'s str, &'s str)> {
    let path = CanonicalPath::parse(pair.path.as_bytes()).ok()?;
    let route = linted.set.route(pair.method, &path)?;
    let (one, other) = (pair.one.id.as_str(), pair.other.id.as_str());
    match (route.named(one).is_some(), route.named(other).is_some()) {
        (true, _) => Some((other, one)),
        (false, true) => Some((one, other)),
        // A third one takes it, and forms pairs of its own.
        (false, false) => None,
    }
}

/// A path that both templates match.
fn common_path(one: &[Segment], other: &[Segment]) -> String {
    let mut path = String::new();
    let (mut ones, mut others) = (one.iter(), other.iter());
    loop {
        let text = match (ones.next(), others.next()) {
            (Some(Segment::Literal(text)), _) | (_, Some(Segment::Literal(text))) => text.as_str(),
            (Some(_), _) | (_, Some(_)) => "any",
            (None, None) => return path,
        };
        path.push('/');
        path.push_str(text);
    }
}

/// The templates of one method, segment by segment: looking for those that overlap does not grow with all of them.
#[derive(Default)]
struct Trie<'s> {
    literals: BTreeMap<&'s str, Self>,
    one: Option<Box<Self>>,
    rest: Vec<&'s Endpoint>,
    ends: Vec<&'s Endpoint>,
}

impl<'s> Trie<'s> {
    fn insert(&mut self, segments: &'s [Segment], endpoint: &'s Endpoint) {
        match segments.split_first() {
            None => self.ends.push(endpoint),
            Some((Segment::Rest(_), _)) => self.rest.push(endpoint),
            Some((Segment::Literal(text), tail)) => self.literals.entry(text).or_default().insert(tail, endpoint),
            Some((Segment::One(_), tail)) => self.one.get_or_insert_default().insert(tail, endpoint),
        }
    }

    /// Those that match a path that these segments match.
    fn meet(&self, segments: &[Segment], met: &mut Vec<&'s Endpoint>) {
        match segments.split_first() {
            None => met.extend(&self.ends),
            Some((Segment::Rest(_), _)) => self.children().for_each(|child| child.all(met)),
            Some((Segment::Literal(text), tail)) => {
                let same = self.literals.get(text.as_str()).into_iter();
                same.chain(self.one.as_deref()).for_each(|child| child.meet(tail, met));
            }
            Some((Segment::One(_), tail)) => self.children().for_each(|child| child.meet(tail, met)),
        }
        if !segments.is_empty() {
            met.extend(&self.rest);
        }
    }

    fn all(&self, met: &mut Vec<&'s Endpoint>) {
        met.extend(self.ends.iter().chain(&self.rest));
        self.children().for_each(|child| child.all(met));
    }

    fn children(&self) -> impl Iterator<Item = &Self> {
        self.literals.values().chain(self.one.as_deref())
    }
}
