//! The same call to our plugins and to the Go suite gives equal answers and equal kernel state.
//!
//! A row of the table is a configuration and a short life: ADD, CHECK, DEL, DEL again, unless it says otherwise. Each
//! suite lives it on a node of its own; what is compared is every answer (as JSON, so that layout does not count), every
//! exit status, and the whole state after every step. Where ours differs on purpose, the row lists the lines of the
//! difference and the reason, and fails when one of them does not come.

mod bridge;
mod differences;
mod errors;
mod host_local;
mod loopback;
mod row;
mod twins;

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
    assert!(groups.iter().map(Vec::len).sum::<usize>() >= 60);
}
