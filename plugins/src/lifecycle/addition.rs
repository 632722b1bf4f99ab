//! ADD.

use cni::plugin::{Attachment, Call};
use cni::result::{AddResult, Interface};
use cni::{Error, Version};
use kernel::link::Link;
use kernel::netlink;
use kernel::plan::{Applied, Machine, Side};

use super::{Attach, Request, Wiring, enter, find_ipam};
use crate::error::{attempt, from_failure};
use crate::ipam::Ipam;

/// Serves ADD.
///
/// # Errors
///
/// Why it could not be; nothing of the attachment is left then.
pub fn add(call: &Call, attachment: &Attachment, network: &dyn Attach) -> Result<AddResult, Error> {
    let ipam = find_ipam(call, network).map_err(|error| network.ipam_failed(error))?;
    let machine = &mut enter(attachment)?;
    let request = Request::new(call, attachment);
    let wiring = network.wire(&request, machine)?;
    let mut addition = Addition { call, network, wiring: wiring.as_ref(), ipam, leased: false };
    let mut done = Applied::default();
    addition.carry_out(machine, &mut done).inspect_err(|_| addition.take_back(machine, done))
}

/// An ADD under way.
struct Addition<'a> {
    call: &'a Call,
    network: &'a dyn Attach,
    wiring: &'a dyn Wiring,
    ipam: Option<Ipam<'a>>,
    /// IPAM has answered, so there is a lease to give back.
    leased: bool,
}

impl Addition<'_> {
    fn carry_out(&mut self, machine: &mut Machine, done: &mut Applied) -> Result<AddResult, Error> {
        let answer = self.make_links(machine, done)?;
        let mut result = AddResult { interfaces: self.wiring.interfaces(), ..AddResult::default() };
        let has_addresses = answer.is_some();
        let AddResult { ips, routes, dns, .. } = answer.unwrap_or_default();
        (result.ips, result.routes, result.dns) = (ips, routes, self.network.dns(dns));
        result.ips.iter_mut().for_each(|ip| ip.interface = Some(self.wiring.container()));
        self.wiring.complete(&mut result)?;
        if !self.wiring.has_links() {
            return Ok(result);
        }
        let rest = if has_addresses { self.wiring.addresses(&result)? } else { self.wiring.layer_two() };
        rest.apply(machine, done).map_err(from_failure)?;
        self.wiring.ready(&result).apply(machine, done).map_err(from_failure)?;
        self.describe(machine, &mut result.interfaces)?;
        Ok(result)
    }

    /// Makes the links and asks IPAM, at the same time if that can be.
    fn make_links(&mut self, machine: &mut Machine, done: &mut Applied) -> Result<Option<AddResult>, Error> {
        let links = self.wiring.links();
        let early = self.ipam.as_ref().filter(|ipam| !ipam.needs_link()).map(Ipam::ask).transpose()?;
        let made = links.apply(machine, done).map_err(from_failure);
        if early.is_some() && made.is_ok() {
            self.find_links(machine);
        }
        let answer = match (early, &self.ipam) {
            (Some(asked), _) => Some(asked.answer()),
            (None, Some(ipam)) if made.is_ok() => Some(ipam.add()),
            (None, _) => self.network.inherited().map(Ok),
        };
        // Whatever became of the links, a lease has to be given back from now on.
        self.leased = self.ipam.is_some() && matches!(answer, Some(Ok(_)));
        made.and_then(|()| answer.transpose().map_err(|error| self.network.ipam_failed(error)))
    }

    /// Learns the numbers of the links while IPAM works: what comes after its answer has to know them. A link that cannot be
    /// found is missed then.
    fn find_links(&self, machine: &mut Machine) {
        for interface in self.wiring.interfaces() {
            let side = if interface.sandbox.is_empty() { Side::Host } else { Side::Container };
            let _ = machine.index(side, &interface.name);
        }
    }

    /// Fills in what only the kernel knows: addresses that it has chosen or that are older than this attachment, and,
    /// for documents that can hold them, MTUs.
    fn describe(&self, machine: &mut Machine, interfaces: &mut [Interface]) -> Result<(), Error> {
        let with_mtu = self.call.version >= Version::V1_1_0;
        let is_open = |interface: &Interface| interface.mac.is_empty() || (with_mtu && interface.mtu.is_none());
        for side in [Side::Host, Side::Container] {
            let here = |interface: &Interface| interface.sandbox.is_empty() == (side == Side::Host);
            let names: Vec<String> =
                interfaces.iter().filter(|each| here(each) && is_open(each)).map(|each| each.name.clone()).collect();
            if names.is_empty() {
                continue;
            }
            let look = |machine: &mut Machine| -> Result<Vec<Link>, netlink::Error> {
                machine.side(side)?.links_named(&names)
            };
            let found = look(machine).map_err(|error| attempt("look at the links", error))?;
            for interface in interfaces.iter_mut().filter(|each| here(each) && is_open(each)) {
                let link = found.iter().find(|link| link.name == interface.name);
                let link = link.ok_or_else(|| Error::internal(format!("could not lookup \"{}\"", interface.name)))?;
                interface.mac = link.mac.map(|mac| mac.to_string()).unwrap_or_default();
                interface.mtu = with_mtu.then_some(link.mtu);
            }
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
