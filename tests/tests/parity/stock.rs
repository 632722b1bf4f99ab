//! What is compared on a stock kernel, in the virtual machine: plugins whose links the kernel of the machine that builds may
//! not have.

use crate::twins::assert_alike;
use crate::{dummy, ipvlan, vlan};

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn ipvlan_links() {
    assert_alike(ipvlan::links());
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn masters_of_ipvlan() {
    assert_alike(ipvlan::masters());
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn lives_of_ipvlan() {
    assert_alike(ipvlan::lives());
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn checks_of_ipvlan() {
    assert_alike(ipvlan::checks());
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn vlan_links() {
    assert_alike(vlan::links());
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn lives_of_vlans() {
    assert_alike(vlan::lives());
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn checks_of_vlans() {
    assert_alike(vlan::checks());
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn dummy_links() {
    assert_alike(dummy::links());
}

#[test]
#[ignore = "needs the virtual machine: make test-vm"]
fn lives_of_dummies() {
    assert_alike(dummy::lives());
}

#[test]
fn the_table_is_long_enough() {
    let groups = [
        ipvlan::links(),
        ipvlan::masters(),
        ipvlan::lives(),
        ipvlan::checks(),
        vlan::links(),
        vlan::lives(),
        vlan::checks(),
        dummy::links(),
        dummy::lives(),
    ];
    assert!(groups.iter().map(Vec::len).sum::<usize>() >= 60);
}
