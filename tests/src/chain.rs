//! The plugins of a list called one by one, for stories that begin where a runtime has forgotten everything.

use serde_json::{Value, json};

use crate::config::{parts, with};
use crate::netns::Netns;
use crate::plugin::{Answer, Plugin};
use crate::suite::Suite;

/// A list of plugins without a runtime.
#[derive(Clone, Debug)]
pub struct Chain {
    suite: Suite,
    parts: Vec<Value>,
    ifname: &'static str,
}

impl Chain {
    /// The plugins of a list, which all hear the same wishes.
    #[must_use]
    pub fn new(list: &Value, wishes: &Value) -> Self {
        Self { suite: Suite::Ours, parts: parts(list, wishes), ifname: "eth0" }
    }

    /// The same plugins of another suite.
    #[must_use]
    pub fn of(self, suite: Suite) -> Self {
        Self { suite, ..self }
    }

    /// The same by an interface of another name.
    #[must_use]
    pub fn ifname(self, ifname: &'static str) -> Self {
        Self { ifname, ..self }
    }

    /// The same list in another version.
    #[must_use]
    pub fn version(self, version: &str) -> Self {
        self.with(&json!({"cniVersion": version}))
    }

    /// Other members for all of them.
    #[must_use]
    pub fn with(mut self, members: &Value) -> Self {
        self.parts = self.parts.into_iter().map(|part| with(part, members.clone())).collect();
        self
    }

    /// Without the plugins of these types.
    #[must_use]
    pub fn without(mut self, types: &[&str]) -> Self {
        self.parts.retain(|part| !types.iter().any(|name| part["type"] == *name));
        self
    }

    /// Attaches a container; returns what the last plugin has said.
    ///
    /// # Panics
    /// When one of them fails.
    pub fn add(&self, netns: &Netns, container: &str) -> Value {
        self.parts.iter().fold(Value::Null, |result, part| {
            let part = if result.is_null() { part.clone() } else { with(part.clone(), json!({"prevResult": result})) };
            self.plugin(&part, container).netns(netns).add().ok()
        })
    }

    /// Detaches a container. Every plugin is called, last first; none may fail.
    ///
    /// # Panics
    /// When one of them fails.
    pub fn del(&self, netns: &Netns, container: &str, result: &Value) {
        for part in self.parts.iter().rev() {
            let part = with(part.clone(), json!({"prevResult": result}));
            self.plugin(&part, container).netns(netns).del().ok();
        }
    }

    /// Collects what is of none of these containers' `eth0`.
    ///
    /// # Panics
    /// When a plugin fails.
    pub fn gc(&self, valid: &[&str]) {
        for part in &self.parts {
            self.collector(part, valid).gc().ok();
        }
    }

    /// The same, last plugin first: the addresses' leases are there until the end.
    ///
    /// # Panics
    /// When a plugin fails.
    pub fn gc_backwards(&self, valid: &[&str]) {
        for part in self.parts.iter().rev() {
            self.collector(part, valid).gc().ok();
        }
    }

    /// Calls GC without saying what is valid.
    ///
    /// # Panics
    /// When a plugin fails.
    pub fn gc_without_a_list(&self) {
        for part in &self.parts {
            self.nameless(&self.plugin(part, "")).gc().ok();
        }
    }

    /// What each plugin answers to STATUS, with its type.
    #[must_use]
    pub fn status(&self) -> Vec<(String, Answer)> {
        let parts = self.parts.iter();
        parts.map(|part| (kind(part).to_owned(), self.nameless(&self.plugin(part, "")).status())).collect()
    }

    fn collector(&self, part: &Value, valid: &[&str]) -> Plugin {
        let valid: Value = valid.iter().map(|id| json!({"containerID": id, "ifname": "eth0"})).collect();
        let members = json!({"cniVersion": "1.1.0", "cni.dev/valid-attachments": valid, "cni.dev/attachments": valid});
        self.nameless(&self.plugin(&with(part.clone(), members), ""))
    }

    fn nameless(&self, plugin: &Plugin) -> Plugin {
        plugin.clone().without("CNI_CONTAINERID").without("CNI_IFNAME")
    }

    fn plugin(&self, part: &Value, container: &str) -> Plugin {
        Plugin::of(self.suite, kind(part)).config(part).container(container).ifname(self.ifname)
    }
}

fn kind(part: &Value) -> &str {
    part["type"].as_str().expect("a plugin has a type")
}
