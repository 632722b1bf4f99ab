//! The `host-device` plugin: a device of the host's, lent to the container.
//!
//! # Theory of operation
//!
//! The device goes to the container by one message that moves and renames it: udev and network managers never see it
//! under a name that is not its own, and a link of the same name on the other side does no harm. As alias it carries the
//! name that it had, so whoever takes the container down knows how to bring it home, this suite or the other. What else it
//! loses on the way (addresses, being up) is on record in a file.
//!
//! When the namespace dies first, the kernel sends physical devices back to the host under whatever name is free. DEL
//! finds such a device by its alias and its hardware address, and gives it back its name and the rest.
//!
//! A device in the hands of user space (DPDK) has no link, so only addresses are asked for.

mod config;
mod lend;
mod record;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::Path;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Dns, Interface};
use cni::{Error, NetName};
use kernel::address::Address;
use kernel::link::Link;
use kernel::plan::{Arrived, Home, Machine, MoveDevice, Plan, Setting, Side, Step, Sysctls};

use crate::child::Words;
use crate::container::{Dad, Neighbours};
use crate::error::attempt;
use crate::lifecycle::{self, Attach, Network, Request, Wiring};
use crate::{child, container};
use config::Config;
use lend::Lend;
use record::{DIRECTORY, Record};

const SYSFS: &str = "/sys";

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct HostDevice;

impl Plugin for HostDevice {
    const NAME: &'static str = "host-device";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        lifecycle::add(call, attachment, &Config::load(call, Path::new(SYSFS))?)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::del(call, attachment, &Lent::load(call)?)
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::check(call, attachment, &Config::load(call, Path::new(SYSFS))?)
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        lifecycle::gc(call, valid, &Lent::load(call)?)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        lifecycle::status(call, &Lent::load(call)?)
    }
}

impl Network for Config {
    fn ipam(&self) -> &str {
        &self.ipam
    }
}

impl Attach for Config {
    fn dns(&self, _: Dns) -> Dns {
        if self.ipam.is_empty() { Dns::default() } else { self.dns.clone() }
    }

    fn wire<'a>(&'a self, request: &Request<'a>, machine: &mut Machine) -> Result<Box<dyn Wiring + 'a>, Error> {
        let name = request.attachment.ifname.to_string();
        let sandbox = &request.attachment.netns;
        if self.dpdk {
            let (mac, lend, unplugged) = (String::new(), None, true);
            return Ok(Box::new(Addition { name, mac, sandbox, lend, unplugged }));
        }
        let device = self.device.find(machine, Path::new(SYSFS))?;
        let failure =
            format!("failed to move link failed to move \"{name}\" (host: \"{}\") to container NS", device.name);
        child::refuse_taken(request, &failure, machine)?;
        let home = Home { addresses: addresses(&device, machine)?, up: device.up, name: device.name.clone() };
        let record = Record::new(Path::new(DIRECTORY), request, home.clone(), &device);
        let lend = Lend { record, step: MoveDevice { home, name: name.clone(), mac: device.mac } };
        let mac = device.mac.map(|mac| mac.to_string()).unwrap_or_default();
        let unplugged = device.up && !device.carrier;
        Ok(Box::new(Addition { name, mac, sandbox, lend: Some(lend), unplugged }))
    }

    fn check(&self, request: &Request<'_>, previous: &AddResult, machine: &mut Machine) -> Result<(), Error> {
        if self.dpdk {
            return Ok(());
        }
        let mine = container::recorded(previous, request.attachment)?;
        let step = MoveDevice { home: Home::default(), name: mine.name.clone(), mac: mine.mac.parse().ok() };
        step.check(machine).map_err(|deviation| Words::Plain.of(deviation))?;
        container::check_up(machine, &mine.name)?;
        container::check(machine, &mine.name, previous)
    }
}

/// The addresses that somebody gave the device, and that do not expire: others come again with whoever gave them.
fn addresses(device: &Link, machine: &mut Machine) -> Result<Vec<ipnetwork::IpNetwork>, Error> {
    let mut found = Vec::new();
    for is_ipv6 in [false, true] {
        let listed = machine.host().and_then(|host| host.addresses(device.index, is_ipv6));
        found.extend(listed.map_err(|error| attempt("look at the device's addresses", error))?);
    }
    let stays = |address: &&Address| address.is_global_unicast() && address.permanent;
    Ok(found.iter().filter(stays).map(|address| address.network).collect())
}

/// A device about to be lent; with DPDK there is none, and only addresses.
struct Addition<'a> {
    name: String,
    mac: String,
    sandbox: &'a str,
    lend: Option<Lend>,
    /// It had no carrier in the host, and will have none in the container.
    unplugged: bool,
}

impl Wiring for Addition<'_> {
    fn links(&self) -> Plan {
        let mut plan = Plan::new();
        self.lend.iter().for_each(|lend| plan.push(lend.clone()));
        plan
    }

    fn interfaces(&self) -> Vec<Interface> {
        let (name, mac, sandbox) = (self.name.clone(), self.mac.clone(), self.sandbox.to_owned());
        vec![Interface { name, mac, sandbox, ..Interface::default() }]
    }

    fn has_links(&self) -> bool {
        self.lend.is_some()
    }

    /// Neighbours may know the addresses from another link.
    fn addresses(&self, result: &AddResult) -> Result<Plan, Error> {
        let mut plan = Plan::new();
        let announce = Setting::wish(format!("net/ipv6/conf/{}/ndisc_notify", self.name), "1");
        plan.push(Sysctls { side: Side::Container, settings: vec![announce] });
        plan.extend(container::configure(&self.name, result, Dad::Off, Neighbours::OnLink)?);
        Ok(plan)
    }

    fn ready(&self, result: &AddResult) -> Plan {
        let mut plan = Plan::new();
        if !self.unplugged {
            let addresses = result.ips.iter().map(|ip| ip.address.ip()).filter(IpAddr::is_ipv6).collect();
            plan.push(Arrived { link: self.name.clone(), addresses });
        }
        plan
    }
}

/// The network as far as it matters for what has been lent: which device is meant does not.
struct Lent {
    ipam: String,
    dpdk: bool,
}

impl Lent {
    fn load(call: &Call) -> Result<Self, Error> {
        let ipam = Config::ipam_of(call)?;
        // A device that is gone, or that only the runtime names, is no reason not to clean up.
        let dpdk = Config::load(call, Path::new(SYSFS)).is_ok_and(|config| config.dpdk);
        Ok(Self { ipam, dpdk })
    }
}

impl Network for Lent {
    fn ipam(&self) -> &str {
        &self.ipam
    }

    fn del_links(&self, request: &Request<'_>, machine: &mut Machine) -> Result<(), Error> {
        if self.dpdk { Ok(()) } else { lend::take_back(request, Path::new(DIRECTORY), machine) }
    }

    fn gc(&self, name: &NetName, valid: &ValidAttachments, _: &mut Machine) -> Result<(), Error> {
        lend::gc(name, valid, Path::new(DIRECTORY))
    }
}
