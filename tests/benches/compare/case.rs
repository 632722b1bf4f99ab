//! A case: one plugin with one configuration, called in pairs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use harness::{Netns, Node, Suite};
use serde_json::{Value, from_str, json};

use crate::call::{Call, Verb};
use crate::peak;
use crate::row::{Goals, Row, Section};
use crate::settle::settle;
use crate::side::Side;

/// Rounds in which memory is looked at, at most. It hardly varies.
const MEMORY_ROUNDS: usize = 4;

pub(crate) struct Case {
    name: &'static str,
    plugin: &'static str,
    config: fn(&Side) -> Value,
    sides: [Side; 2],
    goals: Goals,
    one_in: usize,
    has_neighbour: bool,
    is_first_call: bool,
}

/// How many rounds there are, after the first, which is not counted.
#[derive(Clone, Copy)]
struct Rounds {
    time: usize,
    memory: usize,
}

/// What the calls of a round gave: by verb, then by side.
type Round = [[f64; 2]; 2];

/// A way to call, and what it measures: milliseconds, or MiB.
type Measure = fn(&Call) -> Result<(String, f64), String>;

impl Case {
    /// A plugin of ours against that of the Go suite.
    pub(crate) fn new(name: &'static str, plugin: &'static str, config: fn(&Side) -> Value) -> Self {
        let goals = Goals { add: None, del: None, memory: None };
        let sides = [Side::ours("ours"), Side::go("go").second()];
        Self { name, plugin, config, sides, goals, one_in: 1, has_neighbour: false, is_first_call: false }
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

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Plays the case and adds its rows.
    pub(crate) fn measure(&self, pairs: usize, rows: &mut Vec<Row>) -> Result<(), String> {
        let part = |rounds: usize| (rounds / self.one_in).max(1);
        let rounds = Rounds { time: part(pairs), memory: if self.is_of_one_suite() { 0 } else { part(MEMORY_ROUNDS) } };
        let play = || Node::run_messy(|node| self.play(node, rounds, rows));
        catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|_| Err("a panic, see above".to_owned()))
    }

    fn play(&self, node: &Node, rounds: Rounds, rows: &mut Vec<Row>) -> Result<(), String> {
        settle(node);
        self.sides.iter().for_each(Side::prepare);
        let stage = Stage::build(node, self, 1 + rounds.time + rounds.memory);
        let outcome = self.act(&stage, rounds, rows);
        stage.clear();
        outcome
    }

    fn act(&self, stage: &Stage, rounds: Rounds, rows: &mut Vec<Row>) -> Result<(), String> {
        if self.has_neighbour {
            stage.call(0, Verb::Add, &[None, None], time)?;
        } else {
            stage.round(0, time)?;
        }
        let timed = 1..=rounds.time;
        let times: Result<Vec<_>, _> = timed.map(|round| stage.round(round, time)).collect();
        self.add_times(&times?, rows);
        let weighed = rounds.time + 1..=rounds.time + rounds.memory;
        let peaks: Result<Vec<_>, _> = weighed.map(|round| stage.round(round, memory)).collect();
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

/// A case with the namespaces of its rounds, two for each.
struct Stage<'a> {
    case: &'a Case,
    netns: Vec<[Netns; 2]>,
}

impl<'a> Stage<'a> {
    fn build(node: &Node, case: &'a Case, rounds: usize) -> Self {
        let netns = |round: usize| case.sides.each_ref().map(|side| node.netns(&format!("{}-{round}", side.name)));
        Self { case, netns: (0..rounds).map(netns).collect() }
    }

    /// ADD by both sides, then DEL by both.
    fn round(&self, round: usize, measure: Measure) -> Result<Round, String> {
        if self.case.is_first_call && round > 0 {
            self.case.sides.iter().for_each(Side::forget_index);
        }
        let added = self.call(round, Verb::Add, &[None, None], measure)?;
        let result = |side: usize| {
            let answer = &added[side].0;
            from_str(answer).map(Some).map_err(|error| format!("ADD answered {answer:?}: {error}"))
        };
        let deleted = self.call(round, Verb::Del, &[result(0)?, result(1)?], measure)?;
        Ok([added, deleted].map(|pair| pair.map(|(_, value)| value)))
    }

    /// A pair of calls. Who begins alternates from round to round.
    fn call(
        &self,
        round: usize,
        verb: Verb,
        results: &[Option<Value>; 2],
        measure: Measure,
    ) -> Result<[(String, f64); 2], String> {
        let one = |side: usize| measure(&self.prepare(round, side, verb, results[side].as_ref()));
        if round.is_multiple_of(2) {
            let first = one(0)?;
            Ok([first, one(1)?])
        } else {
            let second = one(1)?;
            Ok([one(0)?, second])
        }
    }

    /// The configuration as a runtime completes it; DEL gets the result of ADD.
    fn prepare(&self, round: usize, side: usize, verb: Verb, result: Option<&Value>) -> Call {
        let (case, netns) = (self.case, &self.netns[round][side]);
        let side = &case.sides[side];
        let mut config = (case.config)(side);
        config["cniVersion"] = json!("1.0.0");
        config["name"] = json!(side.name);
        if let Some(result) = result {
            config["prevResult"] = result.clone();
        }
        Call::new(side, case.plugin, verb, netns, &config)
    }

    fn clear(self) {
        self.netns.iter().flatten().for_each(Netns::vanish);
    }
}

fn time(call: &Call) -> Result<(String, f64), String> {
    let done = call.run()?;
    Ok((done.stdout, done.time.as_secs_f64() * 1e3))
}

fn memory(call: &Call) -> Result<(String, f64), String> {
    let (done, peak) = peak::run(call)?;
    Ok((done.stdout, peak))
}
