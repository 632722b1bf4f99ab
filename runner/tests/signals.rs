//! Signals to `xnet`, and the ends that they bring.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use sandbox::Sandbox;

/// Requirement: P-37, F-signals.
#[test]
fn a_handler_of_the_command_gets_the_signal() {
    let sandbox = Sandbox::new();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGWINCH] {
        let name = signal.as_str().trim_start_matches("SIG");
        let script = format!("trap 'echo got {name}; exit 3' {name}; echo ready; while :; do sleep 0.05; done");
        let mut running = sandbox.start(&["--net=none"], &script);
        assert_eq!(running.first, "ready");
        running.signal(signal);
        assert_eq!(running.line(), format!("got {name}"));
        assert_eq!(running.wait(), 3);
    }
    sandbox.assert_clean();
}

/// Requirement: P-37, F-signals.
#[test]
fn a_command_without_a_handler_dies_of_it_although_it_is_process_1() {
    let sandbox = Sandbox::new();
    let running = sandbox.start(&["--net=none"], "echo ready; exec sleep 1000");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait(), 128 + 15);
    let running = sandbox.start(&["--net=none", "--init"], "echo ready; exec sleep 1000");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait(), 128 + 2);
    sandbox.assert_clean();
}

/// Requirement: F-exit.
#[test]
fn a_death_by_a_real_time_signal_is_a_status_too() {
    let sandbox = Sandbox::new();
    for options in [&["--net=none"][..], &["--net=none", "--init"]] {
        let running = sandbox.start(options, "echo ready; exec sleep 1000");
        let kill = Command::new("kill").args(["-40", &running.pid().to_string()]).status().unwrap();
        assert!(kill.success());
        assert_eq!(running.wait(), 128 + 40);
    }
    sandbox.assert_clean();
}

/// Requirement: P-37.
#[test]
fn an_ignored_signal_is_ignored_and_signals_about_xnet_are_not_passed_on() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; trap 'echo urg' URG; trap 'echo pipe' PIPE; trap 'echo usr2; exit 5' USR2; echo ready; while :; do sleep 0.05; done";
    let mut running = sandbox.start(&["--net=none"], script);
    for signal in [Signal::SIGTERM, Signal::SIGURG, Signal::SIGPIPE, Signal::SIGCHLD, Signal::SIGUSR2] {
        running.signal(signal);
    }
    assert_eq!(running.line(), "usr2");
    assert_eq!(running.wait(), 5);
}

/// Requirement: P-37.
#[test]
fn a_signal_that_comes_before_the_command_is_not_lost() {
    let sandbox = Sandbox::new();
    for _ in 0..10 {
        let start = Instant::now();
        let running = sandbox.run_command(&["--net=none"], &["sleep", "1000"]).spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(i32::try_from(running.id()).unwrap());
        // Any time will do, from before xnet has read its arguments to after the start of the command.
        nix::sys::signal::kill(pid, Signal::SIGTERM).unwrap();
        let status = { running }.wait().unwrap();
        assert!(status.code() == Some(143) || status.signal() == Some(15), "{status:?}");
        assert!(start.elapsed() < Duration::from_secs(60));
    }
    assert_eq!(sandbox.gc().code, 0);
    sandbox.assert_clean();
}

/// Requirement: P-38, F-signals.
#[test]
fn the_init_reaps_orphans() {
    let sandbox = Sandbox::new();
    // Each subshell leaves a child behind, which init inherits; zombies that it leaves would be listed for ever.
    let script = "i=0; while [ $i -lt 1000 ]; do (true & ) ; i=$((i+1)); done
        zombies() { grep -ls '^State:.Z' /proc/[0-9]*/status; }
        i=0; while zombies >/dev/null && [ $i -lt 1000 ]; do i=$((i+1)); done
        zombies | wc -l; cat /proc/1/comm";
    sandbox.run(&["--net=none", "--init"], &["sh", "-c", script]).expect(0, "0\nxnet");
    // The filter of system calls is in place before init forks then.
    let options = ["--net=none", "--init", "--security-opt", "no-new-privileges=false"];
    sandbox.run(&options, &["cat", "/proc/1/comm"]).expect(0, "xnet");
}

/// Requirement: P-36.
#[test]
fn the_end_of_process_1_is_the_end_of_all() {
    let sandbox = Sandbox::new();
    sandbox.sh("sleep 1000 & sleep 1000 & exit 4").expect(4, "");
    sandbox.assert_clean();
}
