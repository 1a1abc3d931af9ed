//! Peers, and what is chosen where nothing is said.

use std::time::Duration;

use super::super::{Balance, Connections, HttpVersion, Upstream};
use super::{read, setting};

fn erp(keys: &str) -> Upstream {
    let config = read(&format!("upstreams: {{ erp: {{ {keys} }} }}\n")).unwrap_or_else(|errors| panic!("{errors}"));
    config.upstreams.into_values().next().expect("one")
}

#[test]
fn one_entry_is_tried_in_order_and_several_take_turns() {
    // One name with two addresses: what a name stands for is not ours to balance unless somebody says so.
    let one = erp("peers: [erp.internal:80]");
    assert_eq!((one.peers.len(), one.balance), (2, Balance::InOrder));
    assert_eq!(erp("peers: [192.0.2.1:80, 192.0.2.2:80]").balance, Balance::RoundRobin);
    assert_eq!(erp("peers: [erp.internal:80], balance: least_connections").balance, Balance::LeastConnections);
}

#[test]
fn weight_belongs_to_each_address_of_an_entry() {
    let erp = erp("peers: [{ address: \"erp.internal:80\", weight: 3 }, 192.0.2.1:80, 192.0.2.10:80]");
    let weights: Vec<_> = erp.peers.iter().map(|peer| (peer.address.to_string(), peer.weight)).collect();
    let expected = [("192.0.2.10:80", 3), ("192.0.2.11:80", 3), ("192.0.2.1:80", 1)];
    assert_eq!(weights, expected.map(|(address, weight)| (address.to_owned(), weight)), "the first mention counts");
}

#[test]
fn peers_are_shown_as_they_are_written() {
    let text = "upstreams: { erp: { peers: [\"192.0.2.1:80\", { address: \"192.0.2.2:80\", weight: 2 }] } }\n";
    let config = read(text).expect("right");
    let (shown, _) = setting(&config, "upstreams.erp.peers");
    assert_eq!(shown, "[\"192.0.2.1:80\", { address: \"192.0.2.2:80\", weight: 2 }]");
}

#[test]
fn what_is_not_said_is_off_or_usual() {
    let erp = erp("peers: [erp.internal:443], tls: { server_name: x }");
    let tls = erp.tls.as_ref().expect("tls");
    assert!(tls.client_certificate.is_none() && tls.ca_file.is_none());
    assert_eq!((erp.http_version, erp.timeouts.total), (HttpVersion::One, None));
    assert_eq!((erp.ejection.failures, erp.ejection.pause), (5, Duration::from_secs(10)));
    assert!(erp.health_check.is_none());
    assert_eq!(erp.connections, Connections::Shared);
}
