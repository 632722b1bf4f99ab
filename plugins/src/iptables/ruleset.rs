//! What an attachment wants in one table, and what of it is missing.

use kernel::iptables::{Family, Restore, Rule, Saved, Variant};

use super::{Change, Missing, Where};

/// Where a rule goes in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Before all that are there.
    First,
    /// Behind all that are there.
    Last,
}

/// Whose a chain or rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Everybody's: ensured, never removed.
    Shared,
    /// The attachment's.
    Own,
    /// A word about the attachment, for DEL and GC. What the Go suite made has none.
    Note,
}

/// Chains and rules that are wanted in one table of one family, in the order in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ruleset {
    chains: Vec<(Kind, String)>,
    rules: Vec<Wish>,
    is_exclusive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wish {
    kind: Kind,
    place: Place,
    rule: Rule,
    /// Further matches, in whatever spelling they were configured; they go in front of the target.
    conditions: Vec<String>,
}

impl Ruleset {
    /// Wants a chain of all attachments.
    pub(crate) fn shared_chain(&mut self, name: impl Into<String>) {
        self.chains.push((Kind::Shared, name.into()));
    }

    /// Wants a chain for the attachment.
    pub(crate) fn own_chain(&mut self, name: impl Into<String>) {
        self.chains.push((Kind::Own, name.into()));
    }

    /// Wants a rule of all attachments.
    pub(crate) fn shared(&mut self, place: Place, rule: Rule) {
        self.wish(Kind::Shared, place, rule);
    }

    /// Wants a rule for the attachment.
    pub(crate) fn own(&mut self, place: Place, rule: Rule) {
        self.wish(Kind::Own, place, rule);
    }

    /// Wants a rule for the attachment, with further matches. It is recognised without them, because iptables lists
    /// matches in its own spelling.
    pub(crate) fn conditional(&mut self, rule: Rule, conditions: &[String]) {
        self.rules.push(Wish { kind: Kind::Own, place: Place::Last, rule, conditions: conditions.to_vec() });
    }

    /// Wants a rule that does nothing but say whose something is, in a chain to which nothing jumps.
    pub(crate) fn note(&mut self, chain: &str, matches: &[&str], tag: &str) {
        if !self.chains.iter().any(|(_, name)| name == chain) {
            self.chains.push((Kind::Note, chain.to_owned()));
        }
        let words = [matches, &["-m", "comment", "--comment", tag]].concat();
        self.wish(Kind::Note, Place::Last, Rule::new(chain, words));
    }

    /// Has the table looked at and changed under the lock, even when nothing shared is missing: somebody might be about
    /// to remove it.
    pub(crate) fn exclusively(&mut self) {
        self.is_exclusive = true;
    }

    /// Whether it is.
    pub(super) fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    fn wish(&mut self, kind: Kind, place: Place, rule: Rule) {
        self.rules.push(Wish { kind, place, rule, conditions: Vec::new() });
    }

    /// Whether nothing is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The names of all chains that are wanted.
    pub(crate) fn chains(&self) -> Vec<&str> {
        self.chains.iter().map(|(_, name)| name.as_str()).collect()
    }

    /// What is missing of it in what was found, or everything.
    pub(super) fn completion(&self, place: Where<'_>, found: Option<&Saved>) -> Change {
        let mut restore = Restore::new(place.family, place.table);
        let mut is_shared = false;
        for (kind, name) in &self.chains {
            if !found.is_some_and(|found| found.has_chain(name)) {
                is_shared |= *kind != Kind::Own;
                restore.new_chain(name);
            }
        }
        for wish in &self.rules {
            if !found.is_some_and(|found| wish.is_in(found)) {
                is_shared |= wish.kind == Kind::Shared;
                match wish.place {
                    Place::First => restore.insert(wish.complete()),
                    Place::Last => restore.append(wish.complete()),
                }
            }
        }
        Change { variant: found.map_or(Variant::Default, |found| found.variant), restore, is_shared }
    }

    /// The first thing that is nowhere: a chain of the attachment, or a rule. What was made by the Go suite has no notes,
    /// so they are not looked for; nor are shared chains, since their rules are.
    pub(super) fn missing(&self, found: &[Saved]) -> Option<Missing<'_>> {
        let mut chains = self.chains.iter().filter(|(kind, _)| *kind == Kind::Own).map(|(_, name)| name);
        let chain = chains.find(|name| !found.iter().any(|saved| saved.has_chain(name)));
        let mut rules = self.rules.iter().filter(|wish| wish.kind != Kind::Note);
        let rule = rules.find(|wish| !found.iter().any(|saved| wish.is_in(saved)));
        chain.map(|name| Missing::Chain(name)).or_else(|| rule.map(|wish| Missing::Rule(&wish.rule)))
    }

    /// What a person would type.
    pub(super) fn lines(&self, family: Family, table: &str) -> Vec<String> {
        let chains = self.chains.iter().map(|(_, name)| format!("{family} -t {table} -N {name}"));
        let rules = self.rules.iter().map(|wish| {
            let verb = match wish.place {
                Place::First => "-I",
                Place::Last => "-A",
            };
            format!("{family} -t {table} {verb} {}", wish.complete())
        });
        chains.chain(rules).collect()
    }
}

impl Wish {
    /// The rule with its conditions.
    fn complete(&self) -> Rule {
        let mut rule = self.rule.clone();
        let target = rule.arguments.iter().position(|word| word == "-j").unwrap_or(rule.arguments.len());
        rule.arguments.splice(target..target, self.conditions.iter().cloned());
        rule
    }

    fn is_in(&self, found: &Saved) -> bool {
        found.chain(&self.rule.chain).any(|rule| match self.conditions.as_slice() {
            [] => *rule == self.rule,
            _ => self.rule.is_part_of(rule),
        })
    }
}
