//! Nobody in a container can reach the program that the host executes next time.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::thread::scope;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use sandbox::{Ended, Sandbox, executable};

const XNET: &str = env!("CARGO_BIN_EXE_xnet");

fn errno_of_opening(path: &str) -> Errno {
    let error = OpenOptions::new().write(true).open(path).unwrap_err();
    Errno::from_raw(error.raw_os_error().unwrap())
}

/// Even the host's root, who may open anything, finds no way to write through the handle.
///
/// Requirement: P-1, T11.
#[test]
fn the_running_program_cannot_be_written_to() {
    let sandbox = Sandbox::new();
    let ways = [("none", Errno::EROFS), ("sealed-in-place", Errno::EROFS), ("sealed-overlay", Errno::ETXTBSY)];
    for (step, expected) in ways {
        let mut command = sandbox.run_command(&["--net=none"], &["sh", "-c", "echo ready; read line"]);
        command.env("XNET_FAIL_AT", step);
        let mut running = sandbox.start_command(command);
        assert_eq!(running.first, "ready");
        assert_eq!(errno_of_opening(&format!("/proc/{}/exe", running.pid())), expected);
        let exe = fs::metadata(format!("/proc/{}/exe", running.pid())).unwrap();
        assert_eq!(exe.len(), fs::metadata(XNET).unwrap().len(), "it is another program");
        running.end_input();
        running.wait();
    }
    sandbox.assert_clean();
}

/// Requirement: P-1.
#[test]
fn a_command_that_is_the_runner_itself_gets_the_sealed_one() {
    let sandbox = Sandbox::new();
    let before = fs::read(XNET).unwrap();
    let root = sandbox.rootfs();
    executable(&root.join("bin/script"), "#!/proc/self/exe\n");
    symlink("/proc/self/exe", root.join("bin/link")).unwrap();
    let options = ["--net=none", "--rootfs", root.to_str().unwrap()];
    // What they execute is xnet, which does not understand what it is called with, or asks for a command.
    for command in ["/bin/script", "/bin/link"] {
        sandbox.run(&options, &[command]).code_is_not(0);
    }
    let script = "(cat /proc/1/exe > /tmp/x; for i in 1 2 3 4 5; do echo x > /proc/1/exe; done) 2>/dev/null; exit 0";
    sandbox.run(&options, &["sh", "-c", script]).expect(0, "");
    assert!(before == fs::read(XNET).unwrap(), "the program on disk has changed");
    sandbox.assert_clean();
}

/// Opens the program of every process called `xnet` for writing, by its name and by a handle that it keeps until the process has
/// become another. At SIGTERM it says how often it has tried, and how often that has worked.
const ATTACKER: &str = r#"
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static volatile sig_atomic_t done;
static void stop(int number) { done = 1; }
static int is_xnet(int fd) {
    char link[32], name[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, name, sizeof name - 1) > 0 && strstr(name, "xnet") != 0;
}
static int overwrite(const char *path) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    int written = is_xnet(fd) && write(fd, "overwritten", 11) == 11;
    close(fd);
    return written;
}
int main(void) {
    unsigned long tries = 0, written = 0;
    signal(SIGTERM, stop);
    puts("up");
    fflush(stdout);
    while (!done) {
        DIR *proc = opendir("/proc");
        for (struct dirent *entry; (entry = readdir(proc));) {
            int pid = atoi(entry->d_name);
            if (pid <= 1) continue;
            char path[64], again[64];
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            int held = open(path, O_PATH | O_CLOEXEC);
            if (held < 0) continue;
            if (is_xnet(held)) {
                snprintf(again, sizeof again, "/proc/self/fd/%d", held);
                for (int n = 0; n < 50; n++, tries++) written += overwrite(path) + overwrite(again);
            }
            close(held);
        }
        closedir(proc);
    }
    printf("%s, written %lu times\n", tries ? "tried" : "not met", written);
    return 0;
}
"#;

/// The attacker may look into every process of its container, also into those that are just entering it.
///
/// Requirement: P-1.
#[test]
fn two_hundred_commands_enter_past_an_attacker() {
    let sandbox = Sandbox::new();
    sandbox.program("attack", ATTACKER);
    let root = sandbox.rootfs();
    executable(&root.join("bin/script"), "#!/proc/self/exe\n");
    symlink("/proc/self/exe", root.join("bin/link")).unwrap();
    let (before, changed) = (fs::read(XNET).unwrap(), fs::metadata(XNET).unwrap().modified().unwrap());
    let options = ["--net=none", "--name=c", "--cap-add=SYS_PTRACE", "--rootfs", root.to_str().unwrap()];
    let mut running = sandbox.start_command(sandbox.run_command(&options, &["attack"]));
    assert_eq!(running.first, "up");
    scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..99).for_each(|_| sandbox.xnet(&["exec", "c", "true"]).expect(0, "")));
        }
    });
    // What these execute is the runner itself, with words that it does not understand.
    for command in ["/bin/script", "/bin/link"] {
        sandbox.xnet(&["exec", "c", command]).code_is_not(0);
    }
    running.signal(Signal::SIGTERM);
    assert_eq!(running.line(), "tried, written 0 times");
    assert_eq!(running.wait(), 0);
    assert!(before == fs::read(XNET).unwrap(), "the program on disk has changed");
    assert_eq!(fs::metadata(XNET).unwrap().modified().unwrap(), changed);
    sandbox.assert_clean();
}

/// The mark of the second execution names a file; one that was left in the environment names another.
///
/// Requirement: P-1.
#[test]
fn a_forged_mark_does_not_keep_the_program_from_sealing_itself() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.run_command(&["--net=none"], &["sh", "-c", "echo ready; read line"]);
    command.env("XNET_SEALED", "1:2");
    let running = sandbox.start_command(command);
    assert_eq!(errno_of_opening(&format!("/proc/{}/exe", running.pid())), Errno::EROFS);
}

/// The program's own name and arguments survive, and its environment has no trace of the mark.
#[test]
fn the_second_execution_is_like_the_first() {
    let sandbox = Sandbox::new();
    sandbox.run(&["--net=none", "--init"], &["cat", "/proc/1/comm"]).expect(0, "xnet");
    sandbox.run(&["--net=none", "-e", "XNET_SEALED"], &["sh", "-c", "env | grep -c SEALED"]).expect(1, "0");
    Ended::of(&mut sandbox.command(&["run", "--help"])).code_is_not(125);
}
