//! Named files, in a directory or in a tar.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open};
use nix::sys::stat::Mode;

use crate::error::{Context, Error, Result};
use crate::image::limits::Limits;
use crate::image::tar::{Archive, Kind};
use crate::within::open_within;

/// A set of named files.
pub(super) trait Source {
    /// The file `path` from its beginning; nothing if there is no such file.
    fn open(&self, path: &str) -> Result<Option<Box<dyn Read + '_>>>;

    /// Whether there is such a file.
    fn has(&self, path: &str) -> bool {
        self.open(path).is_ok_and(|file| file.is_some())
    }

    /// The file `path`, which must be there.
    fn need(&self, path: &str) -> Result<Box<dyn Read + '_>> {
        self.open(path)?.ok_or_else(|| Error::new(format!("the archive has no file {path:?}")))
    }
}

/// A directory. No link in it is followed.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        open(path, flags, Mode::empty()).map(Self).context(|| format!("open {}", path.display()))
    }
}

impl Source for Directory {
    fn open(&self, path: &str) -> Result<Option<Box<dyn Read + '_>>> {
        let how = OpenHow::new().flags(OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC);
        let how = how.resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        let file = match open_within(&self.0, path, how) {
            Err(nix::Error::ENOENT) => return Ok(None),
            file => File::from(file.context(|| format!("open {path:?} of the layout"))?),
        };
        match file.metadata().context(|| format!("look at {path:?}"))?.is_file() {
            true => Ok(Some(Box::new(file))),
            false => Err(Error::new(format!("{path:?} of the layout is not a file"))),
        }
    }
}

/// A tar, of which it is known where each file begins.
#[derive(Debug)]
pub(super) struct Tarball {
    file: File,
    places: HashMap<Vec<u8>, Place>,
}

#[derive(Debug, Clone)]
enum Place {
    /// Offset and length.
    Data(u64, u64),
    /// Another file of the archive, from its root. Older archives have each layer once and link to it.
    Link(Vec<u8>),
}

/// Links that lead to links.
const HOPS: usize = 8;

impl Tarball {
    /// Walks through the headers of a plain tar; the data between them is not read.
    pub(super) fn index(file: File, limits: Limits) -> Result<Self> {
        let (mut places, mut position, mut count) = (HashMap::new(), 0, 0);
        loop {
            let mut archive = Archive::new(Piece { file: &file, at: position, end: u64::MAX });
            let Some(entry) = archive.next()? else { break };
            count += 1;
            limits.check_entries(count)?;
            let begin = position + archive.position();
            position = begin + archive.stored().next_multiple_of(512);
            let path = clean(&entry.path);
            let place = match &entry.kind {
                Kind::File => Place::Data(begin, archive.stored()),
                Kind::Hardlink(target) => Place::Link(clean(target)),
                Kind::Symlink(target) => Place::Link(beside(&path, target)),
                _ => continue,
            };
            places.insert(path, place);
        }
        Ok(Self { file, places })
    }
}

impl Source for Tarball {
    fn open(&self, path: &str) -> Result<Option<Box<dyn Read + '_>>> {
        let mut wanted = clean(path.as_bytes());
        for _ in 0..HOPS {
            match self.places.get(&wanted) {
                None => return Ok(None),
                Some(Place::Data(at, size)) => {
                    return Ok(Some(Box::new(Piece { file: &self.file, at: *at, end: at + size })));
                }
                Some(Place::Link(target)) => wanted.clone_from(target),
            }
        }
        Err(Error::new(format!("{path:?} of the archive is a link that leads to links only")))
    }
}

/// A part of a file.
#[derive(Debug)]
struct Piece<'a> {
    file: &'a File,
    at: u64,
    end: u64,
}

impl Read for Piece<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(buffer.get_mut(..want).unwrap_or_default(), self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// A path from the archive's root, without what means nothing. It is a key and never a path of the host.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

/// What a link in the archive means.
fn beside(link: &[u8], target: &[u8]) -> Vec<u8> {
    let parent = link.iter().rposition(|b| *b == b'/').map_or(&b""[..], |at| &link[..at]);
    clean(&[parent, b"/", target].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_stay_in_the_archive() {
        assert_eq!(beside(b"a/layer.tar", b"../b/layer.tar"), b"b/layer.tar");
        assert_eq!(beside(b"a", b"../../../etc/passwd"), b"etc/passwd");
        assert_eq!(clean(b"./x//y/"), b"x/y");
    }

    /// Requirement: P-15.
    #[test]
    fn a_directory_gives_its_own_files_only() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("index.json")).unwrap();
        std::fs::create_dir(dir.path().join("blobs")).unwrap();
        let source = Directory::open(dir.path()).unwrap();
        assert!(
            source.open("index.json").is_err() && source.open("../x").is_err() && source.open("/etc/passwd").is_err()
        );
        assert!(source.open("blobs").is_err() && source.open("none").unwrap().is_none());
    }
}
