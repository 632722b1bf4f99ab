//! The way into a container that runs, with somebody inside who is waiting for it.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::process::Command;

use sandbox::{Ended, Sandbox};

/// Waits for a process called `xnet` and tries everything on it: to trace it, to read its environment and its memory, and to see what
/// it holds. Says what has worked, if the process was still the same afterwards.
const TRACER: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <unistd.h>
static char buffer[1 << 20];
static int open_of(int pid, const char *file, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    return open(path, flags | O_CLOEXEC);
}
static int is_xnet(int pid) {
    char name[16] = "";
    int fd = open_of(pid, "comm", O_RDONLY);
    if (fd < 0) return 0;
    read(fd, name, sizeof name - 1);
    close(fd);
    return !strcmp(name, "xnet\n");
}
static int holds_secret(int pid) {
    static const char secret[] = {'h','o','s','t','s','-','o','w','n','-','s','e','c','r','e','t'};
    int found = 0, fd = open_of(pid, "environ", O_RDONLY);
    long length = fd < 0 ? -1 : read(fd, buffer, sizeof buffer);
    if (length > 0) found |= memmem(buffer, length, secret, sizeof secret) != 0;
    int mem = open_of(pid, "mem", O_RDONLY);
    FILE *maps = fdopen(open_of(pid, "maps", O_RDONLY), "r");
    unsigned long from, to;
    char rights[8], line[4096];
    while (mem >= 0 && maps && fgets(line, sizeof line, maps)) {
        if (sscanf(line, "%lx-%lx %7s", &from, &to, rights) != 3 || rights[1] != 'w') continue;
        for (; from < to; from += sizeof buffer) {
            length = pread(mem, buffer, to - from < sizeof buffer ? to - from : sizeof buffer, from);
            if (length > 0) found |= memmem(buffer, length, secret, sizeof secret) != 0;
        }
    }
    return found;
}
static int tries(int pid) {
    char said[4096] = "", path[64], link[256];
    long seized = ptrace(PTRACE_SEIZE, pid, 0, 0);
    int traced = seized ? errno : 0;
    int environ = open_of(pid, "environ", O_RDONLY), why = errno;
    int memory = open_of(pid, "mem", O_RDWR), memory_why = errno;
    int secret = holds_secret(pid);
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *fds = opendir(path);
    for (struct dirent *entry; fds && (entry = readdir(fds));) {
        memset(link, 0, sizeof link);
        if (readlinkat(dirfd(fds), entry->d_name, link, sizeof link - 1) > 0) {
            strncat(said, " ", sizeof said - strlen(said) - 1);
            strncat(said, link, sizeof said - strlen(said) - 1);
        }
    }
    if (!is_xnet(pid)) return 0;
    printf("trace=%d environ=%d memory=%d secret=%d holds:%s\n", traced, environ < 0 ? why : 0, memory < 0 ? memory_why : 0, secret, said);
    return 1;
}
int main(void) {
    puts("up");
    fflush(stdout);
    for (;;) {
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(proc));) {
            int pid = atoi(entry->d_name);
            if (pid > 1 && is_xnet(pid) && tries(pid)) return 0;
        }
        closedir(proc);
    }
}
"#;

/// What the tracer has found out about a command that enters its container. The command is looked for in a great many places, so
/// it takes its time.
fn traced(options: &[&str]) -> String {
    let sandbox = Sandbox::new();
    sandbox.program("trace", TRACER);
    let root = sandbox.rootfs();
    let options = [&["--net=none", "--name=c", "--rootfs", root.to_str().unwrap()], options].concat();
    let mut running = sandbox.start_command(sandbox.run_command(&options, &["trace"]));
    assert_eq!(running.first, "up");
    let path = format!("PATH={}/bin", "/none:".repeat(20_000));
    let mut command = sandbox.command(&["exec", "-e", &path, "c", "true"]);
    // It may be killed with its container, which ends when the tracer has seen enough.
    let _ = Ended::of(command.env("HOSTS_SECRET", "hosts-own-secret").env("A", "b"));
    let said = running.line();
    assert_eq!(running.wait(), 0);
    sandbox.assert_clean();
    said
}

/// Requirement: P-2.
#[test]
fn nobody_inside_traces_a_process_that_enters() {
    let (eperm, eacces) = (1, 13);
    assert_eq!(traced(&[]), format!("trace={eperm} environ={eacces} memory={eacces} secret=0 holds:"));
    // Not even with the right to do so, if it is one of a user namespace.
    let inner = traced(&["--cap-add=SYS_PTRACE", "--userns=auto"]);
    assert_eq!(inner, format!("trace={eperm} environ={eacces} memory={eacces} secret=0 holds:"));
}

/// Who has been given the right to trace any process does trace this one. By then it has nothing of the host's: no descriptor, and
/// no memory of its caller's environment.
///
/// Requirement: P-2, P-3.
#[test]
fn who_may_trace_everybody_finds_nothing_of_the_hosts() {
    let said = traced(&["--cap-add=SYS_PTRACE"]);
    let (tried, held) = said.split_once(" holds: ").unwrap();
    assert_eq!(tried, "trace=0 environ=0 memory=0 secret=0");
    let harmless = |link: &str| link == "/dev/null" || link.starts_with("pipe:[") || link.starts_with("socket:[");
    assert!(held.split(' ').all(harmless), "{held}");
}

/// The first process, when it is the small init, is a copy of the runner for as long as the container lives.
///
/// Requirement: P-2.
#[test]
fn the_init_has_no_memory_of_its_caller() {
    let sandbox = Sandbox::new();
    let options = ["--net=none", "--init", "--cap-add=SYS_PTRACE"];
    let mut command = sandbox.run_command(&options, &["sh", "-c", "tr '\\0' '\\n' < /proc/1/environ | grep -c SECRET"]);
    Ended::of(command.env("HOSTS_SECRET", "hosts-own-secret")).expect(1, "0");
}

/// Lines of /proc/self/status.
const STATUS: &str =
    "grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\t ' ' '";

/// What this process may do at most.
fn bounding() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap().to_owned()
}

/// Requirement: F-exec, P-21.
#[test]
fn a_privileged_command_has_all_rights_and_its_container_has_no_more_than_before() {
    let sandbox = Sandbox::new();
    let id = sandbox.detach(&["--net=none", "--name=c"], &["sleep", "1000"]);
    let status = || fs::read_to_string(format!("/proc/{}/status", sandbox.info(&id)["pid"])).unwrap();
    let rights = |status: &str| -> Vec<String> {
        let kinds = ["Cap", "NoNewPrivs", "Seccomp"];
        status.lines().filter(|line| kinds.iter().any(|kind| line.starts_with(kind))).map(str::to_owned).collect()
    };
    let before = rights(&status());
    let all = bounding();
    let none = "0000000000000000";
    let expected = format!(
        "CapInh: {none}\nCapPrm: {all}\nCapEff: {all}\nCapBnd: {all}\nCapAmb: {none}\nNoNewPrivs: 0\nSeccomp: 0"
    );
    sandbox.xnet(&["exec", "--privileged", "c", "sh", "-c", STATUS]).expect(0, &expected);
    // As another user it has them within reach, as elsewhere, but not in its hands.
    let ended = sandbox.xnet(&["exec", "--privileged", "-u", "1000", "c", "sh", "-c", STATUS]);
    assert!(ended.stdout.contains(&format!("CapEff: {none}\nCapBnd: {all}")), "{ended:?}");
    let mounts = "mount -t tmpfs x /mnt && grep -c ' /mnt ' /proc/mounts; umount /mnt";
    sandbox.xnet(&["exec", "--privileged", "c", "sh", "-c", mounts]).expect(0, "1");
    sandbox.xnet(&["exec", "c", "sh", "-c", "mount -t tmpfs x /mnt 2>/dev/null"]).code_is_not(0);
    assert_eq!(rights(&status()), before);
    sandbox.xnet(&["rm", "-f", "c"]).expect(0, "c");
    sandbox.assert_clean();
}

/// The calls that a command makes, of these kinds, in their order.
fn calls(command: &Command, kinds: &str, sandbox: &Sandbox) -> Vec<String> {
    let file = sandbox.path("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", kinds, "-o"]).arg(&file).arg(command.get_program()).args(command.get_args());
    strace.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let ended = Ended::of(&mut strace);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect()
}

/// The articles' three calls: `clone` makes the container, `setns` enters it, and `unshare` changes what one has.
///
/// Requirement: S3-1.
#[test]
fn each_of_the_three_calls_has_its_one_place() {
    let sandbox = Sandbox::new();
    let kinds = "trace=clone3,clone,unshare,setns";
    let run = calls(&sandbox.run_command(&["--net=none"], &["true"]), kinds, &sandbox);
    let made: Vec<_> = run.iter().filter(|line| line.contains("CLONE_NEWPID")).collect();
    assert_eq!(made.len(), 1, "{run:#?}");
    for kind in ["MNT", "UTS", "IPC", "NET"] {
        let flag = if kind == "MNT" { "CLONE_NEWNS".to_owned() } else { format!("CLONE_NEW{kind}") };
        assert!(made[0].contains("clone3(") && made[0].contains(&flag), "{}", made[0]);
    }
    // The group comes last, when the process has been put into it.
    let apart: Vec<_> = run.iter().filter(|line| line.contains("unshare(CLONE_NEW")).collect();
    assert!(apart.len() == 1 && apart[0].contains("unshare(CLONE_NEWCGROUP)"), "{apart:#?}");
    assert!(!run.iter().any(|line| line.contains("setns(")), "{run:#?}");
    sandbox.detach(&["--net=none", "--name=c"], &["sleep", "1000"]);
    let exec = calls(&sandbox.command(&["exec", "c", "true"]), kinds, &sandbox);
    let entered: Vec<_> = exec.iter().filter(|line| line.contains("setns(")).collect();
    assert_eq!(entered.len(), 1, "{exec:#?}");
    assert!(["NS", "PID", "NET", "IPC", "UTS"].iter().all(|kind| entered[0].contains(&format!("CLONE_NEW{kind}"))));
    assert!(
        !exec
            .iter()
            .any(|line| line.contains("unshare(CLONE_NEW") || line.contains("clone3(") && line.contains("CLONE_NEW"))
    );
    let netns = calls(&sandbox.command(&["netns", "exec", "c", "true"]), kinds, &sandbox);
    let entered: Vec<_> = netns.iter().filter(|line| line.contains("setns(")).collect();
    assert!(entered.len() == 1 && entered[0].contains("CLONE_NEWNET)"), "{netns:#?}");
    sandbox.xnet(&["rm", "-f", "c"]).expect(0, "c");
}
