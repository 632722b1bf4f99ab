//! What is measured. A new plugin is a new line in [`all`] and a function that gives its configuration.

use serde_json::{Value, json};

use crate::case::Case;
use crate::row::Goals;
use crate::side::Side;

const AGAINST_GO: Goals = Goals { add: Some(0.35), del: Some(0.9), memory: Some(0.35) };

/// Our cost with many leases against our cost with none.
const GROWTH: Goals = Goals { add: Some(1.5), del: Some(1.5), memory: None };

/// The first call has to read all leases, as every call of the Go suite does.
const NONE: Goals = Goals { add: None, del: None, memory: None };

pub(crate) fn all() -> Vec<Case> {
    vec![
        Case::new("bridge, host-local", "bridge", bridge).goals(AGAINST_GO).neighbour(),
        Case::new("bridge, host-local, ipMasq: nftables, Go iptables", "bridge", masquerade)
            .goals(AGAINST_GO)
            .neighbour(),
        Case::new("loopback", "loopback", loopback).goals(AGAINST_GO),
        pool("host-local, no lease", 0),
        pool("host-local, 1,000 leases", 1_000),
        pool("host-local, 10,000 leases", 10_000).one_in(2),
        pool("host-local, 50,000 leases", 50_000).one_in(4),
        pool("host-local, 65,000 leases, /16 nearly full", 65_000).one_in(4),
        pool("host-local, 50,000 leases, first call", 50_000).goals(NONE).one_in(8).first_calls(),
        Case::new("host-local", "host-local", host_local)
            .between([Side::ours("many").leases(50_000), Side::ours("none")])
            .goals(GROWTH),
    ]
}

fn pool(name: &'static str, leases: usize) -> Case {
    let sides = [Side::ours("ours").leases(leases), Side::go("go").leases(leases)];
    Case::new(name, "host-local", host_local).between(sides).goals(AGAINST_GO)
}

fn bridge(side: &Side) -> Value {
    json!({
        "type": "bridge",
        "bridge": side.bridge(),
        "isDefaultGateway": true,
        "ipam": side.ipam(),
    })
}

/// The Go suite of Debian does not know the key `ipMasqBackend`, and has iptables only.
fn masquerade(side: &Side) -> Value {
    json!({
        "type": "bridge",
        "bridge": side.bridge(),
        "isDefaultGateway": true,
        "ipMasq": true,
        "ipMasqBackend": "nftables",
        "ipam": side.ipam(),
    })
}

fn loopback(_: &Side) -> Value {
    json!({"type": "loopback"})
}

/// Called alone, as bridge calls it.
fn host_local(side: &Side) -> Value {
    json!({"type": "bridge", "ipam": side.ipam()})
}
