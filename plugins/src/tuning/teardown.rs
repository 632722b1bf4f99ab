//! Putting back what an interface had: DEL; and the files that nobody will come back to: GC.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cni::plugin::{Attachment, Call, ValidAttachments};
use cni::{ContainerId, Error, NetName, Owner};
use kernel::link::Link;
use kernel::netlink;
use kernel::netns::{self, NetNs};
use kernel::plan::{Machine, Side};
use kernel::sysctl;

use super::allowlist::reason;
use super::backup::{Backup, Life, Was};
use super::config::Config;
use super::steps::{inside, told};
use crate::error::attempt;
use crate::failures::Failures;
use crate::ownership::Live;
use crate::records::Records;

/// What the names of backups end with.
const SUFFIX: &str = ".json";

/// Puts back what can be, and removes the backup when nothing has failed. What fails is told and is no error: the Go suite
/// does not let a runtime stumble over it either, and the link is about to go.
pub(super) fn del(call: &Call, config: &Config, attachment: &Attachment) {
    let path = Backup::path(&config.data_dir, attachment);
    let backup = match Backup::read(&path) {
        Ok(Some(backup)) => backup,
        Ok(None) => return,
        Err(error) => return call.warn(format_args!("{}: {}", path.display(), reason(&error))),
    };
    let netns = match NetNs::open(&attachment.netns) {
        Ok(netns) => Some(netns),
        Err(netns::Error::NotExist(..) | netns::Error::NotNamespace(..) | netns::Error::WrongKind(..)) => None,
        Err(error) => return call.warn(error),
    };
    let owner = attachment.owner(&call.name);
    let restored = netns.map_or(Ok(Verdict::Gone), |netns| restore(netns, &path, &backup, &owner));
    match restored {
        Ok(Verdict::Gone) if !is_its(&backup, &owner) => {}
        Ok(_) => {
            if let Err(error) = fs::remove_file(&path) {
                call.warn(format_args!("remove {}: {}", path.display(), reason(&error)));
            }
        }
        Err(text) => call.warn(text),
    }
}

/// What became of a backup.
enum Verdict {
    /// What it speaks of is there, and is as it was.
    Restored,
    /// What it speaks of is not there any more.
    Gone,
}

/// Whether a backup is the attachment's: names of files do not tell `a_b` and `c` from `a` and `b_c`.
fn is_its(backup: &Backup, owner: &Owner) -> bool {
    let tag = backup.xnet.as_ref().and_then(|ours| Owner::parse_tag(&ours.owner));
    let own = Owner::parse_tag(&owner.tag());
    tag.is_none_or(|tag| own.is_some_and(|own| own.attachment == tag.attachment))
}

fn restore(netns: NetNs, path: &Path, backup: &Backup, owner: &Owner) -> Result<Verdict, String> {
    let ifname = owner.ifname.as_str();
    let mut machine = Machine::with_container(netns).map_err(|error| error.to_string())?;
    let container = machine.side(Side::Container).map_err(|error| error.to_string())?;
    let link = container.link(ifname).map_err(|error| format!("failed to get \"{ifname}\": {error}"))?;
    let here = Life::of(container.netns_cookie(), link.as_ref());
    let ours = backup.xnet.clone().unwrap_or_default();
    if ours.life.is_known() && here.is_known() && ours.life.namespace != here.namespace {
        return Ok(Verdict::Gone);
    }
    let is_same_link = backup.xnet.is_none() || ours.life.link == here.link;
    let mut failures = Vec::new();
    if let (Some(link), true) = (&link, is_same_link) {
        failures.extend(set_back(&mut machine, link, backup).err());
    }
    let mut parameters = ours.sysctl;
    if !is_same_link {
        // Those of the link itself went with it.
        parameters.retain(|was| !was.name.split('/').any(|part| part == ifname));
    }
    let mut neighbours = Neighbours::of(path, &owner.id, &ours.life);
    parameters.retain(|was| !neighbours.inherit(was));
    failures.extend(restore_parameters(&machine, &parameters).err());
    failures.extend(neighbours.save().err());
    if failures.is_empty() { Ok(Verdict::Restored) } else { Err(failures.join("; ")) }
}

/// Sets the link's attributes back by one message, and, if the kernel refuses that, as many of them as it takes.
fn set_back(machine: &mut Machine, link: &Link, backup: &Backup) -> Result<(), String> {
    let before = backup.link();
    if before.of(link) == before {
        return Ok(());
    }
    let mut set = |settings: &kernel::link::Settings| -> Result<(), netlink::Error> {
        machine.side(Side::Container)?.call(settings.request(&link.name))
    };
    if set(&before).is_ok() {
        return Ok(());
    }
    let failed = |one: &kernel::link::Settings| {
        set(one).err().map(|error| format!("failed to restore {one} of \"{}\": {error}", link.name))
    };
    let failures: Vec<String> = before.singly().iter().filter_map(failed).collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// Writes the parameters' values of before, in reverse. Those that are gone went with a link.
fn restore_parameters(machine: &Machine, parameters: &[Was]) -> Result<(), String> {
    let back = |was: &Was| match sysctl::write(&was.name, &was.was) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Some(told(&was.name, &error)),
        _ => None,
    };
    if parameters.is_empty() {
        return Ok(());
    }
    let failures: Vec<String> = inside(machine, || parameters.iter().rev().filter_map(back).collect())?;
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// The backups of the container's other attachments.
///
/// A parameter of the whole namespace may have been set by several of them. Then it has the value of the last. When that
/// one goes, its predecessor's value comes back; when another goes, the value stays, and whoever came next inherits what
/// was before.
struct Neighbours(Vec<Neighbour>);

struct Neighbour {
    path: PathBuf,
    backup: Backup,
    has_inherited: bool,
}

impl Neighbours {
    /// Those in the namespace of `life`, beside the backup at `path`.
    fn of(path: &Path, id: &ContainerId, life: &Life) -> Self {
        let prefix = format!("{id}_");
        let is_other = |other: &PathBuf| {
            let name = other.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            other != path && name.starts_with(&prefix) && name.ends_with(SUFFIX)
        };
        let read = |path: PathBuf| {
            let backup = Backup::read(&path).ok().flatten()?;
            let is_here = backup.xnet.as_ref().is_some_and(|ours| ours.life.namespace == life.namespace);
            is_here.then_some(Neighbour { path, backup, has_inherited: false })
        };
        let folder = path.parent().filter(|_| life.is_known());
        let entries = folder.and_then(|folder| fs::read_dir(folder).ok());
        let paths = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        Self(paths.filter(is_other).filter_map(read).collect())
    }

    /// Gives the value to whoever has set the parameter next; false if nobody has.
    fn inherit(&mut self, was: &Was) -> bool {
        let set = self.0.iter_mut().flat_map(|neighbour| {
            let mut parameters = neighbour.backup.xnet.iter_mut().flat_map(|ours| &mut ours.sysctl);
            let mark = &mut neighbour.has_inherited;
            parameters.find(|other| other.name == was.name && other.at > was.at).map(|other| (other, mark))
        });
        let Some((next, mark)) = set.min_by_key(|(other, _)| other.at) else { return false };
        next.was.clone_from(&was.was);
        *mark = true;
        true
    }

    fn save(self) -> Result<(), String> {
        for Neighbour { path, backup, .. } in self.0.iter().filter(|neighbour| neighbour.has_inherited) {
            backup.write(path).map_err(|error| format!("write {}: {}", path.display(), reason(&error)))?;
        }
        Ok(())
    }
}

/// Puts back what this network's attachments that are not valid had, and removes their backups. Those of the Go suite do
/// not say whose they are; they go when what is known otherwise leaves no doubt. What can't be put back is told, and tried
/// again next time.
pub(super) fn gc(call: &Call, config: &Config, valid: &ValidAttachments) -> Result<(), Error> {
    if !valid.is_specified() {
        return Ok(());
    }
    let live = Live::of(&call.name, valid);
    let mut records = None;
    let mut failures = Failures::default();
    for path in files(&config.data_dir)? {
        let left_behind = Backup::read(&path).and_then(|backup| match backup {
            Some(backup) => Ok(is_left_behind(&path, &backup, call, valid, &live, &mut records)?.then_some(backup)),
            None => Ok(None),
        });
        let removed = match left_behind {
            Ok(Some(backup)) => match restore_living(&path, &backup, &call.name) {
                Ok(()) => fs::remove_file(&path),
                Err(text) => {
                    call.warn(text);
                    continue;
                }
            },
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                failures.note(Err(attempt(path.display(), reason(&error))));
            }
            _ => {}
        }
    }
    failures.into_result()
}

/// Puts back what is in a namespace that is still where it was. One that the kernel gives no number could be another by
/// now, and is left alone.
fn restore_living(path: &Path, backup: &Backup, net: &NetName) -> Result<(), String> {
    let Some(ours) = backup.xnet.as_ref().filter(|ours| ours.life.is_known()) else { return Ok(()) };
    let (Ok(netns), Some(owner)) = (NetNs::open(&ours.netns), owner(path, &ours.owner, net)) else { return Ok(()) };
    restore(netns, path, backup, &owner).map(drop)
}

/// The attachment with this tag, of which the name of its file knows what the tag may have lost.
fn owner(path: &Path, tag: &str, net: &NetName) -> Option<Owner> {
    let name = path.file_stem()?.to_str()?;
    let prefix = tag.split(',').next();
    let splits = name.match_indices('_').map(|(at, _)| (&name[..at], &name[at + 1..]));
    let mut owners =
        splits.filter_map(|(id, ifname)| Some(Owner::new(net.clone(), id.parse().ok()?, ifname.parse().ok()?)));
    owners.find(|owner| prefix == Some(&owner.tag_prefix()))
}

/// Whether a backup is of this network and of no valid attachment. One without an owner is judged by its name, and by what
/// libcni and host-local have on record.
fn is_left_behind(
    path: &Path,
    backup: &Backup,
    call: &Call,
    valid: &ValidAttachments,
    live: &Live,
    records: &mut Option<Records>,
) -> io::Result<bool> {
    if let Some(ours) = &backup.xnet {
        return Ok(live.is_stale(&ours.owner));
    }
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let is_it = |id: &str, ifname: Option<&str>| match ifname {
        Some(ifname) => name == format!("{id}_{ifname}"),
        None => name.starts_with(&format!("{id}_")),
    };
    let records = match records {
        Some(records) => records,
        None => records.insert(Records::of(&call.name)?),
    };
    records.is_stale_attachment(is_it, valid)
}

/// The backups in a directory.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.path())).collect()
    };
    let mut all = list().map_err(|error| attempt(folder.display(), reason(&error)))?;
    all.retain(|path| path.to_str().is_some_and(|path| path.ends_with(SUFFIX)));
    Ok(all)
}
