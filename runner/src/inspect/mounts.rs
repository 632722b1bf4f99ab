//! `Mounts`, and `Binds` of `HostConfig`: what is mounted into it beside the system's own.

use serde_json::{Value as Json, json};

use crate::spec::{Mount, Source};

use super::{Subject, text};

impl Subject<'_> {
    pub(super) fn mounts(&self) -> Json {
        self.spec().root.mounts.iter().map(|mount| self.mount(mount)).collect()
    }

    fn mount(&self, mount: &Mount) -> Json {
        let (destination, mode) = (text(&mount.target), mount.mode.as_str());
        let (rw, propagation) = (!mount.flags.readonly(), mount.propagation.name());
        match &mount.source {
            Source::Bind { path, .. } => json!({
                "Type": "bind",
                "Source": text(path),
                "Destination": destination,
                "Mode": mode,
                "RW": rw,
                "Propagation": propagation,
            }),
            Source::Volume { name, .. } => json!({
                "Type": "volume",
                "Name": name,
                "Source": text(&self.dirs.data.join("volumes").join(name).join("_data")),
                "Destination": destination,
                "Driver": "local",
                "Mode": mode,
                "RW": rw,
                "Propagation": "",
            }),
            Source::Tmpfs { .. } | Source::Other { .. } => json!({
                "Type": match &mount.source {
                    Source::Other { kind, .. } => kind.as_str(),
                    _ => "tmpfs",
                },
                "Source": "",
                "Destination": destination,
                "Mode": mode,
                "RW": rw,
                "Propagation": "",
            }),
        }
    }
}

/// As it was given with `-v`.
pub(super) fn bind(mount: &Mount) -> Option<String> {
    let source = match &mount.source {
        Source::Bind { path, .. } => text(path),
        Source::Volume { name, anonymous: false, .. } => name.clone(),
        _ => return None,
    };
    let mode = if mount.mode.is_empty() { String::new() } else { format!(":{}", mount.mode) };
    Some(format!("{source}:{}{mode}", text(&mount.target)))
}
