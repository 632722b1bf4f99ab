//! The runner as an OCI runtime: bundles, the life cycle in steps, hooks, and what is refused.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod engine;
mod sandbox;
mod systemd1;

use std::fs;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use engine::Engine;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::wait::{WaitStatus, waitpid};
use sandbox::{Ended, groups};
use serde_json::{Value, json};
use systemd1::Systemd;

/// Requirement: F-oci, S0-F1.
#[test]
fn run_gives_a_bundle_its_own_namespaces_and_passes_the_status_on() {
    let engine = Engine::new(&["sh", "-c", "echo $$; hostname; cat /proc/mounts | busybox head -n 1; exit 42"]);
    let ended = engine.make("run");
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!((ended.code, lines[0], lines[1]), (42, "1", "xnet"), "{}", ended.stderr);
    assert!(lines[2].contains(" / ") && lines[2].contains(" ro,"), "{}", lines[2]);
    engine.assert_clean();
}

/// Requirement: F-oci, S0-F1.
#[test]
fn create_start_kill_and_delete_follow_the_specification() {
    let engine = Engine::new(&["sleep", "100"]);
    engine.create();
    let (state, pid) = (engine.state(), engine.pid());
    assert_eq!((&state["status"], &state["id"]), (&json!("created"), &json!("box")));
    assert_eq!(state["pid"], pid.as_raw());
    assert_eq!(state["bundle"], engine.bundle.canonicalize().unwrap().to_str().unwrap());
    engine.make("create").expect_refusal(125, "already exists");
    engine.oci(&["start", "box"]).expect(0, "");
    assert_eq!(engine.status(), "running");
    engine.oci(&["start", "box"]).expect_refusal(125, "in the state running");
    engine.oci(&["delete", "box"]).expect_refusal(125, "not stopped");
    assert!(engine.oci(&["list", "-q"]).stdout.contains("box"));
    assert_eq!(engine.oci(&["ps", "--format", "json", "box"]).stdout.trim(), format!("[{pid}]"));
    engine.oci(&["kill", "box", "KILL"]).expect(0, "");
    // The container's parent is whoever called: it can take the status.
    assert!(matches!(waitpid(pid, None).unwrap(), WaitStatus::Signaled(..)));
    assert_eq!(engine.status(), "stopped");
    engine.oci(&["kill", "box", "KILL"]).expect_refusal(125, "container not running");
    engine.oci(&["delete", "box"]).expect(0, "");
    engine.oci(&["state", "box"]).expect_refusal(125, "does not exist");
    engine.oci(&["delete", "box"]).expect_refusal(125, "does not exist");
    engine.oci(&["delete", "--force", "box"]).expect(0, "");
    engine.assert_clean();
}

/// Requirement: F-oci, S0-F1.
#[test]
fn what_is_changed_after_create_means_nothing() {
    let engine = Engine::new(&["sh", "-c", "echo first"]);
    let out = engine.create();
    engine.change(|config| config["process"]["args"] = json!(["sh", "-c", "echo second"]));
    engine.oci(&["start", "box"]).expect(0, "");
    waitpid(engine.pid(), None).unwrap();
    assert_eq!(fs::read_to_string(out).unwrap(), "first\n");
}

/// Requirement: F-hooks, S0-F1.
#[test]
fn hooks_run_in_their_order_with_the_state_on_their_input() {
    let engine = Engine::new(&["sh", "-c", "echo command >> /log/log"]);
    let dir = engine.sandbox.path("log");
    fs::create_dir(&dir).unwrap();
    let log = dir.join("log");
    engine.change(|config| {
        config["mounts"].as_array_mut().unwrap().push(json!(
            {"destination": "/log", "type": "bind", "source": dir.to_str().unwrap(), "options": ["rbind"]}
        ));
        // In one write: the command comes while poststart is running.
        for moment in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
            config["hooks"][moment] =
                hook(&format!("state=$(cat); printf '{moment}\\n%s\\n' \"$state\" >> {}", log.display()));
        }
        config["hooks"]["startContainer"] =
            hook("state=$(cat); printf 'startContainer\\n%s\\n' \"$state\" >> /log/log");
    });
    engine.create();
    engine.oci(&["start", "box"]).expect(0, "");
    waitpid(engine.pid(), None).unwrap();
    engine.oci(&["delete", "box"]).expect(0, "");
    let told = fs::read_to_string(&log).unwrap();
    let moments: Vec<_> = told.lines().filter(|line| !line.starts_with('{') && *line != "command").collect();
    assert_eq!(moments, ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]);
    let at = |word: &str| told.lines().position(|line| line == word).unwrap();
    assert!(at("startContainer") < at("command") && at("command") < at("poststop"), "{told}");
    let states: Vec<Value> =
        told.lines().filter(|l| l.starts_with('{')).map(|l| serde_json::from_str(l).unwrap()).collect();
    let statuses: Vec<_> = states.iter().map(|state| state["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["creating", "creating", "creating", "created", "running", "stopped"]);
    assert!(states[..5].iter().all(|state| state["pid"] == engine.pid().as_raw()), "{states:?}");
    engine.assert_clean();
}

fn hook(script: &str) -> Value {
    json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
}

/// Requirement: F-hooks.
#[test]
fn a_hook_that_fails_or_hangs_ends_create_and_leaves_nothing() {
    let engine = Engine::new(&["true"]);
    for moment in ["prestart", "createRuntime", "createContainer"] {
        engine.change(|config| config["hooks"] = json!({moment: hook("echo no such bridge >&2; exit 3")}));
        let ended = engine.make("create");
        ended.expect_refusal(125, &format!("hook {moment}[0] /bin/sh: exit status: 3: no such bridge"));
        engine.oci(&["state", "box"]).expect_refusal(125, "does not exist");
    }
    engine.change(|config| {
        config["hooks"] = json!({"createRuntime": hook("exec sleep 100")});
        config["hooks"]["createRuntime"][0]["timeout"] = 1.into();
    });
    engine.make("create").expect_refusal(125, "has not ended after 1 s");
    // What happens after the container's end cannot be taken back.
    engine.change(|config| config["hooks"] = json!({"poststop": hook("exit 3")}));
    let ended = engine.make("run");
    assert!(ended.code == 0 && ended.stderr.contains("hook poststop[0]"), "{}", ended.stderr);
    engine.assert_clean();
}

/// Requirement: F-oci, S0-F1, P-2.
#[test]
fn exec_joins_the_container() {
    let engine = Engine::new(&["sleep", "100"]);
    engine.create();
    engine.oci(&["start", "box"]).expect(0, "");
    engine.oci(&["exec", "box", "hostname"]).expect(0, "xnet");
    engine
        .oci(&["exec", "-e", "A=b", "--cwd", "/bin", "-u", "7:8", "box", "sh", "-c", "echo $A; id -u; busybox pwd"])
        .expect(0, "b\n7\n/bin");
    engine.oci(&["exec", "box", "sh", "-c", "exit 9"]).expect(9, "");
    engine.oci(&["exec", "box", "nothing"]).expect_refusal(127, "executable file not found in $PATH");
    let same = engine.oci(&["exec", "box", "sh", "-c", "for n in pid net mnt uts ipc cgroup; do readlink /proc/1/ns/$n; readlink /proc/self/ns/$n; done | busybox uniq -u"]);
    same.expect(0, "");
    let file = engine.sandbox.path("process.json");
    let process = json!({"user": {"uid": 5, "gid": 6}, "cwd": "/", "args": ["/bin/sh", "-c", "id -u; id -g; echo $Q"],
        "env": ["Q=q", "PATH=/bin"]});
    fs::write(&file, process.to_string()).unwrap();
    engine.oci(&["exec", "--process", file.to_str().unwrap(), "box"]).expect(0, "5\n6\nq");
    engine.oci(&["kill", "box", "9"]).expect(0, "");
    waitpid(engine.pid(), None).unwrap();
    engine.oci(&["exec", "box", "true"]).expect_refusal(125, "stopped");
}

/// Requirement: S0-F1, F-pause.
#[test]
fn a_container_is_frozen_and_its_limits_change() {
    let engine = Engine::new(&["sleep", "100"]);
    engine.change(|config| config["linux"]["resources"]["pids"] = json!({"limit": 20}));
    engine.create();
    engine.oci(&["start", "box"]).expect(0, "");
    engine.oci(&["pause", "box"]).expect(0, "");
    assert_eq!(engine.status(), "paused");
    engine.oci(&["exec", "box", "true"]).expect_refusal(125, "paused");
    engine.oci(&["resume", "box"]).expect(0, "");
    assert_eq!(engine.status(), "running");
    let file = engine.sandbox.path("resources.json");
    fs::write(&file, r#"{"pids": {"limit": 30}}"#).unwrap();
    engine.oci(&["update", "--resources", file.to_str().unwrap(), "box"]).expect(0, "");
    let limits: Vec<_> = groups(engine.sandbox.cgroup())
        .iter()
        .filter_map(|group| fs::read_to_string(group.join("box/pids.max")).ok())
        .collect();
    assert_eq!(limits, ["30\n"]);
    engine.oci(&["delete", "--force", "box"]).expect(0, "");
    engine.assert_clean();
}

/// Requirement: F-oci, S0-F1.
#[test]
fn a_terminal_is_handed_over_by_the_console_socket() {
    let engine = Engine::new(&["sh", "-c", "busybox tty; busybox stat -c %t:%T /dev/console; exit 3"]);
    engine.change(|config| config["process"]["terminal"] = true.into());
    engine.make("create").expect_refusal(125, "--console-socket");
    let path = engine.sandbox.path("console");
    let listener = UnixListener::bind(&path).unwrap();
    let args = ["create", "--console-socket", path.to_str().unwrap(), "--pid-file"];
    let mut command = engine.command(&args);
    command.arg(engine.sandbox.path("pid")).args(["--bundle", engine.bundle.to_str().unwrap(), "box"]);
    assert!(command.stdout(Stdio::null()).status().unwrap().success());
    let (stream, _) = listener.accept().unwrap();
    let (mut name, mut space) = ([0; 64], nix::cmsg_space!(RawFd));
    let mut parts = [IoSliceMut::new(&mut name)];
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
    let fds = message.cmsgs().unwrap().find_map(|part| match part {
        ControlMessageOwned::ScmRights(fds) => Some(fds),
        _ => None,
    });
    // SAFETY: the kernel has just opened it for this process.
    #[expect(unsafe_code, reason = "a descriptor that came in a message")]
    let mut master = fs::File::from(unsafe { OwnedFd::from_raw_fd(fds.unwrap()[0]) });
    engine.oci(&["start", "box"]).expect(0, "");
    assert!(matches!(waitpid(engine.pid(), None).unwrap(), WaitStatus::Exited(_, 3)));
    let mut told = Vec::new();
    // The end of a terminal is an error.
    let _ = master.read_to_end(&mut told);
    assert_eq!(String::from_utf8_lossy(&told), "/dev/pts/0\r\n88:0\r\n");
}

/// Requirement: S0-F1.
#[test]
fn what_cannot_be_kept_is_refused_by_name() {
    let engine = Engine::new(&["true"]);
    let path = engine.bundle.join("config.json");
    let good = fs::read_to_string(&path).unwrap();
    for (pointer, value, told) in [
        ("/ociVersion", json!("2.0.0"), "ociVersion"),
        ("/process", Value::Null, "no \"process\""),
        ("/process/args", json!([]), "process.args"),
        ("/process/cwd", json!("tmp"), "process.cwd"),
        ("/process/env", json!(["NOVALUE"]), "process.env"),
        ("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": 2, "hard": 1}]), "process.rlimits"),
        ("/root/path", json!("nowhere"), "root.path"),
        ("/mounts/0/type", json!("nosuchfs"), "nosuchfs"),
        ("/mounts/0/options", json!(["hidepid=2"]), "hidepid"),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "user"}, {"type": "uts"}]), "user namespace"),
        ("/linux/namespaces", json!([{"type": "pid"}, {"type": "uts"}]), "mount namespace"),
        ("/linux/namespaces", json!([{"type": "uts"}, {"type": "uts"}]), "twice"),
        ("/linux/cgroupsPath", json!("/../x"), "linux.cgroupsPath"),
        ("/linux/cgroupsPath", json!("/"), "linux.cgroupsPath"),
        ("/linux/maskedPaths", json!(["proc/keys"]), "linux.maskedPaths"),
    ] {
        engine.change(|config| *config.pointer_mut(pointer).unwrap() = value.clone());
        engine.make("run").expect_refusal(125, told);
        fs::write(&path, &good).unwrap();
    }
    for (part, value) in [
        ("sysctl", json!({"kernel.panic": "1"})),
        ("netDevices", json!({"eth9": {}})),
        ("rootfsPropagation", json!("sideways")),
        ("intelRdt", json!({"closID": "x"})),
        ("uidMappings", json!([{"containerID": 0, "hostID": 1000, "size": 1}])),
    ] {
        engine.change(|config| config["linux"][part] = value);
        engine.make("run").expect_refusal(125, &format!("linux.{part}"));
        fs::write(&path, &good).unwrap();
    }
    fs::write(&path, "{").unwrap();
    engine.make("run").expect_refusal(125, "config.json");
    fs::remove_file(&path).unwrap();
    engine.make("run").expect_refusal(125, "config.json: No such file");
    engine.oci(&["state", "../x"]).expect_refusal(125, "invalid container id");
    engine.assert_clean();
}

/// Requirement: F-netdev, S0-F1.
#[test]
fn network_devices_of_the_bundle_move_in_with_their_addresses() {
    let engine = Engine::new(&["/bin/busybox", "ip", "addr", "show", "wan"]);
    let ip = |args: &str| Ended::of(Command::new("ip").args(args.split(' ')));
    ip("link add lent type veth peer name far").expect(0, "");
    ip("addr add 192.0.2.1/24 dev lent").expect(0, "");
    engine.change(|config| config["linux"]["netDevices"] = json!({"lent": {"name": "wan"}}));
    // What is not made after all gives it back.
    engine.change(|config| config["hooks"] = json!({"createRuntime": [{"path": "/bin/false"}]}));
    engine.make("run").expect_refusal(125, "createRuntime");
    assert!(ip("addr show lent").stdout.contains("192.0.2.1/24"));
    engine.change(|config| config["hooks"] = json!({}));
    let shown = engine.make("run");
    assert!(shown.stdout.contains("192.0.2.1/24") && shown.stdout.contains(",UP"), "{}{}", shown.stdout, shown.stderr);
    engine.change(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != "network");
    });
    engine.make("run").expect_refusal(125, "linux.netDevices");
    engine.assert_clean();
}

/// A group with processes in it is somebody's: they would be killed with the container.
#[test]
fn a_group_that_is_in_use_is_refused() {
    let engine = Engine::new(&["sleep", "100"]);
    engine.create();
    let bundle = engine.bundle.to_str().unwrap();
    engine.oci(&["create", "--bundle", bundle, "other"]).expect_refusal(125, "is in use already");
    assert_eq!(engine.status(), "created");
    engine.oci(&["delete", "box"]).expect(0, "");
    engine.assert_clean();
}

/// Requirement: S0-F1.
#[test]
fn delete_cleans_up_after_a_create_that_was_killed_anywhere() {
    let engine = Engine::new(&["true"]);
    for point in ["oci-groups", "oci-clone", "oci-hooks", "oci-ready", "session", "mount", "pivot"] {
        let mut command = engine.command(&["create", "--bundle", engine.bundle.to_str().unwrap(), "box"]);
        // The container may live on, and with it a pipe.
        command.env("XNET_CRASH_AT", point).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        engine.oci(&["delete", "--force", "box"]).expect(0, "");
        engine.assert_clean();
    }
    for point in ["oci-groups", "oci-clone", "oci-hooks", "oci-ready", "session", "mount", "pivot"] {
        let mut command = engine.command(&["create", "--bundle", engine.bundle.to_str().unwrap(), "box"]);
        Ended::of(command.env("XNET_FAIL_AT", point)).expect_refusal(125, "as XNET_FAIL_AT asks");
        engine.assert_clean();
    }
}

/// Requirement: F-features, S0-F1.
#[test]
fn the_program_tells_what_it_can_do_under_its_own_name_too() {
    let engine = Engine::new(&["true"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_xnet"));
    let ended = Ended::of(command.arg0("/usr/local/bin/xnet-oci").arg("features"));
    let features: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(features["hooks"].as_array().unwrap().len(), 6);
    assert_eq!(features["linux"]["cgroup"]["v1"], true);
    let log = engine.sandbox.path("log.json");
    let ended = engine.oci(&["--log", log.to_str().unwrap(), "--log-format", "json", "state", "nobody"]);
    assert_eq!(ended.code, 125);
    let line: Value = serde_json::from_str(fs::read_to_string(log).unwrap().trim()).unwrap();
    assert_eq!((&line["level"], &line["msg"]), (&json!("error"), &json!("container \"nobody\" does not exist")));
}

/// Requirement: S4-11.
#[test]
fn with_systemd_the_group_is_a_scope() {
    let engine = Engine::new(&["sh", "-c", "cat /proc/self/cgroup; sleep 1000"]);
    let systemd = Systemd::new(&engine.sandbox.path(""));
    let slice = format!("{}.slice", engine.sandbox.cgroup().replace('-', ""));
    engine.change(|config| {
        config["linux"]["cgroupsPath"] = format!("{slice}:cri:box").into();
        config["linux"]["resources"]["pids"] = json!({"limit": 9});
    });
    let oci = |args: &[&str]| {
        let mut command = engine.command(&[&["--systemd-cgroup"], args].concat());
        Ended::of(command.env("DBUS_SYSTEM_BUS_ADDRESS", systemd.address()).stdout(Stdio::null()).stderr(Stdio::null()))
    };
    let (bundle, pid_file) = (engine.bundle.to_str().unwrap(), engine.sandbox.path("pid"));
    let created = oci(&["create", "--pid-file", pid_file.to_str().unwrap(), "--bundle", bundle, "box"]);
    assert_eq!(created.code, 0);
    let asked = systemd.asked();
    assert!(asked[0].starts_with("start cri-box.scope ") && asked[0].contains("DevicePolicy=\"strict\""), "{asked:?}");
    assert_eq!(asked[1..], ["set cri-box.scope TasksMax=uint64 9"]);
    let places = fs::read_to_string(format!("/proc/{}/cgroup", engine.pid())).unwrap();
    let path = format!(":/{slice}/cri-box.scope");
    assert!(places.lines().all(|line| line.ends_with(&path)), "{places}");
    let resources = engine.sandbox.path("resources");
    fs::write(&resources, r#"{"memory": {"limit": 33554432}}"#).unwrap();
    assert_eq!(oci(&["update", "--resources", resources.to_str().unwrap(), "box"]).code, 0);
    assert_eq!(systemd.asked(), ["set cri-box.scope MemoryMax=uint64 33554432 MemorySwapMax=uint64 33554432"]);
    assert_eq!(oci(&["delete", "--force", "box"]).code, 0);
    assert_eq!(systemd.asked(), ["stop cri-box.scope"]);
    for dir in groups(&slice) {
        fs::remove_dir(dir).unwrap();
    }
    engine.assert_clean();
}
