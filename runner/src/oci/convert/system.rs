//! Groups, device nodes, settings of the kernel, and the filter of system calls.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime as oci;

use crate::cgroup::at_the_top;
use crate::cgroup::devices::DeviceKind;
use crate::cgroup::systemd::Unit;
use crate::error::{Context, Error, Result};
use crate::oci::plan::{Namespaces, Node, Origin};
use crate::seccomp;
use crate::spec::{Seccomp, Sysctl, SysctlScope};

use super::refuse;

/// The scope that systemd is to make, with `--systemd-cgroup`: `SLICE:PREFIX:NAME`.
pub(super) fn unit(path: Option<&Path>, id: &str) -> Result<Unit> {
    let Some(path) = path.filter(|path| *path != Path::new("")) else { return Unit::new("", "xnet", id) };
    let text = path.to_string_lossy();
    match text.split(':').collect::<Vec<_>>().as_slice() {
        [slice, prefix, name] => Unit::new(slice, prefix, name).context(|| "linux.cgroupsPath"),
        _ => Err(Error::new(format!(
            "linux.cgroupsPath {text:?}: with --systemd-cgroup it must have the form SLICE:PREFIX:NAME"
        ))),
    }
}

/// The group, relative to the root of every hierarchy.
pub(super) fn group(path: Option<&Path>, id: &str) -> Result<PathBuf> {
    let Some(path) = path.filter(|path| *path != Path::new("")) else { return Ok(at_the_top(id)) };
    let text = path.to_str().ok_or_else(|| Error::new("linux.cgroupsPath is not UTF-8"))?;
    let parts = path.components().filter(|part| *part != Component::RootDir && *part != Component::CurDir);
    let clean: PathBuf = parts.clone().collect();
    if parts.clone().any(|part| !matches!(part, Component::Normal(_))) || clean == Path::new("") {
        return Err(Error::new(format!("linux.cgroupsPath {text:?} does not name a group below the root")));
    }
    Ok(clean)
}

/// Device nodes beside the usual ones.
pub(super) fn nodes(devices: &[oci::LinuxDevice]) -> Result<Vec<Node>> {
    devices
        .iter()
        .map(|device| node(device).context(|| format!("linux.devices: {}", device.path().display())))
        .collect()
}

fn node(device: &oci::LinuxDevice) -> Result<Node> {
    if !device.path().is_absolute() {
        return Err(Error::new("it is not an absolute path"));
    }
    let kind = match device.typ() {
        oci::LinuxDeviceType::B => DeviceKind::Block,
        oci::LinuxDeviceType::C | oci::LinuxDeviceType::U => DeviceKind::Char,
        oci::LinuxDeviceType::A | oci::LinuxDeviceType::P => return Err(Error::new("its type is neither b nor c")),
    };
    let number = |number: i64| u64::try_from(number).map_err(|_| Error::new("its number is below 0"));
    Ok(Node {
        path: device.path().clone(),
        kind,
        major: number(device.major())?,
        minor: number(device.minor())?,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or_default(),
        gid: device.gid().unwrap_or_default(),
    })
}

/// Settings of namespaces. Those of a namespace that the container shares with the host would be the host's.
pub(super) fn sysctls(given: Option<&HashMap<String, String>>, namespaces: &Namespaces) -> Result<Vec<Sysctl>> {
    let mut names: Vec<_> = given.into_iter().flatten().collect();
    names.sort();
    let one = |(name, value): (&String, &String)| {
        let sysctl = Sysctl::new(name, value)?;
        let origin = match sysctl.scope() {
            SysctlScope::Net => &namespaces.net,
            SysctlScope::Ipc => &namespaces.ipc,
            SysctlScope::Uts => &namespaces.uts,
        };
        if *origin == Origin::Shared {
            return Err(Error::new(format!("sysctl {name} would be the host's: the container shares this namespace")));
        }
        Ok(sysctl)
    };
    names.into_iter().map(one).collect::<Result<_>>().context(|| "linux.sysctl")
}

/// The filter of system calls, which the document has in the format of profiles.
pub(super) fn seccomp(given: Option<&oci::LinuxSeccomp>) -> Result<Seccomp> {
    let Some(given) = given else { return Ok(Seccomp::Unconfined) };
    refuse("linux.seccomp.listenerPath", given.listener_path().is_some())?;
    if let Some(flags) = given.flags().as_ref().filter(|flags| !flags.is_empty()) {
        refuse(&format!("linux.seccomp.flags {flags:?}"), true)?;
    }
    let what = || "linux.seccomp";
    let value = serde_json::to_value(given).context(what)?;
    seccomp::profile(value).map(Seccomp::Profile).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_paths_or_units() {
        let of = |text: &str| group(Some(Path::new(text)), "web").map(|p| p.display().to_string());
        assert_eq!(of("/a/b").unwrap(), "a/b");
        assert_eq!(of("a/b").unwrap(), "a/b");
        assert_eq!(of("/kubepods/pod:1/x").unwrap(), "kubepods/pod:1/x");
        assert_eq!(group(None, "web").unwrap(), Path::new("xnet-web"));
        let scope = |text: &str| unit(Some(Path::new(text)), "web").map(|unit| unit.path().display().to_string());
        assert_eq!(scope(":cri:web").unwrap(), "system.slice/cri-web.scope");
        assert_eq!(unit(None, "web").unwrap().path(), Path::new("system.slice/xnet-web.scope"));
        assert!(of("/").is_err() && of("/a/../b").is_err() && scope("/a/b").is_err() && scope("a:b:c").is_err());
    }
}
