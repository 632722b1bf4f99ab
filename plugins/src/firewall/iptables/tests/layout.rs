//! Coming and going, by either suite.

use super::*;

#[test]
fn rules_are_the_go_suites_to_the_byte() {
    let ips = ["10.77.0.2/24", "10.77.0.3/24", "fd00::2/64"];
    // What was there before, and another chain for the administrator.
    let prepare = || {
        node();
        shell("iptables -A FORWARD -j ACCEPT; iptables -N CNI-FORWARD; iptables -A CNI-FORWARD -s 10.9.9.9 -j ACCEPT");
    };
    for (admin_chain, written) in [("CNI-ADMIN", ""), ("MY-ADMIN", r#""iptablesAdminChainName": "MY-ADMIN","#)] {
        let theirs = namespace(|| {
            prepare();
            go_well("firewall", "ADD", "cid1", &ips, &format!(r#""backend": "iptables", {written}"#));
            everything()
        });
        namespace(|| {
            prepare();
            let config = Config { admin_chain: admin_chain.into(), ..config(Policy::Open) };
            for _ in 0..2 {
                try_add(&owner("n1", "cid1"), &config, &ips).unwrap();
                assert_eq!(everything(), theirs);
            }
            go_well("firewall", "CHECK", "cid1", &ips, &format!(r#""backend": "iptables", {written}"#));
            go_well("firewall", "ADD", "cid1", &ips, &format!(r#""backend": "iptables", {written}"#));
            assert_eq!(everything(), theirs, "an ADD of the Go suite changes what we made");
        });
    }
}

#[test]
fn either_suite_takes_down_what_the_other_made() {
    let go_firewall = |verb: &str| go_well("firewall", verb, "cid1", &IPS, r#""backend": "iptables","#);
    let story = || {
        node();
        let owner = owner("n1", "cid1");
        go_firewall("ADD");
        assert_eq!(check(&owner, Policy::Open, &IPS), None, "what the Go suite made is good enough");
        del(&owner, &IPS);
        assert_eq!(everything(), [SHARED, SHARED]);
        add(&owner, Policy::Open, &IPS);
        go_firewall("DEL");
        assert_eq!(everything(), [SHARED, SHARED]);
        assert_eq!(all_notes().len(), 2, "the Go suite does not know of the notes");
        del(&owner, &[]);
        assert_eq!(all_notes(), NONE);
    };
    both(story);
}

#[test]
fn going_needs_no_addresses() {
    both(|| {
        let owner = owner("n1", "cid1");
        for known in [&IPS[..], &[]] {
            add(&owner, Policy::Open, &IPS);
            del(&owner, known);
            assert_eq!(everything(), [SHARED, SHARED]);
            assert_eq!(all_notes(), NONE);
            del(&owner, known);
        }
    });
}

/// What the Go suite made has no notes, but host-local knows the address as long as the bridge is not deleted.
#[test]
fn going_without_addresses_takes_those_on_record() {
    both(|| {
        node();
        go_well("firewall", "ADD", "cid1", &["10.77.0.2/24"], r#""backend": "iptables","#);
        go_well("firewall", "ADD", "cid2", &["10.77.0.3/24"], r#""backend": "iptables","#);
        record("n1", "cid1", "10.77.0.2");
        record("n1", "cid2", "10.77.0.3");
        del(&owner("n1", "cid1"), &[]);
        assert!(check(&owner("n1", "cid1"), Policy::Open, &["10.77.0.2/24"]).is_some());
        assert_eq!(check(&owner("n1", "cid2"), Policy::Open, &["10.77.0.3/24"]), None);
    });
}

#[test]
fn nothing_there_means_nothing_to_do() {
    namespace(|| {
        del(&owner("n1", "cid1"), &[]);
        del(&owner("n1", "cid1"), &IPS);
        collect("n1", &[]);
        assert_eq!(shell("nft list ruleset"), "");
        assert_eq!(shell("cat /proc/thread-self/net/ip_tables_names"), "");
    });
}

/// An address may have got a new holder before the old one's DEL comes, late.
#[test]
fn a_late_del_leaves_the_new_holder_alone() {
    both(|| {
        let (old, new) = (owner("n1", "old"), owner("n1", "new"));
        add(&old, Policy::Open, &IPS);
        add(&new, Policy::Open, &IPS);
        del(&old, &IPS);
        assert_eq!(check(&new, Policy::Open, &IPS), None);
        del(&new, &IPS);
        assert_eq!(everything(), [SHARED, SHARED]);
        // In another network it may be another's.
        let other = owner("n2", "other");
        add(&new, Policy::Open, &IPS);
        add(&other, Policy::Open, &IPS);
        del(&other, &IPS);
        assert_eq!(check(&new, Policy::Open, &IPS), None);
    });
}

/// Twenty containers that start on a fresh node, and go.
#[test]
fn what_is_shared_is_there_once() {
    both(|| {
        let ip = |n: usize| format!("10.77.0.{}/24", n + 2);
        thread::scope(|scope| {
            (0..20).for_each(|n| {
                drop(scope.spawn(move || drop(add(&owner("n1", &format!("cid{n}")), Policy::Isolated, &[&ip(n)]))))
            });
        });
        let left = rules(Family::V4, FILTER);
        let (own, shared): (Vec<_>, Vec<_>) = left.into_iter().partition(|rule| rule.contains("10.77.0."));
        assert_eq!(own.len(), 40);
        assert_eq!(shared.len(), SHARED.len() + 8, "{shared:#?}");
        for rule in &shared {
            assert_eq!(shared.iter().filter(|other| *other == rule).count(), 1, "{rule} is there twice");
        }
        thread::scope(|scope| {
            (0..20).for_each(|n| drop(scope.spawn(move || del(&owner("n1", &format!("cid{n}")), &[]))));
        });
        let left = rules(Family::V4, FILTER);
        assert!(!left.iter().any(|rule| rule.contains("10.77.0.") || rule.contains("br0")), "{left:?}");
        assert_eq!(all_notes(), NONE);
    });
}

#[test]
fn check_says_what_is_missing_in_the_words_of_the_go_suite() {
    namespace(|| {
        let owner = owner("n1", "cid1");
        let missing = || check(&owner, Policy::SameBridge, &IPS).unwrap();
        let jump = "expected FORWARD rule [-m comment --comment CNI firewall plugin rules -j CNI-FORWARD] not found";
        assert_eq!(missing(), jump);
        add(&owner, Policy::SameBridge, &IPS);
        assert_eq!(check(&owner, Policy::SameBridge, &IPS), None);
        shell("iptables -D FORWARD -m comment --comment 'CNI firewall plugin rules' -j CNI-FORWARD");
        assert_eq!(missing(), jump);
        add(&owner, Policy::SameBridge, &IPS);
        shell("iptables -D CNI-FORWARD 1");
        let admin = "-m comment --comment CNI firewall plugin admin overrides -j CNI-ADMIN";
        assert_eq!(missing(), format!("expected CNI-FORWARD rule [{admin}] not found"));
        add(&owner, Policy::SameBridge, &IPS);
        shell("ip6tables -D CNI-FORWARD -s fd00::2 -j ACCEPT");
        assert_eq!(missing(), "expected rule [-s fd00::2/128 -j ACCEPT] not found");
        add(&owner, Policy::SameBridge, &IPS);
        shell("ip6tables -F CNI-ISOLATION-STAGE-2");
        assert!(missing().starts_with("expected CNI-ISOLATION-STAGE-2 rule [-o br0 "), "{}", missing());
        let empty = step(&owner, &config(Policy::Isolated), &[]);
        assert_eq!(empty.to_string(), "", "without an address there is no family");
    });
}

#[test]
fn a_failed_add_takes_back_what_it_did() {
    both(|| {
        let owner = owner("n1", "cid1");
        let done = add(&owner, Policy::Isolated, &IPS);
        assert!(done.undo(&mut Machine::host_only()).is_empty());
        assert_eq!(all_notes(), NONE);
        assert!(!everything().concat().iter().any(|rule| rule.contains("br0") || rule.contains("10.77")));
        // A chain that jumps to itself.
        let broken = Config { admin_chain: "CNI-FORWARD".into(), ..config(Policy::Isolated) };
        let before = everything();
        assert!(try_add(&owner, &broken, &IPS).is_err());
        assert_eq!(everything(), before);
        assert_eq!(all_notes(), NONE);
    });
}
