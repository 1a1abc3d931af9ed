//! `policy suggest`: the smallest bounded policy for what a credential set really did.

use erp_access::control::{Bounds, Command};
use serde_json::Value;

use crate::support::gateway::Setup;
use crate::support::process::{run, succeed};
use crate::support::recorder::Recorder;

const SINCE: [&str; 2] = ["--since", "2026-11-01T00:00:00Z"];

#[test]
fn what_an_unrestricted_set_did_becomes_a_policy_under_which_it_may_do_just_that() {
    let erp = Recorder::start();
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-side-key-1");
    let free = gateway.issue_with("acme", &[], Bounds::Unrestricted, None);
    let token = gateway.token(&free);
    for target in ["/v1/orders", "/v1/orders/5", "/v1/orders/6?page=secret-page", "/v1/stock/A-1", "/nowhere"] {
        gateway.get(&token, target);
    }
    gateway.audit("relay", 5);
    let folder = gateway.folder.path().to_owned();
    let arguments = [&["policy", "suggest", "--credential", "integration", "--name", "webshop"], &SINCE[..]].concat();
    let running = run(&folder, &arguments, "");
    let text = String::from_utf8_lossy(&running.stdout).into_owned();
    let said = String::from_utf8_lossy(&running.stderr).into_owned();
    assert_eq!(running.status.code(), Some(0), "{said}");
    assert!(
        said.contains("5 requests of `integration` since 2026-11-01T00:00:00Z were looked at, 4 of them allowed"),
        "{said}"
    );
    assert!(text.contains("      - orders.read  # 2 requests, last 2026-11-23T07:00:00Z\n"), "{text}");
    assert!(text.contains("#   GET /nowhere, denied at endpoint: 1 request"), "{text}");
    assert!(!text.contains("secret-page") && !text.contains("customers"), "{text}");

    // Nothing is granted; put in force and granted, it allows what was allowed.
    let grants = gateway.operate(Command::GrantList { credential: None, account: None }).expect("listed");
    assert_eq!(grants.as_array().map(Vec::len), Some(0));
    std::fs::write(folder.join("policies/webshop.yaml"), &text).expect("written");
    gateway.operate(Command::PolicyReload).expect("the loader takes it");
    let bounded = gateway.issue("globex", &["webshop"]);
    let token = gateway.token(&bounded);
    let statuses: Vec<u16> = ["/v1/orders", "/v1/orders/7", "/v1/stock/B", "/v1/stock", "/v1/customers", "/nowhere"]
        .iter()
        .map(|target| gateway.get(&token, target).status)
        .collect();
    assert_eq!(statuses, [200, 200, 200, 403, 403, 403]);
}

#[test]
fn it_works_without_a_gateway_and_says_where_there_is_nothing_to_suggest() {
    let erp = Recorder::start();
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-side-key-1");
    let reader = gateway.issue("acme", &["order-reader"]);
    let idle = gateway.issue("globex", &["order-reader"]);
    gateway.get(&gateway.token(&reader), "/v1/orders");
    gateway.get(&gateway.token(&reader), "/v1/orders?archived=true");
    gateway.audit("relay", 2);
    let id = reader.id.to_string();
    let arguments = [&["policy", "suggest", "--credential", &id], &SINCE[..]].concat();
    let running = succeed(gateway.folder.path(), &[&arguments[..], &["-o", "json"]].concat(), "");
    let folder = gateway.hand_over();
    let alone = succeed(folder.path(), &[&arguments[..], &["-o", "json"]].concat(), "");
    let (running, alone): (Value, Value) =
        (serde_json::from_str(&running).expect("JSON"), serde_json::from_str(&alone).expect("JSON"));
    assert_eq!((&running["requests"], &running["allowed"]), (&2.into(), &1.into()));
    let rules = |value: &Value| {
        let text = value["files"][0][1].as_str().expect("a text");
        text.split_once("rules:").expect("rules").1.to_owned()
    };
    assert_eq!(rules(&running), rules(&alone));
    assert!(
        rules(&alone).contains("deny: [orders.list]\n    when: 'request.query[\"archived\"] == \"true\"'"),
        "{alone:#}"
    );

    let to = folder.path().join("review");
    std::fs::create_dir(&to).expect("a folder");
    let written = [&arguments[..], &["--to", to.to_str().expect("a path")]].concat();
    assert_eq!(succeed(folder.path(), &written, ""), "");
    assert!(std::fs::read_to_string(to.join("suggested-integration.yaml")).expect("written").contains("orders.list"));
    assert_eq!(run(folder.path(), &written, "").status.code(), Some(1), "a file that exists is not overwritten");
    let idle = idle.id.to_string();
    let nothing = run(folder.path(), &["policy", "suggest", "--credential", &idle, "--name", "x"], "");
    assert_eq!(nothing.status.code(), Some(4));
    let taken = [&arguments[..], &["--name", "order-reader"]].concat();
    assert_eq!(run(folder.path(), &taken, "").status.code(), Some(5));
}

#[test]
fn the_example_in_the_document_is_one_that_the_loader_takes() {
    let document = include_str!("../../docs/policies.md");
    let (_, section) = document.split_once("## Least privilege").expect("the section");
    let (_, block) = section.split_once("```yaml\n").expect("a block");
    let (text, _) = block.split_once("```").expect("its end");
    let folder = Setup::new(([127, 0, 0, 1], 9).into()).policy("webshop.yaml", text).write();
    let set = erp_access::policy::PolicyStore::open(&folder.path().join("policies"));
    assert!(set.is_ok(), "{}", set.expect_err("wrong"));
}
