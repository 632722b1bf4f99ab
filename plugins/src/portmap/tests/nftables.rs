//! The layout, and what an attachment adds to it.

use super::*;

#[test]
fn the_layout_is_as_documented() {
    let listed = namespace(|| {
        let pod = Pod::new("cid1").ips(&["10.77.0.2/24"]).ports(&["8080:80/tcp", "127.0.0.1:53:5353/udp"]);
        pod.add().unwrap();
        ruleset()
    });
    let tag = "43d91f8451058a70-0b65a318f52e521b, dev: veth1, net: n1, if: eth0, id: cid1";
    assert_eq!(listed.replace(tag, "TAG"), include_str!("ruleset.nft"));
}

/// What an administrator saves must load again, and mean the same.
#[test]
fn the_ruleset_can_be_saved_and_loaded() {
    namespace(|| {
        let pod = Pod::new("cid1").ports(&["8080:80/tcp", "192.0.2.1:53:53/udp", "[2001:db8::1]:9:9/sctp"]);
        let odd = Pod::new("cid2").ips(&["10.9.9.9/32", "fd01::9/128"]).ports(&["81:81/tcp"]);
        let picky = Pod::new("cid3").ips(&["10.88.0.2/16"]).ports(&["82:82/tcp"]);
        let picky = picky.options(r#""conditionsV4": ["iifname", "eth*", "ip saddr != 10.0.0.0/8", "mark 0x10"]"#);
        for pod in [&pod, &odd, &picky] {
            pod.add().unwrap();
        }
        let listed = ruleset();
        shell("nft list ruleset > /run/saved; nft flush ruleset; nft -f /run/saved");
        assert_eq!(ruleset(), listed);
        for pod in [&pod, &odd, &picky] {
            pod.check().unwrap();
            pod.del();
        }
        assert!(!ruleset().contains("cid"));
    });
}

#[test]
fn a_mapping_is_an_element_for_each_family_that_it_is_for() {
    namespace(|| {
        let ports = ["8080:80/tcp", "0.0.0.0:81:81/tcp", "[::]:82:82/tcp", "192.0.2.1:83:83/udp", "[::1]:84:84/sctp"];
        Pod::new("cid1").ports(&ports).add().unwrap();
        let tag = "43d91f8451058a70-0b65a318f52e521b, dev: veth1, net: n1, if: eth0, id: cid1";
        let found = |set: &str| elements(set).replace(&format!(" comment \"{tag}\""), "");
        let mut four: Vec<String> = found("hostports4").split(", ").map(str::to_owned).collect();
        four.sort();
        assert_eq!(four, ["tcp . 8080 : 10.77.0.2 . 80", "tcp . 81 : 10.77.0.2 . 81"]);
        assert_eq!(found("hostip4"), "192.0.2.1 . udp . 83 : 10.77.0.2 . 83");
        let mut six: Vec<String> = found("hostports6").split(", ").map(str::to_owned).collect();
        six.sort();
        assert_eq!(six, ["tcp . 8080 : fd00:77::2 . 80", "tcp . 82 : fd00:77::2 . 82"]);
        assert_eq!(found("hostip6"), "::1 . sctp . 84 : fd00:77::2 . 84");
    });
}

/// The same port written for any address and for any of IPv4 is one element.
#[test]
fn what_is_said_twice_is_done_once() {
    namespace(|| {
        let pod = Pod::new("cid1").ports(&["8080:80/tcp", "0.0.0.0:8080:80/tcp", "8080:80/tcp"]);
        pod.add().unwrap();
        assert_eq!(elements("hostports4").matches(" : ").count(), 1);
        pod.check().unwrap();
        pod.del();
        assert!(!ruleset().contains("cid1"));
    });
}

#[test]
fn sources_are_translated_as_the_options_say() {
    let sets = |options: &str, ips: &[&str]| {
        namespace(|| {
            Pod::new("cid1").ips(ips).ports(&["8080:80/tcp"]).options(options).add().unwrap();
            let all = ["all4", "self4", "local4", "all6", "self6", "net-10.77.0.0/24", "net-fd00_77__/64"];
            let found = all.iter().filter(|set| !elements(set).is_empty());
            found.copied().collect::<Vec<_>>().join(" ")
        })
    };
    let ips = ["10.77.0.2/24", "fd00:77::2/64"];
    assert_eq!(sets("", &ips), "local4 net-10.77.0.0/24 net-fd00_77__/64");
    assert_eq!(sets(r#""masqAll": true"#, &ips), "all4 all6");
    assert_eq!(sets(r#""snat": false"#, &ips), "");
    assert_eq!(sets(r#""snat": false, "masqAll": true"#, &ips), "");
    assert_eq!(sets("", &["10.77.0.2/32", "fd00:77::2/128"]), "self4 local4 self6");
}

/// However many containers there are, only their networks bring rules.
#[test]
fn rules_come_with_networks() {
    namespace(|| {
        let count = || ruleset().lines().filter(|line| line.contains("masquerade") || line.contains("dnat")).count();
        for number in 2..30 {
            let ips = [format!("10.77.0.{number}/24"), format!("fd00:77::{number}/128")];
            let pod = Pod::new(&format!("cid{number}")).ips(&[&ips[0], &ips[1]]);
            pod.ports(&[&format!("{}:80/tcp", 8000 + number)]).add().unwrap();
        }
        let before = count();
        Pod::new("other").ips(&["10.78.0.2/24"]).ports(&["9000:80/tcp"]).add().unwrap();
        assert_eq!(count(), before + 1);
    });
}

#[test]
fn conditions_have_maps_of_their_own() {
    namespace(|| {
        let picky = r#""conditionsV4": ["iifname", "eth0"], "conditionsV6": ["iifname != eth1"]"#;
        let pods: Vec<Pod> = (2..5)
            .map(|number| {
                let ips = [format!("10.77.0.{number}/24"), format!("fd00:77::{number}/64")];
                let pod = Pod::new(&format!("cid{number}")).ips(&[&ips[0], &ips[1]]).options(picky);
                pod.ports(&[&format!("{}:80/tcp", 8000 + number), &format!("192.0.2.1:{}:80/tcp", 9000 + number)])
            })
            .collect();
        for pod in &pods {
            pod.add().unwrap();
            pod.check().unwrap();
        }
        // The same port, for other packets.
        let other = Pod::new("other").ips(&["10.78.0.2/24"]).ports(&["8002:80/tcp"]);
        other.add().unwrap();
        let listed = ruleset();
        assert_eq!(listed.matches("iifname \"eth0\" jump conditional4-").count(), 1, "{listed}");
        assert_eq!(listed.matches("iifname != \"eth1\" jump conditional6-").count(), 1, "{listed}");
        assert_eq!(elements("hostports4").matches("comment").count(), 1);
        pods.iter().for_each(Pod::del);
        collect("n1", &[("other", "eth0")]);
        let listed = ruleset();
        assert!(
            !listed.contains("hostports4-")
                && !listed.contains("conditional4-")
                && !listed.contains("iifname \"eth0\""),
            "{listed}"
        );
        other.check().unwrap();
        pods[0].add().unwrap();
        pods[0].check().unwrap();
    });
}

/// What an ADD sends and what it causes is the same among ten thousand.
#[test]
fn an_add_is_one_transaction_however_many_there_are() {
    namespace(|| {
        let pod = Pod::new("cid1").ips(&["10.77.0.2/16"]).ports(&["8080:80/tcp", "5353:53/udp"]);
        pod.add().unwrap(); // and the layout
        let transactions = |work: &dyn Fn()| {
            let mut nft = Nft::open().unwrap();
            let before = nft.generation().unwrap();
            work();
            nft.generation().unwrap() - before
        };
        let add = || drop(pod.add().unwrap());
        for _ in 0..2 {
            assert_eq!(transactions(&|| pod.del()), 1);
            assert_eq!(transactions(&add), 1);
            let crowd: String = (0..10_000u32)
                .map(|n| {
                    let (a, b) = (1 + n / 250, n % 250);
                    format!(
                        "add element inet xnet_portmap hostports4 {{ tcp . {} : 10.77.{a}.{b} . 80 }}\n",
                        10_000 + n
                    )
                })
                .collect();
            std::fs::write("/run/crowd", crowd).unwrap();
            shell("nft -f /run/crowd");
        }
    });
}

#[test]
fn the_kernel_is_asked_whether_it_would_do() {
    namespace(|| {
        let status = |options: &str| {
            let (call, _) = Pod::new("nobody").options(options).call_with(None);
            Portmap.status(&call)
        };
        status("").unwrap();
        assert_eq!(ruleset(), "");
        Pod::new("cid1").ports(&["8080:80/tcp"]).add().unwrap();
        let before = ruleset();
        status("").unwrap();
        assert_eq!(ruleset(), before);
        status(r#""backend": "iptables""#).unwrap();
        let wrong = status(r#""backend": "nftables", "externalSetMarkChain": "X""#).unwrap_err();
        assert!(wrong.msg.contains("iptables-specific options"), "{wrong}");
    });
}
