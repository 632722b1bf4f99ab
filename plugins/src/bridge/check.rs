//! CHECK: the links against the previous result, and then whatever it says of addresses and routes.

use cni::result::{AddResult, Interface};
use cni::{Error, Owner};
use ipnetwork::IpNetwork;
use kernel::Mac;
use kernel::link::Link;
use kernel::plan::{Deviation, Machine, SetUp, Side, Step};

use super::config::Config;
use super::plan;
use crate::error::from_deviation;
use crate::lifecycle::Request;
use crate::{container, masquerade, spoof_check, veth};

pub(super) fn check(
    config: &Config,
    request: &Request<'_>,
    previous: &AddResult,
    machine: &mut Machine,
) -> Result<(), Error> {
    let bridge = previous.interfaces.iter().find(|interface| interface.name == config.bridge);
    let bridge = bridge.ok_or_else(|| Error::internal(format!("Interface {} not found", config.bridge)))?;
    check_bridge(config, bridge, machine)?;
    let mine = container::recorded(previous, request.attachment)?;
    let host = veth::check(config.link_type, previous, mine, Some(&config.bridge), machine)?
        .ok_or_else(|| Error::internal(format!("CNI veth created for bridge {} was not found", config.bridge)))?;
    container::check(machine, &mine.name, previous)?;
    let up = SetUp { side: Side::Container, link: mine.name.clone() };
    if !config.disable_container_interface {
        up.check(machine).map_err(from_deviation)?;
    }
    if host.alias != Some(request.owner.tag()) {
        return Ok(()); // made by the Go suite, which keeps the rest elsewhere
    }
    check_rules(config, mine, &host, &request.owner, previous, machine)
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

/// Checks what the host keeps for the attachment: the gateways' addresses, masquerading, the spoof check.
fn check_rules(
    config: &Config,
    mine: &Interface,
    host: &Link,
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
    if let (true, Ok(mac)) = (config.mac_spoof_check, mine.mac.parse()) {
        spoof_check::elements(&host.name, mac, owner).check(machine).map_err(from_deviation)?;
    }
    Ok(())
}
