//! What of the kernel's own files a container can read and write.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::path::Path;

use sandbox::Sandbox;

/// Requirement: P-27.
#[test]
fn every_masked_path_reads_as_empty_and_every_guarded_one_cannot_be_written() {
    let sandbox = Sandbox::new();
    let masked = "/proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug \
                  /proc/scsi /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware /sys/fs/selinux";
    let script = format!(
        "for p in {masked}; do test -e $p || continue; if test -d $p; then ls -A $p; else head -c 10 $p; fi; \
         touch $p/x 2>/dev/null && echo $p; done; exec 2>/dev/null; \
         for p in /proc/bus /proc/fs /proc/irq /proc/sys; do \
           for f in $(find $p -type f | head -50); do test -w $f && (: >> $f) && echo $f; done; mkdir $p/x && echo $p; done; \
         (echo h > /proc/sysrq-trigger) && echo sysrq; true"
    );
    sandbox.sh(&script).expect(0, "");
    let open = |option: &str, path: &str| {
        let ended =
            sandbox.run(&["--net=none", "--security-opt", option], &["sh", "-c", &format!("head -c 1 {path} | wc -c")]);
        ended.stdout.trim().to_owned()
    };
    assert_eq!(open("systempaths=unconfined", "/proc/timer_list"), "1");
    assert_eq!(open("unmask=/proc/timer_list", "/proc/timer_list"), "1");
    assert_eq!(open("unmask=/proc/keys", "/proc/timer_list"), "0");
    assert_eq!(open("mask=/proc/version", "/proc/version"), "0");
    sandbox.assert_clean();
}

/// Requirement: P-7.
#[test]
fn masks_are_not_made_of_the_images_null_device() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    fs::create_dir_all(root.join("dev")).unwrap();
    std::os::unix::fs::symlink("/proc/sys/kernel/core_pattern", root.join("dev/null")).unwrap();
    let script = "cat /proc/timer_list /proc/keys /proc/interrupts; echo x > /proc/timer_list; (: >> /proc/sys/kernel/core_pattern) || echo kept";
    let before = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    let ended = sandbox.run(&["--net=none", "--rootfs", root.to_str().unwrap()], &["sh", "-c", script]);
    assert_eq!(ended.stdout, "kept\n", "{}", ended.stderr);
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
}

/// Requirement: P-25.
#[test]
fn groups_cannot_be_changed_from_inside() {
    let sandbox = Sandbox::new();
    let script = "exec 2>/dev/null; cd /sys/fs/cgroup; for f in $(find . -name release_agent -o -name notify_on_release \
                  -o -name cgroup.procs -o -name tasks -o -name devices.allow | head -100); do \
                  (echo 1 > $f) && echo wrote $f; (echo 1 >> $f) && echo appended $f; done; \
                  mkdir x ./*/x; unshare -UrmC true && echo unshared; \
                  mount -t cgroup -o memory x /mnt && echo mounted; cut -d: -f3 /proc/self/cgroup | sort -u";
    sandbox.sh(script).expect(0, "/");
    // With a user namespace and no filter, still nobody gets at a writable hierarchy's release agent.
    let options = ["--net=none", "--security-opt=seccomp=unconfined"];
    let script =
        "unshare -UrmC sh -c 'mkdir -p /tmp/g && mount -t cgroup -o rdma x /tmp/g' 2>/dev/null && echo mounted; true";
    sandbox.run(&options, &["sh", "-c", script]).expect(0, "");
    sandbox.assert_clean();
}

/// Requirement: P-28, P-9, F-rlimits.
#[test]
fn settings_end_in_the_containers_namespaces_and_nowhere_else() {
    let sandbox = Sandbox::new();
    let read = |path: &str| fs::read_to_string(path).unwrap();
    // The test's own network namespace stands for the host's.
    let before =
        (read("/proc/sys/net/ipv4/ip_forward"), read("/proc/sys/kernel/msgmax"), read("/proc/sys/kernel/core_pattern"));
    let options = [
        "--net=none",
        "--sysctl",
        "net.ipv4.ip_forward=1",
        "--sysctl=kernel.msgmax=4096",
        "--sysctl=fs.mqueue.msg_max=7",
    ];
    let script = "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max";
    sandbox.run(&options, &["sh", "-c", script]).expect(0, "1\n4096\n7");
    for (options, why) in [
        (&["--sysctl=kernel.core_pattern=x"][..], "belongs to the whole host"),
        (&["--sysctl=net.ipv4.ip_forward+kernel.x=1"], "invalid sysctl name"),
        (&["--sysctl=net/../kernel/core_pattern=x"], "invalid sysctl name"),
        (&["--sysctl=net.ipv4.ip_forward"], "expected NAME=VALUE"),
        (&["--sysctl=net.ipv4.ip_forward=1", "--net=host"], "by its --net"),
        (&["--sysctl=kernel.msgmax=1", "--ipc=host"], "by its --ipc"),
        (&["--sysctl=kernel.domainname=x", "--uts=host"], "by its --uts"),
        (&["--sysctl=net.ipv4.no_such_thing=1"], "sysctl -w net.ipv4.no_such_thing=1: open"),
        (&["--sysctl=net.ipv4.ip_default_ttl=nonsense"], "Invalid argument"),
    ] {
        let net = if options.contains(&"--net=host") { &[][..] } else { &["--net=none"] };
        let ended = sandbox.run(&[net, options].concat(), &["echo", "ran"]);
        assert!(
            ended.code == 125 && ended.stdout.is_empty() && ended.stderr.contains(why),
            "{options:?}: {}",
            ended.stderr
        );
    }
    let after =
        (read("/proc/sys/net/ipv4/ip_forward"), read("/proc/sys/kernel/msgmax"), read("/proc/sys/kernel/core_pattern"));
    assert_eq!(before, after);
    assert!(Path::new("/proc/sys").exists());
    sandbox.assert_clean();
}
