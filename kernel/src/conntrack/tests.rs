use std::process::Command;

use super::*;
use crate::nft::Nft;
use crate::sandbox::alone;

fn conntrack(words: &str) -> String {
    let output = Command::new("conntrack").args(words.split_whitespace()).output().expect("conntrack is installed");
    assert!(output.status.success(), "{words}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Makes a flow from `source` to `destination` that really leads to `target`.
fn track(protocol: &str, source: &str, destination: (&str, u16), target: (&str, u16)) {
    let (to, port) = destination;
    let (from, real) = target;
    let extra = match protocol {
        "tcp" => "--state ESTABLISHED",
        "sctp" => "--state ESTABLISHED --orig-vtag 1 --reply-vtag 2",
        _ => "",
    };
    conntrack(&format!(
        "-I -p {protocol} -t 600 -s {source} -d {to} --sport 40000 --dport {port} \
         --reply-src {from} --reply-dst {source} --reply-port-src {real} --reply-port-dst 40000 {extra}"
    ));
}

/// The sources of all flows, sorted.
fn left() -> Vec<String> {
    let listed = conntrack("-L -f ipv4") + &conntrack("-L -f ipv6");
    let source = |line: &str| Some(line.split_once("src=")?.1.split(' ').next()?.to_owned());
    let mut sources: Vec<String> = listed.lines().filter_map(source).collect();
    sources.sort();
    sources
}

fn everything() {
    conntrack("-F");
    track("udp", "10.0.0.1", ("192.0.2.1", 53), ("10.77.0.2", 5353));
    track("udp", "10.0.0.2", ("192.0.2.1", 53), ("192.0.2.1", 53));
    track("udp", "10.0.0.3", ("192.0.2.2", 53), ("10.77.0.2", 5353));
    track("udp", "10.0.0.4", ("192.0.2.1", 54), ("10.77.0.2", 5353));
    track("tcp", "10.0.0.5", ("192.0.2.1", 53), ("10.77.0.2", 5353));
    track("udp", "fd00::6", ("2001:db8::1", 53), ("fd00::2", 53));
    track("tcp", "fd00::7", ("2001:db8::1", 53), ("fd00::2", 53));
    track("sctp", "10.0.0.8", ("192.0.2.1", 53), ("10.77.0.2", 5353));
    track("sctp", "10.0.0.9", ("192.0.2.1", 54), ("10.77.0.2", 5353));
}

const IPPROTO_SCTP: u8 = 132;

fn pattern(address: Option<&str>, target: Option<(&str, u16)>) -> Pattern {
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let address = address.map(ip);
    let target = target.map(|(address, port)| (ip(address), port));
    let is_ipv6 = address.or(target.map(|(address, _)| address)).is_some_and(|ip| ip.is_ipv6());
    Pattern { is_ipv6, protocol: IPPROTO_UDP, port: 53, address, target }
}

/// What is left when the flows of these patterns are forgotten: by the kernel's filter, and by lists, as on kernels that
/// have none.
fn without(patterns: &[Pattern]) -> Vec<String> {
    let (sender, receiver) = std::sync::mpsc::channel();
    let patterns = patterns.to_vec();
    alone(move || {
        let mut nft = Nft::open().unwrap();
        everything();
        nft.conntrack().forget(&patterns).unwrap();
        let by_filter = left();
        everything();
        let (v6, v4): (Vec<Pattern>, Vec<Pattern>) = patterns.iter().partition(|pattern| pattern.is_ipv6);
        [v4, v6].iter().for_each(|of_family| nft.conntrack().forget_listed(of_family).unwrap());
        assert_eq!(left(), by_filter);
        sender.send(by_filter).unwrap();
    });
    receiver.recv().unwrap()
}

#[test]
fn only_flows_of_a_pattern_go() {
    let all =
        ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.8", "10.0.0.9", "fd00::6", "fd00::7"];
    let but = |gone: &[usize]| -> Vec<&str> {
        all.iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, source)| *source).collect()
    };
    let container = ("10.77.0.2", 5353);
    let tcp = |pattern| Pattern { protocol: IPPROTO_TCP, ..pattern };
    let sctp = |pattern| Pattern { protocol: IPPROTO_SCTP, ..pattern };
    let table = [
        (vec![], but(&[])),
        (vec![pattern(None, None)], but(&[0, 1, 2])),
        (vec![Pattern { is_ipv6: true, ..pattern(None, None) }], but(&[7])),
        (vec![pattern(Some("192.0.2.1"), None)], but(&[0, 1])),
        (vec![pattern(None, Some(container))], but(&[0, 2])),
        (vec![pattern(None, Some(("10.77.0.2", 53)))], but(&[])),
        (vec![pattern(Some("192.0.2.2"), Some(container))], but(&[2])),
        (vec![pattern(Some("192.0.2.9"), None)], but(&[])),
        (vec![pattern(Some("2001:db8::1"), Some(("fd00::2", 53)))], but(&[7])),
        (vec![tcp(pattern(Some("2001:db8::1"), Some(("fd00::2", 53))))], but(&[8])),
        (vec![tcp(pattern(None, None))], but(&[4])),
        (vec![tcp(pattern(None, Some(container)))], but(&[4])),
        (vec![tcp(pattern(None, Some(("10.77.0.9", 5353))))], but(&[])),
        (vec![sctp(pattern(None, Some(container)))], but(&[5])),
        (vec![sctp(pattern(Some("192.0.2.2"), None))], but(&[])),
        (vec![pattern(None, Some(container)), tcp(pattern(None, None)), sctp(pattern(None, None))], but(&[0, 2, 4, 5])),
        (vec![pattern(None, None), Pattern { port: 54, ..pattern(None, None) }], but(&[0, 1, 2, 3])),
        (vec![pattern(Some("192.0.2.1"), None), pattern(Some("2001:db8::1"), None)], but(&[0, 1, 7])),
    ];
    for (patterns, expected) in table {
        assert_eq!(without(&patterns), expected, "{patterns:?}");
    }
}

/// The kernel filters lists, so that a busy host does not tell all that it knows.
#[test]
fn only_what_was_asked_for_is_listed() {
    alone(|| {
        everything();
        let mut nft = Nft::open().unwrap();
        let mut count = |patterns: &[Pattern]| nft.conntrack().socket.dump(&list(false, patterns)).unwrap().len();
        let at = |port| Pattern { port, ..pattern(None, None) };
        assert_eq!(count(&[at(53)]), 3);
        assert_eq!(count(&[at(1)]), 0);
        assert_eq!(count(&[at(1), at(2)]), 4, "those of UDP");
        assert_eq!(count(&[at(1), Pattern { protocol: IPPROTO_TCP, ..at(1) }]), 7, "all");
    });
}

/// The tuple alone is not enough: another flow may have it by now.
#[test]
fn a_flow_of_another_id_stays() {
    alone(|| {
        track("udp", "192.0.2.9", ("192.0.2.1", 53), ("10.77.0.2", 53));
        let mut nft = Nft::open().unwrap();
        let found =
            nft.conntrack().socket.dump(&list(false, &[pattern(None, None)])).unwrap().iter().find_map(flow).unwrap();
        let other = Flow { id: !found.id, ..found };
        let refused = nft.conntrack().socket.request(deletion(&other)).unwrap_err();
        assert!(refused.is_not_found(), "{refused}");
        assert_eq!(left(), ["192.0.2.9"]);
        nft.conntrack().socket.request(deletion(&found)).unwrap();
        assert_eq!(left(), [""; 0]);
    });
}

#[test]
fn connections_are_counted() {
    alone(|| {
        let mut nft = Nft::open().unwrap();
        assert_eq!(nft.conntrack().count().unwrap(), Some(0));
        track("udp", "192.0.2.9", ("192.0.2.1", 53), ("10.77.0.2", 53));
        assert_eq!(nft.conntrack().count().unwrap(), Some(1));
    });
}
