//! A connection from inside to somewhere, and what its end means.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path;
use std::str::FromStr;
use std::time::{Duration, Instant};

use ::kernel::route;
use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::net::Connected;

use super::path::Path;
use super::report::word;
use super::{Report, names, refused};

/// Where to: an address or a name, and a port; an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    host: String,
    port: u16,
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad =
            || Error::new(format!("{text:?} is no HOST:PORT; an IPv6 address is written in brackets, as [fd00::1]:80"));
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let host = inner.unwrap_or(host);
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?;
        if host.is_empty() || inner.is_none() && host.contains(':') {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// How long a connection may take. A second attempt of the kernel's comes after one second, a third after three.
const PATIENCE: Duration = Duration::from_secs(4);

pub(super) fn check(report: &mut Report, path: &mut Path, files: &path::Path, to: &Destination) -> Result<()> {
    let addresses = match to.host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => {
            let (found, who) = names::look_up(path, files, &to.host)?;
            if found.is_empty() {
                let fix = path.command(&format!("nslookup {}", word(&to.host)));
                report.bad("name", format!("{} is not known inside: {who}", to.host), fix);
                return Ok(());
            }
            let texts: Vec<String> = found.iter().map(ToString::to_string).collect();
            report.ok("name", format!("{} is {}, says {who}", to.host, texts.join(", ")));
            found
        }
    };
    let mut refusals = Vec::new();
    for address in addresses {
        let at = SocketAddr::new(address, to.port);
        let begin = Instant::now();
        match path.visit(|| TcpStream::connect_timeout(&at, PATIENCE))? {
            Ok(stream) => {
                let from = stream.local_addr().map(|local| format!(" from {}", local.ip())).unwrap_or_default();
                let milliseconds = begin.elapsed().as_millis();
                report.ok("connection", format!("{at} answered{from} after {milliseconds} ms"));
                return Ok(());
            }
            Err(error) => refusals.push((at, error)),
        }
    }
    // Of several addresses the last is as good as any: all have refused.
    if let Some((at, error)) = refusals.pop() {
        let (seen, fix) = meaning(path, at, &error)?;
        report.bad("connection", seen, fix);
    }
    Ok(())
}

/// What a failure to connect says, and where to look.
fn meaning(path: &mut Path, at: SocketAddr, error: &std::io::Error) -> Result<(String, String)> {
    let (ip, port) = (at.ip(), at.port());
    Ok(match (error.kind(), error.raw_os_error().map(Errno::from_raw)) {
        (ErrorKind::TimedOut, _) => (
            format!(
                "no answer from {at} within {} seconds: packets or answers are dropped on the way",
                PATIENCE.as_secs()
            ),
            format!("tcpdump -ni any host {ip} and port {port}"),
        ),
        (ErrorKind::ConnectionRefused, _) => (
            format!("{at} refuses: the machine is there, and nobody listens at port {port}, or a filter rejects it"),
            there(path, ip, &format!("ss -lnt 'sport = :{port}'"))?,
        ),
        (_, Some(Errno::ENETUNREACH)) if has_route(path, ip)? => {
            (format!("a router on the way, this host first, has no route to {ip}"), format!("ip route get {ip}"))
        }
        (_, Some(Errno::ENETUNREACH)) => {
            (format!("there is no route to {ip} inside"), path.command(&format!("ip route get {ip}")))
        }
        (_, Some(Errno::EHOSTUNREACH)) => (
            format!("{ip} cannot be reached: nobody has the address on the last link, or a router says so"),
            path.command(&format!("ip neighbour show to {ip}")),
        ),
        (_, Some(Errno::EPERM | Errno::EACCES)) => {
            (format!("connecting to {at} is forbidden by a filter inside"), path.command("nft list ruleset"))
        }
        _ => (format!("{at}: {error}"), path.command(&format!("ip route get {ip}"))),
    })
}

fn has_route(path: &mut Path, ip: IpAddr) -> Result<bool> {
    let answers = path.inside.exchange(&[route::get(ip)]).map_err(refused)?;
    Ok(answers.iter().all(std::result::Result::is_ok))
}

/// `command`, as it is typed to be run on the machine or in the container that has `ip`.
fn there(path: &mut Path, ip: IpAddr, command: &str) -> Result<String> {
    if ip.is_loopback() || path.assigned().contains(&ip) {
        return Ok(path.command(command));
    }
    let all: Vec<_> = path.store.ids()?.iter().filter_map(|id| Connected::read(&path.store, id)).collect();
    let has = |other: &Connected| other.endpoints.iter().any(|e| e.addresses.iter().any(|a| a.address == ip));
    if let Some(other) = all.into_iter().find(has) {
        return Ok(format!("xnet netns exec {} {command}", other.title()));
    }
    let here = path.host.is_local(ip).map_err(refused)?;
    Ok(if here { command.to_owned() } else { format!("ssh {ip} {command:?}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_hosts_with_ports() {
        let parse = |text: &str| text.parse::<Destination>().map(|to| (to.host, to.port)).map_err(|e| e.message);
        assert_eq!(parse("example.org:443"), Ok(("example.org".into(), 443)));
        assert_eq!(parse("[fd00::1]:80"), Ok(("fd00::1".into(), 80)));
        for text in ["example.org", "fd00::1:80", ":80", "x:0", "x:http", "[]:1"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
