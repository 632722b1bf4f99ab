//! A way out for containers of somebody who may not make networks: a program that reads packets at an interface of the
//! container's and has connections of its own for them.
//!
//! It is started when the namespace is pinned, and has its interface ready before the container's command is executed. It is on
//! record like a process of the container's and goes with the run. What comes in is what arrives at a published port: there the
//! program listens itself. pasta is told so by its options, slirp4netns over a socket, one request a connection.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::unistd::{Pid, pipe2};
use serde_json::{Value, json};

use crate::error::{Context, Error, Result};
use crate::spec::{Carrier, Net, Protocol, Publish};
use crate::state::{Container, Record, Task};

use super::ports::{Mapping, Reserved, wanted};

/// What is said to go wrong, in the container's directory of passing things.
const LOG: &str = "carrier.log";
const PIDFILE: &str = "carrier.pid";
const SOCKET: &str = "carrier.sock";

/// Refuses ports that `carrier` cannot publish.
///
/// # Errors
/// It says which, and why.
fn check(carrier: Carrier, ports: &[Publish]) -> Result<()> {
    ports.iter().try_for_each(|port| {
        let why = match (carrier, port.host_ip) {
            _ if port.protocol == Protocol::Sctp => "carries TCP and UDP only",
            (Carrier::Slirp4netns, Some(IpAddr::V6(_))) => "listens at IPv4 addresses only",
            _ => return Ok(()),
        };
        Err(Error::new(format!("--publish {}/{}: {carrier} {why}", port.container_port, port.protocol)))
    })
}

/// The ports that `net` publishes, which are free, and which `carrier` is going to take: it listens there itself, at the addresses
/// that it can have.
///
/// # Errors
/// One is taken, or `carrier` cannot publish it.
pub(super) fn ports(carrier: Carrier, net: &Net) -> Result<Reserved> {
    check(carrier, &wanted(net))?;
    let mut ports = Reserved::take(net)?;
    ports.release();
    if carrier == Carrier::Slirp4netns {
        for mapping in &mut ports.mappings {
            mapping.host_ip.get_or_insert(Ipv4Addr::UNSPECIFIED.into());
        }
    }
    Ok(ports)
}

/// Starts `carrier` for the namespace that is pinned at `netns`, listening at the host's side of `ports`. Answers the name servers
/// that the container has there.
///
/// # Errors
/// The program is not there, or has given up; then what it has said. Or somebody has taken a port meanwhile.
pub(super) fn start(
    carrier: Carrier,
    netns: &Path,
    ports: &[Mapping],
    container: &mut Container,
) -> Result<cni::result::Dns> {
    let program = carrier.find().ok_or_else(|| Error::new(format!("{carrier} is not installed")))?;
    let log = container.dir.join(LOG);
    let file = fs::File::create(&log).context(|| format!("create {}", log.display()))?;
    let mut command = Command::new(program);
    // A Ctrl-C at the terminal is meant for the container.
    command.process_group(0).current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let (started, server) = match carrier {
        Carrier::Slirp4netns => (slirp4netns(command, netns, ports, container), "10.0.2.3"),
        Carrier::Pasta => (pasta(command, netns, ports, container), FORWARDED),
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
fn slirp4netns(mut command: Command, netns: &Path, ports: &[Mapping], container: &mut Container) -> Result<()> {
    let (ready, theirs) = pipe2(OFlag::O_CLOEXEC).context(|| "make a pipe")?;
    if !ports.is_empty() {
        // From there the name is short enough for a socket's address, wherever the state directory is.
        command.current_dir(&container.dir).args(["--api-socket", SOCKET]);
    }
    command.args(["--configure", "--mtu=65520", "--disable-host-loopback", "--ready-fd=0", "--netns-type=path"]);
    let child = command.arg(netns).arg("tap0").stdin(theirs).spawn().context(|| "start slirp4netns")?;
    drop(command);
    let pid = Pid::from_raw(child.id().cast_signed());
    record(pid, container)?;
    let mut word = [0];
    File::from(ready).read_exact(&mut word).map_err(|_| Error::new("slirp4netns has ended"))?;
    ports.iter().try_for_each(|mapping| {
        let answer = ask(&container.dir, &add_hostfwd(mapping)).context(|| format!("publish port {mapping}"))?;
        match answer.pointer("/error/desc").and_then(Value::as_str) {
            None => Ok(()),
            Some(why) => Err(Error::new(format!("publish port {mapping}: slirp4netns answers {why:?}"))),
        }
    })
}

/// The request to listen at the host's side of `mapping`.
fn add_hostfwd(mapping: &Mapping) -> Value {
    let host = mapping.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED.into());
    json!({"execute": "add_hostfwd", "arguments": {
        "proto": mapping.protocol.as_str(), "host_addr": host.to_string(), "host_port": mapping.host_port,
        "guest_port": mapping.container_port,
    }})
}

/// Sends `request` to the slirp4netns whose socket is in `dir`, and answers what it says. It reads until the request ends.
fn ask(dir: &Path, request: &Value) -> Result<Value> {
    let dir = File::open(dir).context(|| "open the container's directory")?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    let mut answer = String::new();
    let mut talk = || -> std::io::Result<()> {
        let mut stream = UnixStream::connect(&path)?;
        stream.write_all(request.to_string().as_bytes())?;
        stream.shutdown(Shutdown::Write)?;
        stream.read_to_string(&mut answer).map(drop)
    };
    talk().context(|| "talk to slirp4netns")?;
    serde_json::from_str(&answer).context(|| format!("read the answer {answer:?}"))
}

/// The options for `ports`, and for all others: no other port of the container's is reached from the host, and none of the host's
/// from the container.
fn pasta_ports(ports: &[Mapping]) -> Vec<String> {
    let mut words: Vec<String> = ["-T", "none", "-U", "none"].map(str::to_owned).to_vec();
    for (option, protocol) in [("-t", Protocol::Tcp), ("-u", Protocol::Udp)] {
        let ports = ports.iter().filter(|mapping| mapping.protocol == protocol);
        let specs: Vec<_> = ports.map(pasta_port).collect();
        let specs = if specs.is_empty() { vec!["none".to_owned()] } else { specs };
        words.extend(specs.into_iter().flat_map(|spec| [option.to_owned(), spec]));
    }
    words
}

/// `[ADDRESS/]PORT:PORT`.
fn pasta_port(mapping: &Mapping) -> String {
    let address = mapping.host_ip.map(|ip| format!("{ip}/")).unwrap_or_default();
    format!("{address}{}:{}", mapping.host_port, mapping.container_port)
}

/// Goes into the background when it is ready.
fn pasta(mut command: Command, netns: &Path, ports: &[Mapping], container: &mut Container) -> Result<()> {
    let pidfile = container.dir.join(PIDFILE);
    command.args(["--config-net", "--quiet", "--no-map-gw", "--dns-forward", FORWARDED]);
    command.args(pasta_ports(ports)).arg("--pid").arg(&pidfile);
    let status = command.arg("--netns").arg(netns).status().context(|| "start pasta")?;
    if !status.success() {
        return Err(Error::new(format!("pasta has ended with {status}")));
    }
    let text = fs::read_to_string(&pidfile).context(|| format!("read {}", pidfile.display()))?;
    let pid = text.trim().parse().map_err(|_| Error::new(format!("{} holds no number", pidfile.display())))?;
    record(Pid::from_raw(pid), container)?;
    // It goes on without those that it does not get.
    match ports.iter().find(|mapping| mapping.is_free()) {
        None => Ok(()),
        Some(mapping) => Err(Error::new(format!("pasta does not listen at port {} of the host", mapping.host_port))),
    }
}

fn record(pid: Pid, container: &mut Container) -> Result<()> {
    let Task { pid, start } = Task::of(pid);
    container.record(&Record::Process { pid, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_ip: Option<&str>, host_port: u16, container_port: u16, protocol: Protocol) -> Mapping {
        Mapping { host_ip: host_ip.map(|ip| ip.parse().unwrap()), host_port, container_port, protocol }
    }

    /// Requirement: S1-U2, F-ports.
    #[test]
    fn ports_are_told_in_each_programs_words() {
        let ports = [
            mapping(None, 8080, 80, Protocol::Tcp),
            mapping(Some("127.0.0.1"), 8081, 81, Protocol::Tcp),
            mapping(Some("::1"), 53, 5353, Protocol::Udp),
        ];
        let words = pasta_ports(&ports).join(" ");
        assert_eq!(words, "-T none -U none -t 8080:80 -t 127.0.0.1/8081:81 -u ::1/53:5353");
        assert_eq!(pasta_ports(&[]).join(" "), "-T none -U none -t none -u none");
        let expected = json!({"execute": "add_hostfwd", "arguments":
            {"proto": "tcp", "host_addr": "0.0.0.0", "host_port": 8080, "guest_port": 80}});
        assert_eq!(add_hostfwd(&ports[0]), expected);
        let publish = |text: &str| Publish::parse(text).unwrap();
        assert!(check(Carrier::Pasta, &publish("[::1]:53:5353/udp")).is_ok());
        assert!(check(Carrier::Slirp4netns, &publish("[::1]:53:5353/udp")).is_err());
        assert!(check(Carrier::Pasta, &publish("1/sctp")).is_err());
    }
}
