//! What good archives become.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::evil::{Tar, attribute, open, unpacked};
use super::*;
use crate::image::tar::{Flavour, write_tree};

#[test]
fn everything_is_as_the_archive_says() {
    let mut tar = Tar::new();
    tar.dir("a", 0o2750)
        .owned(5, 6)
        .file("a/f", b"data")
        .mode(0o4711)
        .symlink("a/l", "/nowhere")
        .hardlink("a/h", "a/f");
    tar.device("null", 'c', 1, 3).fifo("p").file("/abs", b"x").xattr("user.k", b"v").file("implied/x", b"");
    let layer = unpacked(&tar.end()).unwrap();
    let at = |name: &str| fs::symlink_metadata(layer.path().join(name)).unwrap();
    assert_eq!((at("a").mode() & 0o7777, at("a").uid(), at("a").gid(), at("a").mtime()), (0o2750, 5, 6, 1000));
    assert_eq!((at("a/f").mode() & 0o7777, at("a/f").nlink(), at("a/f").mtime()), (0o4711, 2, 1000));
    assert_eq!(at("a/h").ino(), at("a/f").ino());
    assert_eq!(fs::read_link(layer.path().join("a/l")).unwrap().to_str(), Some("/nowhere"));
    assert!(at("null").file_type().is_char_device() && at("null").rdev() == 0x103 && at("p").file_type().is_fifo());
    assert_eq!(fs::read(layer.path().join("abs")).unwrap(), b"x");
    assert_eq!(attribute(&layer.path().join("abs"), c"user.k").as_deref(), Some(&b"v"[..]));
    assert_eq!((at("implied").mode() & 0o7777, at("implied").uid()), (0o755, 0));
}

#[test]
fn the_last_entry_of_a_name_wins() {
    let mut tar = Tar::new();
    tar.file("x", b"1")
        .file("x", b"2")
        .dir("d", 0o755)
        .file("d/in", b"")
        .file("d", b"file")
        .symlink("s", "x")
        .dir("s", 0o700);
    let layer = unpacked(&tar.end()).unwrap();
    assert_eq!(fs::read(layer.path().join("x")).unwrap(), b"2");
    assert_eq!(fs::read(layer.path().join("d")).unwrap(), b"file");
    assert!(fs::symlink_metadata(layer.path().join("s")).unwrap().is_dir());
}

/// Requirement: P-16, S0-L4.
#[test]
fn whiteouts_mean_the_same_in_any_order() {
    // The examples of the image specification: explicit and opaque, before and after their siblings.
    let explicit = |first: bool| {
        let mut tar = Tar::new();
        tar.dir("a", 0o755).dir("a/b", 0o755).dir("a/b/c", 0o755);
        if first {
            tar.file("a/b/c/.wh.bar", b"").file("a/b/c/foo", b"x")
        } else {
            tar.file("a/b/c/foo", b"x").file("a/b/c/.wh.bar", b"")
        };
        tar.end()
    };
    let opaque = |first: bool| {
        let mut tar = Tar::new();
        tar.dir("a", 0o755);
        if first {
            tar.file("a/.wh..wh..opq", b"").dir("a/b", 0o755).file("a/b/f", b"")
        } else {
            tar.dir("a/b", 0o755).file("a/b/f", b"").file("a/.wh..wh..opq", b"")
        };
        tar.end()
    };
    for first in [true, false] {
        let layer = unpacked(&explicit(first)).unwrap();
        let bar = fs::symlink_metadata(layer.path().join("a/b/c/bar")).unwrap();
        assert!(bar.file_type().is_char_device() && bar.rdev() == 0);
        assert_eq!(fs::read(layer.path().join("a/b/c/foo")).unwrap(), b"x");
        let layer = unpacked(&opaque(first)).unwrap();
        assert_eq!(attribute(&layer.path().join("a"), c"trusted.overlay.opaque").as_deref(), Some(&b"y"[..]));
        assert!(layer.path().join("a/b/f").is_file() && !layer.path().join("a/.wh..wh..opq").exists());
    }
}

/// Requirement: P-16.
#[test]
fn a_whiteout_never_hides_its_own_layer() {
    for first in [true, false] {
        let mut tar = Tar::new();
        if first {
            tar.file(".wh.d", b"").file(".wh.f", b"")
        } else {
            &mut tar
        };
        tar.dir("d", 0o755).file("d/new", b"").file("f", b"new");
        if first {
            &mut tar
        } else {
            tar.file(".wh.d", b"").file(".wh.f", b"")
        };
        let layer = unpacked(&tar.end()).unwrap();
        // Of the old directory nothing shows: it was removed and made anew.
        assert_eq!(attribute(&layer.path().join("d"), c"trusted.overlay.opaque").as_deref(), Some(&b"y"[..]));
        assert!(layer.path().join("d/new").is_file());
        assert_eq!(fs::read(layer.path().join("f")).unwrap(), b"new");
    }
}

#[test]
fn what_aufs_keeps_for_itself_is_left_out() {
    let mut tar = Tar::new();
    tar.dir(".wh..wh.plnk", 0o700).file(".wh..wh.plnk/1.2", b"").file(".wh..wh.aufs", b"").hardlink("x", "y");
    // The link is refused, as its target is nowhere; all before it were skipped.
    assert!(unpacked(&tar.end()).unwrap_err().message.contains("\"x\""));
}

#[test]
fn a_directory_without_an_entry_is_that_of_the_layers_below() {
    let below = unpacked(&Tar::new().dir("tmp", 0o1777).owned(7, 8).end()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let tar = Tar::new().file("tmp/x", b"").file("other/.wh.y", b"").end();
    unpack(&tar[..], open(dir.path()), &[open(below.path())], Limits::default()).unwrap();
    let tmp = fs::metadata(dir.path().join("tmp")).unwrap();
    assert_eq!((tmp.mode() & 0o7777, tmp.uid(), tmp.gid(), tmp.mtime()), (0o1777, 7, 8, 1000));
    assert_eq!(fs::metadata(dir.path().join("other")).unwrap().mode() & 0o7777, 0o755);
}

#[test]
fn a_layer_written_from_its_directory_is_the_same_layer() {
    let mut tar = Tar::new();
    tar.dir("d", 0o755).file("d/.wh..wh..opq", b"").file("d/f", b"1").hardlink("d/g", "d/f").file(".wh.gone", b"");
    tar.symlink("s", "d")
        .xattr("user.x", b"1\n2")
        .device("z", 'b', 8, 1)
        .file(&"n".repeat(150), b"")
        .owned(70_000, 3_000_000);
    let first = unpacked(&tar.end()).unwrap();
    let write = |dir: &std::path::Path| {
        let mut out = Vec::new();
        write_tree(open(dir).as_fd(), Flavour::Layer, None, &mut out).unwrap();
        out
    };
    let one = write(first.path());
    let second = unpacked(&one).unwrap();
    assert_eq!(write(second.path()), one);
    assert!(fs::symlink_metadata(second.path().join("gone")).unwrap().file_type().is_char_device());
    assert_eq!(attribute(&second.path().join("d"), c"trusted.overlay.opaque").as_deref(), Some(&b"y"[..]));
    // As a whole tree, a directory of ours has no whiteouts of its own.
    let mut whole = Vec::new();
    write_tree(open(second.path()).as_fd(), Flavour::Whole, None, &mut whole).unwrap();
    assert!(!String::from_utf8_lossy(&whole).contains(".wh."));
}

#[test]
fn holes_stay_holes() {
    for format in ["gnu", "posix"] {
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::create(dir.path().join("f")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"end", 5 << 20).unwrap();
        file.set_len(6 << 20).unwrap();
        let tar = std::process::Command::new("tar")
            .args(["-S", &format!("--format={format}"), "-cC"])
            .arg(dir.path())
            .arg("f")
            .output()
            .unwrap();
        assert!(tar.status.success() && tar.stdout.len() < 1 << 20);
        let layer = unpacked(&tar.stdout).unwrap();
        let meta = fs::metadata(layer.path().join("f")).unwrap();
        assert_eq!(meta.len(), 6 << 20);
        assert!(meta.blocks() * 512 < 1 << 20, "{format}: {} blocks", meta.blocks());
        assert_eq!(fs::read(layer.path().join("f")).unwrap()[5 << 20..][..3], *b"end");
    }
}
