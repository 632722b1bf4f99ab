//! Addresses inside, and the way out.

use std::net::IpAddr;

use ::kernel::link::Link;
use ipnetwork::IpNetwork;

use crate::error::Result;

use super::path::Path;
use super::report::word;
use super::{Report, refused};

/// Whether the link has the addresses that it was given, and may use them.
pub(super) fn addresses(report: &mut Report, path: &mut Path, link: &Link) -> Result<()> {
    let mut found = path.addresses(link, false)?;
    found.extend(path.addresses(link, true)?);
    let check = format!("{} address", link.name);
    let assigned = path.endpoint(&link.name).map(|endpoint| endpoint.addresses.clone()).unwrap_or_default();
    for wanted in &assigned {
        if !found
            .iter()
            .any(|address| (address.network.ip(), address.network.prefix()) == (wanted.address, wanted.prefix))
        {
            let (address, prefix) = (wanted.address, wanted.prefix);
            let fix = path.command(&format!("ip address replace {address}/{prefix} dev {}", word(&link.name)));
            report.bad(&check, format!("{address}/{prefix}, which it was given, is not there"), fix);
        }
    }
    for address in found.iter().filter(|address| address.dad_failed) {
        let fix = "xnet netns ls --format '{{.Owner}} {{.Links}}'".to_owned();
        report.bad(&check, format!("{} is somebody else's, too: the kernel does not use it", address.network), fix);
    }
    let texts: Vec<String> = found.iter().map(|address| address.network.to_string()).collect();
    match texts.as_slice() {
        [] if assigned.is_empty() => report.warn(
            &check,
            "none",
            format!("xnet netns attach {} --bridge xnet0 --ip ADDRESS/LENGTH", path.called()),
        ),
        [] => {}
        texts => report.ok(&check, texts.join(", ")),
    }
    Ok(())
}

/// Whether there is a way out, by a gateway that the link reaches.
pub(super) fn check(report: &mut Report, path: &mut Path, link: &Link) -> Result<()> {
    for is_ipv6 in [false, true] {
        let connected: Vec<IpNetwork> = path.addresses(link, is_ipv6)?.iter().map(|address| address.network).collect();
        if !connected.is_empty() {
            family(report, path, link, is_ipv6, &connected)?;
        }
    }
    Ok(())
}

fn family(report: &mut Report, path: &mut Path, link: &Link, is_ipv6: bool, connected: &[IpNetwork]) -> Result<()> {
    let routes = path.default_routes(is_ipv6)?;
    let through: Vec<_> = routes.iter().filter(|route| route.oif == Some(link.index)).collect();
    let proposal = proposal(path, link, connected)?;
    let replace = |way: IpAddr| {
        let ip = if is_ipv6 { "ip -6" } else { "ip" };
        path.command(&format!("{ip} route replace default via {way} dev {}", word(&link.name)))
    };
    let wanted = path.endpoint(&link.name).filter(|endpoint| endpoint.is_default);
    let is_wanted =
        wanted.is_some_and(|e| e.addresses.iter().any(|a| a.address.is_ipv6() == is_ipv6 && a.gateway.is_some()));
    for gateway in through.iter().filter_map(|route| route.gateway) {
        if is_on(gateway, connected) {
            report.ok("gateway", gateway.to_string());
            continue;
        }
        let networks: Vec<String> = connected.iter().map(ToString::to_string).collect();
        let fix = proposal.map_or_else(|| path.command("ip route"), replace);
        let seen = format!(
            "{gateway} is not in {}, where {} is: Nexthop has invalid gateway, the kernel says without `onlink`",
            networks.join(", "),
            link.name
        );
        report.bad("gateway", seen, fix);
    }
    match proposal {
        Some(way) if through.is_empty() && is_wanted => {
            report.bad("gateway", format!("there is no default route; it was to lead to {way}"), replace(way));
        }
        Some(way) if routes.is_empty() && wanted.is_none() && path.connected.endpoints.is_empty() => report.warn(
            "gateway",
            format!("there is no default route; {way} is the bridge's address in the same network"),
            replace(way),
        ),
        _ => {}
    }
    Ok(())
}

/// Whether a gateway can be reached without another one.
pub(super) fn is_on(gateway: IpAddr, connected: &[IpNetwork]) -> bool {
    let of_link = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
    of_link || connected.iter().any(|network| network.contains(gateway))
}

/// The way out that the link should have: as it is on record, or the bridge's address in one of the link's networks.
fn proposal(path: &mut Path, link: &Link, connected: &[IpNetwork]) -> Result<Option<IpAddr>> {
    let on_record = path.endpoint(&link.name).into_iter().flat_map(|endpoint| &endpoint.addresses);
    let mut gateways = on_record.filter_map(|assigned| assigned.gateway);
    if let Some(gateway) = gateways.find(|gateway| connected.iter().any(|network| network.contains(*gateway))) {
        return Ok(Some(gateway));
    }
    let end = match link.peer.filter(|_| link.is("veth")) {
        Some(index) => path.host.link_at(index).map_err(refused)?,
        None => None,
    };
    let bridge = match end.and_then(|end| end.master) {
        Some(index) => path.host.link_at(index).map_err(refused)?,
        None => None,
    };
    let Some(bridge) = bridge else { return Ok(None) };
    let is_ipv6 = connected.first().is_some_and(IpNetwork::is_ipv6);
    let own = path.networks_of(&bridge, is_ipv6)?;
    Ok(own.iter().map(IpNetwork::ip).find(|ip| connected.iter().any(|network| network.contains(*ip))))
}
