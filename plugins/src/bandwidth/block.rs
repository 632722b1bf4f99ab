//! The intermediate functional block through which goes what the container sends: its name, and whose it is.
//!
//! The Go suite names it by network and container, so that two interfaces of one container on one network can't both be
//! limited. That name comes first here too, so that either suite finds what the other made. When another attachment has
//! it, a second one takes its place, in which the interface has a part. Whoever looks for the block looks for both.
//!
//! A block of ours says in its alias whose it is, and in the moment before it has one its hardware address does. One
//! without is the Go suite's. Its name says the container and not the interface, so ADD takes it over only if the
//! container's own packets go there already.

use std::slice;

use cni::{Error, NetName, Owner, owner};
use kernel::link::{self, Link, NewIfb};
use kernel::netlink::Request;
use kernel::plan::{EnsureIfb, Machine};

use super::place;
use crate::error::attempt;
use crate::records::Records;

/// The longest name of a link.
const NAME: usize = 15;
/// What the name of every block begins with.
pub(super) const PREFIX: &str = "bwp";

/// The blocks that may be an attachment's, by their names.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    owner: &'a Owner,
    names: [String; 2],
}

/// The name that the Go suite gives to the block of a container on a network.
pub(super) fn go_name(net: &NetName, id: &str) -> String {
    owner::prefixed_hash(PREFIX, &format!("{net}{id}"), NAME)
}

/// The other name. None of the three has a slash in it, so no two attachments have it in common.
pub(super) fn own_name(net: &NetName, id: &str, ifname: &str) -> String {
    owner::prefixed_hash(PREFIX, &format!("{net}/{id}/{ifname}"), NAME)
}

impl<'a> Blocks<'a> {
    pub(super) fn of(owner: &'a Owner) -> Self {
        let (net, id) = (&owner.net, owner.id.as_str());
        Self { owner, names: [go_name(net, id), own_name(net, id, owner.ifname.as_str())] }
    }

    /// The lookups of both.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.names.iter().map(|name| link::get(name)).collect()
    }

    /// The block as it should be.
    fn ensure(&self, name: &str, mtu: u32) -> EnsureIfb {
        let mac = self.owner.mac("ifb").into();
        EnsureIfb { ifb: NewIfb { name: name.to_owned(), mac, mtu }, alias: self.owner.tag(), adopted: None }
    }

    /// Decides which block to use for what arrives at `veth`, and tells the hardware address of one that is there.
    ///
    /// # Errors
    ///
    /// When both names are taken by others, in the words of the Go suite.
    pub(super) fn choose(
        &self,
        found: &[Option<Link>],
        veth: &Link,
        machine: &mut Machine,
    ) -> Result<EnsureIfb, Error> {
        let new = |name: &str| self.ensure(name, veth.mtu);
        if let Some(link) = self.owned(found).next() {
            let mut there = new(&link.name);
            there.ifb.mac = link.mac.unwrap_or(there.ifb.mac);
            return Ok(there);
        }
        let [go, own] = &self.names;
        let [by_go, by_own] = [0, 1].map(|at| found.get(at).and_then(Option::as_ref));
        match (by_go, by_own) {
            (None, _) => Ok(new(go)),
            (Some(link), _) if is_unowned(link) && receives_from(veth, link, machine)? => {
                let mut adopted = EnsureIfb { adopted: Some(link.index), ..new(go) };
                adopted.ifb.mac = link.mac.unwrap_or(adopted.ifb.mac);
                Ok(adopted)
            }
            (Some(_), None) => Ok(new(own)),
            (Some(_), Some(_)) => {
                let details = format!("both {go} and {own} are there and belong to others");
                Err(Error::internal("adding link: file exists").with_details(details))
            }
        }
    }

    /// Those that are the attachment's beyond doubt.
    fn owned<'l>(&self, found: &'l [Option<Link>]) -> impl Iterator<Item = &'l Link> {
        let mine = self.ensure("", 0);
        found.iter().flatten().filter(move |link| mine.owns(link))
    }

    /// The block that is the attachment's, or can be.
    pub(super) fn present<'l>(&self, found: &'l [Option<Link>]) -> Option<&'l Link> {
        self.owned(found).next().or_else(|| found.iter().take(1).flatten().find(|link| is_unowned(link)))
    }

    /// The blocks that DEL removes: those that are the attachment's, or else the one that the Go suite made, unless it is
    /// on record that the container's attachments to this network are all others.
    pub(super) fn to_remove<'l>(&self, found: &'l [Option<Link>]) -> Vec<&'l Link> {
        let owned: Vec<&Link> = self.owned(found).collect();
        if !owned.is_empty() {
            return owned;
        }
        let foreign = found.iter().take(1).flatten().find(|link| is_unowned(link));
        foreign.filter(|_| !self.is_anothers()).into_iter().collect()
    }

    fn is_anothers(&self) -> bool {
        // Who can't read the records knows no better than the Go suite.
        let Ok(records) = Records::of(&self.owner.net) else { return false };
        let (id, ifname) = (self.owner.id.as_str(), self.owner.ifname.as_str());
        let mut of_container = records.iter().filter(|record| record.id == id).peekable();
        of_container.peek().is_some()
            && of_container.all(|record| record.ifname.as_deref().is_some_and(|recorded| recorded != ifname))
    }
}

/// Whether it is a block that does not say whose it is.
pub(super) fn is_unowned(link: &Link) -> bool {
    link.is("ifb") && link.alias.is_none()
}

fn receives_from(veth: &Link, block: &Link, machine: &mut Machine) -> Result<bool, Error> {
    let targets = machine.host().and_then(|host| host.redirections(veth.index));
    let targets = targets.map_err(|error| attempt(format_args!("look at the filters of {}", veth.name), error))?;
    Ok(targets == slice::from_ref(&block.index))
}

/// Looks both up.
pub(super) fn look(blocks: &Blocks<'_>, machine: &mut Machine) -> Result<Vec<Option<Link>>, Error> {
    place::look(machine, &blocks.requests())
}
