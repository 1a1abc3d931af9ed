//! Clients, and what each role reaches, in a real Chromium.

use std::fmt::Write as _;
use std::time::Duration;

use erp_access::control::Command;
use erp_access::domain::Role;
use fantoccini::Locator;
use serde_json::Value;

use crate::browser::{Person, Script, visit, with_user};
use crate::portal::{PASSWORD, routes};
use crate::support::gateway::{Gateway, Issued};
use crate::support::golden;

impl Person<'_> {
    /// The status with which the page that is shown was answered.
    fn status(&self) -> u64 {
        let asked = "return performance.getEntriesByType('navigation')[0].responseStatus";
        let answer = self.runtime.block_on(self.client.execute(asked, Vec::new())).expect("asked");
        answer.as_u64().unwrap_or_else(|| panic!("{answer} is no status"))
    }

    /// Opens the menu's pages, one after the other, by its links.
    fn menu(&self) -> Vec<String> {
        self.runtime.block_on(async {
            let mut texts = Vec::new();
            for link in self.client.find_all(Locator::Css("nav a")).await.expect("links") {
                texts.push(link.text().await.expect("a text"));
            }
            texts
        })
    }
}

/// What a client does by itself with a credential set of its own.
fn a_day(person: &Person<'_>, own: &Issued) {
    let gateway = person.gateway;
    assert_eq!(person.menu(), ["Overview", "Credential sets", "API", "Guide", "Audit", "Security"]);
    person.sees("The API is open until");
    person.picture("client-overview");
    person.follow("API");
    person.is_at("/api");
    person.sees("customers.list");
    person.picture("client-api");
    person.ask("/api", &[("text", "stock")]);
    person.wait("only these", || !person.text().contains("customers.list") && person.text().contains("stock.read"));
    person.follow("How to get a token");
    person.is_at("/guide");
    person.sees("Python");
    person.picture("client-guide");
    let page = format!("/credentials/{}", own.id);
    person.go(&page);
    person.sees("What it may call");
    person.picture("client-credential-set");
    person.send(&format!("{page}/rotate"), &[("overlap", "86400")]);
    let password = person.value("Password");
    gateway.note_secret(&password);
    let api_key = person.value("x-api-key");
    gateway.note_secret(&api_key);
    let new = Issued { id: own.id, password, api_key };
    person.send(&format!("{page}/stored"), &[("stored", "")]);
    person.is_at(&page);
    person.sees("The former secrets serve still");
    for set in [own, &new] {
        assert_eq!(gateway.ask_for_token(set).status, 200, "both serve for a while");
    }
    person.send(&format!("{page}/rotate-end"), &[]);
    person.wait("the former ones are over", || !person.text().contains("The former secrets serve still"));
    assert_eq!(gateway.ask_for_token(own).status, 401);
    let token = gateway.token(&new);
    person.go(&page);
    person.send(&format!("{page}/end-tokens"), &[]);
    person.wait("tokens end", || !person.text().contains("End all live tokens"));
    assert_eq!(gateway.get(&token, "/v1/customers").code(), "token_invalid");
    person.go("/audit");
    person.sees("/v1/customers");
    person.picture("client-audit");
    person.send_disable(&page);
    person.sees("disabled");
    assert_eq!(gateway.ask_for_token(&new).status, 401);
    person.go("/security");
    person.picture("client-security");
}

impl Person<'_> {
    fn send_disable(&self, page: &str) {
        self.go(page);
        self.send(&format!("{page}/disable"), &[]);
    }
}

/// Of another tenant nothing is there: its addresses answer like those of what never was.
fn nothing_of_others(person: &Person<'_>, gateway: &Gateway, others: &Issued) {
    let nobodys = "019ab7c2-7d3e-7cc1-8b1f-0242ac120099";
    let rows = gateway.audit("relay", 7);
    let row = rows.iter().find(|row| row["credential"] == others.id.to_string()).expect("a row of the other");
    let row = row["id"].as_str().expect("an id").to_owned();
    let other = others.id.to_string();
    let pairs = [
        (format!("/credentials/{other}"), format!("/credentials/{nobodys}")),
        (format!("/api?credential={other}"), format!("/api?credential={nobodys}")),
        (format!("/credentials/{other}/openapi.json"), format!("/credentials/{nobodys}/openapi.json")),
        (format!("/audit/{row}"), format!("/audit/{nobodys}")),
    ];
    for (foreign, missing) in pairs {
        let seen = [(&foreign, &other), (&missing, &nobodys.to_owned())].map(|(target, id)| {
            person.go(target);
            person.sees("ERP Access");
            person.text().replace(id, "…").replace(&row, "…")
        });
        assert_eq!(seen[0], seen[1], "{foreign}");
        assert!(!seen[0].contains("globex"), "{foreign}: {}", seen[0]);
    }
    for page in ["/", "/credentials", "/api", "/audit", "/audit?account=globex", "/security"] {
        person.go(page);
        person.sees("ERP Access");
        let text = person.text();
        assert!(!text.contains(&other) && (page.contains("globex") || !text.contains("globex")), "{page}: {text}");
    }
    // A form that is made up does nothing.
    if person.pictures.is_some() {
        person.runtime.block_on(async {
            let script = "const form = document.createElement('form'); form.method = 'post';\
                form.action = arguments[0]; document.body.append(form); form.submit();";
            let target = Value::from(format!("/credentials/{other}/disable"));
            person.client.execute(script, vec![target]).await.expect("sent");
        });
        person.sees("there is no credential set");
    }
    let shown = gateway.operate(Command::CredentialShow { id: others.id }).expect("shown");
    assert_eq!(shown["state"], "active");
}

fn clients(script: Script) {
    let (gateway, _erp, first) = with_user("carla", Role::Client, Some("acme"));
    gateway.set_api_key("erp-key-of-the-client");
    let own = gateway.issue("acme", &["order-reader"]);
    let others = gateway.issue("globex", &["order-reader"]);
    for (set, requests) in [(&own, 3), (&others, 4)] {
        let token = gateway.token(set);
        for _ in 0..requests {
            gateway.get(&token, "/v1/customers");
        }
        gateway.clock.advance(Duration::from_mins(2));
    }
    visit(script, &gateway, |person| {
        person.sign_in_plainly("carla", &first);
        nothing_of_others(person, &gateway, &others);
        person.go("/");
        a_day(person, &own);
    });
}

#[test]
fn a_client_looks_after_its_own_and_finds_nothing_of_another_tenant() {
    clients(Script::On);
}

#[test]
fn a_client_does_the_same_without_javascript() {
    clients(Script::Off);
}

/// What the picture of a page is called, as in `accounts-name`.
fn name_of(path: &str) -> String {
    let words = path.trim_matches('/').split('/').map(|part| match part {
        "acme" => "name",
        part if part.starts_with("0189") => "id",
        part if part.starts_with("0000") => "hash",
        part => part,
    });
    let name = words.collect::<Vec<_>>().join("-");
    if name.is_empty() { "home".to_owned() } else { name }
}

/// Which page answers which role with what, as a browser gets it. What is agreed is in a file.
#[test]
fn each_role_reaches_its_pages_and_no_others() {
    let (gateway, _erp, first) = with_user("anna", Role::Admin, None);
    let issued = gateway.issue("acme", &["order-reader"]);
    let mut people = vec![("anna", Role::Admin, first)];
    for (name, role, account) in
        [("olga", Role::Operator, None), ("udo", Role::Auditor, None), ("carla", Role::Client, Some("acme"))]
    {
        let account = account.map(|name: &str| name.parse().expect("a name"));
        let created = gateway.operate(Command::UserCreate { name: name.into(), role, account }).expect("created");
        let first = created["password"].as_str().expect("a password").to_owned();
        gateway.note_secret(&first);
        people.push((name, role, first));
    }
    gateway.note_secret(PASSWORD);
    let set = issued.id.to_string();
    let row = gateway.audit("change", 1)[0]["id"].as_str().expect("an id").to_owned();
    let hash = gateway.control().policies.current().hash().to_string();
    let pages: Vec<(String, String)> = routes()
        .into_iter()
        // A stream of rows never ends, and a file is no page.
        .filter(|(form, path)| {
            !form && path != "/audit/tail/rows" && path != "/guide/curl.sh" && !path.contains("openapi")
        })
        .map(|(_, path)| {
            let target = match path.as_str() {
                path if path.starts_with("/credentials/0189") => {
                    path.replace("01890000-0000-7000-8000-000000000000", &set)
                }
                "/api" => format!("/api?credential={set}"),
                "/policies/explain" => format!("/policies/explain?credential={set}&method=GET&target=/v1/orders"),
                "/endpoints/01890000-0000-7000-8000-000000000000" => "/endpoints/orders.list".to_owned(),
                path if path.starts_with("/audit/0189") => format!("/audit/{row}"),
                path if path.starts_with("/policies/versions/0000") => format!("/policies/versions/{hash}"),
                "/users/acme" => "/users/udo".to_owned(),
                "/policies/file" => "/policies/file?path=order-reader.yaml".to_owned(),
                "/policies/draft" => "/policies/draft?file=order-reader.yaml".to_owned(),
                path => path.to_owned(),
            };
            (path, target)
        })
        .collect();
    let mut reached: Vec<Vec<u64>> = vec![Vec::new(); pages.len()];
    let mut visited = false;
    for (name, role, first) in &people {
        visit(Script::On, &gateway, |person| {
            visited = true;
            if *role == Role::Admin {
                person.sign_in(first);
            } else {
                person.sign_in_plainly(name, first);
            }
            for ((path, target), reached) in pages.iter().zip(&mut reached) {
                person.go(target);
                let status = person.status();
                reached.push(status);
                // Whoever sees most sees every page; a client's own are looked at where it works with them.
                if *role == Role::Admin && status == 200 {
                    person.picture(&name_of(path));
                }
            }
        });
    }
    if !visited {
        return;
    }
    let mut told = format!("{:<56}{:>6}{:>9}{:>9}{:>8}\n", "page", "admin", "operator", "auditor", "client");
    for ((path, _), reached) in pages.iter().zip(&reached) {
        let _ = writeln!(told, "{path:<56}{:>6}{:>9}{:>9}{:>8}", reached[0], reached[1], reached[2], reached[3]);
    }
    golden::assert_kept("tests/golden/portal-pages.txt", &told);
}
