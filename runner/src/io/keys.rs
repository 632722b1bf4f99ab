//! The keys that detach: `ctrl-p,ctrl-q`, or what `--detach-keys` says.

use std::str::FromStr;

use crate::error::{Error, Result};

/// A sequence of bytes, as a terminal in raw mode sends them. Never empty, unless nothing detaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = Error;

    /// Keys are separated by commas: a character, or `ctrl-` and one of `a` to `z`, `@`, `[`, `\`, `]`, `^`, `_`. An empty
    /// text means that nothing detaches.
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        text.split(',').map(key).collect::<Option<_>>().map(Self).ok_or_else(|| {
            Error::new(format!("invalid detach keys {text:?}: expected for example ctrl-p,ctrl-q or ctrl-],x"))
        })
    }
}

fn key(text: &str) -> Option<u8> {
    let one = |text: &str| match text.as_bytes() {
        [byte] if byte.is_ascii() => Some(*byte),
        _ => None,
    };
    match text.strip_prefix("ctrl-") {
        Some(name) => match one(name)? {
            letter @ b'a'..=b'z' => Some(letter - b'a' + 1),
            b'@' => Some(0),
            sign @ b'['..=b'_' => Some(sign - b'[' + 27),
            _ => None,
        },
        None => one(text),
    }
}

/// Looks for the keys in what is typed.
#[derive(Debug)]
pub(super) struct Watcher {
    keys: DetachKeys,
    /// How many of the keys the last bytes were.
    matched: usize,
}

impl Watcher {
    /// Nothing was typed yet.
    pub(super) fn new(keys: DetachKeys) -> Self {
        Self { keys, matched: 0 }
    }

    /// Takes what was typed. Answers what is to be sent on, and whether the keys were complete.
    ///
    /// Keys that may be the beginning of the sequence are held back until it is clear that they are not.
    pub(super) fn pass(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut through = Vec::with_capacity(typed.len());
        for byte in typed {
            while self.keys.0.get(self.matched) != Some(byte) && self.matched > 0 {
                self.give_back(&mut through);
            }
            if self.keys.0.get(self.matched) == Some(byte) {
                self.matched += 1;
                if self.matched == self.keys.0.len() {
                    return (through, true);
                }
            } else {
                through.push(*byte);
            }
        }
        (through, false)
    }

    /// Gives back as many of the held keys as needed for the rest to be a beginning again.
    fn give_back(&mut self, through: &mut Vec<u8>) {
        let held = self.keys.0.get(..self.matched).unwrap_or_default();
        let shorter = (0..self.matched).rev().find(|n| held.ends_with(self.keys.0.get(..*n).unwrap_or_default()));
        let kept = shorter.unwrap_or(0);
        through.extend_from_slice(held.get(..self.matched - kept).unwrap_or_default());
        self.matched = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watcher(keys: &str) -> Watcher {
        Watcher::new(keys.parse().unwrap())
    }

    /// Requirement: F-attach.
    #[test]
    fn keys_are_written_as_elsewhere() {
        assert_eq!("ctrl-p,ctrl-q".parse::<DetachKeys>().unwrap(), DetachKeys::default());
        assert_eq!("ctrl-],x,ctrl-@".parse::<DetachKeys>().unwrap(), DetachKeys(vec![29, b'x', 0]));
        for bad in ["ctrl-", "ctrl-1", "ab", "ctrl-p,", "ä"] {
            assert!(bad.parse::<DetachKeys>().is_err(), "{bad}");
        }
    }

    /// Requirement: F-attach.
    #[test]
    fn only_the_whole_sequence_detaches_and_nothing_else_is_swallowed() {
        let mut keys = watcher("ctrl-p,ctrl-q");
        assert_eq!(keys.pass(b"ls\x10"), (b"ls".to_vec(), false));
        assert_eq!(keys.pass(b"x"), (b"\x10x".to_vec(), false));
        assert_eq!(keys.pass(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(keys.pass(b"\x11rest"), (vec![], true));
        let mut keys = watcher("a,a,b");
        assert_eq!(keys.pass(b"aaab"), (b"a".to_vec(), true));
        assert_eq!(watcher("").pass(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
