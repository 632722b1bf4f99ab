//! What the `bridge` plugin does, as a value: pure functions from a configuration, an attachment's names and an IPAM
//! answer to plans.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cni::owner::{bridge_mac, prefixed_hash};
use cni::result::{AddResult, Interface, IpConfig, Route};
use cni::{Error, Owner};
use ipnetwork::IpNetwork;
use kernel::Mac;
use kernel::link::{NewBridge, NewEnd, Port};
use kernel::plan::{
    CreatePair, EnsureBridge, GatewayAddress, Plan, PortRunning, PortVlans, Reachable, SetMac, SetUp, Side, VlanGateway,
};

use super::config::Config;
use crate::container::{self, Dad, Neighbours};
use crate::forwarding::forwarding;
use crate::veth::Ends;
use crate::{masquerade, spoof_check};

/// Length of `veth` and eight hexadecimal digits.
const VETH_NAME: usize = 12;

/// The names and addresses of the links of one attachment, all known before any of them exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Links {
    /// The address of the bridge, should it have to be made.
    pub(super) bridge_mac: Mac,
    /// The veth pair.
    pub(super) ends: Ends,
}

/// The links: the bridge, the veth pair, its port's VLANs and the check on forged source addresses.
pub(super) fn links(config: &Config, owner: &Owner, links: &Links) -> Plan {
    let mut plan = Plan::new();
    plan.push(bridge(config, links.bridge_mac, links.ends.host.mtu, None));
    plan.push(CreatePair {
        kind: config.link_type,
        near: links.ends.host.clone(),
        far: links.ends.container.clone(),
        master: Some(config.bridge.clone()),
        port: Port { hairpin: config.hairpin, isolated: config.port_isolation },
        alias: owner.tag(),
    });
    let vlans = config.port_vlans();
    if !vlans.is_empty() {
        plan.push(PortVlans {
            port: links.ends.host.name.clone(),
            bridge: config.bridge.clone(),
            vlans,
            preserve_default: config.preserve_default_vlan,
        });
    }
    if config.mac_spoof_check {
        plan.push(spoof_check::elements(&links.ends.host.name, links.ends.container.mac, owner));
    }
    plan
}

/// The bridge, with the address that it is known to have, if it is.
pub(super) fn bridge(config: &Config, mac: Mac, mtu: Option<u32>, recorded_mac: Option<Mac>) -> EnsureBridge {
    let bridge = NewBridge { name: config.bridge.clone(), mac, mtu, vlan_filtering: config.vlan_filtering };
    EnsureBridge { bridge, promiscuous: config.promiscuous, recorded_mac }
}

/// Completes an IPAM answer: a gateway has the first address of its network unless IPAM says otherwise, a default
/// gateway gets default routes, and a VLAN's gateway is an interface of its own.
pub(super) fn complete(config: &Config, result: &mut AddResult) {
    if config.is_gateway {
        for ip in result.ips.iter_mut().filter(|ip| ip.gateway.is_none()) {
            ip.gateway = first_host(ip.address);
        }
    }
    if config.is_default_gateway {
        for is_ipv6 in [false, true] {
            add_default_route(result, is_ipv6);
        }
    }
    if let (Some(vid), true, false) = (config.vlan, config.is_gateway, result.ips.is_empty()) {
        result.interfaces.push(Interface { name: vlan_gateway_name(config, vid), ..Interface::default() });
    }
}

/// The hardware address that follows from an IPAM answer, where the configuration wants that: `02:42` and the four bytes of
/// the first IPv4 address. So an address that is used again keeps its place in the neighbours' ARP tables.
pub(super) fn mac_from_ip(config: &Config, asked: Option<Mac>, ips: &[IpConfig]) -> Option<Mac> {
    let first = ips.iter().find_map(|ip| match ip.address {
        IpNetwork::V4(v4) => Some(v4.ip().octets()),
        IpNetwork::V6(_) => None,
    });
    let [a, b, c, d] = first.filter(|_| config.mac_from_ip && asked.is_none())?;
    Some(Mac::new([0x02, 0x42, a, b, c, d]))
}

/// The first address of a network after the network's own.
fn first_host(address: IpNetwork) -> Option<IpAddr> {
    match address {
        IpNetwork::V4(v4) => u32::from(v4.network()).checked_add(1).map(|bits| IpAddr::V4(bits.into())),
        IpNetwork::V6(v6) => u128::from(v6.network()).checked_add(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

/// A default route to the first gateway of a family, unless IPAM gave one with a gateway of its own. One without does
/// not count.
fn add_default_route(result: &mut AddResult, is_ipv6: bool) {
    let is_default = |route: &Route| route.dst.prefix() == 0 && route.dst.is_ipv6() == is_ipv6;
    if result.routes.iter().any(|route| is_default(route) && route.gw.is_some()) {
        return;
    }
    let gateway = result.ips.iter().find(|ip| ip.address.is_ipv6() == is_ipv6).and_then(|ip| ip.gateway);
    let unspecified = if is_ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    if let (Some(gateway), Ok(anywhere)) = (gateway, IpNetwork::new(unspecified, 0)) {
        result.routes.push(Route::new(anywhere, Some(gateway)));
    }
}

/// What the addresses need: the container's side, the gateway on the host's, forwarding and masquerading.
pub(super) fn addresses(config: &Config, owner: &Owner, links: &Links, result: &AddResult) -> Result<Plan, Error> {
    let dad = if config.enable_dad { Dad::On } else { Dad::Off };
    let mut plan = Plan::new();
    if let Some(mac) = mac_from_ip(config, config.mac()?, &result.ips) {
        plan.push(SetMac { link: links.ends.container.name.clone(), mac });
    }
    plan.extend(container::configure(&links.ends.container.name, result, dad, Neighbours::OnLink)?);
    if config.is_gateway {
        plan.extend(gateway(config, links.ends.host.mtu, &result.ips));
    }
    if let Some(backend) = config.masquerade()? {
        let ips: Vec<IpNetwork> = result.ips.iter().map(|ip| ip.address).collect();
        plan.extend(masquerade::plan(backend, owner, &ips));
    }
    Ok(plan)
}

/// A network without addresses: the container's link is up and nothing else, or not even that.
pub(super) fn layer_two(config: &Config, links: &Links) -> Plan {
    let mut plan = Plan::new();
    if !config.disable_container_interface {
        plan.push(SetUp { side: Side::Container, link: links.ends.container.name.clone() });
    }
    plan
}

/// The waits at the end, when the kernel has had time: until addresses can be reached, and for the port, which needs the
/// container's end up.
pub(super) fn running(config: &Config, links: &Links, ips: &[IpConfig]) -> Plan {
    let mut plan = Plan::new();
    for ip in ips.iter().filter(|ip| ip.address.is_ipv6()) {
        plan.push(Reachable { side: Side::Container, address: ip.address.ip() });
        if let (true, Some(gateway)) = (config.is_gateway, ip.gateway) {
            plan.push(Reachable { side: Side::Host, address: gateway });
        }
    }
    if !config.disable_container_interface {
        plan.push(PortRunning { port: links.ends.host.name.clone() });
    }
    plan
}

/// The gateways' addresses on the bridge, or on a veth in the access VLAN, and forwarding for their families.
pub(super) fn gateway(config: &Config, mtu: Option<u32>, ips: &[IpConfig]) -> Plan {
    let mut plan = Plan::new();
    let link = match config.vlan {
        Some(vid) => {
            let step = vlan_gateway(config, mtu, vid);
            let name = step.gateway.name.clone();
            plan.push(step);
            name
        }
        None => config.bridge.clone(),
    };
    for is_ipv6 in [false, true] {
        let mut any = false;
        for ip in ips.iter().filter(|ip| ip.address.is_ipv6() == is_ipv6) {
            let Some(address) = ip.gateway.and_then(|gateway| IpNetwork::new(gateway, ip.address.prefix()).ok()) else {
                continue;
            };
            plan.push(GatewayAddress { link: link.clone(), address, force: config.force_address });
            any = true;
        }
        if any {
            plan.push(forwarding(is_ipv6, "failed to enable forwarding"));
        }
    }
    plan
}

/// The name of the link with a VLAN's gateway address.
pub(super) fn vlan_gateway_name(config: &Config, vid: u16) -> String {
    format!("{}.{vid}", config.bridge)
}

fn vlan_gateway(config: &Config, mtu: Option<u32>, vid: u16) -> VlanGateway {
    let name = vlan_gateway_name(config, vid);
    // One pair for all containers of the VLAN, so its names and addresses derive from the VLAN alone.
    let mac = |role| Mac::from(bridge_mac(&name, role));
    VlanGateway {
        bridge: config.bridge.clone(),
        port: NewEnd { name: prefixed_hash("veth", &name, VETH_NAME), mac: mac("port"), mtu },
        gateway: NewEnd { mac: mac("gateway"), mtu, name },
        vid,
        preserve_default: config.preserve_default_vlan,
    }
}

#[cfg(test)]
mod failure;
#[cfg(test)]
mod tests;
