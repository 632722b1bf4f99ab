use super::*;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn info(id: &str, label: Option<&str>) -> Info {
    Info { id: name(id), name: label.map(name), pid: 1 }
}

#[test]
fn a_living_container_is_not_abandoned_and_a_dead_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("state")).unwrap();
    let mine = store.create(&name("aa11"), None).unwrap();
    assert!(store.abandoned().unwrap().is_empty());
    drop(mine);
    let left: Vec<_> = store.abandoned().unwrap();
    assert_eq!(left.len(), 1);
    for container in left {
        store.forget(container).unwrap();
    }
    assert!(store.abandoned().unwrap().is_empty());
}

#[test]
fn containers_are_found_by_id_name_and_unique_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let held: Vec<_> = [("abc1", Some("web")), ("abd2", None), ("dead", None)]
        .iter()
        .map(|(id, label)| {
            let container = store.create(&name(id), label.map(name).as_ref()).unwrap();
            container.publish(&info(id, *label)).unwrap();
            container
        })
        .collect();
    assert_eq!(store.resolve("web").unwrap().id, name("abc1"));
    assert_eq!(store.resolve("abd").unwrap().id, name("abd2"));
    assert!(store.resolve("ab").unwrap_err().message.contains("ambiguous"));
    assert!(store.resolve("x").unwrap_err().message.contains("no running container"));
    drop(held);
    assert!(store.resolve("web").is_err());
}

#[test]
fn a_name_is_taken_once_and_can_be_taken_again_after_its_release() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let first = store.create(&name("one"), Some(&name("web"))).unwrap();
    let error = store.create(&name("two"), Some(&name("web"))).unwrap_err();
    assert!(error.message.contains("in use by container one"), "{error}");
    store.release(&name("web"), &name("other")).unwrap();
    assert!(store.create(&name("two"), Some(&name("web"))).is_err());
    store.release(&name("web"), &name("one")).unwrap();
    store.forget(first).unwrap();
    store.create(&name("two"), Some(&name("web"))).unwrap();
}
