//! A place for one test: mount and network namespaces of its own, and temporary directories for all that xnet keeps.
//!
//! The namespaces belong to the test's thread, and with it to the processes that it starts. What would be left on the
//! host by a faulty runner is left in the sandbox, where [`Sandbox::assert_clean`] looks for it.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::expect_used, reason = "a sandbox that cannot be made is a failed test")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tempfile::TempDir;

pub struct Sandbox {
    dir: TempDir,
    cgroup: String,
}

/// How a run has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Sandbox {
    pub fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("this test needs root");
        let private = MsFlags::MS_PRIVATE | MsFlags::MS_REC;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("make / private");
        let dir = tempfile::tempdir().expect("a temporary directory");
        own_leases();
        let tag = dir.path().file_name().expect("a name").to_string_lossy().replace('.', "");
        Self { dir, cgroup: format!("xnet-test-{tag}") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The group in which the containers of this sandbox are, below every hierarchy's mount.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// `xnet ARGS`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xnet"));
        command
            .args(args)
            .env("XNET_ROOT", self.path("data"))
            .env("XNET_STATE_DIR", self.path("state"))
            .env("XNET_NETNS_DIR", self.path("netns"))
            .stdin(Stdio::null());
        command
    }

    /// `xnet run --rm OPTIONS -- CMD`, with the sandbox's cgroup.
    pub fn run_command(&self, options: &[&str], cmd: &[&str]) -> Command {
        let fixed = ["run", "--rm", "-i", "--cgroup-parent", &self.cgroup];
        self.command(&[&fixed, options, &["--"], cmd].concat())
    }

    pub fn run(&self, options: &[&str], cmd: &[&str]) -> Ended {
        Ended::of(&mut self.run_command(options, cmd))
    }

    /// A container without a network that runs a shell script over the host's system directories.
    pub fn sh(&self, script: &str) -> Ended {
        self.run(&["--net=none"], &["sh", "-c", script])
    }

    /// `xnet ARGS`, to its end.
    pub fn xnet(&self, args: &[&str]) -> Ended {
        Ended::of(&mut self.command(args))
    }

    /// A detached container: its id.
    pub fn detach(&self, options: &[&str], cmd: &[&str]) -> String {
        let fixed = ["run", "-d", "--cgroup-parent", &self.cgroup];
        let ended = self.xnet(&[&fixed, options, &["--"], cmd].concat());
        assert_eq!((ended.code, ended.stdout.len()), (0, 65), "{}{}", ended.stdout, ended.stderr);
        ended.stdout.trim().to_owned()
    }

    /// What the run of container `id` says about itself.
    pub fn info(&self, id: &str) -> serde_json::Value {
        let text = fs::read(self.path("state").join(id).join("info.json")).expect("a run");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// How the last run of container `id` has ended.
    pub fn exit(&self, id: &str) -> serde_json::Value {
        let text = fs::read(self.path("data/containers").join(id).join("exit.json")).expect("a run");
        serde_json::from_slice(&text).expect("JSON")
    }

    pub fn gc(&self) -> Ended {
        Ended::of(&mut self.command(&["gc"]))
    }

    /// Starts a container that prints a line when it is up, and waits for the line.
    pub fn start(&self, options: &[&str], script: &str) -> Running {
        self.start_command(self.run_command(options, &["sh", "-c", script]))
    }

    pub fn start_command(&self, mut command: Command) -> Running {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start xnet");
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        let mut first = String::new();
        lines.read_line(&mut first).expect("a first line");
        Running { child: Some(child), first: first.trim().to_owned(), lines }
    }

    /// A root file system of one busybox.
    pub fn rootfs(&self) -> PathBuf {
        let root = self.path("rootfs");
        fs::create_dir_all(root.join("bin")).expect("bin");
        fs::copy("/bin/busybox", root.join("bin/busybox")).expect("a static busybox at /bin/busybox");
        for applet in ["sh", "cat", "ls", "true", "echo", "touch", "mount", "readlink", "hostname", "id", "sleep"] {
            let _ = symlink("busybox", root.join("bin").join(applet));
        }
        root
    }

    /// Adds a program, compiled from C, to the root file system.
    pub fn program(&self, name: &str, source: &str) {
        let (file, program) = (self.path(&format!("{name}.c")), self.rootfs().join("bin").join(name));
        fs::write(&file, source).expect("write");
        let built = Ended::of(Command::new("gcc").args(["-static", "-O1", "-w", "-o"]).arg(program).arg(file));
        assert_eq!(built.code, 0, "{}", built.stderr);
    }

    /// Waits until nobody owns any container. A killed runner's child, if it was just being born, holds its parent's lock
    /// for another moment.
    pub fn await_release(&self) {
        for entry in fs::read_dir(self.path("state")).into_iter().flatten().flatten() {
            if let Ok(lock) = fs::File::open(entry.path().join("lock")) {
                lock.lock().expect("wait for the lock");
            }
        }
    }

    /// Fails if anything of a container is left: processes' groups, mounts, namespaces, state.
    pub fn assert_clean(&self) {
        assert_eq!(self.leftovers(), Vec::<String>::new());
    }

    pub fn leftovers(&self) -> Vec<String> {
        let mut found = Vec::new();
        let names = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name());
        found.extend(
            names(self.path("state"))
                .filter(|n| n != ".plugins" && n != ".members" && n != "events.log")
                .map(|n| format!("state {n:?}")),
        );
        for network in names(self.path("state/.members")).filter(|n| n != ".lock") {
            let members = names(self.path("state/.members").join(&network));
            found.extend(members.map(|n| format!("member {n:?} of {network:?}")));
        }
        let containers = self.path("data/containers");
        found.extend(names(containers.clone()).filter(|n| n != ".names").map(|n| format!("container {n:?}")));
        found.extend(names(containers.join(".names")).map(|n| format!("name {n:?}")));
        found.extend(names(self.path("netns")).map(|n| format!("netns {n:?}")));
        found.extend(names(self.path("data/overlay")).map(|n| format!("layer {n:?}")));
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("the mount table");
        let inside =
            |line: &&str| line.contains(&format!("{}/", self.path("netns").display())) || line.contains("/merged ");
        found.extend(mounts.lines().filter(inside).map(|line| format!("mount {line}")));
        found.extend(groups(&self.cgroup).iter().map(|dir| format!("cgroup {}", dir.display())));
        found
    }
}

/// Leases are where the plugins keep them by default; those of a test are in memory of its own.
fn own_leases() {
    fs::create_dir_all("/var/lib/cni").expect("a place for leases");
    mount(Some("tmpfs"), "/var/lib/cni", Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a tmpfs");
}

impl Drop for Sandbox {
    /// What a killed or failed run has left goes, too: groups are the host's.
    fn drop(&mut self) {
        if self.path("state").exists() {
            let all = Ended::of(&mut self.command(&["ps", "-aq", "--no-trunc"])).stdout;
            let ids: Vec<_> = all.lines().collect();
            if !ids.is_empty() {
                self.command(&[&["rm", "-f"], &ids[..]].concat())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .ok();
            }
            self.await_release();
            self.command(&["gc", "--force"]).stdout(Stdio::null()).stderr(Stdio::null()).status().ok();
        }
        // The parent of a bundle's group is its engine's, which is the test.
        groups(&self.cgroup).iter().for_each(|group| drop(fs::remove_dir(group)));
        // The directory of namespaces is a mount point by now, and that can't be removed.
        while umount2(&self.path("netns"), MntFlags::MNT_DETACH).is_ok() {}
    }
}

/// The directories of this name right below the mount points of all hierarchies.
pub fn groups(name: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("the mount table");
    let cgroup = |line: &&str| line.contains(" - cgroup ") || line.contains(" - cgroup2 ");
    let points = mounts.lines().filter(cgroup).filter_map(|line| line.split(' ').nth(4));
    points.map(|point| Path::new(point).join(name)).filter(|dir| dir.exists()).collect()
}

impl Ended {
    pub fn of(command: &mut Command) -> Self {
        let Output { status, stdout, stderr } = command.output().expect("start xnet");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Fails unless the command ended like this.
    pub fn expect(self, code: i32, stdout: &str) {
        assert_eq!((self.code, self.stdout.trim_end()), (code, stdout), "stderr: {}", self.stderr);
    }

    /// Fails if the command ended with this status.
    pub fn code_is_not(self, code: i32) {
        assert_ne!(self.code, code, "stdout: {}", self.stdout);
    }

    /// Fails unless xnet has refused with this status and one line that holds `text`.
    pub fn expect_refusal(self, code: i32, text: &str) {
        assert_eq!((self.code, self.stdout.as_str()), (code, ""), "stderr: {}", self.stderr);
        assert!(self.stderr.starts_with("xnet: ") && self.stderr.contains(text), "stderr: {}", self.stderr);
        assert_eq!(self.stderr.trim_end().lines().count(), 1, "stderr: {}", self.stderr);
    }
}

/// A run under way. Dropping it kills xnet, and with it the container.
pub struct Running {
    child: Option<Child>,
    pub first: String,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    pub fn pid(&self) -> nix::unistd::Pid {
        let child = self.child.as_ref().expect("still running");
        nix::unistd::Pid::from_raw(child.id().try_into().expect("a pid"))
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(self.pid(), signal).expect("send a signal");
    }

    /// Writes a line to the command's standard input.
    pub fn say(&mut self, line: &str) {
        let input = self.child.as_mut().expect("still running").stdin.as_mut().expect("its input");
        writeln!(input, "{line}").expect("write a line");
    }

    /// Ends the command's standard input.
    pub fn end_input(&mut self) {
        drop(self.child.as_mut().expect("still running").stdin.take());
    }

    /// The next line of output; empty at its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    /// Waits for the end: the exit status, or the negative number of the signal that killed xnet itself.
    pub fn wait(mut self) -> i32 {
        let status = self.child.take().expect("still running").wait().expect("wait for xnet");
        status.code().unwrap_or_else(|| -status.signal().expect("a signal"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Writes an executable file.
pub fn executable(path: &Path, text: &str) {
    fs::write(path, text).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// Waits until `done`, which must come true soon.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !done() {
        assert!(start.elapsed().as_secs() < 10, "it did not come true: {what}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Ends process `pid` as `kill -9` does, and waits until it has ended.
pub fn kill(pid: &serde_json::Value) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid.as_i64().expect("a number")).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("kill");
    let ended = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    eventually("the process ends", ended);
}
