//! An ADD that fails at any point leaves nothing, and one that is killed nothing that DEL does not remove.

use std::time::Duration;

use harness::Plugin;
use serde_json::{Value, json};

use crate::kinds::{EVERYWHERE, Kind, STOCK, Stage};

/// Something that makes ADD fail.
struct Obstacle {
    name: &'static str,
    /// Members of the configuration.
    members: Value,
    /// Shell commands on the node.
    prepare: &'static str,
    /// The shell script that is the IPAM plugin `zork`.
    zork: &'static str,
    call: fn(Plugin) -> Plugin,
}

fn obstacle(name: &'static str, members: Value) -> Obstacle {
    Obstacle { name, members, prepare: "", zork: "exit 1", call: |plugin| plugin }
}

fn by_zork(name: &'static str, zork: &'static str) -> Obstacle {
    Obstacle { zork, ..obstacle(name, json!({"ipam": {"type": "zork"}})) }
}

const TWICE: &str = r#"echo '{"cniVersion": "1.1.0", "ips": [
    {"address": "10.1.0.2/24", "gateway": "10.1.0.1"}, {"address": "10.1.0.2/24", "gateway": "10.1.0.1"}]}'"#;

fn obstacles(kind: Kind) -> Vec<Obstacle> {
    let last = json!({"subnet": "10.2.0.0/30", "rangeStart": "10.2.0.2", "gateway": "10.2.0.2"});
    let full = json!({"ipam": {"type": "host-local", "ranges": [[{"subnet": "10.1.0.0/24"}], [last]]}});
    let routes = json!([{"dst": "192.168.0.0/16", "gw": "172.16.0.1"}]);
    let lost = json!({"ipam": {"type": "host-local", "subnet": "10.1.0.0/24", "routes": routes}});
    let taken = "ip -n c1 link add eth0 type veth peer name other";
    let mut all = vec![
        obstacle("no IPAM plugin", json!({"ipam": {"type": "nope"}})),
        by_zork("an IPAM plugin that fails", "exit 1"),
        by_zork("an IPAM plugin that gives nothing", r#"echo '{"cniVersion": "1.1.0"}'"#),
        by_zork("an IPAM plugin that says nonsense", "echo zork"),
        by_zork("an address that is given twice", TWICE),
        obstacle("a second pool that is full", full),
        obstacle("a route by an unreachable gateway", lost),
        Obstacle { prepare: taken, ..obstacle("a name that is taken", json!({})) },
        Obstacle { call: |plugin| plugin.redirected(">/dev/full"), ..obstacle("an answer that is lost", json!({})) },
        Obstacle { call: |plugin| plugin.redirected(">&-"), ..obstacle("a closed stdout", json!({})) },
    ];
    if !matches!(kind.plugin, "host-device" | "dummy") {
        all.push(obstacle("an MTU that can not be", json!({"mtu": 70_000})));
    }
    all
}

fn meets_every_obstacle(kind: Kind) {
    Stage::play_messy(kind, |stage| {
        let dir = stage.node.script("zork", "exit 1");
        let mut before = stage.node.state();
        for obstacle in obstacles(kind) {
            println!("{}: {}", kind.plugin, obstacle.name);
            stage.node.script("zork", obstacle.zork);
            if !obstacle.prepare.is_empty() {
                harness::sh(obstacle.prepare);
                before = stage.node.state();
            }
            let answer = (obstacle.call)(stage.plugin_with(obstacle.members).path(dir)).add();
            assert!(!answer.succeeded(), "a success\n{answer}");
            before = stage.assert_as(&before);
            if !obstacle.prepare.is_empty() {
                stage.c1.sh("ip link delete eth0");
                before = stage.node.state();
            }
        }
    });
}

#[test]
fn of_an_add_leaves_nothing() {
    EVERYWHERE.into_iter().for_each(meets_every_obstacle);
}

/// At instants that are spread over the duration of an ADD, and a few beyond.
fn killed(kind: Kind, delays: impl Iterator<Item = Duration> + Send) {
    Stage::play_messy(kind, |stage| {
        let mut before = stage.node.state();
        for delay in delays {
            println!("{}: killed after {delay:?}", kind.plugin);
            stage.plugin().kill_add_after(delay);
            stage.plugin().del().ok();
            before = stage.assert_as(&before);
        }
    });
}

#[test]
fn of_the_machine_in_the_middle_of_an_add() {
    for kind in EVERYWHERE {
        killed(kind, (0..16).map(|step| Duration::from_micros(step * 600)));
    }
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn on_a_stock_kernel() {
    for kind in STOCK {
        meets_every_obstacle(kind);
        killed(kind, (0..6).map(|step| Duration::from_millis(step * 12)));
    }
}
