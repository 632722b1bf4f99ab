use std::fs;
use std::os::unix::fs::symlink;

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
