//! What is measured. A new plugin is a new line in [`all`] and a function that gives its configuration.

use harness::{Netns, Suite};
use serde_json::{Value, json};

use crate::case::Case;
use crate::connections::Connections;
use crate::host::{Member, given, measured};
use crate::measurement::Measurement;
use crate::processes::Processes;
use crate::row::Goals;
use crate::side::Side;

const AGAINST_GO: Goals = Goals { add: Some(0.35), del: Some(0.9), memory: Some(0.35) };

/// The Go suite waits until the kernel has made sure that nobody else has the IPv6 address, which nobody can have.
const AGAINST_DAD: Goals = Goals { add: Some(0.02), ..AGAINST_GO };

/// An ADD of the Go suite's portmap starts dozens of processes with iptables, and three with nftables.
const AGAINST_IPTABLES: Goals = Goals { add: Some(0.1), ..AGAINST_GO };
const AGAINST_NFTABLES: Goals = Goals { add: Some(0.5), ..AGAINST_GO };

/// Our cost with many leases against our cost with none.
const GROWTH: Goals = Goals { add: Some(1.5), del: Some(1.5), memory: None };

/// The same with many port mappings.
const MAPPING_GROWTH: Goals = Goals { add: Some(1.3), del: Some(1.3), memory: None };

/// The first call has to read all leases, as every call of the Go suite does.
const NONE: Goals = Goals { add: None, del: None, memory: None };

pub(crate) fn all() -> Vec<Box<dyn Measurement>> {
    let cases = networks().into_iter().chain(pools()).chain(portmaps()).chain(chained()).chain(chains());
    let cases = cases.map(|case| Box::new(case) as Box<dyn Measurement>);
    let connections = connections().into_iter().map(|one| Box::new(one) as Box<dyn Measurement>);
    let processes = processes().into_iter().map(|one| Box::new(one) as Box<dyn Measurement>);
    cases.chain(connections).chain(processes).collect()
}

fn networks() -> Vec<Case> {
    vec![
        Case::new("bridge, host-local", vec![measured("bridge", bridge)]).goals(AGAINST_GO).neighbour(),
        Case::new("bridge, host-local, ipMasq: nftables, Go iptables", vec![measured("bridge", masquerade)])
            .goals(AGAINST_GO)
            .neighbour(),
        Case::new("loopback", vec![measured("loopback", loopback)]).goals(AGAINST_GO),
        Case::new("ptp, host-local", vec![measured("ptp", ptp)]).goals(AGAINST_GO),
        Case::new("ptp, host-local, IPv6", vec![measured("ptp", ptp_dual)])
            .goals(AGAINST_DAD)
            .one_in(8)
            .scene(detect_duplicates),
        Case::new("macvlan, host-local", vec![measured("macvlan", macvlan)]).goals(AGAINST_GO).scene(uplink),
        Case::new("tap, host-local, newer Go", vec![measured("tap", tap)])
            .between([Side::ours("ours"), Side::of(Suite::Newer, "go")])
            .goals(AGAINST_GO),
    ]
}

fn pools() -> Vec<Case> {
    vec![
        pool("host-local, no lease", 0),
        pool("host-local, 1,000 leases", 1_000),
        pool("host-local, 10,000 leases", 10_000).one_in(2),
        pool("host-local, 50,000 leases", 50_000).one_in(4),
        pool("host-local, 65,000 leases, /16 nearly full", 65_000).one_in(4),
        pool("host-local, 50,000 leases, first call", 50_000).goals(NONE).one_in(8).first_calls(),
        Case::new("host-local, 50,000 leases", vec![measured("host-local", host_local)])
            .between([Side::ours("many").leases(50_000), Side::ours("none")])
            .goals(GROWTH),
    ]
}

fn pool(name: &'static str, leases: usize) -> Case {
    let sides = [Side::ours("ours").leases(leases), Side::of(Suite::Go, "go").leases(leases)];
    Case::new(name, vec![measured("host-local", host_local)]).between(sides).goals(AGAINST_GO)
}

/// Two ports, one of TCP and one of UDP, with others' mappings beside them.
fn portmaps() -> Vec<Case> {
    let against = |name, suite, mappings, goals| {
        let sides = [Side::ours("ours").mappings(mappings), Side::of(suite, "go").mappings(mappings)];
        Case::new(name, published()).between(sides).goals(goals)
    };
    let iptables = |name, mappings| against(name, Suite::Go, mappings, AGAINST_IPTABLES);
    let nftables = |name, mappings| against(name, Suite::Newer, mappings, AGAINST_NFTABLES);
    vec![
        iptables("portmap, no mapping before, Go iptables", 0),
        iptables("portmap, 1,000 mappings, Go iptables", 1_000).one_in(2),
        iptables("portmap, 10,000 mappings, Go iptables", 10_000).one_in(8),
        nftables("portmap, no mapping before, Go nftables", 0),
        nftables("portmap, 1,000 mappings, Go nftables", 1_000).one_in(2),
        nftables("portmap, 10,000 mappings, Go nftables", 10_000).one_in(4),
        iptables("portmap, host with connections, Go iptables", 0).goals(AGAINST_GO).scene(connected),
        nftables("portmap, host with connections, Go nftables", 0).goals(AGAINST_NFTABLES).scene(connected),
        Case::new("portmap, 10,000 mappings", published())
            .between([Side::ours("many").mappings(10_000), Side::ours("none")])
            .goals(MAPPING_GROWTH),
    ]
}

fn published() -> Vec<Member> {
    vec![given("bridge", bridge), measured("portmap", portmap)]
}

/// The other plugins that come after one that makes an interface.
fn chained() -> Vec<Case> {
    let after_bridge = |name, plugin, config| {
        Case::new(name, vec![given("bridge", bridge), measured(plugin, config)]).goals(AGAINST_GO)
    };
    vec![
        after_bridge("firewall: nftables, Go iptables", "firewall", firewall),
        after_bridge("bandwidth, both ways", "bandwidth", bandwidth),
        after_bridge("tuning, sysctl and MTU", "tuning", tuning),
        after_bridge("sbr", "sbr", sbr),
    ]
}

fn chains() -> Vec<Case> {
    let against = |name, suite| {
        let sides = [Side::ours("ours"), Side::of(suite, "go")];
        Case::new(name, chain()).between(sides).goals(AGAINST_GO).neighbour()
    };
    vec![against("chain of four, Go iptables", Suite::Go), against("chain of four, Go nftables", Suite::Newer)]
}

fn processes() -> Vec<Processes> {
    vec![
        Processes { name: "processes of the chain, Go iptables", chain: chain(), other: Suite::Go },
        Processes { name: "processes of the chain, Go nftables", chain: chain(), other: Suite::Newer },
    ]
}

/// What a node runs for each container: network, ports, filter, settings.
fn chain() -> Vec<Member> {
    vec![
        measured("bridge", masquerade),
        measured("portmap", portmap),
        measured("firewall", firewall),
        measured("tuning", tuning),
    ]
}

fn connections() -> Vec<Connections> {
    let against = |name, suite, mappings, goal| {
        let sides = [Side::ours("ours").mappings(mappings), Side::of(suite, "go").mappings(mappings).second()];
        Connections { name, chain: published(), sides, goal }
    };
    let growth = [Side::ours("many").mappings(10_000), Side::ours("none").second()];
    vec![
        against("connection, 1 mapping, Go iptables", Suite::Go, 0, None),
        against("connection, 10,000 mappings, Go iptables", Suite::Go, 10_000, Some(0.9)),
        against("connection, 1 mapping, Go nftables", Suite::Newer, 0, None),
        against("connection, 10,000 mappings, Go nftables", Suite::Newer, 10_000, Some(0.9)),
        Connections { name: "connection, 10,000 mappings", chain: published(), sides: growth, goal: Some(1.3) },
    ]
}

fn bridge(side: &Side) -> Value {
    json!({
        "type": "bridge",
        "bridge": side.bridge(),
        "isDefaultGateway": true,
        "ipam": side.ipam(),
    })
}

/// The Go suite of Debian does not know the key `ipMasqBackend`, and has iptables only.
fn masquerade(side: &Side) -> Value {
    json!({
        "type": "bridge",
        "bridge": side.bridge(),
        "isDefaultGateway": true,
        "ipMasq": true,
        "ipMasqBackend": "nftables",
        "ipam": side.ipam(),
    })
}

fn loopback(_: &Side) -> Value {
    json!({"type": "loopback"})
}

fn ptp(side: &Side) -> Value {
    json!({"type": "ptp", "ipam": side.ipam()})
}

fn ptp_dual(side: &Side) -> Value {
    json!({"type": "ptp", "ipam": side.dual_ipam()})
}

fn macvlan(side: &Side) -> Value {
    json!({"type": "macvlan", "master": "uplink", "ipam": side.ipam()})
}

fn tap(side: &Side) -> Value {
    json!({"type": "tap", "ipam": side.ipam()})
}

/// The kernel's default, which the harness switches off.
fn detect_duplicates(netns: &Netns) {
    netns.sh("echo 1 >/proc/sys/net/ipv6/conf/default/dad_transmits");
}

/// Where connections are tracked, those of UDP have to be looked through, for which the kernel goes through all of its
/// table.
fn connected(netns: &Netns) {
    netns.sh("conntrack -I -p udp -t 600 -s 192.0.2.9 -d 192.0.2.1 --sport 40000 --dport 53 \
        --reply-src 192.0.2.1 --reply-dst 192.0.2.9 --reply-port-src 53 --reply-port-dst 40000");
}

/// A link to the outside, with a carrier.
fn uplink(netns: &Netns) {
    netns.sh("ip link add uplink type veth peer name outside; ip link set uplink up; ip link set outside up");
}

/// Called alone, as bridge calls it.
fn host_local(side: &Side) -> Value {
    json!({"type": "bridge", "ipam": side.ipam()})
}

/// The older Go suite has iptables only here too.
fn portmap(_: &Side) -> Value {
    json!({"type": "portmap", "backend": "nftables", "capabilities": {"portMappings": true}})
}

/// Neither Go suite has anything but iptables and firewalld, and firewalld is not there. Ours finds a host that does not
/// filter in iptables, and takes nftables.
fn firewall(_: &Side) -> Value {
    json!({"type": "firewall"})
}

/// Bits in a second, and bits.
fn bandwidth(_: &Side) -> Value {
    let (rate, burst) = (80_000_000, 8_000_000);
    json!({
        "type": "bandwidth",
        "ingressRate": rate,
        "ingressBurst": burst,
        "egressRate": rate,
        "egressBurst": burst,
    })
}

fn tuning(_: &Side) -> Value {
    json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "512"}, "mtu": 1400})
}

fn sbr(_: &Side) -> Value {
    json!({"type": "sbr"})
}
