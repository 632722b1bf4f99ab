//! A profile: rules by names of calls, in the JSON format that container engines have in common.
//!
//! Rules may depend on capabilities, architecture and kernel. Of several rules that match a call, those with conditions on
//! arguments beat those without, and among each the strictest wins. Names that an architecture does not have mean nothing
//! there; numbers that have no name are calls newer than this program, and fail with `ENOSYS`, unless the profile allows
//! what it does not name.
//!
//! This file is part of the build script, too; see [`super::bpf`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::bpf::{Architecture, Check, Decision, Op, action};

/// A profile as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    default_action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_errno_ret: Option<u16>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u16>,
    #[serde(default, deserialize_with = "or_default")]
    args: Vec<Argument>,
    #[serde(default, deserialize_with = "or_default")]
    includes: Conditions,
    #[serde(default, deserialize_with = "or_default")]
    excludes: Conditions,
}

/// `null` is as good as nothing.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Conditions {
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    caps: Vec<String>,
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    arches: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min_kernel: Option<String>,
}

/// What rules may depend on.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// Names of the capabilities in the bounding set, with `CAP_`.
    pub(crate) capabilities: &'a [&'a str],
    /// The kernel's version.
    pub(crate) kernel: (u32, u32),
}

/// An architecture and the numbers of its calls.
#[derive(Debug)]
pub(crate) struct Numbers<'a> {
    /// `AUDIT_ARCH_...`.
    pub(crate) audit: u32,
    /// What profiles call the native architecture.
    pub(crate) arch: &'a str,
    /// Every call that it has.
    pub(crate) calls: &'a [(&'a str, u32)],
}

impl Profile {
    /// The names of all capabilities that any rule asks for. Two containers which have the same of these get the
    /// same program.
    #[cfg_attr(not(test), allow(dead_code, reason = "for the build script"))]
    #[must_use]
    pub(crate) fn capabilities(&self) -> Vec<&str> {
        let conditions = self.syscalls.iter().flat_map(|rule| [&rule.includes, &rule.excludes]);
        let mut names: Vec<_> = conditions.flat_map(|c| c.caps.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The decisions that the rules amount to on one architecture.
    ///
    /// # Errors
    ///
    /// An action, comparison or argument that there is none of.
    pub(crate) fn decide(&self, facts: &Facts<'_>, numbers: &Numbers<'_>) -> Result<Architecture, String> {
        let default = parse_action(&self.default_action, self.default_errno_ret)?;
        let mut rules: BTreeMap<&str, Vec<(Vec<Check>, u32)>> = BTreeMap::new();
        for rule in &self.syscalls {
            let action = parse_action(&rule.action, rule.errno_ret)?;
            let checks = rule.args.iter().map(Argument::check).collect::<Result<Vec<_>, _>>()?;
            if checks.len() > MOST_CHECKS {
                return Err(format!(
                    "a rule for {} has more than {MOST_CHECKS} conditions",
                    rule.all_names().join(", ")
                ));
            }
            if !rule.applies(facts, numbers.arch) {
                continue;
            }
            for name in rule.all_names() {
                rules.entry(name).or_default().push((checks.clone(), action));
            }
        }
        let decision = |name: &str| merge(rules.get(name).map_or(&[], Vec::as_slice), default);
        let mut calls: Vec<_> = numbers.calls.iter().map(|(name, number)| (*number, decision(name))).collect();
        calls.sort_by_key(|(number, _)| *number);
        calls.dedup_by_key(|(number, _)| *number);
        let lenient = [action::ALLOW, action::LOG, action::TRACE].contains(&(default & 0xffff_0000));
        let unknown = Decision::plain(if lenient { default } else { action::NO_SUCH_CALL });
        Ok(Architecture { audit: numbers.audit, calls, unknown })
    }
}

/// More than two on each argument make no sense, and would not fit into a jump.
const MOST_CHECKS: usize = 12;

/// Conditional rules first, then the strictest of the others, or the default.
fn merge(rules: &[(Vec<Check>, u32)], default: u32) -> Decision {
    let strictness = |action: &u32| action.cast_signed();
    let mut branches: Vec<_> = rules.iter().filter(|(checks, _)| !checks.is_empty()).cloned().collect();
    branches.sort_by_key(|(_, action)| strictness(action));
    let plain = rules.iter().filter(|(checks, _)| checks.is_empty()).map(|(_, action)| *action);
    let otherwise = plain.min_by_key(strictness).unwrap_or(default);
    // What would happen anyway needs no looking at arguments.
    while branches.last().is_some_and(|(_, action)| *action == otherwise) {
        branches.pop();
    }
    Decision { branches, otherwise }
}

impl Rule {
    fn all_names(&self) -> Vec<&str> {
        self.names.iter().chain(&self.name).map(String::as_str).collect()
    }

    fn applies(&self, facts: &Facts<'_>, arch: &str) -> bool {
        let has = |cap: &String| facts.capabilities.contains(&cap.as_str());
        let here = |name: &String| name == arch;
        let new_enough = |version: &String| parse_version(version).is_none_or(|wanted| facts.kernel >= wanted);
        let (wanted, unwanted) = (&self.includes, &self.excludes);
        wanted.caps.iter().all(has)
            && (wanted.arches.is_empty() || wanted.arches.iter().any(here))
            && wanted.min_kernel.iter().all(new_enough)
            && !unwanted.caps.iter().any(has)
            && !unwanted.arches.iter().any(here)
            && !unwanted.min_kernel.iter().any(new_enough)
    }
}

/// The first two numbers of a kernel's version.
#[must_use]
pub(crate) fn parse_version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl Argument {
    fn check(&self) -> Result<Check, String> {
        let (op, value) = match self.op.as_str() {
            "SCMP_CMP_EQ" => (Op::Eq, self.value),
            "SCMP_CMP_NE" => (Op::Ne, self.value),
            "SCMP_CMP_LT" => (Op::Lt, self.value),
            "SCMP_CMP_LE" => (Op::Le, self.value),
            "SCMP_CMP_GT" => (Op::Gt, self.value),
            "SCMP_CMP_GE" => (Op::Ge, self.value),
            "SCMP_CMP_MASKED_EQ" => (Op::MaskedEq(self.value), self.value_two),
            other => return Err(format!("unknown comparison {other:?}")),
        };
        if self.index > 5 {
            return Err(format!("no system call has an argument number {}", self.index));
        }
        Ok(Check { index: self.index, op, value })
    }
}

fn parse_action(name: &str, errno: Option<u16>) -> Result<u32, String> {
    let value = u32::from(errno.unwrap_or(1));
    match name {
        "SCMP_ACT_ALLOW" => Ok(action::ALLOW),
        "SCMP_ACT_LOG" => Ok(action::LOG),
        "SCMP_ACT_ERRNO" if value > 4095 => Err(format!("there is no error number {value}")),
        "SCMP_ACT_ERRNO" => Ok(action::ERRNO | value),
        "SCMP_ACT_TRACE" => Ok(action::TRACE | value),
        "SCMP_ACT_TRAP" => Ok(action::TRAP),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => Ok(action::KILL_THREAD),
        "SCMP_ACT_KILL_PROCESS" => Ok(action::KILL_PROCESS),
        other => Err(format!("unknown action {other:?}")),
    }
}
