//! The layout to the byte, and what the directory may hold besides.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;

use super::*;

struct Place {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn place() -> (Place, Store) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("networks/n1");
    let store = Store::open(&path, Duration::ZERO).unwrap();
    (Place { _dir: dir, path }, store)
}

fn addr(text: &str) -> Addr {
    Addr::parse(text).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn scanned(store: &Store) -> Vec<Entry> {
    let mut entries = Vec::new();
    store.scan(&mut |entry| entries.push(entry.clone())).unwrap();
    entries
}

#[test]
fn writes_the_layout_of_the_go_suite() {
    let (place, store) = place();
    assert_eq!(store.create(addr("10.77.0.2"), "cid1\r\neth0").unwrap(), Creation::Done);
    assert_eq!(store.create(addr("fd77::2"), "cid1\r\neth0").unwrap(), Creation::Done);
    store.set_last_reserved(0, addr("10.77.0.2")).unwrap();
    assert_eq!(names(&place.path), ["10.77.0.2", "fd77::2", "last_reserved_ip.0", "lock"]);
    assert_eq!(fs::read(place.path.join("10.77.0.2")).unwrap(), b"cid1\x0d\x0aeth0");
    assert_eq!(fs::read(place.path.join("fd77::2")).unwrap(), b"cid1\x0d\x0aeth0");
    assert_eq!(fs::read(place.path.join("last_reserved_ip.0")).unwrap(), b"10.77.0.2");
    assert_eq!(fs::read(place.path.join("lock")).unwrap(), b"");
    assert_eq!(mode(&place.path), 0o755);
    assert_eq!(mode(&place.path.join("10.77.0.2")), 0o600);
    assert_eq!(mode(&place.path.join("last_reserved_ip.0")), 0o600);
    assert_eq!(mode(&place.path.join("lock")), 0o750);
}

#[test]
fn the_history_is_replaced_whatever_its_length() {
    let (place, store) = place();
    for text in ["10.1.0.254", "10.1.0.9", "fd77::ffff:1", "10.1.0.10"] {
        store.set_last_reserved(3, addr(text)).unwrap();
        assert_eq!(fs::read_to_string(place.path.join("last_reserved_ip.3")).unwrap(), text);
        assert_eq!(store.last_reserved(3), Some(addr(text)));
    }
    assert_eq!(store.last_reserved(4), None);
    for garbage in ["", "10.1.0", "10.1.0.9\n", "\0\0\0\0"] {
        fs::write(place.path.join("last_reserved_ip.3"), garbage).unwrap();
        assert_eq!(store.last_reserved(3), None, "{garbage:?}");
    }
}

#[test]
fn both_ways_of_writing_refuse_a_taken_name() {
    let (place, mut store) = place();
    for unnamed in [true, false] {
        store.unnamed_files = unnamed;
        let name = format!("10.1.0.{}", u8::from(unnamed));
        assert_eq!(store.create(addr(&name), "a\r\neth0").unwrap(), Creation::Done);
        assert_eq!(store.create(addr(&name), "b\r\neth0").unwrap(), Creation::Taken);
        assert_eq!(fs::read_to_string(place.path.join(&name)).unwrap(), "a\r\neth0");
        assert_eq!(mode(&place.path.join(&name)), 0o600);
    }
    assert_eq!(names(&place.path), ["10.1.0.0", "10.1.0.1", "lock"]);
}

#[test]
fn a_blank_lease_file_is_replaced() {
    let (place, mut store) = place();
    for unnamed in [true, false] {
        store.unnamed_files = unnamed;
        for blank in ["", " \r\n", "\0\0\0\0\0\0\0\0\0\0", "\u{a0}"] {
            fs::write(place.path.join("10.1.0.5"), blank).unwrap();
            assert_eq!(store.lease(addr("10.1.0.5")), Some(Content::Blank));
            assert_eq!(store.create(addr("10.1.0.5"), "a\r\neth0").unwrap(), Creation::Done);
            assert_eq!(fs::read_to_string(place.path.join("10.1.0.5")).unwrap(), "a\r\neth0");
        }
    }
}

#[test]
fn an_unfinished_file_is_swept_away() {
    let (place, mut store) = place();
    fs::write(place.path.join(UNFINISHED), "a\r\neth0").unwrap();
    assert_eq!(scanned(&store), []);
    assert_eq!(names(&place.path), ["lock"]);
    fs::write(place.path.join(UNFINISHED), "a\r\neth0").unwrap();
    store.unnamed_files = false;
    assert_eq!(store.create(addr("10.1.0.5"), "b\r\neth0").unwrap(), Creation::Done);
    assert_eq!(names(&place.path), ["10.1.0.5", "lock"]);
}

#[test]
fn scans_everything_a_stranger_may_have_put_there() {
    let (place, store) = place();
    let at = |name: &str| place.path.join(name);
    fs::write(at("10.1.0.5"), "legacy \n").unwrap();
    fs::write(at("10.1.0.6"), "").unwrap();
    fs::write(at("10.1.0.7"), [0xff, 0xfe]).unwrap();
    fs::write(at("notes"), "cid1\r\neth0").unwrap();
    fs::write(at("last_reserved_ip.0"), "10.1.0.5").unwrap();
    fs::create_dir(at("10.1.0.8")).unwrap();
    fs::write(at("10.1.0.8/10.1.0.9"), "cid1\r\neth0").unwrap();
    symlink("10.1.0.5", at("10.1.0.10")).unwrap();
    symlink("/nonexistent", at("10.1.0.11")).unwrap();
    nix::unistd::mkfifo(&at("10.1.0.12"), Mode::S_IRUSR).unwrap();
    let entries = scanned(&store);
    let shown: Vec<_> = entries.iter().map(|e| (e.path.to_str().unwrap(), e.content.clone())).collect();
    let text = |text: &str| Content::Text(text.into());
    assert_eq!(
        shown,
        [
            ("10.1.0.10", text("legacy")),
            ("10.1.0.11", Content::Opaque),
            ("10.1.0.12", Content::Opaque),
            ("10.1.0.5", text("legacy")),
            ("10.1.0.6", Content::Blank),
            ("10.1.0.7", Content::Opaque),
            ("10.1.0.8", Content::Opaque),
            ("10.1.0.8/10.1.0.9", text("cid1\r\neth0")),
            ("notes", text("cid1\r\neth0")),
        ]
    );
    let occupied: Vec<_> = entries.iter().filter_map(Entry::occupies).map(|addr| addr.to_string()).collect();
    assert_eq!(occupied, ["10.1.0.10", "10.1.0.11", "10.1.0.12", "10.1.0.5", "10.1.0.7", "10.1.0.8"]);
}

#[test]
fn long_texts_are_read_whole_and_endless_ones_are_not() {
    let (place, store) = place();
    for len in [511, 512, 513, 5000, 100_000] {
        let text = "x".repeat(len);
        fs::write(place.path.join("10.1.0.5"), &text).unwrap();
        assert_eq!(store.lease(addr("10.1.0.5")), Some(Content::Text(text)));
    }
    fs::write(place.path.join("10.1.0.5"), vec![b'x'; MAX_CONTENT + 1]).unwrap();
    assert_eq!(store.lease(addr("10.1.0.5")), Some(Content::Opaque));
}

#[test]
fn every_change_by_others_changes_the_stamp_even_at_once() {
    let (place, store) = place();
    let at = |name: &str| place.path.join(name);
    for _ in 0..200 {
        let stamp = store.restamp().unwrap().unwrap();
        assert_eq!(store.stamp().unwrap(), stamp);
        // No clock will show this time again, however coarse it is.
        assert!(stamp.mtime.0 < stamp.ctime.0);
        fs::write(at("10.1.0.5"), "a").unwrap();
        let after_create = store.stamp().unwrap();
        assert_ne!(after_create.mtime, stamp.mtime);
        let stamp = store.restamp().unwrap().unwrap();
        fs::remove_file(at("10.1.0.5")).unwrap();
        assert_ne!(store.stamp().unwrap().mtime, stamp.mtime);
    }
}

#[test]
fn setting_the_mtime_back_does_not_hide_a_change() {
    let (place, store) = place();
    let stamp = store.restamp().unwrap().unwrap();
    fs::write(place.path.join("10.1.0.5"), "a").unwrap();
    // The ctime moves with the clock's next tick; wait for it as one would for any event.
    let times = || {
        let back = TimeSpec::new(stamp.mtime.0, stamp.mtime.1);
        futimens(&store.dir, &TimeSpec::UTIME_OMIT, &back).unwrap();
        store.stamp().unwrap()
    };
    let now = std::iter::repeat_with(times).find(|now| now.ctime != stamp.ctime).unwrap();
    assert_eq!(now.mtime, stamp.mtime);
    assert_ne!(now, stamp);
}

#[test]
fn probes_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    probe(&dir.path().join("a/b/c")).unwrap();
    probe(dir.path()).unwrap();
    assert_eq!(names(dir.path()), [""; 0]);
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = probe(&file.join("n1")).unwrap_err().to_string();
    assert_eq!(error, format!("cannot create lease files in {}: not a directory", file.display()));
    let error = probe(Path::new("/proc/nope/n1")).unwrap_err().to_string();
    assert!(error.starts_with("cannot create lease files in /proc: "), "{error}");
}

#[test]
fn says_what_failed_on_which_object_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("n1"), Duration::ZERO).unwrap_err().to_string();
    assert_eq!(error, format!("cannot create directory {}/n1: not a directory", file.display()));
}
