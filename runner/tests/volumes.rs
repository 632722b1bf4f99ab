//! What is mounted into a container.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::mount::{MsFlags, mount};
use sandbox::{Ended, Sandbox};

/// A sandbox with a root file system, and its path.
fn busybox() -> (Sandbox, String) {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs().to_str().unwrap().to_owned();
    (sandbox, root)
}

fn sh(sandbox: &Sandbox, root: &str, options: &[&str], script: &str) -> Ended {
    sandbox.run(&[&["--net=none", "--rootfs", root], options].concat(), &["sh", "-c", script])
}

fn dir(sandbox: &Sandbox, name: &str) -> String {
    fs::create_dir_all(sandbox.path(name)).unwrap();
    sandbox.path(name).to_str().unwrap().to_owned()
}

/// Requirement: S3-7.
#[test]
fn both_sides_of_a_bind_see_changes_at_once() {
    let (sandbox, root) = busybox();
    let host = dir(&sandbox, "host");
    fs::write(sandbox.path("host/a"), "from outside").unwrap();
    let script = "cat /mnt/x/a; echo from inside > /mnt/x/b";
    sh(&sandbox, &root, &["-v", &format!("{host}:/mnt/x")], script).expect(0, "from outside");
    assert_eq!(fs::read_to_string(sandbox.path("host/b")).unwrap(), "from inside\n");
    assert!(!Path::new(&root).join("mnt").exists(), "the target was made in the user's directory");
    sandbox.assert_clean();
}

/// Requirement: S3-7.
#[test]
fn a_missing_source_is_made_for_v_and_refused_for_mount() {
    let (sandbox, root) = busybox();
    let (made, refused) = (sandbox.path("made/it"), sandbox.path("refused"));
    sh(&sandbox, &root, &["-v", &format!("{}:/x", made.display())], "echo y > /x/f").expect(0, "");
    assert!(made.join("f").exists());
    let option = format!("type=bind,src={},dst=/x", refused.display());
    sh(&sandbox, &root, &["--mount", &option], "echo ran").expect_refusal(125, "No such file or directory");
    assert!(!refused.exists());
}

/// Requirement: S3-7.
#[test]
fn a_file_is_mounted_on_a_file_and_on_nothing() {
    let (sandbox, root) = busybox();
    let file = sandbox.path("file");
    fs::write(&file, "text").unwrap();
    fs::create_dir(Path::new(&root).join("etc")).unwrap();
    fs::write(Path::new(&root).join("etc/there"), "old").unwrap();
    let (there, new) = (format!("{}:/etc/there", file.display()), format!("{}:/a/b/new", file.display()));
    sh(&sandbox, &root, &["-v", &there, "-v", &new], "cat /etc/there /a/b/new").expect(0, "texttext");
    let over_dir = format!("{}:/etc", file.display());
    sh(&sandbox, &root, &["-v", &over_dir], "echo ran").expect_refusal(125, "the target is a directory");
    let over_file = format!("{}:/etc/there", dir(&sandbox, "d"));
    sh(&sandbox, &root, &["-v", &over_file], "echo ran").expect_refusal(125, "is a file");
}

/// Requirement: S3-7, P-13.
#[test]
fn read_only_holds_for_all_below_and_from_the_first_moment() {
    let (sandbox, root) = busybox();
    let host = dir(&sandbox, "host");
    let below = dir(&sandbox, "host/below");
    mount(Some("t"), below.as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    let script = "touch /x/a; touch /x/below/b; echo $?; mount -o remount,rw /x; touch /x/c";
    let ended = sh(&sandbox, &root, &["-v", &format!("{host}:/x:ro")], script);
    assert!(ended.stdout.starts_with('1'), "{}", ended.stdout);
    assert_eq!(fs::read_dir(&host).unwrap().count(), 1, "something was written");
    assert_eq!(fs::read_dir(&below).unwrap().count(), 0, "something was written below");
    let script = "touch /x/a; echo $?; touch /x/below/b; echo $?";
    let option = format!("type=bind,src={host},dst=/x,ro,bind-recursive=writable");
    sh(&sandbox, &root, &["--mount", &option], script).expect(0, "1\n0");
    let option = format!("type=bind,src={host},dst=/x,bind-recursive=disabled");
    sh(&sandbox, &root, &["--mount", &option], "ls /x/below; touch /x/a").expect(0, "");
}

/// Requirement: S3-7, P-13.
#[test]
fn a_writer_never_succeeds_through_a_read_only_mount() {
    let (sandbox, root) = busybox();
    let host = dir(&sandbox, "host");
    for _ in 0..5 {
        let script =
            "i=0; while [ $i -lt 300 ]; do echo x 2>/dev/null > /x/f && echo WRITTEN; i=$((i+1)); done 2>&-; true";
        let ended = sh(&sandbox, &root, &["-v", &format!("{host}:/x:ro")], script);
        assert_eq!((ended.code, ended.stdout.as_str()), (0, ""));
    }
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0);
}

/// Requirement: S3-7.
#[test]
fn a_named_volume_is_filled_once_and_stays() {
    let (sandbox, root) = busybox();
    let data = Path::new(&root).join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("seed"), "from the image").unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o2751)).unwrap();
    std::os::unix::fs::chown(&data, Some(7), Some(8)).unwrap();
    let script = "cat /data/seed; echo more > /data/more; rm /data/seed";
    sh(&sandbox, &root, &["-v", "vol:/data"], script).expect(0, "from the image");
    let inside = sandbox.path("data/volumes/vol/_data");
    let meta = fs::metadata(&inside).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o2751, 7, 8));
    // Not filled again: it is not empty any more.
    sh(&sandbox, &root, &["-v", "vol:/data:ro"], "ls /data; touch /data/x || echo read-only")
        .expect(0, "more\nread-only");
    sh(&sandbox, &root, &["-v", "other:/data:nocopy"], "ls /data").expect(0, "");
    assert_eq!(fs::read_to_string(data.join("seed")).unwrap(), "from the image");
    sandbox.assert_clean();
}

/// Requirement: S3-7.
#[test]
fn volumes_without_a_name_go_with_the_container() {
    let (sandbox, root) = busybox();
    sh(&sandbox, &root, &["-v", "/scratch", "-v", "kept:/k"], "touch /scratch/x; ls /scratch").expect(0, "x");
    let left: Vec<_> = fs::read_dir(sandbox.path("data/volumes")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["kept"]);
}

/// Requirement: S3-7.
#[test]
fn volume_commands() {
    let sandbox = Sandbox::new();
    let xnet = |args: &[&str]| Ended::of(&mut sandbox.command(&[&["volume"], args].concat()));
    xnet(&["create", "--label", "a=b", "web"]).expect(0, "web");
    xnet(&["create", "web"]).expect(0, "web");
    let random = xnet(&["create"]).stdout.trim().to_owned();
    assert_eq!(random.len(), 64);
    xnet(&["ls", "-q", "-f", "label=a"]).expect(0, "web");
    xnet(&["ls", "--format", "{{.Name}} {{.Labels}}", "-f", "name=we"]).expect(0, "web a=b");
    let mountpoint = xnet(&["inspect", "-f", "{{.Mountpoint}}", "web"]).stdout;
    assert_eq!(Path::new(mountpoint.trim()), sandbox.path("data/volumes/web/_data"));
    assert!(xnet(&["inspect", "web"]).stdout.starts_with("[\n    {\n        \"CreatedAt\""));
    xnet(&["prune"]).expect(0, &random);
    xnet(&["rm", "web"]).expect(0, "web");
    let gone = xnet(&["rm", "web"]);
    assert_eq!((gone.code, gone.stderr.contains("there is no volume web")), (1, true), "{}", gone.stderr);
    xnet(&["rm", "-f", "web"]).expect(0, "");
    xnet(&["ls", "-q"]).expect(0, "");
}

/// Requirement: S1-O1, S3-7, F-mounts.
#[test]
fn a_read_only_root_still_has_places_to_write_to() {
    let (sandbox, root) = busybox();
    let options = ["--read-only", "--tmpfs", "/run:size=64k", "-v", "/scratch", "-w", "/made"];
    let script = "pwd; for p in /x /run/x /scratch/x /dev/shm/x; do touch $p && echo $p; done; ls -ld /run";
    let ended = sh(&sandbox, &root, &options, script);
    assert!(ended.stdout.starts_with("/made\n/run/x\n/scratch/x\n/dev/shm/x\ndrwxrwxrwt"), "{}", ended.stdout);
    assert!(ended.stderr.contains("/x: Read-only file system"), "{}", ended.stderr);
}

/// Requirement: S0-I1.
#[test]
fn the_size_of_shm_is_as_asked() {
    let (sandbox, root) = busybox();
    sh(&sandbox, &root, &["--shm-size", "1m"], "busybox df -k /dev/shm | busybox awk 'END{print $2}'")
        .expect(0, "1024");
    for bad in ["0", "x", "1q"] {
        sh(&sandbox, &root, &["--shm-size", bad], "true").code_is_not(0);
    }
}

/// Requirement: S0-M2, S3-9, P-12.
#[test]
fn mounts_do_not_leak_either_way_from_a_shared_root() {
    let (sandbox, root) = busybox();
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>).unwrap();
    let host = dir(&sandbox, "host");
    dir(&sandbox, "host/sub");
    // The network namespace is pinned for all to see, and only that.
    let table = || {
        let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
        table.lines().filter(|line| !line.contains("/netns")).count()
    };
    let before = table();
    let options = [
        "--net=none",
        "--privileged",
        "--rootfs",
        &root,
        "-v",
        &format!("{host}:/x"),
        "-v",
        &format!("{host}:/s:rslave"),
    ];
    let script = "mount -t tmpfs in /x/sub; mount -t tmpfs in /mnt 2>/dev/null; echo up; read line; cat /proc/mounts";
    let mut running = sandbox.start(&options, script);
    assert_eq!(running.first, "up");
    assert_eq!(table(), before, "a mount of the container shows on the host");
    mount(Some("out"), format!("{host}/sub").as_str(), Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    running.end_input();
    let mut seen = Vec::new();
    loop {
        let line = running.line();
        if line.is_empty() {
            break;
        }
        seen.push(line);
    }
    assert!(!seen.iter().any(|line| line.starts_with("out /x")), "{seen:?}");
    assert!(seen.iter().any(|line| line.starts_with("out /s/sub")), "a slave does not see the host's mount: {seen:?}");
    assert_eq!(running.wait(), 0);
    nix::mount::umount(format!("{host}/sub").as_str()).unwrap();
    assert_eq!(table(), before);
}

/// Requirement: S0-M1.
#[test]
fn the_mount_table_is_the_containers_own() {
    let (sandbox, root) = busybox();
    let host = dir(&sandbox, "host");
    let ended = sh(&sandbox, &root, &["-v", &format!("{host}:/x")], "cat /proc/mounts");
    for line in ended.stdout.lines() {
        let words: Vec<_> = line.split(' ').collect();
        let inside = ["/", "/proc", "/sys", "/dev", "/x", "/etc"];
        let known = inside.iter().any(|place| words[1] == *place || words[1].starts_with(&format!("{place}/")));
        assert!(known, "{line}");
        let path = sandbox.path("").to_str().unwrap().to_owned();
        assert!(words[2] == "overlay" || !line.contains(&path), "{line}");
    }
}

/// Requirement: P-6.
#[test]
fn links_in_the_root_file_system_never_lead_a_mount_out() {
    let (sandbox, root) = busybox();
    let (host, evil) = (dir(&sandbox, "host"), sandbox.path("evil"));
    fs::write(sandbox.path("host/f"), "text").unwrap();
    let up = format!("../../../../../../../..{}", evil.display());
    symlink("/", Path::new(&root).join("mnt")).unwrap();
    symlink(&up, Path::new(&root).join("x")).unwrap();
    symlink("/proc/1/root", Path::new(&root).join("magic")).unwrap();
    sh(&sandbox, &root, &["-v", &format!("{host}:/mnt/x")], &format!("cat /x/f {}/f", evil.display()))
        .expect(0, "texttext");
    assert!(!evil.exists());
    sh(&sandbox, &root, &["-v", &format!("{host}:/magic/x")], "echo ran").expect_refusal(125, "link to an open file");
    sandbox.assert_clean();
}

/// Requirement: P-6.
#[test]
fn a_racer_never_moves_a_mount_out_of_the_container() {
    let (sandbox, root) = busybox();
    let (host, evil) = (dir(&sandbox, "host"), dir(&sandbox, "evil"));
    let shared = dir(&sandbox, "shared");
    dir(&sandbox, "shared/a");
    symlink(format!("../../../../../../../..{evil}"), sandbox.path("shared/b")).unwrap();
    let done = AtomicBool::new(false);
    let (a, b) = (sandbox.path("shared/a"), sandbox.path("shared/b"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        let options = ["-v", &format!("{shared}:/shared"), "-v", &format!("{host}:/shared/a/deep/er")];
        // Where it is mounted says what the name was at that moment; both ways must be met.
        let mut seen = [0; 2];
        for _ in 0..400 {
            let ended =
                sh(&sandbox, &root, &options, "busybox grep -c '/shared/.*/deep/er ' /proc/self/mountinfo; true");
            assert!(ended.code == 0 || ended.code == 125, "{}", ended.stderr);
            seen[usize::from(ended.stdout == "1\n")] += 1;
            if seen.iter().sum::<i32>() >= 30 && seen.iter().all(|times| *times > 0) {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(seen.iter().all(|times| *times > 0), "the race was never on: {seen:?}");
    });
    assert_eq!(fs::read_dir(&evil).unwrap().count(), 0, "something was made outside");
    sandbox.assert_clean();
}

/// Requirement: P-9.
#[test]
fn nothing_covers_proc() {
    let (sandbox, root) = busybox();
    let host = dir(&sandbox, "host");
    symlink("/proc/self", Path::new(&root).join("me")).unwrap();
    for target in ["/proc", "/proc/self/attr", "/proc/sys/kernel", "/a/../proc"] {
        sh(&sandbox, &root, &["-v", &format!("{host}:{target}")], "echo ran").expect_refusal(125, "on or below /proc");
        sh(&sandbox, &root, &["--tmpfs", target], "echo ran").expect_refusal(125, "on or below /proc");
    }
    sh(&sandbox, &root, &["-v", &format!("{host}:/me/attr")], "echo ran").expect_refusal(125, "it leads into /proc");
    let file = sandbox.path("info");
    fs::write(&file, "MemTotal: 1 kB").unwrap();
    let lxcfs = format!("{}:/proc/meminfo:ro", file.display());
    sh(&sandbox, &root, &["-v", &lxcfs], "cat /proc/meminfo").expect(0, "MemTotal: 1 kB");
}

/// Requirement: P-14.
#[test]
fn a_data_root_of_odd_characters_works() {
    let (sandbox, root) = busybox();
    let odd = sandbox.path("a:b,c\\d e");
    let run = |args: &[&str]| {
        let mut command =
            sandbox.run_command(&[&["--net=none", "--rootfs", &root], args].concat(), &["sh", "-c", "ls /x"]);
        command.env("XNET_ROOT", &odd);
        Ended::of(&mut command)
    };
    run(&["-v", "vol:/x"]).expect(0, "");
    assert!(odd.join("volumes/vol/_data").is_dir());
    fs::write(odd.join("volumes/vol/_data/f"), "").unwrap();
    run(&["-v", "vol:/x"]).expect(0, "f");
    run(&["--storage=vfs", "-v", "vol:/x"]).expect(0, "f");
    sandbox.assert_clean();
}

/// Requirement: S3-7.
#[test]
fn options_that_mean_nothing_are_refused_before_anything_is_touched() {
    let (sandbox, root) = busybox();
    for options in [
        &["-v", "/a:/b:rw,bogus"][..],
        &["-v", "/a:b"],
        &["-v", "/a:/"],
        &["-v", "a/b:/c"],
        &["--mount", "type=bind,src=/tmp"],
        &["--mount", "type=nfs,src=/tmp,dst=/x"],
        &["--tmpfs", "/x:lowerdir=/"],
        &["-v", "/tmp:/x", "--tmpfs", "/x"],
        &["--device", "/etc/passwd"],
        &["--storage", "devicemapper"],
    ] {
        let ended = sh(&sandbox, &root, options, "echo ran");
        assert_eq!((ended.code, ended.stdout.as_str()), (125, ""), "{options:?}: {}", ended.stderr);
    }
    assert!(!sandbox.path("data").exists() && !sandbox.path("state").exists());
    let ended = sh(&sandbox, &root, &["-v", "/tmp:/x:ro,z"], "echo ran");
    assert!(ended.stderr.contains("\"z\" has no effect"), "{}", ended.stderr);
    ended.expect(0, "ran");
}

/// Requirement: F-devices.
#[test]
fn devices_are_the_hosts() {
    let (sandbox, root) = busybox();
    let options = ["--device", "/dev/full:/dev/x/full", "--device", "/dev/zero:/elsewhere:r"];
    let script = "busybox stat -c %t:%T /dev/x/full /elsewhere; busybox head -c 2 /elsewhere | busybox wc -c";
    sh(&sandbox, &root, &options, script).expect(0, "1:7\n1:5\n2");
    // What is not among the usual ones can be opened only if it was given, and only as it was given.
    let host =
        ["/dev/fuse", "/dev/net/tun", "/dev/loop-control"].into_iter().find(|path| Path::new(path).exists()).unwrap();
    let script = |mode: &str| format!("busybox mkdir -p /dev/net; : {mode} {host} && echo opened");
    sh(&sandbox, &root, &["--device", host], &script("<>")).expect(0, "opened");
    sh(&sandbox, &root, &["--device", &format!("{host}:r")], &script("<")).expect(0, "opened");
    sh(&sandbox, &root, &["--device", &format!("{host}:r")], &script("<>")).code_is_not(0);
}
