//! Archives that want out, up, or more than there is. Each is built here, byte by byte where need be.

mod archive;
mod cases;

use std::ffi::CStr;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, symlink};
use std::path::Path;

use nix::fcntl::{OFlag, open as open_at};
use nix::sys::stat::Mode;
use tempfile::TempDir;

use crate::error::Result;
use crate::image::limits::Limits;
use crate::sys;

use super::unpack;

pub(super) use archive::Tar;
use cases::{HEADERS, LINKS, PATHS, WHITEOUTS};

pub(super) fn open(dir: &Path) -> OwnedFd {
    open_at(dir, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()).unwrap()
}

pub(super) fn attribute(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let file = fs::File::open(path).unwrap();
    sys::xattr::get(file.as_fd(), name).ok()
}

pub(super) fn unpacked(tar: &[u8]) -> Result<TempDir> {
    let dir = tempfile::tempdir().unwrap();
    unpack(tar, open(dir.path()), &[], Limits::default()).map(|_| dir)
}

/// Unpacks into `layer` beside a directory `outside`, which must stay as it is, and gives the refusal.
fn refused(what: &str, tar: &[u8]) -> String {
    let place = tempfile::tempdir().unwrap();
    let (layer, outside) = (place.path().join("layer"), place.path().join("outside"));
    fs::create_dir(&layer).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "kept").unwrap();
    let result = unpack(tar, open(&layer), &[], Limits::default());
    let names = |dir: &Path| fs::read_dir(dir).unwrap().flatten().map(|e| e.file_name()).collect::<Vec<_>>();
    assert_eq!(names(&outside), ["secret"], "{what}");
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"kept", "{what}");
    assert_eq!(names(place.path()).len(), 2, "{what}");
    match result {
        Ok(_) => panic!("{what}: it was unpacked"),
        Err(error) => error.message,
    }
}

/// Requirement: P-15, P-16, P-17.
#[test]
fn nothing_leaves_the_layer() {
    for (what, build, why) in PATHS.iter().chain(&LINKS).chain(&WHITEOUTS).chain(&HEADERS) {
        let mut tar = Tar::new();
        build(&mut tar);
        let message = refused(what, &tar.end());
        assert!(message.contains(why), "{what}: {message}");
    }
}

/// Requirement: P-15.
#[test]
fn a_leading_slash_is_the_layers_root() {
    let place = tempfile::tempdir().unwrap();
    let outside = place.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let path = outside.join("x");
    let layer = unpacked(&Tar::new().file(path.to_str().unwrap(), b"in").end()).unwrap();
    assert!(!path.exists());
    assert_eq!(fs::read(layer.path().join(path.strip_prefix("/").unwrap())).unwrap(), b"in");
}

/// Requirement: P-15.
#[test]
fn a_link_that_is_replaced_is_not_followed() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("target"), "kept").unwrap();
    let target = place.path().join("target");
    let mut tar = Tar::new();
    tar.symlink("x", target.to_str().unwrap()).file("x", b"mine").mode(0o777).owned(9, 9);
    let layer = unpacked(&tar.end()).unwrap();
    assert_eq!(fs::read(&target).unwrap(), b"kept");
    assert!(fs::symlink_metadata(layer.path().join("x")).unwrap().is_file());
}

/// Requirement: P-15.
#[test]
fn what_is_swapped_in_meanwhile_is_not_followed_either() {
    // Somebody plants a link in the layer between two entries: as if the archive had done so.
    let (layer, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tar = Tar::new().dir("d", 0o755).file("e", b"").file("d/x", b"").end();
    let root = layer.path().to_owned();
    let planted = outside.path().to_owned();
    let mut seen = 0;
    let tar = Spying {
        inner: &tar[..],
        each: |count| {
            seen += count;
            if seen == 3 * 512 {
                fs::remove_dir(root.join("d")).unwrap();
                symlink(&planted, root.join("d")).unwrap();
            }
        },
    };
    assert!(unpack(tar, open(layer.path()), &[], Limits::default()).is_err());
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

struct Spying<R, F> {
    inner: R,
    each: F,
}

impl<R: Read, F: FnMut(usize)> Read for Spying<R, F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(512);
        let count = self.inner.read(&mut buffer[..length])?;
        (self.each)(count);
        Ok(count)
    }
}

/// Requirement: P-17.
#[test]
fn attributes_that_control_the_overlay_are_dropped() {
    let mut tar = Tar::new();
    tar.dir("d", 0o755);
    for name in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "user.overlay.opaque",
        "user.overlay.redirect",
        "trusted.x",
        "security.selinux",
    ] {
        tar.xattr(name, b"y");
    }
    tar.xattr("user.kept", b"1");
    let capability = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    tar.file("ping", b"").mode(0o4755).xattr("security.capability", capability);
    let layer = unpacked(&tar.end()).unwrap();
    let dir = fs::File::open(layer.path().join("d")).unwrap();
    assert_eq!(sys::xattr::list(dir.as_fd()).unwrap(), b"user.kept\0");
    assert_eq!(attribute(&layer.path().join("ping"), c"security.capability").as_deref(), Some(&capability[..]));
    let ping = fs::metadata(layer.path().join("ping")).unwrap();
    assert!(!ping.file_type().is_char_device());
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&ping) & 0o7777, 0o4755);
}

/// Requirement: P-18.
#[test]
fn limits_hold() {
    let small = |limits: Limits, tar: &[u8]| {
        unpack(tar, open(tempfile::tempdir().unwrap().path()), &[], limits).unwrap_err().message
    };
    let limits = Limits { size: 1000, entries: 3, depth: 4, ratio: 0 };
    let mut many = Tar::new();
    for n in 0..4 {
        many.file(&n.to_string(), b"");
    }
    assert!(small(limits, &many.end()).contains("more than 3 entries"));
    assert!(
        small(limits, &Tar::new().file("x", &[0; 600]).file("y", &[0; 600]).end()).contains("more than 1000 bytes")
    );
    assert!(small(limits, &Tar::new().file("a/b/c/d/e", b"").end()).contains("more than 4 components"));
    // A file of a size that is only claimed is refused before a byte of it is read.
    let mut huge = Tar::new();
    huge.file("x", b"").pax("size", b"1000000000000");
    assert!(small(limits, &huge.end()).contains("more than 1000 bytes"));
    // So is one that consists of a hole.
    let mut hole = Tar::new();
    hole.file("x", &[b"0\n".to_vec(), vec![0; 510]].concat());
    hole.pax("GNU.sparse.major", b"1").pax("GNU.sparse.minor", b"0").pax("GNU.sparse.realsize", b"1000000000000");
    assert!(small(limits, &hole.end()).contains("more than 1000 bytes"));
}

/// Requirement: P-18.
#[test]
fn maps_of_sparse_files_are_not_believed() {
    for map in ["1\n0\n99999\n", "2\n10\n10\n5\n5\n", "1\n18446744073709551615\n2\n", "99999999\n", "x\n", "1\n"] {
        let mut data = map.as_bytes().to_vec();
        data.resize(512, 0);
        let mut tar = Tar::new();
        tar.file("x", &data)
            .pax("GNU.sparse.major", b"1")
            .pax("GNU.sparse.minor", b"0")
            .pax("GNU.sparse.realsize", b"600");
        assert!(refused(map, &tar.end()).contains("sparse"), "{map:?}");
    }
    let mut old = Tar::new();
    old.file("x", b"").pax("GNU.sparse.map", b"0,1");
    assert!(refused("an old format", &old.end()).contains("old format"));
}

/// Requirement: P-15, P-18.
#[test]
fn damage_of_any_byte_is_refused_or_harmless() {
    let mut tar = Tar::new();
    tar.dir("d", 0o755).file("d/f", b"data").hardlink("d/h", "d/f").symlink("l", "../outside").file("d/.wh.x", b"");
    tar.file(&"n".repeat(120), b"").xattr("user.k", b"v").device("z", 'c', 1, 3);
    let good = tar.end();
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("outside")).unwrap();
    // Always the same damage, so that what is found once is found again.
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..400 {
        let mut bad = good.clone();
        for _ in 0..=next(3) {
            // Mostly in fields that mean something, and with bytes that do.
            let at = next(good.len() / 512) * 512 + if next(3) == 0 { next(512) } else { next(160) };
            bad[at] = b"./0127\0\xff"[next(8)];
        }
        for header in bad.chunks_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
            let sum: u32 =
                header.iter().enumerate().map(|(n, b)| if (148..156).contains(&n) { 32 } else { u32::from(*b) }).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let layer = place.path().join("layer");
        fs::create_dir(&layer).unwrap();
        let limits = Limits { size: 1 << 20, ..Limits::default() };
        let _ = unpack(&bad[..], open(&layer), &[], limits);
        fs::remove_dir_all(&layer).unwrap();
        assert_eq!(fs::read_dir(place.path().join("outside")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
