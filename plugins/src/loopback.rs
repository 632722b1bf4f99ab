//! The `loopback` plugin: `lo` up.
//!
//! A new network namespace has `lo`, but down. Setting it up gives it 127.0.0.1 and ::1; the plugin reports them. What
//! `CNI_IFNAME` says does not matter: the link is `lo`, always. DEL sets it down again.

use cni::Error;
use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Interface, IpConfig};
use kernel::address::Address;
use kernel::netns::NetNs;
use kernel::plan::{Machine, Side};
use kernel::{link, netlink};
use serde::Deserialize;

use crate::container;
use crate::error::attempt;

const LO: &str = "lo";

/// The only key that means something here, and only that it has to be an object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    prev_result: Option<serde_json::Map<String, serde_json::Value>>,
}

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Loopback;

impl Plugin for Loopback {
    const NAME: &'static str = "loopback";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        call.config::<Document>().map_err(|error| error.context("failed to parse network config"))?;
        let previous = call.prev_result().map_err(|error| error.context("failed to parse prevResult"))?;
        let mut machine = enter(attachment)?;
        let addresses = set_up(&mut machine).map_err(|error| attempt("failed to set \"lo\" UP", error))?;
        if let Some(odd) = addresses.iter().find(|address| !address.network.ip().is_loopback()) {
            let ip = odd.network.ip();
            return Err(Error::internal(format!("loopback interface found with non-loopback address \"{ip}\"")));
        }
        Ok(previous.unwrap_or_else(|| answer(attachment, &addresses)))
    }

    fn del(&self, _: &Call, attachment: &Attachment) -> Result<(), Error> {
        let Some(netns) = container::open_if_there(attachment)? else { return Ok(()) };
        let down = |mut machine: Machine| machine.side(Side::Container)?.call(link::set_up(LO, false));
        let machine = Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))?;
        down(machine).map_err(|error: netlink::Error| attempt("failed to set \"lo\" DOWN", error))
    }

    fn check(&self, _: &Call, attachment: &Attachment) -> Result<(), Error> {
        let mut machine = enter(attachment)?;
        let found = machine.side(Side::Container).and_then(|container| container.link(LO));
        match found.map_err(|error| attempt("failed to lookup \"lo\"", error))? {
            Some(lo) if lo.up => Ok(()),
            _ => Err(Error::internal("loopback interface is down")),
        }
    }

    fn gc(&self, _: &Call, _: &ValidAttachments) -> Result<(), Error> {
        Ok(()) // it owns nothing that outlives the namespace
    }

    fn status(&self, _: &Call) -> Result<(), Error> {
        Ok(())
    }
}

fn enter(attachment: &Attachment) -> Result<Machine, Error> {
    // Without the prefix that other plugins put before it, as in the Go suite.
    let netns = NetNs::open(&attachment.netns).map_err(|error| Error::internal(error.to_string()))?;
    Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))
}

fn set_up(machine: &mut Machine) -> Result<Vec<Address>, netlink::Error> {
    let container = machine.side(Side::Container)?;
    container.call(link::set_up(LO, true))?;
    let index = container.link(LO)?.map_or(1, |lo| lo.index);
    let mut addresses = container.addresses(index, false)?;
    addresses.extend(container.addresses(index, true)?);
    Ok(addresses)
}

fn answer(attachment: &Attachment, addresses: &[Address]) -> AddResult {
    let first = |is_ipv6| addresses.iter().find(|address| address.network.is_ipv6() == is_ipv6);
    let ip = |address: &Address| IpConfig { interface: Some(0), address: address.network, gateway: None };
    let lo = Interface {
        name: LO.into(),
        mac: "00:00:00:00:00:00".into(),
        sandbox: attachment.netns.clone(),
        ..Interface::default()
    };
    AddResult {
        interfaces: vec![lo],
        ips: [first(false), first(true)].into_iter().flatten().map(ip).collect(),
        ..AddResult::default()
    }
}
