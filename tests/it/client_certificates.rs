//! Client certificates: whom they are demanded of, and what is recorded of them.

use erp_access::control::Command;
use erp_access::domain::Fingerprint;
use serde_json::{Value, json};

use crate::support::certificates::{Authority, Issued, Validity};
use crate::support::gateway::{Gateway, Setup};
use crate::support::http2_client::{Dial, Http2Client};
use crate::support::recorder::Recorder;

const HOST: &str = "api.example";

struct Scene {
    erp: Recorder,
    servers: Authority,
    clients: Authority,
    gateway: Gateway,
}

impl Scene {
    fn new() -> Self {
        let erp = Recorder::answering("application/json", &[], b"[]");
        let (servers, clients) = (Authority::new("of servers"), Authority::new("of clients"));
        let certificate = servers.issue(HOST, Validity::Now);
        let gateway = Setup::new(erp.address()).start_with_client_certificates(&certificate, Some(&clients));
        gateway.set_api_key("erp-key-behind-certificates");
        Self { erp, servers, clients, gateway }
    }

    fn connect(&self, shows: Option<&Issued>) -> Result<Http2Client, String> {
        let dial = Dial { authority: &self.servers, name: HOST, shows };
        Http2Client::try_connect(self.gateway.tls.expect("TLS is spoken"), &dial)
    }

    /// Status and code of a relay with this token.
    fn relay(&self, shows: Option<&Issued>, token: &str) -> (u16, String) {
        let bearer = format!("Bearer {token}");
        let mut client = self.connect(shows).expect("a connection");
        let answer = client.ask("GET", "/v1/orders", &[("authorization", &bearer)], None);
        let told: Value = serde_json::from_slice(&answer.body).expect("JSON");
        (answer.status, told["code"].as_str().unwrap_or_default().to_owned())
    }
}

fn fingerprint(issued: &Issued) -> Fingerprint {
    issued.fingerprint().parse().expect("a fingerprint")
}

#[test]
fn a_set_or_an_account_may_demand_a_certificate() {
    let scene = Scene::new();
    let own = scene.clients.issue("shop.example", Validity::Now);
    let other = scene.clients.issue("other.example", Validity::Now);
    let set = scene.gateway.issue("acme", &["order-reader"]);
    let free = scene.gateway.issue("free", &["order-reader"]);
    let (token, freely) = (scene.gateway.token(&set), scene.gateway.token(&free));
    let refused = (401, "credentials_invalid".to_owned());
    let served = (200, String::new());
    assert_eq!(scene.relay(None, &token), served, "none is demanded");
    let account = "acme".parse().expect("a name");
    let (first, both) = (vec![fingerprint(&own)], vec![fingerprint(&other), fingerprint(&own)]);
    for demand in [
        Command::CredentialCertificates { id: set.id, certificates: first.clone() },
        Command::AccountCertificates { name: account, certificates: both },
    ] {
        scene.gateway.operate(demand).expect("demanded");
        assert_eq!(scene.relay(Some(&own), &token), served);
        assert_eq!(scene.relay(Some(&other), &token), refused, "one of the set's is demanded");
        assert_eq!(scene.relay(None, &token), refused);
        assert_eq!(scene.relay(None, &freely), served, "of nobody else");
        assert_eq!(scene.gateway.get(&token, "/v1/orders").status, 401, "nor over the plain listener");
    }
    // The token endpoint demands it too.
    let basic = set.basic();
    let ask = |shows| {
        let headers = [("authorization", basic.as_str()), ("x-api-key", set.api_key.as_str())];
        let answer = scene.connect(shows).expect("a connection").ask("POST", "/oauth/token", &headers, Some(b""));
        let told: Value = serde_json::from_slice(&answer.body).expect("JSON");
        if let Some(token) = told["access_token"].as_str() {
            scene.gateway.note_secret(token);
        }
        (answer.status, told["error"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(ask(Some(&own)), (200, String::new()));
    assert_eq!(ask(Some(&other)), (401, "invalid_client".to_owned()));
    assert_eq!(ask(None), (401, "invalid_client".to_owned()));

    let shown = format!("certificate={}", own.fingerprint());
    for (kind, at_least) in [("relay", 11), ("token_attempt", 5)] {
        let rows = scene.gateway.audit(kind, at_least);
        let with = rows.iter().filter(|row| row["tls"].as_str().is_some_and(|tls| tls.ends_with(&shown)));
        assert!(with.clone().count() > 0 && with.clone().all(|row| row["decision"] == "allowed"), "{rows:#?}");
        let reasons = serde_json::to_string(&rows).expect("JSON");
        for told in ["demands a client certificate, and none was shown", "is not one that is demanded"] {
            assert!(reasons.contains(told), "{kind}: {told}");
        }
    }
    let none = Command::CredentialCertificates { id: set.id, certificates: Vec::new() };
    let answer = scene.gateway.operate(none).expect("changed");
    assert_eq!(answer["certificates"], json!([]));
    assert_eq!(scene.relay(Some(&other), &token), served, "the account's list has both");
    assert_eq!(scene.erp.count(), 6);
}

#[test]
fn what_no_authority_of_ours_has_signed_is_no_certificate() {
    let scene = Scene::new();
    let strangers = Authority::new("of strangers");
    let forged = strangers.issue("shop.example", Validity::Now);
    let expired = scene.clients.issue("shop.example", Validity::Past);
    for shown in [&forged, &expired] {
        let tried = scene.connect(Some(shown)).and_then(|mut client| client.try_ask("GET", "/status", &[], None));
        assert!(tried.is_err(), "{tried:?}");
    }
    // Authorities that are renewed are taken over with the certificates.
    let folder = scene.gateway.folder.path();
    std::fs::write(folder.join("clients.pem"), strangers.certificate().to_pem().expect("PEM")).expect("written");
    scene.gateway.control().reload(Some(&erp_access::domain::Actor::System));
    assert_eq!(scene.connect(Some(&forged)).expect("a connection").ask("GET", "/status", &[], None).status, 200);
}
