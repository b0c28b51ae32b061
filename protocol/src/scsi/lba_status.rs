//! GET LBA STATUS parameter data (SBC-4 §5.9): which blocks have room behind them.

use super::{Malformed, put, u32_at, u64_at};

/// Bytes before the first descriptor.
pub const HEADER_LEN: usize = 8;
/// Bytes of one descriptor.
pub const DESCRIPTOR_LEN: usize = 16;

/// PROVISIONING STATUS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Provisioning {
    /// There is room behind the blocks, or nobody knows.
    Mapped,
    /// There is none; LBPRZ says what they read as.
    Deallocated,
    /// There is room, and nothing in it.
    Anchored,
    /// A value that this standard reserves.
    Other(u8),
}

/// Blocks of one status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// The first.
    pub lba: u64,
    /// How many.
    pub blocks: u32,
    /// What is behind them.
    pub status: Provisioning,
}

impl Provisioning {
    const fn code(self) -> u8 {
        match self {
            Self::Mapped => 0,
            Self::Deallocated => 1,
            Self::Anchored => 2,
            Self::Other(code) => code & 0x0F,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code & 0x0F {
            0 => Self::Mapped,
            1 => Self::Deallocated,
            2 => Self::Anchored,
            code => Self::Other(code),
        }
    }
}

/// Writes the data.
///
/// # Panics
/// If there are more descriptors than a length of four bytes counts.
#[must_use]
pub fn build(descriptors: &[Descriptor]) -> Vec<u8> {
    let mut data = vec![0; HEADER_LEN];
    for descriptor in descriptors {
        let mut bytes = [0; DESCRIPTOR_LEN];
        put(&mut bytes, 0, descriptor.lba.to_be_bytes());
        put(&mut bytes, 8, descriptor.blocks.to_be_bytes());
        bytes[12] = descriptor.status.code();
        data.extend(bytes);
    }
    let len = u32::try_from(data.len() - 4).expect("far fewer descriptors are asked for");
    put(&mut data, 0, len.to_be_bytes());
    data
}

/// Reads the data, cut to what arrived; a part of a descriptor is left out.
pub fn parse(data: &[u8]) -> Result<Vec<Descriptor>, Malformed> {
    let (head, rest) = data.split_first_chunk::<HEADER_LEN>().ok_or(Malformed("LBA status"))?;
    let told = usize::try_from(u32_at(head, 0)).unwrap_or(usize::MAX).saturating_sub(4);
    let descriptor = |bytes: &[u8; DESCRIPTOR_LEN]| Descriptor {
        lba: u64_at(bytes, 0),
        blocks: u32_at(bytes, 8),
        status: Provisioning::from_code(bytes[12]),
    };
    Ok(rest[..rest.len().min(told)].as_chunks().0.iter().map(descriptor).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_length_counts_what_follows_it() {
        let data = build(&[Descriptor { lba: 7, blocks: 9, status: Provisioning::Deallocated }]);
        assert_eq!(data[..8], [0, 0, 0, 20, 0, 0, 0, 0]);
        assert_eq!(data[8..], [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 1, 0, 0, 0]);
        assert!(parse(&data[..7]).is_err());
        assert_eq!(parse(&data[..23]), Ok(vec![]));
    }

    proptest! {
        #[test]
        fn descriptors_come_back_as_what_they_were(
            all in prop::collection::vec((any::<u64>(), any::<u32>(), 0u8..16), 0..20),
        ) {
            let descriptor = |(lba, blocks, code)| {
                Descriptor { lba, blocks, status: Provisioning::from_code(code) }
            };
            let all: Vec<_> = all.into_iter().map(descriptor).collect();
            prop_assert_eq!(parse(&build(&all)), Ok(all));
        }

        #[test]
        fn no_data_panics(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&data);
        }
    }
}
