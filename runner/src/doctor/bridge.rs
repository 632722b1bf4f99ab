//! The host's end of a veth pair, and the bridge that it is a port of.

use ::kernel::link::Link;

use crate::error::Result;

use super::path::{Far, Path};
use super::report::word;
use super::{Report, refused};

/// Looks at the other end of `link`; answers it if there is one here.
pub(super) fn check(report: &mut Report, path: &mut Path, link: &Link) -> Result<Option<Far>> {
    if !link.is("veth") {
        if link.carrier {
            report.skip("host end", format!("a {} has none", link.kind.as_deref().unwrap_or("device")));
        } else {
            report.bad(&link.name, "no carrier: the device below it is down", "ip -brief link");
        }
        return Ok(None);
    }
    let links = path.host.links().map_err(refused)?;
    let number = path.host.number_of(path.inside.netns()).map_err(refused)?;
    let is_end = |end: &&Link| leads(end, link, number);
    let Some(end) = links.iter().find(is_end).cloned() else {
        // Its other end is in another namespace than ours.
        if link.carrier {
            report.skip("host end", "the other end is in another namespace than this one");
        } else {
            report.bad(&link.name, "no carrier: its other end, in another namespace, is down", "xnet netns ls");
        }
        return Ok(None);
    };
    if !end.up {
        report.bad("host end", format!("{} is down", end.name), format!("ip link set {} up", word(&end.name)));
        return Ok(None);
    }
    if end.mtu < link.mtu {
        report.bad(
            "host end",
            format!(
                "{} has MTU {}, and {} inside {}: bigger packets are lost without a word",
                end.name, end.mtu, link.name, link.mtu
            ),
            format!("ip link set {} mtu {}", word(&end.name), link.mtu),
        );
        return Ok(None);
    }
    let bridge = end.master.and_then(|index| links.iter().find(|each| each.index == index)).cloned();
    let expected = bridge_on_record(path, &link.name);
    match (&bridge, expected) {
        (None, Some(name)) => report.bad(
            "host end",
            format!("{} is up, and no port of bridge {name}", end.name),
            format!("ip link set {} master {}", word(&end.name), word(&name)),
        ),
        (None, None) => report.ok("host end", format!("{} is up, and routed", end.name)),
        (Some(bridge), _) => port(report, &end, bridge),
    }
    Ok(Some(Far { end, bridge }))
}

/// Whether `end` is the other end of `link`, which is in the namespace that this one knows by `number`. The kernel counts links
/// in each namespace from the same number on.
pub(super) fn leads(end: &Link, link: &Link, number: Option<u32>) -> bool {
    let they_agree = Some(end.index) == link.peer && end.peer == Some(link.index);
    end.is("veth") && they_agree && number.is_some() && end.peer_namespace == number
}

/// The bridge that the plugins were asked for.
fn bridge_on_record(path: &Path, ifname: &str) -> Option<String> {
    let mut bridges = path.plugins(ifname).filter(|plugin| plugin.get("type").is_some_and(|kind| kind == "bridge"));
    bridges.find_map(|plugin| Some(plugin.get("bridge")?.as_str()?.to_owned()))
}

fn port(report: &mut Report, end: &Link, bridge: &Link) {
    if !bridge.up {
        let fix = format!("ip link set {} up", word(&bridge.name));
        return report.bad("bridge", format!("{} is down", bridge.name), fix);
    }
    if end.forwarding == Some(false) {
        return report.bad(
            "bridge",
            format!("port {} of {} passes nothing on: blocked, or still learning", end.name, bridge.name),
            format!("bridge link set dev {} state 3", word(&end.name)),
        );
    }
    let isolated = end.port.is_some_and(|port| port.isolated);
    let apart = if isolated { ", isolated: it reaches the host, and no other isolated port" } else { "" };
    let tags = if bridge.vlan_filtering == Some(true) { ", which filters VLANs" } else { "" };
    report.ok("bridge", format!("{} is a port of {}{tags}{apart}", end.name, bridge.name));
}
