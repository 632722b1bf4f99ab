//! The interface plugins, each a conformant CNI plugin of its own.
//!
//! # Theory of operation
//!
//! All interface plugins tell one story: make a link that reaches into the container, ask IPAM for addresses, give the
//! link those addresses and routes, connect the host's side, answer. They differ in how the link comes to be. So a
//! plugin here is its configuration, validated ([`lifecycle::Network`]), and what it decides after a look at the machine
//! ([`lifecycle::Wiring`]): pure functions from there to [`Plan`](kernel::plan::Plan)s. What happens to a plan (apply,
//! undo, check) is the same for all, and so are the life of an attachment ([`lifecycle`]), the addresses in the container
//! ([`container`]), the IPAM calls ([`ipam`]), veth pairs ([`veth`]), masquerading ([`masquerade`]) and the check on forged
//! source addresses ([`spoof_check`]).
//!
//! ADD applies the plans and, when anything fails, takes back what was applied and the lease. CHECK builds the plans
//! again, from `prevResult`, and asks whether they hold. DEL needs neither: names derive from network, container and
//! interface name, so it removes by name what may be there. GC compares the owner that every link and every nftables
//! element carries with the list of valid attachments.

pub mod bandwidth;
pub mod bridge;
pub mod bus;
pub mod child;
pub mod container;
pub mod dummy;
pub mod error;
pub mod failures;
pub mod firewall;
pub mod forwarding;
pub mod host_device;
#[cfg(test)]
mod injection;
pub mod ipam;
mod iptables;
pub mod ipvlan;
pub mod lifecycle;
pub mod loopback;
pub mod macvlan;
pub mod masquerade;
pub mod netconf;
pub mod ownership;
pub mod parent;
pub mod portmap;
pub mod ptp;
pub mod records;
pub mod sbr;
pub mod spoof_check;
pub mod tap;
pub mod tuning;
pub mod veth;
pub mod vlan;
pub mod vrf;

use std::process::ExitCode;

/// The names of the plugins in this crate.
pub const NAMES: &[&str] = &[
    "bandwidth",
    "bridge",
    "dummy",
    "firewall",
    "host-device",
    "ipvlan",
    "loopback",
    "macvlan",
    "portmap",
    "ptp",
    "sbr",
    "tap",
    "tuning",
    "vlan",
    "vrf",
];

/// Runs the plugin called `name` as a process: environment and standard input in, answer and exit status out. `None`
/// when there is no such plugin here.
#[must_use]
pub fn run(name: &str) -> Option<ExitCode> {
    match name {
        "bandwidth" => Some(cni::plugin::main(&bandwidth::Bandwidth)),
        "bridge" => Some(cni::plugin::main(&bridge::Bridge)),
        "dummy" => Some(cni::plugin::main(&dummy::Dummy)),
        "firewall" => Some(cni::plugin::main(&firewall::Firewall)),
        "host-device" => Some(cni::plugin::main(&host_device::HostDevice)),
        "ipvlan" => Some(cni::plugin::main(&ipvlan::Ipvlan)),
        "loopback" => Some(cni::plugin::main(&loopback::Loopback)),
        "macvlan" => Some(cni::plugin::main(&macvlan::Macvlan)),
        "portmap" => Some(cni::plugin::main(&portmap::Portmap)),
        "ptp" => Some(cni::plugin::main(&ptp::Ptp)),
        "sbr" => Some(cni::plugin::main(&sbr::Sbr)),
        "tap" => Some(tap::main()),
        "tuning" => Some(cni::plugin::main(&tuning::Tuning)),
        "vlan" => Some(cni::plugin::main(&vlan::Vlan)),
        "vrf" => Some(cni::plugin::main(&vrf::Vrf)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that is missing here would be missing in `xnet` and in what it installs.
    #[test]
    fn every_binary_is_a_name() {
        let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin")).unwrap();
        let mut binaries: Vec<String> =
            folder.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        binaries.sort();
        assert_eq!(binaries, NAMES);
    }
}
