//! Devices of the host that a container gets, and that go home at its end: `--netdev`, and `netDevices` of a bundle.
//!
//! For a container of ours the plugin `host-device` does it, under a network that is made up for this: it moves and renames the
//! device in one message, remembers how it was, and finds it again whatever the container has done to it, or the kernel after
//! its end. So the device is one more attachment in the log. What was set up in the host stays set up: the device is given its
//! own addresses inside, by the plugin `static`.
//!
//! The devices of a bundle share the fate of their network namespace, as the specification wants it: they are moved in, with
//! their addresses, and nobody moves them back. Physical ones are sent to the host by the kernel when the namespace dies.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use cni::runtime::ConfList;
use ipnetwork::IpNetwork;
use kernel::netns::NetNs;
use kernel::plan::{Applied, Home, Machine, MoveDevice, Plan, Side};
use kernel::{Handle, address, link, netlink};
use serde_json::json;

use crate::error::{Context, Error, Result};
use crate::spec::NetDevice;

use super::Network;

/// What the network is called in plugins' records. Nobody can make one of this name: that of an attachment tells it apart.
const NETWORK: &str = "netdev";

/// Whether all of `devices` are there and can have their names beside interfaces eth0 to eth(`networks` - 1).
///
/// # Errors
/// One is not there, or a name is asked for twice.
pub(crate) fn check(devices: &[NetDevice], networks: usize) -> Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let mut taken: Vec<String> = (0..networks).map(|n| format!("eth{n}")).collect();
    let mut host = Handle::here().context(|| "open a route socket")?;
    for device in devices {
        if host.link(&device.host).map_err(refused)?.is_none() {
            return Err(Error::new(format!("this host has no network device {} (`ip link` shows all)", device.host)));
        }
        if taken.contains(&device.name) {
            return Err(Error::new(format!(
                "the container has another interface {0}: give the device another name (--netdev {1}:NAME)",
                device.name, device.host
            )));
        }
        taken.push(device.name.clone());
    }
    Ok(())
}

/// The network by which `device` is lent.
///
/// # Errors
/// The device is gone.
pub(super) fn network(device: &NetDevice) -> Result<Network> {
    let home = home(&mut Handle::here().context(|| "open a route socket")?, &device.host)?;
    let mut plugin = json!({"type": "host-device", "device": device.host});
    if !home.addresses.is_empty() {
        let addresses: Vec<_> = home.addresses.iter().map(|ip| json!({"address": ip.to_string()})).collect();
        plugin["ipam"] = json!({"type": "static", "addresses": addresses});
    }
    let list = json!({"cniVersion": "1.1.0", "name": NETWORK, "plugins": [plugin]}).to_string();
    Network::new(ConfList::from_slice(list.as_bytes()).context(|| "the network of a device")?, &[])
}

/// Devices that were given away, as long as that can be taken back.
#[derive(Debug)]
pub(crate) struct Given {
    machine: Machine,
    done: Applied,
}

impl Given {
    /// Moves them home, for a container that is not to be after all. Answers what went wrong.
    pub(crate) fn take_back(mut self) -> Vec<String> {
        self.done.undo(&mut self.machine).into_iter().map(|failure| failure.text).collect()
    }
}

/// Moves `devices` into the namespace `netns`, with their addresses, and switches them on. All of them, or none.
///
/// # Errors
/// One is not there, or the kernel refuses.
pub(crate) fn give(devices: &[NetDevice], netns: &OwnedFd) -> Result<Given> {
    let entered = NetNs::open(Path::new(&format!("/proc/self/fd/{}", netns.as_raw_fd())));
    let entered = entered.map_err(|error| Error::new(error.to_string()))?;
    let mut machine = Machine::with_container(entered).context(|| "enter the container's network namespace")?;
    let mut plan = Plan::new();
    let mut homes = Vec::new();
    for device in devices {
        let home = home(machine.host().map_err(refused)?, &device.host)?;
        plan.push(MoveDevice { home: home.clone(), name: device.name.clone(), mac: None });
        homes.push((home, device.name.clone()));
    }
    let mut done = Applied::default();
    let given = plan
        .apply(&mut machine, &mut done)
        .map_err(|failure| Error::new(failure.text))
        .and_then(|()| homes.iter().try_for_each(|(home, name)| settle(&mut machine, home, name)));
    let all = Given { machine, done };
    match given {
        Ok(()) => Ok(all),
        Err(error) => {
            let more: Vec<_> = all.take_back().into_iter().map(|text| format!("; and then: {text}")).collect();
            Err(Error::new(format!("linux.netDevices: {error}{}", more.concat())))
        }
    }
}

/// Gives a device that has arrived what it had.
fn settle(machine: &mut Machine, home: &Home, name: &str) -> Result<()> {
    let inside = machine.side(Side::Container).map_err(refused)?;
    let Some(arrived) = inside.link(name).map_err(refused)? else {
        return Err(Error::new(format!("the device {name} has not arrived")));
    };
    for ip in &home.addresses {
        inside.call(address::add(arrived.index, *ip, true)).map_err(refused)?;
    }
    inside.call(link::set_up(name, true)).map_err(refused)
}

/// How the device called `name` is in the host. Addresses that expire are not its own.
fn home(host: &mut Handle, name: &str) -> Result<Home> {
    let gone = || Error::new(format!("this host has no network device {name}"));
    let device = host.link(name).map_err(refused)?.ok_or_else(gone)?;
    let mut addresses: Vec<IpNetwork> = Vec::new();
    for is_ipv6 in [false, true] {
        let found = host.addresses(device.index, is_ipv6).map_err(refused)?;
        let stay = found.into_iter().filter(|address| address.is_global_unicast() && address.permanent);
        addresses.extend(stay.map(|address| address.network));
    }
    Ok(Home { name: device.name, up: device.up, addresses })
}

#[expect(clippy::needless_pass_by_value, reason = "the shape of map_err")]
fn refused(error: netlink::Error) -> Error {
    Error::new(error.to_string())
}
