//! Which devices a container may use.
//!
//! A list of rules, of which the last that fits decides; what none fits is refused. Version 1 has files for such a list,
//! version 2 asks a program, which is made of the list.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::sys::bpf::{self, Instruction};

use super::{Group, Hierarchy, Kind};

/// A rule of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rule {
    /// Whether what it fits is allowed.
    pub allow: bool,
    /// `c`, `b`, or `a` for both.
    pub kind: DeviceKind,
    /// The driver; any without.
    pub major: Option<u32>,
    /// The device of that driver; any without.
    pub minor: Option<u32>,
    /// What may be done.
    pub access: Access,
}

/// Sorts of devices, as in linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Both.
    Any,
    /// Disks.
    Block,
    /// Everything else.
    Char,
}

/// A set of `m` (make a node), `r` and `w`, as bits of linux/bpf.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access(u8);

impl Access {
    /// All three.
    pub const ALL: Self = Self(7);
    /// Make nodes, which are of no use if they cannot be opened.
    pub const MAKE: Self = Self(1);
}

/// What every container may use: nodes can be made, and the harmless devices and terminals opened.
#[must_use]
pub fn usual() -> Vec<Rule> {
    let of = |kind, major, minor, access| Rule { allow: true, kind, major, minor, access };
    let char = |major, minor| of(DeviceKind::Char, Some(major), minor, Access::ALL);
    vec![
        of(DeviceKind::Char, None, None, Access::MAKE),
        of(DeviceKind::Block, None, None, Access::MAKE),
        char(1, Some(3)),
        char(1, Some(5)),
        char(1, Some(7)),
        char(1, Some(8)),
        char(1, Some(9)),
        char(5, Some(0)),
        char(5, Some(1)),
        char(5, Some(2)),
        char(136, None),
    ]
}

impl Group<'_> {
    /// Lets the container use what `rules` allow, and no other device. Answers whether anything on this host guards that.
    pub(crate) fn guard_devices(&self, rules: &[Rule]) -> Result<bool> {
        if let Some(hierarchy) = self.hierarchies.iter().find(|h| matches!(h.kind, Kind::V1 { .. }) && h.has("devices"))
        {
            let dir = self.dir(hierarchy);
            return if dir.is_dir() { write(&dir, rules).map(|()| true) } else { Ok(false) };
        }
        let unified = self.hierarchies.iter().find(|h| h.kind == Kind::V2).map(|h| self.dir(h));
        let Some(dir) = unified.filter(|dir| dir.is_dir()) else { return Ok(false) };
        let failed = || format!("guard the devices of the cgroup {}", dir.display());
        let group = File::open(&dir).context(failed)?;
        let program = bpf::load_device_program(&compile(rules)).context(failed)?;
        bpf::attach_device_program(group.as_fd(), program.as_fd()).context(failed)?;
        Ok(true)
    }
}

/// Whether this host has what it takes for [`Group::guard_devices`].
pub(crate) fn can_guard(hierarchies: &[Hierarchy]) -> bool {
    hierarchies.iter().any(|h| h.kind == Kind::V2 || h.has("devices"))
}

/// The list of version 1 starts with everything, and is changed rule by rule.
fn write(dir: &Path, rules: &[Rule]) -> Result<()> {
    let open = |file: &str| {
        let path = dir.join(file);
        OpenOptions::new().write(true).open(&path).context(|| format!("open {}", path.display()))
    };
    let (mut allow, mut deny) = (open("devices.allow")?, open("devices.deny")?);
    // One rule a write.
    deny.write_all(b"a").context(|| format!("refuse all devices in {}", dir.display()))?;
    rules.iter().try_for_each(|rule| {
        let file = if rule.allow { &mut allow } else { &mut deny };
        file.write_all(rule.to_string().as_bytes()).context(|| format!("write the rule {rule} to {}", dir.display()))
    })
}

/// Opcodes of linux/bpf.h, with their operands' form.
mod code {
    /// Load 32 bits of what the source register points at.
    pub(super) const LOAD: u8 = 0x61;
    /// Copy 32 bits from register to register.
    pub(super) const COPY: u8 = 0xbc;
    /// Shift right by a number.
    pub(super) const SHIFT: u8 = 0x74;
    /// And with a number.
    pub(super) const AND: u8 = 0x54;
    /// Set to a number.
    pub(super) const SET: u8 = 0xb7;
    /// Jump if the lower 32 bits differ from a number.
    pub(super) const JUMP_UNLESS: u8 = 0x56;
    /// End, with the answer in register 0.
    pub(super) const EXIT: u8 = 0x95;
}

/// The program for `rules`: type, access, major and minor number are loaded into registers 2 to 5, and then each rule from
/// the last to the first answers if it fits.
fn compile(rules: &[Rule]) -> Vec<Instruction> {
    let with = |code, target: u8, source: u8, offset, value| Instruction {
        code,
        registers: target | source << 4,
        offset,
        value,
    };
    let mut program = vec![
        with(code::LOAD, 2, 1, 0, 0),
        with(code::COPY, 3, 2, 0, 0),
        with(code::SHIFT, 3, 0, 0, 16),
        with(code::AND, 2, 0, 0, 0xffff),
        with(code::LOAD, 4, 1, 4, 0),
        with(code::LOAD, 5, 1, 8, 0),
    ];
    for rule in rules.iter().rev() {
        let mut tests = Vec::new();
        match rule.kind {
            DeviceKind::Any => {}
            DeviceKind::Block => tests.push((2, 1)),
            DeviceKind::Char => tests.push((2, 2)),
        }
        tests.extend(rule.major.map(|major| (4, major.cast_signed())));
        tests.extend(rule.minor.map(|minor| (5, minor.cast_signed())));
        let mut block = Vec::new();
        if rule.access != Access::ALL {
            // An access that asks for anything else is not what this rule is about.
            block.push(with(code::COPY, 1, 3, 0, 0));
            block.push(with(code::AND, 1, 0, 0, i32::from(Access::ALL.0 & !rule.access.0)));
            tests.push((1, 0));
        }
        block.extend(tests.into_iter().map(|(register, value)| with(code::JUMP_UNLESS, register, 0, 0, value)));
        block.push(with(code::SET, 0, 0, 0, i32::from(rule.allow)));
        block.push(with(code::EXIT, 0, 0, 0, 0));
        // Jumps lead behind the block.
        let length = block.len();
        for (at, instruction) in block.iter_mut().enumerate().filter(|(_, i)| i.code == code::JUMP_UNLESS) {
            instruction.offset = i16::try_from(length - at - 1).unwrap_or(i16::MAX);
        }
        program.extend(block);
    }
    program.extend([with(code::SET, 0, 0, 0, 0), with(code::EXIT, 0, 0, 0, 0)]);
    program
}

impl fmt::Display for Rule {
    /// As in `devices.allow` of version 1, and in `--device-cgroup-rule`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Any => 'a',
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |n| n.to_string());
        write!(f, "{kind} {}:{} {}", number(self.major), number(self.minor), self.access)
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        LETTERS.iter().filter(|(_, bit)| self.0 & bit != 0).try_for_each(|(letter, _)| write!(f, "{letter}"))
    }
}

const LETTERS: [(char, u8); 3] = [('r', 2), ('w', 4), ('m', 1)];

impl FromStr for Access {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bit = |letter| LETTERS.iter().find(|(known, _)| *known == letter).map(|(_, bit)| *bit);
        let bits = text.chars().map(bit).try_fold(0, |all, bit| Some(all | bit?));
        bits.filter(|bits| *bits != 0).map(Self).ok_or_else(|| {
            Error::new(format!("invalid device access {text:?}: expected some of the letters r, w and m"))
        })
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::new(format!("invalid device rule {text:?}: expected for example \"c 10:200 rwm\""));
        let words: Vec<_> = text.split_whitespace().collect();
        let [kind, numbers, access] = words.as_slice() else { return Err(invalid()) };
        let kind = match *kind {
            "a" => DeviceKind::Any,
            "b" => DeviceKind::Block,
            "c" => DeviceKind::Char,
            _ => return Err(invalid()),
        };
        let number = |text: &str| match text {
            "*" => Ok(None),
            text => text.parse::<u32>().map(Some).map_err(|_| invalid()),
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
        Ok(Self { allow: true, kind, major: number(major)?, minor: number(minor)?, access: access.parse()? })
    }
}

impl TryFrom<String> for Rule {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        match text.strip_prefix("deny ") {
            Some(rule) => Ok(Self { allow: false, ..rule.parse()? }),
            None => text.parse(),
        }
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        if rule.allow { rule.to_string() } else { format!("deny {rule}") }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::process::Command;

    use super::*;
    use crate::cgroup::{Hierarchy, clear, of_host};
    use crate::id::Name;
    use crate::spec::Limits;

    #[test]
    fn rules_are_read_and_written() {
        for text in ["c 10:200 rwm", "b 8:* r", "a *:* rwm"] {
            assert_eq!(text.parse::<Rule>().unwrap().to_string(), text);
        }
        for bad in ["", "c", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 x", "c 1:3 ", "c -1:3 r", "c 1:3 r w"] {
            assert!(bad.parse::<Rule>().is_err(), "{bad:?}");
        }
        let deny = Rule { allow: false, ..usual()[0] };
        assert_eq!(Rule::try_from(String::from(deny)).unwrap(), deny);
    }

    #[test]
    fn version_1_gets_a_list() {
        let dir = tempfile::tempdir().unwrap();
        let hierarchies = [Hierarchy {
            kind: Kind::V1 { controllers: vec!["devices".into()] },
            mount: dir.path().into(),
            below: PathBuf::new(),
        }];
        let group = Group::new(&hierarchies, None, &"one".parse().unwrap());
        group.create(&Limits::default()).unwrap();
        let file = |name: &str| dir.path().join("xnet-one").join(name);
        ["devices.allow", "devices.deny"].iter().for_each(|name| fs::write(file(name), "").unwrap());
        assert!(group.guard_devices(&usual()).unwrap());
        // A plain file keeps one write behind the other.
        let written: String = usual().iter().map(ToString::to_string).collect();
        assert_eq!(fs::read_to_string(file("devices.allow")).unwrap(), written);
        assert_eq!(fs::read_to_string(file("devices.deny")).unwrap(), "a");
    }

    /// The kernel's own check of the program, and its answers, in a version 2 group.
    ///
    /// Requirement: F-devices.
    #[test]
    fn version_2_asks_the_program() {
        let Some(unified) = of_host().unwrap().into_iter().find(|h| h.kind == Kind::V2) else {
            eprintln!("skipped: this host has no version 2 hierarchy");
            return;
        };
        let (parent, hierarchies) = (Name::random().unwrap(), [unified]);
        let group = Group::new(&hierarchies, Some(&parent), &"one".parse().unwrap());
        group.create(&Limits::default()).unwrap();
        let rules: Vec<Rule> = ["c 1:3 rw", "c 1:5 r", "c *:* m"].iter().map(|rule| rule.parse().unwrap()).collect();
        let deny = Rule { allow: false, ..rules[0] };
        let dir = group.dirs().remove(0);
        let run = |script: &str| {
            let enter = format!("echo 0 > {}/cgroup.procs; {script}", dir.display());
            Command::new("sh").args(["-c", &enter]).stderr(std::process::Stdio::null()).status().unwrap().success()
        };
        assert!(group.guard_devices(&rules).unwrap());
        let answers =
            ["echo x > /dev/null", "head -c1 /dev/zero", "echo x > /dev/zero", "head -c1 /dev/random"].map(run);
        // A second program has to agree as well.
        group.guard_devices(&[rules[0], deny]).unwrap();
        let denied = run("echo x > /dev/null");
        clear(&group.dirs()).unwrap();
        assert_eq!(answers, [true, true, false, false]);
        assert!(!denied);
    }
}
