//! The network that needs no file: one bridge, `xnet0`, with masquerading, for both address families.
//!
//! The list is fixed but for two things which only the host knows. The MTU is that of the interface with the default
//! route, because packets bigger than what leaves the host are lost on networks that drop the message saying so. And the
//! IPv6 half is left out where the kernel has no IPv6.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::error::{Context, Result};
use crate::sys;

/// The built-in list, before the host's MTU is written into it.
pub const CONFLIST: &str = include_str!("../default.conflist");

/// The list for this host.
pub(super) fn for_host() -> Result<Vec<u8>> {
    adapt(mtu(), Path::new("/proc/net/if_inet6").exists())
}

/// The MTU of the way out of this host, in bytes.
pub(super) fn mtu() -> Option<u32> {
    way_out().map(|(_, mtu)| mtu).filter(|mtu| USUAL_MTU.contains(mtu))
}

/// The interface with this host's default route, and its MTU in bytes.
pub(crate) fn way_out() -> Option<(String, u32)> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let name = default_interface(&read("/proc/net/route"), &read("/proc/net/ipv6_route"))?;
    let mtu = sys::link::mtu(&name).ok()?;
    Some((name, mtu))
}

fn adapt(mtu: Option<u32>, ipv6: bool) -> Result<Vec<u8>> {
    let mut list: Value = serde_json::from_str(CONFLIST).context(|| "the built-in network")?;
    if let Some(mtu) = mtu.filter(|mtu| USUAL_MTU.contains(mtu))
        && let Some(Value::Object(bridge)) = list.pointer_mut("/plugins/0")
    {
        bridge.insert("mtu".to_owned(), mtu.into());
    }
    if !ipv6 {
        for (place, key) in [("/plugins/0/ipam/ranges", "/0/subnet"), ("/plugins/0/ipam/routes", "/dst")] {
            if let Some(Value::Array(entries)) = list.pointer_mut(place) {
                entries
                    .retain(|entry| !entry.pointer(key).and_then(Value::as_str).is_some_and(|text| text.contains(':')));
            }
        }
    }
    serde_json::to_vec_pretty(&list).context(|| "the built-in network")
}

/// IPv6 needs 1280 bytes; 65535 is what an IPv4 packet can have.
const USUAL_MTU: std::ops::RangeInclusive<u32> = 1280..=65_535;

/// The interface of the default route with the lowest metric, from the texts of /proc/net/route and ipv6_route.
fn default_interface(ipv4: &str, ipv6: &str) -> Option<String> {
    let four = ipv4.lines().skip(1).filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let is_default = fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000");
        let metric: u64 = fields.get(6)?.parse().ok()?;
        is_default.then(|| (metric, (*fields.first().unwrap_or(&"")).to_owned()))
    });
    let six = ipv6.lines().filter_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let name = *fields.get(9)?;
        let is_default =
            fields.first().is_some_and(|dst| dst.bytes().all(|b| b == b'0')) && fields.get(1) == Some(&"00");
        let metric = u64::from_str_radix(fields.get(5)?, 16).ok()?;
        // The unreachable default route that every namespace has is on lo.
        (is_default && name != "lo").then(|| (metric, name.to_owned()))
    });
    four.min().or_else(|| six.min()).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const IPV4: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        wlan0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        eth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
        eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";

    const IPV6: &str = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003 eth1\n\
        00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200 lo\n";

    #[test]
    fn the_default_route_with_the_lowest_metric_decides() {
        assert_eq!(default_interface(IPV4, IPV6).as_deref(), Some("eth0"));
        assert_eq!(default_interface("Iface\n", IPV6).as_deref(), Some("eth1"));
        assert_eq!(default_interface("", ""), None);
    }

    #[test]
    fn the_list_is_adapted_to_the_host() {
        let list: Value = serde_json::from_slice(&adapt(Some(1400), true).unwrap()).unwrap();
        assert_eq!(list.pointer("/plugins/0/mtu"), Some(&1400.into()));
        assert_eq!(list.pointer("/plugins/0/ipam/ranges/1/0/subnet"), Some(&"fd5c:7ae1:90b3::/64".into()));
        let list: Value = serde_json::from_slice(&adapt(Some(20), false).unwrap()).unwrap();
        assert_eq!(list.pointer("/plugins/0/mtu"), None);
        assert_eq!(list.pointer("/plugins/0/ipam/ranges/1"), None);
        assert_eq!(list.pointer("/plugins/0/ipam/routes/1"), None);
    }

    #[test]
    fn the_built_in_list_is_a_list() {
        let list = cni::runtime::ConfList::from_slice(CONFLIST.as_bytes()).unwrap();
        assert_eq!(list.name(), "bridge");
    }
}
