//! Chains, addresses and ports that several attachments have, or want.

use super::*;

/// Two interfaces of one container in one network share the chain.
#[test]
fn the_other_interface_keeps_what_it_needs() {
    both(|| {
        let (one, other) = (owner("n1", "cid1", "eth0"), owner("n1", "cid1", "eth1"));
        let (first, second) = (config(&["8080:80/tcp", "8081:81/tcp", "53:53/udp"]), config(&["8080:80/tcp"]));
        add(&other, &second, &["10.77.0.3/24"]);
        let before = everything();
        add(&one, &first, &["10.77.0.2/24"]);
        del(&one);
        assert_eq!(check(&other, &second, &["10.77.0.3/24"]), None);
        assert_eq!(everything(), before);
        // The other way round, and in different subnets.
        add(&one, &first, &["10.78.0.2/24"]);
        del(&other);
        assert_eq!(check(&one, &first, &["10.78.0.2/24"]), None);
        assert!(!rules(Family::V4, NAT).iter().any(|rule| rule.contains("10.77.0")), "{:?}", rules(Family::V4, NAT));
        del(&one);
        assert_eq!(rules(Family::V4, NAT), SHARED);
    });
}

/// Names so long that the tag does not hold the container's, whose other interface must be recognised all the same.
#[test]
fn the_other_interface_is_known_by_a_cut_tag() {
    namespace(|| {
        let (net, id) = ("n".repeat(40), "c".repeat(64));
        let (one, other) = (owner(&net, &id, "eth0"), owner(&net, &id, "eth1"));
        add(&other, &config(&["8080:80/tcp"]), &["10.77.0.3/24"]);
        add(&one, &config(&["8081:81/tcp"]), &["10.77.0.2/24"]);
        del(&one);
        assert_eq!(check(&other, &config(&["8080:80/tcp"]), &["10.77.0.3/24"]), None);
        assert!(!rules(Family::V4, NAT).iter().any(|rule| rule.contains("8081")));
    });
}

/// Network "ab" with container "c" has the same chain as network "a" with container "bc".
#[test]
fn a_colliding_chain_is_left_to_the_other_network() {
    both(|| {
        let (one, other) = (owner("ab", "c", "eth0"), owner("a", "bc", "eth0"));
        add(&one, &config(&["8080:80/tcp"]), &["10.77.0.2/24"]);
        add(&other, &config(&["8081:80/tcp"]), &["10.88.0.2/24"]);
        del(&one);
        assert_eq!(check(&other, &config(&["8081:80/tcp"]), &["10.88.0.2/24"]), None);
        add(&one, &config(&["8080:80/tcp"]), &["10.77.0.2/24"]);
        collect("ab", &[]);
        assert_eq!(check(&other, &config(&["8081:80/tcp"]), &["10.88.0.2/24"]), None);
        collect("a", &[]);
        assert_eq!(rules(Family::V4, NAT), SHARED);
    });
}

#[test]
fn a_taken_port_is_refused_and_the_holder_named() {
    both(|| {
        shell("ip link add br0 type bridge");
        let (one, other) = (owner("n1", "cid1", "eth0"), owner("n2", "cid2", "eth0"));
        add(&one, &config(&["8080:80/tcp", "127.0.0.1:53:53/udp"]), &IPS);
        let before = everything();
        let refused = |mappings: &[&str]| try_add(&other, &config(mappings), &["10.88.0.3/24"]).unwrap_err();
        let text = "unable to setup DNAT: host port 8080/tcp is taken by container cid1 in network n1, 10.77.0.2:80; \
                    DEL that attachment, or GC network n1 if the container is gone";
        assert_eq!(refused(&["9000:90/tcp", "8080:80/tcp"]), text);
        assert_eq!(refused(&["127.0.0.1:8080:80/tcp"]), text);
        assert!(refused(&["127.0.0.1:53:53/udp"]).contains("53/udp is taken by container cid1"));
        assert_eq!(everything(), before);
        // What is left of it can be had.
        let rest = config(&["8080:80/udp", "127.0.0.2:53:53/udp", "53:53/tcp", "[::1]:8080:80/tcp"]);
        add(&other, &rest, &["10.88.0.3/24"]);
        del(&other);
        del(&one);
        add(&other, &config(&["8080:80/tcp"]), &["10.88.0.3/24"]);
    });
}

/// Conditions may make it different packets.
#[test]
fn mappings_with_conditions_do_not_claim() {
    namespace(|| {
        let behind = |link: &str| Config { conditions_v4: vec!["-i".into(), link.into()], ..config(&["8080:80/tcp"]) };
        add(&owner("n1", "cid1", "eth0"), &behind("lan0"), &["10.77.0.2/24"]);
        add(&owner("n1", "cid2", "eth0"), &behind("lan1"), &["10.77.0.3/24"]);
        add(&owner("n1", "cid3", "eth0"), &config(&["8080:80/tcp"]), &["10.77.0.4/24"]);
    });
}

/// An address is one attachment's, so whoever had it before is gone.
#[test]
fn what_led_to_the_address_before_is_removed() {
    both(|| {
        node();
        go_well("portmap", "ADD", "old", &IPS, &document(&config(&["8080:80/tcp", "9090:90/tcp"])));
        add(&owner("n1", "older", "eth0"), &config(&["9091:90/tcp"]), &["10.77.0.9/24"]);
        add(&owner("n1", "older", "eth1"), &config(&["9092:90/tcp"]), &["10.77.0.8/24"]);
        let new = owner("n1", "new", "eth0");
        add(&new, &config(&["8080:80/tcp"]), &IPS);
        let left = everything().concat();
        assert!(!left.iter().any(|rule| rule.contains("old\\")), "{left:?}");
        add(&new, &config(&["8080:80/tcp"]), &["10.77.0.9/24"]);
        let left = everything().concat();
        assert!(!left.iter().any(|rule| rule.contains("9091")), "{left:?}");
        assert!(left.iter().any(|rule| rule.contains("9092")), "the other interface has another address: {left:?}");
        // The late DEL of the dead does not hurt.
        del(&owner("n1", "old", "eth0"));
        del(&owner("n1", "older", "eth0"));
        assert_eq!(check(&new, &config(&["8080:80/tcp"]), &["10.77.0.9/24"]), None);
    });
}

/// The link of the host is gone, so the holder is.
#[test]
fn a_port_of_a_container_that_is_gone_can_be_had() {
    both(|| {
        shell("ip link add br0 type bridge");
        let (one, other) = (owner("n1", "old", "eth0"), owner("n2", "cid2", "eth0"));
        add(&one, &config(&["8080:80/tcp", "8081:81/tcp"]), &["10.77.0.2/24"]);
        let wanted = config(&["8080:80/tcp"]);
        assert!(try_add(&other, &wanted, &["10.88.0.3/24"]).unwrap_err().contains("taken by container old"));
        shell("ip link del br0");
        add(&other, &wanted, &["10.88.0.3/24"]);
        let left = rules(Family::V4, NAT);
        assert!(!left.iter().any(|rule| rule.contains("10.77.0.2") || rule.contains("8081")), "{left:?}");
    });
}

/// What the Go suite made has no note. The lease says that the holder's address is somebody else's now.
#[test]
fn a_port_of_a_container_of_the_go_suite_that_is_gone_can_be_had() {
    namespace(|| {
        node();
        go_well("portmap", "ADD", "old", &IPS[..1], &document(&config(&["8080:80/tcp"])));
        let lease = |id: &str| {
            shell(&format!(
                "mkdir -p /var/lib/cni/networks/n1; printf '{id}\r\neth0' > /var/lib/cni/networks/n1/10.77.0.2"
            ));
        };
        let other = owner("n2", "cid2", "eth0");
        let wanted = config(&["8080:80/tcp"]);
        lease("old");
        assert!(try_add(&other, &wanted, &["10.88.0.3/24"]).unwrap_err().contains("taken by container old"));
        lease("new");
        add(&other, &wanted, &["10.88.0.3/24"]);
        let left = rules(Family::V4, NAT);
        assert!(!left.iter().any(|rule| rule.contains("10.77.0.2")), "{left:?}");
    });
}

/// Before ports are mapped by nftables, what iptables does with the same packets must be out of the way.
#[test]
fn mappings_by_other_means_do_not_meet_ours() {
    let try_make_way = |owner: &Owner, config: &Config, ips: &[&str]| {
        let target = step(owner, config, ips).0.target;
        make_way(&mut Machine::host_only(), &target, config).map_err(|error| error.msg)
    };
    let (new, wanted) = (owner("n1", "new", "eth0"), config(&["8080:80/tcp"]));
    namespace(|| {
        try_make_way(&new, &wanted, &IPS).unwrap();
        assert_eq!(shell("nft list ruleset"), "", "asking leaves a trace");
    });
    both(|| {
        node();
        go_well("portmap", "ADD", "old", &IPS, &document(&wanted));
        let before = everything();
        let refused = try_make_way(&new, &wanted, &["10.77.0.3/24"]).unwrap_err();
        assert!(refused.starts_with("host port 8080/tcp is taken by container old in network n1"), "{refused}");
        try_make_way(&new, &config(&["8081:80/tcp"]), &["10.77.0.3/24"]).unwrap();
        assert_eq!(everything(), before);
        try_make_way(&new, &wanted, &IPS).unwrap();
        let left = everything().concat();
        assert!(!left.iter().any(|rule| rule.contains("CNI-DN-")), "the address is ours now: {left:?}");
    });
}
