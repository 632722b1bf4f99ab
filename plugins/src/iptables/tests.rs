//! What the tests of all features that use iptables have in common, and the way of changing rules itself.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::thread;

use nix::mount::{MsFlags, mount};

use super::*;
pub(crate) use crate::masquerade::tests::{namespace, shell};

/// As [`namespace`], with legacy iptables for what the node calls `iptables`.
pub(crate) fn legacy<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    namespace(|| {
        let [old, new] = ["legacy", "nft"].map(|variant| format!("/usr/sbin/xtables-{variant}-multi"));
        mount(Some(old.as_str()), new.as_str(), None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
        work()
    })
}

/// Does the same in a namespace of either variant.
pub(crate) fn both(work: impl Fn() + Send + Sync) {
    namespace(&work);
    legacy(&work);
}

/// Chains and rules of a table in the order of `iptables-save`, without policies of built-in chains and counters, and
/// without the chains of our own.
pub(crate) fn rules(family: Family, table: &str) -> Vec<String> {
    let saved = shell(&format!("{family}-save -t {table}"));
    let lines = saved.lines().filter(|line| line.starts_with("-A") || (line.starts_with(':') && line.contains(" - ")));
    lines.filter(|line| !line.contains("XNET-")).map(str::to_owned).collect()
}

/// All rules of the chain that nothing jumps to.
pub(crate) fn notes(family: Family, table: &str) -> Vec<String> {
    let saved = shell(&format!("{family}-save -t {table}"));
    saved.lines().filter(|line| line.starts_with("-A XNET-")).map(str::to_owned).collect()
}

/// Calls a plugin of the Go suite for `id` in network `n1`; `config` is what it has of its own. The attachment has
/// `ips` on `eth0`, and is a port of `br0`.
pub(crate) fn go(plugin: &str, verb: &str, id: &str, ips: &[&str], config: &str) -> Result<(), String> {
    let ips: Vec<String> = ips.iter().map(|ip| format!(r#"{{"address": "{ip}", "interface": 1}}"#)).collect();
    let document = format!(
        r#"{{"cniVersion": "1.0.0", "name": "n1", "type": "{plugin}", {config}
            "prevResult": {{"cniVersion": "1.0.0", "ips": [{}], "interfaces": [
                {{"name": "br0"}}, {{"name": "eth0", "sandbox": "/run/netns/container"}}]}}}}"#,
        ips.join(", ")
    );
    let mut child = Command::new(format!("/usr/lib/cni/{plugin}"))
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", id)
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", "/run/netns/container")
        .env("CNI_PATH", "/usr/lib/cni")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the Go suite is installed");
    child.stdin.take().unwrap().write_all(document.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stdout).into_owned()) }
}

/// As [`go`], which must succeed.
pub(crate) fn go_well(plugin: &str, verb: &str, id: &str, ips: &[&str], config: &str) {
    go(plugin, verb, id, ips, config).unwrap_or_else(|error| panic!("{plugin} {verb}: {error}"));
}

/// A namespace for the Go suite to look into, with what the kernel needs to have routes to its addresses.
pub(crate) fn node() {
    shell(
        "ip link set lo up; ip netns add container; ip link add br0 type bridge; ip link set br0 up
         ip address add 10.77.0.1/24 dev br0; ip address add fd00::1/64 dev br0 nodad",
    );
}

/// Something simple to add: a rule of its own in a shared chain.
#[derive(Clone, Debug)]
struct Simple(u8);

impl Feature for Simple {
    fn table(&self) -> &'static str {
        "filter"
    }

    fn ruleset(&self, family: Family) -> Ruleset {
        let mut ruleset = Ruleset::default();
        if family == Family::V4 {
            ruleset.shared_chain("SHARED");
            ruleset.shared(Place::First, Rule::new("FORWARD", ["-j", "SHARED"]));
            ruleset.shared(Place::Last, Rule::new("OUTPUT", ["-j", "SHARED"]));
            ruleset.own(Place::Last, Rule::new("SHARED", ["-s", &format!("10.0.0.{}/32", self.0), "-j", "ACCEPT"]));
            ruleset.note("XNET-TEST", &["-s", &format!("10.0.0.{}/32", self.0)], "tag");
        }
        ruleset
    }

    fn remove(&self, machine: &mut Machine) -> Result<(), Error> {
        let place = Where { family: Family::V4, table: "filter", wanted: Wanted::Chain("SHARED") };
        clear(machine, place, &|_, found| {
            let mut changes = Restore::new(Family::V4, "filter");
            let source = format!("10.0.0.{}/32", self.0);
            let its = found.rules.iter().filter(|rule| rule.value("-s") == Some(&source));
            its.for_each(|rule| changes.delete(rule.clone()));
            Ok(Change::to(found, changes))
        })
    }
}

fn add_all(count: u8) {
    thread::scope(|scope| {
        for number in 1..=count {
            scope.spawn(move || Attached(Simple(number)).apply(&mut Machine::host_only()).unwrap());
        }
    });
}

/// Twenty on a fresh node, and twenty more after somebody has flushed one of the jumps.
#[test]
fn what_is_shared_is_there_once() {
    both(|| {
        add_all(20);
        let expected: BTreeSet<String> = (1..=20).map(|n| format!("-A SHARED -s 10.0.0.{n}/32 -j ACCEPT")).collect();
        let look = || {
            let rules = rules(Family::V4, "filter");
            assert_eq!(rules[..3], [":SHARED - [0:0]", "-A FORWARD -j SHARED", "-A OUTPUT -j SHARED"], "{rules:?}");
            assert_eq!(rules.len(), 3 + expected.len(), "{rules:?}");
            assert_eq!(rules[3..].iter().cloned().collect::<BTreeSet<_>>(), expected);
        };
        look();
        shell("iptables -F FORWARD");
        add_all(20);
        look();
    });
}

#[test]
fn removals_do_not_hurt_additions() {
    both(|| {
        add_all(10);
        thread::scope(|scope| {
            for number in 1..=10 {
                scope.spawn(move || Simple(number).remove(&mut Machine::host_only()).unwrap());
                scope.spawn(move || Attached(Simple(number + 10)).apply(&mut Machine::host_only()).unwrap());
            }
        });
        let rules = rules(Family::V4, "filter");
        assert_eq!(rules.len(), 13, "{rules:?}");
        assert!((11..=20).all(|n| rules.contains(&format!("-A SHARED -s 10.0.0.{n}/32 -j ACCEPT"))), "{rules:?}");
    });
}

#[test]
fn a_refusal_that_will_not_go_away_is_told_soon() {
    namespace(|| {
        let wanted = Wanted::Chain("NOWHERE");
        let place = Where { family: Family::V4, table: "filter", wanted };
        let attempts = std::cell::Cell::new(0);
        let decide = |_: &mut Machine, _: &[Saved]| {
            attempts.set(attempts.get() + 1);
            let mut restore = Restore::new(Family::V4, "filter");
            restore.delete(Rule::new("FORWARD", ["-j", "NOWHERE"]));
            Ok(vec![Change { variant: Variant::Default, restore, is_shared: false }])
        };
        let error = Error::from(settle(&mut Machine::host_only(), place, None, &decide).unwrap_err()).to_string();
        assert!(error.contains("NOWHERE"), "{error}");
        assert_eq!(attempts.get(), SAME);
    });
}

/// A step that was refused in the second family takes back the first.
#[test]
fn half_of_it_is_not_left() {
    #[derive(Clone, Debug)]
    struct Broken;
    impl Feature for Broken {
        fn table(&self) -> &'static str {
            "filter"
        }
        fn ruleset(&self, family: Family) -> Ruleset {
            let mut ruleset = Simple(1).ruleset(Family::V4);
            if family == Family::V6 {
                ruleset.own(Place::Last, Rule::new("FORWARD", ["-j", "NOWHERE"]));
            }
            ruleset
        }
        fn remove(&self, machine: &mut Machine) -> Result<(), Error> {
            Simple(1).remove(machine)
        }
    }
    namespace(|| {
        let failure = Attached(Broken).apply(&mut Machine::host_only()).unwrap_err();
        assert!(failure.text.contains("ip6tables"), "{failure}");
        assert_eq!(rules(Family::V4, "filter"), [":SHARED - [0:0]", "-A FORWARD -j SHARED", "-A OUTPUT -j SHARED"]);
        assert_eq!(notes(Family::V4, "filter"), [""; 0]);
    });
}

/// Without the programs there is no way to add a rule, and nobody who could have.
#[test]
fn a_node_without_iptables_says_what_to_do() {
    namespace(|| {
        shell("iptables -N SHARED");
        for folder in ["/usr/sbin", "/usr/local/sbin"] {
            mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        }
        let failure = Attached(Simple(1)).apply(&mut Machine::host_only()).unwrap_err();
        let advice = "is not installed: install the package iptables, or use the nftables back end";
        assert!(failure.text.ends_with(advice), "{failure}");
        assert!(Attached(Simple(1)).check(&mut Machine::host_only()).unwrap_err().to_string().ends_with(advice));
        Simple(1).remove(&mut Machine::host_only()).unwrap();
    });
}

/// Addresses without the lengths of their prefixes.
pub(crate) fn hosts(ips: &[&str]) -> Vec<IpAddr> {
    ips.iter().map(|ip| ip.split('/').next().unwrap().parse().unwrap()).collect()
}
