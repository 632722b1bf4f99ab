//! The articles' own commands: the scripts in `tests/articles`, which a person can run by hand as well.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use sandbox::{Ended, Sandbox};

/// Those that are run here; the wiring is run by `netns.rs`, on a machine with networks.
const SCRIPTS: [&str; 6] = ["cgroup", "foreign", "overlay", "processes", "user", "volume"];

fn directory() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/articles"))
}

/// The mount table, but for the directory of namespaces, which the first container makes a mount of.
fn mounts(sandbox: &Sandbox) -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let netns = sandbox.path("netns").display().to_string();
    table.lines().filter(|line| !line.contains(&netns)).map(str::to_owned).collect()
}

/// Runs a script to its end, and looks at what it leaves: nothing.
fn article(name: &str) {
    assert!(SCRIPTS.contains(&name));
    let sandbox = Sandbox::new();
    // The scripts make message queues outside of containers, too.
    unshare(CloneFlags::CLONE_NEWIPC).unwrap();
    let (bin, tmp) = (sandbox.path("bin"), sandbox.path("tmp"));
    fs::create_dir(&bin).unwrap();
    fs::create_dir(&tmp).unwrap();
    symlink(env!("CARGO_BIN_EXE_xnet"), bin.join("xnet")).unwrap();
    let before = mounts(&sandbox);
    let mut command = Command::new("sh");
    command.arg(directory().join(format!("{name}.sh"))).stdin(Stdio::null());
    command.envs(sandbox.command(&[]).get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.env("PATH", format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())).env("TMPDIR", &tmp);
    command.env("OPTIONS", format!("--cgroup-parent {}", sandbox.cgroup()));
    let ended = Ended::of(&mut command);
    let last = ended.stdout.lines().last();
    assert_eq!((ended.code, last), (0, Some("== done")), "{}\n{}", ended.stdout, ended.stderr);
    sandbox.assert_clean();
    assert_eq!(fs::read_dir(tmp).unwrap().count(), 0, "the script has left a temporary file");
    assert_eq!(mounts(&sandbox), before);
}

/// Requirement: S0-P1, S0-U1, S0-I1, S1-P, S3-3, S4-9.
#[test]
fn processes_names_and_queues() {
    article("processes");
}

/// Requirement: S3-7, S3-8, S3-9.
#[test]
fn a_directory_of_the_host_inside() {
    article("volume");
}

/// Requirement: S1-O5, S1-O6, S1-O7, S0-L4.
#[test]
fn what_is_written_is_on_the_disk() {
    article("overlay");
}

/// Requirement: S1-U1, S0-U2.
#[test]
fn root_inside_and_somebody_else_outside() {
    article("user");
}

/// Requirement: S0-C1, S1-C1, S1-C2.
#[test]
fn limits_and_accounts_are_the_kernels() {
    article("cgroup");
}

/// Requirement: S1-Q1, S1-Q2, S1-Q5.
#[cfg(not(target_arch = "aarch64"))]
#[test]
fn a_program_for_another_processor() {
    article("foreign");
}

#[test]
fn every_script_is_run_by_a_test() {
    let mut scripts: Vec<_> =
        fs::read_dir(directory()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    scripts.retain(|name| name != "wiring.sh");
    scripts.sort_unstable();
    assert_eq!(scripts, SCRIPTS.map(|name| format!("{name}.sh")));
}
