//! The plugin against the real kernel. Every test has network namespaces of its own, and a `/var/lib` of its own.

mod blocks;
mod failure;
mod gc;
mod life;

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::process::Command;
use std::thread;

use cni::plugin::{Attachment, Call, Plugin, Stderr, ValidAttachments};
use cni::result::AddResult;
use cni::{Error, Owner};
use kernel::Handle;
use kernel::link::{NewEnd, new_veth};
use kernel::netns::NetNs;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::Bandwidth;

const INGRESS: &str = r#""ingressRate": 8000000, "ingressBurst": 800000"#;
const EGRESS: &str = r#""egressRate": 16000000, "egressBurst": 1600000"#;
/// What the Go suite calls the block of container `cid1` on network `n1`.
const GO_NAME: &str = "bwpca7a875c2b85";

fn sh(script: &str) -> String {
    let output = Command::new("sh").args(["-euc", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A host with a container.
struct Stage {
    container: NetNs,
}

/// Plays a test in a thread whose namespaces are its own, with a veth pair `veth0` to `eth0` of container `cid1`.
fn play(test: impl FnOnce(&Stage) + Send + 'static) {
    let guest = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>).unwrap();
        mount(Some("tmpfs"), "/var/lib", Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            NetNs::current().unwrap()
        });
        let stage = Stage { container: made.join().unwrap() };
        stage.connect("veth0", "eth0");
        test(&stage);
    });
    if let Err(panic) = guest.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Stage {
    /// Makes a veth pair between host and container, both ends up.
    fn connect(&self, near: &str, far: &str) {
        let byte = |text: &str| *text.as_bytes().last().unwrap();
        let end = |name: &str, role| NewEnd {
            name: name.into(),
            mac: [2, 0, 0, 0, role, byte(name)].into(),
            mtu: Some(1400),
        };
        let pair = new_veth(&end(near, 1), None, &end(far, 2), self.container.as_fd());
        Handle::here().unwrap().call(pair).unwrap();
        self.inside(&format!("ip link set {far} up"));
    }

    fn inside(&self, script: &str) -> String {
        self.container.run(|| sh(script)).unwrap()
    }

    fn netns(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.container.as_fd().as_raw_fd())
    }

    /// The attachment of `cid1` with this interface.
    fn attachment(&self, ifname: &str) -> Attachment {
        Attachment {
            container_id: "cid1".parse().unwrap(),
            ifname: ifname.parse().unwrap(),
            netns: self.netns(),
            args: String::new(),
        }
    }

    /// A previous result that knows both ends of a pair.
    fn previous(&self, near: &str, far: &str) -> String {
        format!(
            r#""prevResult": {{"cniVersion": "1.1.0", "interfaces": [
                {{"name": "br0", "mac": "02:00:00:00:00:01"}},
                {{"name": "{near}", "mac": "02:00:00:00:00:02"}},
                {{"name": "{far}", "mac": "02:00:00:00:00:03", "sandbox": "{}"}}],
                "ips": [{{"interface": 2, "address": "10.1.0.2/24"}}]}}"#,
            self.netns()
        )
    }

    fn call(&self, members: &[&str]) -> Call {
        call(&[members, &[&self.previous("veth0", "eth0")]].concat())
    }

    fn add(&self, members: &[&str]) -> Result<AddResult, Error> {
        Bandwidth.add(&self.call(members), &self.attachment("eth0"))
    }

    fn check(&self, members: &[&str]) -> Result<(), Error> {
        Bandwidth.check(&self.call(members), &self.attachment("eth0"))
    }

    fn del(&self, members: &[&str]) -> Result<(), Error> {
        Bandwidth.del(&self.call(members), &self.attachment("eth0"))
    }
}

/// A call about network `n1`.
fn call(members: &[&str]) -> Call {
    let head = [r#""cniVersion": "1.1.0", "name": "n1", "type": "bandwidth""#];
    let document = format!("{{{}}}", [&head, members].concat().join(", "));
    Call::new(document.into_bytes(), Vec::new(), Stderr::new(std::io::sink())).unwrap()
}

fn owner(net: &str, id: &str, ifname: &str) -> Owner {
    Owner::new(net.parse().unwrap(), id.parse().unwrap(), ifname.parse().unwrap())
}

/// What the plugin could leave on the host, without the numbers of links and actions, and without packet counts.
fn traces() -> String {
    sh(r"(ip -d link show type ifb; tc qdisc show; tc filter show dev veth0 parent ffff:) |
        sed -e 's/^[0-9]*: //' -e 's/index [0-9]* //'")
}

/// The blocks that there are, sorted.
fn blocks() -> Vec<String> {
    let mut names: Vec<_> = Handle::here().unwrap().ifbs().unwrap().into_iter().map(|link| link.name).collect();
    names.sort();
    names
}

/// Puts an attachment on libcni's record.
fn record(net: &str, id: &str, ifname: &str) {
    fs::create_dir_all("/var/lib/cni/results").unwrap();
    let text = format!(
        r#"{{"kind": "cniCacheV1", "containerId": "{id}", "ifName": "{ifname}", "networkName": "{net}", "result": {{}}}}"#
    );
    fs::write(format!("/var/lib/cni/results/{net}-{id}-{ifname}"), text).unwrap();
}

fn gc(valid: &[(&str, &str)]) -> Result<(), Error> {
    Bandwidth.gc(&call(&[]), &ValidAttachments::new(valid.iter().copied()))
}
