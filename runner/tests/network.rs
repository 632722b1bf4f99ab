//! The modes that need no plugins: none, host, container.

mod sandbox;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use sandbox::{Ended, Sandbox};

/// Requirement: NET-N.
#[test]
fn none_has_a_loopback_and_nothing_else() {
    let sandbox = Sandbox::new();
    sandbox
        .sh("ip -br addr | tr -s ' '; ip route; ip -6 route | grep -v ::1")
        .expect(1, "lo UNKNOWN 127.0.0.1/8 ::1/128");
    sandbox.sh("ping -c1 -W1 127.0.0.1 >/dev/null").expect(0, "");
    sandbox.sh("ping -c1 -W1 192.0.2.1 2>&1").expect(2, "ping: connect: Network is unreachable");
    sandbox.sh("ls /sys/class/net").expect(0, "lo");
    sandbox.assert_clean();
}

/// Requirement: NET-H1, NET-H2, NET-H3.
#[test]
fn host_shares_the_stack_and_the_name() {
    let sandbox = Sandbox::new();
    let own = fs::read_link("/proc/thread-self/ns/net").unwrap();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let run = |cmd: &[&str]| sandbox.run(&["--net=host"], cmd);
    run(&["readlink", "/proc/self/ns/net"]).expect(0, own.to_str().unwrap());
    run(&["hostname"]).expect(0, host.trim());
    run(&["cat", "/etc/resolv.conf"]).expect(0, fs::read_to_string("/etc/resolv.conf").unwrap().trim_end());
    run(&["sh", "-c", "ip link add xprobe type bridge 2>/dev/null || echo refused"]).expect(0, "refused");
    sandbox.run(&["--net=host", "--hostname=other"], &["hostname"]).expect(0, "other");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), host);
    sandbox.run(&["--net=host", "--privileged"], &["ip", "link", "add", "xprobe", "type", "bridge"]).expect(0, "");
    let shown = Command::new("ip").args(["link", "show", "xprobe"]).output().unwrap();
    assert!(shown.status.success(), "a privileged container could not change the host's network");
    sandbox.assert_clean();
}

/// Requirement: S0-X1, NET-C5.
#[test]
fn the_namespace_is_pinned_under_the_id_while_the_container_runs() {
    let sandbox = Sandbox::new();
    let mut running = sandbox.start(&["--net=none"], "readlink /proc/self/ns/net; read x; true");
    let pinned: Vec<_> = fs::read_dir(sandbox.path("netns")).unwrap().flatten().collect();
    assert_eq!(pinned.len(), 1);
    assert_eq!(pinned[0].file_name().len(), 64);
    let inode = fs::metadata(pinned[0].path()).unwrap().ino();
    assert_eq!(running.first, format!("net:[{inode}]"));
    running.end_input();
    assert_eq!(running.wait(), 0);
    sandbox.assert_clean();
}

/// Requirement: S0-X1, N-2.
#[test]
fn ip_netns_exec_works_with_the_default_directory() {
    let sandbox = Sandbox::new();
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
    let mut command = sandbox.run_command(&["--net=none"], &["sh", "-c", "hostname; exec sleep 1000"]);
    command.env_remove("XNET_NETNS_DIR");
    let running = sandbox.start_command(command);
    let name = fs::read_dir("/run/netns").unwrap().flatten().next().unwrap().file_name();
    let name = name.to_str().unwrap();
    assert!(name.starts_with(&running.first));
    let ip = |args: &[&str]| Ended::of(Command::new("ip").args(args));
    assert_eq!(ip(&["netns", "exec", name, "ip", "-br", "link"]).code, 0);
    assert!(ip(&["netns", "list"]).stderr.is_empty());
    // A second namespace of ip's own goes into the same directory; neither stacks a mount on it.
    assert_eq!(ip(&["netns", "add", "other"]).code, 0);
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    assert_eq!(mounts.lines().filter(|l| l.contains(" /netns /run/netns ")).count(), 1, "{mounts}");
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(running.wait(), 143);
    assert_eq!(fs::read_dir("/run/netns").unwrap().flatten().map(|e| e.file_name()).collect::<Vec<_>>(), ["other"]);
    assert_eq!(ip(&["netns", "del", "other"]).code, 0);
    sandbox.assert_clean();
}

/// Requirement: NET-C1, NET-C4.
#[test]
fn container_shares_the_network_and_nothing_else() {
    let sandbox = Sandbox::new();
    let script = "readlink /proc/self/ns/net; exec sleep 1000";
    let target = sandbox.start(&["--net=none", "--name=web", "--hostname=web-host"], script);
    let id = fs::read_dir(sandbox.path("netns")).unwrap().flatten().next().unwrap().file_name();
    let id = id.to_str().unwrap();
    for reference in ["web", id, &id[..8]] {
        let net = format!("--net=container:{reference}");
        sandbox.run(&[&net], &["readlink", "/proc/self/ns/net"]).expect(0, &target.first);
        sandbox
            .run(&[&net], &["sh", "-c", "hostname; echo $$; ps ax | grep -c 'sleep 100[0]'"])
            .expect(1, "web-host\n1\n0");
    }
    // One that has joined can be joined in turn, and outlives what it has joined.
    let joiner = sandbox.start(&["--net=container:web", "--name=side"], script);
    sandbox.run(&["--net=container:side"], &["readlink", "/proc/self/ns/net"]).expect(0, &target.first);
    let netns = target.first.clone();
    target.signal(nix::sys::signal::Signal::SIGKILL);
    target.wait();
    assert_eq!(sandbox.gc().stdout.trim(), id);
    sandbox.run(&["--net=container:web"], &["true"]).expect_refusal(125, "no such container: web");
    // The namespace outlives the container that it came from, for those who have joined it.
    sandbox.run(&["--net=container:side"], &["readlink", "/proc/self/ns/net"]).expect(0, &netns);
    joiner.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(joiner.wait(), 143);
    sandbox.assert_clean();
}

/// Requirement: NET-C3, NET-C4.
#[test]
fn container_refuses_what_it_cannot_do() {
    let sandbox = Sandbox::new();
    sandbox.run(&["--net=container:nobody"], &["true"]).expect_refusal(125, "no such container: nobody");
    let _web = sandbox.start(&["--net=none", "--name=web"], "echo ready; exec sleep 1000");
    sandbox.run(&["--net=container:web", "--hostname=x"], &["true"]).expect_refusal(125, "--hostname cannot be used");
    sandbox.run(&["--net=none", "--name=web"], &["true"]).expect_refusal(125, "the name \"web\" is in use");
}
