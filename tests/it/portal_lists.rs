//! Lists of the portal that are longer than a page, the figures of the overview, and what accounts are changed to.

use std::time::Duration;

use erp_access::control::{Command, NewSet, SetOrder, SetQuery, SetState};
use erp_access::domain::{AccountName, Clock as _, Role};
use jiff::Timestamp;
use serde_json::Value;

use crate::portal::{Page as _, Scene, between};
use crate::support::gateway::{Gateway, Issued};

/// A set with this name, which may read orders.
fn named(gateway: &Gateway, account: &str, name: &str, expires_at: Option<Timestamp>) -> Issued {
    let account: AccountName = account.parse().expect("a name");
    let _ = gateway.operate(Command::AccountCreate { name: account.clone(), labels: Vec::new() });
    let new = NewSet::bounded(account, name, vec!["order-reader".parse().expect("a name")]);
    let issued = gateway.operate(Command::CredentialIssue(Box::new(NewSet { expires_at, ..new }))).expect("issued");
    gateway.issued(&issued)
}

fn names(found: &Value) -> Vec<&str> {
    found["items"].as_array().expect("items").iter().map(|set| set["name"].as_str().expect("a name")).collect()
}

#[test]
fn credential_sets_are_found_by_words_state_end_and_use_and_sorted() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    let find = |query: SetQuery| gateway.operate(Command::CredentialSearch(Box::new(query))).expect("found");
    let day = Duration::from_hours(24);
    let issue = |account: &str, name: &str, days: Option<u64>| {
        let ends = days.map(|days| gateway.clock.now().checked_add(day * u32::try_from(days).expect("days")));
        let ends = ends.map(|end| end.expect("a time"));
        named(gateway, account, name, ends)
    };
    gateway.set_api_key("erp-key-of-lists");
    let till = issue("acme", "Till", None);
    gateway.clock.advance(Duration::from_mins(1));
    let shop = issue("acme", "shop", Some(200));
    gateway.clock.advance(Duration::from_mins(1));
    issue("globex", "import", Some(120));
    for _ in 0..100 {
        gateway.clock.advance(day);
    }
    gateway.token(&shop);
    gateway.operate(Command::CredentialDisable { id: till.id }).expect("disabled");
    assert_eq!(names(&find(SetQuery::default())), ["import", "shop", "Till"], "by name, whatever the case");
    let text = |text: &str| SetQuery { text: Some(text.into()), ..SetQuery::default() };
    assert_eq!(names(&find(text("GLOB"))), ["import"], "by account");
    assert_eq!(names(&find(text(&shop.id.to_string()))), ["shop"], "by id");
    assert_eq!(names(&find(text("order-reader"))).len(), 3, "by policy");
    assert!(names(&find(text("nothing"))).is_empty());
    let state = SetQuery { state: Some(SetState::Disabled), ..SetQuery::default() };
    assert_eq!(names(&find(state)), ["Till"]);
    let ending = SetQuery { ending_within_days: Some(30), ..SetQuery::default() };
    assert_eq!(names(&find(ending)), ["import"]);
    let unused = SetQuery { unused_for_days: Some(90), ..SetQuery::default() };
    assert_eq!(names(&find(unused)), ["import"], "not the one that got a token, nor the disabled one");
    let sorted = |sort, descending| SetQuery { sort: Some(sort), descending, ..SetQuery::default() };
    assert_eq!(names(&find(sorted(SetOrder::ExpiresAt, false))), ["import", "shop", "Till"], "no end comes last");
    assert_eq!(names(&find(sorted(SetOrder::ExpiresAt, true))), ["Till", "shop", "import"]);
    assert_eq!(names(&find(sorted(SetOrder::CreatedAt, false))), ["Till", "shop", "import"]);
    assert_eq!(names(&find(sorted(SetOrder::LastUsedAt, true)))[0], "shop");
    assert_eq!(names(&find(sorted(SetOrder::State, true)))[0], "Till");
    let part = find(SetQuery { offset: 1, limit: Some(1), ..SetQuery::default() });
    assert_eq!((names(&part), part["total"].as_u64()), (vec!["shop"], Some(3)));
    for limit in [0, 1001] {
        let query = SetQuery { limit: Some(limit), ..SetQuery::default() };
        assert!(gateway.operate(Command::CredentialSearch(Box::new(query))).is_err(), "{limit}");
    }
    gateway.clock.advance(day * 30);
    let state = SetQuery { state: Some(SetState::Expired), ..SetQuery::default() };
    assert_eq!(names(&find(state)), ["import"]);
}

#[test]
fn a_long_list_is_shown_in_parts_that_can_be_sorted_and_searched() {
    let scene = Scene::new();
    for number in 0..205 {
        let name = format!("account-{number:03}").parse().expect("a name");
        scene.gateway.operate(Command::AccountCreate { name, labels: Vec::new() }).expect("created");
    }
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    let first = browser.get("/accounts").text();
    assert!(first.contains("Accounts 1 to 100 of 205") && first.contains("account-099"), "{first}");
    assert!(!first.contains("account-100"), "{first}");
    let next = between(&first, "<li><a href=\"/accounts?", "\"").replace("&#38;", "&").replace("&amp;", "&");
    let second = browser.get(&format!("/accounts?{next}")).text();
    assert!(second.contains("Accounts 101 to 200 of 205") && second.contains("Those before"), "{second}");
    let last_first = browser.get("/accounts?sort=name&descending=true").text();
    assert!(last_first.contains("account-204") && last_first.contains("aria-sort=\"descending\""), "{last_first}");
    let found = browser.get("/accounts?text=unt-13").text();
    assert!(found.contains("Accounts 1 to 10 of 10"), "{found}");
    assert!(browser.get("/accounts?text=nobody").text().contains("No account fits."));
    let sets = browser.get("/credentials?state=active&sort=expires_at").text();
    assert!(sets.contains("No credential set fits."), "{sets}");
    for wrong in ["/credentials?state=sleeping", "/credentials?sort=height", "/credentials?unused_for_days=many"] {
        assert_eq!(browser.get(wrong).status, 422, "{wrong}");
    }
}

/// A client finds its own sets, whatever account the address names.
#[test]
fn a_search_is_held_to_the_account_of_a_client() {
    let scene = Scene::new();
    scene.gateway.issue("acme", &["order-reader"]);
    let others = scene.gateway.issue("globex", &["order-reader"]);
    let (mut client, _) = scene.signed_in("carla", Role::Client, Some("acme"));
    let all = client.get("/credentials").text();
    assert!(all.contains("1 to 1 of 1") && !all.contains(&others.id.to_string()), "{all}");
    let none = client.get("/credentials?account=globex");
    let unknown = client.get("/credentials?account=nobody");
    assert_eq!((none.status, unknown.status), (404, 404));
    let text = |text: String, name: &str| text.replace(name, "NAME");
    assert_eq!(text(none.text(), "globex"), text(unknown.text(), "nobody"), "another's looks like nobody's");
}

#[test]
fn an_account_is_described_renamed_and_deleted() {
    let scene = Scene::new();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    browser.post("/accounts", &[("name", "acme")]);
    let contacts = browser.post("/accounts/acme/contacts", &[("contacts", "ops@acme.example, +92 21 555")]);
    assert_eq!(contacts.goes_to(), "/accounts/acme");
    assert_eq!(browser.post("/accounts/acme/label", &[("changes", "tier=gold")]).goes_to(), "/accounts/acme");
    assert_eq!(browser.post("/accounts/acme/label", &[("changes", "=")]).status, 422);
    assert_eq!(browser.post("/accounts/acme/rename", &[("new_name", "initech")]).goes_to(), "/accounts/initech");
    let page = browser.get("/accounts/initech").text();
    assert!(page.contains("ops@acme.example, +92 21 555") && page.contains("gold"), "{page}");
    assert_eq!(browser.post("/accounts/initech/delete", &[("typed", "acme")]).status, 422, "the name is not right");
    assert_eq!(browser.post("/accounts/initech/delete", &[("typed", "initech")]).goes_to(), "/accounts");
    assert_eq!(browser.get("/accounts/initech").status, 404);
    let (mut auditor, _) = scene.signed_in("udo", Role::Auditor, None);
    browser.post("/accounts", &[("name", "acme")]);
    assert_eq!(auditor.post("/accounts/acme/rename", &[("new_name", "x")]).status, 403);
}

#[test]
fn the_overview_counts_requests_and_shows_what_ends_and_what_nobody_uses() {
    let scene = Scene::new();
    let gateway = &scene.gateway;
    gateway.set_api_key("erp-key-of-figures");
    let shop = gateway.issue("acme", &["order-reader"]);
    named(gateway, "acme", "forgotten", gateway.clock.now().checked_add(Duration::from_hours(24 * 120)).ok());
    for _ in 0..100 {
        gateway.clock.advance(Duration::from_hours(24));
    }
    let token = gateway.token(&shop);
    for _ in 0..3 {
        assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
    }
    assert_eq!(gateway.get(&token, "/v1/nothing").status, 403);
    gateway.audit("relay", 4);
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    let page = browser.get("/").text();
    // The numbers of the chart: allowed, of these not served, denied.
    assert_eq!(page.matches("<td>3</td><td>0</td><td>1</td>").count(), 2, "by minute and by hour: {page}");
    let ending = between(&page, "that end within 30 days</caption>", "</table>");
    assert!(ending.contains("forgotten"), "{ending}");
    let unused = between(&page, "that nobody used for 90 days</caption>", "</table>");
    assert!(unused.contains("forgotten") && !unused.contains(&shop.id.to_string()), "{unused}");
    assert!(page.contains("href=\"/credentials?unused_for_days=90"), "{page}");
    assert!(page.contains("data-live"), "it asks again by itself");
}

/// A page that asks again by itself does not keep a session going.
#[test]
fn what_a_page_asks_by_itself_is_no_use_of_a_session() {
    let scene = Scene::new();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    for _ in 0..3 {
        scene.gateway.clock.advance(Duration::from_mins(9));
        assert_eq!(browser.send("GET", "/", &[("x-refresh", "1")], None).status, 200);
    }
    scene.gateway.clock.advance(Duration::from_mins(9));
    assert_eq!(browser.send("GET", "/", &[("x-refresh", "1")], None).goes_to(), "/sign-in");
}

#[test]
fn a_first_password_serves_for_three_days_and_its_link_holds_it_behind_the_hash() {
    let scene = Scene::new();
    let (mut browser, _) = scene.signed_in("anna", Role::Admin, None);
    let made = browser.post("/users", &[("name", "olga"), ("role", "operator")]).text();
    let link = between(&made, "/sign-in/first#", "\"");
    let first = between(&made, "First password\n<span class=\"copyable\"><input readonly value=\"", "\"");
    scene.gateway.note_secret(first);
    assert!(link.contains("name=olga") && link.ends_with(&format!("password={first}")), "{link}");
    let sign_in = || scene.browser().post("/sign-in", &[("name", "olga"), ("password", first)]);
    scene.gateway.clock.advance(Duration::from_hours(71));
    assert_eq!(sign_in().goes_to(), "/sign-in/password");
    scene.gateway.clock.advance(Duration::from_hours(2));
    let late = sign_in();
    assert_eq!(late.status, 403);
    assert_eq!(late.text(), scene.browser().post("/sign-in", &[("name", "olga"), ("password", "x")]).text());
}
