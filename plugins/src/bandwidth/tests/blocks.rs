//! Whose block is whose.

use cni::plugin::Plugin;

use super::*;
use crate::bandwidth::block;

fn own_name(ifname: &str) -> String {
    block::own_name(&"n1".parse().unwrap(), "cid1", ifname)
}

/// What the Go suite leaves of an attachment with both limits.
fn as_the_go_suite_does() {
    let tbf = "root handle 1: tbf rate 8mbit burst 100000 latency 25ms";
    sh(&format!(
        "tc qdisc add dev veth0 {tbf}
        ip link add {GO_NAME} mtu 1400 txqueuelen 0 type ifb; ip link set {GO_NAME} up
        tc qdisc add dev veth0 ingress
        tc filter add dev veth0 parent ffff: protocol all prio 1 u32 match u32 0 0 flowid 1:1 \
            action mirred egress redirect dev {GO_NAME}
        tc qdisc add dev {GO_NAME} {}",
        tbf.replace("8mbit burst 100000", "16mbit burst 200000")
    ));
}

#[test]
fn names_are_those_of_the_go_suite_and_others_that_nobody_shares() {
    let net = "n1".parse().unwrap();
    assert_eq!(block::go_name(&net, "cid1"), GO_NAME);
    let others = [own_name("eth0"), own_name("eth1"), block::own_name(&"n1c".parse().unwrap(), "id1", "eth0")];
    for (at, name) in others.iter().enumerate() {
        assert!(name.len() == 15 && name.starts_with("bwp"), "{name}");
        assert!(!others[..at].contains(name) && name != GO_NAME);
    }
}

#[test]
fn two_interfaces_of_a_container_have_two_blocks() {
    play(|stage| {
        let before = blocks();
        stage.connect("veth1", "eth1");
        let second = call(&[INGRESS, EGRESS, &stage.previous("veth1", "eth1")]);
        let (first, eth1) = (stage.call(&[INGRESS, EGRESS]), stage.attachment("eth1"));
        stage.add(&[INGRESS, EGRESS]).unwrap();
        let result = Bandwidth.add(&second, &eth1).unwrap();
        assert_eq!(result.interfaces[3].name, own_name("eth1"));
        assert_eq!(Bandwidth.add(&second, &eth1).unwrap(), result);
        let mut expected = [GO_NAME.to_owned(), own_name("eth1")];
        expected.sort();
        assert_eq!(blocks(), expected);
        Bandwidth.check(&first, &stage.attachment("eth0")).unwrap();
        Bandwidth.check(&second, &eth1).unwrap();

        // The first goes; the second stays, under its name, however often it is said.
        Bandwidth.del(&first, &stage.attachment("eth0")).unwrap();
        Bandwidth.del(&first, &stage.attachment("eth0")).unwrap();
        assert_eq!(blocks(), [own_name("eth1")]);
        Bandwidth.check(&second, &eth1).unwrap();
        assert_eq!(Bandwidth.add(&second, &eth1).unwrap(), result);
        assert_eq!(blocks(), [own_name("eth1")]);
        Bandwidth.del(&second, &eth1).unwrap();
        assert_eq!(blocks(), before);
    });
}

#[test]
fn what_the_go_suite_has_made_is_checked_and_removed() {
    play(|stage| {
        let before = traces();
        as_the_go_suite_does();
        stage.check(&[INGRESS, EGRESS]).unwrap();
        stage.del(&[INGRESS, EGRESS]).unwrap();
        assert_eq!(traces(), before);
    });
}

#[test]
fn what_the_go_suite_has_made_for_this_pair_is_taken_over() {
    play(|stage| {
        let before = traces();
        as_the_go_suite_does();
        let mac = Handle::here().unwrap().link(GO_NAME).unwrap().unwrap().mac.unwrap().to_string();
        let result = stage.add(&[INGRESS, EGRESS]).unwrap();
        assert_eq!((result.interfaces[3].name.as_str(), &result.interfaces[3].mac), (GO_NAME, &mac));
        let block = Handle::here().unwrap().link(GO_NAME).unwrap().unwrap();
        assert_eq!(block.alias, Some(owner("n1", "cid1", "eth0").tag()));
        assert_eq!(stage.add(&[INGRESS, EGRESS]).unwrap(), result);
        assert_eq!(blocks(), [GO_NAME]);
        stage.check(&[INGRESS, EGRESS]).unwrap();
        stage.del(&[INGRESS, EGRESS]).unwrap();
        assert_eq!(traces(), before);
    });
}

#[test]
fn what_the_go_suite_has_made_for_another_pair_is_left_alone() {
    play(|stage| {
        as_the_go_suite_does();
        stage.connect("veth1", "eth1");
        let second = call(&[EGRESS, &stage.previous("veth1", "eth1")]);
        let eth1 = stage.attachment("eth1");
        let result = Bandwidth.add(&second, &eth1).unwrap();
        assert_eq!(result.interfaces[3].name, own_name("eth1"));
        Bandwidth.del(&second, &eth1).unwrap();
        assert_eq!(blocks(), [GO_NAME]);

        // A second DEL: nothing is there that is certainly eth1's. The record says who the other is.
        record("n1", "cid1", "eth0");
        Bandwidth.del(&second, &eth1).unwrap();
        assert_eq!(blocks(), [GO_NAME]);
        record("n1", "cid1", "eth1");
        Bandwidth.del(&second, &eth1).unwrap();
        assert!(blocks().is_empty());
    });
}

/// A crash between the first message and the second leaves a block that does not say whose it is.
#[test]
fn a_block_without_alias_is_known_by_its_address() {
    play(|stage| {
        let result = stage.add(&[EGRESS]).unwrap();
        let untag = format!("ip link set {GO_NAME} alias ''");
        sh(&untag);
        assert_eq!(stage.add(&[EGRESS]).unwrap(), result);
        assert_eq!(blocks(), [GO_NAME]);
        sh(&untag);
        record("n1", "cid1", "eth1");
        stage.del(&[EGRESS]).unwrap();
        assert!(blocks().is_empty());
    });
}
