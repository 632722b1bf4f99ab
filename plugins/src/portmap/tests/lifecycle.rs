//! From nothing to nothing: ADD, CHECK, DEL, GC.

use super::*;
use crate::injection::Refused;

#[test]
fn without_ports_there_is_nothing_to_do() {
    namespace(|| {
        let sockets = || shell("cat /proc/net/netlink | wc -l");
        let before = sockets();
        let pod = Pod::new("cid1");
        let answer = pod.add().unwrap();
        assert_eq!(answer.ips.len(), 2);
        pod.check().unwrap();
        pod.clone().options(r#""conditionsV4": ["whatever"]"#).add().unwrap();
        // Without an address there is nothing to lead to.
        pod.clone().ips(&[]).ports(&["8080:80/tcp"]).add().unwrap();
        assert_eq!(sockets(), before);
        pod.del();
        pod.del_blindly();
        collect("n1", &[]);
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn it_has_to_follow_another_plugin() {
    let pod = Pod::new("cid1").ports(&["8080:80/tcp"]);
    for pod in [&pod, &Pod::new("cid1")] {
        let (call, attachment) = pod.call_with(None);
        assert_eq!(Portmap.add(&call, &attachment).unwrap_err().msg, "must be called as chained plugin");
        assert_eq!(Portmap.check(&call, &attachment).unwrap_err().msg, "Required prevResult missing");
    }
    let (call, attachment) = pod.call_with(Some(r#"{"cniVersion": "0.9.9"}"#));
    let text = "could not parse prevResult: could not parse prevResult: result type supports";
    assert!(Portmap.check(&call, &attachment).unwrap_err().msg.starts_with(text));
    assert!(Portmap.add(&call, &attachment).unwrap_err().msg.starts_with(&format!("failed to parse config: {text}")));
}

#[test]
fn what_can_not_be_is_refused_before_anything_is_touched() {
    let pod = || Pod::new("cid1").ips(&["10.77.0.2/24"]);
    let table = [
        (pod().ports(&["0:80/tcp"]), "failed to parse config: Invalid host port number: 0"),
        (pod().ports(&["65536:80/tcp"]), "failed to parse config: Invalid host port number: 65536"),
        (pod().ports(&["1:80/zz"]), "failed to parse config: unknown protocol \"zz\" in the mapping of host port 1"),
        (pod().ports(&["8080:80/tcp", "zz:8080:80/tcp"]), "failed to parse config: invalid hostIP \"zz\""),
        (pod().ports(&["8080:80/tcp", "8080:81/tcp"]), "failed to parse config: host port 8080/tcp is mapped to both"),
        (
            pod().ports(&["8080:80/tcp", "[2001:db8::1]:8080:80/tcp"]),
            "failed to parse config: hostIP 2001:db8::1 of host port 8080 is an IPv6 address, and the container has none",
        ),
        (
            pod().ports(&["8080:80/tcp"]).options(r#""conditionsV6": ["tcp dport 1"]"#),
            "failed to parse config: conditionsV6: \"tcp\" is not understood",
        ),
        (
            pod().ports(&["8080:80/tcp"]).options(r#""backend": "zz""#),
            "failed to parse config: unrecognized backend \"zz\"",
        ),
        (
            pod().ports(&["8080:80/tcp"]).options(r#""markMasqBit": 32"#),
            "failed to parse config: MasqMarkBit must be between 0 and 31",
        ),
    ];
    namespace(|| {
        for (pod, expected) in &table {
            let refused = pod.refused();
            assert!(refused.starts_with(expected), "{refused}, not {expected}");
        }
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn deletion_takes_what_there_is_whatever_it_is_told() {
    namespace(|| {
        let pod = Pod::new("cid1").ports(&["8080:80/tcp", "192.0.2.1:53:53/udp"]);
        let other = Pod::new("cid2").dev(Some("veth2")).ips(&["10.77.0.3/24", "fd00:77::3/64"]).ports(&["8081:80/tcp"]);
        other.add().unwrap();
        let before = ruleset();
        let conditions = r#""conditionsV4": ["iifname", "eth0"]"#;
        let deletions: [(&str, &dyn Fn()); 7] = [
            ("as it was added", &|| pod.del()),
            ("without a result", &|| pod.del_blindly()),
            ("without ports", &|| pod.clone().ports(&[]).del()),
            ("without either", &|| pod.clone().ports(&[]).del_blindly()),
            ("with other ports", &|| pod.clone().ports(&["8080:80/tcp", "8081:80/tcp"]).del()),
            ("with other options", &|| pod.clone().options(r#""masqAll": true"#).options(conditions).del()),
            ("with other addresses", &|| pod.clone().ips(&["10.77.0.3/24"]).del()),
        ];
        for (how, deletion) in deletions {
            pod.add().unwrap();
            pod.check().unwrap();
            deletion();
            assert_eq!(ruleset(), before, "{how}");
            deletion();
            assert_eq!(ruleset(), before, "{how}, again");
        }
        let picky = pod.clone().options(conditions);
        picky.add().unwrap();
        pod.del();
        assert!(!ruleset().contains("cid1"), "{}", ruleset());
        other.check().unwrap();
    });
}

/// The Go suite's rules have the container's name alone; ours tell its attachments apart.
#[test]
fn attachments_of_one_container_do_not_disturb_each_other() {
    namespace(|| {
        let one = Pod::new("cid1").ports(&["8080:80/tcp"]);
        let two = Pod::new("cid1").net("n2").dev(Some("veth2")).ips(&["10.88.0.2/24"]).ports(&["8081:80/tcp"]);
        let three =
            Pod { ifname: "eth1".into(), ..two.clone().net("n1").ips(&["10.77.0.9/24"]).ports(&["8082:80/tcp"]) };
        for pod in [&one, &two, &three] {
            pod.add().unwrap();
        }
        one.del_blindly();
        two.check().unwrap();
        three.check().unwrap();
        three.del();
        two.check().unwrap();
        collect("n1", &[]);
        two.check().unwrap();
        collect("n2", &[("cid1", "eth1")]);
        assert!(!ruleset().contains("cid1"), "{}", ruleset());
    });
}

#[test]
fn collection_takes_the_dead_of_one_network_and_what_belongs_to_empty_networks() {
    namespace(|| {
        let pod = |net: &str, id: &str, last: u8| {
            let ips = [format!("10.77.{last}.2/24"), format!("fd00:{last}::2/64")];
            let pod = Pod::new(id).net(net).ips(&[&ips[0], &ips[1]]);
            pod.ports(&[&format!("{}:80/tcp", 8000 + u16::from(last)), &format!("{}:80/udp", 8000 + u16::from(last))])
        };
        let (alive, dead, other) = (pod("n1", "alive", 1), pod("n1", "dead", 2), pod("n2", "dead", 3));
        let gone = Pod { ifname: "eth9".into(), ..pod("n1", "alive", 4) };
        for pod in [&alive, &dead, &other, &gone] {
            pod.add().unwrap();
        }
        let (call, _) = alive.call();
        Portmap.gc(&call, &ValidAttachments::unspecified()).unwrap();
        dead.check().unwrap();
        collect("n1", &[("alive", "eth0")]);
        alive.check().unwrap();
        other.check().unwrap();
        let listed = ruleset();
        assert!(!listed.contains("net: n1, if: eth0, id: dead") && !listed.contains("eth9"), "{listed}");
        assert!(!listed.contains("10.77.2.0") && !listed.contains("fd00:4"), "{listed}");
        // The network comes back with its next container.
        dead.add().unwrap();
        dead.check().unwrap();
        collect("n1", &[]);
        collect("n2", &[]);
        let listed = ruleset();
        assert!(!listed.contains("net-") && !listed.contains("comment \"43"), "{listed}");
    });
}

#[test]
fn check_tells_what_is_missing() {
    namespace(|| {
        let pod = Pod::new("cid1").ports(&["8080:80/tcp", "53:53/udp"]);
        let missing = || pod.check().map_err(|error| (error.msg, error.details)).unwrap_err();
        let (hostports, masquerading) = (
            "missing hostport rules in \"hostports\" chain".to_owned(),
            "missing hostport rules in \"masquerading\" chain".to_owned(),
        );
        assert_eq!(missing().0, hostports);
        pod.add().unwrap();
        pod.check().unwrap();
        shell("nft delete element inet xnet_portmap hostports4 '{ udp . 53 }'");
        let (msg, details) = missing();
        assert_eq!(msg, hostports);
        assert!(details.starts_with("nft add element inet xnet_portmap hostports4 { udp . 53 comment"), "{details}");
        pod.add().unwrap();
        shell("nft flush chain inet xnet_portmap output");
        let (msg, details) = missing();
        assert_eq!(
            (msg, details.as_str()),
            (
                hostports,
                "nft add rule inet xnet_portmap output fib daddr type local jump hostports comment \"to this host\""
            )
        );
        shell("nft add rule inet xnet_portmap output fib daddr type local jump hostports comment '\"to this host\"'");
        pod.check().unwrap();
        shell("nft delete element inet xnet_portmap local4 '{ 10.77.0.2 }'");
        assert_eq!(missing().0, masquerading);
        pod.add().unwrap();
        shell("nft flush chain inet xnet_portmap guard");
        assert_eq!(missing().0, masquerading);
    });
}

#[test]
fn packets_of_the_host_may_leave_from_127_0_0_1() {
    namespace(|| {
        shell("ip link add br0 type bridge; ip addr add 10.77.0.1/24 dev br0; ip link set br0 up");
        let parameter = || shell("cat /proc/sys/net/ipv4/conf/br0/route_localnet");
        let pod = Pod::new("cid1").ports(&["8080:80/tcp"]);
        for unneeded in [
            pod.clone().options(r#""snat": false"#),
            pod.clone().ips(&["fd00:77::2/64"]),
            pod.clone().ports(&["[::]:8080:80/tcp"]),
            pod.clone().ports(&[]),
        ] {
            unneeded.add().unwrap();
            unneeded.del();
            assert_eq!(parameter(), "0\n");
        }
        pod.add().unwrap();
        assert_eq!(parameter(), "1\n");
        pod.check().unwrap();
        shell("echo 0 > /proc/sys/net/ipv4/conf/br0/route_localnet");
        assert_eq!(pod.check().unwrap_err().msg, "sysctl net/ipv4/conf/br0/route_localnet is 0, not 1");
    });
}

#[test]
fn nothing_is_left_whatever_step_fails() {
    for backend in ["nftables", "iptables"] {
        let pod = Pod::new("cid1").ports(&["8080:80/tcp", "53:53/udp"]).options(&format!(r#""backend": "{backend}""#));
        for failing in 0..=2 {
            namespace(|| {
                shell("ip link add br0 type bridge; ip addr add 10.77.0.1/24 dev br0; ip link set br0 up");
                let (call, attachment) = pod.call();
                let (config, previous) = load(&call).unwrap();
                let target = Target::of(attachment.owner(&call.name), &previous.unwrap());
                let mut steps = plan(&config, &target).unwrap().into_steps();
                assert_eq!(steps.len(), 2);
                steps.insert(failing, Box::new(Refused));
                let failed = forward(&call, steps.into_iter().collect(), &[], &mut Machine::host_only());
                assert_eq!(failed.unwrap_err().msg, "injected");
                let left = ruleset();
                assert!(!left.contains("cid1") && !left.contains("dport 8080") && !left.contains("CNI-DN"), "{left}");
                let count = left.matches("elements").count();
                assert_eq!(count, 0, "{left}");
                let opened = shell("cat /proc/sys/net/ipv4/conf/br0/route_localnet");
                assert_eq!(opened, if failing < 2 { "0\n" } else { "1\n" }, "set when all else has been done");
            });
        }
    }
}

/// A plan prints as what one would type.
#[test]
fn plans_print_as_commands() {
    let pod = Pod::new("cid1").ips(&["10.77.0.2/24"]).ports(&["8080:80/tcp"]);
    let (call, attachment) = pod.call();
    let (config, previous) = load(&call).unwrap();
    let target = Target::of(attachment.owner(&call.name), &previous.unwrap());
    let tag = "43d91f8451058a70-0b65a318f52e521b, dev: veth1, net: n1, if: eth0, id: cid1";
    let table = "nft create element inet xnet_portmap";
    let expected = format!(
        "{table} hostports4 {{ tcp . 8080 comment \"{tag}\" : 10.77.0.2 . 80 }}\n\
         {table} net-10.77.0.0/24 {{ 10.77.0.2 comment \"{tag}\" }}\n\
         {table} local4 {{ 10.77.0.2 comment \"{tag}\" }}\n\
         {table} attachments {{ 0x43d91f84 . 0x51058a70 . 0x0b65a318 . 0xf52e521b comment \"{tag}\" : 0x00000003 }}\n\
         sysctl -w net/ipv4/conf/$(ip -o route get 10.77.0.2 | sed 's/.* dev //; s/ .*//')/route_localnet=1\n"
    );
    assert_eq!(plan(&config, &target).unwrap().to_string(), expected);
}
