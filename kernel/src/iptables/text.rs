//! The text that `iptables-save` writes and `iptables-restore` reads.

use std::fmt;

use super::{Family, Variant};

/// A rule, as its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The chain that holds it.
    pub chain: String,
    /// Matches and target, in the order and spelling of `iptables-save`.
    pub arguments: Vec<String>,
}

/// Changes to one table: input for `iptables-restore --noflush`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// The family.
    pub family: Family,
    /// The table, such as `nat`.
    pub table: &'static str,
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Chain(String),
    NewChain(String),
    Append(Rule),
    Insert(Rule),
    Delete(Rule),
    Flush(String),
    DeleteChain(String),
}

/// One table as `iptables-save` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Saved {
    /// The family.
    pub family: Family,
    /// The table.
    pub table: &'static str,
    /// Which iptables it is in.
    pub variant: Variant,
    /// The names of its chains.
    pub chains: Vec<String>,
    /// What happens to packets at the end of a built-in chain: `ACCEPT` or `DROP`.
    pub policies: Vec<(String, String)>,
    /// All rules, in order.
    pub rules: Vec<Rule>,
}

impl Rule {
    /// A rule for `chain`.
    pub fn new<T: Into<String>>(chain: impl Into<String>, arguments: impl IntoIterator<Item = T>) -> Self {
        Self { chain: chain.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }

    /// The value behind `option`, unless the match is negated.
    #[must_use]
    pub fn value(&self, option: &str) -> Option<&str> {
        let at = self.arguments.iter().position(|argument| argument == option)?;
        let negated = at.checked_sub(1).and_then(|before| self.arguments.get(before)).is_some_and(|sign| sign == "!");
        if negated { None } else { self.arguments.get(at + 1).map(String::as_str) }
    }

    /// The chain or target to which the rule jumps.
    #[must_use]
    pub fn target(&self) -> Option<&str> {
        self.value("-j")
    }

    /// Whether `other` says all that this rule says, in the same order, and perhaps more.
    #[must_use]
    pub fn is_part_of(&self, other: &Self) -> bool {
        let mut words = other.arguments.iter();
        self.chain == other.chain && self.arguments.iter().all(|wanted| words.any(|word| word == wanted))
    }

    /// The comment.
    #[must_use]
    pub fn comment(&self) -> Option<&str> {
        self.value("--comment")
    }
}

impl Restore {
    /// No changes.
    #[must_use]
    pub const fn new(family: Family, table: &'static str) -> Self {
        Self { family, table, lines: Vec::new() }
    }

    /// Whether a rule that is there now is not any more after the changes.
    #[must_use]
    pub fn deletes(&self, rule: &Rule) -> bool {
        self.lines.iter().any(|line| match line {
            Line::Delete(deleted) => deleted == rule,
            Line::Chain(chain) | Line::Flush(chain) | Line::DeleteChain(chain) => *chain == rule.chain,
            Line::NewChain(_) | Line::Append(_) | Line::Insert(_) => false,
        })
    }

    /// Creates a chain, or empties the one that is there.
    pub fn chain(&mut self, name: impl Into<String>) {
        self.lines.push(Line::Chain(name.into()));
    }

    /// Creates a chain; one that is there makes the whole fail.
    pub fn new_chain(&mut self, name: impl Into<String>) {
        self.lines.push(Line::NewChain(name.into()));
    }

    /// Appends a rule to its chain.
    pub fn append(&mut self, rule: Rule) {
        self.lines.push(Line::Append(rule));
    }

    /// Puts a rule at the beginning of its chain.
    pub fn insert(&mut self, rule: Rule) {
        self.lines.push(Line::Insert(rule));
    }

    /// Deletes the first rule that is the same.
    pub fn delete(&mut self, rule: Rule) {
        self.lines.push(Line::Delete(rule));
    }

    /// Deletes a chain with its rules.
    pub fn delete_chain(&mut self, name: impl Into<String>) {
        let name = name.into();
        self.lines.push(Line::Flush(name.clone()));
        self.lines.push(Line::DeleteChain(name));
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The first word with which a line would become two, or end early. Words may come from a configuration.
    pub(super) fn broken_word(&self) -> Option<&str> {
        self.lines.iter().flat_map(Line::words).find(|word| word.contains(['\n', '\r', '\0']))
    }
}

impl Line {
    fn words(&self) -> Vec<&str> {
        match self {
            Self::Append(rule) | Self::Insert(rule) | Self::Delete(rule) => {
                rule.arguments.iter().chain([&rule.chain]).map(String::as_str).collect()
            }
            Self::Chain(name) | Self::NewChain(name) | Self::Flush(name) | Self::DeleteChain(name) => vec![name],
        }
    }
}

impl Saved {
    /// The rules of one chain, in order.
    pub fn chain<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.chain == name)
    }

    /// Whether there is such a chain.
    #[must_use]
    pub fn has_chain(&self, name: &str) -> bool {
        self.chains.iter().any(|chain| chain == name)
    }

    /// What happens to packets at the end of a built-in chain.
    #[must_use]
    pub fn policy(&self, chain: &str) -> Option<&str> {
        self.policies.iter().find(|(name, _)| name == chain).map(|(_, policy)| policy.as_str())
    }

    /// Reads the output of `iptables-save -t TABLE`. Lines that are neither chain nor rule say nothing here.
    pub(super) fn parse(text: &str, family: Family, table: &'static str, variant: Variant) -> Self {
        let (chains, policies, rules) = (Vec::new(), Vec::new(), Vec::new());
        let mut saved = Self { family, table, variant, chains, policies, rules };
        for line in text.lines() {
            if let Some(chain) = line.strip_prefix(':') {
                let mut words = chain.split(' ').map(str::to_owned);
                let name = words.next().unwrap_or_default();
                saved.policies.extend(words.next().filter(|policy| policy != "-").map(|policy| (name.clone(), policy)));
                saved.chains.push(name);
            } else if let Some(rule) = line.strip_prefix("-A ") {
                let mut words = words(rule).into_iter();
                saved.rules.extend(words.next().map(|chain| Rule::new(chain, words)));
            }
        }
        saved
    }
}

/// Splits at spaces, except within double quotes, where a backslash keeps the next character.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            ' ' if !quoted => words.extend(word.take()),
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => word.get_or_insert_default().extend(characters.next()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    words
}

fn quote(f: &mut fmt::Formatter<'_>, word: &str) -> fmt::Result {
    let plain = |character: char| !character.is_whitespace() && !matches!(character, '"' | '\'' | '\\');
    if !word.is_empty() && word.chars().all(plain) {
        return f.write_str(word);
    }
    let escaped = word.replace('\\', "\\\\").replace('"', "\\\"");
    write!(f, "\"{escaped}\"")
}

impl fmt::Display for Rule {
    /// Chain, matches and target, without the verb.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain)?;
        self.arguments.iter().try_for_each(|argument| {
            f.write_str(" ")?;
            quote(f, argument)
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain(name) => write!(f, ":{name} - [0:0]"),
            Self::NewChain(name) => write!(f, "-N {name}"),
            Self::Append(rule) => write!(f, "-A {rule}"),
            Self::Insert(rule) => write!(f, "-I {rule}"),
            Self::Delete(rule) => write!(f, "-D {rule}"),
            Self::Flush(name) => write!(f, "-F {name}"),
            Self::DeleteChain(name) => write!(f, "-X {name}"),
        }
    }
}

impl fmt::Display for Restore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "*{}", self.table)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
        writeln!(f, "COMMIT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAVED: &str = r#"# Generated by iptables-save v1.8.9 (nf_tables) on Sun Nov 22 05:12:29 2026
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-abc - [0:0]
-A POSTROUTING -s 10.77.0.2/32 -m comment --comment "name: \"n1\" id: \"cid1\"" -j CNI-abc
-A CNI-abc ! -d 224.0.0.0/4 -m comment --comment "name: \"n1\" id: \"cid1\"" -j MASQUERADE
COMMIT
# Completed on Sun Nov 22 05:12:29 2026
"#;

    #[test]
    fn what_was_saved_is_understood() {
        let saved = Saved::parse(SAVED, Family::V4, "nat", Variant::Nft);
        assert_eq!(saved.chains, ["PREROUTING", "POSTROUTING", "CNI-abc"]);
        assert_eq!((saved.policy("PREROUTING"), saved.policy("CNI-abc")), (Some("ACCEPT"), None));
        assert!(saved.has_chain("CNI-abc") && !saved.has_chain("CNI-ab"));
        let jump = saved.chain("POSTROUTING").next().unwrap();
        assert_eq!(jump.value("-s"), Some("10.77.0.2/32"));
        assert_eq!(jump.comment(), Some("name: \"n1\" id: \"cid1\""));
        assert_eq!(jump.target(), Some("CNI-abc"));
        let masquerade = saved.chain("CNI-abc").next().unwrap();
        assert_eq!(masquerade.value("-d"), None, "the match is negated");
    }

    #[test]
    fn what_is_written_is_what_was_saved() {
        let saved = Saved::parse(SAVED, Family::V4, "nat", Variant::Nft);
        let lines: Vec<String> = saved.rules.iter().map(|rule| Line::Append(rule.clone()).to_string()).collect();
        let expected: Vec<&str> = SAVED.lines().filter(|line| line.starts_with("-A")).collect();
        assert_eq!(lines, expected);
    }

    #[test]
    fn every_word_survives() {
        let rule = Rule::new("X", ["", " ", "a\"b", "c\\d", "e'f", "plain", "\\\\\"\""]);
        let text = rule.to_string();
        let mut back = words(&text).into_iter();
        assert_eq!(back.next().as_deref(), Some("X"));
        assert_eq!(Rule::new("X", back), rule, "{text}");
    }

    #[test]
    fn a_rule_is_recognised_with_further_matches() {
        let plain = Rule::new("X", ["-p", "tcp", "-m", "multiport", "--dports", "1,2", "-j", "Y"]);
        let words = "-s 10.0.0.0/8 -p tcp -m multiport --dports 1,2 -m mark --mark 0x1 -j Y";
        assert!(plain.is_part_of(&plain));
        assert!(plain.is_part_of(&Rule::new("X", words.split(' '))));
        assert!(!plain.is_part_of(&Rule::new("Z", words.split(' '))));
        assert!(!plain.is_part_of(&Rule::new("X", words.replace("1,2", "1,2,3").split(' '))));
    }

    #[test]
    fn broken_lines_do_no_harm() {
        let saved = Saved::parse(":\n-A \n-A X \"open\n-AX\n::\n", Family::V6, "nat", Variant::Legacy);
        assert_eq!(saved.rules, [Rule::new("X", ["open"])]);
    }

    #[test]
    fn changes_are_one_transaction() {
        let mut restore = Restore::new(Family::V4, "nat");
        assert!(restore.is_empty());
        restore.chain("CNI-abc");
        restore.append(Rule::new("CNI-abc", ["-j", "ACCEPT"]));
        restore.insert(Rule::new("CNI-abc", ["-j", "DROP"]));
        restore.delete(Rule::new("POSTROUTING", ["-j", "CNI-old"]));
        restore.delete_chain("CNI-old");
        let expected = "*nat\n:CNI-abc - [0:0]\n-A CNI-abc -j ACCEPT\n-I CNI-abc -j DROP\n-D POSTROUTING -j CNI-old\n-F CNI-old\n\
                        -X CNI-old\nCOMMIT\n";
        assert_eq!(restore.to_string(), expected);
    }
}
