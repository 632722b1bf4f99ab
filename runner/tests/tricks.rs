//! What makes runs quick, as the kernel is asked for it: read from traces of system calls.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::fs;
use std::path::Path;
use std::process::Command;

use node::node;
use sandbox::{Ended, Sandbox, executable};

/// The system calls of a second run, when what the first one makes is there.
fn trace(sandbox: &Sandbox, options: &[&str]) -> Vec<String> {
    let root = sandbox.rootfs();
    let options = [&["--rootfs", root.to_str().unwrap()], options].concat();
    sandbox.run(&options, &["true"]).expect(0, "");
    traced(sandbox, &sandbox.run_command(&options, &["true"]))
}

/// The system calls of a command.
fn traced(sandbox: &Sandbox, xnet: &Command) -> Vec<String> {
    let file = sandbox.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-v", "-s", "4096", "-o"]).arg(&file).arg(xnet.get_program()).args(xnet.get_args());
    command.envs(xnet.get_envs().filter_map(|(key, value)| Some((key, value?))));
    Ended::of(&mut command).expect(0, "");
    let lines = fs::read_to_string(file).unwrap();
    // Debug builds look at every descriptor before they close it.
    lines.lines().filter(|line| !line.contains("F_GETFD")).map(str::to_owned).collect()
}

fn with<'a>(trace: &'a [String], text: &str) -> Vec<&'a String> {
    trace.iter().filter(|line| line.contains(text)).collect()
}

/// Where in the trace the first line stands that holds all of these.
fn place(trace: &[String], texts: &[&str]) -> usize {
    let found = trace.iter().position(|line| texts.iter().all(|text| line.contains(text)));
    assert!(found.is_some(), "no {texts:?}");
    found.unwrap()
}

fn without_a_network() -> Vec<String> {
    let sandbox = Sandbox::new();
    trace(&sandbox, &["--net=none"])
}

fn on_the_bridge() -> Vec<String> {
    let sandbox = node();
    trace(&sandbox, &[])
}

/// Requirement: T1.
#[test]
fn groups_are_joined_without_the_locks_that_wait() {
    let trace = without_a_network();
    assert_eq!(with(&trace, "/cgroup.procs\""), Vec::<&String>::new());
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let of = |kind: &str| table.lines().filter(|line| line.split(' ').nth(2) == Some(kind)).count();
    assert_eq!(with(&trace, "CLONE_INTO_CGROUP").len(), of("cgroup2").min(1));
    // A single thread that moves itself into a group of version 1 needs no lock.
    let opened = place(&trace, &["/tasks\""]);
    let child = format!("{} ", trace[opened].split(' ').next().unwrap());
    let own: Vec<_> = trace[opened..].iter().filter(|line| line.starts_with(&child)).collect();
    let writes: Vec<_> = own.iter().filter(|line| line.contains(" write(")).take(of("cgroup")).collect();
    assert_eq!(own.iter().filter(|line| line.contains("/tasks\"")).count(), of("cgroup"));
    assert!(writes.iter().all(|line| line.contains("\"0\", 1")), "{writes:#?}");
}

/// A command that joins a container joins its groups in the same way.
///
/// Requirement: T1.
#[test]
fn a_command_joins_its_containers_groups_without_those_locks_either() {
    let sandbox = Sandbox::new();
    let id = sandbox.detach(&["--net=none", "--name=c"], &["sleep", "1000"]);
    let trace = traced(&sandbox, &sandbox.command(&["exec", "c", "true"]));
    assert_eq!(with(&trace, "/cgroup.procs\""), Vec::<&String>::new());
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let of = |kind: &str| table.lines().filter(|line| line.split(' ').nth(2) == Some(kind)).count();
    assert_eq!(with(&trace, "CLONE_INTO_CGROUP").len(), of("cgroup2").min(1));
    let opened: Vec<_> =
        trace.iter().filter(|l| l.contains(&id) && l.contains("/tasks\"") && l.contains("O_WRONLY")).collect();
    assert_eq!(opened.len(), of("cgroup"), "{opened:#?}");
    // All are opened by the process that moves, and all that it writes there is its own.
    let own = format!("{} ", opened[0].split(' ').next().unwrap());
    assert!(opened.iter().all(|line| line.starts_with(&own)), "{opened:#?}");
    let first = place(&trace, &[&own, "/tasks\""]);
    let writes: Vec<_> = trace[first..].iter().filter(|l| l.starts_with(&own) && l.contains(" write(")).collect();
    assert!(writes.iter().take(of("cgroup")).all(|line| line.contains("\"0\", 1")), "{writes:#?}");
    sandbox.xnet(&["rm", "-f", "c"]).expect(0, "c");
}

/// Requirement: T2, T3.
#[test]
fn a_pair_is_made_by_one_message_and_wired_by_three() {
    let mut trace = on_the_bridge();
    trace.truncate(place(&trace, &["execve(\"/bin/true\""]));
    let made: Vec<_> = trace.iter().filter(|l| l.contains("sendto(") && l.contains("NLM_F_CREATE")).collect();
    let made: Vec<_> = made.into_iter().filter(|l| l.contains("RTM_NEWLINK")).collect();
    assert_eq!(made.len(), 1, "{made:#?}");
    // The other end comes into being in its namespace (VETH_INFO_PEER), and nothing is moved there later.
    assert!(made[0].contains("\"veth\"") && made[0].contains("IFLA_MASTER"), "{}", made[0]);
    // A change is a request of one of these types, in the container's socket by number: strace has not seen it opened.
    let kinds = ["RTM_NEWLINK", "RTM_SETLINK", "RTM_NEWADDR", "RTM_NEWROUTE"];
    let numbers = ["nlmsg_type=0x10 ", "nlmsg_type=0x13 ", "nlmsg_type=0x14 ", "nlmsg_type=0x18 "];
    let changes = |line: &&String| kinds.iter().chain(&numbers).any(|kind| line.contains(kind));
    let sent: Vec<_> = trace.iter().filter(|l| l.contains("sendto(")).filter(changes).collect();
    assert!(sent.len() <= 3, "{sent:#?}");
}

/// Requirement: T4.
#[test]
fn a_pair_is_set_down_and_left_to_the_end_of_its_namespace() {
    let trace = on_the_bridge();
    let end = &trace[place(&trace, &["execve(\"/bin/true\""])..];
    let set: Vec<_> = end.iter().filter(|l| l.contains("sendto(") && l.contains("RTM_SETLINK")).collect();
    assert!(set.len() == 1 && set[0].contains("ifi_flags=0, ifi_change=0x1}"), "{set:#?}");
    assert_eq!(with(end, "RTM_DELLINK"), Vec::<&String>::new());
}

/// Requirement: T5.
#[test]
fn rules_of_a_container_are_elements() {
    let trace = on_the_bridge();
    let sent: Vec<_> = trace.iter().filter(|l| l.contains("sendto(") && l.contains("NFNL_MSG_BATCH_BEGIN")).collect();
    assert_eq!(sent.len(), 2, "{sent:#?}");
    assert!(sent[0].contains("NFT_MSG_NEWSETELEM") && sent[1].contains("NFT_MSG_DELSETELEM"), "{sent:#?}");
    for kind in ["TABLE", "CHAIN", "RULE", "SET,"] {
        for verb in ["NEW", "DEL"] {
            let change = format!("NFT_MSG_{verb}{kind}");
            assert_eq!(trace.iter().filter(|l| l.contains("sendto(") && l.contains(&change)).count(), 0, "{change}");
        }
    }
}

/// The number of calls is what they are today with ten hierarchies of cgroups, each with a mount and settings of its own;
/// it is here to be lowered.
///
/// Requirement: T8.
#[test]
fn mounts_are_made_apart_and_attached_complete() {
    let trace = without_a_network();
    assert_eq!(with(&trace, "MS_REMOUNT"), Vec::<&String>::new());
    // The old way is used for the pin of the network namespace alone, and to cut the container off from the host.
    let old: Vec<_> = trace.iter().filter(|l| l.contains(" mount(")).collect();
    let known = |line: &&&String| line.contains("/netns") || line.contains("MS_REC|MS_SLAVE");
    assert_eq!(old.iter().filter(|line| !known(line)).count(), 0, "{old:#?}");
    assert!(with(&trace, "fsmount(").len() > 5 && !with(&trace, "mount_setattr(").is_empty());
    let calls = trace.iter().filter(|l| !l.contains("resumed>") && !l.contains("+++") && !l.contains("---")).count();
    assert!(calls <= 860, "{calls} system calls");
}

/// Neither waits for the other before both have done their part.
///
/// Requirement: T9.
#[test]
fn the_root_is_prepared_while_the_network_is_wired() {
    let trace = on_the_bridge();
    let born = place(&trace, &["clone3(", "CLONE_NEWNET"]);
    let process = |line: &str| format!("{} ", line.split(' ').next().unwrap());
    let child = trace[born..].iter().find(|l| l.contains("setsid(")).map(|line| process(line)).unwrap();
    assert!(place(&trace, &[&child, "fsopen(\"overlay\""]) < place(&trace, &[&child, "recvmsg(3"]));
    // The first other process serves the plugin.
    let plugin = place(&trace, &[" clone(", "flags=CLONE_PIDFD|SIGCHLD"]);
    let parent = process(&trace[born]);
    let own: Vec<_> = trace[born..plugin].iter().filter(|line| line.starts_with(&parent)).collect();
    let waits = |line: &&&String| [" poll(", "recvmsg(", "recvfrom("].iter().any(|call| line.contains(call));
    assert_eq!(own.iter().filter(|line| waits(line)).count(), 0, "{own:#?}");
}

/// The beginnings of processes that are no containers'.
fn births(trace: &[String]) -> Vec<&String> {
    let is_birth = |line: &&String| [" clone3(", " clone(", " fork("].iter().any(|call| line.contains(call));
    let births = trace.iter().filter(is_birth).filter(|l| l.contains(" fork(") || l.contains("SIGCHLD"));
    births.filter(|line| !line.contains("CLONE_NEWPID")).collect()
}

/// Requirement: T10.
#[test]
fn plugins_of_our_own_are_called_without_executing_them() {
    let trace = on_the_bridge();
    assert_eq!(with(&trace, "execve(\"").into_iter().filter(|line| line.contains("/.plugins/")).count(), 0);
    // ADD and DEL; each calls the address plugin by its function.
    let births = births(&trace);
    assert_eq!(births.len(), 2, "{births:#?}");
    assert!(births.iter().all(|line| line.contains("CLONE_PIDFD")), "{births:#?}");
    assert_eq!(with(&trace, "/bin/sh\""), Vec::<&String>::new());
}

/// What is found first in the path of plugins counts. A copy of xnet is called; a program of somebody else's is executed,
/// by a process that is no copy of the caller.
///
/// Requirement: T10.
#[test]
fn the_path_of_plugins_says_whose_they_are() {
    let sandbox = node();
    let (own, others) = (sandbox.path("own"), sandbox.path("others"));
    Ended::of(&mut sandbox.command(&["install", own.to_str().unwrap()]));
    fs::create_dir(&others).unwrap();
    executable(&others.join("bridge"), &format!("#!/bin/sh\nexec {}/bridge\n", own.display()));
    let list = sandbox.path("test.conflist");
    let ipam = r#"{"type": "host-local", "subnet": "10.9.8.0/24"}"#;
    let bridge = format!(r#"{{"type": "bridge", "bridge": "xtest0", "ipam": {ipam}}}"#);
    fs::write(&list, format!(r#"{{"cniVersion": "1.0.0", "name": "test", "plugins": [{bridge}]}}"#)).unwrap();
    let executed = |dirs: [&Path; 2]| {
        let path = format!("{}:{}", dirs[0].display(), dirs[1].display());
        let trace = trace(&sandbox, &["--conf", list.to_str().unwrap(), "--cni-path", &path]);
        let count = |dir: &Path| with(&trace, &format!("execve(\"{}/", dir.display())).len();
        let copies = births(&trace).into_iter().filter(|line| !line.contains("CLONE_VFORK")).count();
        (count(&own), count(&others), copies)
    };
    assert_eq!(executed([&own, &others]), (0, 0, 2));
    // Whoever was executed executes in turn: the script the plugin, and the plugin its address plugin.
    assert_eq!(executed([&others, &own]), (4, 2, 0));
}

/// Requirement: T12.
#[test]
fn processes_are_held_by_descriptors() {
    let trace = without_a_network();
    assert_eq!(with(&trace, "CLONE_PIDFD").len(), 1);
    // PIDFD_GET_NET_NAMESPACE
    assert_eq!(trace.iter().filter(|l| l.contains("ioctl(") && l.contains("0xff, 0x4")).count(), 1);
    assert_eq!(with(&trace, "waitid(P_PIDFD").len(), 1);
    let by_number = trace.iter().filter(|l| l.contains(" kill(") || l.contains(" wait4(") || l.contains("/ns/net\""));
    assert_eq!(by_number.count(), 0);
}

/// Requirement: T15.
#[test]
fn the_hosts_grace_periods_are_let_be() {
    let setting = || fs::read_to_string("/sys/kernel/rcu_expedited").unwrap_or_default();
    let before = setting();
    let trace = on_the_bridge();
    assert_eq!(with(&trace, "rcu_expedited"), Vec::<&String>::new());
    assert_eq!(with(&trace, "rcu_normal"), Vec::<&String>::new());
    assert_eq!(setting(), before);
}
