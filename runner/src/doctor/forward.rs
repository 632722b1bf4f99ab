//! Whether this host passes packets on for containers.

use ::kernel::iptables::{self, Effect, Family, Outline};
use ::kernel::nft::Nft;
use ::kernel::{Handle, sysctl};

use crate::net::default::way_out;
use crate::net::{Network, catalog};
use crate::spec::Dirs;

use super::Report;
use super::report::word;

/// The switch, and its fix.
const SWITCH: &str = "net.ipv4.ip_forward";

/// For the host alone. Without containers the switch may be off: the first one turns it on.
pub(super) fn host(report: &mut Report, in_use: bool) {
    match is_on(SWITCH) {
        Some(false) if !in_use => report.ok("forwarding", "off; the first container with a way out switches it on"),
        found => switch(report, found),
    }
    filter(report, None);
}

/// For a container on the bridge `bridge`, whose traffic a plugin of its network lets through or not.
pub(super) fn container(report: &mut Report, bridge: Option<&str>, is_let_through: bool, is_ipv6: bool) {
    switch(report, is_on(SWITCH));
    if is_ipv6 && is_on("net.ipv6.conf.all.forwarding") == Some(false) {
        report.bad(
            "forwarding",
            "net.ipv6.conf.all.forwarding is 0: this host drops what the container sends out by IPv6",
            "sysctl -w net.ipv6.conf.all.forwarding=1",
        );
    }
    if is_let_through {
        report.ok("filter", "the network's firewall plugin lets the container's packets through");
    } else {
        filter(report, bridge);
    }
}

fn is_on(name: &str) -> Option<bool> {
    sysctl::read(name).ok().map(|value| value.trim() != "0")
}

fn switch(report: &mut Report, found: Option<bool>) {
    match found {
        Some(true) => report.ok("forwarding", format!("{SWITCH} is 1")),
        Some(false) => report.bad(
            "forwarding",
            format!("{SWITCH} is 0: this host drops what containers send out"),
            format!("sysctl -w {SWITCH}=1"),
        ),
        None => report.skip("forwarding", format!("{SWITCH} cannot be read")),
    }
}

/// The chain through which iptables sends whatever is forwarded, as Docker and ufw close it.
fn filter(report: &mut Report, bridge: Option<&str>) {
    let bridged = sysctl::read("net.bridge.bridge-nf-call-iptables").is_ok_and(|value| value.trim() != "0");
    let also = if bridged { ", also between containers on one bridge (bridge-nf-call-iptables is 1)" } else { "" };
    let outline = Nft::open().ok().and_then(|mut nft| {
        let forward = iptables::outline(&mut nft, Family::V4, "filter", "FORWARD").ok()??;
        let is_open = lets_pass(&mut nft, &forward, DEPTH);
        Some((forward.accepts, is_open))
    });
    let name = word(bridge.unwrap_or("xnet0"));
    let fix = format!("iptables -I FORWARD -i {name} -j ACCEPT; iptables -I FORWARD -o {name} -j ACCEPT");
    match outline {
        Some((false, true)) => report.warn(
            "filter",
            format!("the policy of iptables' FORWARD is DROP{also}: only what a rule accepts gets through"),
            fix,
        ),
        Some((false, false)) if bridge.is_some() => report.bad(
            "filter",
            format!("the policy of iptables' FORWARD is DROP, and no rule accepts anything{also}"),
            fix,
        ),
        Some((false, false)) => report.warn(
            "filter",
            format!("the policy of iptables' FORWARD is DROP, and no rule accepts anything{also}"),
            fix,
        ),
        _ if iptables::is_legacy_in_use(Family::V4, "filter").unwrap_or_default() => report.skip(
            "filter",
            "the tables of legacy iptables are in use, which only its own program can read: iptables-legacy -S FORWARD",
        ),
        _ => report.ok("filter", "iptables' FORWARD lets packets pass, or is not there"),
    }
}

/// How far jumps are followed.
const DEPTH: usize = 4;

/// Whether any rule of the chain, or of those it jumps to, accepts something.
fn lets_pass(nft: &mut Nft, chain: &Outline, depth: usize) -> bool {
    chain.rules.iter().any(|rule| match &rule.effect {
        Effect::Accept => true,
        Effect::Jump(next) if depth > 0 => iptables::outline(nft, Family::V4, "filter", next)
            .is_ok_and(|found| found.is_some_and(|next| lets_pass(nft, &next, depth - 1))),
        _ => false,
    })
}

/// The MTU of the default network's bridge against that of the host's way out.
pub(super) fn default_mtu(report: &mut Report, host: &mut Handle, dirs: &Dirs) {
    let Some((out, mtu)) = way_out() else {
        return report.skip("MTU", "this host has no default route");
    };
    let bridge = catalog::find("bridge", dirs).ok().and_then(|list| Network::new(list, &[]).ok()?.bridge());
    let Some(bridge) = bridge else { return report.skip("MTU", "the default network has no bridge") };
    match host.link(&bridge).ok().flatten() {
        None => report.ok("MTU", format!("{out} has {mtu}; {bridge} is made with the first container")),
        Some(link) if link.mtu > mtu => report.warn(
            "MTU",
            format!(
                "{bridge} has {}, and the way out, {out}, only {mtu}: big packets are lost wherever ICMP is dropped",
                link.mtu
            ),
            format!("ip link set {} mtu {mtu}", word(&bridge)),
        ),
        Some(link) => report.ok("MTU", format!("{bridge} has {}, the way out, {out}, {mtu}", link.mtu)),
    }
}
