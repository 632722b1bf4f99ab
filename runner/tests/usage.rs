//! How command lines are taken, and with which statuses they are refused.

mod sandbox;

use sandbox::{Ended, Sandbox};

/// Scripts add to the options of others: what is said again counts as it was said last.
#[test]
fn options_may_be_repeated() {
    let sandbox = Sandbox::new();
    let options = [
        "-i",
        "-i",
        "--net=none",
        "--hostname=a",
        "--hostname=b",
        "--init",
        "--init",
        "-w",
        "/usr",
        "-w",
        "/tmp",
        "-e",
        "A=1",
    ];
    let mut command = sandbox.command(
        &[&["run", "--rm", "--rm", "--cgroup-parent", sandbox.cgroup()], &options[..], &["-e", "B=2", "--"]].concat(),
    );
    command.args(["sh", "-c", "pwd; echo $A$B; hostname"]);
    Ended::of(&mut command).expect(0, "/tmp\n12\nb");
    sandbox.assert_clean();
}

/// A bad option is 125 for every command, and so is any failure of those that run something; else it is 1. As with Docker.
///
/// Requirement: F-exit.
#[test]
fn failures_have_the_status_that_scripts_expect() {
    let sandbox = Sandbox::new();
    let commands = [
        "stop", "kill", "pause", "unpause", "wait", "rm", "port", "stats", "top", "logs", "diff", "export", "commit",
        "inspect", "rmi", "save", "tag", "history", "exec", "start", "restart", "attach", "update",
    ];
    for command in commands {
        let ended = sandbox.xnet(&[command, "--no-such-option", "x"]);
        assert_eq!((ended.code, ended.stdout.as_str()), (125, ""), "{command}: {}", ended.stderr);
    }
    for args in [
        &["stop", "nobody"][..],
        &["kill", "nobody"],
        &["pause", "nobody"],
        &["wait", "nobody"],
        &["rm", "nobody"],
        &["rename", "nobody", "x"],
        &["port", "nobody"],
        &["update", "-m", "64m", "nobody"],
        &["update", "nobody"],
        &["stats", "--no-stream", "nobody"],
        &["top", "nobody"],
        &["logs", "nobody"],
        &["cp", "nobody:/x", "/tmp"],
        &["diff", "nobody"],
        &["export", "nobody"],
        &["commit", "nobody"],
        &["inspect", "nobody"],
        &["rmi", "nobody"],
        &["tag", "nobody", "x"],
        &["network", "rm", "nobody"],
        &["volume", "inspect", "nobody"],
    ] {
        let ended = sandbox.xnet(args);
        assert!(ended.code == 1 && !ended.stderr.is_empty(), "{args:?}: {} {}", ended.code, ended.stderr);
    }
    for command in ["stop", "rm", "port", "update", "logs"] {
        assert_eq!(sandbox.xnet(&[command]).code, 1, "{command} of nothing");
    }
    for args in
        [&["exec", "nobody", "true"][..], &["attach", "nobody"], &["run", "--rm", "nobody"], &["create", "nobody"]]
    {
        let ended = sandbox.xnet(args);
        assert!(ended.code == 125 && !ended.stderr.is_empty(), "{args:?}: {} {}", ended.code, ended.stderr);
    }
}
