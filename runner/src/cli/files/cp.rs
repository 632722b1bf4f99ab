//! `xnet cp`.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use clap::Args;
use nix::unistd::{Gid, Uid};

use crate::cli::complain;
use crate::container;
use crate::copy::{self, How, Side};
use crate::error::{Context, Error, Result};
use crate::id::Name;
use crate::image::Limits;
use crate::image::tar::{Flavour, write_entry};
use crate::setup::path::Root;
use crate::spec::{Dirs, Users};
use crate::state::Store;
use crate::storage::Place;
use crate::storage::merged::Merged;
use crate::storage::tree::{Copier, Owner};
use crate::userns;

/// What is copied where: CONTAINER:PATH is in a container, - is an archive on standard input or output.
#[derive(Debug, Args)]
pub(in crate::cli) struct Cp {
    /// Keep owners
    #[arg(short, long)]
    archive: bool,
    /// Copy what a link leads to
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Say nothing (as always)
    #[arg(short, long)]
    quiet: bool,
    /// CONTAINER:PATH, a path of the host, or -
    #[arg(allow_hyphen_values = true)]
    source: String,
    /// CONTAINER:PATH, a path of the host, or -
    #[arg(allow_hyphen_values = true)]
    target: String,
}

/// Where one end of the copy is.
#[derive(Debug, PartialEq, Eq)]
enum End<'a> {
    Stream,
    Host(String),
    Container(&'a str, String),
}

impl Cp {
    pub(in crate::cli) fn run(&self, dirs: &Dirs) -> Result<u8> {
        let (from, to) = (end(&self.source)?, end(&self.target)?);
        let store = container::open(dirs, &mut complain)?;
        match (&from, &to) {
            (End::Container(container, path), End::Host(host)) => {
                let merged = Merged::open(&store, dirs, &store.find(container)?)?;
                let host_root = Root::open(Path::new("/")).context(|| "open /")?;
                let caller = Owner::One(Uid::effective().as_raw(), Gid::effective().as_raw());
                let same = merged.users.as_ref().map_or(Owner::Same, Owner::OutOf);
                let how = How { follow: self.follow_link, owner: if self.archive { same } else { caller } };
                copy::copy(&Side { root: &merged.root, path }, &Side { root: &host_root, path: host }, how)?;
            }
            (End::Host(host), End::Container(container, path)) => {
                let host_root = Root::open(Path::new("/")).context(|| "open /")?;
                let merged = Merged::open(&store, dirs, &store.find(container)?)?;
                let (uid, gid) = merged.users.as_ref().map_or((0, 0), Users::root);
                let same = merged.users.as_ref().map_or(Owner::Same, Owner::Into);
                let how =
                    How { follow: self.follow_link, owner: if self.archive { same } else { Owner::One(uid, gid) } };
                let (from, to) = (Side { root: &host_root, path: host }, Side { root: &merged.root, path });
                as_root_of(&merged, || copy::copy(&from, &to, how))?;
            }
            (End::Container(container, path), End::Stream) => self.pack(&store, dirs, container, path)?,
            (End::Stream, End::Container(container, path)) => unpack(&store, dirs, container, path)?,
            (End::Container(..), End::Container(..)) => {
                return Err(Error::new("copying from one container to another is not supported: take two steps"));
            }
            _ => return Err(Error::new("neither end is in a container: expected CONTAINER:PATH on one side")),
        }
        Ok(0)
    }

    fn pack(&self, store: &Store, dirs: &Dirs, container: &str, path: &str) -> Result<()> {
        if io::stdout().is_terminal() {
            return Err(Error::new("an archive is nothing for a terminal: use a pipe"));
        }
        let merged = Merged::open(store, dirs, &store.find(container)?)?;
        let found = copy::find(&merged.root, path, self.follow_link || path.ends_with('/'))?;
        if found.kind.is_none() {
            return Err(Error::new(format!("{path}: there is no such file")));
        }
        let mut out = BufWriter::with_capacity(1 << 17, io::stdout().lock());
        write_entry(found.parent.as_fd(), &found.name, Flavour::Whole, merged.users.as_ref(), &mut out)?;
        out.flush().context(|| "write the archive")
    }
}

/// Does `work` as somebody whose files are those of the container's root. What nobody in its user namespace owns cannot be
/// made on its file systems.
fn as_root_of(merged: &Merged, work: impl FnOnce() -> Result<()>) -> Result<()> {
    match &merged.users {
        Some(users) => userns::as_owner(users.root(), work),
        None => work(),
    }
}

/// Unpacks standard input where it can do no harm first, and copies what has come out of it.
fn unpack(store: &Store, dirs: &Dirs, container: &str, path: &str) -> Result<()> {
    let id: Name = store.find(container)?;
    let merged = Merged::open(store, dirs, &id)?;
    let target = copy::directory(&merged.root, path)?;
    let place = Place::of(&dirs.data, &id).dir().join(format!("incoming-{}", Name::random()?.short()));
    fs::create_dir(&place).context(|| format!("make {}", place.display()))?;
    let copied = fill(&place, &target, &merged);
    fs::remove_dir_all(&place).context(|| format!("remove {}", place.display()))?;
    copied
}

fn fill(place: &Path, target: &OwnedFd, merged: &Merged) -> Result<()> {
    let open = || fs::File::open(place).map(OwnedFd::from).context(|| format!("open {}", place.display()));
    crate::image::unpack_tree(io::stdin().lock(), open()?, Limits::default()).context(|| "unpack the archive")?;
    let mut copier = Copier::new(target.as_fd(), &|_| true)?;
    copier.owner = merged.users.as_ref().map_or(Owner::Same, Owner::Into);
    as_root_of(merged, || copier.contents(open()?.as_fd()))
}

/// A path that begins with `/` or `.` is the host's; else what is before the first colon is a container.
fn end(text: &str) -> Result<End<'_>> {
    if text == "-" {
        return Ok(End::Stream);
    }
    match text.split_once(':') {
        Some((container, path)) if !text.starts_with(['/', '.']) => {
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            Ok(End::Container(container, path))
        }
        _ => absolute(text).map(End::Host),
    }
}

/// The path from the root; how it ends says something, and is kept.
fn absolute(text: &str) -> Result<String> {
    let path = std::path::absolute(text).map_err(|error| Error::new(format!("{text}: {error}")))?;
    let mut path =
        path.into_os_string().into_string().map_err(|path| Error::new(format!("{} is not UTF-8", path.display())))?;
    let tail = [OsStr::new("/."), OsStr::new("/")].into_iter().find(|tail| text.ends_with(&*tail.to_string_lossy()));
    if let Some(tail) = tail.filter(|tail| !path.ends_with(&*tail.to_string_lossy())) {
        path.truncate(path.trim_end_matches('/').len());
        path.push_str(&tail.to_string_lossy());
    }
    if text == "." {
        path.push_str("/.");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_a_copy() {
        let host = |path: &str| End::Host(path.to_owned());
        let inside = |name: &'static str, path: &str| End::Container(name, path.to_owned());
        assert_eq!(end("-").unwrap(), End::Stream);
        assert_eq!(end("c:/a").unwrap(), inside("c", "/a"));
        assert_eq!(end("c:a/").unwrap(), inside("c", "/a/"));
        assert_eq!(end("/x:y").unwrap(), host("/x:y"));
        assert_eq!(end("/x/.").unwrap(), host("/x/."));
        assert_eq!(end("/x/").unwrap(), host("/x/"));
        let here = std::env::current_dir().unwrap();
        assert_eq!(end("./x:y").unwrap(), host(here.join("x:y").to_str().unwrap()));
        assert_eq!(end(".").unwrap(), host(&format!("{}/.", here.display())));
    }
}
