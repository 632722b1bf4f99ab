//! Groups that systemd makes. No systemd runs here; `systemd1` is asked in its place.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;
mod systemd1;

use std::fs;

use sandbox::{Ended, Sandbox, groups};
use systemd1::{Systemd, unified};

/// A sandbox with a bus, and a slice of its own.
struct Host {
    systemd: Systemd,
    slice: String,
    sandbox: Sandbox,
}

impl Host {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        let slice = format!("{}.slice", sandbox.cgroup().replace('-', ""));
        Self { systemd: Systemd::new(&sandbox.path("")), slice, sandbox }
    }

    fn xnet(&self, args: &[&str]) -> Ended {
        Ended::of(self.sandbox.command(args).env("DBUS_SYSTEM_BUS_ADDRESS", self.systemd.address()))
    }

    fn run(&self, options: &[&str], cmd: &[&str]) -> Ended {
        let fixed = ["run", "--net=none", "--cgroup-manager=systemd", "--cgroup-parent", &self.slice];
        self.xnet(&[&fixed, options, &["--"], cmd].concat())
    }
}

impl Drop for Host {
    /// The slice is systemd's to remove.
    fn drop(&mut self) {
        for dir in groups(&self.slice) {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Requirement: S4-11.
#[test]
fn a_scope_is_asked_for_and_holds_the_container() {
    let host = Host::new();
    let limits = ["-d", "-m=64m", "--cpus=0.5", "--cpu-shares=2048", "--cpuset-cpus=0", "--pids-limit=20"];
    let ended = host.run(&limits, &["sleep", "1000"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let id = ended.stdout.trim();
    let unit = format!("xnet-{id}.scope");
    let asked = host.systemd.asked();
    assert_eq!(asked.len(), 2, "{asked:#?}");
    for part in [
        &format!("start {unit} Description="),
        &format!(" Slice=\"{}\" ", host.slice),
        " Delegate=true ",
        " MemoryMax=uint64 67108864 MemorySwapMax=uint64 67108864 CPUQuotaPerSecUSec=uint64 500000",
        " CPUWeight=uint64 174 ",
        " AllowedCPUs=[byte 0x01] DevicePolicy=\"strict\" DeviceAllow=[(",
        "(\"/dev/char/1:3\", \"rwm\")",
    ] {
        assert!(asked[0].contains(part), "{part} in {}", asked[0]);
    }
    assert_eq!(asked[1], format!("set {unit} TasksMax=uint64 20"));
    // The container is in there, alone, and systemd's own is not the only hierarchy.
    let pid = host.sandbox.info(id)["pid"].to_string();
    let dir = unified().join(&host.slice).join(&unit);
    assert_eq!(fs::read_to_string(dir.join("cgroup.procs")).unwrap(), format!("{pid}\n"));
    let places = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = format!(":/{}/{unit}", host.slice);
    assert!(places.lines().all(|line| line.ends_with(&path)), "{places}");
    let own = host.xnet(&["cgroup", id]).stdout;
    assert!(own.contains("pids.max = 20") && own.contains(&unit), "{own}");

    host.xnet(&["update", "-m=32m", "--pids-limit=10", id]).expect(0, id);
    assert_eq!(
        host.systemd.asked(),
        [format!("set {unit} MemoryMax=uint64 33554432 MemorySwapMax=uint64 33554432 TasksMax=uint64 10")]
    );
    host.xnet(&["pause", id]).expect(0, id);
    host.xnet(&["rm", "-f", id]).expect(0, id);
    assert_eq!(host.systemd.asked(), [format!("stop {unit}")]);
    let left: Vec<_> = groups(&host.slice).into_iter().filter(|dir| dir.join(&unit).exists()).collect();
    assert!(left.is_empty() && unified().join(&host.slice).is_dir(), "{left:?}");
    host.sandbox.assert_clean();
}

/// The process that holds the place until the container is there takes none of its share.
/// Requirement: S4-11.
#[test]
fn one_task_is_enough() {
    let host = Host::new();
    host.run(&["--rm", "--pids-limit=1", "--privileged"], &["echo", "ran"]).expect(0, "ran");
    let asked = host.systemd.asked();
    assert!(asked.len() == 3 && !asked[0].contains("Device"), "{asked:#?}");
    host.sandbox.assert_clean();
}

/// A crash leaves no scope, and nobody in it.
/// Requirement: S4-11.
#[test]
fn what_a_crash_leaves_is_taken_back() {
    let host = Host::new();
    for step in ["log-cgroups", "make-cgroups", "clone", "publish"] {
        let args =
            ["run", "--rm", "--net=none", "--cgroup-manager=systemd", "--cgroup-parent", &host.slice, "--", "true"];
        let mut command = host.sandbox.command(&args);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", host.systemd.address()).env("XNET_CRASH_AT", step);
        Ended::of(&mut command).code_is_not(0);
        host.sandbox.await_release();
        assert_eq!(host.xnet(&["gc"]).code, 0, "{step}");
        let asked = host.systemd.asked();
        assert!(asked.last().is_some_and(|last| last.starts_with("stop xnet-")), "{step}: {asked:#?}");
        for dir in groups(&host.slice) {
            let inside = fs::read_dir(&dir).unwrap().flatten().filter(|entry| entry.path().is_dir());
            assert_eq!(inside.count(), 0, "{step}: {}", dir.display());
        }
        host.sandbox.assert_clean();
    }
}

/// Requirement: S4-11.
#[test]
fn without_systemd_nothing_is_run_and_nothing_is_left() {
    let host = Host::new();
    let args = ["run", "--rm", "--net=none", "--cgroup-manager=systemd", "--", "echo", "ran"];
    let mut command = host.sandbox.command(&args);
    let ended = Ended::of(command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/run/no-such-bus"));
    ended.expect_refusal(
        125,
        "there is no system bus (/run/no-such-bus: no such file or directory) (--cgroup-manager cgroupfs",
    );
    host.sandbox.assert_clean();
    let ended = host.xnet(&["run", "--rm", "--cgroup-manager=systemd", "--cgroup-parent=xnet", "--", "echo", "ran"]);
    ended.expect_refusal(125, "--cgroup-parent: \"xnet\" is not the name of a slice of systemd, such as system.slice");
    // Who does not ask for it does not ask systemd either.
    host.sandbox.sh("true").expect(0, "");
    assert_eq!(host.systemd.asked(), [""; 0]);
    host.sandbox.assert_clean();
}
