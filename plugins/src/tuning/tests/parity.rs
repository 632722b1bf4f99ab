//! The same call to both suites, and either undoing what the other has done.

use super::*;
use crate::sbr::tests::{Answer, newer_go};

/// Whose plugin is called.
#[derive(Clone, Debug)]
enum Suite {
    Ours,
    Go(String),
}

use Suite::{Go, Ours};

impl Suite {
    fn call(&self, verb: &str, keys: &str) -> Answer {
        match self {
            Ours => ETH0.ours(&Tuning, verb, &conf(keys)),
            Go(folder) => ETH0.go_in(folder, "tuning", verb, &conf(keys)),
        }
    }
}

fn debian() -> Suite {
    Go("/usr/lib/cni".into())
}

/// What every version of the Go suite does.
const CASES: &[&str] = &[
    "",
    r#", "mtu": 1400"#,
    r#", "mac": "02:00:00:00:00:99""#,
    r#", "mac": "02-00-00-00-00-99""#,
    r#", "promisc": true"#,
    r#", "allmulti": true"#,
    r#", "allmulti": false"#,
    r#", "sysctl": {"net.ipv4.conf.eth0.arp_filter": "1"}"#,
    r#", "sysctl": {"net/ipv4/conf/eth0/arp_filter": "1", "net.ipv4.ip_local_port_range": "20000 30000",
        "net.ipv4.conf.all.log_martians": "1", "net.ipv6.conf.eth0.hop_limit": "9"}"#,
    r#", "mtu": 1400, "promisc": true, "runtimeConfig": {"mac": "02:00:00:00:00:98"}"#,
    r#", "sysctl": {"net.ipv4.ip_default_ttl": "9"}, "args": {"cni": {"mtu": 1300, "allmulti": true,
        "sysctl": {"net.ipv4.ip_default_ttl": "10"}}}"#,
];

/// What only newer ones do.
const NEWER: &[&str] = &[
    r#", "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1", "net/ipv6/conf.IFNAME.hop_limit": "9"}"#,
    r#", "txQLen": 0"#,
    r#", "txQLen": 77, "mtu": 1300"#,
    r#", "args": {"cni": {"txQLen": 78}}"#,
    r#", "mac": "02:00:00:00:00:99", "mtu": 1400, "promisc": true, "allmulti": true, "txQLen": 77"#,
    EVERYTHING,
];

/// Every suite that can be compared with, with the cases that it can do.
fn comparisons() -> Vec<(Suite, &'static str)> {
    let with =
        |suite: Suite, cases: &[&'static str]| cases.iter().map(|case| (suite.clone(), *case)).collect::<Vec<_>>();
    let newer = newer_go().map(|folder| [with(Go(folder.clone()), CASES), with(Go(folder), NEWER)].concat());
    [with(debian(), CASES), newer.unwrap_or_default()].concat()
}

/// The backup without what only ours has.
fn kept() -> Option<String> {
    let text = fs::read_to_string(BACKUP).ok()?;
    let theirs = text.split("\"xnet\"").next().unwrap_or_default().trim_end_matches([' ', ',', '\n', '}', '{']);
    // A file of ours may hold nothing that Go knows; Go would have made none.
    (!theirs.is_empty()).then(|| theirs.to_owned())
}

#[test]
fn both_suites_tune_alike() {
    for (go, keys) in comparisons() {
        let [ours, theirs] = [&Ours, &go].map(|suite| {
            pod(|| {
                let answer = suite.call("ADD", keys).good();
                (answer.result(), state(), kept())
            })
        });
        assert_eq!(ours.0, theirs.0, "{go:?} {keys}");
        assert_eq!(changes(&theirs.1, &ours.1), [""; 0], "{go:?} {keys}");
        assert_eq!(ours.2, theirs.2, "{go:?} {keys}");
    }
}

/// What either has tuned the other one's CHECK accepts, and its DEL puts back. The Go suite does not put parameters back,
/// nor does it keep them for us; it compares spellings of addresses and what is between the words of parameters.
#[test]
fn either_suite_undoes_the_other() {
    for (go, keys) in comparisons() {
        for (adds, deletes) in [(&Ours, &go), (&go, &Ours)] {
            pod(|| {
                let before = state();
                adds.call("ADD", keys).good();
                if matches!(deletes, Ours) || !(keys.contains("port_range") || keys.contains("02-")) {
                    deletes.call("CHECK", keys).good();
                }
                let tuned = state();
                assert_eq!(keys.is_empty() || keys.contains("false"), changes(&before, &tuned).is_empty(), "{keys}");
                deletes.call("DEL", keys).good();
                let is_of_link = |line: &String| !line.starts_with("./");
                let left: Vec<String> = changes(&before, &state()).into_iter().filter(is_of_link).collect();
                assert_eq!(left, [""; 0], "{keys}: {adds:?} {deletes:?}");
                assert!(!Path::new(BACKUP).exists(), "{keys}: {adds:?} {deletes:?}");
            });
        }
    }
}

/// An ADD of ours finds a backup of the Go suite's: of this link, or of an earlier one.
#[test]
fn a_backup_that_the_go_suite_left() {
    pod(|| {
        debian().call("ADD", r#", "mtu": 1400"#).good();
        Ours.call("ADD", r#", "mtu": 1400, "promisc": true"#).good();
        assert_eq!((&backup()["mtu"], &backup()["promisc"]), (&json!(1500), &json!(false)));
    });
    pod(|| {
        debian().call("ADD", r#", "mtu": 1400, "promisc": true"#).good();
        lose_pod();
        debian().call("DEL", r#", "mtu": 1400, "promisc": true"#).good();
        assert!(Path::new(BACKUP).exists(), "the Go suite leaves it behind");
        new_pod();
        shell("ip -n pod link set eth0 mtu 1450");
        Ours.call("ADD", r#", "mtu": 1400"#).good();
        assert_eq!((&backup()["mtu"], &backup()["promisc"]), (&json!(1450), &Value::Null));
    });
}

#[test]
fn refusals_are_alike() {
    let every = [
        r#", "sysctl": {"kernel/pid_max": "1"}"#,
        r#", "sysctl": {"net.ipv4.nope": "1"}"#,
        r#", "sysctl": {"net.ipv4.ip_default_ttl": "999"}"#,
        r#", "mac": "zz""#,
    ];
    let newer = [r#", "sysctl": {"net.a": "1", "net.a": "1"}"#, r#", "sysctl": {"kernel.pid_max": "1"}"#];
    let newer = newer_go().map(|folder| newer.map(|keys| (Go(folder.clone()), keys)));
    pod(|| {
        let every = every.into_iter().map(|keys| (debian(), keys));
        for (go, keys) in every.chain(newer.into_iter().flatten()) {
            let (ours, theirs) = (Ours.call("ADD", keys), go.call("ADD", keys));
            assert_eq!((ours.error(), ours.code()), (theirs.error(), theirs.code()), "{keys}");
        }
        let keys = r#", "mtu": 1400"#;
        for (netns, ifname) in [("/run/netns/gone", "eth0"), ("/run/netns/pod", "eth9")] {
            let caller = Caller { netns, ifname, ..ETH0 };
            for verb in ["ADD", "CHECK"] {
                let (ours, theirs) = (caller.ours(&Tuning, verb, &conf(keys)), caller.go("tuning", verb, &conf(keys)));
                assert_eq!(ours.error(), theirs.error(), "{verb} {caller:?}");
            }
        }
        for keys in [r#", "mtu": 1499"#, r#", "promisc": true"#, r#", "mac": "02:00:00:00:00:55""#] {
            assert_eq!(Ours.call("CHECK", keys).error(), debian().call("CHECK", keys).error());
        }
        let bare = r#"{"cniVersion": "1.0.0", "name": "n1", "type": "tuning"}"#;
        assert_eq!(ETH0.ours(&Tuning, "ADD", bare).error(), ETH0.go("tuning", "ADD", bare).error());
    });
}

/// The administrator's list, in a private `/etc`.
#[test]
fn the_allow_list_is_read_alike() {
    let Some(folder) = newer_go() else { return };
    pod(|| {
        shell("mount -t tmpfs none /etc && mkdir -p /etc/cni/tuning");
        fs::write(allowlist::PATH, "  ^net\\.ipv4\\.conf\\.(IFNAME|eth[0-9])\\.arp_[a-z]+$ \n\nttl").unwrap();
        for key in ["net.ipv4.conf.IFNAME.arp_filter", "net.ipv4.ip_default_ttl", "net.ipv4.ip_forward"] {
            let keys = format!(r#", "sysctl": {{"{key}": "1"}}"#);
            let (ours, theirs) = (Ours.call("ADD", &keys), Go(folder.clone()).call("ADD", &keys));
            assert_eq!(ours.ok, theirs.ok, "{key}");
            assert!(ours.ok || ours.error() == theirs.error(), "{ours:?} {theirs:?}");
        }
    });
}
