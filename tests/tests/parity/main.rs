//! The same call to our plugins and to the Go suite gives equal answers and equal kernel state.
//!
//! A row of the table is a configuration and a short life: ADD, CHECK, DEL, DEL again, unless it says otherwise. Each
//! suite lives it on a node of its own; what is compared is every answer (as JSON, so that layout does not count), every
//! exit status, and the whole state after every step. Where ours differs on purpose, the row lists the lines of the
//! difference and the reason, and fails when one of them does not come.

mod bandwidth;
mod bridge;
mod chain;
mod differences;
mod dummy;
mod errors;
mod firewall;
mod host_device;
mod host_local;
mod ipam;
mod ipvlan;
mod loopback;
mod macvlan;
mod portmap;
mod ptp;
mod row;
mod sbr;
mod static_ipam;
mod stock;
mod tap;
mod tuning;
mod twins;
mod vlan;

use twins::assert_alike;

#[test]
fn bridges_in_layer_2() {
    assert_alike(bridge::layer_2());
}

#[test]
fn bridges_with_addresses() {
    assert_alike(bridge::layer_3());
}

#[test]
fn bridges_that_meet_something() {
    assert_alike(bridge::encounters());
}

#[test]
fn masquerade() {
    assert_alike(bridge::masquerade());
}

#[test]
fn check() {
    assert_alike(bridge::check());
}

#[test]
fn pools() {
    assert_alike(host_local::pools());
}

#[test]
fn requested_addresses() {
    assert_alike(host_local::requested());
}

#[test]
fn pools_that_can_not_be() {
    assert_alike(host_local::refused());
}

#[test]
fn loopbacks() {
    assert_alike(loopback::rows());
}

#[test]
fn bad_calls() {
    assert_alike(errors::rows());
}

#[test]
fn port_mappings() {
    assert_alike(portmap::mappings());
}

#[test]
fn port_mappings_with_options() {
    assert_alike(portmap::options());
}

#[test]
fn port_mappings_to_addresses() {
    assert_alike(portmap::addresses());
}

#[test]
fn lives_of_port_mappings() {
    assert_alike(portmap::lives());
}

#[test]
fn port_mappings_that_can_not_be() {
    assert_alike(portmap::refused());
}

#[test]
fn firewalls() {
    assert_alike(firewall::rows());
}

#[test]
fn ingress_policies() {
    assert_alike(firewall::policies());
}

#[test]
fn firewalls_that_can_not_be() {
    assert_alike(firewall::refused());
}

#[test]
fn shapers() {
    assert_alike(bandwidth::shapes());
}

#[test]
fn lives_of_shapers() {
    assert_alike(bandwidth::lives());
}

#[test]
fn shapers_that_can_not_be() {
    assert_alike(bandwidth::refused());
}

#[test]
fn tuned_sysctls() {
    assert_alike(tuning::sysctls());
}

#[test]
fn tuned_links() {
    assert_alike(tuning::links());
}

#[test]
fn lives_of_tuned_links() {
    assert_alike(tuning::lives());
}

#[test]
fn what_can_not_be_tuned() {
    assert_alike(tuning::refused());
}

#[test]
fn routes_by_source() {
    assert_alike(sbr::rows());
}

#[test]
fn routes_by_source_with_options() {
    assert_alike(sbr::options());
}

#[test]
fn routes_by_source_that_can_not_be() {
    assert_alike(sbr::refused());
}

#[test]
fn pairs_of_ptp() {
    assert_alike(ptp::addresses());
}

#[test]
fn ptp_in_all_versions() {
    assert_alike(ptp::versions());
}

#[test]
fn routes_of_ptp() {
    assert_alike(ptp::routes());
}

#[test]
fn lives_of_ptp() {
    assert_alike(ptp::lives());
}

#[test]
fn ptp_that_can_not_be() {
    assert_alike(ptp::refused());
}

#[test]
fn macvlan_modes() {
    assert_alike(macvlan::modes());
}

#[test]
fn macvlan_members() {
    assert_alike(macvlan::members());
}

#[test]
fn masters_of_macvlan() {
    assert_alike(macvlan::masters());
}

#[test]
fn addresses_of_macvlan() {
    assert_alike(macvlan::addresses());
}

#[test]
fn lives_of_macvlan() {
    assert_alike(macvlan::lives());
}

#[test]
fn taps() {
    assert_alike(tap::devices());
}

#[test]
fn lives_of_taps() {
    assert_alike(tap::lives());
}

#[test]
fn devices_of_the_host() {
    assert_alike(host_device::devices());
}

#[test]
fn lives_of_devices() {
    assert_alike(host_device::lives());
}

#[test]
fn checks_of_devices() {
    assert_alike(host_device::checks());
}

#[test]
fn fixed_addresses() {
    assert_alike(static_ipam::sources());
}

#[test]
fn fixed_addresses_that_can_not_be() {
    assert_alike(static_ipam::refused());
}

#[test]
fn checks_of_ptp() {
    assert_alike(ptp::checks());
}

#[test]
fn checks_of_macvlan() {
    assert_alike(macvlan::checks());
}

#[test]
fn taps_that_can_not_be() {
    assert_alike(tap::refused());
}

#[test]
fn checks_of_taps() {
    assert_alike(tap::checks());
}

#[test]
fn devices_that_can_not_be() {
    assert_alike(host_device::refused());
}

#[test]
fn checks_of_fixed_addresses() {
    assert_alike(static_ipam::checks());
}

#[test]
fn the_table_is_long_enough() {
    let groups = [
        bridge::layer_2(),
        bridge::layer_3(),
        bridge::encounters(),
        bridge::masquerade(),
        bridge::check(),
        host_local::pools(),
        host_local::requested(),
        host_local::refused(),
        loopback::rows(),
        errors::rows(),
    ];
    let chained = [
        portmap::mappings(),
        portmap::options(),
        portmap::addresses(),
        portmap::lives(),
        portmap::refused(),
        firewall::rows(),
        firewall::policies(),
        firewall::refused(),
        bandwidth::shapes(),
        bandwidth::lives(),
        bandwidth::refused(),
        tuning::sysctls(),
        tuning::links(),
        tuning::lives(),
        tuning::refused(),
        sbr::rows(),
        sbr::options(),
        sbr::refused(),
    ];
    let interfaces = [
        ptp::addresses(),
        ptp::versions(),
        ptp::routes(),
        ptp::lives(),
        ptp::checks(),
        ptp::refused(),
        macvlan::modes(),
        macvlan::members(),
        macvlan::masters(),
        macvlan::addresses(),
        macvlan::lives(),
        macvlan::checks(),
        tap::devices(),
        tap::refused(),
        tap::lives(),
        tap::checks(),
        host_device::devices(),
        host_device::refused(),
        host_device::lives(),
        host_device::checks(),
        static_ipam::sources(),
        static_ipam::refused(),
        static_ipam::checks(),
    ];
    assert!(groups.iter().map(Vec::len).sum::<usize>() >= 60);
    assert!(chained.iter().map(Vec::len).sum::<usize>() >= 80);
    assert!(interfaces.iter().map(Vec::len).sum::<usize>() >= 60);
}
