//! Calls to plugins, as a runtime makes them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use serde_json::{Deserializer, Value};

use crate::netns::Netns;
use crate::process::{kill_after, run};
use crate::suite::Suite;

/// A call in the making: the binary, its environment and its input. Nothing else reaches the process but `PATH`.
#[derive(Clone, Debug)]
pub struct Plugin {
    binary: PathBuf,
    env: BTreeMap<&'static str, String>,
    stdin: Vec<u8>,
    redirection: &'static str,
}

impl Plugin {
    /// A plugin of ours, about container `c1` and interface `eth0`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::of(Suite::Ours, name)
    }

    /// The same of any suite.
    #[must_use]
    pub fn of(suite: Suite, name: &str) -> Self {
        let dir = suite.dir();
        let path = dir.to_str().expect("the directory is UTF-8").to_owned();
        let env = [("CNI_CONTAINERID", "c1".to_owned()), ("CNI_IFNAME", "eth0".to_owned()), ("CNI_PATH", path)];
        Self { binary: dir.join(name), env: env.into(), stdin: Vec::new(), redirection: "" }
    }

    /// The configuration, which becomes the input.
    #[must_use]
    pub fn config(self, config: &Value) -> Self {
        self.stdin(config.to_string())
    }

    /// Any input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Any variable.
    #[must_use]
    pub fn env(mut self, key: &'static str, value: &str) -> Self {
        self.env.insert(key, value.to_owned());
        self
    }

    /// Without a variable.
    #[must_use]
    pub fn without(mut self, key: &str) -> Self {
        self.env.remove(key);
        self
    }

    /// The container's id.
    #[must_use]
    pub fn container(self, id: &str) -> Self {
        self.env("CNI_CONTAINERID", id)
    }

    /// The interface's name.
    #[must_use]
    pub fn ifname(self, name: &str) -> Self {
        self.env("CNI_IFNAME", name)
    }

    /// The container's namespace.
    #[must_use]
    pub fn netns(self, netns: &Netns) -> Self {
        self.env("CNI_NETNS", netns.path())
    }

    /// `CNI_ARGS`.
    #[must_use]
    pub fn args(self, args: &str) -> Self {
        self.env("CNI_ARGS", args)
    }

    /// The standard streams redirected in shell syntax, such as `<&-`.
    #[must_use]
    pub fn redirected(mut self, redirection: &'static str) -> Self {
        self.redirection = redirection;
        self
    }

    /// The directories in which plugins are looked for, before those of the suite.
    #[must_use]
    pub fn path(mut self, dir: &str) -> Self {
        let path = self.env.entry("CNI_PATH").or_default();
        *path = format!("{dir}:{path}");
        self
    }

    /// Calls ADD.
    #[must_use]
    pub fn add(&self) -> Answer {
        self.call("ADD")
    }

    /// Calls DEL.
    #[must_use]
    pub fn del(&self) -> Answer {
        self.call("DEL")
    }

    /// Calls CHECK.
    #[must_use]
    pub fn check(&self) -> Answer {
        self.call("CHECK")
    }

    /// Calls GC. The attachments that are valid stand in the configuration.
    #[must_use]
    pub fn gc(&self) -> Answer {
        self.call("GC")
    }

    /// Calls STATUS.
    #[must_use]
    pub fn status(&self) -> Answer {
        self.call("STATUS")
    }

    /// Calls any verb.
    #[must_use]
    pub fn call(&self, verb: &str) -> Answer {
        self.clone().env("CNI_COMMAND", verb).start()
    }

    /// Starts the process with no `CNI_COMMAND` but that of [`Plugin::env`].
    #[must_use]
    pub fn start(&self) -> Answer {
        Answer::new(self.to_string(), run(&mut self.command(), &self.stdin))
    }

    /// Calls ADD and kills it, with all that it has started, after a while. Its outputs are lost.
    pub fn kill_add_after(&self, delay: Duration) {
        kill_after(&mut self.clone().env("CNI_COMMAND", "ADD").command(), &self.stdin, delay);
    }

    /// The shell, which becomes the plugin, is there for the redirection.
    fn command(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("exec \"$0\" {}", self.redirection)]).arg(&self.binary);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").envs(&self.env);
        command
    }
}

/// How much of an input is worth printing.
const SHOWN: usize = 2000;

impl fmt::Display for Plugin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.env.iter().try_for_each(|(key, value)| write!(out, "{key}={value} "))?;
        let shown = &self.stdin[..self.stdin.len().min(SHOWN)];
        write!(out, "{} {}\n{}", self.binary.display(), self.redirection, String::from_utf8_lossy(shown))
    }
}

/// What a plugin has said.
#[derive(Clone, Debug)]
pub struct Answer {
    call: String,
    status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it logged.
    pub stderr: String,
}

/// An error document of the protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// The code of the SPEC.
    pub code: u64,
    /// The short text.
    pub msg: String,
    /// The long text, or nothing.
    pub details: String,
}

impl Answer {
    pub(crate) fn new(call: String, output: Output) -> Self {
        Self {
            call,
            status: output.status,
            stdout: String::from_utf8(output.stdout).expect("plugins print UTF-8"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Whether it succeeded.
    #[must_use]
    pub fn succeeded(&self) -> bool {
        self.status.success()
    }

    /// The result of a success; null when nothing was printed.
    ///
    /// # Panics
    /// When the plugin failed.
    pub fn ok(&self) -> Value {
        assert!(self.succeeded(), "a failure\n{self}");
        self.documents().pop().unwrap_or_default()
    }

    /// The error of a failure.
    ///
    /// # Panics
    /// When the plugin did not end with status 1 and an error document.
    #[must_use]
    pub fn failure(&self) -> Failure {
        assert_eq!(self.status.code(), Some(1), "not a failure\n{self}");
        let document = self.documents().pop().unwrap_or_else(|| panic!("no error document\n{self}"));
        let text = |key: &str| document[key].as_str().unwrap_or_default().to_owned();
        let code = document["code"].as_u64().unwrap_or_else(|| panic!("no code\n{self}"));
        Failure { code, msg: text("msg"), details: text("details") }
    }

    /// Asserts a failure with this code and text; `*` in the text is any text.
    ///
    /// # Panics
    /// When it is another.
    pub fn assert_failed(&self, code: u64, msg: &str) {
        let failure = self.failure();
        let same = match msg.split_once('*') {
            Some((start, end)) => failure.msg.starts_with(start) && failure.msg.ends_with(end),
            None => failure.msg == msg,
        };
        assert!(failure.code == code && same, "expected {code}: {msg}\n{self}");
    }

    /// The JSON documents that were printed, of which there should be one at most.
    ///
    /// # Panics
    /// When something else was printed.
    #[must_use]
    pub fn documents(&self) -> Vec<Value> {
        let documents: Result<Vec<Value>, _> = Deserializer::from_str(&self.stdout).into_iter().collect();
        documents.unwrap_or_else(|error| panic!("not JSON: {error}\n{self}"))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}\n{}\nstdout: {}\nstderr: {}", self.call, self.status, self.stdout, self.stderr)
    }
}
