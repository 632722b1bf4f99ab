//! Calls of CNI plugins, as steps.
//!
//! What a person would type in the place of a plugin is made of what the plugin was told and what it has answered. That is
//! known of the plugins of the built-in network; for all others it is the call itself.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::path::Path;

use cni::exec::{Command, Error, Output};
use ipnetwork::IpNetwork;
use kernel::Mac;
use kernel::link::NewEnd;
use nix::net::if_::if_nametoindex;
use serde_json::Value;

use crate::netns::commands::At;

use super::{Part, Told, What, shell};

/// Calls a plugin by `start`.
///
/// # Errors
/// Those of `start`.
pub(crate) fn call(
    command: &Command<'_>,
    start: impl FnOnce(&Command<'_>) -> Result<Output, Error>,
) -> Result<Output, Error> {
    if !super::is_on() {
        return start(command);
    }
    let call = Call::of(command);
    let begun = super::now();
    let result = start(command);
    let answer = result.as_ref().ok().filter(|output| output.success());
    let answer: Option<Value> = answer.map(|output| serde_json::from_slice(&output.stdout).unwrap_or_default());
    super::add(call.what(answer.as_ref()), begun, answer.is_none());
    result
}

/// What a plugin is told.
struct Call<'a> {
    program: &'a Path,
    variables: Vec<(&'a str, String)>,
    conf: Value,
    /// Whether its bridge, if it has one, was there before.
    has_bridge: bool,
}

/// Where the static part of the rules is, when a person makes them.
const TABLE: &str = "by_hand";

impl<'a> Call<'a> {
    fn of(command: &Command<'a>) -> Self {
        let named = |(name, value): &'a (std::ffi::OsString, std::ffi::OsString)| {
            let name = name.to_str().filter(|name| name.starts_with("CNI_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        };
        let variables = command.env.iter().filter_map(named).filter(|(_, value)| !value.is_empty()).collect();
        let conf: Value = serde_json::from_slice(command.stdin).unwrap_or_default();
        let has_bridge = if_nametoindex(bridge_of(&conf)).is_ok();
        Self { program: command.program, variables, conf, has_bridge }
    }

    fn variable(&self, name: &str) -> &str {
        self.variables.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    fn what(&self, answer: Option<&Value>) -> What {
        let plugin = self.program.file_name().unwrap_or(OsStr::new("")).to_string_lossy();
        let names = ["CNI_COMMAND", "CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"];
        let mut words: Vec<String> = names.iter().map(|name| format!("{name}={}", self.variable(name))).collect();
        words.push(self.program.display().to_string());
        let lines = match (plugin.as_ref(), answer) {
            ("bridge", Some(answer)) => self.bridge(answer),
            ("portmap", Some(_)) => self.ports(),
            _ => None,
        };
        let told = Told::from(words.join(" ")).typed(lines.unwrap_or_else(|| self.itself()));
        What::new(Part::Network, format!("CNI {plugin} {}", self.variable("CNI_COMMAND")), told)
    }

    /// The call, as a person can do it.
    fn itself(&self) -> Vec<String> {
        let set = |(name, value): &(&str, String)| format!("{name}={} ", shell::word(value));
        let variables: String = self.variables.iter().map(set).collect();
        let (program, conf) = (self.program.to_string_lossy(), self.conf.to_string());
        vec![format!("printf %s {} | {variables}{}", shell::word(&conf), shell::word(&program))]
    }

    /// A veth pair between a bridge and the container.
    fn bridge(&self, answer: &Value) -> Option<Vec<String>> {
        let (bridge, ifname) = (bridge_of(&self.conf), self.variable("CNI_IFNAME"));
        let inside = At::of_file(Path::new(self.variable("CNI_NETNS")));
        let ends = answer["interfaces"].as_array()?;
        let is_far = |end: &&Value| end["sandbox"].as_str().is_some_and(|path| !path.is_empty());
        let near = ends.iter().find(|end| !is_far(end) && end["name"] != bridge)?;
        let (near, far) = (self.end(near)?, self.end(ends.iter().find(is_far)?)?);
        let mut lines = Vec::new();
        if !self.has_bridge {
            lines.push(At::Here.bridge(bridge, self.mtu()));
        }
        lines.push(At::Here.up(bridge));
        lines.extend([At::Here.pair(&near, &far, inside), At::Here.port(&near.name, bridge), At::Here.up(&near.name)]);
        if self.conf["hairpinMode"] == true {
            lines.push(format!("ip link set {} type bridge_slave hairpin on", near.name));
        }
        let addresses: Vec<Address> = answer["ips"].as_array()?.iter().filter_map(Address::of).collect();
        lines.extend(addresses.iter().map(|one| inside.address(one.own, ifname)));
        lines.push(inside.up(ifname));
        lines.extend(addresses.iter().flat_map(|one| self.gateway(one, bridge)));
        lines.extend(routes(answer, &addresses).map(|(to, gateway)| inside.route(to, gateway, ifname)));
        if self.conf["ipMasq"] == true {
            lines.extend(addresses.iter().flat_map(masquerade));
        }
        Some(lines)
    }

    fn mtu(&self) -> Option<u32> {
        self.conf["mtu"].as_u64().and_then(|mtu| u32::try_from(mtu).ok()).filter(|mtu| *mtu > 0)
    }

    fn end(&self, end: &Value) -> Option<NewEnd> {
        let mac: Mac = end["mac"].as_str()?.parse().ok()?;
        Some(NewEnd { name: end["name"].as_str()?.to_owned(), mac, mtu: self.mtu() })
    }

    /// What makes the bridge the way out.
    fn gateway(&self, address: &Address, bridge: &str) -> Vec<String> {
        let is_gateway = self.conf["isGateway"] == true || self.conf["isDefaultGateway"] == true;
        let gateway = address.gateway.filter(|_| is_gateway);
        let on_bridge = gateway.and_then(|gateway| IpNetwork::new(gateway, address.own.prefix()).ok());
        let Some(on_bridge) = on_bridge else { return Vec::new() };
        let forward = if on_bridge.is_ipv6() { "net.ipv6.conf.all.forwarding" } else { "net.ipv4.ip_forward" };
        vec![At::Here.shared_address(on_bridge, bridge), format!("sysctl -w {forward}=1")]
    }

    /// Published ports. Those of addresses of this host alone are led for that address.
    fn ports(&self) -> Option<Vec<String>> {
        let addresses: Vec<Address> =
            self.conf["prevResult"]["ips"].as_array()?.iter().filter_map(Address::of).collect();
        let mut lines = Vec::new();
        for mapping in self.conf["runtimeConfig"]["portMappings"].as_array()? {
            let host_ip: Option<IpAddr> = mapping["hostIP"].as_str().and_then(|text| text.parse().ok());
            for address in &addresses {
                if host_ip.is_none_or(|host| host.is_ipv4() == address.own.is_ipv4()) {
                    lines.extend(lead(mapping, host_ip, address.own.ip())?);
                }
            }
        }
        Some(lines)
    }
}

/// The bridge of a configuration of that plugin.
fn bridge_of(conf: &Value) -> &str {
    conf["bridge"].as_str().filter(|name| !name.is_empty()).unwrap_or("cni0")
}

/// An address of an answer.
struct Address {
    own: IpNetwork,
    gateway: Option<IpAddr>,
}

impl Address {
    fn of(ip: &Value) -> Option<Self> {
        let gateway = ip["gateway"].as_str().and_then(|text| text.parse().ok());
        Some(Self { own: ip["address"].as_str()?.parse().ok()?, gateway })
    }
}

/// The ways that an answer has, each with the next stop: by default that of the addresses of the same family.
fn routes<'a>(answer: &'a Value, addresses: &'a [Address]) -> impl Iterator<Item = (IpNetwork, Option<IpAddr>)> + 'a {
    answer["routes"].as_array().into_iter().flatten().filter_map(|route| {
        let to: IpNetwork = route["dst"].as_str()?.parse().ok()?;
        let own = route["gw"].as_str().and_then(|text| text.parse().ok());
        let of_family = addresses.iter().filter(|one| one.own.is_ipv4() == to.is_ipv4()).find_map(|one| one.gateway);
        Some((to, own.or(of_family)))
    })
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ip" } else { "ip6" }
}

/// What leaves the container's network leaves it as the host's.
fn masquerade(address: &Address) -> Vec<String> {
    let family = family(address.own.ip());
    let network = IpNetwork::new(address.own.network(), address.own.prefix()).unwrap_or(address.own);
    let rule = format!("{family} saddr {} {family} daddr != {network} masquerade", address.own.ip());
    vec![
        format!("nft add table {family} {TABLE}"),
        format!("nft 'add chain {family} {TABLE} leaving {{ type nat hook postrouting priority 100; }}'"),
        format!("nft 'add rule {family} {TABLE} leaving {rule}'"),
    ]
}

/// What comes to a port of the host goes to the container, also from the host itself.
fn lead(mapping: &Value, host_ip: Option<IpAddr>, to: IpAddr) -> Option<Vec<String>> {
    let (family, protocol) = (family(to), mapping["protocol"].as_str().unwrap_or("tcp"));
    let (host, inside) = (mapping["hostPort"].as_u64()?, mapping["containerPort"].as_u64()?);
    let place = host_ip.map_or("fib daddr type local".to_owned(), |host| format!("{family} daddr {host}"));
    let to = if to.is_ipv4() { to.to_string() } else { format!("[{to}]") };
    let rule = format!("{place} {protocol} dport {host} dnat to {to}:{inside}");
    let mut lines = vec![format!("nft add table {family} {TABLE}")];
    for (chain, hook) in [("coming", "prerouting"), ("own", "output")] {
        lines.push(format!("nft 'add chain {family} {TABLE} {chain} {{ type nat hook {hook} priority -100; }}'"));
        lines.push(format!("nft 'add rule {family} {TABLE} {chain} {rule}'"));
    }
    Some(lines)
}
