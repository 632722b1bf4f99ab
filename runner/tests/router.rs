//! Router advertisements, as anybody on a bridge can send them: nobody believes them.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::fs;
use std::path::Path;
use std::process::Command;

use node::{end, ip, node, xnet};
use sandbox::{Ended, Sandbox};

/// Says to all on the link of the named interface that it is their router, for any destination, and that 2001:db8:bad::/64 is
/// theirs. The kernel does the checksum; the source is the interface's link-local address.
const ROUTER: &str = r#"
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
int main(int argc, char **argv) {
    struct { struct nd_router_advert advert; struct nd_opt_prefix_info prefix; } message = {0};
    message.advert.nd_ra_type = ND_ROUTER_ADVERT;
    message.advert.nd_ra_curhoplimit = 64;
    message.advert.nd_ra_router_lifetime = htons(1800);
    message.prefix.nd_opt_pi_type = ND_OPT_PREFIX_INFORMATION;
    message.prefix.nd_opt_pi_len = 4;
    message.prefix.nd_opt_pi_prefix_len = 64;
    message.prefix.nd_opt_pi_flags_reserved = ND_OPT_PI_FLAG_ONLINK | ND_OPT_PI_FLAG_AUTO;
    message.prefix.nd_opt_pi_valid_time = htonl(7200);
    message.prefix.nd_opt_pi_preferred_time = htonl(7200);
    inet_pton(AF_INET6, "2001:db8:bad::", &message.prefix.nd_opt_pi_prefix);
    struct sockaddr_in6 all = { .sin6_family = AF_INET6, .sin6_scope_id = if_nametoindex(argv[1]) };
    inet_pton(AF_INET6, "ff02::1", &all.sin6_addr);
    int hops = 255, index = all.sin6_scope_id, fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops);
    setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index, sizeof index);
    if (sendto(fd, &message, sizeof message, 0, (struct sockaddr *)&all, sizeof all) != sizeof message) {
        perror("sendto");
        return 1;
    }
    return 0;
}
"#;

/// Runs a command of the host in the network of container `name`, or in the host's.
fn within(sandbox: &Sandbox, name: Option<&str>, command: &[&str]) -> Ended {
    match name {
        Some(name) => xnet(sandbox, &[&["netns", "exec", name], command].concat()),
        None => Ended::of(Command::new(command[0]).args(&command[1..])),
    }
}

/// Sends an advertisement through a link, when the address that it is sent from can be used.
fn advertise(sandbox: &Sandbox, name: Option<&str>, link: &str, program: &Path) {
    sandbox::eventually("it has an address of its own", || {
        let shown = within(sandbox, name, &["ip", "-6", "addr", "show", "dev", link, "scope", "link"]).stdout;
        shown.contains("fe80") && !shown.contains("tentative")
    });
    let sent = within(sandbox, name, &[program.to_str().unwrap(), link]);
    assert_eq!(sent.code, 0, "{}", sent.stderr);
}

/// How many routes and addresses there are of those who believe.
fn believed(sandbox: &Sandbox, name: Option<&str>) -> usize {
    let routes = within(sandbox, name, &["ip", "-6", "route"]).stdout;
    let addresses = within(sandbox, name, &["ip", "-6", "addr"]).stdout;
    assert!(!routes.is_empty() && !addresses.is_empty());
    let ours = |line: &&str| line.contains("proto ra") || line.contains("2001:db8:bad:");
    routes.lines().chain(addresses.lines()).filter(ours).count()
}

/// How many advertisements have come in.
fn heard(sandbox: &Sandbox, name: Option<&str>) -> u64 {
    let text = within(sandbox, name, &["cat", "/proc/net/snmp6"]).stdout;
    let line = text.lines().find_map(|line| line.strip_prefix("Icmp6InRouterAdvertisements"));
    line.unwrap().trim().parse().unwrap()
}

/// Requirement: N-8.
#[test]
fn nobody_believes_a_router_advertisement() {
    let sandbox = node();
    sandbox.program("router", ROUTER);
    let program = sandbox.rootfs().join("bin/router");
    // A network with IPv6, so that all have it; the host forwards, and is no router's client by that alone.
    xnet(&sandbox, &["network", "create", "--ipv6", "--subnet=10.77.0.0/24", "--subnet=2001:db8:77::/64", "six"])
        .expect(0, "six");
    let stay = "echo up; exec sleep 1000";
    let a = sandbox.start(&["--net=six", "--name=a"], stay);
    let b = sandbox.start(&["--net=six", "--name=b"], stay);
    let links: serde_json::Value = serde_json::from_str(&ip("-j link show type bridge")).unwrap();
    let bridge = links[0]["ifname"].as_str().unwrap().to_owned();
    // Also where the host is no router itself, and would listen.
    let _ = fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "0");
    // The host advertises to the containers, and a container to its neighbour and to the host.
    let all = [Some("a"), Some("b"), None];
    for (from, link) in [(None, bridge.as_str()), (Some("a"), "eth0")] {
        let before = all.map(|name| heard(&sandbox, name));
        advertise(&sandbox, from, link, &program);
        for (name, before) in all.into_iter().zip(before).filter(|(name, _)| *name != from) {
            sandbox::eventually("it was heard", || heard(&sandbox, name) > before);
            assert_eq!(believed(&sandbox, name), 0, "{name:?} believes {from:?}");
        }
    }
    // One who listens on purpose believes the very same message.
    let listen = "echo 1 > /proc/sys/net/ipv6/conf/eth0/accept_ra; echo 1 > /proc/sys/net/ipv6/conf/eth0/autoconf";
    within(&sandbox, Some("b"), &["sh", "-c", listen]).expect(0, "");
    advertise(&sandbox, None, &bridge, &program);
    sandbox::eventually("b believes it", || believed(&sandbox, Some("b")) > 0);
    assert_eq!(believed(&sandbox, Some("a")), 0);
    end(a);
    end(b);
}
