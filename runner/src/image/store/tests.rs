//! Images are complete or absent, shared, and gone when nothing needs them.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::TempDir;

use crate::image::commit::{About, Content};
use crate::image::limits::Limits;

use super::*;

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn commit(store: &Store, parent: Option<&Image>, file: &str, name: Option<&str>) -> Image {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join(file), file).unwrap();
    let fd = File::open(tree.path()).unwrap();
    let content = if parent.is_some() { Content::Upper(fd.as_fd()) } else { Content::Tree(fd.as_fd(), None) };
    let name: Option<Reference> = name.map(|name| name.parse().unwrap());
    store.commit(parent, content, &About::default(), name.as_ref(), Limits::default()).unwrap()
}

fn files(dir: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(dir).unwrap().flatten().map(|e| e.file_name().into_string().unwrap());
    names.collect()
}

/// Requirement: S0-L1, S0-L3, S1-O2.
#[test]
fn layers_are_shared_and_go_with_their_last_image() {
    let (dir, store) = store();
    let base = commit(&store, None, "base", Some("base"));
    let (a, b) = (commit(&store, Some(&base), "a", Some("a")), commit(&store, Some(&base), "b", Some("b")));
    assert_eq!((a.layers.len(), &a.layers[0]), (2, &base.layers[0]));
    assert_eq!((b.layers.len(), &b.layers[0]), (2, &base.layers[0]));
    assert_eq!(files(&dir.path().join("layers")).len(), 3);
    assert_eq!(fs::read(a.layers[1].join("a")).unwrap(), b"a");
    assert_eq!(store.resolve("base").unwrap(), base);

    store.remove("a", false).unwrap();
    assert!(!a.layers[1].exists() && base.layers[0].exists());
    store.remove("base", false).unwrap();
    assert!(base.layers[0].exists(), "b still needs it");
    store.remove("b", false).unwrap();
    assert!(files(&dir.path().join("layers")).is_empty() && files(&dir.path().join("images/blobs/sha256")).is_empty());
}

#[test]
fn names_move_and_are_understood() {
    let (_dir, store) = store();
    let first = commit(&store, None, "1", Some("x"));
    let second = commit(&store, None, "2", Some("docker.io/library/x:latest"));
    assert_eq!(store.resolve("x").unwrap().id, second.id);
    let old = store.resolve(first.id.short()).unwrap();
    assert!(old.names.is_empty());
    store.tag(&old.id, &"old:1".parse().unwrap()).unwrap();
    assert_eq!(store.resolve("old:1").unwrap().id, first.id);
    assert_eq!(store.resolve(second.id.as_str()).unwrap().id, second.id);
    assert!(store.resolve("y").unwrap_err().message.contains("no image is called \"y\""));
    assert!(store.resolve("").is_err() && store.resolve("../x").is_err());
}

#[test]
fn an_image_that_somebody_holds_stays() {
    let (dir, store) = store();
    let image = commit(&store, None, "f", Some("x"));
    let holder: Name = "c1".parse().unwrap();
    store.hold(&image.id, &holder).unwrap();
    assert!(store.remove("x", false).unwrap_err().message.contains("in use by container c1"));
    store.remove("x", true).unwrap();
    assert_eq!(store.prune(true).unwrap().images, []);
    assert!(image.layers[0].exists() && store.resolve("x").is_err());
    store.release(&holder).unwrap();
    store.release(&holder).unwrap();
    let swept = store.prune(false).unwrap();
    assert_eq!((swept.images.as_slice(), swept.layers), ([image.id.clone()].as_slice(), 1));
    assert!(swept.bytes > 0 && files(&dir.path().join("layers")).is_empty());
    assert!(store.hold(&image.id, &holder).is_err());
}

#[test]
fn an_image_with_several_names_goes_by_its_id_only_with_force() {
    let (_dir, store) = store();
    let image = commit(&store, None, "f", Some("x"));
    store.tag(&image.id, &"y".parse().unwrap()).unwrap();
    assert!(store.remove(image.id.short(), false).unwrap_err().message.contains("x:latest, y:latest"));
    assert_eq!(store.remove("y", false).unwrap(), [Removal::Untagged("y".parse().unwrap())]);
    store.tag(&image.id, &"y".parse().unwrap()).unwrap();
    assert_eq!(store.remove(image.id.short(), true).unwrap().len(), 3);
    assert!(store.images().unwrap().is_empty());
}

/// Requirement: P-17.
#[test]
fn only_root_gets_to_the_layers() {
    let (dir, store) = store();
    let image = commit(&store, None, "f", None);
    for dir in [dir.path().join("layers"), dir.path().join("images"), image.layers[0].parent().unwrap().to_owned()] {
        assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700, "{}", dir.display());
    }
}

#[test]
fn what_was_left_behind_goes_with_the_next_import() {
    let (dir, store) = store();
    let left = dir.path().join("images/tmp/left/layer-1/diff");
    fs::create_dir_all(&left).unwrap();
    fs::set_permissions(&left, fs::Permissions::from_mode(0o700)).unwrap();
    // As long as somebody is bringing an image in, what is there may be theirs.
    let other = Ingest::begin(&store, Limits::default()).unwrap();
    assert!(!left.exists());
    fs::create_dir_all(&left).unwrap();
    commit(&store, None, "f", Some("x"));
    assert!(left.exists());
    drop(other);
    commit(&store, None, "g", Some("x"));
    assert!(files(&dir.path().join("images/tmp")).is_empty());
}

#[test]
fn the_same_image_at_the_same_time_is_one_image() {
    let (dir, store) = store();
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("f"), "x").unwrap();
    let ids = std::thread::scope(|scope| {
        let one = || {
            let fd = File::open(tree.path()).unwrap();
            let name = "same".parse().unwrap();
            store
                .commit(None, Content::Tree(fd.as_fd(), None), &About::default(), Some(&name), Limits::default())
                .unwrap()
        };
        let all: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        all.into_iter().map(|thread| thread.join().unwrap().layers[0].clone()).collect::<BTreeSet<_>>()
    });
    assert_eq!(ids.len(), 1);
    assert_eq!(files(&dir.path().join("layers")).len(), 1);
    assert!(files(&dir.path().join("images/tmp")).is_empty());
    store.prune(true).unwrap();
    assert!(files(&dir.path().join("images/blobs/sha256")).is_empty());
}

#[test]
fn a_damaged_blob_is_noticed() {
    let (_dir, store) = store();
    let image = commit(&store, None, "f", Some("x"));
    fs::write(store.blob(&image.id), "{}").unwrap();
    assert!(store.resolve("x").unwrap_err().message.contains("damaged"));
    // And nothing is swept away on the word of such a store.
    assert!(store.prune(false).is_err());
    assert!(image.layers[0].exists());
}
