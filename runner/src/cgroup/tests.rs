use super::*;

const HYBRID_OWN: &str = "3:cpu,cpuacct:/\n2:memory:/some/where\n1:name=systemd:/\n0::/user.slice\n";

/// A tree of plain directories in the place of cgroupfs, with the mount table that describes it.
fn fixture(mounts: &[(&str, &str, &str)], own: &str) -> (tempfile::TempDir, Vec<Hierarchy>) {
    let dir = tempfile::tempdir().unwrap();
    let line = |(name, fstype, options): &(&str, &str, &str)| {
        fs::create_dir_all(dir.path().join(name)).unwrap();
        format!(
            "33 31 0:29 / {} rw,relatime shared:9 - {fstype} {fstype} rw,{options}\n",
            dir.path().join(name).display()
        )
    };
    let mountinfo: String = mounts.iter().map(line).collect();
    let hierarchies = discover::parse(&mountinfo, own).into_iter().map(|(hierarchy, _)| hierarchy).collect();
    (dir, hierarchies)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn a_hybrid_host_is_read_from_its_tables() {
    let mounts = [
        ("cpu,cpuacct", "cgroup", "cpu,cpuacct"),
        ("memory", "cgroup", "memory"),
        ("systemd", "cgroup", "xattr,name=systemd"),
        ("unified", "cgroup2", "nsdelegate"),
    ];
    let (dir, hierarchies) = fixture(&mounts, HYBRID_OWN);
    assert_eq!(hierarchies.len(), 4);
    assert!(hierarchies[0].has("cpu") && hierarchies[0].has("cpuacct") && !hierarchies[0].has("memory"));
    assert_eq!(hierarchies[1].mount, dir.path().join("memory"));
    assert_eq!(hierarchies[3].kind, Kind::V2);
    assert!(!hierarchies[3].has("memory"));
}

#[test]
fn version_1_limits_land_in_the_controllers_own_hierarchies() {
    let mounts = [("cpu,cpuacct", "cgroup", "cpu,cpuacct"), ("memory", "cgroup", "memory"), ("pids", "cgroup", "pids")];
    let (dir, hierarchies) = fixture(&mounts, "3:cpu,cpuacct:/\n2:memory:/\n1:pids:/\n");
    let group = Group::new(&hierarchies, Some(&name("xnet")), &name("one"));
    let limits = Limits { memory: Some(32 << 20), millicpus: Some(500), pids: Some(7), ..Limits::default() };
    let (ones, two) = group.create(&limits).unwrap();
    assert_eq!((ones.len(), two), (3, None));
    let read = |path: &str| fs::read_to_string(dir.path().join(path)).unwrap();
    assert_eq!(read("memory/xnet/one/memory.limit_in_bytes"), "33554432");
    assert_eq!(read("cpu,cpuacct/xnet/one/cpu.cfs_quota_us"), "50000");
    assert_eq!(read("pids/xnet/one/pids.max"), "7");
    assert!(!dir.path().join("memory/xnet/one/memory.memsw.limit_in_bytes").exists());
}

#[test]
fn a_cpuset_is_filled_from_above() {
    let (dir, hierarchies) = fixture(&[("cpuset", "cgroup", "cpuset")], "1:cpuset:/\n");
    let at = |path: &str| dir.path().join("cpuset").join(path);
    fs::create_dir(at("xnet")).unwrap();
    for (file, text) in [("cpuset.cpus", "0-1\n"), ("cpuset.mems", "0\n"), ("xnet/cpuset.cpus", "\n")] {
        fs::write(at(file), text).unwrap();
    }
    v1::inherit_cpuset(&hierarchies[0], &at("xnet"), false).unwrap();
    assert_eq!(fs::read_to_string(at("xnet/cpuset.cpus")).unwrap(), "0-1");
}

#[test]
fn version_2_enables_what_is_asked_for_and_nothing_else() {
    let (dir, hierarchies) = fixture(&[("cg", "cgroup2", "nsdelegate")], "0::/\n");
    let at = |path: &str| dir.path().join("cg").join(path);
    fs::write(at("cgroup.controllers"), "cpu memory pids\n").unwrap();
    fs::write(at("cgroup.subtree_control"), "pids\n").unwrap();
    let group = Group::new(&hierarchies, Some(&name("xnet")), &name("one"));
    let limits = Limits { memory: Some(64 << 20), millicpus: Some(1500), ..Limits::default() };
    let (control, missing) = group.controllers_to_enable(&limits).unwrap();
    assert_eq!((control, missing), (at("cgroup.subtree_control"), vec!["memory".to_owned(), "cpu".to_owned()]));
    let (ones, two) = group.create(&limits).unwrap();
    assert_eq!((ones, two), (vec![], Some(at("xnet/one"))));
    assert_eq!(fs::read_to_string(at("xnet/one/cpu.max")).unwrap(), "150000 100000");
    assert_eq!(fs::read_to_string(at("xnet/one/memory.max")).unwrap(), "67108864");
    // A plain file keeps the last word written to it; the kernel would have added it to the list.
    assert_eq!(fs::read_to_string(at("xnet/cgroup.subtree_control")).unwrap(), "+cpu");
    assert!(!at("xnet/one/pids.max").exists());
}

#[test]
fn a_limit_without_its_controller_is_an_error_that_names_it() {
    let (_dir, hierarchies) = fixture(&[("memory", "cgroup", "memory")], "1:memory:/\n");
    let group = Group::new(&hierarchies, Some(&name("xnet")), &name("one"));
    let error = group.create(&Limits { pids: Some(1), ..Limits::default() }).unwrap_err();
    assert!(error.message.contains("\"pids\" is not available"), "{error}");
    assert!(!hierarchies[0].mount.join("xnet").exists());
}

#[test]
fn removal_takes_an_empty_parent_along_and_leaves_a_used_one() {
    let (dir, hierarchies) = fixture(&[("pids", "cgroup", "pids")], "1:pids:/\n");
    let (one, two) = (name("one"), name("two"));
    let groups = [&one, &two].map(|id| Group::new(&hierarchies, Some(&name("xnet")), id));
    for group in &groups {
        group.create(&Limits::default()).unwrap();
    }
    clear(&groups[0].dirs()).unwrap();
    assert!(dir.path().join("pids/xnet/two").is_dir());
    clear(&groups[1].dirs()).unwrap();
    assert!(!dir.path().join("pids/xnet").exists());
    clear(&groups[1].dirs()).unwrap();
}

#[test]
fn controllers_are_switched_off_only_when_nobody_else_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let control = dir.path().join("cgroup.subtree_control");
    fs::write(&control, "memory").unwrap();
    fs::create_dir(dir.path().join("other.slice")).unwrap();
    restore_controllers(&control, &["memory".to_owned()]).unwrap();
    assert_eq!(fs::read_to_string(&control).unwrap(), "memory");
    fs::remove_dir(dir.path().join("other.slice")).unwrap();
    restore_controllers(&control, &["memory".to_owned()]).unwrap();
    assert_eq!(fs::read_to_string(&control).unwrap(), "-memory");
}

/// On a host with version 1 only there is nothing that kills a group at once.
#[test]
fn a_version_1_group_is_killed_process_by_process() {
    let hierarchies = of_host().unwrap();
    let Some(one) = hierarchies.into_iter().find(|h| matches!(h.kind, Kind::V1 { .. }) && !h.has("cpuset")) else {
        eprintln!("skipped: this host has no version 1 hierarchy");
        return;
    };
    let parent = Name::random().unwrap();
    let hierarchies = [one];
    let group = Group::new(&hierarchies, Some(&parent), &name("one"));
    let (dirs, _) = group.create(&Limits::default()).unwrap();
    let mut children: Vec<_> =
        (0..3).map(|_| std::process::Command::new("sleep").arg("1000").spawn().unwrap()).collect();
    for child in &children {
        fs::write(dirs[0].join("cgroup.procs"), child.id().to_string()).unwrap();
    }
    // They are this process' children, so somebody has to reap them for the group to become empty.
    let reaper = std::thread::spawn(move || children.iter_mut().all(|child| child.wait().unwrap().code().is_none()));
    kill(&dirs).unwrap();
    clear(&dirs).unwrap();
    assert!(reaper.join().unwrap(), "a process was not killed");
    assert!(!dirs[0].parent().unwrap().exists());
}

/// What is writable for this process is delegated to it, from the topmost group down, and nothing beside the way to its own.
///
/// Requirement: S1-U2.
#[test]
fn the_topmost_delegated_group_on_the_way_is_where_groups_are_made() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let hierarchy = Hierarchy { kind: Kind::V2, mount: dir.path().into(), below: PathBuf::new() };
    fs::create_dir_all(dir.path().join("user/mine/deep")).unwrap();
    for group in ["user/mine", "user/mine/deep", "other"] {
        fs::create_dir_all(dir.path().join(group)).unwrap();
        fs::write(dir.path().join(group).join("cgroup.procs"), "").unwrap();
    }
    fs::set_permissions(dir.path().join("user"), fs::Permissions::from_mode(0o555)).unwrap();
    let top = |group: &str| discover::delegated(hierarchy.clone(), group).map(|found| found.below);
    assert_eq!(top("/user/mine/deep"), Some("user/mine".into()));
    assert_eq!(top("/user/mine"), Some("user/mine".into()));
    assert_eq!(top("/user"), None);
    assert_eq!(top("/"), None);
}
