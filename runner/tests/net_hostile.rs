//! What plugins, their configurations, containers and accidents can do to each other, and must not.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use node::{address, connected, end, ip, netns, node, xnet};
use sandbox::{Ended, Sandbox, eventually, executable};
use serde_json::Value;

const STAY: &str = "echo up; exec sleep 1000";

/// A list of plugins in a file, and a directory for plugins.
fn list(sandbox: &Sandbox, name: &str, plugins: &str) -> (String, PathBuf) {
    let (file, dir) = (sandbox.path("list.conflist"), sandbox.path("plugins"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(&file, format!(r#"{{"cniVersion": "1.0.0", "name": "{name}", "plugins": [{plugins}]}}"#)).unwrap();
    (file.to_str().unwrap().to_owned(), dir)
}

fn run(sandbox: &Sandbox, list: &(String, PathBuf), cmd: &[&str]) -> Ended {
    sandbox.run(&["--conf", &list.0, "--cni-path", list.1.to_str().unwrap()], cmd)
}

/// Requirement: N-1, NET-C5.
#[test]
fn a_process_number_is_never_taken_for_a_container() {
    let sandbox = node();
    let web = sandbox.start(&["--name=web"], STAY);
    let record = connected(&sandbox);
    let path = sandbox.path("state").join(record["id"].as_str().unwrap()).join("net.json");
    let mut forged: Value = record.clone();
    forged["inode"] = 1.into();
    fs::write(&path, forged.to_string()).unwrap();
    sandbox.run(&["--net=container:web"], &["echo", "ran"]).expect_refusal(125, "its process number is another's");
    xnet(&sandbox, &["netns", "exec", "web", "echo", "ran"]).expect_refusal(125, "its process number is another's");
    fs::write(&path, record.to_string()).unwrap();
    // What is pinned is the namespace, not a way to it by a process.
    assert!(fs::symlink_metadata(netns(&record)).unwrap().file_type().is_file());
    end(web);
    for _ in 0..10 {
        let mut child =
            sandbox.run_command(&[], &["true"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(u64::from(child.id() % 40)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    sandbox.await_release();
    assert_eq!(sandbox.gc().code, 0);
    sandbox.assert_clean();
    assert!(!ip("-o link").contains("eth0"), "a container's link is in the host");
}

/// The container's first process is killed as soon as its number is on record: before, while and after its namespace is looked up,
/// pinned and wired. Whatever comes of the run, nothing is done to any other namespace, and nothing stays.
///
/// Requirement: N-1, NET-C5.
#[test]
fn a_container_that_dies_before_it_is_wired_takes_nobodys_place() {
    let sandbox = node();
    // The first one makes what stays: the bridge and the chains.
    sandbox.run(&[], &["true"]).expect(0, "");
    let table = || (ip("-o link").lines().count(), ip("-o addr").lines().count(), ip("route").lines().count());
    eventually("the kernel has taken the first one's link away", || ip("-o link show type veth").is_empty());
    let before = table();
    let (mut failed, mut rounds) = (0, 0);
    while rounds < 40 || failed == 0 && rounds < 200 {
        let child = sandbox.run_command(&[], &["sleep", "1000"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut child = child.unwrap();
        let pid = first_process(&sandbox, &mut child);
        // Up to a few milliseconds later, so that every step is met.
        std::thread::sleep(std::time::Duration::from_micros(rounds % 20 * 400));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        failed += u32::from(child.wait().unwrap().code() == Some(125));
        rounds += 1;
    }
    assert!(failed > 0, "no container was killed while it was wired");
    assert_eq!(sandbox.gc().code, 0);
    sandbox.assert_clean();
    eventually("the kernel has taken the links away", || table() == before);
    let rules = Ended::of(Command::new("nft").args(["list", "ruleset"])).stdout;
    assert!(!rules.contains("elements"), "{rules}");
    sandbox.run(&[], &["true"]).expect(0, "");
}

/// Waits for the first process of the only container, which belongs to `xnet` until that has ended.
fn first_process(sandbox: &Sandbox, xnet: &mut std::process::Child) -> nix::unistd::Pid {
    loop {
        for dir in fs::read_dir(sandbox.path("state")).into_iter().flatten().flatten() {
            let log = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            let records = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let pid = records.filter(|record| record["done"] == "process").find_map(|record| record["pid"].as_i64());
            if let Some(pid) = pid {
                return nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
            }
        }
        assert_eq!(xnet.try_wait().unwrap(), None, "it ended before its first process was on record");
    }
}

/// Requirement: N-2.
#[test]
fn fifty_first_runs_share_the_directory_of_names_once() {
    let sandbox = node();
    let start = |_| {
        let mut command = sandbox.run_command(&["--net=none"], &["true"]);
        command.env_remove("XNET_NETNS_DIR").spawn().unwrap()
    };
    let all: Vec<_> = (0..50).map(start).collect();
    assert!(all.into_iter().all(|mut child| child.wait().unwrap().success()));
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let own: Vec<&str> = mounts.lines().filter(|line| line.contains(" /netns /run/netns ")).collect();
    assert_eq!(own.len(), 1, "{own:#?}");
    assert_eq!(fs::read_dir("/run/netns").unwrap().count(), 0);
}

/// Requirement: N-3, P-30.
#[test]
fn plugins_see_no_more_of_the_environment_than_they_need() {
    let sandbox = node();
    let list = list(&sandbox, "probe", r#"{"type": "dump"}"#);
    let seen = sandbox.path("seen");
    let script = format!(
        "#!/bin/sh\nenv | cut -d= -f1 | sort -u > {}\n[ $CNI_COMMAND = ADD ] && echo '{{\"cniVersion\": \"1.0.0\"}}'\nexit 0\n",
        seen.display()
    );
    executable(&list.1.join("dump"), &script);
    let mut command = sandbox.run_command(&["--conf", &list.0, "--cni-path", list.1.to_str().unwrap()], &["true"]);
    command.env("SECRET", "x").env("LD_PRELOAD", "").env("CNI_ARGS", "IP=10.0.0.9");
    assert_eq!(Ended::of(&mut command).code, 0);
    let names = fs::read_to_string(&seen).unwrap();
    let known = [
        "CNI_ARGS",
        "CNI_COMMAND",
        "CNI_CONTAINERID",
        "CNI_IFNAME",
        "CNI_NETNS",
        "CNI_PATH",
        "LANG",
        "PATH",
        "PWD",
        "SHLVL",
        "_",
        "OLDPWD",
    ];
    assert!(names.lines().all(|name| known.contains(&name)), "{names}");
    sandbox.run(&["--name", "a;IP=10.0.0.9"], &["true"]).code_is_not(0);
}

/// Requirement: N-4, N-5.
#[test]
fn names_in_a_list_lead_nowhere() {
    let sandbox = node();
    let evil = sandbox.path("evil");
    executable(&evil, "#!/bin/sh\necho ran >&2\nexit 0\n");
    let list_of_path = list(&sandbox, "probe", r#"{"type": "../evil"}"#);
    let ended = run(&sandbox, &list_of_path, &["echo", "ran"]);
    assert!(ended.code == 125 && !ended.stdout.contains("ran"), "{ended:?}");
    assert!(ended.stderr.contains("(code 7)"), "{}", ended.stderr);
    let list_of_name = list(&sandbox, "../../etc/x", r#"{"type": "bridge"}"#);
    let ended = run(&sandbox, &list_of_name, &["echo", "ran"]);
    assert!(ended.code == 125 && ended.stderr.contains("the network's name"), "{}", ended.stderr);
    sandbox.run(&["--net=../../etc/x"], &["true"]).code_is_not(0);
    sandbox.assert_clean();
}

/// Requirement: N-6.
#[test]
fn a_plugin_that_hangs_or_floods_is_ended() {
    let sandbox = node();
    let list = list(&sandbox, "probe", r#"{"type": "slow"}"#);
    let slow = list.1.join("slow");
    executable(&slow, "#!/bin/sh\n[ $CNI_COMMAND = DEL ] && exit 0\nexec sleep 60\n");
    let mut command =
        sandbox.run_command(&["--conf", &list.0, "--cni-path", list.1.to_str().unwrap()], &["echo", "ran"]);
    let began = Instant::now();
    let ended = Ended::of(command.env("XNET_CNI_TIMEOUT", "1"));
    ended.expect_refusal(125, "did not finish within 1 s and was killed");
    assert!(began.elapsed().as_secs() < 20);
    executable(&slow, "#!/bin/sh\n[ $CNI_COMMAND = DEL ] && exit 0\nexec yes\n");
    run(&sandbox, &list, &["echo", "ran"]).expect_refusal(125, "more than 16 MiB on stdout and was killed");
    // What it has started ends with it, also what has let go of its streams.
    let pids = sandbox.path("pids");
    let script = format!(
        "#!/bin/sh\n[ $CNI_COMMAND = DEL ] && exit 0\nsleep 1000 >&- 2>&- <&- &\necho $! > {}\nexec sleep 1000\n",
        pids.display()
    );
    executable(&slow, &script);
    let mut command =
        sandbox.run_command(&["--conf", &list.0, "--cni-path", list.1.to_str().unwrap()], &["echo", "ran"]);
    Ended::of(command.env("XNET_CNI_TIMEOUT", "1")).expect_refusal(125, "was killed");
    let stat = format!("/proc/{}/stat", fs::read_to_string(&pids).unwrap().trim());
    eventually("what the plugin has started ends", || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
    sandbox.assert_clean();
}

/// Everything up to the limit is an answer; what it says on standard error is for people, and is read and forgotten.
///
/// Requirement: N-6.
#[test]
fn a_plugin_may_say_much() {
    let sandbox = node();
    let list = list(&sandbox, "probe", r#"{"type": "chatty"}"#);
    let script = "#!/bin/sh\n[ $CNI_COMMAND = DEL ] && exit 0\nhead -c 5000000 /dev/zero | tr '\\0' x >&2\n\
                  echo '{\"cniVersion\": \"1.0.0\",'\nhead -c 16000000 /dev/zero | tr '\\0' ' '\necho '\"ips\": []}'\n";
    executable(&list.1.join("chatty"), script);
    let ended = run(&sandbox, &list, &["echo", "ran"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "ran\n"), "{:.300}", ended.stderr);
    sandbox.assert_clean();
}

/// Requirement: N-7.
#[test]
fn a_chain_that_breaks_leaves_nothing_of_its_beginning() {
    let sandbox = node();
    let plugins = r#"{"type": "first"}, {"type": "second"}, {"type": "third"}"#;
    let list = list(&sandbox, "probe", plugins);
    let log = sandbox.path("log");
    for (name, fails) in [("first", 0), ("second", 1), ("third", 0)] {
        let answer = if fails == 1 {
            r#"{"cniVersion": "1.0.0", "code": 117, "msg": "no"}"#
        } else {
            r#"{"cniVersion": "1.0.0"}"#
        };
        let script = format!(
            "#!/bin/sh\ncat >/dev/null\necho {name} $CNI_COMMAND >> {}\n[ $CNI_COMMAND = DEL ] && exit 0\necho '{answer}'\nexit {fails}\n",
            log.display()
        );
        executable(&list.1.join(name), &script);
    }
    run(&sandbox, &list, &["echo", "ran"]).expect_refusal(125, "no (code 117)");
    let calls = fs::read_to_string(&log).unwrap();
    let calls: Vec<&str> = calls.lines().collect();
    assert_eq!(calls[..5], ["first ADD", "second ADD", "third DEL", "second DEL", "first DEL"], "{calls:?}");
    sandbox.assert_clean();
}

/// Requirement: N-8.
#[test]
fn nobody_believes_a_router_in_a_container() {
    let sandbox = node();
    let web = sandbox.start(&[], "cat /proc/sys/net/ipv6/conf/eth0/accept_ra; exec sleep 1000");
    assert_eq!(web.first, "0", "a container listens to its neighbours");
    let links: Vec<Value> = serde_json::from_str(&ip("-j link show type veth")).unwrap();
    let veth = links[0]["ifname"].as_str().unwrap();
    for link in ["xnet0", veth] {
        let accepts = fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{link}/accept_ra")).unwrap();
        assert_eq!(accepts.trim(), "0", "{link}");
    }
    end(web);
}

/// Requirement: N-10.
#[test]
fn the_bridge_keeps_its_address_whoever_comes_and_goes() {
    let sandbox = node();
    let mac = || {
        let links: Value = serde_json::from_str(&ip("-j link show xnet0")).unwrap();
        links[0]["address"].as_str().unwrap().to_owned()
    };
    sandbox.run(&[], &["true"]).expect(0, "");
    let before = mac();
    let all: Vec<_> =
        (0..3).map(|n| sandbox.start(&["--mac-address", &format!("00:00:00:00:00:0{}", n + 1)], STAY)).collect();
    assert_eq!(mac(), before);
    all.into_iter().for_each(end);
    assert_eq!(mac(), before);
}

/// Requirement: N-12, NET-H1.
#[test]
fn no_socket_of_ours_is_in_reach_of_the_hosts_network() {
    let sandbox = node();
    let web = sandbox.start(&["--net=host"], STAY);
    let sockets = fs::read_to_string("/proc/thread-self/net/unix").unwrap();
    assert!(!sockets.lines().any(|line| line.contains(" @") && line.contains("xnet")), "{sockets}");
    end(web);
}

/// Requirement: N-13.
#[test]
fn frames_with_another_ones_address_are_dropped_where_that_is_asked_for() {
    let sandbox = node();
    xnet(&sandbox, &["network", "create", "-o", "macspoofchk=true", "strict"]).expect(0, "strict");
    xnet(&sandbox, &["network", "create", "-o", "isolate=true", "apart"]).expect(0, "apart");
    let forger = sandbox.start(&["--net=strict", "--name=forger"], STAY);
    let ping = || {
        let args = ["netns", "exec", "forger", "ping", "-c1", "-W1", "10.214.0.1"];
        xnet(&sandbox, &args).code
    };
    assert_eq!(ping(), 0);
    let change = ["netns", "exec", "forger", "ip", "link", "set", "eth0", "address", "02:00:00:00:00:99"];
    xnet(&sandbox, &change).expect(0, "");
    assert_ne!(ping(), 0, "a forged frame has come through");
    end(forger);
    let lonely = sandbox.start(&["--net=apart"], STAY);
    let other = address(&sandbox).to_string();
    let script =
        format!("ping -c1 -W1 {other} >/dev/null || echo apart; ping -c1 -W2 10.214.1.1 >/dev/null && echo gateway");
    sandbox.run(&["--net=apart"], &["sh", "-c", &script]).expect(0, "apart\ngateway");
    end(lonely);
}

/// Requirement: N-14, P-35.
#[test]
fn whatever_is_left_is_taken_away_once_and_again() {
    let sandbox = node();
    for point in ["network", "publish", "undo-netns", "undo-network"] {
        for without_netns in [false, true] {
            let mut command = sandbox.run_command(&["-p", "8080:80"], &["true"]);
            command.env("XNET_CRASH_AT", point).stdout(Stdio::null()).stderr(Stdio::null());
            assert!(!command.status().unwrap().success(), "{point}");
            sandbox.await_release();
            if without_netns {
                for pin in fs::read_dir(sandbox.path("netns")).unwrap().flatten() {
                    let _ = Ended::of(Command::new("umount").arg("-l").arg(pin.path()));
                }
            }
            assert_eq!(sandbox.gc().code, 0, "{point}");
            assert_eq!(sandbox.gc().code, 0, "{point}");
            sandbox.assert_clean();
        }
    }
    let rules = Ended::of(Command::new("nft").args(["list", "ruleset"])).stdout;
    assert!(!rules.contains("elements"), "{rules}");
}

/// Requirement: P-35.
#[test]
fn leases_that_a_reboot_has_left_are_collected_and_those_of_the_living_stay() {
    let sandbox = node();
    let web = sandbox.start(&[], STAY);
    let leases = || {
        let mut names: Vec<String> = fs::read_dir("/var/lib/cni/networks/bridge")
            .unwrap()
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("10."))
            .collect();
        names.sort();
        names
    };
    fs::write("/var/lib/cni/networks/bridge/10.213.0.9", format!("{}\r\neth0", "a".repeat(64))).unwrap();
    assert_eq!(leases(), ["10.213.0.2", "10.213.0.9"]);
    assert_eq!(sandbox.gc().code, 0);
    assert_eq!(leases(), ["10.213.0.2"]);
    end(web);
}
