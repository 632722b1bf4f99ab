//! Lists of plugins, driven as a runtime does: by `xnet cni`, which hands results on and remembers them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::netns::Netns;
use crate::plugin::Answer;
use crate::process::{kill_after, run};
use crate::suite::Suite;

/// A list of plugins and what the runtime asks of them.
#[derive(Clone, Debug)]
pub struct Network {
    file: PathBuf,
    suite: Suite,
    capabilities: Value,
    ifname: &'static str,
}

impl Network {
    /// A network of this configuration, written to a file of the node.
    ///
    /// # Panics
    /// When it has no name, or can not be written.
    #[must_use]
    pub fn new(list: &Value) -> Self {
        let dir = Path::new("/run/lists");
        fs::create_dir_all(dir).expect("create a directory for lists");
        let file = dir.join(format!("{}.conflist", list["name"].as_str().expect("a list has a name")));
        fs::write(&file, list.to_string()).expect("write a list");
        Self { file, suite: Suite::Ours, capabilities: Value::Null, ifname: "eth0" }
    }

    /// The same with the plugins of a suite.
    #[must_use]
    pub fn of(self, suite: Suite) -> Self {
        Self { suite, ..self }
    }

    /// The same with other capability arguments.
    #[must_use]
    pub fn asked(self, capabilities: Value) -> Self {
        Self { capabilities, ..self }
    }

    /// The same by an interface of another name.
    #[must_use]
    pub fn ifname(self, ifname: &'static str) -> Self {
        Self { ifname, ..self }
    }

    /// Attaches a container.
    #[must_use]
    pub fn add(&self, netns: &Netns) -> Answer {
        self.call("add", netns.path())
    }

    /// Asks whether it is still attached.
    #[must_use]
    pub fn check(&self, netns: &Netns) -> Answer {
        self.call("check", netns.path())
    }

    /// Detaches it.
    #[must_use]
    pub fn del(&self, netns: &Netns) -> Answer {
        self.call("del", netns.path())
    }

    /// Detaches everything that is on record, and all that is of no attachment.
    #[must_use]
    pub fn gc(&self) -> Answer {
        self.call("gc", "/run/netns/none")
    }

    /// Attaches a container and kills everything after a while.
    pub fn kill_add_after(&self, netns: &Netns, delay: Duration) {
        kill_after(&mut self.command("add", netns.path()), b"", delay);
    }

    fn call(&self, verb: &str, netns: &str) -> Answer {
        let mut command = self.command(verb, netns);
        let output = run(&mut command, b"");
        Answer::new(format!("{command:?}\n{}", fs::read_to_string(&self.file).unwrap_or_default()), output)
    }

    fn command(&self, verb: &str, netns: &str) -> Command {
        let mut command = Command::new(runtime());
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("CNI_PATH", self.suite.dir());
        command.env("CNI_IFNAME", self.ifname);
        if !self.capabilities.is_null() {
            command.env("CAP_ARGS", self.capabilities.to_string());
        }
        command.args(["cni", verb]).arg(&self.file).arg(netns);
        command
    }
}

/// The Go suite has no runtime of its own; when it is in the place of ours, that of the workspace drives it.
fn runtime() -> PathBuf {
    let ours = Suite::Ours.dir().join("xnet");
    if ours.is_file() { ours } else { Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("bin").join("xnet") }
}
