//! Compiles the default profile of system calls, so that a container's start need not.
//!
//! The table of numbers and the program for the usual capabilities become constants of `src/seccomp/table.rs`. The
//! compiler is the one that the runner uses for other profiles.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;

#[path = "src/seccomp/bpf.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "made for the runner, which uses all of it")]
mod bpf;
#[path = "src/seccomp/profile.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, reason = "made for the runner, which uses all of it")]
mod profile;

use profile::{Facts, Numbers, Profile};

const TABLE: &str = "seccomp/syscalls.tbl";
const PROFILE: &str = "seccomp/default.json";

/// Of the capabilities that the profile asks about, those that a container has by default.
const HELD: [&str; 1] = ["CAP_SYS_CHROOT"];

/// Rules may ask for a kernel that is at least so new. The runner needs a newer one than any rule.
const KERNEL: (u32, u32) = (5, 12);

fn main() -> Result<(), String> {
    for file in [TABLE, PROFILE, "src/seccomp/bpf.rs", "src/seccomp/profile.rs"] {
        println!("cargo::rerun-if-changed={file}");
    }
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").map_err(|error| error.to_string())?;
    let table = read(TABLE)?;
    let families = families(&arch, &table)?;
    let profile: Profile = serde_json::from_str(&read(PROFILE)?).map_err(|error| format!("{PROFILE}: {error}"))?;
    let facts = Facts { capabilities: &HELD, kernel: KERNEL };
    let numbers = families.iter().map(Family::numbers);
    let decided = numbers.map(|numbers| profile.decide(&facts, &numbers)).collect::<Result<Vec<_>, _>>()?;
    let text = render(&families, &profile, &bpf::compile(&decided))?;
    let out = env::var("OUT_DIR").map_err(|error| error.to_string())?;
    fs::write(Path::new(&out).join("seccomp.rs"), text).map_err(|error| error.to_string())
}

/// The calls of an architecture that programs for `TARGET` can make.
struct Family<'a> {
    audit: u32,
    arch: &'static str,
    calls: Vec<(&'a str, u32)>,
}

impl Family<'_> {
    fn numbers(&self) -> Numbers<'_> {
        Numbers { audit: self.audit, arch: self.arch, calls: &self.calls }
    }
}

/// The native one first.
fn families<'a>(target: &str, table: &'a str) -> Result<Vec<Family<'a>>, String> {
    let column = |at: usize| -> Vec<(&str, u32)> {
        let rows = table.lines().filter(|line| !line.starts_with('#'));
        let cell = |line: &'a str| {
            let cells: Vec<_> = line.split(' ').collect();
            Some((*cells.first()?, cells.get(at)?.parse().ok()?))
        };
        rows.filter_map(cell).collect()
    };
    match target {
        "x86_64" => Ok(vec![
            Family { audit: 0xc000_003e, arch: "amd64", calls: column(1) },
            Family { audit: 0x4000_0003, arch: "x86", calls: column(2) },
        ]),
        "aarch64" => Ok(vec![Family { audit: 0xc000_00b7, arch: "arm64", calls: column(3) }]),
        other => Err(format!("no table of system calls for {other}")),
    }
}

fn render(families: &[Family<'_>], profile: &Profile, program: &[bpf::Instruction]) -> Result<String, String> {
    let mut text = String::new();
    let mut put = |args: std::fmt::Arguments<'_>| text.write_fmt(args).map_err(|error| error.to_string());
    put(format_args!("pub(super) const FAMILIES: &[Numbers<'static>] = &["))?;
    for Family { audit, arch, calls } in families {
        put(format_args!("Numbers {{ audit: {audit:#x}, arch: {arch:?}, calls: &{calls:?} }},"))?;
    }
    put(format_args!("];\npub(super) const ASKED: &[&str] = &{:?};\n", profile.capabilities()))?;
    put(format_args!("pub(super) const HELD: &[&str] = &{HELD:?};\n"))?;
    put(format_args!("pub(super) static PROGRAM: &[Instruction] = &["))?;
    for bpf::Instruction { code, jt, jf, k } in program {
        put(format_args!("Instruction {{ code: {code}, jt: {jt}, jf: {jf}, k: {k} }},"))?;
    }
    put(format_args!("];\n"))?;
    Ok(text)
}
