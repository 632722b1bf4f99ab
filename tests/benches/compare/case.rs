//! A case: one plugin with one configuration, called in pairs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use harness::{Netns, Node, Suite};
use serde_json::{Value, from_str, json};

use crate::call::{Call, Verb};
use crate::peak;
use crate::row::{Goals, Row, Section};
use crate::settle::settle;
use crate::side::Side;

/// Rounds in which memory is looked at. It hardly varies.
const MEMORY_ROUNDS: usize = 5;

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
        let play = || Node::run_messy(|node| self.play(node, (pairs / self.one_in).max(1), rows));
        catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|_| Err("a panic, see above".to_owned()))
    }

    fn play(&self, node: &Node, pairs: usize, rows: &mut Vec<Row>) -> Result<(), String> {
        settle(node);
        self.sides.iter().for_each(Side::prepare);
        let stage = Stage::build(node, self, 1 + pairs + MEMORY_ROUNDS);
        let outcome = self.rounds(&stage, pairs, rows);
        stage.clear();
        outcome
    }

    fn rounds(&self, stage: &Stage, pairs: usize, rows: &mut Vec<Row>) -> Result<(), String> {
        if self.has_neighbour {
            stage.call(0, Verb::Add, &[None, None], time)?;
        } else {
            stage.round(0, time)?;
        }
        let mut times = Vec::new();
        for round in 1..=pairs {
            times.push(stage.round(round, time)?);
        }
        self.add_times(&times, rows);
        let mut peaks = Vec::new();
        for round in pairs + 1..=pairs + MEMORY_ROUNDS {
            let [add, del] = stage.round(round, memory)?;
            peaks.push([add[0].max(del[0]), add[1].max(del[1])]);
        }
        if !self.is_of_one_suite() {
            let name = format!("{}  peak", self.name);
            rows.push(Row { section: Section::Memory, name, pairs: peaks, goal: self.goals.memory });
        }
        Ok(())
    }

    fn add_times(&self, times: &[[[f64; 2]; 2]], rows: &mut Vec<Row>) {
        let section = if self.is_of_one_suite() { Section::Growth } else { Section::Time };
        for (verb, goal) in [(Verb::Add, self.goals.add), (Verb::Del, self.goals.del)] {
            if verb == Verb::Add || !self.is_first_call {
                let pairs = times.iter().map(|round| round[verb as usize]).collect();
                rows.push(Row { section, name: format!("{}  {}", self.name, verb.name()), pairs, goal });
            }
        }
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
    fn round(&self, round: usize, measure: Measure) -> Result<[[f64; 2]; 2], String> {
        if self.case.is_first_call && round > 0 {
            self.case.sides.iter().for_each(Side::forget_index);
        }
        let added = self.call(round, Verb::Add, &[None, None], measure)?;
        let results = added.each_ref().map(|(answer, _)| from_str(answer).ok());
        let deleted = self.call(round, Verb::Del, &results, measure)?;
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
    let pages = u32::try_from(peak).map_err(|_| format!("a peak of {peak} KiB"))?;
    Ok((done.stdout, f64::from(pages) / 1024.0))
}
