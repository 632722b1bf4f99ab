//! A real firewalld, on a bus of its own, in a namespace of its own.

use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kernel::netns::NetNs;

use super::bus::{Process, private_bus};
use super::*;

/// Where `make firewalld` unpacks it.
fn unpacked() -> PathBuf {
    let told = std::env::var_os("XNET_FIREWALLD_DIR").map(PathBuf::from);
    let beside = std::env::current_exe().unwrap().ancestors().nth(4).map(|target| target.join("firewalld"));
    let folders = [told, beside, Some(PathBuf::from("/"))];
    let found = folders.into_iter().flatten().find(|folder| folder.join("usr/sbin/firewalld").exists());
    found.expect("firewalld: `make firewalld` unpacks it, XNET_FIREWALLD_DIR says where it is")
}

/// Runs `work` where firewalld runs, which knows of no interface, and drops what is in no zone that accepts.
fn with_firewalld(work: impl FnOnce(&str, Process) + Send) {
    namespace(|| {
        let (_daemon, address) = private_bus();
        let folder = unpacked();
        shell(&format!("cp -r {}/etc/firewalld /run/firewalld.etc", folder.display()));
        let firewalld = Command::new("/usr/bin/python3")
            .arg(folder.join("usr/sbin/firewalld"))
            .args(["--nofork", "--nopid", "--system-config", "/run/firewalld.etc", "--default-config"])
            .arg(folder.join("usr/lib/firewalld"))
            .args(["--log-file", "/run/firewalld.log"])
            .env("DBUS_SYSTEM_BUS_ADDRESS", &address)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let firewalld = Process(firewalld);
        let patience = Instant::now() + Duration::from_secs(60);
        while !is_there(&address) {
            assert!(Instant::now() < patience, "firewalld does not come up");
            thread::sleep(Duration::from_millis(20)); // our client waits for answers, not for news
        }
        work(&address, firewalld);
    });
}

fn is_there(address: &str) -> bool {
    Firewalld::running(Some(OsStr::new(address))).unwrap().is_some()
}

/// As an administrator asks, or another program.
fn call(address: &str, method: &str, zone: &str, source: &str) -> String {
    let interface = "org.fedoraproject.FirewallD1.zone";
    let whom = "--dest=org.fedoraproject.FirewallD1 /org/fedoraproject/FirewallD1";
    shell(&format!(
        "dbus-send --bus={address} --print-reply=literal {whom} {interface}.{method} string:{zone} string:{source}"
    ))
}

fn is_in(address: &str, zone: &str, source: &str) -> bool {
    call(address, "querySource", zone, source).contains("true")
}

const NOTES: &str = "nft list table inet xnet_firewalld 2>/dev/null || true";

fn attachment(address: &str) -> Fixture {
    Fixture::new("c1", "br1", &["10.77.0.2/24", "fd00::2/64"], "").on_bus(address)
}

const V4: &str = "10.77.0.2/32";
const V6: &str = "fd00::2/128";

#[test]
fn sources_come_and_go() {
    with_firewalld(|address, _firewalld| {
        let attachment = attachment(address);
        attachment.status().unwrap();
        for source in [V4, V6] {
            assert!(!is_in(address, "trusted", source));
        }
        let missing = "failed to find the address 10.77.0.2/32 in trusted zone";
        assert_eq!(
            attachment.check().as_deref(),
            Some(
                "missing: nft add element inet xnet_firewalld sources4 { 10.77.0.2 comment \"43d91f8451058a70-f4d01f2ef4b92245, net: n1, if: eth0, id: c1\" }"
            )
        );
        let deletions: [Deletion; 3] =
            [Fixture::del, Fixture::del_without_result, |attachment| attachment.collect(&[])];
        for delete in deletions {
            attachment.add().unwrap();
            attachment.add().unwrap();
            assert_eq!(attachment.check(), None);
            assert!(is_in(address, "trusted", V4) && is_in(address, "trusted", V6));
            assert!(shell("nft list table inet firewalld").contains("ip saddr 10.77.0.2 "));
            delete(&attachment).unwrap();
            delete(&attachment).unwrap();
            assert!(!is_in(address, "trusted", V4) && !is_in(address, "trusted", V6));
            assert!(!shell(NOTES).contains("c1"));
        }
        // Somebody reloads firewalld, which forgets what was added at run time.
        attachment.add().unwrap();
        call(address, "removeSource", "trusted", V4);
        assert_eq!(attachment.check().as_deref(), Some(missing));
        attachment.add().unwrap();
        assert_eq!(attachment.check(), None);
        // Of those that are valid nothing is collected.
        attachment.collect(&["c1"]).unwrap();
        assert_eq!(attachment.check(), None);
    });
}

#[test]
fn zones_and_whose_they_are() {
    with_firewalld(|address, firewalld| {
        let mut attachment = attachment(address);
        // What is there already is no obstacle, and goes with DEL, as with the Go suite.
        call(address, "addSource", "trusted", V4);
        attachment.add().unwrap();
        attachment.del().unwrap();
        assert!(!is_in(address, "trusted", V4));
        // What is in another zone is an obstacle, and what was added before it is taken back.
        call(address, "addSource", "home", V6);
        let error = attachment.add().unwrap_err();
        assert_eq!(
            error.msg,
            "failed to add the address fd00::2/128 to trusted zone: ZONE_CONFLICT: 'fd00::2/128' already bound to a zone"
        );
        assert!(!is_in(address, "trusted", V4) && is_in(address, "home", V6));
        assert!(!shell(NOTES).contains("c1"));
        call(address, "removeSource", "home", V6);
        // The zone of the configuration may have changed since.
        attachment.config = r#""backend": "firewalld", "firewalldZone": "internal""#.to_owned();
        attachment.add().unwrap();
        assert!(is_in(address, "internal", V4));
        attachment.config = r#""backend": "nftables""#.to_owned();
        attachment.del().unwrap();
        assert!(!is_in(address, "internal", V4) && !is_in(address, "internal", V6));
        attachment.config = r#""firewalldZone": "nowhere""#.to_owned();
        assert!(attachment.add().unwrap_err().msg.ends_with(" to nowhere zone: INVALID_ZONE: nowhere"));
        attachment.del().unwrap();
        // What the Go suite has added without a note is removed by its address, if by now it is nobody else's.
        attachment.config = String::new();
        call(address, "addSource", "trusted", V4);
        attachment.del_without_result().unwrap();
        assert!(is_in(address, "trusted", V4));
        attachment.del().unwrap();
        assert!(!is_in(address, "trusted", V4));
        let next = Fixture::new("c2", "br1", &["10.77.0.2/24"], "").on_bus(address);
        next.add().unwrap();
        attachment.del().unwrap();
        assert_eq!(next.check(), None);
        // A firewalld that has gone has taken everything along.
        drop(firewalld);
        next.del().unwrap();
        assert!(!shell(NOTES).contains("c2"));
    });
}

/// A policy works beside firewalld, whose accept does not overrule our drop.
#[test]
fn policies_are_in_our_own_table() {
    with_firewalld(|address, _firewalld| {
        let mut attachment = attachment(address);
        attachment.config = r#""ingressPolicy": "same-bridge""#.to_owned();
        attachment.add().unwrap();
        assert_eq!(attachment.check(), None);
        let expected = ["inet guarded-by: br1 v-c1 (c1)", "inet guarded: br1 (c1)", "inet within: br1 br1 (c1)"];
        assert_eq!(attachment::elements(), expected);
        attachment.del().unwrap();
        assert_eq!(attachment::elements(), [""; 0]);
        assert!(!is_in(address, "trusted", V4));
    });
}

/// A container behind the host, and somebody on the other side of it.
const TOPOLOGY: &str = "
    echo 1 > /proc/sys/net/ipv4/ip_forward
    attach() {
        ip netns add $1
        ip link add v-$1 type veth peer name eth0 netns $1
        ip link set v-$1 up
        ip addr add $2.1/24 dev v-$1
        ip -n $1 link set eth0 up
        ip -n $1 addr add $2.2/24 dev eth0
        ip -n $1 route add default via $2.1
    }
    attach c1 10.77.0
    attach remote 192.0.2
";

fn socket(netns: &str, address: &str) -> UdpSocket {
    let netns = NetNs::open(format!("/run/netns/{netns}")).unwrap();
    let address = SocketAddr::new(address.parse().unwrap(), 0);
    let socket = netns.run(|| UdpSocket::bind(address).unwrap()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// Whether what a container says is heard, and answered.
fn is_heard() -> bool {
    let (sender, receiver) = (socket("c1", "10.77.0.2"), socket("remote", "192.0.2.2"));
    let mut buffer = [0; 16];
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    sender.send(b"question").unwrap();
    // firewalld rejects what it does not let pass, and says so.
    receiver.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let Ok((_, peer)) = receiver.recv_from(&mut buffer) else {
        let refused = sender.recv(&mut buffer).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(nix::errno::Errno::EHOSTUNREACH as i32), "{refused}");
        return false;
    };
    receiver.send_to(b"answer", peer).unwrap();
    sender.recv(&mut buffer).unwrap() == 6
}

#[test]
fn containers_are_heard() {
    with_firewalld(|address, _firewalld| {
        shell(TOPOLOGY);
        // Else both are in the default zone, within which everything passes.
        call(address, "addInterface", "home", "v-remote");
        let attachment = Fixture::new("c1", "v-c1", &["10.77.0.2/24"], "").on_bus(address);
        assert!(!is_heard());
        attachment.add().unwrap();
        assert!(is_heard());
        attachment.del().unwrap();
        assert!(!is_heard());
    });
}

/// Calls the Go suite's firewall plugin for the same attachment.
fn go(verb: &str, address: &str) {
    let config = r#"{"cniVersion": "1.0.0", "name": "n1", "type": "firewall", "backend": "firewalld",
        "prevResult": {"cniVersion": "1.0.0", "ips": [{"address": "10.77.0.2/24"}]}}"#;
    let mut child = Command::new("/usr/lib/cni/firewall")
        .env("CNI_COMMAND", verb)
        .env("CNI_CONTAINERID", "c1")
        .env("CNI_IFNAME", "eth0")
        .env("CNI_NETNS", "/run/netns/c1")
        .env("CNI_PATH", "/usr/lib/cni")
        .env("DBUS_SYSTEM_BUS_ADDRESS", address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the Go suite is installed");
    child.stdin.take().unwrap().write_all(config.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn either_suite_takes_down_what_the_other_made() {
    with_firewalld(|address, _firewalld| {
        shell("ip netns add c1");
        let attachment = Fixture::new("c1", "br1", &["10.77.0.2/24"], "").on_bus(address);
        go("ADD", address);
        assert!(is_in(address, "trusted", V4));
        attachment.del().unwrap();
        assert!(!is_in(address, "trusted", V4));
        attachment.add().unwrap();
        go("DEL", address);
        assert!(!is_in(address, "trusted", V4));
        // Its note goes with the next of ours.
        attachment.collect(&[]).unwrap();
        assert!(!shell(NOTES).contains("c1"));
    });
}
