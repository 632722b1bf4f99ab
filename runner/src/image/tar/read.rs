//! The reader: one entry after the other, from a stream that cannot be rewound.

use std::io::{self, Read};

use tar::{EntryType, Header};

use crate::error::{Context, Error, Result};

use super::pax::Extended;
use super::{BLOCK, EXTENDED, Entry, Kind, Shown, sparse};

/// Beyond this, sums of sizes could overflow.
const HUGE: u64 = 1 << 60;

/// An archive, read from its beginning to its end.
#[derive(Debug)]
pub(in crate::image) struct Archive<R> {
    reader: R,
    /// What is left of the current entry's data, and the padding after it.
    data: u64,
    padding: u64,
    /// Where the next block begins.
    position: u64,
    global: Extended,
}

/// What the headers in front of an entry have said about it.
#[derive(Debug, Default)]
struct Ahead {
    extended: Option<Extended>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Archive<R> {
    pub(in crate::image) fn new(reader: R) -> Self {
        Self { reader, data: 0, padding: 0, position: 0, global: Extended::default() }
    }

    /// The next entry, or none at the end. What was not read of the data before is skipped.
    pub(in crate::image) fn next(&mut self) -> Result<Option<Entry>> {
        let mut ahead = Ahead::default();
        loop {
            self.skip_data()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let size = or_zero(&header.as_old().size, header.entry_size()).context(|| "the size in a header")?;
            match header.entry_type() {
                EntryType::GNULongName => ahead.long_path = Some(without_nul(self.announcement(size)?)),
                EntryType::GNULongLink => ahead.long_link = Some(without_nul(self.announcement(size)?)),
                EntryType::XHeader => ahead.extended = Some(Extended::parse(&self.announcement(size)?)?),
                EntryType::XGlobalHeader => {
                    self.global = Extended::parse(&self.announcement(size)?)?;
                    if self.global.redirects() {
                        return Err(Error::new("a global extended header gives names or sizes to all entries"));
                    }
                }
                _ => return self.entry(&header, size, ahead).map(Some),
            }
        }
    }

    /// Where the data of the current entry begins in the stream.
    pub(in crate::image) const fn position(&self) -> u64 {
        self.position
    }

    /// How many bytes of data the current entry has left in the stream.
    pub(in crate::image) const fn stored(&self) -> u64 {
        self.data
    }

    /// Reads what follows the last entry, so that the stream is at its end.
    pub(in crate::image) fn drain(mut self) -> Result<()> {
        self.skip_data()?;
        io::copy(&mut self.reader, &mut io::sink()).context(|| "read the end of the archive").map(drop)
    }

    fn header(&mut self) -> Result<Option<Header>> {
        let mut header = Header::new_old();
        let mut filled = 0;
        while filled < BLOCK {
            let rest = header.as_mut_bytes().get_mut(filled..).unwrap_or_default();
            match self.reader.read(rest).context(|| "read the archive")? {
                0 if filled == 0 => return Ok(None),
                0 if self.position == 0 => return Err(Error::new("not a tar archive: it is shorter than a header")),
                0 => return Err(Error::new("the archive ends in the middle of a header")),
                count => filled += count,
            }
        }
        self.position += BLOCK as u64;
        if header.as_bytes().iter().all(|b| *b == 0) {
            return Ok(None);
        }
        match header.cksum() {
            Ok(sum) if sum == checksum(&header) => Ok(Some(header)),
            _ => Err(Error::new(format!(
                "no header at byte {}: not a tar archive, or a damaged one",
                self.position - BLOCK as u64
            ))),
        }
    }

    /// The data of a header that speaks about the next entry.
    fn announcement(&mut self, size: u64) -> Result<Vec<u8>> {
        if size > EXTENDED {
            return Err(Error::new(format!("an extended header of {size} bytes; at most {EXTENDED} are read")));
        }
        self.begin(size)?;
        let mut data = Vec::new();
        self.take(size).read_to_end(&mut data).context(|| "read an extended header")?;
        match data.len() as u64 == size {
            true => Ok(data),
            false => Err(Error::new("the archive ends in the middle of an extended header")),
        }
    }

    fn entry(&mut self, header: &Header, size: u64, ahead: Ahead) -> Result<Entry> {
        let extended = ahead.extended.unwrap_or_default();
        let path = extended.path.or(ahead.long_path).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extended.link.or(ahead.long_link).or_else(|| header.link_name_bytes().map(|l| l.into_owned()));
        let stored = extended.size.unwrap_or(size);
        let id = |value: Option<u64>, global: Option<u64>, own: io::Result<u64>| -> Result<u32> {
            let id = value.or(global).map_or(own, Ok).context(|| format!("the owner of {}", Shown(&path)))?;
            u32::try_from(id).map_err(|_| Error::new(format!("{} has owner {id}, which no system has", Shown(&path))))
        };
        let (uid, gid) = (
            id(extended.uid, self.global.uid, or_zero(&header.as_old().uid, header.uid()))?,
            id(extended.gid, self.global.gid, or_zero(&header.as_old().gid, header.gid()))?,
        );
        let own_time = (header.mtime().ok().and_then(|time| i64::try_from(time).ok()).unwrap_or(0), 0);
        let kind = kind(header, &path, link)?;
        let mut entry = Entry {
            mode: or_zero(&header.as_old().mode, header.mode()).context(|| format!("the mode of {}", Shown(&path)))?
                & 0o7777,
            mtime: extended.mtime.or(self.global.mtime).unwrap_or(own_time),
            xattrs: extended.xattrs,
            size: stored,
            map: None,
            path,
            kind,
            uid,
            gid,
        };
        if entry.kind != Kind::File {
            // Some writers give links the size of their target, without its data. Nothing else has data.
            entry.size = 0;
            let has_data = matches!(entry.kind, Kind::Directory | Kind::Fifo | Kind::Char(..) | Kind::Block(..));
            self.begin(if has_data { stored } else { 0 })?;
            return Ok(entry);
        }
        if header.entry_type() == EntryType::GNUSparse {
            let (map, real) = sparse::old(header, &mut Positioned(self))?;
            self.begin(stored)?;
            return self.sparse(entry, map, real);
        }
        self.begin(stored)?;
        let about = extended.sparse;
        match (about.major, about.minor, about.real_size) {
            _ if about.old => Err(Error::new(format!(
                "{} is sparse in an old format; GNU tar writes a newer one with --sparse-version=1.0",
                entry.shown()
            ))),
            (Some(1), Some(0), Some(real)) => {
                entry.path = about.name.unwrap_or(entry.path);
                let (map, _) = sparse::leading(self, real, stored)?;
                self.sparse(entry, map, real)
            }
            (None, None, None) => Ok(entry),
            _ => Err(Error::new(format!("{} is sparse in an unknown format", entry.shown()))),
        }
    }

    fn sparse(&self, entry: Entry, map: sparse::Map, real: u64) -> Result<Entry> {
        if sparse::stored(&map) != self.data {
            return Err(Error::new(format!("the map of the sparse file {} does not fit its data", entry.shown())));
        }
        Ok(Entry { size: real, map: Some(map), ..entry })
    }

    fn begin(&mut self, size: u64) -> Result<()> {
        if size > HUGE {
            return Err(Error::new(format!("a file of {size} bytes, which no file system holds")));
        }
        self.data = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<()> {
        let rest = self.data + self.padding;
        let skipped = io::copy(&mut (&mut self.reader).take(rest), &mut io::sink()).context(|| "read the archive")?;
        self.position += skipped;
        (self.data, self.padding) = (0, 0);
        match skipped == rest {
            true => Ok(()),
            false => Err(Error::new("the archive ends in the middle of a file")),
        }
    }
}

impl<R: Read> Read for Archive<R> {
    /// The data of the current entry.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = (&mut self.reader).take(self.data).read(buffer)?;
        if count == 0 && self.data > 0 && !buffer.is_empty() {
            return Err(io::Error::other("the archive ends in the middle of a file"));
        }
        self.data -= count as u64;
        self.position += count as u64;
        Ok(count)
    }
}

/// Blocks that belong to a header.
struct Positioned<'a, R>(&'a mut Archive<R>);

impl<R: Read> Read for Positioned<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.reader.read(buffer)?;
        self.0.position += count as u64;
        Ok(count)
    }
}

fn kind(header: &Header, path: &[u8], link: Option<Vec<u8>>) -> Result<Kind> {
    let target = || {
        let target = link.filter(|target| !target.is_empty() && !target.contains(&0));
        target.ok_or_else(|| Error::new(format!("the link {} has no target", Shown(path))))
    };
    let device = || {
        let number = |n: io::Result<Option<u32>>| n.ok().flatten();
        let numbers = number(header.device_major()).zip(number(header.device_minor()));
        numbers.ok_or_else(|| Error::new(format!("the device {} has no number", Shown(path))))
    };
    Ok(match header.entry_type() {
        // Before POSIX a directory was a file whose name ends in a slash.
        EntryType::Regular if path.ends_with(b"/") && header.as_bytes().get(156) == Some(&0) => Kind::Directory,
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => Kind::Symlink(target()?),
        EntryType::Link => Kind::Hardlink(target()?),
        EntryType::Char => device().map(|(major, minor)| Kind::Char(major, minor))?,
        EntryType::Block => device().map(|(major, minor)| Kind::Block(major, minor))?,
        EntryType::Fifo => Kind::Fifo,
        other => {
            let letter = char::from(other.as_byte());
            return Err(Error::new(format!(
                "{} is of type {letter:?}, which has no place in a file system",
                Shown(path)
            )));
        }
    })
}

/// A number in a header; some writers leave a field empty that means nothing to them.
fn or_zero<T: From<u8>>(field: &[u8], number: io::Result<T>) -> io::Result<T> {
    if field.iter().all(|b| matches!(b, 0 | b' ')) { Ok(T::from(0)) } else { number }
}

fn checksum(header: &Header) -> u32 {
    let bytes = header.as_bytes().iter().enumerate();
    bytes.map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) }).sum()
}

fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    if name.last() == Some(&0) {
        name.pop();
    }
    name
}
