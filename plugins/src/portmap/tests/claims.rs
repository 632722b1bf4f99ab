//! Who has a port, and who gets it.

use std::sync::Barrier;

use super::*;

/// A link of the host that stands for a container that lives.
fn link(name: &str) {
    shell(&format!("ip link add {name} type veth peer name {name}-far"));
}

#[test]
fn a_live_container_keeps_its_port() {
    namespace(|| {
        link("veth7");
        let first =
            Pod::new("first").dev(Some("veth7")).ips(&["10.77.0.7/24"]).ports(&["8080:80/tcp", "[::]:8080:80/tcp"]);
        first.add().unwrap();
        let before = ruleset();
        let second = Pod::new("second").net("n2").ips(&["10.88.0.2/24", "fd00:88::2/64"]);
        let refused = second.clone().ports(&["9090:80/tcp", "8080:8000/tcp"]).refused();
        let expected = "host port 8080/tcp is taken by container first (eth0) in network n1, 10.77.0.7:80; \
                        DEL that attachment, or GC network n1 if the container is gone; while doing: ";
        assert!(refused.starts_with(expected), "{refused}");
        assert!(refused.contains("nft create element inet xnet_portmap hostports4 { tcp . 8080 comment"), "{refused}");
        assert_eq!(ruleset(), before, "nothing of the refused is left");
        // Other ports, other protocols, certain addresses, and the family that the first has no address of.
        for free in ["8081:80/tcp", "8080:80/udp", "192.0.2.1:8080:80/tcp", "[::]:8080:80/tcp"] {
            let pod = second.clone().ports(&[free]);
            pod.add().unwrap_or_else(|error| panic!("{free}: {error}"));
            pod.check().unwrap();
            pod.del();
        }
        first.check().unwrap();
    });
}

#[test]
fn certain_addresses_are_ports_of_their_own() {
    namespace(|| {
        link("veth7");
        let first = Pod::new("first").dev(Some("veth7")).ips(&["10.77.0.7/24"]).ports(&["192.0.2.1:53:53/udp"]);
        first.add().unwrap();
        let other = Pod::new("second").ips(&["10.77.0.8/24"]);
        let refused = other.clone().ports(&["192.0.2.1:53:53/udp"]).refused();
        assert!(refused.starts_with("host port 53/udp at 192.0.2.1 is taken by container first (eth0)"), "{refused}");
        other.ports(&["192.0.2.2:53:53/udp", "53:53/udp"]).add().unwrap();
        first.check().unwrap();
    });
}

#[test]
fn the_port_of_a_container_whose_link_is_gone_is_free() {
    namespace(|| {
        let dead = Pod::new("dead").dev(Some("veth9")).ips(&["10.77.0.7/24"]).ports(&["8080:80/tcp", "8081:80/tcp"]);
        dead.add().unwrap();
        let heir = Pod::new("heir").ports(&["8080:8000/tcp"]);
        heir.add().unwrap();
        heir.check().unwrap();
        assert!(dead.check().unwrap_err().to_string().contains("it belongs to: "));
        // A late DEL takes what is left of it, and nothing of the heir's.
        dead.del();
        heir.check().unwrap();
        assert!(!ruleset().contains("id: dead"), "{}", ruleset());
    });
}

/// Rules of iptables see the same packets as the maps.
#[test]
fn a_port_in_the_maps_is_none_for_iptables() {
    namespace(|| {
        link("veth7");
        let first = Pod::new("first").dev(Some("veth7")).ips(&["10.77.0.7/24"]).ports(&["8080:80/tcp"]);
        first.add().unwrap();
        Pod::new("dead").dev(Some("veth9")).ips(&["10.77.0.9/24"]).ports(&["8081:80/tcp"]).add().unwrap();
        let before = ruleset();
        let other = Pod::new("other").ips(&["10.77.0.8/24"]).options(r#""backend": "iptables""#);
        let refused = other.clone().ports(&["8080:80/tcp"]).refused();
        let expected = "host port 8080/tcp is taken by container first (eth0) in network n1, 10.77.0.7:80; \
                        DEL that attachment, or GC network n1 if the container is gone";
        assert_eq!(refused, expected);
        assert_eq!(ruleset(), before);
        let other = other.ports(&["8081:80/tcp", "8080:80/udp"]);
        other.add().unwrap();
        other.add().unwrap();
        other.check().unwrap();
        first.check().unwrap();
        assert!(!elements("hostports4").contains("8081"));
        other.del();
    });
}

/// IPAM gives an address to one container only, so whoever else has a port that leads there is gone.
#[test]
fn the_port_of_a_container_whose_address_is_ours_is_free() {
    namespace(|| {
        link("veth7");
        let dead = Pod::new("dead").dev(Some("veth7")).ports(&["8080:80/tcp"]);
        dead.add().unwrap();
        let heir = Pod::new("heir").net("n2").dev(None).ports(&["8080:80/tcp"]);
        heir.add().unwrap();
        heir.check().unwrap();
        dead.del();
        heir.check().unwrap();
    });
}

#[test]
fn without_a_proof_of_death_nothing_is_taken() {
    namespace(|| {
        let unknown = Pod::new("unknown").dev(None).ips(&["10.77.0.7/24"]).ports(&["8080:80/tcp"]);
        unknown.add().unwrap();
        let refused = Pod::new("cid1").ports(&["8080:80/tcp"]).refused();
        assert!(
            refused.starts_with("host port 8080/tcp is taken by container unknown (eth0) in network n1"),
            "{refused}"
        );
        unknown.del();
        shell("nft add element inet xnet_portmap hostports4 '{ tcp . 8080 : 192.0.2.9 . 1 }'");
        let refused = Pod::new("cid1").ports(&["8080:80/tcp"]).refused();
        let expected =
            "host port 8080/tcp is taken by somebody unknown, 192.0.2.9:1; delete that element if nobody needs it";
        assert!(refused.starts_with(expected), "{refused}");
    });
}

#[test]
fn adding_again_is_harmless_and_replaces() {
    namespace(|| {
        let pod = Pod::new("cid1").ports(&["8080:80/tcp", "53:53/udp"]);
        pod.add().unwrap();
        let before = ruleset();
        pod.add().unwrap();
        assert_eq!(ruleset(), before);
        // With a new link, other ports and options, as after a restart of the container.
        let anew =
            Pod::new("cid1").dev(Some("veth2")).options(r#""masqAll": true"#).ports(&["8080:8000/tcp", "81:81/tcp"]);
        anew.add().unwrap();
        anew.check().unwrap();
        let listed = ruleset();
        assert!(!listed.contains("dev: veth1") && !listed.contains("udp . 53"), "{listed}");
        anew.del();
        assert!(!ruleset().contains("cid1"));
    });
}

/// All want one port at the same time: one has it in the end, as a whole, and the others leave nothing.
#[test]
fn one_of_a_crowd_wins() {
    const CROWD: usize = 16;
    namespace(|| {
        let pods: Vec<Pod> = (0..CROWD)
            .map(|number| {
                link(&format!("veth{number}"));
                let pod = Pod::new(&format!("cid{number}")).dev(Some(&format!("veth{number}")));
                let pod = pod.ips(&[&format!("10.77.0.{}/24", number + 2), &format!("fd00:77::{}/64", number + 2)]);
                pod.ports(&["8080:80/tcp", &format!("{}:81/tcp", 9000 + number)])
            })
            .collect();
        let here = NetNs::current().unwrap();
        let barrier = Barrier::new(CROWD);
        let won: Vec<bool> = thread::scope(|scope| {
            let attempts: Vec<_> = pods
                .iter()
                .map(|pod| {
                    let (here, barrier) = (&here, &barrier);
                    scope.spawn(move || {
                        here.run(|| {
                            barrier.wait();
                            pod.add().is_ok()
                        })
                        .unwrap()
                    })
                })
                .collect();
            attempts.into_iter().map(|attempt| attempt.join().unwrap()).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        let winner = &pods[won.iter().position(|won| *won).unwrap()];
        winner.check().unwrap();
        assert_eq!(elements("attachments").matches("comment").count(), 1);
        winner.del();
        assert!(!ruleset().contains("cid"), "{}", ruleset());
    });
}

/// Many at once, each with ports of its own, on a host without a layout.
#[test]
fn a_crowd_comes_and_goes() {
    namespace(|| {
        let here = NetNs::current().unwrap();
        thread::scope(|scope| {
            for number in 0..16 {
                let here = &here;
                scope.spawn(move || {
                    let pod = Pod::new(&format!("cid{number}")).ips(&[&format!("10.{number}.0.2/24")]);
                    let pod = pod.ports(&[&format!("{}:80/tcp", 8000 + number), &format!("{}:53/udp", 8000 + number)]);
                    here.run(|| {
                        for round in 0..5 {
                            pod.add().unwrap();
                            pod.check().unwrap();
                            if round % 2 == 0 { pod.del() } else { pod.del_blindly() }
                        }
                    })
                    .unwrap();
                });
            }
            (0..10).for_each(|_| collect("n2", &[]));
        });
        assert!(!ruleset().contains("cid"), "{}", ruleset());
    });
}
