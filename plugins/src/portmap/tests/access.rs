//! Who gets through: TCP and UDP, over both families, from everywhere.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use super::*;

/// A bridge with two containers, a second bridge with one, and a remote machine. Nobody but the host knows the way to
/// the containers.
const TOPOLOGY: &str = "
    ip link set lo up
    echo 1 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/ipv6/conf/all/forwarding
    bridge() {
        ip link add br$1 type bridge
        ip link set br$1 up
        ip addr add 10.$1.0.1/24 dev br$1
        ip addr add fd00:$1::1/64 dev br$1 nodad
    }
    container() {
        ip netns add $1
        ip link add veth-$1 type veth peer name eth0 netns $1
        ip link set veth-$1 master br$2 up
        ip -n $1 link set lo up
        ip -n $1 link set eth0 up
        ip -n $1 addr add 10.$2.0.$3/24 dev eth0
        ip -n $1 addr add fd00:$2::$3/64 dev eth0 nodad
        ip -n $1 route add default via 10.$2.0.1
        ip -n $1 route add default via fd00:$2::1
    }
    bridge 77; container target 77 2; container neighbour 77 3
    bridge 88; container stranger 88 2
    ip netns add remote
    ip link add uplink type veth peer name eth0 netns remote
    ip link set uplink up
    ip -n remote link set lo up
    ip -n remote link set eth0 up
    ip addr add 192.0.2.1/24 dev uplink
    ip addr add 2001:db8::1/64 dev uplink nodad
    ip -n remote addr add 192.0.2.9/24 dev eth0
    ip -n remote addr add 2001:db8::9/64 dev eth0 nodad
";
const PATIENCE: Duration = Duration::from_secs(3);
/// How long to wait for what is not supposed to come.
const SILENCE: Duration = Duration::from_millis(300);

/// Runs `work` in a namespace of that name; an empty one is the host.
fn inside<T>(netns: &str, work: impl FnOnce() -> T) -> T {
    if netns.is_empty() { work() } else { NetNs::open(format!("/run/netns/{netns}")).unwrap().run(work).unwrap() }
}

/// A socket of the target. Between `fork` and `exec` of another test's child an earlier one is not closed yet.
fn bound<T>(bind: impl Fn() -> io::Result<T>) -> T {
    let patience = Instant::now() + PATIENCE;
    loop {
        match inside("target", &bind) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < patience => thread::yield_now(),
            bound => return bound.unwrap(),
        }
    }
}

/// Asks the target, which listens at `port`, over TCP, from `netns`. The answer is whom it saw.
fn tcp(netns: &str, to: SocketAddr, port: u16, patience: Duration) -> Option<IpAddr> {
    let listener = bound(|| TcpListener::bind(("::", port)));
    let mut client = inside(netns, || TcpStream::connect_timeout(&to, patience)).ok()?;
    let (mut server, peer) = listener.accept().unwrap();
    server.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
    Some(peer.ip().to_canonical())
}

/// The same over UDP. The client hears only who answers from where it asked.
fn udp(netns: &str, to: SocketAddr, port: u16, patience: Duration) -> Option<IpAddr> {
    let server = bound(|| UdpSocket::bind(("::", port)));
    let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let client = inside(netns, || UdpSocket::bind(any).unwrap());
    client.connect(to).ok()?;
    client.send(b"hello").ok()?;
    server.set_read_timeout(Some(patience)).unwrap();
    let mut heard = [0; 16];
    let (_, peer) = server.recv_from(&mut heard).ok()?;
    server.send_to(b"hello", peer).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let length = client.recv(&mut heard).unwrap();
    assert_eq!(&heard[..length], b"hello");
    Some(peer.ip().to_canonical())
}

fn target() -> Pod {
    Pod::new("cid1")
        .dev(Some("veth-target"))
        .ips(&["10.77.0.2/24", "fd00:77::2/64"])
        .ports(&["8080:80/tcp", "8053:53/udp"])
}

/// Whom the target sees when it is asked over TCP and UDP.
fn seen(from: &str, at: &str) -> String {
    let at: IpAddr = at.parse().unwrap();
    let show = |seen: Option<IpAddr>| seen.map_or("nobody".to_owned(), |ip| ip.to_string());
    let tcp = show(tcp(from, SocketAddr::new(at, 8080), 80, PATIENCE));
    let udp = show(udp(from, SocketAddr::new(at, 8053), 53, PATIENCE));
    assert_eq!(tcp, udp, "TCP and UDP from {from:?} to {at}");
    tcp
}

fn is_silent(from: &str, at: &str) -> bool {
    let at: IpAddr = at.parse().unwrap();
    tcp(from, SocketAddr::new(at, 8080), 80, SILENCE).is_none()
        && udp(from, SocketAddr::new(at, 8053), 53, SILENCE).is_none()
}

/// Bridged packets go through the rules of IP, or not; both are common.
fn on_both_kinds_of_bridges(story: impl Fn() + Sync) {
    for filtered in [0, 1] {
        namespace(|| {
            shell(TOPOLOGY);
            for family in ["iptables", "ip6tables"] {
                let parameter = format!("/proc/sys/net/bridge/bridge-nf-call-{family}");
                shell(&format!("test ! -e {parameter} || echo {filtered} > {parameter}"));
            }
            // A frame that is sent back where it came from: only needed where bridges look at addresses.
            shell(&format!(
                "ip link set veth-target type bridge_slave hairpin {}",
                if filtered == 1 { "on" } else { "off" }
            ));
            story();
        });
    }
}

/// From where, at which address, and whom the target sees.
const PATHS: [(&str, &str, &str); 16] = [
    // From outside.
    ("remote", "192.0.2.1", "192.0.2.9"),
    ("remote", "2001:db8::1", "2001:db8::9"),
    // Programs of the host.
    ("", "127.0.0.1", "10.77.0.1"),
    ("", "127.0.0.53", "10.77.0.1"),
    ("", "192.0.2.1", "192.0.2.1"),
    ("", "10.77.0.1", "10.77.0.1"),
    ("", "2001:db8::1", "2001:db8::1"),
    ("", "fd00:77::1", "fd00:77::1"),
    // A container of the same bridge, whose answers would not pass the host.
    ("neighbour", "192.0.2.1", "10.77.0.1"),
    ("neighbour", "10.77.0.1", "10.77.0.1"),
    ("neighbour", "2001:db8::1", "fd00:77::1"),
    // One of another network.
    ("stranger", "192.0.2.1", "10.88.0.2"),
    ("stranger", "10.88.0.1", "10.88.0.2"),
    ("stranger", "fd00:88::1", "fd00:88::2"),
    // Itself.
    ("target", "192.0.2.1", "10.77.0.1"),
    ("target", "2001:db8::1", "fd00:77::1"),
];

#[test]
fn everybody_gets_through() {
    on_both_kinds_of_bridges(|| {
        target().add().unwrap();
        for (from, at, as_whom) in PATHS {
            assert_eq!(seen(from, at), as_whom, "{from} at {at}");
        }
        target().del();
        for (from, at) in
            [("remote", "192.0.2.1"), ("", "127.0.0.1"), ("neighbour", "10.77.0.1"), ("remote", "2001:db8::1")]
        {
            assert!(is_silent(from, at), "{from} at {at}");
        }
    });
}

#[test]
fn all_sources_are_translated_where_that_is_asked_for() {
    on_both_kinds_of_bridges(|| {
        target().options(r#""masqAll": true"#).add().unwrap();
        for (from, at, as_whom) in [
            ("remote", "192.0.2.1", "10.77.0.1"),
            ("remote", "2001:db8::1", "fd00:77::1"),
            ("stranger", "10.88.0.1", "10.77.0.1"),
            ("neighbour", "192.0.2.1", "10.77.0.1"),
            ("target", "192.0.2.1", "10.77.0.1"),
            ("", "127.0.0.1", "10.77.0.1"),
        ] {
            assert_eq!(seen(from, at), as_whom, "{from} at {at}");
        }
    });
}

#[test]
fn no_source_is_translated_where_that_is_not_wanted() {
    namespace(|| {
        shell(TOPOLOGY);
        target().options(r#""snat": false"#).add().unwrap();
        assert_eq!(seen("remote", "192.0.2.1"), "192.0.2.9");
        assert_eq!(seen("stranger", "10.88.0.1"), "10.88.0.2");
        assert!(is_silent("", "127.0.0.1"));
    });
}

#[test]
fn a_certain_address_is_the_only_one() {
    namespace(|| {
        shell(TOPOLOGY);
        let pod = target();
        pod.clone().ports(&["127.0.0.1:8080:80/tcp", "127.0.0.1:8053:53/udp"]).add().unwrap();
        assert_eq!(seen("", "127.0.0.1"), "10.77.0.1");
        assert!(is_silent("", "192.0.2.1") && is_silent("remote", "192.0.2.1"));
        pod.clone().ports(&["[2001:db8::1]:8080:80/tcp", "[2001:db8::1]:8053:53/udp"]).add().unwrap();
        assert_eq!(seen("remote", "2001:db8::1"), "2001:db8::9");
        assert!(is_silent("", "fd00:77::1") && is_silent("", "127.0.0.1"));
    });
}

/// The certain address leads to one container, all others to another.
#[test]
fn a_certain_address_comes_first() {
    namespace(|| {
        shell(TOPOLOGY);
        let other = Pod::new("cid2").ips(&["10.77.0.3/24"]).ports(&["8080:80/tcp", "8053:53/udp"]);
        other.add().unwrap();
        target().ports(&["192.0.2.1:8080:80/tcp", "192.0.2.1:8053:53/udp"]).add().unwrap();
        assert_eq!(seen("remote", "192.0.2.1"), "192.0.2.9");
        assert!(is_silent("stranger", "10.88.0.1"), "that one is for the other");
    });
}

#[test]
fn conditions_hold() {
    namespace(|| {
        shell(TOPOLOGY);
        let conditions = r#""conditionsV4": ["ip", "saddr", "192.0.2.0/24"], "conditionsV6": ["iifname != \"up*\""]"#;
        target().options(conditions).add().unwrap();
        assert_eq!(seen("remote", "192.0.2.1"), "192.0.2.9");
        assert!(is_silent("stranger", "10.88.0.1"));
        assert_eq!(seen("stranger", "fd00:88::1"), "fd00:88::2");
        assert!(is_silent("remote", "2001:db8::1"));
        // A port under conditions comes before the same one without.
        Pod::new("cid2").ips(&["10.77.0.3/24"]).ports(&["8080:80/tcp", "8053:53/udp"]).add().unwrap();
        assert_eq!(seen("remote", "192.0.2.1"), "192.0.2.9");
    });
}

/// A container without a network of its own, as with `ptp`.
#[test]
fn a_container_with_a_prefix_of_a_host() {
    on_both_kinds_of_bridges(|| {
        let pod = target().ips(&["10.77.0.2/32", "fd00:77::2/128"]);
        pod.add().unwrap();
        assert_eq!(seen("target", "192.0.2.1"), "10.77.0.1");
        assert_eq!(seen("target", "2001:db8::1"), "fd00:77::1");
        assert_eq!(seen("", "127.0.0.1"), "10.77.0.1");
        assert_eq!(seen("remote", "192.0.2.1"), "192.0.2.9");
    });
}

/// `route_localnet` would let whoever is on the link ask the host's own 127.0.0.1.
#[test]
fn nobody_else_reaches_127_0_0_1() {
    namespace(|| {
        shell(TOPOLOGY);
        let server = UdpSocket::bind("127.0.0.1:9999").unwrap();
        server.set_read_timeout(Some(SILENCE)).unwrap();
        shell(
            "ip -n neighbour route add 127.0.0.2/32 via 10.77.0.1; ip netns exec neighbour sh -c 'ip addr flush dev lo; ip route flush table local dev lo; echo 1 > /proc/sys/net/ipv4/conf/all/route_localnet'; ip -n neighbour route replace 127.0.0.1/32 via 10.77.0.1 src 10.77.0.3",
        );
        let attack = || {
            let client = inside("neighbour", || UdpSocket::bind("10.77.0.3:0").unwrap());
            let _ = client.send_to(b"attack", "127.0.0.1:9999");
            server.recv_from(&mut [0; 16]).is_ok()
        };
        shell("echo 1 > /proc/sys/net/ipv4/conf/br77/route_localnet");
        assert!(attack(), "without the guard it would get through");
        target().add().unwrap();
        assert_eq!(shell("cat /proc/sys/net/ipv4/conf/br77/route_localnet"), "1\n");
        assert!(!attack());
        assert_eq!(seen("", "127.0.0.1"), "10.77.0.1");
    });
}

/// Datagrams of one who never stops sending reach the container that has the port now.
#[test]
fn a_flow_follows_its_port() {
    namespace(|| {
        shell(TOPOLOGY);
        let servers = [("target", "10.77.0.2:53"), ("neighbour", "10.77.0.3:53")].map(|(netns, address)| {
            let server = inside(netns, || UdpSocket::bind(address).unwrap());
            server.set_read_timeout(Some(PATIENCE)).unwrap();
            server
        });
        let client = inside("remote", || UdpSocket::bind("192.0.2.9:5000").unwrap());
        let reaches = |number: usize| {
            client.send_to(b"hello", "192.0.2.1:8053").unwrap();
            servers[number].recv_from(&mut [0; 16]).is_ok()
        };
        let first = target();
        first.add().unwrap();
        assert!(reaches(0));
        first.del();
        Pod::new("cid2").ips(&["10.77.0.3/24"]).ports(&["8053:53/udp"]).add().unwrap();
        assert!(reaches(1));
    });
}
