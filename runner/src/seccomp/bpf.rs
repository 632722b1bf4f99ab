//! From decisions about system calls to a program of the kernel's packet filter machine.
//!
//! A program that asks "is it this one? is it that one?" four hundred times is slow to install: the kernel tries it with
//! every number there is, to learn which are always allowed. Here the numbers are a line cut into ranges that share a
//! decision, and the program is a balanced tree over the cuts, six or seven comparisons deep. Only a range whose decision
//! depends on arguments goes on to look at them.
//!
//! This file is part of the build script, too, which compiles the default profile; it uses the standard library only.

/// An instruction, as the kernel has it.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// What to do.
    pub(crate) code: u16,
    /// How many instructions to skip if the condition holds.
    pub(crate) jt: u8,
    /// How many if it does not.
    pub(crate) jf: u8,
    /// The operand.
    pub(crate) k: u32,
}

/// The kernel's answers, from linux/seccomp.h.
pub(crate) mod action {
    /// The call is made.
    pub(crate) const ALLOW: u32 = 0x7fff_0000;
    /// The call is made and logged.
    pub(crate) const LOG: u32 = 0x7ffc_0000;
    /// A tracer is asked.
    pub(crate) const TRACE: u32 = 0x7ff0_0000;
    /// The call fails with the errno in the low half.
    pub(crate) const ERRNO: u32 = 0x0005_0000;
    /// The process gets SIGSYS, which it can catch.
    pub(crate) const TRAP: u32 = 0x0003_0000;
    /// The thread dies.
    pub(crate) const KILL_THREAD: u32 = 0;
    /// The process dies.
    pub(crate) const KILL_PROCESS: u32 = 0x8000_0000;
    /// `ENOSYS` to a call that this kernel, for all that the container knows, does not have.
    pub(crate) const NO_SUCH_CALL: u32 = ERRNO | 38;
}

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Equal to `value` where the bits of the mask are set.
    MaskedEq(u64),
}

/// A condition on one argument of a call; all 64 bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Check {
    /// Which argument, from 0 to 5.
    pub(crate) index: u8,
    /// How it is compared.
    pub(crate) op: Op,
    /// With what.
    pub(crate) value: u64,
}

/// What happens to one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The first of these whose conditions all hold says it.
    pub(crate) branches: Vec<(Vec<Check>, u32)>,
    /// What happens else.
    pub(crate) otherwise: u32,
}

impl Decision {
    /// The same, whatever the arguments.
    #[must_use]
    pub(crate) fn plain(action: u32) -> Self {
        Self { branches: Vec::new(), otherwise: action }
    }
}

/// The calls of one architecture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Architecture {
    /// `AUDIT_ARCH_...` of linux/audit.h.
    pub(crate) audit: u32,
    /// Decisions by number, in ascending order, once each.
    pub(crate) calls: Vec<(u32, Decision)>,
    /// What happens to all other numbers.
    pub(crate) unknown: Decision,
}

/// The largest program that the kernel takes.
pub(crate) const LONGEST: usize = 4096;

/// The program for `architectures`. A call by the conventions of another one kills the process.
#[must_use]
pub(crate) fn compile(architectures: &[Architecture]) -> Vec<Instruction> {
    let mut program = vec![load(4)];
    for architecture in architectures {
        let mut block = vec![load(0)];
        block.extend(tree(&ranges(architecture)));
        // Another one: over this block.
        program.push(jump(JEQ, architecture.audit, 1, 0));
        program.push(skip(block.len()));
        program.extend(block);
    }
    program.push(answer(action::KILL_PROCESS));
    program
}

/// Neighbours with the same decision become one range, named by its first number.
fn ranges(architecture: &Architecture) -> Vec<(u32, &Decision)> {
    let mut ranges: Vec<(u32, &Decision)> = Vec::new();
    let mut next = 0;
    let mut add = |from: u32, decision| {
        if ranges.last().is_none_or(|(_, last)| *last != decision) {
            ranges.push((from, decision));
        }
    };
    for (number, decision) in &architecture.calls {
        if *number > next {
            add(next, &architecture.unknown);
        }
        add(*number, decision);
        next = number + 1;
    }
    add(next, &architecture.unknown);
    ranges
}

/// Goes to the range that holds the number in the accumulator.
fn tree(ranges: &[(u32, &Decision)]) -> Vec<Instruction> {
    let (left, right) = ranges.split_at(ranges.len() / 2);
    match (left, right.first()) {
        ([], Some((_, decision))) => decide(decision),
        (_, Some((cut, _))) => {
            let left = tree(left);
            let mut code = match u8::try_from(left.len()) {
                Ok(distance) => vec![jump(JGE, *cut, distance, 0)],
                Err(_) => vec![jump(JGE, *cut, 0, 1), skip(left.len())],
            };
            code.extend(left);
            code.extend(tree(right));
            code
        }
        (_, None) => Vec::new(),
    }
}

fn decide(decision: &Decision) -> Vec<Instruction> {
    let mut code = Vec::new();
    for (checks, action) in &decision.branches {
        let mut rest: usize = checks.iter().map(|check| length(check.op)).sum::<usize>() + 1;
        for check in checks {
            rest -= length(check.op);
            // No more checks fit on one call than its six arguments twice; see `Profile`.
            code.extend(compare(check, u8::try_from(rest).unwrap_or(u8::MAX)));
        }
        code.push(answer(*action));
    }
    code.push(answer(decision.otherwise));
    code
}

fn length(op: Op) -> usize {
    match op {
        Op::Eq | Op::Ne => 4,
        Op::Lt | Op::Le | Op::Gt | Op::Ge => 5,
        Op::MaskedEq(_) => 6,
    }
}

/// Goes on behind itself if the condition holds, and `rest` instructions further if not.
fn compare(check: &Check, rest: u8) -> Vec<Instruction> {
    let at = 16 + 8 * u32::from(check.index);
    let (low, high) = halves(check.value);
    // Both architectures are little-endian.
    let (load_low, load_high) = (load(at), load(at + 4));
    match check.op {
        Op::Eq => vec![load_high, jump(JEQ, high, 0, rest + 2), load_low, jump(JEQ, low, 0, rest)],
        Op::Ne => vec![load_high, jump(JEQ, high, 0, 2), load_low, jump(JEQ, low, rest, 0)],
        Op::MaskedEq(mask) => {
            let (mask_low, mask_high) = halves(mask);
            vec![
                load_high,
                and(mask_high),
                jump(JEQ, high & mask_high, 0, rest + 3),
                load_low,
                and(mask_low),
                jump(JEQ, low & mask_low, 0, rest),
            ]
        }
        Op::Gt => order(load_low, load_high, high, jump(JGT, low, 0, rest), (0, rest)),
        Op::Ge => order(load_low, load_high, high, jump(JGE, low, 0, rest), (0, rest)),
        Op::Lt => order(load_low, load_high, high, jump(JGE, low, rest, 0), (rest, 0)),
        Op::Le => order(load_low, load_high, high, jump(JGT, low, rest, 0), (rest, 0)),
    }
}

/// The high half decides unless it is equal: where to go when it is greater, and when it is less, from the end.
fn order(
    load_low: Instruction,
    load_high: Instruction,
    high: u32,
    last: Instruction,
    (greater, less): (u8, u8),
) -> Vec<Instruction> {
    vec![load_high, jump(JGT, high, greater + 3, 0), jump(JEQ, high, 0, less + 2), load_low, last]
}

fn halves(value: u64) -> (u32, u32) {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))
}

const JEQ: u16 = 0x15;
const JGT: u16 = 0x25;
const JGE: u16 = 0x35;

fn load(offset: u32) -> Instruction {
    Instruction { code: 0x20, jt: 0, jf: 0, k: offset }
}

fn and(mask: u32) -> Instruction {
    Instruction { code: 0x54, jt: 0, jf: 0, k: mask }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> Instruction {
    Instruction { code, jt, jf, k }
}

fn skip(distance: usize) -> Instruction {
    Instruction { code: 0x05, jt: 0, jf: 0, k: u32::try_from(distance).unwrap_or(u32::MAX) }
}

fn answer(action: u32) -> Instruction {
    Instruction { code: 0x06, jt: 0, jf: 0, k: action }
}
