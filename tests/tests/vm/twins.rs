//! The same calls to our plugins and to the newest Go suite, each in a node and a container of its own, and what comes of
//! them compared: every answer, and links, addresses, routes and VLANs after every step.
//!
//! A smaller sibling of the table in `parity`, which looks at everything; here a look is two processes.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use harness::{Netns, Node, Plugin, Suite, run, skip};
use serde_json::{Deserializer, Value, json};

/// A configuration, and what is done with it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) plugin: &'static str,
    pub(crate) config: Value,
    /// Commands of `ip` in the container, before anything else.
    pub(crate) container: Vec<&'static str>,
    /// Commands of `ip` on the node.
    pub(crate) node: &'static str,
    pub(crate) steps: &'static [Step],
    /// Whether it does anything on the node.
    pub(crate) looks_at_node: bool,
    /// Lines in which the lives differ, for a reason: `- ` is the Go suite's, `+ ` ours. A line stands for all that
    /// contain it.
    pub(crate) differences: &'static [&'static str],
}

/// Something that is done in both lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A verb.
    Call(&'static str),
    /// A verb with a netns path that does not exist.
    Lost(&'static str),
    /// A command of `ip` in the container.
    Ip(&'static str),
}

pub(crate) const ADD: Step = Step::Call("ADD");
pub(crate) const CHECK: Step = Step::Call("CHECK");
pub(crate) const DEL: Step = Step::Call("DEL");

impl Row {
    pub(crate) fn new(plugin: &'static str, name: &'static str, mut config: Value) -> Self {
        let members = config.as_object_mut().expect("a configuration is an object");
        for (key, value) in [("cniVersion", "1.0.0"), ("name", "net"), ("type", plugin)] {
            members.entry(key).or_insert_with(|| json!(value));
        }
        Self {
            name,
            plugin,
            config,
            container: Vec::new(),
            node: "",
            steps: &[ADD, CHECK, DEL, DEL],
            looks_at_node: false,
            differences: &[],
        }
    }
}

/// Lives every row with both suites, all rows before the verdict.
pub(crate) fn assert_alike(rows: &[Row]) {
    if !Suite::has_newer() {
        return skip("no newer Go suite: make newer-go has not found one");
    }
    let verdicts = Node::run_messy(|node| {
        let verdict = |row: &Row| difference(row, &live(node, row, Suite::Newer), &live(node, row, Suite::Ours));
        rows.iter().flat_map(verdict).collect::<Vec<_>>()
    });
    assert!(verdicts.is_empty(), "(- Go, + ours)\n{}", verdicts.join("\n"));
}

/// The differences that nobody has declared, and the declared ones that did not come.
fn difference(row: &Row, go: &[String], ours: &[String]) -> Vec<String> {
    let mut balance: BTreeMap<&String, i32> = BTreeMap::new();
    go.iter().for_each(|line| *balance.entry(line).or_default() -= 1);
    ours.iter().for_each(|line| *balance.entry(line).or_default() += 1);
    let found: Vec<String> = balance
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .map(|(line, count)| format!("{} {line}", if count < 0 { '-' } else { '+' }))
        .collect();
    let is_declared = |line: &&String| row.differences.iter().any(|declared| fits(declared, line));
    let came = |declared: &&&str| found.iter().any(|line| fits(declared, line));
    let undeclared = found.iter().filter(|line| !is_declared(line)).cloned();
    let missing = row.differences.iter().filter(|declared| !came(declared)).map(|line| format!("did not come: {line}"));
    undeclared.chain(missing).map(|line| format!("{}: {line}", row.name)).collect()
}

fn fits(declared: &str, line: &str) -> bool {
    declared[..2] == line[..2] && line[2..].contains(&declared[2..])
}

/// Everything observable of one life, a line a fact, each beginning with its step.
fn live(node: &Node, row: &Row, suite: Suite) -> Vec<String> {
    // A namespace costs as much as a few processes.
    let host = row.looks_at_node.then(|| node.netns("h1"));
    let container = node.netns("c1");
    if let Some(host) = &host {
        batch(host, row.node);
    }
    batch(&container, &row.container.join("\n"));
    let mut life = Life { row, suite, host: host.as_ref(), result: row.config.get("prevResult").cloned() };
    let mut lines = Vec::new();
    for (number, step) in row.steps.iter().enumerate() {
        let said = match *step {
            Step::Ip(command) => {
                batch(&container, command);
                Vec::new()
            }
            Step::Call(verb) => life.call(verb, container.path()),
            Step::Lost(verb) => life.call(verb, "/run/netns/lost"),
        };
        // A look takes longer than a call, and of these none changes anything in either suite.
        let is_idle = *step == CHECK || (number > 0 && row.steps[number - 1] == DEL);
        let facts = if is_idle { Vec::new() } else { life.facts(&container) };
        lines.extend(said.iter().chain(&facts).map(|line| format!("{} {step:?}: {}", number + 1, tidy(line))));
    }
    host.iter().chain([&container]).for_each(Netns::vanish);
    let _ = fs::remove_dir_all("/var/lib/cni/networks");
    lines
}

struct Life<'a> {
    row: &'a Row,
    suite: Suite,
    host: Option<&'a Netns>,
    /// What ADD has said.
    result: Option<Value>,
}

impl Life<'_> {
    /// A call from the node, with the result that the protocol hands on, and its answer as lines.
    fn call(&mut self, verb: &str, netns: &str) -> Vec<String> {
        let mut config = self.row.config.clone();
        if let Some(result) = &self.result {
            config["prevResult"] = result.clone();
        }
        let plugin = Plugin::of(self.suite, self.row.plugin).config(&config).env("CNI_NETNS", netns);
        let answer = self.host.map_or_else(|| plugin.call(verb), |host| host.enter(|| plugin.call(verb)));
        if verb == "ADD" && answer.succeeded() {
            self.result = Some(answer.ok());
        }
        let mut lines = vec![format!("succeeded={}", answer.succeeded())];
        for document in answer.documents() {
            flatten("answer", &document, &mut lines);
        }
        lines.retain(|line| !line.contains(".mac=") && !line.starts_with("answer.details="));
        lines
    }

    fn facts(&self, container: &Netns) -> Vec<String> {
        let on_node = self.host.map(|host| facts("node", host)).unwrap_or_default();
        [on_node, facts("c1", container)].concat()
    }
}

fn batch(netns: &Netns, commands: &str) {
    if !commands.is_empty() {
        let output = netns.enter(|| run(Command::new("ip").args(["-batch", "-"]), commands.as_bytes()));
        assert!(output.status.success(), "{commands}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, lines))
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, item)| flatten(&format!("{path}[{index}]"), item, lines))
        }
        leaf => lines.push(format!("{path}={leaf}")),
    }
}

/// Random names of links replaced.
fn tidy(line: &str) -> String {
    let mut rest = line;
    let mut tidied = String::new();
    while let Some(at) = rest.find("veth") {
        let (before, name) = rest.split_at(at);
        let digits = name[4..].bytes().take(8).take_while(u8::is_ascii_hexdigit).count();
        tidied = tidied + before + "veth";
        rest = &name[4 + if digits == 8 { 8 } else { 0 }..];
    }
    tidied + rest
}

fn facts(place: &str, netns: &Netns) -> Vec<String> {
    let output = netns.enter(|| {
        let ip = b"address show\nroute show table all\n";
        let output = run(Command::new("ip").args(["-j", "-d", "-batch", "-"]), ip);
        String::from_utf8(output.stdout).expect("ip prints UTF-8")
    });
    let mut answers = Deserializer::from_str(&output).into_iter::<Value>();
    let mut next = || answers.next().expect("an answer").expect("JSON");
    let (links, routes) = (next(), next());
    let mut lines: Vec<String> = array(&links).flat_map(link).chain(array(&routes).filter_map(route)).collect();
    if array(&links).any(|link| link["linkinfo"]["info_data"]["vlan_filtering"] == 1) {
        lines.extend(vlans(netns));
    }
    lines.sort();
    lines.iter().map(|line| format!("{place} {line}")).collect()
}

/// The VLANs of all ports, a line each.
pub(crate) fn vlans(netns: &Netns) -> Vec<String> {
    let output = netns.enter(|| run(Command::new("bridge").args(["-j", "vlan", "show"]), b""));
    let all: Value = serde_json::from_slice(&output.stdout).expect("bridge prints JSON");
    let flags = |vlan: &Value| array(&vlan["flags"]).map(|flag| format!(" {}", text(flag))).collect::<String>();
    let line = |name: &str, vlan: &Value| format!("vlan {name} {}{}", vlan["vlan"], flags(vlan));
    array(&all).flat_map(|port| array(&port["vlans"]).map(|vlan| line(text(&port["ifname"]), vlan))).collect()
}

fn link(link: &Value) -> Vec<String> {
    let name = text(&link["ifname"]);
    let up = array(&link["flags"]).any(|flag| flag == "UP");
    let info = &link["linkinfo"];
    let mut lines = vec![format!(
        "link {name} kind={} up={up} mtu={} master={} table={} filtering={}",
        info["info_kind"], link["mtu"], link["master"], info["info_data"]["table"], info["info_data"]["vlan_filtering"]
    )];
    let addresses = array(&link["addr_info"]).filter(|address| address["scope"] == "global");
    lines.extend(
        addresses.map(|address| format!("address {name} {}/{}", text(&address["local"]), address["prefixlen"])),
    );
    lines
}

/// A route, unless the kernel gives and takes it with time.
fn route(route: &Value) -> Option<String> {
    let dst = text(&route["dst"]);
    let comes_and_goes = ["fe80:", "ff00:"].iter().any(|prefix| dst.starts_with(prefix)) || route["type"] == "anycast";
    let mut members = route.as_object().cloned().unwrap_or_default();
    members.remove("flags");
    (!comes_and_goes).then(|| format!("route {}", Value::Object(members)))
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
