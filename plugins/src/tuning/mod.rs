//! The `tuning` plugin: kernel parameters of the container's namespace, and attributes of its interface.
//!
//! # Theory of operation
//!
//! Chained behind the plugin that made an interface, this one writes parameters below `/proc/sys/net` and sets hardware
//! address, MTU, promiscuous and all-multicast mode and the length of the transmit queue: all of the link's in one
//! message. It makes nothing, so there is nothing to find by a name later. What it changes has to be remembered.
//!
//! The memory is a file per attachment ([`backup`]), the Go suite's to the byte but for a last member with what that one
//! does not keep: the parameters' values, the owner, and which life of namespace and link the rest is about. It is written
//! before anything is changed, so that whatever happens then, what was first is known. What was kept first stays: a second
//! ADD finds values of its own making and must not take them for the original ones. But a file of an earlier life of the
//! same container, left by a crash or by the Go suite, which does not remove it when the namespace is gone, says nothing
//! about this one.
//!
//! ADD reads everything, writes the file, the parameters and the link, and takes all of it back when the kernel refuses
//! any of it. DEL puts back what the file has, and removes it, also when the namespace is gone; it never fails for what it
//! can't put back. GC does the same for files of the network that no valid attachment has: of a namespace that lives the file
//! says where it was, and by its number in the kernel it is told from a later one in that place.

mod allowlist;
mod backup;
mod check;
mod config;
mod steps;
mod sysctls;
mod teardown;

use std::path::Path;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::AddResult;
use cni::{Code, Error};
use kernel::link::Settings;
use kernel::netns::NetNs;
use kernel::plan::{Applied, Machine, Plan, Side};
use kernel::sysctl;
use nix::errno::Errno;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{AccessFlags, access};

use crate::error::{attempt, from_failure};
use backup::{Backup, Life, Was};
use config::Config;
use steps::{Keep, SetSysctls, Tune, inside, told};
use sysctls::Sysctl;

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Tuning;

impl Plugin for Tuning {
    const NAME: &'static str = "tuning";

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        sysctls::refuse_duplicates(call)?;
        let config = Config::load(call, Some(attachment))?;
        allowlist::check(Path::new(allowlist::PATH), config.sysctls.keys())?;
        let mut result = previous(call)?;
        let netns = open(attachment)?;
        let wanted = config.settings()?;
        let sysctls = config.sysctls.resolve(&attachment.ifname)?;
        if !sysctls.is_empty() || !wanted.is_empty() {
            let mut machine = enter(netns)?;
            let plan = plan(&mut machine, call, &config, attachment, wanted, sysctls)?;
            let mut done = Applied::default();
            plan.apply(&mut machine, &mut done).map_err(|failure| {
                for failure in done.undo(&mut machine) {
                    call.warn(format_args!("undoing ADD: {failure}"));
                }
                from_failure(failure)
            })?;
        }
        describe(&mut result, &config, &wanted, attachment.ifname.as_str());
        Ok(result)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::load(call, Some(attachment))?;
        teardown::del(call, &config, attachment);
        Ok(())
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        sysctls::refuse_duplicates(call)?;
        let config = Config::load(call, Some(attachment))?;
        previous(call)?;
        let netns = open(attachment)?;
        let wanted = config.settings()?;
        let sysctls = config.sysctls.resolve(&attachment.ifname)?;
        check::check(&mut enter(netns)?, &config, &wanted, &sysctls, attachment.ifname.as_str())
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        let config = Config::load(call, None)?;
        teardown::gc(call, &config, valid)
    }

    fn status(&self, call: &Call) -> Result<(), Error> {
        let ready = sysctls::refuse_duplicates(call).and_then(|()| ready(&Config::load(call, None)?));
        ready.map_err(|error| Error { code: Code::PLUGIN_NOT_AVAILABLE, ..error })
    }
}

fn previous(call: &Call) -> Result<AddResult, Error> {
    call.prev_result()?.ok_or_else(|| Error::internal("Required prevResult missing"))
}

/// The namespace, without the prefix that other plugins put before the refusal, as in the Go suite.
fn open(attachment: &Attachment) -> Result<NetNs, Error> {
    NetNs::open(&attachment.netns).map_err(|error| Error::internal(error.to_string()))
}

fn enter(netns: NetNs) -> Result<Machine, Error> {
    Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))
}

/// Looks at everything that is going to be changed, and says how. Touches nothing.
fn plan(
    machine: &mut Machine,
    call: &Call,
    config: &Config,
    attachment: &Attachment,
    wanted: Settings,
    sysctls: Vec<Sysctl>,
) -> Result<Plan, Error> {
    let ifname = attachment.ifname.as_str();
    let failed = |error: &dyn std::fmt::Display| attempt(format_args!("failed to get \"{ifname}\""), error);
    let container = machine.side(Side::Container).map_err(|error| failed(&error))?;
    let link = container.link(ifname).map_err(|error| failed(&error))?;
    if link.is_none() && !wanted.is_empty() {
        return Err(failed(&"Link not found"));
    }
    let now = link.as_ref().map_or(wanted, |link| wanted.of(link));
    let life = Life::of(container.netns_cookie(), link.as_ref());
    let sysctls = read(machine, sysctls)?;

    let path = Backup::path(&config.data_dir, attachment);
    let before = Backup::read(&path).map_err(|error| {
        Error::internal(format!("failed to open file \"{}\": {}", path.display(), allowlist::reason(&error)))
    })?;
    let mut backup = before.clone().filter(|before| before.is_about(&life, &wanted, &now)).unwrap_or_default();
    backup.keep(&now);
    let ours = backup.xnet.get_or_insert_default();
    (ours.owner, ours.life) = (attachment.owner(&call.name).tag(), life);
    ours.netns.clone_from(&attachment.netns);
    remember(&mut ours.sysctl, &sysctls);

    let mut plan = Plan::new();
    if before.as_ref() != Some(&backup) {
        plan.push(Keep { path, ifname: ifname.to_owned(), backup, before });
    }
    if !sysctls.is_empty() {
        plan.push(SetSysctls { sysctls });
    }
    if now != wanted {
        plan.push(Tune { ifname: ifname.to_owned(), before: now, wanted });
    }
    Ok(plan)
}

/// Reads the parameters that are going to be written. One that is not there is an error now, before anything is touched;
/// one that is there and does not let itself be read, or only be written, has no value that could be put back.
fn read(machine: &Machine, sysctls: Vec<Sysctl>) -> Result<Vec<(Sysctl, Option<String>)>, Error> {
    if sysctls.is_empty() {
        return Ok(Vec::new());
    }
    let read = |sysctl: Sysctl| match sysctl::read(&sysctl.name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(told(&sysctl.name, &error)),
        value => Ok((sysctl, value.ok())),
    };
    let all = inside(machine, || sysctls.into_iter().map(read).collect::<Result<Vec<_>, String>>());
    all.and_then(|inner| inner).map_err(Error::internal)
}

/// Adds what is not kept yet.
fn remember(kept: &mut Vec<Was>, sysctls: &[(Sysctl, Option<String>)]) {
    for (sysctl, before) in sysctls {
        if let Some(was) = before
            && !kept.iter().any(|kept| kept.name == sysctl.name)
        {
            kept.push(Was { name: sysctl.name.clone(), was: was.clone(), at: now() });
        }
    }
}

/// Nanoseconds since the machine started.
fn now() -> u64 {
    let since = clock_gettime(ClockId::CLOCK_BOOTTIME).map(std::time::Duration::from).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Says in the result what the interface has now: wherever its name occurs, as the Go suite does.
fn describe(result: &mut AddResult, config: &Config, wanted: &Settings, ifname: &str) {
    for interface in result.interfaces.iter_mut().filter(|interface| interface.name == ifname) {
        if wanted.mac.is_some() {
            interface.mac.clone_from(&config.mac);
        }
        interface.mtu = interface.mtu.and(wanted.mtu.or(interface.mtu));
    }
}

/// Whether an ADD could be served: it would be refused for what is written, or find no place to write.
fn ready(config: &Config) -> Result<(), Error> {
    allowlist::check(Path::new(allowlist::PATH), config.sysctls.keys())?;
    let wanted = config.settings()?;
    let placeholder = "IFNAME".parse()?;
    config.sysctls.resolve(&placeholder)?;
    let sys = "/proc/sys";
    if !config.sysctls.is_empty() && statvfs(sys).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY)) {
        return Err(Error::internal(format!("{sys} is mounted read-only: parameters can't be set")));
    }
    if config.sysctls.is_empty() && wanted.is_empty() {
        return Ok(());
    }
    // The directory is made when it is needed; so what counts is the nearest that is there.
    let missing = |folder: &&Path| matches!(access(*folder, AccessFlags::F_OK), Err(Errno::ENOENT | Errno::ENOTDIR));
    let Some(folder) = config.data_dir.ancestors().find(|folder| !missing(folder)) else { return Ok(()) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let writable = access(folder, AccessFlags::W_OK | AccessFlags::X_OK);
    let usable = if folder.is_dir() { writable } else { Err(Errno::ENOTDIR) };
    usable.map_err(|errno| {
        let reason = kernel::sentence(errno);
        Error::internal(format!(
            "no backups can be kept in {}: {}: {reason}",
            config.data_dir.display(),
            folder.display()
        ))
    })
}

#[cfg(test)]
mod tests;
