//! Container engines use `xnet` as their runtime: Debian's containerd, and Debian's podman.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use harness::{Containerd, Node, Suite, sh};

/// `xnet` under the name that makes it a runtime.
fn runtime() -> String {
    let path = "/run/xnet-oci";
    symlink(Suite::Ours.dir().join("xnet"), path).expect("link xnet-oci");
    path.to_owned()
}

fn rootfs() -> String {
    let rootfs = "/run/rootfs";
    sh(&format!(
        "mkdir -p {rootfs}/bin {rootfs}/dev {rootfs}/proc {rootfs}/sys {rootfs}/etc {rootfs}/run {rootfs}/tmp
        cp $(command -v busybox) {rootfs}/bin/busybox
        for name in sh sleep hostname cat true; do ln -s busybox {rootfs}/bin/$name; done"
    ));
    rootfs.to_owned()
}

/// What a command has printed, and its exit status.
fn outcome(mut command: Command) -> (i32, String, String) {
    let output = command.output().expect("start it");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Requirement: S0-F1, F-oci.
#[test]
fn containerd_runs_its_containers_with_xnet() {
    Node::run(|_| {
        let (runtime, rootfs) = (runtime(), rootfs());
        let containerd = Containerd::start();
        let run = |options: &[&str], id: &str, command: &[&str]| {
            let fixed = ["run", "--runc-binary", runtime.as_str()];
            let args = [&fixed[..], options, &["--rootfs", &rootfs, id], command].concat();
            outcome(containerd.ctr(&args))
        };
        let (code, told, log) = run(&["--rm"], "c1", &["/bin/sh", "-c", "echo $$; exit 7"]);
        assert_eq!((code, told.as_str()), (7, "1"), "{log}");
        let (code, _, log) = run(&["--rm"], "c2", &["/bin/nothing"]);
        assert!(code != 0 && log.contains("/bin/nothing: no such file in the container"), "{log}");
        let (code, _, log) = run(&["--detach"], "c3", &["/bin/sleep", "100"]);
        assert_eq!(code, 0, "{log}");
        let task = |args: &[&str]| outcome(containerd.ctr(&[&["task"], args].concat()));
        let (code, told, log) = task(&["exec", "--exec-id", "e1", "c3", "/bin/sh", "-c", "echo inside; exit 5"]);
        assert_eq!((code, told.as_str()), (5, "inside"), "{log}");
        for (verb, shown) in [("pause", "PAUSED"), ("resume", "RUNNING")] {
            let (code, _, log) = task(&[verb, "c3"]);
            assert_eq!(code, 0, "{verb}: {log}");
            assert!(task(&["list"]).1.contains(shown), "{verb}");
        }
        let (_, _, log) = task(&["delete", "--force", "c3"]);
        assert!(!task(&["list"]).1.contains("c3"), "{log}");
        assert_eq!(outcome(containerd.ctr(&["container", "delete", "c3"])).0, 0);
        containerd.assert_nothing_runs();
    });
}

/// The limits of open files and processes that podman would ask for may be above what this machine allows anybody.
///
/// Requirement: S0-F1, F-oci.
#[test]
fn podman_runs_its_containers_with_xnet() {
    Node::run(|_| {
        let (runtime, rootfs) = (runtime(), rootfs());
        let place = PathBuf::from("/run/podman-test");
        fs::create_dir(&place).expect("make its directory");
        let podman = |args: &[&str]| {
            let mut command = Command::new("podman");
            command.arg("--root").arg(place.join("root")).arg("--runroot").arg(place.join("run"));
            command.arg("--tmpdir").arg(place.join("tmp"));
            command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", &runtime]);
            outcome({
                command.args(args);
                command
            })
        };
        let group = format!("xnet-podman-{}", std::process::id());
        let limits = [
            "--cgroup-parent",
            group.as_str(),
            "--network",
            "none",
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1024:1024",
        ];
        let run = |options: &[&str], command: &[&str]| {
            podman(&[&["run"], &limits[..], options, &["--rootfs", &rootfs], command].concat())
        };
        let (code, told, log) = run(&["--rm", "--hostname", "pod"], &["/bin/sh", "-c", "echo $$; hostname; exit 6"]);
        assert_eq!((code, told.as_str()), (6, "1\npod"), "{log}");
        let (code, _, log) = run(&["--detach", "--name", "p1"], &["/bin/sleep", "100"]);
        assert_eq!(code, 0, "{log}");
        let (code, told, log) = podman(&["exec", "p1", "/bin/sh", "-c", "echo inside; exit 5"]);
        assert_eq!((code, told.as_str()), (5, "inside"), "{log}");
        let (code, _, log) = podman(&["rm", "--force", "--time", "0", "p1"]);
        assert_eq!(code, 0, "{log}");
        // The groups of its monitors are podman's to remove, and it leaves them. The monitors themselves are nobody's children
        // here, and end a moment after podman.
        sh(&format!(
            "timeout 10 sh -c 'until find /sys/fs/cgroup/*/{group} -depth -type d -exec rmdir {{}} + 2>/dev/null
            do [ -n \"$(find /sys/fs/cgroup/*/{group} -prune)\" ] || exit 0; sleep 0.05; done'"
        ));
    });
}
