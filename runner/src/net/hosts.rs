//! `/etc/hosts` of a container, and the names of its neighbours in it.
//!
//! Containers on one network find each other by name: a line for each address of each neighbour, with the neighbour's
//! name, host name, aliases and short id. There is no server to ask, so the files are rewritten when somebody comes or
//! goes: in place, because the container has the very file mounted, and line by line, because the container may have
//! written into it. Our lines end in a comment that says whose they are. A new container knows its neighbours from the
//! start; they hear of it once its command was executed ([`announce`]), which nobody has to wait for.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{Context, Result};
use crate::id::Name;
use crate::spec::{HostAddress, Net, NetMode};
use crate::state::Store;

use super::connected::{self, Connected, Endpoint, members};
use super::prepared::addresses;

/// What every container's file begins with, unless it is the host's.
const LOCAL: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// Writes `hosts`, `hostname` and `resolv.conf` of a container into its directory.
///
/// # Errors
/// The directory can't be made, or a file not be written.
pub(super) fn write(store: &Store, connected: &Connected, net: &Net, resolv: &str) -> Result<()> {
    let dir = &connected.files;
    DirBuilder::new().recursive(true).mode(0o700).create(dir).context(|| format!("make {}", dir.display()))?;
    put(&dir.join("hostname"), &format!("{}\n", connected.hostname))?;
    put(&dir.join("resolv.conf"), resolv)?;
    let _guard = if connected.endpoints.is_empty() { None } else { Some(lock(store)?) };
    put(&dir.join("hosts"), &own(connected, net, store))
}

fn put(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o644).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC);
    // Whatever mask the caller of xnet has.
    let permit = |file: &File| file.set_permissions(Permissions::from_mode(0o644));
    let written = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let old = options.create_new(false).open(path);
            old.and_then(|file| permit(&file).and_then(|()| replace(&file, text)))
        }
        new => new.and_then(|file| permit(&file).and_then(|()| file.write_all_at(text.as_bytes(), 0))),
    };
    written.context(|| format!("write {}", path.display()))
}

/// Gives a container the files of the one whose network it shares: the very same, under a name of its own, so that what
/// becomes of the one shows in the other, and either can go first.
///
/// # Errors
/// The other's files are gone.
pub(super) fn share(from: &Path, to: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(to).context(|| format!("make {}", to.display()))?;
    NAMES.iter().try_for_each(|name| {
        let link = fs::hard_link(from.join(name), to.join(name));
        link.context(|| format!("link {}", from.join(name).display()))
    })
}

const NAMES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// In place, and never shorter than it will be.
fn replace(file: &File, text: &str) -> std::io::Result<()> {
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)
}

/// The whole file, the neighbours of this moment included.
fn own(connected: &Connected, net: &Net, store: &Store) -> String {
    let mut text = match net.mode {
        NetMode::Host => fs::read_to_string("/etc/hosts").unwrap_or_default(),
        _ => LOCAL.to_owned(),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for host in &net.extra_hosts {
        let address = match host.address {
            HostAddress::Address(address) => Some(address),
            HostAddress::Gateway => gateway(connected, net),
        };
        text.extend(address.map(|address| format!("{address}\t{}\n", host.name.as_str())));
    }
    let names = match &connected.domainname {
        Some(domain) => format!("{0}.{domain} {0}", connected.hostname),
        None => connected.hostname.clone(),
    };
    text.extend(addresses(connected).map(|address| format!("{address}\t{names}\n")));
    for endpoint in &connected.endpoints {
        let neighbours = members(store, &endpoint.network);
        let others = neighbours.iter().filter(|other| other.id != connected.id);
        text.extend(others.map(|other| lines(other, &endpoint.network)));
    }
    text
}

/// An address at which the container reaches the host: its gateway, or the loopback where it is in the host's own stack.
fn gateway(connected: &Connected, net: &Net) -> Option<IpAddr> {
    if net.mode == NetMode::Host {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    let gateways = || connected.endpoints.iter().flat_map(|e| e.addresses.iter().filter_map(|a| a.gateway));
    gateways().find(IpAddr::is_ipv4).or_else(|| gateways().next())
}

/// The lines by which neighbours on `network` find a container.
fn lines(of: &Connected, network: &str) -> String {
    let on = of.endpoints.iter().filter(|endpoint| endpoint.network == network);
    on.flat_map(|endpoint| {
        let names = of.names(endpoint).join(" ");
        let line = move |address: IpAddr| format!("{address}\t{names}\t{}\n", mark(network, &of.id));
        endpoint.addresses.iter().map(move |assigned| line(assigned.address))
    })
    .collect()
}

/// Says whose a line is.
fn mark(network: &str, id: &Name) -> String {
    format!("# {} on {network}", id.short())
}

/// Tells the neighbours of a container about it.
///
/// # Errors
/// A neighbour's file can't be written. The others' are.
pub(crate) fn announce(store: &Store, connected: &Connected) -> Result<()> {
    if connected.endpoints.is_empty() {
        return Ok(());
    }
    let _guard = lock(store)?;
    let mut outcome = Ok(());
    for endpoint in &connected.endpoints {
        for other in members(store, &endpoint.network).iter().filter(|other| other.id != connected.id) {
            let done = rewrite(other, &endpoint.network, &connected.id, &lines(connected, &endpoint.network));
            outcome = outcome.and(done);
        }
    }
    outcome
}

/// Takes a container out of its neighbours' files. What can't be written, such as the file of one that ends as well, is
/// of no consequence.
pub(super) fn forget(store: &Store, network: &str, id: &Name) {
    let others = members(store, network);
    if others.is_empty() {
        return;
    }
    let Ok(_guard) = lock(store) else { return };
    for other in others.iter().filter(|other| other.id != *id) {
        let _ = rewrite(other, network, id, "");
    }
}

/// Brings the files of a container that has joined a network while running, and of its new neighbours, up to date.
///
/// # Errors
/// A file can't be written.
pub(super) fn join(store: &Store, connected: &Connected, endpoint: &Endpoint) -> Result<()> {
    {
        let _guard = lock(store)?;
        for other in members(store, &endpoint.network).iter().filter(|other| other.id != connected.id) {
            rewrite(connected, &endpoint.network, &other.id, &lines(other, &endpoint.network))?;
        }
        let own = endpoint.addresses.iter().map(|assigned| {
            let mark = mark(&endpoint.network, &connected.id);
            format!("{}\t{}\t{mark}\n", assigned.address, connected.hostname)
        });
        rewrite(connected, &endpoint.network, &connected.id, &own.collect::<String>())?;
    }
    announce(store, connected)
}

/// Takes what a network has brought out of the files of a container that has left it, and of its neighbours.
///
/// # Errors
/// The container's own file can't be written.
pub(super) fn part(store: &Store, connected: &Connected, endpoint: &Endpoint) -> Result<()> {
    {
        let _guard = lock(store)?;
        let path = connected.files.join("hosts");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        let behind = format!(" on {}", endpoint.network);
        let addresses: Vec<String> = endpoint.addresses.iter().map(|a| format!("{}\t", a.address)).collect();
        let gone = |line: &&str| {
            line.ends_with(&behind) && line.contains("\t# ") || addresses.iter().any(|a| line.starts_with(a.as_str()))
        };
        let new: String = old.lines().filter(|line| !gone(line)).map(|line| format!("{line}\n")).collect();
        put(&path, &new)?;
    }
    forget(store, &endpoint.network, &connected.id);
    Ok(())
}

/// Puts `lines` in the place of what `of`'s file says about container `id`.
fn rewrite(of: &Connected, network: &str, id: &Name, lines: &str) -> Result<()> {
    let path = of.files.join("hosts");
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC);
    let Ok(file) = options.open(&path) else { return Ok(()) };
    let old = std::io::read_to_string(&file).context(|| format!("read {}", path.display()))?;
    let mark = mark(network, id);
    let mut new: String = old.lines().filter(|line| !line.ends_with(&mark)).map(|line| format!("{line}\n")).collect();
    new.push_str(lines);
    if new == old { Ok(()) } else { replace(&file, &new).context(|| format!("write {}", path.display())) }
}

/// Held by whoever rewrites files of others. A container can lock its own file, but not this one.
fn lock(store: &Store) -> Result<File> {
    let path = connected::registers(store).join(".lock");
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_CLOEXEC);
    let file = options.open(&path).context(|| format!("open {}", path.display()))?;
    file.lock().context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// Removes what [`write`] has made, and the directory if nothing else is in it.
///
/// # Errors
/// A file is there and can't be removed.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    for name in NAMES {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(|| format!("remove {}", dir.join(name).display()));
            }
            _ => {}
        }
    }
    // Not empty, or not there.
    let _ = fs::remove_dir(dir);
    Ok(())
}
