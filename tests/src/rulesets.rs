//! The packet filter's rules: those made with iptables, in either variant, as `iptables-save` shows them, all others as
//! `nft` does.

use std::collections::HashMap;
use std::fs;
use std::process::Command;

use nftables::helper::{DEFAULT_ARGS, DEFAULT_NFT, get_current_ruleset_raw};
use serde_json::{Map, Value};

use crate::normal::Names;
use crate::process::run;

/// Tables that `iptables` on nf_tables keeps; they are compared in the words of `iptables-save`.
const OF_IPTABLES: [&str; 5] = ["filter", "mangle", "nat", "raw", "security"];

/// The rules of the calling thread's namespace, one a line. Built-in chains of iptables do not count: which of them
/// exist says which tables somebody has looked at.
pub(crate) fn lines(names: &Names) -> Vec<String> {
    let text = get_current_ruleset_raw(DEFAULT_NFT, DEFAULT_ARGS).expect("nft lists the ruleset");
    let nft: Value = serde_json::from_str(&text).expect("nft prints JSON");
    let objects = nft["nftables"].as_array().expect("a list of objects");
    let mut lines = nft_lines(objects);
    for (family, variant) in [("ip", "iptables"), ("ip6", "ip6tables")] {
        if objects.iter().any(|object| object["table"]["family"] == family && is_of_iptables(&object["table"])) {
            lines.extend(xtables_lines(&format!("{variant}-save"), &saved(&format!("{variant}-nft-save"))));
        }
        if has_legacy_tables(family) {
            let command = format!("{variant}-legacy-save");
            lines.extend(xtables_lines(&command, &saved(&command)));
        }
    }
    lines.iter().map(|line| names.text(line)).collect()
}

/// Whether the old kind of tables is in use. It comes into use for a namespace when somebody asks what is in a table.
fn has_legacy_tables(family: &str) -> bool {
    let tables = fs::read_to_string(format!("/proc/thread-self/net/{family}_tables_names"));
    tables.is_ok_and(|names| !names.is_empty())
}

fn saved(command: &str) -> String {
    let output = run(&mut Command::new(command), b"");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("commands print UTF-8")
}

fn xtables_lines(command: &str, text: &str) -> Vec<String> {
    let mut table = "";
    let mut lines = Vec::new();
    let mut places = Places::default();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name;
        } else if line.starts_with("-A ") {
            let chain = line.split(' ').nth(1).unwrap_or_default();
            let place = places.next(&format!("{table} {chain}"));
            lines.push(format!("{command} {table} #{place} {line}"));
        } else if let Some(chain) = line.strip_prefix(':').and_then(|line| line.split_once(" - ")) {
            lines.push(format!("{command} {table} chain {}", chain.0));
        }
    }
    lines
}

fn nft_lines(objects: &[Value]) -> Vec<String> {
    let mut places = Places::default();
    let mut lines = Vec::new();
    for object in objects {
        let Some((kind, body)) = object.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        let table = if kind == "table" { &body["name"] } else { &body["table"] };
        if kind == "metainfo" || in_iptables(&body["family"], table) {
            continue;
        }
        lines.extend(nft_object(kind, body, &mut places));
    }
    lines
}

/// A line for the object, and one for each element when it is a set or a map.
fn nft_object(kind: &str, body: &Value, places: &mut Places) -> Vec<String> {
    let mut body = body.as_object().cloned().unwrap_or_default();
    body.shift_remove("handle");
    let elements = body.shift_remove("elem");
    let home = home(&body);
    let mut lines: Vec<String> = elements
        .iter()
        .flat_map(|elements| elements.as_array().into_iter().flatten())
        .map(|element| format!("nft element {home} {} {element}", body["name"]))
        .collect();
    let place = if kind == "rule" { format!(" #{}", places.next(&home)) } else { String::new() };
    lines.push(format!("nft {kind}{place} {}", Value::Object(body)));
    lines
}

fn home(body: &Map<String, Value>) -> String {
    let part = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    [part("family"), part("table"), part("chain")].join(" ").trim_end().to_owned()
}

fn is_of_iptables(table: &Value) -> bool {
    in_iptables(&table["family"], &table["name"])
}

fn in_iptables(family: &Value, table: &Value) -> bool {
    let is_ip = family == "ip" || family == "ip6";
    is_ip && OF_IPTABLES.iter().any(|name| table == name)
}

/// Numbers the rules of each chain, because their order counts.
#[derive(Default)]
struct Places(HashMap<String, usize>);

impl Places {
    fn next(&mut self, chain: &str) -> usize {
        let place = self.0.entry(chain.to_owned()).or_default();
        *place += 1;
        *place
    }
}
