//! What a service manager gives, and is told: a manager's own socket, played by the test, and descriptors that it passes.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use sandbox::{Ended, Sandbox, kill};
use serde_json::json;

/// Says `$1` to whoever wants to be notified.
const SAY: &str = r#"say() { perl -MSocket -e 'socket(S, AF_UNIX, SOCK_DGRAM, 0) and
    send(S, $ARGV[0], 0, pack_sockaddr_un($ENV{NOTIFY_SOCKET})) or die $!' "$1"; }"#;

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
    address: String,
}

impl Manager {
    fn new(sandbox: &Sandbox) -> Self {
        let address = sandbox.path("manager").to_str().unwrap().to_owned();
        let socket = UnixDatagram::bind(&address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, address }
    }

    fn hears(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// Waits for these words, whatever is said before.
    fn awaits(&self, words: &str) {
        while self.hears() != words {}
    }

    fn has_heard_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        assert!(self.socket.recv(&mut [0; 4096]).is_err());
    }
}

/// Requirement: F-notify.
#[test]
fn a_container_in_the_foreground_tells_that_it_is_ready() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let script =
        format!("{SAY}; echo $NOTIFY_SOCKET; say 'MAINPID=1'; say 'READY=1\nMAINPID=1\nSTATUS=up'; say STOPPING=1");
    // Whoever it runs as, and although nothing of the host's can be written to.
    for options in [&["--user=1000", "--read-only"][..], &["--init"]] {
        let mut command = sandbox.run_command(&[&["--net=none"], options].concat(), &["sh", "-c", &script]);
        Ended::of(command.env("NOTIFY_SOCKET", &manager.address)).expect(0, "/run/notify/socket");
        // The main process is the one that the manager has started.
        assert_eq!(manager.hears(), "READY=1\nSTATUS=up\n");
        assert_eq!(manager.hears(), "STOPPING=1\n");
    }
    // Who wants it otherwise says so.
    let mut own = sandbox
        .run_command(&["--net=none", "-e", "NOTIFY_SOCKET=/mine"], &["sh", "-c", "echo $NOTIFY_SOCKET; ls -d /run/n*"]);
    let ended = Ended::of(own.env("NOTIFY_SOCKET", &manager.address));
    assert_eq!(ended.stdout, "/mine\n");
    manager.has_heard_nothing();
    sandbox.assert_clean();
}

/// Requirement: F-notify, S0-A1.
#[test]
fn the_monitor_is_the_main_process_of_a_service_in_the_background() {
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let script = format!("{SAY}; say READY=1; while :; do say STATUS=alive; sleep 0.1; done");
    let args =
        ["run", "-d", "--net=none", "--name=web", "--cgroup-parent", sandbox.cgroup(), "--", "sh", "-c", &script];
    let id = Ended::of(sandbox.command(&args).env("NOTIFY_SOCKET", &manager.address)).stdout.trim().to_owned();
    let main = || format!("MAINPID={}\n", sandbox.info(&id)["monitor"]["pid"]);
    // Said before the one whom the manager has started is gone.
    assert_eq!(manager.hears(), main());
    assert_eq!(manager.hears(), format!("READY=1\n{}", main()));
    assert_eq!(manager.hears(), "STATUS=alive\n");
    let before = main();
    kill(&sandbox.info(&id)["monitor"]["pid"]);
    // Somebody else's manager is not ours.
    let mut ps = sandbox.command(&["ps", "--format", "{{.Names}}"]);
    Ended::of(ps.env("NOTIFY_SOCKET", "/nowhere")).expect(0, "web");
    assert_ne!(main(), before);
    manager.awaits(&main());
    manager.awaits("STATUS=alive\n");
    sandbox.xnet(&["rm", "-f", "web"]).expect(0, "web");
    sandbox.assert_clean();
}

/// `xnet ARGS` as a manager starts it that passes `socket`.
fn activated(sandbox: &Sandbox, socket: &UnixDatagram, args: &[&str]) -> Command {
    let xnet = sandbox.command(args);
    let mut command = Command::new("sh");
    let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID=$$ exec \"$0\" \"$@\"";
    command.args(["-c", script]).arg(xnet.get_program()).args(xnet.get_args());
    command.envs(xnet.get_envs().filter_map(|(key, value)| Some((key, value?))));
    command.stdin(Stdio::from(OwnedFd::from(socket.try_clone().unwrap())));
    command
}

/// What the container has as descriptor 3, and is told about it.
const LOOK: &str = "echo $LISTEN_FDS $LISTEN_FDNAMES $((LISTEN_PID == $$)) $(readlink /proc/self/fd/3); [ -e /proc/$$/fd/4 ] || echo no more";

/// Requirement: F-notify.
#[test]
fn sockets_of_the_manager_are_passed_on() {
    let sandbox = Sandbox::new();
    let (socket, _other) = UnixDatagram::pair().unwrap();
    let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
    let expected = format!("1 web 1 {}\nno more", link.display());
    let fixed = ["run", "--net=none", "--cgroup-parent", sandbox.cgroup()];
    for options in [&["--rm", "--", "sh", "-c", LOOK][..], &["--rm", "--init", "--", "sh", "-c", LOOK]] {
        Ended::of(&mut activated(&sandbox, &socket, &[&fixed[..], options].concat())).expect(0, &expected);
    }
    // From the background, and for the runs after the first one.
    let again = format!("{LOOK}; exit 1");
    let background = ["-d", "--name=web", "--restart=on-failure:1", "--", "sh", "-c", &again];
    assert_eq!(Ended::of(&mut activated(&sandbox, &socket, &[&fixed[..], &background].concat())).code, 0);
    sandbox::eventually("both runs have ended", || {
        let state = sandbox.xnet(&["inspect", "-f", "{{.RestartCount}} {{.State.Status}}", "web"]).stdout;
        state.trim() == "1 exited"
    });
    let logs = sandbox.xnet(&["logs", "web"]).stdout;
    assert_eq!(logs.trim(), format!("{expected}\n{expected}"));
    // What was meant for another process is nobody's here.
    let mut inherited =
        sandbox.run_command(&["--net=none"], &["sh", "-c", "echo $LISTEN_FDS; [ -e /proc/$$/fd/3 ] || echo none"]);
    Ended::of(inherited.env("LISTEN_FDS", "1").env("LISTEN_PID", "1")).expect(0, "\nnone");
    sandbox.xnet(&["rm", "web"]).expect(0, "web");
    sandbox.assert_clean();
}

/// A bundle in which `script` runs with the host's programs. Answers the arguments in front of a verb, and those behind it.
fn bundle(sandbox: &Sandbox, script: &str) -> [String; 2] {
    let [root, bundle] = ["oci", "bundle"].map(|name| sandbox.path(name).to_str().unwrap().to_owned());
    fs::create_dir(&bundle).unwrap();
    sandbox.xnet(&["oci", "spec", "--bundle", &bundle]).expect(0, "");
    let rootfs = sandbox.rootfs();
    let path = format!("{bundle}/config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["process"]["terminal"] = false.into();
    config["process"]["args"] = json!(["sh", "-c", script]);
    config["root"]["path"] = rootfs.to_str().unwrap().into();
    config["linux"]["cgroupsPath"] = format!("/{}/box", sandbox.cgroup()).into();
    for dir in ["/usr", "/lib", "/lib64"] {
        let mount = json!({"destination": dir, "type": "bind", "source": dir, "options": ["rbind", "ro"]});
        config["mounts"].as_array_mut().unwrap().push(mount);
    }
    fs::write(path, config.to_string()).unwrap();
    [root, bundle]
}

/// Requirement: F-notify, S0-F1.
#[test]
fn the_container_of_a_bundle_is_ready_when_start_comes_back() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let sandbox = Sandbox::new();
    let manager = Manager::new(&sandbox);
    let [root, bundle] = bundle(&sandbox, &format!("{SAY}; sleep 0.1; say 'READY=1\nMAINPID=1'; exec sleep 100"));
    let oci = |args: &[&str]| {
        let mut command = sandbox.command(&[&["oci", "--root", &root], args].concat());
        command.env("NOTIFY_SOCKET", &manager.address).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().unwrap().code()
    };
    let pid_file = sandbox.path("pid");
    assert_eq!(oci(&["create", "--pid-file", pid_file.to_str().unwrap(), "--bundle", &bundle, "box"]), Some(0));
    assert_eq!(oci(&["start", "box"]), Some(0));
    assert_eq!(manager.hears(), format!("READY=1\nMAINPID={}\n", fs::read_to_string(&pid_file).unwrap()));
    assert_eq!(oci(&["delete", "--force", "box"]), Some(0));
    // In the foreground it is xnet that the manager has started.
    let mut run = sandbox.command(&["oci", "--root", &root, "run", "--bundle", &bundle, "box"]);
    let mut run = run.env("NOTIFY_SOCKET", &manager.address).stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(manager.hears(), "READY=1\n");
    assert_eq!(oci(&["kill", "box", "KILL"]), Some(0));
    assert_eq!(run.wait().unwrap().code(), Some(137));
    manager.has_heard_nothing();
    // One that ends without a word does not keep `start` waiting.
    let path = format!("{bundle}/config.json");
    let text = fs::read_to_string(&path).unwrap().replace("exec sleep 100", "exit 0").replace("READY=1", "STATUS=x");
    fs::write(&path, text).unwrap();
    assert_eq!(oci(&["create", "--bundle", &bundle, "box"]), Some(0));
    assert_eq!(oci(&["start", "box"]), Some(0));
    assert_eq!(oci(&["delete", "--force", "box"]), Some(0));
}

/// Requirement: F-notify, S0-F1.
#[test]
fn the_container_of_a_bundle_gets_the_managers_sockets() {
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let sandbox = Sandbox::new();
    let (socket, _other) = UnixDatagram::pair().unwrap();
    let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
    let [root, bundle] = bundle(&sandbox, LOOK);
    let args = ["oci", "--root", &root, "run", "--bundle", &bundle, "box"];
    Ended::of(&mut activated(&sandbox, &socket, &args)).expect(0, &format!("1 web 1 {}\nno more", link.display()));
}
