//! Somebody who is not root, with the number 1000, in a sandbox of one's own.
//!
//! What the administrator lends to that person, and which programs are installed, is made up in the sandbox's mount namespace.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MsFlags, mount};

use super::sandbox::{Ended, Running, Sandbox};

pub const UID: u32 = 1000;
/// The first of the ids that are lent.
pub const LENT: u32 = 700_000;

pub struct Person {
    pub sandbox: Sandbox,
    pub home: PathBuf,
    pub groups: &'static str,
}

impl Person {
    /// Somebody with 65536 ids to lend.
    pub fn new() -> Self {
        Self::with(&format!("{UID}:{LENT}:65536\n"))
    }

    /// Somebody to whom `lent` lends ids, on a host with a passwd of its own, and no program that carries packets.
    pub fn with(lent: &str) -> Self {
        let sandbox = Sandbox::new();
        fs::set_permissions(sandbox.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        let (home, run) = (sandbox.path("home"), sandbox.path("run"));
        for dir in [&home, &run] {
            fs::create_dir(dir).unwrap();
            chown(dir, Some(UID), Some(UID)).unwrap();
        }
        cover(&sandbox, "/etc/passwd", "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/:/bin/sh\n");
        cover(&sandbox, "/etc/subuid", lent);
        cover(&sandbox, "/etc/subgid", lent);
        // No other program of the host is found.
        let bin = sandbox.path("bin");
        fs::create_dir(&bin).unwrap();
        for name in ["newuidmap", "newgidmap"] {
            symlink(Path::new("/usr/bin").join(name), bin.join(name)).unwrap();
        }
        // The program itself must be in reach: test binaries are often in somebody's home. By a process of its own, since nobody
        // can execute what another thread's child has open for writing.
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_xnet")).arg(sandbox.path("xnet")).status().unwrap();
        assert!(copied.success());
        Self { sandbox, home, groups: "--clear-groups" }
    }

    /// `xnet ARGS`, as that person, without a word about where things are kept.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/setpriv");
        let id = UID.to_string();
        command.args(["--reuid", &id, "--regid", &id, self.groups]).arg(self.sandbox.path("xnet")).args(args);
        command.env_clear().env("PATH", self.sandbox.path("bin")).env("HOME", &self.home);
        command.env("XDG_RUNTIME_DIR", self.sandbox.path("run")).current_dir("/").stdin(Stdio::null());
        command
    }

    pub fn xnet(&self, args: &[&str]) -> Ended {
        Ended::of(&mut self.command(args))
    }

    /// A shell script over the host's system directories.
    pub fn sh(&self, options: &[&str], script: &str) -> Ended {
        self.xnet(&[&["run", "--rm", "-i", "--net=none"], options, &["--", "sh", "-c", script]].concat())
    }

    /// A container that prints a line when it is up and then waits for the end of its input.
    pub fn start(&self, options: &[&str], script: &str) -> Running {
        let words = [&["run", "--rm", "-i", "--net=none"], options, &["--", "sh", "-c", script]].concat();
        self.sandbox.start_command(self.command(&words))
    }

    pub fn detach(&self, options: &[&str]) -> String {
        let words = [&["run", "-d"], options, &["--", "sleep", "1000"]].concat();
        let ended = self.xnet(&words);
        assert_eq!((ended.code, ended.stdout.len()), (0, 65), "{}", ended.stderr);
        ended.stdout.trim().to_owned()
    }

    /// Whether this person may open the device by which tunnels are made, from now on, as `mode` says; it is a mere file. False if this
    /// host has no such device.
    pub fn may_open_tunnels(&self, mode: u32) -> bool {
        let file = self.sandbox.path("tunnels");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        mount(Some(&file), "/dev/net/tun", None::<&str>, MsFlags::MS_BIND, None::<&str>).is_ok()
    }

    pub fn data(&self) -> PathBuf {
        self.home.join(".local/share/xnet")
    }

    pub fn state(&self) -> PathBuf {
        self.sandbox.path("run/xnet")
    }

    /// Fails if anything of a container is left.
    pub fn assert_clean(&self) {
        let names = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let known = [".netns", ".userns", ".plugins", ".members", "events.log"];
        let state: Vec<_> = names(self.state()).filter(|name| known.iter().all(|known| name != known)).collect();
        assert_eq!(state, Vec::<std::ffi::OsString>::new());
        for place in [self.state().join(".netns"), self.data().join("overlay"), self.data().join("containers/.names")] {
            assert_eq!(names(place.clone()).count(), 0, "{}", place.display());
        }
        assert_eq!(names(self.data().join("containers")).filter(|name| name != ".names").count(), 0);
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        let all = self.xnet(&["ps", "-aq", "--no-trunc"]).stdout;
        let ids: Vec<_> = all.lines().collect();
        if !ids.is_empty() {
            self.xnet(&[&["rm", "-f"], &ids[..]].concat());
        }
    }
}

/// Puts a file of this text in the place of `path`, for this sandbox only.
fn cover(sandbox: &Sandbox, path: &str, text: &str) {
    let file = sandbox.path(&format!("cover-{}", path.replace('/', "-")));
    fs::write(&file, text).unwrap();
    mount(Some(&file), path, None::<&str>, MsFlags::MS_BIND, None::<&str>).unwrap();
}
