//! What passes between client and ERP.

use crate::support::gateway::Setup;
use crate::support::recorder::Recorder;

#[test]
fn an_allowed_request_reaches_the_erp_with_our_session_and_without_the_clients_credentials() {
    let erp = Recorder::start();
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-side-key-1");
    let issued = gateway.issue("acme", &["order-reader"]);
    let token = gateway.token(&issued);
    let response = gateway.get(&token, "/v1/orders/7?x=1");
    assert_eq!((response.status, response.json()["answered"].as_str()), (200, Some("by the recorder")));
    let seen = erp.take();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0].method.as_str(), seen[0].target.as_str()), ("GET", "/api/orders/7?x=1"));
    assert_eq!(seen[0].header("x-erp-session"), Some("erp-side-key-1"));
    assert!(seen[0].fault.is_none() && seen[0].header("authorization").is_none(), "{seen:?}");
    let row = gateway.row_of(&response);
    assert_eq!(
        (row["decision"].as_str(), row["policy"].as_str(), row["rule"].as_str()),
        (Some("allowed"), Some("order-reader"), Some("read"))
    );
    assert_eq!(row["outcome"]["upstream_status"].as_u64(), Some(200));
}

#[test]
fn what_was_not_granted_does_not_reach_the_erp() {
    let erp = Recorder::start();
    let gateway = Setup::new(erp.address()).start();
    gateway.set_api_key("erp-side-key-1");
    let token = gateway.token(&gateway.issue("acme", &["order-reader"]));
    let response = gateway.relay(&token, "POST", "/v1/orders", Some(b"{}"));
    assert_eq!((response.status, response.code().as_str()), (403, "not_permitted"));
    assert_eq!(erp.count(), 0);
    assert_eq!(gateway.row_of(&response)["code"].as_str(), Some("not_permitted"));
}
