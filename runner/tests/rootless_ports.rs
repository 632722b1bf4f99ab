//! Ports that somebody without root publishes, through the programs that carry packets, where those are installed.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod person;
mod sandbox;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};

use person::Person;
use sandbox::{Ended, eventually};

/// The host's address, on a link that leads to nobody.
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Somebody on a host of one's own with a way out, where anybody may make tunnels, and `program` is installed.
fn person(program: &str) -> Option<Person> {
    let installed = Path::new("/usr/bin").join(program);
    if !installed.exists() {
        eprintln!("skipped: {program} is not installed");
        return None;
    }
    let person = Person::new();
    let device = person.sandbox.path("tun");
    mknod(&device, SFlag::S_IFCHR, Mode::empty(), makedev(10, 200)).unwrap();
    fs::set_permissions(&device, fs::Permissions::from_mode(0o666)).unwrap();
    if fs::File::open(&device).is_err() || !Path::new("/dev/net/tun").exists() {
        eprintln!("skipped: this kernel makes no tunnels");
        return None;
    }
    mount(Some(&device), "/dev/net/tun", None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
    symlink(installed, person.sandbox.path("bin").join(program)).unwrap();
    let address = format!("{HOST}/24");
    for words in [
        &["link", "set", "lo", "up"][..],
        &["link", "add", "up0", "type", "veth", "peer", "name", "far0"],
        &["link", "set", "far0", "up"],
        &["link", "set", "up0", "up"],
        &["addr", "add", &address, "dev", "up0"],
        &["route", "add", "default", "via", "192.0.2.1"],
    ] {
        assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
    }
    import(&person);
    Some(person)
}

/// Sends back what comes, over TCP and over UDP, at the port of its argument.
const ECHO: &str = r"
#include <arpa/inet.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(words[1]))}, from;
    socklen_t length = sizeof from;
    char text[99];
    int stream = socket(AF_INET, SOCK_STREAM, 0), packets = socket(AF_INET, SOCK_DGRAM, 0), one = 1, got;
    setsockopt(stream, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(stream, (void *)&at, sizeof at) || listen(stream, 9) || bind(packets, (void *)&at, sizeof at)) return 1;
    if (!fork())
        for (;;) {
            int with = accept(stream, 0, 0);
            got = read(with, text, sizeof text);
            if (got > 0) write(with, text, got);
            close(with);
        }
    for (;;) {
        length = sizeof from;
        got = recvfrom(packets, text, sizeof text, 0, (void *)&from, &length);
        if (got > 0) sendto(packets, text, got, 0, (void *)&from, length);
    }
}
";

fn import(person: &Person) {
    person.sandbox.program("echoes", ECHO);
    let tar = person.sandbox.path("root.tar");
    let root = person.sandbox.rootfs();
    assert!(Command::new("tar").arg("-C").arg(root).arg("-cf").arg(&tar).arg(".").status().unwrap().success());
    assert_eq!(person.xnet(&["import", tar.to_str().unwrap(), "bb"]).code, 0);
}

/// What comes back from there over TCP; nothing if nobody is there.
fn over_tcp(port: u16) -> Option<String> {
    let mut stream =
        TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Duration::from_secs(5)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.write_all(b"stream").ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// What comes back from there over UDP.
fn over_udp(address: Ipv4Addr, port: u16) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.send_to(b"packet", (address, port)).ok()?;
    let mut buffer = [0; 99];
    let length = socket.recv(&mut buffer).ok()?;
    Some(buffer[..length].to_vec())
}

/// The port of the host that leads to port 80 of `c`.
fn port(person: &Person) -> u16 {
    let said = person.xnet(&["port", "c", "80"]).stdout;
    said.lines().next().and_then(|line| line.rsplit_once(':')).unwrap().1.parse().unwrap()
}

fn published_through(program: &str, udp: Ipv4Addr, more: &[(&str, &str)]) {
    let Some(person) = person(program) else { return };
    let net = format!("--net={program}");
    let ports = ["-p", "80", "-p", "127.0.0.1:8081:81", "-p", "5353:5353/udp"];
    let script = "echoes 80 & echoes 81 & exec echoes 5353";
    let words = [&["run", "-d", "--name=c", &net][..], &ports, &["bb", "sh", "-c", script]].concat();
    let started = person.xnet(&words);
    assert_eq!(started.code, 0, "{}", started.stderr);
    let first = port(&person);
    let answers = |port: u16| eventually("a stream comes back", || over_tcp(port).as_deref() == Some("stream"));
    answers(first);
    answers(8081);
    eventually("a packet comes back", || over_udp(udp, 5353).as_deref() == Some(b"packet"));
    let taken = format!("{first}:80");
    person.xnet(&["run", "--rm", &net, "-p", &taken, "bb", "echo", "ran"]).expect_refusal(125, "is taken");
    person.xnet(&["restart", "-t", "0", "c"]).expect(0, "c");
    answers(port(&person));
    let last = port(&person);
    person.xnet(&["rm", "-f", "c"]).expect(0, "c");
    eventually("nobody listens any more", || over_tcp(last).is_none() && over_tcp(8081).is_none());
    let refused = [("81:80", "ip_unprivileged_port_start"), ("80/sctp", "carries TCP and UDP only")];
    for (port, text) in refused.iter().chain(more) {
        person.xnet(&["run", "--rm", &net, "-p", port, "bb", "echo", "ran"]).expect_refusal(125, text);
    }
    person.assert_clean();
}

/// Requirement: S1-U2, F-ports, F-rootless.
#[test]
fn pasta_publishes_ports() {
    published_through("pasta", Ipv4Addr::LOCALHOST, &[]);
}

/// Its answers over UDP reach everybody but those who come from the host's loopback, which it is to keep away from.
///
/// Requirement: S1-U2, F-ports, F-rootless.
#[test]
fn slirp4netns_publishes_ports() {
    published_through("slirp4netns", HOST, &[("[::1]:8080:80", "IPv4 addresses only")]);
}

/// A program that is installed is of no use to somebody who may not make tunnels.
///
/// Requirement: S1-U2, F-rootless.
#[test]
fn without_tunnels_there_is_no_network() {
    let person = Person::new();
    sandbox::executable(&person.sandbox.path("bin/slirp4netns"), "#!/bin/sh\nexit 1\n");
    if !person.may_open_tunnels(0o600) {
        eprintln!("skipped: this kernel makes no tunnels");
        return;
    }
    let run = |options: &[&str]| person.xnet(&[&["run", "--rm"], options, &["--", "echo", "ran"]].concat());
    let Ended { code, stdout, stderr } = run(&[]);
    assert_eq!((code, stdout.as_str()), (0, "ran\n"), "{stderr}");
    assert!(stderr.contains("no network") && stderr.contains("slirp4netns needs /dev/net/tun"), "{stderr}");
    run(&["--net=slirp4netns"]).expect_refusal(125, "/dev/net/tun, which you may not open");
    run(&["-p", "80"]).expect_refusal(125, "/dev/net/tun, which you may not open");
}
