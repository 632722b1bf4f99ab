//! Bridges under a policy: as long as somebody wants that, and no longer.

use super::*;

/// The suite at hand has the policy `same-bridge` only, and names it alone in every comment.
#[test]
fn same_bridge_is_the_go_suites_to_the_byte() {
    let theirs = namespace(|| {
        node();
        go_well("firewall", "ADD", "cid1", &IPS, r#""backend": "iptables", "ingressPolicy": "same-bridge","#);
        everything()
    });
    namespace(|| {
        add(&owner("n1", "cid1"), Policy::SameBridge, &IPS);
        let ours = everything().map(|rules| {
            rules.iter().map(|rule| rule.replace("same-bridge|isolated", "same-bridge")).collect::<Vec<_>>()
        });
        assert_eq!(ours, theirs);
    });
}

#[test]
fn isolated_is_as_documented() {
    namespace(|| {
        add(&owner("n1", "cid1"), Policy::Isolated, &IPS[..1]);
        add(&owner("n1", "cid1"), Policy::Isolated, &IPS[..1]);
        insta::assert_snapshot!(rules(Family::V4, FILTER).join("\n"), @r#"
        :CNI-ADMIN - [0:0]
        :CNI-FORWARD - [0:0]
        :CNI-ISOLATION-STAGE-1 - [0:0]
        :CNI-ISOLATION-STAGE-2 - [0:0]
        -A FORWARD -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j CNI-ISOLATION-STAGE-1
        -A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
        -A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
        -A CNI-FORWARD -d 10.77.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
        -A CNI-FORWARD -s 10.77.0.2/32 -j ACCEPT
        -A CNI-ISOLATION-STAGE-1 -i br0 -o br0 -m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)" -j DROP
        -A CNI-ISOLATION-STAGE-1 -i br0 ! -o br0 -m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)" -j CNI-ISOLATION-STAGE-2
        -A CNI-ISOLATION-STAGE-1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN
        -A CNI-ISOLATION-STAGE-2 -o br0 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j DROP
        -A CNI-ISOLATION-STAGE-2 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN
        "#);
        insta::assert_snapshot!(notes(Family::V4, FILTER).join("\n"), @r#"
        -A XNET-FORWARD -s 10.77.0.2/32 -m comment --comment "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1"
        -A XNET-FORWARD -i br0 -o br0 -m comment --comment "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1"
        "#);
    });
}

fn about(bridge: &str) -> Vec<String> {
    everything().concat().into_iter().filter(|rule| rule.contains(&format!(" {bridge} "))).collect()
}

#[test]
fn the_last_one_takes_the_policy_away() {
    both(|| {
        let (one, other) = (owner("n1", "cid1"), owner("n1", "cid2"));
        add(&one, Policy::SameBridge, &["10.77.0.2/24", "fd00::2/64"]);
        let rules = about("br0");
        assert_eq!(rules.len(), 4);
        add(&other, Policy::SameBridge, &["10.77.0.3/24"]);
        assert_eq!(about("br0"), rules);
        del(&one, &[]);
        assert_eq!(check(&other, Policy::SameBridge, &["10.77.0.3/24"]), None);
        assert_eq!(about("br0"), rules[..2], "nobody wants it for IPv6 any more");
        del(&other, &[]);
        assert_eq!(about("br0"), NONE);
        let left = everything().concat();
        assert!(left.iter().any(|rule| rule.starts_with("-A CNI-ISOLATION-STAGE-1")), "what is shared stays: {left:?}");
    });
}

/// Two networks may be on one bridge, one of them isolated.
#[test]
fn each_policy_goes_with_the_last_who_wants_it() {
    both(|| {
        let (same, isolated) = (owner("n1", "cid1"), owner("n2", "cid2"));
        add(&same, Policy::SameBridge, &["10.77.0.2/24"]);
        let before = about("br0");
        add(&isolated, Policy::Isolated, &["10.77.0.3/24"]);
        assert!(about("br0").iter().any(|rule| rule.contains("-i br0 -o br0")));
        del(&isolated, &[]);
        assert_eq!(about("br0"), before);
        add(&isolated, Policy::Isolated, &["10.77.0.3/24"]);
        del(&same, &[]);
        assert_eq!(check(&isolated, Policy::Isolated, &["10.77.0.3/24"]), None);
        assert!(!about("br0").iter().any(|rule| rule.contains("ingressPolicy: same-bridge)")));
    });
}

/// An attachment of the Go suite notes nothing. Its rules for its address, or its port, tell of it.
#[test]
fn a_bridge_with_strangers_stays_under_its_policy() {
    both(|| {
        node();
        let owner = owner("n1", "cid1");
        let policy = r#""backend": "iptables", "ingressPolicy": "same-bridge","#;
        go_well("firewall", "ADD", "go", &["10.77.0.9/24"], policy);
        add(&owner, Policy::SameBridge, &IPS[..1]);
        let before = about("br0");
        del(&owner, &[]);
        assert_eq!(about("br0"), before);
        collect("n1", &[]);
        assert_eq!(about("br0"), before);
        // One with another back end has a port only.
        go_well("firewall", "DEL", "go", &["10.77.0.9/24"], policy);
        shell("ip link add port type veth peer name far; ip link set port master br0");
        collect("n1", &[]);
        assert_eq!(about("br0"), before);
        let tag = owner.tag();
        shell(&format!("ip link set port alias '{tag}'"));
        add(&owner, Policy::SameBridge, &IPS[..1]);
        collect("n1", &["cid1"]);
        assert!(!about("br0").is_empty(), "somebody wants it");
        del(&owner, &[]);
        assert_eq!(about("br0"), NONE, "the port is ours, and wants no policy");
    });
}

/// The Go suite never removes what it made for a bridge.
#[test]
fn what_is_for_an_empty_bridge_is_collected() {
    both(|| {
        node();
        let policy = r#""backend": "iptables", "ingressPolicy": "same-bridge","#;
        go_well("firewall", "ADD", "go", &IPS, policy);
        go_well("firewall", "DEL", "go", &IPS, policy);
        assert!(!about("br0").is_empty());
        collect("another", &[]);
        assert_eq!(about("br0"), NONE);
    });
}

/// One comes while the last of the others goes: it must find itself under its policy, always.
#[test]
fn those_who_come_do_not_lose_the_policy_to_those_who_go() {
    both(|| {
        for round in 0..8u8 {
            let (old, new) = (owner("n1", &format!("old{round}")), owner("n1", &format!("new{round}")));
            let (old_ip, new_ip) = (format!("10.77.0.{}/24", 2 * round + 2), format!("10.77.0.{}/24", 2 * round + 3));
            add(&old, Policy::Isolated, &[&old_ip]);
            thread::scope(|scope| {
                scope.spawn(|| del(&old, &[]));
                scope.spawn(|| drop(add(&new, Policy::Isolated, &[&new_ip])));
            });
            assert_eq!(check(&new, Policy::Isolated, &[&new_ip]), None, "round {round}");
            del(&new, &[]);
            assert_eq!(about("br0"), NONE, "round {round}");
        }
    });
}
