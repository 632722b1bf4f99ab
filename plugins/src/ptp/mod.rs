//! The `ptp` plugin: a veth pair between the container and the host, routed at both ends.
//!
//! # Theory of operation
//!
//! There is no bridge, so nothing is on the container's link but the host. Every address of the container is alone: the
//! kernel gets no route to its network, but one to the gateway and one to everything else behind it. The host's end has
//! the gateways' addresses, all of them as host addresses, and a route to each address of the container. So many
//! containers have the same gateway on different links, and the host routes between them.
//!
//! Duplicate address detection is off at both ends: who else could have the address on a link of two? The Go suite waits
//! for it, which takes one to two seconds.

mod config;
mod plan;

use std::net::IpAddr;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Dns, Interface};
use cni::{Error, NetName, Owner};
use ipnetwork::IpNetwork;
use kernel::link::Pair;
use kernel::plan::{Deviation, Machine, Plan, SetUp, Side, Step};

use crate::error::from_deviation;
use crate::failures::Failures;
use crate::lifecycle::{self, Attach, Network, Request, Wiring};
use crate::veth::{self, Ends};
use crate::{container, masquerade};
use config::Config;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Ptp;

impl Plugin for Ptp {
    const NAME: &'static str = "ptp";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let config = Config::load(call)?;
        config.masquerade()?;
        lifecycle::add(call, attachment, &config)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::del(call, attachment, &Config::load(call)?)
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        lifecycle::check(call, attachment, &Config::load(call)?)
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        lifecycle::gc(call, valid, &Config::load(call)?)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        lifecycle::status(call, &Config::load(call)?)
    }
}

impl Network for Config {
    fn ipam(&self) -> &str {
        &self.ipam
    }

    fn needs_ipam(&self) -> bool {
        true
    }

    fn del_links(&self, request: &Request<'_>, machine: &mut Machine) -> Result<(), Error> {
        veth::del(request, machine)
    }

    fn wants_addresses(&self) -> bool {
        self.ip_masq
    }

    fn del_rules(&self, owner: &Owner, known: &[IpAddr], machine: &mut Machine) -> Result<(), Error> {
        if self.ip_masq { masquerade::remove(machine, owner, known) } else { Ok(()) }
    }

    fn gc(&self, name: &NetName, valid: &ValidAttachments, machine: &mut Machine) -> Result<(), Error> {
        let mut failures = Failures::default();
        failures.note(veth::gc(machine, name, valid));
        // Whatever the configuration says today: it may have said something else when the attachment was made.
        failures.note(masquerade::gc(machine, name, valid));
        failures.into_result()
    }

    fn status(&self) -> Result<(), Error> {
        veth::status(self.link_type)?;
        self.masquerade()?.map_or(Ok(()), masquerade::Backend::status)
    }
}

impl Attach for Config {
    fn dns(&self, from_ipam: Dns) -> Dns {
        self.dns.clone().unwrap_or(from_ipam)
    }

    fn wire<'a>(&'a self, request: &Request<'a>, machine: &mut Machine) -> Result<Box<dyn Wiring + 'a>, Error> {
        let ends = veth::ends(request, None, self.mtu()?, machine)?;
        Ok(Box::new(NewPair { config: self, owner: request.owner.clone(), ends, sandbox: &request.attachment.netns }))
    }

    fn check(&self, request: &Request<'_>, previous: &AddResult, machine: &mut Machine) -> Result<(), Error> {
        let mine = container::recorded(previous, request.attachment)?;
        let host =
            veth::check(self.link_type, previous, mine, None, machine).map_err(|error| in_words(error, &mine.name))?;
        container::check(machine, &mine.name, previous)?;
        container::check_gateways(machine, &mine.name, previous)?;
        let host =
            host.ok_or_else(|| Error::internal(format!("ptp: the end in the host of {} was not found", mine.name)))?;
        container::check_up(machine, &mine.name)?;
        SetUp { side: Side::Host, link: host.name.clone() }.check(machine).map_err(from_deviation)?;
        plan::host(&host.name, &previous.ips).check(machine).map_err(from_deviation)?;
        if host.alias != Some(request.owner.tag()) {
            return Ok(()); // made by the Go suite, which keeps the rest elsewhere
        }
        match self.masquerade()? {
            Some(backend) => {
                let ips: Vec<IpNetwork> = previous.ips.iter().map(|ip| ip.address).collect();
                masquerade::plan(backend, &request.owner, &ips).check(machine).map_err(from_deviation)
            }
            None => Ok(()),
        }
    }

    fn missing_previous(&self) -> &'static str {
        "ptp: Required prevResult missing"
    }
}

/// CHECK has words of its own here for the link in the container.
fn in_words(error: Error, ifname: &str) -> Error {
    let (link, expected) = (ifname.to_owned(), Pair::Veth.as_str().to_owned());
    if error == from_deviation(Deviation::LinkMissing(link.clone())) {
        return Error::internal(format!("ptp: Container Interface name in prevResult: {ifname} not found"));
    }
    if error == from_deviation(Deviation::WrongKind { link, expected }) {
        return Error { msg: format!("{}/p2p", error.msg), ..error };
    }
    if error.msg.starts_with(&format!("Interface {ifname} Mac ")) {
        return Error { msg: format!("ptp: {}", error.msg), ..error };
    }
    error
}

/// A pair about to be made.
struct NewPair<'a> {
    config: &'a Config,
    owner: Owner,
    ends: Ends,
    sandbox: &'a str,
}

impl Wiring for NewPair<'_> {
    fn links(&self) -> Plan {
        plan::links(self.config.link_type, &self.owner, &self.ends)
    }

    fn interfaces(&self) -> Vec<Interface> {
        veth::interfaces(&self.ends, self.sandbox).to_vec()
    }

    fn container(&self) -> usize {
        1
    }

    fn addresses(&self, result: &AddResult) -> Result<Plan, Error> {
        plan::addresses(self.config, &self.owner, &self.ends, result)
    }

    fn ready(&self, result: &AddResult) -> Plan {
        plan::ready(&self.ends, &result.ips)
    }
}
