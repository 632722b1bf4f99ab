//! Cutting a stream of bytes into lines.

/// A line longer than this is kept in pieces, as elsewhere.
const LONGEST: usize = 16 * 1024;

/// The beginning of a line whose end is still to come.
#[derive(Debug, Default)]
pub(super) struct Lines(Vec<u8>);

impl Lines {
    /// Takes `bytes`, and gives every line that is complete with them to `take`, newline included.
    pub(super) fn push(&mut self, bytes: &[u8], mut take: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.0.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                take(&self.0);
                self.0.clear();
            }
            while self.0.len() >= LONGEST {
                let end = boundary(&self.0);
                take(self.0.get(..end).unwrap_or_default());
                self.0.drain(..end);
            }
        }
    }

    /// How much of that beginning there is.
    pub(super) fn pending(&self) -> usize {
        self.0.len()
    }

    /// What has no newline.
    pub(super) fn rest(&mut self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then(|| std::mem::take(&mut self.0))
    }
}

/// The longest piece that does not end within a character.
fn boundary(bytes: &[u8]) -> usize {
    let continues = |at: &usize| bytes.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (LONGEST - 3..=LONGEST).rev().find(|at| !continues(at)).unwrap_or(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(parts: &[&[u8]]) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        let (mut lines, mut taken) = (Lines::default(), Vec::new());
        for part in parts {
            lines.push(part, |line| taken.push(line.to_vec()));
        }
        (taken, lines.rest())
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        let (taken, rest) = cut(&[b"on", b"e\ntwo\nth", b"ree"]);
        assert_eq!(taken, [b"one\n".to_vec(), b"two\n".to_vec()]);
        assert_eq!(rest, Some(b"three".to_vec()));
        assert_eq!(cut(&[b"", b"\n"]), (vec![b"\n".to_vec()], None));
    }

    #[test]
    fn long_lines_come_in_pieces_that_do_not_cut_characters() {
        let text = "aä".repeat(20_000);
        let (taken, rest) = cut(&[text.as_bytes(), b"\n"]);
        assert!(taken.iter().all(|piece| std::str::from_utf8(piece).is_ok() && piece.len() <= LONGEST + 3));
        assert_eq!(taken.concat(), [text.as_bytes(), b"\n"].concat());
        assert!(taken.len() > 2 && rest.is_none());
    }
}
