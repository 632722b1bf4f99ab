//! Programs for other processors, run by an emulator of the host.
//!
//! The kernel's binfmt_misc has an instance per user namespace (since Linux 6.7): what is registered there counts for the
//! processes of that namespace and of those below. So a container with an architecture of its own gets a user
//! namespace, if need be one that maps every id to itself, and a registration nobody else sees and that is gone with it. The
//! flag `F` makes the kernel open the emulator at that moment, from the host's file system, so the container needs no
//! copy of it.
//!
//! The host's own instance is in [`handlers`]; nothing but `xnet binfmt` touches it.

pub(crate) mod handlers;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::mount::attr;

/// A processor architecture.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// As images call it.
    pub(crate) name: &'static str,
    /// As the kernel and emulators call it.
    pub(crate) machine: &'static str,
    /// The fifth and sixth byte of its programs: 32 or 64 bits, little or big end first.
    header: [u8; 2],
    /// `e_machine` of elf.h.
    number: u16,
}

/// Those that there are images for.
pub(crate) const ARCHITECTURES: [Architecture; 9] = [
    Architecture { name: "386", machine: "i386", header: [1, 1], number: 3 },
    Architecture { name: "amd64", machine: "x86_64", header: [2, 1], number: 62 },
    Architecture { name: "arm", machine: "arm", header: [1, 1], number: 40 },
    Architecture { name: "arm64", machine: "aarch64", header: [2, 1], number: 183 },
    Architecture { name: "loong64", machine: "loongarch64", header: [2, 1], number: 258 },
    Architecture { name: "mips64le", machine: "mips64el", header: [2, 1], number: 8 },
    Architecture { name: "ppc64le", machine: "ppc64le", header: [2, 1], number: 21 },
    Architecture { name: "riscv64", machine: "riscv64", header: [2, 1], number: 243 },
    Architecture { name: "s390x", machine: "s390x", header: [2, 2], number: 22 },
];

/// An emulator of the host for one architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// The architecture, as the kernel calls it.
    pub machine: String,
    /// The program, on the host.
    pub interpreter: PathBuf,
}

/// What the names of emulators' registrations begin with.
const PREFIX: &str = "qemu-";

/// Where emulators are.
const PLACES: [&str; 4] = ["/usr/bin", "/usr/local/bin", "/usr/libexec/qemu-binfmt", "/bin"];

/// The architecture that `text` names: as in `arm64`, `aarch64`, or `linux/arm64/v8`.
pub(crate) fn architecture(text: &str) -> Result<&'static Architecture> {
    let mut parts = text.split('/');
    let name = match (parts.next(), parts.next()) {
        (Some("linux"), Some(arch)) => arch,
        (Some(arch), None) => arch,
        _ => "",
    };
    let known = ARCHITECTURES.iter().find(|arch| name == arch.name || name == arch.machine);
    known.ok_or_else(|| {
        let names: Vec<_> = ARCHITECTURES.iter().map(|arch| arch.name).collect();
        Error::new(format!("unknown platform {text:?}: expected linux/ARCH with one of {}", names.join(", ")))
    })
}

/// The emulator that `--platform` needs on this host; none if it is the host's own platform.
pub(crate) fn for_platform(text: &str) -> Result<Option<Emulator>> {
    let arch = architecture(text)?;
    if arch.machine == std::env::consts::ARCH {
        return Ok(None);
    }
    Emulator::find(arch).map(Some)
}

impl Emulator {
    /// Looks for the host's emulator.
    pub(crate) fn find(arch: &Architecture) -> Result<Self> {
        let names = [format!("qemu-{}-static", arch.machine), format!("qemu-{}", arch.machine)];
        let candidates = names.iter().flat_map(|name| PLACES.iter().map(move |dir| Path::new(dir).join(name)));
        let mut found = candidates.filter(|path| path.is_file());
        match found.next() {
            Some(interpreter) => Ok(Self { machine: arch.machine.to_owned(), interpreter }),
            None => Err(Error::new(format!(
                "this host cannot run programs for {}: it has no {} (Debian's package qemu-user-static)",
                arch.name, names[0]
            ))),
        }
    }

    /// The name that it is registered by, which is the one that its own package uses.
    pub(crate) fn name(&self) -> String {
        format!("{}{}", PREFIX, self.machine)
    }

    /// How its programs begin, and which bits of that count.
    fn pattern(&self) -> Result<(Vec<u8>, Vec<u8>)> {
        let arch = architecture(&self.machine)?;
        let is_big = arch.header[1] == 2;
        let kind = if is_big { [0, 2] } else { [2, 0] };
        let number = if is_big { arch.number.to_be_bytes() } else { arch.number.to_le_bytes() };
        let mut magic = b"\x7fELF".to_vec();
        magic.extend(arch.header);
        magic.push(1);
        magic.extend([0; 9]);
        magic.extend(kind);
        magic.extend(number);
        // Any system's, and programs as well as libraries that can be executed.
        let mut mask = vec![0xff; 20];
        mask[7] = 0;
        mask[if is_big { 17 } else { 16 }] = 0xfe;
        Ok((magic, mask))
    }

    /// The line that registers it.
    fn registration(&self) -> Result<String> {
        let (magic, mask) = self.pattern()?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect::<String>();
        Ok(format!(":{}:M::{}:{}:{}:F", self.name(), hex(&magic), hex(&mask), self.interpreter.display()))
    }

    /// Registers the emulator in the instance behind `instance`.
    pub(crate) fn register(&self, instance: impl AsFd) -> Result<()> {
        let line = self.registration()?;
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = openat(instance, "register", flags, Mode::empty()).context(|| "open its register")?;
        let written = File::from(file).write_all(line.as_bytes());
        written.context(|| format!("register {}", self.interpreter.display()))
    }
}

/// The instance of the user namespace that this process is in, as a detached mount.
pub(crate) fn instance() -> Result<OwnedFd> {
    let flags = attr::NOSUID | attr::NODEV | attr::NOEXEC;
    sys::mount::new(c"binfmt_misc", &[("source", Some("binfmt_misc"))], flags)
        .context(|| "mount binfmt_misc (in a user namespace it takes Linux 6.7)")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: S1-Q1.
    #[test]
    fn registrations_are_those_of_the_emulators_own_package() {
        let emulator = Emulator { machine: "aarch64".into(), interpreter: "/usr/bin/qemu-aarch64-static".into() };
        assert_eq!(
            emulator.registration().unwrap(),
            ":qemu-aarch64:M::\\x7f\\x45\\x4c\\x46\\x02\\x01\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\xb7\\x00:\
             \\xff\\xff\\xff\\xff\\xff\\xff\\xff\\x00\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xfe\\xff\\xff\\xff:\
             /usr/bin/qemu-aarch64-static:F"
        );
        let big = Emulator { machine: "s390x".into(), interpreter: "/q".into() }.registration().unwrap();
        assert!(big.contains("\\x00\\x02\\x00\\x16:") && big.contains("\\xff\\xfe\\xff\\xff:"), "{big}");
        for name in ["linux/arm64", "linux/arm64/v8", "arm64", "aarch64"] {
            assert_eq!(architecture(name).unwrap().machine, "aarch64", "{name}");
        }
        for bad in ["", "linux", "windows/amd64", "linux/", "pdp11"] {
            assert!(architecture(bad).is_err(), "{bad:?}");
        }
    }
}
