//! What is kept, for how long, and of whom.

use super::*;

const MTU: &str = r#", "mtu": 1400"#;

#[test]
fn the_file_is_the_go_suites_with_one_more_member() {
    pod(|| {
        ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).good();
        let text = fs::read_to_string(BACKUP).unwrap();
        let theirs = format!(
            "{{\n \"mac\": \"{MAC}\",\n \"promisc\": false,\n \"mtu\": 1500,\n \"allmulti\": false,\n \"txQLen\": 1000,\n \
             \"xnet\": {{\n"
        );
        assert!(text.starts_with(&theirs), "{text}");
        let ours = &backup()["xnet"];
        assert_eq!(ours["owner"], "43d91f8451058a70-0b65a318f52e521b, net: n1, if: eth0, id: cid1");
        assert_eq!(ours["netns"], "/run/netns/pod");
        assert_eq!(ours["sysctl"][0]["name"], "net/ipv4/conf/eth0/arp_filter");
        assert_eq!(ours["sysctl"][0]["was"], "0");
        assert_eq!(ours["sysctl"][1]["was"], "32768\t60999");
        assert!(ours["sysctl"][0]["at"].as_u64() < ours["sysctl"][1]["at"].as_u64());
        assert!(ours["life"]["link"].as_u64() > Some(0));
    });
}

#[test]
fn a_second_add_keeps_what_was_first() {
    pod(|| {
        let before = state();
        ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).good();
        let (tuned, first) = (state(), backup());
        ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).good();
        assert_eq!((changes(&tuned, &state()), backup()), (vec![], first));
        // With other values, and an attribute that was not tuned.
        shell("ip -n pod link set eth0 txqueuelen 1000");
        let other = r#", "mtu": 1300, "sysctl": {"net.ipv4.ip_local_port_range": "30000 40000", "net.ipv4.ip_default_ttl": "9"}"#;
        ETH0.ours(&Tuning, "ADD", &conf(other)).good();
        assert_eq!(backup()["mtu"], 1500);
        assert_eq!(backup()["xnet"]["sysctl"].as_array().unwrap().len(), 3);
        ETH0.ours(&Tuning, "DEL", &conf("")).good();
        assert_eq!(changes(&before, &state()), [""; 0]);
    });
}

/// Two of them in one chain: each tunes something else, and DEL comes once for each.
#[test]
fn two_in_a_chain() {
    pod(|| {
        let before = state();
        let second = r#", "mac": "02:00:00:00:00:99", "sysctl": {"net.ipv4.ip_default_ttl": "9"}"#;
        ETH0.ours(&Tuning, "ADD", &conf(MTU)).good();
        ETH0.ours(&Tuning, "ADD", &conf(second)).good();
        assert_eq!((&backup()["mtu"], &backup()["mac"]), (&json!(1500), &json!(MAC)));
        ETH0.ours(&Tuning, "DEL", &conf(second)).good();
        ETH0.ours(&Tuning, "DEL", &conf(MTU)).good();
        assert_eq!(changes(&before, &state()), [""; 0]);
        assert!(nothing_is_kept());
    });
}

#[test]
fn a_backup_goes_with_the_namespace() {
    for netns in ["", "/run/netns/pod", "/run/netns/gone", "/run/netns/file"] {
        pod(|| {
            ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).good();
            shell("ip netns del pod; touch /run/netns/file");
            Caller { netns, ..ETH0 }.ours(&Tuning, "DEL", &conf("")).good();
            assert!(nothing_is_kept(), "{netns}");
        });
    }
}

/// The link is gone, the namespace is not: its own parameters are put back.
#[test]
fn a_backup_without_its_link() {
    pod(|| {
        ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).good();
        shell("ip -n pod link del eth0");
        assert_eq!(ETH0.ours(&Tuning, "DEL", &conf("")).good().stderr, "");
        assert_eq!(parameter("net/ipv4/ip_local_port_range"), "32768\t60999");
        assert!(nothing_is_kept());
    });
}

/// The same container again: what an earlier life has left behind says nothing about this one.
#[test]
fn a_backup_of_an_earlier_life() {
    pod(|| {
        ETH0.ours(&Tuning, "ADD", &conf(r#", "mtu": 1400, "sysctl": {"net.ipv4.ip_default_ttl": "9"}"#)).good();
        lose_pod();
        new_pod();
        shell("ip -n pod link set eth0 mtu 1450");
        let fresh = state();
        // DEL of the earlier life comes late: nothing of it is in this one.
        let kept = fs::read(BACKUP).unwrap();
        ETH0.ours(&Tuning, "DEL", &conf("")).good();
        assert_eq!(changes(&fresh, &state()), [""; 0]);
        assert!(nothing_is_kept());
        // DEL never came.
        fs::write(BACKUP, kept).unwrap();
        ETH0.ours(&Tuning, "ADD", &conf(MTU)).good();
        assert_eq!((&backup()["mtu"], &backup()["xnet"]["sysctl"]), (&json!(1450), &Value::Null));
        ETH0.ours(&Tuning, "DEL", &conf("")).good();
        assert_eq!(changes(&fresh, &state()), [""; 0]);
    });
}

/// A new link of the same name in the same namespace.
#[test]
fn a_backup_of_an_earlier_link() {
    pod(|| {
        ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).good();
        shell("ip -n pod link del eth0");
        shell(&format!("ip link add host0 type veth peer name eth0 address {MAC} mtu 1450 netns pod"));
        let link = shell("ip -n pod -d link show eth0");
        shell("ip netns exec pod sh -c 'echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_filter'");
        ETH0.ours(&Tuning, "DEL", &conf("")).good();
        assert_eq!(shell("ip -n pod -d link show eth0"), link);
        assert_eq!(parameter("net/ipv4/conf/eth0/arp_filter"), "1");
        assert_eq!(parameter("net/ipv4/ip_local_port_range"), "32768\t60999");
        assert!(nothing_is_kept());
    });
}

/// Two attachments of one container set the same parameter of the namespace.
#[test]
fn parameters_that_several_attachments_set() {
    const TTL: &str = "net/ipv4/ip_default_ttl";
    let net1 = Caller { ifname: "net1", ..ETH0 };
    let conf = |value: &str| conf(&format!(r#", "sysctl": {{"net.ipv4.ip_default_ttl": "{value}"}}"#));
    // Which values they set, who goes first, and what is left then. In the end there is what was in the beginning.
    let table = [
        (["10", "20"], true, "20"),
        (["10", "20"], false, "10"),
        (["10", "10"], true, "10"),
        (["10", "10"], false, "10"),
        (["10", "64"], true, "64"),
        (["10", "64"], false, "10"),
    ];
    for (values, first_goes_first, left) in table {
        pod(|| {
            assert_eq!(parameter(TTL), "64");
            ETH0.ours(&Tuning, "ADD", &conf(values[0])).good();
            net1.ours(&Tuning, "ADD", &conf(values[1])).good();
            let order = if first_goes_first { [ETH0, net1] } else { [net1, ETH0] };
            order[0].ours(&Tuning, "DEL", &conf("")).good();
            assert_eq!(parameter(TTL), left, "{values:?} {first_goes_first}");
            order[1].ours(&Tuning, "DEL", &conf("")).good();
            assert_eq!(parameter(TTL), "64", "{values:?} {first_goes_first}");
            assert!(nothing_is_kept());
        });
    }
}

/// Container `a_b` with interface `c`, and `a` with `b_c`, share the name of a file.
#[test]
fn a_backup_of_somebody_else_by_the_same_name_stays() {
    pod(|| {
        let one = Caller { id: "a_eth0", ifname: "c", ..ETH0 };
        let other = Caller { id: "a", ifname: "eth0_c", ..ETH0 };
        one.ours(&Tuning, "ADD", &conf(r#", "sysctl": {"net.ipv4.ip_default_ttl": "9"}"#)).good();
        Caller { netns: "", ..other }.ours(&Tuning, "DEL", &conf("")).good();
        assert!(Path::new("/run/cni/tuning/a_eth0_c.json").exists());
        Caller { netns: "", ..one }.ours(&Tuning, "DEL", &conf("")).good();
        assert!(nothing_is_kept());
    });
}

/// GC of the network with these valid attachments.
fn gc(valid: &str) {
    let json =
        format!(r#"{{"cniVersion": "1.1.0", "name": "n1", "type": "tuning", "cni.dev/valid-attachments": {valid}}}"#);
    ETH0.ours(&Tuning, "GC", &json).good();
}

#[test]
fn gc_removes_what_this_network_left() {
    let files = || shell("ls /run/cni/tuning 2>/dev/null || true").lines().map(str::to_owned).collect::<Vec<_>>();
    pod(|| {
        gc("[]");
        ETH0.ours(&Tuning, "ADD", &conf(MTU)).good();
        Caller { id: "alive", ..ETH0 }.ours(&Tuning, "ADD", &conf(MTU)).good();
        Caller { id: "other", ..ETH0 }.ours(&Tuning, "ADD", &conf_of("n2", MTU)).good();
        for name in ["gone_eth0", "unknown_eth0", "alive_eth0", "elsewhere_eth0"] {
            let path = format!("/run/cni/tuning/{name}.json");
            if !Path::new(&path).exists() {
                fs::write(path, "{\n \"mtu\": 1500\n}").unwrap();
            }
        }
        fs::write("/run/cni/tuning/notes.txt", "").unwrap();
        for (net, id) in [("n1", "gone"), ("n1", "elsewhere"), ("n2", "elsewhere")] {
            let record = json!({"kind": "cniCacheV1", "containerId": id, "ifName": "eth0", "networkName": net});
            fs::create_dir_all("/var/lib/cni/results").unwrap();
            fs::write(format!("/var/lib/cni/results/{net}-{id}-eth0"), record.to_string()).unwrap();
        }
        let all = files();
        assert_eq!(all.len(), 7);
        ETH0.ours(&Tuning, "GC", r#"{"cniVersion": "1.1.0", "name": "n1", "type": "tuning"}"#).good();
        assert_eq!(files(), all);
        gc(r#"[{"containerID": "alive", "ifname": "eth0"}, {"containerID": "gone", "ifname": "eth0"}]"#);
        let left = [
            "alive_eth0.json",
            "elsewhere_eth0.json",
            "gone_eth0.json",
            "notes.txt",
            "other_eth0.json",
            "unknown_eth0.json",
        ];
        assert_eq!(files(), left);
        gc("[]");
        assert_eq!(files(), ["elsewhere_eth0.json", "notes.txt", "other_eth0.json", "unknown_eth0.json"]);
    });
}

/// As DEL would have: the file says where the namespace is.
#[test]
fn gc_restores_a_namespace_that_lives() {
    pod(|| {
        let before = state();
        ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).good();
        let tuned = state();
        gc(r#"[{"containerID": "cid1", "ifname": "eth0"}]"#);
        assert_eq!(changes(&tuned, &state()), [""; 0]);
        gc("[]");
        assert_eq!(changes(&before, &state()), [""; 0]);
        assert!(nothing_is_kept());

        // The link has gone with its bridge plugin's GC; what is of the namespace comes back for all that.
        ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).good();
        shell("ip -n pod link del eth0");
        gc("[]");
        assert_eq!(parameter("net/ipv4/ip_local_port_range"), "32768\t60999");
        assert!(nothing_is_kept());
    });
    // Another namespace in the same place is nobody's business.
    pod(|| {
        ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).good();
        lose_pod();
        new_pod();
        shell("ip netns exec pod sh -c 'echo 21000 31000 > /proc/sys/net/ipv4/ip_local_port_range'");
        gc("[]");
        assert_eq!(parameter("net/ipv4/ip_local_port_range"), "21000\t31000");
        assert!(nothing_is_kept());
    });
}
