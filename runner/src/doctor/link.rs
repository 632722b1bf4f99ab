//! The links inside.

use ::kernel::link::Link;

use crate::error::Result;

use super::path::Path;
use super::report::word;
use super::{Report, refused};

pub(super) fn loopback(report: &mut Report, path: &mut Path) -> Result<()> {
    let found = path.inside.link("lo").map_err(refused)?;
    match found {
        Some(lo) if lo.up => report.ok("lo", "up"),
        _ => report.bad(
            "lo",
            "down: the container does not reach itself at 127.0.0.1",
            path.command("ip link set lo up"),
        ),
    }
    Ok(())
}

/// Whether the link is on. Whether anybody is at its other end is seen there.
pub(super) fn up(report: &mut Report, path: &Path, link: &Link) {
    let Link { name, mtu, .. } = link;
    if link.up {
        let kind = link.kind.as_deref().unwrap_or("device");
        return report.ok(name, format!("{kind}, up, MTU {mtu}"));
    }
    let mut fix = path.command(&format!("ip link set {} up", word(name)));
    // The kernel forgets the routes of a link that goes down.
    let ways = path.endpoint(name).filter(|endpoint| endpoint.is_default).map(|e| e.addresses.clone());
    let ways: Vec<_> = ways.into_iter().flatten().filter_map(|assigned| assigned.gateway).collect();
    for way in ways {
        let family = if way.is_ipv6() { "ip -6" } else { "ip" };
        let route = path.command(&format!("{family} route replace default via {way} dev {}", word(name)));
        fix.push_str(&format!(" && {route}"));
    }
    report.bad(name, "down", fix);
}
