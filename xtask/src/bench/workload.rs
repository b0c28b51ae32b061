//! What is asked of every contestant.

/// One kind of work.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Workload {
    /// In tables.
    pub(super) name: &'static str,
    /// As `outband-bench-load` names it.
    pub(super) pattern: &'static str,
    /// Bytes of a request.
    pub(super) block_len: u32,
    /// Requests in flight, of each session.
    pub(super) depth: u32,
    pub(super) sessions: u32,
    /// CRC32C over headers and data.
    pub(super) digests: bool,
    /// The plain workload whose figure this one's is compared with, too.
    pub(super) base: Option<&'static str>,
}

const fn plain(name: &'static str, pattern: &'static str, block_len: u32, depth: u32) -> Workload {
    Workload { name, pattern, block_len, depth, sessions: 1, digests: false, base: None }
}

const fn digested(name: &'static str, of: Workload) -> Workload {
    Workload { name, digests: true, base: Some(of.name), ..of }
}

const fn by_four(name: &'static str, of: Workload) -> Workload {
    Workload { name, sessions: 4, base: Some(of.name), ..of }
}

const READ_1: Workload = plain("4K randread, depth 1", "randread", 4096, 1);
const READ_32: Workload = plain("4K randread, depth 32", "randread", 4096, 32);
const WRITE_1: Workload = plain("4K randwrite, depth 1", "randwrite", 4096, 1);
const WRITE_32: Workload = plain("4K randwrite, depth 32", "randwrite", 4096, 32);
const LARGE_READ: Workload = plain("128K read, depth 8", "read", 131_072, 8);
const LARGE_WRITE: Workload = plain("128K write, depth 8", "write", 131_072, 8);

/// In every comparison.
pub(super) const BASIC: [Workload; 6] =
    [READ_1, READ_32, WRITE_1, WRITE_32, LARGE_READ, LARGE_WRITE];

/// Added in the quick comparison, of iSCSI alone.
pub(super) const QUICK: [Workload; 2] = [
    digested("4K randread, depth 32, digests", READ_32),
    by_four("4K randread, depth 32 × 4", READ_32),
];

/// Added in the full one.
pub(super) const FULL: [Workload; 10] = [
    digested("4K randread, depth 32, digests", READ_32),
    digested("4K randwrite, depth 32, digests", WRITE_32),
    digested("128K read, depth 8, digests", LARGE_READ),
    digested("128K write, depth 8, digests", LARGE_WRITE),
    by_four("4K randread, depth 32 × 4", READ_32),
    by_four("4K randwrite, depth 32 × 4", WRITE_32),
    by_four("128K read, depth 8 × 4", LARGE_READ),
    plain("4K 70/30 mixed, depth 32", "randrw:70", 4096, 32),
    plain("1M read, depth 4", "read", 1 << 20, 4),
    plain("1M write, depth 4", "write", 1 << 20, 4),
];

impl Workload {
    pub(super) fn writes(&self) -> bool {
        !self.pattern.ends_with("read")
    }

    /// Only iSCSI has digests, and a session to share a volume by.
    pub(super) fn is_iscsi_only(&self) -> bool {
        self.digests || self.sessions > 1
    }

    /// Bytes of a request and of a reply where nothing but headers and data go over the wire;
    /// `None` for mixed work, which has no single shape.
    pub(super) fn shape(&self) -> Option<(u32, u32)> {
        const HEADER: u32 = 48;
        match self.pattern {
            "read" | "randread" => Some((HEADER, HEADER + self.block_len)),
            "write" | "randwrite" => Some((HEADER + self.block_len, HEADER)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_base_is_in_the_same_comparison() {
        for more in [&QUICK[..], &FULL[..]] {
            for workload in more {
                let is_there = |base| BASIC.iter().any(|basic| basic.name == base);
                assert!(workload.base.is_none_or(is_there), "{}", workload.name);
            }
        }
    }

    #[test]
    fn mixed_work_has_no_shape() {
        assert_eq!(READ_1.shape(), Some((48, 4144)));
        assert_eq!(WRITE_1.shape(), Some((4144, 48)));
        assert_eq!(plain("mixed", "randrw:70", 4096, 1).shape(), None);
        assert!(plain("mixed", "randrw:70", 4096, 1).writes());
        assert!(!LARGE_READ.writes());
    }
}
