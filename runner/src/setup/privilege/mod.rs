//! Becoming the user that the command runs as, with the capabilities that it may have, for good.
//!
//! Root inside is the host's root with most of its powers taken away, or the root of a user namespace. The order is
//! what makes it hold:
//!
//!  1. the bounding set is cut first, so that no program can get back what is gone, while cutting is still permitted;
//!  2. then groups, group and user. Leaving user 0 would empty the permitted set, hence the "keep" flag. The
//!     caller's groups never stay: they could open what the container's user must not read;
//!  3. then the process' own sets. Nothing is inheritable, and nothing ambient, unless it was asked for by name and the
//!     user is not root: an inheritable set that is not empty gives its capabilities to every program with a
//!     matching file;
//!  4. then the promise never to gain anything by `execve` again. The filter of system calls comes last, right before
//!     the execution: see [`crate::seccomp`].
//!
//! A change of user makes the kernel forget two things that this process needs until it is the command: that nobody
//! may look into it, and that it dies with its parent. Both are said again.

pub(crate) mod account;
mod files;

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::error::{Context, Error, Result};
use crate::io::streams::Stdio;
use crate::seccomp::{self, Filter};
use crate::spec::{Capabilities, CapabilitySet, Process, Rights};
use crate::sys::caps;

use super::path::Root;

pub(crate) use account::Account;

/// The last step before the command: this process becomes its user, as the files of the root that it is in say. A filter
/// that is to be installed by a process which could gain privileges later needs those that it has now, and is installed
/// here; all others wait until the very end. The streams that were made for it become its own.
pub(crate) fn become_user(process: &Process, filters: &[Filter], stdio: &Stdio) -> Result<Account> {
    let rights = process.rights();
    let root = Root::open(Path::new("/")).context(|| "open /")?;
    let account = Account::find(&rights, &root)?;
    stdio.give_to(Uid::from_raw(account.uid))?;
    if !rights.no_new_privileges {
        seccomp::install(filters)?;
    }
    assume(&rights, &account)?;
    umask(Mode::from_bits_truncate(process.umask));
    Ok(account)
}

/// Becomes root of the user namespace that this process was born into, whose ids have just been mapped.
pub(crate) fn become_root() -> Result<()> {
    let death = prctl::get_pdeathsig().context(|| "read the parent death signal")?;
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    setresgid(gid, gid, gid).map_err(|errno| refused("become root of the user namespace", errno))?;
    setresuid(uid, uid, uid).map_err(|errno| refused("become root of the user namespace", errno))?;
    keep_to_itself(death)
}

/// A change of user makes the kernel forget both.
fn keep_to_itself(death: Option<Signal>) -> Result<()> {
    prctl::set_dumpable(false).context(|| "make the process private")?;
    prctl::set_pdeathsig(death).context(|| "tie the container's life to its parent's")
}

/// Gives this process `rights`, as `account`, which the container's files have made of them.
fn assume(rights: &Rights<'_>, account: &Account) -> Result<()> {
    let death = prctl::get_pdeathsig().context(|| "read the parent death signal")?;
    let sets = effective_sets(rights.capabilities, account);
    cut_bounding(sets.bounding)?;
    prctl::set_keepcaps(true).context(|| "keep capabilities over the change of user")?;
    change_ids(account)?;
    prctl::set_keepcaps(false).context(|| "stop keeping capabilities")?;
    set_capabilities(&sets)?;
    if rights.no_new_privileges {
        prctl::set_no_new_privs().context(|| "set no_new_privs")?;
    }
    keep_to_itself(death)
}

/// The sets that `account` gets: those of the spec, as far as there are such capabilities. Ambient ones are of no use
/// to root, whose programs get all that is permitted.
fn effective_sets(asked: &Capabilities, account: &Account) -> Capabilities {
    let ambient = if account.uid == 0 { CapabilitySet::EMPTY } else { asked.ambient };
    Capabilities { inheritable: asked.inheritable.union(ambient), ambient, ..*asked }
}

/// Sets have 64 bits; the kernel says which of them mean something.
const BITS: u32 = 64;

fn cut_bounding(keep: CapabilitySet) -> Result<()> {
    // Also those that xnet itself lacks: a new user namespace begins with all.
    for number in (0..BITS).filter(|n| keep.bits() & (1 << n) == 0) {
        match caps::drop_bounding(number) {
            // The first number that the kernel does not know: there are no more.
            Err(Errno::EINVAL) => break,
            answer => answer.context(|| format!("drop capability {number} from the bounding set"))?,
        }
    }
    Ok(())
}

/// Whether nobody may set groups in this process' user namespace, and so in none below it. It is looked up once: who is on the
/// way into a container asks before, as /proc does not know that process inside.
pub(crate) fn groups_are_fixed() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| fs::read_to_string("/proc/self/setgroups").is_ok_and(|word| word.trim() == "deny"))
}

fn change_ids(account: &Account) -> Result<()> {
    let groups: Vec<_> = account.groups.iter().copied().map(Gid::from_raw).collect();
    match setgroups(&groups) {
        // A user namespace of one group, made by somebody without rights: groups can be neither had nor left there, as leaving one
        // may open what its members are kept from (CVE-2018-7169).
        Err(Errno::EPERM) if groups_are_fixed() => {
            if account.groups_asked {
                return Err(Error::new(
                    "--group-add: the kernel lets no groups be set in a user namespace of one group (/etc/subgid lends more)",
                ));
            }
        }
        answer => answer.map_err(|errno| refused("set the groups", errno))?,
    }
    let gid = Gid::from_raw(account.gid);
    setresgid(gid, gid, gid).map_err(|errno| refused(&format!("become group {gid}"), errno))?;
    let uid = Uid::from_raw(account.uid);
    setresuid(uid, uid, uid).map_err(|errno| refused(&format!("become user {uid}"), errno))
}

fn refused(what: &str, errno: Errno) -> Error {
    match errno {
        Errno::EINVAL => Error::new(format!("{what}: the container's user namespace does not map this id")),
        errno => Error::new(format!("{what}: {}", errno.desc())),
    }
}

fn set_capabilities(sets: &Capabilities) -> Result<()> {
    caps::clear_ambient().context(|| "clear the ambient capabilities")?;
    let held = caps::permitted().context(|| "read the capabilities")?;
    let within = |set: CapabilitySet| set.bits() & held;
    caps::set(within(sets.permitted), within(sets.effective), within(sets.inheritable))
        .context(|| "drop capabilities")?;
    for capability in sets.ambient.iter().filter(|c| within(sets.permitted) & (1 << c.number()) != 0) {
        caps::raise_ambient(capability.number()).context(|| format!("make {capability} ambient"))?;
    }
    Ok(())
}
