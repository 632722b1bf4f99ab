//! Whether a node filters in iptables.

use super::*;

fn filters(families: &[Family]) -> bool {
    filters_here(&mut Machine::host_only(), families).unwrap()
}

#[test]
fn a_fresh_node_does_not_filter_and_asking_leaves_no_trace() {
    namespace(|| {
        assert!(!filters(&FAMILIES));
        assert_eq!(shell("nft list ruleset"), "");
        assert_eq!(shell("cat /proc/thread-self/net/ip_tables_names"), "");
    });
}

#[test]
fn any_rule_and_any_policy_but_accept_filter() {
    for rule in ["-A FORWARD -j ACCEPT", "-A FORWARD -p tcp -j REJECT", "-A FORWARD", "-P FORWARD DROP"] {
        both(|| {
            shell("iptables -A INPUT -j DROP; ip6tables -A OUTPUT -j DROP; iptables -P FORWARD ACCEPT");
            assert!(!filters(&FAMILIES), "before {rule}");
            shell(&format!("ip6tables {rule}"));
            assert!(filters(&FAMILIES) && filters(&[Family::V6]), "{rule}");
            assert!(!filters(&[Family::V4]), "{rule} is for IPv6");
        });
    }
}

#[test]
fn rules_of_nft_in_the_chain_of_iptables_count() {
    namespace(|| {
        shell(
            "nft add table ip filter; nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
        );
        assert!(filters(&FAMILIES));
    });
}

/// Containers that have come and gone do not nail the node to iptables, and neither do those of the Go suite that live.
#[test]
fn ones_own_rules_do_not_count() {
    both(|| {
        node();
        add(&owner("n1", "cid1"), Policy::Open, &IPS);
        assert!(!filters(&FAMILIES));
        go_well("firewall", "ADD", "cid2", &["10.77.0.3/24"], r#""backend": "iptables","#);
        assert!(!filters(&FAMILIES));
        shell("iptables -A CNI-ADMIN -s 192.0.2.1 -j DROP");
        assert!(!filters(&FAMILIES), "what the administrator drops is dropped for all");
        shell("iptables -A CNI-FORWARD -j DROP");
        assert!(filters(&FAMILIES), "now it matters to have a rule in front of this one");
        shell("iptables -D CNI-FORWARD -j DROP; iptables -N MORE; iptables -A CNI-FORWARD -j MORE");
        assert!(filters(&FAMILIES), "nobody knows what is there");
    });
}

#[test]
fn a_bridge_under_a_policy_counts_as_long_as_it_is() {
    both(|| {
        let owner = owner("n1", "cid1");
        add(&owner, Policy::SameBridge, &IPS[..1]);
        assert!(filters(&FAMILIES));
        del(&owner, &[]);
        assert!(!filters(&FAMILIES));
    });
}

/// Another's programs made a table here, and this node has none.
#[test]
fn a_legacy_table_without_a_program_does_not_count() {
    namespace(|| {
        shell("iptables-legacy -P FORWARD DROP; mount -t tmpfs tmpfs /usr/sbin");
        assert!(!filters(&FAMILIES));
    });
}
