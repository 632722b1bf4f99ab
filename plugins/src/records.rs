//! What else on the node knows about attachments.
//!
//! Everything that these plugins make carries its owner. Some of what the Go suite made does not: a rule of its firewall
//! names an address and nothing else, one of its nftables port mappings a container and no network. Whose such a thing
//! is, others on the node may know:
//!
//! * libcni keeps a file for every attachment, with the result of its ADD (`/var/lib/cni/results`);
//! * host-local keeps a file for every address, with container and interface (`/var/lib/cni/networks/NETWORK`).
//!
//! [`Records`] reads both and writes neither. A thing without an owner counts as left behind only if a record of *this*
//! network gives it to an attachment that is not valid, and nothing speaks against that: no record of a valid attachment,
//! none of another network (about whose attachments a GC call says nothing), no lease that is just being written. When
//! in doubt it stays. Files that are no records, or broken, are passed over, because a crash leaves such.
//!
//! Reading is linear in the number of attachments. That is for GC and for the rare DEL which comes without its result;
//! nothing else should ask.

use std::cell::OnceCell;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use cni::NetName;
use cni::plugin::ValidAttachments;
use cni::{address, decode};
use serde::Deserialize;

/// Where libcni and host-local keep their files unless they are told otherwise.
const DEFAULT_ROOT: &str = "/var/lib/cni";
/// What marks a file of libcni's present format.
const KIND: &str = "cniCacheV1";

/// What one file says about one attachment. Several may speak of the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The container.
    pub id: String,
    /// The interface inside it; leases of early versions do not say.
    pub ifname: Option<String>,
    /// The addresses that it was given, without the lengths of their prefixes.
    pub addresses: Vec<IpAddr>,
}

impl Record {
    /// Whether the attachment is on the list of valid ones, or may be.
    fn is_live(&self, valid: &ValidAttachments) -> bool {
        match &self.ifname {
            Some(ifname) => valid.contains(&self.id, ifname),
            None => valid.contains_id(&self.id),
        }
    }
}

/// The records of a network, and those of all others to hold against them.
#[derive(Debug)]
pub struct Records {
    root: PathBuf,
    net: NetName,
    own: Vec<Record>,
    /// What libcni knows of other networks.
    others: Vec<Record>,
    /// Addresses of this network whose lease does not say whose it is, perhaps because it is being written.
    unclear: Vec<IpAddr>,
    /// What host-local knows of other networks, read when it is asked for.
    leased_elsewhere: OnceCell<Leases>,
}

impl Records {
    /// Reads what is known about the attachments of network `net`.
    ///
    /// # Errors
    ///
    /// When a directory is there and can't be listed.
    pub fn of(net: &NetName) -> io::Result<Self> {
        Self::under(DEFAULT_ROOT, net)
    }

    fn under(root: impl Into<PathBuf>, net: &NetName) -> io::Result<Self> {
        let root = root.into();
        let (mut own, others) = cached(&root.join("results"), net)?;
        let leases = Leases::read(&networks(&root).join(net.as_str()))?;
        own.extend(leases.records);
        let leased_elsewhere = OnceCell::new();
        Ok(Self { root, net: net.clone(), own, others, unclear: leases.unclear, leased_elsewhere })
    }

    /// The records of this network.
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.own.iter()
    }

    /// The addresses of one attachment of this network, each once: for a DEL that was not told.
    #[must_use]
    pub fn addresses_of(&self, id: &str, ifname: &str) -> Vec<IpAddr> {
        let is_its =
            |record: &&Record| record.id == id && record.ifname.as_deref().is_none_or(|recorded| recorded == ifname);
        let mut addresses: Vec<_> =
            self.own.iter().filter(is_its).flat_map(|record| &record.addresses).copied().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Whether what speaks of `address` alone was left behind by an attachment of this network.
    ///
    /// # Errors
    ///
    /// When the leases of other networks can't be listed.
    pub fn is_stale_address(&self, address: IpAddr, valid: &ValidAttachments) -> io::Result<bool> {
        let has = |record: &&Record| record.addresses.contains(&address);
        let mut holders = self.own.iter().filter(has).peekable();
        if holders.peek().is_none() || holders.any(|holder| holder.is_live(valid)) || self.unclear.contains(&address) {
            return Ok(false);
        }
        let elsewhere = self.leased_elsewhere()?;
        let contradicted = self.others.iter().chain(&elsewhere.records).any(|record| has(&record));
        Ok(!contradicted && !elsewhere.unclear.contains(&address))
    }

    /// Whether what speaks of the container `id` alone was left behind by attachments of this network: none of them is
    /// valid, and the container is attached to no other network.
    ///
    /// # Errors
    ///
    /// When the leases of other networks can't be listed.
    pub fn is_stale_id(&self, id: &str, valid: &ValidAttachments) -> io::Result<bool> {
        let is_its = |record: &Record| record.id == id;
        if valid.contains_id(id) || !self.own.iter().any(is_its) {
            return Ok(false);
        }
        Ok(!self.others.iter().chain(&self.leased_elsewhere()?.records).any(is_its))
    }

    /// Whether what speaks of one attachment, but not of its network, was left behind by one of this network. `is_it` says
    /// which container and interface it may be; of some records the interface is not known.
    ///
    /// # Errors
    ///
    /// When the leases of other networks can't be listed.
    pub fn is_stale_attachment(
        &self,
        is_it: impl Fn(&str, Option<&str>) -> bool,
        valid: &ValidAttachments,
    ) -> io::Result<bool> {
        let has = |record: &Record| is_it(&record.id, record.ifname.as_deref());
        let is_valid = !valid.is_specified() || valid.iter().any(|(id, ifname)| is_it(id, Some(ifname)));
        if is_valid || !self.own.iter().any(has) {
            return Ok(false);
        }
        Ok(!self.others.iter().chain(&self.leased_elsewhere()?.records).any(has))
    }

    fn leased_elsewhere(&self) -> io::Result<&Leases> {
        if let Some(leases) = self.leased_elsewhere.get() {
            return Ok(leases);
        }
        let mut all = Leases::default();
        for name in names(&networks(&self.root))?.iter().filter(|name| *name != self.net.as_str()) {
            match Leases::read(&networks(&self.root).join(name)) {
                Ok(leases) => all.add(leases),
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.leased_elsewhere.get_or_init(|| all))
    }
}

fn networks(root: &Path) -> PathBuf {
    root.join("networks")
}

/// What libcni writes, as far as it matters here.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Cached {
    kind: String,
    container_id: String,
    if_name: String,
    network_name: String,
    result: Outcome,
}

/// The addresses in a result of any version: `ips` since 0.3.0, `ip4` and `ip6` before.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Outcome {
    ips: Vec<Ip>,
    ip4: Family,
    ip6: Family,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Ip {
    address: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Family {
    ip: String,
}

impl Outcome {
    fn addresses(&self) -> Vec<IpAddr> {
        let texts = self.ips.iter().map(|ip| &ip.address).chain([&self.ip4.ip, &self.ip6.ip]);
        texts.filter_map(|text| address::parse_cidr(text).ok()).map(|network| network.ip()).collect()
    }
}

/// libcni's records: those of network `net`, and all others.
fn cached(folder: &Path, net: &NetName) -> io::Result<(Vec<Record>, Vec<Record>)> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for name in names(folder)? {
        let Ok(bytes) = fs::read(folder.join(name)) else { continue };
        let Ok(file) = decode::from_slice::<Cached>(&bytes) else { continue };
        if file.kind != KIND || file.container_id.is_empty() || file.if_name.is_empty() {
            continue;
        }
        let list = if file.network_name == net.as_str() { &mut own } else { &mut others };
        let addresses = file.result.addresses();
        list.push(Record { id: file.container_id, ifname: Some(file.if_name), addresses });
    }
    Ok((own, others))
}

/// host-local's records.
#[derive(Debug, Default)]
struct Leases {
    records: Vec<Record>,
    unclear: Vec<IpAddr>,
}

impl Leases {
    /// Reads the leases of one network: files named by an address that contain `id\r\nifname`, or the id alone.
    fn read(folder: &Path) -> io::Result<Self> {
        let mut leases = Self::default();
        for name in names(folder)? {
            let Ok(address) = name.parse::<IpAddr>() else { continue };
            match fs::read_to_string(folder.join(&name)) {
                Ok(text) if !text.trim().is_empty() => leases.records.push(lease(&text, address)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {} // released just now
                Ok(_) | Err(_) => leases.unclear.push(address),
            }
        }
        Ok(leases)
    }

    fn add(&mut self, other: Self) {
        self.records.extend(other.records);
        self.unclear.extend(other.unclear);
    }
}

fn lease(text: &str, address: IpAddr) -> Record {
    let mut lines = text.trim().split("\r\n");
    let id = lines.next().unwrap_or_default().trim().to_owned();
    Record { id, ifname: lines.next().map(str::to_owned), addresses: vec![address] }
}

/// The names in a folder; none when there is no such folder. Temporary files have a period in front, records have not.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string().ok().filter(|name| !name.starts_with('.')));
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
