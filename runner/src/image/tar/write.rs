//! The writer: POSIX headers, with an extended header for what does not fit.

use std::io::{self, Read, Write};

use tar::{EntryType, Header};

use super::{BLOCK, Entry, Kind};

/// An archive in the making.
#[derive(Debug)]
pub(in crate::image) struct Writer<W> {
    out: W,
}

/// What octal fields of 7 and of 11 digits hold.
const SMALL: u64 = 0o777_7777;
const LARGE: u64 = 0o777_7777_7777;

impl<W: Write> Writer<W> {
    pub(in crate::image) const fn new(out: W) -> Self {
        Self { out }
    }

    /// Writes an entry with exactly `entry.size` bytes of `data`; what is missing is filled with zeros, as a file may
    /// shrink while it is read.
    pub(in crate::image) fn entry(&mut self, entry: &Entry, data: impl Read) -> io::Result<()> {
        let extended = extended(entry);
        if !extended.is_empty() {
            let mut header = Header::new_ustar();
            header.set_entry_type(EntryType::XHeader);
            header.set_mode(0o644);
            header.set_size(extended.len() as u64);
            name(&mut header, b"./PaxHeaders/entry");
            self.block(&mut header)?;
            self.data(extended.as_slice(), extended.len() as u64)?;
        }
        let mut header = header(entry);
        self.block(&mut header)?;
        let size = if entry.kind == Kind::File { entry.size } else { 0 };
        self.data(data, size)
    }

    /// Writes a regular file of root's.
    pub(in crate::image) fn file(&mut self, path: &str, size: u64, data: impl Read) -> io::Result<()> {
        let entry = Entry {
            path: path.as_bytes().to_vec(),
            kind: Kind::File,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            xattrs: Vec::new(),
            size,
            map: None,
        };
        self.entry(&entry, data)
    }

    /// Ends the archive.
    pub(in crate::image) fn finish(mut self) -> io::Result<W> {
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn block(&mut self, header: &mut Header) -> io::Result<()> {
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    fn data(&mut self, data: impl Read, size: u64) -> io::Result<()> {
        let copied = io::copy(&mut data.take(size), &mut self.out)?;
        let padded = size.next_multiple_of(BLOCK as u64);
        io::copy(&mut io::repeat(0).take(padded - copied), &mut self.out).map(drop)
    }
}

fn header(entry: &Entry) -> Header {
    let mut header = Header::new_ustar();
    header.set_mode(entry.mode);
    header.set_uid(u64::from(entry.uid).min(SMALL));
    header.set_gid(u64::from(entry.gid).min(SMALL));
    header.set_mtime(u64::try_from(entry.mtime.0).unwrap_or(0).min(LARGE));
    header.set_size(if entry.kind == Kind::File { entry.size.min(LARGE) } else { 0 });
    name(&mut header, &entry.path);
    let device = |header: &mut Header, (major, minor): (u32, u32)| {
        // A POSIX header has these fields.
        let _ = header.set_device_major(major).and_then(|()| header.set_device_minor(minor));
    };
    let (kind, link) = match &entry.kind {
        Kind::File => (EntryType::Regular, None),
        Kind::Directory => (EntryType::Directory, None),
        Kind::Symlink(target) => (EntryType::Symlink, Some(target)),
        Kind::Hardlink(target) => (EntryType::Link, Some(target)),
        Kind::Char(..) => (EntryType::Char, None),
        Kind::Block(..) => (EntryType::Block, None),
        Kind::Fifo => (EntryType::Fifo, None),
    };
    header.set_entry_type(kind);
    if let Kind::Char(major, minor) | Kind::Block(major, minor) = entry.kind {
        device(&mut header, (major, minor));
    }
    if let Some(target) = link {
        fill(&mut header.as_old_mut().linkname, target);
    }
    header
}

fn name(header: &mut Header, path: &[u8]) {
    fill(&mut header.as_old_mut().name, path);
}

/// Copies what fits.
fn fill(field: &mut [u8], text: &[u8]) {
    field.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
}

/// The records for what the header cannot hold.
fn extended(entry: &Entry) -> Vec<u8> {
    let mut records = Vec::new();
    if entry.path.len() > 100 {
        record(&mut records, b"path", &entry.path);
    }
    if let Kind::Symlink(target) | Kind::Hardlink(target) = &entry.kind
        && target.len() > 100
    {
        record(&mut records, b"linkpath", target);
    }
    let numbers =
        [("uid", u64::from(entry.uid), SMALL), ("gid", u64::from(entry.gid), SMALL), ("size", entry.size, LARGE)];
    for (key, number, _) in numbers.iter().filter(|(_, number, limit)| number > limit) {
        record(&mut records, key.as_bytes(), number.to_string().as_bytes());
    }
    if !u64::try_from(entry.mtime.0).is_ok_and(|time| time <= LARGE) {
        record(&mut records, b"mtime", entry.mtime.0.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        record(&mut records, &[b"SCHILY.xattr.", name.as_slice()].concat(), value);
    }
    records
}

/// Appends `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend([length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat());
}
