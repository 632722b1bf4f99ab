//! Maps of sparse files: the old GNU headers, and format 1.0 of POSIX archives, whose map precedes the data.

use std::io::Read;

use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

use crate::error::{Context, Error, Result};

use super::BLOCK;

/// Holes and data of one file, as offsets and lengths of the data.
pub(super) type Map = Vec<(u64, u64)>;

/// The most pieces that a file may have.
const PIECES: usize = 65_536;

/// The map in a header of the old GNU type `S`, continued in the blocks after it; and the size with holes.
pub(super) fn old(header: &Header, reader: &mut impl Read) -> Result<(Map, u64)> {
    let gnu = header.as_gnu().ok_or_else(|| Error::new("a sparse file in an archive that is not GNU's"))?;
    let mut map = Map::new();
    add(&mut map, &gnu.sparse)?;
    let mut more = gnu.is_extended();
    while more {
        let mut block = GnuExtSparseHeader::new();
        reader.read_exact(block.as_mut_bytes()).context(|| "read the map of a sparse file")?;
        add(&mut map, block.sparse())?;
        more = block.is_extended();
    }
    let size = gnu.real_size().context(|| "the size of a sparse file")?;
    check(&map, size)?;
    Ok((map, size))
}

fn add(map: &mut Map, pieces: &[GnuSparseHeader]) -> Result<()> {
    for piece in pieces.iter().take_while(|piece| !piece.is_empty()) {
        let offset = piece.offset().context(|| "the map of a sparse file")?;
        map.push((offset, piece.length().context(|| "the map of a sparse file")?));
    }
    match map.len() > PIECES {
        true => Err(Error::new(format!("a sparse file of more than {PIECES} pieces"))),
        false => Ok(()),
    }
}

/// The map in front of the data: a count, then offsets and lengths, each a decimal line, padded to whole blocks. Also
/// gives how many bytes it took.
pub(super) fn leading(reader: &mut impl Read, real_size: u64, stored: u64) -> Result<(Map, u64)> {
    let mut lines = Lines { reader, block: Vec::new(), read: 0, stored };
    let pieces = lines.number()?;
    if pieces > PIECES as u64 {
        return Err(Error::new(format!("a sparse file of more than {PIECES} pieces")));
    }
    let mut map = Map::new();
    for _ in 0..pieces {
        map.push((lines.number()?, lines.number()?));
    }
    check(&map, real_size)?;
    Ok((map, lines.read))
}

struct Lines<'a, R> {
    reader: &'a mut R,
    block: Vec<u8>,
    read: u64,
    stored: u64,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<u64> {
        let mut digits = String::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                digit if digit.is_ascii_digit() && digits.len() < 20 => digits.push(char::from(digit)),
                _ => return Err(Error::new("the map of a sparse file is malformed")),
            }
        }
        digits.parse().map_err(|_| Error::new("the map of a sparse file is malformed"))
    }

    /// The next byte; blocks are read whole, as the data begins at a block.
    fn byte(&mut self) -> Result<u8> {
        if self.block.is_empty() {
            let mut block = [0; BLOCK];
            if self.read + BLOCK as u64 > self.stored {
                return Err(Error::new("the map of a sparse file is cut off"));
            }
            self.reader.read_exact(&mut block).context(|| "read the map of a sparse file")?;
            self.read += BLOCK as u64;
            self.block = block.iter().rev().copied().collect();
        }
        Ok(self.block.pop().unwrap_or_default())
    }
}

/// Pieces come in order, do not overlap, and end within the file.
fn check(map: &Map, size: u64) -> Result<()> {
    let mut end = 0;
    for (offset, length) in map {
        let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= size);
        end = next.ok_or_else(|| Error::new("the map of a sparse file is not in order"))?;
    }
    Ok(())
}

/// How many bytes the pieces have.
pub(super) fn stored(map: &Map) -> u64 {
    map.iter().map(|(_, length)| length).sum()
}
