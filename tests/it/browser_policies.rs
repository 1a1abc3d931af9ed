//! A policy changed in a real Chromium: written, checked, applied, and taken back.

use std::time::Duration;

use erp_access::domain::Role;
use fantoccini::Locator;

use crate::browser::{Person, Script, visit, with_user};

impl Person<'_> {
    /// Presses the button with this text in the draft.
    fn press(&self, text: &str) {
        self.runtime.block_on(async {
            let button = format!("//form[contains(@class, 'draft')]//button[normalize-space(.)='{text}']");
            let button = self.client.wait().for_element(Locator::XPath(&button)).await;
            button.unwrap_or_else(|error| panic!("{text}: {error}")).click().await.expect("clicked");
        });
    }

    /// Writes another text in place of the draft's.
    fn write(&self, text: &str) {
        self.runtime.block_on(async {
            let field = self.client.wait().for_element(Locator::Css(".draft textarea")).await.expect("a text");
            field.clear().await.expect("cleared");
            field.send_keys(text).await.expect("typed");
        });
    }

    fn draft(&self) -> String {
        self.runtime.block_on(async {
            let field = self.client.wait().for_element(Locator::Css(".draft textarea")).await.expect("a text");
            field.prop("value").await.expect("a value").expect("a value")
        })
    }
}

fn change_a_policy(person: &Person<'_>) {
    let file = person.gateway.folder.path().join("policies/order-reader.yaml");
    let before = std::fs::read_to_string(&file).expect("read");
    let set = person.gateway.issue("acme", &["order-reader"]);
    person.gateway.set_api_key("erp-key-of-a-draft");
    let token = person.gateway.token(&set);
    let create = || person.gateway.relay(&token, "POST", "/v1/orders", Some(b"{}")).status;
    assert_eq!(create(), 403);
    person.gateway.clock.advance(Duration::from_secs(1));
    person.go("/policies");
    person.follow("order-reader.yaml");
    person.is_at("/policies/file");
    person.picture("policy-file");
    person.follow("Change it");
    person.is_at("/policies/draft");
    assert_eq!(person.draft(), before, "the whole text, as it is");
    person.write(&before.replace("orders.list, orders.read", "orders.lst"));
    person.press("Check");
    person.sees("This could not be in force: 1 mistake.");
    person.picture("draft-with-a-mistake");
    let after = before.replace("stock.list, stock.read", "orders.create");
    person.write(&after);
    person.press("Check");
    person.sees("There are no mistakes.");
    person.sees("gains: allowed in `default`");
    person.picture("draft-checked");
    person.press("Replay the last 7 days");
    person.sees("All 1 recorded requests of the last 7 days were decided again.");
    person.press("Edit it again");
    person.press("Check");
    person.press("Apply");
    person.is_at("/policies/file");
    person.sees("generation 2");
    assert_eq!(create(), 200, "in force at once");
    assert_eq!(std::fs::read_to_string(&file).expect("read"), after);
    person.go("/policies/versions");
    person.sees("~ order-reader.yaml");
    person.picture("policy-versions");
    let first = person.runtime.block_on(async {
        let links = person.client.find_all(Locator::Css("td a")).await.expect("links");
        links.last().expect("the first version").attr("href").await.expect("an address").expect("an address")
    });
    person.go(&first);
    person.sees("What would change if it were in force again");
    person.picture("policy-version");
    person.follow("Use as draft");
    person.press("Check");
    person.press("Apply");
    person.is_at("/policies/file");
    assert_eq!(create(), 403, "as before");
    assert_eq!(std::fs::read_to_string(&file).expect("read"), before);
    for (path, name) in [("/endpoints", "endpoints"), ("/endpoints/orders.list", "endpoint"), ("/grants", "grants")] {
        person.go(path);
        person.is_at(path);
        person.sees("order-reader");
        person.picture(name);
    }
    person.go("/policies");
    person.picture("policies");
}

fn flow(script: Script) {
    let (gateway, _erp, first) = with_user("anna", Role::Admin, None);
    visit(script, &gateway, |person| {
        person.sign_in(&first);
        change_a_policy(person);
    });
}

#[test]
fn an_administrator_changes_a_policy_and_takes_it_back() {
    flow(Script::On);
}

#[test]
fn the_same_without_javascript() {
    flow(Script::Off);
}
