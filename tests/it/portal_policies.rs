//! Policies in the portal: drafts checked and applied, versions, and who may call what.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use erp_access::control::{Bounds, Caller, Command, ControlError, ErrorKind};
use erp_access::domain::{Actor, ManualClock, Role};
use serde_json::Value;

use crate::portal::{Browser, PASSWORD, Page as _, Scene, between};
use crate::support::gateway::{Gateway, Issued, OPEN, Setup};
use crate::support::process::run;
use crate::support::recorder::Recorder;

const READER: &str = "order-reader.yaml";

impl Scene {
    fn path(&self, file: &str) -> PathBuf {
        self.gateway.folder.path().join("policies").join(file)
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).expect("a file")
    }

    fn hash(&self) -> String {
        let in_force = self.gateway.operate(Command::PolicyInForce { without_holders: true }).expect("told");
        in_force["hash"].as_str().expect("a hash").to_owned()
    }

    fn holder(&self) -> (Issued, String) {
        let set = self.gateway.issue("acme", &["order-reader"]);
        self.gateway.set_api_key("erp-key-of-policies");
        let token = self.gateway.token(&set);
        (set, token)
    }

    fn mode(&self, file: &str, mode: u32) {
        std::fs::set_permissions(self.path(file), Permissions::from_mode(mode)).expect("changed");
    }
}

/// The fields of a draft page, as a browser sends them back with another text.
fn fields<'t>(page: &'t str, text: &'t str) -> Vec<(&'static str, &'t str)> {
    let form = between(page, "<form class=\"card draft\"", "</form>");
    let hidden = |name: &str| between(form, &format!("name=\"{name}\" value=\""), "\"");
    vec![("based_on", hidden("based_on")), ("file", hidden("file")), ("text", text), ("present", PASSWORD)]
}

fn draft(browser: &mut Browser, file: &str) -> String {
    let page = browser.get(&format!("/policies/draft?file={file}"));
    assert_eq!(page.status, 200, "{}", page.text());
    page.text()
}

/// What a browser shows of a text.
fn shown(page: &str) -> String {
    page.replace("&#39;", "'").replace("&#34;", "\"").replace("&#60;", "<").replace("&#62;", ">").replace("&#38;", "&")
}

fn with_creation(text: &str) -> String {
    text.replace("stock.list, stock.read", "orders.create")
}

#[test]
fn a_check_shows_all_mistakes_at_once_with_line_and_column_and_changes_nothing() {
    let scene = Scene::new();
    let (hash, text) = (scene.hash(), scene.text(READER));
    for (name, role) in [("anna", Role::Admin), ("olga", Role::Operator), ("aude", Role::Auditor)] {
        let (mut browser, _) = scene.signed_in(name, role, None);
        let page = draft(&mut browser, READER);
        let wrong = text.replace("orders.list, orders.read", "orders.lst").replace("schedule: default", "schedul: x");
        let checked = browser.post("/policies/draft/check", &fields(&page, &wrong));
        assert_eq!(checked.status, 200);
        let told = shown(&checked.text());
        assert!(told.contains("This could not be in force: 2 mistakes."), "{told}");
        assert!(told.contains("--> order-reader.yaml:5:1") && told.contains("unknown key `schedul`"), "{told}");
        assert!(told.contains("there is no endpoint `orders.lst`") && told.contains("^^^"), "{told}");
        assert!(told.contains("orders.lst, stock"), "the draft is still there");
        assert!(!told.contains(">Apply<"), "{told}");
    }
    assert_eq!((scene.hash(), scene.text(READER)), (hash, text));
}

#[test]
fn a_check_tells_who_gains_and_loses_what_and_what_is_probably_not_meant() {
    let scene = Scene::new();
    let (set, _) = scene.holder();
    let (hash, text) = (scene.hash(), scene.text(READER));
    for (name, role, applies) in [("olga", Role::Operator, false), ("anna", Role::Admin, true)] {
        let (mut browser, _) = scene.signed_in(name, role, None);
        let page = draft(&mut browser, READER);
        let form = fields(&page, "");
        let text = with_creation(&text).replace("deny: [orders.list]", "deny: [orders.list, orders.list]");
        let form: Vec<_> =
            form.into_iter().map(|(name, value)| (name, if name == "text" { &*text } else { value })).collect();
        let told = shown(&browser.post("/policies/draft/check", &form).text());
        assert!(told.contains("There are no mistakes."), "{told}");
        assert!(told.contains("+ POST /v1/orders  gains: allowed in `default`"), "{told}");
        assert!(told.contains("- GET /v1/stock  loses: was allowed in `default`"), "{told}");
        assert!(told.contains("account acme") && told.contains(&set.id.to_string()), "{told}");
        assert!(told.contains("Probably not meant") && told.contains("order-reader.yaml:10:25"), "{told}");
        assert_eq!(told.contains(">Apply<"), applies, "{name}");
        assert_eq!(told.contains("An administrator can apply it"), !applies, "{name}");
        assert!(told.contains("readonly"), "what was looked at is what is applied");
        let again = browser.post("/policies/draft/edit", &form).text();
        assert!(!again.contains("readonly") && shown(&again).contains("orders.create"), "{again}");
    }
    assert_eq!((scene.hash(), scene.text(READER)), (hash, text));
}

#[test]
fn recorded_requests_are_decided_again_and_it_is_said_how_many() {
    let scene = Scene::new();
    let (_, token) = scene.holder();
    for target in ["/v1/stock", "/v1/orders", "/v1/stock"] {
        assert_eq!(scene.gateway.get(&token, target).status, 200);
    }
    scene.gateway.audit("relay", 3);
    let (mut browser, _) = scene.signed_in("aude", Role::Auditor, None);
    let page = draft(&mut browser, READER);
    let text = with_creation(&scene.text(READER));
    let told = shown(&browser.post("/policies/draft/replay", &fields(&page, &text)).text());
    assert!(told.contains("All 3 recorded requests of the last 7 days were decided again."), "{told}");
    assert!(told.contains("2 would be decided otherwise") && told.contains("would be denied"), "{told}");
    assert!(told.contains("- 2 requests of `"), "{told}");
}

#[test]
fn an_applied_draft_decides_the_very_next_request_and_leaves_a_row() {
    let scene = Scene::new();
    let (_, token) = scene.holder();
    let create = || scene.gateway.relay(&token, "POST", "/v1/orders", Some(b"{}")).status;
    assert_eq!(create(), 403);
    scene.mode(READER, 0o640);
    let before = scene.hash();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    let page = draft(&mut browser, READER);
    let text = with_creation(&scene.text(READER));
    // A browser sends line ends of its own.
    let sent = text.replace('\n', "\r\n");
    let applied = browser.post("/policies/draft/apply", &fields(&page, &sent));
    assert_eq!(applied.goes_to(), "/policies/file?path=order-reader.yaml");
    assert_eq!(create(), 200, "in force when the answer is there");
    assert_eq!(scene.text(READER), text);
    assert_eq!(std::fs::metadata(scene.path(READER)).expect("there").mode() & 0o777, 0o640);
    let user = scene.gateway.operate(Command::UserShow { name: "anna".into() }).expect("shown");
    let actor = format!("user:{}", user["id"].as_str().expect("an id"));
    let row = scene.gateway.audit("change", 1).into_iter().find(|row| row["method"] == "policy.apply").expect("a row");
    assert_eq!(
        (&row["actor"], &row["path"], &row["decision"]),
        (&actor.as_str().into(), &READER.into(), &"allowed".into())
    );
    let detail: Value = serde_json::from_str(row["detail"].as_str().expect("a detail")).expect("JSON");
    assert_eq!((&detail["change"], &detail["before"]["policies"]), (&"changed".into(), &before.as_str().into()));
    assert_eq!(detail["after"]["policies"], scene.hash().as_str());
    assert_ne!(detail["before"]["text"], detail["after"]["text"]);
    let told = shown(&browser.get(&format!("/audit/{}", row["id"].as_str().expect("an id"))).text());
    assert!(
        told.contains("changed the policy file `order-reader.yaml`") && told.contains("Its policies was"),
        "{told}"
    );
    // A new file, and one that goes: both at once in force.
    let page = browser.get("/policies/draft").text();
    let new = "version: 1\npolicy: stop\nrules:\n  - { id: stop, deny: [orders.create] }\n";
    let form = [
        ("based_on", between(&page, "name=\"based_on\" value=\"", "\"")),
        ("new", "yes"),
        ("file", "stop.yaml"),
        ("text", new),
    ];
    assert!(browser.post("/policies/draft/check", &form).text().contains("There are no mistakes"));
    assert_eq!(browser.post("/policies/draft/apply", &form).goes_to(), "/policies/file?path=stop.yaml");
    assert_eq!(scene.text("stop.yaml"), new);
    let page = browser.get("/policies/draft?file=stop.yaml&delete=yes").text();
    let form =
        [("based_on", between(&page, "name=\"based_on\" value=\"", "\"")), ("file", "stop.yaml"), ("delete", "yes")];
    assert!(browser.post("/policies/draft/check", &form).text().contains("There are no mistakes"));
    assert_eq!(browser.post("/policies/draft/apply", &form).goes_to(), "/policies");
    assert!(!scene.path("stop.yaml").exists() && !browser.get("/policies").text().contains("stop.yaml"));
    let left: Vec<_> =
        std::fs::read_dir(scene.path("")).expect("a folder").map(|one| one.expect("one").file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn a_draft_of_something_else_than_what_is_in_force_is_a_conflict_until_it_was_looked_at_again() {
    let scene = Scene::new();
    let (mut anna, _) = scene.signed_in("anna", Role::Admin, None);
    let page = draft(&mut anna, READER);
    let text = with_creation(&scene.text(READER));
    let form = fields(&page, &text);
    // Meanwhile somebody else applies another change.
    let theirs = scene.text("stock-always.yaml").replace("stock.list, stock.read", "stock.list");
    let command = Command::PolicyApply {
        file: "stock-always.yaml".parse().expect("a name"),
        text: Some(theirs.clone()),
        delete: false,
        based_on: scene.hash(),
    };
    scene.gateway.operate(command).expect("applied");
    let before = scene.text(READER);
    let refused = anna.post("/policies/draft/apply", &form);
    let told = shown(&refused.text());
    assert!(refused.status == 409 && told.contains("no longer what the draft was made from"), "{told}");
    assert_eq!(scene.text(READER), before);
    let told = anna.post("/policies/draft/check", &form).text();
    assert!(told.contains("somebody changed the policies meanwhile") && !told.contains(">Apply<"), "{told}");
    let rebased = anna.post("/policies/draft/rebase", &form).text();
    assert!(rebased.contains(">Apply<"), "{rebased}");
    assert_eq!(anna.post("/policies/draft/apply", &fields(&rebased, &text)).status, 303);
    assert_eq!((scene.text(READER), scene.text("stock-always.yaml")), (text, theirs));
}

/// The mode of the folder counts for root too, as whom these tests may run.
#[test]
fn a_folder_that_is_not_the_gateways_to_write_is_said_to_be_so_and_stays_as_it_is() {
    let scene = Scene::new();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    scene.mode("", 0o555);
    let page = draft(&mut browser, READER);
    assert!(
        page.contains("The gateway cannot change this file") && page.contains("configuration management"),
        "{page}"
    );
    let (text, before) = (with_creation(&scene.text(READER)), scene.text(READER));
    let checked = browser.post("/policies/draft/check", &fields(&page, &text)).text();
    assert!(checked.contains("There are no mistakes.") && !checked.contains(">Apply<"), "{checked}");
    let refused = browser.post("/policies/draft/apply", &fields(&page, &text));
    assert!(refused.status == 409 && refused.text().contains("read-only"), "{}", refused.text());
    scene.mode("", 0o755);
    scene.mode(READER, 0o444);
    let refused = browser.post("/policies/draft/apply", &fields(&page, &text));
    assert!(refused.status == 409 && refused.text().contains("read-only"), "{}", refused.text());
    assert_eq!(scene.text(READER), before);
    // A file that stands elsewhere is not followed to.
    let elsewhere = scene.gateway.folder.path().join("elsewhere.yaml");
    std::fs::rename(scene.path(READER), &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, scene.path(READER)).expect("linked");
    let refused = browser.post("/policies/draft/apply", &fields(&page, &text));
    assert!(refused.status == 409 && refused.text().contains("symlink"), "{}", refused.text());
    assert_eq!(std::fs::read_to_string(elsewhere).expect("read"), before);
    let rows = scene.gateway.audit("change", 0);
    assert!(rows.iter().all(|row| row["method"] != "policy.apply"), "what was refused beforehand changed nothing");
}

#[test]
fn only_administrators_apply_and_give_the_password_and_no_path_leads_out_of_the_folder() {
    let scene = Scene::new();
    let (hash, text) = (scene.hash(), with_creation(&scene.text(READER)));
    for (name, role) in [("olga", Role::Operator), ("aude", Role::Auditor)] {
        let (mut browser, _) = scene.signed_in(name, role, None);
        let page = draft(&mut browser, READER);
        assert_eq!(browser.post("/policies/draft/apply", &fields(&page, &text)).status, 403, "{name}");
    }
    scene.gateway.issue("acme", &[]);
    let (mut client, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    for target in ["/policies", "/policies/draft?file=order-reader.yaml", "/policies/versions", "/endpoints", "/grants"]
    {
        assert_eq!(client.get(target).status, 403, "{target}");
    }
    assert_eq!(client.get("/endpoints/orders.list").status, 403);
    let form = [("based_on", hash.as_str()), ("file", READER), ("text", &text)];
    for act in ["check", "replay", "apply"] {
        assert_eq!(client.post(&format!("/policies/draft/{act}"), &form).status, 403, "{act}");
    }
    let (mut admin, _) = scene.signed_in("anna", Role::Admin, None);
    let page = draft(&mut admin, READER);
    scene.gateway.clock.advance(Duration::from_mins(11));
    let asked = shown(&admin.post("/policies/draft/check", &fields(&page, &text)).text());
    assert!(asked.contains("Your password"), "{asked}");
    let refused = admin.post("/policies/draft/apply", &form);
    assert!(refused.status == 422 && refused.text().contains("your password is asked for"), "{}", refused.text());
    assert_eq!(scene.hash(), hash);
    for file in ["../outside.yaml", "/etc/x.yaml", "endpoints/../../x.yaml", "cases/a/b.yaml", ".x.yaml", "x.txt", ""] {
        let form =
            [("based_on", hash.as_str()), ("file", file), ("text", &text), ("new", "yes"), ("present", PASSWORD)];
        for act in ["check", "apply"] {
            let refused = admin.post(&format!("/policies/draft/{act}"), &form);
            assert!(refused.status == 422 && refused.text().contains("is no file of the policy folder"), "{file}");
        }
    }
    assert_eq!(scene.hash(), hash);
    assert_eq!(admin.post("/policies/draft/nonsense", &form).status, 404);
    let long = "x".repeat(70_000);
    let form = [("based_on", hash.as_str()), ("file", READER), ("text", &*long), ("present", PASSWORD)];
    assert_eq!(admin.post("/policies/draft/check", &form).status, 422);
}

#[test]
fn the_operation_is_told_text_or_deletion_and_never_guesses() {
    let scene = Scene::new();
    let file = || READER.parse().expect("a name");
    let refused = |text: Option<&str>, delete, based_on: &str| -> ControlError {
        let (text, based_on) = (text.map(str::to_owned), based_on.to_owned());
        let command = Command::PolicyApply { file: file(), text, delete, based_on };
        scene.gateway.operate(command).expect_err("refused")
    };
    let hash = scene.hash();
    assert_eq!(refused(None, false, &hash).kind, ErrorKind::Invalid);
    assert_eq!(refused(Some("x"), true, &hash).kind, ErrorKind::Invalid);
    assert_eq!(refused(Some("x"), false, "").kind, ErrorKind::Invalid);
    assert_eq!(refused(Some("x"), false, &hash).kind, ErrorKind::Invalid);
    assert_eq!(refused(None, true, &"0".repeat(64)).kind, ErrorKind::Conflict);
    let same = scene.text(READER);
    assert_eq!(refused(Some(&same), false, &hash).kind, ErrorKind::Invalid);
    assert_eq!(scene.hash(), hash);
    assert!(
        serde_json::from_value::<Command>(serde_json::json!({
            "operation": "policy-apply", "file": "../x.yaml", "text": "", "based_on": hash,
        }))
        .is_err()
    );
}

#[test]
fn versions_say_what_changed_and_lead_back() {
    let scene = Scene::new();
    let (_, token) = scene.holder();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    let (first, text) = (scene.hash(), scene.text(READER));
    scene.gateway.clock.advance(Duration::from_mins(1));
    let page = draft(&mut browser, READER);
    let changed = with_creation(&text);
    assert_eq!(browser.post("/policies/draft/apply", &fields(&page, &changed)).status, 303);
    assert_eq!(scene.gateway.get(&token, "/v1/stock").status, 403);
    let versions = browser.get("/policies/versions").text();
    let (newest, oldest) = (versions.find(&scene.hash()).expect("there"), versions.find(&first).expect("there"));
    assert!(newest < oldest && versions.contains("in force, generation 2"), "{versions}");
    assert!(versions.contains("~ order-reader.yaml") && versions.contains("the first one"), "{versions}");
    let version = shown(&browser.get(&format!("/policies/versions/{first}")).text());
    assert!(version.contains("another text is in force") && version.contains("+ GET /v1/stock  gains"), "{version}");
    let link = format!("/policies/versions/{first}?file={READER}");
    assert!(shown(&browser.get(&link).text()).contains("stock.list, stock.read"));
    let back = format!("/policies/draft?file={READER}&version={first}");
    assert!(version.contains(&back), "{version}");
    let page = browser.get(&back).text();
    assert!(shown(&page).contains(&text), "{page}");
    assert_eq!(browser.post("/policies/draft/apply", &fields(&page, &text)).status, 303);
    assert_eq!((scene.hash(), scene.text(READER)), (first.clone(), text));
    assert_eq!(scene.gateway.get(&token, "/v1/stock").status, 200);
    assert!(browser.get(&format!("/policies/versions/{first}")).text().contains("This is what is in force."));
    for target in ["/policies/versions/x", "/policies/versions?before=x"] {
        assert_eq!(browser.get(target).status, 404, "{target}");
    }
    // Part by part.
    let page = |before: Option<&str>| {
        let command = Command::PolicyVersions { before: before.map(str::to_owned), last: Some(1) };
        scene.gateway.operate(command).expect("listed")
    };
    let newest = page(None);
    let next = newest["next"].as_str().expect("more");
    let older = page(Some(next));
    assert_eq!((&older["items"][0]["hash"], &older["next"]), (&first.as_str().into(), &Value::Null));
}

#[test]
fn endpoints_say_who_reaches_them_by_which_policy_in_which_hours() {
    let scene = Scene::new();
    let set = scene.gateway.issue("acme", &["order-reader"]);
    let stock = scene.gateway.issue("globex", &["stock-always"]);
    scene.gateway.issue_with("initech", &[], Bounds::Unrestricted, None);
    let (mut browser, _) = scene.signed_in("aude", Role::Auditor, None);
    let list = shown(&browser.get("/endpoints").text());
    assert!(list.contains("Endpoints: 9") || list.contains("href=\"/endpoints/orders.list\""), "{list}");
    let searched = browser.get("/endpoints?text=stock").text();
    assert!(searched.contains("/endpoints/stock.list") && !searched.contains("/endpoints/orders.list"), "{searched}");
    let reached = shown(&browser.get(&format!("/endpoints?credential={}", stock.id)).text());
    assert!(reached.contains("/endpoints/stock.list") && !reached.contains("/endpoints/orders.list"), "{reached}");
    assert!(reached.contains("allowed at any time"), "{reached}");
    assert_eq!(browser.get("/endpoints?credential=nobody").status, 404);
    let page = shown(&browser.get("/endpoints/orders.list").text());
    assert!(page.contains(&set.id.to_string()) && !page.contains(&stock.id.to_string()), "{page}");
    let condition = "allowed in `default`, unless `request.query[\"archived\"] == \"true\"`";
    assert!(page.contains(condition) && page.contains("<td>order-reader</td>"), "{page}");
    assert!(page.contains("<td>unrestricted</td>") && page.contains("<td>initech</td>"), "{page}");
    let page = browser.get("/endpoints/stock.list").text();
    assert!(page.contains(&stock.id.to_string()) && page.contains("allowed at any time"), "{page}");
    scene.gateway.operate(Command::CredentialDisable { id: stock.id }).expect("disabled");
    assert!(browser.get("/endpoints/stock.list").text().contains("disabled"));
    scene.gateway.operate(Command::CredentialRevoke { id: stock.id }).expect("revoked");
    assert!(!browser.get("/endpoints/stock.list").text().contains(&stock.id.to_string()));
    assert_eq!(browser.get("/endpoints/nothing").status, 404);
}

#[test]
fn the_matrix_says_what_each_grant_really_gives() {
    let scene = Scene::new();
    let set = scene.gateway.issue("acme", &["order-reader", "stock-always"]);
    scene.gateway.issue("globex", &["order-writer"]);
    let end = "2026-11-23T12:30:00+05:00".parse().expect("a time");
    let grant = Command::GrantAdd {
        credential: set.id,
        policy: "order-writer".parse().expect("a name"),
        expires_at: Some(end),
    };
    scene.gateway.operate(grant).expect("granted");
    let (mut browser, _) = scene.signed_in("olga", Role::Operator, None);
    let all = browser.get("/grants").text();
    assert!(all.contains("<td>acme</td>") && all.contains("<td>globex</td>"), "{all}");
    assert!(all.contains("6 endpoints, 1 under conditions") && all.contains("2 endpoints"), "{all}");
    assert!(all.contains(&format!("/credentials/{}", set.id)) && all.contains("until 2026-11-23"), "{all}");
    let acme = browser.get("/grants?account=acme").text();
    assert!(acme.contains("<td>acme</td>") && !acme.contains("<td>globex</td>"), "{acme}");
    let stock = browser.get("/grants?policy=stock-always").text();
    assert!(stock.contains("<td>acme</td>") && !stock.contains("<td>globex</td>"), "{stock}");
    scene.gateway.clock.advance(Duration::from_mins(40));
    let (mut browser, _) = scene.signed_in("aude", Role::Auditor, None);
    assert!(browser.get("/grants").text().contains("nothing: the grant has ended"));
    // A file goes, and one is broken that never was good.
    std::fs::remove_file(scene.path("stock-always.yaml")).expect("removed");
    scene.gateway.operate(Command::PolicyReload).expect("read again");
    assert!(browser.get("/grants").text().contains("nothing: there is no such policy"));
    std::fs::write(scene.path("stock-always.yaml"), "policy: [").expect("written");
    scene.gateway.operate(Command::PolicyReload).expect_err("it is broken");
    let broken = shown(&browser.get("/grants").text());
    assert!(broken.contains("nothing, and stops all else: its file is broken"), "{broken}");
    assert!(broken.contains("`stock-always`, held beside it, is broken and stops everything"), "{broken}");
    for (target, status) in [("/grants?account=nobody", 404), ("/grants?account=No+Body", 422)] {
        assert_eq!(browser.get(target).status, status, "{target}");
    }
}

/// 2,000 endpoints, 40 policies, 10,000 sets.
#[test]
fn pages_stay_small_where_there_is_much() {
    const SETS: u32 = 10_000;
    let erp = Recorder::answering("application/json", &[], b"[]");
    let mut endpoints = "version: 1\nupstream: erp\nendpoints:\n".to_owned();
    for number in 0..2000 {
        endpoints.push_str(&format!("  - {{ id: e{number:04}.list, methods: [GET], path: /v1/e{number:04} }}\n"));
    }
    let mut setup = Setup::new(erp.address()).config("portal:\n  listen: [\"127.0.0.1:0\"]\n");
    setup.policies.retain(|name, _| *name == "schedule.yaml");
    let mut setup = setup.policy("endpoints/erp.yaml", &endpoints);
    for number in 0..40 {
        let name: &'static str = format!("policy-{number:02}.yaml").leak();
        let (one, other) = (number % 10, (number + 1) % 10);
        let text = format!(
            "version: 1\npolicy: policy-{number:02}\nrules:\n  - {{ id: a, allow: [\"e*{one}.list\", \"e*{other}.list\"] }}\n"
        );
        setup = setup.policy(name, &text);
    }
    let gateway = setup.start();
    gateway.issue("acme", &["policy-00"]);
    let folder = gateway.hand_over();
    let mut database = rusqlite::Connection::open(folder.path().join("data/erp-access.db")).expect("opened");
    let transaction = database.transaction().expect("begun");
    for number in 0..SETS {
        let mut id = vec![0x01, 0x9a, 0xb7, 0xc2, 0x7d, 0x3e, 0x70, 0, 0x80, 0, 0, 0];
        id.extend(number.to_be_bytes());
        let copy = "INSERT INTO credential (id, account, name, kind, state, password_hash, api_key_hash, created_at,
                changed_at, hash_key)
            SELECT ?1, account, ?2, kind, state, password_hash, ?3, created_at, changed_at, hash_key FROM credential LIMIT 1";
        let name = format!("integration number {number}");
        transaction.execute(copy, rusqlite::params![id, name, [&id[..], &id[..]].concat()]).expect("copied");
        for policy in [number % 40, number * 7 % 39] {
            let grant =
                "INSERT INTO granted (credential, policy, created_at) VALUES (?1, ?2, 0) ON CONFLICT DO NOTHING";
            transaction.execute(grant, rusqlite::params![id, format!("policy-{policy:02}")]).expect("granted");
        }
    }
    transaction.commit().expect("committed");
    drop(database);
    let gateway = Gateway::start(folder, ManualClock::at(OPEN.parse().expect("a time")));
    let scene = Scene { gateway, erp };
    let (mut browser, _) = scene.signed_in("aude", Role::Auditor, None);
    let assets: usize =
        ["/assets/portal.css", "/assets/portal.js"].map(|target| browser.get(target).body.len()).iter().sum();
    let mut visit = |target: &str| {
        let page = browser.get(target);
        assert_eq!(page.status, 200, "{target}");
        let weight = page.body.len() + assets;
        assert!(weight < 150_000, "{target} weighs {weight} bytes");
        page.text()
    };
    let first = visit("/endpoints");
    assert!(
        first.contains("Endpoints: 2000") && first.contains("e0000.list") && !first.contains("e0050.list"),
        "{first}"
    );
    let next = shown(between(&first, "<ul class=\"links\">", "</ul>"));
    let second = visit(between(&next, "href=\"", "\""));
    assert!(second.contains("e0050.list") && !second.contains("e0049.list<"), "{second}");
    let reached = visit("/endpoints?credential=integration+number+3&text=e1");
    assert!(reached.contains("allowed in"), "{reached}");
    let holders = visit("/endpoints/e0003.list");
    assert!(holders.contains("More credential sets"), "{holders}");
    let next = shown(between(&holders, "<ul class=\"links\">", "</ul>"));
    assert_ne!(visit(between(&next, "href=\"", "\"")), holders);
    let matrix = visit("/grants");
    assert!(matrix.contains("grants give: 10001") && matrix.contains("400 endpoints"), "{matrix}");
    let next = shown(between(&matrix, "<ul class=\"links\">", "</ul>"));
    assert_ne!(visit(between(&next, "href=\"", "\"")), matrix);
    visit("/policies");
}

#[test]
fn the_command_line_applies_a_file_and_lists_versions_endpoints_and_grants() {
    let scene = Scene::new();
    let (_, token) = scene.holder();
    let folder = scene.gateway.folder.path();
    let ask = |arguments: &[&str]| {
        let output = run(folder, arguments, "");
        let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), told)
    };
    let proposed = folder.join("draft.yaml");
    let file = proposed.to_str().expect("a path");
    std::fs::write(&proposed, with_creation(&scene.text(READER))).expect("written");
    let (hash, none) = (scene.hash(), "0".repeat(64));
    let (code, told) = ask(&["policy", "apply", file, "--as", READER, "--based-on", &none]);
    assert_eq!(code, Some(5), "{told}");
    let (code, told) = ask(&["policy", "apply", file, "--as", READER, "--based-on", &hash]);
    assert!(code == Some(0) && told.contains("changed"), "{told}");
    assert_eq!(scene.gateway.relay(&token, "POST", "/v1/orders", Some(b"{}")).status, 200);
    let (code, told) = ask(&["policy", "apply", "--delete", "nothing.yaml"]);
    assert_eq!(code, Some(4), "{told}");
    let (code, told) = ask(&["policy", "apply", file, "--as", "../out.yaml"]);
    assert_eq!(code, Some(2), "{told}");
    std::fs::write(&proposed, "version: 1\npolicy: x\n").expect("written");
    let (code, told) = ask(&["policy", "apply", file, "--as", "x.yaml"]);
    assert!(code == Some(7) && told.contains("rules"), "{told}");
    let (_, told) = ask(&["policy", "versions", "--last", "1"]);
    assert!(told.contains("~ order-reader.yaml") && told.contains("there is more: --before"), "{told}");
    let (_, told) = ask(&["endpoint", "list", "--text", "orders"]);
    assert!(told.contains("orders.create") && told.contains("order-reader") && !told.contains("stock.list"), "{told}");
    let (_, told) = ask(&["endpoint", "show", "orders.create"]);
    assert!(told.contains("allowed in `default`") && told.contains("acme"), "{told}");
    let (_, told) = ask(&["grant", "matrix", "--account", "acme", "-o", "csv"]);
    assert!(told.contains("\"order-reader\",\"5 endpoints, 1 under conditions\""), "{told}");
}

/// A refusal by role leaves its row, as everywhere.
#[test]
fn whoever_may_not_apply_leaves_a_row() {
    let scene = Scene::new();
    let operator = Actor::Operator("olga".to_owned());
    let caller = Caller::new(operator, erp_access::domain::Authority::Operator);
    let control = scene.gateway.control().clone();
    let command = Command::PolicyApply {
        file: READER.parse().expect("a name"),
        text: None,
        delete: true,
        based_on: scene.hash(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let refused = runtime.block_on(control.run(caller, command)).expect_err("refused");
    assert_eq!(refused.kind, ErrorKind::Forbidden);
    assert!(scene.path(READER).exists());
    let rows = scene.gateway.audit("system", 2);
    assert!(rows.iter().any(|row| row["method"] == "control.refused" && row["path"] == "policy-apply"), "{rows:?}");
}
