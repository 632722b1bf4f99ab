//! From the OCI document to a [`Plan`]. What xnet cannot keep is refused with its name: a container that only looks like
//! what was asked for is worse than none.

mod mounts;
mod process;
mod resources;
mod system;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use oci_spec::runtime::{self as oci, LinuxNamespaceType, Spec};

use crate::cgroup::devices::usual;
use crate::error::{Context, Error, Result};
use crate::spec::{Hostname, NetDevice, Security, TimeOffsets};

pub(super) use process::process;
pub(crate) use resources::limits as resources;

use super::bundle::Bundle;
use super::plan::{Hook, Hooks, Namespaces, Origin, Plan};

/// The container that `bundle` describes.
pub(super) fn plan(bundle: &Bundle, id: &str, systemd: bool) -> Result<Plan> {
    let spec = &bundle.spec;
    let what = || format!("the bundle {}", bundle.dir.display());
    convert(spec, &bundle.dir, id, systemd).context(what)
}

fn convert(spec: &Spec, dir: &Path, id: &str, systemd: bool) -> Result<Plan> {
    check_version(spec.version())?;
    refuse("vm", spec.vm().is_some())?;
    let root = spec.root().as_ref().ok_or_else(|| missing("root"))?;
    let given = spec.process().as_ref().ok_or_else(|| missing("process"))?;
    let linux = spec.linux().as_ref().ok_or_else(|| missing("linux"))?;
    refuse_linux(linux)?;
    let (process, terminal) = process(given)?;
    let none = oci::LinuxResources::default();
    let asked = linux.resources().as_ref().unwrap_or(&none);
    let namespaces = namespaces(linux)?;
    if namespaces.uts == Origin::Shared && (spec.hostname().is_some() || spec.domainname().is_some()) {
        return Err(Error::new("hostname: a container without a uts namespace would change the host's"));
    }
    let path = linux.cgroups_path().as_deref();
    let scope = systemd.then(|| system::unit(path, id)).transpose()?;
    let group = scope.as_ref().map_or_else(|| system::group(path, id), |unit| Ok(unit.path()))?;
    let net_devices = net_devices(linux, &namespaces.net)?;
    Ok(Plan {
        net_devices,
        no_pivot: false,
        process,
        terminal,
        rootfs: rootfs(dir, root.path())?,
        readonly: root.readonly().unwrap_or(false),
        propagation: propagation(linux.rootfs_propagation().as_deref())?,
        mounts: mounts::steps(spec.mounts().as_deref().unwrap_or_default(), dir)?,
        devices: system::nodes(linux.devices().as_deref().unwrap_or_default())?,
        security: Security {
            seccomp: system::seccomp(linux.seccomp().as_ref())?,
            masked: paths(linux.masked_paths().as_deref(), "linux.maskedPaths")?,
            read_only: paths(linux.readonly_paths().as_deref(), "linux.readonlyPaths")?,
            sysctls: system::sysctls(linux.sysctl().as_ref(), &namespaces)?,
            new_keyring: true,
            user_namespaces: true,
        },
        namespaces,
        group,
        scope,
        limits: resources::limits(asked)?,
        rules: [resources::rules(asked)?, usual()].concat(),
        hostname: name(spec.hostname().as_deref())?,
        domainname: name(spec.domainname().as_deref())?,
        hooks: hooks(spec.hooks().as_ref())?,
        annotations: spec.annotations().clone().into_iter().flatten().collect::<BTreeMap<_, _>>(),
    })
}

/// A part that must be there.
fn missing(part: &str) -> Error {
    Error::new(format!("config.json has no {part:?}"))
}

/// Refuses `part` if it was asked for.
fn refuse(part: &str, asked: bool) -> Result<()> {
    if asked { Err(Error::new(format!("{part}: this is not supported by xnet"))) } else { Ok(()) }
}

/// Everything of 1.x is understood, or refused where it stands.
fn check_version(version: &str) -> Result<()> {
    if version.split_once('.').is_some_and(|(major, _)| major == "1") {
        return Ok(());
    }
    Err(Error::new(format!("ociVersion {version:?} is not known; xnet understands 1.x")))
}

fn refuse_linux(linux: &oci::Linux) -> Result<()> {
    let some = |list: Option<usize>| list.is_some_and(|length| length > 0);
    refuse("linux.uidMappings", some(linux.uid_mappings().as_ref().map(Vec::len)))?;
    refuse("linux.gidMappings", some(linux.gid_mappings().as_ref().map(Vec::len)))?;
    refuse("linux.intelRdt", linux.intel_rdt().is_some())?;
    refuse("linux.memoryPolicy", linux.memory_policy().is_some())?;
    refuse("linux.personality", linux.personality().is_some())?;
    let label = linux.mount_label().as_ref().is_some_and(|label| !label.is_empty());
    refuse("linux.mountLabel", label && process::selinux_is_active())
}

fn rootfs(bundle: &Path, path: &Path) -> Result<PathBuf> {
    if path == Path::new("") {
        return Err(missing("root.path"));
    }
    let path = bundle.join(path);
    let found = path.canonicalize().context(|| format!("root.path {}", path.display()))?;
    if !found.is_dir() {
        return Err(Error::new(format!("root.path {} is not a directory", path.display())));
    }
    Ok(found)
}

/// What mounts in the container do to others; none where the set-up does it anyway.
fn propagation(word: Option<&str>) -> Result<Option<u64>> {
    match word.unwrap_or_default() {
        "" | "slave" | "rslave" | "private" | "rprivate" => Ok(None),
        "shared" | "rshared" => Ok(Some(libc::MS_SHARED)),
        "unbindable" | "runbindable" => Ok(Some(libc::MS_UNBINDABLE)),
        other => Err(Error::new(format!("linux.rootfsPropagation: unknown word {other:?}"))),
    }
}

fn paths(list: Option<&[String]>, part: &str) -> Result<Vec<PathBuf>> {
    let check = |path: &String| match Path::new(path).is_absolute() {
        true => Ok(PathBuf::from(path)),
        false => Err(Error::new(format!("{part}: {path:?} is not an absolute path"))),
    };
    list.unwrap_or_default().iter().map(check).collect()
}

fn name(text: Option<&str>) -> Result<Option<String>> {
    let text = text.filter(|text| !text.is_empty());
    text.map(|text| text.parse::<Hostname>().map(|name| name.as_str().to_owned())).transpose()
}

fn namespaces(linux: &oci::Linux) -> Result<Namespaces> {
    let mut all = Namespaces::default();
    let mut mount = false;
    let mut seen = Vec::new();
    for namespace in linux.namespaces().as_deref().unwrap_or_default() {
        let kind = namespace.typ();
        if seen.contains(&kind) {
            return Err(Error::new(format!("linux.namespaces: {kind} is listed twice")));
        }
        seen.push(kind);
        let path = namespace.path().clone().filter(|path| path != Path::new(""));
        if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
            return Err(Error::new(format!("linux.namespaces: {} is not an absolute path", path.display())));
        }
        let origin = path.map_or(Origin::New, Origin::Path);
        match kind {
            LinuxNamespaceType::Mount if origin == Origin::New => mount = true,
            LinuxNamespaceType::Mount => refuse("linux.namespaces: a mount namespace by path", true)?,
            LinuxNamespaceType::Pid => all.pid = origin,
            LinuxNamespaceType::Ipc => all.ipc = origin,
            LinuxNamespaceType::Uts => all.uts = origin,
            LinuxNamespaceType::Network => all.net = origin,
            LinuxNamespaceType::Cgroup => all.cgroup = origin,
            LinuxNamespaceType::Time if origin == Origin::New => all.time = Some(offsets(linux)?),
            LinuxNamespaceType::Time => refuse("linux.namespaces: a time namespace by path", true)?,
            LinuxNamespaceType::User => refuse("linux.namespaces: a user namespace", true)?,
        }
    }
    if !mount {
        return Err(Error::new("linux.namespaces: a container without a mount namespace of its own is not supported"));
    }
    refuse("linux.timeOffsets without a time namespace", all.time.is_none() && linux.time_offsets().is_some())?;
    Ok(all)
}

/// In the order of their names, so that a failure is the same one each time.
fn net_devices(linux: &oci::Linux, net: &Origin) -> Result<Vec<NetDevice>> {
    let all: BTreeMap<_, _> = linux.net_devices().iter().flatten().collect();
    if !all.is_empty() && *net == Origin::Shared {
        return Err(Error::new("linux.netDevices: the container has no network namespace of its own"));
    }
    let device = |(host, device): (&String, &oci::LinuxNetDevice)| {
        let name = device.name().as_deref().filter(|name| !name.is_empty()).unwrap_or(host);
        NetDevice::new(host, name).context(|| "linux.netDevices")
    };
    all.into_iter().map(device).collect()
}

fn offsets(linux: &oci::Linux) -> Result<TimeOffsets> {
    let mut offsets = TimeOffsets::default();
    for (clock, offset) in linux.time_offsets().iter().flatten() {
        refuse("linux.timeOffsets: parts of a second", offset.nanosecs().is_some_and(|nanos| nanos > 0))?;
        offsets.set(&format!("{clock}={}", offset.secs().unwrap_or_default()))?;
    }
    Ok(offsets)
}

fn hooks(hooks: Option<&oci::Hooks>) -> Result<Hooks> {
    let Some(hooks) = hooks else { return Ok(Hooks::default()) };
    let all = |list: &Option<Vec<oci::Hook>>| list.iter().flatten().map(hook).collect::<Result<Vec<_>>>();
    Ok(Hooks {
        prestart: all(hooks.prestart())?,
        create_runtime: all(hooks.create_runtime())?,
        create_container: all(hooks.create_container())?,
        start_container: all(hooks.start_container())?,
        poststart: all(hooks.poststart())?,
        poststop: all(hooks.poststop())?,
    })
}

fn hook(hook: &oci::Hook) -> Result<Hook> {
    let path = hook.path();
    if !path.is_absolute() {
        return Err(Error::new(format!("hooks: {} is not an absolute path", path.display())));
    }
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) => Some(
            u64::try_from(seconds)
                .ok()
                .filter(|seconds| *seconds > 0)
                .map(Duration::from_secs)
                .ok_or_else(|| Error::new(format!("hooks: the timeout of {} is not above 0", path.display())))?,
        ),
    };
    Ok(Hook {
        path: path.clone(),
        args: hook.args().clone().unwrap_or_default(),
        env: hook.env().clone().unwrap_or_default(),
        timeout,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::bundle::decode;

    /// What runc's `spec` writes, shortened, with something of every part.
    const GOOD: &str = r#"{"ociVersion":"1.0.2","process":{"terminal":false,"user":{"uid":0,"gid":0,"additionalGids":[5],"umask":18},"args":["sh"],"env":["PATH=/bin","TERM=xterm"],"cwd":"/","capabilities":{"bounding":["CAP_KILL"],"effective":["CAP_KILL"],"permitted":["CAP_KILL"],"inheritable":[],"ambient":[]},"rlimits":[{"type":"RLIMIT_NOFILE","hard":1024,"soft":1024}],"noNewPrivileges":true,"oomScoreAdj":100},"root":{"path":"rootfs","readonly":true},"hostname":"h","mounts":[{"destination":"/proc","type":"proc","source":"proc"},{"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","mode=755","size=65536k"]},{"destination":"/x","type":"bind","source":"/tmp","options":["rbind","ro"]}],"hooks":{"prestart":[{"path":"/bin/true","args":["true"],"timeout":5}]},"linux":{"resources":{"devices":[{"allow":false,"access":"rwm"}],"memory":{"limit":67108864},"cpu":{"shares":512,"quota":50000,"period":100000},"pids":{"limit":10}},"namespaces":[{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},{"type":"mount"},{"type":"cgroup"}],"sysctl":{"net.ipv4.ip_forward":"1"},"devices":[{"path":"/dev/x","type":"c","major":1,"minor":3,"fileMode":438,"uid":0,"gid":0}],"maskedPaths":["/proc/kcore"],"readonlyPaths":["/proc/sys"],"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],"syscalls":[{"names":["read","write"],"action":"SCMP_ACT_ALLOW"}]},"cgroupsPath":"/a/b","rootfsPropagation":"private"}}"#;

    fn plan_of(text: &[u8], bundle: &Path) -> Result<Plan> {
        let spec: Spec = decode(text, Path::new("config.json"))?;
        convert(&spec, bundle, "web", false)
    }

    /// Requirement: P-20, S0-F1.
    #[test]
    fn damaged_bundles_are_refused_or_can_be_kept() {
        let bundle = tempfile::tempdir().unwrap();
        std::fs::create_dir(bundle.path().join("rootfs")).unwrap();
        plan_of(GOOD.as_bytes(), bundle.path()).unwrap();
        let words: [&[u8]; 6] = [
            b"\"path\":\"../../x\",",
            b"\"options\":null,",
            b"/../",
            b"SCMP_ACT_TRACE",
            b"\"limit\":-1,",
            b"\"type\":\"user\",",
        ];
        let mut planned = 0;
        crate::mutation::each(&[GOOD.as_bytes()], &words, 4_000, |text| {
            let Ok(plan) = plan_of(text, bundle.path()) else { return };
            planned += 1;
            assert!(!plan.process.argv.is_empty() && plan.rootfs.is_absolute(), "{}", text.escape_ascii());
            assert!(plan.process.workdir.is_absolute(), "{}", text.escape_ascii());
        });
        assert!(planned > 20, "only {planned} were understood");
    }
}
