//! What else people do in the portal, in a real Chromium: with a script, and where it is essential without one.

use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::Role;
use fantoccini::Locator;

use crate::browser::{Person, Script, visit, with_user};
use crate::portal::PASSWORD;
use crate::support::gateway::Issued;

impl Person<'_> {
    /// Signs somebody in who needs no second factor.
    pub(crate) fn sign_in_plainly(&self, name: &str, first: &str) {
        self.go("/sign-in");
        self.send("/sign-in", &[("name", name), ("password", first)]);
        self.send("/sign-in/password", &[("chosen", PASSWORD), ("again", PASSWORD)]);
        self.is_at("/");
    }

    fn click(&self, css: &str) {
        self.runtime.block_on(async {
            let found = self.client.wait().for_element(Locator::Css(css)).await;
            found.unwrap_or_else(|error| panic!("{css}: {error}")).click().await.expect("clicked");
        });
    }

    /// The texts of these elements, as they are seen.
    fn texts(&self, css: &str) -> Vec<String> {
        self.runtime.block_on(async {
            let mut texts = Vec::new();
            for element in self.client.find_all(Locator::Css(css)).await.expect("found") {
                texts.push(element.text().await.unwrap_or_default());
            }
            texts
        })
    }

    /// Where the browser is, with what stands behind `?` and `#`.
    fn address(&self) -> String {
        self.runtime.block_on(self.client.current_url()).expect("a URL").to_string()
    }

    /// The set that is shown once on this page.
    fn issued(&self) -> Issued {
        let [id, password, api_key] = [self.value("Client id"), self.value("Password"), self.value("x-api-key")];
        self.gateway.note_secret(&password);
        self.gateway.note_secret(&api_key);
        Issued { id: id.parse().expect("an id"), password, api_key }
    }
}

/// Accounts, credential sets, schedules, ERPs, policies: every form that changes something does it.
fn changes(script: Script) {
    let (gateway, _erp, first) = with_user("anna", Role::Admin, None);
    visit(script, &gateway, |person| {
        person.sign_in(&first);
        person.go("/accounts");
        person.send("/accounts", &[("name", "acme")]);
        person.is_at("/accounts/acme");
        person.send("/accounts/acme/contacts", &[("contacts", "ops@acme.example")]);
        person.sees("ops@acme.example");
        person.send("/accounts/acme/rename", &[("new_name", "initech")]);
        person.is_at("/accounts/initech");
        person.go("/credentials/issue");
        let form = [("account", "initech"), ("name", "shop"), ("grants", "order-reader")];
        person.send("/credentials/issue", &form);
        let issued = person.issued();
        let page = format!("/credentials/{}", issued.id);
        person.send(&format!("{page}/stored"), &[("stored", "")]);
        person.is_at(&page);
        gateway.set_api_key("erp-key-of-the-flows");
        let token = gateway.token(&issued);
        assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
        // Both secrets serve, until the former ones are ended.
        person.send(&format!("{page}/rotate"), &[("overlap", "86400")]);
        let new = person.issued();
        person.send(&format!("{page}/stored"), &[("stored", "")]);
        person.sees("The former secrets serve still");
        person.picture("credential-set-rotated");
        assert_eq!((gateway.ask_for_token(&issued).status, gateway.ask_for_token(&new).status), (200, 200));
        person.send(&format!("{page}/rotate-end"), &[]);
        person.wait("the former secrets end", || gateway.ask_for_token(&issued).status == 401);
        assert_eq!(gateway.ask_for_token(&new).status, 200);
        person.send(&format!("{page}/take"), &[]);
        person.wait("the grant is taken", || gateway.get(&gateway.token(&new), "/v1/customers").status == 403);
        person.send(&format!("{page}/grant"), &[("policy", "order-reader")]);
        person.wait("the grant is back", || gateway.get(&gateway.token(&new), "/v1/customers").status == 200);
        person.send(&format!("{page}/end-tokens"), &[]);
        person.wait("tokens end", || !person.text().contains("End all live tokens"));
        person.send(&format!("{page}/disable"), &[]);
        person.sees("disabled");
        assert_eq!(gateway.ask_for_token(&new).status, 401);
        person.send(&format!("{page}/enable"), &[]);
        person.wait("it is enabled", || gateway.ask_for_token(&new).status == 200);
        person.go("/accounts/initech");
        person.send("/accounts/initech/state", &[("reason", "late payment")]);
        person.sees("late payment");
        assert_eq!(gateway.ask_for_token(&new).status, 403);
        person.send("/accounts/initech/state", &[]);
        person.wait("it is active", || gateway.ask_for_token(&new).status == 200);
        let token = gateway.token(&new);
        person.go("/schedules");
        let form =
            [("schedule", "default"), ("held", "closed"), ("until", "2026-11-23T09:00:00Z"), ("reason", "inventory")];
        person.send("/schedules/hold", &form);
        person.sees("inventory");
        assert_eq!(gateway.get(&token, "/v1/customers").code(), "outside_schedule");
        person.send("/schedules/lift", &[("schedule", "default"), ("reason", "done")]);
        person.sees("No override holds a schedule.");
        assert_eq!(gateway.get(&token, "/v1/customers").status, 200);
        person.go("/upstreams");
        person.send("/upstreams/erp/test", &[]);
        person.picture("upstream-test");
        person.go("/policies");
        person.ask("/policies/explain", &[("credential", "shop"), ("target", "/v1/customers")]);
        person.sees("Allowed by");
        person.picture("decision-tester");
        person.go(&page);
        person.send(&format!("{page}/revoke"), &[("typed", "another")]);
        person.sees("type");
        assert_eq!(gateway.ask_for_token(&new).status, 200, "the name was not right");
        person.send(&format!("{page}/revoke"), &[("typed", "shop")]);
        person.wait("it is revoked", || gateway.ask_for_token(&new).status == 401);
        person.go("/audit/chain");
        person.send("/audit/chain", &[]);
        person.wait("the check ends", || {
            person.go("/audit/chain");
            person.text().contains("The trail is whole")
        });
        person.picture("audit-chain");
        person.go("/audit");
        person.ask("/audit/any", &[("any", &new.id.to_string())]);
        person.sees("credential.revoke");
        assert!(person.address().contains(&format!("credential={}", new.id)), "{}", person.address());
    });
}

#[test]
fn every_change_is_made_in_a_browser() {
    changes(Script::On);
}

#[test]
fn every_change_is_made_without_javascript() {
    changes(Script::Off);
}

#[test]
fn a_link_of_an_administrator_leads_in_and_leaves_no_password_in_the_address() {
    let (gateway, _erp, first) = with_user("anna", Role::Admin, None);
    visit(Script::On, &gateway, |person| {
        person.sign_in(&first);
        person.go("/users");
        person.send("/users", &[("name", "olga"), ("role", "operator")]);
        let (link, password) = (person.value("Link"), person.value("First password"));
        gateway.note_secret(&password);
        assert!(link.contains('#') && link.contains(&password), "{link}");
        person.is_accessible("the page with the link");
        person.follow("It is handed over: done");
        person.is_at("/users/olga");
        person.picture("user");
        person.send("/sign-out", &[]);
        person.is_at("/sign-in");
        person.runtime.block_on(person.client.goto(&link)).expect("opened");
        person.wait("the form is filled in", || {
            person.value("Name") == "olga" && person.value("First password") == password
        });
        assert!(person.address().ends_with("/sign-in/first"), "{}", person.address());
        person.picture("first-sign-in");
        person.send("/sign-in", &[]);
        person.send("/sign-in/password", &[("chosen", PASSWORD), ("again", PASSWORD)]);
        person.is_at("/");
        person.go("/me");
        person.send("/me/second-factor", &[("present", PASSWORD)]);
        person.is_at("/sign-in/second-factor");
        assert!(!person.address().contains(&password));
    });
}

#[test]
fn the_audit_trail_is_followed_and_paused_and_tables_are_sorted() {
    let (gateway, _erp, first) = with_user("udo", Role::Auditor, None);
    gateway.set_api_key("erp-key-of-the-followed");
    let issued = gateway.issue("acme", &["order-reader"]);
    let token = gateway.token(&issued);
    visit(Script::On, &gateway, |person| {
        person.sign_in_plainly("udo", &first);
        person.go("/audit/tail");
        person.sees("Following");
        gateway.get(&token, "/v1/customers");
        person.wait("a row", || person.texts("[data-tail] tbody tr").iter().any(|row| row.contains("/v1/customers")));
        person.picture("audit-tail");
        person.click("[data-pause]");
        gateway.get(&token, "/v1/nothing");
        person.sees("1 rows are waiting");
        assert!(!person.texts("[data-tail] tbody tr").iter().any(|row| row.contains("/v1/nothing")));
        person.click("[data-pause]");
        person
            .wait("it goes on", || person.texts("[data-tail] tbody tr").iter().any(|row| row.contains("/v1/nothing")));
        // A table is sorted where it is, both ways.
        person.go("/audit");
        let kinds = || person.texts("table[data-sortable] tbody td:nth-child(2)");
        person.wait("rows", || kinds().len() > 3);
        person.click("table[data-sortable] th:nth-child(2) button");
        let sorted = kinds();
        assert!(sorted.is_sorted() && sorted.first() != sorted.last(), "{sorted:?}");
        person.click("table[data-sortable] th:nth-child(2) button");
        assert!(kinds().is_sorted_by(|one, other| one >= other), "{:?}", kinds());
        // A filter is asked without leaving the page, and stands in the address.
        person.ask("/audit", &[("kind", "relay")]);
        person.wait("the filter", || person.address().contains("kind=relay"));
        person.wait("only these", || kinds().iter().all(|kind| kind == "relay"));
        // What changes by itself is asked for again.
        person.go("/");
        person.sees("The API is open.");
        let engage = Command::KillEngage {
            scope: "all".parse().expect("a scope"),
            message: None,
            reason: "inventory".into(),
            until: None,
        };
        gateway.operate(engage).expect("engaged");
        person.runtime.block_on(async {
            let script = "htmx.trigger(document.querySelector('[data-live]'), 'refresh')";
            person.client.execute(script, Vec::new()).await.expect("asked again");
        });
        person.sees("stopped by kill switch");
    });
    gateway.clock.advance(Duration::from_secs(1));
}

/// Who may not do something finds no form for it, and the form that is sent all the same does nothing.
#[test]
fn a_page_offers_to_each_role_what_it_may() {
    let (gateway, _erp, first) = with_user("udo", Role::Auditor, None);
    gateway.issue("acme", &["order-reader"]);
    visit(Script::On, &gateway, |person| {
        person.sign_in_plainly("udo", &first);
        for page in
            ["/accounts/acme", "/credentials", "/users", "/schedules", "/upstreams", "/kill-switch", "/policies"]
        {
            person.go(page);
            person.is_at(page);
            let forms = person.runtime.block_on(person.client.find_all(Locator::Css("main form[method=post]")));
            assert!(forms.expect("found").is_empty(), "{page} offers an auditor to change something");
        }
        person.go("/");
        person.runtime.block_on(async {
            let script = "const form = document.createElement('form'); form.method = 'post';\
                form.action = '/kill-switch/engage';\
                for (const [name, value] of [['scope', 'all'], ['reason', 'mine'], ['typed', 'engage']]) {\
                const field = document.createElement('input'); field.name = name; field.value = value;\
                form.append(field); } document.body.append(form); form.submit();";
            person.client.execute(script, Vec::new()).await.expect("sent");
        });
        person.sees("may not");
        assert_eq!(gateway.operate(Command::KillStatus).expect("told"), serde_json::json!([]));
    });
}
