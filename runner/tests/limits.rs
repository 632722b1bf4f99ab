//! Limits hold, and one that cannot be kept is refused.

mod sandbox;

use std::fs;
use std::path::PathBuf;

use sandbox::{Sandbox, groups};

/// Requirement: S0-C1.
#[test]
fn memory_is_limited() {
    let sandbox = Sandbox::new();
    sandbox.run(&["--net=none", "--memory=32m"], &["tail", "/dev/zero"]).expect(137, "");
    sandbox
        .run(&["--net=none", "--memory=32m"], &["sh", "-c", "dd if=/dev/zero of=/dev/shm/big bs=1M count=60"])
        .code_is_not(0);
    sandbox.assert_clean();
}

/// Requirement: S0-C1.
#[test]
fn processes_are_limited() {
    let sandbox = Sandbox::new();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all started";
    let ended = sandbox.run(&["--net=none", "--pids-limit=4"], &["sh", "-c", script]);
    assert!(ended.code != 0 && ended.stdout.is_empty() && ended.stderr.contains("fork"), "{ended:?}");
    sandbox.run(&["--net=none", "--pids-limit=50"], &["sh", "-c", script]).expect(0, "all started");
    sandbox.assert_clean();
}

/// Requirement: S0-C1.
#[test]
fn cpu_time_is_limited() {
    let sandbox = Sandbox::new();
    // A second of clock time in a busy loop.
    let script = "t() { read u _ < /proc/uptime; echo $u | tr -d .; }; end=$(($(t)+100)); \
                  while [ $(t) -lt $end ]; do :; done; cat /sys/fs/cgroup/cpu/cpu.stat /sys/fs/cgroup/cpu.stat 2>/dev/null";
    let ended = sandbox.run(&["--net=none", "--cpus=0.2"], &["sh", "-c", script]);
    let throttled = ended.stdout.lines().find_map(|l| l.strip_prefix("nr_throttled ")).expect("a cpu.stat");
    assert!(throttled.parse::<u64>().unwrap() > 0, "{}", ended.stdout);
    sandbox.assert_clean();
}

/// Requirement: S1-C1, P-36.
#[test]
fn the_container_is_in_its_group_while_it_runs_and_the_group_is_gone_afterwards() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.start(&["--net=none"], "echo ready; read x; true");
    assert_eq!(running.first, "ready");
    let found = groups(sandbox.cgroup());
    assert!(!found.is_empty(), "no group was made");
    for group in &found {
        let id = fs::read_dir(group).unwrap().flatten().find(|e| e.path().is_dir()).expect("the container's group");
        let members = fs::read_to_string(id.path().join("cgroup.procs")).unwrap();
        assert_eq!(members.lines().count(), 1, "{}: {members}", id.path().display());
    }
    running.end_input();
    assert_eq!(running.wait(), 0);
    sandbox.assert_clean();
}

/// Requirement: S1-C1, P-36.
#[test]
fn without_a_parent_the_group_is_at_the_top() {
    let sandbox = Sandbox::new();
    let id = sandbox.xnet(&["run", "-d", "--net=none", "--", "sleep", "1000"]).stdout.trim_end().to_owned();
    let pid = sandbox.xnet(&["inspect", "-f", "{{.State.Pid}}", &id]).stdout;
    let group = format!("xnet-{id}");
    let all = fs::read_to_string(format!("/proc/{}/cgroup", pid.trim_end())).unwrap();
    let in_it = all.lines().filter(|line| line.ends_with(&format!("/{group}"))).count();
    assert_eq!(groups(&group).len(), in_it, "{all}");
    assert!(in_it > 0, "{all}");
    sandbox.xnet(&["rm", "-f", &id]).expect(0, &id);
    assert_eq!(groups(&group), Vec::<PathBuf>::new());
    sandbox.assert_clean();
}

/// Requirement: S0-C1, F-limits.
#[test]
fn a_share_of_the_cpu_is_kept() {
    let sandbox = Sandbox::new();
    let read = "cat /sys/fs/cgroup/cpu/cpu.shares 2>/dev/null || cat /sys/fs/cgroup/cpu.weight";
    let ended = sandbox.run(&["--net=none", "--cpu-shares=512"], &["sh", "-c", read]);
    assert!(["512", "59"].contains(&ended.stdout.trim()), "{ended:?}");
    let read = "grep Cpus_allowed_list /proc/self/status; nproc";
    sandbox.run(&["--net=none", "--cpuset-cpus=0"], &["sh", "-c", read]).expect(0, "Cpus_allowed_list:\t0\n1");
    sandbox.assert_clean();
}

/// Requirement: F-devices.
#[test]
fn only_the_usual_devices_can_be_used() {
    let sandbox = Sandbox::new();
    let script = "echo x > /dev/null && head -c1 /dev/zero | wc -c; mknod /dev/kmsg2 c 1 11 && cat /dev/kmsg2";
    let ended = sandbox.run(&["--net=none"], &["sh", "-c", script]);
    assert!(ended.code != 0 && ended.stdout.trim() == "1", "{ended:?}");
    sandbox.assert_clean();
}

/// Requirement: S1-C2.
#[test]
fn what_this_host_cannot_keep_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["--net=none", "--cgroup-conf=hugetlb.zork.max=1"], &["true"]);
    assert_eq!(ended.code, 125, "{ended:?}");
    assert!(ended.stderr.contains("hugetlb"), "{ended:?}");
    let ended = sandbox.run(&["--net=none", "--cgroup-conf=zork.max=1"], &["true"]);
    ended.expect_refusal(125, "\"zork\" is not available");
    let options = ["--net=none", "--cgroup-conf=zork.max=1", "--ignore-missing-cgroup"];
    sandbox.run(&options, &["true"]).expect(0, "");
    for bad in
        [["--memory-swap=1g"].as_slice(), &["--memory=64m", "--memory-swap=32m"], &["--cgroup-conf=cgroup.procs=1"]]
    {
        assert_eq!(sandbox.run(&[&["--net=none"], bad].concat(), &["true"]).code, 125, "{bad:?}");
    }
    sandbox.assert_clean();
}

/// Requirement: S0-C1.
#[test]
fn rates_of_a_device_are_kept() {
    let sandbox = Sandbox::new();
    let block = fs::read_dir("/sys/block").expect("block devices").flatten().map(|e| e.file_name());
    let Some(disk) = block.map(|n| n.to_string_lossy().into_owned()).find(|n| !n.starts_with(['l', 'r'])) else {
        panic!("this host has no disk");
    };
    let option = format!("--device-write-bps=/dev/{disk}:1m");
    let read = "cat /sys/fs/cgroup/blkio/blkio.throttle.write_bps_device 2>/dev/null || cat /sys/fs/cgroup/io.max";
    let ended = sandbox.run(&["--net=none", &option], &["sh", "-c", read]);
    assert!(ended.stdout.contains("1048576"), "{ended:?}");
    sandbox.assert_clean();
}

/// Two containers want the same processor all the time; what the limited one does not get is the other one's. Only the accounts of
/// the two are compared, so it does not matter what else the host does.
///
/// Requirement: S0-C2, S0-C1.
#[test]
fn a_limited_neighbour_does_not_slow_others() {
    let sandbox = Sandbox::new();
    let spin = |options: &[&str]| {
        let options = [&["--net=none", "--cpuset-cpus=0"], options].concat();
        sandbox.detach(&options, &["sh", "-c", "while :; do :; done"])
    };
    let limited = spin(&["--cpu-shares=2", "--cpus=0.05"]);
    let free = spin(&[]);
    let used = |id: &str| {
        let ended = sandbox.xnet(&["stats", "--no-stream", "--format", "{{json .}}", id]);
        let stats: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
        stats["Cpu"]["Total"].as_u64().unwrap_or_else(|| panic!("{}", ended.stdout))
    };
    let before = (used(&limited), used(&free));
    sandbox::eventually("the other one has half a second", || used(&free) - before.1 > 500_000_000);
    let (limited_ns, free_ns) = (used(&limited) - before.0, used(&free) - before.1);
    assert!(limited_ns * 9 < free_ns, "the limited one had {limited_ns} ns, the other one {free_ns}");
    sandbox.xnet(&["rm", "-f", &limited, &free]).code_is_not(1);
    sandbox.assert_clean();
}
