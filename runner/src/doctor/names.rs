//! Names as the container knows them: its own `hosts`, then its own name servers, asked from inside (RFC 1035).
//!
//! The C library would ask the host's servers by the host's files, which is another question.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path;
use std::time::Duration;

use crate::error::{Context, Result};
use crate::id::Name;

use super::path::Path;

/// How long one server has for one answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a file of names.
const LONGEST: u64 = 1 << 20;
/// Types of records.
const A: u16 = 1;
const AAAA: u16 = 28;
const HEADER: usize = 12;

/// The servers of a `resolv.conf` in the directory `files`.
pub(super) fn servers(files: &path::Path) -> Vec<IpAddr> {
    let text = read(&files.join("resolv.conf"));
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let is_one = words.next() == Some("nameserver");
        words.next().filter(|_| is_one)?.split('%').next()?.parse().ok()
    };
    text.lines().filter_map(server).collect()
}

/// The addresses of `name`; none if nobody knows it. With them who has said so.
pub(super) fn look_up(path: &Path, files: &path::Path, name: &str) -> Result<(Vec<IpAddr>, String)> {
    let hosts = read(&files.join("hosts"));
    let known = in_hosts(&hosts, name);
    if !known.is_empty() {
        return Ok((known, "/etc/hosts".to_owned()));
    }
    let (servers, mut silent) = (servers(files), Vec::new());
    for server in &servers {
        match ask(path, *server, name)? {
            Some(found) => return Ok((found, format!("name server {server}"))),
            None => silent.push(server.to_string()),
        }
    }
    let who = if servers.is_empty() {
        "there is no name server".to_owned()
    } else {
        format!("no answer from {}", silent.join(", "))
    };
    Ok((Vec::new(), who))
}

/// A file that the container can write to, as far as anybody reads it.
fn read(path: &path::Path) -> String {
    let mut bytes = Vec::new();
    let _ = File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn in_hosts(text: &str, name: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then_some(address)
    };
    text.lines().filter_map(line).collect()
}

/// What `server` says; none if it says nothing.
fn ask(path: &Path, server: IpAddr, name: &str) -> Result<Option<Vec<IpAddr>>> {
    let any: IpAddr = if server.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
    let socket = path.visit(|| UdpSocket::bind((any, 0)))?.context(|| "open a socket inside")?;
    socket.set_read_timeout(Some(PATIENCE)).context(|| "wait for a name server")?;
    if socket.connect(SocketAddr::new(server, 53)).is_err() {
        return Ok(None);
    }
    let mut all = Vec::new();
    for kind in [A, AAAA] {
        let id = u16::from_str_radix(Name::random()?.as_str().get(..4).unwrap_or("0"), 16).unwrap_or_default();
        let Some(question) = question(id, name, kind) else { return Ok(Some(Vec::new())) };
        let mut answer = vec![0; 4096];
        let Ok(length) = socket.send(&question).and_then(|_| socket.recv(&mut answer)) else { return Ok(None) };
        answer.truncate(length);
        all.extend(addresses(&answer, id).unwrap_or_default());
    }
    Ok(Some(all))
}

/// A question with the wish for recursion; none for what can't be a name.
fn question(id: u16, name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length))?;
        message.push(length);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend(1_u16.to_be_bytes());
    Some(message)
}

/// The addresses in an answer to the question `id`.
fn addresses(answer: &[u8], id: u16) -> Option<Vec<IpAddr>> {
    let number = |at: usize| Some(u16::from_be_bytes(*answer.get(at..)?.first_chunk()?));
    if number(0)? != id || answer.get(2)? & 0x80 == 0 {
        return None;
    }
    let mut at = HEADER;
    for _ in 0..number(4)? {
        at = skip_name(answer, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..number(6)? {
        at = skip_name(answer, at)?;
        let (kind, length) = (number(at)?, usize::from(number(at + 8)?));
        let data = answer.get(at + 10..at + 10 + length)?;
        match (kind, length) {
            (A, 4) => found.extend(<[u8; 4]>::try_from(data).map(IpAddr::from)),
            (AAAA, 16) => found.extend(<[u8; 16]>::try_from(data).map(IpAddr::from)),
            _ => {}
        }
        at += 10 + length;
    }
    Some(found)
}

/// What follows the name at `at`, which ends with an empty label or points to the rest of it.
fn skip_name(answer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *answer.get(at)? {
            0 => return Some(at + 1),
            length if length >= 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whatever_else_is_in_them() {
        let mut answer = question(7, "www.example.org", A).unwrap();
        (answer[2], answer[7]) = (0x81, 2);
        // An alias, and the address of what it stands for.
        answer.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, b'x', 0xc0, 16]);
        answer.extend([1, b'x', 0xc0, 16, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        assert_eq!(addresses(&answer, 7), Some(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(addresses(&answer, 8), None);
        for cut in 0..answer.len() {
            assert!(addresses(&answer[..cut], 7).is_none_or(|found| found.is_empty()));
        }
        assert!(question(7, "a..b", A).is_none() && question(7, &"x".repeat(64), A).is_none());
    }

    #[test]
    fn hosts_are_known_by_all_their_names() {
        let text = "127.0.0.1 localhost\n10.0.0.2 db db.net # of container x\n# 10.0.0.3 web\n";
        assert_eq!(in_hosts(text, "DB.net"), ["10.0.0.2".parse::<IpAddr>().unwrap()]);
        assert!(in_hosts(text, "web").is_empty() && in_hosts(text, "x").is_empty());
    }
}
