//! What is executed, and with which rights.

use std::fs;
use std::path::Path;

use oci_spec::runtime as oci;

use crate::error::{Context, Error, Result};
use crate::oci::plan::Terminal;
use crate::spec::{Capabilities, CapabilitySet, Process, Rlimit, Size, User, Who};

use super::{missing, refuse};

/// A process of the document: the container's first one, or one that joins it.
pub(in crate::oci) fn process(given: &oci::Process) -> Result<(Process, Option<Terminal>)> {
    let argv = given.args().clone().filter(|args| !args.is_empty()).ok_or_else(|| missing("process.args"))?;
    if !given.cwd().is_absolute() {
        return Err(Error::new(format!("process.cwd {:?} is not an absolute path", given.cwd())));
    }
    refuse("process.scheduler", given.scheduler().is_some())?;
    refuse("process.ioPriority", given.io_priority().is_some())?;
    refuse("process.execCPUAffinity", given.exec_cpu_affinity().is_some())?;
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    refuse("process.apparmorProfile", set(given.apparmor_profile()) && apparmor_is_active())?;
    refuse("process.selinuxLabel", set(given.selinux_label()) && selinux_is_active())?;
    let env = given.env().clone().unwrap_or_default();
    if let Some(bad) = env.iter().find(|entry| !entry.contains('=') || entry.starts_with('=')) {
        return Err(Error::new(format!("process.env: {bad:?} is not KEY=VALUE")));
    }
    let user = given.user();
    let process = Process {
        argv,
        env,
        workdir: given.cwd().clone(),
        user: User { user: Who::Id(user.uid()), group: Some(Who::Id(user.gid())) },
        groups: user.additional_gids().iter().flatten().copied().map(Who::Id).collect(),
        umask: user.umask().unwrap_or(0o022),
        capabilities: capabilities(given.capabilities().as_ref())?,
        rlimits: given.rlimits().iter().flatten().map(rlimit).collect::<Result<_>>()?,
        oom_score_adj: given.oom_score_adj().map(oom_score).transpose()?,
        no_new_privileges: given.no_new_privileges().unwrap_or(false),
        privileged: false,
        init: false,
    };
    let size = given.console_size().as_ref().map(|size| {
        let number = |number: u64| u16::try_from(number).unwrap_or(u16::MAX);
        Size { rows: number(size.height()), cols: number(size.width()) }
    });
    // Engines write zeroes when they have no idea.
    let size = size.filter(|size| size.rows > 0 && size.cols > 0);
    Ok((process, given.terminal().unwrap_or(false).then_some(Terminal { size })))
}

fn apparmor_is_active() -> bool {
    fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y")
}

pub(super) fn selinux_is_active() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}

/// Names that this program does not know are dropped, as the specification allows: they could not be given.
fn capabilities(given: Option<&oci::LinuxCapabilities>) -> Result<Capabilities> {
    let Some(given) = given else { return Ok(Capabilities::default()) };
    let set = |list: &Option<oci::Capabilities>| -> Result<CapabilitySet> {
        list.iter().flatten().map(|name| name.to_string().parse()).collect()
    };
    Ok(Capabilities {
        bounding: set(given.bounding())?,
        permitted: set(given.permitted())?,
        effective: set(given.effective())?,
        inheritable: set(given.inheritable())?,
        ambient: set(given.ambient())?,
    })
}

fn rlimit(limit: &oci::PosixRlimit) -> Result<Rlimit> {
    Rlimit::new(&limit.typ().to_string(), limit.soft(), limit.hard()).context(|| "process.rlimits")
}

fn oom_score(score: i32) -> Result<i16> {
    i16::try_from(score)
        .ok()
        .filter(|score| (-1000..=1000).contains(score))
        .ok_or_else(|| Error::new(format!("process.oomScoreAdj {score} is not between -1000 and 1000")))
}
