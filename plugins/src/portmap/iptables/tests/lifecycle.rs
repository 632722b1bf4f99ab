//! Coming and going: by either suite, with and without a list of mappings, in either variant of iptables.

use super::*;

const NONE: [&str; 0] = [];

/// All that is left of a node after everything is gone.
fn is_clean() {
    let left = everything().concat();
    assert!(!left.iter().any(|rule| rule.contains("CNI-DN-") || rule.contains("CNI-SN-")), "{left:?}");
    assert_eq!(all_notes(), NONE);
}

#[test]
fn either_suite_takes_down_what_the_other_made() {
    let config = config(&["8080:80/tcp", "127.0.0.1:53:53/udp"]);
    let document = document(&config);
    let story = || {
        node();
        let owner = owner("n1", "cid1", "eth0");
        go_well("portmap", "ADD", "cid1", &IPS, &document);
        assert_eq!(check(&owner, &config, &IPS), None, "what the Go suite made is good enough");
        del(&owner);
        is_clean();
        add(&owner, &config, &IPS);
        go_well("portmap", "DEL", "cid1", &IPS, &document);
        let left = everything().concat();
        assert!(!left.iter().any(|rule| rule.contains("CNI-DN-")), "{left:?}");
        assert_eq!(all_notes().len(), 2, "the Go suite does not know of the notes");
        del(&owner);
        is_clean();
    };
    namespace(story);
    legacy(|| {
        node();
        go_well("portmap", "ADD", "cid1", &IPS, &document);
        del(&owner("n1", "cid1", "eth0"));
        is_clean();
        add(&owner("n1", "cid1", "eth0"), &config, &IPS);
        go_well("portmap", "DEL", "cid1", &IPS, &document);
        collect("n1", &[]);
        is_clean();
    });
}

#[test]
fn going_leaves_what_is_shared_and_what_is_others() {
    both(|| {
        let (one, other) = (owner("n1", "cid1", "eth0"), owner("n1", "cid2", "eth0"));
        add(&other, &config(&["8081:80/tcp"]), &["10.77.0.3/24"]);
        let before = everything();
        add(&one, &config(&["8080:80/tcp", "8080:80/udp"]), &IPS);
        del(&one);
        assert_eq!(rules(Family::V4, NAT), before[0]);
        del(&one);
        assert_eq!(check(&other, &config(&["8081:80/tcp"]), &["10.77.0.3/24"]), None);
        del(&other);
        assert_eq!(rules(Family::V4, NAT), SHARED);
        is_clean();
    });
}

#[test]
fn nothing_there_means_nothing_to_do() {
    namespace(|| {
        del(&owner("n1", "cid1", "eth0"));
        collect("n1", &[]);
        assert_eq!(shell("nft list ruleset"), "");
        assert_eq!(shell("cat /proc/thread-self/net/ip_tables_names"), "");
    });
}

/// Early releases had a second chain for each container.
#[test]
fn historic_chains_are_taken_down() {
    let historic = "iptables -t nat -N CNI-HOSTPORT-SNAT; iptables -t nat -N CNI-SN-ca7a875c2b85fc44a8551
        iptables -t nat -A CNI-SN-ca7a875c2b85fc44a8551 -s 127.0.0.1 -j MASQUERADE
        iptables -t nat -A CNI-HOSTPORT-SNAT -m comment --comment 'snat name: \"n1\" id: \"cid1\"' -j CNI-SN-ca7a875c2b85fc44a8551";
    both(|| {
        let owner = owner("n1", "cid1", "eth0");
        shell(historic);
        del(&owner);
        assert_eq!(rules(Family::V4, NAT), [":CNI-HOSTPORT-SNAT - [0:0]"]);
        shell(&historic.replace("iptables -t nat -N CNI-HOSTPORT-SNAT; ", ""));
        add(&owner, &config(&["8080:80/tcp"]), &IPS);
        collect("n1", &[]);
        is_clean();
    });
}

#[test]
fn collection_goes_by_network_and_container() {
    both(|| {
        let long = "x".repeat(300);
        let table = [
            ("n1", "alive", "10.77.0.2/24", "8000:80/tcp"),
            ("n1", "dead", "10.77.0.3/24", "8001:80/tcp"),
            ("n1", "dead", "fd00::3/64", "8002:80/tcp"),
            ("n2", "dead", "10.88.0.3/24", "8003:80/tcp"),
            ("n1x", "dead", "10.89.0.3/24", "8004:80/tcp"),
            ("n1", &format!("{long}-alive"), "10.77.0.4/24", "8005:80/tcp"),
        ];
        for (net, id, ip, port) in table {
            add(&owner(net, id, "eth0"), &config(&[port]), &[ip]);
        }
        let alive = [("alive", "eth0"), (&format!("{long}-alive"), "eth0")];
        let document = document(&config(&["8006:80/tcp"]));
        node();
        go_well("portmap", "ADD", "gone", &["10.77.0.5/24"], &document);
        collect("n1", &alive);
        for (net, id, ip, port) in table.iter().filter(|(net, id, _, _)| *net != "n1" || *id != "dead") {
            assert_eq!(check(&owner(net, id, "eth0"), &config(&[port]), &[ip]), None, "{net} {id}");
        }
        let left = everything().concat();
        assert!(!left.iter().any(|rule| rule.contains("10.77.0.3") || rule.contains("fd00::3")), "{left:?}");
        assert!(!left.iter().any(|rule| rule.contains("gone") || rule.contains("10.77.0.5")), "{left:?}");
        assert_eq!(all_notes().len(), 4);
        let before = everything();
        gc(&mut Machine::host_only(), &"n1".parse().unwrap(), &ValidAttachments::unspecified()).unwrap();
        assert_eq!(everything(), before);
        collect("n1", &[]);
        collect("n2", &[]);
        collect("n1x", &[]);
        is_clean();
    });
}

/// The kernel refuses the last rule: nothing of the attachment may be left, neither of this nor of the other family.
#[test]
fn a_refused_add_leaves_nothing() {
    both(|| {
        let owner = owner("n1", "cid1", "eth0");
        let broken = Config { conditions_v6: vec!["--no-such-option".into()], ..config(&["8080:80/tcp"]) };
        let refused = try_add(&owner, &broken, &IPS).unwrap_err();
        assert!(refused.starts_with("unable to setup DNAT: ") && refused.contains("ip6tables"), "{refused}");
        is_clean();
        assert_eq!(rules(Family::V4, NAT), SHARED);
        let broken = Config { conditions_v4: vec!["-j\nACCEPT".into()], ..config(&["8080:80/tcp"]) };
        let refused = try_add(&owner, &broken, &IPS).unwrap_err();
        assert!(refused.contains("line break"), "{refused}");
        is_clean();
    });
}
