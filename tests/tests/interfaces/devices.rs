//! host-device: the device comes home as it was, wherever it has been.

use harness::{Plugin, Suite, addresses, sh, with};
use serde_json::json;

use crate::kinds::{HOST_DEVICE, Stage};

#[test]
fn are_kept_out_by_a_link_of_their_name_until_it_goes() {
    Stage::play(HOST_DEVICE, |stage| {
        let plugin = stage.plugin();
        let ips = addresses(&plugin.add().ok());
        sh("ip link add dev0 type veth peer name other");
        let failure = plugin.del().failure();
        assert_eq!(failure.msg, "failed to move \"dev0\" to hostNS: file exists");
        assert_eq!(failure.details, "the host has another link of that name: rename one of them");
        stage.assert_reached(&ips);
        sh("ip link delete dev0");
        plugin.del().ok();
    });
}

/// The name in the container may be the device's own, or that of another link of the host.
#[test]
fn meet_no_other_names() {
    Stage::play(HOST_DEVICE, |stage| {
        let plugin = stage.plugin().ifname("dev0");
        plugin.add().ok();
        plugin.del().ok();
        sh("ip link add eth0 type veth peer name other");
        stage.plugin().add().ok();
        stage.plugin().del().ok();
        sh("ip link delete eth0");
    });
}

/// Inside, the container is free to do what it likes to the device, and still does not keep it.
#[test]
fn are_not_kept_by_a_container() {
    Stage::play_messy(HOST_DEVICE, |stage| {
        let mut before = stage.node.state();
        for tampering in [
            "ip link set eth0 address 02:00:00:00:00:77",
            "ip link set eth0 alias ''",
            "ip link set eth0 alias zork",
            "ip link set eth0 down; ip link set eth0 name net7",
            "ip link set eth0 down; ip link set eth0 name net7; ip link add eth0 type ifb; ip link set eth0 alias zork",
            "ip address flush dev eth0; ip route flush table main",
        ] {
            println!("{tampering}");
            stage.plugin().add().ok();
            stage.c1.sh(tampering);
            stage.plugin().del().ok();
            stage.c1.sh("ip link delete eth0 2>/dev/null || :");
            sh("ip link set dev0 address 02:00:00:00:00:05");
            before = stage.assert_as(&before);
        }
    });
}

/// The Go suite leaves nothing but the alias.
#[test]
fn come_home_from_the_go_suite() {
    Stage::play_messy(HOST_DEVICE, |stage| {
        let config = with(HOST_DEVICE.network(), json!({"cniVersion": "1.0.0"}));
        Plugin::of(Suite::Go, "host-device").config(&config).netns(&stage.c1).add().ok();
        Plugin::new("host-device").config(&config).netns(&stage.c1).del().ok();
        let link = sh("ip link show dev0");
        assert!(!link.contains("alias"), "{link}");
    });
}
