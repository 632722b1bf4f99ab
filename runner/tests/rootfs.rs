//! The root file system: what shows, what is kept, what is left as it was.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use sandbox::{Ended, Sandbox};

/// What is below a directory: kind, mode, time, length and contents by path.
fn checksum(dir: &Path) -> BTreeMap<PathBuf, (u32, i64, usize, u64)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let meta = entry.path().symlink_metadata().unwrap();
        let content = if meta.is_file() { fs::read(entry.path()).unwrap() } else { Vec::new() };
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        all.insert(entry.path(), (meta.mode(), meta.mtime_nsec(), content.len(), hasher.finish()));
        if meta.is_dir() {
            all.extend(checksum(&entry.path()));
        }
    }
    all
}

fn sh(sandbox: &Sandbox, options: &[&str], script: &str) -> Ended {
    let root = sandbox.path("rootfs");
    if !root.exists() {
        sandbox.rootfs();
    }
    sandbox.run(&[&["--net=none", "--rootfs", root.to_str().unwrap()], options].concat(), &["sh", "-c", script])
}

/// Requirement: S0-L4, S1-O1, S3-4.
#[test]
fn the_lower_layer_is_never_written_to() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    fs::create_dir(root.join("d")).unwrap();
    fs::write(root.join("d/f"), "old").unwrap();
    let before = checksum(&root);
    let script =
        "echo new > /d/f; rm /bin/true; busybox chmod 700 /d; mkdir /made; busybox mv /d /moved; touch /proc/x; ls /";
    let ended = sh(&sandbox, &[], script);
    assert!(ended.stdout.contains("moved") && ended.stdout.contains("proc"), "{}", ended.stdout);
    assert_eq!(checksum(&root), before);
    sandbox.assert_clean();
}

/// Requirement: S1-O1.
#[test]
fn the_root_is_an_overlay_and_says_so() {
    let sandbox = Sandbox::new();
    let options = sh(&sandbox, &[], "busybox grep ' / ' /proc/mounts").stdout;
    for part in ["overlay / overlay rw,", "lowerdir", "upperdir=", "workdir="] {
        assert!(options.contains(part), "{part}: {options}");
    }
    let options = sh(&sandbox, &["--read-only"], "busybox grep ' / ' /proc/mounts; touch /x").stdout;
    assert!(options.starts_with("overlay / overlay ro,"), "{options}");
}

/// Requirement: S1-O4.
#[test]
fn everything_is_below_the_data_root() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let options = ["--net=none", "--rootfs", root.to_str().unwrap(), "-v", "vol:/v"];
    let mut running = sandbox.start(&options, "mkdir -p /home; echo hello word > /home/1234; echo up; read line");
    assert_eq!(running.first, "up");
    let layers: Vec<_> = fs::read_dir(sandbox.path("data/overlay")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(layers.len(), 1, "{layers:?}");
    let layer = &layers[0];
    assert_eq!(fs::read_to_string(layer.join("diff/home/1234")).unwrap(), "hello word\n");
    for name in ["work", "merged"] {
        assert!(layer.join(name).is_dir());
    }
    assert_eq!(fs::metadata(layer).unwrap().mode() & 0o777, 0o700, "others can look into a container's files");
    running.end_input();
    assert_eq!(running.wait(), 1);
    sandbox.assert_clean();
}

/// Requirement: S0-L5.
#[test]
fn a_copy_serves_where_nothing_can_be_stacked() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let before = checksum(&root);
    let script = "echo x > /new; rm /bin/true; busybox grep -c ' / overlay ' /proc/mounts; ls /bin/busybox /new";
    sh(&sandbox, &["--storage=vfs"], script).expect(0, "0\n/bin/busybox\n/new");
    assert_eq!(checksum(&root), before);
    // The host's own root, too: of it only the small part is copied.
    sandbox.run(&["--net=none", "--storage=vfs"], &["sh", "-c", "touch /x /etc/y; ls /x; touch /usr/z"]).code_is_not(0);
    sandbox.assert_clean();
}

/// Requirement: S3-4, P-9b.
#[test]
fn system_directories_are_made_above_the_users() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    sh(&sandbox, &[], "ls -d /proc/self /sys/class /dev/null /etc/hosts")
        .expect(0, "/dev/null\n/etc/hosts\n/proc/self\n/sys/class");
    let names: Vec<_> = fs::read_dir(&root).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["bin"]);
    for target in ["/tmp/x", "../../..", "/bin/busybox"] {
        symlink(target, root.join("dev")).unwrap();
        sh(&sandbox, &[], "echo ran").expect_refusal(125, "is a symbolic link; refusing");
        fs::remove_file(root.join("dev")).unwrap();
    }
    fs::write(root.join("dev"), "").unwrap();
    sh(&sandbox, &[], "echo ran").expect_refusal(125, "/dev of the root file system is not a directory");
}

/// Requirement: P-7.
#[test]
fn masks_do_not_use_the_images_devices() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    fs::create_dir(root.join("dev")).unwrap();
    symlink("/proc/sys/kernel/core_pattern", root.join("dev/null")).unwrap();
    let before = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let script = "cat /proc/keys /proc/timer_list; ls /sys/firmware; echo bad > /proc/sys/kernel/core_pattern";
    let ended = sh(&sandbox, &[], script);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{}", ended.stderr);
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
}

/// Requirement: S3-5, P-11.
#[test]
fn the_old_root_is_gone() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let script =
        "busybox awk '{print $4, $5}' /proc/1/mountinfo | busybox grep -v ' /\\(proc\\|sys\\|dev\\|etc\\)'; cd ..; pwd";
    sandbox
        .run(&["--net=none", "--privileged", "--rootfs", root.to_str().unwrap()], &["sh", "-c", script])
        .expect(0, "/ /\n/");
    let escape = "busybox mkdir d; busybox chroot d true; cd ../../../..; busybox ls -A / | busybox tr '\\n' ' '";
    let ended = sh(&sandbox, &["--privileged"], escape);
    assert!(ended.stdout.ends_with("bin d dev etc proc sys "), "{} {}", ended.stdout, ended.stderr);
}

/// The default root: what only root may read on the host, people's and services' data, and names that nobody knows do not show.
///
/// Requirement: S0-M1.
#[test]
fn the_hosts_secrets_do_not_show() {
    let sandbox = Sandbox::new();
    let script = "cat /etc/shadow /etc/gshadow; ls -A /root /home /srv /opt /mnt /run /var/lib; ls -d /etc/ssh /etc/machine-id /tmp/*; \
                  head -1 /etc/passwd; ls /";
    let ended = sandbox.sh(&format!("{{ {script}; }} 2>/dev/null"));
    let empty = "/home:\n\n/mnt:\n\n/opt:\n\n/root:\n\n/run:\n\n/srv:\n\n/var/lib:\nroot:x:0:0:";
    assert!(ended.stdout.starts_with(empty), "{}", ended.stdout);
    let shown: Vec<_> = ended.stdout.lines().skip_while(|line| !line.contains("root:x")).skip(1).collect();
    let known = [
        "bin", "dev", "etc", "gnu", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "nix", "opt", "proc",
        "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var",
    ];
    assert!(shown.iter().all(|name| known.contains(name)), "{shown:?}");
    // The layer is made once, and shared.
    sandbox.sh("true").expect(0, "");
    assert_eq!(fs::read_dir(sandbox.path("data/hostview")).unwrap().count(), 1);
    sandbox.assert_clean();
}

/// Requirement: S0-L3.
#[test]
fn containers_share_what_is_below() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let options = ["--net=none", "--rootfs", root.to_str().unwrap()];
    let script = "busybox stat -c %i /bin/busybox; read line";
    let running: Vec<_> = (0..3).map(|_| sandbox.start(&options, script)).collect();
    let inode = fs::metadata(root.join("bin/busybox")).unwrap().ino().to_string();
    assert!(running.iter().all(|each| each.first == inode), "another inode than {inode}");
    let layers = fs::read_dir(sandbox.path("data/overlay")).unwrap().map(|e| e.unwrap().path().join("diff"));
    for diff in layers {
        let size: u64 = checksum(&diff).values().map(|(_, _, length, _)| *length as u64).sum();
        assert_eq!(size, 0, "{}", diff.display());
    }
}

/// Requirement: S3-8, P-35.
#[test]
fn a_failed_step_leaves_no_layer_and_no_volume() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let options = ["--net=none", "--rootfs", root.to_str().unwrap(), "-v", "/anon", "--read-only"];
    let steps = ["log-layer", "make-layer", "root", "source", "attach", "mount", "read-only-root"];
    for step in steps {
        let mut command = sandbox.run_command(&options, &["echo", "ran"]);
        Ended::of(command.env("XNET_FAIL_AT", step)).expect_refusal(125, step);
        sandbox.assert_clean();
    }
    for step in ["log-layer", "make-layer", "publish"] {
        let mut command = sandbox.run_command(&options, &["echo", "ran"]);
        let ended = Ended::of(command.env("XNET_CRASH_AT", step));
        assert_eq!(ended.stdout, "", "{step}");
        sandbox.await_release();
        assert_eq!(sandbox.gc().code, 0);
        sandbox.assert_clean();
        let volumes = fs::read_dir(sandbox.path("data/volumes")).into_iter().flatten().count();
        assert_eq!(volumes, 0, "{step}");
    }
}
