//! Where programs and networks come from: directories that others can write to, and lists that cannot work.

use std::net::IpAddr;
use std::path::Path;

use cni::runtime::{ConfList, distrusted};
use ipnetwork::IpNetwork;
use serde_json::Value;

use crate::error::Result;
use crate::net::{Network, catalog};
use crate::spec::Dirs;
use crate::sys::ns::in_initial_user;

use super::Report;
use super::report::word;

/// Where the plugins of others are.
const PLUGINS: &str = "/opt/cni/bin";

pub(super) fn check(report: &mut Report, dirs: &Dirs) -> Result<()> {
    let ours = dirs.data.join("networks");
    for (check, dir) in [("plugins", Path::new(PLUGINS)), ("networks", &ours), ("networks", &dirs.conf)] {
        // Without the host's root its owners have no names here.
        match distrusted(dir).filter(|_| in_initial_user()) {
            Some(reason) => {
                report.warn(check, reason, format!("chown root {0} && chmod go-w {0}", word(&dir.to_string_lossy())))
            }
            None if dir.is_dir() && in_initial_user() => report.ok(check, format!("{} is root's alone", dir.display())),
            None if dir.is_dir() => {
                report.skip(check, format!("{}: only the host's root can tell whose it is", dir.display()))
            }
            None => report.ok(check, format!("{} is not there, and need not be", dir.display())),
        }
    }
    for (dir, is_ours) in [(&ours, true), (&dirs.conf, false)] {
        let mut files = catalog::files(dir)?;
        files.sort();
        files.iter().for_each(|file| network(report, file, is_ours));
    }
    Ok(())
}

/// A list of another engine's may be for plugins, or a reader, that only that one has.
fn network(report: &mut Report, file: &Path, is_ours: bool) {
    let title = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let list = match ConfList::from_file(file) {
        Ok(list) => list,
        Err(error) => {
            let refusal = format!("{}: {}", file.display(), error.to_string().replace('\n', "; "));
            return tell(
                report,
                is_ours,
                &title,
                &refusal,
                &format!("${{EDITOR:-vi}} {}", word(&file.to_string_lossy())),
            );
        }
    };
    let wrong = gateways(&serde_json::from_slice(list.bytes()).unwrap_or_default());
    match Network::new(list, &[]) {
        Err(error) => tell(report, is_ours, &title, &error.message, &format!("ls -l {PLUGINS}")),
        Ok(_) if wrong.is_empty() => report.ok(&title, "its plugins are there, its gateways in their subnets"),
        Ok(_) => {}
    }
    for (gateway, subnet, first) in wrong {
        report.bad(
            &title,
            format!(
                "the gateway {gateway} is not in {subnet}, so the kernel refuses the route (Nexthop has invalid gateway)"
            ),
            format!("sed -i 's|{gateway}|{first}|' {}", word(&file.to_string_lossy())),
        );
    }
}

fn tell(report: &mut Report, is_bad: bool, title: &str, seen: &str, fix: &str) {
    if is_bad { report.bad(title, seen, fix) } else { report.warn(title, seen, fix) }
}

/// Gateways of a list that are in none of its subnets: each with the subnet that it was meant for, and its first address.
fn gateways(list: &Value) -> Vec<(IpAddr, IpNetwork, IpAddr)> {
    let subnets = crate::net::subnet::subnets(list);
    let mut found: Vec<IpAddr> = Vec::new();
    collect(list, &mut found);
    // Those of a link are in no subnet, and on every link.
    found.retain(|gateway| !matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local()));
    let outside = found.into_iter().filter(|gateway| !subnets.iter().any(|subnet| subnet.contains(*gateway)));
    let meant = outside.filter_map(|gateway| {
        let subnet = subnets.iter().find(|subnet| subnet.is_ipv6() == gateway.is_ipv6())?;
        Some((gateway, *subnet, first(*subnet)))
    });
    meant.collect()
}

/// Every `gateway` and `gw` of `ipam`, wherever it stands there.
fn collect(value: &Value, found: &mut Vec<IpAddr>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| match value.as_str() {
            Some(text) if key == "gateway" || key == "gw" => found.extend(text.parse::<IpAddr>().ok()),
            _ => collect(value, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
    found.sort_unstable();
    found.dedup();
}

/// Where a gateway is unless somebody says otherwise.
fn first(subnet: IpNetwork) -> IpAddr {
    match subnet {
        IpNetwork::V4(v4) => std::net::Ipv4Addr::from(u32::from(v4.network()).wrapping_add(1)).into(),
        IpNetwork::V6(v6) => std::net::Ipv6Addr::from(u128::from(v6.network()).wrapping_add(1)).into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_gateway_outside_of_its_subnet_is_found_and_another_one_offered() {
        let list = |gateway: &str, way: &str| {
            json!({"plugins": [{"type": "bridge", "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "172.17.0.0/16", "gateway": gateway}], [{"subnet": "fd00::/64"}]],
                "routes": [{"dst": "0.0.0.0/0", "gw": way}, {"dst": "::/0"}],
            }}]})
        };
        assert_eq!(gateways(&list("172.17.0.1", "172.17.0.1")), []);
        let shown: Vec<String> = gateways(&list("172.16.0.1", "172.16.0.1"))
            .iter()
            .map(|(gateway, subnet, first)| format!("{gateway} {subnet} {first}"))
            .collect();
        assert_eq!(shown, ["172.16.0.1 172.17.0.0/16 172.17.0.1"]);
        assert_eq!(gateways(&list("172.17.0.1", "fd01::1"))[0].2.to_string(), "fd00::1");
        assert_eq!(gateways(&list("172.17.0.1", "fe80::1")), []);
    }
}
