//! JSON pointers (RFC 6901), and many of them as one tree.

use std::fmt;
use std::str::FromStr;

use super::keys;

/// The deepest place that a pointer may name.
const MOST_TOKENS: usize = 16;

/// A place in a JSON document, as in `/params/0/name`; never the document as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JsonPointer {
    text: String,
    tokens: Vec<String>,
}

/// A text is not a JSON pointer that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PointerRefused {
    /// It does not begin with `/`.
    #[error("it is not a JSON pointer; write `/method`")]
    NoSlash,
    /// A `~` that is neither `~0` nor `~1`.
    #[error("it is not a JSON pointer; `~1` stands for `/` and `~0` for `~`")]
    Escape,
    /// `-` is the place behind the end of a list, where nothing stands.
    #[error("`-` is the place behind the end of a list; nothing ever stands there")]
    BehindTheEnd,
    /// It names a place that is too deep.
    #[error("it is deeper than {MOST_TOKENS} levels")]
    TooDeep,
}

impl JsonPointer {
    /// The pointer as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Its segments, escapes resolved.
    pub(super) fn tokens(&self) -> &[String] {
        &self.tokens
    }
}

impl fmt::Display for JsonPointer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl FromStr for JsonPointer {
    type Err = PointerRefused;

    fn from_str(text: &str) -> Result<Self, PointerRefused> {
        let path = text.strip_prefix('/').ok_or(PointerRefused::NoSlash)?;
        let mut tokens = Vec::new();
        for written in path.split('/') {
            if written.split('~').skip(1).any(|after| !after.starts_with(['0', '1'])) {
                return Err(PointerRefused::Escape);
            }
            if written == "-" {
                return Err(PointerRefused::BehindTheEnd);
            }
            tokens.push(written.replace("~1", "/").replace("~0", "~"));
        }
        if tokens.len() > MOST_TOKENS {
            return Err(PointerRefused::TooDeep);
        }
        Ok(Self { text: text.to_owned(), tokens })
    }
}

/// Where a [`PointerSet`] keeps what stands at one of its pointers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot(pub(super) usize);

/// Many pointers as one tree, so that a document is read once for all of them.
#[derive(Debug, Clone)]
pub struct PointerSet {
    nodes: Vec<Node>,
    slots: usize,
}

#[derive(Debug, Clone, Default)]
struct Node {
    children: Vec<Child>,
    slot: Option<Slot>,
}

#[derive(Debug, Clone)]
struct Child {
    token: String,
    /// The token as the place in a list, where it is one.
    index: Option<usize>,
    node: Place,
}

/// A node of the tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(usize);

/// Where a key of an object leads.
pub(super) enum Step {
    /// Nowhere that was asked for.
    Off,
    /// To this node.
    To(Place),
    /// Nowhere, but some parsers would take it for a key that was asked for.
    Lookalike,
}

impl Default for PointerSet {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], slots: 0 }
    }
}

impl PointerSet {
    /// Asks for one more place; the same place twice has one slot.
    pub fn add(&mut self, pointer: &JsonPointer) -> Slot {
        let mut place = Place(0);
        for token in &pointer.tokens {
            place = self.child(place, token);
        }
        let next = Slot(self.slots);
        let slot = self.nodes.get_mut(place.0).map_or(next, |node| *node.slot.get_or_insert(next));
        self.slots += usize::from(slot == next);
        slot
    }

    fn child(&mut self, parent: Place, token: &str) -> Place {
        let new = Place(self.nodes.len());
        let Some(node) = self.nodes.get_mut(parent.0) else { return parent };
        if let Some(known) = node.children.iter().find(|child| child.token == token) {
            return known.node;
        }
        node.children.push(Child { token: token.to_owned(), index: index(token), node: new });
        self.nodes.push(Node::default());
        new
    }

    pub(super) fn count(&self) -> usize {
        self.slots
    }

    pub(super) fn root() -> Place {
        Place(0)
    }

    pub(super) fn slot(&self, place: Place) -> Option<Slot> {
        self.nodes.get(place.0)?.slot
    }

    pub(super) fn by_key(&self, place: Place, key: &str) -> Step {
        let children = self.children(place);
        if let Some(child) = children.iter().find(|child| child.token == key) {
            return Step::To(child.node);
        }
        // SECURITY: a parser that ignores case, or ends texts at a NUL, would take `Method` for `method`.
        if children.iter().any(|child| keys::look_alike(&child.token, key)) { Step::Lookalike } else { Step::Off }
    }

    pub(super) fn by_index(&self, place: Place, index: usize) -> Option<Place> {
        self.children(place).iter().find(|child| child.index == Some(index)).map(|child| child.node)
    }

    fn children(&self, place: Place) -> &[Child] {
        self.nodes.get(place.0).map_or(&[], |node| node.children.as_slice())
    }
}

/// RFC 6901 section 4: digits without a leading zero.
pub(super) fn index(token: &str) -> Option<usize> {
    let canonical = token == "0" || !token.starts_with('0');
    (canonical && token.bytes().all(|byte| byte.is_ascii_digit())).then(|| token.parse().ok()).flatten()
}
