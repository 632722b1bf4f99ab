use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use tempfile::TempDir;

use super::*;

/// A root on either side.
struct World {
    from: TempDir,
    to: TempDir,
}

impl World {
    fn new() -> Self {
        let world = Self { from: tempfile::tempdir().unwrap(), to: tempfile::tempdir().unwrap() };
        fs::create_dir_all(world.from.path().join("dir/sub")).unwrap();
        fs::write(world.from.path().join("dir/sub/f"), "inner").unwrap();
        fs::write(world.from.path().join("file"), "text").unwrap();
        fs::create_dir(world.to.path().join("there")).unwrap();
        fs::write(world.to.path().join("old"), "old").unwrap();
        world
    }

    fn copy(&self, from: &str, to: &str) -> Result<()> {
        self.copy_with(from, to, How::default())
    }

    fn copy_with(&self, from: &str, to: &str, how: How) -> Result<()> {
        let (a, b) = (Root::open(self.from.path()).unwrap(), Root::open(self.to.path()).unwrap());
        copy(&Side { root: &a, path: from }, &Side { root: &b, path: to }, how)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.to.path().join(path)).unwrap()
    }

    fn refusal(&self, from: &str, to: &str) -> String {
        self.copy(from, to).unwrap_err().message
    }
}

#[test]
fn a_file_becomes_replaces_or_joins() {
    let world = World::new();
    world.copy("/file", "/new").unwrap();
    world.copy("/file", "/old").unwrap();
    world.copy("/file", "/there").unwrap();
    world.copy("/file", "/there/").unwrap();
    assert_eq!([world.read("new"), world.read("old"), world.read("there/file")], ["text"; 3]);
    assert!(world.refusal("/file", "/none/").contains("no such directory"));
    assert!(world.refusal("/file", "/none/x").contains("No such file"));
    assert!(world.refusal("/file", "/old/").contains("not a directory"));
    assert!(world.refusal("/file/", "/x").contains("not a directory"));
    assert!(world.refusal("/nothing", "/x").contains("no such file"));
    fs::create_dir(world.to.path().join("there/dir")).unwrap();
    fs::create_dir(world.from.path().join("named")).unwrap();
    fs::write(world.from.path().join("named/dir"), "file").unwrap();
    assert!(world.refusal("/named/dir", "/there").contains("directory"), "a directory was replaced by a file");
}

#[test]
fn a_directory_becomes_or_joins_and_its_contents_do_neither() {
    let world = World::new();
    world.copy("/dir", "/new").unwrap();
    world.copy("/dir", "/there").unwrap();
    world.copy("/dir/.", "/there").unwrap();
    world.copy("/dir/.", "/fresh").unwrap();
    world.copy("/dir/", "/there").unwrap();
    for path in ["new/sub/f", "there/dir/sub/f", "there/sub/f", "fresh/sub/f"] {
        assert_eq!(world.read(path), "inner", "{path}");
    }
    assert!(world.refusal("/dir", "/old").contains("it is a file"));
    assert!(world.refusal("/file/.", "/there").contains("not a directory"));
    world.copy("/dir/.", "/").unwrap();
    world.copy("/", "/all").unwrap();
    assert_eq!((world.read("sub/f"), world.read("all/file")), ("inner".into(), "text".into()));
}

#[test]
fn links_are_copied_or_followed_but_never_out_of_the_root() {
    let world = World::new();
    symlink("/etc/passwd", world.from.path().join("link")).unwrap();
    symlink("file", world.from.path().join("near")).unwrap();
    world.copy("/link", "/l").unwrap();
    assert_eq!(fs::read_link(world.to.path().join("l")).unwrap(), Path::new("/etc/passwd"));
    let follow = How { follow: true, ..How::default() };
    assert!(world.copy_with("/link", "/x", follow).is_err(), "a file of the host was copied");
    world.copy_with("/near", "/y", follow).unwrap();
    assert_eq!(world.read("y"), "text");
    // A link in the target's place leads somewhere in the target's root.
    symlink("/there", world.to.path().join("out")).unwrap();
    symlink("/../../../../old", world.to.path().join("up")).unwrap();
    world.copy("/file", "/out").unwrap();
    world.copy("/file", "/up").unwrap();
    assert_eq!((world.read("there/file"), world.read("old")), ("text".into(), "text".into()));
    symlink("/proc/self/root", world.from.path().join("magic")).unwrap();
    assert!(world.copy_with("/magic/etc/passwd", "/z", follow).is_err());
}

/// One side swaps a directory for a link to somebody else's all the time; what is copied from there and to there is its own.
///
/// Requirement: P-10.
#[test]
fn a_racer_gets_nothing_of_others_copied() {
    let world = World::new();
    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("f"), "SECRET").unwrap();
    // The contents tell which way was taken: of the same name there is another file where the link leads to inside.
    let (a, b) = (world.from.path().join("a"), world.from.path().join("b"));
    fs::create_dir(&a).unwrap();
    fs::write(a.join("f"), "own").unwrap();
    symlink(secret.path(), &b).unwrap();
    let decoy = world.from.path().join(secret.path().strip_prefix("/").unwrap());
    fs::create_dir_all(&decoy).unwrap();
    fs::write(decoy.join("f"), "decoy").unwrap();
    let done = AtomicBool::new(false);
    let (mut seen, mut leaked) = ([0_usize; 2], false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &a, AT_FDCWD, &b, RenameFlags::RENAME_EXCHANGE).unwrap();
                // A lock that is taken again at once is nobody else's for long.
                std::thread::sleep(std::time::Duration::from_micros(1));
            }
        });
        let how = How { follow: true, ..How::default() };
        let back = |from: &str, to: &str| {
            let (ours, theirs) = (Root::open(world.to.path()).unwrap(), Root::open(world.from.path()).unwrap());
            copy(&Side { root: &ours, path: from }, &Side { root: &theirs, path: to }, how)
        };
        for round in 0..20_000 {
            if round >= 300 && seen.iter().all(|times| *times > 20) {
                break;
            }
            // A name that is gone at the wrong moment is told, and copies nothing.
            if world.copy_with("/a/f", "/got", how).is_ok() {
                let got = world.read("got");
                leaked |= !["own", "decoy", ""].contains(&got.as_str());
                seen[usize::from(got == "own")] += 1;
            }
            let _ = back("/old", "/a/new");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(!leaked, "somebody else's file was copied");
    assert!(seen.iter().all(|times| *times > 20), "the race was never on: {seen:?}");
    assert_eq!(fs::read_to_string(secret.path().join("f")).unwrap(), "SECRET");
    assert_eq!(fs::read_dir(secret.path()).unwrap().count(), 1);
}
