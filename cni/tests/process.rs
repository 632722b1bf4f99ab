//! The process boundary itself: descriptors that are closed, broken or strange. Everything else is tested in memory.

#![expect(clippy::unwrap_used, reason = "the functions here are parts of tests")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

const CONFIG: &str = r#"{"cniVersion": "1.1.0", "name": "n1", "type": "noop"}"#;

/// The example plugin, which cargo builds along with the tests.
fn noop() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    path.pop();
    path.push("examples/noop");
    assert!(path.is_file(), "{} is not built: run the tests of the whole package", path.display());
    path
}

fn plugin(verb: &str) -> Command {
    let mut command = Command::new(noop());
    command.env_clear();
    command.envs([("CNI_COMMAND", verb), ("CNI_CONTAINERID", "cid1"), ("CNI_IFNAME", "eth0")]);
    command.envs([("CNI_NETNS", "/nonexistent/netns"), ("CNI_PATH", "/opt/cni/bin")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The plugin, started by a shell that changes its descriptors.
fn redirected(verb: &str, redirection: &str) -> Output {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", &format!("exec \"$0\" {redirection}")]).arg(noop());
    shell.env_clear();
    shell.envs(plugin(verb).get_envs().filter_map(|(name, value)| Some((name, value?))));
    feed(shell, CONFIG.as_bytes())
}

fn feed(mut command: Command, stdin: &[u8]) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The plugin may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

const CLOSED: &str = "{\n    \"code\": 5,\n    \"msg\": \"error writing to stdout: bad file descriptor\"\n}\n";

#[test]
fn a_whole_call() {
    let output = feed(plugin("ADD"), CONFIG.as_bytes());
    assert!(output.status.success());
    assert_eq!(text(&output.stderr), "nothing to add\n");
    insta::assert_snapshot!(text(&output.stdout), @r#"
    {
        "cniVersion": "1.1.0",
        "interfaces": [
            {
                "name": "eth0",
                "sandbox": "/nonexistent/netns"
            }
        ]
    }
    "#);
}

#[test]
fn version_does_not_read_stdin() {
    let mut command = plugin("VERSION");
    let mut child = command.spawn().unwrap();
    let mut printed = String::new();
    // stdin is open all the time.
    child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(printed.starts_with(r#"{"cniVersion":"1.1.0","supportedVersions":["0.1.0","#), "{printed}");
}

#[test]
fn a_stdin_that_can_not_be_read() {
    for (redirection, reason) in
        [("</", "is a directory"), ("0>/dev/null", "bad file descriptor"), ("<&-", "bad file descriptor")]
    {
        let output = redirected("ADD", redirection);
        assert_eq!(output.status.code(), Some(1));
        let expected =
            format!("{{\n    \"code\": 5,\n    \"msg\": \"error reading from stdin: read /dev/stdin: {reason}\"\n}}");
        assert_eq!(text(&output.stdout), expected);
    }
}

#[test]
fn add_is_not_begun_with_a_closed_stdout() {
    let output = redirected("ADD", ">&-");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), CLOSED));
}

#[test]
fn del_does_without_a_stdout() {
    let output = redirected("DEL", ">&-");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), "nothing to remove\n"));
}

#[test]
fn an_answer_may_be_thrown_away() {
    let output = redirected("ADD", ">/dev/null");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), "nothing to add\n"));
}

#[test]
fn a_closed_stderr_harms_nothing() {
    let output = redirected("ADD", "2>&-");
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).starts_with("{\n    \"cniVersion\""));
}

#[test]
fn add_is_undone_when_nobody_reads_the_answer() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = plugin("ADD");
    let mut child = command.stdout(writer).spawn().unwrap();
    child.stdin.take().unwrap().write_all(CONFIG.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let expected = CLOSED.replace("bad file descriptor", "broken pipe");
    assert_eq!(text(&output.stderr), format!("nothing to add\nnothing to remove\n{expected}"));
}

#[test]
fn a_full_disk_is_told() {
    let mut command = plugin("ADD");
    let mut child = command.stdout(File::options().write(true).open("/dev/full").unwrap()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(CONFIG.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("error writing to stdout: no space left on device"), "{output:?}");
}

#[test]
fn hostile_documents_are_refused() {
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    let nested = format!(r#"{{"cniVersion": "1.1.0", "name": "n1", "prevResult": {deep}}}"#);
    let open = "[".repeat(10 << 20);
    for stdin in [nested.as_bytes(), open.as_bytes()] {
        let output = feed(plugin("ADD"), stdin);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let printed = text(&output.stdout);
        assert!(printed.contains("\"code\": 6,"), "{printed}");
        assert!(printed.contains("error unmarshall network config: recursion limit exceeded"), "{printed}");
    }
}
