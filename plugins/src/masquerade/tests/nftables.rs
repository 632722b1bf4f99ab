//! The layout of our own, and the leftovers of the Go suite's.

use super::*;

#[test]
fn the_layout_is_as_documented() {
    let listed = namespace(|| {
        add(Backend::Nftables, &owner("n1", "cid1", "eth0"), &["10.77.0.2/24", "fd00::2/64"]);
        shell("nft list ruleset")
    });
    let expected = r#"table inet xnet_masq {
	comment "Masquerading of containers"
	set net-10.77.0.0/24 {
		type ipv4_addr
		elements = { 10.77.0.2 comment "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1" }
	}

	set net-fd00__/64 {
		type ipv6_addr
		elements = { fd00::2 comment "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1" }
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip daddr 224.0.0.0/4 return comment "multicast"
		ip6 daddr ff00::/8 return comment "multicast of IPv6"
		ip saddr @net-10.77.0.0/24 ip daddr != 10.77.0.0/24 masquerade comment "leaving 10.77.0.0/24"
		ip6 saddr @net-fd00__/64 ip6 daddr != fd00::/64 masquerade comment "leaving fd00::/64"
	}
}
"#;
    assert_eq!(listed, expected);
}

/// What an administrator saves must load again, whatever the subnets are called.
#[test]
fn the_ruleset_can_be_saved_and_loaded() {
    namespace(|| {
        let odd =
            ["10.77.0.2/24", "10.0.0.1/31", "10.9.9.9/32", "fd00::2/64", "2001:db8:1:2:3:4:5:6/128", "fd01::1/127"];
        add(Backend::Nftables, &owner("n1", "cid1", "eth0"), &odd);
        let listed = shell("nft list ruleset");
        shell("nft list ruleset > /run/saved; nft flush ruleset; nft -f /run/saved");
        assert_eq!(shell("nft list ruleset"), listed);
        assert_eq!(check(Backend::Nftables, &owner("n1", "cid1", "eth0"), &odd), None);
        del(&owner("n1", "cid1", "eth0"), &odd.map(|ip| ip.split_once('/').unwrap().0));
        assert!(!shell("nft list ruleset").contains("cid1"));
    });
}

#[test]
fn subnets_share_their_rule() {
    namespace(|| {
        for number in 2..40 {
            let owner = owner("n1", &format!("cid{number}"), "eth0");
            let (net, host) = (format!("10.77.0.{number}/24"), format!("10.78.0.{number}/32"));
            add(Backend::Nftables, &owner, &[&net, &host]);
        }
        let listed = shell("nft list ruleset");
        assert_eq!(listed.matches("masquerade").count(), 2, "{listed}");
        assert!(listed.contains("ip saddr @hosts4 masquerade comment \"leaving a host\""), "{listed}");
    });
}

#[test]
fn deletion_with_and_without_addresses_takes_only_ones_own() {
    namespace(|| {
        let (one, other) = (owner("n1", "cid1", "eth0"), owner("n1", "cid1", "eth1"));
        let mine = ["10.77.0.2/24", "10.99.0.2/32", "fd00::2/64"];
        // The right addresses; none; some that it never had.
        for known in [&["10.77.0.2", "10.99.0.2", "fd00::2"][..], &[], &["10.77.0.3", "192.0.2.1"]] {
            add(Backend::Nftables, &one, &mine);
            add(Backend::Nftables, &other, &["10.77.0.3/24"]);
            assert_eq!(check(Backend::Nftables, &one, &mine), None);
            del(&one, known);
            del(&one, known);
            assert_eq!(check(Backend::Nftables, &other, &["10.77.0.3/24"]), None);
            let listed = shell("nft list ruleset");
            assert!(!listed.contains("if: eth0"), "{listed}");
        }
    });
}

#[test]
fn an_undone_add_leaves_nothing_of_its_own() {
    namespace(|| {
        let owner = owner("n1", "cid1", "eth0");
        let done = add(Backend::Nftables, &owner, &["10.77.0.2/24"]);
        let failures = done.undo(&mut Machine::host_only());
        assert!(failures.is_empty(), "{failures:?}");
        assert!(!shell("nft list ruleset").contains("cid1"));
    });
}

#[test]
fn check_says_which_line_is_missing() {
    namespace(|| {
        let owner = owner("n1", "cid1", "eth0");
        let missing = check(Backend::Nftables, &owner, &["10.77.0.2/24"]).unwrap();
        assert!(missing.contains("nft add element inet xnet_masq net-10.77.0.0/24 { 10.77.0.2 "), "{missing}");
        add(Backend::Nftables, &owner, &["10.77.0.2/24"]);
        shell("nft flush chain inet xnet_masq postrouting");
        let missing = check(Backend::Nftables, &owner, &["10.77.0.2/24"]).unwrap();
        assert!(missing.contains("nft add rule inet xnet_masq postrouting"), "{missing}");
    });
}

#[test]
fn collection_takes_the_dead_of_one_network_and_empty_subnets() {
    namespace(|| {
        for (net, id, address) in [
            ("n1", "alive", "10.77.0.2/24"),
            ("n1", "dead", "10.77.0.3/24"),
            ("n1", "dead", "fd00::3/64"),
            ("n1", "dead", "10.99.0.3/32"),
            ("n2", "dead", "10.88.0.3/24"),
        ] {
            add(Backend::Nftables, &owner(net, id, "eth0"), &[address]);
        }
        // An interface that a valid container no longer has.
        add(Backend::Nftables, &owner("n1", "alive", "eth9"), &["10.77.0.9/24"]);
        collect("n1", &[("alive", "eth0")]);
        let listed = shell("nft list ruleset");
        assert!(!listed.contains("net: n1, if: eth0, id: dead") && !listed.contains("if: eth9"), "{listed}");
        assert!(!listed.contains("fd00") && !listed.contains("hosts4"), "{listed}");
        assert_eq!(check(Backend::Nftables, &owner("n1", "alive", "eth0"), &["10.77.0.2/24"]), None);
        assert_eq!(check(Backend::Nftables, &owner("n2", "dead", "eth0"), &["10.88.0.3/24"]), None);
        // The subnet comes back with its next address.
        add(Backend::Nftables, &owner("n1", "new", "eth0"), &["fd00::4/64"]);
        assert_eq!(check(Backend::Nftables, &owner("n1", "new", "eth0"), &["fd00::4/64"]), None);
    });
}

#[test]
fn without_a_list_of_the_valid_nothing_is_collected() {
    namespace(|| {
        let owner = owner("n1", "cid1", "eth0");
        add(Backend::Nftables, &owner, &["10.77.0.2/24"]);
        gc(&mut Machine::host_only(), &owner.net, &ValidAttachments::unspecified()).unwrap();
        assert_eq!(check(Backend::Nftables, &owner, &["10.77.0.2/24"]), None);
    });
}

/// Additions while collections run: whoever was told of success is masqueraded.
#[test]
fn collections_do_not_hurt_additions() {
    namespace(|| {
        let here = NetNs::current().unwrap();
        thread::scope(|scope| {
            for number in 2..18 {
                let here = &here;
                scope.spawn(move || {
                    here.run(|| {
                        let owner = owner("n1", &format!("cid{number}"), "eth0");
                        let address = format!("10.{number}.0.2/24");
                        for _ in 0..10 {
                            add(Backend::Nftables, &owner, &[&address]);
                            assert_eq!(check(Backend::Nftables, &owner, &[&address]), None);
                            del(&owner, &[]);
                        }
                    })
                    .unwrap();
                });
            }
            // Of another network, so only empty subnets are removed.
            (0..30).for_each(|_| collect("n2", &[]));
        });
        collect("n2", &[]);
        assert!(!shell("nft list ruleset").contains("net-"));
    });
}

/// The Go suite's table with rules of three attachments in two networks.
const GO: &str = r#"
table inet cni_plugins_masquerade {
    comment "Masquerading for plugins from github.com/containernetworking/plugins"
    chain masq_checks {
        comment "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet"
        ip saddr 10.77.0.3 ip daddr != 10.77.0.0/24 masquerade comment "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1"
        ip6 saddr fd00::3 ip6 daddr != fd00::/64 masquerade comment "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1"
        ip saddr 10.77.0.4 ip daddr != 10.77.0.0/24 masquerade comment "OTHER"
        ip saddr 10.88.0.4 ip daddr != 10.88.0.0/24 masquerade comment "FOREIGN"
    }
    chain postrouting {
        type nat hook postrouting priority 100; policy accept;
        ip daddr 224.0.0.0/4 return
        ip6 daddr ff00::/8 return
        goto masq_checks
    }
}"#;

fn go_state() -> String {
    let go = GO.replace("OTHER", &owner("n1", "cid2", "eth0").tag());
    format!("nft -f - <<'END'\n{}\nEND", go.replace("FOREIGN", &owner("n2", "cid1", "eth0").tag()))
}

#[test]
fn the_go_suites_rules_are_deleted_by_tag() {
    namespace(|| {
        shell(&go_state());
        del(&owner("n1", "cid1", "eth0"), &["10.77.0.3"]);
        let listed = shell("nft list ruleset");
        assert_eq!(listed.matches(" masquerade comment ").count(), 2, "{listed}");
        assert!(listed.contains("id: cid2") && listed.contains("net: n2"), "{listed}");
    });
}

#[test]
fn the_go_suites_rules_are_collected() {
    namespace(|| {
        shell(&go_state());
        collect("n1", &[("cid2", "eth0")]);
        let listed = shell("nft list ruleset");
        assert_eq!(listed.matches(" masquerade comment ").count(), 2, "{listed}");
        assert!(listed.contains("id: cid2") && listed.contains("net: n2"), "{listed}");
    });
}
