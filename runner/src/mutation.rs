//! Documents that nobody would write: damaged copies of good ones, for the tests of whatever reads what strangers have
//! made.
//!
//! The damage is always the same, so what is found once is found again. It is done where it hurts: at words and numbers that mean
//! something to the reader, by cutting, repeating, and putting one document into another.

/// Words that mean something in many formats, and numbers at the ends of their ranges.
const WORDS: [&[u8]; 24] = [
    b"..",
    b"/",
    b"\0",
    b"\xff\xfe",
    b"-1",
    b"0",
    b"4294967295",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"18446744073709551616",
    b"1e999",
    b"null",
    b"{}",
    b"[]",
    b"\"",
    b"\\u0000",
    b"{{",
    b"}}",
    b":",
    b",",
    b"\n",
    b"%n",
    b"\xc3\xa4",
];

/// A source of numbers: Knuth's, whose upper bits are good enough for this.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        Self(1)
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % limit
    }
}

/// Gives `rounds` damaged copies of the `originals` to `take`, one at a time. `words` of the format's own are put in, too.
pub(crate) fn each(originals: &[&[u8]], words: &[&[u8]], rounds: usize, mut take: impl FnMut(&[u8])) {
    let mut dice = Dice::new();
    for round in 0..rounds {
        let mut text = originals[round % originals.len()].to_vec();
        for _ in 0..=dice.below(4) {
            damage(&mut text, originals, words, &mut dice);
        }
        take(&text);
    }
}

fn damage(text: &mut Vec<u8>, originals: &[&[u8]], words: &[&[u8]], dice: &mut Dice) {
    if text.is_empty() {
        return;
    }
    let at = dice.below(text.len());
    let end = text.len().min(at + 1 + dice.below(12));
    let word = |dice: &mut Dice| {
        let own = dice.below(words.len() + WORDS.len());
        words.get(own).copied().unwrap_or_else(|| WORDS[own - words.len()])
    };
    match dice.below(8) {
        0 => text[at] ^= 1 << dice.below(8),
        1 => text[at] = [0, b'0', b'9', 0x7f, 0x80, 0xff][dice.below(6)],
        2 => drop(text.drain(at..end)),
        3 => text.truncate(at),
        4 => drop(text.splice(at..end, word(dice).to_vec())),
        5 => drop(text.splice(at..at, word(dice).to_vec())),
        6 => {
            let piece = text[at..end].repeat(1 + dice.below(40));
            drop(text.splice(at..at, piece));
        }
        _ => {
            let other = originals[dice.below(originals.len())];
            let from = dice.below(other.len());
            drop(text.splice(at..at, other[from..].iter().copied().take(64)));
        }
    }
}
