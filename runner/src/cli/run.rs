//! `xnet run`: what was typed, and the spec that it means.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;

use crate::container;
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::net::bridge::Network;
use crate::process::exec::c_string;
use crate::spec::{Dirs, Hostname, Limits, NetMode, Rootfs, Spec, parse_bytes, parse_cpus};

use super::complain;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The options of `xnet run`, named as elsewhere.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// bridge, host, none or container:NAME
    #[arg(long, alias = "network", value_name = "MODE", default_value = "bridge")]
    net: NetMode,
    /// A name to refer to the container by
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Remove the container when it ends (always the case for now)
    #[arg(long)]
    rm: bool,
    /// The host name inside; by default the first twelve digits of the id
    #[arg(long, value_name = "NAME")]
    hostname: Option<Hostname>,
    /// Set an environment variable; without a value it is taken from the caller's environment
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    env: Vec<OsString>,
    /// The working directory inside; made if it is missing
    #[arg(short, long, value_name = "DIR", default_value = "/")]
    workdir: PathBuf,
    /// A directory to run in, never written to; by default the system directories of the host
    #[arg(long, value_name = "DIR")]
    rootfs: Option<PathBuf>,
    /// The list of CNI plugins that wires the container in bridge mode; by default one bridge, xnet0
    #[arg(long, value_name = "FILE.conflist")]
    conf: Option<PathBuf>,
    /// Where the plugins are, separated by colons; by default they are inside xnet
    #[arg(long, value_name = "DIRS", env = "XNET_CNI_PATH")]
    cni_path: Option<OsString>,
    /// A limit for memory: bytes, or with k, m, g
    #[arg(short, long, value_name = "SIZE", value_parser = parse_bytes)]
    memory: Option<u64>,
    /// A limit for CPU time, in CPUs
    #[arg(long, value_name = "NUMBER", value_parser = parse_cpus)]
    cpus: Option<u64>,
    /// A limit for the number of processes and threads
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pids_limit: Option<u64>,
    /// The cgroup in which the container's own is made
    #[arg(long, value_name = "NAME", default_value = "xnet")]
    cgroup_parent: Name,
    /// Put a small init in front of the command, which reaps orphans
    #[arg(long)]
    init: bool,
    /// Keep all capabilities, and mask nothing
    #[arg(long)]
    privileged: bool,
    /// Print the steps of the set-up, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    command: Vec<OsString>,
}

impl Run {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let spec = self.spec()?;
        if self.dry_run {
            for op in container::explain(&spec, dirs)? {
                println!("{:16} {op}", op.name());
            }
            return Ok(0);
        }
        let network = self.network()?;
        network.iter().flat_map(Network::distrusted).for_each(|warning| complain(&warning));
        container::run(&spec, network.as_ref(), dirs, &mut complain)
    }

    fn network(&self) -> Result<Option<Network>> {
        if self.net != NetMode::Bridge {
            return match (&self.conf, &self.cni_path) {
                (Some(_), _) => Err(Error::new("--conf is about --net bridge, and means nothing in another mode")),
                _ => Ok(None),
            };
        }
        let plugin_path = self.cni_path.as_deref().map(|dirs| env::split_paths(dirs).collect()).unwrap_or_default();
        Network::load(self.conf.as_deref(), plugin_path).map(Some)
    }

    fn spec(&self) -> Result<Spec> {
        let id = Name::random()?;
        let workdir = if self.workdir.is_absolute() {
            self.workdir.clone()
        } else {
            return Err(Error::new(format!("the working directory {:?} is not absolute", self.workdir)));
        };
        let argv = self.command.iter().map(|arg| c_string(arg.as_bytes())).collect::<Result<_>>()?;
        Ok(Spec {
            argv,
            env: self.environment(&id)?,
            workdir,
            hostname: self.hostname.clone(),
            rootfs: self.rootfs()?,
            net: self.net.clone(),
            limits: Limits { memory: self.memory, millicpus: self.cpus, pids: self.pids_limit },
            cgroup_parent: self.cgroup_parent.clone(),
            privileged: self.privileged,
            init: self.init,
            name: self.name.clone(),
            id,
        })
    }

    fn rootfs(&self) -> Result<Rootfs> {
        let Some(dir) = &self.rootfs else { return Ok(Rootfs::Host) };
        let dir = dir.canonicalize().context(|| format!("the root file system {}", dir.display()))?;
        if !dir.is_dir() {
            return Err(Error::new(format!("the root file system {} is not a directory", dir.display())));
        }
        Ok(Rootfs::Dir(dir))
    }

    /// Defaults first, then `-e` in order; a later value of the same variable replaces an earlier one.
    fn environment(&self, id: &Name) -> Result<Vec<CString>> {
        let hostname = self.hostname.as_ref().map_or(id.short(), Hostname::as_str);
        let mut all: Vec<OsString> = vec![PATH.into(), format!("HOSTNAME={hostname}").into(), "HOME=/root".into()];
        all.extend(env::var_os("TERM").map(|term| assignment(OsStr::new("TERM"), &term)));
        for entry in &self.env {
            let key = key(entry);
            if key.is_empty() {
                return Err(Error::new(format!("invalid environment entry {entry:?}: it has no name")));
            }
            let value = if key.len() == entry.len() {
                env::var_os(entry).map(|v| assignment(entry, &v))
            } else {
                Some(entry.clone())
            };
            all.retain(|old| self::key(old) != key);
            all.extend(value);
        }
        all.iter().map(|entry| c_string(entry.as_bytes())).collect()
    }
}

fn assignment(key: &OsStr, value: &OsStr) -> OsString {
    let mut entry = key.to_owned();
    entry.push("=");
    entry.push(value);
    entry
}

/// The part before the first `=`.
fn key(entry: &OsStr) -> &[u8] {
    entry.as_bytes().split(|b| *b == b'=').next().unwrap_or_default()
}
