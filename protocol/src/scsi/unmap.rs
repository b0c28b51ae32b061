//! The parameter list of UNMAP (SBC-3 §5.28): which blocks no longer hold data.

use super::sense::{PARAMETER_LIST_LENGTH_ERROR, Sense};
use super::{put, put_length_u16, u16_at, u32_at, u64_at};

/// Bytes before the first descriptor.
pub const HEADER_LEN: usize = 8;
/// Bytes of one descriptor.
pub const DESCRIPTOR_LEN: usize = 16;

/// Blocks that no longer hold data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// The first.
    pub lba: u64,
    /// How many; none is allowed and does nothing.
    pub blocks: u32,
}

/// Writes the list.
///
/// # Panics
/// If there are more extents than a list can hold; the target's own limit is far lower.
#[must_use]
pub fn build(extents: &[Extent]) -> Vec<u8> {
    let mut list = vec![0; HEADER_LEN];
    for extent in extents {
        let mut descriptor = [0; DESCRIPTOR_LEN];
        put(&mut descriptor, 0, extent.lba.to_be_bytes());
        put(&mut descriptor, 8, extent.blocks.to_be_bytes());
        list.extend(descriptor);
    }
    put_length_u16(&mut list, 0);
    let descriptors = list.len() - HEADER_LEN;
    put(&mut list, 2, u16::try_from(descriptors).expect("shorter than the list").to_be_bytes());
    list
}

/// Reads the list. Empty is right and asks for nothing. UNMAP DATA LENGTH is not needed to read it;
/// a descriptor length that is no multiple of sixteen loses the rest, and one beyond the list that
/// arrived is an error, both as SBC-3 §5.28 has it.
pub fn parse(list: &[u8]) -> Result<Vec<Extent>, Sense> {
    if list.is_empty() {
        return Ok(Vec::new());
    }
    let (head, rest) = list.split_first_chunk::<HEADER_LEN>().ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
    let told = usize::from(u16_at(head, 2));
    let descriptors = rest.get(..told).ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
    let extent = |descriptor: &[u8; DESCRIPTOR_LEN]| Extent {
        lba: u64_at(descriptor, 0),
        blocks: u32_at(descriptor, 8),
    };
    Ok(descriptors.as_chunks().0.iter().map(extent).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_lengths_count_what_follows_them() {
        let list = build(&[Extent { lba: 7, blocks: 9 }]);
        assert_eq!(list[..8], [0, 22, 0, 16, 0, 0, 0, 0]);
        assert_eq!(list[8..], [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 9, 0, 0, 0, 0]);
    }

    #[test]
    fn a_list_shorter_than_it_says_is_a_length_error() {
        let list = build(&[Extent { lba: 7, blocks: 9 }]);
        assert_eq!(parse(&[]), Ok(vec![]));
        for cut in 1..list.len() {
            assert_eq!(parse(&list[..cut]), Err(PARAMETER_LIST_LENGTH_ERROR), "cut at {cut}");
        }
    }

    #[test]
    fn a_part_of_a_descriptor_is_left_out() {
        let mut list = build(&[Extent { lba: 7, blocks: 9 }, Extent { lba: 8, blocks: 1 }]);
        list[3] = 31;
        assert_eq!(parse(&list), Ok(vec![Extent { lba: 7, blocks: 9 }]));
    }

    proptest! {
        #[test]
        fn a_list_comes_back_as_what_it_was(
            extents in prop::collection::vec((any::<u64>(), any::<u32>()), 0..40),
        ) {
            let extents: Vec<_> =
                extents.into_iter().map(|(lba, blocks)| Extent { lba, blocks }).collect();
            prop_assert_eq!(parse(&build(&extents)), Ok(extents));
        }

        #[test]
        fn no_list_panics(list in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = parse(&list);
        }
    }
}
