//! `xnet info`: what this host has, and what can be asked of it.

use std::fs;

use clap::Args;
use nix::sys::utsname::uname;
use serde_json::{Map, Value as Json, json};

use crate::cgroup;
use crate::cgroup::survey::{controllers, is_usable, version};
use crate::container;
use crate::doctor::kernel::features;
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
        "Features": features().map(|(name, there)| (name.to_owned(), Json::from(there))).into_iter().collect::<Map<_, _>>(),
    }))
}
