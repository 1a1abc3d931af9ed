//! A policy changed in a real Chromium: written, checked, applied, and taken back.

use fantoccini::Locator;

use crate::browser::{Person, Script, flow};

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

    fn changes_a_policy(&self) {
        let file = self.gateway.folder.path().join("policies/order-reader.yaml");
        let before = std::fs::read_to_string(&file).expect("read");
        let set = self.gateway.issue("acme", &["order-reader"]);
        self.gateway.set_api_key("erp-key-of-a-draft");
        let token = self.gateway.token(&set);
        let create = || self.gateway.relay(&token, "POST", "/v1/orders", Some(b"{}")).status;
        assert_eq!(create(), 403);
        self.go("/policies");
        self.follow("order-reader.yaml");
        self.is_at("/policies/file");
        self.picture("policy-file");
        self.follow("Change it");
        self.is_at("/policies/draft");
        assert_eq!(self.draft(), before, "the whole text, as it is");
        self.write(&before.replace("orders.list, orders.read", "orders.lst"));
        self.press("Check");
        self.sees("This could not be in force: 1 mistake.");
        self.picture("draft-with-a-mistake");
        let after = before.replace("stock.list, stock.read", "orders.create");
        self.write(&after);
        self.press("Check");
        self.sees("There are no mistakes.");
        self.sees("gains: allowed in `default`");
        self.picture("draft-checked");
        self.press("Replay the last 7 days");
        self.sees("All 1 recorded requests of the last 7 days were decided again.");
        self.press("Edit it again");
        self.press("Check");
        self.press("Apply");
        self.is_at("/policies/file");
        self.sees("generation 2");
        assert_eq!(create(), 200, "in force at once");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), after);
        self.go("/policies/versions");
        self.sees("~ order-reader.yaml");
        self.picture("policy-versions");
        let first = self.runtime.block_on(async {
            let links = self.client.find_all(Locator::Css("td a")).await.expect("links");
            links.last().expect("the first version").attr("href").await.expect("an address").expect("an address")
        });
        self.go(&first);
        self.sees("What would change if it were in force again");
        self.picture("policy-version");
        self.follow("Use as draft");
        self.press("Check");
        self.press("Apply");
        self.is_at("/policies/file");
        assert_eq!(create(), 403, "as before");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), before);
        for (path, name) in [("/endpoints", "endpoints"), ("/endpoints/orders.list", "endpoint"), ("/grants", "grants")]
        {
            self.go(path);
            self.is_at(path);
            self.sees("order-reader");
            self.picture(name);
        }
        self.go("/policies");
        self.picture("policies");
    }
}

#[test]
fn an_administrator_changes_a_policy_and_takes_it_back() {
    flow(Script::On, |person| person.changes_a_policy());
}

#[test]
fn the_same_without_javascript() {
    flow(Script::Off, |person| person.changes_a_policy());
}
