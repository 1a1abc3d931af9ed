//! The command line, as a new user types it.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use erp_access::demo::little_erp::{LittleErp, LittleErpHandle, Settings};
use erp_access::domain::Secret;
use serde_json::Value;

use crate::support::gateway::{LITTLE_ERP_SESSION, Setup};
use crate::support::golden;
use crate::support::http;
use crate::support::process::{self, Serving, free_address, program, run, succeed};

const ERP_PASSWORD: &str = "little-password-1";

fn little_erp() -> LittleErpHandle {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    LittleErp::start(listener, Settings::new("gateway", Secret::new(ERP_PASSWORD.into()))).expect("starts")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}

fn exit_code(folder: &Path, arguments: &[&str]) -> i32 {
    run(folder, arguments, "").status.code().expect("an exit code")
}

/// Policies whose schedule does not depend on the hour at which the test runs.
fn open_at_every_hour(folder: &Path) {
    let schedule = "version: 1\ndefault:\n  time_zone: UTC\n  windows: [{ days: [mon, tue, wed, thu, fri, sat, sun], from: \"00:00\", to: \"24:00\" }]\n";
    std::fs::write(folder.join("policies/schedule.yaml"), schedule).expect("written");
    let _ = std::fs::remove_file(folder.join("policies/cases/samples.yaml"));
}

#[test]
fn the_five_minute_start_works_as_the_readme_says() {
    let erp = little_erp();
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path().join("gateway");
    let (path, address) = (folder.display().to_string(), erp.address().to_string());
    let init = program().args(["init", "--directory", &path, "--upstream", &address]).output().expect("init");
    let banner = String::from_utf8_lossy(&init.stdout).into_owned();
    assert!(init.status.success() && banner.contains("first password erpa_pwd_"), "{banner}");
    assert_eq!((mode(&folder.join("app.key")), mode(&folder.join("data"))), (0o600, 0o700));
    let again = program().args(["init", "--directory", &path]).output().expect("init");
    assert!(!again.status.success(), "a second init changes nothing");

    let printed = succeed(&folder, &["check", "--print"], "");
    assert!(printed.contains("gateway.listen") && printed.contains("ok: 7 endpoints"), "{printed}");
    assert!(succeed(&folder, &["policy", "test"], "").ends_with("7 passed, 0 failed\n"));
    open_at_every_hour(&folder);

    let serving = Serving::start(&folder);
    succeed(&folder, &["upstream", "secret", "set", "erp", "--username", "gateway"], ERP_PASSWORD);
    succeed(&folder, &["account", "create", "acme"], "");
    let file = home.path().join("secrets.json");
    let file_text = file.display().to_string();
    let issue = ["credential", "issue", "--account", "acme", "--name", "webshop", "--grant", "order-reader"];
    let told = succeed(&folder, &[&issue[..], &["--secrets-file", &file_text]].concat(), "");
    assert!(!told.contains("erpa_"), "{told}");
    assert_eq!(mode(&file), 0o600);
    let secrets: Value = serde_json::from_str(&std::fs::read_to_string(&file).expect("read")).expect("JSON");
    let text = |key: &str| secrets[key].as_str().expect("a text").to_owned();
    let id = text("client_id");
    let basic = format!("Basic {}", STANDARD.encode(format!("{id}:{}", text("password"))));
    let key = text("api_key");
    let headers = [("Authorization", basic.as_str()), ("x-api-key", key.as_str())];
    let answer = http::once(serving.address, "POST", "/oauth/token", &headers, Some(b""));
    let token = answer.json()["access_token"].as_str().expect("a token").to_owned();
    let bearer = format!("Bearer {token}");
    let get = || http::once(serving.address, "GET", "/v1/customers", &[("Authorization", bearer.as_str())], None);
    let first = get();
    assert_eq!(first.status, 200, "{}", first.text());

    let rows = succeed(&folder, &["audit", "search", "--last", "20"], "");
    assert!(rows.contains("by order-reader/read") && rows.contains("token_attempt"), "{rows}");
    let shown = succeed(&folder, &["audit", "show", first.header("x-request-id").expect("an id")], "");
    assert!(shown.contains("asked for GET /v1/customers, which is the endpoint `customers.list`."), "{shown}");
    assert!(shown.contains("decision path\n   1. passed  The head of the request was read"), "{shown}");
    assert!(shown.contains(">  7    - id: read\n>  8      allow: [customers.list,"), "{shown}");
    assert!(shown.contains("Today's policies would decide the same: allowed by order-reader/read."), "{shown}");

    succeed(&folder, &["kill", "engage", "--reason", "incident 17", "--yes"], "");
    assert_eq!(get().code(), "kill_switch_engaged", "in force when the command returns");
    assert_eq!((exit_code(&folder, &["kill", "status"]), exit_code(&folder, &["status"])), (3, 3));
    succeed(&folder, &["kill", "release", "--reason", "over"], "");
    assert_eq!((get().status, exit_code(&folder, &["status"])), (200, 0));
    succeed(&folder, &["token", "revoke", "--credential", &id], "");
    assert_eq!(get().code(), "token_invalid");
    assert_eq!(exit_code(&folder, &["credential", "revoke", &id]), 2, "a person must say yes");
    succeed(&folder, &["credential", "revoke", &id, "--yes"], "");
    assert_eq!(exit_code(&folder, &["credential", "enable", &id]), 5, "revoked is final");

    assert!(serving.terminate(), "{}", process::log(&folder));
    let offline = succeed(&folder, &["account", "list", "-o", "json"], "");
    assert!(offline.contains("\"acme\""), "without a gateway the command works on the database: {offline}");
    let everything = format!("{told}{rows}{shown}{offline}{}", process::log(&folder));
    for secret in [token, text("password"), key, ERP_PASSWORD.to_owned()] {
        assert!(!everything.contains(&secret), "a secret was printed");
    }
    for entry in std::fs::read_dir(folder.join("data")).expect("the data folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path) & 0o007, 0, "{}", path.display());
    }
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let folder = Setup::new(free_address()).write();
    succeed(folder.path(), &["db", "migrate"], "");
    succeed(folder.path(), &["account", "create", "acme"], "");
    let code = |arguments: &[&str]| exit_code(folder.path(), arguments);
    assert_eq!(code(&["account", "create", "acme"]), 5);
    assert_eq!(code(&["account", "show", "nobody"]), 4);
    assert_eq!(code(&["grant", "add", "019ab7c2-7d3e-7cc1-8b1f-0242ac120002", "order-raeder"]), 4);
    assert_eq!(code(&["account", "create", "Not A Name"]), 2);
    assert_eq!(code(&["--set", "gateway.lisen=[]", "check"]), 7);
    assert_eq!(code(&["nonsense"]), 2);
    assert_eq!(code(&["kill", "release", "--reason", "x"]), 4);
    assert_eq!(
        code(&["credential", "issue", "--account", "acme", "--name", "x", "--expires-at", "2001-01-01T00:00:00Z"]),
        7
    );
}

#[test]
fn labels_of_an_account_are_set_and_removed_and_the_audit_trail_says_so() {
    let folder = Setup::new(free_address()).write();
    succeed(folder.path(), &["db", "migrate"], "");
    succeed(folder.path(), &["account", "create", "acme", "--label", "tier=gold", "--label", "region=south"], "");
    let shown = |arguments: &[&str]| -> Value {
        serde_json::from_str(&succeed(folder.path(), &[arguments, &["-o", "json"]].concat(), "")).expect("JSON")
    };
    assert_eq!(shown(&["account", "list"])[0]["labels"], serde_json::json!({ "tier": "gold", "region": "south" }));
    succeed(folder.path(), &["account", "label", "acme", "tier=silver", "region-"], "");
    assert_eq!(shown(&["account", "show", "acme"])["labels"], serde_json::json!({ "tier": "silver" }));
    let rows = shown(&["audit", "search", "--kind", "change"]);
    let labelled = rows.as_array().expect("rows").iter().find(|row| row["method"] == "account.label").expect("a row");
    let detail = labelled["detail"].as_str().expect("a detail");
    assert!(detail.contains(r#""before":{"region":"south","tier":"gold"}"#), "{detail}");
    assert!(detail.contains(r#""after":{"tier":"silver"}"#), "{detail}");
    for (change, code) in [("tier=silver", 5), ("Tier=x", 2), ("tier", 2), ("tier=", 2)] {
        assert_eq!(exit_code(folder.path(), &["account", "label", "acme", change]), code, "{change}");
    }
    assert_eq!(exit_code(folder.path(), &["account", "label", "nobody", "tier=x"]), 4);
    assert_eq!(exit_code(folder.path(), &["account", "label", "acme"]), 2);
}

#[test]
fn an_unrestricted_set_needs_a_reason_and_an_end_and_status_lists_it() {
    let folder = Setup::new(free_address()).write();
    succeed(folder.path(), &["db", "migrate"], "");
    succeed(folder.path(), &["account", "create", "acme"], "");
    let issue = ["credential", "issue", "--account", "acme", "--name", "move"];
    let (why, end) = (["--reason", "moving the catalogue"], ["--expires-at", "2099-01-01T00:00:00Z"]);
    for (more, asked) in [
        (vec!["--unrestricted"], "--reason <REASON>"),
        ([&["--unrestricted"][..], &why].concat(), "--expires-at <EXPIRES_AT>"),
        ([&["--unrestricted"][..], &end].concat(), "--reason <REASON>"),
        (why.to_vec(), "--unrestricted"),
    ] {
        let output = run(folder.path(), &[&issue[..], &more].concat(), "");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?}");
        assert!(text.contains(asked), "{text}");
    }
    let blank = [&issue[..], &["--unrestricted", "--reason", "  "], &end].concat();
    let output = run(folder.path(), &blank, "");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("say why with `--reason TEXT`"));
    let status =
        || -> Value { serde_json::from_str(&succeed(folder.path(), &["status", "-o", "json"], "")).expect("JSON") };
    assert_eq!(status()["unrestricted_sets"], serde_json::json!([]));
    succeed(folder.path(), &[&issue[..], &["--unrestricted"], &why, &end].concat(), "");
    let listed = status()["unrestricted_sets"][0].clone();
    assert_eq!((listed["account"].as_str(), listed["name"].as_str()), (Some("acme"), Some("move")));
    assert_eq!(listed["reason"].as_str(), Some("moving the catalogue"));
    assert_eq!(listed["expires_at"].as_str(), Some("2099-01-01T00:00:00Z"));
    let id = listed["id"].as_str().expect("an id").to_owned();
    let rows = succeed(folder.path(), &["audit", "search", "--kind", "change", "-o", "json"], "");
    assert!(rows.contains("moving the catalogue"), "the reason is in the audit trail: {rows}");
    succeed(folder.path(), &["credential", "revoke", &id, "--yes"], "");
    assert_eq!(status()["unrestricted_sets"], serde_json::json!([]), "a revoked set is of no concern");
}

#[test]
fn a_configuration_with_mistakes_is_refused_with_all_of_them() {
    let folder = Setup::new(free_address()).config("audti: 1\nlog:\n  level: loud\n").write();
    let output = run(folder.path(), &["check"], "");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(7));
    assert!(text.contains("audti") && text.contains("audit") && text.contains("loud"), "{text}");
}

#[test]
fn a_start_that_cannot_be_whole_is_refused_with_what_to_do() {
    let folder = Setup::new(free_address()).write();
    let serve = |more: &[&str]| {
        let output = run(folder.path(), &[&["serve"], more].concat(), "");
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let pending = serve(&[]);
    assert!(pending.contains("erp-access db migrate"), "{pending}");
    succeed(folder.path(), &["db", "migrate"], "");
    let taken = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("an address");
    let busy = serve(&["--set", &format!("gateway.listen=[\"{address}\"]")]);
    assert!(busy.contains("cannot listen on"), "{busy}");
    let key = folder.path().join("app.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).expect("a mode");
    assert!(serve(&[]).contains("chmod 0600"));
    std::fs::remove_file(&key).expect("removed");
    succeed(folder.path(), &["key", "generate", "--file", &key.display().to_string()], "");
    assert_eq!(mode(&key), 0o600);
    let other = serve(&[]);
    assert!(other.contains("does not open this database"), "{other}");
    assert_ne!(
        exit_code(folder.path(), &["key", "generate", "--file", &key.display().to_string()]),
        0,
        "nothing is overwritten"
    );
}

#[test]
fn a_second_process_on_the_same_store_is_refused() {
    let folder = Setup::new(free_address()).write();
    let serving = Serving::start(folder.path());
    let address = free_address();
    let set = format!("gateway.listen=[\"{address}\"]");
    let output = run(folder.path(), &["serve", "--set", &set, "--set", "admin.socket=other.sock"], "");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("another erp-access process owns"), "{text}");
    assert!(serving.terminate());
}

/// The help of a command and of all below it.
fn helps(command: &clap::Command, path: &str, into: &mut String) {
    let mut command = command.clone().term_width(100);
    into.push_str(&format!("=== {path} ===\n{}\n", command.render_long_help()));
    let below: Vec<_> = command.get_subcommands().filter(|below| below.get_name() != "help").cloned().collect();
    for below in below {
        helps(&below, &format!("{path} {}", below.get_name()), into);
    }
}

#[test]
fn every_verb_explains_itself_as_it_was_agreed() {
    use clap::CommandFactory as _;
    let mut text = String::new();
    let mut command = erp_access::cli::Arguments::command();
    command.build();
    helps(&command, "erp-access", &mut text);
    let text: Vec<_> = text.lines().map(str::trim_end).collect();
    golden::assert_kept("tests/golden/help.txt", &(text.join("\n") + "\n"));
    let shown = program().args(["credential", "rotate", "--help"]).output().expect("help");
    assert!(shown.status.success() && String::from_utf8_lossy(&shown.stdout).contains("--overlap"));
}

#[test]
fn completions_and_man_pages_know_every_verb() {
    let folder = tempfile::tempdir().expect("a folder");
    for shell in ["bash", "zsh", "fish"] {
        let text = succeed(folder.path(), &["completions", shell], "");
        assert!(text.contains("operator-key") && text.contains("rotate-end"), "{shell}");
    }
    succeed(folder.path(), &["man", &folder.path().display().to_string()], "");
    let page = std::fs::read_to_string(folder.path().join("erp-access-credential-rotate.1")).expect("a page");
    assert!(page.contains("overlap"), "{page}");
}

#[test]
fn who_works_while_something_is_stopped_is_told_so() {
    let folder = Setup::new(free_address()).write();
    succeed(folder.path(), &["db", "migrate"], "");
    succeed(folder.path(), &["account", "create", "acme"], "");
    let told = |arguments: &[&str]| String::from_utf8_lossy(&run(folder.path(), arguments, "").stderr).into_owned();
    assert!(!told(&["account", "list"]).contains("KILL SWITCH"));
    succeed(folder.path(), &["kill", "engage", "--scope", "account:acme", "--reason", "incident 17", "--yes"], "");
    let text = told(&["account", "list"]);
    assert!(
        text.contains("KILL SWITCH engaged for `account:acme` by operator:") && text.contains("incident 17"),
        "{text}"
    );
    succeed(folder.path(), &["kill", "release", "--scope", "account:acme", "--reason", "over"], "");
    assert!(!told(&["account", "list"]).contains("KILL SWITCH"));
}

#[test]
fn a_list_can_be_had_for_a_spreadsheet_and_no_cell_is_a_formula() {
    let folder = Setup::new(free_address()).write();
    succeed(folder.path(), &["db", "migrate"], "");
    succeed(folder.path(), &["account", "create", "acme"], "");
    let file = folder.path().join("secrets.json").display().to_string();
    let issue = ["credential", "issue", "--account", "acme", "--name", "=1+1", "--secrets-file", &file];
    succeed(folder.path(), &issue, "");
    let text = succeed(folder.path(), &["credential", "list", "-o", "csv"], "");
    assert!(text.starts_with("\"id\",\"account\",\"name\"") && text.contains("\"'=1+1\""), "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do_about_it() {
    let erp = little_erp();
    let folder = Setup::new(erp.address()).write();
    succeed(folder.path(), &["db", "migrate"], "");
    succeed(folder.path(), &["account", "create", "acme"], "");
    let file = folder.path().join("secrets.json").display().to_string();
    let end = "2030-01-01T00:00:00Z";
    let issue =
        ["credential", "issue", "--account", "acme", "--name", "move", "--unrestricted", "--reason", "data move"];
    succeed(folder.path(), &[&issue[..], &["--expires-at", end, "--secrets-file", &file]].concat(), "");
    let serving = Serving::start(folder.path());
    let examine = || -> (Option<i32>, Vec<Value>) {
        let output = run(folder.path(), &["doctor", "-o", "json"], "");
        (output.status.code(), serde_json::from_slice(&output.stdout).expect("JSON"))
    };
    let (code, findings) = examine();
    let of = |findings: &[Value], check: &str| -> Vec<Value> {
        findings.iter().filter(|finding| finding["check"] == check).cloned().collect()
    };
    let free = of(&findings, "unrestricted sets");
    assert!(free[0]["found"].as_str().expect("a text").contains("`move` of `acme`"), "{free:?}");
    assert!(free[0]["found"].as_str().expect("a text").contains("data move"), "{free:?}");
    assert!(free[0]["advice"].as_str().expect("a text").contains("policy suggest"), "{free:?}");
    assert_eq!(of(&findings, "upstreams")[0]["state"], "ok");
    assert_eq!(of(&findings, "audit trail")[0]["state"], "ok");
    assert!(findings.iter().all(|finding| finding["state"] == "ok" || finding["advice"] != ""), "{findings:#?}");
    assert!(findings.iter().all(|finding| finding["state"] != "fail") && code == Some(0), "{findings:#?}");

    let open =
        |path: &str, mode| std::fs::set_permissions(folder.path().join(path), std::fs::Permissions::from_mode(mode));
    open("policies", 0o777).and_then(|()| open("policies/schedule.yaml", 0o666)).expect("modes");
    drop(erp);
    let (code, findings) = examine();
    assert_eq!(code, Some(1), "{findings:#?}");
    assert!(
        of(&findings, "permissions")[0]["found"].as_str().expect("a text").contains("policies` is writable by others")
    );
    assert!(of(&findings, "permissions")[1]["advice"].as_str().expect("a text").ends_with("policies/schedule.yaml`"));
    assert_eq!(of(&findings, "upstreams")[0]["state"], "fail");
    let table = String::from_utf8_lossy(&run(folder.path(), &["doctor"], "").stdout).into_owned();
    assert!(table.contains("chmod go-w") && table.contains(" failures"), "{table}");
    assert!(serving.terminate());
    let (_, findings) = examine();
    assert_eq!(of(&findings, "gateway")[0]["state"], "warn", "without a gateway the databases are looked at");
    assert!(!of(&findings, "unrestricted sets").is_empty());
    drop(Serving::start(folder.path()));
    assert!(
        process::log(folder.path()).contains("policies/schedule.yaml` is writable by others (mode 0666): `chmod go-w")
    );
}

#[test]
fn the_guided_tour_ends_well() {
    let output = program().args(["demo", "--once"]).output().expect("the tour");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("every step answered as it should"), "{text}");
    assert!(!text.contains("erpa_"), "{text}");
}

#[test]
fn a_sign_in_is_tried_step_by_step_and_sessions_are_looked_after() {
    let erp = little_erp();
    let mut setup = Setup::new(erp.address()).session(LITTLE_ERP_SESSION);
    setup.policies.retain(|name, _| *name == "schedule.yaml");
    let folder = setup.write();
    succeed(folder.path(), &["db", "migrate"], "");
    let set = ["upstream", "secret", "set", "erp", "--username", "gateway"];
    succeed(folder.path(), &set, "wrong-password-1");
    // Without a running gateway the sign-in is tried from here.
    let refused = run(folder.path(), &["upstream", "test", "erp"], "");
    let text = String::from_utf8_lossy(&refused.stdout).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{text}");
    assert!(text.contains("step 1  POST /api/session") && text.contains("failed: step 1"), "{text}");
    assert!(!text.contains("wrong-password-1"), "{text}");

    let serving = Serving::start(folder.path());
    succeed(folder.path(), &set, ERP_PASSWORD);
    let tried = succeed(folder.path(), &["upstream", "test", "erp"], "");
    assert!(tried.contains("signed in; relayed requests carry:"), "{tried}");
    assert!(!tried.contains(ERP_PASSWORD), "{tried}");
    let show = || -> Value {
        let shown = succeed(folder.path(), &["upstream", "show", "erp", "-o", "json"], "");
        serde_json::from_str(&shown).expect("JSON")
    };
    assert_eq!(show()["state"], "signed out", "a test leaves no session behind");
    let signed_in = succeed(folder.path(), &["upstream", "login", "erp"], "");
    assert!(signed_in.contains("signed in"), "{signed_in}");
    let shown = show();
    assert_eq!((shown["state"].as_str(), shown["failures"].as_u64()), (Some("signed in"), Some(0)), "{shown}");
    assert!(shown["age_seconds"].is_u64() && shown["until"].is_string(), "{shown}");
    succeed(folder.path(), &["upstream", "logout", "erp"], "");
    assert_eq!(show()["state"], "signed out");

    succeed(folder.path(), &["account", "create", "acme"], "");
    succeed(folder.path(), &[&set[..], &["--account", "acme"]].concat(), "password-of-acme");
    let listed = succeed(folder.path(), &["upstream", "list"], "");
    assert!(listed.contains("acme"), "{listed}");
    succeed(folder.path(), &["upstream", "secret", "remove", "erp", "--account", "acme"], "");
    assert_eq!(exit_code(folder.path(), &["upstream", "show", "erp", "--account", "acme"]), 4);
    assert_eq!(exit_code(folder.path(), &["upstream", "test", "nowhere"]), 4);
    assert!(serving.terminate(), "{}", process::log(folder.path()));
    let everything = [text, tried, listed, process::log(folder.path())].concat();
    for secret in [ERP_PASSWORD, "wrong-password-1", "password-of-acme"] {
        assert!(!everything.contains(secret), "a secret was printed");
    }
}
