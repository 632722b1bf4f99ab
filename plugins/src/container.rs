//! The container's side, which is the same whatever the link is: addresses, routes, and the parameters that go with
//! them; and its check.

use std::net::IpAddr;

use cni::Error;
use cni::plugin::Attachment;
use cni::result::{AddResult, Interface, IpConfig};
use ipnetwork::IpNetwork;
use kernel::netns::NetNs;
use kernel::plan::{AddAddress, AddRoute, Deviation, Machine, Plan, SetUp, Setting, Settle, Side, Step, Sysctls};
use kernel::route::Route;
use kernel::{link, netlink};

use crate::error::{attempt, from_deviation, from_netns};

/// `RT_SCOPE_LINK`.
const SCOPE_LINK: u8 = 253;

/// Whether IPv6 addresses are tried for duplicates before use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dad {
    /// They are usable at once: IPAM has seen to it that they are unique.
    Off,
    /// As `Off`, and the link was told so when it was made.
    OffBefore,
    /// The kernel tries each of them, which takes one to two seconds, and ADD waits for the outcome.
    On,
}

/// How the container reaches the other addresses of its networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Neighbours {
    /// They are on the link: the kernel makes the route to them.
    OnLink,
    /// Only the gateway is on the link, and everything else behind it.
    BehindGateway,
    /// There are none: the link leads nowhere.
    Nobody,
}

/// Opens the namespace of an attachment.
///
/// # Errors
///
/// When there is none at the path, in the words of the Go suite.
pub fn open(attachment: &Attachment) -> Result<NetNs, Error> {
    NetNs::open(&attachment.netns).map_err(|error| from_netns(&attachment.netns, &error))
}

/// The namespace of an attachment which is to be deleted: none when the runtime gave none, or when it is gone.
///
/// # Errors
///
/// When something is at the path that is no network namespace; without the prefix of [`open`], as in the Go suite.
pub fn open_if_there(attachment: &Attachment) -> Result<Option<NetNs>, Error> {
    if attachment.netns.is_empty() {
        return Ok(None);
    }
    match NetNs::open(&attachment.netns) {
        Ok(netns) => Ok(Some(netns)),
        Err(error) if error.is_not_exist() => Ok(None),
        Err(error) => Err(Error::internal(error.to_string())),
    }
}

/// Gives the container's link `name` the addresses and routes of a result and sets it up.
///
/// Only addresses whose `interface` points at `name` are meant; one that points at nothing, or at another link, is an
/// error.
///
/// # Errors
///
/// When an `interface` index is wrong, or a gateway is missing behind which everything is.
pub fn configure(name: &str, result: &AddResult, dad: Dad, neighbours: Neighbours) -> Result<Plan, Error> {
    let mut plan = Plan::new();
    let parameters = parameters(name, result, dad, neighbours);
    if !parameters.settings.is_empty() {
        plan.push(parameters);
    }
    let noprefixroute = neighbours == Neighbours::BehindGateway;
    for ip in &result.ips {
        let Some(index) = ip.interface else { continue };
        if result.interfaces.get(index).is_none_or(|interface| interface.name != name) {
            return Err(Error::internal(format!(
                "failed to add IP addr {} to \"{name}\": invalid interface index",
                ip.address
            )));
        }
        let (link, nodad) = (name.to_owned(), dad != Dad::On);
        plan.push(AddAddress { side: Side::Container, link, address: ip.address, nodad, noprefixroute });
    }
    plan.push(SetUp { side: Side::Container, link: name.to_owned() });
    if dad == Dad::On && gateway(&result.ips, true).is_some() {
        plan.push(Settle { link: name.to_owned() });
    }
    let mut wanted = Vec::new();
    if neighbours == Neighbours::BehindGateway {
        for ip in &result.ips {
            wanted.extend(by_gateway(ip)?);
        }
    }
    for route in wanted.into_iter().chain(routes(result)) {
        plan.push(AddRoute { side: Side::Container, link: name.to_owned(), route });
    }
    Ok(plan)
}

/// The routes to an address's gateway, and to its network behind that.
fn by_gateway(ip: &IpConfig) -> Result<[Route; 2], Error> {
    let source = Some(ip.address.ip());
    let Some(gateway) = ip.gateway else {
        return Err(Error::internal(format!("the address {} needs a gateway, and IPAM gave none", ip.address))
            .with_details("on a point-to-point link everything is reached through the gateway"));
    };
    let network = IpNetwork::new(ip.address.network(), ip.address.prefix()).unwrap_or(ip.address);
    Ok([
        Route { source, scope: Some(SCOPE_LINK), ..Route::to(gateway.into()) },
        Route { source, gateway: Some(gateway), ..Route::to(network) },
    ])
}

/// The parameters of the container's link. Those for IPv6 are wishes as long as no IPv6 address is to be had, because
/// a kernel without IPv6 lacks them.
fn parameters(name: &str, result: &AddResult, dad: Dad, neighbours: Neighbours) -> Sysctls {
    let v6 = |link: &str, parameter: &str| format!("net/ipv6/conf/{link}/{parameter}");
    let mut settings = match dad {
        Dad::OffBefore => Vec::new(),
        Dad::Off => vec![Setting::wish(v6(name, "accept_dad"), "0")],
        Dad::On => vec![Setting::wish(v6(name, "enhanced_dad"), "1"), Setting::wish(v6(name, "accept_dad"), "1")],
    };
    if neighbours == Neighbours::OnLink {
        settings.push(Setting::wish(format!("net/ipv4/conf/{name}/arp_notify"), "1"));
    }
    if result.ips.iter().any(|ip| ip.address.is_ipv6()) {
        for link in ["lo", name] {
            let parameter = v6(link, "disable_ipv6");
            let attempt = format!("failed to enable IPv6 for interface \"{link}\" ({parameter})");
            settings.push(Setting::required(parameter, "0", attempt));
        }
        let attempt = format!("failed to enable keep_addr_on_down for interface \"{name}\"");
        settings.push(Setting::required(v6(name, "keep_addr_on_down"), "1", attempt));
    }
    Sysctls { side: Side::Container, settings }
}

/// The first gateway of a family.
fn gateway(ips: &[IpConfig], is_ipv6: bool) -> Option<IpAddr> {
    ips.iter().filter_map(|ip| ip.gateway).find(|gateway| gateway.is_ipv6() == is_ipv6)
}

/// The routes of a result, those without a gateway through the first gateway of their family.
fn routes(result: &AddResult) -> impl Iterator<Item = Route> + '_ {
    result.routes.iter().map(|route| Route {
        gateway: route.gw.or_else(|| gateway(&result.ips, route.dst.is_ipv6())),
        priority: route.priority,
        table: route.table,
        scope: route.scope,
        mtu: route.mtu,
        advmss: route.advmss,
        ..Route::to(route.dst)
    })
}

/// The container's interface in a previous result: of that name, and in that namespace.
///
/// # Errors
///
/// When there is none, in the words of the Go suite.
pub fn recorded<'a>(previous: &'a AddResult, attachment: &Attachment) -> Result<&'a Interface, Error> {
    let mine =
        |interface: &&Interface| interface.name == attachment.ifname.as_str() && interface.sandbox == attachment.netns;
    previous.interfaces.iter().find(mine).ok_or_else(|| {
        Error::internal(format!("Sandbox in prevResult  doesn't match configured netns: {}", attachment.netns))
    })
}

/// Checks that the container's link `name` still is up, if it has addresses, and has the addresses and routes of a previous
/// result; its routes are those of the VRF that it is in, if it is in one.
///
/// # Errors
///
/// What is missing. A link that is down comes first, because it takes routes with it.
pub fn check(machine: &mut Machine, name: &str, previous: &AddResult) -> Result<(), Error> {
    if !previous.ips.is_empty() {
        check_up(machine, name)?;
    }
    let vrf = table_of(machine, name)?;
    for ip in &previous.ips {
        let link = name.to_owned();
        let step = AddAddress { side: Side::Container, link, address: ip.address, nodad: true, noprefixroute: false };
        step.check(machine).map_err(from_deviation)?;
        check_reach(machine, name, ip, vrf)?;
    }
    for route in &previous.routes {
        let (gateway, table, priority) = (route.gw, route.table.or(vrf), route.priority);
        let wanted = Route { gateway, table, priority, ..Route::to(route.dst) };
        let step = AddRoute { side: Side::Container, link: name.to_owned(), route: wanted };
        step.check(machine).map_err(|deviation| match deviation {
            Deviation::RouteMissing(mut missing) => {
                (missing.mtu, missing.advmss, missing.scope) = (route.mtu, route.advmss, route.scope);
                missing.table = route.table;
                from_deviation(Deviation::RouteMissing(missing))
            }
            other => from_deviation(other),
        })?;
    }
    Ok(())
}

/// The table in which routes through the link are looked up, when that is not the main one.
fn table_of(machine: &mut Machine, name: &str) -> Result<Option<u32>, Error> {
    vrf_table(machine, name).map_err(|error| attempt(format_args!("look at the link {name}"), error))
}

fn vrf_table(machine: &mut Machine, name: &str) -> Result<Option<u32>, netlink::Error> {
    let container = machine.side(Side::Container)?;
    let Some(master) = container.link(name)?.and_then(|link| link.master) else { return Ok(None) };
    let found = container.lookups(&[link::get_by_index(master)])?;
    Ok(found.into_iter().flatten().find_map(|master| master.vrf_table))
}

/// Checks that the container's link `name` is up.
///
/// # Errors
///
/// That it is not.
pub fn check_up(machine: &mut Machine, name: &str) -> Result<(), Error> {
    let step = SetUp { side: Side::Container, link: name.to_owned() };
    step.check(machine).map_err(|deviation| match deviation {
        Deviation::LinkDown(link) => Error::internal(format!("Interface {link} is down")),
        other => from_deviation(other),
    })
}

/// Checks the routes to the gateways of a previous result, on a link on which nobody else is.
///
/// # Errors
///
/// What is missing.
pub fn check_gateways(machine: &mut Machine, name: &str, previous: &AddResult) -> Result<(), Error> {
    let table = table_of(machine, name)?;
    for ip in &previous.ips {
        for route in by_gateway(ip)? {
            let route = Route { table, ..route };
            let step = AddRoute { side: Side::Container, link: name.to_owned(), route };
            step.check(machine).map_err(|_| unreachable(name, ip))?;
        }
    }
    Ok(())
}

fn unreachable(name: &str, ip: &IpConfig) -> Error {
    let gateway = ip.gateway.map_or_else(|| "<nil>".to_owned(), |gateway| gateway.to_string());
    Error::internal(format!("Failed to find Gateway {gateway} for interface {name}"))
}

/// Checks that the network of an address can be reached. An IPv4 address alone has none (`fib_add_ifaddr`).
fn check_reach(machine: &mut Machine, name: &str, ip: &IpConfig, vrf: Option<u32>) -> Result<(), Error> {
    if ip.address.is_ipv4() && ip.address.prefix() == 32 {
        return Ok(());
    }
    let network = IpNetwork::new(ip.address.network(), ip.address.prefix()).unwrap_or(ip.address);
    let route = Route { table: vrf, ..Route::to(network) };
    let step = AddRoute { side: Side::Container, link: name.to_owned(), route };
    step.check(machine).map_err(|_| unreachable(name, ip))
}
