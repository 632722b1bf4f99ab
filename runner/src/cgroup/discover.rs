//! Which hierarchies there are, from what the kernel says about this process and its mounts.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use crate::kernel_file;

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its version, and on version 1 what is attached to it.
    pub kind: Kind,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Below the mount: the group in which ours are made. Empty for the root of the hierarchy.
    pub below: PathBuf,
}

/// The two versions differ in nearly every file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Version 1: a fixed set of controllers, or a name such as `name=systemd`.
    V1 {
        /// As in /proc/self/cgroup.
        controllers: Vec<String>,
    },
    /// Version 2: what is available is read from `cgroup.controllers`.
    V2,
}

impl Hierarchy {
    /// The directory of the group in which ours are made.
    #[must_use]
    pub fn top(&self) -> PathBuf {
        if self.below == Path::new("") { self.mount.clone() } else { self.mount.join(&self.below) }
    }

    /// Whether `controller`, by its name in version 1, lives here.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        match &self.kind {
            Kind::V1 { controllers } => controllers.iter().any(|c| c == controller),
            Kind::V2 => kernel_file::value(self.top().join("cgroup.controllers"))
                .is_ok_and(|text| text.split_whitespace().any(|c| c == self.own_name(controller))),
        }
    }

    /// What version 1 calls `controller` by the name that it has here.
    pub(super) fn own_name<'a>(&self, controller: &'a str) -> &'a str {
        match (&self.kind, controller) {
            (Kind::V2, "blkio") => "io",
            _ => controller,
        }
    }
}

/// The hierarchies that are both known to this process (the text of /proc/self/cgroup) and mounted (mountinfo), in the
/// order of the former. With each the group, below its root, that this process is in.
pub(super) fn parse<'a>(mountinfo: &str, own: &'a str) -> Vec<(Hierarchy, &'a str)> {
    let mounts: Vec<_> = mountinfo.lines().filter_map(mount).collect();
    let hierarchies = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, group) = (fields.next()?, fields.next()?, fields.next()?);
        let kind = if number == "0" {
            Kind::V2
        } else {
            Kind::V1 { controllers: controllers.split(',').map(str::to_owned).collect() }
        };
        let found = mounts.iter().find(|m| m.carries(&kind))?;
        Some((Hierarchy { kind, mount: found.at.clone(), below: PathBuf::new() }, group))
    });
    hierarchies.collect()
}

/// The hierarchy with ours as far up as this process may make groups, of those on the way from the root to its own, `group`:
/// what an administrator has delegated. A process can be moved only within that. None if there is nothing.
pub(super) fn delegated(hierarchy: Hierarchy, group: &str) -> Option<Hierarchy> {
    let is_ours = |dir: &Path| {
        let may_write = |path: &Path| access(path, AccessFlags::W_OK).is_ok();
        may_write(dir) && may_write(&dir.join("cgroup.procs"))
    };
    let mut below = PathBuf::new();
    let names = Path::new(group).components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    for name in std::iter::once(OsStr::new("")).chain(names) {
        if !name.is_empty() {
            below.push(name);
        }
        let found = Hierarchy { below: below.clone(), ..hierarchy.clone() };
        if is_ours(&found.top()) {
            return Some(found);
        }
    }
    None
}

struct Mount<'a> {
    at: PathBuf,
    fstype: &'a str,
    options: Vec<&'a str>,
}

impl Mount<'_> {
    fn carries(&self, kind: &Kind) -> bool {
        match kind {
            Kind::V2 => self.fstype == "cgroup2",
            Kind::V1 { controllers } => {
                self.fstype == "cgroup" && controllers.iter().all(|c| self.options.contains(&c.as_str()))
            }
        }
    }
}

/// A cgroup mount of a mountinfo line: `id parent dev root point options [optional]... - fstype source superoptions`.
fn mount(line: &str) -> Option<Mount<'_>> {
    let (front, back) = line.split_once(" - ")?;
    let mut back = back.split(' ');
    let fstype = back.next().filter(|kind| kind.starts_with("cgroup"))?;
    let options = back.nth(1)?.split(',').collect();
    let at = unescape(front.split(' ').nth(4)?);
    Path::new(&at).is_dir().then_some(Mount { at: at.into(), fstype, options })
}

/// Undoes the octal escapes of mountinfo.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}
