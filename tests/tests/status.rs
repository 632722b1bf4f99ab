//! STATUS says whether ADD can be served, and asks the IPAM plugin too.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use harness::{Chain, Node, Plugin, chain, dual_stack, run, sh, with};
use nix::errno::Errno;
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use serde_json::{Value, json};

fn network(members: Value) -> Value {
    with(with(dual_stack("net"), json!({"cniVersion": "1.1.0"})), members)
}

fn bridge(members: Value) -> Plugin {
    Plugin::new("bridge").config(&network(members)).without("CNI_CONTAINERID").without("CNI_IFNAME")
}

#[test]
fn all_is_well_and_nothing_is_touched() {
    Node::run(|node| {
        let before = node.state();
        for name in ["bridge", "host-local", "loopback"] {
            let answer = Plugin::new(name).config(&network(json!({"ipMasq": true}))).status();
            assert_eq!((answer.ok(), answer.stdout.as_str()), (Value::Null, ""));
        }
        assert_eq!(before.difference(&node.state()), [] as [&str; 0]);
    });
}

#[test]
fn versions_without_status() {
    Node::run(|_| {
        bridge(json!({"cniVersion": "1.0.0"})).status().assert_failed(1, "config version does not allow STATUS");
    });
}

#[test]
fn a_pool_is_exhausted() {
    Node::run(|node| {
        let ipam = json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/30"}]]}});
        let attached = Plugin::new("bridge").config(&network(ipam.clone())).netns(&node.netns("c1"));
        bridge(ipam.clone()).status().ok();
        attached.add().ok();
        assert_eq!(bridge(ipam.clone()).status().failure().code, 50);
        assert_eq!(Plugin::new("host-local").config(&network(ipam.clone())).status().failure().code, 50);
        attached.del().ok();
        bridge(ipam).status().ok();
    });
}

#[test]
fn the_ipam_plugin_is_missing() {
    Node::run(|_| {
        let failure = bridge(json!({"ipam": {"type": "nope"}})).status().failure();
        assert_eq!(failure.code, 50, "{failure:?}");
        assert!(failure.msg.contains("nope") || failure.details.contains("nope"), "{failure:?}");
    });
}

#[test]
fn the_ipam_plugin_is_asked() {
    Node::run(|node| {
        let dir = node.script("zork", r#"echo "{\"code\": 51, \"msg\": \"zork said $CNI_COMMAND\"}"; exit 1"#);
        let plugin = bridge(json!({"ipam": {"type": "zork"}})).path(dir);
        plugin.status().assert_failed(51, "zork said STATUS");
    });
}

/// A kernel without nf_tables refuses the socket for it; this one can be told to, for one thread and its children.
#[test]
fn the_kernel_has_no_nf_tables() {
    Node::run(|node| {
        let netns = node.netns("c1");
        let masquerade = json!({"ipMasq": true, "ipMasqBackend": "nftables"});
        let attached = Plugin::new("bridge").config(&network(masquerade.clone())).netns(&netns);
        let (status, add) = without_nf_tables(|| (bridge(masquerade).status(), attached.add()));
        assert_eq!(status.failure().code, 50, "{status}");
        assert!(!add.succeeded(), "{add}");
        without_nf_tables(|| bridge(json!({})).status()).ok();
    });
}

/// The socket call's arguments: `AF_NETLINK`, any type, `NETLINK_NETFILTER`.
fn without_nf_tables<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let is =
        |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value).unwrap();
    let netfilter = SeccompRule::new(vec![is(0, 16), is(2, 12)]).unwrap();
    let rules = BTreeMap::from([(libc::SYS_socket, vec![netfilter])]);
    let refuse = SeccompAction::Errno(Errno::EPROTONOSUPPORT as u32);
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).unwrap().try_into().unwrap();
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            seccompiler::apply_filter(&filter).expect("filter system calls");
            work()
        });
        inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[test]
fn in_layer_2_there_is_no_ipam_plugin_to_ask() {
    Node::run(|_| {
        bridge(json!({"ipam": {}})).status().ok();
    });
}

/// The chain, and what comes after it in others, by the back ends of its parts.
fn chained(backend: &str) -> Chain {
    let mut list = with(chain("net", backend), json!({"cniVersion": "1.1.0"}));
    let more = [json!({"type": "sbr"}), json!({"type": "vrf", "vrfname": "blue"})];
    list["plugins"].as_array_mut().expect("plugins").extend(more);
    Chain::new(&list, &Value::Null)
}

#[test]
fn all_is_well_with_a_chain_and_nothing_is_touched() {
    Node::run(|node| {
        let before = node.state();
        for backend in ["nftables", "iptables"] {
            for (plugin, answer) in chained(backend).without(&["vrf"]).status() {
                assert_eq!((answer.ok(), answer.stdout.as_str()), (Value::Null, ""), "{plugin}");
            }
        }
        assert_eq!(before.difference(&node.state()), [] as [&str; 0]);
    });
}

/// Whether the kernel has them is tried by making one.
#[test]
fn vrf_needs_a_kernel_that_knows_vrfs() {
    Node::run_messy(|_| {
        let (_, answer) = chained("nftables").status().pop().expect("vrf comes last");
        let tried = run(Command::new("ip").args(["link", "add", "zork", "type", "vrf", "table", "7"]), b"");
        if tried.status.success() {
            answer.ok();
        } else {
            assert_eq!(answer.failure().code, 50, "{answer}");
        }
    });
}

#[test]
fn a_chain_without_nf_tables() {
    Node::run(|_| {
        for (plugin, answer) in without_nf_tables(|| chained("nftables").without(&["vrf"]).status()) {
            let expected = ["bridge", "portmap", "firewall"].contains(&plugin.as_str()).then_some(50);
            assert_eq!((!answer.succeeded()).then(|| answer.failure().code), expected, "{plugin}: {answer}");
        }
    });
}

/// A node on which nobody has installed iptables. Programs are looked for where they are on any system.
#[test]
fn a_chain_without_iptables() {
    Node::run_messy(|_| {
        sh("mount -t tmpfs none /usr/local/sbin; mount -t tmpfs none /usr/sbin");
        for (plugin, answer) in chained("iptables").without(&["vrf"]).status() {
            let expected = ["bridge", "portmap", "firewall"].contains(&plugin.as_str()).then_some(50);
            assert_eq!((!answer.succeeded()).then(|| answer.failure().code), expected, "{plugin}: {answer}");
        }
    });
}
