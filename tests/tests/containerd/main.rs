//! Debian's containerd runs containers from a plain rootfs directory on our network, and nothing is left after.

mod daemon;

use std::fs;
use std::path::Path;

use daemon::{CONF_DIR, Containerd};
use harness::{Node, Suite, dual_stack, sh, with};
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

/// The IPv6 gateway answers at once as the IPv4 one does: the address inside needs no duplicate detection.
const SCRIPT: &str = "busybox ip address show eth0
    busybox ping -c 2 -i 0.1 -W 2 10.1.0.1
    busybox ping6 -c 2 -i 0.1 -W 2 fd00:1::1";

/// The Go suite leaves its masquerade rules when the namespace has gone before DEL, as it has here; it gets none.
fn install_network() {
    let plugin = with(dual_stack("net"), json!({"ipMasq": !Suite::are_same()}));
    let list: Value = json!({"cniVersion": "1.0.0", "name": "net", "plugins": [plugin]});
    fs::create_dir_all(CONF_DIR).expect("create the directory of networks");
    fs::write(Path::new(CONF_DIR).join("10-net.conflist"), list.to_string()).expect("write the network");
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
