//! Port mappings by nftables.
//!
//! The layout, in full, for a container with one port of TCP, in a network without conditions:
//!
//! ```text
//! table inet xnet_portmap {
//!     map attachments { type mark . mark . mark . mark : mark
//!                       elements = { 0x43d91f84 . 0x51058a70 . 0x0b65a318 . 0xf52e521b comment "43d91f.., dev: .." : 3 } }
//!     map hostip4     { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//!     map hostports4  { type inet_proto . inet_service : ipv4_addr . inet_service
//!                       elements = { tcp . 8080 comment "43d91f.., dev: veth02a13658, net: n1, .." : 10.77.0.2 . 80 } }
//!     set local4          { type ipv4_addr; elements = { 10.77.0.2 comment .. } }
//!     set net-10.77.0.0/24 { type ipv4_addr; elements = { 10.77.0.2 comment .. } }
//!     chain hostports {
//!         jump conditional
//!         dnat ip to ip daddr . meta l4proto . th dport map @hostip4
//!         dnat ip to meta l4proto . th dport map @hostports4                 # and the same for IPv6
//!     }
//!     chain prerouting  { type nat hook prerouting priority dstnat; fib daddr type local jump hostports }
//!     chain output      { type nat hook output priority dstnat; fib daddr type local jump hostports }
//!     chain masquerading {
//!         ip daddr @all4 masquerade
//!         ip saddr . ip daddr @self4 masquerade
//!         ip saddr 127.0.0.0/8 ip daddr @local4 masquerade
//!         ip saddr 10.77.0.0/24 ip daddr @net-10.77.0.0/24 masquerade
//!     }
//!     chain postrouting { type nat hook postrouting priority srcnat; ct status dnat jump masquerading }
//!     chain guard       { type filter hook prerouting priority raw; ip daddr 127.0.0.0/8 iifname != "lo" drop }
//! }
//! ```
//!
//! An attachment is its elements: one for a mapping and family, one or two for its address, and one in the index. All of
//! an ADD is one transaction, and its cost is the same whatever else is in the maps. So is that of the first packet of a
//! connection; later ones meet neither chain. Rules come only with networks: one for each subnet, and for each list of
//! conditions a pair of maps of its own.
//!
//! A port that is taken is refused by the kernel, because an element is created, not added. Whether whoever has it still
//! lives is then asked of the link in the element's comment, and only then.
//!
//! The index answers in one question whether an attachment has anything here, and how much. So DEL of a container without
//! ports costs nothing among ten thousand with, and DEL of one whose configuration has changed since its ADD notices that
//! something is missing, and searches.

mod claim;
mod layout;
mod removal;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::IpAddr;

use kernel::netlink;
use kernel::nft::{self, Claim, Data, Element, Elements, Entry, Error, Nft, ObjectName, Value};
use kernel::plan::{Deviation, Failure, Machine, Step};

use super::config::{Config, Mapping, Protocol};
use super::flows::{self, Redirect};
use super::target::Target;
use claim::Holder;
pub(super) use claim::make_way;
use layout::{ATTACHMENTS, Conditions, Masquerade, TABLE};
pub(super) use removal::{gc, remove};

/// What the Go suite calls the chains, in whose words CHECK reports.
const CHAINS: [&str; 2] = ["hostports", "masquerading"];

/// The mappings of one attachment, as a step.
#[derive(Debug)]
pub(super) struct Forwards {
    target: Target,
    /// All of it, for one transaction.
    all: Elements,
    /// How many of the elements, and of the parts of the layout, translate destinations.
    forwarding: (usize, usize),
    /// Elements of the attachment were there already, from an ADD without a DEL.
    again: Cell<bool>,
    /// Where ports led until now.
    displaced: RefCell<Vec<Redirect>>,
}

impl Forwards {
    /// The mappings of `config` to `target`; none when none of them is for its addresses.
    ///
    /// # Errors
    ///
    /// When conditions are not understood.
    pub(super) fn of(target: &Target, config: &Config) -> Result<Option<Self>, cni::Error> {
        let tag = target.tag();
        let (mut parts, mut elements) = (layout::forwarding(), Vec::new());
        // Both, since what is not understood is refused whether the container has addresses of the family or not.
        let conditions = [Conditions::of(config, false)?, Conditions::of(config, true)?];
        for ip in &target.ips {
            let conditions = &conditions[usize::from(ip.is_ipv6())];
            let mappings = config.mappings.iter().filter(|mapping| mapping.is_for(ip.is_ipv6()));
            let before = elements.len();
            elements.extend(mappings.map(|mapping| Element {
                data: Some(Data::Value(Value::Concat(vec![ip.ip().into(), Value::Port(mapping.container_port)]))),
                ..element(conditions.map(mapping.specific_ip().is_some()), key(mapping), &tag)
            }));
            if elements.len() > before && conditions.any() {
                parts.extend(conditions.parts());
            }
        }
        // `0.0.0.0` and none at all are the same to a family.
        dedup(&mut elements);
        if elements.is_empty() {
            return Ok(None);
        }
        let forwarding = (elements.len(), parts.len());
        parts.extend(layout::sources());
        for masquerade in masquerades(target, config) {
            elements.push(element(masquerade.set(), masquerade.key(), &tag));
            parts.extend(masquerade.part());
        }
        let count = u32::try_from(elements.len()).unwrap_or(u32::MAX);
        let prefix = target.owner.tag_prefix();
        elements.push(Element {
            data: Some(Data::Value(Value::Mark(count))),
            ..element(TABLE.object(ATTACHMENTS), layout::index_key(&prefix), &tag)
        });
        let all = Elements { layout: layout::layout(parts), elements };
        Ok(Some(Self {
            target: target.clone(),
            all,
            forwarding,
            again: Cell::default(),
            displaced: RefCell::default(),
        }))
    }

    /// What to do about a key that is taken.
    fn judge(&self, element: &Element, entry: &Entry) -> Claim {
        match Holder::of(&element.set, entry, &self.target) {
            Holder::Itself => {
                self.again.set(true);
                if element.is(entry) { Claim::Keep } else { Claim::Replace }
            }
            Holder::Nobody(redirect) => {
                self.displaced.borrow_mut().extend(redirect);
                Claim::Replace
            }
            Holder::Other(text) => Claim::Refuse(text),
        }
    }

    /// Deletes what an earlier ADD of the attachment made and this one does not want.
    fn sweep(&self, machine: &mut Machine) -> Result<(), Error> {
        let prefix = self.target.owner.tag_prefix();
        let owned = |tag: &str| nft::owner(tag) == prefix;
        let nft = machine.nft()?;
        for set in nft.sets(&TABLE)? {
            let wanted = |entry: &Entry| {
                let mut elements = self.all.elements.iter().filter(|element| element.set == set);
                elements.any(|element| element.key.bytes() == entry.key.bytes())
            };
            let mine = |entry: &Entry| entry.comment.as_deref().is_some_and(owned);
            let entries = nft.elements(&set)?.into_iter();
            let keys: Vec<Value> =
                entries.filter(|entry| mine(entry) && !wanted(entry)).map(|entry| entry.key).collect();
            let targets: Vec<(&ObjectName, &Value)> = keys.iter().map(|key| (&set, key)).collect();
            let taken = nft.take(&targets, &owned)?;
            self.displaced.borrow_mut().extend(taken.iter().filter_map(|(_, entry)| redirect(&set, entry)));
        }
        Ok(())
    }
}

impl fmt::Display for Forwards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.fmt(f)
    }
}

impl Step for Forwards {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, "change nftables", &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let claimed =
            machine.nft().and_then(|nft| self.all.claim(nft, &mut |element, entry| self.judge(element, entry)));
        let applied = match claimed {
            Ok(()) if self.again.get() => self.sweep(machine),
            claimed => claimed,
        };
        applied.map_err(|error| match error {
            Error::Taken(text) => Failure::other(self, text),
            error => Failure::other(self, format!("unable to set up nftables rules for port mappings: {error}")),
        })?;
        // Those flows end by themselves some day, and are no reason to fail.
        let _ = flows::end(machine, &self.displaced.take());
        Ok(())
    }

    fn check(&self, machine: &mut Machine) -> Result<(), Deviation> {
        let unknown = |error: Error| Deviation::Unknown(error.to_string());
        let nft = machine.nft().map_err(unknown)?;
        let (elements, parts) =
            (self.all.elements.split_at(self.forwarding.0), self.all.layout.parts.split_at(self.forwarding.1));
        for ((elements, parts), chain) in [(elements.0, parts.0), (elements.1, parts.1)].into_iter().zip(CHAINS) {
            let some = Elements { layout: layout::layout(parts.to_vec()), elements: elements.to_vec() };
            if let Some(line) = some.check(nft).map_err(unknown)? {
                return Err(Deviation::Missing(format!("hostport rules in \"{chain}\" chain; {line}")));
            }
        }
        Ok(())
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let removed = machine.nft().and_then(|nft| self.all.remove(nft));
        removed.map(drop).map_err(|error| Failure::other(self, error.to_string()))
    }
}

/// Whether ADD could make its elements: the layout is there, or the kernel would take it.
pub(super) fn rehearse(nft: &mut Nft) -> Result<(), Error> {
    let mut parts = layout::forwarding();
    parts.extend(layout::sources());
    layout::layout(parts).rehearse(nft)
}

/// Whether the attachment is in the index.
pub(super) fn has(nft: &mut Nft, target: &Target) -> Result<bool, Error> {
    let key = layout::index_key(&target.owner.tag_prefix());
    Ok(nft.element(&TABLE.object(ATTACHMENTS), &key)?.is_some())
}

/// The elements for sources.
fn masquerades(target: &Target, config: &Config) -> Vec<Masquerade> {
    let mut masquerades = Vec::new();
    for ip in target.ips.iter().filter(|ip| config.mappings.iter().any(|mapping| mapping.is_for(ip.is_ipv6()))) {
        match (config.snat, config.masq_all) {
            (false, _) => {}
            (true, true) => masquerades.push(Masquerade::All(*ip)),
            (true, false) => {
                masquerades.push(Masquerade::Neighbours(*ip));
                masquerades.extend(ip.is_ipv4().then_some(Masquerade::Loopback(*ip)));
            }
        }
    }
    masquerades
}

fn key(mapping: &Mapping) -> Value {
    let mut key = vec![Value::Protocol(mapping.protocol.number()), Value::Port(mapping.host_port)];
    if let Some(ip) = mapping.specific_ip() {
        key.insert(0, ip.into());
    }
    Value::Concat(key)
}

/// What an element of a map of ports means.
fn redirect(set: &ObjectName, entry: &Entry) -> Option<Redirect> {
    let (at_one_address, is_ipv6) = Conditions::kind(&set.name)?;
    let address = |bytes: &[u8]| -> Option<IpAddr> {
        let v6 = || bytes.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes));
        let v4 = || bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes));
        if is_ipv6 { v6() } else { v4() }
    };
    let port = |bytes: &[u8]| bytes.first_chunk().map(|bytes| u16::from_be_bytes(*bytes));
    let size = if is_ipv6 { 16 } else { 4 };
    let key = entry.key.bytes();
    let (host_ip, rest) = if at_one_address { (Some(address(&key)?), key.get(size..)?) } else { (None, &key[..]) };
    let Some(Data::Value(data)) = &entry.data else { return None };
    let data = data.bytes();
    Some(Redirect {
        host_ip,
        // Each part of a key fills whole registers of four bytes.
        host_port: port(rest.get(4..)?)?,
        protocol: Protocol::from_number(*rest.first()?)?,
        target: address(&data)?,
        port: port(data.get(size..)?)?,
    })
}

fn element(set: ObjectName, key: Value, tag: &str) -> Element {
    Element { set, key, data: None, comment: Some(tag.to_owned()) }
}

fn dedup(elements: &mut Vec<Element>) {
    let mut unique: Vec<Element> = Vec::with_capacity(elements.len());
    for element in elements.drain(..) {
        if !unique.contains(&element) {
            unique.push(element);
        }
    }
    *elements = unique;
}
