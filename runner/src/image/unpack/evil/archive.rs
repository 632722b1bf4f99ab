//! Archives, byte by byte: also those that no tool would write.

/// An archive in the making; `owned`, `mode` and `xattr` change the entry before them.
pub(in crate::image) struct Tar {
    entries: Vec<Entry>,
}

struct Entry {
    header: tar::Header,
    /// Records of its extended header.
    records: Vec<u8>,
    data: Vec<u8>,
}

impl Tar {
    pub(in crate::image) fn new() -> Self {
        Self { entries: Vec::new() }
    }

    pub(super) fn add(&mut self, path: &[u8], kind: u8, link: &[u8], data: &[u8]) -> &mut Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o644);
        header.set_mtime(1000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(data.len() as u64);
        let old = header.as_old_mut();
        old.linkname.iter_mut().zip(link).for_each(|(to, from)| *to = *from);
        let mut records = Vec::new();
        if path.len() > 100 {
            records = record("path", path);
        } else {
            old.name.iter_mut().zip(path).for_each(|(to, from)| *to = *from);
        }
        self.entries.push(Entry { header, records, data: data.to_vec() });
        self
    }

    pub(in crate::image) fn file(&mut self, path: &str, data: &[u8]) -> &mut Self {
        self.add(path.as_bytes(), b'0', b"", data)
    }

    pub(in crate::image) fn dir(&mut self, path: &str, mode: u32) -> &mut Self {
        self.add(path.as_bytes(), b'5', b"", b"").mode(mode)
    }

    pub(in crate::image) fn symlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.add(path.as_bytes(), b'2', target.as_bytes(), b"")
    }

    pub(in crate::image) fn hardlink(&mut self, path: &str, target: &str) -> &mut Self {
        self.add(path.as_bytes(), b'1', target.as_bytes(), b"")
    }

    pub(in crate::image) fn fifo(&mut self, path: &str) -> &mut Self {
        self.add(path.as_bytes(), b'6', b"", b"")
    }

    pub(in crate::image) fn device(&mut self, path: &str, kind: char, major: u32, minor: u32) -> &mut Self {
        self.add(path.as_bytes(), if kind == 'c' { b'3' } else { b'4' }, b"", b"");
        let header = &mut self.last().header;
        header.set_device_major(major).and_then(|()| header.set_device_minor(minor)).unwrap();
        self
    }

    pub(in crate::image) fn owned(&mut self, uid: u64, gid: u64) -> &mut Self {
        self.last().header.set_uid(uid);
        if gid > 0o7_777_777 {
            self.last().records.extend(record("gid", gid.to_string().as_bytes()));
        } else {
            self.last().header.set_gid(gid);
        }
        self
    }

    pub(in crate::image) fn mode(&mut self, mode: u32) -> &mut Self {
        self.last().header.set_mode(mode);
        self
    }

    pub(in crate::image) fn xattr(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.last().records.extend(record(&format!("SCHILY.xattr.{name}"), value));
        self
    }

    /// A record of the extended header.
    pub(super) fn pax(&mut self, key: &str, value: &[u8]) -> &mut Self {
        self.last().records.extend(record(key, value));
        self
    }

    fn last(&mut self) -> &mut Entry {
        self.entries.last_mut().unwrap()
    }

    pub(in crate::image) fn end(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        for Entry { header, records, data } in &mut self.entries {
            if !records.is_empty() {
                let mut extended = tar::Header::new_ustar();
                extended.set_entry_type(tar::EntryType::XHeader);
                extended.set_size(records.len() as u64);
                block(&mut out, &mut extended, records);
            }
            block(&mut out, header, data);
        }
        out.extend([0; 1024]);
        out
    }
}

fn block(out: &mut Vec<u8>, header: &mut tar::Header, data: &[u8]) {
    header.set_cksum();
    out.extend(header.as_bytes());
    out.extend(data);
    out.resize(out.len().next_multiple_of(512), 0);
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..).find(|length| *length == rest + length.to_string().len()).unwrap();
    [length.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}
