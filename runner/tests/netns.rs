//! `xnet netns`, and the manual wiring of the articles.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use node::{end, ip, node, xnet};
use sandbox::{Ended, Sandbox, eventually};
use serde_json::Value;

const STAY: &str = "echo up; exec sleep 1000";

fn list(sandbox: &Sandbox, options: &[&str]) -> Vec<Value> {
    let ended = xnet(sandbox, &[&["netns", "ls", "--format=json"], options].concat());
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Requirement: S0-W3, S0-X1.
#[test]
fn every_namespace_is_listed_and_stale_names_say_why() {
    let sandbox = node();
    ip("netns add lab");
    let web = sandbox.start(&["--name=web"], STAY);
    let side = sandbox.start(&["--net=container:web", "--name=side"], STAY);
    let dead = sandbox.path("netns").join("0".repeat(64));
    fs::write(&dead, "").unwrap();
    fs::write("/run/netns/foreign", "").unwrap();
    symlink("/proc/999999999/ns/net", "/run/netns/link").unwrap();
    let rows = list(&sandbox, &[]);
    let owned =
        |owner: &str| rows.iter().find(|row| row["Owner"] == owner).unwrap_or_else(|| panic!("{owner}: {rows:?}"));
    assert!(owned("web,side")["Links"].as_str().unwrap().contains("eth0(10.213.0.2/16"), "{rows:?}");
    assert!(rows.iter().any(|row| row["Names"].as_str().unwrap().contains("/run/netns/lab") && row["Stale"] == ""));
    let stale = list(&sandbox, &["--stale"]);
    let why = |name: &str| {
        let row = stale.iter().find(|row| row["Names"].as_str().unwrap().ends_with(name)).unwrap();
        row["Stale"].as_str().unwrap().to_owned()
    };
    assert!(why("foreign").contains("no namespace is mounted any more"));
    assert!(why("link").contains("which is gone"));
    assert_eq!(stale.len(), 3);
    xnet(&sandbox, &["netns", "prune"]).expect(0, dead.to_str().unwrap());
    assert!(fs::symlink_metadata("/run/netns/foreign").is_ok() && fs::symlink_metadata("/run/netns/link").is_ok());
    assert_eq!(list(&sandbox, &["--stale"]).len(), 2);
    end(side);
    end(web);
    sandbox.assert_clean();
}

/// Requirement: S0-X1.
#[test]
fn commands_of_the_host_run_in_any_namespace() {
    let sandbox = node();
    let web = sandbox.start(&["--name=web", "--dns=9.9.9.9"], "readlink /proc/self/ns/net; exec sleep 1000");
    let exec = |args: &[&str]| xnet(&sandbox, &[&["netns", "exec"], args].concat());
    let own = "readlink /proc/self/ns/net";
    let container = node::connected(&sandbox);
    let (id, pin) = (container["id"].as_str().unwrap(), container["netns"].as_str().unwrap());
    for target in ["web", id, &id[..8], pin] {
        exec(&[target, "sh", "-c", own]).expect(0, &web.first);
    }
    exec(&["web", "sh", "-c", "exit 7"]).expect(7, "");
    exec(&["web", "/no/such/command"]).expect_refusal(127, "No such file");
    exec(&["web", "/etc/passwd"]).expect_refusal(126, "Permission denied");
    exec(&["nobody", "true"]).expect_refusal(125, "neither host, a running container");
    exec(&["--resolv", "web", "grep", "9.9.9.9", "/etc/resolv.conf"]).expect(0, "nameserver 9.9.9.9");
    exec(&["web", "grep", "-c", "9.9.9.9", "/etc/resolv.conf"]).code_is_not(0);
    exec(&["-u", "web", "id", "-u"]).expect(0, "0");
    let mut sudo = sandbox.command(&["netns", "exec", "-u", "web", "id", "-u"]);
    Ended::of(sudo.env("SUDO_UID", "1234").env("SUDO_GID", "1234")).expect(0, "1234");
    let all = exec(&["--all", "sh", "-c", own]);
    assert!(all.stdout.contains(&format!("/web: {}", web.first)), "{}", all.stdout);
    end(web);
}

/// Requirement: S0-W2.
#[test]
fn a_container_without_a_network_is_attached_in_one_call() {
    let sandbox = node();
    sandbox.run(&[], &["true"]).expect(0, "");
    let web = sandbox.start(&["--net=none", "--name=web"], STAY);
    let attach = |args: &[&str]| xnet(&sandbox, &[&["netns", "attach", "web"], args].concat());
    attach(&["--bridge=nowhere"]).expect_refusal(125, "the host has no bridge nowhere");
    attach(&["--ip=172.16.0.5/16"]).expect_refusal(125, "is in no network of bridge xnet0, which has 10.213.0.1/16");
    attach(&["--ip=10.213.0.5/16", "--gateway=172.16.0.1"]).expect_refusal(125, "Nexthop has invalid gateway");
    let told = attach(&["--ip=10.213.0.5/16", "--explain"]);
    assert_eq!((told.code, told.stdout.lines().count()), (0, 6), "{told:?}");
    assert!(told.stdout.contains(" route add default via 10.213.0.1 dev eth0"), "{}", told.stdout);
    let ping = Ended::of(Command::new("ping").args(["-c1", "-W2", "10.213.0.5"]));
    assert!(ping.code == 0 && ping.stdout.contains("ttl=64"), "{ping:?}");
    end(web);
    sandbox.assert_clean();
}

/// Requirement: S4-1.
#[test]
fn two_isolated_containers_meet_when_they_are_connected() {
    let sandbox = node();
    let a = sandbox.start(&["--net=none", "--name=a"], STAY);
    let b = sandbox.start(&["--net=none", "--name=b"], STAY);
    let ping = || sandbox.run(&["--net=container:a"], &["sh", "-c", "ping -c1 -W2 169.254.77.2 >/dev/null 2>&1"]).code;
    assert_ne!(ping(), 0);
    let told = xnet(&sandbox, &["netns", "connect", "a", "b", "--explain"]);
    assert_eq!((told.code, told.stdout.lines().count()), (0, 5), "{told:?}");
    assert_eq!(ping(), 0);
    xnet(&sandbox, &["netns", "connect", "a", "a"]).expect_refusal(125, "in the same network namespace");
    end(a);
    end(b);
}

/// Requirement: S1-N.
#[test]
fn a_pair_joins_any_two_namespaces_or_one_with_itself() {
    let sandbox = node();
    ip("netns add lab");
    let web = sandbox.start(&["--net=none", "--name=web"], STAY);
    let pair = |args: &[&str]| xnet(&sandbox, &[&["netns", "pair"], args].concat());
    let links = |name: &str| xnet(&sandbox, &["netns", "exec", name, "ip", "-brief", "link"]).stdout;
    // A container and a name, with the names of the article.
    pair(&["web", "lab", "--names=veth0_11,veth1_11", "--subnet=10.1.1.0/30"]).expect(0, "web:veth0_11 lab:veth1_11");
    let ping = ["netns", "exec", "lab", "ping", "-c1", "-W5", "10.1.1.1"];
    assert_eq!(xnet(&sandbox, &ping).code, 0, "{}{}", links("web"), links("lab"));
    // Links only, and names that are free.
    pair(&["web", "lab"]).expect(0, "web:veth0 lab:veth0");
    pair(&["lab", "lab"]).expect(0, "lab:veth1 lab:veth2");
    assert!(links("lab").contains("veth1@veth2 ") && links("lab").matches("UP").count() >= 4, "{}", links("lab"));
    let told = pair(&["--explain", "lab", "web"]);
    assert!(told.stdout.contains(" type veth peer name veth1 netns ") && told.stdout.lines().count() == 3, "{told:?}");
    // What is refused leaves nothing.
    // Their states still change, when the kernel comes to it.
    let named = |name: &str| links(name).lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
    let all = || -> [Vec<String>; 2] { ["web", "lab"].map(named) };
    let before = all();
    pair(&["web", "lab", "--names=one"]).expect_refusal(125, "two names are expected");
    pair(&["web", "lab", "--names=lo,x"]).expect_refusal(125, "there is a link lo in the namespace already");
    pair(&["lab", "lab", "--names=x,x"]).expect_refusal(125, "there is a link x in the namespace already");
    pair(&["web", "lab", "--names=a/b,x"]).expect_refusal(125, "interface name contains /");
    pair(&["web", "lab", "--subnet=10.1.1.0/31"]).expect_refusal(125, "no room for two addresses");
    pair(&["web", "nobody"]).expect_refusal(125, "neither host, a running container");
    assert_eq!(before, all());
    // It goes with a namespace of its ends.
    end(web);
    eventually("both ends are gone", || !links("lab").contains("veth1_11"));
    sandbox.assert_clean();
}

/// Requirement: S0-W1, S0-W3.
#[test]
fn the_articles_manual_wiring_works_to_the_letter() {
    let sandbox = node();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/articles/wiring.sh");
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_xnet"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new("sh");
    command
        .arg(script)
        .env("PATH", path)
        .env("OPTIONS", format!("--cgroup-parent={}", sandbox.cgroup()))
        .env("XNET_ROOT", sandbox.path("data"))
        .env("XNET_STATE_DIR", sandbox.path("state"));
    let ended = Ended::of(&mut command);
    assert!(ended.code == 0 && ended.stdout.ends_with("== done\n"), "{}\n{}", ended.stdout, ended.stderr);
    sandbox.assert_clean();
}
