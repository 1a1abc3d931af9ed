//! Where things stand in the texts of the files. A file is parsed when something is to be found in it.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::Path;

use super::set::LoadedFile;
use super::yaml::{Code, Node, Place, Problem, Source, Value};

/// The files in force.
pub(super) struct Texts<'s> {
    files: Vec<Text<'s>>,
    endpoints: OnceCell<HashMap<String, Endpoint>>,
}

struct Text<'s> {
    path: &'s Path,
    bytes: &'s [u8],
    parsed: OnceCell<Option<(Source, Node)>>,
}

/// Where an endpoint stands.
#[derive(Clone, Copy)]
pub(super) struct Endpoint {
    file: usize,
    /// Its id.
    pub(super) id: Place,
    /// Its path.
    pub(super) path: Place,
    /// The upstream of its file.
    pub(super) upstream: Place,
}

/// A file with its tree.
#[derive(Clone, Copy)]
pub(super) struct Tree<'t> {
    source: &'t Source,
    pub(super) root: &'t Node,
}

impl<'t> Tree<'t> {
    /// Its path inside the folder.
    pub(super) fn file(self) -> &'t Path {
        &self.source.file
    }

    pub(super) fn problem(self, code: Code, place: Place, message: impl Into<String>) -> Problem {
        self.source.problem(place, message).coded(code)
    }
}

impl<'s> Texts<'s> {
    pub(super) fn new(files: &'s [LoadedFile]) -> Self {
        let text = |file: &'s LoadedFile| Text { path: &file.path, bytes: &file.text, parsed: OnceCell::new() };
        Self { files: files.iter().map(text).collect(), endpoints: OnceCell::new() }
    }

    /// The file at this path inside the folder.
    pub(super) fn file(&self, path: &Path) -> Option<Tree<'_>> {
        self.files.iter().find(|file| file.path == path).and_then(Text::tree)
    }

    /// The files in this folder of the policy folder.
    pub(super) fn inside(&self, folder: &str) -> impl Iterator<Item = Tree<'_>> {
        self.files.iter().filter(move |file| file.is_inside(folder)).filter_map(Text::tree)
    }

    /// An endpoint, with its file.
    pub(super) fn endpoint(&self, id: &str) -> Option<(Tree<'_>, Endpoint)> {
        let found = self.endpoints.get_or_init(|| self.all_endpoints()).get(id)?;
        Some((self.files.get(found.file)?.tree()?, *found))
    }

    fn all_endpoints(&self) -> HashMap<String, Endpoint> {
        let mut found = HashMap::new();
        for (file, text) in self.files.iter().enumerate().filter(|(_, text)| text.is_inside("endpoints")) {
            let Some(tree) = text.tree() else { continue };
            let upstream = member(tree.root, "upstream").map_or(Place::START, |node| node.place);
            for node in items(member(tree.root, "endpoints")) {
                let Some((id, path)) = member(node, "id").zip(member(node, "path")) else { continue };
                let Value::Scalar { text, .. } = &id.value else { continue };
                found.insert(text.clone(), Endpoint { file, id: id.place, path: path.place, upstream });
            }
        }
        found
    }
}

impl Text<'_> {
    fn tree(&self) -> Option<Tree<'_>> {
        let parse = || {
            let source = Source::new(self.path, self.bytes).ok()?;
            let root = source.parse().ok()?;
            Some((source, root))
        };
        self.parsed.get_or_init(parse).as_ref().map(|(source, root)| Tree { source, root })
    }

    fn is_inside(&self, folder: &str) -> bool {
        self.path.parent().is_some_and(|parent| parent.as_os_str() == folder)
    }
}

/// The value of a key.
pub(super) fn member<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    entry(node, key).map(|(_, value)| value)
}

/// A key with its value.
pub(super) fn entry<'n>(node: &'n Node, key: &str) -> Option<(&'n Node, &'n Node)> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(name, _)| is(name, key)).map(|(name, value)| (name, value))
}

/// The items of a list; none where there is no list.
pub(super) fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.value) {
        Some(Value::List(items)) => items,
        Some(Value::Scalar { .. } | Value::Map(_)) | None => &[],
    }
}

/// The item of a list that is a map with this id.
pub(super) fn item_with_id<'n>(list: Option<&'n Node>, id: &str) -> Option<&'n Node> {
    items(list).iter().find(|item| member(item, "id").is_some_and(|node| is(node, id)))
}

pub(super) fn is(node: &Node, wanted: &str) -> bool {
    matches!(&node.value, Value::Scalar { text, .. } if text == wanted)
}
