//! The chains of the Go suite, made and taken down by either.

use std::io::Write;

use super::*;

/// The rules of `nat`, without policies and counters.
fn rules(command: &str) -> Vec<String> {
    let saved = shell(&format!("{command}-save -t nat"));
    saved.lines().filter(|line| line.starts_with("-A") || line.starts_with(":CNI")).map(str::to_owned).collect()
}

const JUMP: &str = r#"-A POSTROUTING -s 10.77.0.2/32 -m comment --comment "name: \"n1\" id: \"cid1\"" -j CNI-ca7a875c2b85fc44a855128b"#;
const ACCEPT: &str =
    r#"-A CNI-ca7a875c2b85fc44a855128b -d 10.77.0.0/24 -m comment --comment "name: \"n1\" id: \"cid1\"" -j ACCEPT"#;
const MASQUERADE: &str = r#"-A CNI-ca7a875c2b85fc44a855128b ! -d 224.0.0.0/4 -m comment --comment "name: \"n1\" id: \"cid1\"" -j MASQUERADE"#;

#[test]
fn rules_are_the_go_suites_to_the_byte() {
    namespace(|| {
        let owner = owner("n1", "cid1", "eth0");
        add(Backend::Iptables, &owner, &["10.77.0.2/24", "fd00::2/64"]);
        assert_eq!(rules("iptables"), [":CNI-ca7a875c2b85fc44a855128b - [0:0]", JUMP, ACCEPT, MASQUERADE]);
        assert_eq!(
            rules("ip6tables"),
            [
                ":CNI-ca7a875c2b85fc44a855128b - [0:0]",
                r#"-A POSTROUTING -s fd00::2/128 -m comment --comment "name: \"n1\" id: \"cid1\"" -j CNI-ca7a875c2b85fc44a855128b"#,
                r#"-A CNI-ca7a875c2b85fc44a855128b -d fd00::/64 -m comment --comment "name: \"n1\" id: \"cid1\"" -j ACCEPT"#,
                r#"-A CNI-ca7a875c2b85fc44a855128b ! -d ff00::/8 -m comment --comment "name: \"n1\" id: \"cid1\"" -j MASQUERADE"#,
            ]
        );
        assert_eq!(check(Backend::Iptables, &owner, &["10.77.0.2/24", "fd00::2/64"]), None);
        let before = (rules("iptables"), rules("ip6tables"));
        add(Backend::Iptables, &owner, &["10.77.0.2/24", "fd00::2/64"]);
        assert_eq!((rules("iptables"), rules("ip6tables")), before);
        shell("iptables -t nat -F POSTROUTING");
        let missing = check(Backend::Iptables, &owner, &["10.77.0.2/24"]).unwrap();
        assert_eq!(missing, format!("missing: iptables -t nat {JUMP}"));
    });
}

#[test]
fn deletion_needs_no_addresses() {
    namespace(|| {
        let owner = owner("n1", "cid1", "eth0");
        for known in [&["10.77.0.2", "fd00::2"][..], &[]] {
            add(Backend::Iptables, &owner, &["10.77.0.2/24", "fd00::2/64"]);
            del(&owner, known);
            assert_eq!((rules("iptables"), rules("ip6tables")), (vec![], vec![]));
            del(&owner, known);
        }
    });
}

/// Two interfaces of one container in one network share the chain.
#[test]
fn the_other_interface_keeps_what_it_needs() {
    namespace(|| {
        let (one, other) = (owner("n1", "cid1", "eth0"), owner("n1", "cid1", "eth1"));
        add(Backend::Iptables, &one, &["10.77.0.2/24", "10.78.0.2/24"]);
        add(Backend::Iptables, &other, &["10.77.0.3/24"]);
        del(&one, &["10.77.0.2", "10.78.0.2"]);
        assert_eq!(check(Backend::Iptables, &other, &["10.77.0.3/24"]), None);
        let left = rules("iptables");
        let expected = [":CNI-ca7a875c2b85fc44a855128b - [0:0]", &JUMP.replace("0.2/32", "0.3/32"), ACCEPT, MASQUERADE];
        assert_eq!(left, expected);
        del(&other, &["10.77.0.3"]);
        assert_eq!(rules("iptables"), Vec::<String>::new());
    });
}

/// Network "ab" with container "c" has the same chain as network "a" with container "bc".
#[test]
fn a_colliding_chain_is_left_to_the_other_network() {
    namespace(|| {
        let (one, other) = (owner("ab", "c", "eth0"), owner("a", "bc", "eth0"));
        add(Backend::Iptables, &one, &["10.77.0.2/24"]);
        add(Backend::Iptables, &other, &["10.88.0.2/24"]);
        del(&one, &[]);
        assert_eq!(check(Backend::Iptables, &other, &["10.88.0.2/24"]), None);
        assert!(!rules("iptables").iter().any(|rule| rule.contains("10.77.0.2")));
    });
}

/// Old releases of the Go suite wrote the source with the network's prefix, and there are nodes with legacy iptables.
#[test]
fn historic_rules_and_legacy_tables_are_taken_down() {
    namespace(|| {
        for command in ["iptables-nft", "iptables-legacy"] {
            let historic = JUMP.replace("10.77.0.2/32", "10.77.0.2/24");
            let input = format!(
                "*nat\n:CNI-ca7a875c2b85fc44a855128b - [0:0]\n{ACCEPT}\n{MASQUERADE}\n{JUMP}\n{historic}\nCOMMIT\n"
            );
            let mut child = Command::new(format!("{command}-restore")).arg("-n").stdin(Stdio::piped()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
        }
        assert_eq!((rules("iptables-nft").len(), rules("iptables-legacy").len()), (5, 5));
        del(&owner("n1", "cid1", "eth0"), &["10.77.0.2"]);
        assert_eq!((rules("iptables-nft"), rules("iptables-legacy")), (vec![], vec![]));
    });
}

#[test]
fn collection_goes_by_network_and_container() {
    namespace(|| {
        for (net, id, address) in [
            ("n1", "alive", "10.77.0.2/24"),
            ("n1", "dead", "10.77.0.3/24"),
            ("n1", "dead", "fd00::3/64"),
            ("n2", "dead", "10.88.0.3/24"),
            ("n1x", "dead", "10.89.0.3/24"),
        ] {
            add(Backend::Iptables, &owner(net, id, "eth0"), &[address]);
        }
        shell("iptables -t nat -A POSTROUTING -s 10.0.0.1 -m comment --comment 'name: \"n1\" id: \"dead\"' -j RETURN");
        collect("n1", &[("alive", "eth0")]);
        let left = rules("iptables");
        assert!(!left.iter().any(|rule| rule.contains("10.77.0.3")), "{left:?}");
        assert!(left.iter().any(|rule| rule.contains("-j RETURN")), "somebody else's rule is gone: {left:?}");
        assert_eq!(rules("ip6tables"), Vec::<String>::new());
        for (net, id, address) in
            [("n1", "alive", "10.77.0.2/24"), ("n2", "dead", "10.88.0.3/24"), ("n1x", "dead", "10.89.0.3/24")]
        {
            assert_eq!(check(Backend::Iptables, &owner(net, id, "eth0"), &[address]), None, "{net}");
        }
    });
}

const GO: &str = r#""ipMasq": true, "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.77.0.0/24"}]]}"#;

#[test]
fn either_suite_takes_down_what_the_other_made() {
    namespace(|| {
        let owner = owner("n1", "cid1", "eth0");
        shell("ip link set lo up; ip netns add container");
        go_bridge("ADD", GO);
        let theirs = rules("iptables");
        assert_eq!(theirs.len(), 4, "{theirs:?}");
        assert_eq!(check(Backend::Iptables, &owner, &["10.77.0.2/24"]), None);
        del(&owner, &[]);
        assert_eq!(rules("iptables"), Vec::<String>::new());
        add(Backend::Iptables, &owner, &["10.77.0.2/24"]);
        assert_eq!(rules("iptables"), theirs);
        go_bridge("DEL", GO);
        assert_eq!(rules("iptables"), Vec::<String>::new());
    });
}
