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
//!
//! ADD looks before it touches anything: is the name in the container free, is the bridge a bridge. Then it applies
//! three plans ([`plan`]): the links; after IPAM has answered, everything that needs addresses; and the wait for the
//! port. Any failure takes all of it back, IPAM included, but for what is shared.
//!
//! DEL goes on through failures and reports them together, so that one stubborn thing does not keep the others alive.

mod config;
mod plan;
mod teardown;

use std::fs;
use std::net::IpAddr;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Interface};
use cni::{Error, Owner};
use ipnetwork::IpNetwork;
use kernel::Mac;
use kernel::link::{Link, NewEnd, Port};
use kernel::plan::{Applied, CreateVeth, Deviation, Machine, Side, Step};

use crate::container;
use crate::error::{attempt, from_deviation, from_failure};
use crate::ipam::{self, Ipam};
use crate::{masquerade, spoof_check};
use config::Config;
use plan::Links;

/// How many names for the end in the host are tried before giving up; the second is for the case that the first, 32
/// bits of a digest, is somebody else's.
const NAMES: u8 = 10;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Bridge;

impl Plugin for Bridge {
    const NAME: &'static str = "bridge";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let config = Config::load(call, attachment)?;
        config.refuse_contradictions()?;
        config.masquerade()?;
        let ipam = Ipam::find(call, &config.ipam)?;
        let machine = &mut enter(attachment)?;
        let mut addition = Addition::survey(call, &config, ipam, attachment, machine)?;
        let mut done = Applied::default();
        addition.carry_out(machine, &mut done).inspect_err(|_| addition.take_back(machine, done))
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::load(call, attachment)?;
        teardown::del(call, &config, attachment)
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::load(call, attachment)?;
        let machine = &mut enter(attachment)?;
        if let Some(ipam) = Ipam::find(call, &config.ipam)? {
            ipam.check()?;
        }
        let previous = call.prev_result()?.ok_or_else(|| Error::internal("Required prevResult missing"))?;
        check(&config, attachment, &attachment.owner(&call.name), &previous, machine)
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        let config = Config::load_network(call)?;
        teardown::gc(call, &config, valid)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        let config = Config::load_network(call)?;
        if config.masquerade()?.is_some_and(masquerade::Backend::is_nftables) || config.mac_spoof_check {
            masquerade::status()?;
        }
        ipam::status(call, &config.ipam)
    }
}

fn enter(attachment: &Attachment) -> Result<Machine, Error> {
    let netns = container::open(attachment)?;
    Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))
}

/// An ADD under way.
struct Addition<'a> {
    call: &'a Call,
    config: &'a Config,
    ipam: Option<Ipam<'a>>,
    attachment: &'a Attachment,
    owner: Owner,
    links: Links,
    /// IPAM has answered, so there is a lease to give back.
    leased: bool,
}

impl<'a> Addition<'a> {
    /// Looks at the machine and decides on names and addresses. Touches nothing.
    fn survey(
        call: &'a Call,
        config: &'a Config,
        ipam: Option<Ipam<'a>>,
        attachment: &'a Attachment,
        machine: &mut Machine,
    ) -> Result<Self, Error> {
        let owner = attachment.owner(&call.name);
        let mac = config.mac()?.unwrap_or_else(|| owner.mac("container").into());
        let looked = |error| attempt("look at the links", error);
        if let Some(link) = machine.host().and_then(|host| host.link(&config.bridge)).map_err(looked)?
            && !link.is("bridge")
        {
            let name = &config.bridge;
            let text = format!("failed to create bridge \"{name}\": \"{name}\" already exists but is not a bridge");
            return Err(Error::internal(text));
        }
        let host = free_name(machine, &owner)?;
        let ifname = attachment.ifname.as_str();
        if machine.side(Side::Container).and_then(|side| side.link(ifname)).map_err(looked)?.is_some() {
            let text = format!("container veth name (\"{ifname}\") peer provided (\"{host}\") already exists");
            return Err(Error::internal(text));
        }
        let mtu = config.mtu()?;
        let end = |name: &str, mac: Mac| NewEnd { name: name.to_owned(), mac, mtu };
        let links = Links {
            bridge_mac: bridge_mac(&config.bridge),
            host: end(&host, owner.mac("host").into()),
            container: end(ifname, mac),
        };
        Ok(Self { call, config, ipam, attachment, owner, links, leased: false })
    }

    fn carry_out(&mut self, machine: &mut Machine, done: &mut Applied) -> Result<AddResult, Error> {
        let answer = self.make_links(machine, done)?;
        let (config, links) = (self.config, &self.links);
        let mut result = AddResult { interfaces: self.interfaces(), ..AddResult::default() };
        let rest = match answer {
            Some(answer) => {
                (result.ips, result.routes, result.dns) = (answer.ips, answer.routes, answer.dns);
                plan::complete(config, &mut result);
                plan::addresses(config, &self.owner, links, &result)?
            }
            None => {
                plan::complete(config, &mut result);
                plan::layer_two(config, links)
            }
        };
        rest.apply(machine, done).map_err(from_failure)?;
        plan::running(config, links, &result.ips).apply(machine, done).map_err(from_failure)?;
        self.describe_shared(machine, &mut result)?;
        Ok(result)
    }

    /// Makes the links and asks IPAM, at the same time if that can be.
    fn make_links(&mut self, machine: &mut Machine, done: &mut Applied) -> Result<Option<AddResult>, Error> {
        let links = plan::links(self.config, &self.owner, &self.links);
        let early = self.ipam.as_ref().filter(|ipam| !ipam.needs_link()).map(Ipam::ask).transpose()?;
        let made = links.apply(machine, done).map_err(from_failure);
        let answer = match (early, &self.ipam) {
            (Some(asked), _) => Some(asked.answer()),
            (None, Some(ipam)) if made.is_ok() => Some(ipam.add()),
            (None, _) => None,
        };
        // Whatever became of the links, a lease has to be given back from now on.
        self.leased = matches!(answer, Some(Ok(_)));
        made.and_then(|()| answer.transpose())
    }

    /// The interfaces of the answer, as far as they are known beforehand.
    fn interfaces(&self) -> Vec<Interface> {
        let named = |name: &str| Interface { name: name.to_owned(), ..Interface::default() };
        let end = |end: &NewEnd| Interface { mac: end.mac.to_string(), ..named(&end.name) };
        let sandbox = self.attachment.netns.clone();
        vec![named(&self.config.bridge), end(&self.links.host), Interface { sandbox, ..end(&self.links.container) }]
    }

    /// Fills in what is known only afterwards: the address of the bridge, which may be older than this attachment, and
    /// the VLAN's gateway.
    fn describe_shared(&self, machine: &mut Machine, result: &mut AddResult) -> Result<(), Error> {
        let mut mac = |name: &str| -> Result<String, Error> {
            let link =
                machine.host().and_then(|host| host.link(name)).map_err(|error| attempt("look at the links", error))?;
            let mac = link.and_then(|link: Link| link.mac);
            mac.map(|mac| mac.to_string()).ok_or_else(|| Error::internal(format!("could not lookup \"{name}\"")))
        };
        result.interfaces[0].mac = mac(&self.config.bridge)?;
        if let (Some(vid), true, false) = (self.config.vlan, self.config.is_gateway, result.ips.is_empty()) {
            let name = plan::vlan_gateway_name(self.config, vid);
            result.interfaces.push(Interface { mac: mac(&name)?, name, ..Interface::default() });
        }
        Ok(())
    }

    /// Undoes what was done, and gives the lease back.
    fn take_back(&self, machine: &mut Machine, done: Applied) {
        for failure in done.undo(machine) {
            self.call.warn(format_args!("undoing ADD: {failure}"));
        }
        if let (true, Some(ipam)) = (self.leased, &self.ipam)
            && let Err(error) = ipam.del()
        {
            self.call.warn(format_args!("undoing ADD: releasing the address: {error}"));
        }
    }
}

/// The first of the owner's names for the end in the host that no link has.
fn free_name(machine: &mut Machine, owner: &Owner) -> Result<String, Error> {
    for n in 0..NAMES {
        let name = owner.host_veth(n);
        let found = machine.host().and_then(|host| host.link(&name));
        if found.map_err(|error| attempt("look at the links", error))?.is_none() {
            return Ok(name);
        }
    }
    Err(Error::internal("failed to find a unique veth name"))
}

/// The address of a bridge that has to be made: the same on this machine whenever it is, another on every other.
fn bridge_mac(name: &str) -> Mac {
    let seeds = ["/etc/machine-id", "/proc/sys/kernel/random/boot_id"];
    let seed = seeds.iter().filter_map(|path| fs::read_to_string(path).ok()).find(|seed| !seed.trim().is_empty());
    cni::owner::bridge_mac(name, seed.unwrap_or_default().trim()).into()
}

/// Checks the links against the previous result, and then whatever it says of addresses and routes.
fn check(
    config: &Config,
    attachment: &Attachment,
    owner: &Owner,
    previous: &AddResult,
    machine: &mut Machine,
) -> Result<(), Error> {
    let bridge = previous.interfaces.iter().find(|interface| interface.name == config.bridge);
    let bridge = bridge.ok_or_else(|| Error::internal(format!("Interface {} not found", config.bridge)))?;
    check_bridge(config, bridge, machine)?;
    let mine = container::recorded(previous, attachment)?;
    let ours = check_veth(config, mine, previous, owner, machine)?;
    container::check(machine, &mine.name, previous)?;
    let up = kernel::plan::SetUp { side: Side::Container, link: mine.name.clone() };
    if !config.disable_container_interface {
        up.check(machine).map_err(from_deviation)?;
    }
    if !ours {
        return Ok(()); // made by the Go suite, which keeps the rest elsewhere
    }
    check_rules(config, mine, owner, previous, machine)
}

fn check_bridge(config: &Config, recorded: &Interface, machine: &mut Machine) -> Result<(), Error> {
    let mac = recorded.mac.parse().ok();
    let step = plan::bridge(config, mac.unwrap_or(Mac::new([0; 6])), None, mac);
    step.check(machine).map_err(|deviation| match deviation {
        Deviation::LinkMissing(name) => Error::internal(format!("Interface name {name} not found")),
        Deviation::WrongKind { link, .. } => Error::internal(format!("Interface {link} is not a bridge")),
        Deviation::WrongMac { link, expected, found } => {
            Error::internal(format!("Bridge interface {link} Mac doesn't match: {expected}"))
                .with_details(format!("it is {found}"))
        }
        Deviation::Promiscuity { link, expected, found } => Error::internal(format!(
            "Bridge interface {link} configured Promisc Mode {expected} doesn't match current state: {found} "
        )),
        other => from_deviation(other),
    })
}

/// Checks the veth pair; says whether it is ours and not the Go suite's.
fn check_veth(
    config: &Config,
    mine: &Interface,
    previous: &AddResult,
    owner: &Owner,
    machine: &mut Machine,
) -> Result<bool, Error> {
    let not_found = || Error::internal(format!("CNI veth created for bridge {} was not found", config.bridge));
    let in_host = |interface: &&Interface| interface.sandbox.is_empty() && interface.name != config.bridge;
    let lookup = |machine: &mut Machine, name: &str| {
        machine.host().and_then(|host| host.link(name)).map_err(|error| attempt("look at the links", error))
    };
    let far = machine.side(Side::Container).and_then(|side| side.link(&mine.name));
    let far = far.map_err(|error| attempt("look at the links", error))?;
    let far = far.ok_or_else(|| from_deviation(Deviation::LinkMissing(mine.name.clone())))?;
    for interface in previous.interfaces.iter().filter(in_host) {
        let link = lookup(machine, &interface.name)?;
        let link = link.ok_or_else(|| Error::internal(format!("Interface name {} not found", interface.name)))?;
        if !link.is("veth") || (far.is("veth") && link.peer != Some(far.index)) {
            continue;
        }
        let end = |interface: &Interface| -> Result<NewEnd, Error> {
            let mac = interface.mac.parse().map_err(|error| attempt("prevResult", error))?;
            Ok(NewEnd { name: interface.name.clone(), mac, mtu: None })
        };
        let step = CreateVeth {
            near: end(interface)?,
            far: end(mine)?,
            master: Some(config.bridge.clone()),
            port: Port::default(),
            alias: String::new(),
        };
        step.check(machine).map_err(|deviation| match deviation {
            Deviation::NotPort { .. } => not_found(),
            other => from_deviation(other),
        })?;
        return Ok(link.alias.as_deref() == Some(owner.tag().as_str()));
    }
    Err(not_found())
}

/// Checks what the host keeps for the attachment: the gateways' addresses, masquerading, the spoof check.
fn check_rules(
    config: &Config,
    mine: &Interface,
    owner: &Owner,
    previous: &AddResult,
    machine: &mut Machine,
) -> Result<(), Error> {
    // By force the gateway of one network takes the place of another's, also of this very attachment.
    if config.is_gateway && !config.force_address {
        plan::gateway(config, None, &previous.ips).check(machine).map_err(from_deviation)?;
    }
    if let (Some(backend), false) = (config.masquerade()?, previous.ips.is_empty()) {
        let ips: Vec<IpNetwork> = previous.ips.iter().map(|ip| ip.address).collect();
        masquerade::plan(backend, owner, &ips).check(machine).map_err(from_deviation)?;
    }
    let host =
        previous.interfaces.iter().find(|interface| interface.sandbox.is_empty() && interface.name != config.bridge);
    if let (true, Some(host), Ok(mac)) = (config.mac_spoof_check, host, mine.mac.parse()) {
        spoof_check::elements(&host.name, mac, owner)
            .check(machine)
            .map_err(|deviation: Deviation| from_deviation(deviation))?;
    }
    Ok(())
}

/// The addresses of a previous result, without their prefixes.
fn addresses_of(previous: &AddResult) -> Vec<IpAddr> {
    previous.ips.iter().map(|ip| ip.address.ip()).collect()
}
