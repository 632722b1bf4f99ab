//! Debian's containerd runs containers from a plain rootfs directory on our network, and nothing is left after.

use std::fs;
use std::path::Path;

use harness::{
    Containerd, Echo, Netns, Network, Node, Suite, assert_reached_by_all, chain, dual_stack, published, sh, with,
};
use serde_json::{Value, json};

#[test]
fn ctr_run_with_cni_three_times_in_a_row() {
    Node::run(|node| {
        install_network();
        let before = node.state();
        let rootfs = busybox_rootfs();
        let containerd = Containerd::start();
        for (number, address) in ["10.1.0.2/24", "10.1.0.3/24", "10.1.0.4/24"].iter().enumerate() {
            let seen = containerd.run_with_cni(&format!("c{number}"), &rootfs, SCRIPT);
            assert!(seen.contains(&format!("inet {address}")), "no address {address} in the container:\n{seen}");
            assert!(seen.contains("2 packets received"), "no ping to the gateways:\n{seen}");
            node.assert_nothing_left_since(&before);
        }
        containerd.assert_nothing_runs();
    });
}

const INSIDE: u16 = 7000;
const OUTSIDE: u16 = 8080;

/// `ctr` asks plugins for nothing, so the wishes stand in the list, where a runtime would put them.
#[test]
fn ctr_run_with_published_ports() {
    Node::run(|node| {
        let (remote, neighbour) = (node.remote(), node.netns("neighbour"));
        let wishes = published(OUTSIDE, INSIDE);
        let quiet = chain("net", "nftables");
        let mut list = quiet.clone();
        for plugin in list["plugins"].as_array_mut().expect("plugins") {
            *plugin = with(plugin.clone(), json!({"runtimeConfig": wishes}));
        }
        install(&list);
        let next_door = Network::new(&quiet);
        next_door.add(&neighbour).ok();
        let before = node.state();
        let rootfs = busybox_rootfs();
        let containerd = Containerd::start();
        for id in ["c1", "c2"] {
            let running = containerd.start_with_cni(id, &rootfs);
            let container = Netns::of_process(running.pid);
            let echo = Echo::start(&container, INSIDE);
            assert_reached_by_all(&remote, &neighbour, &container, OUTSIDE);
            drop(echo);
            running.end();
            node.assert_nothing_left_since(&before);
        }
        containerd.assert_nothing_runs();
        next_door.del(&neighbour).ok();
    });
}

/// The IPv6 gateway answers at once as the IPv4 one does: the address inside needs no duplicate detection.
const SCRIPT: &str = "busybox ip address show eth0
    busybox ping -c 2 -i 0.1 -W 2 10.1.0.1
    busybox ping6 -c 2 -i 0.1 -W 2 fd00:1::1";

/// The Go suite leaves its masquerade rules when the namespace has gone before DEL, as it has here; it gets none.
fn install_network() {
    let plugin = with(dual_stack("net"), json!({"ipMasq": !Suite::are_same()}));
    install(&json!({"cniVersion": "1.0.0", "name": "net", "plugins": [plugin]}));
}

fn install(list: &Value) {
    fs::create_dir_all(Containerd::CONF_DIR).expect("create the directory of networks");
    fs::write(Path::new(Containerd::CONF_DIR).join("10-net.conflist"), list.to_string()).expect("write the network");
    std::os::unix::fs::symlink(Suite::Ours.dir(), "/opt/cni/bin").expect("install the plugins");
}

fn busybox_rootfs() -> String {
    let rootfs = "/run/rootfs";
    sh(&format!(
        "mkdir -p {rootfs}/bin {rootfs}/dev {rootfs}/proc {rootfs}/sys {rootfs}/etc
        cp $(command -v busybox) {rootfs}/bin/busybox
        ln -s busybox {rootfs}/bin/sh"
    ));
    rootfs.to_owned()
}
