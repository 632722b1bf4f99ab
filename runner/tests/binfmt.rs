//! Registrations of emulators, in a user namespace that has a binfmt_misc of its own (Linux 6.7): the host's is not touched.

#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::process::Command;

use sandbox::{Ended, Sandbox};

/// Runs a script as root of a user namespace in which binfmt_misc is mounted nowhere.
fn alone(script: &str) -> Ended {
    let script = format!("set -e; mount -t tmpfs none /proc/sys/fs/binfmt_misc; {script}");
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script]);
    Ended::of(command.env("xnet", env!("CARGO_BIN_EXE_xnet")))
}

/// Requirement: S1-Q2, S1-Q3, S1-Q4.
#[test]
fn emulators_are_registered_shown_and_taken_back() {
    let _sandbox = Sandbox::new();
    let ended = alone(
        "$xnet binfmt ls --format '{{.Name}}'; \
         $xnet binfmt install arm64; $xnet binfmt install linux/arm64; \
         cat /proc/sys/fs/binfmt_misc/qemu-aarch64; \
         $xnet binfmt ls --format '{{.Name}} {{.Enabled}} {{.Interpreter}} {{.Flags}} {{.Platform}}'; \
         $xnet binfmt inspect qemu-aarch64 --format json; \
         $xnet binfmt remove qemu-aarch64 qemu-aarch64; $xnet binfmt remove qemu-aarch64; \
         test -e /proc/sys/fs/binfmt_misc/qemu-aarch64 || echo gone",
    );
    let magic = "7f454c460201010000000000000000000200b700";
    let mask = "ffffffffffffff00fffffffffffffffffeffffff";
    let expected = [
        "qemu-aarch64",
        "enabled",
        "interpreter /usr/bin/qemu-aarch64-static",
        "flags: F",
        "offset 0",
        &format!("magic {magic}"),
        &format!("mask {mask}"),
        "qemu-aarch64 true /usr/bin/qemu-aarch64-static F linux/arm64",
        &format!(
            r#"{{"name":"qemu-aarch64","enabled":true,"interpreter":"/usr/bin/qemu-aarch64-static","flags":"F","offset":0,"magic":"{magic}","mask":"{mask}"}}"#
        ),
        "qemu-aarch64",
        "gone",
    ];
    ended.expect(0, &expected.join("\n"));
}

/// What somebody else has mounted and registered is used as it is; only emulators go with `--all`.
/// Requirement: S1-Q3, S1-Q4.
#[test]
fn other_handlers_stay() {
    let _sandbox = Sandbox::new();
    let ended = alone(
        "at=/proc/sys/fs/binfmt_misc; mount -t binfmt_misc none $at; echo ':perl:E::pl::/bin/true:' > $at/register; \
         $xnet binfmt install --interpreter /bin/true s390x; $xnet binfmt install arm64; \
         $xnet binfmt install s390x 2>&1 || echo $?; \
         $xnet binfmt inspect perl --format '{{.extension}}'; \
         $xnet binfmt remove --all; $xnet binfmt remove --all; ls $at; \
         $xnet binfmt inspect qemu-s390x 2>&1 || echo $?; $xnet binfmt remove status 2>&1 || echo $?",
    );
    let expected = [
        "qemu-s390x",
        "qemu-aarch64",
        "xnet: qemu-s390x is registered already, in another way: /bin/true, flags \"F\", enabled (`xnet binfmt remove qemu-s390x` takes it back)",
        "1",
        ".pl",
        "qemu-aarch64",
        "qemu-s390x",
        "perl",
        "register",
        "status",
        "xnet: there is no handler qemu-s390x (xnet binfmt ls shows those that there are)",
        "[]",
        "1",
        "xnet: \"status\" cannot be the name of a handler",
        "1",
    ];
    ended.expect(0, &expected.join("\n"));
}

/// Where nothing is mounted, reading leaves nothing mounted.
/// Requirement: S1-Q3.
#[test]
fn to_look_mounts_nothing() {
    let _sandbox = Sandbox::new();
    alone("$xnet binfmt ls > /dev/null; $xnet binfmt remove --all; grep -c ' - binfmt_misc ' /proc/self/mountinfo || true")
        .expect(0, &std::fs::read_to_string("/proc/self/mountinfo").unwrap().matches(" - binfmt_misc ").count().to_string());
    let refused = alone("$xnet binfmt install amd64 arm64");
    refused.expect_refusal(1, "this host runs programs for amd64 itself");
    alone("$xnet binfmt install --interpreter bin/true arm64").expect_refusal(1, "must be absolute");
}
