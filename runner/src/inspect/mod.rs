//! Everything about a container, in the words that people's scripts know.
//!
//! The members, their order, names and types are those of `docker inspect`, so that what was written for that works here.
//! Values come from what was asked for ([`crate::spec`]), from what the present run has put on record, and from the last
//! one; what this runner has no notion of has the value that says so there: `""`, `0`, `null`.

mod config;
mod host;
mod mounts;
pub(crate) mod network;
mod state;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use crate::exec;
use crate::net::Connected;
use crate::spec::{Dirs, Rootfs, Spec};
use crate::state::View;
use crate::storage::Place;
use crate::storage::size::Sizes;

/// What is told about one container.
#[derive(Debug)]
pub(crate) struct Subject<'a> {
    /// What it is and does.
    pub(crate) view: &'a View,
    /// What it is connected to; none when it does not run.
    pub(crate) net: Option<&'a Connected>,
    /// Where things are.
    pub(crate) dirs: &'a Dirs,
    /// With `-s`.
    pub(crate) sizes: Option<Sizes>,
}

impl Subject<'_> {
    fn spec(&self) -> &Spec {
        &self.view.spec
    }

    fn file(&self, name: &str) -> String {
        text(&self.dirs.container(&self.spec().id).join(name))
    }

    /// The whole object.
    pub(crate) fn describe(&self) -> Json {
        let spec = self.spec();
        let (path, args) = spec.process.argv.split_first().map_or(("", [].as_slice()), |(path, args)| (path, args));
        let mut all = json!({
            "Id": spec.id,
            "Created": spec.life.created.to_string(),
            "Path": path,
            "Args": args,
            "State": state::describe(self.view),
            "Image": image(&spec.root.rootfs),
            "ResolvConfPath": self.file("resolv.conf"),
            "HostnamePath": self.file("hostname"),
            "HostsPath": self.file("hosts"),
            "LogPath": self.file(&format!("{}-json.log", spec.id)),
            "Name": format!("/{}", self.view.called()),
            "RestartCount": self.view.exit.as_ref().map_or(0, |exit| exit.restarts),
            "Driver": spec.root.storage.name(),
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": or_null(exec::ids(&self.view.state)),
            "HostConfig": host::describe(self),
            "GraphDriver": self.graph_driver(),
            "Mounts": self.mounts(),
            "Config": config::describe(spec),
            "NetworkSettings": network::describe(self.net),
        });
        if let (Some(sizes), Json::Object(all)) = (self.sizes, &mut all) {
            // Where Docker has them, behind the storage.
            let at = all.keys().position(|key| key == "GraphDriver").unwrap_or(all.len());
            all.shift_insert(at, "SizeRw".to_owned(), sizes.written.into());
            all.shift_insert(at + 1, "SizeRootFs".to_owned(), sizes.root_fs.into());
        }
        all
    }

    fn graph_driver(&self) -> Json {
        let spec = self.spec();
        let own = Place::of(&self.dirs.data, &spec.id);
        let lower = match &spec.root.rootfs {
            Rootfs::Host => "/".to_owned(),
            Rootfs::Dir(dir) => text(dir),
            // The highest first, as in the kernel's own option.
            Rootfs::Image { layers, .. } => layers.iter().rev().map(|layer| text(layer)).collect::<Vec<_>>().join(":"),
        };
        // The container's mounts are its own; what it sees is found by its first process while it runs.
        let merged = match self.view.run.as_ref() {
            Some(run) if self.view.status.is_alive() => PathBuf::from(format!("/proc/{}/root", run.pid)),
            _ => own.merged(),
        };
        json!({
            "Name": spec.root.storage.name(),
            "Data": {
                "LowerDir": lower,
                "MergedDir": text(&merged),
                "UpperDir": text(&own.diff()),
                "WorkDir": text(&own.work()),
            },
        })
    }
}

/// An image's id; empty for a container without one.
fn image(rootfs: &Rootfs) -> &str {
    match rootfs {
        Rootfs::Image { id, .. } => id,
        Rootfs::Host | Rootfs::Dir(_) => "",
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// An object whose keys are all there is to know: `{"80/tcp": {}}`.
fn set<T: ToString>(keys: impl IntoIterator<Item = T>) -> Json {
    Json::Object(keys.into_iter().map(|key| (key.to_string(), json!({}))).collect::<Map<_, _>>())
}

/// `null` in the place of an empty list, as elsewhere.
fn or_null<T: Into<Json>>(items: impl IntoIterator<Item = T>) -> Json {
    let items: Vec<Json> = items.into_iter().map(Into::into).collect();
    if items.is_empty() { Json::Null } else { items.into() }
}
