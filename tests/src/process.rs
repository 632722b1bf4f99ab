//! Bounded child processes: every one is waited for, none longer than [`PATIENCE`].

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

/// How long a process may take. Nothing here takes a second; a process that waits for ever is a finding.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a command to its end with `stdin` as its input and both outputs captured. A process that ignores its input is
/// fine. The calling thread's namespaces are the process's.
///
/// # Panics
/// When the command can not be started, or has not closed its outputs in a minute.
pub fn run(command: &mut Command, stdin: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let mut pipe = child.stdin.take().expect("stdin is a pipe");
    let outputs = thread::scope(|scope| {
        // A child that never reads lets this thread hang until it is killed.
        scope.spawn(move || {
            let _ = pipe.write_all(stdin);
        });
        let outputs = stdout.recv_timeout(PATIENCE).ok().zip(stderr.recv_timeout(PATIENCE).ok());
        if outputs.is_none() {
            child.kill().expect("kill a child");
        }
        outputs
    });
    let Some((stdout, stderr)) = outputs else {
        let _ = child.wait();
        panic!("{command:?} has not ended in {PATIENCE:?}");
    };
    Output { status: wait(&mut child), stdout, stderr }
}

fn wait(child: &mut Child) -> std::process::ExitStatus {
    child.wait().expect("wait for a child")
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let mut pipe = pipe.expect("the output is a pipe");
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("read from a child");
        let _ = sender.send(bytes);
    });
    receiver
}

/// Starts a command in a process group of its own and kills the group after a while, as when a machine dies. Returns
/// when nothing of the group is left, so that what comes next is not disturbed by a child that is still about to die.
pub(crate) fn kill_after(command: &mut Command, stdin: &[u8], delay: Duration) {
    set_child_subreaper(true).expect("adopt orphans");
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let group = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    child.stdin.take().expect("stdin is a pipe").write_all(stdin).expect("the input fits into the pipe");
    thread::sleep(delay);
    killpg(group, Signal::SIGKILL).expect("the leader at least is there until it is waited for");
    child.wait().expect("wait for a child");
    while waitpid(Pid::from_raw(-group.as_raw()), None).is_ok() {}
}

/// Has one `ip` carry out commands, a line each without the word itself, in the calling thread's namespaces, and returns what
/// it printed. Many commands cost as much as one.
///
/// # Panics
/// When any of them fails.
pub fn ip(commands: &str) -> String {
    let output = run(Command::new("ip").args(["-batch", "-"]), commands.as_bytes());
    assert!(output.status.success(), "ip {commands}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("ip prints UTF-8")
}

/// Runs a shell script in the calling thread's namespaces and returns what it printed.
///
/// # Panics
/// When any command of it fails; the panic holds both outputs.
pub fn sh(script: &str) -> String {
    let output = run(Command::new("sh").args(["-euc", script]), b"");
    assert!(
        output.status.success(),
        "{script}\n{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("commands print UTF-8")
}
