//! What people do with containers every day, and expect to simply work.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use node::node;
use sandbox::{Ended, Running, Sandbox};

/// The container's first process, as the host numbers it.
fn first_process(running: &Running) -> String {
    let xnet = running.pid();
    fs::read_to_string(format!("/proc/{xnet}/task/{xnet}/children")).unwrap().trim().to_owned()
}

/// Requirement: P-4.
#[test]
fn the_callers_streams_keep_their_owner() {
    let sandbox = Sandbox::new();
    let (file, null) = (sandbox.path("out"), Path::new("/dev/null"));
    fs::write(&file, "").unwrap();
    let owner = |path: &Path| {
        let meta = fs::metadata(path).unwrap();
        (meta.uid(), meta.gid(), meta.mode(), meta.rdev())
    };
    let before = [owner(null), owner(&file)];
    assert_eq!(before[0], (0, 0, 0o20666, 0x103));
    for options in [&["-u", "101:102"][..], &["-u", "101"], &["-u", "101", "--userns=auto"]] {
        let mut command =
            sandbox.run_command(&[&["--net=none"], options].concat(), &["sh", "-c", "echo out; echo err >&2"]);
        command.stdin(File::open(null).unwrap());
        command.stdout(OpenOptions::new().append(true).open(&file).unwrap());
        command.stderr(OpenOptions::new().write(true).open(null).unwrap());
        assert_eq!(command.status().unwrap().code(), Some(0));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "out\nout\nout\n");
    assert_eq!([owner(null), owner(&file)], before);
    sandbox.assert_clean();
}

/// Requirement: P-37.
#[test]
fn timeout_ends_a_container_that_has_no_handler() {
    let sandbox = Sandbox::new();
    let xnet = sandbox.run_command(&["--net=none"], &["sleep", "100"]);
    let mut command = Command::new("timeout");
    command.arg("1").arg(xnet.get_program()).args(xnet.get_args());
    command.envs(xnet.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let start = Instant::now();
    // 124 is timeout's own status, when the command did end on its signal.
    Ended::of(&mut command).expect(124, "");
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    sandbox.assert_clean();
}

/// Requirement: S4-9.
#[test]
fn workers_have_the_master_for_a_parent_and_executed_commands_have_none() {
    let sandbox = Sandbox::new();
    let script = "sleep 1000 & setpriv --reuid=101 --regid=101 --clear-groups sh -c 'echo up; exec sleep 1000' & wait";
    let running = sandbox.start(&["--net=none", "--name=web"], script);
    assert_eq!(running.first, "up");
    let ended = sandbox.xnet(&["exec", "web", "ps", "-e", "-o", "ppid=,uid=,pid="]);
    let mut seen: Vec<Vec<u32>> =
        ended.stdout.lines().map(|l| l.split_whitespace().map(|n| n.parse().unwrap()).collect()).collect();
    seen.sort_unstable_by_key(|process| process[2]);
    let parents_and_users: Vec<_> = seen.iter().map(|process| (process[0], process[1])).collect();
    assert_eq!(parents_and_users, [(0, 0), (1, 0), (1, 101), (0, 0)], "{}{}", ended.stdout, ended.stderr);
    assert_eq!(seen[0][2], 1);
    // Without a user namespace the host has the same number for the worker's user.
    let users = Ended::of(Command::new("ps").args(["-o", "uid=", "--ppid", &first_process(&running)])).stdout;
    let users: Vec<_> = users.split_whitespace().collect();
    assert_eq!(users, ["0", "101"]);
    drop(running);
}

/// Requirement: S4-3, S3-11.
#[test]
fn there_are_four_ways_to_be_connected() {
    let sandbox = node();
    let namespace = |kind: &str| fs::read_link(format!("/proc/thread-self/ns/{kind}")).unwrap().display().to_string();
    let script = "readlink /proc/self/ns/net /proc/self/ns/ipc; ls /sys/class/net | tr '\\n' ' '";
    let run = |net: &str| -> Vec<String> {
        let ended = sandbox.run(&[net], &["sh", "-c", script]);
        assert_eq!(ended.code, 0, "{net}: {}", ended.stderr);
        ended.stdout.lines().map(|line| line.trim().to_owned()).collect()
    };
    let web = sandbox.start(&["--net=bridge", "--name=web"], "readlink /proc/self/ns/net; exec sleep 1000");
    let (bridge, none, host, joined) =
        (run("--net=bridge"), run("--net=none"), run("--net=host"), run("--net=container:web"));
    assert_eq!((bridge[2].as_str(), none[2].as_str(), joined[2].as_str()), ("eth0 lo", "lo", "eth0 lo"));
    assert_eq!((&host[0], &joined[0]), (&namespace("net"), &web.first));
    // The number of a namespace that is gone may come again, so only those that are there are compared.
    assert!([&host[0], &joined[0]].iter().all(|other| bridge[0] != **other && none[0] != **other));
    for ipc in [&bridge[1], &none[1], &host[1], &joined[1]] {
        assert_ne!(*ipc, namespace("ipc"));
    }
    let user = sandbox.run(&["--net=none", "--userns=auto"], &["readlink", "/proc/self/ns/user"]);
    assert!(user.stdout.starts_with("user:[") && user.stdout.trim() != namespace("user"), "{}", user.stderr);
}

/// Requirement: F-oom, S0-C1.
#[test]
fn an_end_for_want_of_memory_is_told() {
    let sandbox = Sandbox::new();
    for (limit, script, told) in [("-m16m", "exec tail /dev/zero", "137 true"), ("-m64m", "exit 137", "137 false")] {
        let id = sandbox.detach(&["--net=none", limit], &["sh", "-c", script]);
        sandbox.xnet(&["wait", &id]).expect(0, "137");
        sandbox.xnet(&["inspect", "-f", "{{.State.ExitCode}} {{.State.OOMKilled}}", &id]).expect(0, told);
        sandbox.xnet(&["rm", &id]).expect(0, &id);
    }
    sandbox.assert_clean();
}

/// A package of Debian's format, with a script that does what packages do when they are installed.
fn package(sandbox: &Sandbox) {
    let tree = sandbox.path("packages/probe");
    fs::create_dir_all(tree.join("DEBIAN")).unwrap();
    fs::create_dir_all(tree.join("usr/bin")).unwrap();
    let control = "Package: probe\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: a probe\n";
    fs::write(tree.join("DEBIAN/control"), control).unwrap();
    let script = "#!/bin/sh\nset -e\ngroupadd --system probe\nuseradd --system --gid probe --no-create-home probe\n\
                  mkdir -p /var/lib/probe\nchown probe:probe /var/lib/probe\nchmod 2750 /var/lib/probe\n\
                  chmod 4755 /usr/bin/probe\nmknod /var/lib/probe/pipe p\n";
    sandbox::executable(&tree.join("DEBIAN/postinst"), script);
    sandbox::executable(&tree.join("usr/bin/probe"), "#!/bin/sh\necho installed\n");
    let built = Command::new("dpkg-deb").args(["--root-owner-group", "--build"]).arg(&tree).output().unwrap();
    assert!(built.status.success(), "{built:?}");
}

/// Requirement: S4-12.
#[test]
fn a_package_can_be_installed_inside() {
    let sandbox = Sandbox::new();
    package(&sandbox);
    let volume = format!("{}:/packages:ro", sandbox.path("packages").display());
    let script = "set -e\nmkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates /var/lib/dpkg/triggers /var/log\n\
                  touch /var/lib/dpkg/status /var/lib/dpkg/available\ndpkg -i /packages/probe.deb >/dev/null\nprobe\n\
                  stat -c '%U:%G %a' /usr/bin/probe /var/lib/probe\n\
                  setpriv --reuid=probe --regid=probe --clear-groups touch /var/lib/probe/x && stat -c %U /var/lib/probe/x\n\
                  dpkg -s probe | grep ^Status\ndpkg -r probe >/dev/null\n! test -e /usr/bin/probe";
    let ended = sandbox.run(&["--net=none", "-v", &volume], &["sh", "-c", script]);
    let expected = "installed\nroot:root 4755\nprobe:probe 2750\nprobe\nStatus: install ok installed";
    assert_eq!((ended.code, ended.stdout.trim()), (0, expected), "{}", ended.stderr);
    assert!(!Path::new("/usr/bin/probe").exists() && !Path::new("/var/lib/probe").exists());
    sandbox.assert_clean();
}
