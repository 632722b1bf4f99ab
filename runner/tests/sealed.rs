//! Nobody in a container can reach the program that the host executes next time.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;

use nix::errno::Errno;
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
    for (step, expected) in [("none", Errno::EROFS), ("sealed-overlay", Errno::ETXTBSY)] {
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
