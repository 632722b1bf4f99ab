//! What the world sees: two containers behind the host, and somebody far away.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::*;

/// Two containers in one subnet, both routed by the host (so that the host sees what they say to each other), and a
/// remote machine. Nobody but the host knows the way to the containers.
const TOPOLOGY: &str = "
    echo 1 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    for number in 2 3; do
        ip netns add c$number
        ip link add host$number type veth peer name eth0 netns c$number
        ip link set host$number up
        ip -n c$number link set eth0 up
        ip addr add 10.77.0.1/32 dev host$number
        ip addr add fd00:77::1/128 dev host$number nodad
        ip route add 10.77.0.$number/32 dev host$number
        ip route add fd00:77::$number/128 dev host$number
        ip -n c$number addr add 10.77.0.$number/32 dev eth0
        ip -n c$number addr add fd00:77::$number/128 dev eth0 nodad
        ip -n c$number route add 10.77.0.1 dev eth0
        ip -n c$number route add default via 10.77.0.1
        ip -n c$number route add fd00:77::1 dev eth0
        ip -n c$number route add default via fd00:77::1
    done
    ip netns add remote
    ip link add uplink type veth peer name eth0 netns remote
    ip link set uplink up
    ip -n remote link set eth0 up
    ip addr add 192.0.2.1/24 dev uplink
    ip addr add 2001:db8::1/64 dev uplink nodad
    ip -n remote addr add 192.0.2.9/24 dev eth0
    ip -n remote addr add 2001:db8::9/64 dev eth0 nodad
";

fn socket(netns: &str, address: &str) -> UdpSocket {
    let netns = NetNs::open(format!("/run/netns/{netns}")).unwrap();
    let address: IpAddr = address.parse().unwrap();
    let socket = netns.run(|| UdpSocket::bind(SocketAddr::new(address, 0)).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Sends from one to the other and returns whom the other sees; then back, to see that answers find their way.
fn seen(from: (&str, &str), to: (&str, &str)) -> String {
    let (sender, receiver) = (socket(from.0, from.1), socket(to.0, to.1));
    let mut buffer = [0; 16];
    sender.send_to(b"question", receiver.local_addr().unwrap()).unwrap();
    let (_, peer) = receiver.recv_from(&mut buffer).unwrap();
    receiver.send_to(b"answer", peer).unwrap();
    let (length, _) = sender.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"answer");
    peer.ip().to_string()
}

fn sources_are_right(backend: Backend) {
    namespace(|| {
        shell(TOPOLOGY);
        add(backend, &owner("n1", "c2", "eth0"), &["10.77.0.2/24", "fd00:77::2/64"]);
        add(backend, &owner("n1", "c3", "eth0"), &["10.77.0.3/24", "fd00:77::3/64"]);
        let (v4, v6) = (("remote", "192.0.2.9"), ("remote", "2001:db8::9"));
        // Beyond the subnet everybody is the host.
        assert_eq!(seen(("c2", "10.77.0.2"), v4), "192.0.2.1");
        assert_eq!(seen(("c3", "10.77.0.3"), v4), "192.0.2.1");
        assert_eq!(seen(("c2", "fd00:77::2"), v6), "2001:db8::1");
        // Within it everybody is who they are.
        assert_eq!(seen(("c2", "10.77.0.2"), ("c3", "10.77.0.3")), "10.77.0.2");
        assert_eq!(seen(("c3", "fd00:77::3"), ("c2", "fd00:77::2")), "fd00:77::3");
        // After the deletion of one only the other is masqueraded. The remote needs a way back now.
        shell("ip -n remote route add 10.77.0.0/24 via 192.0.2.1");
        del(&owner("n1", "c2", "eth0"), &["10.77.0.2", "fd00:77::2"]);
        assert_eq!(seen(("c2", "10.77.0.2"), v4), "10.77.0.2");
        assert_eq!(seen(("c3", "10.77.0.3"), v4), "192.0.2.1");
    });
}

#[test]
fn nftables() {
    sources_are_right(Backend::Nftables);
}

#[test]
fn iptables() {
    sources_are_right(Backend::Iptables);
}
