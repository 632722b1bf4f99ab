//! Files between containers and the host: cp, diff, export, commit, and what is kept from one start to the next.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use sandbox::{Ended, Sandbox, eventually};

fn xnet(sandbox: &Sandbox, args: &[&str]) -> Ended {
    Ended::of(&mut sandbox.command(args))
}

/// `xnet run` without `--rm`.
fn kept(sandbox: &Sandbox, options: &[&str], script: &str) -> Command {
    let fixed = ["run", "--cgroup-parent", sandbox.cgroup()];
    sandbox.command(&[&fixed, options, &["--", "sh", "-c", script]].concat())
}

/// A container called `c` of a busybox that has run `script` and stays.
fn ended(sandbox: &Sandbox, options: &[&str], script: &str) {
    let root = sandbox.rootfs();
    let fixed = ["--net=none", "--name=c", "--rootfs", root.to_str().unwrap()];
    Ended::of(&mut kept(sandbox, &[&fixed, options].concat(), script)).expect(0, "");
}

fn layer(sandbox: &Sandbox) -> std::path::PathBuf {
    let all: Vec<_> = fs::read_dir(sandbox.path("data/overlay")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all[0].clone()
}

/// Requirement: S1-O7, S1-O6, S0-L4.
#[test]
fn what_is_written_stays_until_the_container_is_removed() {
    let sandbox = Sandbox::new();
    let script = "cat /kept 2>/dev/null; echo again >> /kept; rm -f /bin/true; ls /bin/true 2>/dev/null; ls /extra 2>/dev/null; true";
    ended(&sandbox, &[], script);
    let diff = layer(&sandbox).join("diff");
    let whiteout = fs::symlink_metadata(diff.join("bin/true")).unwrap();
    assert_eq!((whiteout.mode() & 0o170_000, whiteout.rdev()), (0o020_000, 0));
    xnet(&sandbox, &["start", "-a", "c"]).expect(0, "again");
    // What is taken out of the layer meanwhile is gone, and what is put there shows.
    fs::remove_file(diff.join("kept")).unwrap();
    fs::write(diff.join("extra"), "").unwrap();
    xnet(&sandbox, &["start", "-a", "c"]).expect(0, "/extra");
    xnet(&sandbox, &["rm", "c"]).expect(0, "c");
    assert_eq!(fs::read_dir(sandbox.path("data/overlay")).unwrap().count(), 0);
    sandbox.assert_clean();
}

/// Requirement: S3-7.
#[test]
fn volumes_of_a_container_go_with_it_if_asked() {
    let sandbox = Sandbox::new();
    let volumes = || fs::read_dir(sandbox.path("data/volumes")).unwrap().count();
    ended(&sandbox, &["-v", "/v", "-v", "named:/n"], "echo x > /v/f");
    xnet(&sandbox, &["start", "-a", "c"]).expect(0, "");
    let used = xnet(&sandbox, &["volume", "rm", "named"]);
    assert!(used.code == 1 && used.stderr.contains("in use by"), "{}", used.stderr);
    xnet(&sandbox, &["rm", "c"]).expect(0, "c");
    assert_eq!(volumes(), 2);
    ended(&sandbox, &["-v", "/v", "-v", "named:/n"], "true");
    xnet(&sandbox, &["rm", "-v", "c"]).expect(0, "c");
    assert_eq!(volumes(), 2);
    xnet(&sandbox, &["volume", "prune", "-a"]).code_is_not(1);
    assert_eq!(volumes(), 0);
}

/// Requirement: S3-7.
#[test]
fn volumes_of_another_container_can_be_used() {
    let sandbox = Sandbox::new();
    let host = sandbox.path("host");
    ended(
        &sandbox,
        &["-v", &format!("{}:/h", host.display()), "-v", "/v", "-v", "named:/n", "--tmpfs", "/t"],
        "echo x > /v/f; echo y > /h/f",
    );
    let root = sandbox.path("rootfs");
    let options = ["--net=none", "--volumes-from", "c:ro", "--rootfs", root.to_str().unwrap()];
    sandbox.run(&options, &["sh", "-c", "cat /v/f /h/f; touch /v/x 2>/dev/null || echo ro; ls -d /t"]).code_is_not(0);
    sandbox.run(&options, &["sh", "-c", "cat /v/f /h/f; touch /v/x 2>/dev/null || echo ro"]).expect(0, "x\ny\nro");
    let unknown = ["--net=none", "--volumes-from", "nobody"];
    sandbox.run(&unknown, &["true"]).expect_refusal(125, "nobody");
    // They were not made for the second container, and did not go with it.
    assert_eq!(fs::read_dir(sandbox.path("data/volumes")).unwrap().count(), 2);
}

/// Requirement: F-diff.
#[test]
fn diff_tells_what_was_touched() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.rootfs().join("d/sub")).unwrap();
    fs::write(sandbox.rootfs().join("d/old"), "x").unwrap();
    let script = "echo new > /new; rm /bin/true; echo more >> /d/old; mkdir /d/made; rm -r /d/sub; mkdir /d/sub";
    let script = script
        .replace("rm -r", "busybox rm -r")
        .replace("rm /bin", "busybox rm /bin")
        .replace("mkdir", "busybox mkdir");
    ended(&sandbox, &[], &script);
    let expected = "C /bin\nD /bin/true\nC /d\nA /d/made\nC /d/old\nC /d/sub\nA /new";
    xnet(&sandbox, &["diff", "c"]).expect(0, expected);
    xnet(&sandbox, &["rm", "c"]).expect(0, "c");
    ended(&sandbox, &["--storage=vfs"], &script);
    xnet(&sandbox, &["diff", "c"]).expect(0, "D /bin/true\nA /d/made\nC /d/old\nA /new");
}

/// Requirement: S0-Z1.
#[test]
fn sizes_count_blocks_and_hard_links_once() {
    let sandbox = Sandbox::new();
    ended(
        &sandbox,
        &[],
        "busybox dd if=/dev/zero of=/one bs=1M count=1 2>/dev/null; busybox ln /one /two; busybox rm /bin/true; busybox sync",
    );
    let listed = xnet(&sandbox, &["ps", "-a", "-s"]).stdout;
    let written = listed.split_whitespace().find(|word| word.ends_with("MB")).unwrap().to_owned();
    assert!(written.starts_with("1.0"), "{listed}");
    assert!(listed.contains("(virtual "), "{listed}");
}

/// Requirement: F-cp, S3-4.
#[test]
fn cp_works_with_containers_that_run_and_that_do_not() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    fs::write(sandbox.path("in"), "from the host").unwrap();
    std::os::unix::fs::chown(sandbox.path("in"), Some(7), Some(8)).unwrap();
    let host = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let options = ["-i", "--net=none", "--name=c", "-v", "vol:/vol", "--rootfs", root.to_str().unwrap()];
    let script = "busybox mkdir -p /d/sub; echo inner > /d/sub/f; echo up; read line; cat /new /vol/in; busybox stat -c %u:%g /new /kept";
    let mut running = sandbox.start_command(kept(&sandbox, &options, script));
    assert_eq!(running.first, "up");
    xnet(&sandbox, &["cp", &host("in"), "c:/new"]).expect(0, "");
    xnet(&sandbox, &["cp", "-a", &host("in"), "c:/kept"]).expect(0, "");
    xnet(&sandbox, &["cp", &host("in"), "c:/vol"]).expect(0, "");
    xnet(&sandbox, &["cp", "c:/d", &host("out")]).expect(0, "");
    xnet(&sandbox, &["cp", "c:d/.", &host("flat")]).expect(0, "");
    assert_eq!(fs::read_to_string(sandbox.path("out/sub/f")).unwrap(), "inner\n");
    assert_eq!(fs::read_to_string(sandbox.path("flat/sub/f")).unwrap(), "inner\n");
    running.end_input();
    let seen: Vec<_> = std::iter::from_fn(|| Some(running.line()).filter(|line| !line.is_empty())).collect();
    assert_eq!(seen, ["from the hostfrom the host0:0", "7:8"]);
    running.wait();
    // Now it does not run.
    assert_eq!(fs::read_to_string(sandbox.path("data/volumes/vol/_data/in")).unwrap(), "from the host");
    xnet(&sandbox, &["cp", "c:/vol/in", &host("again")]).expect(0, "");
    xnet(&sandbox, &["cp", &host("again"), "c:/d/sub/"]).expect(0, "");
    assert_eq!(fs::read_to_string(layer(&sandbox).join("diff/d/sub/again")).unwrap(), "from the host");
    let refused = xnet(&sandbox, &["cp", "c:/nothing", &host("x")]);
    assert!(refused.stderr.contains("there is no such file"), "{}", refused.stderr);
    xnet(&sandbox, &["cp", "c:/d", "c:/e"]).code_is_not(0);
    xnet(&sandbox, &["rm", "c"]).expect(0, "c");
    sandbox.assert_clean();
}

/// Owners are those inside, whichever ids of the host stand for them.
/// Requirement: F-cp, S1-U1.
#[test]
fn cp_works_with_a_user_namespace() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    fs::create_dir(sandbox.path("in")).unwrap();
    fs::write(sandbox.path("in/file"), "from the host").unwrap();
    std::os::unix::fs::chown(sandbox.path("in/file"), Some(7), Some(8)).unwrap();
    fs::set_permissions(sandbox.path("in/file"), fs::Permissions::from_mode(0o4711)).unwrap();
    let host = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let owner = |name: &str| fs::metadata(sandbox.path(name)).map(|file| (file.uid(), file.gid())).unwrap();
    let fixed = ["-i", "--net=none", "--name=c", "-v", "vol:/vol", "--rootfs", root.to_str().unwrap()];
    let options = [&fixed[..], &["--userns=100000:200000:1000"]].concat();
    let script = "busybox mkdir /own; echo mine > /own/f; busybox chown 5:6 /own/f; echo up; read line; \
                  busybox stat -c '%n %u:%g %a' /new/file /kept/file /vol/in/file /tar/own/f; \
                  cat /new/file && echo more >> /new/file && busybox rm -r /new && echo removed";
    let mut running = sandbox.start_command(kept(&sandbox, &options, script));
    assert_eq!(running.first, "up");
    xnet(&sandbox, &["cp", &host("in"), "c:/new"]).expect(0, "");
    xnet(&sandbox, &["cp", "-a", &host("in"), "c:/kept"]).expect(0, "");
    xnet(&sandbox, &["cp", &host("in"), "c:/vol"]).expect(0, "");
    xnet(&sandbox, &["cp", "-a", "c:/own", &host("out")]).expect(0, "");
    assert_eq!(owner("out/f"), (5, 6));
    xnet(&sandbox, &["cp", "c:/own/f", &host("mine")]).expect(0, "");
    assert_eq!(owner("mine"), (0, 0));
    xnet(&sandbox, &["cp", &host("in/."), "c:/tar"]).expect(0, "");
    let archive = sandbox.command(&["cp", "c:/own", "-"]).output().unwrap().stdout;
    let mut child = sandbox.command(&["cp", "-", "c:/tar"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&archive).unwrap();
    assert!(child.wait().unwrap().success());
    // Somebody whom the container does not know.
    std::os::unix::fs::chown(sandbox.path("in/file"), Some(5000), Some(8)).unwrap();
    let refused = xnet(&sandbox, &["cp", "-a", &host("in/file"), "c:/unknown"]);
    assert!(refused.code != 0 && refused.stderr.contains("belongs to 5000:8"), "{}", refused.stderr);
    running.end_input();
    let seen: Vec<_> = std::iter::from_fn(|| Some(running.line()).filter(|line| !line.is_empty())).collect();
    let expected = ["/new/file 0:0 4711", "/kept/file 7:8 4711", "/vol/in/file 0:0 4711", "/tar/own/f 5:6 644"];
    assert_eq!(seen[..4], expected);
    assert_eq!(seen[4..], ["from the hostremoved"]);
    running.wait();
    xnet(&sandbox, &["rm", "c"]).expect(0, "c");
    sandbox.assert_clean();
}

/// Requirement: F-cp.
#[test]
fn cp_speaks_tar() {
    let sandbox = Sandbox::new();
    ended(&sandbox, &[], "busybox mkdir -p /d/sub; echo inner > /d/sub/f");
    let mut pack = sandbox.command(&["cp", "c:/d", "-"]);
    let archive = pack.output().unwrap();
    assert!(archive.status.success(), "{}", String::from_utf8_lossy(&archive.stderr));
    let mut unpack = sandbox.command(&["cp", "-", "c:/bin"]);
    let mut child = unpack.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&archive.stdout).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read_to_string(layer(&sandbox).join("diff/bin/d/sub/f")).unwrap(), "inner\n");
    let left: Vec<_> = fs::read_dir(layer(&sandbox)).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_str().unwrap().starts_with("incoming")), "{left:?}");
}

/// Requirement: P-10.
#[test]
fn cp_never_leaves_the_container_whoever_swaps_names() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let secret = sandbox.path("secret");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("f"), "SECRET").unwrap();
    let shared = sandbox.path("shared");
    fs::create_dir_all(shared.join("a")).unwrap();
    fs::write(shared.join("a/f"), "harmless").unwrap();
    symlink(&secret, shared.join("b")).unwrap();
    fs::write(sandbox.path("in"), "written").unwrap();
    let mount = format!("{}:/shared", shared.display());
    let running = sandbox
        .start(&["--net=none", "--name=c", "-v", &mount, "--rootfs", root.to_str().unwrap()], "echo up; read line");
    let done = AtomicBool::new(false);
    let (a, b) = (shared.join("a"), shared.join("b"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).unwrap();
            }
        });
        // Behind the link there is nothing inside; both ways must be met.
        let mut seen = [0; 2];
        for _ in 0..400 {
            let out = sandbox.path("out");
            let _ = fs::remove_file(&out);
            let read = xnet(&sandbox, &["cp", "-L", "c:/shared/a/f", out.to_str().unwrap()]);
            assert_ne!(fs::read_to_string(&out).unwrap_or_default(), "SECRET");
            xnet(&sandbox, &["cp", sandbox.path("in").to_str().unwrap(), "c:/shared/a/f"]);
            seen[usize::from(read.code == 0)] += 1;
            if seen.iter().sum::<i32>() >= 15 && seen.iter().all(|times| *times > 0) {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(seen.iter().all(|times| *times > 0), "the race was never on: {seen:?}");
    });
    assert_eq!(fs::read_to_string(secret.join("f")).unwrap(), "SECRET");
    drop(running);
}

/// Requirement: S3-4, F-export.
#[test]
fn an_exported_container_runs_again() {
    let sandbox = Sandbox::new();
    ended(&sandbox, &["-v", "vol:/vol"], "echo mine > /mine; echo hidden > /vol/f; busybox rm /bin/true");
    let tar = sandbox.path("x.tar");
    xnet(&sandbox, &["export", "-o", tar.to_str().unwrap(), "c"]).expect(0, "");
    assert_eq!(xnet(&sandbox, &["image", "import", tar.to_str().unwrap(), "again"]).code, 0);
    let copy = sandbox.path("copy");
    fs::create_dir(&copy).unwrap();
    let listed = std::process::Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&copy).status().unwrap();
    assert!(listed.success());
    let options = ["--net=none", "--rootfs", copy.to_str().unwrap()];
    sandbox.run(&options, &["sh", "-c", "cat /mine; ls /vol /bin/true"]).code_is_not(0);
    sandbox.run(&options, &["sh", "-c", "cat /mine; ls /vol"]).expect(0, "mine");
}

/// A container that runs is no other place: what is written lands on the host, and the container goes on.
///
/// Requirement: F-export, F-commit.
#[test]
fn a_running_container_is_exported_to_the_host() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let options = ["run", "-d", "--net=none", "--name=c", "--cgroup-parent", sandbox.cgroup(), "--rootfs"];
    let script = "echo mine > /mine; exec sleep 1000";
    let words = [&options[..], &[root.to_str().unwrap(), "sh", "-c", script]].concat();
    assert_eq!(xnet(&sandbox, &words).code, 0);
    eventually("its file is there", || xnet(&sandbox, &["exec", "c", "cat", "/mine"]).code == 0);
    let mut export = sandbox.command(&["export", "-o", "x.tar", "c"]);
    Ended::of(export.current_dir(sandbox.path(""))).expect(0, "");
    xnet(&sandbox, &["exec", "c", "ls", "/x.tar"]).code_is_not(0);
    assert_eq!(xnet(&sandbox, &["import", sandbox.path("x.tar").to_str().unwrap(), "exported"]).code, 0);
    assert_eq!(xnet(&sandbox, &["commit", "c", "committed"]).code, 0);
    xnet(&sandbox, &["inspect", "-f", "{{.State.Status}}", "c"]).expect(0, "running");
    for image in ["exported", "committed"] {
        xnet(&sandbox, &["run", "--rm", "--net=none", "--cgroup-parent", sandbox.cgroup(), image, "cat", "/mine"])
            .expect(0, "mine");
    }
}

/// Requirement: F-commit.
#[test]
fn a_container_becomes_an_image() {
    let sandbox = Sandbox::new();
    ended(&sandbox, &[], "echo mine > /mine");
    let ended = xnet(&sandbox, &["commit", "-m", "a note", "-a", "me", "-c", "ENV A=b", "c", "mine:1"]);
    assert!(ended.stdout.starts_with("sha256:"), "{}", ended.stderr);
    let shown = xnet(&sandbox, &["image", "inspect", "mine:1"]).stdout;
    assert!(shown.contains("\"a note\"") && shown.contains("A=b"), "{shown}");
    let host = Ended::of(&mut kept(&sandbox, &["--net=none", "--name=h"], "true"));
    assert_eq!(host.code, 0, "{}", host.stderr);
    let refused = xnet(&sandbox, &["commit", "h"]);
    assert!(refused.stderr.contains("host's own /usr"), "{}", refused.stderr);
    assert!(!Path::new("/mine").exists());
}
