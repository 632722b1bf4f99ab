//! What the `ptp` plugin does once IPAM has answered, as values.

use cni::result::{AddResult, IpConfig};
use cni::{Error, Owner};
use ipnetwork::IpNetwork;
use kernel::link::{Pair, Port};
use kernel::plan::{AddAddress, AddRoute, CreatePair, Plan, Reachable, Running, SetUp, Setting, Side, Sysctls};
use kernel::route::Route;

use super::config::Config;
use crate::container::{self, Dad, Neighbours};
use crate::forwarding::forwarding;
use crate::masquerade;
use crate::veth::Ends;

/// `RT_SCOPE_HOST`: the Go suite's choice for routes to containers.
const SCOPE_HOST: u8 = 254;

/// The pair, its end in the host up.
///
/// That end's link-local address is what the kernel asks for neighbours with, and it does not while the address is tried
/// for duplicates; so detection is off before the link goes up. The container's end is told at the same time, while IPAM
/// is at work.
pub(super) fn links(kind: Pair, owner: &Owner, ends: &Ends) -> Plan {
    let mut plan = Plan::new();
    let (near, far) = (ends.host.clone(), ends.container.clone());
    let (side, link) = (Side::Host, near.name.clone());
    let no_dad = |link: &str| vec![Setting::wish(format!("net/ipv6/conf/{link}/accept_dad"), "0")];
    let (outside, inside) = (no_dad(&near.name), no_dad(&far.name));
    plan.push(CreatePair { kind, near, far, master: None, port: Port::default(), alias: owner.tag() });
    plan.push(Sysctls { side, settings: outside });
    plan.push(SetUp { side, link });
    plan.push(Sysctls { side: Side::Container, settings: inside });
    plan
}

/// What the addresses need: forwarding, the container's side, the host's side, masquerading.
pub(super) fn addresses(config: &Config, owner: &Owner, ends: &Ends, result: &AddResult) -> Result<Plan, Error> {
    let mut plan = Plan::new();
    let container = container::configure(&ends.container.name, result, Dad::OffBefore, Neighbours::BehindGateway)?;
    for is_ipv6 in [false, true] {
        if result.ips.iter().any(|ip| ip.address.is_ipv6() == is_ipv6) {
            plan.push(forwarding(is_ipv6, "Could not enable IP forwarding"));
        }
    }
    plan.extend(container);
    plan.extend(host(&ends.host.name, &result.ips));
    if let Some(backend) = config.masquerade()? {
        let ips: Vec<IpNetwork> = result.ips.iter().map(|ip| ip.address).collect();
        plan.extend(masquerade::plan(backend, owner, &ips));
    }
    Ok(plan)
}

/// The gateways' addresses on the host's end, and the routes to the container's.
pub(super) fn host(link: &str, ips: &[IpConfig]) -> Plan {
    let mut plan = Plan::new();
    let (side, link) = (Side::Host, || link.to_owned());
    let mut gateways = Vec::new();
    for gateway in ips.iter().filter_map(|ip| ip.gateway) {
        // Two addresses of one network share their gateway.
        if !gateways.contains(&gateway) {
            plan.push(AddAddress { side, link: link(), address: gateway.into(), nodad: true, noprefixroute: false });
            gateways.push(gateway);
        }
    }
    for ip in ips {
        let route = Route { scope: Some(SCOPE_HOST), ..Route::to(ip.address.ip().into()) };
        plan.push(AddRoute { side, link: link(), route });
    }
    plan
}

/// The waits at the end: until packets go through, and until IPv6 addresses are in use at both ends.
pub(super) fn ready(ends: &Ends, ips: &[IpConfig]) -> Plan {
    let mut plan = Plan::new();
    plan.push(Running { side: Side::Container, link: ends.container.name.clone() });
    for ip in ips.iter().filter(|ip| ip.address.is_ipv6()) {
        plan.push(Reachable { side: Side::Container, address: ip.address.ip() });
        if let Some(gateway) = ip.gateway {
            plan.push(Reachable { side: Side::Host, address: gateway });
        }
    }
    plan
}

#[cfg(test)]
mod tests;
