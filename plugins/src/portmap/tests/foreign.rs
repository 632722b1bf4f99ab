//! What the Go suite left in its own tables.

use super::*;

/// What the Go suite's nftables back end makes for three containers, one of them in two networks; recorded from version
/// 1.9.1.
const GO: &str = r#"
table ip cni_hostport {
    comment "CNI portmap plugin"
    chain hostports {
        tcp dport 8080 dnat to 10.77.0.2:80 comment "cid1"
        ip daddr 127.0.0.1 udp dport 53 dnat to 10.77.0.2:53 comment "cid1"
        tcp dport 8081 dnat to 10.88.0.2:80 comment "cid1"
        tcp dport 8082 dnat to 10.77.0.3:80 comment "cid2"
        tcp dport 8083 dnat to 10.77.0.4:80 comment "cid3"
    }
    chain hostip_hostports { }
    chain hostports_all { jump hostip_hostports; jump hostports; }
    chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump hostports_all; }
    chain masquerading {
        type nat hook postrouting priority srcnat;
        ip saddr 10.77.0.2 ip daddr 10.77.0.2 masquerade comment "cid1"
        ip saddr 127.0.0.1 ip daddr 10.77.0.2 masquerade comment "cid1"
        ip saddr 10.88.0.2 ip daddr 10.88.0.2 masquerade comment "cid1"
        ip saddr 10.77.0.3 ip daddr 10.77.0.3 masquerade comment "cid2"
    }
}
table ip6 cni_hostport {
    chain hostports { tcp dport 8080 dnat to [fd00:77::2]:80 comment "cid1"; }
    chain masquerading { ip6 saddr fd00:77::2 ip6 daddr fd00:77::2 masquerade comment "cid1"; }
}"#;

fn go_state() {
    std::fs::write("/run/go.nft", GO).unwrap();
    shell("nft -f /run/go.nft");
}

/// The lines that name the container.
fn left(id: &str) -> Vec<String> {
    let comment = format!("comment \"{id}\"");
    ruleset().lines().filter(|line| line.contains(&comment)).map(|line| line.trim().to_owned()).collect()
}

const OF_THE_OTHER_NETWORK: [&str; 2] = [
    "tcp dport 8081 dnat to 10.88.0.2:80 comment \"cid1\"",
    "ip saddr 10.88.0.2 ip daddr 10.88.0.2 masquerade comment \"cid1\"",
];

#[test]
fn deletion_takes_what_leads_to_the_attachment() {
    namespace(|| {
        for ports in [&["8080:80/tcp"][..], &[]] {
            go_state();
            Pod::new("cid1").ports(ports).del();
            assert_eq!(left("cid1"), OF_THE_OTHER_NETWORK);
            assert_eq!(left("cid2").len(), 2);
            shell("nft flush ruleset");
        }
    });
}

/// Who does not know where the container was asks those who may, and else goes by its name alone.
#[test]
fn deletion_without_a_result() {
    namespace(|| {
        go_state();
        shell("mkdir -p /var/lib/cni/networks/n1; printf 'cid1\\r\\neth0' > /var/lib/cni/networks/n1/10.77.0.2");
        Pod::new("cid1").del_blindly();
        assert_eq!(left("cid1").len(), 4, "{:?}", left("cid1"));
        shell("rm -r /var/lib/cni/networks");
        Pod::new("cid1").del_blindly();
        assert_eq!(left("cid1"), [""; 0]);
        assert_eq!(left("cid2").len(), 2);
    });
}

#[test]
fn collection_takes_what_records_give_to_the_dead() {
    namespace(|| {
        go_state();
        shell("mkdir -p /var/lib/cni/networks/n1");
        for (id, address) in [("cid1", "10.77.0.2"), ("cid2", "10.77.0.3")] {
            shell(&format!("printf '{id}\\r\\neth0' > /var/lib/cni/networks/n1/{address}"));
        }
        collect("n2", &[]);
        collect("n1", &[("cid1", "eth0"), ("cid2", "eth0")]);
        assert_eq!((left("cid1").len(), left("cid2").len(), left("cid3").len()), (8, 2, 1));
        collect("n1", &[("cid2", "eth0")]);
        assert_eq!((left("cid1").len(), left("cid2").len(), left("cid3").len()), (4, 2, 1));
        assert!(OF_THE_OTHER_NETWORK.iter().all(|line| left("cid1").contains(&(*line).to_owned())));
    });
}

/// Pods that are older than this plugin pass.
#[test]
fn check_knows_the_go_suites_rules() {
    namespace(|| {
        go_state();
        let pod = Pod::new("cid1").ips(&["10.77.0.2/24"]).options(r#""snat": false"#);
        pod.clone().ports(&["8080:80/tcp", "127.0.0.1:53:53/udp"]).check().unwrap();
        let more = pod.clone().ports(&["8080:80/tcp", "127.0.0.1:53:53/udp", "9:9/tcp"]).check().unwrap_err();
        assert_eq!(more.msg, "missing hostport rules in \"hostports\" chain");
        // What is in our maps is not excused by theirs.
        let ours = pod.ports(&["8080:80/tcp"]);
        ours.add().unwrap();
        shell("nft delete element inet xnet_portmap hostports4 '{ tcp . 8080 }'");
        ours.check().unwrap_err();
    });
}
