//! Flows that are older than the mapping, or outlive it.

use super::*;

/// Tells the kernel of a flow of UDP from `source` to `to`, which leads to `target`: addresses and ports.
fn flow(source: &str, to: (&str, u16), target: (&str, u16)) {
    flow_of("udp", source, to, target);
}

fn flow_of(protocol: &str, source: &str, to: (&str, u16), target: (&str, u16)) {
    let ((address, port), (real, real_port)) = (to, target);
    let state = match protocol {
        "tcp" => "--state ESTABLISHED",
        "sctp" => "--state ESTABLISHED --orig-vtag 1 --reply-vtag 2",
        _ => "",
    };
    shell(&format!(
        "conntrack -I -p {protocol} {state} -t 600 -s {source} -d {address} --sport 4000 --dport {port} \
         --reply-src {real} --reply-dst {source} --reply-port-src {real_port} --reply-port-dst 4000 2>/dev/null"
    ));
}

/// The sources of all flows that have ports; others are the kernel's own talk.
fn flows() -> Vec<String> {
    let listed = shell("conntrack -L -f ipv4 2>/dev/null; conntrack -L -f ipv6 2>/dev/null");
    let source = |line: &str| line.split_once("src=").map(|(_, rest)| rest.split(' ').next().unwrap().to_owned());
    let mut sources: Vec<String> = listed.lines().filter(|line| line.contains("sport=")).filter_map(source).collect();
    sources.sort();
    sources
}

const HOST: &str = "
    ip link set lo up
    ip link add up0 type bridge
    ip link set up0 up
    ip addr add 192.0.2.1/24 dev up0
    ip addr add 2001:db8::1/64 dev up0 nodad
";

#[test]
fn what_goes_elsewhere_begins_anew() {
    namespace(|| {
        shell(HOST);
        let all = || {
            flow("10.0.0.1", ("192.0.2.1", 53), ("10.77.0.9", 53)); // to an earlier container
            flow("10.0.0.2", ("192.0.2.1", 53), ("192.0.2.1", 53)); // to the host itself
            flow("10.0.0.3", ("127.0.0.1", 53), ("127.0.0.1", 53));
            flow("10.0.0.4", ("192.0.2.1", 53), ("10.77.0.2", 53)); // where it should, and will again
            flow("10.0.0.5", ("8.8.8.8", 53), ("8.8.8.8", 53)); // not to the host at all
            flow("10.0.0.6", ("10.96.0.10", 53), ("10.77.0.9", 53)); // somebody else's translation
            flow("10.0.0.7", ("192.0.2.1", 54), ("10.77.0.9", 54)); // another port
            flow("2001:db8::6", ("2001:db8::1", 53), ("fd00:77::9", 53));
            flow("2001:db8::7", ("2001:db8::9", 53), ("fd00:77::9", 53));
        };
        all();
        Pod::new("cid1").ports(&["53:53/udp"]).add().unwrap();
        assert_eq!(flows(), ["10.0.0.5", "10.0.0.6", "10.0.0.7", "2001:db8::7"]);
        shell("conntrack -F 2>/dev/null; nft flush ruleset");
        all();
        flow_of("tcp", "10.0.0.8", ("192.0.2.1", 53), ("192.0.2.1", 53));
        Pod::new("cid1").ports(&["53:53/tcp"]).add().unwrap();
        assert_eq!(flows().len(), 10, "connections to the host itself go on");
    });
}

#[test]
fn a_certain_address_is_about_flows_to_it() {
    namespace(|| {
        shell(HOST);
        flow("10.0.0.1", ("192.0.2.1", 53), ("10.77.0.9", 53));
        flow("10.0.0.2", ("127.0.0.1", 53), ("10.77.0.9", 53));
        flow("10.0.0.3", ("192.0.2.9", 53), ("10.77.0.9", 53)); // the host's in a moment, or a moment ago
        Pod::new("cid1").ports(&["192.0.2.9:53:53/udp", "127.0.0.1:53:53/udp"]).add().unwrap();
        assert_eq!(flows(), ["10.0.0.1"]);
    });
}

#[test]
fn what_went_through_the_mapping_ends_with_it() {
    namespace(|| {
        shell(HOST);
        let pod = Pod::new("cid1").ports(&["53:5353/udp"]);
        let deletions: [&dyn Fn(); 4] =
            [&|| pod.del(), &|| pod.del_blindly(), &|| pod.clone().ports(&[]).del(), &|| collect("n1", &[])];
        for deletion in deletions {
            pod.add().unwrap();
            flow("10.0.0.1", ("192.0.2.1", 53), ("10.77.0.2", 5353));
            flow("10.0.0.2", ("192.0.2.1", 53), ("10.77.0.9", 5353)); // to another container
            flow("10.0.0.3", ("192.0.2.1", 53), ("10.77.0.2", 53)); // to another port of it
            flow("10.0.0.4", ("10.77.0.2", 5353), ("10.77.0.2", 5353)); // directly
            flow("10.0.0.5", ("192.0.2.1", 54), ("10.77.0.2", 5353)); // by another port
            flow("2001:db8::6", ("2001:db8::1", 53), ("fd00:77::2", 5353));
            deletion();
            assert_eq!(flows(), ["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"]);
            shell("conntrack -F 2>/dev/null");
        }
    });
}

#[test]
fn of_all_protocols() {
    namespace(|| {
        shell(HOST);
        let pod = Pod::new("cid1").ports(&["80:8080/tcp", "80:8080/sctp", "53:5353/udp"]);
        let by_iptables = pod.clone().options(r#""backend": "iptables""#);
        let blindly = || pod.clone().ports(&[]).del_blindly();
        let cases: [(&Pod, &dyn Fn()); 4] = [
            (&pod, &|| pod.del()),
            (&pod, &|| collect("n1", &[])),
            (&by_iptables, &blindly),
            (&by_iptables, &|| collect("n1", &[])),
        ];
        for (pod, deletion) in cases {
            pod.add().unwrap();
            for (last, protocol) in [(1, "tcp"), (2, "sctp")] {
                flow_of(protocol, &format!("10.0.0.{last}"), ("192.0.2.1", 80), ("10.77.0.2", 8080));
                flow_of(protocol, &format!("2001:db8::{last}"), ("2001:db8::1", 80), ("fd00:77::2", 8080));
                flow_of(protocol, &format!("10.0.1.{last}"), ("192.0.2.1", 81), ("10.77.0.2", 8080)); // by another port
                flow_of(protocol, &format!("10.0.2.{last}"), ("192.0.2.1", 80), ("10.77.0.9", 8080)); // to another
                flow_of(protocol, &format!("2001:db8:2::{last}"), ("2001:db8::1", 80), ("fd00:77::9", 8080));
            }
            deletion();
            let others = ["10.0.1.1", "10.0.1.2", "10.0.2.1", "10.0.2.2", "2001:db8:2::1", "2001:db8:2::2"];
            assert_eq!(flows(), others);
            shell("conntrack -F 2>/dev/null");
        }
    });
}

#[test]
fn to_a_dead_container_whose_port_is_taken_over() {
    namespace(|| {
        shell(HOST);
        Pod::new("dead").dev(Some("veth9")).ips(&["10.77.0.9/24"]).ports(&["80:8080/tcp"]).add().unwrap();
        flow_of("tcp", "10.0.0.1", ("192.0.2.1", 80), ("10.77.0.9", 8080));
        Pod::new("cid1").ports(&["80:8080/tcp"]).add().unwrap();
        assert_eq!(flows(), [""; 0]);
    });
}
