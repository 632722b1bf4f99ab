//! A way out for containers of somebody who may not make networks: a program that reads packets at an interface of the
//! container's and has connections of its own for them.
//!
//! It is started when the namespace is pinned, and has its interface ready before the container's command is executed. It is on
//! record like a process of the container's and goes with the run. Nothing comes in: ports are not published.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2};

use crate::error::{Context, Error, Result};
use crate::spec::Carrier;
use crate::state::{Container, Record, Task};

/// What is said to go wrong, in the container's directory of passing things.
const LOG: &str = "carrier.log";
const PIDFILE: &str = "carrier.pid";

/// Starts `carrier` for the namespace that is pinned at `netns`. Answers the name servers that the container has there.
///
/// # Errors
/// The program is not there, or has given up; then what it has said.
pub(super) fn start(carrier: Carrier, netns: &Path, container: &mut Container) -> Result<cni::result::Dns> {
    let program = carrier.find().ok_or_else(|| Error::new(format!("{carrier} is not installed")))?;
    let log = container.dir.join(LOG);
    let file = fs::File::create(&log).context(|| format!("create {}", log.display()))?;
    let mut command = Command::new(program);
    // A Ctrl-C at the terminal is meant for the container.
    command.process_group(0).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let (started, server) = match carrier {
        Carrier::Slirp4netns => (slirp4netns(command, netns, container), "10.0.2.3"),
        Carrier::Pasta => (pasta(command, netns, container), FORWARDED),
    };
    started.map_err(|error| {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let said = if lines.is_empty() { "it has said nothing".to_owned() } else { lines.join("; ") };
        Error::new(format!("the container's network: {error}: {said}"))
    })?;
    Ok(cni::result::Dns { nameservers: vec![server.to_owned()], ..Default::default() })
}

/// An address that nobody has; name servers' questions to it go to the host's server.
const FORWARDED: &str = "169.254.1.1";

/// Stays in the foreground, and says over a descriptor when it is ready: it gets that as its standard input.
fn slirp4netns(mut command: Command, netns: &Path, container: &mut Container) -> Result<()> {
    let (ready, theirs) = pipe2(OFlag::O_CLOEXEC).context(|| "make a pipe")?;
    command.args(["--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=0", "--netns-type=path"]);
    let child = command.arg(netns).arg("tap0").stdin(theirs).spawn().context(|| "start slirp4netns")?;
    drop(command);
    let pid = Pid::from_raw(child.id().cast_signed());
    record(pid, container)?;
    let mut word = [0];
    match fs::File::from(ready).read_exact(&mut word) {
        Ok(()) => Ok(()),
        Err(_) => Err(Error::new("slirp4netns has ended")),
    }
}

/// Goes into the background when it is ready.
fn pasta(mut command: Command, netns: &Path, container: &mut Container) -> Result<()> {
    let pidfile = container.dir.join(PIDFILE);
    command.args(["--config-net", "--quiet", "--no-map-gw", "--dns-forward", FORWARDED]);
    // No port of the container's is reached from the host, and none of the host's from the container.
    command.args(["-t", "none", "-u", "none", "-T", "none", "-U", "none", "--pid"]).arg(&pidfile);
    let status = command.arg("--netns").arg(netns).status().context(|| "start pasta")?;
    if !status.success() {
        return Err(Error::new(format!("pasta has ended with {status}")));
    }
    let text = fs::read_to_string(&pidfile).context(|| format!("read {}", pidfile.display()))?;
    let pid = text.trim().parse().map_err(|_| Error::new(format!("{} holds no number", pidfile.display())))?;
    record(Pid::from_raw(pid), container)
}

fn record(pid: Pid, container: &mut Container) -> Result<()> {
    let Task { pid, start } = Task::of(pid);
    container.record(&Record::Process { pid, start })
}
