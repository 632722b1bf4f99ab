//! The cache's files.

use std::fs::{self, File, FileTimes};
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

use serde_json::json;
use tempfile::TempDir;

use super::{Node, conf, list, parse, write};
use crate::runtime::{Cache, ConfList, RuntimeConf};

/// Every member, as libcni writes them: its own order outside, the alphabet's within.
const FULL: &str = concat!(
    r#"{"kind":"cniCacheV1","containerId":"cid1","#,
    r#""config":"eyJuYW1lIjogIm4xIiwgImNuaVZlcnNpb24iOiAiMS4xLjAiLCAicGx1Z2lucyI6IFt7InR5cGUiOiAiYSJ9XX0K","#,
    r#""ifName":"eth0","networkName":"n1","netns":"/run/netns/c1","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAME","p"]],"#,
    r#""capabilityArgs":{"aliases":["a\u0026b"],"portMappings":[{"containerPort":80,"hostPort":8080}]},"#,
    r#""result":{"cniVersion":"1.1.0","dns":{"nameservers":["10.0.0.1"]},"interfaces":[{"mac":"aa:bb:cc:dd:ee:ff","name":"eth0","#,
    r#""sandbox":"/run/netns/c1"}],"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","interface":0}],"#,
    r#""routes":[{"dst":"0.0.0.0/0"}]}}"#
);

const ANSWER: &str = r#"{"cniVersion": "1.1.0", "interfaces": [{"name": "eth0", "mac": "aa:bb:cc:dd:ee:ff", "sandbox": "/run/netns/c1"}],
    "ips": [{"interface": 0, "address": "10.0.0.2/24", "gateway": "10.0.0.1"}], "routes": [{"dst": "0.0.0.0/0"}],
    "dns": {"nameservers": ["10.0.0.1"]}}"#;

fn full_conf() -> RuntimeConf {
    let capability_args = json!({"portMappings": [{"hostPort": 8080, "containerPort": 80}], "aliases": ["a&b"]});
    RuntimeConf {
        args: vec![("IgnoreUnknown".to_owned(), "1".to_owned()), ("K8S_POD_NAME".to_owned(), "p".to_owned())],
        capability_args: capability_args.as_object().unwrap().clone(),
        ..conf()
    }
}

#[test]
fn a_record_has_libcni_s_bytes() {
    let node = Node::new(&["a"]);
    node.answer("a", "ADD", ANSWER);
    let text = "{\"name\": \"n1\", \"cniVersion\": \"1.1.0\", \"plugins\": [{\"type\": \"a\"}]}\n";
    node.runtime.add(&ConfList::from_slice(text.as_bytes()).unwrap(), &full_conf()).unwrap();
    assert_eq!(fs::read_to_string(node.record()).unwrap(), FULL);
}

/// What containerd 1.6 left for these two plugins, one of which gave this answer.
#[test]
fn a_record_has_containerd_s_bytes() {
    let node = Node::new(&["fake"]);
    node.answer(
        "fake",
        "ADD",
        r#"{"cniVersion":"1.0.0","interfaces":[{"name":"eth0","mac":"aa:bb:cc:dd:ee:ff","sandbox":"x&y"}],
            "ips":[{"interface":0,"address":"10.0.0.2/24","gateway":"10.0.0.1"}],
            "routes":[{"dst":"0.0.0.0/0"}],"dns":{"nameservers":["10.0.0.1"]}}"#,
    );
    let text = concat!(
        r#"{"name": "n1", "cniVersion": "1.0.0", "plugins": [{"type": "fake", "z": 1.0, "a": "<"}, "#,
        r#"{"type": "fake", "capabilities": {"portMappings": true}}]}"#,
        "\n"
    );
    // That version did not record the namespace yet.
    let bare = RuntimeConf { container_id: "default-cid1".parse().unwrap(), netns: String::new(), ..conf() };
    node.runtime.add(&ConfList::from_slice(text.as_bytes()).unwrap(), &bare).unwrap();
    assert_eq!(
        fs::read_to_string(node.path("cache/results/n1-default-cid1-eth0")).unwrap(),
        concat!(
            r#"{"kind":"cniCacheV1","containerId":"default-cid1","config":"eyJuYW1lIjogIm4xIiwgImNuaVZlcnNpb24iOiAi"#,
            r#"MS4wLjAiLCAicGx1Z2lucyI6IFt7InR5cGUiOiAiZmFrZSIsICJ6IjogMS4wLCAiYSI6ICI8In0sIHsidHlwZSI6ICJmYWtlIiwg"#,
            r#"ImNhcGFiaWxpdGllcyI6IHsicG9ydE1hcHBpbmdzIjogdHJ1ZX19XX0K","ifName":"eth0","networkName":"n1","result":"#,
            r#"{"cniVersion":"1.0.0","dns":{"nameservers":["10.0.0.1"]},"interfaces":[{"mac":"aa:bb:cc:dd:ee:ff","#,
            r#""name":"eth0","sandbox":"x\u0026y"}],"ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","#,
            r#""interface":0}],"routes":[{"dst":"0.0.0.0/0"}]}}"#
        )
    );
    assert_eq!(node.calls()[0].stdin, r#"{"a":"\u003c","cniVersion":"1.0.0","name":"n1","type":"fake","z":1}"#);
}

#[test]
fn empty_members_are_left_out() {
    let node = Node::new(&["a"]);
    node.answer("a", "ADD", "null");
    let bare = RuntimeConf { netns: String::new(), ..conf() };
    node.runtime.add(&list("0.4.0", &["a"]), &bare).unwrap();
    assert_eq!(
        fs::read_to_string(node.record()).unwrap(),
        concat!(
            r#"{"kind":"cniCacheV1","containerId":"cid1","#,
            r#""config":"eyJuYW1lIjoibjEiLCJjbmlWZXJzaW9uIjoiMC40LjAiLCJwbHVnaW5zIjpbeyJ0eXBlIjoiYSJ9XX0=","#,
            r#""ifName":"eth0","networkName":"n1","result":{"cniVersion":"0.4.0","dns":{}}}"#
        )
    );
}

#[test]
fn only_the_owner_may_look() {
    let node = Node::new(&["a"]);
    node.runtime.add(&list("1.1.0", &["a"]), &conf()).unwrap();
    let mode = |name: &str| fs::metadata(node.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("cache"), 0o700);
    assert_eq!(mode("cache/results"), 0o700);
    assert_eq!(mode("cache/results/n1-cid1-eth0"), 0o600);
}

#[test]
fn what_libcni_wrote_comes_back_whole() {
    let node = Node::new(&["a"]);
    write(&node.record(), FULL);
    let attachments = Cache::new(node.path("cache")).attachments(None).unwrap();
    assert_eq!(attachments.len(), 1);
    assert_eq!(attachments[0].network.as_str(), "n1");
    assert_eq!(attachments[0].conf, full_conf());
    let (list, conf) =
        node.runtime.recorded(&"n1".parse().unwrap(), &conf().container_id, &conf().ifname).unwrap().unwrap();
    assert_eq!((list.name(), list.plugins()[0].plugin()), ("n1", "a"));
    assert_eq!(conf, full_conf());
    node.runtime.del(&list, &conf).unwrap();
    let prev = node.calls()[0].config()["prevResult"].clone();
    assert_eq!(prev, serde_json::from_str::<serde_json::Value>(ANSWER).unwrap());
}

#[test]
fn a_reader_sees_the_old_record_or_the_new_one() {
    let node = Node::new(&["a"]);
    let list = list("1.1.0", &["a"]);
    node.runtime.add(&list, &conf()).unwrap();
    let old = fs::read(node.record()).unwrap();
    let mut reader = File::open(node.record()).unwrap();
    node.runtime.add(&list, &full_conf()).unwrap();
    let mut seen = Vec::new();
    reader.read_to_end(&mut seen).unwrap();
    // Written in place, the open file would have the new content, or for an instant none.
    assert_eq!(seen, old);
    assert_ne!(fs::read(node.record()).unwrap(), old);
    assert_eq!(names(&node, "cache"), ["results"], "no temporary file stays");
    assert_eq!(names(&node, "cache/results"), ["n1-cid1-eth0"]);
}

#[test]
fn a_write_that_fails_leaves_no_trace() {
    let node = Node::new(&["a"]);
    fs::create_dir(node.path("cache")).unwrap();
    // A folder in which nobody can create a file.
    symlink("/proc/self", node.path("cache/results")).unwrap();
    let err = node.runtime.add(&list("1.1.0", &["a"]), &conf()).unwrap_err();
    let path = node.record();
    assert_eq!(
        err.msg,
        format!("failed to set network \"n1\" cached result: write {}: no such file or directory", path.display())
    );
    assert_eq!(names(&node, "cache"), ["results"]);
}

#[test]
fn a_results_folder_on_another_filesystem_is_written_too() {
    let node = Node::new(&["a"]);
    let elsewhere = TempDir::new_in("/dev/shm").unwrap();
    fs::create_dir(node.path("cache")).unwrap();
    symlink(elsewhere.path(), node.path("cache/results")).unwrap();
    node.runtime.add(&list("1.1.0", &["a"]), &conf()).unwrap();
    assert_eq!(names(&node, "cache"), ["results"]);
    assert_eq!(names(&node, "cache/results"), ["n1-cid1-eth0"]);
}

#[test]
fn the_listing_passes_over_what_is_no_record() {
    let node = Node::new(&["a"]);
    let of = |name: &str, id: &str, ifname: &str| {
        let list = parse(&json!({"name": name, "cniVersion": "1.1.0", "plugins": [{"type": "a"}]}));
        let conf = RuntimeConf { container_id: id.parse().unwrap(), ifname: ifname.parse().unwrap(), ..conf() };
        node.runtime.add(&list, &conf).unwrap();
    };
    of("n2", "cid1", "eth1");
    of("n1", "cid2", "eth0");
    of("n1", "cid1", "eth0");
    let good = fs::read_to_string(node.record()).unwrap();
    let results = node.path("cache/results");
    for (name, text) in [
        ("n1-empty-eth0", String::new()),
        ("n1-legacy-eth0", super::result("1.1.0", 1).to_string()),
        ("n1-cut-eth0", good[..good.len() - 1].to_owned()),
        ("n1-kind-eth0", good.replace("cniCacheV1", "cniCacheV2")),
        ("n1-noif-eth0", good.replace("\"ifName\":\"eth0\",", "")),
        ("n1-nonet-eth0", good.replace("\"networkName\":\"n1\",", "")),
        ("n1-path-eth0", good.replace("\"containerId\":\"cid1\"", "\"containerId\":\"../x\"")),
        (".result-1-2-3", good),
    ] {
        write(&results.join(name), &text);
    }
    fs::create_dir(results.join("n1-folder-eth0")).unwrap();
    let cache = Cache::new(node.path("cache"));
    let found = |id: Option<&str>| {
        let id = id.map(|id| id.parse().unwrap());
        let found = cache.attachments(id.as_ref()).unwrap().into_iter();
        found
            .map(|found| format!("{} {} {}", found.network, found.conf.container_id, found.conf.ifname))
            .collect::<Vec<_>>()
    };
    assert_eq!(found(None), ["n1 cid1 eth0", "n1 cid2 eth0", "n2 cid1 eth1"]);
    assert_eq!(found(Some("cid1")), ["n1 cid1 eth0", "n2 cid1 eth1"]);
    assert!(found(Some("cid")).is_empty());
}

#[test]
fn no_folder_is_an_empty_cache_and_an_unreadable_one_an_error() {
    let dir = TempDir::new().unwrap();
    let cache = Cache::new(dir.path());
    assert!(cache.attachments(None).unwrap().is_empty());
    write(&dir.path().join("results"), "");
    let err = cache.attachments(None).unwrap_err();
    assert_eq!(err.msg, format!("open {}/results: not a directory", dir.path().display()));
}

#[test]
fn temporary_files_of_the_dead_are_swept_and_those_of_the_living_are_not() {
    let node = Node::new(&["a"]);
    let hours_ago = FileTimes::new().set_modified(SystemTime::now() - Duration::from_secs(2 * 3600));
    let place = |name: &str, old: bool| {
        write(&node.path(name), "{}");
        if old {
            File::options().write(true).open(node.path(name)).unwrap().set_times(hours_ago).unwrap();
        }
    };
    place("cache/.result-1-2-3", true);
    place("cache/results/.result-1-2-4", true);
    place("cache/.result-1-2-5", false);
    place("cache/other", true);
    place("cache/results/n9-cid-eth0", true);
    node.runtime.gc(&list("1.1.0", &["a"]), Some(&[])).unwrap();
    assert_eq!(names(&node, "cache"), [".result-1-2-5", "other", "results"]);
    assert_eq!(names(&node, "cache/results"), ["n9-cid-eth0"]);
}

fn names(node: &Node, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(node.path(folder)).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
