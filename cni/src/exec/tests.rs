use std::fs;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::ExitStatusExt as _;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::*;
use crate::error::{Code, Error as CniError};

const SHELL: &str = "/bin/sh";

/// Runs a plugin that is a shell script.
fn shell(script: &str, stdin: &[u8], timeout: Duration) -> Result<Output, Error> {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("plugin");
    script_file(&program, script);
    run(&Command { program: &program, arg0: None, env: &path_env(), stdin, timeout, with_descendants: true })
}

fn script_file(program: &Path, script: &str) {
    fs::write(program, format!("#!{SHELL}\n{script}\n")).unwrap();
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
}

fn path_env() -> Vec<(OsString, OsString)> {
    vec![("PATH".into(), "/usr/bin:/bin".into())]
}

fn ok(script: &str, stdin: &[u8]) -> Output {
    shell(script, stdin, Duration::from_secs(60)).unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn carries_stdin_stdout_stderr_and_status() {
    let output = ok("cat; echo log >&2; exit 3", b"document");
    assert_eq!((text(&output.stdout), text(&output.stderr)), ("document", "log\n"));
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn the_environment_is_exactly_what_is_given() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("plugin");
    script_file(&program, r#"echo "$A|$B|${HOME-unset}""#);
    let env = [("A", "1"), ("B", "x=y"), ("A", "2")].map(|(name, value)| (name.into(), value.into()));
    let command = Command {
        program: &program,
        arg0: None,
        env: &env,
        stdin: b"",
        timeout: Duration::from_secs(60),
        with_descendants: false,
    };
    assert_eq!(text(&run(&command).unwrap().stdout), "1|x=y|unset\n");
}

#[test]
fn arg0_is_its_own() {
    let command = Command {
        program: Path::new(SHELL),
        arg0: Some(OsStr::new("bridge")),
        env: &path_env(),
        stdin: b"echo $0",
        timeout: Duration::from_secs(60),
        with_descendants: false,
    };
    assert_eq!(text(&run(&command).unwrap().stdout), "bridge\n");
}

#[test]
fn what_a_killed_plugin_has_started_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let pids = dir.path().join("pids");
    // One of them holds the pipes; the other one has let go of all.
    let script = format!("sleep 1000 & echo $! > {0}; sleep 1000 >&- 2>&- <&- & echo $! >> {0}; wait", pids.display());
    let program = Path::new(SHELL);
    // Enough for a shell to start two processes, however busy the machine is.
    let timeout = Duration::from_secs(2);
    let env = path_env();
    let command = Command { program, arg0: None, env: &env, stdin: script.as_bytes(), timeout, with_descendants: true };
    assert!(matches!(run(&command), Err(Error::TimedOut { .. })));
    let listed = std::fs::read_to_string(&pids).unwrap();
    let alive = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        !stat.is_empty() && !stat.contains(") Z ")
    };
    assert_eq!(listed.lines().count(), 2);
    let patience = std::time::Instant::now();
    while listed.lines().any(alive) {
        assert!(patience.elapsed().as_secs() < 10, "a descendant has outlived its plugin");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn large_documents_pass_both_ways_at_once() {
    let document = vec![b'x'; 8 << 20];
    let output = ok("cat", &document);
    assert!(output.stdout == document, "{} bytes", output.stdout.len());
}

#[test]
fn a_plugin_may_ignore_its_stdin() {
    let output = ok("exec 0<&-; echo done", &vec![b'x'; 8 << 20]);
    assert_eq!(text(&output.stdout), "done\n");
    let output = ok("echo done", &vec![b'x'; 8 << 20]);
    assert_eq!(text(&output.stdout), "done\n");
}

#[test]
fn a_plugin_that_hangs_is_killed_and_reaped() {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    for script in ["exec sleep 1000", "exec >&- 2>&-; exec sleep 1000", "cat >/dev/null; exec sleep 1000"] {
        let script = format!("echo $$ > {}; {script}", pid_file.display());
        let started = Instant::now();
        let error = shell(&script, b"{}", Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error}");
        assert!(error.to_string().ends_with("/plugin did not finish within 0.3 s and was killed"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
        let pid = fs::read_to_string(&pid_file).unwrap().trim().parse().unwrap();
        assert_eq!(kill(Pid::from_raw(pid), None), Err(nix::errno::Errno::ESRCH), "{script}");
    }
}

#[test]
fn a_descendant_that_keeps_the_pipes_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // The descendant lives until the fifo is opened below.
    let script = format!("(cat {} >/dev/null) & echo answer", fifo.display());
    let output = ok(&script, b"{}");
    assert_eq!(text(&output.stdout), "answer\n");
    assert!(output.status.success());
    fs::OpenOptions::new().write(true).open(&fifo).unwrap();
}

#[test]
fn too_much_on_stdout_is_stopped() {
    let error = shell("exec cat /dev/zero", b"", Duration::from_secs(60)).unwrap_err();
    assert!(matches!(error, Error::TooMuchOutput { .. }), "{error}");
}

#[test]
fn too_much_on_stderr_is_cut() {
    let output = ok("head -c 3000000 /dev/zero >&2; echo done", b"");
    assert_eq!((text(&output.stdout), output.stderr.len()), ("done\n", STDERR_MAX));
}

#[test]
fn a_file_that_is_being_written_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("plugin");
    fs::copy(SHELL, &program).unwrap();
    let mut writer = Some(fs::OpenOptions::new().append(true).open(&program).unwrap());
    let command = Command {
        program: &program,
        arg0: None,
        env: &path_env(),
        stdin: b"",
        timeout: Duration::from_secs(60),
        with_descendants: false,
    };
    let mut pauses = 0;
    let busy = start(&command, || pauses += 1).unwrap_err();
    assert_eq!(pauses, 5);
    assert!(busy.to_string().ends_with("/plugin: text file busy"), "{busy}");
    let mut ready = start(&command, || {
        drop(writer.take());
        // A process that another test is just starting may hold a copy until it executes.
        thread::sleep(Duration::from_millis(10));
    })
    .unwrap();
    assert!(ready.wait().unwrap().success());
    assert!(writer.is_none());
}

#[test]
fn what_can_not_be_executed_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("plugin");
    let error = |program: &Path| {
        let env = path_env();
        let command = Command {
            program,
            arg0: None,
            env: &env,
            stdin: b"",
            timeout: Duration::from_secs(60),
            with_descendants: false,
        };
        CniError::from(run(&command).unwrap_err())
    };
    let msg = |reason: &str| {
        let msg = format!("netplugin failed with no error message: fork/exec {}: {reason}", program.display());
        CniError::new(Code(0), msg)
    };
    assert_eq!(error(&program), msg("no such file or directory"));
    fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&program).unwrap();
    assert_eq!(error(&program), msg("permission denied"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(error(&program), msg("exec format error"));
}

#[test]
fn ends_are_described_as_go_does() {
    let cases = [
        (0x0100, "exit status 1"),
        (0xff00, "exit status 255"),
        (9, "signal: killed"),
        (15, "signal: terminated"),
        (11 | 0x80, "signal: segmentation fault (core dumped)"),
        (34, "signal: signal 34"),
    ];
    for (raw, expected) in cases {
        assert_eq!(describe_status(ExitStatus::from_raw(raw)), expected);
    }
}

#[test]
fn failures_are_named() {
    let failure = |status: i32, stdout: &str, stderr: &str| {
        let (stdout, stderr) = (stdout.as_bytes().to_vec(), stderr.as_bytes().to_vec());
        Output { status: ExitStatus::from_raw(status), stdout, stderr }.into_success().unwrap_err()
    };
    let error = |code: u32, msg: &str, details: &str| CniError::new(Code(code), msg).with_details(details);
    assert_eq!(failure(0x0100, "", ""), error(0, "netplugin failed with no error message: exit status 1", ""));
    assert_eq!(failure(9, "", ""), error(0, "netplugin failed with no error message: signal: killed", ""));
    assert_eq!(failure(0x0200, "", "boom\n"), error(0, r#"netplugin failed: "boom\n""#, "exit status 2"));
    assert_eq!(
        failure(0x0100, "garb\"age", "log"),
        error(
            0,
            r#"netplugin failed but error parsing its diagnostic message "garb\"age": expected value at line 1 column 1"#,
            "exit status 1"
        )
    );
    assert_eq!(failure(0x0100, r#"{"code": 11, "msg": "m", "details": "d"}"#, "log"), error(11, "m", "d"));
    assert_eq!(failure(0x0100, r#"{"Msg": "m"}"#, ""), error(0, "m", ""));
    assert_eq!(
        failure(0x0100, r#"{"code": 7}"#, ""),
        error(7, "netplugin failed with no error message: exit status 1", "")
    );
}

#[test]
fn success_is_success() {
    let output = Output { status: ExitStatus::from_raw(0), stdout: b"{}".to_vec(), stderr: b"log".to_vec() };
    assert_eq!(output.into_success().unwrap().stdout, b"{}");
}
