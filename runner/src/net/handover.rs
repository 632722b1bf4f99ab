//! What a network that a running container leaves hands over to another one of the container's: the way out, and the published
//! ports.
//!
//! The first network of a container that has a default route gives it to the container; those after it are attached without
//! theirs. Ports lead to the container's address on the first network that can publish. So when such a network is left, the
//! next one takes its place: the route that was left out is put in, and the plugin that publishes is run for the attachment
//! that is there already, as if it stood at the end of its list. Ports that no network can take wait for one that can
//! ([`Connected::waiting`]); the sockets that keep them from others are the monitor's all the while.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use cni::runtime::ConfList;
use ipnetwork::IpNetwork;
use kernel::netns::NetNs;
use kernel::route::Route;
use kernel::{Handle, netlink};
use serde_json::{Value, json};

use crate::error::{Context, Error, Result};
use crate::spec::Dirs;
use crate::state::Store;

use super::attach::{self, Place, Wishes};
use super::connected::{Connected, Endpoint};
use super::{Network, link};

/// What a plugin that publishes ports declares.
pub(super) const PUBLISHES: &str = "portMappings";

/// Leads the container out by the first of its networks that leads anywhere, if there is one.
///
/// # Errors
/// The kernel refuses the route.
pub(super) fn default_route(dirs: &Dirs, connected: &mut Connected, netns: &Path) -> Result<()> {
    for endpoint in &mut connected.endpoints {
        let Ok(network) = Network::find(&endpoint.network, dirs, &[]) else { continue };
        let gateways = gateways(endpoint, network.leads_out());
        if !gateways.is_empty() {
            let done = NetNs::open(netns).map_err(|error| Error::new(error.to_string())).and_then(|netns| {
                let mut inside = Handle::inside(netns).context(|| "open a route socket in the container")?;
                add(&mut inside, &endpoint.ifname, &gateways)
            });
            done.context(|| format!("move the default route to network {}", network.name))?;
            endpoint.is_default = true;
            return Ok(());
        }
    }
    Ok(())
}

/// The gateway of each family for which the network leads out.
fn gateways(endpoint: &Endpoint, leads_out: [bool; 2]) -> Vec<IpAddr> {
    let gateway = |is_ipv6| {
        let mut all = endpoint.addresses.iter().filter_map(|assigned| assigned.gateway);
        all.find(|gateway| gateway.is_ipv6() == is_ipv6)
    };
    let wanted = [false, true].into_iter().zip(leads_out).filter(|(_, leads)| *leads);
    wanted.filter_map(|(is_ipv6, _)| gateway(is_ipv6)).collect()
}

fn add(inside: &mut Handle, ifname: &str, gateways: &[IpAddr]) -> Result<()> {
    let refused = |error: netlink::Error| Error::new(error.to_string());
    let Some(link) = inside.link(ifname).map_err(refused)? else { return Ok(()) };
    for gateway in gateways {
        let nothing = if gateway.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let anywhere = IpNetwork::new(nothing, 0).map_err(|error| Error::new(error.to_string()))?;
        let route = Route { gateway: Some(*gateway), ..Route::to(anywhere) };
        inside.call(route.add(link.index)).map_err(refused)?;
    }
    Ok(())
}

/// Has the ports that wait published by one of the container's networks: the one that leads out, or else the first that can.
///
/// # Errors
/// The plugin refuses. The ports go on waiting.
pub(super) fn ports(store: &Store, dirs: &Dirs, connected: &mut Connected, netns: &Path) -> Result<()> {
    let capable = |endpoint: &&Endpoint| {
        Network::find(&endpoint.network, dirs, &[]).is_ok_and(|network| network.is_capable_of(PUBLISHES))
    };
    let default = connected.endpoints.iter().filter(|endpoint| endpoint.is_default).find(capable);
    let Some(taker) = default.or_else(|| connected.endpoints.iter().find(capable)) else { return Ok(()) };
    let (network, ifname) = (taker.network.clone(), taker.ifname.clone());
    let publishing = publishing(&Network::find(&network, dirs, &[])?, taker, netns)?;
    link::record(store, &connected.id, &publishing, &ifname, netns)?;
    let wishes = Wishes { ports: connected.waiting.clone(), ..Wishes::default() };
    attach::add(&publishing, Place { store, id: &connected.id, netns, ifname: &ifname }, &wishes)?;
    connected.ports.append(&mut connected.waiting);
    let taker = connected.endpoints.iter_mut().find(|endpoint| endpoint.ifname == ifname);
    taker.into_iter().for_each(|taker| taker.publishes = true);
    Ok(())
}

/// The plugin of `network` that publishes, alone, behind what the others have achieved for `endpoint`.
fn publishing(network: &Network, endpoint: &Endpoint, netns: &Path) -> Result<Network> {
    let list: Value = serde_json::from_slice(network.list.bytes()).context(|| "the network's list")?;
    let plugins = list.get("plugins").and_then(Value::as_array).into_iter().flatten();
    let publishes =
        |plugin: &&Value| plugin.pointer("/capabilities/portMappings").and_then(Value::as_bool) == Some(true);
    let mut plugin = plugins.into_iter().find(publishes).cloned().unwrap_or_default();
    if let Value::Object(plugin) = &mut plugin {
        plugin.insert(attach::BEFORE.to_owned(), result(endpoint, netns));
    }
    let list = json!({"cniVersion": VERSION, "name": network.name, "plugins": [plugin]}).to_string();
    let list = ConfList::from_slice(list.as_bytes()).context(|| "the network's list")?;
    Ok(Network { list, ..network.clone() })
}

/// In which the result is told.
const VERSION: &str = "1.0.0";

fn result(endpoint: &Endpoint, netns: &Path) -> Value {
    let ips = endpoint.addresses.iter().map(|assigned| {
        let mut ip = json!({"address": format!("{}/{}", assigned.address, assigned.prefix), "interface": 0});
        if let Some(gateway) = assigned.gateway {
            ip["gateway"] = gateway.to_string().into();
        }
        ip
    });
    json!({
        "cniVersion": VERSION,
        "interfaces": [{"name": endpoint.ifname, "mac": endpoint.mac, "sandbox": netns}],
        "ips": ips.collect::<Vec<_>>(),
    })
}
