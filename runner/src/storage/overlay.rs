//! Stacking layers by descriptor.
//!
//! Linux 6.13 takes each layer as a descriptor. Older kernels take paths only; they get `/proc/self/fd/N`, which holds no
//! character that an option could be split at, one by one since 6.7 and joined by colons before.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, umount2};

use crate::error::{Context as _, Error, Result};
use crate::setup::path::Root;
use crate::sys::mount::{self, Context};

/// What is to be stacked.
#[derive(Debug)]
pub(crate) struct Stack<'a> {
    /// The layers that are not written to, the highest first.
    pub(crate) lower: Vec<OwnedFd>,
    /// The layer that is.
    pub(crate) upper: OwnedFd,
    /// An empty directory on the file system of the upper layer.
    pub(crate) work: OwnedFd,
    /// Never wait for the disk.
    pub(crate) discard: bool,
    /// Keep notes in `user.` attributes: in a user namespace `trusted.` ones cannot be written.
    pub(crate) user_xattr: bool,
    /// A directory to mount on for a moment, on old kernels.
    pub(crate) place: &'a Path,
}

/// What a kernel says that does not take descriptors: it has nothing to add that would help. Before 6.5 the file system knew
/// nothing of the new calls, and `fsconfig` itself refuses what the old ones cannot say (`fs/fsopen.c`).
fn is_old(errno: Errno) -> bool {
    matches!(errno, Errno::EINVAL | Errno::EOPNOTSUPP)
}

impl Stack<'_> {
    /// The stack as a detached mount with the flags `attrs`.
    pub(crate) fn mount(&self, attrs: u64) -> Result<OwnedFd> {
        match self.by_descriptors(attrs) {
            Err((errno, None)) if is_old(errno) => self.by_numbers(attrs),
            answer => answer.map_err(|(errno, said)| refusal(errno, said)),
        }
    }

    fn by_descriptors(&self, attrs: u64) -> Result<OwnedFd, (Errno, Option<String>)> {
        let context = Context::open(c"overlay").map_err(|errno| (errno, None))?;
        let configure = || {
            context.set("source", Some("overlay"))?;
            for layer in &self.lower {
                context.set_fd(c"lowerdir+", layer.as_fd())?;
            }
            context.set_fd(c"upperdir", self.upper.as_fd())?;
            context.set_fd(c"workdir", self.work.as_fd())
        };
        configure().map_err(|errno| (errno, context.complaint().filter(|_| !is_old(errno))))?;
        let made =
            self.switches().iter().try_for_each(|key| context.set(key, None)).and_then(|()| context.mount(attrs));
        made.map_err(|errno| (errno, Some(context.complaint().unwrap_or_default())))
    }

    fn switches(&self) -> Vec<&'static str> {
        let all = [("volatile", self.discard), ("userxattr", self.user_xattr)];
        all.into_iter().filter(|(_, on)| *on).map(|(key, _)| key).collect()
    }

    /// For kernels before 6.13. `mount` takes a page of options, where the new calls take 255 bytes each.
    fn by_numbers(&self, attrs: u64) -> Result<OwnedFd> {
        let path = |fd: BorrowedFd<'_>| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let lower: Vec<_> = self.lower.iter().map(|layer| path(layer.as_fd())).collect();
        let mut options = format!(
            "lowerdir={},upperdir={},workdir={}",
            lower.join(":"),
            path(self.upper.as_fd()),
            path(self.work.as_fd())
        );
        for switch in self.switches() {
            options.push(',');
            options.push_str(switch);
        }
        let place = self.place;
        nix::mount::mount(Some("overlay"), place, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .map_err(|errno| refusal(errno, None))?;
        let tree = Root::open(place).and_then(|root| mount::copy_one(root.as_fd()));
        umount2(place, MntFlags::MNT_DETACH).context(|| "unmount the stack from its first place")?;
        let tree = tree.context(|| "detach the stack")?;
        mount::set_flags(tree.as_fd(), attrs).context(|| "set the stack's flags")?;
        Ok(tree)
    }
}

fn refusal(errno: Errno, said: Option<String>) -> Error {
    let said = said.filter(|text| !text.is_empty()).map(|text| format!(" ({text})")).unwrap_or_default();
    let hint = match errno {
        Errno::EINVAL => {
            "; the kernel stacks no more than two overlays, and none on a file system without the attributes that it needs: \
             --storage vfs copies instead"
        }
        Errno::ENODEV => "; this kernel has no overlay file system: --storage vfs copies instead",
        _ => "",
    };
    Error::new(format!("{}{said}{hint}", errno.desc()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nix::sched::{CloneFlags, unshare};

    use super::*;

    fn stack(dir: &Path, lower: &[&str]) -> Stack<'static> {
        let open = |name: &str| {
            let _ = fs::create_dir(dir.join(name));
            OwnedFd::from(fs::File::open(dir.join(name)).unwrap())
        };
        let place = Box::leak(dir.join("place").into_boxed_path());
        let _ = fs::create_dir(&*place);
        Stack {
            lower: lower.iter().map(|name| open(name)).collect(),
            upper: open("upper"),
            work: open("work"),
            discard: true,
            user_xattr: false,
            place,
        }
    }

    /// Both ways of naming the layers stack them in the same order, whatever their paths hold.
    #[test]
    fn old_and_new_kernels_get_the_same_stack() {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        nix::mount::mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)
            .unwrap();
        for old in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let stack = stack(dir.path(), &["a:b,c\\d", "low"]);
            fs::write(dir.path().join("a:b,c\\d/x"), "high").unwrap();
            fs::write(dir.path().join("low/x"), "low").unwrap();
            let tree = if old { stack.by_numbers(0).unwrap() } else { stack.mount(0).unwrap() };
            let text = fs::read_to_string(format!("/proc/self/fd/{}/x", tree.as_raw_fd())).unwrap();
            assert_eq!(text, "high");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let text = refusal(Errno::EINVAL, Some("overlay: too deep".into())).message;
        assert!(text.contains("Invalid argument (overlay: too deep)") && text.contains("--storage vfs"), "{text}");
    }
}
