//! Two lives and their comparison.

use std::collections::{BTreeMap, HashMap};
use std::thread;

use harness::{Answer, Names, Node, Plugin, State, Suite, sh, skip};
use serde_json::{Value, json};

use crate::chain;
use crate::differences::{comparable, has_changed_since, is_wanted_everywhere, matches, of_today};
use crate::row::{Difference, Extent, Row, Step};

/// Lives every row with both suites, all rows before the verdict.
pub(crate) fn assert_alike(rows: Vec<Row>) {
    let (comparable, skipped): (Vec<&Row>, _) = rows.iter().partition(|row| !row.is_newer || Suite::has_newer());
    if !Vec::is_empty(&skipped) {
        skip("no newer Go suite: make newer-go has not found one");
    }
    let failures: Vec<String> = comparable.into_iter().filter_map(verdict).collect();
    assert!(failures.is_empty(), "{} rows differ (- Go, + ours)\n{}", failures.len(), failures.join("\n"));
}

/// How many lines of a row's differences are worth reading.
const SHOWN: usize = 40;

/// The suite to compare with. For chained plugins that is the newest: Debian's stable release has mistakes in most of
/// them that have been mended since.
fn peer(row: &Row) -> Suite {
    if (row.is_newer || row.previous.is_some()) && Suite::has_newer() { Suite::Newer } else { Suite::Go }
}

fn verdict(row: &Row) -> Option<String> {
    let peer = peer(row);
    let (go, ours) = thread::scope(|scope| {
        let go = scope.spawn(|| live(row, peer));
        let ours = live(row, Suite::Ours);
        (go.join().expect("the Go suite's life ends well"), ours)
    });
    let found = difference(&go, &ours);
    let mut lines = undeclared(row, &found);
    if peer == Suite::Go && row.previous.is_some() {
        lines.retain(|line| !has_changed_since(line));
    } else if !Suite::are_same() {
        lines.extend(row.differences.iter().flat_map(|difference| absent(difference, &found)));
    }
    let more = lines.len().saturating_sub(SHOWN);
    let shown = lines.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("\n  ");
    (!lines.is_empty()).then(|| format!("{} {}\n  {shown}\n  and {more} more", row.name, row.config))
}

/// The differences that nobody has declared.
fn undeclared(row: &Row, found: &[String]) -> Vec<String> {
    let declared = || row.differences.iter().flat_map(|difference| difference.lines);
    let expected = |line: &&String| is_wanted_everywhere(line) || declared().any(|glob| matches(glob, line));
    found.iter().filter(|line| !expected(line)).cloned().collect()
}

/// The declared differences that did not come.
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
        node.netns("c1");
        if row.needs_c2() {
            node.netns("c2");
        }
        let mut life = Life { row, suite, results: HashMap::new() };
        let random = format!("{} {:?}", row.config, row.env);
        if row.previous.is_some() {
            chain::set_the_stage(row);
        }
        if !row.prepare.is_empty() {
            sh(row.prepare);
        }
        let (mut lines, mut last) = (Vec::new(), None);
        for (number, step) in row.steps.iter().enumerate() {
            let answer = life.step(*step);
            let prefix = format!("{} {step:?}: ", number + 1);
            let seen = (last.is_none() || row.looks_after(*step)).then(|| node.state_keeping(&random));
            lines.extend(seen.iter().flat_map(State::facts).map(|fact| format!("{prefix}state {fact}")));
            last = seen.or(last);
            let names = last.iter().map(State::names);
            let told = answer.iter().zip(names).flat_map(|(answer, names)| told(answer, names));
            lines.extend(told.map(|line| prefix.clone() + &line));
        }
        lines
    });
    let plugins = format!("{}]", suite.dir().display());
    let lines = lines.into_iter().map(|line| comparable(line).replace(&plugins, "(plugins)]"));
    if suite == Suite::Ours && !Suite::are_same() { lines.collect() } else { lines.map(of_today).collect() }
}

struct Life<'a> {
    row: &'a Row,
    suite: Suite,
    /// What the last ADD of a container that succeeded has said.
    results: HashMap<&'static str, Value>,
}

impl Life<'_> {
    fn step(&mut self, step: Step) -> Option<Answer> {
        let (verb, container, netns) = match step {
            Step::Call(verb, container) => (verb, container, format!("/run/netns/{container}")),
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

    /// ADD hears of the plugins before this one, the other verbs of all.
    fn previous(&self, verb: &str, container: &str) -> Option<Value> {
        let result = self.results.get(container).filter(|_| verb != "ADD").cloned();
        result.or_else(|| self.row.previous.as_ref().map(|previous| chain::about(previous, container)))
    }

    /// The call, with the result of ADD where the protocol passes it on.
    fn plugin(&self, verb: &str, container: &str, netns: &str) -> Plugin {
        let mut config = self.row.config.clone();
        if let Some(result) = self.previous(verb, container) {
            config.as_object_mut().expect("an object").entry("prevResult").or_insert(result);
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
