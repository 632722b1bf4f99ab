//! The unit of occupancy: one bit for each of 512 neighbouring addresses.

/// 512 bits; a set bit is an address in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Block([u64; 8]);

impl Block {
    /// The highest bit.
    pub(crate) const LAST: usize = 511;
    /// The size on disk.
    pub(crate) const BYTES: usize = 64;

    pub(crate) fn set(&mut self, bit: usize) {
        if let Some(word) = self.0.get_mut(bit / 64) {
            *word |= 1 << (bit % 64);
        }
    }

    pub(crate) fn clear(&mut self, bit: usize) {
        if let Some(word) = self.0.get_mut(bit / 64) {
            *word &= !(1 << (bit % 64));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The lowest clear bit of `low..=high`.
    pub(crate) fn first_free(&self, low: usize, high: usize) -> Option<usize> {
        let (first, last) = (low / 64, high / 64);
        self.0.iter().enumerate().take(last + 1).skip(first).find_map(|(i, word)| {
            let below = if i == first { (1u64 << (low % 64)) - 1 } else { 0 };
            let bit = (word | below).trailing_ones() as usize;
            let found = i * 64 + bit;
            (bit < 64 && found <= high).then_some(found)
        })
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let mut block = Self::default();
        for (word, chunk) in block.0.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*chunk);
        }
        block
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_lowest_free_bit_within_bounds() {
        let mut block = Block::default();
        (0..=Block::LAST).for_each(|bit| block.set(bit));
        assert_eq!(block.first_free(0, Block::LAST), None);
        block.clear(70);
        block.clear(511);
        assert_eq!(block.first_free(0, 511), Some(70));
        assert_eq!(block.first_free(70, 70), Some(70));
        assert_eq!(block.first_free(71, 511), Some(511));
        assert_eq!(block.first_free(71, 510), None);
        assert_eq!(block.first_free(0, 69), None);
    }

    #[test]
    fn survives_the_trip_to_bytes() {
        let mut block = Block::default();
        [0, 63, 64, 300, 511].into_iter().for_each(|bit| block.set(bit));
        assert_eq!(Block::from_bytes(&block.to_bytes()), block);
    }
}
