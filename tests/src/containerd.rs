//! A containerd of our own, with all its files on the node.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::process::{run, sh};

const ADDRESS: &str = "/run/containerd-test/containerd.sock";

/// The running daemon. Containers go into a containerd namespace, and so into cgroups, of this process's own.
#[derive(Debug)]
pub struct Containerd {
    process: Child,
    namespace: String,
}

impl Containerd {
    /// Where `ctr --cni` looks for networks.
    pub const CONF_DIR: &str = "/etc/cni/net.d";

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start() -> Self {
        fs::create_dir("/run/containerd-test").expect("create its directory");
        let config = "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n";
        fs::write("/run/containerd-test/config.toml", config).expect("write its configuration");
        let mut process = Command::new("containerd")
            .args(["--config", "/run/containerd-test/config.toml", "--address", ADDRESS])
            .args(["--root", "/run/containerd-test/root", "--state", "/run/containerd-test/state"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start containerd");
        let mut log = BufReader::new(process.stderr.take().expect("stderr is a pipe")).lines().map_while(Result::ok);
        let lines: Vec<String> = log.by_ref().take_while(|line| !line.contains("successfully booted")).collect();
        assert!(process.try_wait().expect("look for containerd").is_none(), "containerd ended:\n{}", lines.join("\n"));
        // It would block on a full pipe.
        thread::spawn(move || log.for_each(drop));
        Self { process, namespace: format!("xnet-test-{}", std::process::id()) }
    }

    /// Runs a shell script in a container to its end; returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn run_with_cni(&self, id: &str, rootfs: &str, script: &str) -> String {
        let mut command = self.run_command(id, rootfs, &["/bin/sh", "-ec", script]);
        let output = run(&mut command, b"");
        let (told, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{command:?}\n{}\n{told}\n{log}", output.status);
        told.into_owned()
    }

    /// The command that runs a program in a container on the first network of [`Self::CONF_DIR`].
    #[must_use]
    pub fn run_command(&self, id: &str, rootfs: &str, program: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.args(["--address", ADDRESS, "--namespace", &self.namespace]);
        command.args(["run", "--rm", "--cni", "--rootfs", rootfs, id]).args(program);
        command
    }

    /// `ctr ARGS` in the daemon's own namespace.
    #[must_use]
    pub fn ctr(&self, args: &[&str]) -> Command {
        let mut command = Command::new("ctr");
        command.args(["--address", ADDRESS, "--namespace", &self.namespace]).args(args);
        command
    }

    /// Starts a container in the background, which runs until a file `stop` appears in its root directory.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with_cni(&self, id: &str, rootfs: &str) -> RunningContainer {
        let script = "until [ -e /stop ]; do busybox sleep 0.05; done";
        let mut command = self.run_command(id, rootfs, &["/bin/sh", "-ec", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let process = command.spawn().expect("start ctr");
        RunningContainer { process, stop: format!("{rootfs}/stop"), pid: self.pid_of(id) }
    }

    /// The first process of a container, once it runs.
    fn pid_of(&self, id: &str) -> u32 {
        let list = format!("ctr --address {ADDRESS} --namespace {} task list", self.namespace);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let tasks = sh(&list);
            let mut words = tasks.lines().map(|line| line.split_ascii_whitespace().collect::<Vec<_>>());
            if let Some(task) = words.find(|words| words[0] == id && words[2] == "RUNNING") {
                return task[1].parse().expect("a pid");
            }
            assert!(Instant::now() < deadline, "{id} does not run:\n{tasks}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// No container, no shim, no mount and no cgroup of a container is left.
    ///
    /// # Panics
    /// When there is.
    pub fn assert_nothing_runs(&self) {
        let left = sh(&format!("ctr --address {ADDRESS} --namespace {} container list -q", self.namespace));
        assert_eq!(left, "", "containers");
        let mounts = fs::read_to_string("/proc/thread-self/mounts").expect("read the mounts");
        assert!(!mounts.contains("/run/containerd-test"), "{mounts}");
        let shims = || -> Vec<String> {
            command_lines().filter(|line| line.contains("shim") && line.contains(ADDRESS)).collect()
        };
        // A shim may end a moment after ctr has.
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let shims = shims();
            if shims.is_empty() {
                break;
            }
            assert!(Instant::now() < deadline, "{shims:?}");
            thread::sleep(Duration::from_millis(20));
        }
        for cgroup in self.cgroups() {
            let inside: Vec<_> =
                fs::read_dir(&cgroup).expect("list a cgroup").flatten().map(|entry| entry.path()).collect();
            assert!(!inside.iter().any(|path| path.is_dir()), "{inside:?}");
        }
    }

    /// The parents of the containers' cgroups, one a hierarchy, which containerd makes and never removes.
    fn cgroups(&self) -> Vec<String> {
        let list = fs::read_dir("/sys/fs/cgroup").expect("list the cgroups").flatten();
        let paths = list.map(|entry| format!("{}/{}", entry.path().display(), self.namespace));
        paths.filter(|path| fs::exists(path).unwrap_or_default()).collect()
    }
}

/// A container that runs.
#[derive(Debug)]
pub struct RunningContainer {
    process: Child,
    stop: String,
    /// Its first process.
    pub pid: u32,
}

impl RunningContainer {
    /// Lets it end, and `ctr` with it, which calls DEL then.
    ///
    /// # Panics
    /// When it fails.
    pub fn end(self) {
        fs::write(&self.stop, "").expect("ask it to stop");
        let output = self.process.wait_with_output().expect("wait for ctr");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::remove_file(&self.stop).expect("take the request back");
    }
}

/// Ends it, also when a story has failed half-way, and removes what it made outside of the node.
impl Drop for Containerd {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).expect("a pid");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let _ = self.process.wait();
        for cgroup in self.cgroups() {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

fn command_lines() -> impl Iterator<Item = String> {
    let processes = fs::read_dir("/proc").expect("list the processes").flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
}
