//! The pair of an attachment, a veth pair unless the configuration says otherwise: the ends' names and addresses, and how
//! to find them again.

use cni::plugin::ValidAttachments;
use cni::result::{AddResult, Interface};
use cni::{Code, Error, NetName, Owner};
use kernel::Mac;
use kernel::link::{Link, NewEnd, Pair, Port};
use kernel::plan::{CreatePair, Deviation, Machine, Side, Step};
use nix::errno::Errno;

use crate::error::{attempt, from_deviation};
use crate::failures::Failures;
use crate::lifecycle::{Request, del_container_link, remove};
use crate::ownership::Live;

/// How many names for the end in the host are tried before giving up; the second is for the case that the first, 32
/// bits of a digest, is somebody else's.
const NAMES: u8 = 10;

/// Both ends, all known before either exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends {
    /// The end in the host.
    pub host: NewEnd,
    /// The end in the container.
    pub container: NewEnd,
}

/// Decides on the ends of a new pair.
///
/// # Errors
///
/// When the name in the container is taken, in the words of the Go suite.
pub fn ends(request: &Request<'_>, mac: Option<Mac>, mtu: Option<u32>, machine: &mut Machine) -> Result<Ends, Error> {
    let owner = &request.owner;
    let host = free_name(machine, owner)?;
    let ifname = request.attachment.ifname.as_str();
    if lookup(machine, Side::Container, ifname)?.is_some() {
        let text = format!("container veth name (\"{ifname}\") peer provided (\"{host}\") already exists");
        return Err(Error::internal(text));
    }
    let end = |name: &str, mac: Mac| NewEnd { name: name.to_owned(), mac, mtu };
    let mac = mac.unwrap_or_else(|| owner.mac("container").into());
    Ok(Ends { host: end(&host, owner.mac("host").into()), container: end(ifname, mac) })
}

/// The first of the owner's names for the end in the host that no link has.
fn free_name(machine: &mut Machine, owner: &Owner) -> Result<String, Error> {
    for n in 0..NAMES {
        let name = owner.host_veth(n);
        if lookup(machine, Side::Host, &name)?.is_none() {
            return Ok(name);
        }
    }
    Err(Error::internal("failed to find a unique veth name"))
}

fn lookup(machine: &mut Machine, side: Side, name: &str) -> Result<Option<Link>, Error> {
    let found = machine.side(side).and_then(|side| side.link(name));
    found.map_err(|error| attempt("look at the links", error))
}

/// The interfaces of an answer for the two ends, the host's first.
#[must_use]
pub fn interfaces(ends: &Ends, sandbox: &str) -> [Interface; 2] {
    let end = |end: &NewEnd, sandbox: &str| Interface {
        name: end.name.clone(),
        mac: end.mac.to_string(),
        sandbox: sandbox.to_owned(),
        ..Interface::default()
    };
    [end(&ends.host, ""), end(&ends.container, sandbox)]
}

/// Removes the pair: by its end in the container, which has one name whoever made it; and by the end in the host, in
/// case something still keeps a namespace that is not the container's any more. If the namespace is about to go, and the
/// pair with it, only the end in the host is set down.
///
/// # Errors
///
/// The kernel's refusal.
pub fn del(request: &Request<'_>, machine: &mut Machine) -> Result<(), Error> {
    let ends = request.netns_ends() && machine.container_netns().is_some();
    if !ends {
        del_container_link(machine, request.attachment.ifname.as_str())?;
    }
    let names: Vec<String> = (0..NAMES).map(|n| request.owner.host_veth(n)).collect();
    let found = machine.host().and_then(|host| host.links_named(&names));
    let tag = request.owner.tag();
    let mine = |link: &Link| link.alias.as_deref() == Some(tag.as_str());
    let mut found = found.map_err(|error| attempt("look at the links", error))?.into_iter().filter(mine);
    found.try_for_each(|link| remove(machine, Side::Host, &link.name, ends))
}

/// Removes the pairs whose alias names this network and an attachment that is not valid.
///
/// # Errors
///
/// All refusals of the kernel.
pub fn gc(machine: &mut Machine, name: &NetName, valid: &ValidAttachments) -> Result<(), Error> {
    if !valid.is_specified() {
        return Ok(());
    }
    let links = machine.host().and_then(|host| host.pairs()).map_err(|error| attempt("list the links", error))?;
    let live = Live::of(name, valid);
    let stale = links.into_iter().filter(|link| link.alias.as_deref().is_some_and(|alias| live.is_stale(alias)));
    let mut failures = Failures::default();
    stale.for_each(|link| failures.note(remove(machine, Side::Host, &link.name, false)));
    failures.into_result()
}

/// Whether a pair of this kind could be made: by code 50 if not. Every kernel with containers has veth.
///
/// # Errors
///
/// Why not.
pub fn status(kind: Pair) -> Result<(), Error> {
    if kind == Pair::Veth {
        return Ok(());
    }
    let refusal = Machine::host_only().host().and_then(|host| host.call(kind.probe()));
    match refusal {
        Err(error) if error.errno() == Some(Errno::EOPNOTSUPP) => {
            let text = format!("the kernel makes no links of type {}: {error}", kind.as_str());
            Err(Error::new(Code::PLUGIN_NOT_AVAILABLE, text).with_details("netkit needs Linux 6.7"))
        }
        _ => Ok(()),
    }
}

/// Checks the pair of a previous result, which must be of `kind`, and of which `mine` is the container's end and `shared` a link that belongs to
/// nobody: the bridge, of which the end in the host must be a port, if there is one. The answer is the end in the host,
/// or none when no interface of the result is one.
///
/// # Errors
///
/// What does not hold.
pub fn check(
    kind: Pair,
    previous: &AddResult,
    mine: &Interface,
    shared: Option<&str>,
    machine: &mut Machine,
) -> Result<Option<Link>, Error> {
    let far = lookup(machine, Side::Container, &mine.name)?;
    let far = far.ok_or_else(|| from_deviation(Deviation::LinkMissing(mine.name.clone())))?;
    if !far.is(kind.as_str()) {
        return Err(from_deviation(Deviation::WrongKind { link: far.name, expected: kind.as_str().to_owned() }));
    }
    let parse = |mac: &str| -> Result<Mac, Error> { mac.parse().map_err(|error| attempt("prevResult", error)) };
    let expected = parse(&mine.mac)?;
    if let Some(found) = far.mac.filter(|found| *found != expected) {
        return Err(from_deviation(Deviation::WrongMac { link: far.name, expected, found }));
    }
    let in_host = |interface: &&Interface| interface.sandbox.is_empty() && Some(interface.name.as_str()) != shared;
    for interface in previous.interfaces.iter().filter(in_host) {
        let link = lookup(machine, Side::Host, &interface.name)?;
        let link = link.ok_or_else(|| Error::internal(format!("Interface name {} not found", interface.name)))?;
        if !link.is(kind.as_str()) || link.peer != Some(far.index) {
            continue;
        }
        let end = |interface: &Interface| -> Result<NewEnd, Error> {
            Ok(NewEnd { name: interface.name.clone(), mac: parse(&interface.mac)?, mtu: None })
        };
        let step = CreatePair {
            kind,
            near: end(interface)?,
            far: end(mine)?,
            master: shared.map(str::to_owned),
            port: Port::default(),
            alias: String::new(),
        };
        return match step.check(machine) {
            Ok(()) => Ok(Some(link)),
            Err(Deviation::NotPort { .. }) => Ok(None),
            Err(other) => Err(from_deviation(other)),
        };
    }
    Ok(None)
}
