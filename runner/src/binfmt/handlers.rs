//! What is registered in the binfmt_misc of the user namespace that `xnet` is called in: on the host, the host's.
//!
//! It is read where the host has it mounted. Where it is not, a mount that nobody else sees will do to read and to remove,
//! since all mounts of one user namespace show the same. To register takes a mount that stays: since Linux 6.7 the last
//! one takes all registrations with it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::sys::statfs::{FsType, fstatfs};

use crate::error::{Context, Error, Result};
use crate::sys;

use super::{Emulator, PREFIX, instance};

/// Where everybody expects it.
const USUAL: &str = "/proc/sys/fs/binfmt_misc";
/// The type of the file system: `BINFMTFS_MAGIC` of linux/magic.h.
const MAGIC: FsType = FsType(0x4249_4e4d);
/// Files that are no registrations.
const OTHERS: [&str; 2] = ["register", "status"];

/// A registration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Handler {
    /// What it is called.
    pub(crate) name: String,
    /// Whether it is switched on.
    pub(crate) is_enabled: bool,
    /// The program that runs what fits.
    pub(crate) interpreter: PathBuf,
    /// Letters, as in Documentation/admin-guide/binfmt-misc.rst.
    pub(crate) flags: String,
    /// What it is for.
    pub(crate) fits: Fits,
}

/// Which programs a handler is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fits {
    /// Those with these bytes, in hexadecimal digits.
    Magic {
        /// How far from the beginning.
        offset: u64,
        /// The bytes.
        magic: String,
        /// The bits that count; all, without.
        mask: Option<String>,
    },
    /// Those whose name ends so, dot included.
    Extension(String),
}

impl Default for Fits {
    fn default() -> Self {
        Self::Magic { offset: 0, magic: String::new(), mask: None }
    }
}

/// The registrations.
#[derive(Debug)]
pub(crate) struct Handlers(OwnedFd);

impl Handlers {
    /// Those of this user namespace, wherever they are to be seen.
    pub(crate) fn open() -> Result<Self> {
        usual()?.map_or_else(instance, Ok).map(Self)
    }

    /// The same, for what is to stay: mounted in its usual place if it is not mounted there.
    pub(crate) fn open_to_stay() -> Result<Self> {
        if let Some(dir) = usual()? {
            return Ok(Self(dir));
        }
        let made = instance()?;
        let place = open(USUAL, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        let place = place.context(|| format!("open {USUAL}"))?;
        sys::mount::attach(made.as_fd(), place.as_fd()).context(|| format!("mount binfmt_misc on {USUAL}"))?;
        Ok(Self(made))
    }

    /// Whether the kernel looks at them at all.
    pub(crate) fn are_on(&self) -> Result<bool> {
        Ok(self.read("status")?.unwrap_or_default().trim() != "disabled")
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Result<Vec<Handler>> {
        let dir = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        let entries = fs::read_dir(dir).context(|| "list binfmt_misc")?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| !OTHERS.contains(&name.as_str())).collect();
        names.sort();
        // One that goes in this moment is none.
        names.iter().filter_map(|name| self.find(name).transpose()).collect()
    }

    /// The one called `name`, if there is one.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Handler>> {
        check(name)?;
        self.read(name)?.map(|text| parse(name, &text)).transpose()
    }

    /// Registers `emulator`. False if it was registered like that before.
    pub(crate) fn install(&self, emulator: &Emulator) -> Result<bool> {
        let name = emulator.name();
        let Some(have) = self.find(&name)? else {
            emulator.register(&self.0)?;
            return Ok(true);
        };
        let (magic, _) = emulator.pattern()?;
        let magic: String = magic.iter().map(|byte| format!("{byte:02x}")).collect();
        let fits = matches!(&have.fits, Fits::Magic { magic: had, .. } if *had == magic);
        if fits && have.is_enabled && have.flags.contains('F') && have.interpreter == emulator.interpreter {
            return Ok(false);
        }
        Err(Error::new(format!(
            "{name} is registered already, in another way: {}, flags {:?}, {} (`xnet binfmt remove {name}` takes it back)",
            have.interpreter.display(),
            have.flags,
            if have.is_enabled { "enabled" } else { "disabled" }
        )))
    }

    /// Takes the registration `name` back. False if there was none.
    pub(crate) fn remove(&self, name: &str) -> Result<bool> {
        check(name)?;
        let what = || format!("remove the handler {name}");
        let file = match openat(&self.0, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(false),
            Err(error) => return Err(error).context(what),
        };
        (&file).write_all(b"-1").context(what)?;
        Ok(true)
    }

    /// Takes back all registrations of emulators. Those of other programs, such as interpreters of bytecode, stay. Answers
    /// the names.
    pub(crate) fn remove_emulators(&self) -> Result<Vec<String>> {
        let names = self.list()?.into_iter().map(|handler| handler.name).filter(|name| name.starts_with(PREFIX));
        names.filter_map(|name| self.remove(&name).map(|was_there| was_there.then_some(name)).transpose()).collect()
    }

    /// The text of a file, if there is one.
    fn read(&self, name: &str) -> Result<Option<String>> {
        let file = match openat(&self.0, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error).context(|| format!("open {name} in binfmt_misc")),
        };
        let mut text = String::new();
        File::from(file).read_to_string(&mut text).context(|| format!("read {name} in binfmt_misc"))?;
        Ok(Some(text))
    }
}

/// What is mounted in the usual place, if it is binfmt_misc. To open it makes an automounter mount it.
fn usual() -> Result<Option<OwnedFd>> {
    let what = || format!("open {USUAL}");
    match open(USUAL, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(dir) => {
            let is_it = fstatfs(&dir).context(what)?.filesystem_type() == MAGIC;
            Ok(is_it.then_some(dir))
        }
        Err(Errno::ENOENT) => Err(Error::new(format!(
            "this kernel has no binfmt_misc ({USUAL} does not exist; if it is a module: modprobe binfmt_misc)"
        ))),
        Err(error) => Err(error).context(what),
    }
}

/// Refuses what cannot be the name of a registration.
fn check(name: &str) -> Result<()> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." || OTHERS.contains(&name) {
        return Err(Error::new(format!("{name:?} cannot be the name of a handler")));
    }
    Ok(())
}

/// Reads what the kernel says of the registration `name`.
fn parse(name: &str, text: &str) -> Result<Handler> {
    let mut handler = Handler { name: name.to_owned(), ..Handler::default() };
    let (mut offset, mut magic, mut mask) = (0, String::new(), None);
    for line in text.lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        match key {
            "enabled" => handler.is_enabled = true,
            "interpreter" => handler.interpreter = value.into(),
            "flags:" => value.clone_into(&mut handler.flags),
            "offset" => {
                offset =
                    value.parse().map_err(|_| Error::new(format!("the handler {name} has the offset {value:?}")))?;
            }
            "magic" => value.clone_into(&mut magic),
            "mask" => mask = Some(value.to_owned()),
            "extension" => handler.fits = Fits::Extension(value.to_owned()),
            _ => {}
        }
    }
    if !magic.is_empty() {
        handler.fits = Fits::Magic { offset, magic, mask };
    }
    Ok(handler)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requirement: S1-Q3.
    #[test]
    fn a_handler_is_what_the_kernel_says() {
        let text = "enabled\ninterpreter /usr/bin/a b\nflags: OCF\noffset 4\nmagic 7f45\nmask fffe\n";
        let fits = Fits::Magic { offset: 4, magic: "7f45".into(), mask: Some("fffe".into()) };
        let expected = Handler {
            name: "x".into(),
            is_enabled: true,
            interpreter: "/usr/bin/a b".into(),
            flags: "OCF".into(),
            fits,
        };
        assert_eq!(parse("x", text), Ok(expected));
        let by_name = parse("y", "disabled\ninterpreter /usr/bin/perl\nflags: \nextension .pl\n").unwrap();
        assert_eq!((by_name.is_enabled, by_name.fits), (false, Fits::Extension(".pl".into())));
        assert!(parse("z", "offset many\n").is_err());
        for bad in ["", ".", "..", "a/b", "status", "register"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
