//! The `bridge` plugin: a veth pair between the container and a Linux bridge.
//!
//! # Theory of operation
//!
//! The bridge is shared. Whoever comes first makes it, with an address of its own that derives from its name and the
//! machine, so that the containers' idea of their gateway's address never goes stale; nobody removes it, nor the
//! gateway addresses on it, nor forwarding.
//!
//! The rest belongs to one attachment. The veth pair is born in one message, its far end inside the container. The
//! name of the end in the host and both hardware addresses derive from network, container and interface name, so DEL
//! and GC find the link without help, and so does whoever looks at `ip link`: its alias says whose it is.

mod check;
mod config;
mod plan;

use std::fs;
use std::net::IpAddr;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Dns, Interface};
use cni::{Error, NetName, Owner};
use kernel::Mac;
use kernel::plan::{Machine, Plan};

use crate::error::attempt;
use crate::failures::Failures;
use crate::lifecycle::{self, Attach, Network, Request, Wiring};
use crate::{masquerade, spoof_check, veth};
use config::Config;
use plan::Links;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Bridge;

impl Plugin for Bridge {
    const NAME: &'static str = "bridge";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let config = Config::load(call, attachment)?;
        config.refuse_contradictions()?;
        config.masquerade()?;
        lifecycle::add(call, attachment, &config)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::del(call, attachment, &Config::load(call, attachment)?)
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::check(call, attachment, &Config::load(call, attachment)?)
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        lifecycle::gc(call, valid, &Config::load_network(call)?)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        lifecycle::status(call, &Config::load_network(call)?)
    }
}

impl Network for Config {
    fn ipam(&self) -> &str {
        &self.ipam
    }

    fn del_links(&self, request: &Request<'_>, machine: &mut Machine) -> Result<(), Error> {
        veth::del(request, machine)
    }

    fn wants_addresses(&self) -> bool {
        self.ip_masq && !self.ipam.is_empty()
    }

    fn del_rules(&self, owner: &Owner, known: &[IpAddr], machine: &mut Machine) -> Result<(), Error> {
        let mut failures = Failures::default();
        if self.mac_spoof_check {
            failures.note(spoof_check::remove(machine, owner, &owner.host_veth(0)));
        }
        if self.wants_addresses() {
            failures.note(masquerade::remove(machine, owner, known));
        }
        failures.into_result()
    }

    fn gc(&self, name: &NetName, valid: &ValidAttachments, machine: &mut Machine) -> Result<(), Error> {
        let mut failures = Failures::default();
        failures.note(veth::gc(machine, name, valid));
        // Whatever the configuration says today: it may have said something else when the attachment was made.
        failures.note(spoof_check::gc(machine, name, valid));
        failures.note(masquerade::gc(machine, name, valid));
        failures.into_result()
    }

    fn status(&self) -> Result<(), Error> {
        veth::status(self.link_type)?;
        self.masquerade()?.map_or(Ok(()), masquerade::Backend::status)?;
        if self.mac_spoof_check { masquerade::status() } else { Ok(()) }
    }
}

impl Attach for Config {
    fn dns(&self, from_ipam: Dns) -> Dns {
        self.dns.clone().unwrap_or(from_ipam)
    }

    fn wire<'a>(&'a self, request: &Request<'a>, machine: &mut Machine) -> Result<Box<dyn Wiring + 'a>, Error> {
        let mac = self.mac()?;
        let looked = |error| attempt("look at the links", error);
        if let Some(link) = machine.host().and_then(|host| host.link(&self.bridge)).map_err(looked)?
            && !link.is("bridge")
        {
            let name = &self.bridge;
            let text = format!("failed to create bridge \"{name}\": \"{name}\" already exists but is not a bridge");
            return Err(Error::internal(text));
        }
        let ends = veth::ends(request, mac, self.mtu()?, machine)?;
        let links = Links { bridge_mac: bridge_mac(&self.bridge), ends };
        let sandbox = &request.attachment.netns;
        Ok(Box::new(Port { config: self, owner: request.owner.clone(), links, sandbox }))
    }

    fn check(&self, request: &Request<'_>, previous: &AddResult, machine: &mut Machine) -> Result<(), Error> {
        check::check(self, request, previous, machine)
    }
}

/// A container about to become a port of the bridge.
struct Port<'a> {
    config: &'a Config,
    owner: Owner,
    links: Links,
    sandbox: &'a str,
}

impl Wiring for Port<'_> {
    fn links(&self) -> Plan {
        plan::links(self.config, &self.owner, &self.links)
    }

    /// The bridge's own address may be older than this attachment, so it is left open.
    fn interfaces(&self) -> Vec<Interface> {
        let bridge = Interface { name: self.config.bridge.clone(), ..Interface::default() };
        let [host, container] = veth::interfaces(&self.links.ends, self.sandbox);
        vec![bridge, host, container]
    }

    fn container(&self) -> usize {
        2
    }

    fn complete(&self, result: &mut AddResult) -> Result<(), Error> {
        plan::complete(self.config, result);
        let mac = plan::mac_from_ip(self.config, self.config.mac()?, &result.ips);
        if let (Some(mac), Some(interface)) = (mac, result.interfaces.get_mut(self.container())) {
            interface.mac = mac.to_string();
        }
        Ok(())
    }

    fn addresses(&self, result: &AddResult) -> Result<Plan, Error> {
        plan::addresses(self.config, &self.owner, &self.links, result)
    }

    fn layer_two(&self) -> Plan {
        plan::layer_two(self.config, &self.links)
    }

    fn ready(&self, result: &AddResult) -> Plan {
        plan::running(self.config, &self.links, &result.ips)
    }
}

/// The address of a bridge that has to be made: the same on this machine whenever it is, another on every other.
fn bridge_mac(name: &str) -> Mac {
    let seeds = ["/etc/machine-id", "/proc/sys/kernel/random/boot_id"];
    let seed = seeds.iter().filter_map(|path| fs::read_to_string(path).ok()).find(|seed| !seed.trim().is_empty());
    cni::owner::bridge_mac(name, seed.unwrap_or_default().trim()).into()
}
