//! What a client finds in the portal: what it may call and when, how a program is built, and how much it used.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command as Process, Output};
use std::time::Duration;

use erp_access::control::{Caller, Command, ErrorKind};
use erp_access::domain::{Actor, Authority, Code, Role};
use serde_json::{Value, json};

use crate::portal::{Page as _, Scene};
use crate::support::gateway::Issued;
use crate::support::http;

/// What a client carries out.
fn as_client(scene: &Scene, account: &str, command: Command) -> Result<Value, ErrorKind> {
    let control = scene.gateway.control();
    let snapshot = control.directory.snapshot();
    let id = snapshot.account_named(&account.parse().expect("a name")).expect("there").id;
    let caller = Caller::new(Actor::Operator("carla".to_owned()), Authority::Client(id));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(control.run(caller, command)).map_err(|error| error.kind)
}

fn access(set: &Issued, text: Option<&str>) -> Command {
    Command::CredentialAccess { id: set.id, text: text.map(str::to_owned), after: None, last: None }
}

fn ids(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().expect("items").iter().map(|item| item["id"].as_str().expect("an id")).collect()
}

/// The target of an operation with values in place of its parameters.
fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "7" } else { part }).collect::<Vec<_>>().join("/")
}

#[test]
fn a_client_is_told_what_it_may_call_and_of_nothing_else() {
    let scene = Scene::new();
    let own = scene.gateway.issue("acme", &["order-reader"]);
    let others = scene.gateway.issue("globex", &["order-writer"]);
    let told = as_client(&scene, "acme", access(&own, None)).expect("told");
    assert_eq!(
        ids(&told),
        ["customers.list", "customers.read", "orders.list", "orders.read", "stock.list", "stock.read"]
    );
    assert_eq!(
        ids(&as_client(&scene, "acme", access(&own, Some("STOCK"))).expect("told")),
        ["stock.list", "stock.read"]
    );
    assert_eq!(as_client(&scene, "acme", access(&own, Some("erp"))).expect("told")["total"], 0, "no ERP is found");
    let orders = told["items"].as_array().expect("items").iter().find(|item| item["id"] == "orders.list");
    assert_eq!(orders.expect("there")["conditions"], true, "a rule denies some of it");
    let text = told.to_string();
    for hidden in ["order-reader", "no-archive", "archived", "upstream"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
    assert_eq!(as_client(&scene, "acme", access(&others, None)), Err(ErrorKind::NotFound));
    let openapi = |set: &Issued| Command::CredentialOpenapi { id: set.id };
    assert_eq!(as_client(&scene, "acme", openapi(&others)), Err(ErrorKind::NotFound));
    let api = |name: &str| Command::AccountApi { name: name.parse().expect("a name") };
    assert_eq!(as_client(&scene, "acme", api("globex")), Err(ErrorKind::NotFound));
    assert_eq!(as_client(&scene, "acme", api("acme")).expect("told")["state"], "open");
    let last = Command::CredentialAccess { id: own.id, text: None, after: None, last: Some(201) };
    assert_eq!(as_client(&scene, "acme", last), Err(ErrorKind::Invalid));
    // The page says the same, with an example of each.
    let (mut browser, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    let page = browser.get("/api").text();
    assert!(page.contains("orders.read") && page.contains("/v1/orders/{id}"), "{page}");
    assert!(page.contains("https://GATEWAY/v1/customers"), "{page}");
    assert!(!page.contains("orders.create") && !page.contains("no-archive"), "{page}");
    let foreign = browser.get(&format!("/api?credential={}", others.id));
    let nobodys = browser.get("/api?credential=019ab7c2-7d3e-7cc1-8b1f-0242ac120099");
    assert_eq!((foreign.status, nobodys.status), (404, 404));
    assert_eq!(browser.get(&format!("/credentials/{}/openapi.json", others.id)).status, 404);
}

/// Each operation of the document is served, and what is not in it is not.
#[test]
fn the_openapi_document_says_exactly_what_is_served() {
    let scene = Scene::new();
    scene.gateway.set_api_key("erp-key-of-the-document");
    let set = scene.gateway.issue("acme", &["order-reader"]);
    let token = scene.gateway.token(&set);
    let (mut browser, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    let answer = browser.get(&format!("/credentials/{}/openapi.json", set.id));
    assert_eq!(answer.status, 200);
    assert!(
        answer.header("content-disposition").is_some_and(|value| value.starts_with("attachment")),
        "kept as a file"
    );
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("an item").iter().filter(|(name, _)| *name != "parameters") {
            let ids = operation["operationId"].as_str().expect("an id");
            described.extend(ids.split('+').map(|id| id.split(':').next().unwrap_or(id).to_owned()));
            let answer = scene.gateway.relay(&token, &method.to_uppercase(), &filled(path), None);
            assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
        }
        let named = item["parameters"].as_array().map_or(0, Vec::len);
        assert_eq!(named, path.matches('{').count(), "{path}");
    }
    let all = scene.gateway.operate(Command::EndpointList { text: None, credential: None, after: None, last: None });
    let mut denied = 0;
    for endpoint in all.expect("listed")["items"].as_array().expect("items") {
        let (id, path) = (endpoint["id"].as_str().expect("an id"), endpoint["path"].as_str().expect("a path"));
        if described.contains(id) {
            continue;
        }
        let method = endpoint["methods"][0].as_str().expect("a method");
        let body = (method == "POST").then_some(&b"{}"[..]);
        let answer = scene.gateway.relay(&token, method, &filled(path), body);
        assert_eq!(answer.status, 403, "{id} is not in the document, and served");
        denied += 1;
    }
    assert!(denied > 0 && described.len() == 6, "{denied} {described:?}");
    let text = document.to_string();
    for hidden in ["order-reader", "no-archive", "upstream", "condition_failed"] {
        assert!(!text.contains(&format!("\"{hidden}\"")) && !text.contains("no-archive"), "{hidden}: {text}");
    }
    assert!(text.contains("rate_limited") && text.contains("https://GATEWAY/oauth/token"), "{text}");
    serves_as_described(&scene, &document, &token);
}

/// What tests servers by their description reads it, and finds the gateway as it says.
fn serves_as_described(scene: &Scene, document: &Value, token: &str) {
    let Some(installed) = crate::admin_api::schemathesis() else { return };
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("own.json"), document.to_string()).expect("written");
    let hook = format!(
        "import schemathesis\n@schemathesis.auth()\nclass Token:\n    def get(self, case, context):\n        return {token:?}\n    def set(self, case, data, context):\n        case.headers = case.headers or {{}}\n        case.headers['Authorization'] = 'Bearer ' + data\n"
    );
    std::fs::write(home.path().join("hooks.py"), hook).expect("written");
    let output = Process::new(installed.join("venv/bin/schemathesis"))
        .current_dir(home.path())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", home.path())
        .args(["run", "own.json", "--url", &format!("http://{}", scene.gateway.address)])
        .args(["--phases", "examples,fuzzing", "--max-examples", "5", "--seed", "7", "--workers", "1"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args(["--suppress-health-check", "all", "--no-color"])
        .output()
        .expect("runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_client_is_told_until_when_the_api_is_closed_and_what_an_operator_says() {
    let scene = Scene::new();
    let set = scene.gateway.issue("acme", &["order-reader"]);
    scene.gateway.issue("globex", &["order-reader"]);
    let (mut browser, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    let page = browser.get("/").text();
    assert!(
        page.contains("The API is open until Mon 2026-11-23 20:00 Asia/Karachi, which is 2026-11-23 15:00:00Z"),
        "{page}"
    );
    let engage = |scope: &str, message: &str| Command::KillEngage {
        scope: scope.parse().expect("a scope"),
        message: Some(message.to_owned()),
        reason: "the auditor's secret reason".into(),
        until: None,
    };
    scene.gateway.operate(engage("account:globex", "globex only")).expect("engaged");
    assert!(!browser.get("/").text().contains("globex only"), "another's is not told");
    scene.gateway.operate(engage("policy:order-reader", "orders rest")).expect("engaged");
    let page = browser.get("/").text();
    assert!(page.contains("A part is stopped") && page.contains("orders rest"), "{page}");
    let told = as_client(&scene, "acme", access(&set, None)).expect("told");
    assert!(
        told["items"].as_array().expect("items").iter().all(|item| item["stopped"] == true && item["open"] == false)
    );
    scene.gateway.operate(engage("account:acme", "we count the stock")).expect("engaged");
    let page = browser.get("/").text();
    assert!(page.contains("An operator has stopped the API.") && page.contains("we count the stock"), "{page}");
    assert!(!page.contains("secret reason") && !page.contains("account:acme"), "{page}");
    for scope in ["account:globex", "account:acme", "policy:order-reader"] {
        let scope = scope.parse().expect("a scope");
        scene.gateway.operate(Command::KillRelease { scope, reason: "over".into() }).expect("released");
    }
    // Sessions do not last over the night.
    scene.gateway.clock.advance(Duration::from_hours(9));
    let api = Command::AccountApi { name: "acme".parse().expect("a name") };
    let told = as_client(&scene, "acme", api.clone()).expect("told");
    assert_eq!((told["state"].as_str(), told["changes_at"].as_str()), (Some("closed"), Some("2026-11-24T06:00:00Z")));
    assert_eq!(told["schedules"][0]["changes_at_there"], "Tue 2026-11-24 11:00");
    let (mut again, _) = scene.signed_in("cora", Role::Client, Some("acme"));
    let page = again.get("/").text();
    assert!(page.contains("The API is closed until Tue 2026-11-24 11:00 Asia/Karachi"), "{page}");
    let suspend = Command::AccountSuspend { name: "acme".parse().expect("a name"), reason: "late payment".into() };
    scene.gateway.operate(suspend).expect("suspended");
    let page = again.get("/").text();
    assert!(page.contains("Your account is suspended") && !page.contains("late payment"), "{page}");
    scene.gateway.operate(Command::AccountActivate { name: "acme".parse().expect("a name") }).expect("activated");
    scene.gateway.operate(Command::CredentialDisable { id: set.id }).expect("disabled");
    assert_eq!(as_client(&scene, "acme", api).expect("told")["state"], "nothing");
    assert!(again.get("/api").text().contains("You have no credential set that serves"));
}

#[test]
fn a_client_counts_its_own_requests_and_sees_its_limits() {
    let scene = Scene::new();
    scene.gateway.set_api_key("erp-key-of-the-count");
    let sets = [scene.gateway.issue("acme", &["order-reader"]), scene.gateway.issue("globex", &["order-reader"])];
    for (set, requests) in sets.iter().zip([3, 5]) {
        let token = scene.gateway.token(set);
        for _ in 0..requests {
            assert_eq!(scene.gateway.get(&token, "/v1/customers").status, 200);
        }
    }
    scene.gateway.audit("relay", 8);
    let stats = |by: &str, account: Option<&str>| {
        let query = json!({ "operation": "audit-stats", "query": { "kind": "relay", "account": account }, "by": by });
        as_client(&scene, "acme", serde_json::from_value(query).expect("a command"))
    };
    let total =
        |groups: Value| groups.as_array().expect("groups").iter().filter_map(|group| group["total"].as_u64()).sum();
    assert_eq!(stats("hour", None).map(total), Ok(3_u64));
    assert_eq!(stats("minute", Some("acme")).map(total), Ok(3_u64));
    assert_eq!(stats("hour", Some("globex")), Err(ErrorKind::NotFound));
    for by in ["code", "endpoint", "account"] {
        assert_eq!(stats(by, None), Err(ErrorKind::Forbidden), "{by}");
    }
    let limit = json!({ "operation": "credential-limit", "id": sets[0].id,
        "limits": { "requests": 1000, "per_seconds": 60, "concurrent": 7 } });
    scene.gateway.operate(serde_json::from_value(limit).expect("a command")).expect("limited");
    let (mut browser, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    let page = browser.get(&format!("/credentials/{}", sets[0].id)).text();
    assert!(page.contains("1000 requests in 60 s, 7 requests at once"), "{page}");
    assert!(page.contains(&format!("/api?credential={}", sets[0].id)), "{page}");
    let (mut staff, _) = scene.signed_in("udo", Role::Auditor, None);
    let counted = |browser: &mut crate::portal::Browser| {
        for _ in 0..100 {
            let page = browser.get("/").text();
            if page.contains("Requests of the last hour") && page.contains("<svg") {
                return page;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nothing was counted");
    };
    // Each is shown its own figures, whoever asked first.
    assert!(counted(&mut browser).contains(": 3, 0, 0</title>"));
    assert!(counted(&mut staff).contains(": 8, 0, 0</title>"));
    let own = as_client(&scene, "acme", Command::CredentialSearch(Box::default())).expect("found");
    assert_eq!(own["total"], 1);
}

/// A sample as it is downloaded, for this gateway.
fn sample(browser: &mut crate::portal::Browser, name: &str, gateway: &str) -> String {
    let answer = browser.get(&format!("/guide/{name}"));
    assert_eq!(answer.status, 200, "{name}");
    let text = answer.text();
    assert!(!text.contains("{{") && !text.contains("@key"), "{text}");
    text.replace("https://GATEWAY", gateway)
}

fn run_sample(folder: &Path, name: &str, text: &str, set: &Issued) -> Option<Output> {
    let interpreter = match name.rsplit('.').next() {
        Some("sh") => "sh",
        Some("py") => "python3",
        Some("mjs") => "node",
        other => panic!("{other:?}"),
    };
    if Process::new(interpreter).arg(if interpreter == "sh" { "-c" } else { "--version" }).arg(":").output().is_err() {
        eprintln!("SKIPPED: {interpreter} is not installed");
        return None;
    }
    std::fs::write(folder.join(name), text).expect("written");
    let mut process = Process::new(interpreter);
    process.arg(folder.join(name)).env("CLIENT_ID", set.id.to_string());
    Some(process.env("PASSWORD", &set.password).env("API_KEY", &set.api_key).output().expect("runs"))
}

#[test]
fn the_programs_of_the_guide_get_a_token_and_call_the_erp() {
    for key in ["optional", "required"] {
        let erp = crate::support::recorder::Recorder::answering("application/json", &[], b"[]");
        let setup = crate::support::gateway::Setup::new(erp.address()).config("portal:\n  listen: [\"127.0.0.1:0\"]\n");
        let gateway = setup.gateway(&format!("  api_key_on_relay: {key}\n")).start();
        let scene = Scene { gateway, erp };
        scene.gateway.set_api_key("erp-key-of-the-guide");
        let set = scene.gateway.issue("acme", &["order-reader"]);
        let gone = scene.gateway.issue("acme", &["order-reader"]);
        scene.gateway.operate(Command::CredentialRevoke { id: gone.id }).expect("revoked");
        let (mut browser, _) = scene.signed_in("carla", Role::Client, Some("acme"));
        let folder = tempfile::tempdir().expect("a folder");
        let address = format!("http://{}", scene.gateway.address);
        for name in ["curl.sh", "python.py", "javascript.mjs"] {
            let text = sample(&mut browser, name, &address);
            assert!(text.contains("x-api-key"));
            let before = scene.erp.count();
            let Some(output) = run_sample(folder.path(), name, &text, &set) else { continue };
            let told =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{name}: {told}");
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "[]", "{name}");
            assert_eq!(scene.erp.count(), before + 1, "{name}");
            // Whoever is refused is told so, and no secret.
            let output = run_sample(folder.path(), name, &text, &gone).expect("runs");
            let told =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(!output.status.success(), "{name}: {told}");
            assert!(!told.contains(&gone.password) && !told.contains(&gone.api_key), "{name}: {told}");
        }
        let csharp = sample(&mut browser, "csharp.cs", &address);
        assert_eq!(
            csharp.contains("request.Headers.Add(\"x-api-key\", Secret(\"API_KEY\"));\n        if"),
            key == "required"
        );
        assert_eq!(browser.get("/guide/nothing").status, 404);
    }
}

#[test]
fn the_guide_names_every_code_that_clients_are_told() {
    let scene = Scene::new();
    scene.gateway.issue("acme", &["order-reader"]);
    let (mut browser, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    let page = browser.get("/guide").text();
    for code in Code::ALL {
        assert_eq!(page.contains(&format!("<td>{}</td>", code.as_str())), code.is_told(), "{code}");
    }
    let answer = http::once(browser.address, "GET", "/guide/curl.sh", &[], None);
    assert_eq!(answer.goes_to(), "/sign-in");
}
