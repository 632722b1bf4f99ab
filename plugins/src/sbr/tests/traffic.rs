//! What `tcpdump` sees at the routers: packets leave by the interface of their source address.

use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Child;

use super::*;

/// The far addresses, which both routers have.
const FAR: [&str; 2] = ["192.0.2.9", "2001:db8::9"];

/// `tcpdump` at a router, until it has seen `count` packets to a far address.
struct Tap(Child);

impl Tap {
    fn at(router: &str, count: usize) -> Self {
        let filter = format!("udp and (dst host {} or dst host {})", FAR[0], FAR[1]);
        let mut child = Command::new("timeout")
            .args(["20", "ip", "netns", "exec", router, "tcpdump", "-ni", "eth0", "-lc", &count.to_string(), &filter])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stderr.as_mut().unwrap()).lines();
        let lines: Vec<String> =
            told.map_while(Result::ok).take_while(|line| !line.starts_with("listening on")).collect();
        assert!(child.try_wait().unwrap().is_none(), "{lines:?}");
        Self(child)
    }

    /// The sources of the packets.
    fn sources(mut self) -> Vec<String> {
        let mut text = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.0.wait().unwrap();
        // `12:00:00.000000 IP 10.1.0.2.4711 > 192.0.2.9.9: UDP, length 1`
        let source =
            |line: &str| line.split(' ').nth(2).and_then(|word| word.rsplit_once('.')).map(|(ip, _)| ip.to_owned());
        let mut sources: Vec<String> = text.lines().filter_map(source).collect();
        sources.sort();
        sources
    }
}

/// Sends a packet from an address of the pod to the far address of its family.
fn send(from: &str) {
    let pod = NetNs::open("/run/netns/pod").unwrap();
    let from: IpAddr = from.parse().unwrap();
    let far: IpAddr = FAR[usize::from(from.is_ipv6())].parse().unwrap();
    let socket = pod.run(|| UdpSocket::bind(SocketAddr::new(from, 0)).unwrap()).unwrap();
    socket.send_to(b"x", SocketAddr::new(far, 9)).unwrap();
}

const SOURCES: [&str; 4] = ["10.1.0.2", "10.2.0.2", "fd01::2", "fd02::2"];

fn interfaces(mut between: impl FnMut(u8)) {
    shell(TOPOLOGY);
    for number in [1, 2] {
        shell("ip -n pod route del default 2>/dev/null || true; ip -n pod -6 route del default 2>/dev/null || true");
        attach(number);
        between(number);
    }
}

#[test]
fn without_the_plugin_all_leave_by_the_default_route() {
    namespace(|| {
        interfaces(|_| ());
        let tap = Tap::at("r2", 4);
        SOURCES.iter().for_each(|source| send(source));
        assert_eq!(tap.sources(), SOURCES);
    });
}

#[test]
fn each_leaves_by_the_interface_of_its_source() {
    for keys in ["", r#", "addSourceHints": true"#] {
        namespace(|| {
            interfaces(|number| {
                let ifname = format!("net{number}");
                Caller { ifname: &ifname, ..NET1 }.ours(&Sbr, "ADD", &conf(number, keys)).good();
            });
            let taps = [Tap::at("r1", 2), Tap::at("r2", 2)];
            SOURCES.iter().for_each(|source| send(source));
            let seen = taps.map(Tap::sources);
            assert_eq!(seen, [["10.1.0.2", "fd01::2"], ["10.2.0.2", "fd02::2"]], "{keys}");
        });
    }
}
