//! Two lives and their comparison.

use std::collections::{BTreeMap, HashMap};
use std::thread;

use harness::{Answer, Names, Netns, Node, Plugin, Suite, sh};
use serde_json::{Value, json};

use crate::differences::{comparable, is_wanted_everywhere, matches, of_today};
use crate::row::{Difference, Extent, Row, Step};

/// Lives every row with both suites, all rows before the verdict.
pub(crate) fn assert_alike(rows: Vec<Row>) {
    let failures: Vec<String> = rows.iter().filter_map(verdict).collect();
    assert!(failures.is_empty(), "{} rows differ (- Go, + ours)\n{}", failures.len(), failures.join("\n"));
}

/// How many lines of a row's differences are worth reading.
const SHOWN: usize = 40;

fn verdict(row: &Row) -> Option<String> {
    let (go, ours) = thread::scope(|scope| {
        let go = scope.spawn(|| live(row, Suite::Go));
        let ours = live(row, Suite::Ours);
        (go.join().expect("the Go suite's life ends well"), ours)
    });
    let lines = undeclared(row, &difference(&go, &ours));
    let more = lines.len().saturating_sub(SHOWN);
    let shown = lines.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n  ");
    (!lines.is_empty()).then(|| format!("{} {}\n  {shown}\n  and {more} more", row.name, row.config))
}

/// The differences that nobody has declared, and the declared ones that did not come.
fn undeclared(row: &Row, found: &[String]) -> Vec<String> {
    let declared = || row.differences.iter().flat_map(|difference| difference.lines);
    let expected = |line: &&String| is_wanted_everywhere(line) || declared().any(|glob| matches(glob, line));
    let mut lines: Vec<String> = found.iter().filter(|line| !expected(line)).cloned().collect();
    if !Suite::are_same() {
        lines.extend(row.differences.iter().flat_map(|difference| absent(difference, found)));
    }
    lines
}

fn absent(difference: &Difference, found: &[String]) -> Vec<String> {
    let came = |glob: &&&str| found.iter().any(|line| matches(glob, line));
    let lines = difference.lines;
    let missing: Vec<&&str> = match difference.extent {
        Extent::All => lines.iter().filter(|glob| !came(glob)).collect(),
        Extent::Any if lines.iter().any(|glob| came(&glob)) => Vec::new(),
        Extent::Any => lines.iter().take(1).collect(),
    };
    missing.into_iter().map(|glob| format!("did not come ({}): {glob}", difference.reason)).collect()
}

fn difference(go: &[String], ours: &[String]) -> Vec<String> {
    let mut balance: BTreeMap<&String, i32> = BTreeMap::new();
    go.iter().for_each(|line| *balance.entry(line).or_default() -= 1);
    ours.iter().for_each(|line| *balance.entry(line).or_default() += 1);
    let lines = balance.into_iter().filter(|(_, count)| *count != 0);
    lines.map(|(line, count)| format!("{} {line}", if count < 0 { '-' } else { '+' })).collect()
}

/// Everything observable of one life, a line a fact, each beginning with its step.
fn live(row: &Row, suite: Suite) -> Vec<String> {
    let lines = Node::run_messy(|node| {
        let mut life = Life { row, suite, c1: node.netns("c1"), c2: node.netns("c2"), results: HashMap::new() };
        let random = format!("{} {:?}", row.config, row.env);
        sh(row.prepare);
        let mut lines = Vec::new();
        for (number, step) in row.steps.iter().enumerate() {
            let answer = life.step(*step);
            let state = node.state_keeping(&random);
            let prefix = format!("{} {step:?}: ", number + 1);
            lines.extend(
                answer.iter().flat_map(|answer| told(answer, state.names())).map(|line| prefix.clone() + &line),
            );
            lines.extend(state.facts().iter().map(|fact| format!("{prefix}state {fact}")));
        }
        lines
    });
    let plugins = format!("{}]", suite.dir().display());
    let lines = lines.into_iter().map(|line| comparable(line).replace(&plugins, "(plugins)]"));
    if suite == Suite::Go || Suite::are_same() { lines.map(of_today).collect() } else { lines.collect() }
}

struct Life<'a> {
    row: &'a Row,
    suite: Suite,
    c1: Netns,
    c2: Netns,
    /// What the last ADD of a container that succeeded has said.
    results: HashMap<&'static str, Value>,
}

impl Life<'_> {
    fn step(&mut self, step: Step) -> Option<Answer> {
        let (verb, container, netns) = match step {
            Step::Call(verb, "c2") => (verb, "c2", self.c2.path().to_owned()),
            Step::Call(verb, container) => (verb, container, self.c1.path().to_owned()),
            Step::Blind(verb) => (verb, "c1", String::new()),
            Step::Lost(verb) => (verb, "c1", "/run/netns/lost".to_owned()),
            Step::Shell(script) => {
                sh(script);
                return None;
            }
        };
        let answer = self.plugin(verb, container, &netns).call(verb);
        if verb == "ADD" && answer.succeeded() {
            self.results.insert(container, answer.ok());
        }
        Some(answer)
    }

    /// The call, with the result of ADD where the protocol passes it on.
    fn plugin(&self, verb: &str, container: &str, netns: &str) -> Plugin {
        let mut config = self.row.config.clone();
        if let Some(result) = self.results.get(container).filter(|_| verb != "ADD") {
            config.as_object_mut().expect("an object").entry("prevResult").or_insert_with(|| result.clone());
        }
        let mut plugin = Plugin::of(self.suite, self.row.plugin).config(&config).container(container);
        plugin = plugin.env("CNI_NETNS", netns);
        if let Some(text) = self.row.stdin {
            plugin = plugin.stdin(text);
        }
        plugin = self.row.env.iter().fold(plugin, |plugin, (key, value)| plugin.env(key, value));
        self.row.without.iter().fold(plugin, |plugin, key| plugin.without(key))
    }
}

/// An answer as lines. An empty `dns` is no `dns`: the Go suite has printed it in 1.0.0 and prints it no more.
fn told(answer: &Answer, names: &Names) -> Vec<String> {
    let mut lines = vec![format!("succeeded={}", answer.succeeded())];
    for mut document in answer.documents() {
        if document["dns"] == json!({}) {
            document.as_object_mut().expect("an answer is an object").shift_remove("dns");
        }
        flatten("answer", &names.json(&document), &mut lines);
    }
    lines
}

fn flatten(path: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| flatten(&format!("{path}.{key}"), value, lines))
        }
        Value::Array(items) => {
            lines.push(format!("{path} has {} items", items.len()));
            items.iter().enumerate().for_each(|(index, item)| flatten(&format!("{path}[{index}]"), item, lines));
        }
        leaf => lines.push(format!("{path}={leaf}")),
    }
}
