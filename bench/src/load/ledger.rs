//! What must be on the volume: every write is stamped with its place and how often that place was
//! written, so a read can tell lost, stale, torn and misplaced data.

/// Places of one request's length, each with its last generation.
#[derive(Debug)]
pub(super) struct Ledger {
    len: u32,
    /// Writes that each place has seen; 0 is a place whose bytes are unknown.
    generations: Vec<u32>,
    busy: Vec<bool>,
}

impl Ledger {
    /// Requests of `len` bytes within the first `span`.
    pub(super) fn new(len: u32, span: u64) -> Self {
        let places = usize::try_from(span / u64::from(len)).expect("a volume that is verified");
        Self { len, generations: vec![0; places], busy: vec![false; places] }
    }

    /// Claims the place: two requests for the same bytes at once have no certain outcome.
    pub(super) fn claim(&mut self, offset: u64) -> bool {
        let place = self.place(offset);
        !std::mem::replace(&mut self.busy[place], true)
    }

    pub(super) fn release(&mut self, offset: u64) {
        let place = self.place(offset);
        self.busy[place] = false;
    }

    /// Fills `bytes` with what the next write at `offset` writes.
    pub(super) fn stamp(&mut self, offset: u64, bytes: &mut [u8]) {
        let place = self.place(offset);
        self.generations[place] += 1;
        for (word, bytes) in words(offset, self.generations[place]).zip(bytes.chunks_mut(8)) {
            bytes.copy_from_slice(&word.to_be_bytes()[..bytes.len()]);
        }
    }

    /// Whether `bytes` are those of the last write at `offset`.
    pub(super) fn fits(&self, offset: u64, bytes: &[u8]) -> bool {
        let generation = self.generations[self.place(offset)];
        let mut words = words(offset, generation).zip(bytes.chunks(8));
        generation == 0 || words.all(|(word, bytes)| word.to_be_bytes()[..bytes.len()] == *bytes)
    }

    fn place(&self, offset: u64) -> usize {
        usize::try_from(offset / u64::from(self.len)).expect("within the span")
    }
}

/// The words of a write: no two alike within a volume's life.
fn words(offset: u64, generation: u32) -> impl Iterator<Item = u64> {
    let seed = (offset ^ (u64::from(generation) << 40)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0u64..).map(move |index| (seed ^ index).wrapping_mul(0xD6E8_FEB8_6659_FD93))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_stale_torn_and_misplaced_data_are_told_from_good() {
        let mut ledger = Ledger::new(4096, 1 << 20);
        let mut first = vec![0; 4096];
        assert!(ledger.fits(8192, &first), "nothing is known of it yet");
        ledger.stamp(8192, &mut first);
        assert!(ledger.fits(8192, &first));
        assert!(!ledger.fits(8192, &[0; 4096]), "lost");
        let mut second = vec![0; 4096];
        ledger.stamp(8192, &mut second);
        assert!(ledger.fits(8192, &second));
        assert!(!ledger.fits(8192, &first), "stale");
        let torn = [&second[..512], &first[512..]].concat();
        assert!(!ledger.fits(8192, &torn), "torn");
        let mut other = vec![0; 4096];
        ledger.stamp(0, &mut other);
        assert!(!ledger.fits(8192, &other), "misplaced");
    }

    #[test]
    fn a_place_is_claimed_once() {
        let mut ledger = Ledger::new(512, 4096);
        assert!(ledger.claim(512));
        assert!(!ledger.claim(512));
        ledger.release(512);
        assert!(ledger.claim(512));
    }
}
