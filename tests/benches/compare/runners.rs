//! `xnet run` against other runners: a container of one static program that ends at once.
//!
//! What others run is a bundle of OCI's default configuration: the root directory as it is, no filter, no limits. `xnet`
//! runs with all that it has by default: a writable layer, a filter, a device guard. Back to back is what a script sees
//! (hot); with a pause before each run is what a person at a prompt sees (cold), since some of the kernel's locks are cheap
//! only for those who took them a moment ago.
//!
//! Debian's crun refuses a host with both versions of cgroups, so all of them see version 1 alone where there is one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use harness::{Containerd, Node, Suite, sh};
use nix::mount::{MntFlags, umount2};
use serde_json::{Value, json};

use crate::measurement::Measurement;
use crate::row::{Row, Section};
use crate::settle::settle;

/// Whom `xnet` is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    Crun,
    Runc,
    Bubblewrap,
    /// `ctr run --cni` with Debian's plugins.
    Containerd,
}

/// A comparison.
pub(crate) struct Runner {
    pub(crate) name: &'static str,
    pub(crate) peer: Peer,
    /// Idle before each run.
    pub(crate) pause: Duration,
    pub(crate) goal: Option<f64>,
}

/// All comparisons.
pub(crate) fn all() -> [Runner; 7] {
    let (hot, cold) = (Duration::ZERO, Duration::from_millis(250));
    let of = |name, peer, pause, goal| Runner { name, peer, pause, goal };
    [
        of("run, no network  crun, hot", Peer::Crun, hot, Some(1.0)),
        of("run, no network  crun, cold", Peer::Crun, cold, Some(0.3)),
        of("run, no network  runc, hot", Peer::Runc, hot, None),
        of("run, no network  runc, cold", Peer::Runc, cold, None),
        of("run, no network  bubblewrap, hot", Peer::Bubblewrap, hot, None),
        of("run, no network  bubblewrap, cold", Peer::Bubblewrap, cold, None),
        of("run, bridge  ctr run --cni, cold", Peer::Containerd, cold, Some(0.25)),
    ]
}

const PLACE: &str = "/run/bench";
const ROOTFS: &str = "/run/bench/bundle/rootfs";

impl Measurement for Runner {
    fn name(&self) -> &'static str {
        self.name
    }

    fn suites(&self) -> [Suite; 2] {
        [Suite::Ours, Suite::Go]
    }

    fn measure(&self, pairs: usize, rows: &mut Vec<Row>) -> Result<(), String> {
        Node::run_messy(|node| self.play(node, pairs, rows))
    }
}

impl Runner {
    fn play(&self, node: &Node, pairs: usize, rows: &mut Vec<Row>) -> Result<(), String> {
        settle(node);
        // Where version 1 is there too; the whole of version 2 stays.
        let _ = umount2("/sys/fs/cgroup/unified", MntFlags::MNT_DETACH);
        bundle();
        let containerd = (self.peer == Peer::Containerd).then(|| {
            network();
            Containerd::start()
        });
        let mut times = Vec::new();
        // The first round makes what all containers share, and is not counted.
        for round in 0..=pairs {
            let mut pair = [0.0; 2];
            let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
            for side in order {
                let command = if side == 0 { self.ours() } else { self.theirs(containerd.as_ref(), round) };
                sleep(self.pause);
                pair[side] = time(command)?;
            }
            if round > 0 {
                times.push(pair);
            }
        }
        rows.push(Row { section: Section::Runners, name: self.name.to_owned(), pairs: times, goal: self.goal });
        if self.peer == Peer::Crun && self.pause.is_zero() {
            rows.push(self.memory()?);
        }
        Ok(())
    }

    fn ours(&self) -> Command {
        let net = if self.peer == Peer::Containerd { "--net=bridge" } else { "--net=none" };
        let mut command = Command::new(xnet());
        command.args(["--root", "/run/bench/xnet", "run", "--rm", net, "--rootfs", ROOTFS, "--", "/bin/true"]);
        command
    }

    fn theirs(&self, containerd: Option<&Containerd>, round: usize) -> Command {
        let id = format!("bench-{}-{round}", std::process::id());
        let oci = |program: &str| {
            let mut command = Command::new(program);
            command.args(["--root", "/run/bench/state", "run", "--bundle", "/run/bench/bundle", &id]);
            command
        };
        match (self.peer, containerd) {
            (Peer::Containerd, Some(containerd)) => containerd.run_command(&id, ROOTFS, &["/bin/true"]),
            (Peer::Runc, _) => oci("runc"),
            (Peer::Bubblewrap, _) => {
                let mut command = Command::new("bwrap");
                command.args(["--unshare-all", "--ro-bind", ROOTFS, "/", "--proc", "/proc", "--dev", "/dev"]);
                command.arg("/bin/true");
                command
            }
            _ => oci("crun"),
        }
    }

    /// The largest process of a run, of either side.
    fn memory(&self) -> Result<Row, String> {
        let pair = [crate::peak::of(self.ours())?, crate::peak::of(self.theirs(None, usize::MAX))?];
        let name = "run, no network  crun".to_owned();
        Ok(Row { section: Section::Memory, name, pairs: vec![pair], goal: None })
    }
}

fn xnet() -> PathBuf {
    Suite::Ours.dir().join("xnet")
}

/// Milliseconds of a command that succeeds.
fn time(mut command: Command) -> Result<f64, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.output().map_err(|error| format!("start {command:?}: {error}"))?;
    let elapsed = start.elapsed();
    if !output.status.success() {
        return Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)));
    }
    Ok(elapsed.as_secs_f64() * 1000.0)
}

/// A bundle of OCI's default configuration, without a terminal.
fn bundle() {
    sh(&format!(
        "mkdir -p {ROOTFS}/bin {ROOTFS}/dev {ROOTFS}/proc {ROOTFS}/sys {ROOTFS}/etc {PLACE}/state
        cp $(command -v busybox) {ROOTFS}/bin/busybox
        ln -s busybox {ROOTFS}/bin/true
        ln -s busybox {ROOTFS}/bin/sh
        cd {PLACE}/bundle
        runc spec"
    ));
    let path = Path::new(PLACE).join("bundle/config.json");
    let text = fs::read_to_string(&path).expect("read the configuration");
    let mut config: Value = serde_json::from_str(&text).expect("a configuration is JSON");
    config["process"]["terminal"] = json!(false);
    config["process"]["args"] = json!(["/bin/true"]);
    fs::write(path, config.to_string()).expect("write the configuration");
}

/// A network like that of `xnet`, by Debian's plugins.
fn network() {
    let ipam = json!({
        "type": "host-local",
        "ranges": [[{"subnet": "10.214.0.0/16"}], [{"subnet": "fd5c:7ae1:90b4::/64"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
    });
    let bridge = json!({"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true, "ipam": ipam});
    let list = json!({"cniVersion": "1.0.0", "name": "bench", "plugins": [bridge]});
    fs::create_dir_all(Containerd::CONF_DIR).expect("create the directory of networks");
    fs::write(Path::new(Containerd::CONF_DIR).join("10-bench.conflist"), list.to_string()).expect("write a network");
    std::os::unix::fs::symlink(Suite::Go.dir(), "/opt/cni/bin").expect("install the plugins");
}
