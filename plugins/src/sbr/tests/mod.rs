//! Against the kernel and the Go suite, in private namespaces.

mod failure;
mod parity;
mod traffic;
mod verbs;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use cni::plugin::{Stderr, World};
use serde_json::Value;

pub(crate) use crate::masquerade::tests::{namespace, shell};

use super::*;

/// A call of a plugin for `CNI_IFNAME` in `/run/netns/pod`, by ours or by the Go suite's of the same name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) id: &'a str,
    pub(crate) ifname: &'a str,
    pub(crate) netns: &'a str,
    pub(crate) args: &'a str,
}

pub(crate) const NET1: Caller<'static> = Caller { id: "cid1", ifname: "net1", netns: "/run/netns/pod", args: "" };

/// What a plugin has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) ok: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    /// The text of the error.
    pub(crate) fn error(&self) -> String {
        assert!(!self.ok, "{self:?}");
        let document: Value = serde_json::from_str(&self.stdout).unwrap();
        document["msg"].as_str().unwrap().to_owned()
    }

    /// The result. The suite of Debian 12 writes an empty `dns`, later ones none.
    pub(crate) fn result(&self) -> Value {
        let mut result: Value = serde_json::from_str(&self.stdout).unwrap();
        result.as_object_mut().unwrap().retain(|key, value| key != "dns" || *value != serde_json::json!({}));
        result
    }

    /// The code of the error.
    pub(crate) fn code(&self) -> u64 {
        let document: Value = serde_json::from_str(&self.stdout).unwrap();
        document["code"].as_u64().unwrap()
    }

    #[track_caller]
    pub(crate) fn good(self) -> Self {
        assert!(self.ok, "{self:?}");
        self
    }
}

impl Caller<'_> {
    fn env(&self, verb: &str) -> Vec<(OsString, OsString)> {
        let env = [
            ("CNI_COMMAND", verb),
            ("CNI_CONTAINERID", self.id),
            ("CNI_IFNAME", self.ifname),
            ("CNI_NETNS", self.netns),
            ("CNI_ARGS", self.args),
            ("CNI_PATH", "/usr/lib/cni"),
        ];
        env.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    /// Calls our plugin as its process would be called.
    pub(crate) fn ours<P: Plugin>(&self, plugin: &P, verb: &str, json: &str) -> Answer {
        let (stderr, told) = Stderr::buffered();
        let mut stdout = Vec::new();
        let stdin = Box::new(json.as_bytes());
        let world = World { env: self.env(verb), stdin, stdout: Some(Box::new(&mut stdout)), stderr };
        let ok = cni::plugin::run(plugin, world) == 0;
        let stderr = String::from_utf8(told.lock().unwrap().clone()).unwrap();
        Answer { ok, stdout: String::from_utf8(stdout).unwrap(), stderr }
    }

    /// Calls the Go suite's plugin, Debian 12's.
    pub(crate) fn go(&self, name: &str, verb: &str, json: &str) -> Answer {
        self.go_in("/usr/lib/cni", name, verb, json)
    }

    /// Calls the Go suite's plugin in a directory.
    pub(crate) fn go_in(&self, folder: &str, name: &str, verb: &str, json: &str) -> Answer {
        let mut child = Command::new(format!("{folder}/{name}"))
            .envs(self.env(verb))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the Go suite is installed");
        child.stdin.take().unwrap().write_all(json.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Answer { ok: output.status.success(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Where a newer Go suite is, if `make newer-go` has found one: it knows what Debian 12's does not.
pub(crate) fn newer_go() -> Option<String> {
    let folder = std::env::var("XNET_NEWER_GO_DIR").ok().filter(|folder| Path::new(folder).join("sbr").exists());
    if folder.is_none() {
        eprintln!("skipped: no newer Go suite to compare with (make newer-go)");
    }
    folder
}

/// A pod and two routers. `net1` and `net2` of the pod lead to `r1` and `r2`, which both know the way to far addresses:
/// they have them.
const TOPOLOGY: &str = "
    ip netns add pod
    for number in 1 2; do
        ip netns add r$number
        ip -n r$number link add eth0 type veth peer name net$number netns pod
        ip -n r$number link set eth0 up
        ip -n r$number link set lo up
        ip -n r$number addr add 10.$number.0.1/24 dev eth0
        ip -n r$number addr add fd0$number::1/64 dev eth0 nodad
        ip -n r$number addr add 192.0.2.9/32 dev lo
        ip -n r$number addr add 2001:db8::9/128 dev lo nodad
        ip netns exec pod sh -c \"echo 0 > /proc/sys/net/ipv6/conf/net$number/accept_dad\"
    done
";

/// What a plugin before this one has done for an interface. Link-local addresses come with a delay of the kernel's, so
/// there are none but one that is always the same.
fn attach(number: u8) {
    shell(&format!(
        "ip -n pod link set net{number} addrgenmode none up
         ip -n pod addr add fe80::{number}/64 dev net{number} nodad
         ip -n pod addr add 10.{number}.0.2/24 dev net{number}
         ip -n pod addr add fd0{number}::2/64 dev net{number} nodad
         ip -n pod route add default via 10.{number}.0.1
         ip -n pod route add default via fd0{number}::1"
    ));
}

/// The configuration with the result that belongs to [`attach`].
fn conf(number: u8, keys: &str) -> String {
    let ips = format!(
        r#"{{"interface": 1, "address": "10.{number}.0.2/24", "gateway": "10.{number}.0.1"}},
           {{"interface": 1, "address": "fd0{number}::2/64", "gateway": "fd0{number}::1"}}"#
    );
    conf_with(number, &ips, keys)
}

fn conf_with(number: u8, ips: &str, keys: &str) -> String {
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "n1", "type": "sbr"{keys}, "prevResult": {{"cniVersion": "1.0.0",
            "interfaces": [{{"name": "veth1"}}, {{"name": "net{number}", "sandbox": "/run/netns/pod"}}],
            "ips": [{ips}]}}}}"#
    )
}

/// All rules and routes of the pod.
fn routing() -> String {
    let all =
        shell("for family in -4 -6; do ip -n pod $family rule; ip -n pod $family route show table all | sort; done");
    let lines = all.lines().map(|line| line.replace(" linkdown", "").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}
