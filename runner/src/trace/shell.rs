//! What a person would type to do what the child's set-up does: commands of a shell in the new namespaces.
//!
//! The new root is prepared where it is mounted, below OVERLAY/ID/merged, with the host's programs; behind `pivot_root` the programs
//! are those of the container. What no program of a usual system can do, such as installing a filter of system calls, has no
//! line.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;

use crate::cgroup::{Hierarchy, Kind};
use crate::exec::Target;
use crate::id::Name;
use crate::process::child::Child;
use crate::setup::{Op, SharedMemory, dev};
use crate::spec::{CapabilitySet, Mount, Process, Rootfs, Source, Storage, Who};
use crate::storage::hostview;

use super::record::Variable;

/// A word that the shell takes as it is.
pub(crate) fn word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=,+@%".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Writes `text` to a file.
pub(super) fn written(text: &str, file: &Path) -> String {
    let text = text.replace('\\', r"\\").replace('%', "%%").replace('\n', r"\n").replace('\t', r"\t");
    format!("printf {} > {}", word(&text), path(file))
}

fn path(path: &Path) -> String {
    word(&path.to_string_lossy())
}

/// A new shell in the place of this one, started by a command.
fn by(command: impl Display) -> Vec<String> {
    vec![format!("exec {command} sh")]
}

/// Moves this shell into groups.
pub(super) fn join(groups: &[PathBuf]) -> Vec<String> {
    let (one, two): (Vec<_>, Vec<_>) = groups.iter().partition(|dir| dir.join("tasks").exists());
    let lines = one.into_iter().map(|dir| format!("echo 0 > {}", path(&dir.join("tasks"))));
    lines.chain(two.into_iter().map(|dir| format!("echo 0 > {}", path(&dir.join("cgroup.procs"))))).collect()
}

/// A shell in the namespaces of a container that runs, in its root and its directory.
pub(super) fn enter(target: &Target, namespaces: CloneFlags) -> Vec<String> {
    let kinds = options(namespaces).join(" ");
    by(format!("nsenter --target {} {kinds} --root --wd", target.pid))
}

/// The words that `unshare` and `nsenter` have for namespaces.
pub(super) fn options(namespaces: CloneFlags) -> Vec<&'static str> {
    let words = [
        (CloneFlags::CLONE_NEWUSER, "--user"),
        (CloneFlags::CLONE_NEWPID, "--pid"),
        (CloneFlags::CLONE_NEWNS, "--mount"),
        (CloneFlags::CLONE_NEWUTS, "--uts"),
        (CloneFlags::CLONE_NEWIPC, "--ipc"),
        (CloneFlags::CLONE_NEWNET, "--net"),
        (CloneFlags::CLONE_NEWCGROUP, "--cgroup"),
    ];
    words.into_iter().filter(|(flag, _)| namespaces.contains(*flag)).map(|(_, word)| word).collect()
}

/// What is said so often that it deserves a name: the container's id, and where its new root is mounted.
pub(super) fn names(id: &Name, root: Option<PathBuf>) -> Vec<Variable> {
    let root = root.map(|root| ("ROOT", root.to_string_lossy().into_owned()));
    let all = root.into_iter().chain([("ID", id.to_string())]);
    all.map(|(name, value)| Variable { name: name.to_owned(), value }).collect()
}

/// The lines for `op` of the container `child`.
pub(super) fn op(op: &Op, child: &Child<'_>) -> Vec<String> {
    match op {
        Op::Session => by("setsid"),
        Op::JoinCgroups => join(&child.groups),
        Op::CgroupNamespace => by("unshare --cgroup"),
        Op::JoinNet(_) | Op::Join(_) => by(op),
        Op::Time(_) => by(format!("{op} --fork")),
        Op::Keyring => vec!["keyctl new_session".to_owned()],
        Op::Limit(limit) => vec![format!("prlimit --pid $$ --{limit}")],
        Op::Privileges => privileges(&child.spec.process),
        Op::ReadOnlyRoot => vec!["mount -o remount,bind,ro /".to_owned()],
        Op::Pivot => vec![format!("cd {} && pivot_root . . && umount -l . && cd /", path(&child.place.merged()))],
        Op::Workdir(dir) => vec![format!("mkdir -p {0} && cd {0}", path(dir))],
        Op::Loopback | Op::Hostname(_) | Op::Domainname(_) | Op::SlaveMounts | Op::Sysctl(_) | Op::OomScore(_) => {
            vec![op.to_string()]
        }
        _ => mount(op, child),
    }
}

fn mount(op: &Op, child: &Child<'_>) -> Vec<String> {
    let inside = |path: &str| child.place.merged().join(path.trim_start_matches('/'));
    match op {
        Op::Attach => attach(child),
        Op::Proc => vec![format!("mount -t proc -o nosuid,nodev,noexec proc {}", path(&inside("proc")))],
        Op::Sys { writable } => {
            let mode = if *writable { "rw" } else { "ro" };
            vec![format!("mount -t sysfs -o nosuid,nodev,noexec,{mode} sysfs {}", path(&inside("sys")))]
        }
        Op::Cgroups { writable } => cgroups(child.hierarchies, &inside("sys/fs/cgroup"), *writable),
        Op::Dev => devices(&path(&inside("dev")), child.spec.root.shm_bytes),
        Op::SharedMemory => match child.shm {
            Some(SharedMemory::Host) => vec![format!("mount --bind /dev/shm {}", path(&inside("dev/shm")))],
            _ => Vec::new(),
        },
        Op::Mount(wanted) => own(wanted, &inside(&wanted.target.to_string_lossy()), child.data),
        // What this kernel does not have need not be hidden.
        Op::Mask(hidden) if hidden.is_dir() => {
            vec![format!("mount -t tmpfs -o ro,size=4k tmpfs {}", path(&inside(&hidden.to_string_lossy())))]
        }
        Op::Mask(hidden) if hidden.exists() => {
            vec![format!("mount --bind /dev/null {}", path(&inside(&hidden.to_string_lossy())))]
        }
        Op::ReadOnly(kept) if kept.exists() => read_only(&inside(&kept.to_string_lossy())),
        Op::Files => {
            let dir = child.data.join("containers").join(child.spec.id.as_str());
            let one = |name: &str| {
                let target = path(&inside("etc").join(name));
                format!("touch {target} && mount --bind {} {target}", path(&dir.join(name)))
            };
            ["hostname", "hosts", "resolv.conf"].map(one).to_vec()
        }
        _ => Vec::new(),
    }
}

/// The root file system on OVERLAY/ID/merged, and the host's directories in it.
fn attach(child: &Child<'_>) -> Vec<String> {
    let (place, root) = (child.place, &child.spec.root);
    let merged = path(&place.merged());
    if root.storage == Storage::Vfs {
        return vec![format!("mount --bind {} {merged}", path(&place.diff()))];
    }
    let stack = |lower: &str, upper: &Path, work: &Path, target: &str| {
        let options = format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
        format!("mount -t overlay -o {} overlay {target}", word(&options))
    };
    let lower = match &root.rootfs {
        Rootfs::Host => hostview::path(child.data).display().to_string(),
        other => other.to_string(),
    };
    let mut lines = vec![stack(&lower, &place.diff(), &place.work(), &merged)];
    if root.rootfs == Rootfs::Host {
        lines.push(stack("/usr", &place.usr(), &place.usr_work(), &format!("{merged}/usr")));
        for name in hostview::mounted() {
            lines.push(format!("mount --rbind /{name} {merged}/{name}"));
            lines.push(format!("mount -o remount,bind,ro {merged}/{name}"));
        }
    }
    // An image need not have them.
    lines.push(format!("mkdir -p {merged}/proc {merged}/sys {merged}/dev {merged}/etc"));
    lines
}

/// A file or a directory over itself.
fn read_only(target: &Path) -> Vec<String> {
    let target = path(target);
    vec![format!("mount --rbind {target} {target} && mount -o remount,bind,ro {target}")]
}

fn cgroups(hierarchies: &[Hierarchy], target: &Path, writable: bool) -> Vec<String> {
    let place = path(target);
    // These file systems are the host's as well, which may write to them: what is read-only is the mount.
    let mount = |kind: &str, options: &str, at: &str| {
        let made = format!("mount -t {kind} -o nosuid,nodev,noexec{options} cgroup {at}");
        if writable { made } else { format!("{made} && mount -o remount,bind,ro {at}") }
    };
    if let [only] = hierarchies
        && only.kind == Kind::V2
    {
        return vec![mount("cgroup2", "", &place)];
    }
    let mut lines = vec![format!("mount -t tmpfs -o nosuid,nodev,noexec,mode=755,size=64k tmpfs {place}")];
    for hierarchy in hierarchies {
        let at = path(&target.join(hierarchy.mount.file_name().unwrap_or_default()));
        let made = match &hierarchy.kind {
            Kind::V2 => mount("cgroup2", "", &at),
            Kind::V1 { controllers } => mount("cgroup", &format!(",{}", controllers.join(",")), &at),
        };
        lines.push(format!("mkdir {at} && {made}"));
    }
    lines
}

fn devices(dev: &str, shm_bytes: u64) -> Vec<String> {
    let mut lines = vec![format!("mount -t tmpfs -o nosuid,noexec,mode=755,size=64m tmpfs {dev}")];
    for (name, major, minor) in dev::NODES {
        lines.push(format!("mknod -m 666 {dev}/{name} c {major} {minor}"));
    }
    lines.extend(dev::LINKS.map(|(name, target)| format!("ln -s {target} {dev}/{name}")));
    lines.extend([
        format!("mkdir {dev}/pts {dev}/shm {dev}/mqueue"),
        format!("mount -t devpts -o nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5 devpts {dev}/pts"),
        format!("mount -t tmpfs -o nosuid,nodev,noexec,mode=1777,size={shm_bytes} shm {dev}/shm"),
        format!("mount -t mqueue -o nosuid,nodev,noexec mqueue {dev}/mqueue"),
    ]);
    lines
}

/// What the user wants mounted, on `target`.
fn own(mount: &Mount, target: &Path, data: &Path) -> Vec<String> {
    let place = match &mount.source {
        Source::Bind { path: source, .. } if source.is_file() => format!("touch {}", path(target)),
        _ => format!("mkdir -p {}", path(target)),
    };
    let there = Mount { target: target.to_owned(), ..mount.clone() }.to_string();
    let volumes = data.join("volumes");
    vec![place, there.replacen(" VOLUMES/", &format!(" {}/", volumes.display()), 1)]
}

/// A shell of the user's with its rights.
pub(super) fn privileges(process: &Process) -> Vec<String> {
    let group = process.user.group.as_ref().unwrap_or(match &process.user.user {
        Who::Id(_) => &Who::Id(0),
        name => name,
    });
    let lower = |set: CapabilitySet| {
        let names = set.iter().map(|one| format!(",+{}", one.to_string().trim_start_matches("CAP_").to_lowercase()));
        names.collect::<String>()
    };
    let groups: Vec<String> = process.groups.iter().map(ToString::to_string).collect();
    let groups = if groups.is_empty() { "--clear-groups".to_owned() } else { format!("--groups {}", groups.join(",")) };
    let final_word = if process.no_new_privileges { " --no-new-privs" } else { "" };
    let sets = &process.capabilities;
    by(format!(
        "setpriv --reuid {} --regid {group} {groups} --bounding-set -all{} --inh-caps -all{} --ambient-caps -all{}{final_word}",
        process.user.user,
        lower(sets.bounding),
        lower(sets.inheritable),
        lower(sets.ambient),
    ))
}

/// The command, with its environment and nothing else.
pub(super) fn command(process: &Process) -> Vec<String> {
    let words: Vec<String> = process.env.iter().chain(&process.argv).map(|text| word(text)).collect();
    vec![format!("exec env -i {}", words.join(" "))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_command_as_they_are() {
        assert_eq!(word("a/b-c=1"), "a/b-c=1");
        assert_eq!(word(""), "''");
        assert_eq!(word("it's $HOME"), r"'it'\''s $HOME'");
    }
}
