//! `NetworkSettings`: what it is connected to now.

use std::net::IpAddr;

use serde_json::{Map, Value as Json, json};

use crate::image::Digest;
use crate::net::Connected;
use crate::net::connected::{Assigned, Endpoint};
use crate::net::network::id as network_id;
use crate::net::ports::Mapping;

pub(super) fn describe(net: Option<&Connected>) -> Json {
    let endpoints = net.map_or([].as_slice(), |net| net.endpoints.as_slice());
    let main = endpoints.iter().find(|endpoint| endpoint.is_default).or(endpoints.first());
    let first = Addresses::of(main);
    let id = net.map(|net| net.id.as_str()).unwrap_or_default();
    json!({
        "Bridge": "",
        "SandboxID": net.filter(|net| net.inode != 0).map(|net| hash(&["sandbox", id, &net.inode.to_string()])).unwrap_or_default(),
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "Ports": net.map_or_else(Map::new, |net| ports(&net.ports)),
        "SandboxKey": net.and_then(|net| net.netns.as_deref()).map(super::text).unwrap_or_default(),
        "SecondaryIPAddresses": Json::Null,
        "SecondaryIPv6Addresses": Json::Null,
        "EndpointID": main.map(|endpoint| endpoint_id(id, endpoint)).unwrap_or_default(),
        "Gateway": first.gateway(false),
        "GlobalIPv6Address": first.address(true),
        "GlobalIPv6PrefixLen": first.prefix(true),
        "IPAddress": first.address(false),
        "IPPrefixLen": first.prefix(false),
        "IPv6Gateway": first.gateway(true),
        "MacAddress": main.and_then(|endpoint| endpoint.mac.clone()).unwrap_or_default(),
        "Networks": endpoints.iter().map(|e| (e.network.clone(), network(id, e))).collect::<Map<_, _>>(),
    })
}

fn network(id: &str, endpoint: &Endpoint) -> Json {
    let all = Addresses::of(Some(endpoint));
    json!({
        "IPAMConfig": Json::Null,
        "Links": Json::Null,
        "Aliases": super::or_null(endpoint.aliases.iter().map(String::as_str)),
        "NetworkID": network_id(&endpoint.network),
        "EndpointID": endpoint_id(id, endpoint),
        "Gateway": all.gateway(false),
        "IPAddress": all.address(false),
        "IPPrefixLen": all.prefix(false),
        "IPv6Gateway": all.gateway(true),
        "GlobalIPv6Address": all.address(true),
        "GlobalIPv6PrefixLen": all.prefix(true),
        "MacAddress": endpoint.mac.clone().unwrap_or_default(),
    })
}

/// The first address of each family.
struct Addresses<'a>(&'a [Assigned]);

impl<'a> Addresses<'a> {
    fn of(endpoint: Option<&'a Endpoint>) -> Self {
        Self(endpoint.map_or(&[], |endpoint| &endpoint.addresses))
    }

    fn first(&self, six: bool) -> Option<&Assigned> {
        self.0.iter().find(|assigned| assigned.address.is_ipv6() == six)
    }

    fn address(&self, six: bool) -> String {
        self.first(six).map(|assigned| assigned.address.to_string()).unwrap_or_default()
    }

    fn prefix(&self, six: bool) -> u8 {
        self.first(six).map(|assigned| assigned.prefix).unwrap_or_default()
    }

    fn gateway(&self, six: bool) -> String {
        self.first(six).and_then(|assigned| assigned.gateway).map(|ip: IpAddr| ip.to_string()).unwrap_or_default()
    }
}

/// The host's ports by the container's; a mapping without an address is for both families.
fn ports(mappings: &[Mapping]) -> Map<String, Json> {
    let mut all = Map::new();
    for mapping in mappings {
        let addresses = match mapping.host_ip {
            Some(ip) => vec![ip.to_string()],
            None => vec!["0.0.0.0".to_owned(), "::".to_owned()],
        };
        let entries = addresses.into_iter().map(|ip| json!({"HostIp": ip, "HostPort": mapping.host_port.to_string()}));
        let key = format!("{}/{}", mapping.container_port, mapping.protocol);
        match all.get_mut(&key) {
            Some(Json::Array(known)) => known.extend(entries),
            _ => drop(all.insert(key, entries.collect())),
        }
    }
    all
}

fn endpoint_id(id: &str, endpoint: &Endpoint) -> String {
    hash(&["endpoint", id, &endpoint.network, &endpoint.ifname])
}

fn hash(parts: &[&str]) -> String {
    Digest::of(parts.join("\0").as_bytes()).hex().to_owned()
}
