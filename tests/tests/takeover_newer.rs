//! Newer releases of the Go suite have nftables back ends, which Debian's build is too old for. What they leave is written
//! here by `nft` in their layout, and is removed like the rest.

use std::process::Command;

use harness::{Chain, Node, Suite, chain, published, run, sh};
use serde_json::{Value, json};

/// A container with the addresses that it has got.
struct Container {
    id: &'static str,
    number: u8,
    port: u16,
}

const LIVE: Container = Container { id: "live", number: 2, port: 8080 };
const STALE: Container = Container { id: "stale", number: 3, port: 8081 };

/// Port mappings of one container in one family.
fn portmap(family: &str, address: &str, target: &str, Container { id, port, .. }: &Container) -> String {
    let local = match family {
        "ip" => format!("ip saddr 127.0.0.1 ip daddr {address} masquerade comment \"{id}\""),
        _ => String::new(),
    };
    format!(
        r#"
        table {family} cni_hostport {{
            comment "CNI portmap plugin"
            chain hostports {{
                tcp dport {port} dnat to {target}:7000 comment "{id}"
                udp dport {port} dnat to {target}:7000 comment "{id}"
            }}
            chain hostip_hostports {{ }}
            chain hostports_all {{ }}
            chain prerouting {{ type nat hook prerouting priority -100; }}
            chain output {{ type nat hook output priority -100; }}
            chain masquerading {{
                type nat hook postrouting priority 100;
                {family} saddr {address} {family} daddr {address} masquerade comment "{id}"
                {local}
            }}
        }}
        flush chain {family} cni_hostport hostports_all
        flush chain {family} cni_hostport prerouting
        flush chain {family} cni_hostport output
        add rule {family} cni_hostport hostports_all jump hostip_hostports
        add rule {family} cni_hostport hostports_all jump hostports
        add rule {family} cni_hostport prerouting fib daddr type local jump hostports_all
        add rule {family} cni_hostport output fib daddr type local jump hostports_all
        "#
    )
}

/// Masquerade of one container.
fn masquerade(Container { id, number, .. }: &Container) -> String {
    let digits = |text: &str| sh(&format!("printf %s '{text}' | sha512sum | cut -c1-16")).trim().to_owned();
    let comment = format!("{}-{}, net: net, if: eth0, id: {id}", digits("net"), digits(&format!("eth0:{id}")));
    format!(
        r#"
        table inet cni_plugins_masquerade {{
            comment "Masquerading for plugins from github.com/containernetworking/plugins"
            chain masq_checks {{
                comment "Masquerade traffic from certain IPs to any (non-multicast) IP outside their subnet"
                ip saddr 10.1.0.{number} ip daddr != 10.1.0.0/24 masquerade comment "{comment}"
                ip6 saddr fd00:1::{number} ip6 daddr != fd00:1::/64 masquerade comment "{comment}"
            }}
            chain postrouting {{ type nat hook postrouting priority 100; }}
        }}
        flush chain inet cni_plugins_masquerade postrouting
        add rule inet cni_plugins_masquerade postrouting ip daddr 224.0.0.0/4 return
        add rule inet cni_plugins_masquerade postrouting ip6 daddr ff00::/8 return
        add rule inet cni_plugins_masquerade postrouting goto masq_checks
        "#
    )
}

fn write_rules(container: &Container) {
    let (four, six) = (format!("10.1.0.{}", container.number), format!("fd00:1::{}", container.number));
    let rules = [
        portmap("ip", &four, &four, container),
        portmap("ip6", &six, &format!("[{six}]"), container),
        masquerade(container),
    ];
    let output = run(Command::new("nft").args(["-f", "-"]), rules.concat().as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Two containers are there; one goes in the way that is asked for, and the rules of the other stay.
fn taken_down(back_end: &str, take_down: fn(&Node, &Chain)) {
    Node::run(|node| {
        let chain = Chain::new(&chain("net", back_end), &published(STALE.port, 7000)).without(&[
            "firewall",
            "bandwidth",
            "tuning",
        ]);
        let theirs = chain.clone().without(&["portmap"]).of(Suite::Go).with(&json!({"ipMasq": false}));
        let live = node.netns("live");
        let live_has = theirs.add(&live, LIVE.id);
        write_rules(&LIVE);
        let before = node.state();
        theirs.add(&node.netns("stale"), STALE.id);
        write_rules(&STALE);
        assert!(node.state().has("dport\"}},\"right\":8081"), "{}", node.state());
        take_down(node, &chain);
        node.assert_nothing_left_since(&before);
        assert_eq!(before.left_since(&node.state()), [] as [&str; 0], "too much was removed");
        chain.with(&json!({"runtimeConfig": {}})).del(&live, LIVE.id, &live_has);
    });
}

fn del(node: &Node, chain: &Chain) {
    chain.del(&node.found("stale"), STALE.id, &Value::Null);
}

fn del_without_ports(node: &Node, chain: &Chain) {
    chain.clone().with(&json!({"runtimeConfig": {}})).del(&node.found("stale"), STALE.id, &Value::Null);
}

/// Its link has gone with it; that of the Go suite has no name by which it could be found.
fn gc(node: &Node, chain: &Chain) {
    node.found("stale").vanish();
    chain.gc_backwards(&[LIVE.id]);
}

#[test]
fn by_del() {
    taken_down("nftables", del);
    taken_down("iptables", del);
}

#[test]
fn by_del_without_ports() {
    taken_down("nftables", del_without_ports);
}

#[test]
fn by_gc() {
    taken_down("nftables", gc);
    taken_down("iptables", gc);
}
