use std::path::Path;

use super::*;
use crate::cli::spec_of;
use crate::state::undo;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn store(dir: &Path) -> Store {
    let dir = |name| dir.join(name);
    Store::open(&Dirs { data: dir("data"), state: dir("state"), netns: dir("netns"), conf: dir("conf") }).unwrap()
}

fn spec(id: &str, label: Option<&str>) -> Spec {
    Spec { id: name(id), name: label.map(name), ..spec_of(&["--net=none", "true"]) }
}

#[test]
fn a_living_container_is_not_abandoned_and_a_dead_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let mine = store.create(&spec("aa11", None)).unwrap();
    assert!(store.abandoned().unwrap().is_empty());
    assert!(store.is_owned(&name("aa11")) && store.own(&name("aa11")).unwrap().is_none());
    drop(mine);
    let left: Vec<_> = store.abandoned().unwrap();
    assert_eq!(left.len(), 1);
    for container in left {
        undo::finish(&store, container, false).unwrap();
    }
    assert!(store.abandoned().unwrap().is_empty());
    assert!(store.ids().unwrap().is_empty(), "a container that was not done is still there");
}

#[test]
fn a_container_that_is_kept_is_found_by_id_name_and_unique_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    for (id, label) in [("abc1", Some("web")), ("abd2", Some("abc")), ("dead", None)] {
        let mut container = store.create(&spec(id, label)).unwrap();
        container.record(&Record::Keep).unwrap();
        undo::finish(&store, container, false).unwrap();
    }
    assert_eq!(store.find("web").unwrap(), name("abc1"));
    assert_eq!(store.find("abd").unwrap(), name("abd2"));
    assert_eq!(store.find("dead").unwrap(), name("dead"));
    // A name comes before the beginning of an id.
    assert_eq!(store.find("abc").unwrap(), name("abd2"));
    assert!(store.find("ab").unwrap_err().message.contains("ambiguous"));
    for unknown in ["x", "", "../dead", ".names", "abc1\n"] {
        assert!(store.find(unknown).unwrap_err().message.contains("no such container"), "{unknown:?}");
    }
    assert!(store.resolve("web").unwrap_err().message.contains("not running"));
}

#[test]
fn a_name_is_taken_once_and_can_be_taken_again_after_its_release() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let first = store.create(&spec("one", Some("web"))).unwrap();
    let error = store.create(&spec("two", Some("web"))).unwrap_err();
    assert!(error.message.contains("in use by container one"), "{error}");
    store.release_name(&name("web"), &name("other")).unwrap();
    assert!(store.create(&spec("two", Some("web"))).is_err());
    undo::finish(&store, first, false).unwrap();
    let second = store.create(&spec("two", Some("web"))).unwrap();
    store.rename(&name("two"), &name("db")).unwrap();
    assert_eq!(store.find("db").unwrap(), name("two"));
    assert!(store.find("web").is_err());
    undo::finish(&store, second, false).unwrap();
    assert!(store.find("db").is_err());
}
