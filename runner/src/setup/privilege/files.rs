//! The two files of users and groups, read as what they are: a stranger's text.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};

use crate::error::{Context, Error, Result};
use crate::within::open_within;

/// A line of /etc/passwd.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Passwd {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) home: String,
}

/// A line of /etc/group.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: String,
    pub(super) gid: u32,
    pub(super) members: Vec<String>,
}

/// More than any real one.
const LARGEST: u64 = 4 << 20;

/// The text of `path` as the container would find it under `root`; empty when there is no such file.
pub(super) fn read(root: BorrowedFd<'_>, path: &str) -> Result<String> {
    let inside = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    // Without waiting: a named pipe at its place has nobody at the other end.
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = match open_within(root, path, OpenHow::new().flags(flags).resolve(inside)) {
        Ok(fd) => File::from(fd),
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(String::new()),
        Err(errno) => return Err(errno).context(|| format!("open the container's /{path}")),
    };
    let about = file.metadata().context(|| format!("look at the container's /{path}"))?;
    if !about.is_file() {
        return Err(Error::new(format!("the container's /{path} is not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).context(|| format!("read the container's /{path}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(Error::new(format!("the container's /{path} is larger than 4 MiB")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The lines of /etc/passwd that are whole: name, password, uid, gid, comment, home, shell.
pub(super) fn passwd(text: &str) -> Vec<Passwd> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let (uid, gid) = (id(fields.nth(1)?)?, id(fields.next()?)?);
        let home = fields.nth(1).unwrap_or_default().to_owned();
        Some(Passwd { name, uid, gid, home })
    };
    text.lines().filter_map(line).collect()
}

/// The lines of /etc/group that are whole: name, password, gid, members.
pub(super) fn group(text: &str) -> Vec<Group> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?.to_owned();
        let gid = id(fields.nth(1)?)?;
        let members = fields.next().unwrap_or_default().split(',').map(str::trim).filter(|m| !m.is_empty());
        Some(Group { name, gid, members: members.map(str::to_owned).collect() })
    };
    text.lines().filter_map(line).collect()
}

/// Decimal digits only, and not the number that means "no change".
fn id(text: &str) -> Option<u32> {
    let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    number.filter(|id| *id != u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    use super::*;

    fn read_in(dir: &std::path::Path) -> Result<String> {
        let root = File::open(dir).unwrap();
        read(root.as_fd(), "etc/passwd")
    }

    #[test]
    fn the_file_is_looked_up_inside_the_root_and_must_be_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_in(dir.path()).unwrap(), "");
        let etc = dir.path().join("etc");
        std::fs::create_dir(&etc).unwrap();
        // An absolute link means the container's root: there is no such file there.
        symlink("/proc/self/status", etc.join("passwd")).unwrap();
        assert_eq!(read_in(dir.path()).unwrap(), "");
        std::fs::remove_file(etc.join("passwd")).unwrap();
        nix::unistd::mkfifo(&etc.join("passwd"), Mode::S_IRWXU).unwrap();
        assert!(read_in(dir.path()).unwrap_err().message.contains("not a regular file"));
        std::fs::remove_file(etc.join("passwd")).unwrap();
        std::fs::write(etc.join("passwd"), vec![b'x'; (4 << 20) + 1]).unwrap();
        assert!(read_in(dir.path()).unwrap_err().message.contains("4 MiB"));
    }

    #[test]
    fn odd_lines_are_skipped() {
        let text = "\n#c\n:x:0:0::/:\nroot:x:0:0:r:/root:/bin/sh\nx:x:1x:0::/:\ny:x:+1:0::/:\nshort:x:5\nmin:x:6:7\n";
        let names: Vec<_> = passwd(text).into_iter().map(|p| (p.name, p.uid, p.gid, p.home)).collect();
        assert_eq!(names, [("root".into(), 0, 0, "/root".into()), ("min".to_owned(), 6, 7, String::new())]);
        assert_eq!(group("g:x:1:a, b,,c\ng2:x\n")[0].members, ["a", "b", "c"]);
    }

    /// Requirement: P-20, P-31.
    #[test]
    fn damaged_lines_are_skipped_or_name_ids() {
        let good = "root:x:0:0:root:/root:/bin/sh\nwww:x:33:33::/var/www:\ng:x:5:root,www\n";
        crate::mutation::each(&[good.as_bytes()], &[b"root:", b"x:0:", b"+1", b"-1:"], 20_000, |text| {
            let text = String::from_utf8_lossy(text);
            let users = passwd(&text);
            assert!(users.iter().all(|user| user.uid != u32::MAX && user.gid != u32::MAX && !user.name.is_empty()));
            assert!(users.iter().all(|user| !user.name.contains([':', '\n']) && !user.home.contains([':', '\n'])));
            assert!(group(&text).iter().all(|group| group.gid != u32::MAX && !group.name.is_empty()));
        });
    }
}
