//! The audit trail in the portal: any id, as it goes on, as a file, and whether it is whole.

use std::time::Duration;

use erp_access::domain::Role;
use serde_json::Value;

use crate::portal::{Browser, PASSWORD, Page as _, Scene, between};
use crate::support::http::Connection;

/// A gateway with a relay and a refusal, and what they used.
fn scene() -> (Scene, crate::support::gateway::Issued, String) {
    let scene = Scene::new();
    scene.gateway.set_api_key("erp-key-of-the-trail");
    let issued = scene.gateway.issue("acme", &["order-reader"]);
    let token = scene.gateway.token(&issued);
    assert_eq!(scene.gateway.get(&token, "/v1/customers").status, 200);
    assert_eq!(scene.gateway.get(&token, "/v1/nothing").status, 403);
    scene.gateway.audit("relay", 2);
    (scene, issued, token)
}

#[test]
fn any_id_leads_to_what_it_stands_for() {
    let (scene, issued, _) = scene();
    let (mut browser, _) = scene.signed_in("udo", Role::Auditor, None);
    let row = scene.gateway.audit("relay", 2).remove(0);
    let id = row["id"].as_str().expect("an id").to_owned();
    let token = row["token"].as_str().expect("a token").to_owned();
    let mut any = |id: &str| browser.get(&format!("/audit/any?any={id}")).goes_to().to_owned();
    assert_eq!(any(&id), format!("/audit/{id}"));
    assert_eq!(any(&issued.id.to_string()), format!("/audit?credential={}", issued.id));
    assert_eq!(any(&token), format!("/audit?token={token}"));
    assert_eq!(any("acme"), "/audit?account=acme");
    assert_eq!(any("their-own-42"), "/audit?correlation=their-own-42");
    let page = browser.get(&format!("/audit?token={token}&code=not_permitted&decision=denied")).text();
    assert_eq!(page.matches("<td class=\"bad\">denied</td>").count(), page.matches("<td>relay</td>").count());
    assert_eq!(browser.get("/audit?upstream_status=many").status, 422);
    scene.gateway.issue("globex", &[]);
    // Another's ids lead nowhere else than ids of nobody.
    let (mut client, _) = scene.signed_in("carla", Role::Client, Some("globex"));
    for wanted in [id.as_str(), &issued.id.to_string(), &token, "acme"] {
        assert_eq!(client.get(&format!("/audit/any?any={wanted}")).goes_to(), format!("/audit?correlation={wanted}"));
    }
}

#[test]
fn rows_of_a_filter_are_taken_away_as_a_file_and_that_leaves_a_row() {
    let (scene, issued, _) = scene();
    let (mut browser, _) = scene.signed_in("udo", Role::Auditor, None);
    let file = browser.post("/audit/export", &[("format", "ndjson"), ("kind", "relay")]);
    assert_eq!(file.status, 200, "{}", file.text());
    let name = file.header("content-disposition").expect("a name").to_owned();
    assert!(name.starts_with("attachment; filename=\"erp-access-audit-") && name.ends_with(".ndjson\""), "{name}");
    let rows: Vec<Value> = file.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(rows.len(), 2);
    assert!(rows.iter().all(|row| row["kind"] == "relay" && row["credential"] == issued.id.to_string()), "{rows:?}");
    let table = browser.post("/audit/export", &[("format", "csv"), ("decision", "denied"), ("kind", "relay")]).text();
    assert_eq!(table.lines().count(), 2, "a head and the row: {table}");
    let taken = scene.gateway.audit("change", 1);
    let taken: Vec<_> = taken.iter().filter(|row| row["method"] == "audit.export").collect();
    assert_eq!(taken.len(), 2, "{taken:?}");
    assert!(taken.iter().all(|row| row["actor"].as_str().is_some_and(|actor| actor.starts_with("user:"))));
    assert_eq!(browser.post("/audit/export", &[("format", "pdf")]).status, 422);
    let (mut client, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    assert_eq!(client.post("/audit/export", &[("format", "csv")]).status, 403, "the house takes rows away");
}

/// Reads events until one says this.
fn until(connection: &mut Connection, wanted: &str) -> String {
    let mut text = String::new();
    while !text.contains(wanted) {
        let more = connection.some(1);
        assert!(!more.is_empty(), "the stream ended: {text}");
        text.push_str(&String::from_utf8_lossy(&more));
    }
    text
}

fn follow(browser: &Browser, target: &str) -> Connection {
    let mut connection = Connection::open(browser.address);
    let cookie = browser.cookie.as_deref().expect("a cookie");
    let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nCookie: {cookie}\r\n\r\n");
    connection.send(head.as_bytes()).expect("sent");
    connection
}

#[test]
fn the_trail_is_followed_until_the_session_ends() {
    let (scene, issued, token) = scene();
    let (browser, _) = scene.signed_in("udo", Role::Auditor, None);
    let mut following = follow(&browser, "/audit/tail/rows?decision=denied");
    let (status, headers) = following.head().expect("a head");
    assert_eq!(status, 200);
    assert!(headers.iter().any(|(name, value)| name == "content-type" && value == "text/event-stream"), "{headers:?}");
    assert_eq!(scene.gateway.get(&token, "/v1/customers").status, 200);
    assert_eq!(scene.gateway.get(&token, "/v1/nothing-else").status, 403);
    let seen = until(&mut following, "nothing-else");
    assert!(seen.contains("event: rows") && seen.contains("\"dropped\":0"), "{seen}");
    assert!(!seen.contains("/v1/customers"), "what does not fit the filter is not sent: {seen}");
    let mut other = Browser { cookie: browser.cookie.clone(), ..scene.browser() };
    let page = other.get("/audit/tail?decision=denied").text();
    assert!(page.contains("data-tail=\"/audit/tail/rows?decision=denied\""), "{page}");
    assert!(page.contains("/v1/nothing-else"), "it shows the newest without a script");
    // Nobody who follows keeps a session going, and whoever is signed out follows no longer.
    assert_eq!(other.post("/sign-out", &[]).goes_to(), "/sign-in");
    let end = until(&mut following, "event: over");
    assert!(!end.contains(&issued.password), "{end}");
    let (client, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    let refused = follow(&client, "/audit/tail/rows").head().expect("a head").0;
    assert_eq!(refused, 403, "a client sees its own rows, not the trail");
}

#[test]
fn the_trail_is_checked_and_what_is_wrong_is_told() {
    let (scene, ..) = scene();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    let checked = |browser: &mut Browser| {
        assert_eq!(browser.post("/audit/chain", &[]).goes_to(), "/audit/chain");
        for _ in 0..500 {
            let page = browser.get("/audit/chain").text();
            if !page.contains("is being checked") {
                return page;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the check does not end");
    };
    assert!(browser.get("/security").text().contains("was not checked here"), "nothing is promised unseen");
    let whole = checked(&mut browser);
    assert!(whole.contains("The trail is whole"), "{whole}");
    assert!(browser.get("/security").text().contains("The trail is whole"));
    let files = scene.gateway.database_bytes();
    let (file, _) = files.iter().find(|(file, _)| file.ends_with("audit.db")).expect("the trail");
    let database = rusqlite::Connection::open(file).expect("opened");
    database.execute_batch("DROP TRIGGER IF EXISTS decision_unchanged;").expect("no guard");
    let triggers: Vec<String> = {
        let mut statement =
            database.prepare("SELECT name FROM sqlite_master WHERE type = 'trigger'").expect("prepared");
        let names = statement.query_map([], |row| row.get(0)).expect("names");
        names.map(|name| name.expect("a name")).collect()
    };
    for name in triggers {
        database.execute_batch(&format!("DROP TRIGGER \"{name}\"")).expect("dropped");
    }
    let changed = database.execute("UPDATE decision SET path = '/v1/orders' WHERE path = '/v1/customers'", []);
    assert_eq!(changed.expect("changed"), 1);
    let broken = checked(&mut browser);
    assert!(broken.contains("The trail is NOT whole") && broken.contains("What is wrong"), "{broken}");
    let (mut client, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    assert_eq!(client.get("/audit/chain").status, 404);
    assert_eq!(client.post("/audit/chain", &[]).status, 403);
}

/// The secrets of the page that was just shown come back as a file, and nothing else does.
#[test]
fn new_secrets_are_taken_away_as_a_file_of_variables() {
    let (scene, ..) = scene();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    let form = [("account", "acme"), ("name", "till"), ("grants", "order-reader")];
    let page = browser.post("/credentials/issue", &form).text();
    let hidden = |name: &str| between(&page, &format!("name=\"{name}\" value=\""), "\"").to_owned();
    let [id, password, api_key] = ["client_id", "password", "api_key"].map(hidden);
    scene.gateway.note_secret(&password);
    scene.gateway.note_secret(&api_key);
    let pairs = [("client_id", id.as_str()), ("password", &password), ("api_key", &api_key)];
    let file = browser.post("/credentials/env", &pairs);
    assert_eq!(file.text(), format!("CLIENT_ID={id}\nPASSWORD={password}\nAPI_KEY={api_key}\n"));
    assert_eq!(file.header("content-disposition"), Some(format!("attachment; filename=\"{id}.env\"").as_str()));
    for wrong in [("password", PASSWORD), ("api_key", "<script>"), ("client_id", "x")] {
        let pairs = pairs.map(|(name, value)| (name, if name == wrong.0 { wrong.1 } else { value }));
        assert_eq!(browser.post("/credentials/env", &pairs).status, 422, "{wrong:?}");
    }
    assert_eq!(browser.post(&format!("/credentials/{id}/stored"), &[]).goes_to(), format!("/credentials/{id}"));
}
