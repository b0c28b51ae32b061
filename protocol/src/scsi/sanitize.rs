//! SANITIZE (SBC-3 §5.21, SBC-4 §5.30): its service actions and the parameter list of OVERWRITE.

use super::sense::{INVALID_FIELD_IN_LIST, PARAMETER_LIST_LENGTH_ERROR, Sense};
use super::u16_at;

/// Service actions.
pub mod action {
    /// OVERWRITE.
    pub const OVERWRITE: u8 = 0x01;
    /// BLOCK ERASE.
    pub const BLOCK_ERASE: u8 = 0x02;
    /// EXIT FAILURE MODE.
    pub const EXIT_FAILURE_MODE: u8 = 0x1F;
}

/// Bytes before the pattern.
pub const HEADER_LEN: u16 = 4;

/// What every block is overwritten with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overwrite {
    /// INVERT: every pass writes the inverse of the one before.
    pub invert: bool,
    /// OVERWRITE COUNT: passes, at least one.
    pub count: u8,
    /// INITIALIZATION PATTERN, which fills each block from its beginning.
    pub pattern: Vec<u8>,
}

impl Overwrite {
    /// Reads the list, for blocks of so many bytes.
    pub fn parse(list: &[u8], block_size: u32) -> Result<Self, Sense> {
        let (head, rest) = list.split_first_chunk::<4>().ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
        let (count, test) = (head[0] & 0x1F, head[0] & 0x60);
        // Nobody can overwrite zero times; no behaviour for tests is offered.
        if count == 0 || test != 0 {
            return Err(INVALID_FIELD_IN_LIST.at_list(0));
        }
        let len = u16_at(head, 2);
        let pattern = rest.get(..usize::from(len)).filter(|pattern| !pattern.is_empty());
        match pattern {
            Some(pattern) if u32::from(len) <= block_size => {
                Ok(Self { invert: head[0] & 0x80 != 0, count, pattern: pattern.to_vec() })
            }
            _ => Err(INVALID_FIELD_IN_LIST.at_list(2)),
        }
    }

    /// Writes the list.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let len = u16::try_from(self.pattern.len()).unwrap_or(u16::MAX);
        let mut list = vec![u8::from(self.invert) << 7 | self.count & 0x1F, 0];
        list.extend(len.to_be_bytes());
        list.extend(&self.pattern);
        list
    }

    /// One block as a pass writes it; passes are counted from zero.
    #[must_use]
    pub fn block(&self, pass: u8, block_size: u32) -> Vec<u8> {
        let inverse = if self.invert && pass % 2 == 1 { 0xFF } else { 0 };
        self.pattern.iter().cycle().take(block_size as usize).map(|byte| byte ^ inverse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_and_each_fault_of_it_is_pointed_at() {
        let overwrite = Overwrite { invert: true, count: 3, pattern: vec![1, 2, 3] };
        let list = overwrite.build();
        assert_eq!(list, [0x83, 0, 0, 3, 1, 2, 3]);
        assert_eq!(Overwrite::parse(&list, 512), Ok(overwrite.clone()));
        for (byte, value, at) in [(0, 0x80, 0), (0, 0x23, 0), (3, 0, 2), (3, 4, 2), (2, 3, 2)] {
            let mut bad = list.clone();
            bad[byte] = value;
            let refused = Err(INVALID_FIELD_IN_LIST.at_list(at));
            assert_eq!(Overwrite::parse(&bad, 512), refused, "byte {byte}: {value}");
        }
        assert_eq!(Overwrite::parse(&list[..3], 512), Err(PARAMETER_LIST_LENGTH_ERROR));
        assert_eq!(overwrite.block(0, 8), [1, 2, 3, 1, 2, 3, 1, 2]);
        assert_eq!(overwrite.block(1, 4), [!1, !2, !3, !1]);
        assert_eq!(overwrite.block(2, 2), [1, 2]);
    }
}
