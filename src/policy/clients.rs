//! `clients:` of a rule: the addresses that it is for.

use std::net::IpAddr;

use ipnet::IpNet;

use super::rules::Effect;
use super::yaml::{Node, Reader};

/// Most entries of one rule.
const MOST: usize = 500;

/// Networks of clients. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Clients(Vec<IpNet>);

impl Clients {
    /// Whether a rule of this effect is for a client.
    ///
    /// SECURITY: where the address is not known an allow rule is not for it, and a deny rule is.
    pub(super) fn meant(&self, client: Option<IpAddr>, effect: Effect) -> bool {
        match (client.map(|address| address.to_canonical()), effect) {
            (Some(address), _) => self.0.iter().any(|network| network.contains(&address)),
            (None, Effect::Allow) => false,
            (None, Effect::Deny) => true,
        }
    }

    /// The networks, as written.
    pub(super) fn networks(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }

    pub(super) fn read(reader: &mut Reader<'_>, node: &Node) -> Option<Self> {
        let items = reader.list(node, "clients")?;
        if items.is_empty() {
            reader.problem(node.place, "`clients` is empty, so the rule is for nobody; remove the key or the rule");
            return None;
        }
        if items.len() > MOST {
            reader.problem(node.place, format!("`clients` has {} entries, {MOST} are allowed", items.len()));
            return None;
        }
        let networks: Vec<_> = items.iter().map(|item| read_one(reader, item)).collect();
        networks.into_iter().collect::<Option<Vec<_>>>().map(Self)
    }
}

fn read_one(reader: &mut Reader<'_>, node: &Node) -> Option<IpNet> {
    let text = reader.text(node, "clients")?;
    match network(text) {
        Ok(network) => Some(network),
        Err(why) => {
            let shown: String = text.chars().take(64).flat_map(char::escape_debug).collect();
            reader.problem(node.place, format!("`clients`: `{shown}` {why}"));
            None
        }
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(
        |_| "is neither a network nor an address; write for example `10.0.0.0/8`, `192.0.2.7` or `\"2001:db8::/32\"`",
    )?;
    if network.trunc() != network {
        return Err(format!("has bits set behind its prefix; did you mean `{}`?", network.trunc()));
    }
    if let IpAddr::V6(address) = network.addr()
        && let Some(inner) = address.to_ipv4_mapped()
    {
        return Err(format!("is an IPv4 address in IPv6 form; clients are known as `{inner}`, so write that"));
    }
    Ok(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(networks: &[&str]) -> Clients {
        Clients(networks.iter().map(|text| network(text).unwrap_or_else(|why| panic!("{text}: {why}"))).collect())
    }

    fn meant(networks: &[&str], client: Option<&str>, effect: Effect) -> bool {
        clients(networks).meant(client.map(|address| address.parse().expect("an address")), effect)
    }

    #[test]
    fn a_rule_is_for_the_clients_in_its_networks_only() {
        for effect in [Effect::Allow, Effect::Deny] {
            assert!(meant(&["10.0.0.0/8", "192.0.2.7"], Some("10.9.8.7"), effect));
            assert!(meant(&["10.0.0.0/8", "192.0.2.7"], Some("192.0.2.7"), effect));
            assert!(!meant(&["10.0.0.0/8", "192.0.2.7"], Some("192.0.2.8"), effect));
            assert!(meant(&["2001:db8::/32"], Some("2001:db8::1"), effect));
            assert!(!meant(&["0.0.0.0/0"], Some("2001:db8::1"), effect));
        }
    }

    #[test]
    fn an_ipv4_client_in_ipv6_form_is_the_same_client() {
        assert!(meant(&["10.0.0.0/8"], Some("::ffff:10.1.2.3"), Effect::Allow));
    }

    #[test]
    fn an_unknown_client_makes_an_allow_rule_not_apply_and_a_deny_rule_apply() {
        assert!(!meant(&["0.0.0.0/0"], None, Effect::Allow));
        assert!(meant(&["192.0.2.7"], None, Effect::Deny));
    }

    #[test]
    fn an_address_that_cannot_be_meant_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("10.0.0.1/8", "did you mean `10.0.0.0/8`?"),
            ("10.0.0.0/33", "neither a network nor an address"),
            ("10.0.0", "neither a network nor an address"),
            ("office", "neither a network nor an address"),
            ("::ffff:10.0.0.1", "write that"),
        ] {
            let why = network(text).expect_err(text);
            assert!(why.contains(hint), "{text}: {why}");
        }
    }
}
