//! Recipes by name and from files, and mistakes in them.

use super::super::{Config, ConfigErrors, LifetimeSource, Recipe, SecretsOf, Sources};
use super::{load, read, report, resolve, setting};

fn session(keys: &str) -> String {
    let lines: Vec<_> = keys.trim().lines().map(|line| format!("      {line}\n")).collect();
    format!("upstreams:\n  erp:\n    peers: [erp.internal:80]\n    session:\n{}", lines.concat())
}

fn recipe(keys: &str) -> Recipe {
    let config = read(&session(keys)).unwrap_or_else(|errors| panic!("{errors}"));
    config.upstreams.into_values().next().expect("one").session
}

/// A configuration beside a recipe file `mine.yaml`.
fn with_file(mine: &str, keys: &str) -> Result<Config, (ConfigErrors, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("mine.yaml"), mine).expect("written");
    let file = folder.path().join("test.yaml");
    std::fs::write(&file, session(keys)).expect("written");
    load(&Sources::of_file(file), resolve).map_err(|errors| {
        let text = errors.to_string().replace(&format!("{}/", folder.path().display()), "");
        (errors, text)
    })
}

fn says(report: &str, expected: &[&str]) {
    for text in expected {
        assert!(report.contains(text), "`{text}` is missing in:\n{report}");
    }
}

#[test]
fn every_ready_made_recipe_is_right_with_its_parameters() {
    for (name, parameters) in [
        ("api-key", ""),
        ("basic", ""),
        ("bearer", ""),
        ("erpnext", ""),
        ("oauth2-client-credentials", "token_path: /token, scope: read"),
        ("oauth2-client-credentials-post", "token_path: /token"),
        ("odoo", "database: production"),
        ("sap-b1", "company: SBODEMO"),
        ("sap-gateway", "system: ERP"),
        ("tryton", "database: production"),
        ("tryton-cookie", "database: production, language: de"),
    ] {
        let recipe = recipe(&format!("recipe: {name}\nparameters: {{ {parameters} }}"));
        let injects = recipe.inject.headers.len() + recipe.inject.cookies.len();
        assert!(injects > 0 && !recipe.lost.is_empty(), "{name}");
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("conf/recipes/{name}.yaml"));
        assert!(file.exists(), "{name}");
    }
}

#[test]
fn shipped_recipes_are_all_ready_made() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/recipes");
    let unknown = report(&session("recipe: no-such-thing-at-all"));
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().and_then(std::ffi::OsStr::to_str).expect("a name").to_owned();
        assert!(unknown.contains(&name), "{name} is not compiled in");
    }
}

#[test]
fn parameters_stand_wherever_the_recipe_names_them() {
    let recipe = recipe("recipe: sap-gateway\nparameters: { system: QAS, client: 200, service: /sap/opu/odata/sap/ }");
    assert_eq!(recipe.steps[0].path, "/sap/opu/odata/sap/?sap-client=200");
    assert_eq!(recipe.inject.cookies[0].name, "SAP_SESSIONID_QAS_200");
}

#[test]
fn what_the_session_says_goes_before_its_recipe() {
    let recipe = recipe("recipe: tryton\nparameters: { database: erp }\nlifetime: 20m\nsign_in_as: account");
    assert_eq!(recipe.lifetime.fallback, Some(std::time::Duration::from_mins(20)));
    assert_eq!(recipe.secrets, SecretsOf::Account);
    let told = recipe_of_file("version: 1\nlifetime: { seconds: /expires_in, fallback: 1m, skew: 5s, idle: true }\n");
    assert_eq!(told.lifetime.source, LifetimeSource::Seconds("/expires_in".into()));
    assert!(told.lifetime.idle);
}

fn recipe_of_file(mine: &str) -> Recipe {
    let config = with_file(mine, "recipe: ./mine.yaml").map_err(|(_, text)| text).expect("right");
    config.upstreams.into_values().next().expect("one").session
}

#[test]
fn printed_settings_name_the_recipe_as_their_origin() {
    let config = read(&session("recipe: tryton\nparameters: { database: erp }")).expect("right");
    let (value, origin) = setting(&config, "upstreams.erp.session.steps[0].path");
    assert_eq!((value, origin.as_str()), ("/erp/rpc/", "recipe tryton (ready-made):8"));
    assert_eq!(setting(&config, "upstreams.erp.session.recipe").0, "tryton");
}

#[test]
fn names_that_do_not_exist_are_told_with_what_was_meant() {
    says(
        &report(&session("recipe: trytn\nparameters: { database: erp }")),
        &["test.yaml:5:15", "there is no ready-made recipe `trytn`", "did you mean `tryton`?"],
    );
    says(&report(&session("recipe: ./missing.yaml")), &["missing.yaml` cannot be read"]);
    says(&report(&session("recipe: [tryton]")), &["`recipe` is not a name but a list"]);
}

#[test]
fn parameters_are_all_checked_at_once() {
    says(
        &report(&session("recipe: tryton\nparameters: { databse: erp, language: [de] }")),
        &[
            "the recipe has no parameter `databse`",
            "did you mean `database`?",
            "the parameter `language` is not a plain text",
            "the recipe needs the parameter `database`",
            "The name of the Tryton database: write `parameters: { database: … }` beside `recipe`",
            "3 errors",
        ],
    );
    says(
        &report(&session("recipe: tryton\nparameters: { database: \"a}} {{password\" }")),
        &["the parameter `database` is not a plain text"],
    );
}

#[test]
fn mistakes_in_a_recipe_file_are_shown_where_they_stand_in_it() {
    let mine = "version: 1
steps:
  - path: /login
    jsn: { user: \"{{username}}\" }
    extract: { token: { cokie: SID } }
  - path: /next
    form: { a: b }
    json: {}
inject:
  cookies: { \"a b\": x }
  headers: { Cookie: x }
lost: { status: [200] }
lifetime: { seconds: /a, minutes: /b }
logout: { path: /out, at: nowhere }
";
    let (errors, text) = with_file(mine, "recipe: ./mine.yaml").expect_err("wrong");
    says(
        &text,
        &[
            "mine.yaml:4:5",
            "unknown key `jsn`",
            "did you mean `json`?",
            "mine.yaml:5:25",
            "did you mean `cookie`?",
            "a request has one body: keep one of them",
            "is not the name of a cookie",
            "write it under `cookies`",
            "names a status of success",
            "keep one of `seconds`, `minutes`, `cookie`",
            "names no upstream",
        ],
    );
    assert!(errors.problems().iter().all(|problem| problem.line_and_column().is_some()), "{text}");
}

#[test]
fn recipe_file_begins_with_its_version_and_repeats_no_key() {
    let wrong = |mine: &str| with_file(mine, "recipe: ./mine.yaml").expect_err("wrong").1;
    says(&wrong("inject: {}\n"), &["a recipe begins with `version: 1`"]);
    says(&wrong("version: 2\n"), &["mine.yaml:1:10", "a recipe begins with `version: 1`"]);
    says(&wrong("version: 1\nlost: {}\nlost: {}\n"), &["`lost` is written twice"]);
    says(&wrong("version: 1\nparameters: { a: {}, a: {} }\n"), &["`a` is written twice"]);
    says(&wrong("- version: 1\n"), &["a recipe is a section of keys"]);
    says(&wrong("version: 1\nsteps: *x\n"), &["not readable as YAML"]);
    let beside = with_file("version: 1\n", "recipe: ./mine.yaml\nsteps: [{ path: /x }]").expect_err("wrong").1;
    says(&beside, &["`steps` stands beside `recipe`", "copy the file"]);
}

#[test]
fn account_is_known_in_steps_only_where_each_signs_in_for_itself() {
    let step = "steps: [{ path: /x, headers: { X-For: \"{{account.name}}\" } }]";
    says(&report(&session(step)), &["uses the unknown variable `account.name`"]);
    assert_eq!(recipe(&format!("sign_in_as: account\n{step}")).steps.len(), 1);
    let cookie = "inject: { cookies: { FOR: \"{{account.name}}\" } }";
    says(&report(&session(cookie)), &["uses the unknown variable `account.name`"]);
    assert_eq!(recipe(&format!("sign_in_as: account\n{cookie}")).inject.cookies.len(), 1);
    says(
        &report(&session("inject: { headers: { X-For: \"{{account.nmae}}\" } }")),
        &["uses the unknown variable `account.nmae`", "did you mean `account.name`?"],
    );
}
