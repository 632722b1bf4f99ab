//! Buses of all kinds: none, a real one, and such as make others wait.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::bus::{Bus, Error as BusError, Method};

/// Longer than a plugin waits for a bus, and shorter than anybody else would.
const BOUND: Duration = Duration::from_secs(6);

/// A process that ends with the test.
#[derive(Debug)]
pub(super) struct Process(pub(super) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bus of one's own, on which everybody may have any name. Returns when it is there.
pub(super) fn private_bus() -> (Process, String) {
    const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
        "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
        <busconfig><type>system</type><listen>unix:path=/run/private-bus</listen><auth>EXTERNAL</auth>
        <policy context="default"><allow user="*"/><allow own="*"/><allow send_type="method_call"/>
        <allow send_destination="*"/><allow receive_sender="*"/></policy></busconfig>"#;
    std::fs::write("/run/bus.conf", CONFIG).unwrap();
    let mut daemon = Command::new("dbus-daemon")
        .args(["--config-file=/run/bus.conf", "--nofork", "--nopidfile", "--print-address"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("dbus-daemon is installed");
    let mut first = [0; 1];
    daemon.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    (Process(daemon), "unix:path=/run/private-bus".to_owned())
}

fn connect(address: &str) -> Result<Bus, BusError> {
    Bus::system(Some(OsStr::new(address)))
}

#[test]
fn a_real_bus_answers() {
    namespace(|| {
        let (_daemon, address) = private_bus();
        let mut bus = connect(&address).unwrap();
        assert_eq!(bus.has_owner("org.freedesktop.DBus"), Ok(true));
        assert_eq!(bus.has_owner("org.fedoraproject.FirewallD1"), Ok(false));
        let nonsense = Method {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member: "Nonsense",
            may_start: false,
        };
        let refused = bus.call(&nonsense, &["a", "b"], BOUND);
        assert!(matches!(refused, Err(BusError::Refused { name, .. }) if name.ends_with(".UnknownMethod")));
        assert_eq!(bus.has_owner("org.freedesktop.DBus"), Ok(true));
        // The first socket of a list that is there is taken.
        connect(&format!("unix:path=/run/none;tcp:host=localhost;{address}")).unwrap();
    });
}

#[test]
fn without_firewalld_there_are_other_back_ends() {
    namespace(|| {
        let (_daemon, address) = private_bus();
        for address in [address.as_str(), "unix:path=/run/none", "tcp:host=localhost"] {
            let attachment = Fixture::new("c1", "br1", &["10.77.0.2/24"], "").on_bus(address);
            attachment.add().unwrap();
            assert_eq!(attachment.check(), None);
            assert!(shell("nft list ruleset").contains("10.77.0.2"));
            attachment.status().unwrap();
            attachment.del().unwrap();
        }
    });
}

#[test]
fn firewalld_that_is_asked_for_must_be_there() {
    namespace(|| {
        let asked = |address: &str| {
            let config = r#""backend": "firewalld", "ingressPolicy": "isolated""#;
            let attachment = Fixture::new("c1", "br1", &["10.77.0.2/24"], config).on_bus(address);
            let (added, status) = (attachment.add().unwrap_err(), attachment.status().unwrap_err());
            assert_eq!(status.code, Code::PLUGIN_NOT_AVAILABLE);
            assert_eq!(attachment::elements(), [""; 0]);
            attachment.del().unwrap();
            (added.msg, status.msg)
        };
        let (added, status) = asked("unix:path=/run/none");
        let expected = "firewalld can't be used: there is no system bus (/run/none: no such file or directory)";
        assert_eq!((added.as_str(), status.as_str()), (expected, expected));
        let (_daemon, address) = private_bus();
        let (added, status) = asked(&address);
        assert_eq!(
            added,
            "failed to add the address 10.77.0.2/32 to trusted zone: \
             The name org.fedoraproject.FirewallD1 was not provided by any .service files"
        );
        assert_eq!(status, "firewalld does not run");
        assert!(!shell("nft list ruleset").contains("10.77.0.2"));
    });
}

/// What a bus does that is none.
type Behaviour = fn(UnixStream);

/// Calls the plugin while such a bus is there.
fn with_bus(behaviour: Behaviour) {
    namespace(|| {
        let listener = UnixListener::bind("/run/odd-bus").unwrap();
        thread::spawn(move || {
            listener
                .incoming()
                .filter_map(Result::ok)
                .for_each(|stream| drop(thread::spawn(move || behaviour(stream))));
        });
        judge("unix:path=/run/odd-bus");
    });
}

/// Whatever the bus does, nobody waits for long, and nobody fails who does not need it.
fn judge(address: &str) {
    let attachment = Fixture::new("c1", "br1", &["10.77.0.2/24"], "").on_bus(address);
    let start = Instant::now();
    attachment.add().unwrap();
    assert!(shell("nft list set inet xnet_firewall addresses4").contains("10.77.0.2"));
    attachment.del().unwrap();
    assert!(start.elapsed() < BOUND, "{:?}", start.elapsed());
    assert_eq!(attachment::elements(), [""; 0]);
    let asked = Fixture::new("c1", "br1", &["10.77.0.2/24"], r#""backend": "firewalld""#).on_bus(address);
    assert!(asked.add().unwrap_err().msg.starts_with("firewalld can't be used: "));
    assert!(start.elapsed() < 2 * BOUND, "{:?}", start.elapsed());
}

#[test]
fn a_bus_that_says_nothing() {
    with_bus(|mut stream| drop(stream.read_to_end(&mut Vec::new())));
}

#[test]
fn a_bus_that_hangs_up() {
    with_bus(drop);
}

#[test]
fn a_bus_that_refuses() {
    with_bus(|mut stream| drop(stream.write_all(b"REJECTED EXTERNAL\r\n")));
}

#[test]
fn a_bus_that_talks_nonsense() {
    with_bus(|mut stream| drop(stream.write_all(&[b'x'; 1 << 16])));
    with_bus(|mut stream| {
        let _ = stream.write_all(b"OK 0123\r\n");
        let _ = stream.write_all(&[0xff; 1 << 16]);
    });
}

#[test]
fn a_bus_that_talks_forever() {
    with_bus(|mut stream| {
        let _ = stream.write_all(b"OK 0123\r\n");
        let signal = b"l\x04\0\x01\0\0\0\0\x01\0\0\0\0\0\0\0";
        while stream.write_all(signal).is_ok() {}
    });
    with_bus(|mut stream| {
        while stream.write_all(b"O").is_ok() && stream.flush().is_ok() {
            thread::sleep(Duration::from_millis(100)); // or it would be talking nonsense at once
        }
    });
}

#[test]
fn a_bus_that_does_not_accept() {
    namespace(|| {
        let listener = UnixListener::bind("/run/odd-bus").unwrap();
        let mut waiting = Vec::new();
        // Until its queue is full.
        while let Ok(stream) = nonblocking("/run/odd-bus") {
            waiting.push(stream);
        }
        judge("unix:path=/run/odd-bus");
        drop((listener, waiting));
    });
}

fn nonblocking(path: &str) -> nix::Result<std::os::fd::OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    use std::os::fd::AsRawFd;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}
