//! What is told about a container has the words that scripts know, and says the truth.

#![allow(clippy::expect_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;

use sandbox::Sandbox;
use serde_json::Value;

/// Every member that `docker inspect` shows of a container on one network, with its type: `s` text, `n` number, `b` truth,
/// `a` list, `o` object; `?` behind it may be null.
const MEMBERS: &str = "
    Id s, Created s, Path s, Args a, State o, State.Status s, State.Running b, State.Paused b, State.Restarting b,
    State.OOMKilled b, State.Dead b, State.Pid n, State.ExitCode n, State.Error s, State.StartedAt s, State.FinishedAt s,
    Image s, ResolvConfPath s, HostnamePath s, HostsPath s, LogPath s, Name s, RestartCount n, Driver s, MountLabel s,
    ProcessLabel s, AppArmorProfile s, ExecIDs a?, HostConfig o, HostConfig.Binds a?, HostConfig.ContainerIDFile s,
    HostConfig.LogConfig o, HostConfig.LogConfig.Type s, HostConfig.LogConfig.Config o, HostConfig.NetworkMode s,
    HostConfig.PortBindings o, HostConfig.RestartPolicy o, HostConfig.RestartPolicy.Name s,
    HostConfig.RestartPolicy.MaximumRetryCount n, HostConfig.AutoRemove b, HostConfig.VolumeDriver s,
    HostConfig.VolumesFrom a?, HostConfig.CapAdd a?, HostConfig.CapDrop a?, HostConfig.Dns a, HostConfig.DnsOptions a,
    HostConfig.DnsSearch a, HostConfig.ExtraHosts a?, HostConfig.GroupAdd a?, HostConfig.IpcMode s, HostConfig.Cgroup s,
    HostConfig.Links a?, HostConfig.OomScoreAdj n, HostConfig.PidMode s, HostConfig.Privileged b,
    HostConfig.PublishAllPorts b, HostConfig.ReadonlyRootfs b, HostConfig.SecurityOpt a?, HostConfig.UTSMode s,
    HostConfig.UsernsMode s, HostConfig.ShmSize n, HostConfig.Runtime s, HostConfig.ConsoleSize a,
    HostConfig.Isolation s, HostConfig.CpuShares n, HostConfig.Memory n, HostConfig.CgroupParent s,
    HostConfig.BlkioWeight n, HostConfig.BlkioWeightDevice a?, HostConfig.BlkioDeviceReadBps a?,
    HostConfig.BlkioDeviceWriteBps a?, HostConfig.BlkioDeviceReadIOps a?, HostConfig.BlkioDeviceWriteIOps a?,
    HostConfig.CpuPeriod n, HostConfig.CpuQuota n, HostConfig.CpusetCpus s, HostConfig.CpusetMems s, HostConfig.Devices a,
    HostConfig.DiskQuota n, HostConfig.KernelMemory n, HostConfig.MemoryReservation n, HostConfig.MemorySwap n,
    HostConfig.MemorySwappiness n?, HostConfig.OomKillDisable b, HostConfig.PidsLimit n, HostConfig.Ulimits a?,
    HostConfig.CpuCount n, HostConfig.CpuPercent n, HostConfig.IOMaximumIOps n, HostConfig.IOMaximumBandwidth n,
    GraphDriver o, GraphDriver.Name s, GraphDriver.Data o, Mounts a, Config o, Config.Hostname s, Config.Domainname s,
    Config.User s, Config.AttachStdin b, Config.AttachStdout b, Config.AttachStderr b, Config.ExposedPorts o?,
    Config.Tty b, Config.OpenStdin b, Config.StdinOnce b, Config.Env a, Config.Cmd a, Config.Image s, Config.Volumes o?,
    Config.WorkingDir s, Config.Entrypoint a?, Config.OnBuild a?, Config.Labels o, NetworkSettings o,
    NetworkSettings.Bridge s, NetworkSettings.SandboxID s, NetworkSettings.HairpinMode b,
    NetworkSettings.LinkLocalIPv6Address s, NetworkSettings.LinkLocalIPv6PrefixLen n, NetworkSettings.Ports o,
    NetworkSettings.SandboxKey s, NetworkSettings.SecondaryIPAddresses a?, NetworkSettings.SecondaryIPv6Addresses a?,
    NetworkSettings.EndpointID s, NetworkSettings.Gateway s, NetworkSettings.GlobalIPv6Address s,
    NetworkSettings.GlobalIPv6PrefixLen n, NetworkSettings.IPAddress s, NetworkSettings.IPPrefixLen n,
    NetworkSettings.IPv6Gateway s, NetworkSettings.MacAddress s, NetworkSettings.Networks o,
    NetworkSettings.Networks.bridge o, NetworkSettings.Networks.bridge.IPAMConfig o?,
    NetworkSettings.Networks.bridge.Links a?, NetworkSettings.Networks.bridge.Aliases a?,
    NetworkSettings.Networks.bridge.NetworkID s, NetworkSettings.Networks.bridge.EndpointID s,
    NetworkSettings.Networks.bridge.Gateway s, NetworkSettings.Networks.bridge.IPAddress s,
    NetworkSettings.Networks.bridge.IPPrefixLen n, NetworkSettings.Networks.bridge.IPv6Gateway s,
    NetworkSettings.Networks.bridge.GlobalIPv6Address s, NetworkSettings.Networks.bridge.GlobalIPv6PrefixLen n,
    NetworkSettings.Networks.bridge.MacAddress s";

fn inspect(sandbox: &Sandbox, id: &str) -> Value {
    let ended = sandbox.xnet(&["inspect", id]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let all: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    all[0].clone()
}

/// Requirement: S0-J2, F-inspect.
#[test]
fn every_member_is_there_and_of_its_type() {
    let sandbox = Sandbox::new();
    let id = sandbox.detach(&[], &["sleep", "1000"]);
    let all = inspect(&sandbox, &id);
    for member in MEMBERS.split(',') {
        let (path, kind) = member.trim().split_once(' ').expect("a path and a type");
        let value = path.split('.').fold(&all, |value, name| value.get(name).unwrap_or_else(|| panic!("no {path}")));
        let seen = match value {
            Value::Null => "?",
            Value::Bool(_) => "b",
            Value::Number(_) => "n",
            Value::String(_) => "s",
            Value::Array(_) => "a",
            Value::Object(_) => "o",
        };
        assert!(kind.contains(seen), "{path} is {value}, expected {kind}");
    }
    sandbox.xnet(&["rm", "-f", &id]);
    sandbox.assert_clean();
}

/// Requirement: S0-J1, S0-J3, S0-T1, S1-O3.
#[test]
fn what_is_told_is_so() {
    let sandbox = Sandbox::new();
    let options = ["--name", "web", "--memory=64m", "-e", "A=b", "--label", "x=y", "-p", "18080:80"];
    let id = sandbox.detach(&options, &["sleep", "1000"]);
    let text = |template: &str| sandbox.xnet(&["inspect", "-f", template, &id[..10]]).stdout.trim_end().to_owned();
    let pid = text("{{.State.Pid}}");
    assert_eq!(fs::read(format!("/proc/{pid}/cmdline")).unwrap(), b"sleep\x001000\x00");
    assert_eq!(
        text("{{.Name}} {{.HostConfig.Memory}} {{.Config.Labels.x}} {{.Config.Labels.z}}"),
        "/web 67108864 y <no value>"
    );
    assert_eq!(
        text("{{.Path}} {{index .Args 0}} {{.State.Status}} {{.HostConfig.NetworkMode}}"),
        "sleep 1000 running bridge"
    );
    let address = text("{{ range .NetworkSettings.Networks}}{{.IPAddress}}/{{.IPPrefixLen}}{{end}}");
    let seen = sandbox.xnet(&["exec", "web", "ip", "-4", "-o", "address", "show", "eth0"]).stdout;
    assert!(seen.contains(&address), "{address} is not in {seen}");
    assert_eq!(text(r#"{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}"#), "18080");
    let network = sandbox.xnet(&["network", "inspect", "-f", "{{.Id}}", "bridge"]).stdout;
    assert_eq!(text("{{.NetworkSettings.Networks.bridge.NetworkID}}"), network.trim_end());
    for path in [
        "ResolvConfPath",
        "HostsPath",
        "HostnamePath",
        "GraphDriver.Data.UpperDir",
        "GraphDriver.Data.WorkDir",
        "GraphDriver.Data.MergedDir",
        "NetworkSettings.SandboxKey",
    ] {
        let path = text(&format!("{{{{.{path}}}}}"));
        assert!(fs::exists(&path).unwrap(), "{path} does not exist");
    }
    assert_eq!(text("{{len .ExecIDs}}"), "0");
    sandbox.xnet(&["exec", "-d", "web", "sleep", "1000"]);
    assert_eq!(text("{{len .ExecIDs}}"), "1");
    let ended = sandbox.xnet(&["inspect", "web"]);
    assert!(
        ended.stdout.starts_with("[\n    {\n        \"Id\": ")
            && ended.stdout.contains(&format!("\n            \"Pid\": {pid},\n")),
        "{ended:?}"
    );
    sandbox.xnet(&["stop", "-t", "0", "web"]);
    assert_eq!(
        text("{{.State.Status}} {{.State.Pid}} {{.State.ExitCode}} {{.NetworkSettings.IPAddress}}."),
        "exited 0 137 ."
    );
    sandbox.xnet(&["rm", "-f", "web"]);
    sandbox.assert_clean();
}

/// Requirement: S0-J1, S0-Z2.
#[test]
fn what_is_not_there_is_said() {
    let sandbox = Sandbox::new();
    let ended = sandbox.xnet(&["inspect", "zork"]);
    assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (1, "[]\n", "xnet: no such object: zork\n"));
    sandbox.xnet(&["volume", "create", "data"]).expect(0, "data");
    let ended = sandbox.xnet(&["inspect", "--type", "volume", "data"]);
    assert!(ended.code == 0 && ended.stdout.contains("\"Mountpoint\""), "{ended:?}");
    let ended = sandbox.xnet(&["inspect", "data", "bridge"]);
    assert!(ended.code == 0 && ended.stdout.contains("\"Driver\": \"bridge\""), "{ended:?}");
    assert_eq!(sandbox.xnet(&["inspect", "--type", "container", "data"]).code, 1);
    let ended = sandbox.xnet(&["inspect", "-f", "{{.Zork}}", "data"]);
    assert!(ended.code == 1 && ended.stderr.contains("template parsing error"), "{ended:?}");
    sandbox.xnet(&["volume", "rm", "data"]).expect(0, "data");
    sandbox.assert_clean();
}

/// Requirement: S0-Z1.
#[test]
fn sizes_follow_what_is_written() {
    let sandbox = Sandbox::new();
    let id = sandbox.detach(&["--net=none"], &["sleep", "1000"]);
    let size = || {
        let ended = sandbox.xnet(&["inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", &id]);
        let numbers: Vec<u64> = ended.stdout.split_whitespace().map(|n| n.parse().unwrap()).collect();
        (numbers[0], numbers[1])
    };
    let before = size();
    sandbox.xnet(&["exec", &id, "dd", "if=/dev/zero", "of=/big", "bs=1M", "count=1"]).code_is_not(125);
    sandbox.xnet(&["exec", &id, "ln", "/big", "/again"]).expect(0, "");
    let after = size();
    assert!((1 << 20..(1 << 20) + 16_384).contains(&(after.0 - before.0)), "{before:?} {after:?}");
    assert_eq!(after.1 - before.1, after.0 - before.0);
    assert!(!sandbox.xnet(&["inspect", &id]).stdout.contains("SizeRw"));
    sandbox.xnet(&["rm", "-f", &id]);
    sandbox.assert_clean();
}

/// Requirement: S1-O3, S1-U1.
#[test]
fn directories_are_told_that_are_there_whether_it_runs_or_not() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    let options = ["--net=none", "--name=web", "--rootfs", root.to_str().expect("a path")];
    let id = sandbox.detach(&options, &["sh", "-c", "echo x > /made; exec sleep 1000"]);
    let dirs = |id: &str| {
        let data = inspect(&sandbox, id)["GraphDriver"]["Data"].clone();
        ["LowerDir", "UpperDir", "WorkDir", "MergedDir"].map(|name| data[name].as_str().expect(name).to_owned())
    };
    sandbox::eventually("it has written", || std::path::Path::new(&format!("{}/made", dirs(&id)[3])).exists());
    let [_, upper, _, merged] = dirs(&id);
    assert!(std::path::Path::new(&format!("{upper}/made")).exists());
    let mut inside: Vec<_> =
        sandbox.xnet(&["exec", "web", "ls", "-A", "/"]).stdout.lines().map(str::to_owned).collect();
    let seen = fs::read_dir(&merged).expect(&merged).flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    let mut seen: Vec<_> = seen.collect();
    inside.sort();
    seen.sort();
    assert_eq!(inside, seen);
    sandbox.xnet(&["stop", "-t", "0", "web"]).expect(0, "web");
    let created = sandbox.xnet(&["create", "--net=none", "--rootfs", root.to_str().expect("a path"), "true"]).stdout;
    for id in [id.as_str(), created.trim()] {
        for dir in dirs(id) {
            assert!(std::path::Path::new(&dir).is_dir(), "{dir} of a container that does not run");
        }
    }
    // Where it will be again when it runs, and not the directory of some process.
    assert_eq!(dirs(&id)[3], sandbox.path(&format!("data/overlay/{id}/merged")).display().to_string());
    sandbox.xnet(&["rm", "web", created.trim()]).code_is_not(1);
}

/// Requirement: S1-U1.
#[test]
fn the_mode_of_the_user_namespace_is_told() {
    let sandbox = Sandbox::new();
    for (options, mode) in [
        (&[][..], ""),
        (&["--userns=host"], ""),
        (&["--userns=100000:200000:65536"], "100000:200000:65536"),
        (&["--uidmap=0:3000:1", "--uidmap=5:5000:10", "--gidmap=0:4000:20"], "private"),
    ] {
        let created = sandbox.xnet(&[&["create", "--net=none"], options, &["--", "true"]].concat());
        assert_eq!(created.code, 0, "{}", created.stderr);
        assert_eq!(inspect(&sandbox, created.stdout.trim())["HostConfig"]["UsernsMode"], mode, "{options:?}");
    }
}
