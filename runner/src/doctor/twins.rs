//! Another namespace on the same bridge with the same address.
//!
//! Where hardware addresses are made of addresses (`macFromIP`), both ends have the same one, the bridge sends everything to
//! whoever spoke last, and neither hears the other's answer to a question. So the host's own namespaces are looked at, and
//! only others are asked ([`super::probe`]).

use std::fs::File;
use std::net::IpAddr;

use ::kernel::link::Link;

use crate::error::Result;
use crate::netns;
use crate::netns::scan::{Found, Scan};

use super::bridge::leads;
use super::path::{Far, Path};
use super::report::word;
use super::{Report, refused};

pub(super) fn check(report: &mut Report, path: &mut Path, link: &Link, far: Option<&Far>) -> Result<()> {
    let Some(bridge) = far.and_then(|far| far.bridge.as_ref()) else { return Ok(()) };
    let own: Vec<IpAddr> = path.addresses(link, false)?.iter().map(|address| address.network.ip()).collect();
    let ports = path.host.links().map_err(refused)?;
    let ports: Vec<Link> = ports.into_iter().filter(|port| port.master == Some(bridge.index)).collect();
    let inode = path.connected.inode;
    let others = Scan::take(&path.store, &path.dirs)?.namespaces;
    for other in others.values().filter(|other| other.inode != inode && !other.is_own) {
        for (name, address) in shared(other, &own) {
            if is_behind(path, other, name, &ports) {
                let who = called(other);
                report.bad(
                    &format!("{} address", link.name),
                    format!("{address} is somebody else's, too: {who} has it at its {name}, on the same bridge"),
                    format!("xnet netns exec {} ip address del {address} dev {}", word(&who), word(name)),
                );
            }
        }
    }
    Ok(())
}

/// The links of `other` with an address of ours, and that as it is written there.
fn shared<'a>(other: &'a Found, own: &[IpAddr]) -> Vec<(&'a str, &'a str)> {
    let is_ours = |text: &str| {
        let address = text.split('/').next().unwrap_or_default();
        address.parse::<IpAddr>().is_ok_and(|address| own.contains(&address))
    };
    let of = |(name, addresses): &'a (String, Vec<String>)| {
        addresses
            .iter()
            .filter(|text| is_ours(text))
            .map(move |text| (name.as_str(), text.as_str()))
            .collect::<Vec<_>>()
    };
    other.links.iter().flat_map(of).collect()
}

/// Whether the link `name` of a namespace has its other end among `ports` of the host's.
fn is_behind(path: &mut Path, other: &Found, name: &str, ports: &[Link]) -> bool {
    let way = other.pins.first().map(|pin| pin.display().to_string());
    let Some(way) = way.or_else(|| other.pids.first().map(|pid| format!("/proc/{pid}/ns/net"))) else { return false };
    let Some(mut handle) = File::open(way).ok().and_then(|file| netns::handle(&file.into()).ok()) else { return false };
    let (Ok(Some(link)), Ok(number)) = (handle.link(name), path.host.number_of(handle.netns())) else { return false };
    ports.iter().any(|port| leads(port, &link, number))
}

/// By what `xnet netns exec` finds it.
fn called(other: &Found) -> String {
    let name = other.containers.first().cloned().or_else(|| other.pins.first().map(|pin| pin.display().to_string()));
    name.or_else(|| other.pids.first().map(ToString::to_string)).unwrap_or_default()
}
