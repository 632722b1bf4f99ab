//! One call of a plugin: a process, timed from its start to its end.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use harness::Netns;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::Value;

use crate::host::Host;

/// How long a plugin may be silent. The slowest call here takes a second.
const PATIENCE: u16 = 30_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Add,
    Del,
}

impl Verb {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
        }
    }
}

/// A call in the making; the environment is that of a runtime.
pub(crate) struct Call {
    binary: PathBuf,
    env: [(&'static str, String); 6],
    stdin: Vec<u8>,
    host: Netns,
    may_fail: bool,
}

impl Call {
    pub(crate) fn new(host: &Host<'_>, plugin: &str, verb: Verb, netns: &Netns, config: &Value) -> Self {
        let dir = host.side.suite.dir();
        let env = [
            ("CNI_COMMAND", verb.name().to_owned()),
            ("CNI_CONTAINERID", netns.name().to_owned()),
            ("CNI_IFNAME", if plugin == "loopback" { "lo" } else { "eth0" }.to_owned()),
            ("CNI_NETNS", netns.path().to_owned()),
            ("CNI_PATH", dir.to_str().expect("the directory is UTF-8").to_owned()),
            ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
        ];
        let stdin = config.to_string().into_bytes();
        Self { binary: dir.join(plugin), env, stdin, host: host.netns.clone(), may_fail: false }
    }

    /// The same call about another container.
    pub(crate) fn about(mut self, container: &str) -> Self {
        self.env[1].1 = container.to_owned();
        self
    }

    /// The same call, whatever its exit status.
    pub(crate) fn forgiven(mut self) -> Self {
        self.may_fail = true;
        self
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    /// Runs the plugin itself.
    pub(crate) fn run(&self) -> Result<Done, String> {
        self.run_as(Command::new(&self.binary))
    }

    /// Runs a command in the plugin's place.
    pub(crate) fn run_as(&self, command: Command) -> Result<Done, String> {
        self.host.enter(|| self.run_here(command))
    }

    fn run_here(&self, mut command: Command) -> Result<Done, String> {
        command.env_clear().envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |what: &str| format!("{} {}: {what}", self.env[0].1, self.binary.display());

        let start = Instant::now();
        let mut child = command.spawn().map_err(|error| failed(&error.to_string()))?;
        let (status, stdout) = attend(&mut child, &self.stdin).map_err(failed)?;
        let time = start.elapsed();

        let mut stderr = String::new();
        child.stderr.take().expect("stderr is a pipe").read_to_string(&mut stderr).expect("plugins log UTF-8");
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        if !status.success() && !self.may_fail {
            return Err(failed(format!("{status}\n{stdout}\n{stderr}").trim_end()));
        }
        Ok(Done { time, stdout, stderr })
    }
}

/// A call that has succeeded.
pub(crate) struct Done {
    pub(crate) time: Duration,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Feeds a child and waits for its end. What it logs stays in the pipe meanwhile: it is little.
fn attend(child: &mut Child, stdin: &[u8]) -> Result<(ExitStatus, Vec<u8>), &'static str> {
    // A child that has ended before it was fed says why by its status.
    let _ = child.stdin.take().expect("stdin is a pipe").write_all(stdin);
    let stdout = drain(child.stdout.take().expect("stdout is a pipe"));
    if stdout.is_none() {
        child.kill().expect("kill a child");
    }
    let status = child.wait().expect("wait for a child");
    stdout.map(|stdout| (status, stdout)).ok_or("has been silent for half a minute, and was killed")
}

/// All that a child prints, or nothing when it is silent for too long.
fn drain(mut pipe: ChildStdout) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(PATIENCE)).expect("poll a pipe") == 0 {
            return None;
        }
        match pipe.read(&mut buffer).expect("read from a pipe") {
            0 => return Some(bytes),
            count => bytes.extend(&buffer[..count]),
        }
    }
}
