//! Who the command is, by the container's own `/etc/passwd` and `/etc/group`.
//!
//! The files are the image's, so they are read as data of a stranger: found by the kernel inside the container's root,
//! regular files only, up to a size; lines that are none are skipped.

use std::os::fd::AsFd;

use crate::error::{Error, Result};
use crate::spec::{Rights, User, Who};

use super::files::{self, Group, Passwd};

/// A user with all that the kernel wants to know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// All supplementary groups, the primary one among them, in order and once each.
    pub(crate) groups: Vec<u32>,
    /// The home directory; `/` for a user without an entry.
    pub(crate) home: String,
    /// Whether some of the groups were asked for by name, and are not only what the files say.
    pub(crate) groups_asked: bool,
}

impl Account {
    /// Looks `rights` up in the files under `root`, the container's root directory.
    pub(crate) fn find(rights: &Rights<'_>, root: impl AsFd) -> Result<Self> {
        let passwd = files::passwd(&files::read(root.as_fd(), "etc/passwd")?);
        let group = files::group(&files::read(root.as_fd(), "etc/group")?);
        Self::of(rights.user, rights.groups, &passwd, &group)
    }

    fn of(user: &User, more: &[Who], passwd: &[Passwd], group: &[Group]) -> Result<Self> {
        let entry = match &user.user {
            Who::Id(id) => passwd.iter().find(|entry| entry.uid == *id),
            Who::Name(name) => Some(
                passwd
                    .iter()
                    .find(|entry| entry.name == *name)
                    .ok_or_else(|| Error::new(format!("the container's /etc/passwd has no user {name:?}")))?,
            ),
        };
        let uid = match &user.user {
            Who::Id(id) => *id,
            Who::Name(_) => entry.map_or(0, |entry| entry.uid),
        };
        let gid = match &user.group {
            Some(group_of) => group_id(group_of, group)?,
            None => entry.map_or(0, |entry| entry.gid),
        };
        let mut groups = vec![gid];
        // A group given by hand stands for itself; otherwise the user is what the files say, in all of its groups.
        if let (None, Some(entry)) = (&user.group, entry) {
            groups.extend(group.iter().filter(|g| g.members.contains(&entry.name)).map(|g| g.gid));
        }
        for who in more {
            groups.push(group_id(who, group)?);
        }
        let mut seen = Vec::new();
        groups.retain(|gid| {
            !seen.contains(gid) && {
                seen.push(*gid);
                true
            }
        });
        let home = entry.map(|entry| entry.home.clone()).filter(|home| home.starts_with('/'));
        Ok(Self { uid, gid, groups, home: home.unwrap_or_else(|| "/".into()), groups_asked: !more.is_empty() })
    }
}

fn group_id(who: &Who, group: &[Group]) -> Result<u32> {
    match who {
        Who::Id(id) => Ok(*id),
        Who::Name(name) => group
            .iter()
            .find(|g| g.name == *name)
            .map(|g| g.gid)
            .ok_or_else(|| Error::new(format!("the container's /etc/group has no group {name:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbad line\nweb:x:101:102::/srv/web:/bin/sh\n\
                          evil:x:-1:0::/:/bin/sh\nrel:x:7:7::home:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nadm:x:4:web,other\nwww:x:33:web\nweb:x:102:\ndup:x:33:web\n";

    fn account(user: &str, more: &[&str]) -> Result<Account> {
        let more: Vec<Who> = more.iter().map(|text| text.parse().unwrap()).collect();
        Account::of(&user.parse().unwrap(), &more, &files::passwd(PASSWD), &files::group(GROUP))
    }

    /// Requirement: P-24, S0-U2.
    #[test]
    fn users_and_groups_are_those_of_the_files() {
        let groups = |user: &str, more: &[&str]| {
            let a = account(user, more).unwrap();
            (a.uid, a.gid, a.groups, a.home)
        };
        assert_eq!(groups("0", &[]), (0, 0, vec![0], "/root".into()));
        assert_eq!(groups("web", &[]), (101, 102, vec![102, 4, 33], "/srv/web".into()));
        assert_eq!(groups("101", &[]), (101, 102, vec![102, 4, 33], "/srv/web".into()));
        assert_eq!(groups("web:adm", &[]), (101, 4, vec![4], "/srv/web".into()));
        assert_eq!(groups("web", &["adm", "50"]), (101, 102, vec![102, 4, 33, 50], "/srv/web".into()));
        assert_eq!(groups("999", &[]), (999, 0, vec![0], "/".into()));
        assert_eq!(groups("999:888", &[]), (999, 888, vec![888], "/".into()));
        assert_eq!(groups("rel", &[]).3, "/");
        for (user, more) in [("nobody", &[][..]), ("evil", &[]), ("0:nogroup", &[]), ("0", &["nogroup"])] {
            assert!(account(user, more).is_err(), "{user} {more:?}");
        }
    }
}
