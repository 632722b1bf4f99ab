//! The configurations that a user can copy, each of them used.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Echo, Network, Node, Transport, addresses, published, run, with};
use serde_json::{Value, json};

fn conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf")
}

/// The conflists of `conf/`, each with its file name.
fn conflists() -> Vec<(String, Value)> {
    let files = fs::read_dir(conf()).expect("list conf/").flatten().map(|entry| entry.path());
    let lists = files.filter(|path| path.extension().is_some_and(|extension| extension == "conflist"));
    lists
        .map(|path| {
            let text = fs::read_to_string(&path).expect("read a conflist");
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).expect("a conflist is JSON"))
        })
        .collect()
}

const INSIDE: u16 = 7000;
const OUTSIDE: u16 = 8080;

#[test]
fn every_conflist_goes_up_holds_and_goes_down() {
    let lists = conflists();
    assert!(lists.len() >= 4, "{lists:?}");
    for (file, list) in lists {
        Node::run(move |node| {
            let container = node.netns("c1");
            let network = Network::new(&list).asked(published(OUTSIDE, INSIDE));
            let result = network.add(&container).ok();
            assert!(!addresses(&result).is_empty(), "{file}: {result}");
            network.check(&container).ok();
            network.del(&container).ok();
        });
    }
}

/// The runtime's wishes reach the plugins that can fulfil them.
#[test]
fn ports_are_published_and_rates_held_by_the_list_that_says_so() {
    let (_, list) = conflists().into_iter().find(|(file, _)| file == "15-published.conflist").expect("the list");
    Node::run(move |node| {
        let (remote, container) = (node.remote(), node.netns("c1"));
        let wishes = with(published(OUTSIDE, INSIDE), json!({"mac": "0a:58:0a:18:00:07", "ips": ["10.24.0.7"]}));
        let network = Network::new(&list).asked(wishes);
        let result = network.add(&container).ok();
        assert_eq!(addresses(&result)[0].to_string(), "10.24.0.7");
        let state = node.state_keeping("0a:58:0a:18:00:07");
        for fact in ["c1: link eth0 address=0a:58:0a:18:00:07", r#""rate":10000000"#, "ip_unprivileged_port_start=0"] {
            assert!(state.has(fact), "{fact}\n{state}");
        }
        let echo = Echo::start(&container, INSIDE);
        for (transport, host) in
            Transport::ALL.iter().flat_map(|one| ["192.0.2.1", "2001:db8::1"].map(|host| (one, host)))
        {
            let host = SocketAddr::new(host.parse().expect("an address"), OUTSIDE);
            remote.enter(|| transport.ask(host)).unwrap_or_else(|error| panic!("{transport:?} to {host}: {error}"));
        }
        drop(echo);
        network.del(&container).ok();
    });
}

#[test]
fn containerd_takes_its_part() {
    let file = conf().join("containerd.toml");
    let output = run(Command::new("containerd").arg("--config").arg(&file).args(["config", "dump"]), b"");
    let dump = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    // containerd drops what it does not understand, so its own reading has to hold what the file says.
    let text = fs::read_to_string(&file).expect("read the file");
    let said: Vec<&str> = text.lines().map(str::trim).filter(|line| line.contains("_dir = ")).collect();
    assert_eq!(said.len(), 2, "{text}");
    for line in said {
        assert!(dump.lines().any(|dumped| dumped.trim() == line), "{line} in {dump}");
    }
    let table = text.lines().find(|line| line.starts_with('[')).expect("a table");
    assert!(dump.lines().any(|dumped| dumped.trim() == table), "{table} in {dump}");
}
