//! Root file systems made to lead the set-up astray.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use sandbox::Sandbox;

/// Runs in a rootfs in which `name` is a link to `target`, and expects a refusal.
fn refused(sandbox: &Sandbox, root: &Path, name: &str, target: &Path) {
    symlink(target, root.join(name)).unwrap();
    let ended = sandbox.run(&["--net=none", "--rootfs", root.to_str().unwrap()], &["echo", "ran"]);
    ended.expect_refusal(125, "is a symbolic link; refusing");
    fs::remove_file(root.join(name)).unwrap();
}

/// Requirement: P-9, P-9b.
#[test]
fn links_in_the_place_of_mount_points_are_refused() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let outside = sandbox.path("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["dev", "proc", "sys", "etc"] {
        for target in [outside.as_path(), Path::new("../../../tmp"), Path::new("/bin"), Path::new("/proc/1/root")] {
            refused(&sandbox, &root, name, target);
        }
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    sandbox.assert_clean();
}

/// Requirement: P-9.
#[test]
fn a_file_in_the_place_of_a_mount_point_is_refused() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    fs::write(root.join("proc"), "").unwrap();
    let ended = sandbox.run(&["--net=none", "--rootfs", root.to_str().unwrap()], &["echo", "ran"]);
    ended.expect_refusal(125, "/proc of the root file system is not a directory");
}

/// Requirement: P-6, P-7.
#[test]
fn files_of_etc_are_replaced_and_not_written_through() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    fs::create_dir(root.join("etc")).unwrap();
    symlink("/proc/sys/kernel/hostname", root.join("etc/hostname")).unwrap();
    symlink("/dev/shm", root.join("etc/hosts")).unwrap();
    fs::create_dir(root.join("dev")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", root.join("dev/null")).unwrap();
    let script = "readlink /etc/hostname /etc/hosts /dev/null; cat /proc/keys; cat /etc/hostname";
    let ended = sandbox.run(&["--net=none", "--hostname=h", "--rootfs", root.to_str().unwrap()], &["sh", "-c", script]);
    ended.expect(0, "h");
}

/// Requirement: P-14.
#[test]
fn odd_characters_in_paths_are_no_mount_options() {
    let sandbox = Sandbox::new();
    let plain = sandbox.rootfs();
    let odd = sandbox.path("a:b,upperdir=c\\d e\nf");
    fs::rename(plain, &odd).unwrap();
    sandbox.run(&["--net=none", "--rootfs", odd.to_str().unwrap()], &["echo", "ran"]).expect(0, "ran");
    sandbox.assert_clean();
}

/// Requirement: P-17.
#[test]
fn device_nodes_of_the_root_file_system_are_no_way_to_the_hosts() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let node = |name: &str, major, minor| {
        mknod(&root.join(name), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor)).unwrap();
    };
    // The kernel's log, one that takes no capability, and one that every container has anyway.
    node("kmsg", 1, 11);
    node("fuse", 10, 229);
    node("zero", 1, 5);
    let script = "exec 2>/dev/null; for d in /kmsg /fuse /zero; do (: < $d) && echo $d; done; true";
    let run = |options: &[&str]| {
        sandbox.run(&[&["--net=none", "--rootfs", root.to_str().unwrap()], options].concat(), &["sh", "-c", script])
    };
    run(&[]).expect(0, "/zero");
    run(&["--userns=auto"]).expect(0, "");
    sandbox.assert_clean();
}
