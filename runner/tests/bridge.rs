//! Bridge mode, with the plugins of others: a list in a file, programs in a directory.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use sandbox::{Ended, Sandbox, executable};

/// The plugins of the distribution.
const PEER: &str = "/usr/lib/cni";

/// A sandbox in which a list of the peer's plugins is ready to be used.
struct Node {
    sandbox: Sandbox,
    conf: String,
}

impl Node {
    fn new(more: &str) -> Self {
        let sandbox = Sandbox::new();
        let conf = sandbox.path("test.conflist");
        let leases = sandbox.path("leases");
        let text = format!(
            r#"{{"cniVersion": "1.0.0", "name": "test", "plugins": [
                {{"type": "bridge", "bridge": "xtest0", "isGateway": true, "ipMasq": true, "hairpinMode": true,
                  "ipam": {{"type": "host-local", "dataDir": "{}", "subnet": "10.9.8.0/24",
                            "routes": [{{"dst": "0.0.0.0/0"}}]}},
                  "dns": {{"nameservers": ["192.0.2.53"], "search": ["example.org"]}}}}{more}]}}"#,
            leases.display()
        );
        fs::write(&conf, text).unwrap();
        Self { conf: conf.to_str().unwrap().to_owned(), sandbox }
    }

    fn options(&self) -> Vec<&str> {
        vec!["--conf", &self.conf, "--cni-path", PEER]
    }

    fn leases(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.sandbox.path("leases/test")).into_iter().flatten().flatten();
        entries.map(|e| e.path()).filter(|p| p.file_name().unwrap().to_str().unwrap().starts_with("10.")).collect()
    }

    /// Nothing of any container is left, be it ours or the plugins'.
    fn assert_clean(&self) {
        self.sandbox.assert_clean();
        assert_eq!(self.leases(), Vec::<PathBuf>::new());
        let rules = Ended::of(Command::new("iptables").args(["-t", "nat", "-S"]));
        assert!(!rules.stdout.contains("10.9.8."), "{}", rules.stdout);
        let ports = Ended::of(Command::new("ip").args(["-o", "link", "show", "master", "xtest0"]));
        assert_eq!(ports.stdout, "");
    }
}

/// Requirement: NET-B, S0-V5, F-dns.
#[test]
fn a_container_gets_an_address_a_route_a_gateway_and_its_files() {
    let node = Node::new("");
    let script = "ip -o -4 addr show eth0 | awk '{print $4}'; ip route | sed -n 's/ *$//; /default/p'; \
                  ping -c1 -W2 10.9.8.1 >/dev/null && echo reached; cat /etc/resolv.conf; grep web /etc/hosts; ls /sys/class/net | tr '\\n' ' '";
    let mut options = node.options();
    options.push("--hostname=web");
    let ended = node.sandbox.run(&options, &["sh", "-c", script]);
    ended.expect(0, "10.9.8.2/24\ndefault via 10.9.8.1 dev eth0\nreached\nsearch example.org\nnameserver 192.0.2.53\n10.9.8.2\tweb\neth0 lo");
    node.assert_clean();
}

/// Requirement: NET-B, S0-V5.
#[test]
fn containers_reach_each_other_and_have_addresses_of_their_own() {
    let node = Node::new("");
    let script = "ip -o -4 addr show eth0 | awk '{print $4}'; exec sleep 1000";
    let first = node.sandbox.start(&node.options(), script);
    let address = first.first.split('/').next().unwrap().to_owned();
    let ping =
        format!("ip -o -4 addr show eth0 | awk '{{print $4}}'; ping -c1 -W2 {address} >/dev/null && echo reached");
    let ended = node.sandbox.run(&node.options(), &["sh", "-c", &ping]);
    assert!(ended.stdout.ends_with("reached\n") && !ended.stdout.contains(&first.first), "{ended:?}");
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait(), 143);
    node.assert_clean();
}

/// Requirement: P-35.
#[test]
fn a_runner_killed_during_the_wiring_leaves_nothing_after_gc() {
    let node = Node::new("");
    for name in ["log-network", "network", "publish", "release", "undo-network", "undo-netns"] {
        let mut command = node.sandbox.run_command(&node.options(), &["true"]);
        command.env("XNET_CRASH_AT", name).stdout(Stdio::null());
        let status = command.status().unwrap();
        assert!(!status.success(), "{name}");
        node.sandbox.await_release();
        let ended = node.sandbox.gc();
        assert_eq!((ended.code, ended.stdout.trim().len()), (0, 64), "{name}: {}", ended.stderr);
        node.assert_clean();
    }
}

/// Requirement: P-35, N-14.
#[test]
fn a_killed_container_gives_its_address_back_at_the_next_run() {
    let node = Node::new("");
    let running = node.sandbox.start(&node.options(), "echo ready; exec sleep 1000");
    running.signal(Signal::SIGKILL);
    running.wait();
    assert_eq!(node.leases().len(), 1);
    node.sandbox.run(&node.options(), &["true"]).expect(0, "");
    node.assert_clean();
}

/// Requirement: N-7.
#[test]
fn a_plugin_that_fails_ends_the_run_and_its_error_is_told_in_one_line() {
    let node = Node::new(r#", {"type": "no-such-plugin"}"#);
    let ended = node.sandbox.run(&node.options(), &["echo", "ran"]);
    ended.expect_refusal(125, "there is no plugin \"no-such-plugin\" in /usr/lib/cni");
    node.assert_clean();

    let node = Node::new(r#", {"type": "failing"}"#);
    let own = node.sandbox.path("plugins");
    fs::create_dir(&own).unwrap();
    let answer = r#"{"cniVersion": "1.0.0", "code": 117, "msg": "no", "details": "not today"}"#;
    executable(
        &own.join("failing"),
        &format!("#!/bin/sh\n[ $CNI_COMMAND = DEL ] && exit 0\necho '{answer}'\nexit 1\n"),
    );
    let path = format!("{PEER}:{}", own.display());
    let ended = node.sandbox.run(&["--conf", &node.conf, "--cni-path", &path], &["echo", "ran"]);
    ended.expect_refusal(125, "no; not today (code 117)");
    node.assert_clean();
}

/// Requirement: N-3.
#[test]
fn plugins_get_a_clean_environment() {
    let sandbox = Sandbox::new();
    let (own, conf) = (sandbox.path("plugins"), sandbox.path("env.conflist"));
    fs::create_dir(&own).unwrap();
    let dump = sandbox.path("dump");
    executable(
        &own.join("dump"),
        &format!("#!/bin/sh\nenv | sed 's/=.*//' | sort >> {}\necho '{{\"cniVersion\": \"1.0.0\"}}'\n", dump.display()),
    );
    fs::write(&conf, r#"{"cniVersion": "1.0.0", "name": "env", "plugins": [{"type": "dump"}]}"#).unwrap();
    let options = ["--conf", conf.to_str().unwrap(), "--cni-path", own.to_str().unwrap()];
    let mut command = sandbox.run_command(&options, &["true"]);
    command.env("SECRET", "s").env("CNI_ARGS", "IP=10.0.0.9").env("LD_PRELOAD", "").env("LANG", "C");
    Ended::of(&mut command).expect(0, "");
    let text = fs::read_to_string(dump).unwrap();
    let mut names: Vec<_> = text.lines().collect();
    names.dedup();
    names.sort_unstable();
    names.dedup();
    let known =
        ["CNI_ARGS", "CNI_COMMAND", "CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS", "CNI_PATH", "LANG", "PATH", "PWD"];
    assert_eq!(names, known);
    sandbox.assert_clean();
}

#[test]
fn a_container_whose_plugin_is_gone_stays_on_record_until_gc_is_forced() {
    let sandbox = Sandbox::new();
    let (own, conf) = (sandbox.path("plugins"), sandbox.path("gone.conflist"));
    fs::create_dir(&own).unwrap();
    executable(&own.join("gone"), "#!/bin/sh\necho '{\"cniVersion\": \"1.0.0\"}'\n");
    fs::write(&conf, r#"{"cniVersion": "1.0.0", "name": "gone", "plugins": [{"type": "gone"}]}"#).unwrap();
    let options = ["--conf", conf.to_str().unwrap(), "--cni-path", own.to_str().unwrap()];
    let running = sandbox.start(&options, "echo ready; exec sleep 1000");
    fs::remove_file(own.join("gone")).unwrap();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.wait(), 143);
    // All but the state is gone, and says so.
    assert_eq!(sandbox.leftovers().len(), 1);
    let ended = sandbox.gc();
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("failed to find plugin"), "{}", ended.stderr);
    assert_eq!(Ended::of(&mut sandbox.command(&["gc", "--force"])).code, 1);
    sandbox.assert_clean();
}

/// Requirement: NET-C4, N-14.
#[test]
fn the_network_of_a_container_is_undone_once_and_when_its_own_run_ends() {
    let sandbox = Sandbox::new();
    let (dir, calls, conf) = (sandbox.path("plugins"), sandbox.path("calls"), sandbox.path("probe.conflist"));
    fs::create_dir(&dir).unwrap();
    let script = format!(
        "#!/bin/sh\ncat >/dev/null\necho $CNI_COMMAND >> {}\n\
         [ $CNI_COMMAND != ADD ] || echo '{{\"cniVersion\": \"1.0.0\", \"interfaces\": [], \"ips\": []}}'\n",
        calls.display()
    );
    executable(&dir.join("probe"), &script);
    fs::write(&conf, r#"{"cniVersion": "1.0.0", "name": "probe", "plugins": [{"type": "probe"}]}"#).unwrap();
    let options = ["--name=a", "--conf", conf.to_str().unwrap(), "--cni-path", dir.to_str().unwrap()];
    let calls = || fs::read_to_string(&calls).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    sandbox.detach(&options, &["sleep", "1000"]);
    sandbox.detach(&["--net=container:a", "--name=b"], &["sleep", "1000"]);
    assert_eq!(calls(), "ADD");
    sandbox.xnet(&["stop", "-t", "0", "a"]).expect(0, "a");
    assert_eq!(calls(), "ADD DEL");
    sandbox.xnet(&["rm", "-f", "b"]).expect(0, "b");
    assert_eq!(calls(), "ADD DEL", "who had joined has undone what was not its own");
    // Another run is wired anew; and killed, it is undone by whoever finds it.
    sandbox.xnet(&["start", "a"]).expect(0, "a");
    let id = sandbox.xnet(&["ps", "-q", "--no-trunc"]).stdout;
    let info = sandbox.info(id.trim());
    sandbox::kill(&info["monitor"]["pid"]);
    sandbox::kill(&info["pid"]);
    sandbox.gc().expect(0, id.trim());
    assert_eq!(calls(), "ADD DEL ADD DEL");
    sandbox.xnet(&["rm", "a"]).expect(0, "a");
    assert_eq!(calls(), "ADD DEL ADD DEL");
    sandbox.assert_clean();
}
