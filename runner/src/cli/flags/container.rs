//! All the options that describe a container, for the commands that make one.

use std::ffi::OsString;

use clap::Args;

use crate::cli::complain;
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::io::log;
use crate::spec::{Dirs, Expose, Hostname, Mount, NamespaceMode, Root, Source, Spec, Users, mount};
use crate::state::Store;
use crate::storage;

use super::base::{self, Base};
use super::root::rule;
use super::{IoFlags, LifeFlags, LimitFlags, NamespaceFlags, NetFlags, ProcessFlags, RootFlags, SecurityFlags};

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
    #[command(flatten)]
    io: IoFlags,
    /// What is executed in the place of the image's entrypoint; empty for none
    #[arg(long, value_name = "CMD", help_heading = "Process")]
    entrypoint: Option<OsString>,
    /// The image, and a command with its arguments; with --rootfs, or behind `--`, the command alone
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE [CMD]")]
    words: Vec<OsString>,
}

impl ContainerFlags {
    /// The container that is meant, for the background (`detach`) or to be attended.
    pub(in crate::cli) fn spec(&self, dirs: &Dirs, detach: bool) -> Result<Spec> {
        self.spec_of(base::escaped(self.words.len()), dirs, detach)
    }

    /// `host` says that no image was named.
    fn spec_of(&self, host: bool, dirs: &Dirs, detach: bool) -> Result<Spec> {
        let id = Name::random()?;
        let (mut net, ignored) = self.net.net()?;
        ignored.iter().for_each(complain);
        let namespaces = self.namespaces.namespaces(&id)?;
        if (net.hostname.is_some() || net.domainname.is_some()) && namespaces.uts != NamespaceMode::Private {
            return Err(Error::new(
                "--hostname, --domainname: the container shares its names with others by its --uts",
            ));
        }
        let base = Base::new(&self.words, self.root.directory()?, self.entrypoint.as_deref(), host, dirs)?;
        for port in base.config.exposed_ports.keys() {
            net.exposed.extend(Expose::parse(port).context(|| "a port of the image")?);
        }
        let root = self.root(&base, dirs, namespaces.user.as_ref())?;
        let (mut limits, unkept) = self.limits.limits()?;
        unkept.iter().for_each(complain);
        for device in &root.devices {
            limits.devices.push(rule(device)?);
        }
        let (cgroup_parent, scope) = self.limits.group(&id)?;
        let hostname = self.net.hostname.as_ref().map_or(id.short(), Hostname::as_str);
        let spec = Spec {
            process: self.process.process(
                &base.argv,
                hostname,
                &self.security,
                &base.config,
                self.namespaces.user(),
            )?,
            security: self.security.security(&net.mode, &namespaces)?,
            namespaces,
            root,
            net,
            limits,
            cgroup_parent,
            scope,
            io: self.io.io(detach, self.life.rm)?,
            life: self.life.life(&base.config)?,
            name: self.life.name.clone(),
            id,
        };
        log::check(&spec)?;
        Ok(spec)
    }
}

impl ContainerFlags {
    /// The file system, kept in a way that works where the data is.
    fn root(&self, base: &Base, dirs: &Dirs, users: Option<&Users>) -> Result<Root> {
        let mut root = self.root.root(base.rootfs.clone(), &mut complain)?;
        let (storage, warning) = storage::driver(root.storage, &dirs.data, users);
        warning.iter().for_each(complain);
        (root.storage, root.discard) = (storage, self.life.rm);
        for text in &self.root.volumes_from {
            borrow(text, dirs, &mut root.mounts).context(|| format!("--volumes-from {text}"))?;
        }
        base.volumes(&mut root.mounts)?;
        mount::sort(&mut root.mounts)?;
        Ok(root)
    }
}

/// Adds what the container `CONTAINER[:ro|rw]` has mounted, unless something else is wanted at the same place. Its volumes
/// stay its own.
fn borrow(text: &str, dirs: &Dirs, mounts: &mut Vec<Mount>) -> Result<()> {
    let (container, mode) = match text.rsplit_once(':') {
        Some((container, mode @ ("ro" | "rw"))) => (container, Some(mode)),
        Some((_, mode)) => return Err(Error::new(format!("unknown mode {mode:?}: it is ro or rw"))),
        None => (text, None),
    };
    let store = Store::open(dirs)?;
    for mut theirs in store.spec(&store.find(container)?)?.root.mounts {
        match &mut theirs.source {
            Source::Bind { .. } => {}
            Source::Volume { anonymous, .. } => *anonymous = false,
            _ => continue,
        }
        if let Some(mode) = mode {
            theirs.flags.take(mode);
        }
        if mounts.iter().all(|mine| mine.target != theirs.target) {
            mounts.push(theirs);
        }
    }
    Ok(())
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
    let dirs = Dirs { data: "/data".into(), state: "/state".into(), netns: "/netns".into(), conf: "/conf".into() };
    line.container.spec_of(true, &dirs, false).unwrap()
}
