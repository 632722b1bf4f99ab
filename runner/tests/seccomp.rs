//! The filter of system calls, as programs meet it.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::process::Command;

use sandbox::{Ended, Sandbox};

/// Compiles a C program that may be run in a container.
fn program(sandbox: &Sandbox, name: &str, source: &str) -> String {
    let root = sandbox.rootfs();
    let file = sandbox.path(&format!("{name}.c"));
    fs::write(&file, source).unwrap();
    let mut gcc = Command::new("gcc");
    let built = Ended::of(gcc.args(["-static", "-O0", "-w", "-o"]).arg(root.join("bin").join(name)).arg(file));
    assert_eq!(built.code, 0, "{}", built.stderr);
    root.to_str().unwrap().to_owned()
}

/// Makes calls by number and prints each one's errno.
const PROBE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static void say(const char *what, long answer) { printf("%s=%d ", what, answer < 0 ? errno : 0); fflush(stdout); }
int main(void) {
    say("mount", syscall(SYS_mount, "x", "/none", "tmpfs", 0, 0));
    say("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    say("setns", syscall(SYS_setns, 0, 0));
    long clone = syscall(SYS_clone, CLONE_NEWUSER | 17, 0, 0, 0, 0);
    if (clone == 0) _exit(0);
    say("clone", clone);
    say("clone3", syscall(SYS_clone3, 0, 0));
    say("alg", syscall(SYS_socket, 38, 5, 0));
    say("alg-high", syscall(SYS_socket, 0x100000026L, 5, 0));
    say("vsock", syscall(SYS_socket, 40, 1, 0));
    say("keyctl", syscall(SYS_keyctl, 0, -3, 0));
    say("tiocsti", syscall(SYS_ioctl, 0, 0x5412, "x"));
    say("tiocsti-high", syscall(SYS_ioctl, 0, 0x100005412L, "x"));
    say("unknown", syscall(900));
    say("inet", syscall(SYS_socket, 2, 1, 0));
    say("settimeofday", syscall(SYS_settimeofday, 0, 0));
    say("unshare", syscall(SYS_unshare, CLONE_NEWUSER));
    puts("");
    return 0;
}
"#;

/// Requirement: P-26, P-5, F-seccomp.
#[test]
fn the_default_profile_refuses_what_containers_do_not_need() {
    let sandbox = Sandbox::new();
    let root = program(&sandbox, "probe", PROBE);
    let run = |options: &[&str]| {
        let ended = sandbox.run(&[&["--net=none", "--rootfs", &root], options].concat(), &["probe"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout.trim().to_owned()
    };
    let refused = "mount=1 fsopen=1 setns=1 clone=1 clone3=38 alg=1 alg-high=1 vsock=1 keyctl=1 tiocsti=1 \
                   tiocsti-high=1 unknown=38 inet=0 settimeofday=1 unshare=1";
    assert_eq!(run(&[]), refused);
    assert_eq!(run(&["--security-opt=no-new-privileges=false"]), refused);
    assert_eq!(run(&["--init"]), refused);
    assert_eq!(run(&["-u", "1000"]), refused);
    let admin = run(&["--cap-add=SYS_ADMIN"]);
    assert!(admin.contains("unshare=0") && admin.contains("setns=22 ") && admin.contains("clone3=22 "), "{admin}");
    let open = run(&["--security-opt=seccomp=unconfined"]);
    assert!(open.contains("unshare=0") && open.contains("unknown=38") && open.contains("clone=0 "), "{open}");
    let closed = run(&["--security-opt=seccomp=unconfined", "--disable-userns"]);
    assert!(closed.contains("unshare=1") && closed.contains("clone=1 ") && closed.contains("clone3=38 "), "{closed}");
    let privileged = run(&["--privileged", "--disable-userns"]);
    assert!(privileged.contains("unshare=1") && privileged.contains("fsopen=0 "), "{privileged}");
    sandbox.assert_clean();
}

#[test]
fn the_filter_is_there_and_cannot_be_left() {
    let sandbox = Sandbox::new();
    let filters = |options: &[&str]| {
        let script = "sed -n 's/^Seccomp.*:\t//p' /proc/self/status | tr '\\n' ' '";
        sandbox.run(&[&["--net=none"], options].concat(), &["sh", "-c", script]).stdout.trim().to_owned()
    };
    assert_eq!(filters(&[]), "2 1");
    assert_eq!(filters(&["--disable-userns"]), "2 2");
    assert_eq!(filters(&["--privileged"]), "0 0");
    assert_eq!(filters(&["--privileged", "--security-opt=seccomp=builtin"]), "2 1");
    let init = sandbox.run(&["--net=none", "--init"], &["sh", "-c", "grep Seccomp: /proc/1/status"]);
    init.expect(0, "Seccomp:\t2");
}

/// Requirement: F-seccomp.
#[test]
fn a_profile_of_ones_own_replaces_the_default() {
    let sandbox = Sandbox::new();
    let profile = sandbox.path("profile.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [], "syscalls": [
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
        {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "includes": {"caps": ["CAP_SYS_TIME"]}}]}"#;
    fs::write(&profile, text).unwrap();
    let option = format!("seccomp={}", profile.display());
    let run = |more: &[&str], script: &str| {
        sandbox.run(&[&["--net=none", "--security-opt", &option], more].concat(), &["sh", "-c", script])
    };
    let mkdir = run(&[], "mkdir /tmp/x");
    assert!(mkdir.code == 1 && mkdir.stderr.contains("No space left"), "{}", mkdir.stderr);
    run(&[], "chmod 700 /tmp").expect(0, "");
    let chmod = run(&["--cap-add=SYS_TIME"], "chmod 700 /tmp");
    assert!(chmod.code == 1 && chmod.stderr.contains("not permitted"), "{}", chmod.stderr);
    fs::write(&profile, r#"{"defaultAction": "SCMP_ACT_NONSENSE"}"#).unwrap();
    run(&[], "echo ran").expect_refusal(125, "unknown action");
    fs::remove_file(&profile).unwrap();
    run(&[], "echo ran").expect_refusal(125, "No such file");
    sandbox.assert_clean();
}

/// A profile that allows almost nothing must not keep xnet from executing the command, or from telling why it cannot.
#[test]
fn a_profile_needs_to_allow_nothing_for_xnets_own_sake() {
    let sandbox = Sandbox::new();
    let profile = sandbox.path("profile.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
        {"names": ["execve", "exit_group", "exit", "write", "brk", "mmap", "arch_prctl", "set_tid_address",
         "set_robust_list", "rseq", "mprotect", "prlimit64", "readlink", "readlinkat", "getrandom", "getuid"], "action": "SCMP_ACT_ALLOW"}]}"#;
    fs::write(&profile, text).unwrap();
    let root = sandbox.rootfs();
    let option = format!("seccomp={}", profile.display());
    let options = ["--net=none", "--rootfs", root.to_str().unwrap(), "--security-opt", &option];
    sandbox.run(&options, &["echo", "ran"]).expect(0, "ran");
    sandbox.assert_clean();
}

/// The 32-bit way into the kernel has numbers of its own, and a program may use both.
#[cfg(target_arch = "x86_64")]
#[test]
fn the_other_way_into_the_kernel_is_filtered_as_well() {
    let sandbox = Sandbox::new();
    let source = r#"
#include <stdio.h>
static int call(int n, int a) { int r; __asm__ volatile("int $0x80" : "=a"(r) : "a"(n), "b"(a), "c"(0), "d"(0), "S"(0), "D"(0) : "memory"); return r; }
int main(void) {
    printf("getpid=%d mount=%d unshare=%d socketcall=%d alg=%d x=%d\n", call(20, 0), call(21, 0), call(310, 0x10000000),
           call(102, 1), call(359, 38), call(2000, 0));
    return 0;
}
"#;
    let root = program(&sandbox, "old", source);
    let options = ["--net=none", "--rootfs", &root];
    sandbox.run(&options, &["old"]).expect(0, "getpid=1 mount=-1 unshare=-1 socketcall=-38 alg=-1 x=-38");
}
