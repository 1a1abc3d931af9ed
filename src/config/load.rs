//! Puts flags, environment and file together and reads the result.

use std::path::{Path, PathBuf, absolute};

use super::app_key::{self, AppKeyConfig};
use super::decode::{Decoder, Section};
use super::environment::Environment;
use super::gateway::Gateway;
use super::keeping::{Admin, Audit, Policies, Store};
use super::log::LogConfig;
use super::ops::Ops;
use super::peers::Resolve;
use super::portal::Portal;
use super::problem::{ConfigErrors, Problem};
use super::recipe;
use super::server::Server;
use super::texts::{Place, TextKind, Texts};
use super::tokens::{PasswordHashing, Tokens};
use super::tree::{self, Entry, Node, Value};
use super::upstreams;
use super::{Config, Setting};

/// What a configuration is read from. An override beats the environment, the environment beats the file, the file beats
/// the default.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The configuration file.
    pub file: PathBuf,
    /// `--set key=value`: dotted keys, values as YAML writes them. A later one beats an earlier one.
    pub overrides: Vec<(String, String)>,
    /// The environment: `ERP_ACCESS_GATEWAY__LISTEN` sets `gateway.listen`, values as YAML writes them.
    pub environment: Environment,
}

impl Sources {
    /// The file alone.
    #[must_use]
    pub fn of_file(file: impl Into<PathBuf>) -> Self {
        Self { file: file.into(), overrides: Vec::new(), environment: Environment::default() }
    }
}

pub(super) fn load(sources: &Sources, resolve: Resolve) -> Result<Config, ConfigErrors> {
    read_all(sources, Recipes::Resolved, |root| read_config(root, &sources.environment, resolve))
        .map(|(config, settings)| Config { settings, ..config })
}

pub(super) fn load_admin(sources: &Sources) -> Result<Admin, ConfigErrors> {
    let read = |root: &Section<'_, '_>| {
        let admin = root.section("admin", Admin::read);
        root.ask_all();
        admin
    };
    read_all(sources, Recipes::LeftAlone, read).map(|(admin, _)| admin)
}

/// Whether recipes are put in place of their names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Recipes {
    Resolved,
    LeftAlone,
}

fn read_all<T>(
    sources: &Sources,
    recipes: Recipes,
    read: impl FnOnce(&Section<'_, '_>) -> T,
) -> Result<(T, Vec<Setting>), ConfigErrors> {
    let mut texts = Texts::default();
    let mut problems = Vec::new();
    let root = merged(sources, &mut texts, &mut problems);
    let Some(mut root) = root else { return Err(ConfigErrors::new(problems)) };
    let folder = absolute(&sources.file).ok().and_then(|file| file.parent().map(Path::to_owned)).unwrap_or_default();
    if recipes == Recipes::Resolved {
        recipe::resolve(&mut root, &folder, &mut texts, &mut problems);
    }
    tree::check_keys(&root, &texts, &mut problems);
    let decoder = Decoder::new(&texts, folder);
    let value = decoder.root(&root, read);
    let (found, settings) = decoder.finish();
    problems.extend(found);
    if problems.is_empty() { Ok((value, settings)) } else { Err(ConfigErrors::new(problems)) }
}

fn read_config(root: &Section<'_, '_>, environment: &Environment, resolve: Resolve) -> Config {
    Config {
        server: root.section("server", Server::read),
        gateway: root.section("gateway", Gateway::read),
        tokens: root.section("tokens", Tokens::read),
        password_hashing: root.section("password_hashing", PasswordHashing::read),
        store: root.section("store", Store::read),
        audit: root.section("audit", Audit::read),
        policies: root.section("policies", Policies::read),
        admin: root.section("admin", Admin::read),
        portal: root.section("portal", Portal::read),
        ops: root.section("ops", Ops::read),
        log: root.section("log", LogConfig::read),
        app_key: if app_key::refuse_inline(root) {
            AppKeyConfig { source: None, previous_files: Vec::new() }
        } else {
            root.section("app_key", |section| AppKeyConfig::read_section(section, environment))
        },
        upstreams: root.section("upstreams", |section| upstreams::read_all(section, resolve)),
        settings: Vec::new(),
    }
}

/// The sections, for messages about misspelt variables.
const SECTIONS: [&str; 13] = [
    "server",
    "gateway",
    "tokens",
    "password_hashing",
    "store",
    "audit",
    "policies",
    "admin",
    "portal",
    "ops",
    "log",
    "app_key",
    "upstreams",
];

/// The file with environment and overrides laid over it; `None` where the file cannot be read at all.
fn merged(sources: &Sources, texts: &mut Texts, problems: &mut Vec<Problem>) -> Option<Node> {
    let mut root = read_file(&sources.file, texts).map_err(|problem| problems.push(problem)).ok();
    let by_environment = sources
        .environment
        .keys()
        .map(|(variable, key, value)| (TextKind::Environment(variable.to_owned()), key, value));
    let by_flag =
        sources.overrides.iter().map(|(key, value)| (TextKind::Flag(key.clone()), key.clone(), value.as_str()));
    for (kind, key, value) in by_environment.chain(by_flag) {
        let source = texts.add(kind, value.to_owned());
        match tree::parse(texts, source) {
            Ok(node) => {
                if let Some(root) = &mut root
                    && !lay_over(root, &key, node)
                {
                    let message = format!("`{key}` cannot be set: a part of it is a value and no section");
                    problems.push(Problem::new(texts, Place::start_of(source), message));
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
    for (variable, meant) in sources.environment.nearly_keys(&SECTIONS) {
        let problem = Problem::without_place(format!("the environment variable `{variable}` sets nothing"));
        problems.push(problem.with_help(format!("two underscores stand between levels: `{meant}`")));
    }
    root
}

fn read_file(file: &Path, texts: &mut Texts) -> Result<Node, Problem> {
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Problem::without_place(format!("the configuration file `{name}` cannot be read: {error}")))?;
    let source = texts.add(TextKind::File(name), text);
    tree::parse(texts, source)
}

/// Puts `node` at the dotted `key`; false where the way there leads through a value.
fn lay_over(root: &mut Node, key: &str, node: Node) -> bool {
    let place = node.place;
    let mut at = root;
    for name in key.split('.') {
        if matches!(at.value, Value::Null) {
            at.value = Value::Map(Vec::new());
        }
        let Value::Map(entries) = &mut at.value else { return false };
        let index = entries.iter().position(|entry| entry.key == name).unwrap_or_else(|| {
            let empty = Node { value: Value::Null, place };
            entries.push(Entry { key: name.to_owned(), place, node: empty });
            entries.len().saturating_sub(1)
        });
        let Some(entry) = entries.get_mut(index) else { return false };
        at = &mut entry.node;
    }
    *at = node;
    true
}
