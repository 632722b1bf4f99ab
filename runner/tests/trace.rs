//! `--trace`, `--timings` and `--explain`: what is told of how a container was made.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod node;
mod sandbox;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use node::{ip, node};
use sandbox::{Ended, Sandbox, eventually, groups};
use serde_json::Value;

/// The steps that were told, line by line.
fn steps(ended: &Ended) -> Vec<Value> {
    let objects = ended.stderr.lines().filter(|line| line.starts_with('{'));
    objects.map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names<'a>(steps: &'a [Value], process: &str) -> Vec<&'a str> {
    let of = |step: &&Value| step["process"] == process;
    steps.iter().filter(of).map(|step| step["name"].as_str().unwrap()).collect()
}

fn traced(sandbox: &Sandbox, options: &[&str]) -> Vec<Value> {
    let ended = sandbox.run(&[&["--trace=json"], options].concat(), &["echo", "hello"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "hello\n"), "{}", ended.stderr);
    assert_eq!(ended.stderr.lines().count(), steps(&ended).len(), "{}", ended.stderr);
    steps(&ended)
}

/// What the child is to do, as a dry run tells it.
fn planned(sandbox: &Sandbox, options: &[&str]) -> Vec<String> {
    let dry = sandbox.run(&[&["--dry-run"], options].concat(), &["echo", "hello"]);
    let ops = dry.stdout.lines().map(|line| line.split(' ').next().unwrap().to_owned());
    let mut planned = vec!["birth".to_owned()];
    planned.extend(ops);
    planned.extend(["find-command".to_owned(), "execve".to_owned()]);
    planned
}

fn number(step: &Value, key: &str) -> u64 {
    step[key].as_u64().unwrap()
}

/// All that any trace of a success says.
fn check(steps: &[Value]) {
    let end = |step: &Value| number(step, "start_ns") + number(step, "duration_ns");
    let starts: Vec<u64> = steps.iter().map(|step| number(step, "start_ns")).collect();
    assert!(starts.is_sorted(), "{starts:?}");
    assert!(steps.iter().all(|step| step["done"] == true && step.get("error").is_none()), "{steps:#?}");
    let clone = steps.iter().find(|step| step["name"] == "clone3").unwrap();
    let mut child = steps.iter().filter(|step| step["process"] == "child").peekable();
    assert!(number(child.peek().unwrap(), "start_ns") >= number(clone, "start_ns"), "{steps:#?}");
    // One of its steps ends where the next begins.
    while let (Some(step), Some(next)) = (child.next(), child.peek()) {
        assert_eq!(end(step), number(next, "start_ns"), "{steps:#?}");
    }
    // The command takes over at the end of it all.
    let last = steps.last().unwrap();
    assert_eq!((&last["name"], &last["detail"]), (&"execve".into(), &"echo hello".into()));
    assert!(steps.iter().all(|step| end(step) <= end(last)), "{steps:#?}");
}

/// Requirement: S3-1.
#[test]
fn a_trace_has_the_steps_of_both_processes_in_their_order() {
    let sandbox = Sandbox::new();
    let steps = traced(&sandbox, &["--net=none"]);
    check(&steps);
    let parent = ["container", "layer", "cgroups", "clone3", "pin-netns", "etc", "publish"];
    assert_eq!(names(&steps, "parent"), parent);
    assert_eq!(names(&steps, "child"), planned(&sandbox, &["--net=none"]));
    let clone = steps.iter().find(|step| step["name"] == "clone3").unwrap()["detail"].as_str().unwrap();
    for kind in ["CLONE_NEWNS", "CLONE_NEWPID", "CLONE_NEWNET", "CLONE_NEWIPC", "CLONE_NEWUTS"] {
        assert!(clone.contains(kind), "{clone}");
    }
    sandbox.assert_clean();
}

/// Requirement: S3-1.
#[test]
fn a_trace_has_the_plugins_of_the_network() {
    let sandbox = node();
    let steps = traced(&sandbox, &["-p", "18080:80"]);
    check(&steps);
    let parent =
        ["container", "layer", "cgroups", "clone3", "pin-netns", "CNI bridge ADD", "CNI portmap ADD", "etc", "publish"];
    assert_eq!(names(&steps, "parent"), parent);
    let plugin = steps.iter().find(|step| step["name"] == "CNI bridge ADD").unwrap();
    assert!(plugin["detail"].as_str().unwrap().contains("CNI_COMMAND=ADD") && plugin["part"] == "network", "{plugin}");
    // The child cannot go on before its network is there.
    let waits = steps.iter().find(|step| step["name"] == "await-network").unwrap();
    let ready = number(waits, "start_ns") + number(waits, "duration_ns");
    assert!(number(plugin, "start_ns") + number(plugin, "duration_ns") <= ready, "{steps:#?}");
}

/// A container with clocks of its own is on the same time line.
///
/// Requirement: S3-1.
#[test]
fn shifted_clocks_do_not_shift_the_trace() {
    let sandbox = Sandbox::new();
    check(&traced(&sandbox, &["--net=none", "--time-offset=monotonic=86400"]));
}

/// What has failed is the last, be it the parent's or the child's, and says why.
///
/// Requirement: S3-1.
#[test]
fn a_step_that_fails_is_the_last_one() {
    let sandbox = Sandbox::new();
    sandbox.sh("true").expect(0, "");
    let cases = [("make-layer", "layer", "parent"), ("make-cgroups", "cgroups", "parent"), ("dev", "dev", "child")];
    for (point, name, process) in cases {
        let mut command = sandbox.run_command(&["--net=none", "--trace=json"], &["true"]);
        let ended = Ended::of(command.env("XNET_FAIL_AT", point));
        let steps = steps(&ended);
        let last = steps.last().unwrap();
        assert_eq!((ended.code, &last["name"], &last["process"]), (125, &name.into(), &process.into()), "{steps:#?}");
        let error = last["error"].as_str().unwrap();
        assert!(error.contains(&format!("{point}: failed as XNET_FAIL_AT asks")) && last["done"] == false, "{error}");
        // The trace comes first, and then the one line that says what every failure says.
        assert_eq!(ended.stderr.lines().last(), Some(format!("xnet: {error}").as_str()));
        assert!(steps.iter().rev().skip(1).all(|step| step.get("error").is_none()), "{steps:#?}");
    }
    let ended = sandbox.run(&["--net=none", "--trace=json"], &["/no/such"]);
    let steps = steps(&ended);
    let last = steps.last().unwrap();
    assert_eq!((ended.code, &last["name"]), (127, &"execve".into()), "{steps:#?}");
    assert!(last["error"].as_str().unwrap().contains("no such file"), "{last}");
    sandbox.assert_clean();
}

/// In the background it is the monitor that takes the steps; who has started it tells them.
///
/// Requirement: S3-1.
#[test]
fn traces_come_from_monitors_too() {
    let sandbox = Sandbox::new();
    let fixed = ["--net=none", "--cgroup-parent", sandbox.cgroup()];
    let run = [&["run", "-d", "--name=c", "--trace=json"], &fixed[..], &["--", "sh", "-c", "exec sleep 1000"]].concat();
    let ended = sandbox.xnet(&run);
    assert_eq!((ended.code, ended.stdout.len()), (0, 65), "{}", ended.stderr);
    let steps_of_run = steps(&ended);
    assert_eq!(names(&steps_of_run, "parent")[..4], ["container", "layer", "cgroups", "clone3"]);
    assert_eq!(names(&steps_of_run, "child").last(), Some(&"execve"));
    // A command that comes later enters what that one made.
    for options in [&["exec", "--trace=json", "c", "true"][..], &["exec", "-d", "--trace=json", "c", "true"]] {
        let ended = sandbox.xnet(options);
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        let steps = steps(&ended);
        let child =
            ["birth", "join-cgroups", "setns", "connect", "privileges", "fork", "find-command", "execve"].as_slice();
        assert_eq!((names(&steps, "parent"), names(&steps, "child").as_slice()), (vec!["clone3"], child));
        assert!(steps[3]["detail"].as_str().unwrap().contains("CLONE_NEWPID"), "{steps:#?}");
    }
    sandbox.xnet(&["stop", "-t", "0", "c"]).expect(0, "c");
    let ended = sandbox.xnet(&["start", "--trace=json", "c"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "c\n"), "{}", ended.stderr);
    assert_eq!(names(&steps(&ended), "parent")[0], "cgroups");
    let mut command = sandbox.command(&["exec", "-d", "--trace=json", "c", "true"]);
    let failed = Ended::of(command.env("XNET_FAIL_AT", "exec-fork"));
    assert_eq!((failed.code, &steps(&failed).last().unwrap()["name"]), (125, &"fork".into()), "{}", failed.stderr);
    sandbox.xnet(&["rm", "-f", "c"]).expect(0, "c");
    sandbox.assert_clean();
}

/// Requirement: S3-1.
#[test]
fn people_get_a_table_and_a_line_of_sums() {
    let sandbox = Sandbox::new();
    let ended = sandbox.run(&["--net=none", "--trace", "--timings"], &["echo", "hello"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "hello\n"), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stderr.lines().collect();
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(words, ["after", "took", "process", "step"]);
    let rows = &lines[1..lines.len() - 2];
    assert_eq!(rows.len(), 7 + planned(&sandbox, &["--net=none"]).len(), "{}", ended.stderr);
    for row in rows {
        let words: Vec<&str> = row.split_whitespace().collect();
        let times = (words[0].strip_prefix('+').map(str::parse::<f64>), words[1].parse::<f64>());
        assert!(matches!(times, (Some(Ok(_)), Ok(_))) && ["parent", "child"].contains(&words[2]), "{row}");
    }
    assert!(rows.iter().any(|row| row.contains("  clone3 ") && row.contains("CLONE_NEWPID")), "{}", ended.stderr);
    assert!(lines[lines.len() - 2].ends_with("  ms in all"), "{}", ended.stderr);
    let sums = lines.last().unwrap();
    for part in ["namespaces ", "root file system ", "network ", "cgroups ", "exec "] {
        let after = sums.split(part).nth(1).unwrap_or_default();
        assert!(after.split(' ').next().unwrap().parse::<f64>().is_ok(), "{part}: {sums}");
    }
    let only = sandbox.run(&["--net=none", "--timings"], &["true"]);
    assert_eq!(only.stderr.lines().count(), 1, "{}", only.stderr);
    sandbox.sh("true").expect(0, "");
    sandbox.run(&["--net=none", "--trace=yaml"], &["true"]).code_is_not(0);
    // There is no story of what was refused at once.
    let refused = sandbox.run(&["--net=nowhere", "--trace", "--timings", "--explain"], &["true"]);
    refused.expect_refusal(125, "no network is called nowhere");
}

/// The commands of the steps of these names.
fn commands(told: &str, names: &[&str]) -> String {
    let mut is_wanted = false;
    let mut wanted = String::new();
    for line in told.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            is_wanted = names.contains(&title);
        } else if is_wanted || line.starts_with("export ") {
            wanted += line;
            wanted.push('\n');
        }
    }
    wanted
}

/// What a shell says that gets `script` line by line. Only some shells leave what they have not come to yet to the shell that
/// takes their place.
fn typed(script: &str) -> Ended {
    let lines = script.lines().map(|line| match line.strip_suffix(" sh").or_else(|| line.strip_suffix(" sh)")) {
        Some(begin) => format!("{begin} bash{}\n", if line.ends_with(')') { ")" } else { "" }),
        None => format!("{line}\n"),
    });
    let script: String = lines.collect();
    let mut bash = Command::new("bash");
    let mut bash = bash.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Requirement: S3-1.
#[test]
fn the_commands_of_the_network_wire_another_namespace_in_the_same_way() {
    let sandbox = node();
    let names = ["pin-netns", "CNI bridge ADD", "CNI portmap ADD"];
    let inside = "ip -br address show dev eth0; ip route; ip -6 route show default";
    let mut command = sandbox.run_command(&["--explain", "-p", "18080:80"], &["sh", "-c", inside]);
    let ended = Ended::of(command.env("XNET_NETNS_DIR", "/run/netns"));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let script = commands(&ended.stderr, &names);
    assert!(script.contains("ip netns add $ID\nip link add xnet0 type bridge\n"), "{script}");
    // What containers share is on the host still, and the pair for a moment.
    ip("link del xnet0");
    eventually("the kernel has taken the pair away", || ip("-o link show type veth").is_empty());
    assert_eq!(Ended::of(Command::new("nft").args(["flush", "ruleset"])).code, 0);
    let typed = typed(&format!("set -e\n{script}ip netns exec $ID sh -c '{inside}; ping -qc1 -W2 10.213.0.1'\n"));
    assert_eq!(typed.code, 0, "{script}\n{}", typed.stderr);
    // The number of the other end is another one.
    let same = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains("eth0"));
        lines.map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(same(&typed.stdout), same(&ended.stdout), "{}", typed.stdout);
    assert!(typed.stdout.contains("10.213.0.") && typed.stdout.contains(" 0% packet loss"), "{}", typed.stdout);
    let rules = Ended::of(Command::new("nft").args(["list", "ruleset"])).stdout;
    assert!(rules.contains("masquerade") && rules.contains("tcp dport 18080 dnat to 10.213.0."), "{rules}");
}

/// A person who types all of it gets the same container.
///
/// Requirement: S3-1.
#[test]
fn the_whole_explanation_makes_the_same_container() {
    let sandbox = node();
    fs::create_dir(sandbox.path("box")).unwrap();
    let volume = format!("{}:/box:ro", sandbox.path("box").display());
    let inside = "echo pid $$; hostname; cat /etc/hostname /proc/self/cgroup; \
        grep -E '^(Cap|NoNewPrivs)' /proc/self/status; ls / /dev; ulimit -n; touch /box/x 2>&1; \
        ip -br address show dev eth0 | cut -d' ' -f2-; ip route; wc -c < /proc/interrupts; touch /proc/sys/x 2>&1";
    let options = ["--explain", "--ulimit", "nofile=100:200", "-m", "64m", "-v", &volume];
    let ended = sandbox.run(&options, &["sh", "-c", inside]);
    assert_eq!(ended.stdout.lines().next(), Some("pid 1"), "{}", ended.stderr);
    ip("link del xnet0");
    eventually("the kernel has taken the pair away", || ip("-o link show type veth").is_empty());
    assert_eq!(Ended::of(Command::new("nft").args(["flush", "ruleset"])).code, 0);
    let typed = typed(&ended.stderr);
    let container = typed.stdout.split_once("pid 1\n").map(|(_, rest)| format!("pid 1\n{rest}"));
    assert_eq!(container.as_ref(), Some(&ended.stdout), "{}\n{}", ended.stderr, typed.stderr);
    let id = ended.stderr.lines().find_map(|line| line.strip_prefix("export ID=")).unwrap();
    for group in groups(sandbox.cgroup()) {
        // Its first process has ended, and with it the others; the kernel may need another moment.
        eventually("the group is empty", || fs::remove_dir(group.join(id)).is_ok());
        fs::remove_dir(group).unwrap();
    }
    for file in [sandbox.path("netns").join(id).as_path(), Path::new("/run/netns")] {
        let _ = nix::mount::umount2(file, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Requirement: S3-1.
#[test]
fn the_explanation_joins_who_is_joined() {
    let sandbox = node();
    let other =
        sandbox.start(&["--name=a", "--net=none"], "readlink /proc/self/ns/net /proc/self/ns/ipc; exec sleep 1000");
    let namespaces = "readlink /proc/self/ns/net /proc/self/ns/ipc";
    let ended = sandbox.run(&["--net=container:a", "--ipc=container:a", "--explain"], &["sh", "-c", namespaces]);
    assert!(ended.stdout.starts_with(&other.first), "{}", ended.stderr);
    let script = commands(
        &ended.stderr,
        &["pin-netns", "clone3: what follows is typed in the shell that this starts", "join-net"],
    );
    // Not all of it, so into no group.
    let (xnet, begin) = (env!("CARGO_BIN_EXE_xnet"), script.find("(echo 0 >").zip(script.find("exec nsenter")));
    let script = begin.map_or(script.clone(), |(from, to)| format!("{}({}", &script[..from], &script[to..]));
    let places = [("XNET_ROOT", "data"), ("XNET_STATE_DIR", "state"), ("XNET_NETNS_DIR", "netns")];
    let places = places.map(|(name, dir)| format!("export {name}={}\n", sandbox.path(dir).display())).concat();
    let typed = typed(&format!("{places}{}{namespaces}\n", script.replace("$(xnet ", &format!("$({xnet} "))));
    assert_eq!(typed.stdout, ended.stdout, "{script}\n{}", typed.stderr);
    let id = script.lines().find_map(|line| line.strip_prefix("export ID=")).unwrap();
    nix::mount::umount2(&sandbox.path("netns").join(id), nix::mount::MntFlags::MNT_DETACH).unwrap();
    drop(other);
}

/// Without the options there is no memory for a trace, and with them there is.
#[test]
fn a_start_that_nobody_watches_is_not_recorded() {
    let sandbox = Sandbox::new();
    let shared = |options: &[&str]| {
        let run = sandbox.run_command(&[&["--net=none"], options].concat(), &["true"]);
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=mmap"]).arg(run.get_program()).args(run.get_args());
        let ended = Ended::of(command.envs(run.get_envs().filter_map(|(key, value)| Some((key, value?)))));
        assert_eq!(ended.code, 0, "{}", ended.stderr);
        ended.stderr.lines().filter(|line| line.contains("MAP_SHARED|MAP_ANONYMOUS")).count()
    };
    assert_eq!((shared(&[]), shared(&["--timings"])), (0, 1));
}

/// Requirement: S3-1.
#[test]
fn the_explanation_of_exec_leads_into_the_container() {
    let sandbox = Sandbox::new();
    let id = sandbox.detach(&["--net=none", "--name=c"], &["sleep", "1000"]);
    let inside =
        "hostname; cat /proc/self/cgroup; ls /; grep -E '^(Cap|NoNewPrivs)' /proc/self/status; cat /proc/1/comm";
    let ended = sandbox.xnet(&["exec", "--explain", "c", "sh", "-c", inside]);
    assert!(ended.stdout.starts_with(&id[..12]) && ended.stdout.ends_with("sleep\n"), "{}", ended.stderr);
    typed(&ended.stderr).expect(0, ended.stdout.trim_end());
    let objects = steps(&sandbox.xnet(&["exec", "--explain", "--trace=json", "c", "true"]));
    let command = objects.last().unwrap()["commands"][0].as_str().unwrap();
    assert!(command.starts_with("exec env -i ") && command.ends_with(" true"), "{command}");
    sandbox.xnet(&["rm", "-f", "c"]).expect(0, "c");
}
