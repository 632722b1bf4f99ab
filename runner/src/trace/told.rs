//! What the steps of the parent are, for people.

use std::fs;
use std::path::Path;

use nix::libc;
use nix::sched::CloneFlags;

use crate::cgroup::{Group, Hierarchy, Kind};
use crate::netns::commands::At;
use crate::process::child::Child;
use crate::spec::{Dirs, NamespaceMode, Rootfs, Spec, Users};
use crate::state::Container;
use crate::storage::Place;

use super::{Told, shell};

/// The directories of a new container.
pub(crate) fn container(spec: &Spec, dirs: &Dirs) -> Told {
    let (state, data) = (dirs.state.join(spec.id.as_str()), dirs.container(&spec.id));
    let told = Told::from(format!("mkdir {} {}", state.display(), data.display()));
    told.typed(vec![format!("mkdir -p {}", data.display())])
}

/// The directories of its changes.
pub(crate) fn layer(spec: &Spec, dirs: &Dirs) -> Told {
    let place = Place::of(&dirs.data, &spec.id);
    let dir = place.dir().display();
    let mut names = vec!["diff", "work", "merged"];
    if spec.root.rootfs == Rootfs::Host {
        names.extend(["usr", "usr-work"]);
    }
    let dirs: String = names.iter().map(|name| format!(" {dir}/{name}")).collect();
    Told::from(format!("mkdir {dir}/{{{}}}", names.join(","))).typed(vec![format!("mkdir -p{dirs}")])
}

/// Its groups.
pub(crate) fn cgroups(hierarchies: &[Hierarchy], spec: &Spec) -> Told {
    let group = Group::of(hierarchies, spec);
    let (path, tops) = group.path_below();
    let tops: Vec<String> = tops.iter().map(|top| top.display().to_string()).collect();
    let told = Told::from(format!("mkdir {} below {}", path.display(), tops.join(", ")));
    // Those of systemd are made by asking it.
    if spec.scope.is_some() { told } else { told.typed(group.typed(&spec.limits)) }
}

/// The call that makes its first process. `in_group` says whether it is born into its group of version 2.
pub(crate) fn clone3(flags: libc::c_int, in_group: bool) -> Told {
    let flags = CloneFlags::from_bits_retain(flags);
    let mut names: Vec<&str> = flags.iter_names().map(|(name, _)| name).collect();
    names.extend(in_group.then_some("CLONE_INTO_CGROUP"));
    format!("clone3({})", names.join("|")).into()
}

/// The same for the first process of a container, which is to be in the network namespace `netns` if it has one of its own.
pub(crate) fn birth(child: &Child<'_>, flags: libc::c_int, in_group: bool, netns: &Path) -> Told {
    let told = clone3(flags, in_group);
    let dirs = Group::of(child.hierarchies, child.spec).dirs();
    let unified = child.hierarchies.iter().zip(dirs).find(|(hierarchy, _)| hierarchy.kind == Kind::V2 && in_group);
    // Only the shell that becomes the other goes into the group.
    let join = unified.map(|(_, dir)| format!("echo 0 > {}/cgroup.procs && exec ", dir.display()));
    let flags = CloneFlags::from_bits_retain(flags);
    let joined: String = joined(child.spec, flags.contains(CloneFlags::CLONE_NEWNET).then_some(netns)).collect();
    let enter = if joined.is_empty() { joined } else { format!("nsenter{joined} ") };
    let new = shell::options(flags - CloneFlags::CLONE_NEWNET).join(" ");
    // A process stays in its own pid namespace; its children are in the new one.
    let fork = if flags.contains(CloneFlags::CLONE_NEWPID) { " --fork" } else { "" };
    told.typed(vec![format!("({}{enter}unshare {new}{fork} sh)", join.unwrap_or_default())])
}

/// The namespaces to be born into that are there by then, as options of `nsenter`.
fn joined<'a>(spec: &'a Spec, netns: Option<&'a Path>) -> impl Iterator<Item = String> + 'a {
    let modes = [("pid", &spec.namespaces.pid), ("ipc", &spec.namespaces.ipc), ("uts", &spec.namespaces.uts)];
    let joined = modes.into_iter().filter_map(|(kind, mode)| match mode {
        NamespaceMode::Path(path) => Some(format!(" --{kind}={}", path.display())),
        NamespaceMode::Container(name) => {
            Some(format!(" --{kind}=/proc/$(xnet inspect -f '{{{{.State.Pid}}}}' {name})/ns/{kind}"))
        }
        _ => None,
    });
    netns.map(|path| format!(" --net={}", path.display())).into_iter().chain(joined)
}

/// The ids of its user namespace, and what its root could not open.
pub(crate) fn users(users: &Users) -> Told {
    let lines: Vec<String> =
        users.uids.iter().map(|map| format!("{} {} {}", map.inside, map.outside, map.count)).collect();
    format!("echo '{}' > /proc/PID/uid_map, and gid_map; make the root file system", lines.join(", ")).into()
}

/// The name of its network namespace, a new one or that of somebody else, whose name is `theirs`.
pub(crate) fn pin(path: &Path, theirs: Option<&Path>) -> Told {
    let path_shown = path.display();
    let Some(theirs) = theirs.map(Path::display) else {
        return Told::from(format!("mount --bind /proc/PID/ns/net {path_shown}")).typed(At::of_file(path).made());
    };
    let typed = vec![format!("touch {path_shown} && mount --bind {theirs} {path_shown}")];
    Told::from(format!("mount --bind {theirs} {path_shown}")).typed(typed)
}

/// Its files of /etc.
pub(crate) fn etc(dir: &Path) -> Told {
    let text = |name: &str| fs::read_to_string(dir.join(name)).unwrap_or_default();
    let typed = ["hostname", "hosts", "resolv.conf"].map(|name| shell::written(&text(name), &dir.join(name)));
    Told::from(format!("write hostname, hosts and resolv.conf to {}", dir.display())).typed(typed.to_vec())
}

/// The record of its run.
pub(crate) fn publish(container: &Container) -> Told {
    format!("write {}", container.dir.join("info.json").display()).into()
}
