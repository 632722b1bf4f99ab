use std::fmt::Write;

use super::*;
use crate::spec::Capabilities;
use bpf::action::{ALLOW, ERRNO, KILL_PROCESS, NO_SUCH_CALL};

const NATIVE: u32 = table::FAMILIES[0].audit;
const EPERM: u32 = ERRNO | 1;

/// The kernel's machine, as far as filters use it.
fn run(program: &[Instruction], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend([0; 8]);
    args.iter().for_each(|arg| data.extend(arg.to_le_bytes()));
    let (mut at, mut a) = (0, 0_u32);
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        let branch = |yes: bool| usize::from(if yes { jt } else { jf });
        at += 1;
        match code {
            0x20 => {
                let from = usize::try_from(k).unwrap();
                a = u32::from_le_bytes(data[from..from + 4].try_into().unwrap());
            }
            0x54 => a &= k,
            0x05 => at += usize::try_from(k).unwrap(),
            0x15 => at += branch(a == k),
            0x25 => at += branch(a > k),
            0x35 => at += branch(a >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn number(name: &str) -> u32 {
    table::FAMILIES[0].calls.iter().find(|(known, _)| *known == name).unwrap().1
}

fn with(add: &[&str]) -> Filter {
    let add: Vec<_> = add.iter().map(|s| (*s).to_owned()).collect();
    let caps = Capabilities::from_flags(crate::spec::default_set(true), &add, &[]).unwrap();
    filters(&Security::confined(), caps.bounding).unwrap().remove(0)
}

fn ask(filter: &Filter, name: &str, args: [u64; 6]) -> u32 {
    run(filter.instructions(), NATIVE, number(name), args)
}

fn arg0(value: u64) -> [u64; 6] {
    [value, 0, 0, 0, 0, 0]
}

/// Requirement: P-26, T6.
#[test]
fn the_default_answers_as_it_should() {
    let filter = with(&[]);
    assert!(matches!(filter.0, Cow::Borrowed(_)), "the default program is not the one that was made ahead");
    for name in ["read", "openat", "execve", "chroot", "ptrace", "futex", "socketpair", "mknodat", "seccomp"] {
        assert_eq!(ask(&filter, name, [0; 6]), ALLOW, "{name}");
    }
    let refused = [
        "mount",
        "umount2",
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "add_key",
        "io_uring_setup",
        "userfaultfd",
        "kexec_load",
        "init_module",
        "reboot",
        "open_by_handle_at",
        "perf_event_open",
        "fsopen",
        "move_mount",
        "pivot_root",
        "swapon",
        "settimeofday",
        "open_tree_attr",
        "acct",
        "mbind",
    ];
    for name in refused {
        assert_eq!(ask(&filter, name, [0; 6]), EPERM, "{name}");
    }
    assert_eq!(ask(&filter, "clone3", [0; 6]), NO_SUCH_CALL);
    for unknown in [500, 1000, 0x4000_0000, 0x4000_0001, u32::MAX] {
        assert_eq!(run(filter.instructions(), NATIVE, unknown, [0; 6]), NO_SUCH_CALL, "{unknown}");
    }
    assert_eq!(run(filter.instructions(), 0x1234, 0, [0; 6]), KILL_PROCESS);
}

#[test]
fn arguments_are_looked_at_where_they_matter() {
    let filter = with(&[]);
    assert_eq!(ask(&filter, "clone", arg0(0x1200_0011)), EPERM, "a new user namespace");
    assert_eq!(ask(&filter, "clone", arg0(0x3d_0f00)), ALLOW, "a thread");
    for (family, answer) in
        [(1, ALLOW), (2, ALLOW), (10, ALLOW), (16, ALLOW), (12, EPERM), (38, EPERM), (40, EPERM), (99, EPERM)]
    {
        assert_eq!(ask(&filter, "socket", arg0(family)), answer, "family {family}");
        // The kernel looks at the low half only, so what is in the other must not open a door.
        assert_eq!(ask(&filter, "socket", arg0(family | 1 << 32)), EPERM, "family {family}");
    }
    let ioctl = |request: u64| ask(&filter, "ioctl", [0, request, 0, 0, 0, 0]);
    assert_eq!([0x5413, 0x5412, 0x1_0000_5412, 0x541c].map(ioctl), [ALLOW, EPERM, EPERM, EPERM]);
    let personality = |value| ask(&filter, "personality", arg0(value));
    assert_eq!([0, 0xffff_ffff, 0x0004_0000].map(personality), [ALLOW, ALLOW, EPERM]);
}

#[test]
fn capabilities_bring_their_calls() {
    let all = |cap: &str, names: &[&str]| {
        let filter = with(&[cap]);
        for name in names {
            assert_eq!(ask(&filter, name, [0; 6]), ALLOW, "{cap}: {name}");
            assert_ne!(ask(&with(&[]), name, [0; 6]), ALLOW, "{name}");
        }
    };
    all("SYS_ADMIN", &["mount", "unshare", "setns", "clone3", "fsopen", "open_tree_attr"]);
    all("SYS_TIME", &["settimeofday", "clock_settime"]);
    all("SYS_BOOT", &["reboot"]);
    all("BPF", &["bpf"]);
    all("DAC_READ_SEARCH", &["open_by_handle_at"]);
    assert_eq!(ask(&with(&["SYS_ADMIN"]), "clone", arg0(0x1200_0011)), ALLOW);
    let caps = Capabilities::from_flags(crate::spec::default_set(true), &[], &["SYS_CHROOT".into()]).unwrap();
    let filter = filters(&Security::confined(), caps.bounding).unwrap().remove(0);
    assert_eq!(ask(&filter, "chroot", [0; 6]), EPERM);
}

#[test]
fn the_program_made_ahead_is_for_the_capabilities_that_a_container_has() {
    let profile: Profile = serde_json::from_str(DEFAULT).unwrap();
    assert_eq!(profile.capabilities(), table::ASKED);
    let held: Vec<String> = crate::spec::default_set(true).into();
    let asked: Vec<_> = held.iter().filter(|cap| table::ASKED.contains(&cap.as_str())).collect();
    assert_eq!(asked, table::HELD);
    assert!(table::PROGRAM.len() < 800, "{} instructions", table::PROGRAM.len());
}

#[test]
fn the_tree_answers_what_the_rules_say_for_every_number() {
    let profile: Profile = serde_json::from_str(DEFAULT).unwrap();
    for held in [&["CAP_SYS_CHROOT"][..], &["CAP_SYS_ADMIN"], &[]] {
        let facts = Facts { capabilities: held, kernel: (6, 18) };
        let filter = compile(&profile, held).unwrap();
        for numbers in table::FAMILIES {
            let decided = profile.decide(&facts, numbers).unwrap();
            for number in 0..600 {
                let decision = decided.calls.iter().find(|(n, _)| *n == number).map_or(&decided.unknown, |(_, d)| d);
                if decision.branches.is_empty() {
                    let answer = run(filter.instructions(), numbers.audit, number, [7; 6]);
                    assert_eq!(answer, decision.otherwise, "{} {number}", numbers.arch);
                }
            }
        }
    }
}

#[test]
fn comparisons_are_of_64_bits() {
    let value = 0x1_0000_0005_u64;
    let near = [value, value - 1, value + 1, 5, value << 1, 0, u64::MAX];
    type Meant = fn(u64, u64) -> bool;
    let cases: [(&str, Meant); 6] = [
        ("EQ", |a, b| a == b),
        ("NE", |a, b| a != b),
        ("LT", |a, b| a < b),
        ("LE", |a, b| a <= b),
        ("GT", |a, b| a > b),
        ("GE", |a, b| a >= b),
    ];
    for (op, meant) in cases {
        // Twice, so that a jump out of the first check has something to get wrong.
        let arg = format!(r#"{{"index": 0, "value": {value}, "op": "SCMP_CMP_{op}"}}"#);
        let text = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{arg}, {arg}]}}]}}"#
        );
        let filter = compile(&serde_json::from_str(&text).unwrap(), &[]).unwrap();
        for tried in near {
            assert_eq!(ask(&filter, "read", arg0(tried)) == ALLOW, meant(tried, value), "{tried:#x} {op} {value:#x}");
        }
    }
}

#[test]
fn profiles_of_the_users_are_checked_when_they_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("p.json");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        load(&path)
    };
    let one = |rule: &str| format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{rule}]}}"#);
    let strict =
        load(&one(r#"{"names": ["mkdir", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28, "args": null,
        "includes": {}, "excludes": {"minKernel": "99.0"}, "comment": "x"}"#))
        .unwrap();
    let filter = compile(&strict, &[]).unwrap();
    if cfg!(target_arch = "x86_64") {
        assert_eq!(ask(&filter, "mkdir", [0; 6]), ERRNO | 28);
    }
    assert_eq!(run(filter.instructions(), NATIVE, 5000, [0; 6]), ALLOW);
    let mut many = String::new();
    for n in 0..1000 {
        write!(many, r#"{{"names": ["read"], "action": "SCMP_ACT_KILL", "args": [{{"index": 0, "value": {n}, "op": "SCMP_CMP_EQ"}}]}},"#)
            .unwrap();
    }
    for (text, why) in [
        ("{", "EOF"),
        ("{}", "defaultAction"),
        (r#"{"defaultAction": "SCMP_ACT_NOTIFY"}"#, "unknown action"),
        (&one(r#"{"names": ["read"], "action": "ALLOW"}"#), "unknown action"),
        (&one(r#"{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}"#), "no error number"),
        (
            &one(
                r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}"#,
            ),
            "no system call",
        ),
        (
            &one(r#"{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "op": "EQ"}]}"#),
            "unknown comparison",
        ),
        (&one(many.trim_end_matches(',')), "4096"),
    ] {
        let error = load(text).unwrap_err();
        assert!(error.message.contains(why) && error.message.contains("p.json"), "{text}: {error}");
    }
}

/// No profile is read and nothing compiled: what is installed is the very program that is part of this one.
///
/// Requirement: T6.
#[test]
fn the_default_filter_is_a_constant_of_this_program() {
    let spec = crate::cli::spec_of(&["--", "true"]);
    let filters = filters(&spec.security, spec.process.capabilities.bounding).unwrap();
    assert_eq!(filters.len(), 1);
    assert!(matches!(filters[0].0, Cow::Borrowed(_)), "it was compiled just now");
    assert!(std::ptr::eq(filters[0].instructions(), table::PROGRAM), "it is another program");
    // It is what the compiler makes of the profile, and other capabilities need another one.
    let held: Vec<String> = spec.process.capabilities.bounding.into();
    let held: Vec<&str> = held.iter().map(String::as_str).collect();
    assert_eq!(compile(&serde_json::from_str(DEFAULT).unwrap(), &held).unwrap().instructions(), table::PROGRAM);
    let other = crate::cli::spec_of(&["--cap-add=SYS_ADMIN", "--", "true"]);
    let filters = super::filters(&other.security, other.process.capabilities.bounding).unwrap();
    assert!(matches!(filters[0].0, Cow::Owned(_)));
}
