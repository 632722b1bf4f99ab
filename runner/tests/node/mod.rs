//! A sandbox that is a whole machine for networks: empty /var/lib, /etc/cni and /run, and a neighbour on its LAN.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::JoinHandle;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::sandbox::{Ended, Running, Sandbox};

/// A sandbox without leases, networks and names of the host.
pub fn node() -> Sandbox {
    let sandbox = Sandbox::new();
    for dir in ["/var/lib", "/run", "/etc/cni"] {
        let _ = fs::create_dir_all(dir);
        if fs::metadata(dir).is_ok() {
            mount(Some("tmpfs"), dir, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        }
    }
    ip("link set lo up");
    sandbox
}

/// `ip ARGS`, which must succeed.
pub fn ip(args: &str) -> String {
    let ended = Ended::of(Command::new("ip").args(args.split(' ')));
    assert_eq!(ended.code, 0, "ip {args}: {}", ended.stderr);
    ended.stdout
}

/// A machine on the host's LAN: a namespace `lan` at 192.0.2.9, the host being 192.0.2.1 and 2001:db8::1.
pub fn lan() {
    ip("netns add lan");
    ip("link add out type veth peer name eth0 netns lan");
    ip("addr add 192.0.2.1/24 dev out");
    ip("-6 addr add 2001:db8::1/64 dev out nodad");
    ip("link set out up");
    ip("-n lan addr add 192.0.2.9/24 dev eth0");
    ip("-n lan -6 addr add 2001:db8::9/64 dev eth0 nodad");
    ip("-n lan link set eth0 up");
}

/// A TCP server in the container that says its peer's address and goes on.
pub const SERVER: &str = "echo up; while :; do echo hello | busybox nc -l -p 80; done";

/// What a connection to `address` brings; empty when there is none.
pub fn ask(address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    // The server begins to listen a moment after it has said that it is up, and anew after each connection.
    for _ in 0..100 {
        if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) {
            stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            let mut text = String::new();
            let _ = stream.write_all(b"\n");
            if stream.read_to_string(&mut text).is_ok() && !text.is_empty() {
                return text.trim().to_owned();
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    String::new()
}

/// The same, asked with the tools of `program ARGS` in front, such as `ip netns exec lan`.
pub fn ask_by(prefix: &str, address: &str, port: u16) -> String {
    let script = format!(
        "i=0; while [ $i -lt 100 ]; do r=$(busybox nc -w 1 {address} {port} </dev/null 2>/dev/null); \
         [ -n \"$r\" ] && echo $r && exit; i=$((i+1)); sleep 0.02; done"
    );
    let words: Vec<&str> = prefix.split(' ').collect();
    Ended::of(Command::new(words[0]).args(&words[1..]).args(["sh", "-c", &script])).stdout.trim().to_owned()
}

/// The pinned namespace of the container whose `net.json` this is.
pub fn netns(connected: &Value) -> PathBuf {
    connected["netns"].as_str().unwrap().into()
}

/// Does `work` inside a network namespace, in a thread of its own.
pub fn inside<T: Send + 'static>(netns: &Path, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let netns = fs::File::open(netns).unwrap();
    std::thread::spawn(move || {
        setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
        work()
    })
}

/// The only container's `net.json`.
pub fn connected(sandbox: &Sandbox) -> Value {
    let files: Vec<PathBuf> = fs::read_dir(sandbox.path("state"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path().join("net.json"))
        .filter(|path| path.exists())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap()
}

/// Its first IPv4 address.
pub fn address(sandbox: &Sandbox) -> Ipv4Addr {
    connected(sandbox)["endpoints"][0]["addresses"][0]["address"].as_str().unwrap().parse().unwrap()
}

/// Ends a container, and waits.
pub fn end(running: Running) {
    running.signal(nix::sys::signal::Signal::SIGTERM);
    running.wait();
}

/// `xnet ARGS`, ended.
pub fn xnet(sandbox: &Sandbox, args: &[&str]) -> Ended {
    Ended::of(&mut sandbox.command(args))
}
