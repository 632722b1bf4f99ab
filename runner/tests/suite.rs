//! The plugins inside the binary: installed, and called by name.

mod sandbox;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use sandbox::{Ended, Sandbox};

#[test]
fn install_puts_every_plugin_into_a_directory() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("bin");
    let list = Ended::of(&mut sandbox.command(&["install", "--list"]));
    let names: Vec<_> = list.stdout.lines().collect();
    assert!(names.contains(&"bridge") && names.contains(&"host-local"), "{names:?}");
    assert!(!dir.exists());
    // Somebody else's program and a link are in the way.
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("bridge"), "old").unwrap();
    fs::write(sandbox.path("victim"), "victim").unwrap();
    symlink(sandbox.path("victim"), dir.join("loopback")).unwrap();
    for _ in 0..2 {
        assert_eq!(Ended::of(&mut sandbox.command(&["install", dir.to_str().unwrap()])).code, 0);
        let mut found: Vec<_> =
            fs::read_dir(&dir).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
        found.sort_unstable();
        let mut expected = names.clone();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
    assert_eq!(fs::read_to_string(sandbox.path("victim")).unwrap(), "victim");
    let meta = fs::symlink_metadata(dir.join("bridge")).unwrap();
    assert!(meta.is_file() && meta.permissions().mode() & 0o777 == 0o755);
    assert_eq!(meta.nlink(), names.len() as u64);
}

#[test]
fn only_what_is_asked_for_is_installed() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("bin");
    let install = |only: &str| Ended::of(&mut sandbox.command(&["install", "--only", only, dir.to_str().unwrap()]));
    install("bridge,nonsense").expect_refusal(1, "there is no plugin called \"nonsense\"");
    assert!(!dir.exists());
    assert_eq!(install("bridge").code, 0);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}

#[test]
fn an_installed_plugin_answers_by_its_name() {
    let sandbox = Sandbox::new();
    let dir = sandbox.path("bin");
    assert_eq!(Ended::of(&mut sandbox.command(&["install", dir.to_str().unwrap()])).code, 0);
    for entry in fs::read_dir(&dir).unwrap().flatten() {
        let ended = Ended::of(Command::new(entry.path()).env_clear().env("CNI_COMMAND", "VERSION"));
        assert_eq!(ended.code, 0, "{:?}: {}", entry.path(), ended.stderr);
        let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(answer["cniVersion"], "1.1.0", "{:?}", entry.path());
    }
}
