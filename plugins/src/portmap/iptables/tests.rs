//! The chains of the Go suite, made and taken down by either.

mod lifecycle;
mod neighbours;

use std::thread;

use cni::Owner;
use cni::plugin::ValidAttachments;
use kernel::plan::{Applied, Plan};

use super::super::config::Backend;
use super::*;
use crate::iptables::FAMILIES;
use crate::iptables::tests::{both, go_well, legacy, namespace, node, notes, rules, shell};

const IPS: [&str; 2] = ["10.77.0.2/24", "fd00::2/64"];
/// The four lines that all attachments share, and what is left of an IPv4 node when all are gone.
const SHARED: [&str; 8] = [
    ":CNI-HOSTPORT-DNAT - [0:0]",
    ":CNI-HOSTPORT-MASQ - [0:0]",
    ":CNI-HOSTPORT-SETMARK - [0:0]",
    "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
    "-A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT",
    "-A POSTROUTING -m comment --comment \"CNI portfwd requiring masquerade\" -j CNI-HOSTPORT-MASQ",
    "-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE",
    "-A CNI-HOSTPORT-SETMARK -m comment --comment \"CNI portfwd masquerade mark\" -j MARK --set-xmark 0x2000/0x2000",
];

fn owner(net: &str, id: &str, ifname: &str) -> Owner {
    Owner::new(net.parse().unwrap(), id.parse().unwrap(), ifname.parse().unwrap())
}

/// `8080:80/tcp` or `127.0.0.1:8080:80/tcp`, with the host's address in brackets if it is IPv6.
fn mapping(text: &str) -> Mapping {
    let (text, protocol) = text.split_once('/').unwrap();
    let (text, container_port) = text.rsplit_once(':').unwrap();
    let (host_ip, host_port) = text.rsplit_once(':').map_or((None, text), |(ip, port)| (Some(ip), port));
    Mapping {
        host_port: host_port.parse().unwrap(),
        container_port: container_port.parse().unwrap(),
        protocol: Protocol::parse(protocol).unwrap(),
        host_ip: host_ip.map(|ip| ip.trim_matches(['[', ']']).parse().unwrap()),
    }
}

fn config(mappings: &[&str]) -> Config {
    Config {
        backend: Backend::Iptables,
        snat: true,
        masq_all: false,
        mark: Mark::Bit(13),
        conditions_v4: vec![],
        conditions_v6: vec![],
        mappings: mappings.iter().map(|text| mapping(text)).collect(),
    }
}

/// The same for the Go suite.
fn document(config: &Config) -> String {
    let quote = |words: &[String]| words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let mappings = config.mappings.iter().map(|mapping| {
        let ip = mapping.host_ip.map(|ip| ip.to_string()).unwrap_or_default();
        format!(
            r#"{{"hostPort": {}, "containerPort": {}, "protocol": "{}", "hostIP": "{ip}"}}"#,
            mapping.host_port, mapping.container_port, mapping.protocol
        )
    });
    let mark = match &config.mark {
        Mark::Bit(bit) => format!(r#""markMasqBit": {bit}"#),
        Mark::Chain(chain) => format!(r#""externalSetMarkChain": "{chain}""#),
    };
    let conditions = [("conditionsV4", &config.conditions_v4), ("conditionsV6", &config.conditions_v6)];
    let conditions = conditions.iter().filter(|(_, words)| !words.is_empty());
    let conditions: String = conditions.map(|(key, words)| format!("\"{key}\": [{}], ", quote(words))).collect();
    format!(
        r#""snat": {}, "masqAll": {}, {mark}, {conditions} "runtimeConfig": {{"portMappings": [{}]}},"#,
        config.snat,
        config.masq_all,
        mappings.collect::<Vec<_>>().join(", ")
    )
}

fn step(owner: &Owner, config: &Config, ips: &[&str]) -> Rules {
    let ips = ips.iter().map(|text| text.parse().unwrap()).collect();
    Rules::new(&Target { owner: owner.clone(), ips, dev: Some("br0".into()) }, config)
}

fn try_add(owner: &Owner, config: &Config, ips: &[&str]) -> Result<(), String> {
    let mut plan = Plan::new();
    plan.push(step(owner, config, ips));
    let mut done = Applied::default();
    plan.apply(&mut Machine::host_only(), &mut done).map_err(|failure| failure.text)
}

/// As ADD does it.
fn add(owner: &Owner, config: &Config, ips: &[&str]) {
    try_add(owner, config, ips).unwrap();
}

/// As CHECK does it: what is missing.
fn check(owner: &Owner, config: &Config, ips: &[&str]) -> Option<String> {
    let mut plan = Plan::new();
    plan.push(step(owner, config, ips));
    plan.check(&mut Machine::host_only()).err().map(|deviation| deviation.to_string())
}

/// As DEL does it.
fn del(owner: &Owner) {
    remove(&mut Machine::host_only(), owner).unwrap();
}

/// As GC does it.
fn collect(net: &str, valid: &[(&str, &str)]) {
    let valid = ValidAttachments::new(valid.iter().copied());
    gc(&mut Machine::host_only(), &net.parse().unwrap(), &valid).unwrap();
}

/// Everything in `nat`, of both families.
fn everything() -> [Vec<String>; 2] {
    FAMILIES.map(|family| rules(family, NAT))
}

fn all_notes() -> Vec<String> {
    FAMILIES.iter().flat_map(|family| notes(*family, NAT)).collect()
}

/// Configurations that cover every branch of the layout but `masqAll`, which the suite at hand does not know yet.
fn layouts() -> Vec<Config> {
    let many: Vec<String> = (0..40).map(|n| format!("{}:80/{}", 9000 + n, ["tcp", "udp"][n % 2])).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let ips = ["127.0.0.1:53:53/udp", "[::1]:8081:81/tcp", "0.0.0.0:8082:82/sctp", "[::]:8083:83/tcp", "8084:84/udp"];
    let condition = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    vec![
        config(&["8080:80/tcp"]),
        config(&ips),
        config(&many),
        Config { snat: false, ..config(&ips) },
        Config { mark: Mark::Bit(0), ..config(&["8080:80/tcp"]) },
        Config { mark: Mark::Bit(31), ..config(&["8080:80/tcp"]) },
        Config { mark: Mark::Chain("MARKER".into()), ..config(&["8080:80/tcp", "8080:80/udp"]) },
        Config {
            conditions_v4: condition("-s 192.0.2.0/24 ! -i eth7 -m mark --mark 0x1"),
            conditions_v6: condition("! -d 2001:db8::1/128"),
            ..config(&["8080:80/tcp", "53:53/udp"])
        },
    ]
}

/// What both of us make of the same configuration, one after the other on a node of its own.
fn compare(id: &str, config: &Config) {
    let prepare = || {
        node();
        shell("iptables -t nat -N MARKER; ip6tables -t nat -N MARKER");
        // What another plugin has done before.
        shell("iptables -t nat -A POSTROUTING -s 10.77.0.9 -j ACCEPT; iptables -t nat -A OUTPUT -j RETURN");
    };
    let theirs = namespace(|| {
        prepare();
        go_well("portmap", "ADD", id, &IPS, &document(config));
        everything()
    });
    namespace(|| {
        prepare();
        let owner = owner("n1", id, "eth0");
        add(&owner, config, &IPS);
        assert_eq!(everything(), theirs, "{config:?}");
        assert_eq!(check(&owner, config, &IPS), None);
        add(&owner, config, &IPS);
        assert_eq!(everything(), theirs, "a second ADD changes {config:?}");
        go_well("portmap", "ADD", id, &IPS, &document(config));
        assert_eq!(everything(), theirs, "an ADD of the Go suite changes {config:?}");
    });
}

#[test]
fn rules_are_the_go_suites_to_the_byte() {
    layouts().iter().for_each(|config| compare("cid1", config));
    for length in [200, 224, 225, 226, 240, 400] {
        compare(&"x".repeat(length), &config(&["8080:80/tcp"]));
    }
}

#[test]
fn masquerading_of_everything_needs_no_source() {
    let config = Config { masq_all: true, ..config(&["127.0.0.1:53:53/udp", "8080:80/tcp"]) };
    let lines = step(&owner("n1", "cid1", "eth0"), &config, &IPS).to_string();
    let own = lines.lines().filter(|line| line.contains("-A CNI-DN-")).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(own, @r"
    iptables -t nat -A CNI-DN-ca7a875c2b85fc44a8551 -d 127.0.0.1/32 -p udp -m udp --dport 53 -j CNI-HOSTPORT-SETMARK
    iptables -t nat -A CNI-DN-ca7a875c2b85fc44a8551 -d 127.0.0.1/32 -p udp -m udp --dport 53 -j DNAT --to-destination 10.77.0.2:53
    iptables -t nat -A CNI-DN-ca7a875c2b85fc44a8551 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
    iptables -t nat -A CNI-DN-ca7a875c2b85fc44a8551 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.77.0.2:80
    ip6tables -t nat -A CNI-DN-ca7a875c2b85fc44a8551 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
    ip6tables -t nat -A CNI-DN-ca7a875c2b85fc44a8551 -p tcp -m tcp --dport 8080 -j DNAT --to-destination [fd00::2]:80
    ");
    namespace(|| {
        let owner = owner("n1", "cid1", "eth0");
        add(&owner, &config, &IPS);
        assert_eq!(check(&owner, &config, &IPS), None, "it is listed as it was written");
    });
}

#[test]
fn plans_print_as_commands() {
    let step = step(&owner("n1", "cid1", "eth0"), &config(&["8080:80/tcp"]), &IPS[..1]);
    insta::assert_snapshot!(step, @r#"
    iptables -t nat -N CNI-HOSTPORT-SETMARK
    iptables -t nat -N CNI-HOSTPORT-MASQ
    iptables -t nat -N CNI-HOSTPORT-DNAT
    iptables -t nat -N CNI-DN-ca7a875c2b85fc44a8551
    iptables -t nat -N XNET-HOSTPORT
    iptables -t nat -A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
    iptables -t nat -A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
    iptables -t nat -I POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
    iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
    iptables -t nat -A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
    iptables -t nat -A CNI-DN-ca7a875c2b85fc44a8551 -s 10.77.0.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
    iptables -t nat -A CNI-DN-ca7a875c2b85fc44a8551 -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
    iptables -t nat -A CNI-DN-ca7a875c2b85fc44a8551 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.77.0.2:80
    iptables -t nat -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"n1\" id: \"cid1\"" -m multiport --dports 8080 -j CNI-DN-ca7a875c2b85fc44a8551
    iptables -t nat -A XNET-HOSTPORT -d 10.77.0.2/32 -m comment --comment "43d91f8451058a70-0b65a318f52e521b, dev: br0, net: n1, if: eth0, id: cid1"
    "#);
    assert_eq!(self::step(&owner("n1", "cid1", "eth0"), &config(&[]), &IPS).to_string(), "");
    assert_eq!(self::step(&owner("n1", "cid1", "eth0"), &config(&["8080:80/tcp"]), &[]).to_string(), "");
}

/// Twenty containers that start on a fresh node.
#[test]
fn what_is_shared_is_there_once() {
    both(|| {
        let start = |n: usize| {
            let (id, ip, port) = (format!("cid{n}"), format!("10.77.0.{}/24", n + 2), format!("{}:80/tcp", 8000 + n));
            add(&owner("n1", &id, "eth0"), &config(&[&port]), &[&ip]);
        };
        thread::scope(|scope| (0..20).for_each(|n| drop(scope.spawn(move || start(n)))));
        let left = rules(Family::V4, NAT);
        let (own, shared): (Vec<_>, Vec<_>) = left.into_iter().partition(|rule| rule.contains("CNI-DN-"));
        assert_eq!(shared, SHARED);
        assert_eq!(own.len(), 20 * 5);
        thread::scope(|scope| {
            (0..20).for_each(|n| drop(scope.spawn(move || del(&owner("n1", &format!("cid{n}"), "eth0")))))
        });
        assert_eq!(rules(Family::V4, NAT), SHARED);
        assert_eq!(all_notes(), [""; 0]);
    });
}

#[test]
fn check_says_what_is_missing_in_the_words_of_the_go_suite() {
    namespace(|| {
        let (owner, config) = (owner("n1", "cid1", "eth0"), config(&["8080:80/tcp"]));
        let missing = || check(&owner, &config, &IPS).unwrap();
        let chain = "CNI-DN-ca7a875c2b85fc44a8551";
        let absent = format!("could not check ipv4 dnat: chain {chain} not found in iptables table nat");
        assert_eq!(missing(), absent);
        add(&owner, &config, &IPS);
        shell(&format!("ip6tables -t nat -F {chain}"));
        let rule = "[[-s fd00::/64 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK]]";
        assert_eq!(
            missing(),
            format!("could not check ipv6 dnat: rule {rule} in chain {chain} not found in table nat")
        );
        shell("iptables -t nat -F PREROUTING");
        let rule = "[[-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT]]";
        let absent = format!("could not check ipv4 dnat: rule {rule} in chain PREROUTING not found in table nat");
        assert_eq!(missing(), absent);
        add(&owner, &config, &IPS);
        assert_eq!(check(&owner, &config, &IPS), None);
    });
}
