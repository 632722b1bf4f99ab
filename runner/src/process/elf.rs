//! Just enough of ELF and `#!` to name the missing interpreter, or the machine that a program is for.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The interpreter is named near the beginning of a file.
const HEAD: u64 = 64 * 1024;

/// The program which `path` asks to be run by: its `#!` line, or the dynamic loader of an ELF file.
pub(crate) fn interpreter(path: &Path) -> Option<PathBuf> {
    let head = head(path)?;
    let name = match head.strip_prefix(b"#!") {
        Some(script) => script.split(|b| *b == b'\n').next()?.trim_ascii().split(|b| b" \t".contains(b)).next()?,
        None => loader(&head)?,
    };
    Some(PathBuf::from(OsStr::from_bytes(name)))
}

/// The machine that the ELF file `path` is for, if it is not this one.
pub(crate) fn foreign_machine(path: &Path) -> Option<&'static str> {
    let head = head(path)?;
    let machine = match u16::from_le_bytes(field(elf(&head)?, 18)?) {
        3 => "x86",
        40 => "arm",
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        258 => "loongarch64",
        21 => "powerpc64",
        22 => "s390x",
        _ => "another machine",
    };
    (machine != std::env::consts::ARCH).then_some(machine)
}

fn head(path: &Path) -> Option<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path).ok()?.take(HEAD).read_to_end(&mut head).ok()?;
    Some(head)
}

fn elf(head: &[u8]) -> Option<&[u8]> {
    head.starts_with(b"\x7fELF").then_some(head)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The PT_INTERP segment of a little-endian 64-bit ELF file.
fn loader(head: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: u32 = 3;
    let word = |at| u64::from_le_bytes(field(head, at)?).try_into().ok();
    let half = |at| Some(usize::from(u16::from_le_bytes(field(head, at)?)));
    let (table, size, count): (usize, usize, usize) = (word(elf(head)?.len().min(32))?, half(54)?, half(56)?);
    let segment = (0..count)
        .filter_map(|n| table.checked_add(n.checked_mul(size)?))
        .find(|at| field(head, *at).map(u32::from_le_bytes) == Some(PT_INTERP))?;
    let (offset, length): (usize, usize) = (word(segment.checked_add(8)?)?, word(segment.checked_add(32)?)?);
    head.get(offset..offset.checked_add(length)?)?.split(|b| *b == 0).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_name_their_interpreter() {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("script");
        std::fs::write(&script, "#! /no/such/interpreter -x\necho\n").unwrap();
        assert_eq!(interpreter(&script), Some(PathBuf::from("/no/such/interpreter")));
        std::fs::write(&script, "echo\n").unwrap();
        assert_eq!(interpreter(&script), None);
    }

    #[test]
    fn elf_files_name_their_loader_and_machine() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("program");
        let mut elf = vec![0_u8; 256];
        elf[..4].copy_from_slice(b"\x7fELF");
        elf[18..20].copy_from_slice(&0xffff_u16.to_le_bytes());
        elf[32..40].copy_from_slice(&64_u64.to_le_bytes());
        elf[54..56].copy_from_slice(&56_u16.to_le_bytes());
        elf[56..58].copy_from_slice(&1_u16.to_le_bytes());
        elf[64..68].copy_from_slice(&3_u32.to_le_bytes());
        elf[72..80].copy_from_slice(&128_u64.to_le_bytes());
        elf[96..104].copy_from_slice(&7_u64.to_le_bytes());
        elf[128..134].copy_from_slice(b"/no/ld");
        std::fs::write(&file, &elf).unwrap();
        assert_eq!(interpreter(&file), Some(PathBuf::from("/no/ld")));
        assert_eq!(foreign_machine(&file), Some("another machine"));
        elf.truncate(70);
        std::fs::write(&file, &elf).unwrap();
        assert_eq!(interpreter(&file), None);
    }

    /// Requirement: P-20.
    #[test]
    fn damaged_programs_name_something_or_nothing() {
        let mut good = vec![0_u8; 256];
        good[..4].copy_from_slice(b"\x7fELF");
        good[32..40].copy_from_slice(&64_u64.to_le_bytes());
        good[54..56].copy_from_slice(&56_u16.to_le_bytes());
        good[56..58].copy_from_slice(&2_u16.to_le_bytes());
        good[64..68].copy_from_slice(&3_u32.to_le_bytes());
        good[72..80].copy_from_slice(&128_u64.to_le_bytes());
        good[96..104].copy_from_slice(&7_u64.to_le_bytes());
        good[128..134].copy_from_slice(b"/no/ld");
        crate::mutation::each(&[&good, b"#! /bin/sh -x\n"], &[&[0xff; 8], b"#!", b"\x7fELF"], 20_000, |head| {
            assert!(loader(head).is_none_or(|name| !name.contains(&0)));
            assert!(field::<8>(head, usize::MAX).is_none());
        });
    }
}
