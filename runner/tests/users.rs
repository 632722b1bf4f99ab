//! Containers with ids of their own.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use sandbox::{Ended, Running, Sandbox};

/// The container's first process, as the host numbers it.
fn first_process(running: &Running) -> String {
    let xnet = running.pid();
    fs::read_to_string(format!("/proc/{xnet}/task/{xnet}/children")).unwrap().trim().to_owned()
}

fn map(pid: &str, kind: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/{kind}_map")).unwrap();
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Requirement: S1-U1, S0-U2.
#[test]
fn root_inside_is_somebody_else_outside() {
    let sandbox = Sandbox::new();
    let options = ["--net=none", "--userns=100000:200000:65536"];
    let script = "id -u; read end; stat -c %u:%g / /etc/hosts /usr/bin/env; touch /root/x /usr/x; \
                  chown 5:6 /root/x; stat -c %u:%g /root/x /usr/x; rm /usr/bin/env; test -e /usr/bin/env || echo gone; \
                  echo x >/dev/null && echo x >> /etc/hosts && hostname new && hostname";
    let mut running = sandbox.start(&options, script);
    assert_eq!(running.first, "0");
    let pid = first_process(&running);
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("\nUid:\t100000\t100000\t100000\t100000\nGid:\t200000\t"), "{status}");
    assert_eq!((map(&pid, "uid"), map(&pid, "gid")), (vec![0, 100_000, 65536], vec![0, 200_000, 65536]));
    running.end_input();
    for line in ["0:0", "0:0", "0:0", "5:6", "0:0", "gone"] {
        assert_eq!(running.line(), line);
    }
    // To change the host name takes CAP_SYS_ADMIN, in a user namespace, too.
    assert_eq!(running.line(), "");
    assert_eq!(running.wait(), 1);
    sandbox.assert_clean();
}

/// Requirement: S1-U1, F-idmap.
#[test]
fn files_on_volumes_belong_to_the_mapped_id_or_to_the_intended_one() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("volume");
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    let run = |option: &str, file: &str| {
        let volume = format!("{}:/mnt{option}", dir.display());
        let options = ["--net=none", "--userns=100000:100000:65536", "-v", &volume];
        let script = format!("touch /mnt/{file} && chown 7:8 /mnt/{file} && stat -c %u:%g /mnt/{file}");
        sandbox.run(&options, &["sh", "-c", &script]).expect(0, "7:8");
        let meta = fs::metadata(dir.join(file)).unwrap();
        (meta.uid(), meta.gid())
    };
    assert_eq!(run("", "a"), (100_007, 100_008));
    assert_eq!(run(":idmap", "b"), (7, 8));
    sandbox.assert_clean();
}

/// Requirement: S1-U1, P-23.
#[test]
fn ids_are_mapped_one_by_one_and_others_cannot_be_had() {
    let sandbox = Sandbox::new();
    let maps = ["--net=none", "--uidmap=0:3000:1", "--uidmap=5:5000:10", "--gidmap=0:4000:20"];
    let run = |options: &[&str]| {
        let script = "id -u; id -g; id -G; cat /proc/self/uid_map | tr -s ' ' ' '";
        sandbox.run(&[&maps, options].concat(), &["sh", "-c", script])
    };
    run(&["-u", "7:9", "--group-add=3"]).expect(0, "7\n9\n9 3\n 0 3000 1\n 5 5000 10");
    run(&["-u", "4:0"]).expect_refusal(125, "become user 4: the container's user namespace does not map this id");
    run(&["-u", "7:30"]).expect_refusal(125, "does not map this id");
    run(&["-u", "7", "--group-add=30"]).expect_refusal(125, "set the groups");
    for (options, why) in [
        (&["--userns=keep-id"][..], "keep-id is for users other than root"),
        (&["--userns=nonsense"], "invalid user namespace"),
        (&["--userns=1:2"], "invalid user namespace"),
        (&["--userns=0:4294967295:2"], "no such ids"),
        (&["--uidmap=1:1000:5"], "leave out id 0"),
        (&["--uidmap=0:1000:5", "--uidmap=4:2000:5"], "overlap"),
    ] {
        sandbox.run(&[&["--net=none"], options].concat(), &["echo", "ran"]).expect_refusal(125, why);
    }
    sandbox.assert_clean();
}

/// A file that its group may not read, and everybody else may: who drops the group can read it. So the groups of a container's
/// processes are just those that they were given, with and without a user namespace, and cannot be dropped where that would open
/// something.
///
/// Requirement: P-23, P-24.
#[test]
fn groups_that_take_rights_away_are_kept_and_those_of_the_caller_are_not() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("volume");
    fs::create_dir(&dir).unwrap();
    for (name, gid) in [("plain", 500), ("mapped", 100_500)] {
        fs::write(dir.join(name), "open\n").unwrap();
        std::os::unix::fs::chown(dir.join(name), Some(0), Some(gid)).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o705)).unwrap();
    }
    let volume = format!("{}:/v:ro", dir.display());
    let script = |name: &str| format!("id -G; cat /v/{name} 2>/dev/null || echo closed; cat /proc/self/setgroups");
    // The caller is a member of both, and that does not matter inside.
    let run = |options: &[&str], name: &str| {
        let options = [&["--net=none", "-v", &volume, "-u", "1000:1000"], options].concat();
        let xnet = sandbox.run_command(&options, &["sh", "-c", &script(name)]);
        let mut command = std::process::Command::new("setpriv");
        command.args(["--groups", "500,100500,77"]).arg(xnet.get_program()).args(xnet.get_args());
        command.envs(xnet.get_envs().filter_map(|(key, value)| Some((key, value?))));
        Ended::of(&mut command)
    };
    run(&[], "plain").expect(0, "1000\nopen\nallow");
    run(&["--group-add=500"], "plain").expect(0, "1000 500\nclosed\nallow");
    let mapped = "--userns=100000:100000:65536";
    run(&[mapped], "mapped").expect(0, "1000\nopen\nallow");
    run(&[mapped, "--group-add=500"], "mapped").expect(0, "1000 500\nclosed\nallow");
    // A user namespace in there is made by somebody without rights, who must not drop groups: the kernel refuses the map until
    // he has said that he will not.
    let options =
        ["--net=none", "-v", &volume, "-u", "1000:1000", "--group-add=500", "--security-opt=seccomp=unconfined"];
    let inner =
        "unshare --user --map-root-user sh -c 'cat /proc/self/setgroups; cat /v/plain 2>/dev/null || echo closed'";
    sandbox.run(&options, &["sh", "-c", inner]).expect(0, "deny\nclosed");
    sandbox.assert_clean();
}

/// Requirement: S1-U1.
#[test]
fn containers_with_a_range_of_their_own_do_not_share_it() {
    let sandbox = Sandbox::new();
    let start = || sandbox.start(&["--net=none", "--userns=auto"], "echo up; read end");
    let (one, two) = (start(), start());
    let base = |running: &Running| map(&first_process(running), "uid")[1];
    assert!(base(&one).abs_diff(base(&two)) >= 65536);
    drop((one, two));
    sandbox.await_release();
    sandbox.gc();
    sandbox.assert_clean();
}

/// Requirement: S1-U1, NET-C1.
#[test]
fn everything_else_works_in_a_user_namespace_as_well() {
    let sandbox = Sandbox::new();
    let other = sandbox.start(&["--net=none", "--name=other"], "echo up; read end");
    let netns = fs::read_link(format!("/proc/{}/ns/net", first_process(&other))).unwrap();
    let joined = sandbox.run(&["--userns=auto", "--net=container:other"], &["readlink", "/proc/self/ns/net"]);
    joined.expect(0, netns.to_str().unwrap());
    let options = [
        "--net=none",
        "--userns=auto",
        "--time-offset=boottime=100000",
        "--oom-score-adj=100",
        "--init",
        "--sysctl=net.ipv4.ip_forward=1",
        "--sysctl=kernel.msgmax=4096",
        "--ulimit=core=0",
        "-m",
        "64m",
        "-u",
        "daemon",
    ];
    let script = "cat /proc/self/oom_score_adj /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax; \
                  test $(cut -d. -f1 /proc/uptime) -gt 100000 && id -un; cut -d: -f3 /proc/self/cgroup | sort -u";
    sandbox.run(&options, &["sh", "-c", script]).expect(0, "100\n1\n4096\ndaemon\n/");
    let shared = sandbox.run(&["--net=host", "--pid=host", "--userns=auto"], &["sh", "-c", "test $$ != 1 && id -u"]);
    shared.expect(0, "0");
    drop(other);
    sandbox.await_release();
    sandbox.gc();
    sandbox.assert_clean();
}

/// Requirement: P-26, P-25.
#[test]
fn root_of_a_user_namespace_has_no_more_calls_than_others() {
    let sandbox = Sandbox::new();
    let options = ["--net=none", "--userns=auto"];
    let script = "exec 2>/dev/null; mount -t tmpfs x /mnt && echo mounted; unshare -U true && echo unshared; \
                  mknod /tmp/x b 1 0 && echo made; (echo 1 > /proc/sysrq-trigger) && echo asked; \
                  for f in /sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/tasks; do (echo 0 > $f) && echo $f; done; true";
    sandbox.run(&options, &["sh", "-c", script]).expect(0, "");
    // With all there is, the host stays what it is.
    let script = "mount -t tmpfs x /mnt && echo mounted; (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null; \
                  mknod /tmp/x b 1 0 2>/dev/null && echo made; hostname inside && hostname";
    let before = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let all = ["--net=none", "--userns=auto", "--privileged"];
    sandbox.run(&all, &["sh", "-c", script]).expect(0, "mounted\ninside");
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
    sandbox.assert_clean();
}
