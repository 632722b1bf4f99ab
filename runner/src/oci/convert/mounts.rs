//! The list of mounts.

use std::path::Path;

use oci_spec::runtime as oci;

use crate::error::{Context, Error, Result};
use crate::oci::plan::MountStep;
use crate::spec::{Mount, Propagation, Source};

/// What is mounted, in the order given.
pub(super) fn steps(mounts: &[oci::Mount], bundle: &Path) -> Result<Vec<MountStep>> {
    mounts
        .iter()
        .map(|mount| step(mount, bundle).context(|| format!("mounts: {}", mount.destination().display())))
        .collect()
}

fn step(mount: &oci::Mount, bundle: &Path) -> Result<MountStep> {
    let mapped = |list: &Option<Vec<oci::LinuxIdMapping>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if mapped(mount.uid_mappings()) || mapped(mount.gid_mappings()) {
        return Err(Error::new("uidMappings and gidMappings are not supported by xnet"));
    }
    let kind = mount.typ().as_deref().unwrap_or_default();
    // The specification wants an absolute path, and engines of old have left the slash out.
    let target = Path::new("/").join(mount.destination());
    let words = Words::of(mount.options().as_deref().unwrap_or_default());
    let is_bind = words.bind || ["bind", "rbind"].contains(&kind);
    let writable = !words.has("ro");
    match (kind, target.to_str().unwrap_or_default()) {
        _ if is_bind => {}
        ("proc", "/proc") => return words.refuse_options().map(|()| MountStep::Proc),
        ("sysfs", "/sys") => return words.refuse_options().map(|()| MountStep::Sys { writable }),
        ("cgroup", "/sys/fs/cgroup") => return words.refuse_options().map(|()| MountStep::Cgroups { writable }),
        ("cgroup" | "proc", _) => return Err(Error::new(format!("type {kind} cannot be mounted there"))),
        ("", _) => return Err(Error::new("it has no type")),
        _ => {}
    }
    let source = mount.source().as_deref().unwrap_or(Path::new(kind));
    let source = match (kind, is_bind) {
        (_, true) => Source::Bind { path: bundle.join(source), create: false, recursive: words.recursive },
        ("tmpfs", _) => Source::Tmpfs { options: words.options.clone() },
        _ => Source::Other {
            kind: kind.to_owned(),
            device: source.to_string_lossy().into_owned(),
            options: words.options.clone(),
        },
    };
    let mut step = Mount::new(&target.to_string_lossy(), source)?;
    words.dress(&mut step)?;
    Ok(MountStep::Other(step))
}

/// The options of a mount, sorted by what they are about.
#[derive(Default)]
struct Words<'a> {
    bind: bool,
    recursive: bool,
    /// About the mount.
    flags: Vec<&'a str>,
    /// About the mount and those below it.
    deep: bool,
    propagation: Option<&'a str>,
    /// About the file system.
    options: Vec<(String, Option<String>)>,
}

/// What the kernel does anyway, or what has no meaning any more.
const EMPTY: [&str; 9] =
    ["defaults", "async", "atime", "mand", "nomand", "norelatime", "nostrictatime", "loud", "silent"];

impl<'a> Words<'a> {
    fn of(words: &'a [String]) -> Self {
        let mut sorted = Self::default();
        for word in words.iter().map(String::as_str) {
            match word {
                "bind" => sorted.bind = true,
                "rbind" => (sorted.bind, sorted.recursive) = (true, true),
                "" => {}
                _ if EMPTY.contains(&word) => {}
                _ if Propagation::of(word).is_some() => sorted.propagation = Some(word),
                _ if is_flag(word) => sorted.flags.push(word),
                _ => match word.strip_prefix('r').filter(|rest| is_flag(rest)) {
                    Some(rest) => {
                        sorted.deep = true;
                        sorted.flags.push(rest);
                    }
                    None => sorted.option(word),
                },
            }
        }
        sorted
    }

    fn option(&mut self, word: &str) {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (word, None),
        };
        self.options.push((key.to_owned(), value));
    }

    fn has(&self, word: &str) -> bool {
        self.flags.contains(&word)
    }

    /// For the file systems that xnet makes in its own way.
    fn refuse_options(&self) -> Result<()> {
        match self.options.first() {
            Some((key, _)) => Err(Error::new(format!("the option {key:?} is not supported by xnet"))),
            None => Ok(()),
        }
    }

    fn dress(&self, mount: &mut Mount) -> Result<()> {
        for word in &self.flags {
            mount.flags.take(word);
        }
        mount.flags.top_only = !self.deep;
        if let Some(word) = self.propagation {
            mount.propagation = Propagation::of(word).unwrap_or_default();
        }
        let unknown = ["remount", "idmap", "ridmap", "tmpcopyup", "copy-symlink", "unbindable", "runbindable"];
        if let Some((key, _)) = self.options.iter().find(|(key, _)| unknown.contains(&key.as_str())) {
            return Err(Error::new(format!("the option {key:?} is not supported by xnet")));
        }
        Ok(())
    }
}

fn is_flag(word: &str) -> bool {
    crate::spec::Flags::default().take(word)
}
