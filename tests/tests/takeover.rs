//! What one suite made, the other removes: a node changes from one to the other with its containers alive.

use harness::{Netns, Node, Plugin, Suite, dual_stack, with};
use serde_json::{Value, json};

/// A network in the form that both suites know: masquerade by iptables.
fn network() -> Value {
    with(dual_stack("net"), json!({"ipMasq": true, "ipMasqBackend": "iptables"}))
}

fn of(suite: Suite, config: &Value, netns: &Netns) -> Plugin {
    Plugin::of(suite, "bridge").config(config).netns(netns)
}

/// One suite adds, the other deletes in the way that is asked for.
fn handed_over(from: Suite, to: Suite, config: &Value, del: impl FnOnce(&Netns, Plugin) + Send) {
    Node::run(|node| {
        let c1 = node.netns("c1");
        let result = of(from, config, &c1).add().ok();
        let config = with(config.clone(), json!({"prevResult": result}));
        del(&c1, of(to, &config, &c1));
    });
}

fn plainly(_: &Netns, plugin: Plugin) {
    plugin.del().ok();
}

#[test]
fn ours_deletes_what_the_go_suite_has_made() {
    handed_over(Suite::Go, Suite::Ours, &network(), plainly);
}

#[test]
fn the_go_suite_deletes_what_ours_has_made() {
    handed_over(Suite::Ours, Suite::Go, &network(), plainly);
}

#[test]
fn ours_checks_what_the_go_suite_has_made() {
    handed_over(Suite::Go, Suite::Ours, &network(), |_, plugin| {
        plugin.check().ok();
        plugin.del().ok();
    });
}

#[test]
fn the_go_suite_checks_what_ours_has_made() {
    handed_over(Suite::Ours, Suite::Go, &network(), |_, plugin| {
        plugin.check().ok();
        plugin.del().ok();
    });
}

#[test]
fn ours_deletes_what_the_go_suite_has_made_without_a_netns() {
    handed_over(Suite::Go, Suite::Ours, &network(), |c1, plugin| {
        c1.vanish();
        plugin.env("CNI_NETNS", "").del().ok();
    });
}

#[test]
fn ours_deletes_what_the_go_suite_has_made_in_a_netns_that_has_gone() {
    handed_over(Suite::Go, Suite::Ours, &network(), |c1, plugin| {
        c1.vanish();
        plugin.del().ok();
    });
}

#[test]
fn ours_deletes_by_name_what_either_back_end_of_ours_has_made() {
    for backend in ["iptables", "nftables"] {
        let config = with(network(), json!({"ipMasqBackend": backend}));
        handed_over(Suite::Ours, Suite::Ours, &config, |c1, plugin| {
            c1.vanish();
            plugin.del().ok();
        });
    }
}

#[test]
fn ours_deletes_though_the_back_end_has_changed_since() {
    for (then, now) in [("iptables", "nftables"), ("nftables", "iptables")] {
        let made = with(network(), json!({"ipMasqBackend": then}));
        let since = with(network(), json!({"ipMasqBackend": now}));
        handed_over(Suite::Ours, Suite::Ours, &made, |_, plugin| plainly_with(&plugin, &since));
    }
}

fn plainly_with(plugin: &Plugin, config: &Value) {
    plugin.clone().config(config).del().ok();
}

#[test]
fn ours_deletes_the_spoof_check_of_the_go_suite_with_and_without_a_netns() {
    let config = with(network(), json!({"macspoofchk": true}));
    handed_over(Suite::Go, Suite::Ours, &config, plainly);
    handed_over(Suite::Go, Suite::Ours, &config, |c1, plugin| {
        c1.vanish();
        plugin.del().ok();
    });
}

/// The Go suite does not know the tables of ours, and its first DEL fails when it misses its own chain, after it has
/// removed the link. What it leaves is for our GC.
#[test]
fn what_the_go_suite_leaves_of_ours_is_collected() {
    let config = with(dual_stack("net"), json!({"ipMasq": true, "macspoofchk": true}));
    handed_over(Suite::Ours, Suite::Go, &config, |_, plugin| {
        let _ = plugin.del();
        plugin.del().ok();
        let members = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": []});
        Plugin::new("bridge").config(&with(config.clone(), members)).gc().ok();
    });
}

#[test]
fn ours_deletes_without_a_previous_result() {
    for suite in [Suite::Go, Suite::Ours] {
        handed_over(suite, Suite::Ours, &network(), |_, plugin| plainly_with(&plugin, &network()));
    }
}

#[test]
fn pools_are_shared_in_both_directions() {
    for (first, second) in [(Suite::Go, Suite::Ours), (Suite::Ours, Suite::Go)] {
        Node::run(|node| {
            let (one, two) = (node.netns("one"), node.netns("two"));
            let (one, two) =
                (of(first, &network(), &one).container("one"), of(second, &network(), &two).container("two"));
            let (one_has, two_has) = (one.add().ok(), two.add().ok());
            assert_eq!(one_has["ips"][0]["address"], "10.1.0.2/24");
            assert_eq!(two_has["ips"][0]["address"], "10.1.0.3/24");
            one.del().ok();
            two.del().ok();
        });
    }
}
