//! The parameter list of FORMAT UNIT (SBC-3 §5.3.2), for media that see to their own defects and have no
//! protection information.

use super::cdb::FormatUnit;
use super::sense::{INVALID_FIELD_IN_LIST, PARAMETER_LIST_LENGTH_ERROR, Sense};
use super::{u16_at, u32_at};

/// Options in byte 1. Without FOV those named with it must be zero.
const OPTIONS_AT: u16 = 1;
const FOV: u8 = 0x80;
const DPRY: u8 = 0x40;
const DCRT: u8 = 0x20;
const STPF: u8 = 0x10;
const IP: u8 = 0x08;
const IMMED: u8 = 0x02;

/// Bytes of an initialization pattern descriptor before its pattern.
const DESCRIPTOR_LEN: usize = 4;
/// INITIALIZATION PATTERN TYPE.
const DEFAULT_PATTERN: u8 = 0x00;
const REPEATED_PATTERN: u8 = 0x01;

/// What a list asks for. With which defect lists (DPRY, STPF) and whether with a certification (DCRT)
/// makes no difference where there are no defects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Format {
    /// IMMED: the answer comes when it has begun.
    pub immed: bool,
    /// What fills each block from its beginning; without it zeros.
    pub pattern: Option<Vec<u8>>,
}

/// The longest list that can be taken, for blocks of so many bytes.
#[must_use]
pub const fn list_len_max(block_size: u32) -> u32 {
    8 + 4 + block_size
}

impl Format {
    /// Reads the list that comes with a command, and how long it is: what follows is not looked at.
    pub fn parse(
        list: &[u8],
        fields: &FormatUnit,
        block_size: u32,
    ) -> Result<(Self, usize), Sense> {
        let header_len = usize::from(fields.header_len());
        let header = list.get(..header_len).ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
        check_header(header)?;
        let options = header[1];
        let immed = options & IMMED != 0;
        if options & IP == 0 {
            return Ok((Self { immed, pattern: None }, header_len));
        }
        let (pattern, len) = parse_pattern(&list[header_len..], header_len, block_size)?;
        Ok((Self { immed, pattern }, header_len + DESCRIPTOR_LEN + len))
    }

    /// Writes the list for a command with these fields.
    #[must_use]
    pub fn build(&self, fields: &FormatUnit) -> Vec<u8> {
        let mut list = vec![0; fields.header_len().into()];
        if let Some(options) = list.get_mut(1) {
            let pattern = if self.pattern.is_some() { FOV | IP } else { 0 };
            *options = if self.immed { IMMED | pattern } else { pattern };
        }
        if let Some(pattern) = &self.pattern {
            list.extend([0, REPEATED_PATTERN]);
            list.extend(u16::try_from(pattern.len()).unwrap_or(u16::MAX).to_be_bytes());
            list.extend(pattern);
        }
        list
    }
}

/// The short header or the long one, told apart by their lengths.
fn check_header(header: &[u8]) -> Result<(), Sense> {
    // PROTECTION FIELD USAGE.
    if header[0] & 0x07 != 0 {
        return Err(INVALID_FIELD_IN_LIST.at_list_bit(0, 2));
    }
    let options = header[1];
    let invalid = if options & FOV == 0 { options & (DPRY | DCRT | STPF | IP) } else { 0 };
    if invalid != 0 {
        let bit = 7 - u8::try_from(invalid.leading_zeros()).expect("a byte has eight bits");
        return Err(INVALID_FIELD_IN_LIST.at_list_bit(OPTIONS_AT, bit));
    }
    let (defects, defects_at) = match header.len() {
        4 => (u16_at(header, 2).into(), 2),
        // P_I_INFORMATION and PROTECTION INTERVAL EXPONENT.
        _ if header[3] != 0 => return Err(INVALID_FIELD_IN_LIST.at_list(3)),
        _ => (u32_at(header, 4), 4),
    };
    // DEFECT LIST LENGTH: nobody outside knows of defects here.
    if defects != 0 {
        return Err(INVALID_FIELD_IN_LIST.at_list(defects_at));
    }
    Ok(())
}

/// The initialization pattern descriptor, which is at `at` of the list, and the length of its pattern.
fn parse_pattern(
    descriptor: &[u8],
    at: usize,
    block_size: u32,
) -> Result<(Option<Vec<u8>>, usize), Sense> {
    let at = u16::try_from(at).expect("a header has eight bytes at most");
    let (head, rest) =
        descriptor.split_first_chunk::<DESCRIPTOR_LEN>().ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
    // IP MODIFIER would write addresses into the blocks; SI wants those reached that nobody can address.
    if head[0] & 0xE0 != 0 {
        return Err(INVALID_FIELD_IN_LIST.at_list_bit(at, if head[0] & 0xC0 != 0 { 7 } else { 5 }));
    }
    let len = u16_at(head, 2);
    match (head[1], len) {
        (DEFAULT_PATTERN, 0) => Ok((None, 0)),
        (REPEATED_PATTERN, 1..) if u32::from(len) <= block_size => {
            let len = usize::from(len);
            let pattern = rest.get(..len).ok_or(PARAMETER_LIST_LENGTH_ERROR)?;
            Ok((Some(pattern.to_vec()), len))
        }
        (DEFAULT_PATTERN | REPEATED_PATTERN, _) => Err(INVALID_FIELD_IN_LIST.at_list(at + 2)),
        _ => Err(INVALID_FIELD_IN_LIST.at_list(at + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(long_header: bool) -> FormatUnit {
        FormatUnit { has_list: true, long_header, ..FormatUnit::default() }
    }

    fn parse(list: &[u8], long: bool) -> Result<(Format, usize), Sense> {
        Format::parse(list, &fields(long), 512)
    }

    #[test]
    fn a_list_comes_back_whichever_its_header_and_what_follows_is_not_its() {
        let zeros = Format { immed: true, pattern: None };
        let filled = Format { immed: false, pattern: Some(vec![1, 2, 3]) };
        for (format, long, bytes) in [
            (&zeros, false, &[0, 0x02, 0, 0][..]),
            (&zeros, true, &[0, 0x02, 0, 0, 0, 0, 0, 0]),
            (&filled, false, &[0, 0x88, 0, 0, 0, 1, 0, 3, 1, 2, 3]),
            (&filled, true, &[0, 0x88, 0, 0, 0, 0, 0, 0, 0, 1, 0, 3, 1, 2, 3]),
        ] {
            assert_eq!(format.build(&fields(long)), bytes);
            let expected = Ok((format.clone(), bytes.len()));
            assert_eq!(parse(&[bytes, &[0xEE; 5]].concat(), long), expected);
            for cut in 0..bytes.len() {
                assert_eq!(parse(&bytes[..cut], long), Err(PARAMETER_LIST_LENGTH_ERROR), "{cut}");
            }
        }
    }

    #[test]
    fn options_that_only_a_disk_with_defects_can_tell_apart_are_taken() {
        for options in [FOV, FOV | DPRY, FOV | DCRT, FOV | STPF, FOV | DPRY | DCRT | STPF, 0x05] {
            assert_eq!(parse(&[0, options, 0, 0], false), Ok((Format::default(), 4)), "{options}");
        }
        // The default pattern, said in so many words.
        let list = [0, FOV | IP, 0, 0, 0, 0, 0, 0];
        assert_eq!(parse(&list, false), Ok((Format::default(), 8)));
    }

    #[test]
    fn each_fault_of_a_list_is_pointed_at() {
        let at = |byte| INVALID_FIELD_IN_LIST.at_list(byte);
        let bit = |byte, bit| INVALID_FIELD_IN_LIST.at_list_bit(byte, bit);
        for (list, long, refused) in [
            (&[1, 0, 0, 0][..], false, bit(0, 2)),
            // Options without FOV.
            (&[0, DPRY, 0, 0], false, bit(1, 6)),
            (&[0, DCRT | IP, 0, 0], false, bit(1, 5)),
            (&[0, STPF, 0, 0], false, bit(1, 4)),
            (&[0, IP | IMMED, 0, 0, 0, 1, 0, 1, 1], false, bit(1, 3)),
            // Defects, and protection intervals.
            (&[0, 0, 0, 4, 0, 0, 0, 1], false, at(2)),
            (&[0, 0, 0, 0, 0, 0, 0, 8], true, at(4)),
            (&[0, 0, 0, 1, 0, 0, 0, 0], true, at(3)),
            (&[0, 0, 0, 0x10, 0, 0, 0, 0], true, at(3)),
            // IP MODIFIER, SI, a type that is none, and lengths that do not go with the types.
            (&[0, 0x88, 0, 0, 0x40, 1, 0, 1, 9], false, bit(4, 7)),
            (&[0, 0x88, 0, 0, 0x20, 1, 0, 1, 9], false, bit(4, 5)),
            (&[0, 0x88, 0, 0, 0, 2, 0, 1, 9], false, at(5)),
            (&[0, 0x88, 0, 0, 0, 0, 0, 1, 9], false, at(6)),
            (&[0, 0x88, 0, 0, 0, 1, 0, 0], false, at(6)),
            (&[0, 0x88, 0, 0, 0, 1, 2, 1], false, at(6)),
            (&[0, 0x88, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0], true, at(9)),
        ] {
            assert_eq!(parse(list, long), Err(refused), "{list:02X?}");
        }
    }
}
