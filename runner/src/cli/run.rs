//! `xnet run`: what was typed, and the spec that it means.

use std::ffi::OsString;

use clap::Args;

use crate::container;
use crate::error::{Error, Result};
use crate::id::Name;
use crate::spec::{Dirs, Hostname, NamespaceMode, Spec};

use super::complain;
use super::flags::{LimitFlags, NamespaceFlags, NetFlags, ProcessFlags, RootFlags, SecurityFlags};

/// The options of `xnet run`, named as elsewhere.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// A name to refer to the container by
    #[arg(long, value_name = "NAME")]
    name: Option<Name>,
    /// Remove the container when it ends (always the case for now)
    #[arg(long)]
    rm: bool,
    /// Print the steps of the set-up, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    process: ProcessFlags,
    #[command(flatten)]
    security: SecurityFlags,
    #[command(flatten)]
    namespaces: NamespaceFlags,
    #[command(flatten)]
    root: RootFlags,
    #[command(flatten)]
    net: NetFlags,
    #[command(flatten)]
    limits: LimitFlags,
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
        container::run(&spec, dirs, &mut complain)
    }

    fn spec(&self) -> Result<Spec> {
        let id = Name::random()?;
        let (net, ignored) = self.net.net()?;
        ignored.iter().for_each(complain);
        let namespaces = self.namespaces.namespaces()?;
        if (net.hostname.is_some() || net.domainname.is_some()) && namespaces.uts != NamespaceMode::Private {
            return Err(Error::new(
                "--hostname, --domainname: the container shares its names with others by its --uts",
            ));
        }
        let hostname = self.net.hostname.as_ref().map_or(id.short(), Hostname::as_str);
        Ok(Spec {
            process: self.process.process(&self.command, hostname, &self.security)?,
            security: self.security.security(&net.mode, &namespaces)?,
            namespaces,
            root: self.root.root()?,
            net,
            limits: self.limits.limits()?,
            cgroup_parent: self.limits.cgroup_parent.clone(),
            name: self.name.clone(),
            id,
        })
    }
}
