//! Reads values out of a tree, notes everything that is wrong, and remembers where each value came from.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::mask;
use super::problem::Problem;
use super::scalar;
use super::texts::{Origin, Place, Texts};
use super::tree::{Entry, Node, Value};

/// What is wrong with one value; the message goes on after the key's name.
#[derive(Debug)]
pub(super) struct Wrong {
    message: String,
    help: Option<String>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None }
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// One effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key with its sections, as in `gateway.limits.keep_alive`.
    pub key: String,
    /// The value as YAML; secrets are hidden.
    pub value: String,
    /// Who said so.
    pub origin: Origin,
}

/// A kind of value that is one of a few words.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Each word with what it means.
    const WORDS: &'static [(&'static str, Self)];
}

fn word<T: Choice>(value: &T) -> &'static str {
    T::WORDS.iter().find(|(_, meaning)| meaning == value).map_or("", |(word, _)| word)
}

fn meaning<T: Choice>(node: &Node) -> Result<T, Wrong> {
    let given = scalar::text(node)?;
    let found = T::WORDS.iter().find(|(word, _)| *word == given);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| format!("`{word}`")).collect();
        Wrong::new(format!("is none of {}", words.join(", ")))
    })
}

/// Collects problems and settings.
#[derive(Debug)]
pub(super) struct Decoder<'t> {
    texts: &'t Texts,
    /// Relative paths start here.
    folder: PathBuf,
    problems: RefCell<Vec<Problem>>,
    settings: RefCell<Vec<Setting>>,
}

impl<'t> Decoder<'t> {
    pub(super) fn new(texts: &'t Texts, folder: PathBuf) -> Self {
        Self { texts, folder, problems: RefCell::default(), settings: RefCell::default() }
    }

    /// Reads the whole tree with `read`; keys that it did not ask for are unknown.
    pub(super) fn root<T>(&self, node: &Node, read: impl FnOnce(&Section<'_, '_>) -> T) -> T {
        self.section_at(String::new(), node, node.place, read)
    }

    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Setting>) {
        (self.problems.into_inner(), self.settings.into_inner())
    }

    pub(super) fn wrong(&self, key: &str, place: Place, wrong: Wrong) {
        let mut problem = Problem::new(self.texts, place, format!("`{key}` {}", wrong.message));
        if let Some(help) = wrong.help {
            problem = problem.with_help(help);
        }
        self.problems.borrow_mut().push(problem);
    }

    fn section_at<T>(&self, path: String, node: &Node, place: Place, read: impl FnOnce(&Section<'_, '_>) -> T) -> T {
        let (entries, wrong) = match &node.value {
            Value::Map(entries) => (entries.as_slice(), None),
            Value::Null => (&[][..], None),
            Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
                (&[][..], Some(format!("is not a section of keys but {}", node.value.kind())))
            }
        };
        let section =
            Section { decoder: self, path, place, entries, asked: RefCell::default(), refused: RefCell::default() };
        if let Some(message) = wrong {
            self.wrong(section.name(), node.place, Wrong::new(message));
        }
        let value = read(&section);
        section.report_unknown_keys();
        value
    }
}

/// One section while it is read.
#[derive(Debug)]
pub(super) struct Section<'d, 'n> {
    decoder: &'d Decoder<'d>,
    path: String,
    place: Place,
    entries: &'n [Entry],
    asked: RefCell<Vec<String>>,
    refused: RefCell<Vec<&'static str>>,
}

impl<'n> Section<'_, 'n> {
    /// The key's full name.
    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The entry of a key that is known from here on.
    pub(super) fn ask(&self, name: &str) -> Option<&'n Entry> {
        self.asked.borrow_mut().push(name.to_owned());
        self.entries.iter().find(|entry| entry.key == name)
    }

    /// Whether something is written there, right or wrong.
    pub(super) fn has_items(&self, name: &str) -> bool {
        let entry = self.entries.iter().find(|entry| entry.key == name);
        entry.is_some_and(|entry| !matches!(&entry.node.value, Value::List(items) if items.is_empty()))
    }

    /// Says why a key that somebody may well expect here is not possible.
    pub(super) fn refuse(&self, name: &'static str, help: &str) {
        self.refused.borrow_mut().push(name);
        if self.entries.iter().any(|entry| entry.key == name) {
            self.wrong(name, Wrong::new("is not supported").with_help(help));
        }
    }

    /// All entries; none of their keys is unknown.
    pub(super) fn ask_all(&self) -> &'n [Entry] {
        self.asked.borrow_mut().extend(self.entries.iter().map(|entry| entry.key.clone()));
        self.entries
    }

    /// Notes that the key `name` is wrong; points at it, or at the section where it is missing.
    pub(super) fn wrong(&self, name: &str, wrong: Wrong) {
        let entry = self.entries.iter().find(|entry| entry.key == name);
        let place = entry.map_or(self.place, |entry| entry.node.place);
        self.decoder.wrong(&self.key(name), place, wrong);
    }

    /// Notes an effective value that was not read by one of the methods here.
    pub(super) fn note(&self, name: &str, value: &str, place: Option<Place>) {
        let key = self.key(name);
        let origin = place.map_or(Origin::Default, |place| self.decoder.texts.origin(place));
        let value = mask::printable(&mask::value_of(&key, value));
        self.decoder.settings.borrow_mut().push(Setting { key, value, origin });
    }

    /// The same for a value that is no secret whatever its key is called.
    pub(super) fn note_plain(&self, name: &str, value: &str, place: Place) {
        let value = mask::printable(&mask::text(value));
        let setting = Setting { key: self.key(name), value, origin: self.decoder.texts.origin(place) };
        self.decoder.settings.borrow_mut().push(setting);
    }

    /// Notes a problem with a key given by its full name.
    pub(super) fn wrong_key(&self, key: &str, place: Place, wrong: Wrong) {
        self.decoder.wrong(key, place, wrong);
    }

    /// Notes a problem at a place inside of the value of `name`.
    pub(super) fn wrong_at(&self, name: &str, place: Place, wrong: Wrong) {
        self.decoder.wrong(&self.key(name), place, wrong);
    }

    /// A value, or nothing where the key is absent or wrong.
    pub(super) fn optional<T>(
        &self,
        name: &str,
        show: impl Fn(&T) -> String,
        read: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        let Some(entry) = self.ask(name) else {
            self.note(name, "none", None);
            return None;
        };
        let value = self.read(name, entry, read)?;
        self.note(name, &show(&value), Some(entry.node.place));
        Some(value)
    }

    /// A value, or `default` where the key is absent or wrong.
    pub(super) fn value<T>(
        &self,
        name: &str,
        default: T,
        show: impl Fn(&T) -> String,
        read: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> T {
        let entry = self.ask(name);
        let value = entry.and_then(|entry| self.read(name, entry, read)).unwrap_or(default);
        self.note(name, &show(&value), entry.map(|entry| entry.node.place));
        value
    }

    /// A value that must be there.
    pub(super) fn required<T>(
        &self,
        name: &str,
        show: impl Fn(&T) -> String,
        read: impl FnOnce(&Node) -> Result<T, Wrong>,
    ) -> Option<T> {
        let Some(entry) = self.ask(name) else {
            self.decoder.wrong(&self.key(name), self.place, Wrong::new("is missing"));
            return None;
        };
        let value = self.read(name, entry, read)?;
        self.note(name, &show(&value), Some(entry.node.place));
        Some(value)
    }

    pub(super) fn duration(&self, name: &str, default: Duration, range: RangeInclusive<Duration>) -> Duration {
        let show = |value: &Duration| scalar::show_duration(*value);
        self.value(name, default, show, |node| within(scalar::duration(node)?, &range, show))
    }

    pub(super) fn size(&self, name: &str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let show = |value: &u64| scalar::show_size(*value);
        self.value(name, default, show, |node| within(scalar::size(node)?, &range, show))
    }

    pub(super) fn whole(&self, name: &str, default: u32, range: RangeInclusive<u32>) -> u32 {
        self.value(name, default, u32::to_string, |node| {
            let number = u32::try_from(scalar::whole(node)?).unwrap_or(u32::MAX);
            within(number, &range, u32::to_string)
        })
    }

    pub(super) fn switch(&self, name: &str, default: bool) -> bool {
        self.value(name, default, bool::to_string, scalar::switch)
    }

    pub(super) fn choice<T: Choice>(&self, name: &str, default: T) -> T {
        self.value(name, default, |value| word(value).to_owned(), meaning)
    }

    /// A list of such words.
    pub(super) fn choices<T: Choice>(&self, name: &str, default: Vec<T>) -> Vec<T> {
        self.list(name, default, |value| word(value).to_owned(), meaning)
    }

    /// A path; a relative one starts at the folder of the configuration file.
    pub(super) fn path(&self, name: &str, default: &str) -> PathBuf {
        let folder = &self.decoder.folder;
        let show = |path: &PathBuf| path.display().to_string();
        self.value(name, folder.join(default), show, |node| Ok(folder.join(scalar::text(node)?)))
    }

    /// `path`, seen from the folder of the configuration file.
    pub(super) fn in_folder(&self, path: &str) -> PathBuf {
        self.decoder.folder.join(path)
    }

    /// A list; one value alone is a list of one. Each wrong item is noted by itself.
    pub(super) fn list<T: PartialEq>(
        &self,
        name: &str,
        default: Vec<T>,
        show: impl Fn(&T) -> String,
        read: impl Fn(&Node) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let entry = self.ask(name);
        let values = entry.map_or(default, |entry| self.items(name, &entry.node, read));
        let shown: Vec<_> = values.iter().map(show).collect();
        self.note(name, &format!("[{}]", shown.join(", ")), entry.map(|entry| entry.node.place));
        values
    }

    fn items<T: PartialEq>(&self, name: &str, node: &Node, read: impl Fn(&Node) -> Result<T, Wrong>) -> Vec<T> {
        let items = match &node.value {
            Value::List(items) => items.as_slice(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                std::slice::from_ref(node)
            }
        };
        let mut values = Vec::new();
        for item in items {
            match read(item) {
                Ok(value) if values.contains(&value) => self.wrong_at(name, item.place, Wrong::new("names this twice")),
                Ok(value) => values.push(value),
                Err(wrong) => self.wrong_at(name, item.place, wrong),
            }
        }
        values
    }

    /// A section within this one; an absent one is read as empty, so that it gets its defaults.
    pub(super) fn section<T>(&self, name: &str, read: impl FnOnce(&Section<'_, '_>) -> T) -> T {
        let absent = Node { value: Value::Null, place: self.place };
        let (node, place) = self.ask(name).map_or((&absent, self.place), |entry| (&entry.node, entry.place));
        self.decoder.section_at(self.key(name), node, place, read)
    }

    /// A section that makes a difference by being there.
    pub(super) fn optional_section<T>(&self, name: &str, read: impl FnOnce(&Section<'_, '_>) -> T) -> Option<T> {
        let Some(entry) = self.ask(name) else {
            self.note(name, "none", None);
            return None;
        };
        Some(self.decoder.section_at(self.key(name), &entry.node, entry.place, read))
    }

    /// A list of sections.
    pub(super) fn sections<T>(&self, name: &str, read: impl Fn(&Section<'_, '_>) -> T) -> Vec<T> {
        let Some(entry) = self.ask(name) else { return Vec::new() };
        match &entry.node.value {
            Value::List(items) => {
                let path = |index: usize| format!("{}[{index}]", self.key(name));
                let item =
                    |(index, node): (usize, &Node)| self.decoder.section_at(path(index), node, node.place, &read);
                items.iter().enumerate().map(item).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::Map(_) => {
                self.wrong(name, Wrong::new(format!("is not a list but {}", entry.node.value.kind())));
                Vec::new()
            }
        }
    }

    /// Reads an item of the list `name` as a section.
    pub(super) fn section_at_item<T>(&self, name: &str, node: &Node, read: impl FnOnce(&Section<'_, '_>) -> T) -> T {
        self.decoder.section_at(format!("{}[]", self.key(name)), node, node.place, read)
    }

    /// Reads the value of `entry` as a section.
    pub(super) fn section_of<T>(&self, entry: &Entry, read: impl FnOnce(&Section<'_, '_>) -> T) -> T {
        self.decoder.section_at(self.key(&entry.key), &entry.node, entry.place, read)
    }

    fn read<T>(&self, name: &str, entry: &Entry, read: impl FnOnce(&Node) -> Result<T, Wrong>) -> Option<T> {
        read(&entry.node).map_err(|wrong| self.decoder.wrong(&self.key(name), entry.node.place, wrong)).ok()
    }

    fn name(&self) -> &str {
        if self.path.is_empty() { "the configuration" } else { &self.path }
    }

    fn report_unknown_keys(&self) {
        let (asked, refused) = (self.asked.borrow(), self.refused.borrow());
        let is_known = |key: &str| key == "<<" || refused.contains(&key) || asked.iter().any(|asked| asked == key);
        for entry in self.entries.iter().filter(|entry| !is_known(&entry.key)) {
            let known = asked.iter().map(String::as_str);
            let mut problem = if self.path.is_empty() {
                Problem::new(self.decoder.texts, entry.place, format!("unknown section `{}`", entry.key))
            } else {
                let message = format!("unknown key `{}` in `{}`", entry.key, self.path);
                Problem::new(self.decoder.texts, entry.place, message)
            };
            problem = match most_alike(&entry.key, known) {
                Some(alike) => problem.with_help(format!("did you mean `{alike}`?")),
                None if asked.is_empty() => problem,
                None => problem.with_help(format!("known here: {}", asked.join(", "))),
            };
            self.decoder.problems.borrow_mut().push(problem);
        }
    }
}

/// The known word that `given` is most likely a misspelling of.
pub(super) fn most_alike<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.map(|known| (strsim::jaro_winkler(&given.to_lowercase().replace('-', "_"), known), known));
    scored.filter(|(score, _)| *score > 0.8).max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

fn within<T: PartialOrd>(value: T, range: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> Result<T, Wrong> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Wrong::new(format!("is out of range: {} to {} is possible", show(range.start()), show(range.end()))))
}
