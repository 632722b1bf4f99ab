//! Two lives and their comparison.

use std::collections::BTreeMap;
use std::thread;

use harness::{Answer, Names, Netns, Node, Plugin, Suite, sh};
use serde_json::{Value, json};

use crate::row::{Difference, Row, Step};

/// Lines that ours has in every life and the Go suite in none.
const OURS_ALONE: [(&str, &str); 3] = [
    ("+ *: answer.details=*", "errors name the object, where the Go suite says nothing more"),
    ("+ *: state node: directory */.index mode=0700", "a pool has an index, which is a cache"),
    ("+ *: state node: file */.index/*", "a pool has an index, which is a cache"),
];

/// What later releases of the Go suite do in another way than the one compared with here. Ours goes with the later.
fn of_today(line: String) -> String {
    let is_lease = line.contains("state node: file ") && line.contains(" mode=0644 ");
    // Leases could be read by everybody before 1.2.
    if is_lease { line.replacen(" mode=0644 ", " mode=0600 ", 1) } else { line }
}

/// Lives every row with both suites, all rows before the verdict.
pub(crate) fn assert_alike(rows: Vec<Row>) {
    let failures: Vec<String> = rows.iter().filter_map(verdict).collect();
    assert!(failures.is_empty(), "{} rows differ (- Go, + ours)\n{}", failures.len(), failures.join("\n"));
}

fn verdict(row: &Row) -> Option<String> {
    let (go, ours) = thread::scope(|scope| {
        let go = scope.spawn(|| live(row, Suite::Go));
        let ours = live(row, Suite::Ours);
        (go.join().expect("the Go suite's life ends well"), ours)
    });
    let lines = undeclared(row, &difference(&go, &ours));
    (!lines.is_empty()).then(|| format!("{} {}\n  {}", row.name, row.config, lines.join("\n  ")))
}

/// The differences that nobody has declared, and the declared ones that did not come.
fn undeclared(row: &Row, found: &[String]) -> Vec<String> {
    let declared = || row.differences.iter().flat_map(|difference| difference.lines);
    let expected = |line: &&String| is_ours_alone(line) || declared().any(|glob| matches(glob, line));
    let mut lines: Vec<String> = found.iter().filter(|line| !expected(line)).cloned().collect();
    if !Suite::are_same() {
        lines.extend(row.differences.iter().flat_map(|difference| absent(difference, found)));
    }
    lines
}

fn absent(difference: &Difference, found: &[String]) -> Vec<String> {
    let missing = difference.lines.iter().filter(|glob| !found.iter().any(|line| matches(glob, line)));
    missing.map(|glob| format!("did not come ({}): {glob}", difference.reason)).collect()
}

fn is_ours_alone(line: &str) -> bool {
    OURS_ALONE.iter().any(|(glob, _)| matches(glob, line))
}

/// Whether the text is what the pattern says, where `*` is any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(text) = text.strip_prefix(start) else {
        return false;
    };
    text.char_indices().map(|(at, _)| at).chain([text.len()]).any(|at| matches(rest, &text[at..]))
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
    Node::run_messy(|node| {
        let life = Life { row, suite, c1: node.netns("c1"), c2: node.netns("c2") };
        let random = format!("{} {:?}", row.config, row.env);
        sh(row.prepare);
        let mut result = Value::Null;
        let mut lines = Vec::new();
        for (number, step) in row.steps.iter().enumerate() {
            let answer = life.step(*step, &result);
            let state = node.state_keeping(&random);
            let prefix = format!("{} {step:?}: ", number + 1);
            lines.extend(
                answer.iter().flat_map(|answer| told(answer, state.names())).map(|line| prefix.clone() + &line),
            );
            lines.extend(state.facts().iter().map(|fact| format!("{prefix}state {fact}")));
            if let (Step::Call("ADD", "c1"), Some(answer)) = (step, answer)
                && answer.succeeded()
            {
                result = answer.ok();
            }
        }
        if suite == Suite::Go || Suite::are_same() { lines.into_iter().map(of_today).collect() } else { lines }
    })
}

struct Life<'a> {
    row: &'a Row,
    suite: Suite,
    c1: Netns,
    c2: Netns,
}

impl Life<'_> {
    fn step(&self, step: Step, result: &Value) -> Option<Answer> {
        match step {
            Step::Call(verb, "c2") => Some(self.plugin(verb, result).netns(&self.c2).container("c2").call(verb)),
            Step::Call(verb, _) => Some(self.plugin(verb, result).call(verb)),
            Step::Blind(verb) => Some(self.plugin(verb, result).env("CNI_NETNS", "").call(verb)),
            Step::Lost(verb) => Some(self.plugin(verb, result).env("CNI_NETNS", "/run/netns/lost").call(verb)),
            Step::Shell(script) => {
                sh(script);
                None
            }
        }
    }

    /// The call, with the result of the first ADD where the protocol passes it on.
    fn plugin(&self, verb: &str, result: &Value) -> Plugin {
        let mut config = self.row.config.clone();
        if verb != "ADD" && !result.is_null() && config.get("prevResult").is_none() {
            config["prevResult"] = result.clone();
        }
        let mut plugin = Plugin::of(self.suite, self.row.plugin).config(&config).netns(&self.c1);
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
