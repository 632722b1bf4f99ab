//! What goes into a container and comes out of it: terminals, logs, attached clients, and commands beside its own.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;
mod terminal;

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::process::{Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sandbox::{Ended, Sandbox, eventually, kill};
use terminal::Terminal;

/// A container in the background, by its name.
fn start(sandbox: &Sandbox, name: &str, options: &[&str], script: &str) {
    let fixed = ["run", "-d", "--net=none", "--cgroup-parent", sandbox.cgroup(), "--name", name];
    Ended::of(&mut sandbox.command(&[&fixed, options, &["--", "sh", "-c", script]].concat())).code_is_not(125);
}

fn xnet(sandbox: &Sandbox, args: &[&str]) -> Ended {
    Ended::of(&mut sandbox.command(args))
}

/// Requirement: S0-R2, F-pty, P-8.
#[test]
fn a_container_with_a_terminal_is_like_a_login() {
    let sandbox = Sandbox::new();
    let mut terminal =
        Terminal::new(&sandbox, &["run", "-it", "--rm", "--net=none", "--cgroup-parent", sandbox.cgroup(), "--", "sh"]);
    terminal.types("stty size; tty; stat -c %t:%T /dev/console /dev/pts/0\n");
    terminal.awaits("33 77\r\n/dev/pts/0\r\n88:0\r\n88:0\r\n");
    // What is typed while the shell is interrupted is lost, so each step waits for the one before.
    terminal.awaits("# ");
    terminal.types("sh -c 'echo be''gun; exec sleep 1000'\n");
    terminal.awaits("begun\r\n");
    terminal.types("\x03");
    terminal.awaits("^C");
    terminal.awaits("# ");
    terminal.types("exit 5\n");
    terminal.ends(5);
    sandbox.assert_clean();
}

/// The image's own terminals are links to elsewhere, and so are those that root puts there later, with all rights that a command
/// like `exec -t` could be misled by.
///
/// Requirement: P-8, P-9b.
#[test]
fn the_console_is_the_terminal_that_was_made_whatever_the_image_says() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let evil = sandbox.path("evil");
    fs::write(&evil, "untouched").unwrap();
    fs::create_dir(root.join("dev")).unwrap();
    for name in ["pts", "console", "ptmx", "tty", "null"] {
        symlink(&evil, root.join("dev").join(name)).unwrap();
    }
    let rootfs = root.to_str().unwrap();
    let args = ["run", "-it", "--rm", "--net=none", "--cgroup-parent", sandbox.cgroup(), "--rootfs", rootfs, "sh"];
    let mut terminal = Terminal::new(&sandbox, &args);
    terminal.types("busybox tty; busybox stat -c %t:%T /dev/console /dev/pts/0; echo x > /dev/console\n");
    terminal.awaits("/dev/pts/0\r\n88:0\r\n88:0\r\nx\r\n");
    terminal.types("exit 0\n");
    terminal.ends(0);
    let options = ["--cap-add=SYS_ADMIN", "--cap-add=MKNOD", "--security-opt=seccomp=unconfined", "--rootfs", rootfs];
    let fixed = ["run", "-d", "--net=none", "--cgroup-parent", sandbox.cgroup(), "--name=c"];
    assert_eq!(xnet(&sandbox, &[&fixed, &options[..], &["sleep", "1000"]].concat()).code, 0);
    let inside = |script: &str| xnet(&sandbox, &["exec", "c", "sh", "-c", script]).expect(0, "");
    let refused = |why: &str| {
        let mut terminal = Terminal::new(&sandbox, &["exec", "-it", "c", "echo", "ran"]);
        terminal.awaits(why);
        terminal.ends(125);
    };
    inside("busybox mv /dev/ptmx /dev/old && busybox ln -s /bin/busybox /dev/ptmx && busybox rm -f /dev/tty");
    let mut terminal = Terminal::new(&sandbox, &["exec", "-it", "c", "busybox", "tty"]);
    terminal.awaits("/dev/pts/0");
    terminal.ends(0);
    inside("busybox umount /dev/pts && busybox rmdir /dev/pts && busybox ln -s /proc /dev/pts");
    refused("open /dev/pts/ptmx");
    inside("busybox rm /dev/pts && busybox mkdir /dev/pts && busybox mkfifo /dev/pts/ptmx");
    refused("is no devpts");
    inside("busybox rm /dev/pts/ptmx && busybox mknod /dev/pts/ptmx c 5 2");
    refused("open /dev/pts/ptmx");
    inside("busybox umount /dev/null 2>/dev/null; busybox rm -f /dev/null && busybox mkfifo /dev/null");
    xnet(&sandbox, &["exec", "-d", "c", "true"]).expect_refusal(125, "is not the null device");
    assert_eq!(fs::read_to_string(&evil).unwrap(), "untouched");
    xnet(&sandbox, &["rm", "-f", "c"]).expect(0, "c");
    sandbox.assert_clean();
}

/// Pushes a line into the terminal that it has for standard input, and prints the errno of it.
const PUSHER: &str = r#"
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
int main(void) {
    int pushed = 0;
    for (const char *c = "id\n"; *c; c++) pushed |= !ioctl(0, TIOCSTI, c);
    // Perhaps it can be had as a terminal of one's own first.
    ioctl(0, TIOCSCTTY, 0);
    for (const char *c = "id\n"; *c; c++) pushed |= !ioctl(0, TIOCSTI, c);
    printf("pushed=%d errno=%d\n", pushed, errno);
    return 0;
}
"#;

/// Without `-t` a command has its caller's terminal, which is that of the caller's session, and reads the caller's next line.
///
/// Requirement: P-5.
#[test]
fn nothing_is_typed_into_the_callers_terminal() {
    let sandbox = Sandbox::new();
    sandbox.program("push", PUSHER);
    let root = sandbox.rootfs();
    let fixed = ["--net=none", "--rootfs", root.to_str().unwrap()];
    let detached = ["run", "-d", "--cgroup-parent", sandbox.cgroup(), "--name=c"];
    assert_eq!(xnet(&sandbox, &[&detached, &fixed[..], &["sleep", "1000"]].concat()).code, 0);
    let run = |options: &[&str]| sandbox.run_command(&[&fixed, options].concat(), &["push"]);
    for command in [
        run(&[]),
        run(&["--security-opt=seccomp=unconfined"]),
        run(&["--cap-add=SYS_ADMIN"]),
        run(&["--init", "--security-opt=seccomp=unconfined"]),
        sandbox.command(&["exec", "-i", "c", "push"]),
        sandbox.command(&["exec", "-i", "-u", "1000", "c", "push"]),
    ] {
        // As a shell would: the terminal is that of a session, and xnet belongs to it.
        let mut session = Command::new("setsid");
        session.args(["--ctty", "--wait"]).arg(command.get_program()).args(command.get_args());
        session.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let mut terminal = Terminal::with(session);
        terminal.awaits("pushed=");
        terminal.awaits("0 errno=");
        assert!(terminal.child.wait().unwrap().success());
        let mut fds = [PollFd::new(terminal.slave.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::ZERO), Ok(0), "the caller's shell has something to read: {command:?}");
    }
    xnet(&sandbox, &["rm", "-f", "c"]).expect(0, "c");
    sandbox.assert_clean();
}

/// A command may be done before its caller has said that it wants to see something.
///
/// Requirement: S0-R2, F-pty, F-exec.
#[test]
fn a_command_of_a_moment_is_seen_to_its_last_word() {
    let sandbox = Sandbox::new();
    start(&sandbox, "c", &[], "exec sleep 1000");
    let run = ["run", "-it", "--rm", "--net=none", "--cgroup-parent", sandbox.cgroup(), "--"];
    for before in [&["exec", "-it", "c"][..], &["exec", "-t", "c"], &run] {
        for code in 0..8 {
            let script = format!("echo said; exit {code}");
            let mut terminal = Terminal::new(&sandbox, &[before, &["sh", "-c", &script]].concat());
            terminal.awaits("said\r");
            terminal.ends(code);
        }
    }
    xnet(&sandbox, &["rm", "-f", "c"]).expect(0, "c");
    sandbox.assert_clean();
}

/// Requirement: S0-R2, F-pty.
#[test]
fn a_killed_container_leaves_the_terminal_as_it_was() {
    let sandbox = Sandbox::new();
    let args = ["run", "-it", "--net=none", "--cgroup-parent", sandbox.cgroup(), "--name", "t", "--", "cat"];
    let mut terminal = Terminal::new(&sandbox, &args);
    terminal.types("x\n");
    terminal.awaits("x\r\nx\r\n");
    xnet(&sandbox, &["kill", "t"]).expect(0, "t");
    terminal.ends(137);
}

/// Requirement: F-attach, F-pty.
#[test]
fn detach_keys_leave_it_running_and_attach_comes_back() {
    let sandbox = Sandbox::new();
    let args = ["run", "-it", "--net=none", "--cgroup-parent", sandbox.cgroup(), "--name", "t", "--", "sh"];
    let mut terminal = Terminal::new(&sandbox, &args);
    terminal.types("A=kept; echo rea''dy\n");
    terminal.awaits("ready");
    terminal.types("\x10\x11");
    terminal.ends(0);
    let mut terminal = Terminal::new(&sandbox, &["attach", "--detach-keys=ctrl-x", "t"]);
    terminal.types("echo $A-$A\n");
    terminal.awaits("kept-kept");
    terminal.types("\x18");
    terminal.ends(0);
    let mut terminal = Terminal::new(&sandbox, &["attach", "t"]);
    terminal.types("exit 6\n");
    terminal.ends(6);
    let ended = xnet(&sandbox, &["logs", "t"]);
    assert!(ended.stdout.contains("kept-kept"), "{}", ended.stdout);
}

/// Requirement: S0-A1, S4-8, F-pty, F-attach, F-logs.
#[test]
fn a_terminal_outlives_those_who_attend_it() {
    let sandbox = Sandbox::new();
    let id = sandbox.detach(&["--net=none", "--name=t", "-it"], &["sh", "-c", "trap 'echo hung-up' HUP; exec sh"]);
    for round in ["one", "two"] {
        let before = sandbox.info(&id);
        kill(&before["monitor"]["pid"]);
        let mut terminal = Terminal::new(&sandbox, &["attach", "t"]);
        // Another size than before would be told by SIGWINCH; and this is the shell that was there from the beginning.
        terminal.types(&format!("SEEN=$SEEN-{round}; echo $$$SEEN; stty size\n"));
        terminal.awaits(if round == "one" { "1-one\r\n" } else { "1-one-two\r\n" });
        terminal.awaits("33 77\r\n");
        terminal.types("\x10\x11");
        terminal.ends(0);
        let after = sandbox.info(&id);
        assert!(after["monitor"] != before["monitor"] && after["pid"] == before["pid"], "{after}");
        assert_eq!(after["holder"], before["holder"]);
    }
    let said = xnet(&sandbox, &["logs", "t"]).stdout;
    assert!(said.contains("1-one-two") && !said.contains("hung-up"), "{said}");
    let holder = sandbox.info(&id)["holder"]["pid"].to_string();
    xnet(&sandbox, &["rm", "-f", "t"]).expect(0, "t");
    let ended = || fs::read_to_string(format!("/proc/{holder}/stat")).map_or(true, |stat| stat.contains(") Z "));
    eventually("the holder ends with the container", ended);
    sandbox.assert_clean();
}

/// Requirement: S4-8, F-pty.
#[test]
fn whoever_holds_a_terminal_holds_nothing_else() {
    let sandbox = Sandbox::new();
    let id = sandbox.detach(&["--net=none", "--name=t", "-it"], &["sh"]);
    let holder = sandbox.info(&id)["holder"]["pid"].clone();
    let open = fs::read_dir(format!("/proc/{holder}/fd")).unwrap().flatten();
    let open: Vec<_> = open.filter_map(|entry| fs::read_link(entry.path()).ok()).collect();
    let of = |wanted: &dyn Fn(&str) -> bool| open.iter().filter(|path| wanted(&path.to_string_lossy())).count();
    assert_eq!(
        (open.len(), of(&|path| path == "/dev/null"), of(&|path| path.ends_with("ptmx"))),
        (4, 2, 1),
        "{open:?}"
    );
    // Without it nothing is different as long as the monitor lives.
    kill(&holder);
    let mut terminal = Terminal::new(&sandbox, &["attach", "t"]);
    terminal.types("exit 3\n");
    terminal.ends(3);
    xnet(&sandbox, &["rm", "t"]).expect(0, "t");
    sandbox.assert_clean();
}

/// Requirement: F-exec, S4-9, S3-10, F-top.
#[test]
fn a_command_in_a_container_is_one_of_its_own() {
    let sandbox = Sandbox::new();
    start(&sandbox, "c", &[], "exec sleep 1000");
    let exec = |args: &[&str]| xnet(&sandbox, &[&["exec"], args].concat());
    exec(&["c", "sh", "-c", "grep PPid /proc/self/status; hostname; cat /proc/1/comm"]).code_is_not(125);
    exec(&["c", "sh", "-c", "echo $PPID"]).expect(0, "0");
    let same = "for n in mnt pid net ipc uts cgroup; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/$$/ns/$n) ] || echo $n; done; \
                cmp /proc/1/cgroup /proc/$$/cgroup; grep -E '^(Cap|NoNew|Seccomp)' /proc/1/status > /tmp/1; \
                grep -E '^(Cap|NoNew|Seccomp)' /proc/$$/status | cmp /tmp/1";
    exec(&["c", "sh", "-c", same]).expect(0, "");
    exec(&["c", "sh", "-c", "exit 7"]).expect(7, "");
    exec(&["c", "sh", "-c", "kill -9 $$"]).expect(137, "");
    exec(&["c", "nonsense"]).expect_refusal(127, "nonsense: command not found");
    exec(&["c", "/etc"]).expect_refusal(126, "it is a directory");
    exec(&["nobody", "true"]).expect_refusal(125, "nobody");
    exec(&["-w", "/usr", "-e", "A=b", "-u", "1:2", "c", "sh", "-c", "pwd; echo $A; id -u; id -g"])
        .expect(0, "/usr\nb\n1\n2");
    let ended = xnet(&sandbox, &["top", "c"]);
    assert!(ended.stdout.starts_with("UID") && ended.stdout.contains("sleep 1000"), "{}", ended.stdout);
    exec(&["-d", "c", "sleep", "2000"]).expect(0, "");
    assert!(xnet(&sandbox, &["top", "c"]).stdout.contains("sleep 2000"));
    xnet(&sandbox, &["kill", "c"]).expect(0, "c");
}

/// Requirement: P-2, P-3, P-4.
#[test]
fn nothing_of_the_hosts_comes_along() {
    let sandbox = Sandbox::new();
    start(&sandbox, "c", &[], "exec sleep 1000");
    let mut command = sandbox.command(&["exec", "c", "sh", "-c", "ls /proc/self/fd; chmod 600 /dev/stdin"]);
    let leaked: Vec<_> = (0..50).map(|_| File::open("/").unwrap()).collect();
    for file in &leaked {
        nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    }
    Ended::of(&mut command).expect(0, "0\n1\n2\n3");
    let null = fs::metadata("/dev/null").unwrap();
    assert_eq!((null.uid(), null.mode() & 0o777, null.rdev()), (0, 0o666, 0x103), "the host's /dev/null was touched");
    for fd in (0..12).chain(leaked.iter().map(AsRawFd::as_raw_fd)) {
        let ended = xnet(&sandbox, &["exec", "-w", &format!("/proc/self/fd/{fd}"), "c", "pwd"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (125, ""), "fd {fd}: {}", ended.stderr);
    }
    xnet(&sandbox, &["kill", "c"]).expect(0, "c");
}

/// Requirement: F-logs, F-attach.
#[test]
fn what_was_said_can_be_read_while_it_runs_and_afterwards() {
    let sandbox = Sandbox::new();
    start(&sandbox, "c", &["-i"], "echo one; echo two >&2; read line; echo got $line; exit 3");
    let mut follower = sandbox.command(&["logs", "-f", "c"]);
    let follower = follower.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut client = sandbox.command(&["attach", "c"]);
    let mut client = client.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    client.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let client = client.wait_with_output().unwrap();
    assert_eq!((client.status.code(), String::from_utf8(client.stdout).unwrap()), (Some(3), "got hello\n".to_owned()));
    let followed = follower.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(followed.stdout).unwrap(), "one\ngot hello\n");
    assert_eq!(String::from_utf8(followed.stderr).unwrap(), "two\n");
    xnet(&sandbox, &["logs", "--tail", "1", "c"]).expect(0, "got hello");
    xnet(&sandbox, &["rm", "c"]).expect(0, "c");
}

/// What an engine's daemon is told by its own options is told for each container here.
///
/// Requirement: S4-11.
#[test]
fn the_switches_of_a_daemon_are_options_of_a_container() {
    let sandbox = Sandbox::new();
    let said = |name: &str| xnet(&sandbox, &["logs", name]);
    let driver = |name: &str| {
        xnet(&sandbox, &["inspect", "-f", "{{.HostConfig.LogConfig.Type}} {{json .HostConfig.LogConfig.Config}}", name])
    };
    let options = ["--log-driver=json-file", "--log-opt=max-size=1m", "--log-opt=max-file=2"];
    start(&sandbox, "kept", &options, "echo one; echo two >&2");
    xnet(&sandbox, &["wait", "kept"]).expect(0, "0");
    let ended = said("kept");
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (0, "one\n", "two\n"));
    driver("kept").expect(0, r#"json-file {"max-file":"2","max-size":"1048576"}"#);
    start(&sandbox, "lost", &["--log-driver=none"], "echo one");
    xnet(&sandbox, &["wait", "lost"]).expect(0, "0");
    assert_ne!(said("lost").code, 0, "a log that nobody keeps was shown");
    driver("lost").expect(0, "none {}");
    for bad in ["--log-driver=nonsense", "--log-opt=nonsense=1"] {
        sandbox.run(&["--net=none", bad], &["echo", "ran"]).code_is_not(0);
    }
    let profile = sandbox.path("profile.json");
    let text = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#;
    fs::write(&profile, text).unwrap();
    let seccomp = format!("--security-opt=seccomp={}", profile.display());
    let ended = sandbox.run(&["--net=none", "--init", &seccomp], &["sh", "-c", "cat /proc/1/comm; chroot / true"]);
    assert_eq!((ended.code != 0, ended.stdout.as_str()), (true, "xnet\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("not supported"), "{}", ended.stderr);
    xnet(&sandbox, &["rm", "kept", "lost"]).code_is_not(1);
    sandbox.assert_clean();
}
