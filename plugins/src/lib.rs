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

use cni::exec::Start;
use cni::plugin::{World, run_with};

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
        "tap" => Some(tap::main()),
        name if NAMES.contains(&name) => serve(name, cni::plugin::process(), None).map(ExitCode::from),
        _ => None,
    }
}

/// Serves one call as the plugin called `name` and returns the exit status. Its delegates are started by `start`, if it is
/// given. `None` for a name that there is none of, and for `tap`, which may execute its own program once more and so needs
/// a process that was started by this name.
#[must_use]
pub fn serve(name: &str, world: World<'_>, start: Option<Start>) -> Option<u8> {
    Some(match name {
        "bandwidth" => run_with(&bandwidth::Bandwidth, world, start),
        "bridge" => run_with(&bridge::Bridge, world, start),
        "dummy" => run_with(&dummy::Dummy, world, start),
        "firewall" => run_with(&firewall::Firewall, world, start),
        "host-device" => run_with(&host_device::HostDevice, world, start),
        "ipvlan" => run_with(&ipvlan::Ipvlan, world, start),
        "loopback" => run_with(&loopback::Loopback, world, start),
        "macvlan" => run_with(&macvlan::Macvlan, world, start),
        "portmap" => run_with(&portmap::Portmap, world, start),
        "ptp" => run_with(&ptp::Ptp, world, start),
        "sbr" => run_with(&sbr::Sbr, world, start),
        "tuning" => run_with(&tuning::Tuning, world, start),
        "vlan" => run_with(&vlan::Vlan, world, start),
        "vrf" => run_with(&vrf::Vrf, world, start),
        _ => return None,
    })
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
