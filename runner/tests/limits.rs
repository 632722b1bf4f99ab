//! Limits hold, and one that cannot be kept is refused.

mod sandbox;

use std::fs;

use sandbox::{Sandbox, groups};

#[test]
fn memory_is_limited() {
    let sandbox = Sandbox::new();
    sandbox.run(&["--net=none", "--memory=32m"], &["tail", "/dev/zero"]).expect(137, "");
    sandbox
        .run(&["--net=none", "--memory=32m"], &["sh", "-c", "dd if=/dev/zero of=/big bs=1M count=64"])
        .code_is_not(0);
    sandbox.assert_clean();
}

#[test]
fn processes_are_limited() {
    let sandbox = Sandbox::new();
    let script = "for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; echo all started";
    let ended = sandbox.run(&["--net=none", "--pids-limit=4"], &["sh", "-c", script]);
    assert!(ended.code != 0 && ended.stdout.is_empty() && ended.stderr.contains("fork"), "{ended:?}");
    sandbox.run(&["--net=none", "--pids-limit=50"], &["sh", "-c", script]).expect(0, "all started");
    sandbox.assert_clean();
}

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
