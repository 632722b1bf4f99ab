//! The chains of the Go suite, made and taken down by either.

mod collection;
mod layout;
mod policies;
mod survey;

use std::thread;

use cni::plugin::ValidAttachments;
use kernel::plan::{Applied, Plan};

use super::super::config::Backend;
use super::*;
use crate::iptables::FAMILIES;
use crate::iptables::tests::{both, go_well, hosts, namespace, node, notes, rules, shell};

const IPS: [&str; 2] = ["10.77.0.2/24", "fd00::2/64"];
const NONE: [&str; 0] = [];
/// What is left of a family when all containers are gone.
const SHARED: [&str; 4] = [
    ":CNI-ADMIN - [0:0]",
    ":CNI-FORWARD - [0:0]",
    "-A FORWARD -m comment --comment \"CNI firewall plugin rules\" -j CNI-FORWARD",
    "-A CNI-FORWARD -m comment --comment \"CNI firewall plugin admin overrides\" -j CNI-ADMIN",
];

fn owner(net: &str, id: &str) -> Owner {
    Owner::new(net.parse().unwrap(), id.parse().unwrap(), "eth0".parse().unwrap())
}

fn config(policy: Policy) -> Config {
    Config { backend: Backend::Iptables, admin_chain: "CNI-ADMIN".into(), zone: "trusted".into(), policy }
}

fn step(owner: &Owner, config: &Config, ips: &[&str]) -> Rules {
    Rules::new(owner, config, &hosts(ips), Some("br0"))
}

fn try_add(owner: &Owner, config: &Config, ips: &[&str]) -> Result<Applied, String> {
    let mut plan = Plan::new();
    plan.push(step(owner, config, ips));
    let mut done = Applied::default();
    plan.apply(&mut Machine::host_only(), &mut done).map_err(|failure| failure.text)?;
    Ok(done)
}

/// As ADD does it.
fn add(owner: &Owner, policy: Policy, ips: &[&str]) -> Applied {
    try_add(owner, &config(policy), ips).unwrap()
}

/// As CHECK does it: what is missing.
fn check(owner: &Owner, policy: Policy, ips: &[&str]) -> Option<String> {
    let mut plan = Plan::new();
    plan.push(step(owner, &config(policy), ips));
    plan.check(&mut Machine::host_only()).err().map(|deviation| deviation.to_string())
}

/// As DEL does it.
fn del(owner: &Owner, known: &[&str]) {
    remove(&mut Machine::host_only(), owner, &hosts(known)).unwrap();
}

/// As GC does it.
fn collect(net: &str, valid: &[&str]) {
    let valid = ValidAttachments::new(valid.iter().map(|id| (*id, "eth0")));
    gc(&mut Machine::host_only(), &net.parse().unwrap(), &valid).unwrap();
}

/// Everything in `filter`, of both families.
fn everything() -> [Vec<String>; 2] {
    FAMILIES.map(|family| rules(family, FILTER))
}

fn all_notes() -> Vec<String> {
    FAMILIES.iter().flat_map(|family| notes(*family, FILTER)).collect()
}

/// What host-local and libcni know: that `id` has `address` in network `net`.
fn record(net: &str, id: &str, address: &str) {
    let folder = format!("/var/lib/cni/networks/{net}");
    shell(&format!("mkdir -p {folder}; printf '{id}\\r\\neth0' > {folder}/{address}"));
}
