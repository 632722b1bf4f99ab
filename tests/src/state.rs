//! Everything that plugins can change, as lines of text.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

use crate::files;
use crate::links::Links;
use crate::netns::Netns;
use crate::normal::Names;
use crate::owned::is_owned;
use crate::{conntrack, qdiscs, rulesets, sysctls};

/// A snapshot of the node and its namespaces: sorted facts, each a line that begins with its place, and the names that
/// were replaced in them.
#[derive(Clone, Debug)]
pub struct State {
    facts: Vec<String>,
    names: Names,
}

/// Where plugins and runtimes keep files.
const DIRECTORIES: [&str; 3] = ["/run/cni", "/run/xnet", "/var/lib/cni"];

impl State {
    /// Reads the calling thread's namespace and those given.
    pub(crate) fn read(others: &[Netns], keep: &str) -> Self {
        let look = Look::here();
        let node = settled(look);
        let inside: Vec<Links> = others.iter().map(|netns| netns.enter(|| settled(look))).collect();
        let mut names = Names::default();
        for links in std::iter::once(&node).chain(&inside) {
            names.learn(&links.links, keep);
        }
        let mut facts = Vec::new();
        at("node", &mut facts, place(look, &node, &names));
        at("node", &mut facts, DIRECTORIES.iter().flat_map(|dir| files::lines(dir.as_ref())).collect());
        for (netns, links) in others.iter().zip(&inside) {
            at(netns.name(), &mut facts, netns.enter(|| place(look, links, &names)));
        }
        facts.sort();
        Self { facts, names }
    }

    /// The names that hold for texts of the same moment.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The facts, sorted.
    #[must_use]
    pub fn facts(&self) -> &[String] {
        &self.facts
    }

    /// What is here and not there (`- `) and what is there and not here (`+ `).
    #[must_use]
    pub fn difference(&self, other: &Self) -> Vec<String> {
        difference(&self.facts, &other.facts)
    }

    /// Whether some fact contains the text.
    #[must_use]
    pub fn has(&self, text: &str) -> bool {
        self.facts.iter().any(|fact| fact.contains(text))
    }

    /// The facts that belong to an attachment and were not there before. What is shared (bridges with their addresses,
    /// forwarding, base chains, a pool's memory of the last address) stays by design.
    #[must_use]
    pub fn left_since(&self, before: &Self) -> Vec<String> {
        let change = before.difference(self);
        let is_left = |fact: &str| is_owned(fact) && !before.is_first_setting(fact);
        change.into_iter().filter(|line| line.strip_prefix("+ ").is_some_and(is_left)).collect()
    }

    /// Whether it is a setting that had no value, since its namespace was not there.
    fn is_first_setting(&self, fact: &str) -> bool {
        let key = fact.split_inclusive('=').next().unwrap_or_default();
        key.contains(": sysctl ") && !self.facts.iter().any(|fact| fact.starts_with(key))
    }
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.facts.iter().try_for_each(|fact| writeln!(out, "{fact}"))
    }
}

/// How much a look takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// Everything that plugins can change.
    Whole,
    /// Links with their sysctls, addresses, routes and files: one process a namespace, where the whole takes four and more.
    Quick,
}

impl Look {
    /// In the virtual machine of `tests/vm` a process takes some fifty milliseconds, and the stories that play there are about
    /// links; packet filters and the like are looked at where processes are quick.
    fn here() -> Self {
        if env::var_os("XNET_VM").is_some() { Self::Quick } else { Self::Whole }
    }
}

fn place(look: Look, links: &Links, names: &Names) -> Vec<String> {
    let mut lines = links.lines(names);
    lines.extend(sysctls::lines(look, names));
    if look == Look::Whole {
        lines.extend(rulesets::lines(names));
        lines.extend(qdiscs::lines(names));
        lines.extend(conntrack::lines());
    }
    lines
}

fn at(place: &str, facts: &mut Vec<String>, lines: Vec<String>) {
    facts.extend(lines.into_iter().map(|line| format!("{place}: {line}")));
}

/// The links once no address is tentative, or after a second: without carrier it stays so. There is an event for it,
/// but who subscribes after the question may have missed it.
fn settled(look: Look) -> Links {
    let deadline = Instant::now() + Duration::from_secs(1);
    loop {
        let links = Links::read(look);
        if !links.unsettled() || Instant::now() > deadline {
            return links;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Lines only in the first (`- `) and only in the second (`+ `), with their number of occurrences minded.
pub(crate) fn difference(one: &[String], other: &[String]) -> Vec<String> {
    let mut balance: BTreeMap<&String, i64> = BTreeMap::new();
    one.iter().for_each(|line| *balance.entry(line).or_default() -= 1);
    other.iter().for_each(|line| *balance.entry(line).or_default() += 1);
    let lines = balance.into_iter().filter(|(_, count)| *count != 0);
    lines.map(|(line, count)| format!("{} {line}", if count < 0 { '-' } else { '+' })).collect()
}
