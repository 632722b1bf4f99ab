use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::*;
use crate::error::Code;
use crate::plugin::Stderr;

const CONFIG: &str = r#"{"cniVersion":"1.0.0", "name":"n1","type":"bridge", "ipam": {"type": "fake"}}"#;

/// A directory with an IPAM plugin that is a shell script, and a call that finds it there.
struct Fixture {
    dir: TempDir,
    call: Call,
    stderr: Arc<Mutex<Vec<u8>>>,
}

impl Fixture {
    fn new(script: &str) -> Fixture {
        Fixture::with_env(script, &[])
    }

    fn with_env(script: &str, more: &[(&str, &str)]) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let plugin = dir.path().join("fake");
        fs::write(&plugin, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
        let (stderr, buffer) = Stderr::buffered();
        let path = format!("/nonexistent:{}", dir.path().display());
        let env = [
            ("CNI_COMMAND", "GC"),
            ("CNI_PATH", &path),
            ("PATH", "/usr/bin:/bin"),
            ("MARK", "first"),
            ("MARK", "second"),
        ];
        let env = env.iter().chain(more).map(|(name, value)| (name.into(), value.into())).collect();
        let call = Call::new(CONFIG.into(), env, stderr).unwrap();
        Fixture { dir, call, stderr: buffer }
    }

    fn delegate(&self) -> Delegate<'_> {
        Delegate::find(&self.call, &self.call.ipam_type().unwrap()).unwrap()
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn stderr(&self) -> String {
        String::from_utf8(self.stderr.lock().unwrap().clone()).unwrap()
    }
}

/// Shell code that writes to a file beside the plugin.
fn record(what: &str, file: &str) -> String {
    format!(r#"{what} >> "$(dirname "$0")/{file}""#)
}

#[test]
fn passes_document_and_environment_on() {
    let script =
        record("cat", "stdin") + "; " + &record(r#"echo "$CNI_COMMAND $MARK $(env | grep -c CNI_COMMAND)""#, "env");
    let fixture = Fixture::new(&script);
    let delegate = fixture.delegate();
    for verb in [Delegate::del, Delegate::check, Delegate::gc, Delegate::status] {
        verb(&delegate).unwrap();
    }
    assert_eq!(fixture.file("env"), "DEL first 1\nCHECK first 1\nGC first 1\nSTATUS first 1\n");
    assert_eq!(fixture.file("stdin"), CONFIG.repeat(4));
}

#[test]
fn add_reads_the_answer() {
    let fixture = Fixture::new(r#"echo '{"ips": [{"address": "10.0.0.2/24", "gateway": "10.0.0.1"}]}'; echo note >&2"#);
    let result = fixture.delegate().add().unwrap();
    assert_eq!(result.ips[0].address.to_string(), "10.0.0.2/24");
    assert_eq!(fixture.stderr(), "note\n");
}

#[test]
fn errors_are_passed_on_as_they_are() {
    let fixture =
        Fixture::new(r#"echo '{"code": 102, "msg": "no IP left", "details": "in 10.0.0.0/24"}'; echo log >&2; exit 1"#);
    let expected = Error::new(Code(102), "no IP left").with_details("in 10.0.0.0/24");
    assert_eq!(fixture.delegate().add().unwrap_err(), expected);
    assert_eq!(fixture.delegate().check().unwrap_err(), expected);
    assert_eq!(fixture.stderr(), "log\nlog\n");
}

#[test]
fn failures_without_an_error_document() {
    for (script, msg) in [
        ("exit 4", "netplugin failed with no error message: exit status 4"),
        ("kill -9 $$", "netplugin failed with no error message: signal: killed"),
        ("echo 'no disk' >&2; exit 1", r#"netplugin failed: "no disk\n""#),
        (
            "echo garbage; exit 1",
            r#"netplugin failed but error parsing its diagnostic message "garbage\n": expected value at line 1 column 1"#,
        ),
    ] {
        let error = Fixture::new(script).delegate().del().unwrap_err();
        assert_eq!((error.code, error.msg.as_str()), (Code(0), msg));
    }
}

#[test]
fn stderr_that_is_in_the_error_is_not_repeated() {
    let fixture = Fixture::new("echo 'no disk' >&2; exit 1");
    fixture.delegate().del().unwrap_err();
    assert_eq!(fixture.stderr(), "");
}

#[test]
fn an_answer_without_sense_is_undone() {
    for (answer, msg) in [
        ("garbage", "failed to unmarshal raw result: expected value at line 1 column 1"),
        ("", "failed to unmarshal raw result: unexpected end of JSON input"),
        (r#"{"cniVersion": "3.0.0"}"#, r#"unsupported CNI result version "3.0.0""#),
    ] {
        let fixture = Fixture::new(&(record("echo $CNI_COMMAND", "verbs") + &format!("; echo '{answer}'")));
        assert_eq!(fixture.delegate().add().unwrap_err().msg, msg);
        assert_eq!(fixture.file("verbs"), "ADD\nDEL\n", "{answer}");
    }
}

#[test]
fn a_delegate_that_hangs_has_a_limit() {
    let fixture = Fixture::with_env("exec sleep 1000", &[("XNET_DELEGATE_TIMEOUT", "1")]);
    let error = fixture.delegate().add().unwrap_err();
    let program = fixture.dir.path().join("fake");
    let msg = format!("delegating ADD: plugin {} did not finish within 1 s and was killed", program.display());
    assert_eq!((error.code, error.msg), (Code(999), msg));
    assert_eq!(error.details, "XNET_DELEGATE_TIMEOUT sets the limit in seconds");
}

#[test]
fn the_limit_can_be_set() {
    for (text, seconds, note) in [
        ("5", 5, ""),
        ("0", 220, "XNET_DELEGATE_TIMEOUT=0 is no number of seconds; it is ignored\n"),
        ("soon", 220, "XNET_DELEGATE_TIMEOUT=soon is no number of seconds; it is ignored\n"),
    ] {
        let fixture = Fixture::with_env("", &[("XNET_DELEGATE_TIMEOUT", text)]);
        assert_eq!(fixture.delegate().timeout, Duration::from_secs(seconds));
        assert_eq!(fixture.stderr(), note);
    }
    assert_eq!(Fixture::new("").delegate().timeout, Duration::from_secs(220));
}

#[test]
fn an_endless_limit_is_no_overflow() {
    let fixture = Fixture::with_env("", &[("XNET_DELEGATE_TIMEOUT", "18446744073709551615")]);
    assert_eq!(fixture.delegate().del(), Ok(()));
}

#[test]
fn what_can_not_be_found_has_the_known_texts() {
    let msg = |kind: &str, path: &[&str]| {
        let path: Vec<PathBuf> = path.iter().map(PathBuf::from).collect();
        let error = search(kind, &path).unwrap_err();
        assert_eq!(error.code, Code(999));
        error.msg
    };
    assert_eq!(msg("", &["/a"]), "no plugin name provided");
    assert_eq!(msg("x/y", &["/a"]), "invalid plugin name: x/y");
    assert_eq!(msg("nope", &[]), "no paths provided");
    assert_eq!(msg("nope", &["/a", "/b"]), r#"failed to find plugin "nope" in path [/a /b]"#);
}

#[test]
fn the_first_regular_file_counts() {
    let root = tempfile::tempdir().unwrap();
    let dirs = ["folder", "dangling", "link", "file"].map(|name| root.path().join(name));
    for dir in &dirs {
        fs::create_dir(dir).unwrap();
    }
    let [folder, dangling, link, file] = dirs.each_ref().map(|dir| dir.join("ipam"));
    fs::create_dir(folder).unwrap();
    symlink("/nonexistent", dangling).unwrap();
    fs::write(&file, "").unwrap();
    symlink(Path::new("../file/ipam"), &link).unwrap();
    assert_eq!(search("ipam", &dirs), Ok(link));
}
