//! The plugin as a whole, without a process: environment and stdin in, stdout out.

mod answers;
mod refusals;
mod upkeep;

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use cni::plugin::{Stderr, World, run};
use serde_json::{Value, json};

use super::HostLocal;

/// A data directory for the networks of one test.
struct Node {
    dir: tempfile::TempDir,
}

/// The document that a call has printed, and whether the call succeeded.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    ok: bool,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The error's `msg`.
    #[track_caller]
    fn msg(&self) -> String {
        assert!(!self.ok, "{self:?}");
        self.json()["msg"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    fn code(&self) -> u64 {
        assert!(!self.ok, "{self:?}");
        self.json()["code"].as_u64().unwrap()
    }

    fn details(&self) -> String {
        self.json()["details"].as_str().unwrap_or_default().to_owned()
    }

    /// The addresses of a result of version 0.3.0 or later.
    #[track_caller]
    fn addresses(&self) -> Vec<String> {
        assert!(self.ok, "{self:?}");
        self.json()["ips"].as_array().unwrap().iter().map(|ip| ip["address"].as_str().unwrap().to_owned()).collect()
    }
}

impl Node {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("networks")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.data_dir().join("n1").join(name)
    }

    fn lease(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.file(name)).ok()
    }

    fn put(&self, name: &str, content: &str) {
        fs::create_dir_all(self.file("")).unwrap();
        fs::write(self.file(name), content).unwrap();
    }

    /// A configuration of version 1.1.0 with this `ipam`, which gets the node's data directory.
    fn config(&self, ipam: &Value) -> Value {
        let mut config = json!({"cniVersion": "1.1.0", "name": "n1", "ipam": ipam});
        if let Some(ipam) = config["ipam"].as_object_mut() {
            ipam.entry("type").or_insert("host-local".into());
            ipam.entry("dataDir").or_insert(self.data_dir().to_str().unwrap().into());
        }
        config
    }

    fn call(&self, command: &str, id: &str, config: &Value) -> Answer {
        self.call_with(command, id, config, &[])
    }

    fn call_with(&self, command: &str, id: &str, config: &Value, env: &[(&str, &str)]) -> Answer {
        let base = [
            ("CNI_COMMAND", command),
            ("CNI_CONTAINERID", id),
            ("CNI_IFNAME", "eth0"),
            ("CNI_NETNS", "/nonexistent/netns"),
            ("CNI_PATH", "/nonexistent"),
        ];
        // Of several variables of one name the first counts.
        let env = env.iter().chain(&base).map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        let stdin = config.to_string();
        let mut stdout = Vec::new();
        let world = World {
            env,
            stdin: Box::new(stdin.as_bytes()),
            stdout: Some(Box::new(&mut stdout)),
            stderr: Stderr::buffered().0,
        };
        let ok = run(&HostLocal, world) == 0;
        Answer { ok, text: String::from_utf8(stdout).unwrap() }
    }
}

/// One /24.
fn pool() -> Value {
    json!({"subnet": "10.1.0.0/24"})
}
