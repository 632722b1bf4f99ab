//! Which ids the caller has, and the maps that are made of them.
//!
//! Anybody may map one's own user and group, and nothing else; and for the group only after giving up `setgroups` for good,
//! because leaving a group can open what the group was kept from (CVE-2018-7169). More ids are lent by the administrator in
//! /etc/subuid and /etc/subgid, and two small set-user-id programs, `newuidmap` and `newgidmap`, write maps of
//! these. They have to be started by somebody outside of the namespace, hence the helper process.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Pid, Uid, pipe2, setresgid, setresuid};

use crate::error::{Context, Error, Result};
use crate::spec::IdMap;
use crate::sys;
use crate::sys::clone::{Cloned, fork};

use super::Caller;

/// One of the two maps.
#[derive(Debug, Clone, Copy)]
struct Kind {
    /// The file that lends ids.
    lent: &'static str,
    /// The program that maps them.
    program: &'static str,
    /// The map, below /proc/PID.
    map: &'static str,
}

const USERS: Kind = Kind { lent: "/etc/subuid", program: "newuidmap", map: "uid_map" };
const GROUPS: Kind = Kind { lent: "/etc/subgid", program: "newgidmap", map: "gid_map" };

/// Makes a user namespace, and a mount namespace in it, for this process, which becomes its root. Answers why it has one id
/// only, if it has.
pub(super) fn make(caller: Caller) -> Result<Option<String>> {
    let (wait, go) = pipe()?;
    let (answer, tell) = pipe()?;
    let parent = Pid::this();
    match fork().context(|| "start a process to map ids")? {
        Cloned::Child => {
            drop((go, answer));
            help(parent, caller, wait, tell)
        }
        Cloned::Parent { pidfd, .. } => {
            drop((wait, tell));
            let made =
                namespaces().and_then(|()| { &go }.write_all(b"g").context(|| "talk to the process that maps ids"));
            drop(go);
            let mut missing = String::new();
            let heard = { answer }.read_to_string(&mut missing);
            let _ = sys::signal::reap(Some(pidfd.as_fd()));
            made?;
            heard.context(|| "listen to the process that maps ids")?;
            settle(caller)?;
            Ok(Some(missing).filter(|text| !text.is_empty()))
        }
    }
}

fn pipe() -> Result<(File, File)> {
    let (read, write) = pipe2(OFlag::O_CLOEXEC).context(|| "make a pipe")?;
    Ok((read.into(), write.into()))
}

fn namespaces() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(|errno| {
        let why = match errno {
            Errno::EPERM => {
                ": this host lets only root make them (kernel.unprivileged_userns_clone, AppArmor, seccomp)"
            }
            Errno::ENOSPC | Errno::EUSERS => ": user.max_user_namespaces is used up, or 0",
            Errno::EINVAL => ": this kernel has none",
            _ => "",
        };
        Error::new(format!("without root a user namespace is needed, and cannot be made: {}{why}", errno.desc()))
    })
}

/// Maps the ids of `target` when it says that it is ready, and tells it what is missing.
fn help(target: Pid, caller: Caller, mut wait: File, mut tell: File) -> ! {
    if wait.read_exact(&mut [0]).is_ok() {
        let mapped = map(USERS, target, caller.uid.as_raw()).and_then(|()| map(GROUPS, target, caller.gid.as_raw()));
        if let Err(error) = mapped {
            let _ = tell.write_all(error.message.as_bytes());
        }
    }
    sys::exit_now(0)
}

/// Has `kind`'s program map the caller's own `id` to 0, and what is lent to the caller to the ids from 1 on.
fn map(kind: Kind, target: Pid, id: u32) -> Result<()> {
    let maps = maps(kind, id)?;
    let numbers = maps.iter().flat_map(|map| [map.inside, map.outside, map.count]).map(|number| number.to_string());
    let ended = Command::new(kind.program).arg(target.to_string()).args(numbers).stdin(Stdio::null()).output();
    let ended = ended.map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(format!("{} is not installed (package uidmap)", kind.program)),
        _ => Error::new(format!("{}: {error}", kind.program)),
    })?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stderr).trim().replace('\n', "; ");
    Err(Error::new(format!("{} has failed: {said}", kind.program)))
}

fn maps(kind: Kind, id: u32) -> Result<Vec<IdMap>> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    // Both files name users.
    let uid = Uid::current().as_raw();
    let name = user_name(&read("/etc/passwd"), uid);
    let lent = lent(&read(kind.lent), uid, name.as_deref());
    if lent.is_empty() {
        let name = name.unwrap_or_else(|| uid.to_string());
        return Err(Error::new(format!("{} lends no ids to {name}", kind.lent)));
    }
    let mut maps = vec![IdMap::new(0, id, 1)?];
    let mut inside = 1_u32;
    for (first, count) in lent {
        maps.push(IdMap::new(inside, first, count)?);
        inside = inside.saturating_add(count);
    }
    Ok(maps)
}

/// The name of user `uid`, by the text of /etc/passwd.
fn user_name(passwd: &str, uid: u32) -> Option<String> {
    let line = passwd.lines().find(|line| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(uid))?;
    line.split(':').next().map(str::to_owned)
}

/// The ranges that the text of /etc/subuid or /etc/subgid lends to a user, as first id and number.
fn lent(text: &str, uid: u32, name: Option<&str>) -> Vec<(u32, u32)> {
    let mine = |who: &str| name == Some(who) || who.parse() == Ok(uid);
    let ranges = text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let who = fields.next()?;
        let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (mine(who) && range.1 > 0).then_some(range)
    });
    ranges.collect()
}

/// Maps what nobody has mapped, one id each, and becomes root.
fn settle(caller: Caller) -> Result<()> {
    let is_empty =
        |kind: Kind| fs::read_to_string(Path::new("/proc/self").join(kind.map)).is_ok_and(|map| map.trim().is_empty());
    let write = |file: &str, text: String| {
        fs::write(Path::new("/proc/self").join(file), &text).map_err(|error| {
            Error::new(format!(
                "map the caller's ids: write {text:?} to /proc/self/{file}: {error} (does a security module, such as \
                 AppArmor, keep user namespaces from people?)"
            ))
        })
    };
    if is_empty(USERS) {
        write(USERS.map, format!("0 {} 1", caller.uid))?;
    }
    if is_empty(GROUPS) {
        write("setgroups", "deny".to_owned())?;
        write(GROUPS.map, format!("0 {} 1", caller.gid))?;
    }
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid).and_then(|()| setresuid(uid, uid, uid)).context(|| "become root of the user namespace")
}

/// The maps of this process' user namespace, users' and groups', each id in them standing for itself.
pub(crate) fn identity() -> Result<[Vec<IdMap>; 2]> {
    let of = |kind: Kind| {
        let path = Path::new("/proc/self").join(kind.map);
        let text = fs::read_to_string(&path).context(|| format!("read {}", path.display()))?;
        text.lines().map(itself).collect::<Result<Vec<_>>>()
    };
    Ok([of(USERS)?, of(GROUPS)?])
}

fn itself(line: &str) -> Result<IdMap> {
    let fields: Vec<u32> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
    match fields[..] {
        [inside, _, count] => IdMap::new(inside, inside, count),
        _ => Err(Error::new(format!("an id map of the kernel has the line {line:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: S1-U2.
    #[test]
    fn ids_are_lent_by_name_or_by_number() {
        let text = "root:1:5\nann:100000:65536\n1000:300000:10\nbroken\nann:x:1\nann:7:0\n bob:9:9\n";
        assert_eq!(lent(text, 1000, Some("ann")), [(100_000, 65_536), (300_000, 10)]);
        assert_eq!(lent(text, 1001, Some("bob")), [(9, 9)]);
        assert_eq!(lent(text, 1002, None), []);
        let passwd = "root:x:0:0::/:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(user_name(passwd, 1000).as_deref(), Some("ann"));
        assert_eq!(user_name(passwd, 5), None);
    }

    #[test]
    fn a_map_of_the_kernel_becomes_one_of_each_id_to_itself() {
        assert_eq!(itself("         1     100000      65536").unwrap(), IdMap { inside: 1, outside: 1, count: 65_536 });
        assert!(itself("").is_err());
    }
}
