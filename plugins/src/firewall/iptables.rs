//! The firewall by iptables, to the byte as the Go suite makes it, so that either can take down what the other made.
//!
//! ```text
//! -A FORWARD -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j CNI-ISOLATION-STAGE-1
//! -A FORWARD -m comment --comment "CNI firewall plugin rules" -j CNI-FORWARD
//! -A CNI-FORWARD -m comment --comment "CNI firewall plugin admin overrides" -j CNI-ADMIN
//! -A CNI-FORWARD -d 10.77.0.2/32 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
//! -A CNI-FORWARD -s 10.77.0.2/32 -j ACCEPT
//! -A CNI-ISOLATION-STAGE-1 -i br0 -o br0 -m comment --comment "CNI firewall plugin rules (ingressPolicy: isolated)" -j DROP
//! -A CNI-ISOLATION-STAGE-1 -i br0 ! -o br0 -m comment --comment "CNI firewall .. isolated)" -j CNI-ISOLATION-STAGE-2
//! -A CNI-ISOLATION-STAGE-1 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN
//! -A CNI-ISOLATION-STAGE-2 -o br0 -m comment --comment "CNI firewall .. same-bridge|isolated)" -j DROP
//! -A CNI-ISOLATION-STAGE-2 -m comment --comment "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)" -j RETURN
//! -A XNET-FORWARD -s 10.77.0.2/32 -m comment --comment "43d91f.., net: n1, if: eth0, id: cid1"
//! -A XNET-FORWARD -i br0 -o br0 -m comment --comment "43d91f.., net: n1, if: eth0, id: cid1"
//! ```
//!
//! The Go suite gives its rules no owner, so it needs to be told the addresses to delete the rules for them, and never
//! deletes those for a bridge. Here a chain to which nothing jumps notes who has which address, and who wants which policy
//! for which bridge. So DEL works without being told, GC works at all, and a bridge's rules go with the last attachment
//! that wants them. Whoever adds or removes rules for a bridge holds the lock meanwhile, lest the last one that goes take
//! them from the next that comes.

mod note;
mod removal;
mod survey;

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use cni::{Error, Owner};
use ipnetwork::IpNetwork;
use kernel::iptables::{Family, Restore, Rule, Saved};
use kernel::plan::{Deviation, Machine};

use super::config::{Config, Policy};
use crate::iptables::{Attached, Feature, Missing, Place, Ruleset};

pub(super) use removal::{gc, remove};
pub(super) use survey::filters_here;

const FILTER: &str = "filter";
const FORWARD: &str = "FORWARD";
/// The rules of all containers.
const CONTAINERS: &str = "CNI-FORWARD";
/// What comes from a bridge under a policy.
const STAGE1: &str = "CNI-ISOLATION-STAGE-1";
/// What goes from there to another bridge.
const STAGE2: &str = "CNI-ISOLATION-STAGE-2";
/// Notes on whose an address is, and who wants a policy.
const NOTES: &str = "XNET-FORWARD";

/// The rules of one attachment, as a step.
pub(super) type Rules = Attached<Filter>;

/// An attachment whose packets pass the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    owner: Owner,
    admin_chain: String,
    ips: Vec<IpAddr>,
    policy: Policy,
    bridge: Option<String>,
}

impl Rules {
    /// What lets packets of `ips` pass, and puts `bridge` under the policy in `config`.
    pub(super) fn new(owner: &Owner, config: &Config, ips: &[IpAddr], bridge: Option<&str>) -> Self {
        Self(Filter {
            owner: owner.clone(),
            admin_chain: config.admin_chain.clone(),
            ips: ips.to_vec(),
            policy: config.policy,
            bridge: bridge.filter(|_| config.policy != Policy::Open).map(str::to_owned),
        })
    }
}

impl Feature for Filter {
    fn table(&self) -> &'static str {
        FILTER
    }

    fn ruleset(&self, family: Family) -> Ruleset {
        let mut ruleset = Ruleset::default();
        let ips: Vec<&IpAddr> = self.ips.iter().filter(|ip| Family::of(**ip) == family).collect();
        if ips.is_empty() {
            return ruleset;
        }
        let tag = self.owner.tag();
        ruleset.shared_chain(CONTAINERS);
        ruleset.shared_chain(&self.admin_chain);
        ruleset.shared(Place::First, commented(FORWARD, &[], "CNI firewall plugin rules", CONTAINERS));
        let overrides = "CNI firewall plugin admin overrides";
        ruleset.shared(Place::First, commented(CONTAINERS, &[], overrides, &self.admin_chain));
        for ip in ips {
            passing(*ip).into_iter().for_each(|rule| ruleset.own(Place::Last, rule));
            ruleset.note(NOTES, &["-s", &IpNetwork::from(*ip).to_string()], &tag);
        }
        if let Some(bridge) = &self.bridge {
            isolation(&mut ruleset, bridge, self.policy);
            ruleset.note(NOTES, &note::bridge(bridge, self.policy), &tag);
        }
        ruleset
    }

    fn make_room(&self, found: &Saved, changes: &mut Restore) -> Result<(), Error> {
        // In a network an address is one attachment's, so whoever had it before is gone.
        let network = format!("{}-", self.owner.network_prefix());
        for note in note::all(found).filter(|note| note.tag.starts_with(&network) && !note.is_of(&self.owner)) {
            if note.address().is_some_and(|address| self.ips.contains(&address)) {
                changes.delete(note.rule.clone());
            }
        }
        Ok(())
    }

    fn remove(&self, machine: &mut Machine) -> Result<(), Error> {
        remove(machine, &self.owner, &self.ips)
    }

    /// In the words of the Go suite, which has none for policies.
    fn deviation(&self, _: Family, missing: Missing<'_>) -> Deviation {
        Deviation::Unknown(match missing {
            Missing::Rule(Rule { chain, arguments }) => {
                let is_own = chain == CONTAINERS && arguments.last().is_some_and(|target| target == "ACCEPT");
                let chain = if is_own { String::new() } else { format!("{chain} ") };
                format!("expected {chain}rule [{}] not found", arguments.join(" "))
            }
            Missing::Chain(name) => format!("expected chain {name} not found"),
        })
    }
}

/// The rules that let packets to and from an address pass.
fn passing(address: IpAddr) -> [Rule; 2] {
    let host = IpNetwork::from(address).to_string();
    let answers = ["-d", &host, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"];
    [Rule::new(CONTAINERS, answers), Rule::new(CONTAINERS, ["-s", &host, "-j", "ACCEPT"])]
}

/// The rules that put a bridge under a policy.
fn isolation(ruleset: &mut Ruleset, bridge: &str, policy: Policy) {
    let all = "CNI firewall plugin rules (ingressPolicy: same-bridge|isolated)";
    let its = format!("CNI firewall plugin rules (ingressPolicy: {})", policy.as_str());
    ruleset.exclusively();
    ruleset.shared_chain(STAGE1);
    ruleset.shared_chain(STAGE2);
    ruleset.shared(Place::First, commented(FORWARD, &[], all, STAGE1));
    ruleset.shared(Place::First, commented(STAGE1, &["-i", bridge, "!", "-o", bridge], &its, STAGE2));
    if policy == Policy::Isolated {
        ruleset.shared(Place::First, commented(STAGE1, &["-i", bridge, "-o", bridge], &its, "DROP"));
    }
    ruleset.shared(Place::Last, commented(STAGE1, &[], all, "RETURN"));
    ruleset.shared(Place::First, commented(STAGE2, &["-o", bridge], all, "DROP"));
    ruleset.shared(Place::Last, commented(STAGE2, &[], all, "RETURN"));
}

fn commented(chain: &str, matches: &[&str], comment: &str, target: &str) -> Rule {
    Rule::new(chain, [matches, &["-m", "comment", "--comment", comment, "-j", target]].concat())
}
