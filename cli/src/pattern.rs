//! Random data that can be made again: what was written somewhere, and in which turn, is known
//! without being kept. Steele, Lea and Flood's SplitMix64.

use bytes::Bytes;

#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A seed of the system's.
    pub(crate) fn seed() -> Result<u64, getrandom::Error> {
        getrandom::u64()
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// What one host writes: different at each place and in each turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    seed: u64,
}

impl Pattern {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The data of `offset` in turn `turn`. `len` is a multiple of 8.
    pub(crate) fn data(self, offset: u64, turn: u32, len: usize) -> Bytes {
        let mut random = self.at(offset, turn);
        let mut data = vec![0; len];
        for word in data.chunks_exact_mut(8) {
            word.copy_from_slice(&random.next().to_be_bytes());
        }
        data.into()
    }

    pub(crate) fn is(self, offset: u64, turn: u32, data: &[u8]) -> bool {
        let mut random = self.at(offset, turn);
        data.chunks_exact(8).all(|word| word == random.next().to_be_bytes())
    }

    fn at(self, offset: u64, turn: u32) -> Random {
        let mut random = Random::new(self.seed ^ offset.rotate_left(17) ^ (u64::from(turn) << 40));
        Random::new(random.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_known_by_its_place_and_turn_alone() {
        let pattern = Pattern::new(7);
        let data = pattern.data(4096, 3, 512);
        assert!(pattern.is(4096, 3, &data));
        assert!(!pattern.is(4096, 4, &data));
        assert!(!pattern.is(8192, 3, &data));
        assert!(!Pattern::new(8).is(4096, 3, &data));
        let mut torn = data.to_vec();
        torn[511] ^= 1;
        assert!(!pattern.is(4096, 3, &torn));
    }
}
