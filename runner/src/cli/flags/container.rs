//! All the options that describe a container, for the commands that make one.

use std::ffi::OsString;

use clap::Args;

use crate::cli::complain;
use crate::error::{Error, Result};
use crate::id::Name;
use crate::spec::{Hostname, NamespaceMode, Spec};

use super::{LifeFlags, LimitFlags, NamespaceFlags, NetFlags, ProcessFlags, RootFlags, SecurityFlags};

/// A container, as typed.
#[derive(Debug, Args)]
pub(in crate::cli) struct ContainerFlags {
    #[command(flatten)]
    life: LifeFlags,
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

impl ContainerFlags {
    /// The container that is meant.
    pub(in crate::cli) fn spec(&self) -> Result<Spec> {
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
            life: self.life.life()?,
            name: self.life.name.clone(),
            id,
        })
    }
}

/// The container that `xnet run ARGS` means, for tests.
#[cfg(test)]
pub(crate) fn spec_of(args: &[&str]) -> Spec {
    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        container: ContainerFlags,
    }
    let line: Line = clap::Parser::parse_from([&["run"], args].concat());
    line.container.spec().unwrap()
}
