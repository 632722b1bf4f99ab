//! The runtime against plugins that are shell scripts: they write down what they were given, and answer what the test
//! has laid out for them.

mod attach;
mod cache;
mod config;
mod conflist;
mod maintain;
mod undo;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{ConfList, Environment, Runtime, RuntimeConf};

/// Writes down the call as `calls/N.COMMAND.PLUGIN` (stdin) and `...env`, then prints the file `answers/PLUGIN.COMMAND`,
/// or fails with `answers/PLUGIN.COMMAND.fail`.
const PLUGIN: &str = r#"#!/bin/sh
plugin=${0##*/}
root=${0%/*}/..
number=$(($(ls "$root/calls" | wc -l) / 2 + 100))
call="$root/calls/$number.$CNI_COMMAND.$plugin"
cat > "$call"
env > "$call.env"
answer="$root/answers/$plugin.$CNI_COMMAND"
[ -e "$answer.fail" ] && { cat "$answer.fail"; exit 1; }
[ -e "$answer" ] && cat "$answer"
exit 0
"#;

/// A node: plugins, configurations and a cache under one temporary directory.
pub(super) struct Node {
    dir: TempDir,
    pub(super) runtime: Runtime,
}

/// What a plugin was given.
pub(super) struct Call {
    /// `ADD bridge`.
    pub(super) what: String,
    pub(super) stdin: String,
    pub(super) env: BTreeMap<String, String>,
}

impl Call {
    pub(super) fn config(&self) -> Value {
        serde_json::from_str(&self.stdin).unwrap()
    }
}

impl Node {
    /// A node with these plugins, each of which succeeds at everything; ADD of each answers with an address.
    pub(super) fn new(plugins: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        for folder in ["bin", "calls", "answers", "net.d"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        let node = Self {
            runtime: Runtime {
                plugin_dirs: vec![dir.path().join("bin")],
                cache_dir: dir.path().join("cache"),
                timeout: Duration::from_secs(30),
                env: Environment::clean(),
                start: crate::exec::run,
            },
            dir,
        };
        for (number, plugin) in plugins.iter().enumerate() {
            let path = node.path("bin").join(plugin);
            fs::write(&path, PLUGIN).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            node.answer(plugin, "ADD", &result("1.1.0", number + 1).to_string());
        }
        node
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn answer(&self, plugin: &str, command: &str, text: &str) {
        fs::write(self.path("answers").join(format!("{plugin}.{command}")), text).unwrap();
    }

    /// From now on the command fails, with this message or, if it is empty, without a word.
    pub(super) fn fail(&self, plugin: &str, command: &str, msg: &str) {
        let document = if msg.is_empty() { String::new() } else { json!({"code": 11, "msg": msg}).to_string() };
        fs::write(self.path("answers").join(format!("{plugin}.{command}.fail")), document).unwrap();
    }

    /// The calls since the last time, in their order.
    pub(super) fn calls(&self) -> Vec<Call> {
        let mut names: Vec<String> = fs::read_dir(self.path("calls"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".env"))
            .collect();
        names.sort();
        let calls = names.iter().map(|name| self.call(name)).collect();
        fs::remove_dir_all(self.path("calls")).unwrap();
        fs::create_dir(self.path("calls")).unwrap();
        calls
    }

    fn call(&self, name: &str) -> Call {
        let path = self.path("calls").join(name);
        let env = fs::read_to_string(path.with_file_name(format!("{name}.env"))).unwrap();
        let pairs = env.lines().filter_map(|line| line.split_once('='));
        Call {
            what: name.split('.').skip(1).collect::<Vec<_>>().join(" "),
            stdin: fs::read_to_string(&path).unwrap(),
            env: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        }
    }

    /// What was called since the last time: `["ADD bridge", "ADD portmap"]`.
    pub(super) fn order(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| call.what).collect()
    }

    /// The cache file of `conf()` on network `n1`.
    pub(super) fn record(&self) -> PathBuf {
        self.path("cache/results/n1-cid1-eth0")
    }
}

/// A result of `version` with the address `10.0.0.LAST/24`.
pub(super) fn result(version: &str, last: usize) -> Value {
    json!({"cniVersion": version, "ips": [{"address": format!("10.0.0.{last}/24")}]})
}

/// The network `n1` of these plugins.
pub(super) fn list(version: &str, plugins: &[&str]) -> ConfList {
    let plugins: Vec<Value> = plugins.iter().map(|plugin| json!({"type": plugin})).collect();
    parse(&json!({"name": "n1", "cniVersion": version, "plugins": plugins}))
}

pub(super) fn parse(list: &Value) -> ConfList {
    ConfList::from_slice(list.to_string().as_bytes()).unwrap()
}

/// The interface `eth0` of container `cid1`.
pub(super) fn conf() -> RuntimeConf {
    RuntimeConf {
        container_id: "cid1".parse().unwrap(),
        netns: "/run/netns/c1".to_owned(),
        ifname: "eth0".parse().unwrap(),
        args: Vec::new(),
        capability_args: serde_json::Map::new(),
    }
}

pub(super) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
