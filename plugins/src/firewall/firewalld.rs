//! The firewall by firewalld: an address of a container is a source of a zone, by default of `trusted`.
//!
//! firewalld keeps no note of who added a source. We do, in a table of nftables without any chain, so that it has no effect
//! on any packet:
//!
//! ```text
//! table inet xnet_firewalld {
//!     set sources4 { type ipv4_addr; elements = { 10.77.0.2 comment "43d91f.., net: n1, if: eth0, id: cid1" } }
//!     set sources6 { type ipv6_addr }
//! }
//! ```
//!
//! A source is noted before it is added, and forgotten after it is removed. What is noted for an attachment is removed from
//! whatever zone it is in by then, so that DEL needs neither `prevResult` nor the configuration of ADD. Sources are part of
//! firewalld's state at run time: one that was stopped, or never ran, has none.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use cni::{Error, Owner};
use ipnetwork::IpNetwork;
use kernel::netlink;
use kernel::nft::{
    self, Element, Elements, Family, Layout, Nft, ObjectName, Part, PartObject, Set, Table, TableName, Type, Value,
};
use kernel::plan::{Deviation, Failure, Machine, Step};

use crate::bus::{self, Answer, Bus, Method};
use crate::error::attempt;
use crate::failures::Failures;
use crate::masquerade::nf_tables;

/// How long firewalld may take for one answer. It answers one after the other, and nobody while it reloads.
const PATIENCE: Duration = Duration::from_secs(25);
const NAME: &str = "org.fedoraproject.FirewallD1";
const ZONE: Method = Method {
    destination: NAME,
    path: "/org/fedoraproject/FirewallD1",
    interface: "org.fedoraproject.FirewallD1.zone",
    member: "",
    may_start: false,
};
/// What firewalld's errors begin with: the source is in the zone already; it is in none; there is no such zone.
const ALREADY_SET: &str = "ZONE_ALREADY_SET";
const UNKNOWN_SOURCE: &str = "UNKNOWN_SOURCE";
const INVALID_ZONE: &str = "INVALID_ZONE";
/// The zone of a source that is removed from wherever it is.
const ANY_ZONE: &str = "";

/// The table of notes.
const TABLE: TableName = TableName::new(Family::Inet, "xnet_firewalld");
const SOURCES: [&str; 2] = ["sources4", "sources6"];

/// A conversation with firewalld.
#[derive(Debug)]
pub(super) struct Firewalld(RefCell<Bus>);

impl Firewalld {
    /// Connects to the system bus, whether firewalld is there or not.
    ///
    /// # Errors
    ///
    /// When there is no bus, or it can't be used.
    pub(super) fn on_bus(address: Option<&OsStr>) -> Result<Self, bus::Error> {
        Bus::system(address).map(|bus| Self(RefCell::new(bus)))
    }

    /// firewalld, if it runs: if there is a system bus, and its name on it is taken.
    ///
    /// # Errors
    ///
    /// When the bus can't be used.
    pub(super) fn running(address: Option<&OsStr>) -> Result<Option<Self>, bus::Error> {
        match Self::on_bus(address) {
            Ok(firewalld) => Ok(firewalld.is_there()?.then_some(firewalld)),
            Err(bus::Error::Absent(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether it runs.
    ///
    /// # Errors
    ///
    /// When the bus does not say.
    pub(super) fn is_there(&self) -> Result<bool, bus::Error> {
        self.0.borrow_mut().has_owner(NAME)
    }

    /// Adds a source to a zone, and says whether it was not there before.
    fn add(&self, zone: &str, source: &str) -> Result<bool, bus::Error> {
        let method = Method { member: "addSource", may_start: true, ..ZONE };
        match self.0.borrow_mut().call(&method, &[zone, source], PATIENCE) {
            Ok(_) => Ok(true),
            Err(bus::Error::Refused { text, .. }) if text.contains(ALREADY_SET) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Removes a source from a zone. One that is not there is fine.
    fn remove(&self, zone: &str, source: &str) -> Result<(), bus::Error> {
        let method = Method { member: "removeSource", ..ZONE };
        match self.0.borrow_mut().call(&method, &[zone, source], PATIENCE) {
            Ok(_) => Ok(()),
            Err(bus::Error::Refused { text, .. })
                if [UNKNOWN_SOURCE, INVALID_ZONE].iter().any(|kind| text.contains(kind)) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn has(&self, zone: &str, source: &str) -> Result<bool, bus::Error> {
        let method = Method { member: "querySource", ..ZONE };
        Ok(self.0.borrow_mut().call(&method, &[zone, source], PATIENCE)? == Answer::Bool(true))
    }
}

/// The addresses of one attachment as sources of a zone.
#[derive(Debug)]
pub(super) struct Sources {
    firewalld: Firewalld,
    zone: String,
    ips: Vec<IpAddr>,
    /// What of it was not there before and is to be undone.
    added: RefCell<Vec<IpAddr>>,
}

impl Sources {
    pub(super) fn new(firewalld: Firewalld, zone: &str, ips: &[IpAddr]) -> Self {
        Self { firewalld, zone: zone.to_owned(), ips: ips.to_vec(), added: RefCell::default() }
    }

    fn missing(&self, ip: IpAddr) -> String {
        format!("failed to find the address {} in {} zone", source(ip), self.zone)
    }
}

impl Step for Sources {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, "change firewalld", &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        for ip in &self.ips {
            match self.firewalld.add(&self.zone, &source(*ip)) {
                Ok(true) => self.added.borrow_mut().push(*ip),
                Ok(false) => {}
                Err(error) => {
                    let _ = self.undo(machine);
                    let text = format!("failed to add the address {} to {} zone: {error}", source(*ip), self.zone);
                    return Err(Failure::other(self, text));
                }
            }
        }
        Ok(())
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        for ip in &self.ips {
            match self.firewalld.has(&self.zone, &source(*ip)) {
                Ok(true) => {}
                Ok(false) => return Err(Deviation::Unknown(self.missing(*ip))),
                Err(error) => return Err(Deviation::Unknown(format!("{}: {error}", self.missing(*ip)))),
            }
        }
        Ok(())
    }

    fn undo(&self, _: &mut Machine) -> Result<(), Failure> {
        for ip in self.added.take() {
            self.firewalld.remove(&self.zone, &source(ip)).map_err(|error| {
                let text = format!("failed to remove the address {} from {} zone: {error}", source(ip), self.zone);
                Failure::other(self, text)
            })?;
        }
        Ok(())
    }
}

/// A line an address.
impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, ip) in self.ips.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}firewall-cmd --zone={} --add-source={}", self.zone, source(*ip))?;
        }
        Ok(())
    }
}

/// The notes about an attachment's sources.
pub(super) fn notes(owner: &Owner, ips: &[IpAddr]) -> Elements {
    let part = |name: &'static str, key: Type| Part {
        object: PartObject::Set(Set { name: TABLE.object(name), key: key.into(), data: None, comment: None }),
        rules: Vec::new(),
    };
    let note = |ip: &IpAddr| Element { set: set(*ip), key: (*ip).into(), data: None, comment: Some(owner.tag()) };
    let comment = Some("Sources of zones of firewalld, and whose they are".to_owned());
    Elements {
        layout: Layout {
            table: Table { name: TABLE, comment },
            parts: vec![part(SOURCES[0], Type::Ipv4Addr), part(SOURCES[1], Type::Ipv6Addr)],
        },
        elements: ips.iter().map(note).collect(),
    }
}

/// Removes the sources of an attachment: those that are noted as its own, and from `zone` those of `known` which the Go
/// suite may have added without a note.
///
/// # Errors
///
/// When firewalld refuses. Everything was tried then, and what could not be removed is still noted.
pub(super) fn remove(
    machine: &mut Machine,
    address: Option<&OsStr>,
    owner: &Owner,
    zone: &str,
    known: &[IpAddr],
) -> Result<(), Error> {
    let prefix = owner.tag_prefix();
    let is_mine = |tag: &str| nft::owner(tag) == prefix;
    let looked = |error: nft::Error| attempt("look for sources of firewalld", error);
    let nft = nf_tables(machine).map_err(looked)?;
    let Notes { mine, unnoted } = nft.map_or_else(
        || Ok(Notes { mine: Vec::new(), unnoted: known.to_vec() }),
        |nft| Notes::read(nft, known, &is_mine).map_err(looked),
    )?;
    if mine.is_empty() && unnoted.is_empty() {
        return Ok(());
    }
    let firewalld = match Firewalld::running(address) {
        Ok(firewalld) => firewalld,
        // Without a note there is no reason to believe that there is anything.
        Err(_) if mine.is_empty() => return Ok(()),
        Err(error) => return Err(attempt("failed to remove the container's addresses from firewalld", error)),
    };
    if let Some(firewalld) = &firewalld {
        // As the Go suite, which takes no refusal for an error here. Whoever does not answer is not asked again.
        let _ = unnoted.iter().map(|ip| firewalld.remove(zone, &source(*ip))).find(|result| result.is_err());
    }
    forget(machine, firewalld.as_ref(), &mine, &is_mine)
}

/// Removes the sources with a stale note.
///
/// # Errors
///
/// When firewalld refuses. Everything was tried then, and what could not be removed is still noted.
pub(super) fn gc(machine: &mut Machine, address: Option<&OsStr>, is_stale: &dyn Fn(&str) -> bool) -> Result<(), Error> {
    let looked = |error: nft::Error| attempt("look for sources of firewalld", error);
    let Some(nft) = nf_tables(machine).map_err(looked)? else { return Ok(()) };
    let stale = listed(nft, is_stale).map_err(looked)?;
    if stale.is_empty() {
        return Ok(());
    }
    let firewalld = Firewalld::running(address)
        .map_err(|error| attempt("failed to remove addresses of containers that are gone from firewalld", error))?;
    forget(machine, firewalld.as_ref(), &stale, is_stale)
}

/// What is noted about some addresses.
struct Notes {
    /// Those that the attachment has added.
    mine: Vec<IpAddr>,
    /// Those that nobody has.
    unnoted: Vec<IpAddr>,
}

impl Notes {
    /// Looks the notes about `known` up, and, if none of them is one's own, all.
    fn read(nft: &mut Nft, known: &[IpAddr], is_mine: &dyn Fn(&str) -> bool) -> Result<Self, nft::Error> {
        let mut notes = Self { mine: Vec::new(), unnoted: Vec::new() };
        for ip in known {
            match nft.element(&set(*ip), &(*ip).into())? {
                Some(entry) if entry.comment.as_deref().is_some_and(is_mine) => notes.mine.push(*ip),
                // By now it is somebody else's.
                Some(_) => {}
                None => notes.unnoted.push(*ip),
            }
        }
        if notes.mine.is_empty() {
            notes.mine = listed(nft, is_mine)?;
        }
        Ok(notes)
    }
}

/// The addresses with a note that is `owned`.
fn listed(nft: &mut Nft, owned: &dyn Fn(&str) -> bool) -> Result<Vec<IpAddr>, nft::Error> {
    let mut found = Vec::new();
    for set in SOURCES {
        let entries = match nft.elements(&TABLE.object(set)) {
            Err(error) if error.is_not_found() => continue,
            entries => entries?,
        };
        let owned = entries.into_iter().filter(|entry| entry.comment.as_deref().is_some_and(owned));
        found.extend(owned.filter_map(|entry| ip(&entry.key.bytes())));
    }
    Ok(found)
}

/// Removes sources from whatever zone they are in, and then the notes about those that are gone. A firewalld that does not
/// run has none.
fn forget(
    machine: &mut Machine,
    firewalld: Option<&Firewalld>,
    sources: &[IpAddr],
    owned: &dyn Fn(&str) -> bool,
) -> Result<(), Error> {
    let mut failures = Failures::default();
    let mut gone = Vec::new();
    for ip in sources {
        match firewalld.map_or(Ok(()), |firewalld| firewalld.remove(ANY_ZONE, &source(*ip))) {
            Ok(()) => gone.push((set(*ip), Value::from(*ip))),
            Err(error) => {
                let is_answer = matches!(error, bus::Error::Refused { .. });
                let what = format!("failed to remove the address {} from firewalld", source(*ip));
                failures.note(Err(attempt(what, error)));
                if !is_answer {
                    break;
                }
            }
        }
    }
    let targets: Vec<_> = gone.iter().map(|(set, key)| (set, key)).collect();
    if !targets.is_empty() {
        let taken = machine.nft().and_then(|nft| nft.take(&targets, owned));
        failures.note(taken.map(drop).map_err(|error| attempt("forget sources of firewalld", error)));
    }
    failures.into_result()
}

fn set(ip: IpAddr) -> ObjectName {
    TABLE.object(SOURCES[usize::from(ip.is_ipv6())])
}

/// An address as the kernel keeps it.
fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// An address as firewalld is told of it, with the prefix of a single host.
fn source(ip: IpAddr) -> String {
    IpNetwork::from(ip).to_string()
}
