//! New networks: from what was asked for to a list of plugins in a file.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use cni::owner::prefixed_hash;
use ipnetwork::IpNetwork;
use serde_json::{Map, Value, json};

use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::spec::Dirs;

use super::subnet::Taken;
use super::{Network, catalog, default};

/// What a network is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Driver {
    /// A bridge of the host.
    Bridge,
    /// Links of their own on a link of the host.
    Macvlan,
    /// Addresses of their own behind the hardware address of a link of the host.
    Ipvlan,
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Creation {
    pub(crate) name: Name,
    pub(crate) driver: Driver,
    pub(crate) subnets: Vec<IpNetwork>,
    pub(crate) gateways: Vec<IpAddr>,
    pub(crate) ip_ranges: Vec<IpNetwork>,
    pub(crate) ipv6: bool,
    pub(crate) internal: bool,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Creation {
    /// Describes the network in a file of ours.
    ///
    /// # Errors
    /// The name or a subnet is taken, or the parts don't fit together. Nothing is written then.
    pub(crate) fn carry_out(&self, dirs: &Dirs) -> Result<()> {
        let path = catalog::file(self.name.as_str(), dirs);
        let dir = path.parent().unwrap_or(&path);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).context(|| format!("make {}", dir.display()))?;
        // Two at once would choose the same subnet.
        let lock = File::open(dir).context(|| format!("open {}", dir.display()))?;
        lock.lock().context(|| format!("lock {}", dir.display()))?;
        if ["host", "none", "default", "bridge"].contains(&self.name.as_str()) {
            return Err(Error::new(format!("the name {} has a meaning already", self.name)));
        }
        if catalog::all(dirs)?.iter().any(|(name, _)| *name == self.name.as_str()) {
            return Err(Error::new(format!("a network called {} exists already", self.name)));
        }
        let taken = Taken::now(dirs)?;
        let list = self.list(&self.ranges(&taken)?)?;
        Network::new(cni::runtime::ConfList::from_slice(list.as_bytes()).context(|| "the new network")?, &[])?;
        let new = path.with_extension("new");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        let written = options.open(&new).and_then(|mut file| file.write_all(list.as_bytes()).and(file.sync_all()));
        written.and_then(|()| std::fs::rename(&new, &path)).context(|| format!("write {}", path.display()))
    }

    /// The subnets: those asked for, each free; or free ones.
    fn subnets(&self, taken: &Taken) -> Result<Vec<IpNetwork>> {
        let mut subnets = self.subnets.clone();
        for (n, subnet) in subnets.iter().enumerate() {
            if subnet.ip() != subnet.network() {
                let right = IpNetwork::new(subnet.network(), subnet.prefix()).map(|net| net.to_string());
                let hint = right.unwrap_or_default();
                return Err(Error::new(format!("the subnet {subnet} has host bits set: is {hint} meant?")));
            }
            if subnets.iter().take(n).any(|other| other.contains(subnet.ip()) || subnet.contains(other.ip())) {
                return Err(Error::new(format!("the subnet {subnet} overlaps with another one given here")));
            }
            // A link of the host is in the host's own subnet by nature.
            if let (Driver::Bridge, Some(who)) = (self.driver, taken.by(*subnet)) {
                return Err(Error::new(format!("the subnet {subnet} overlaps with that of {who}")));
            }
        }
        if self.driver != Driver::Bridge {
            return match subnets.is_empty() {
                true => Err(Error::new("--subnet is needed: it is that of the parent's network")),
                false => Ok(subnets),
            };
        }
        if subnets.is_empty() {
            subnets.insert(0, taken.free_v4()?);
        }
        if self.ipv6 && !subnets.iter().any(IpNetwork::is_ipv6) {
            subnets.push(taken.free_v6()?);
        }
        Ok(subnets)
    }

    /// The sets of addresses, a set each for a subnet, with its gateway and its range.
    fn ranges(&self, taken: &Taken) -> Result<Vec<Map<String, Value>>> {
        let subnets = self.subnets(taken)?;
        let inside = |ip: IpAddr| subnets.iter().any(|subnet| subnet.contains(ip));
        if let Some(stray) = self.gateways.iter().find(|ip| !inside(**ip)) {
            return Err(Error::new(format!("the gateway {stray} is in no subnet of the network")));
        }
        if let Some(stray) = self.ip_ranges.iter().find(|range| !inside(range.network())) {
            return Err(Error::new(format!("the range {stray} is in no subnet of the network")));
        }
        let range = |subnet: &IpNetwork| {
            let mut entry = Map::new();
            entry.insert("subnet".into(), subnet.to_string().into());
            if let Some(gateway) = self.gateways.iter().find(|ip| subnet.contains(**ip)) {
                entry.insert("gateway".into(), gateway.to_string().into());
            }
            if let Some(range) = self.ip_ranges.iter().find(|range| subnet.contains(range.network())) {
                let (first, last) = ends(*range, *subnet);
                entry.insert("rangeStart".into(), first.to_string().into());
                entry.insert("rangeEnd".into(), last.to_string().into());
            }
            entry
        };
        Ok(subnets.iter().map(range).collect())
    }

    fn list(&self, ranges: &[Map<String, Value>]) -> Result<String> {
        let is_ipv6 = |range: &Map<String, Value>| {
            range.get("subnet").and_then(Value::as_str).is_some_and(|text| text.contains(':'))
        };
        let default_route = |v6: bool| json!({"dst": if v6 { "::/0" } else { "0.0.0.0/0" }});
        let families = [false, true].into_iter().filter(|v6| ranges.iter().any(|range| is_ipv6(range) == *v6));
        let routes: Vec<Value> = families.filter(|_| !self.internal).map(default_route).collect();
        let sets: Vec<Value> = ranges.iter().map(|range| json!([range])).collect();
        let ipam = json!({"type": "host-local", "ranges": sets, "routes": routes});
        let plugins = match self.driver {
            // Where nothing enters no port leads to.
            Driver::Bridge if self.internal => vec![self.bridge(ipam)?],
            Driver::Bridge => vec![self.bridge(ipam)?, portmap()],
            Driver::Macvlan => vec![self.child("macvlan", ipam)?],
            Driver::Ipvlan => vec![self.child("ipvlan", ipam)?],
        };
        let driver = self.driver.as_str();
        let list = json!({
            "cniVersion": "1.1.0",
            "name": self.name.as_str(),
            "xnet": {"driver": driver, "internal": self.internal, "labels": self.labels, "options": self.options},
            "plugins": plugins,
        });
        serde_json::to_string_pretty(&list).context(|| "encode the network")
    }

    fn bridge(&self, ipam: Value) -> Result<Value> {
        let known = [
            "mtu",
            "bridge",
            "com.docker.network.bridge.name",
            "com.docker.network.driver.mtu",
            "isolate",
            "macspoofchk",
        ];
        self.refuse_unknown(&known)?;
        let option = |keys: [&str; 2]| keys.iter().find_map(|key| self.options.get(*key));
        let bridge = option(["bridge", known[2]]).cloned().unwrap_or_else(|| bridge_name(self.name.as_str()));
        let spoof_check = self.switch("macspoofchk")?;
        let mut plugin = json!({
            "type": "bridge",
            "bridge": bridge,
            "isGateway": true,
            "ipMasq": !self.internal,
            "hairpinMode": true,
            "macFromIP": !spoof_check,
            "macspoofchk": spoof_check,
            "portIsolation": self.switch("isolate")?,
            "capabilities": {"ips": true, "mac": true},
            "ipam": ipam,
        });
        let mtu = match option(["mtu", known[3]]) {
            Some(text) => Some(text.parse::<u32>().map_err(|_| Error::new(format!("{text:?} is no MTU")))?),
            None => default::mtu(),
        };
        if let (Some(mtu), Value::Object(plugin)) = (mtu, &mut plugin) {
            plugin.insert("mtu".into(), mtu.into());
        }
        Ok(plugin)
    }

    fn child(&self, kind: &str, ipam: Value) -> Result<Value> {
        let mode = format!("{kind}_mode");
        self.refuse_unknown(&["parent", "mode", &mode, "mtu"])?;
        let parent = self
            .options
            .get("parent")
            .ok_or_else(|| Error::new(format!("-d {kind} needs a link of the host to sit on: -o parent=LINK")))?;
        let mut plugin = json!({
            "type": kind,
            "master": parent,
            "capabilities": {"ips": true, "mac": kind == "macvlan"},
            "ipam": ipam,
        });
        if let (Some(mode), Value::Object(plugin)) =
            (self.options.get("mode").or_else(|| self.options.get(&mode)), &mut plugin)
        {
            plugin.insert("mode".into(), mode.as_str().into());
        }
        if let (Some(mtu), Value::Object(plugin)) = (self.options.get("mtu"), &mut plugin) {
            let mtu: u32 = mtu.parse().map_err(|_| Error::new(format!("{mtu:?} is no MTU")))?;
            plugin.insert("mtu".into(), mtu.into());
        }
        Ok(plugin)
    }

    fn switch(&self, key: &str) -> Result<bool> {
        match self.options.get(key).map(String::as_str) {
            None | Some("false" | "0") => Ok(false),
            Some("" | "true" | "1") => Ok(true),
            Some(other) => Err(Error::new(format!("option {key} is true or false, not {other:?}"))),
        }
    }

    fn refuse_unknown(&self, known: &[&str]) -> Result<()> {
        match self.options.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Error::new(format!(
                "a network of driver {} has no option {key:?}; it has {}",
                self.driver.as_str(),
                known.join(", ")
            ))),
        }
    }
}

impl Driver {
    /// Its name, as `--driver` takes it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
        }
    }
}

fn portmap() -> Value {
    json!({"type": "portmap", "snat": true, "capabilities": {"portMappings": true}})
}

/// `xn-` and the network's name where it fits in the 15 bytes of a link's name, and a digest of it where not.
pub(crate) fn bridge_name(network: &str) -> String {
    let name = format!("xn-{network}");
    if name.len() <= 15 { name } else { prefixed_hash("xn-", network, 15) }
}

/// The first and the last address of `range` that a container of `subnet` can have.
fn ends(range: IpNetwork, subnet: IpNetwork) -> (IpAddr, IpAddr) {
    let is_first = range.network() == subnet.network();
    match range {
        IpNetwork::V4(v4) => {
            let (first, last) = (u32::from(v4.network()), u32::from(v4.broadcast()));
            let is_last = matches!(subnet, IpNetwork::V4(all) if all.broadcast() == v4.broadcast());
            let first = first + u32::from(is_first);
            let last = (last - u32::from(is_last)).max(first);
            (IpAddr::V4(first.into()), IpAddr::V4(last.into()))
        }
        IpNetwork::V6(v6) => {
            let (first, last) = (u128::from(v6.network()), u128::from(v6.broadcast()));
            (IpAddr::V6((first + u128::from(is_first)).into()), IpAddr::V6(last.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_neither_the_networks_own_address_nor_broadcast() {
        let ends = |range: &str, subnet: &str| {
            let (first, last) = ends(range.parse().unwrap(), subnet.parse().unwrap());
            format!("{first} {last}")
        };
        assert_eq!(ends("10.0.0.128/26", "10.0.0.0/24"), "10.0.0.128 10.0.0.191");
        assert_eq!(ends("10.0.0.0/25", "10.0.0.0/24"), "10.0.0.1 10.0.0.127");
        assert_eq!(ends("10.0.0.128/25", "10.0.0.0/24"), "10.0.0.128 10.0.0.254");
        assert_eq!(ends("fd00::/120", "fd00::/64"), "fd00::1 fd00::ff");
    }

    #[test]
    fn bridges_have_names_that_fit() {
        assert_eq!(bridge_name("front"), "xn-front");
        assert_eq!(bridge_name(&"long".repeat(20)).len(), 15);
    }
}
