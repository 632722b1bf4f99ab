//! What passes: containers on three bridges of one host, and somebody far away.
//!
//! That something does not pass is seen by what comes after it: the remote, whom no policy keeps away, sends to the same
//! socket on the same way, and its packet is the first that arrives.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use kernel::netns::NetNs;

use super::*;

/// Containers `a` and `b` on br1, `c` on br2, `d` on br3, each with the host as its router; a remote machine behind an
/// uplink, which routes through the host as well.
const TOPOLOGY: &str = "
    echo 1 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter
    for call in iptables ip6tables arptables; do echo $NETFILTER > /proc/sys/net/bridge/bridge-nf-call-$call; done
    for net in 1 2 3; do
        ip link add br$net type bridge
        ip link set br$net up
        ip addr add 10.$net.0.1/24 dev br$net
        ip addr add fd0$net::1/64 dev br$net nodad
    done
    attach() {
        ip netns add $1
        ip link add v-$1 type veth peer name eth0 netns $1
        ip link set v-$1 master br$2 up
        ip netns exec $1 sh -c 'echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad'
        ip -n $1 link set eth0 up
        ip -n $1 addr add 10.$2.0.$3/24 dev eth0
        ip -n $1 addr add fd0$2::$3/64 dev eth0 nodad
        ip -n $1 addr add 10.$2.1.$3/32 dev eth0
        ip -n $1 route add default via 10.$2.0.1
        ip -n $1 route add default via fd0$2::1
        ip route add 10.$2.1.$3 via 10.$2.0.$3
    }
    attach a 1 2; attach b 1 3; attach c 2 2; attach d 3 2
    ip -n a addr add 192.0.2.66/32 dev eth0
    ip netns add remote
    ip link add uplink type veth peer name eth0 netns remote
    ip link set uplink up
    ip -n remote link set eth0 up
    ip addr add 192.0.2.1/24 dev uplink
    ip addr add 2001:db8::1/64 dev uplink nodad
    ip -n remote addr add 192.0.2.9/24 dev eth0
    ip -n remote addr add 2001:db8::9/64 dev eth0 nodad
    ip -n remote route add default via 192.0.2.1
    ip -n remote route add default via 2001:db8::1
";

/// Somebody's namespace and one of its addresses.
type Place = (&'static str, &'static str);

const A: [Place; 2] = [("a", "10.1.0.2"), ("a", "fd01::2")];
const B: [Place; 2] = [("b", "10.1.0.3"), ("b", "fd01::3")];
const C: [Place; 2] = [("c", "10.2.0.2"), ("c", "fd02::2")];
const D: [Place; 2] = [("d", "10.3.0.2"), ("d", "fd03::2")];
const REMOTE: [Place; 2] = [("remote", "192.0.2.9"), ("remote", "2001:db8::9")];

fn socket((netns, address): Place) -> UdpSocket {
    let netns = NetNs::open(format!("/run/netns/{netns}")).unwrap();
    let address = SocketAddr::new(address.parse().unwrap(), 0);
    let socket = netns.run(|| UdpSocket::bind(address).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (String, SocketAddr) {
    let mut buffer = [0; 16];
    loop {
        match socket.recv_from(&mut buffer) {
            // With a limit of time the kernel does not begin again for a process that was stopped meanwhile.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            received => {
                let (length, peer) = received.expect("a packet");
                return (String::from_utf8_lossy(&buffer[..length]).into_owned(), peer);
            }
        }
    }
}

/// Whether a packet arrives.
fn arrives(from: Place, to: Place) -> bool {
    let (sender, receiver) = (socket(from), socket(to));
    let marker = socket(REMOTE[usize::from(to.1.contains(':'))]);
    sender.send_to(b"question", receiver.local_addr().unwrap()).unwrap();
    marker.send_to(b"marker", receiver.local_addr().unwrap()).unwrap();
    let (first, _) = receive(&receiver);
    if first == "question" {
        assert_eq!(receive(&receiver).0, "marker");
    }
    first == "question"
}

/// Whether a question arrives, and its answer comes back.
fn talks(from: Place, to: Place) -> bool {
    let (sender, receiver) = (socket(from), socket(to));
    sender.send_to(b"question", receiver.local_addr().unwrap()).unwrap();
    let (question, peer) = receive(&receiver);
    receiver.send_to(b"answer", peer).unwrap();
    question == "question" && receive(&sender).0 == "answer"
}

fn both(ways: impl Fn(Place, Place) -> bool, from: [Place; 2], to: [Place; 2]) -> [bool; 2] {
    [ways(from[0], to[0]), ways(from[1], to[1])]
}

const YES: [bool; 2] = [true, true];
const NO: [bool; 2] = [false, false];

/// Runs `test` with a, b and c attached under a policy, d under none, with and without `br_netfilter`. Before, everybody
/// has talked to everybody, so that they know each other's hardware addresses and that the ways are all there.
fn under(policy: &str, test: impl Fn(&[Fixture]) + Sync) {
    for netfilter in [0, 1] {
        namespace(|| {
            shell(&format!("NETFILTER={netfilter}\n{TOPOLOGY}"));
            let everybody = [A, B, C, D, REMOTE];
            let pairs = everybody.iter().flat_map(|from| everybody.iter().map(move |to| (*from, *to)));
            for (from, to) in pairs.filter(|(from, to)| from != to) {
                assert_eq!(both(talks, from, to), YES, "{from:?} to {to:?}");
            }
            let fixture = |id: &str, bridge: &str, ips: [&str; 2], policy: &str| {
                let config = format!(r#""backend": "nftables", "ingressPolicy": "{policy}""#);
                Fixture::new(id, bridge, &ips, &config)
            };
            let fixtures = [
                fixture("a", "br1", ["10.1.0.2/24", "fd01::2/64"], policy),
                fixture("b", "br1", ["10.1.0.3/24", "fd01::3/64"], policy),
                fixture("c", "br2", ["10.2.0.2/24", "fd02::2/64"], policy),
                fixture("d", "br3", ["10.3.0.2/24", "fd03::2/64"], "open"),
            ];
            fixtures.iter().for_each(|fixture| drop(fixture.add().unwrap()));
            test(&fixtures);
            // Without attachments everything is as before.
            fixtures.iter().for_each(|fixture| fixture.del().unwrap());
            for (from, to) in [(A, B), (A, C), (C, D), (REMOTE, A)] {
                assert_eq!(both(talks, from, to), YES, "{from:?} to {to:?}");
            }
        });
    }
}

/// The ways that no policy closes: those with an end outside, and those to and from a bridge under no policy.
fn the_world_is_open() {
    for inside in [A, B, C, D] {
        assert_eq!(both(talks, inside, REMOTE), YES, "{inside:?} to the remote");
        assert_eq!(both(talks, REMOTE, inside), YES, "the remote to {inside:?}");
    }
    for (from, to) in [(A, D), (D, A), (C, D), (D, C)] {
        assert_eq!(both(talks, from, to), YES, "{from:?} to {to:?}");
    }
}

#[test]
fn open() {
    under("open", |_| {
        the_world_is_open();
        for (from, to) in [(A, B), (B, A), (A, C), (C, A), (B, C), (C, B)] {
            assert_eq!(both(talks, from, to), YES, "{from:?} to {to:?}");
        }
    });
}

#[test]
fn same_bridge() {
    under("same-bridge", |_| {
        the_world_is_open();
        assert_eq!([both(talks, A, B), both(talks, B, A)], [YES, YES]);
        for (from, to) in [(A, C), (C, A), (B, C), (C, B)] {
            assert_eq!(both(arrives, from, to), NO, "{from:?} to {to:?}");
        }
        forgery_does_not_help("c");
    });
}

#[test]
fn isolated() {
    under("isolated", |_| {
        the_world_is_open();
        for (from, to) in [(A, B), (B, A), (A, C), (C, A), (B, C), (C, B)] {
            assert_eq!(both(arrives, from, to), NO, "{from:?} to {to:?}");
        }
        forgery_does_not_help("c");
        forgery_does_not_help("b");
        // They still know who has which address.
        shell("ip -n a neigh flush dev eth0; ip netns exec a ping -c 1 -W 1 10.1.0.3 > /dev/null || true");
        let neighbours = shell("ip -n a neigh show 10.1.0.3");
        assert!(neighbours.contains("lladdr"), "{neighbours}");
        assert!(!link_local_passes());
    });
}

/// `a` with the remote's address, or one of nobody; or to an address that the victim was not given.
fn forgery_does_not_help(victim: &'static str) {
    let (told, other) = match victim {
        "b" => ("10.1.0.3", "10.1.1.3"),
        _ => ("10.2.0.2", "10.2.1.2"),
    };
    assert!(!arrives(("a", "192.0.2.66"), (victim, told)));
    assert!(!arrives(("a", "10.1.0.2"), (victim, other)));
    assert!(!arrives(("a", "192.0.2.66"), (victim, other)));
}

/// The ways of [`forgery_does_not_help`] are there, if nobody closes them.
#[test]
fn forgery_would_help_without_a_policy() {
    under("open", |_| {
        for (victim, told, other) in [("b", "10.1.0.3", "10.1.1.3"), ("c", "10.2.0.2", "10.2.1.2")] {
            assert!(arrives(("a", "192.0.2.66"), (victim, told)), "{victim}");
            assert!(arrives(("a", "10.1.0.2"), (victim, other)), "{victim}");
        }
        assert!(link_local_passes());
    });
}

/// Whether `a` reaches `b` by an address that no plugin gave it.
fn link_local_passes() -> bool {
    let address = "ip -n b -6 -o addr show dev eth0 scope link | sed 's/.*inet6 \\([^/]*\\).*/\\1/'";
    let ping = format!("ip netns exec a ping -c 1 -W 1 $({address})%eth0 > /dev/null && echo yes || echo no");
    shell(&ping) == "yes\n"
}

/// Neighbours stay apart for as long as one of them is there, whoever leaves.
#[test]
fn leaving_does_not_open_the_others() {
    under("isolated", |fixtures| {
        fixtures[0].del().unwrap();
        // a is nobody's any more, but b still has no neighbours, nor visitors from another bridge under a policy.
        assert_eq!([both(arrives, A, B), both(arrives, C, B)], [NO, NO]);
        assert_eq!(both(talks, REMOTE, B), YES);
        fixtures[2].del_without_result().unwrap();
        assert_eq!([both(talks, C, B), both(talks, B, C)], [YES, YES]);
    });
}

/// The administrator's word comes first.
#[test]
fn overrides_come_first() {
    under("isolated", |_| {
        assert_eq!(both(arrives, C, A), NO);
        shell("nft add rule inet xnet_firewall admin iifname br2 oifname br1 accept");
        assert_eq!(both(arrives, C, A), YES);
        assert_eq!(both(arrives, A, C), NO);
        shell("nft add rule inet xnet_firewall admin iifname uplink ip daddr 10.1.0.2 drop");
        shell("nft add rule inet xnet_firewall admin iifname uplink ip6 daddr fd01::2 drop");
        let (sender, receiver) = (socket(REMOTE[0]), socket(A[0]));
        sender.send_to(b"question", receiver.local_addr().unwrap()).unwrap();
        let neighbour = socket(D[0]);
        neighbour.send_to(b"marker", receiver.local_addr().unwrap()).unwrap();
        assert_eq!(receive(&receiver).0, "marker");
        shell("nft flush chain inet xnet_firewall admin");
    });
}

/// With the chain's policy set to drop, containers may ask and be answered, and nobody else is forwarded.
#[test]
fn a_closed_node_is_open_to_its_containers() {
    under("open", |_| {
        shell("nft chain inet xnet_firewall forward '{ policy drop; }'");
        for (from, to) in [(A, REMOTE), (A, C), (C, A), (A, B)] {
            assert_eq!(both(talks, from, to), YES, "{from:?} to {to:?}");
        }
        for family in [0, 1] {
            let (stranger, neighbour, receiver) = (socket(REMOTE[family]), socket(C[family]), socket(A[family]));
            stranger.send_to(b"question", receiver.local_addr().unwrap()).unwrap();
            neighbour.send_to(b"marker", receiver.local_addr().unwrap()).unwrap();
            assert_eq!(receive(&receiver).0, "marker");
        }
        shell("nft chain inet xnet_firewall forward '{ policy accept; }'");
    });
}
