//! What ADD does, as steps that can be taken back.

use std::fmt;
use std::fs;
use std::io;
use std::path::PathBuf;

use kernel::link::Settings;
use kernel::netlink;
use kernel::plan::{Deviation, Failure, Machine, Side, Step};
use kernel::sysctl;

use super::allowlist::reason;
use super::backup::Backup;
use super::sysctls::Sysctl;

/// Writes the backup.
#[derive(Debug)]
pub(super) struct Keep {
    pub(super) path: PathBuf,
    /// What the interface's name is, for the text of a refusal.
    pub(super) ifname: String,
    pub(super) backup: Backup,
    /// The backup that it takes the place of.
    pub(super) before: Option<Backup>,
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "write {}", self.path.display())
    }
}

impl Step for Keep {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, self, &error))
    }

    fn apply(&self, _: &mut Machine) -> Result<(), Failure> {
        let failed = |error: io::Error| {
            let (ifname, path) = (&self.ifname, self.path.display());
            Failure::other(self, format!("failed to save file {ifname}.json: open {path}: {}", reason(&error)))
        };
        self.backup.write(&self.path).map_err(failed)
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }

    fn undo(&self, _: &mut Machine) -> Result<(), Failure> {
        let undone = match &self.before {
            Some(before) => before.write(&self.path),
            None => fs::remove_file(&self.path),
        };
        match undone {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Failure::other(self, format!("restore {}: {}", self.path.display(), reason(&error))))
            }
            _ => Ok(()),
        }
    }
}

/// Writes parameters of the container's namespace.
#[derive(Debug)]
pub(super) struct SetSysctls {
    /// Each with its value before, where it could be read.
    pub(super) sysctls: Vec<(Sysctl, Option<String>)>,
}

impl fmt::Display for SetSysctls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (sysctl, _)) in self.sysctls.iter().enumerate() {
            let newline = if at == 0 { "" } else { "\n" };
            write!(f, "{newline}{}sysctl -w {}={}", Side::Container, sysctl.name, sysctl.value)?;
        }
        Ok(())
    }
}

impl SetSysctls {
    /// Writes the values before of the first `count`, the last of them first.
    fn restore(&self, count: usize) -> Result<(), String> {
        let mut result = Ok(());
        for (sysctl, before) in self.sysctls[..count].iter().rev() {
            if let Some(Err(text)) = before.as_ref().map(|before| write(&sysctl.name, before)) {
                result = Err(text);
            }
        }
        result
    }
}

impl Step for SetSysctls {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, "set kernel parameters", &error))
    }

    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let write_all = || {
            for (at, (sysctl, _)) in self.sysctls.iter().enumerate() {
                write(&sysctl.name, &sysctl.value).map_err(|text| match self.restore(at) {
                    Ok(()) => text,
                    Err(left) => format!("{text}; and undoing what was set before it: {left}"),
                })?;
            }
            Ok(())
        };
        inside(machine, write_all).and_then(|inner| inner).map_err(|text| Failure::other(self, text))
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let restored = inside(machine, || self.restore(self.sysctls.len())).and_then(|inner| inner);
        restored.map_err(|text| Failure::other(self, text))
    }
}

/// Sets attributes of the container's link.
#[derive(Debug)]
pub(super) struct Tune {
    pub(super) ifname: String,
    /// What it has now of what is wanted.
    pub(super) before: Settings,
    pub(super) wanted: Settings,
}

impl fmt::Display for Tune {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ip link set {} {}", Side::Container, self.ifname, self.wanted)
    }
}

impl Step for Tune {
    fn refused(&self, error: netlink::Error) -> Result<(), Failure> {
        Err(Failure::new(self, format_args!("failed to set {} of \"{}\"", self.wanted, self.ifname), &error))
    }

    /// The kernel stops at what it refuses and leaves what came before; so that is set back.
    fn apply(&self, machine: &mut Machine) -> Result<(), Failure> {
        let set = |machine: &mut Machine, settings: &Settings| {
            machine.side(Side::Container).and_then(|container| container.call(settings.request(&self.ifname)))
        };
        set(machine, &self.wanted).or_else(|error| {
            for before in self.before.singly() {
                let _ = set(machine, &before); // refused just now, perhaps; the first refusal is told
            }
            self.refused(error)
        })
    }

    fn check(&self, _: &mut Machine) -> Result<(), Deviation> {
        Ok(())
    }

    fn undo(&self, machine: &mut Machine) -> Result<(), Failure> {
        let back = self.before.request(&self.ifname);
        match machine.side(Side::Container).and_then(|container| container.call(back)) {
            Err(error) if !error.is_not_found() => Err(Failure::new(
                self,
                format_args!("failed to set {} of \"{}\" back", self.before, self.ifname),
                &error,
            )),
            _ => Ok(()),
        }
    }
}

/// Runs `work` in the container's namespace.
pub(super) fn inside<T>(machine: &Machine, work: impl FnOnce() -> T) -> Result<T, String> {
    match machine.container_netns() {
        Some(netns) => netns.run(work).map_err(|error| error.to_string()),
        None => Err("there is no container namespace".to_owned()),
    }
}

/// Writes a parameter; an error says what failed as Go does, which has the system call in front.
pub(super) fn write(name: &str, value: &str) -> Result<(), String> {
    sysctl::write(name, value).map_err(|error| told(name, &error))
}

/// An error about a parameter.
pub(super) fn told(name: &str, error: &io::Error) -> String {
    use io::ErrorKind::{IsADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem};
    // A file that is there and may be opened can only refuse what is written to it.
    let at_open = matches!(error.kind(), NotFound | PermissionDenied | ReadOnlyFilesystem | IsADirectory);
    let call = if at_open { "open" } else { "write" };
    format!("{call} /proc/sys/{name}: {}", reason(error))
}
