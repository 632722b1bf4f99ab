//! Against the kernel: frames through a bridge, and the leftovers of the Go suite.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use kernel::netns::NetNs;

use super::*;
use crate::masquerade::tests::{go_bridge, namespace, shell};

const MAC: Mac = Mac::new([2, 0, 0, 0, 0, 2]);

fn owner(id: &str, ifname: &str) -> Owner {
    Owner::new("n1".parse().unwrap(), id.parse().unwrap(), ifname.parse().unwrap())
}

fn add(port: &str, mac: Mac, owner: &Owner) {
    Step::apply(&guard(port, mac, owner), &mut Machine::host_only()).unwrap();
}

fn is_guarded(port: &str, mac: Mac, owner: &Owner) -> bool {
    elements(port, mac, owner).check(&mut Machine::host_only()).is_ok()
}

fn del(owner: &Owner, port: &str) {
    remove(&mut Machine::host_only(), owner, port).unwrap();
}

#[test]
fn the_layout_is_as_documented() {
    let listed = namespace(|| {
        add("veth02a13658", MAC, &owner("cid1", "eth0"));
        shell("nft list ruleset")
    });
    let expected = r#"table bridge xnet_spoofcheck {
	comment "Source addresses of containers"
	set guarded {
		type ifname
		elements = { "veth02a13658" comment "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1" }
	}

	set allowed {
		type ifname . ether_addr
		elements = { "veth02a13658" . 02:00:00:00:00:02 comment "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1" }
	}

	chain prerouting {
		type filter hook prerouting priority dstnat; policy accept;
		iifname @guarded iifname . ether saddr != @allowed drop comment "forged source address"
	}
}
"#;
    assert_eq!(listed, expected);
}

#[test]
fn it_prints_as_commands() {
    assert_eq!(
        guard("veth0", MAC, &owner("c", "eth0")).to_string(),
        format!(
            "nft create element bridge xnet_spoofcheck guarded {{ \"veth0\" comment \"{tag}\" }}\n\
             nft create element bridge xnet_spoofcheck allowed {{ \"veth0\" . 02:00:00:00:00:02 comment \"{tag}\" }}",
            tag = owner("c", "eth0").tag()
        )
    );
}

#[test]
fn deletion_finds_both_elements() {
    namespace(|| {
        let (one, other) = (owner("cid1", "eth0"), owner("cid2", "eth0"));
        add("vethother", MAC, &other);
        let derived = Mac::from(one.mac("container"));
        // By key; with an address that the configuration gave; on a port whose first name was taken.
        for (port, mac) in [("vethone", derived), ("vethone", MAC), ("vethtwo", derived)] {
            add(port, mac, &one);
            assert!(is_guarded(port, mac, &one));
            del(&one, "vethone");
            del(&one, "vethone");
            assert!(!shell("nft list ruleset").contains("cid1"));
        }
        assert!(is_guarded("vethother", MAC, &other));
    });
}

#[test]
fn collection_takes_the_dead_of_its_network() {
    namespace(|| {
        add("vethalive", MAC, &owner("alive", "eth0"));
        add("vethdead", MAC, &owner("dead", "eth0"));
        let foreign = Owner::new("n2".parse().unwrap(), "dead".parse().unwrap(), "eth0".parse().unwrap());
        add("vethforeign", MAC, &foreign);
        let valid = ValidAttachments::new([("alive", "eth0")]);
        gc(&mut Machine::host_only(), &"n1".parse().unwrap(), &valid).unwrap();
        assert!(is_guarded("vethalive", MAC, &owner("alive", "eth0")));
        assert!(!is_guarded("vethdead", MAC, &owner("dead", "eth0")));
        assert!(is_guarded("vethforeign", MAC, &foreign));
        gc(&mut Machine::host_only(), &"n2".parse().unwrap(), &ValidAttachments::unspecified()).unwrap();
        assert!(is_guarded("vethforeign", MAC, &foreign));
    });
}

/// What the Go suite leaves for two attachments.
const GO: &str = r#"
table bridge nat {
    chain PREROUTING { type filter hook prerouting priority -300; policy accept; }
    chain cni-br-iface-cid1-eth0-mac { }
    chain cni-br-iface-cid1-eth0 { }
    chain cni-br-iface-cid2-eth0-mac { }
    chain cni-br-iface-cid2-eth0 { }
}
add rule bridge nat PREROUTING iifname "veth809e5cfa" jump cni-br-iface-cid1-eth0 comment "macspoofchk-cid1-eth0"
add rule bridge nat PREROUTING iifname "veth809e5cfa" jump cni-br-iface-cid1-eth0 comment "macspoofchk-cid1-eth0"
add rule bridge nat PREROUTING iifname "veth809e5cfb" jump cni-br-iface-cid2-eth0 comment "macspoofchk-cid2-eth0"
add rule bridge nat cni-br-iface-cid1-eth0 jump cni-br-iface-cid1-eth0-mac comment "macspoofchk-cid1-eth0"
add rule bridge nat cni-br-iface-cid1-eth0-mac ether saddr 16:13:c1:dd:cb:d7 return comment "macspoofchk-cid1-eth0"
add rule bridge nat cni-br-iface-cid1-eth0-mac drop comment "macspoofchk-cid1-eth0"
add rule bridge nat cni-br-iface-cid2-eth0 jump cni-br-iface-cid2-eth0-mac comment "macspoofchk-cid2-eth0"
"#;

#[test]
fn the_go_suites_rules_are_deleted() {
    namespace(|| {
        shell(&format!("nft -f - <<'END'{GO}END"));
        let before = shell("nft list ruleset").matches("cid2").count();
        del(&owner("cid1", "eth0"), "veth0");
        let left = shell("nft list ruleset");
        assert!(!left.contains("cid1"), "{left}");
        assert_eq!(left.matches("cid2").count(), before, "{left}");
        // Half of it, as a crash leaves it.
        shell("nft 'add chain bridge nat cni-br-iface-cid3-eth0-mac'");
        del(&owner("cid3", "eth0"), "veth0");
        assert!(!shell("nft list ruleset").contains("cid3"));
    });
}

#[test]
fn what_the_go_suite_really_makes_is_deleted() {
    namespace(|| {
        shell("ip netns add container");
        go_bridge("ADD", r#""macspoofchk": true"#);
        assert!(shell("nft list ruleset").contains("cni-br-iface-cid1-eth0-mac"));
        del(&owner("cid1", "eth0"), "veth0");
        let left = shell("nft list ruleset");
        assert!(!left.contains("cid1"), "{left}");
    });
}

/// Two containers on a bridge; only the first is guarded.
const TOPOLOGY: &str = "
    ip link add br0 type bridge
    ip link set br0 up
    for number in 2 3; do
        ip netns add c$number
        ip link add host$number type veth peer name eth0 address 02:00:00:00:00:0$number netns c$number
        ip link set host$number master br0 up
        ip -n c$number addr add 10.77.0.$number/24 dev eth0
        ip -n c$number link set eth0 up
    done
    ip -n c2 neigh add 10.77.0.3 lladdr 02:00:00:00:00:03 dev eth0
    ip -n c3 neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev eth0
";

fn socket(number: u8) -> UdpSocket {
    let netns = NetNs::open(format!("/run/netns/c{number}")).unwrap();
    let address = SocketAddr::from((Ipv4Addr::new(10, 77, 0, number), 0));
    netns.run(|| UdpSocket::bind(address).unwrap()).unwrap()
}

/// Sends until something arrives, or for as long as `patience`.
fn arrives(from: &UdpSocket, to: &UdpSocket, patience: Duration) -> bool {
    let target = to.local_addr().unwrap();
    to.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let end = Instant::now() + patience;
    let mut buffer = [0; 8];
    while Instant::now() < end {
        from.send_to(b"hello", target).unwrap();
        if to.recv(&mut buffer).is_ok() {
            return true;
        }
    }
    false
}

#[test]
fn forged_frames_are_dropped_and_others_are_not() {
    namespace(|| {
        shell(TOPOLOGY);
        let (two, three) = (socket(2), socket(3));
        let (long, short) = (Duration::from_secs(10), Duration::from_millis(300));
        add("host2", MAC, &owner("c2", "eth0"));
        assert!(arrives(&two, &three, long), "the true address is dropped");
        shell("ip -n c2 link set eth0 address 02:00:00:00:00:99; ip -n c3 link set eth0 address 02:00:00:00:00:98");
        shell("ip -n c2 neigh replace 10.77.0.3 lladdr 02:00:00:00:00:98 dev eth0");
        shell("ip -n c3 neigh replace 10.77.0.2 lladdr 02:00:00:00:00:99 dev eth0");
        assert!(arrives(&three, &two, long), "a port that is not guarded is restricted");
        assert!(!arrives(&two, &three, short), "a forged address passes");
        del(&owner("c2", "eth0"), "host2");
        assert!(arrives(&two, &three, long), "a port is guarded after its deletion");
    });
}
