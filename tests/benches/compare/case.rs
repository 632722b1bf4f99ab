//! A case: a chain of plugins, called in pairs.

use harness::{Netns, Node, Suite};
use serde_json::Value;

use crate::call::Verb;
use crate::host::{Container, Host, Member, Quantity};
use crate::mappings;
use crate::measurement::Measurement;
use crate::row::{Goals, Row, Section};
use crate::settle::settle;
use crate::side::Side;

/// Rounds in which memory is looked at, at most. It hardly varies.
const MEMORY_ROUNDS: usize = 4;

/// The host port of round 0; each round has one of its own, in case that the attachment stays.
const FIRST_PORT: u16 = 8000;

pub(crate) struct Case {
    name: &'static str,
    chain: Vec<Member>,
    sides: [Side; 2],
    goals: Goals,
    one_in: usize,
    has_neighbour: bool,
    is_first_call: bool,
    scene: fn(&Netns),
}

/// How many rounds there are, after the first, which is not counted.
#[derive(Clone, Copy)]
struct Rounds {
    time: usize,
    memory: usize,
}

/// What the calls of a round gave: by verb, then by side.
type Round = [[f64; 2]; 2];

impl Case {
    /// Ours against the Go suite.
    pub(crate) fn new(name: &'static str, chain: Vec<Member>) -> Self {
        let goals = Goals { add: None, del: None, memory: None };
        let sides = [Side::ours("ours"), Side::of(Suite::Go, "go").second()];
        Self { name, chain, sides, goals, one_in: 1, has_neighbour: false, is_first_call: false, scene: |_| {} }
    }

    /// Other sides.
    pub(crate) fn between(mut self, [first, second]: [Side; 2]) -> Self {
        self.sides = [first, second.second()];
        self
    }

    pub(crate) fn goals(mut self, goals: Goals) -> Self {
        self.goals = goals;
        self
    }

    /// Only a part of the pairs, because the case is slow.
    pub(crate) fn one_in(mut self, part: usize) -> Self {
        self.one_in = part;
        self
    }

    /// The attachment of the first round stays, so that bridges have a port, as on a node in use.
    pub(crate) fn neighbour(mut self) -> Self {
        self.has_neighbour = true;
        self
    }

    /// Each ADD is the first that meets the leases.
    pub(crate) fn first_calls(mut self) -> Self {
        self.is_first_call = true;
        self
    }

    /// What is made of every namespace, hosts and containers alike, before anything happens.
    pub(crate) fn scene(mut self, scene: fn(&Netns)) -> Self {
        self.scene = scene;
        self
    }

    fn play(&self, node: &Node, rounds: Rounds, rows: &mut Vec<Row>) -> Result<(), String> {
        settle(node);
        let stage = Stage::build(node, self, 1 + rounds.time + rounds.memory);
        let outcome = self.act(&stage, rounds, rows);
        stage.clear();
        outcome
    }

    fn act(&self, stage: &Stage<'_>, rounds: Rounds, rows: &mut Vec<Row>) -> Result<(), String> {
        if self.has_neighbour {
            stage.add(0, Quantity::Time)?;
        } else {
            stage.round(0, Quantity::Time)?;
        }
        stage.hosts.iter().zip(&stage.netns[0]).try_for_each(|(host, netns)| mappings::populate(host, netns))?;
        let timed = 1..=rounds.time;
        let times: Result<Vec<_>, _> = timed.map(|round| stage.round(round, Quantity::Time)).collect();
        self.add_times(&times?, rows);
        let weighed = rounds.time + 1..=rounds.time + rounds.memory;
        let peaks: Result<Vec<_>, _> = weighed.map(|round| stage.round(round, Quantity::Memory)).collect();
        self.add_peaks(&peaks?, rows);
        Ok(())
    }

    fn add_times(&self, times: &[Round], rows: &mut Vec<Row>) {
        let section = if self.is_of_one_suite() { Section::Growth } else { Section::Time };
        for (verb, goal) in [(Verb::Add, self.goals.add), (Verb::Del, self.goals.del)] {
            if verb == Verb::Add || !self.is_first_call {
                let pairs = times.iter().map(|round| round[verb as usize]).collect();
                rows.push(Row { section, name: format!("{}  {}", self.name, verb.name()), pairs, goal });
            }
        }
    }

    /// The larger of ADD and DEL.
    fn add_peaks(&self, peaks: &[Round], rows: &mut Vec<Row>) {
        if peaks.is_empty() {
            return;
        }
        let pairs = peaks.iter().map(|[add, del]| [add[0].max(del[0]), add[1].max(del[1])]).collect();
        rows.push(Row {
            section: Section::Memory,
            name: format!("{}  peak", self.name),
            pairs,
            goal: self.goals.memory,
        });
    }

    fn is_of_one_suite(&self) -> bool {
        self.sides.iter().all(|side| side.suite == Suite::Ours)
    }
}

impl Measurement for Case {
    fn name(&self) -> &'static str {
        self.name
    }

    fn suites(&self) -> [Suite; 2] {
        self.sides.each_ref().map(|side| side.suite)
    }

    fn measure(&self, pairs: usize, rows: &mut Vec<Row>) -> Result<(), String> {
        let part = |rounds: usize| (rounds / self.one_in).max(1);
        let rounds = Rounds { time: part(pairs), memory: if self.is_of_one_suite() { 0 } else { part(MEMORY_ROUNDS) } };
        Node::run_messy(|node| self.play(node, rounds, rows))
    }
}

/// A case with its hosts, and the containers' namespaces of its rounds, two for each.
struct Stage<'a> {
    case: &'a Case,
    hosts: [Host<'a>; 2],
    netns: Vec<[Netns; 2]>,
}

impl<'a> Stage<'a> {
    fn build(node: &Node, case: &'a Case, rounds: usize) -> Self {
        let hosts = case.sides.each_ref().map(|side| Host::boot(node, side));
        let netns = |round: usize| case.sides.each_ref().map(|side| node.netns(&format!("{}-{round}", side.name)));
        let netns: Vec<_> = (0..rounds).map(netns).collect();
        hosts.iter().map(|host| &host.netns).chain(netns.iter().flatten()).for_each(case.scene);
        Self { case, hosts, netns }
    }

    /// ADD by both sides, then DEL by both.
    fn round(&self, round: usize, quantity: Quantity) -> Result<Round, String> {
        if self.case.is_first_call && round > 0 {
            self.case.sides.iter().for_each(Side::forget_index);
        }
        let added = self.add(round, quantity)?;
        let chain = &self.case.chain;
        let del = |side: usize| self.hosts[side].del(chain, self.container(round, side), &added[side].0, quantity);
        let deleted = pair(round, del)?;
        Ok([added.map(|(_, value)| value), deleted])
    }

    fn add(&self, round: usize, quantity: Quantity) -> Result<[(Value, f64); 2], String> {
        pair(round, |side| self.hosts[side].add(&self.case.chain, self.container(round, side), quantity))
    }

    fn container(&self, round: usize, side: usize) -> Container<'_> {
        let port = FIRST_PORT + u16::try_from(round).expect("rounds are few");
        Container { netns: &self.netns[round][side], port }
    }

    fn clear(self) {
        self.netns.iter().flatten().for_each(Netns::vanish);
        self.hosts.iter().for_each(|host| host.netns.vanish());
    }
}

/// The same by both sides. Who begins alternates from round to round.
pub(crate) fn pair<T>(round: usize, one: impl Fn(usize) -> Result<T, String>) -> Result<[T; 2], String> {
    if round.is_multiple_of(2) {
        let first = one(0)?;
        Ok([first, one(1)?])
    } else {
        let second = one(1)?;
        Ok([one(0)?, second])
    }
}
