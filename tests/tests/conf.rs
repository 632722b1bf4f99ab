//! The configurations that a user can copy, each of them used.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Node, Plugin, addresses, run};
use serde_json::Value;

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

/// What a runtime gives to the plugin: its own part with the list's name and version.
fn plugins(list: &Value) -> Vec<Value> {
    let plugins = list["plugins"].as_array().expect("a list has plugins").clone();
    plugins
        .into_iter()
        .map(|mut plugin| {
            plugin["name"] = list["name"].clone();
            plugin["cniVersion"] = list["cniVersion"].clone();
            plugin
        })
        .collect()
}

#[test]
fn every_conflist_goes_up_holds_and_goes_down() {
    let lists = conflists();
    assert!(lists.len() >= 3, "{lists:?}");
    for (file, list) in lists {
        Node::run(move |node| {
            let netns = node.netns("c1");
            for config in plugins(&list) {
                let kind = config["type"].as_str().expect("a type").to_owned();
                let plugin = |config: &Value| Plugin::new(&kind).config(config).netns(&netns).container("c1");
                let result = plugin(&config).add().ok();
                assert!(!addresses(&result).is_empty(), "{file}: {result}");
                let mut attached = config.clone();
                attached["prevResult"] = result;
                plugin(&attached).check().ok();
                plugin(&attached).del().ok();
            }
        });
    }
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
