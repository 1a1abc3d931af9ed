//! The gateway in front of a real ERP: Tryton 8.2, with a JSON-RPC session.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::gateway::Setup;
use crate::support::http::{self, Response};
use crate::support::process::{self, Serving};
use crate::support::secrets::assert_nothing_secret;
use crate::support::tryton::Tryton;

/// How Tryton signs in: the answer holds user id and token, each request carries both.
const SESSION: &str = "    session:
      steps:
        - path: /erp/rpc/
          json:
            id: 1
            method: common.db.login
            params: [\"{{username}}\", { password: \"{{password}}\" }, en]
          success: { status: [200], present: [/result], absent: [/error] }
          extract: { uid: /result/0, token: /result/1 }
      inject:
        headers:
          Authorization: Session base64({{username}}:{{uid}}:{{token}})
      lost: { status: [401] }
";

const ENDPOINTS: &str = "version: 1
upstream: erp
endpoints:
  - id: parties.search
    methods: [POST]
    path: /v1/rpc
    upstream_path: /erp/rpc/
    body:
      max_bytes: 65536
      where: { /method: [model.party.party.search_read] }
";

const POLICY: &str = "version: 1
policy: party-reader
schedule: exempt
rules:
  - { id: search, allow: [parties.search] }
";

fn rpc(address: SocketAddr, token: &str, method: &str, params: &Value) -> Response {
    let body = json!({ "id": 7, "method": method, "params": params }).to_string();
    let bearer = format!("Bearer {token}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    http::once(address, "POST", "/v1/rpc", &headers, Some(body.as_bytes()))
}

fn search() -> Value {
    json!([[], 0, 10, null, ["name", "code"], {}])
}

fn names(response: &Response) -> Vec<String> {
    assert_eq!(response.status, 200, "{}", response.text());
    let answer = response.json();
    let parties = answer["result"].as_array().unwrap_or_else(|| panic!("{answer}"));
    parties.iter().map(|party| party["name"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn an_integrator_reads_parties_of_a_real_tryton_and_nothing_secret_is_left_behind() {
    let Some(tryton) = Tryton::start() else { return };
    let mut setup = Setup::new(tryton.address())
        .session(SESSION)
        .policy("endpoints/erp.yaml", ENDPOINTS)
        .policy("party-reader.yaml", POLICY)
        .config("log:\n  level: debug\n");
    setup.policies.retain(|name, _| matches!(*name, "endpoints/erp.yaml" | "party-reader.yaml" | "schedule.yaml"));
    let folder = setup.write();
    let serving = Serving::start(folder.path());
    let run = |arguments: &[&str], input: &str| process::succeed(folder.path(), arguments, input);
    run(&["upstream", "secret", "set", "erp", "--username", "admin"], tryton.password());
    run(&["account", "create", "acme"], "");
    let issued = run(
        &["credential", "issue", "--account", "acme", "--name", "shop", "--grant", "party-reader", "-o", "json"],
        "",
    );
    let issued: Value = serde_json::from_str(&issued).expect("JSON");
    let text = |key: &str| issued[key].as_str().expect("a text").to_owned();
    let (password, api_key) = (text("password"), text("api_key"));
    let basic = format!("Basic {}", STANDARD.encode(format!("{}:{password}", text("client_id"))));
    let headers = [("Authorization", basic.as_str()), ("x-api-key", api_key.as_str())];
    let token = http::once(serving.address, "POST", "/oauth/token", &headers, Some(b""));
    let token = token.json()["access_token"].as_str().expect("a token").to_owned();

    let found = names(&rpc(serving.address, &token, "model.party.party.search_read", &search()));
    assert_eq!(found, ["ACME GmbH", "Beta BV", "Gamma SA"]);

    let before = tryton.parties();
    let denied = rpc(serving.address, &token, "model.party.party.create", &json!([[{ "name": "Evil Ltd" }], {}]));
    assert_eq!((denied.status, denied.code().as_str()), (403, "not_permitted"));
    assert_eq!(tryton.parties(), before);

    let mut erp_tokens = tryton.session_tokens();
    tryton.lose_all_sessions();
    let found = names(&rpc(serving.address, &token, "model.party.party.search_read", &search()));
    assert_eq!(found.len(), 3, "the lost session is renewed and the client does not notice");
    erp_tokens.extend(tryton.session_tokens());
    assert!(erp_tokens.len() >= 2, "{erp_tokens:?}");

    let audit = run(&["audit", "search", "--last", "20"], "");
    assert!(audit.contains("party-reader/search") && audit.contains("not_permitted"), "{audit}");
    let id = denied.header("x-request-id").expect("an id").to_owned();
    let shown = run(&["audit", "show", &id], "");
    assert!(shown.contains("no endpoint on this path has a condition that fits the body"), "{shown}");

    let mut secrets = erp_tokens;
    secrets.extend([tryton.password().to_owned(), token, password, api_key]);
    let outputs = format!("{audit}{shown}{}", process::log(folder.path()));
    assert!(serving.terminate());
    assert_nothing_secret(folder.path(), &secrets, &outputs);
}
