//! Programs for other processors. Needs qemu-user-static.

#![allow(clippy::unwrap_used, reason = "what fails to unwrap fails the test")]

mod sandbox;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sandbox::Sandbox;

/// A program for aarch64 that writes a line and ends with status 42.
fn foreign(path: &Path) {
    let words: [u32; 8] = [
        0xd280_0020, // mov x0, #1
        0x1000_00e1, // adr x1, text
        0xd280_00c2, // mov x2, #6
        0xd280_0808, // mov x8, #64 (write)
        0xd400_0001, // svc #0
        0xd280_0540, // mov x0, #42
        0xd280_0ba8, // mov x8, #93 (exit)
        0xd400_0001, // svc #0
    ];
    let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).chain(*b"arm64\n").collect();
    let (base, header) = (0x40_0000_u64, 64 + 56_u64);
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    for half in [2_u16, 183] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1_u32.to_le_bytes());
    for long in [base + header, 64, 0] {
        elf.extend(long.to_le_bytes());
    }
    elf.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let size = header + code.len() as u64;
    elf.extend([1_u32.to_le_bytes(), 5_u32.to_le_bytes()].concat());
    for long in [0, base, base, size, size, 0x1000] {
        elf.extend(long.to_le_bytes());
    }
    elf.extend(code);
    fs::write(path, elf).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Requirement: S1-Q1, S1-Q2.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_foreign_program_runs_by_the_hosts_emulator_and_nobody_else_notices() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    foreign(&root.join("bin/foreign"));
    let run = |options: &[&str], cmd: &[&str]| {
        sandbox.run(&[&["--net=none", "--rootfs", root.to_str().unwrap()], options].concat(), cmd)
    };
    run(&["--platform=linux/arm64"], &["/bin/foreign"]).expect(42, "arm64");
    run(&["--platform=linux/arm64", "-u", "101", "--cap-drop=ALL", "--init"], &["/bin/foreign"]).expect(42, "arm64");
    run(&["--platform=linux/arm64", "--userns=auto"], &["/bin/foreign"]).expect(42, "arm64");
    // The container's own programs run as before, and it cannot change what is registered.
    let script = "cat /proc/sys/fs/binfmt_misc/qemu-aarch64 | busybox head -3; (echo -1 > /proc/sys/fs/binfmt_misc/status) 2>/dev/null || echo no";
    let ended = run(&["--platform=linux/arm64"], &["sh", "-c", script]);
    let interpreter = "interpreter /usr/bin/qemu-aarch64-static";
    ended.expect(0, &format!("enabled\n{interpreter}\nflags: F\nno"));
    run(&["--platform=linux/amd64"], &["echo", "ran"]).expect(0, "ran");
    // Without, it is as foreign as it was.
    run(&[], &["/bin/foreign"]).expect_refusal(126, "");
    sandbox.assert_clean();
}

/// Requirement: S1-Q5.
#[cfg(target_arch = "x86_64")]
#[test]
fn without_an_emulator_the_error_says_what_is_missing() {
    let sandbox = Sandbox::new();
    let root = sandbox.rootfs();
    foreign(&root.join("bin/foreign"));
    let options = ["--net=none", "--rootfs", root.to_str().unwrap()];
    let why = "exec format error: it is a program for aarch64, this host is x86_64, and there is no handler: try";
    sandbox.run(&options, &["/bin/foreign"]).expect_refusal(126, why);
    let none = sandbox.run(&["--net=none", "--platform=linux/loong64"], &["echo", "ran"]);
    assert!(none.code == 125 || Path::new("/usr/bin/qemu-loongarch64-static").exists(), "{}", none.stderr);
    sandbox.run(&["--net=none", "--platform=linux/pdp11"], &["echo", "ran"]).expect_refusal(125, "unknown platform");
    sandbox.assert_clean();
}
