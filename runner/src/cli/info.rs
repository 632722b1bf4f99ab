//! `xnet info`: what this host has, and what can be asked of it.

use std::fs;
use std::path::Path;

use clap::Args;
use nix::sys::utsname::uname;
use serde_json::{Value as Json, json};

use crate::cgroup::survey::{Controller, State, controllers};
use crate::cgroup::{self, Kind};
use crate::container;
use crate::error::{Context, Result};
use crate::format::{Template, pretty};
use crate::image;
use crate::rootless;
use crate::spec::Dirs;
use crate::state::{Status, View};

use super::complain;

/// How to tell it.
#[derive(Debug, Args)]
pub(super) struct Info {
    /// json, or a Go template
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Info {
    pub(super) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let info = gather(dirs)?;
        match self.format.as_deref() {
            None => println!("{}", pretty(&info)?),
            Some("json") => println!("{info}"),
            Some(text) => println!("{}", Template::parse(text)?.render(&info)?),
        }
        Ok(0)
    }
}

fn gather(dirs: &Dirs) -> Result<Json> {
    let store = container::open(dirs, &mut complain)?;
    let views = View::all(&store)?;
    let count = |status: Status| views.iter().filter(|view| view.status == status).count();
    let hierarchies = cgroup::of_host()?;
    let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let controllers = controllers(&hierarchies, &table);
    let host = uname().context(|| "uname")?;
    let missing: Vec<_> = controllers.iter().filter(|c| !is_usable(c)).flat_map(|c| c.flags.clone()).collect();
    Ok(json!({
        "Containers": views.len(),
        "ContainersRunning": count(Status::Running),
        "ContainersPaused": count(Status::Paused),
        "ContainersStopped": count(Status::Exited) + count(Status::Created) + count(Status::Dead),
        "Images": image::Store::open(&dirs.data)?.images()?.len(),
        "Driver": "overlay",
        "RootDir": dirs.data,
        "StateDir": dirs.state,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "KernelVersion": host.release().to_string_lossy(),
        "Architecture": host.machine().to_string_lossy(),
        "Name": host.nodename().to_string_lossy(),
        "NCPU": std::thread::available_parallelism().map_or(0, usize::from),
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": version(&hierarchies),
        "Controllers": controllers,
        "UnavailableOptions": missing,
        "Rootless": rootless::caller().is_some(),
        "RootlessMissing": rootless::missing(&hierarchies),
        "Features": {
            "overlay": has_filesystem("overlay"),
            "seccomp": Path::new("/proc/sys/kernel/seccomp").is_dir(),
            "userNamespaces": Path::new("/proc/self/ns/user").exists(),
            "timeNamespaces": Path::new("/proc/self/ns/time").exists(),
            "cgroupNamespaces": Path::new("/proc/self/ns/cgroup").exists(),
            "privateBinfmtMisc": has_filesystem("binfmt_misc"),
            "apparmor": Path::new("/sys/kernel/security/apparmor").is_dir(),
            "selinux": Path::new("/sys/fs/selinux/enforce").exists(),
        },
    }))
}

fn is_usable(controller: &Controller) -> bool {
    matches!(controller.state, State::V1 | State::V2)
}

/// `1`, `2`, or `hybrid` where the controllers are in version 1 and version 2 is there beside it.
fn version(hierarchies: &[cgroup::Hierarchy]) -> &'static str {
    let two = hierarchies.iter().any(|h| h.kind == Kind::V2);
    match (hierarchies.iter().any(|h| h.kind != Kind::V2), two) {
        (true, true) => "hybrid",
        (false, _) => "2",
        (true, false) => "1",
    }
}

fn has_filesystem(name: &str) -> bool {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.split_whitespace().next_back() == Some(name))
}
