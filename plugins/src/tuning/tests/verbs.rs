//! Each verb, on good days and bad ones.

use super::*;

#[test]
fn add_check_del() {
    pod(|| {
        let before = state();
        let answer = ETH0.ours(&Tuning, "ADD", &conf(EVERYTHING)).good();
        assert_eq!(answer.stderr, "");
        assert_eq!(answer.result()["interfaces"][1]["mac"], "02:00:00:00:00:99");
        assert_eq!(answer.result()["interfaces"][0]["mac"], "02:00:00:00:00:02");
        let link = shell("ip -n pod -d link show eth0");
        for word in ["mtu 1400", "qlen 77", "PROMISC", "ALLMULTI", "02:00:00:00:00:99"] {
            assert!(link.contains(word), "{word} in {link}");
        }
        assert_eq!(parameter("net/ipv4/conf/eth0/arp_filter"), "1");
        assert_eq!(parameter("net/ipv4/ip_local_port_range"), "20000\t30000");
        assert_eq!(ETH0.ours(&Tuning, "CHECK", &conf(EVERYTHING)).good().stdout, "");
        ETH0.ours(&Tuning, "DEL", &conf(EVERYTHING)).good();
        assert_eq!(changes(&before, &state()), [""; 0]);
        assert!(nothing_is_kept());
        assert_eq!(ETH0.ours(&Tuning, "DEL", &conf(EVERYTHING)).good().stderr, "");
    });
}

#[test]
fn nothing_to_do_is_not_done() {
    pod(|| {
        let before = state();
        let answer = ETH0.ours(&Tuning, "ADD", &conf(r#", "sysctl": {}, "mtu": 0, "promisc": false"#)).good();
        assert_eq!(answer.result()["ips"][0]["address"], "10.1.0.2/24");
        assert_eq!(changes(&before, &state()), [""; 0]);
        assert!(!Path::new("/run/cni").exists());
        ETH0.ours(&Tuning, "DEL", &conf("")).good();
        ETH0.ours(&Tuning, "CHECK", &conf("")).good();
    });
}

/// Of four places for a hardware address the last counts; of the rest `args.cni` has the last word.
#[test]
fn whose_word_counts() {
    let macs = ["\"mac\": \"02:00:00:00:00:10\"", "\"runtimeConfig\": {\"mac\": \"02:00:00:00:00:30\"}"];
    let third = r#""args": {"cni": {"mac": "02:00:00:00:00:40"}}"#;
    let table = [
        (format!(", {}", macs[0]), "", "02:00:00:00:00:10"),
        (format!(", {}", macs[0]), "IgnoreUnknown=1;K8S=x;MAC=02:00:00:00:00:20", "02:00:00:00:00:20"),
        (format!(", {}", macs[0]), "MAC=", "02:00:00:00:00:10"),
        (format!(", {}, {}", macs[0], macs[1]), "MAC=02:00:00:00:00:20", "02:00:00:00:00:30"),
        (format!(", {}, {}, {third}", macs[0], macs[1]), "MAC=02:00:00:00:00:20", "02:00:00:00:00:40"),
        (r#", "mac": "02:00:00:00:00:10", "args": {"cni": {"mac": ""}}"#.to_owned(), "", MAC),
    ];
    for (keys, args, mac) in table {
        pod(|| {
            let answer = Caller { args, ..ETH0 }.ours(&Tuning, "ADD", &conf(&keys)).good();
            assert_eq!(answer.result()["interfaces"][1]["mac"], mac, "{keys}");
            assert!(shell("ip -n pod link show eth0").contains(mac), "{keys}");
        });
    }
    pod(|| {
        let keys = r#", "promisc": true, "mtu": 1400, "allmulti": true, "txQLen": 5,
            "args": {"cni": {"promisc": false, "mtu": 1300, "allmulti": false, "txQLen": 0,
                "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}}"#;
        ETH0.ours(&Tuning, "ADD", &conf(keys)).good();
        let link = shell("ip -n pod -d link show eth0");
        assert!(link.contains("mtu 1300") && !link.contains("PROMISC") && !link.contains("ALLMULTI"), "{link}");
        assert!(!link.contains("qlen 5"), "{link}");
        assert_eq!(parameter("net/ipv4/conf/eth0/arp_filter"), "1");
    });
}

#[test]
fn refused_before_anything_is_touched() {
    let table = [
        (r#", "sysctl": {"net.a": "1", "net.a": "1"}"#, "duplicated sysctl keys are not allowed"),
        (r#", "sysctl": {"kernel/pid_max": "1"}"#, "invalid net sysctl key: \"kernel/pid_max\""),
        (r#", "sysctl": {"net.ipv4.nope": "1"}"#, "open /proc/sys/net/ipv4/nope: no such file or directory"),
        (
            r#", "args": {"cni": {"sysctl": {"net/../../../etc/passwd": "1"}}}"#,
            "open /proc/sys/net/etc/passwd: no such file or directory",
        ),
        (r#", "mac": "zz""#, "invalid args zz for MAC addr: address zz: invalid MAC address"),
        (
            r#", "mac": "01:00:00:00:00:01""#,
            "invalid args 01:00:00:00:00:01 for MAC addr: address 01:00:00:00:00:01: a link can't have a group address or \
             all zeros",
        ),
        (r#", "mtu": -1"#, "invalid MTU -1"),
        (r#", "txQLen": -1"#, "invalid txQLen -1"),
    ];
    pod(|| {
        let before = state();
        for (keys, text) in table {
            let keys = format!(r#"{keys}, "promisc": true"#);
            assert_eq!(ETH0.ours(&Tuning, "ADD", &conf(&keys)).error(), text);
            assert_eq!(changes(&before, &state()), [""; 0], "{text}");
        }
        for keys in [r#", "sysctl": {"net.a": 1}"#, r#", "sysctl": []"#, r#", "mtu": "1400""#, r#", "promisc": 1"#] {
            let text = ETH0.ours(&Tuning, "ADD", &conf(keys)).error();
            assert!(text.starts_with("failed to load netconf: "), "{text}");
        }
        let bare = r#"{"cniVersion": "1.0.0", "name": "n1", "type": "tuning", "mtu": 1400}"#;
        for verb in ["ADD", "CHECK"] {
            assert_eq!(ETH0.ours(&Tuning, verb, bare).error(), "Required prevResult missing");
        }
        let args = Caller { args: "MAC", ..ETH0 };
        for verb in ["ADD", "DEL", "CHECK"] {
            assert_eq!(args.ours(&Tuning, verb, &conf("")).error(), "ARGS: invalid pair \"MAC\"");
        }
        let unknown = Caller { ifname: "eth9", ..ETH0 };
        assert_eq!(unknown.ours(&Tuning, "ADD", &conf(EVERYTHING)).error(), "failed to get \"eth9\": Link not found");
        assert_eq!(unknown.ours(&Tuning, "CHECK", &conf("")).error(), "Cannot find container link eth9");
        let gone = Caller { netns: "/run/netns/gone", ..ETH0 };
        let text = "failed to Statfs \"/run/netns/gone\": no such file or directory";
        assert_eq!(gone.ours(&Tuning, "ADD", &conf(EVERYTHING)).error(), text);
        assert_eq!(changes(&before, &state()), [""; 0]);
        assert!(!Path::new("/run/cni").exists());
    });
}

/// The administrator's list, in a private `/etc`.
#[test]
fn the_allow_list() {
    pod(|| {
        shell("mount -t tmpfs none /etc && mkdir -p /etc/cni/tuning");
        fs::write(allowlist::PATH, "^net\\.ipv4\\.conf\\.(IFNAME|eth[0-9])\\.arp_[a-z]+$\n\n").unwrap();
        let allowed = conf(r#", "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}"#);
        ETH0.ours(&Tuning, "ADD", &allowed).good();
        ETH0.ours(&Tuning, "STATUS", &status_conf(r#", "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}"#)).good();
        let text = "Sysctl net.ipv4.ip_forward is not allowed. Only the following sysctls are allowed: \
                    [^net\\.ipv4\\.conf\\.(IFNAME|eth[0-9])\\.arp_[a-z]+$]";
        let keys = r#", "mtu": 1400, "args": {"cni": {"sysctl": {"net.ipv4.ip_forward": "1"}}}"#;
        assert_eq!(ETH0.ours(&Tuning, "ADD", &conf(keys)).error(), text);
        let answer = ETH0.ours(&Tuning, "STATUS", &status_conf(keys));
        assert_eq!((answer.error().as_str(), answer.code()), (text, 50));
        // What is allowed to be set is of no interest when it is to be put back.
        fs::write(allowlist::PATH, "^nothing$").unwrap();
        ETH0.ours(&Tuning, "CHECK", &allowed).good();
        ETH0.ours(&Tuning, "DEL", &allowed).good();
        assert_eq!(parameter("net/ipv4/conf/eth0/arp_filter"), "0");
    });
}

#[test]
fn check_sees_what_was_changed() {
    let keys = EVERYTHING;
    let table = [
        (
            "ip netns exec pod sh -c 'echo 0 > /proc/sys/net/ipv4/conf/eth0/arp_filter'",
            "Error: Tuning configured value of /proc/sys/net/ipv4/conf/eth0/arp_filter is 1, current value is 0",
        ),
        (
            "ip netns exec pod sh -c 'echo 2000 3000 > /proc/sys/net/ipv4/ip_local_port_range'",
            "Error: Tuning configured value of /proc/sys/net/ipv4/ip_local_port_range is 20000 30000, current value is 2000\t3000",
        ),
        (
            "ip -n pod link set eth0 address 02:00:00:00:00:77",
            "Error: Tuning configured Ethernet of eth0 is 02:00:00:00:00:99, current value is 02:00:00:00:00:77",
        ),
        (
            "ip -n pod link set eth0 promisc off",
            "Error: Tuning link eth0 configured promisc is true, current value is 0",
        ),
        ("ip -n pod link set eth0 mtu 1300", "Error: Tuning configured MTU of eth0 is 1400, current value is 1300"),
        (
            "ip -n pod link set eth0 allmulticast off",
            "Error: Tuning configured all-multicast mode of eth0 is true, current value is false",
        ),
        (
            "ip -n pod link set eth0 txqueuelen 78",
            "Error: Tuning configured Transmit Queue Length of eth0 is 77, current value is 78",
        ),
        ("ip -n pod link del eth0", "open /proc/sys/net/ipv4/conf/eth0/arp_filter: no such file or directory"),
    ];
    for (change, text) in table {
        pod(|| {
            ETH0.ours(&Tuning, "ADD", &conf(keys)).good();
            shell(change);
            assert_eq!(ETH0.ours(&Tuning, "CHECK", &conf(keys)).error(), text);
        });
    }
    pod(|| {
        shell("ip -n pod link set eth0 promisc on");
        let text = "Error: Tuning link eth0 configured promisc is false, current value is 1";
        assert_eq!(ETH0.ours(&Tuning, "CHECK", &conf("")).error(), text);
    });
}

/// No queue at all is a length too.
#[test]
fn a_queue_of_no_length() {
    pod(|| {
        ETH0.ours(&Tuning, "ADD", &conf(r#", "txQLen": 0"#)).good();
        assert!(!shell("ip -n pod link show eth0").contains("qlen"));
        assert_eq!(backup()["txQLen"], 1000);
        ETH0.ours(&Tuning, "CHECK", &conf(r#", "txQLen": 0"#)).good();
        ETH0.ours(&Tuning, "DEL", &conf("")).good();
        assert!(shell("ip -n pod link show eth0").contains("qlen 1000"));
    });
}

/// What can't be read can be written all the same, and is not put back.
#[test]
fn a_parameter_that_can_only_be_written() {
    pod(|| {
        let keys = r#", "sysctl": {"net.ipv4.route.flush": "1", "net.ipv4.conf.IFNAME.arp_filter": "1"}"#;
        ETH0.ours(&Tuning, "ADD", &conf(keys)).good();
        let names: Vec<String> =
            backup()["xnet"]["sysctl"].as_array().unwrap().iter().map(|it| it["name"].to_string()).collect();
        assert_eq!(names, ["\"net/ipv4/conf/eth0/arp_filter\""]);
        assert_eq!(ETH0.ours(&Tuning, "DEL", &conf(keys)).good().stderr, "");
        assert_eq!(parameter("net/ipv4/conf/eth0/arp_filter"), "0");
    });
}

/// A configuration of the version that has STATUS and GC.
fn status_conf(keys: &str) -> String {
    format!(r#"{{"cniVersion": "1.1.0", "name": "n1", "type": "tuning"{keys}}}"#)
}

#[test]
fn status_says_whether_there_is_a_place_for_backups() {
    pod(|| {
        for keys in ["", EVERYTHING, r#", "mtu": 1400, "dataDir": "/run/new/folder""#] {
            ETH0.ours(&Tuning, "STATUS", &status_conf(keys)).good();
        }
        shell("touch /run/file; mkdir /run/fixed; mount -t tmpfs -o ro none /run/fixed");
        let table = [
            ("/run/file", "/run/file: not a directory"),
            ("/run/file/x", "/run/file: not a directory"),
            ("/run/fixed/x/y", "/run/fixed: read-only file system"),
        ];
        for (folder, reason) in table {
            let keys = format!(r#", "mtu": 1400, "dataDir": "{folder}""#);
            let answer = ETH0.ours(&Tuning, "STATUS", &status_conf(&keys));
            let text = format!("no backups can be kept in {folder}: {reason}");
            assert_eq!((answer.error(), answer.code()), (text, 50));
            let error = ETH0.ours(&Tuning, "ADD", &conf(&keys)).error();
            assert!(error.starts_with("failed to "), "{error}");
        }
        let answer = ETH0.ours(&Tuning, "STATUS", &status_conf(r#", "sysctl": {"kernel.x": "1"}"#));
        assert_eq!((answer.error().as_str(), answer.code()), ("invalid net sysctl key: \"kernel/x\"", 50));
        shell("mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys");
        let answer = ETH0.ours(&Tuning, "STATUS", &status_conf(r#", "sysctl": {"net.x": "1"}"#));
        let text = "/proc/sys is mounted read-only: parameters can't be set";
        assert_eq!((answer.error().as_str(), answer.code()), (text, 50));
        let keys = r#", "mtu": 1400, "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}"#;
        let error = ETH0.ours(&Tuning, "ADD", &conf(keys)).error();
        assert_eq!(error, "open /proc/sys/net/ipv4/conf/eth0/arp_filter: read-only file system");
        assert!(nothing_is_kept());
    });
}
