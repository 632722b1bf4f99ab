//! Port mappings by iptables, to the byte as the Go suite makes them, so that either can take down what the other made.
//!
//! ```text
//! -A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
//! -A OUTPUT -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
//! -A POSTROUTING -m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ
//! -A CNI-HOSTPORT-SETMARK -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark 0x2000/0x2000
//! -A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
//! -A CNI-HOSTPORT-DNAT -p tcp -m comment --comment "dnat name: \"n1\" id: \"cid1\"" -m multiport --dports 8080 -j CNI-DN-..
//! -A CNI-DN-.. -s 10.77.0.0/24 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
//! -A CNI-DN-.. -s 127.0.0.1/32 -p tcp -m tcp --dport 8080 -j CNI-HOSTPORT-SETMARK
//! -A CNI-DN-.. -p tcp -m tcp --dport 8080 -j DNAT --to-destination 10.77.0.2:80
//! -A XNET-HOSTPORT -d 10.77.0.2/32 -m comment --comment "43d91f.., dev: veth02a13658, net: n1, if: eth0, id: cid1"
//! ```
//!
//! The first five are for all; the chain `CNI-DN-..` is named after network and container, so the interfaces of one
//! container in one network share it. Which of them an address belongs to is noted in a chain of our own, to which
//! nothing jumps, and by which link of the host one sees whether it is still there. Taking an interface down leaves what
//! the others need.
//!
//! The Go suite lets the first rule win when two containers want the same port of the host, so a mapping that outlived its
//! container swallows the packets of the next. Here ADD looks for such rules: those of a container that is gone are
//! removed, and a port that is taken is refused. Rules with conditions may well be for different packets and are left
//! alone.

mod claim;
mod entry;
mod removal;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use cni::Error;
use ipnetwork::IpNetwork;
use kernel::iptables::{Family, Restore, Rule, Saved};
use kernel::nft;
use kernel::plan::{Deviation, Machine};

use super::config::{Config, Mapping, Mark, Protocol};
use super::target::Target;
use crate::iptables::{Attached, Feature, Missing, Place, Ruleset};

pub(super) use claim::make_way;
pub(super) use removal::{gc, remove};

const NAT: &str = "nat";
const DNAT: &str = "CNI-HOSTPORT-DNAT";
const SETMARK: &str = "CNI-HOSTPORT-SETMARK";
const MASQ: &str = "CNI-HOSTPORT-MASQ";
/// What the chains of containers are called.
const CHAIN: &str = "CNI-DN-";
/// Notes on whose an address is.
const NOTES: &str = "XNET-HOSTPORT";
/// How many ports the match `multiport` takes.
const PORTS_MAX: usize = 15;

/// The rules of one attachment, as a step.
pub(super) type Rules = Attached<HostPorts>;

/// An attachment to which ports of the host lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPorts {
    target: Target,
    config: Config,
}

impl Rules {
    /// What makes the ports in `config` lead to the container.
    pub(super) fn new(target: &Target, config: &Config) -> Self {
        Self(HostPorts { target: target.clone(), config: config.clone() })
    }
}

impl Feature for HostPorts {
    fn table(&self) -> &'static str {
        NAT
    }

    /// The entry rules come last, so that no packet meets half a chain.
    fn ruleset(&self, family: Family) -> Ruleset {
        let mut ruleset = Ruleset::default();
        let Some(ip) = &self.target.ip(family == Family::V6) else { return ruleset };
        if self.config.mappings.is_empty() {
            return ruleset;
        }
        if let (true, Mark::Bit(bit)) = (self.config.snat, &self.config.mark) {
            masquerading(&mut ruleset, *bit);
        }
        ruleset.shared_chain(DNAT);
        for hook in ["PREROUTING", "OUTPUT"] {
            ruleset.shared(Place::Last, rule(hook, "-m addrtype --dst-type LOCAL", DNAT));
        }
        let chain = self.target.owner.chain(CHAIN);
        ruleset.own_chain(&chain);
        for mapping in self.config.mappings.iter().filter(|mapping| mapping.is_for(family == Family::V6)) {
            self.translation(&chain, mapping, ip).into_iter().for_each(|rule| ruleset.own(Place::Last, rule));
        }
        self.entries(&chain).into_iter().for_each(|rule| ruleset.conditional(rule, self.conditions(family)));
        let address = IpNetwork::from(ip.ip()).to_string();
        ruleset.note(NOTES, &["-d", &address], nft::cut(&self.target.tag()));
        ruleset
    }

    fn make_room(&self, found: &Saved, changes: &mut Restore) -> Result<(), Error> {
        self.claim(found, changes)
    }

    fn remove(&self, machine: &mut Machine) -> Result<(), Error> {
        remove(machine, &self.target.owner).map(drop)
    }

    fn refuse(&self, error: Error) -> Error {
        error.context("unable to setup DNAT")
    }

    /// In the words of the Go suite, which has none for what all attachments share.
    fn deviation(&self, family: Family, missing: Missing<'_>) -> Deviation {
        let family = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let text = match missing {
            Missing::Chain(name) => format!("chain {name} not found in iptables table {NAT}"),
            Missing::Rule(Rule { chain, arguments }) => {
                format!("rule [[{}]] in chain {chain} not found in table {NAT}", arguments.join(" "))
            }
        };
        Deviation::Unknown(format!("could not check {family} dnat: {text}"))
    }
}

impl HostPorts {
    fn conditions(&self, family: Family) -> &[String] {
        match family {
            Family::V4 => &self.config.conditions_v4,
            Family::V6 => &self.config.conditions_v6,
        }
    }

    /// What the container's chain does for one mapping: what could not find its way back is marked, everything is sent to
    /// the container.
    fn translation(&self, chain: &str, mapping: &Mapping, ip: &IpNetwork) -> Vec<Rule> {
        let address = mapping.specific_ip().map(|ip| format!("-d {} ", IpNetwork::from(ip))).unwrap_or_default();
        let (protocol, port) = (mapping.protocol, mapping.host_port);
        let packets = format!("{address}-p {protocol} -m {protocol} --dport {port}");
        let mut rules = Vec::new();
        if self.config.snat {
            let mark = match &self.config.mark {
                Mark::Bit(_) => SETMARK,
                Mark::Chain(name) => name,
            };
            let sources: &[String] = match (self.config.masq_all, ip) {
                (true, _) => &[String::new()],
                (false, IpNetwork::V4(_)) => &[hairpin(ip), "-s 127.0.0.1/32 ".to_owned()],
                (false, IpNetwork::V6(_)) => &[hairpin(ip)],
            };
            rules.extend(sources.iter().map(|source| rule(chain, &format!("{source}{packets}"), mark)));
        }
        let mut translate = rule(chain, &packets, "DNAT");
        translate.arguments.extend(["--to-destination".to_owned(), destination(ip.ip(), mapping.container_port)]);
        rules.push(translate);
        rules
    }

    /// The jumps to the container's chain: one for each protocol and at most fifteen ports, those for other families
    /// included.
    fn entries(&self, chain: &str) -> Vec<Rule> {
        let owner = &self.target.owner;
        let comment = entry::comment(owner.net.as_str(), owner.id.as_str());
        let mut rules = Vec::new();
        for protocol in [Protocol::Sctp, Protocol::Tcp, Protocol::Udp] {
            let ports = self.config.mappings.iter().filter(|mapping| mapping.protocol == protocol);
            let ports: Vec<String> = ports.map(|mapping| mapping.host_port.to_string()).collect();
            for some in ports.chunks(PORTS_MAX) {
                let words = ["-p", protocol.as_str(), "-m", "comment", "--comment", &comment, "-m", "multiport"];
                rules.push(Rule::new(DNAT, [&words[..], &["--dports", &some.join(","), "-j", chain]].concat()));
            }
        }
        rules
    }
}

/// What gives marked packets an address of the host, for all attachments.
fn masquerading(ruleset: &mut Ruleset, bit: u8) {
    let mark = format!("{0:#x}/{0:#x}", 1u32 << bit);
    let comment = |text: &'static str| ["-m", "comment", "--comment", text];
    ruleset.shared_chain(SETMARK);
    let words = [&comment("CNI portfwd masquerade mark")[..], &["-j", "MARK", "--set-xmark", &mark]].concat();
    ruleset.shared(Place::Last, Rule::new(SETMARK, words));
    ruleset.shared_chain(MASQ);
    ruleset.shared(Place::Last, rule(MASQ, &format!("-m mark --mark {mark}"), "MASQUERADE"));
    let words = [&comment("CNI portfwd requiring masquerade")[..], &["-j", MASQ]].concat();
    ruleset.shared(Place::First, Rule::new("POSTROUTING", words));
}

/// A rule whose matches are plain words.
fn rule(chain: &str, matches: &str, target: &str) -> Rule {
    Rule::new(chain, matches.split(' ').chain(["-j", target]))
}

/// What comes from the container's own network.
fn hairpin(ip: &IpNetwork) -> String {
    format!("-s {}/{} ", ip.network(), ip.prefix())
}

fn destination(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(address) => format!("{address}:{port}"),
        IpAddr::V6(address) => format!("[{address}]:{port}"),
    }
}
