//! A data directory of its own, and the plugins as processes: ours, and that of the Go suite.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

/// Our binary.
pub(crate) const OURS: &str = env!("CARGO_BIN_EXE_host-local");
/// The Go suite's, as Debian's containernetworking-plugins installs it.
pub(crate) const GO: &str = "/usr/lib/cni/host-local";

/// A data directory with one network.
pub(crate) struct Node {
    dir: tempfile::TempDir,
    config: String,
}

/// One call of a plugin.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) command: &'static str,
    pub(crate) id: String,
    pub(crate) ifname: &'static str,
    pub(crate) args: String,
}

impl Call {
    pub(crate) fn new(command: &'static str, id: impl Into<String>) -> Self {
        Self { command, id: id.into(), ifname: "eth0", args: String::new() }
    }
}

/// What a plugin has answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The addresses of an ADD; nothing for the other verbs.
    Done(Vec<String>),
    /// The code and the `msg`.
    Failed(u64, String),
}

impl Node {
    pub(crate) fn new(ranges: &Value) -> Self {
        assert!(Path::new(GO).exists(), "these tests need {GO} (package containernetworking-plugins)");
        let dir = tempfile::tempdir().unwrap();
        let ipam = json!({"type": "host-local", "dataDir": dir.path(), "ranges": ranges});
        let config = json!({"cniVersion": "1.0.0", "name": "n1", "ipam": ipam}).to_string();
        Self { dir, config }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("n1").join(name)
    }

    pub(crate) fn start(&self, plugin: &str, call: &Call) -> Child {
        let mut command = Command::new(plugin);
        command
            .env_clear()
            .env("CNI_COMMAND", call.command)
            .env("CNI_CONTAINERID", &call.id)
            .env("CNI_IFNAME", call.ifname)
            .env("CNI_NETNS", "/nonexistent/netns")
            .env("CNI_PATH", "/nonexistent")
            .env("CNI_ARGS", &call.args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Gives a process its configuration, which is what it waits for.
    pub(crate) fn feed(&self, child: &mut Child) {
        child.stdin.take().unwrap().write_all(self.config.as_bytes()).unwrap();
    }

    pub(crate) fn call(&self, plugin: &str, call: &Call) -> Answer {
        let mut child = self.start(plugin, call);
        self.feed(&mut child);
        let output = child.wait_with_output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        if !output.status.success() {
            let msg = document["msg"].as_str().unwrap_or_else(|| panic!("{plugin} {call:?}: {output:?}"));
            return Answer::Failed(document["code"].as_u64().unwrap(), msg.to_owned());
        }
        let ips = document["ips"].as_array().cloned().unwrap_or_default();
        Answer::Done(ips.iter().map(|ip| format!("{} gw {}", ip["address"], ip["gateway"])).collect())
    }

    /// The directory: names and contents.
    pub(crate) fn files(&self) -> BTreeMap<String, String> {
        let Ok(entries) = fs::read_dir(self.file("")) else { return BTreeMap::new() };
        entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap()))
            .collect()
    }

    /// The lease files: addresses and contents.
    pub(crate) fn leases(&self) -> BTreeMap<String, String> {
        self.files().into_iter().filter(|(name, _)| name.parse::<IpAddr>().is_ok()).collect()
    }
}
