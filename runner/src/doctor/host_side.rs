//! The way through the host: back to the container, and with which MTU.

use std::net::IpAddr;

use ::kernel::link::Link;
use ::kernel::route::{self, Route};
use ::kernel::sysctl;

use crate::error::Result;
use crate::net::default::way_out;

use super::path::{Far, Path};
use super::report::word;
use super::{Report, refused};

pub(super) fn check(report: &mut Report, path: &mut Path, link: &Link, far: &Far) -> Result<()> {
    let expected = far.bridge.as_ref().unwrap_or(&far.end).clone();
    if !has_gateways(report, path, link, far)? {
        return Ok(());
    }
    let mut addresses = path.addresses(link, false)?;
    addresses.extend(path.addresses(link, true)?);
    for address in addresses {
        way_back(report, path, &expected, address.network.ip())?;
    }
    one_way(report, path, link)?;
    mtu(report, path, link, far);
    Ok(())
}

/// Whether the bridge still has the addresses that containers send to: those of IPv6 go when a link is switched off.
fn has_gateways(report: &mut Report, path: &mut Path, link: &Link, far: &Far) -> Result<bool> {
    let Some(bridge) = far.bridge.as_ref().filter(|_| path.is_gateway(&link.name)) else { return Ok(true) };
    let on_record = path.endpoint(&link.name).map(|endpoint| endpoint.addresses.clone()).unwrap_or_default();
    for assigned in on_record {
        let Some(gateway) = assigned.gateway else { continue };
        if !path.networks_of(bridge, gateway.is_ipv6())?.iter().any(|network| network.ip() == gateway) {
            report.bad(
                "gateway",
                format!("{} does not have {gateway} any more, which the container sends to", bridge.name),
                format!("ip address add {gateway}/{} dev {}", assigned.prefix, word(&bridge.name)),
            );
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether this host sends what is for the container to where the container is.
fn way_back(report: &mut Report, path: &mut Path, expected: &Link, ip: IpAddr) -> Result<()> {
    let answer = path.host.exchange(&[route::get(ip)]).map_err(refused)?.into_iter().next();
    let found = match answer {
        Some(Ok(frames)) => {
            Route::from_frames(&frames).map_err(refused)?.into_iter().next().and_then(|route| route.oif)
        }
        _ => None,
    };
    if found == Some(expected.index) {
        report.ok("way back", format!("this host has {ip} at {}", expected.name));
        return Ok(());
    }
    let other = found.map(|index| path.host.link_at(index).map_err(refused)).transpose()?.flatten();
    let bits = if ip.is_ipv6() { 128 } else { 32 };
    let fix = format!("ip route replace {ip}/{bits} dev {}", word(&expected.name));
    match other {
        // What a network without addresses of the host's has.
        None if path.networks_of(expected, ip.is_ipv6())?.is_empty() => {
            report.ok("way back", format!("{} has no address: only neighbours reach {ip}", expected.name));
        }
        None => report.bad("way back", format!("this host has no route to {ip}"), fix),
        Some(other) => report.bad(
            "way back",
            format!("this host sends what is for {ip} to {}, and the container is at {}", other.name, expected.name),
            fix,
        ),
    }
    Ok(())
}

/// Strict checks of the way back (RFC 3704) lose answers where there are two ways in.
fn one_way(report: &mut Report, path: &mut Path, link: &Link) -> Result<()> {
    let links = path.links()?.len();
    let name = link.name.replace('.', "/");
    let read = |of: &str| sysctl::read(&format!("net.ipv4.conf.{of}.rp_filter")).ok()?.trim().parse::<u8>().ok();
    let found = path.visit(|| read("all").max(read(&name)))?;
    match found {
        Some(1) if links > 1 => report.warn(
            "rp_filter",
            format!("1 inside, with {links} links: what comes in by another link than answers leave by is dropped"),
            path.command(&format!("sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.{}.rp_filter=2", word(&name))),
        ),
        Some(value) => report.ok("rp_filter", format!("{value} inside")),
        None => report.skip("rp_filter", "cannot be read"),
    }
    Ok(())
}

fn mtu(report: &mut Report, path: &Path, link: &Link, far: &Far) {
    if let Some(bridge) = far.bridge.as_ref().filter(|bridge| bridge.mtu < link.mtu) {
        return report.warn(
            "MTU",
            format!("{} has {}, and its bridge {} only {}", link.name, link.mtu, bridge.name, bridge.mtu),
            path.command(&format!("ip link set {} mtu {}", word(&link.name), bridge.mtu)),
        );
    }
    let is_default = path.endpoint(&link.name).is_some_and(|endpoint| endpoint.is_default);
    match way_out().filter(|_| is_default) {
        Some((out, mtu)) if mtu < link.mtu => report.warn(
            "MTU",
            format!(
                "{} has {}, and the way out of this host, {out}, {mtu}: big packets are lost wherever ICMP is dropped",
                link.name, link.mtu
            ),
            path.command(&format!("ip link set {} mtu {mtu}", word(&link.name))),
        ),
        Some((out, mtu)) => report.ok("MTU", format!("{} has {}, the way out, {out}, {mtu}", link.name, link.mtu)),
        None => report.ok("MTU", format!("{} on all of the way to this host", link.mtu)),
    }
}
