//! An engine that uses the runner as its OCI runtime.

#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]
#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::prctl;
use nix::unistd::Pid;
use serde_json::Value;

use crate::sandbox::{Ended, Sandbox, groups};

/// A bundle of one busybox, and the engine that uses it.
pub struct Engine {
    pub sandbox: Sandbox,
    pub bundle: PathBuf,
}

impl Engine {
    /// With the configuration that `spec` writes, for a command without a terminal.
    pub fn new(args: &[&str]) -> Self {
        // Whoever uses a runtime is the parent of its containers.
        prctl::set_child_subreaper(true).unwrap();
        let sandbox = Sandbox::new();
        let bundle = sandbox.path("bundle");
        fs::create_dir(&bundle).unwrap();
        let engine = Self { sandbox, bundle };
        engine.oci(&["spec", "--bundle", engine.bundle.to_str().unwrap()]).expect(0, "");
        let (rootfs, group) = (engine.sandbox.rootfs(), format!("/{}/box", engine.sandbox.cgroup()));
        engine.change(|config| {
            config["process"]["terminal"] = false.into();
            config["process"]["args"] = args.into();
            config["root"]["path"] = rootfs.to_str().unwrap().into();
            config["linux"]["cgroupsPath"] = group.into();
        });
        engine
    }

    pub fn change(&self, change: impl FnOnce(&mut Value)) {
        let path = self.bundle.join("config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(path, config.to_string()).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let root = self.sandbox.path("oci");
        let mut command = self.sandbox.command(&["oci", "--root", root.to_str().unwrap()]);
        command.args(args);
        command
    }

    pub fn oci(&self, args: &[&str]) -> Ended {
        Ended::of(&mut self.command(args))
    }

    /// `run` or `create` of the bundle, as the container `box`.
    pub fn make(&self, verb: &str) -> Ended {
        self.oci(&[verb, "--bundle", self.bundle.to_str().unwrap(), "box"])
    }

    /// `create` with output that goes to a file: the container keeps it.
    pub fn create(&self) -> PathBuf {
        let (out, pid_file) = (self.sandbox.path("out"), self.sandbox.path("pid"));
        let file = fs::File::create(&out).unwrap();
        let args = ["create", "--pid-file", pid_file.to_str().unwrap()];
        let mut command = self.command(&args);
        command.args(["--bundle", self.bundle.to_str().unwrap(), "box"]);
        let status = command.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
        assert!(status.success(), "{}", fs::read_to_string(&out).unwrap());
        out
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(fs::read_to_string(self.sandbox.path("pid")).unwrap().parse().unwrap())
    }

    pub fn state(&self) -> Value {
        let ended = self.oci(&["state", "box"]);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    pub fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Nothing is on record, and no group below the engine's own.
    pub fn assert_clean(&self) {
        let left: Vec<_> = fs::read_dir(self.sandbox.path("oci")).into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
        for group in groups(self.sandbox.cgroup()) {
            fs::remove_dir(&group).unwrap();
        }
        self.sandbox.assert_clean();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.oci(&["delete", "--force", "box"]);
        groups(self.sandbox.cgroup()).iter().for_each(|group| drop(fs::remove_dir(group)));
    }
}
