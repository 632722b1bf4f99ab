//! What the command may do, and as whom: capabilities, users and groups, limits.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use sandbox::{Ended, Sandbox};

/// The five lines about capabilities of the command's own status, in the kernel's order: Inh Prm Eff Bnd Amb.
const CAPS: &str = "sed -n 's/^Cap...:\t0*\\([0-9a-f]\\)/\\1/p' /proc/self/status | tr '\\n' ' '";

/// MKNOD CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE NET_RAW SYS_CHROOT AUDIT_WRITE SETFCAP.
const DEFAULT: u64 = 0xa804_25fb;

fn caps(sandbox: &Sandbox, options: &[&str]) -> Vec<u64> {
    let ended = sandbox.run(&[&["--net=none"], options].concat(), &["sh", "-c", CAPS]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout.split_whitespace().map(|hex| u64::from_str_radix(hex, 16).unwrap()).collect()
}

/// A root file system with users and groups of its own.
fn users(sandbox: &Sandbox) -> String {
    let root = sandbox.rootfs();
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nweb:x:101:102::/srv/web:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nadm:x:4:root,web\nwww:x:33:web\nweb:x:102:\n").unwrap();
    root.to_str().unwrap().to_owned()
}

/// Compiles a C program that needs nothing of the container it runs in.
fn compile(sandbox: &Sandbox, source: &str, to: &Path) {
    let file = sandbox.path("program.c");
    fs::write(&file, source).unwrap();
    let status = Command::new("gcc").args(["-static", "-w", "-o"]).arg(to).arg(file).status().unwrap();
    assert!(status.success());
}

/// Requirement: P-21, F-caps.
#[test]
fn nothing_is_inheritable_and_ambient_only_what_was_asked_for() {
    let sandbox = Sandbox::new();
    let net_admin = 1 << 12;
    assert_eq!(caps(&sandbox, &[]), [0, DEFAULT, DEFAULT, DEFAULT, 0]);
    assert_eq!(caps(&sandbox, &["--init"]), [0, DEFAULT, DEFAULT, DEFAULT, 0]);
    assert_eq!(caps(&sandbox, &["-u", "101"]), [0, 0, 0, DEFAULT, 0]);
    let added = DEFAULT | net_admin;
    assert_eq!(caps(&sandbox, &["--cap-add", "net_admin"]), [0, added, added, added, 0]);
    assert_eq!(
        caps(&sandbox, &["-u", "101", "--cap-add=CAP_NET_ADMIN"]),
        [net_admin, net_admin, net_admin, added, net_admin]
    );
    assert_eq!(caps(&sandbox, &["--cap-drop=ALL"]), [0, 0, 0, 0, 0]);
    assert_eq!(caps(&sandbox, &["--cap-drop=ALL", "--cap-add=CHOWN"]), [0, 1, 1, 1, 0]);
    let without = DEFAULT & !(1 << 13);
    assert_eq!(caps(&sandbox, &["--cap-drop=NET_RAW"]), [0, without, without, without, 0]);
    sandbox.assert_clean();
}

/// Requirement: P-21.
#[test]
fn the_callers_own_sets_are_not_the_containers() {
    let sandbox = Sandbox::new();
    let xnet = sandbox.run_command(&["--net=none"], &["sh", "-c", CAPS]);
    let mut command = Command::new("setpriv");
    command.args(["--inh-caps=+kill,+net_raw", "--ambient-caps=+kill,+net_raw"]);
    command.arg(xnet.get_program()).args(xnet.get_args());
    command.envs(xnet.get_envs().filter_map(|(key, value)| Some((key, value?))));
    Ended::of(&mut command).expect(0, "0 a80425fb a80425fb a80425fb 0");
}

/// A new user namespace begins with every capability, be it one that xnet itself was denied.
///
/// Requirement: P-21.
#[test]
fn a_user_namespace_brings_nothing_back() {
    let sandbox = Sandbox::new();
    let xnet = sandbox.run_command(&["--net=none", "--userns=auto"], &["sh", "-c", CAPS]);
    let mut command = Command::new("setpriv");
    command.arg("--bounding-set=-sys_resource").arg(xnet.get_program()).args(xnet.get_args());
    command.envs(xnet.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let ended = Ended::of(&mut command);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let sets: Vec<_> = ended.stdout.split_whitespace().map(|hex| u64::from_str_radix(hex, 16).unwrap()).collect();
    assert_eq!(sets, [0, DEFAULT, DEFAULT, DEFAULT, 0]);
}

/// Requirement: F-caps.
#[test]
fn privileged_has_all_and_unknown_names_are_refused() {
    let sandbox = Sandbox::new();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    let bounding = own.lines().find_map(|l| l.strip_prefix("CapBnd:\t")).unwrap().to_owned();
    let all = u64::from_str_radix(&bounding, 16).unwrap();
    assert_eq!(caps(&sandbox, &["--privileged"]), [0, all, all, all, 0]);
    assert_eq!(caps(&sandbox, &["--cap-add=ALL"]), [0, all, all, all, 0]);
    assert_eq!(caps(&sandbox, &["--privileged", "--cap-drop=SYS_ADMIN"])[3], all & !(1 << 21));
    for (option, why) in [("--cap-add=NO_SUCH", "unknown capability"), ("--cap-drop=12", "unknown capability")] {
        sandbox.run(&["--net=none", option], &["echo", "ran"]).expect_refusal(125, why);
    }
    // A capability that xnet itself has not got cannot be given; whether there is one is up to the machine.
    if all & (1 << 24) == 0 {
        sandbox.run(&["--net=none", "--cap-add=SYS_RESOURCE"], &["echo", "ran"]).expect_refusal(125, "bounding set");
    }
    sandbox.assert_clean();
}

/// Requirement: S0-U2, P-24, P-31.
#[test]
fn users_and_groups_are_those_of_the_containers_files() {
    let sandbox = Sandbox::new();
    let root = users(&sandbox);
    let script =
        "id -u; id -g; for g in $(id -G); do echo $g; done | busybox sort -n | busybox tr '\\n' ' '; echo $HOME";
    let id = |options: &[&str]| {
        let ended = sandbox.run(&[&["--net=none", "--rootfs", &root], options].concat(), &["sh", "-c", script]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout.replace('\n', " ").trim().to_owned()
    };
    assert_eq!(id(&[]), "0 0 0 4 /root");
    assert_eq!(id(&["-u", "web"]), "101 102 4 33 102 /srv/web");
    assert_eq!(id(&["-u", "101"]), "101 102 4 33 102 /srv/web");
    assert_eq!(id(&["-u", "web:www"]), "101 33 33 /srv/web");
    assert_eq!(id(&["-u", "101:5"]), "101 5 5 /srv/web");
    assert_eq!(id(&["-u", "4000"]), "4000 0 0 /");
    assert_eq!(id(&["-u", "web", "--group-add", "7", "--group-add=adm"]), "101 102 4 7 33 102 /srv/web");
    assert_eq!(id(&["-u", "web", "-e", "HOME=/h"]), "101 102 4 33 102 /h");
    for bad in ["1x", ":", "4294967296", "4294967295", "-1", "0x0", "1:", "a b"] {
        let ended = sandbox.run(&["--net=none", "--rootfs", &root, &format!("--user={bad}")], &["echo", "ran"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (125, ""), "{bad}: {}", ended.stderr);
    }
    let missing = |option: &str, why: &str| {
        sandbox.run(&["--net=none", "--rootfs", &root, option], &["echo", "ran"]).expect_refusal(125, why);
    };
    missing("--user=nobody", "/etc/passwd has no user \"nobody\"");
    missing("--user=web:nogroup", "/etc/group has no group \"nogroup\"");
    missing("--group-add=nogroup", "/etc/group has no group \"nogroup\"");
    sandbox.assert_clean();
}

/// Requirement: P-24.
#[test]
fn the_callers_groups_stay_outside() {
    let sandbox = Sandbox::new();
    let root = users(&sandbox);
    let options = ["--net=none", "--rootfs", &root, "-u", "101:102"];
    let xnet = sandbox.run_command(&options, &["id", "-G"]);
    let mut command = Command::new("setpriv");
    command.args(["--groups", "11,12,13,14,15,16,17,18,19,20"]).arg(xnet.get_program()).args(xnet.get_args());
    command.envs(xnet.get_envs().filter_map(|(key, value)| Some((key, value?))));
    Ended::of(&mut command).expect(0, "102");
}

#[test]
fn the_files_of_users_are_the_images_and_not_the_hosts() {
    let sandbox = Sandbox::new();
    let root = PathBuf::from(users(&sandbox));
    fs::remove_file(root.join("etc/passwd")).unwrap();
    std::os::unix::fs::symlink("/../../../../../../etc/passwd", root.join("etc/passwd")).unwrap();
    let run =
        |user: &str| sandbox.run(&["--net=none", "--rootfs", root.to_str().unwrap(), "-u", user], &["echo", "ran"]);
    run("daemon").expect_refusal(125, "Too many symbolic links");
    fs::remove_file(root.join("etc/passwd")).unwrap();
    run("daemon").expect_refusal(125, "no user");
    run("5").expect(0, "ran");
}

/// Requirement: P-22.
#[test]
fn the_order_of_the_last_steps_is_the_safe_one() {
    let sandbox = Sandbox::new();
    let trace = sandbox.path("trace");
    let xnet = sandbox.run_command(&["--net=none", "-u", "101:102", "--cap-add=NET_ADMIN"], &["true"]);
    let calls = "trace=prctl,setgroups,setresgid,setresuid,capset,seccomp,execve,sendto";
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", calls, "-e", "signal=none", "-o"]).arg(&trace);
    command.arg(xnet.get_program()).args(xnet.get_args());
    command.envs(xnet.get_envs().filter_map(|(key, value)| Some((key, value?))));
    assert_eq!(Ended::of(&mut command).code, 0);
    let text = fs::read_to_string(&trace).unwrap();
    let last = text.lines().rfind(|line| line.contains("PR_SET_KEEPCAPS, 1")).unwrap();
    let child = last.split(' ').next().unwrap();
    let mine = text.lines().filter(|line| line.split(' ').next() == Some(child));
    let name = |line: &str| {
        let call = line[child.len()..].trim_start();
        let end = call.find([',', ')']).unwrap_or(call.len());
        call[..end].split_whitespace().next().unwrap_or_default().to_owned()
    };
    let mut names: Vec<_> = mine.map(name).skip_while(|name| !name.contains("PR_CAPBSET_DROP")).collect();
    names.dedup();
    let names: Vec<_> = names.iter().map(|name| name.split('"').next().unwrap()).collect();
    assert_eq!(
        names,
        [
            "prctl(PR_CAPBSET_DROP",
            "prctl(PR_SET_KEEPCAPS",
            "setgroups(1",
            "setresgid(102",
            "setresuid(101",
            "prctl(PR_SET_KEEPCAPS",
            "prctl(PR_CAP_AMBIENT",
            "capset({version=_LINUX_CAPABILITY_VERSION_3",
            "prctl(PR_CAP_AMBIENT",
            "prctl(PR_SET_NO_NEW_PRIVS",
            "prctl(PR_SET_DUMPABLE",
            "prctl(PR_SET_PDEATHSIG",
            "sendto(3",
            "seccomp(SECCOMP_SET_MODE_FILTER",
            "execve(",
        ]
        .map(str::trim)
    );
}

/// Requirement: F-nnp.
#[test]
fn set_user_id_bits_mean_nothing_unless_they_are_allowed_to() {
    let sandbox = Sandbox::new();
    let root = PathBuf::from(users(&sandbox));
    let source = "#include <stdio.h>\n#include <unistd.h>\nint main(void) { printf(\"%d\\n\", geteuid()); }\n";
    compile(&sandbox, source, &root.join("bin/suid"));
    fs::set_permissions(root.join("bin/suid"), fs::Permissions::from_mode(0o4755)).unwrap();
    let run = |options: &[&str]| {
        let fixed = ["--net=none", "--rootfs", root.to_str().unwrap(), "-u", "101"];
        let script = "busybox grep NoNewPrivs /proc/self/status; suid";
        sandbox.run(&[&fixed[..], options].concat(), &["sh", "-c", script]).stdout
    };
    assert_eq!(run(&[]), "NoNewPrivs:\t1\n101\n");
    assert_eq!(run(&["--security-opt=no-new-privileges"]), "NoNewPrivs:\t1\n101\n");
    assert_eq!(run(&["--security-opt", "no-new-privileges=false"]), "NoNewPrivs:\t0\n0\n");
    sandbox.assert_clean();
}

/// Requirement: F-rlimits.
#[test]
fn masks_scores_and_limits_are_what_was_asked_for() {
    let sandbox = Sandbox::new();
    let run = |options: &[&str], script: &str| sandbox.run(&[&["--net=none"], options].concat(), &["sh", "-c", script]);
    run(&[], "umask").expect(0, "0022");
    run(&["--umask=077"], "umask").expect(0, "0077");
    run(&["--ulimit", "nofile=64:128", "--ulimit=core=0"], "ulimit -Sn; ulimit -Hn; ulimit -c").expect(0, "64\n128\n0");
    run(&["--oom-score-adj", "500"], "cat /proc/self/oom_score_adj").expect(0, "500");
    for (option, why) in [
        ("--umask=8", "octal"),
        ("--umask=7777", "octal"),
        ("--ulimit=nofile=2:1", "larger than the hard"),
        ("--ulimit=x=1", "unknown limit"),
        ("--oom-score-adj=1001", "1001"),
    ] {
        let ended = run(&[option], "echo ran");
        assert!(
            ended.code == 125 && ended.stdout.is_empty() && ended.stderr.contains(why),
            "{option}: {}",
            ended.stderr
        );
    }
    // Raising a hard limit takes CAP_SYS_RESOURCE, which is not everywhere. What cannot be done is an error.
    let above = run(&["--ulimit=nofile=1000000000:1000000000"], "ulimit -Hn");
    assert!(above.code == 125 && above.stderr.contains("set up the container: prlimit --nofile"), "{}", above.stderr);
    sandbox.assert_clean();
}

/// Requirement: P-29.
#[test]
fn the_session_keyring_is_the_containers_own() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let source = "#include <stdio.h>\n#include <sys/syscall.h>\n#include <unistd.h>\n\
                  int main(void) { printf(\"%ld\\n\", syscall(SYS_keyctl, 0, -3, 0)); }\n";
    compile(&sandbox, source, &root.join("bin/session"));
    let options = ["--net=none", "--security-opt=seccomp=unconfined", "--rootfs", root.to_str().unwrap()];
    let session = || {
        let ended = sandbox.run(&options, &["session"]);
        assert!(ended.code == 0 && !ended.stdout.starts_with('-'), "{} {}", ended.stdout, ended.stderr);
        ended.stdout
    };
    assert_ne!(session(), session(), "two containers share a session keyring");
    let own = Command::new(root.join("bin/session")).output().unwrap();
    assert_ne!(session().as_bytes(), own.stdout, "a container has its caller's session keyring");
    sandbox.run(&["--net=none"], &["cat", "/proc/keys"]).expect(0, "");
}
