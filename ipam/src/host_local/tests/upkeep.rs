//! GC and STATUS.

use super::*;

fn gc(node: &Node, valid: &[(&str, &str)]) -> Answer {
    let mut config = node.config(&pool());
    let valid: Vec<Value> = valid.iter().map(|(id, ifname)| json!({"containerID": id, "ifname": ifname})).collect();
    config["cni.dev/valid-attachments"] = valid.into();
    node.call("GC", "", &config)
}

#[test]
fn gc_removes_the_leases_of_no_valid_attachment() {
    let node = Node::new();
    node.put("10.1.0.2", "cid1\r\neth0");
    node.put("10.1.0.3", "cid1\r\neth1");
    node.put("10.1.0.4", "cid2\r\neth0");
    node.put("10.1.0.5", "cid1");
    node.put("10.1.0.6", "cid3");
    node.put("10.9.0.7", "cid3\r\neth0");
    node.put("fd00::8", "cid3\r\neth0");
    node.put("10.1.0.9", "");
    node.put("10.1.0.10", "reserved for the printer");
    node.put("10.1.0.11", "two\r\nlines and\r\nmore");
    node.put("README", "cid3");
    assert_eq!(gc(&node, &[("cid1", "eth0"), ("cid2", "eth0")]), Answer { ok: true, text: String::new() });
    let mut left: Vec<_> =
        fs::read_dir(node.file("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    left.sort();
    assert_eq!(left, ["10.1.0.10", "10.1.0.11", "10.1.0.2", "10.1.0.4", "10.1.0.5", "README", "lock"]);
}

#[test]
fn gc_leaves_other_networks_alone() {
    let node = Node::new();
    node.put("10.1.0.2", "cid1\r\neth0");
    fs::create_dir_all(node.data_dir().join("n2")).unwrap();
    fs::write(node.data_dir().join("n2/10.1.0.2"), "cid1\r\neth0").unwrap();
    assert!(gc(&node, &[]).ok);
    assert_eq!(node.lease("10.1.0.2"), None);
    assert!(node.data_dir().join("n2/10.1.0.2").exists());
}

#[test]
fn gc_without_a_list_knows_of_nothing_stale() {
    let node = Node::new();
    node.put("10.1.0.2", "cid1\r\neth0");
    node.put("10.1.0.3", "cid1");
    assert!(node.call("GC", "", &node.config(&pool())).ok);
    assert!(node.lease("10.1.0.2").is_some() && node.lease("10.1.0.3").is_some());
}

#[test]
fn gc_makes_no_directory_and_needs_no_ranges() {
    let node = Node::new();
    assert!(gc(&node, &[]).ok);
    assert!(!node.data_dir().exists());
    node.put("10.1.0.2", "cid1\r\neth0");
    // The ranges may come from the runtime with each ADD, and GC is then called without them.
    let mut config = node.config(&json!({}));
    config["cni.dev/valid-attachments"] = json!([]);
    assert!(node.call("GC", "", &config).ok);
    assert_eq!(node.lease("10.1.0.2"), None);
}

#[test]
fn what_gc_frees_can_be_given_out_again() {
    let node = Node::new();
    let config = node.config(&json!({"subnet": "10.1.0.0/29"}));
    (0..5).for_each(|n| assert!(node.call("ADD", &format!("c{n}"), &config).ok));
    assert!(!node.call("ADD", "new", &config).ok);
    assert!(gc(&node, &[("c0", "eth0"), ("c4", "eth0")]).ok);
    assert_eq!(node.call("ADD", "new", &config).addresses(), ["10.1.0.3/29"]);
}

#[test]
fn status_follows_the_pool() {
    let node = Node::new();
    let config = node.config(&json!({"ranges": [[{"subnet": "10.1.0.0/24"}], [{"subnet": "10.2.0.0/30"}]]}));
    assert_eq!(node.call("STATUS", "", &config), Answer { ok: true, text: String::new() });
    assert!(!node.data_dir().exists());
    assert!(node.call("ADD", "cid1", &config).ok);
    let full = node.call("STATUS", "", &config);
    assert_eq!(full.code(), 50);
    assert_eq!(full.msg(), "no IP addresses available in range set: 10.2.0.1-10.2.0.2");
    assert!(full.details().starts_with("1 of 1 in use"), "{}", full.details());
    node.call("DEL", "cid1", &config);
    assert!(node.call("STATUS", "", &config).ok);
    // A lease without content is as good as none.
    node.put("10.2.0.2", "");
    assert!(node.call("STATUS", "", &config).ok);
}

#[test]
fn status_knows_a_set_that_never_has_an_address() {
    let node = Node::new();
    let only = json!({"subnet": "10.1.0.0/24", "rangeStart": "10.1.0.1", "rangeEnd": "10.1.0.1"});
    let answer = node.call("STATUS", "", &node.config(&only));
    assert_eq!(answer.code(), 50);
    assert_eq!(answer.msg(), "no IP addresses available in range set: 10.1.0.1-10.1.0.1");
    assert!(answer.details().starts_with("0 of 0 in use"), "{}", answer.details());
}

#[test]
fn status_knows_a_directory_that_can_not_be_used() {
    let node = Node::new();
    let file = node.dir.path().join("file");
    fs::write(&file, "").unwrap();
    for (dir, msg) in [
        (file.join("below"), format!("cannot create lease files in {}: not a directory", file.display())),
        (file.clone(), format!("cannot create lease files in {}: not a directory", file.display())),
    ] {
        let answer = node.call("STATUS", "", &node.config(&json!({"subnet": "10.1.0.0/24", "dataDir": dir})));
        assert_eq!((answer.code(), answer.msg()), (50, msg));
    }
}

#[test]
fn status_without_ranges_looks_at_the_directory_alone() {
    let node = Node::new();
    assert!(node.call("STATUS", "", &node.config(&json!({}))).ok);
}

#[test]
fn status_refuses_a_bad_configuration_as_add_does() {
    let node = Node::new();
    let answer = node.call("STATUS", "", &node.config(&json!({"subnet": "10.1.0.0/31"})));
    assert_eq!(answer.msg(), "invalid range set 0: Network 10.1.0.0/31 too small to allocate from");
}
