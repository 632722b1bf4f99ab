//! The plugins that the stories are about, and the stage that each needs.

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use harness::{Echo, Netns, Node, Plugin, Server, State, Transport, with};
use serde_json::{Value, json};

use crate::cable::Cable;

/// A plugin with what its stories need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) plugin: &'static str,
    /// Members of the configuration, as JSON.
    pub(crate) members: &'static str,
    /// Commands of `ip` in the remote host, a line each.
    pub(crate) remote: &'static str,
    /// Shell commands on the node.
    pub(crate) node: &'static str,
    pub(crate) neighbour: Neighbour,
}

/// Whom the container talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbour {
    /// The node, which has the gateways' addresses.
    Node,
    /// The remote host, which has them.
    Remote,
    /// Another container, by a cable between two devices.
    Cable,
    /// Nobody but itself.
    Nobody,
}

const GATEWAYS: &str = "address add 10.1.0.1/24 dev eth0\naddress add fd00:1::1/64 dev eth0 nodad";

const PLAIN: Kind = Kind { plugin: "", members: "{}", remote: GATEWAYS, node: "", neighbour: Neighbour::Remote };

pub(crate) const PTP: Kind = Kind { plugin: "ptp", remote: "", neighbour: Neighbour::Node, ..PLAIN };

pub(crate) const MACVLAN: Kind = Kind { plugin: "macvlan", members: r#"{"master": "uplink"}"#, ..PLAIN };

pub(crate) const TAP: Kind = Kind { plugin: "tap", remote: "", neighbour: Neighbour::Cable, ..PLAIN };

/// The remote host has the device's other end.
pub(crate) const HOST_DEVICE: Kind = Kind {
    plugin: "host-device",
    members: r#"{"device": "dev0"}"#,
    remote: "
        link add dev1 type veth peer name dev0
        link set dev1 up
        address add 10.1.0.1/24 dev dev1
        address add fd00:1::1/64 dev dev1 nodad",
    node: "
        ip -n remote link set dev0 netns $$
        ip link set dev0 address 02:00:00:00:00:05 up
        ip address add 198.51.100.1/24 brd + dev dev0
        ip address add 2001:db8:5::1/64 dev dev0 nodad",
    ..PLAIN
};

pub(crate) const IPVLAN: Kind = Kind { plugin: "ipvlan", members: r#"{"master": "uplink"}"#, ..PLAIN };

pub(crate) const VLAN: Kind = Kind {
    plugin: "vlan",
    members: r#"{"master": "uplink", "vlanId": 100}"#,
    remote: "
        link add link eth0 name eth0.100 type vlan id 100
        link set eth0.100 up
        address add 10.1.0.1/24 dev eth0.100
        address add fd00:1::1/64 dev eth0.100 nodad",
    ..PLAIN
};

pub(crate) const DUMMY: Kind = Kind { plugin: "dummy", remote: "", neighbour: Neighbour::Nobody, ..PLAIN };

/// Those that any kernel with containers has.
pub(crate) const EVERYWHERE: [Kind; 4] = [PTP, MACVLAN, TAP, HOST_DEVICE];

/// Those for which a stock kernel is needed.
pub(crate) const STOCK: [Kind; 3] = [IPVLAN, VLAN, DUMMY];

pub(crate) const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

impl Kind {
    /// A network of this kind, with pools of both families and a route.
    pub(crate) fn network(self) -> Value {
        let members: Value = serde_json::from_str(self.members).expect("members are JSON");
        let ranges = json!([[{"subnet": "10.1.0.0/24"}], [{"subnet": "fd00:1::/64"}]]);
        let ipam = json!({"type": "host-local", "ranges": ranges, "routes": [{"dst": "192.0.2.128/25"}]});
        with(json!({"cniVersion": "1.1.0", "name": "net", "type": self.plugin, "ipam": ipam}), members)
    }
}

/// A node on which a kind can be played.
pub(crate) struct Stage<'a> {
    pub(crate) kind: Kind,
    pub(crate) node: &'a Node,
    pub(crate) remote: Netns,
    pub(crate) c1: Netns,
    pub(crate) c2: Netns,
}

impl Stage<'_> {
    /// Plays a story. At its end everything is as it was at its beginning.
    pub(crate) fn play(kind: Kind, story: impl FnOnce(&Stage<'_>) + Send) {
        Self::play_messy(kind, |stage| {
            let before = stage.node.state();
            story(stage);
            let _ = stage.assert_as(&before);
        });
    }

    /// The same without a look at what is left.
    pub(crate) fn play_messy(kind: Kind, story: impl FnOnce(&Stage<'_>) + Send) {
        Node::run_messy(|node| {
            let stage = Stage { kind, node, remote: node.remote(), c1: node.netns("c1"), c2: node.netns("c2") };
            stage.remote.ip(kind.remote);
            if kind.neighbour == Neighbour::Nobody {
                // A container reaches itself by its loopback, which is another plugin's.
                stage.c1.ip("link set lo up");
            }
            if !kind.node.is_empty() {
                harness::sh(kind.node);
            }
            story(&stage);
        });
    }

    /// Panics when something of an attachment is here that was not there before, or something is gone, or the device of
    /// host-device is another than it was. Returns what is here now.
    pub(crate) fn assert_as(&self, before: &State) -> State {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            let now = self.node.state();
            let mut changes = [now.left_since(before), before.left_since(&now)].concat();
            if self.kind.plugin == "host-device" {
                let is_of_device = |line: &String| line.contains("dev0") && !line.contains(" sysctl ");
                changes.extend(before.difference(&now).into_iter().filter(is_of_device));
            }
            if changes.is_empty() {
                return now;
            }
            assert!(Instant::now() < deadline, "{}: is not as it was:\n{}", self.kind.plugin, changes.join("\n"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The plugin about container `c1`.
    pub(crate) fn plugin(&self) -> Plugin {
        self.plugin_with(json!({}))
    }

    pub(crate) fn plugin_with(&self, members: Value) -> Plugin {
        Plugin::new(self.kind.plugin).config(&with(self.kind.network(), members)).netns(&self.c1)
    }

    /// Both begin to talk, each with the other, at once. `addresses` are the container's.
    pub(crate) fn assert_reached(&self, addresses: &[IpAddr]) {
        let gateways = ["10.1.0.1", "fd00:1::1"].map(|text| text.parse::<IpAddr>().expect("an address"));
        let pairs = gateways.into_iter().zip(addresses);
        match self.kind.neighbour {
            Neighbour::Node => self.talk_with_node(pairs),
            Neighbour::Remote => pairs.for_each(|(gateway, address)| {
                assert_eq!(Server::listen(&self.remote, gateway).serve(&self.c1), *address);
                assert_eq!(Server::listen(&self.c1, *address).serve(&self.remote), gateway);
            }),
            Neighbour::Cable => self.talk_by_cable(addresses),
            Neighbour::Nobody => addresses.iter().for_each(|address| {
                assert_eq!(Server::listen(&self.c1, *address).serve(&self.c1), *address);
            }),
        }
    }

    fn talk_with_node<'b>(&self, pairs: impl Iterator<Item = (IpAddr, &'b IpAddr)>) {
        let (server, _echo) = (Server::anywhere(), Echo::start(&self.c1, 7000));
        for (gateway, address) in pairs {
            let _ = server.serve_at(gateway, &self.c1);
            let seen = Transport::Tcp.ask((*address, 7000).into()).expect("the node reaches the container");
            assert_eq!(seen, gateway);
        }
    }

    fn talk_by_cable(&self, addresses: &[IpAddr]) {
        let plugin = self.plugin().container("c2").netns(&self.c2);
        let others = harness::addresses(&plugin.add().ok());
        let cable = Cable::between(&self.c1, &self.c2);
        for (other, address) in others.iter().zip(addresses) {
            assert_eq!(Server::listen(&self.c2, *other).serve(&self.c1), *address);
            assert_eq!(Server::listen(&self.c1, *address).serve(&self.c2), *other);
        }
        drop(cable);
        plugin.del().ok();
    }
}
