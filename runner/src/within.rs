//! Look-ups that stay within a directory, `openat2(2)`.

use std::os::fd::{AsFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{OpenHow, openat2};

/// How often a look-up is begun again before it is given up. Each failure needs a rename or a mount somewhere in the system
/// at the very moment of the look-up, so a host that is busy with them is through after a few.
const TRIES: u32 = 1_000;

/// Opens `path` below `dir` as `how` says.
///
/// The kernel refuses a look-up with `..` in it by `EAGAIN` when anything at all in the system was renamed or mounted
/// meanwhile, because it then cannot tell whether the `..` led out (fs/namei.c, `handle_dots`). That says nothing about
/// `path`: the look-up is done again.
pub(crate) fn open_within(dir: impl AsFd, path: &(impl NixPath + ?Sized), how: OpenHow) -> nix::Result<OwnedFd> {
    let open = || openat2(dir.as_fd(), path, how);
    (1..TRIES).map(|_| open()).find(|found| !matches!(found, Err(Errno::EAGAIN))).unwrap_or_else(open)
}

#[cfg(test)]
mod tests {
    use std::fs::{create_dir, rename};
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::fcntl::{OFlag, ResolveFlag, open};
    use nix::sys::stat::Mode;

    use super::*;

    #[test]
    fn renames_elsewhere_do_not_disturb() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        create_dir(dir.path().join("a")).unwrap();
        let (one, other) = (elsewhere.path().join("one"), elsewhere.path().join("other"));
        create_dir(&one).unwrap();
        let root = open(dir.path(), OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        let how = OpenHow::new().flags(OFlag::O_PATH).resolve(ResolveFlag::RESOLVE_IN_ROOT);
        let path = "a/../".repeat(20);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    rename(&one, &other).unwrap();
                    rename(&other, &one).unwrap();
                }
            });
            let failed = (0..5_000).find_map(|_| open_within(&root, path.as_str(), how).err());
            done.store(true, Ordering::Relaxed);
            assert_eq!(failed, None);
        });
    }
}
