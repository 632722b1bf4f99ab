//! The command line by which engines call an OCI runtime: each command and flag that they use does what it says.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod engine;
mod sandbox;

use std::fs;
use std::process::{Command, Stdio};

use engine::Engine;
use nix::sys::wait::waitpid;
use sandbox::Ended;
use serde_json::{Value, json};

impl Engine {
    fn bundle(&self) -> String {
        self.bundle.display().to_string()
    }

    fn file(&self, name: &str) -> String {
        self.sandbox.path(name).display().to_string()
    }
}

/// Requirement: F-oci, F-features.
#[test]
fn every_command_of_an_engine_is_there() {
    let engine = Engine::new(&["sleep", "100"]);
    let (bundle, pid_file) = (engine.bundle(), engine.file("pid"));
    let run = ["run", "--detach", "--keep", "--pid-file", &pid_file, "--bundle", &bundle, "box"];
    let status = engine.command(&run).stdout(Stdio::null()).status().unwrap();
    assert!(status.success());
    let pid = engine.pid();
    assert_eq!((engine.status(), engine.state()["pid"].as_i64()), ("running".to_owned(), Some(pid.as_raw().into())));
    let list: Value = serde_json::from_str(&engine.oci(&["list", "--format", "json"]).stdout).unwrap();
    assert_eq!((&list[0]["id"], &list[0]["status"]), (&json!("box"), &json!("running")));
    let table = engine.oci(&["list"]).stdout;
    assert!(table.starts_with("ID ") && table.contains(&format!("box   {pid}")), "{table}");
    let table = engine.oci(&["ps", "box"]).stdout;
    assert!(table.starts_with("UID ") && table.contains("sleep 100"), "{table}");
    engine.oci(&["exec", "box", "echo", "beside"]).expect(0, "beside");
    engine.oci(&["pause", "box"]).expect(0, "");
    engine.oci(&["resume", "box"]).expect(0, "");
    let resources = engine.file("resources");
    fs::write(&resources, r#"{"pids": {"limit": 30}}"#).unwrap();
    engine.oci(&["update", "--resources", &resources, "box"]).expect(0, "");
    assert!(engine.oci(&["features"]).stdout.contains("\"ociVersionMax\""));
    engine.oci(&["kill", "--all", "box", "SIGKILL"]).expect(0, "");
    waitpid(pid, None).unwrap();
    // It was to be kept.
    assert_eq!(engine.status(), "stopped");
    engine.oci(&["delete", "box"]).expect(0, "");
    engine.assert_clean();
    // With the terminal that `spec` gives, there must be somebody to take it.
    let other = engine.sandbox.path("other");
    fs::create_dir(&other).unwrap();
    engine.oci(&["spec", "--bundle", &other.display().to_string()]).expect(0, "");
    engine.oci(&["spec", "--bundle", &other.display().to_string()]).expect_refusal(125, "File exists");
    assert!(fs::read_to_string(other.join("config.json")).unwrap().contains("\"ociVersion\""));
}

/// Requirement: F-oci.
#[test]
fn descriptors_are_passed_on_if_asked_for() {
    let engine = Engine::new(&["sh", "-c", "cat <&3; cat <&4"]);
    let (bundle, one) = (engine.bundle(), engine.file("one"));
    fs::write(&one, "passed on\n").unwrap();
    let with = |args: &[&str]| {
        let inner = engine.command(args);
        let mut command = Command::new("sh");
        command.args(["-c", "exec 3<$0 4<$0; exec \"$@\"", &one]).arg(inner.get_program()).args(inner.get_args());
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Ended::of(&mut command)
    };
    with(&["run", "--preserve-fds", "2", "--bundle", &bundle, "box"]).expect(0, "passed on\npassed on");
    let ended = with(&["run", "--preserve-fds", "1", "--bundle", &bundle, "box"]);
    assert!(ended.code != 0 && ended.stdout == "passed on\n", "{ended:?}");
    let ended = with(&["run", "--bundle", &bundle, "box"]);
    assert!(ended.code != 0 && ended.stdout.is_empty(), "{ended:?}");
    engine.assert_clean();
}

/// Requirement: F-oci.
#[test]
fn the_callers_session_keyring_stays_if_asked_for() {
    let engine = Engine::new(&["session"]);
    let source = "#include <stdio.h>\n#include <unistd.h>\n#include <sys/syscall.h>\n\
        int main(void) { printf(\"%ld\\n\", syscall(SYS_keyctl, 0, -3, 0)); return 0; }";
    engine.sandbox.program("session", source);
    let bundle = engine.bundle();
    let session = |options: &[&str]| {
        let ended = engine.oci(&[&["run", "--bundle", &bundle], options, &["box"]].concat());
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stdout
    };
    let own = Ended::of(&mut Command::new(engine.sandbox.path("rootfs/bin/session"))).stdout;
    assert_eq!(session(&["--no-new-keyring"]), own);
    assert_ne!(session(&[]), own);
    engine.assert_clean();
}

/// By a chroot within, whose root is then left by `..`: the way out of a root that was changed without care.
const ESCAPE: &str = r#"
    #include <stdio.h>
    #include <unistd.h>
    #include <sys/stat.h>
    int main(void) {
        mkdir("/dev/jail", 0700);
        if (chroot("/dev/jail")) { perror("chroot"); return 1; }
        for (int n = 0; n < 30; n++) chdir("..");
        if (chroot(".")) { perror("chroot"); return 1; }
        puts(access("/bin/escape", F_OK) ? "outside" : "inside");
        return 0;
    }"#;

/// Requirement: F-oci.
#[test]
fn a_root_that_is_moved_is_as_closed_as_one_that_has_changed_places() {
    let engine = Engine::new(&["sh", "-c", "escape; busybox wc -l < /proc/self/mounts; touch /made 2>&1; ls /"]);
    engine.sandbox.program("escape", ESCAPE);
    engine.change(|config| {
        for set in ["bounding", "effective", "permitted"] {
            config["process"]["capabilities"][set] = json!(["CAP_SYS_CHROOT"]);
        }
    });
    let bundle = engine.bundle();
    let pivoted = engine.make("run");
    assert!(pivoted.code == 0 && pivoted.stdout.starts_with("inside\n"), "{pivoted:?}");
    assert!(pivoted.stdout.contains("Read-only file system") && !pivoted.stdout.contains("/home"), "{pivoted:?}");
    let moved = engine.oci(&["run", "--no-pivot", "--bundle", &bundle, "box"]);
    assert_eq!((moved.code, &moved.stdout), (0, &pivoted.stdout), "{}", moved.stderr);
    // Those who come later arrive at the same place.
    engine.change(|config| config["process"]["args"] = json!(["sleep", "100"]));
    let pid_file = engine.file("pid");
    let create = ["create", "--no-pivot", "--pid-file", &pid_file, "--bundle", &bundle, "box"];
    assert!(engine.command(&create).stdout(Stdio::null()).status().unwrap().success());
    engine.oci(&["start", "box"]).expect(0, "");
    engine.oci(&["exec", "--cap", "CAP_SYS_CHROOT", "box", "escape"]).expect(0, "inside");
    engine.oci(&["delete", "--force", "box"]).expect(0, "");
    waitpid(engine.pid(), None).unwrap();
    engine.assert_clean();
}

/// Requirement: F-oci.
#[test]
fn errors_go_to_the_log_of_the_engine_as_well() {
    let engine = Engine::new(&["true"]);
    let log = engine.file("log");
    let failed = |format: &str| {
        let options = ["--log", &log, "--log-format", format, "--debug", "--rootless", "auto", "start", "nobody"];
        engine.oci(&options).expect_refusal(125, "container \"nobody\" does not exist");
        fs::read_to_string(&log).unwrap()
    };
    let text = failed("text");
    assert!(text.contains("level=error") && text.contains("does not exist"), "{text}");
    let both = failed("json");
    let line: Value = serde_json::from_str(both.lines().last().unwrap()).unwrap();
    assert!(both.starts_with(&text), "what was there is gone: {both}");
    assert_eq!((&line["level"], &line["msg"]), (&json!("error"), &json!("container \"nobody\" does not exist")));
    assert!(line["time"].is_string());
    assert_ne!(engine.oci(&["--log-format", "xml", "list"]).code, 0);
}
