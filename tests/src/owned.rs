//! Which facts belong to one attachment, rather than to a network, to the namespace itself or to the story's stage.

use crate::{conntrack, node};

/// Whether a fact of a state belongs to an attachment.
pub(crate) fn is_owned(fact: &str) -> bool {
    let (place, fact) = fact.split_once(": ").expect("a fact has a place");
    let (kind, rest) = fact.split_once(' ').expect("a fact has a kind");
    if place == node::REMOTE {
        return false;
    }
    match kind {
        "link" => is_link_of_attachment(rest),
        "iptables-save" | "ip6tables-save" | "iptables-legacy-save" | "ip6tables-legacy-save" => !is_shared_rule(rest),
        "rule" => !rest.contains(r#""protocol":"kernel""#),
        "nft" => is_nft_of_attachment(rest),
        "file" => is_file_of_attachment(rest),
        "address" => place != "node" && !rest.starts_with("lo "),
        "route" => place != "node" && !rest.contains(r#""dev":"lo""#),
        "sysctl" => place != "node" && !rest.contains(".conf."),
        "conntrack" => conntrack::is_mapped(fact),
        "qdisc" | "filter" => true,
        _ => false,
    }
}

fn is_link_of_attachment(rest: &str) -> bool {
    let Some((name, kind)) = rest.split_once(" kind=") else { return false };
    kind != "bridge" && name != "lo" && name != node::UPLINK
}

/// Chains that are made with the first attachment of a node and stay.
const SHARED_CHAINS: [&str; 10] = [
    "CNI-ADMIN",
    "CNI-FORWARD",
    "CNI-HOSTPORT-DNAT",
    "CNI-HOSTPORT-MASQ",
    "CNI-HOSTPORT-SETMARK",
    "CNI-HOSTPORT-SNAT",
    "CNI-ISOLATION-STAGE-1",
    "CNI-ISOLATION-STAGE-2",
    "XNET-FORWARD",
    "XNET-HOSTPORT",
];

/// `nat chain NAME`, or `nat #1 -A CHAIN ... -j TARGET`.
fn is_shared_rule(rest: &str) -> bool {
    let words: Vec<&str> = rest.split(' ').collect();
    match words[..] {
        [_, "chain", chain] => SHARED_CHAINS.contains(&chain),
        [_, _, "-A", chain, ..] if is_chain_of_attachment(chain) => false,
        [_, _, "-A", "CNI-HOSTPORT-MASQ" | "CNI-HOSTPORT-SETMARK", ..] => true,
        [.., "-j", target] => SHARED_CHAINS.contains(&target) || rest.contains("\"CNI firewall plugin "),
        _ => false,
    }
}

/// `CNI-DN-...`, `CNI-SN-...` and `CNI-` with the digits of a hash.
fn is_chain_of_attachment(chain: &str) -> bool {
    chain.len() == "CNI-".len() + 24 && !SHARED_CHAINS.contains(&chain)
}

/// Tables of the Go suite, and their chains whose rules are each about one attachment.
const GO_TABLES: [&str; 2] = ["cni_hostport", "cni_plugins_masquerade"];
const GO_CHAINS: [&str; 4] = ["hostports", "hostip_hostports", "masquerading", "masq_checks"];

/// Elements always; rules and chains when they name an owner, which the static ones do not.
fn is_nft_of_attachment(rest: &str) -> bool {
    let has = |key: &str, values: &[&str]| values.iter().any(|value| rest.contains(&format!(r#""{key}":"{value}""#)));
    rest.starts_with("element ")
        || [", net: ", "macspoofchk-", "cni-br-iface-"].iter().any(|mark| rest.contains(mark))
        || (rest.starts_with("rule ") && has("table", &GO_TABLES) && has("chain", &GO_CHAINS))
}

/// All but what a pool keeps for the next allocation; hidden files are caches.
fn is_file_of_attachment(rest: &str) -> bool {
    let path = rest.split(" mode=").next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    name != "lock" && !name.starts_with("last_reserved_ip.") && !path.contains("/.")
}

#[cfg(test)]
mod tests {
    use super::is_owned;

    #[test]
    fn chains_and_rules_of_iptables() {
        for shared in [
            "nat chain CNI-HOSTPORT-DNAT",
            r#"nat #1 -A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ"#,
            "nat #1 -A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
            "nat #1 -A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
            r#"filter #1 -A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j ZORK"#,
            r#"filter #1 -A CNI-ISOLATION-STAGE-1 -m comment --comment "CNI firewall plugin rules (x)" -j RETURN"#,
        ] {
            assert!(!is_owned(&format!("node: iptables-save {shared}")), "{shared}");
        }
        for owned in [
            "nat chain CNI-DN-ca7a875c2b85fc44a8551",
            "nat #1 -A CNI-DN-ca7a875c2b85fc44a8551 -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK",
            "nat #1 -A CNI-HOSTPORT-DNAT -p tcp -m multiport --dports 8080 -j CNI-DN-ca7a875c2b85fc44a8551",
            "filter #2 -A CNI-FORWARD -s 10.77.0.2/32 -j ACCEPT",
            r#"filter #1 -A XNET-FORWARD -s 10.77.0.2/32 -m comment --comment "43d9-0b65, net: net""#,
        ] {
            assert!(is_owned(&format!("node: iptables-save {owned}")), "{owned}");
        }
    }

    #[test]
    fn rules_of_nftables() {
        let rule = |table: &str, chain: &str| {
            format!(r#"node: nft rule #1 {{"family":"ip","table":"{table}","chain":"{chain}","expr":[]}}"#)
        };
        assert!(is_owned(&rule("cni_hostport", "hostports")));
        assert!(!is_owned(&rule("cni_hostport", "hostports_all")));
        assert!(!is_owned(&rule("xnet_portmap", "hostports")));
    }
}
