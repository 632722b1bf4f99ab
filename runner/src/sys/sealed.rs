//! The sealed self: this program, executed from a handle that nobody can write through.
//!
//! A process that enters a container can be looked at from inside, and what is looked at can be opened: a command called
//! `#!/proc/self/exe`, or a link to it, leads to the very file that the host executes as root the next time
//! (CVE-2019-5736). So a command that is going to enter containers first sees to it that it runs from a file that is this
//! program's and yet not the one on disk: it puts that file behind itself as it runs ([`exe`]), and where the kernel does not
//! permit that, or the environment is to be another, it executes itself once more.
//!
//! The cheap way is an overlay of two lower layers, the program's directory and another one: without an upper layer it is
//! read-only for ever, whoever remounts it, nothing is copied, and it is attached nowhere, so it goes with the last
//! process that uses it. Where that is refused (no overlay, too many on top of each other, the program's file was replaced)
//! a copy in memory serves, sealed against every change.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::io::copy;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::fcntl::{AtFlags, FcntlArg, OFlag, SealFlag, fcntl, open, openat};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::execveat;

use crate::error::{Context, Error, Result};
use crate::fault;

use super::{exe, mount};

/// Tells the second execution which file it must be: `DEVICE:INODE`. A value that came from elsewhere does not fit.
const MARK: &str = "XNET_SEALED";
const SELF: &str = "/proc/self/exe";
/// As it shows in `ps`, whatever the handle is called.
const NAME: &CStr = c"xnet";

/// Comes back in a process whose program cannot be written to through `/proc/PID/exe`, and which has `more` in its environment;
/// for that it may execute itself, once.
///
/// # Errors
///
/// When no sealed handle can be made. Nothing may enter a container then.
pub(crate) fn ensure(more: &[(&str, OsString)]) -> Result<()> {
    let running = identity(&File::open(SELF).context(|| "open /proc/self/exe")?)?;
    if let Some(expected) = std::env::var_os(MARK) {
        // SAFETY: this is the beginning of the program, and it has one thread.
        unsafe { std::env::remove_var(MARK) };
        if expected == OsStr::new(&running) {
            return prctl::set_name(NAME).context(|| "name this process");
        }
    }
    let handle = overlay().or_else(|_| memory())?;
    if more.is_empty() && in_place(&handle).is_ok() { Ok(()) } else { execute(handle, more) }
}

/// The program goes on from the handle as it is.
fn in_place(handle: &File) -> Result<()> {
    fault::point("sealed-in-place")?;
    // SAFETY: this is the beginning of the program, which has one thread, and the handle is the program, read-only for ever.
    unsafe { exe::replace(handle) }.context(|| "exchange the file of this program")
}

/// The program in a read-only overlay that is attached nowhere.
fn overlay() -> Result<File> {
    fault::point("sealed-overlay")?;
    let path = std::fs::read_link(SELF).context(|| "read /proc/self/exe")?;
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::new("this program has no path"));
    };
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir = open(dir, flags, Mode::empty()).context(|| format!("open {}", dir.display()))?;
    let tree = over(&dir)?;
    let file = openat(&tree, Path::new(name), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty());
    let file = File::from(file.context(|| "open this program")?);
    // Somebody may have put another file there since this one was started.
    let (ours, sealed) = (std::fs::metadata(SELF).context(|| "look at /proc/self/exe")?, meta(&file)?);
    let what = |m: &std::fs::Metadata| (m.ino(), m.size(), m.mtime(), m.mtime_nsec());
    if what(&ours) == what(&sealed) { Ok(file) } else { Err(Error::new("this program was replaced meanwhile")) }
}

/// An overlay of `dir` and a directory that has nothing to do with it: an overlay that cannot be written to needs two. What
/// is in the other one stays behind the handle. An empty file system would serve as well, since Linux 6.15, but the kernel waits for
/// a grace period when it is let go.
fn over(dir: &OwnedFd) -> Result<OwnedFd> {
    let tmpfs = || mount::new(c"tmpfs", &[], 0);
    let run = || open("/run", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
    let stack = |other: nix::Result<OwnedFd>| {
        let other = other?;
        let layers = format!("/proc/self/fd/{}:/proc/self/fd/{}", dir.as_raw_fd(), other.as_raw_fd());
        mount::new(c"overlay", &[("lowerdir", Some(&layers))], mount::attr::NOSUID | mount::attr::NODEV)
    };
    stack(run()).or_else(|_| stack(tmpfs())).context(|| "make an overlay")
}

/// A copy of the program in memory that can never change again.
fn memory() -> Result<File> {
    let copied = memfd_create(NAME, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING);
    let mut copied = File::from(copied.context(|| "make a file in memory")?);
    let mut program = File::open(SELF).context(|| "open /proc/self/exe")?;
    copy(&mut program, &mut copied).context(|| "copy this program into memory")?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&copied, FcntlArg::F_ADD_SEALS(seals)).context(|| "seal the copy of this program")?;
    // A file that is open for writing cannot be executed.
    File::open(format!("/proc/self/fd/{}", copied.as_raw_fd())).context(|| "open the copy of this program")
}

fn execute(handle: File, more: &[(&str, OsString)]) -> Result<()> {
    let texts = |words: &mut dyn Iterator<Item = Vec<u8>>| {
        let all: std::result::Result<Vec<_>, _> = words.map(CString::new).collect();
        all.map_err(|_| Error::new("an argument holds a NUL byte"))
    };
    let args = texts(&mut std::env::args_os().map(OsStringExt::into_vec))?;
    let mark = format!("{MARK}={}", identity(&handle)?).into_bytes();
    let replaced = |key: &OsStr| key == MARK || more.iter().any(|(name, _)| key == *name);
    let kept = std::env::vars_os().filter(|(key, _)| !replaced(key));
    let pairs = kept.chain(more.iter().map(|(name, value)| ((*name).into(), value.clone())));
    let pairs = pairs.map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat());
    let env = texts(&mut pairs.chain([mark]))?;
    let Err(errno) = execveat(handle.as_fd(), c"", &args, &env, AtFlags::AT_EMPTY_PATH);
    Err(errno).context(|| "execute the sealed copy of this program")
}

fn identity(file: &File) -> Result<String> {
    meta(file).map(|m| format!("{}:{}", m.dev(), m.ino()))
}

fn meta(file: &File) -> Result<std::fs::Metadata> {
    file.metadata().context(|| "look at this program's file")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use nix::errno::Errno;

    use super::*;

    #[test]
    fn the_copy_in_memory_takes_no_write() {
        let copy = memory().unwrap();
        assert_eq!(meta(&copy).unwrap().len(), std::fs::metadata(SELF).unwrap().len());
        let again = File::options().write(true).open(format!("/proc/self/fd/{}", copy.as_raw_fd()));
        let refused = again.unwrap().write(b"x").unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(Errno::EPERM as i32));
    }

    #[test]
    fn the_overlay_shows_this_program_and_nothing_can_be_made_in_it() {
        let file = overlay().unwrap();
        assert_eq!(meta(&file).unwrap().len(), std::fs::metadata(SELF).unwrap().len());
        let again = File::options().write(true).open(format!("/proc/self/fd/{}", file.as_raw_fd()));
        assert_eq!(again.unwrap_err().raw_os_error(), Some(Errno::EROFS as i32));
    }
}
