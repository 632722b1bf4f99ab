//! Each verb, on good days and bad ones.

use std::time::{Duration, Instant};
use std::{fs, thread};

use super::*;

fn pod(test: impl FnOnce() + Send) {
    namespace(|| {
        shell(TOPOLOGY);
        attach(1);
        test();
    });
}

#[test]
fn add_check_del() {
    pod(|| {
        let before = shell("ip -n pod rule; ip -n pod -6 rule");
        let answer = NET1.ours(&Sbr, "ADD", &conf(1, "")).good();
        let document: Value = serde_json::from_str(&answer.stdout).unwrap();
        assert_eq!(document["ips"][0]["address"], "10.1.0.2/24");
        assert_eq!(answer.stderr, "");
        assert_eq!(shell("ip -n pod rule | grep 10.1"), "32765:\tfrom 10.1.0.2 lookup 100\n");
        assert_eq!(shell("ip -n pod -6 rule | grep fd01"), "32765:\tfrom fd01::2 lookup 101\n");
        let table = shell("ip -n pod route show table 100");
        assert!(table.starts_with("default via 10.1.0.1 dev net1 \n10.1.0.0/24 dev net1"), "{table}");
        assert_eq!(shell("ip -n pod route; ip -n pod -6 route show dev net1"), "");
        assert_eq!(NET1.ours(&Sbr, "CHECK", &conf(1, "")).good().stdout, "");
        NET1.ours(&Sbr, "DEL", &conf(1, "")).good();
        assert_eq!(shell("ip -n pod rule; ip -n pod -6 rule"), before);
        assert_eq!(NET1.ours(&Sbr, "CHECK", &conf(1, "")).error(), "missing: rule from 10.1.0.2/32 lookup TABLE");
        NET1.ours(&Sbr, "DEL", &conf(1, "")).good();
    });
}

#[test]
fn a_second_add_changes_nothing() {
    for keys in ["", r#", "table": 500"#, r#", "addSourceHints": true"#] {
        pod(|| {
            NET1.ours(&Sbr, "ADD", &conf(1, keys)).good();
            let first = routing();
            NET1.ours(&Sbr, "ADD", &conf(1, keys)).good();
            assert_eq!(routing(), first, "{keys}");
            NET1.ours(&Sbr, "CHECK", &conf(1, keys)).good();
        });
    }
}

/// What went missing is put back into the table that the address has.
#[test]
fn a_second_add_mends() {
    pod(|| {
        NET1.ours(&Sbr, "ADD", &conf(1, "")).good();
        let first = routing();
        shell("ip -n pod route del default table 100; ip -n pod -6 rule del from fd01::2");
        assert!(NET1.ours(&Sbr, "CHECK", &conf(1, "")).error().starts_with("missing: route default via 10.1.0.1"));
        shell("ip -n pod -6 route flush table 101");
        shell("ip -n pod -6 route add fd01::/64 dev net1 proto kernel metric 256");
        shell("ip -n pod -6 route add fe80::/64 dev net1 proto kernel metric 256");
        NET1.ours(&Sbr, "ADD", &conf(1, "")).good();
        NET1.ours(&Sbr, "CHECK", &conf(1, "")).good();
        let lines =
            |text: &str| text.lines().filter(|line| line.contains("lookup")).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(lines(&routing()), lines(&first));
    });
}

/// A table is free when no rule leads to it and when it holds no route, whoever put them there.
#[test]
fn tables_in_use_are_left_alone() {
    pod(|| {
        shell("ip -n pod rule add from 10.9.0.0/16 fwmark 1 lookup 100");
        shell("ip -n pod -6 route add fd09::/64 dev net1 table 101");
        // A rule for the address, but its table leads through another link.
        shell("ip -n pod link set lo up; ip -n pod route add 10.8.0.0/16 dev lo table 102");
        shell("ip -n pod rule add from 10.1.0.2 lookup 102 priority 40000");
        NET1.ours(&Sbr, "ADD", &conf(1, "")).good();
        assert!(shell("ip -n pod rule").contains("from 10.1.0.2 lookup 103"));
        assert!(shell("ip -n pod -6 rule").contains("from fd01::2 lookup 104"));
    });
}

#[test]
fn configured_routers_take_the_place_of_all_others() {
    pod(|| {
        NET1.ours(&Sbr, "ADD", &conf(1, r#", "gateways": ["fd01::99", "10.1.0.99"]"#)).good();
        let defaults = shell("ip -n pod route show table 100 default; ip -n pod -6 route show table 101 default");
        let routers: Vec<&str> = defaults.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        assert_eq!(routers, ["10.1.0.99", "fd01::99"]);
    });
}

#[test]
fn with_hints_the_networks_stay_in_main() {
    pod(|| {
        NET1.ours(&Sbr, "ADD", &conf(1, r#", "addSourceHints": true"#)).good();
        assert_eq!(shell("ip -n pod route").trim(), "10.1.0.0/24 dev net1 scope link src 10.1.0.2");
        let v6 = shell("ip -n pod -6 route show dev net1");
        assert_eq!(v6.trim(), "fd01::/64 src fd01::2 metric 1024 pref medium");
        NET1.ours(&Sbr, "CHECK", &conf(1, r#", "addSourceHints": true"#)).good();
        shell("ip -n pod route flush table main");
        let error = NET1.ours(&Sbr, "CHECK", &conf(1, r#", "addSourceHints": true"#)).error();
        assert_eq!(error, "missing: route 10.1.0.0/24 src 10.1.0.2 table 254 scope 253 dev net1");
    });
}

#[test]
fn del_needs_no_previous_result_and_removes_only_its_own() {
    pod(|| {
        NET1.ours(&Sbr, "ADD", &conf(1, "")).good();
        let without_second = routing();
        attach(2);
        let second = Caller { ifname: "net2", ..NET1 };
        second.ours(&Sbr, "ADD", &conf(2, "")).good();
        shell("ip -n pod rule add from 10.2.0.2 fwmark 1 lookup 7");
        let bare = r#"{"cniVersion": "1.0.0", "name": "n1", "type": "sbr"}"#;
        second.ours(&Sbr, "DEL", bare).good();
        assert!(shell("ip -n pod rule").contains("fwmark 0x1 lookup 7"));
        shell("ip -n pod rule del fwmark 1; ip -n pod link del net2");
        assert_eq!(routing(), without_second);
    });
}

/// The interface may be gone before DEL comes.
#[test]
fn rules_of_an_interface_that_is_gone() {
    pod(|| {
        NET1.ours(&Sbr, "ADD", &conf(1, "")).good();
        shell("ip -n pod link del net1");
        NET1.ours(&Sbr, "DEL", r#"{"cniVersion": "1.0.0", "name": "n1", "type": "sbr"}"#).good();
        assert!(shell("ip -n pod rule").contains("10.1.0.2"));
        NET1.ours(&Sbr, "DEL", &conf(1, "")).good();
        assert!(!shell("ip -n pod rule; ip -n pod -6 rule").contains("lookup 10"));
        assert_eq!(NET1.ours(&Sbr, "ADD", &conf(1, "")).error(), "Cannot find network interface net1: Link not found");
        assert_eq!(
            NET1.ours(&Sbr, "CHECK", &conf(1, "")).error(),
            "Cannot find network interface net1: Link not found"
        );
    });
}

#[test]
fn a_configured_table_gets_rules_only() {
    pod(|| {
        let before = shell("ip -n pod route show table all");
        NET1.ours(&Sbr, "ADD", &conf(1, r#", "table": 70000"#)).good();
        assert_eq!(shell("ip -n pod route show table all"), before);
        assert!(shell("ip -n pod rule").contains("from 10.1.0.2 lookup 70000"));
        let error = NET1.ours(&Sbr, "CHECK", &conf(1, r#", "table": 70001"#)).error();
        assert_eq!(error, "missing: rule from 10.1.0.2/32 lookup 70001");
        NET1.ours(&Sbr, "DEL", &conf(1, r#", "table": 70001"#)).good();
        assert!(shell("ip -n pod rule").contains("70000"));
        NET1.ours(&Sbr, "DEL", &conf(1, r#", "table": 70000"#)).good();
        assert!(!shell("ip -n pod rule; ip -n pod -6 rule").contains("70000"));
    });
}

#[test]
fn del_makes_no_namespace_and_needs_none() {
    namespace(|| {
        shell("mkdir /run/netns; touch /run/netns/file");
        for netns in ["", "/run/netns/gone", "/run/netns/file", "/run/nowhere/gone"] {
            Caller { netns, ..NET1 }.ours(&Sbr, "DEL", &conf(1, "")).good();
        }
        let gone = Caller { netns: "/run/netns/gone", ..NET1 };
        let text =
            "failed to open netns \"/run/netns/gone\": failed to Statfs \"/run/netns/gone\": no such file or directory";
        assert_eq!(gone.ours(&Sbr, "ADD", &conf(1, "")).error(), text);
        assert_eq!(gone.ours(&Sbr, "CHECK", &conf(1, "")).error(), text);
        let left: Vec<_> = fs::read_dir("/run/netns").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["file"]);
    });
}

#[test]
fn refused_before_anything_is_touched() {
    pod(|| {
        let before = routing();
        let bare = r#"{"cniVersion": "1.0.0", "name": "n1", "type": "sbr"}"#;
        let no_ips = conf_with(1, "", "");
        let others = conf_with(1, r#"{"interface": 0, "address": "10.1.0.2/24"}"#, "");
        let table = [
            (bare, "This plugin must be called as chained plugin"),
            (&no_ips, "No IP addresses supplied on interface: net1"),
            (&others, "No IP addresses supplied on interface: net1"),
            (&conf(1, r#", "gateways": ["x"]"#), "invalid static gateway IP address: x"),
            (&conf(1, r#", "table": 0"#), "invalid table 0 (must be between 1 and 4294967295)"),
        ];
        for (json, text) in table {
            for verb in ["ADD", "CHECK"] {
                assert_eq!(NET1.ours(&Sbr, verb, json).error(), text);
            }
        }
        assert_eq!(routing(), before);
    });
}

/// The kernel refuses a router that can't be reached, and what was done before is gone.
#[test]
fn a_refused_add_leaves_nothing() {
    pod(|| {
        let before = routing();
        let error = NET1.ours(&Sbr, "ADD", &conf(1, r#", "gateways": ["10.99.0.1"]"#)).error();
        assert_eq!(
            error,
            "Failed to add default route to 10.99.0.1: network is unreachable (Nexthop has invalid gateway)"
        );
        assert_eq!(routing(), before);
    });
}

#[test]
fn gc_and_status() {
    let json = r#"{"cniVersion": "1.1.0", "name": "n1", "type": "sbr", "cni.dev/valid-attachments": []}"#;
    pod(|| {
        NET1.ours(&Sbr, "ADD", &conf(1, "")).good();
        let before = routing();
        NET1.ours(&Sbr, "GC", json).good();
        assert_eq!(routing(), before);
        NET1.ours(&Sbr, "STATUS", json).good();
        shell("ip rule flush; ip rule del lookup local; ip -6 rule flush; ip -6 rule del lookup local");
        let answer = NET1.ours(&Sbr, "STATUS", json);
        assert!(answer.error().starts_with("no policy routing: "), "{answer:?}");
        assert_eq!(answer.code(), 50);
    });
}

/// Whoever holds the lock on the namespace, ours or the Go suite's, is waited for.
#[test]
fn one_at_a_time() {
    pod(|| {
        let path = "/run/netns/pod";
        let held = File::open(path).unwrap();
        held.lock().unwrap();
        thread::scope(|scope| {
            let add = scope.spawn(|| NET1.ours(&Sbr, "ADD", &conf(1, "")).good());
            let inode = fs::metadata(path).map(|file| std::os::unix::fs::MetadataExt::ino(&file)).unwrap();
            let waits = |line: &str| line.contains("-> FLOCK") && line.contains(&format!(":{inode} "));
            let deadline = Instant::now() + Duration::from_secs(10);
            while !fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
                assert!(Instant::now() < deadline, "{}", fs::read_to_string("/proc/locks").unwrap());
                thread::yield_now();
            }
            assert!(!shell("ip -n pod rule").contains("10.1.0.2"));
            held.unlock().unwrap();
            add.join().unwrap();
        });
        assert!(shell("ip -n pod rule").contains("10.1.0.2"));
    });
}
