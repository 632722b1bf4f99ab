//! Port mappings of others on a host, as each suite keeps them: two for a container, one of TCP and one of UDP.
//!
//! Ours are made by our own plugin. The Go suite would need hours for ten thousand, so its rules are written in one go,
//! in the form in which its own calls leave them; the chains that they share are there from a call of its own before.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::process::Command;

use harness::{Netns, Suite, run};
use serde_json::{Value, json};

use crate::call::{Call, Verb};
use crate::host::Host;

/// The host port of the first container.
const FIRST_PORT: usize = 10_000;

/// A container that has two ports of the host.
struct Published {
    id: String,
    port: usize,
    address: Ipv4Addr,
}

/// Puts as many mappings on the host as its side asks for. `netns` stands for that of every container.
pub(crate) fn populate(host: &Host<'_>, netns: &Netns) -> Result<(), String> {
    let published: Vec<Published> = (0..host.side.mappings / 2).map(|number| Published::new(host, number)).collect();
    if published.is_empty() {
        return Ok(());
    }
    match host.side.suite {
        Suite::Ours => published.iter().try_for_each(|one| one.add(host, netns)),
        Suite::Go => feed(host, &["iptables-restore", "--noflush"], &of_iptables(host, &published)),
        Suite::Newer => feed(host, &["nft", "-f", "-"], &of_nftables(&published)),
    }
}

impl Published {
    /// The first 256 addresses of a subnet are left to the containers that are measured.
    fn new(host: &Host<'_>, number: usize) -> Self {
        let prefix: Ipv4Addr = format!("{}.0.0", host.side.prefix()).parse().expect("a prefix has two bytes");
        let offset = u32::try_from(256 + number).expect("containers are few");
        let address = Ipv4Addr::from_bits(prefix.to_bits() + offset);
        Self { id: format!("{number:064x}"), port: FIRST_PORT + number, address }
    }

    /// ADD of our portmap. The container itself is not there, and need not be.
    fn add(&self, host: &Host<'_>, netns: &Netns) -> Result<(), String> {
        Call::new(host, "portmap", Verb::Add, netns, &self.config(host, netns)).about(&self.id).run().map(drop)
    }

    fn config(&self, host: &Host<'_>, netns: &Netns) -> Value {
        let result = json!({
            "cniVersion": "1.0.0",
            "interfaces": [{"name": "eth0", "sandbox": netns.path()}],
            "ips": [{"address": format!("{}/16", self.address), "interface": 0}],
        });
        json!({
            "cniVersion": "1.0.0",
            "name": host.side.name,
            "type": "portmap",
            "runtimeConfig": {"portMappings": [
                {"hostPort": self.port, "containerPort": 80, "protocol": "tcp"},
                {"hostPort": self.port, "containerPort": 53, "protocol": "udp"},
            ]},
            "prevResult": result,
        })
    }

    /// The protocols, with the container's ports.
    fn targets(&self) -> [(&'static str, String); 2] {
        [("tcp", format!("{}:80", self.address)), ("udp", format!("{}:53", self.address))]
    }
}

/// A chain a container, and an entry a protocol in the chain of all.
fn of_iptables(host: &Host<'_>, published: &[Published]) -> String {
    let (name, subnet) = (host.side.name, host.side.subnet());
    let mut chains = String::new();
    let mut rules = String::new();
    for Published { id, .. } in published {
        let _ = writeln!(chains, ":CNI-DN-{} - [0:0]", &id[43..]);
    }
    for one @ Published { id, port, .. } in published {
        let chain = format!("CNI-DN-{}", &id[43..]);
        for (protocol, target) in one.targets() {
            let matches = format!("-p {protocol} -m {protocol} --dport {port}");
            let entry = format!(r#"-m comment --comment "dnat name: \"{name}\" id: \"{id}\"""#);
            let _ = write!(
                rules,
                "-A {chain} -s {subnet} {matches} -j CNI-HOSTPORT-SETMARK\n\
                 -A {chain} -s 127.0.0.1/32 {matches} -j CNI-HOSTPORT-SETMARK\n\
                 -A {chain} {matches} -j DNAT --to-destination {target}\n\
                 -A CNI-HOSTPORT-DNAT -p {protocol} {entry} -m multiport --dports {port} -j {chain}\n"
            );
        }
    }
    format!("*nat\n{chains}{rules}COMMIT\n")
}

/// A rule a mapping, and two a container for what has to be masqueraded.
fn of_nftables(published: &[Published]) -> String {
    let mut rules = String::new();
    for one @ Published { id, port, address } in published {
        for (protocol, target) in one.targets() {
            let rule = format!("{protocol} dport {port} dnat to {target}");
            let _ = writeln!(rules, "add rule ip cni_hostport hostports {rule} comment \"{id}\"");
        }
        for source in [*address, Ipv4Addr::LOCALHOST] {
            let rule = format!("ip saddr {source} ip daddr {address} masquerade");
            let _ = writeln!(rules, "add rule ip cni_hostport masquerading {rule} comment \"{id}\"");
        }
    }
    rules
}

fn feed(host: &Host<'_>, command: &[&str], text: &str) -> Result<(), String> {
    let output = host.netns.enter(|| run(Command::new(command[0]).args(&command[1..]), text.as_bytes()));
    let failed = || format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.status.success().then_some(()).ok_or_else(failed)
}
