//! The files in `conf/`, and the documentation in them.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::super::{AppKeyError, AppKeySource, Origin, Piece};
use super::{Config, Sources, environment, load, read, resolve, shipped, sources};

fn defaults() -> BTreeMap<String, String> {
    let config = read("").expect("an empty file is a configuration");
    config.origins().iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect()
}

/// A key of the complete file, and what its comment says is the default.
#[derive(Debug)]
pub(super) struct Documented {
    pub(super) default: Option<String>,
}

/// Reads the complete file line by line: `key: value`, `#key: value`, and comments with `Default: …`.
pub(super) fn documented() -> BTreeMap<String, Documented> {
    let text = std::fs::read_to_string(shipped("erp-access.yaml")).expect("shipped");
    let mut found = BTreeMap::new();
    let mut sections: Vec<(usize, String)> = Vec::new();
    let mut comment = String::new();
    for line in text.lines() {
        let indent = line.len() - line.trim_start().len();
        let body = line.trim_start();
        if body.is_empty() || body.starts_with("# ") {
            comment = if body.is_empty() { String::new() } else { comment + body.trim_start_matches('#') };
            continue;
        }
        let Some((key, _)) = body.trim_start_matches(['#', '-', ' ']).split_once(':') else { continue };
        let indent = if body.starts_with("- ") { indent + 2 } else { indent };
        sections.retain(|(outer, _)| *outer < indent);
        sections.push((indent, key.to_owned()));
        let path = sections.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(".");
        let default = comment.split_once("Default: ").map(|(_, after)| after);
        let default =
            default.and_then(|after| after.split([';', '(']).next()?.trim().strip_suffix('.').map(str::to_owned));
        comment.clear();
        found.insert(path, Documented { default });
    }
    found
}

#[test]
fn every_shipped_file_loads_as_it_is() {
    for name in ["erp-access.yaml", "minimal.yaml"] {
        if let Err(errors) = load(&Sources::of_file(shipped(name)), resolve) {
            panic!("{name}:\n{errors}");
        }
    }
}

#[test]
fn complete_file_loads_with_every_key_in_force() {
    let text = std::fs::read_to_string(shipped("erp-access.yaml")).expect("shipped");
    let in_force: Vec<_> = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix('#') {
            Some(key) if !key.starts_with(' ') => line.replacen('#', "", 1),
            Some(_) | None => line.to_owned(),
        })
        .collect();
    if let Err(errors) = read(&in_force.join("\n")) {
        panic!("{errors}");
    }
}

#[test]
fn every_key_is_documented_with_its_default() {
    let documented = documented();
    for (key, default) in defaults() {
        let entry = documented.get(&key).unwrap_or_else(|| panic!("`{key}` is not in conf/erp-access.yaml"));
        let said = entry.default.as_deref().unwrap_or_else(|| panic!("`{key}` has no `Default: …`"));
        match said {
            "one per core" => assert_eq!(default, super::super::tokens::cores().to_string(), "{key}"),
            "the name of the host" => {}
            "policies" => assert!(default.ends_with("/policies"), "{key}"),
            said => assert_eq!(said, default, "{key}"),
        }
    }
}

#[test]
fn values_in_force_in_the_complete_file_are_the_defaults() {
    let config = load(&Sources::of_file(shipped("erp-access.yaml")), resolve).expect("right");
    let defaults = defaults();
    for setting in config.origins() {
        if let Some(default) = defaults.get(&setting.key)
            && setting.key != "policies.directory"
        {
            assert_eq!(&setting.value, default, "{}", setting.key);
        }
    }
}

#[test]
fn every_key_of_an_upstream_is_documented() {
    let text = "\
upstreams:
  erp:
    peers: [erp.internal:80]
    tls: { server_name: x, ca_file: x, client_certificate: { certificate_file: x, key_file: x } }
    health_check: { path: /x }
    application_error: { pointer: /x }
    session:
      steps: [{ path: /x, json: {}, headers: {}, success: {}, extract: {} }]
      logout: { path: /x }
      lost: { body: { pointer: /x } }
";
    let documented = documented();
    for setting in read(text).expect("right").origins() {
        if let Some(key) = setting.key.strip_prefix("upstreams.erp.") {
            let key = format!("upstreams.erp.{}", key.replace("[0]", "").replace("logout.", "steps."));
            let entry = documented.get(&key).unwrap_or_else(|| panic!("`{key}` is not in conf/erp-access.yaml"));
            // Defaults that are explained in several words depend on other keys.
            if let Some(said) =
                entry.default.as_deref().filter(|said| setting.origin == Origin::Default && !said.contains(' '))
            {
                assert_eq!(said, setting.value, "{key}");
            }
        }
    }
}

#[test]
fn recipe_of_the_complete_file_is_read_in_full() {
    let config = load(&Sources::of_file(shipped("erp-access.yaml")), resolve).expect("right");
    let erp = config.upstreams.values().next().expect("one");
    let step = erp.session.steps.first().expect("a step");
    assert!(!step.extract.is_empty() && erp.session.lifetime.fallback.is_some());
    let authorization = erp.session.inject.headers.first().expect("a header");
    assert!(authorization.value.pieces.iter().any(|piece| matches!(piece, Piece::Base64(_))));
}

fn key_config(text: &str, variables: &[(&str, &str)]) -> (tempfile::TempDir, Config) {
    let (folder, mut sources) = sources(text);
    sources.environment = environment(variables);
    let config = load(&sources, resolve).expect("right");
    (folder, config)
}

#[test]
fn key_comes_from_the_credential_then_the_file_then_the_environment() {
    let credentials = tempfile::tempdir().expect("a folder");
    std::fs::write(credentials.path().join("app_key"), "of the credential\n").expect("written");
    let folder = credentials.path().to_str().expect("a path");
    let text = "app_key: { file: app.key }\n";
    let variable = ("ERP_ACCESS_APP_KEY", "of the environment");

    let (_kept, config) = key_config(text, &[variable, ("CREDENTIALS_DIRECTORY", folder)]);
    assert_eq!(config.app_key.texts().expect("readable").current.expose(), "of the credential");
    let (_kept, config) = key_config(text, &[variable, ("CREDENTIALS_DIRECTORY", "/nonexistent")]);
    assert!(matches!(config.app_key.source, Some(AppKeySource::File(_))));
    let (_kept, config) = key_config("", &[variable]);
    assert_eq!(config.app_key.texts().expect("readable").current.expose(), "of the environment");
    let (_kept, config) = key_config("", &[]);
    assert!(matches!(config.app_key.texts(), Err(AppKeyError::Missing)));
}

#[test]
fn key_file_that_others_can_read_is_refused() {
    let (folder, config) = key_config("app_key: { file: app.key, previous_files: [old.key] }\n", &[]);
    let file = folder.path().join("app.key");
    for (name, text) in [("app.key", "new\n"), ("old.key", "old\n")] {
        std::fs::write(folder.path().join(name), text).expect("written");
        std::fs::set_permissions(folder.path().join(name), Permissions::from_mode(0o600)).expect("set");
    }
    let texts = config.app_key.texts().expect("readable");
    assert_eq!((texts.current.expose(), texts.previous.first().expect("one").expose()), ("new", "old"));

    std::fs::set_permissions(&file, Permissions::from_mode(0o640)).expect("set");
    let error = config.app_key.texts().expect_err("open to others").to_string();
    assert!(error.contains("(mode 0640): run `chmod 0600 "), "{error}");
}
