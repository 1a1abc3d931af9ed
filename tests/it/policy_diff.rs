//! `policy diff`: what a proposed folder would change, as decisions.

use std::path::{Path, PathBuf};

use erp_access::control::Bounds;
use serde_json::Value;

use crate::support::gateway::{Gateway, Setup};
use crate::support::process::run;
use crate::support::recorder::Recorder;

/// A gateway with holders, and a copy of its policies to edit.
struct Scene {
    gateway: Gateway,
    _erp: Recorder,
}

impl Scene {
    fn new() -> Self {
        let erp = Recorder::start();
        let gateway = Setup::new(erp.address()).start();
        gateway.issue("acme", &["order-reader"]);
        gateway.issue("acme", &["order-reader"]);
        gateway.issue("globex", &["order-reader", "stock-always"]);
        gateway.issue_with("initech", &[], Bounds::Unrestricted, None);
        Self { gateway, _erp: erp }
    }

    fn proposal(&self, file: &str, change: impl FnOnce(&str) -> String) -> PathBuf {
        proposal(self.gateway.folder.path(), file, change)
    }

    fn diff(&self, proposal: &Path) -> (Option<i32>, Value) {
        let folder = proposal.to_str().expect("a path");
        let output = run(self.gateway.folder.path(), &["policy", "diff", folder, "-o", "json"], "");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{said}")))
    }
}

/// The policy folder with one file changed.
pub(crate) fn proposal(gateway: &Path, file: &str, change: impl FnOnce(&str) -> String) -> PathBuf {
    let (from, to) = (gateway.join("policies"), gateway.join("proposed"));
    let _ = std::fs::remove_dir_all(&to);
    for inside in ["", "endpoints"] {
        std::fs::create_dir_all(to.join(inside)).expect("a folder");
        for entry in std::fs::read_dir(from.join(inside)).expect("a folder") {
            let entry = entry.expect("an entry");
            if entry.path().is_file() {
                std::fs::copy(entry.path(), to.join(inside).join(entry.file_name())).expect("copied");
            }
        }
    }
    let path = to.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(&path, change(&text)).expect("written");
    to
}

#[test]
fn the_same_folder_differs_in_nothing_also_with_other_comments() {
    let scene = Scene::new();
    let (code, difference) = scene.diff(&scene.proposal("order-reader.yaml", |text| format!("# A comment.\n{text}")));
    assert_eq!((code, &difference["same"]), (Some(0), &true.into()), "{difference:#}");
}

#[test]
fn gains_and_losses_are_told_for_the_policy_and_for_who_holds_it_by_account() {
    let scene = Scene::new();
    let folder = scene.proposal("order-reader.yaml", |text| text.replace("stock.list, stock.read", "orders.create"));
    let (code, difference) = scene.diff(&folder);
    assert_eq!(code, Some(1));
    let policy = &difference["policies"][0];
    assert_eq!((&policy["policy"], &policy["holders"]), (&"order-reader".into(), &3.into()), "{difference:#}");
    let told = |endpoints: &Value| -> Vec<String> {
        let endpoints = endpoints.as_array().expect("a list").iter();
        endpoints
            .map(|one| {
                format!(
                    "{} {} {}",
                    one["change"].as_str().expect("a text"),
                    one["method"].as_str().expect("a text"),
                    one["path"].as_str().expect("a text")
                )
            })
            .collect()
    };
    assert_eq!(
        told(&policy["endpoints"]),
        ["gained POST /v1/orders", "lost GET /v1/stock", "lost GET /v1/stock/{sku}"]
    );
    let accounts = difference["accounts"].as_array().expect("accounts");
    let names: Vec<_> = accounts.iter().map(|account| account["account"].as_str().expect("a name")).collect();
    assert_eq!(names, ["acme", "globex"], "who is unrestricted loses nothing");
    assert_eq!(accounts[0]["holders"][0]["credentials"].as_array().map(Vec::len), Some(2), "two sets hold the same");
    assert_eq!(
        accounts[1]["holders"][0]["endpoints"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| one["change"].clone())
            .collect::<Vec<_>>(),
        ["gained"],
        "`stock-always` still allows the stock: {accounts:#?}"
    );
}

#[test]
fn conditions_hours_limits_and_policies_without_holders_are_told() {
    let scene = Scene::new();
    let narrowed = scene.proposal("order-reader.yaml", |text| {
        text.replace("archived\"] == \"true\"", "archived\"] != \"false\"").replace("requests: 600", "requests: 60")
    });
    let (_, difference) = scene.diff(&narrowed);
    let policy = &difference["policies"][0];
    assert_eq!(
        policy["limits"],
        serde_json::json!(["600 requests per 60s, 20 at once", "60 requests per 60s, 20 at once"])
    );
    let endpoint = &policy["endpoints"][0];
    assert_eq!(endpoint["change"], "conditions");
    assert_eq!(endpoint["after"], "allowed in `default`, unless `request.query[\"archived\"] != \"false\"`");

    let (_, difference) =
        scene.diff(&scene.proposal("order-writer.yaml", |text| text.replace("schedule: default", "schedule: exempt")));
    let policy = &difference["policies"][0];
    assert_eq!((&policy["policy"], &policy["holders"]), (&"order-writer".into(), &0.into()));
    assert_eq!(policy["endpoints"][0]["text"], "hours changed: default → exempt");
    assert_eq!(difference["accounts"], serde_json::json!([]));

    let (_, difference) = scene.diff(&scene.proposal("schedule.yaml", |text| text.replace("20:00", "21:00")));
    assert_eq!(difference["schedules"][0]["schedule"], "default");
    assert_eq!(difference["policies"], serde_json::json!([]));
}

#[test]
fn the_command_says_the_same_with_a_gateway_and_without_and_a_broken_proposal_is_no_difference() {
    let Scene { gateway, .. } = Scene::new();
    let folder = proposal(gateway.folder.path(), "endpoints/erp.yaml", |text| {
        format!(
            "{text}  - {{ id: orders.export, methods: [GET], path: /v1/orders/export, upstream_path: /api/export }}\n"
        )
    });
    let arguments = ["policy", "diff", folder.to_str().expect("a path")];
    let running = run(gateway.folder.path(), &arguments, "");
    let own = gateway.hand_over();
    let alone = run(own.path(), &arguments, "");
    let shown = String::from_utf8_lossy(&running.stdout).into_owned();
    assert_eq!((running.status.code(), alone.status.code()), (Some(1), Some(1)), "{shown}");
    assert_eq!(shown, String::from_utf8_lossy(&alone.stdout));
    for part in [
        "\nGET /v1/orders/export is relayed elsewhere\n   - erp /api/orders/",
        "\npolicy order-reader (changed, held by 3 credential sets)\n   - GET /v1/orders/export  loses: was allowed in `default`\n",
        "\naccount acme\n   `integration` (",
        ", bounded, granted order-reader\n      - GET /v1/orders/export  loses: was allowed in `default`\n",
    ] {
        assert!(shown.contains(part), "no `{part}` in {shown}");
    }
    std::fs::write(folder.join("order-reader.yaml"), "version: 1\npolicy: order-reader\nrulez: []\n").expect("written");
    let broken = run(own.path(), &arguments, "");
    assert_eq!(broken.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&broken.stderr).contains("order-reader.yaml:3:"), "{broken:?}");
}
