//! Writer and reader agree, and the reader gives up on what is damaged.

use std::io::{self, Read};

use super::write::Writer;
use super::*;

fn entry(path: &str, kind: Kind, size: u64) -> Entry {
    Entry {
        path: path.as_bytes().to_vec(),
        kind,
        mode: 0o4755,
        uid: 1,
        gid: 2,
        mtime: (3, 0),
        xattrs: vec![],
        size,
        map: None,
    }
}

fn written(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.entry(entry, *data).unwrap();
    }
    writer.finish().unwrap()
}

fn read(bytes: &[u8]) -> crate::error::Result<Vec<(Entry, Vec<u8>)>> {
    let mut archive = Archive::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = archive.next()? {
        let mut data = Vec::new();
        archive.read_to_end(&mut data).map_err(|error| crate::error::Error::new(error.to_string()))?;
        all.push((entry, data));
    }
    archive.drain().map(|()| all)
}

#[test]
fn what_is_written_reads_back() {
    let long = "d/".repeat(80) + "name";
    let mut odd = entry("odd", Kind::File, 600);
    odd.xattrs = vec![(b"user.a".to_vec(), b"line\nline=\0".to_vec())];
    (odd.uid, odd.gid, odd.mtime) = (u32::MAX - 1, 3_000_000, (-5, 0));
    let data = [7_u8; 600];
    let entries = [
        (entry("./", Kind::Directory, 0), &b""[..]),
        (entry("file", Kind::File, 5), b"hello"),
        (entry(&long, Kind::File, 0), b""),
        (entry("link", Kind::Symlink(long.clone().into_bytes()), 0), b""),
        (entry("hard", Kind::Hardlink(b"file".to_vec()), 0), b""),
        (entry("char", Kind::Char(1, 3), 0), b""),
        (entry("block", Kind::Block(254, 1 << 20), 0), b""),
        (entry("pipe", Kind::Fifo, 0), b""),
        (odd, &data),
    ];
    let back = read(&written(&entries)).unwrap();
    let expected: Vec<_> = entries.iter().map(|(entry, data)| (entry.clone(), data.to_vec())).collect();
    assert_eq!(back, expected);
}

#[test]
fn data_that_is_short_is_filled_and_data_that_is_not_read_is_skipped() {
    let bytes = written(&[(entry("a", Kind::File, 1000), b"x"), (entry("b", Kind::File, 1), b"y")]);
    let mut archive = Archive::new(&bytes[..]);
    assert_eq!(archive.next().unwrap().unwrap().size, 1000);
    assert_eq!(archive.next().unwrap().unwrap().path, b"b");
    let mut data = String::new();
    archive.read_to_string(&mut data).unwrap();
    assert_eq!(data, "y");
    assert_eq!(archive.next().unwrap(), None);
}

#[test]
fn damaged_archives_are_refused_wherever_they_are_cut() {
    let bytes = written(&[(entry(&"n".repeat(200), Kind::File, 700), &[1; 700])]);
    let whole = bytes.len() - 2 * BLOCK;
    for cut in (1..whole).step_by(97) {
        assert!(read(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    assert_eq!(read(&bytes[..whole]).unwrap().len(), 1);
    assert!(read(&[b'x'; 2048]).unwrap_err().message.contains("not a tar archive"));
    assert!(read(b"").unwrap().is_empty());
}

#[test]
fn gnu_tars_own_formats_are_read() {
    let mut bytes = Vec::new();
    let mut builder = tar::Builder::new(&mut bytes);
    let mut header = tar::Header::new_gnu();
    header.set_size(2);
    header.set_mode(0o644);
    header.set_uid(5_000_000);
    let long = "x/".repeat(100) + "y";
    builder.append_data(&mut header, &long, &b"hi"[..]).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "l", "t/".repeat(100)).unwrap();
    builder.into_inner().unwrap();
    let back = read(&bytes).unwrap();
    assert_eq!(
        (back[0].0.path.as_slice(), back[0].0.uid, back[0].1.as_slice()),
        (long.as_bytes(), 5_000_000, &b"hi"[..])
    );
    assert_eq!(back[1].0.kind, Kind::Symlink("t/".repeat(100).into_bytes()));
}

#[test]
fn announcements_beyond_reason_are_refused_unread() {
    for kind in [tar::EntryType::XHeader, tar::EntryType::GNULongName, tar::EntryType::XGlobalHeader] {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(1 << 40);
        header.set_cksum();
        let endless = header.as_bytes().chain(io::repeat(b'a'));
        assert!(Archive::new(endless).next().unwrap_err().message.contains("extended header of"));
    }
}

/// Requirement: P-20, P-15.
#[test]
fn archives_that_nobody_would_write_are_refused_or_read() {
    let mut odd = entry("odd", Kind::File, 600);
    odd.xattrs = vec![(b"user.a".to_vec(), b"v".to_vec())];
    odd.mtime = (-5, 250_000_000);
    let good = written(&[
        (entry("d/", Kind::Directory, 0), &b""[..]),
        (entry(&"n".repeat(200), Kind::File, 5), b"hello"),
        (entry("link", Kind::Symlink(b"../x".to_vec()), 0), b""),
        (entry("char", Kind::Char(1, 3), 0), b""),
        (odd, &[7; 600]),
    ]);
    let words: [&[u8]; 5] = [b"ustar", b"\x80\0\0\0\0\0\0\xff", b"77777777777", b"GNU.sparse.major=1\n", b"path="];
    let mut whole = 0;
    crate::mutation::each(&[&good], &words, 4_000, |bytes| {
        let mut bytes = bytes.to_vec();
        for block in bytes.chunks_exact_mut(BLOCK).filter(|block| block[257..].starts_with(b"ustar")) {
            let sum: u32 =
                block.iter().enumerate().map(|(n, b)| if (148..156).contains(&n) { 32 } else { u32::from(*b) }).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        whole += usize::from(read(&bytes).is_ok());
    });
    assert!((100..3_900).contains(&whole), "{whole} of the damaged archives were read to the end");
}
