//! REPORT LUNS (SPC-4 §6.33), and logical unit numbers as it writes them (SAM-5 §4.7).

use super::{Malformed, put, u32_at};
use crate::ids::Lun;

/// The address of a number: peripheral device addressing where it reaches, else flat space.
#[must_use]
pub const fn address(number: u16) -> Lun {
    let number = number & 0x3FFF;
    let method = if number < 0x100 { 0 } else { 0x4000 };
    Lun(((method | number) as u64) << 48)
}

/// Which logical units REPORT LUNS is asked for (SELECT REPORT).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Select {
    /// Those that hold data.
    Addressable,
    /// Well-known logical units.
    WellKnown,
    /// Both.
    All,
}

impl Select {
    /// Reads SELECT REPORT; other values are for administrative logical units.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Addressable),
            1 => Some(Self::WellKnown),
            2 => Some(Self::All),
            _ => None,
        }
    }
}

/// REPORT LUNS parameter data.
#[must_use]
pub fn report(luns: &[Lun]) -> Vec<u8> {
    let len = u32::try_from(luns.len() * 8).expect("a target has far fewer logical units");
    let mut data = vec![0; 8];
    put(&mut data, 0, len.to_be_bytes());
    data.extend(luns.iter().flat_map(|lun| lun.0.to_be_bytes()));
    data
}

/// Reads REPORT LUNS parameter data; `complete` is false when the allocation length cut the list.
pub fn parse(data: &[u8]) -> Result<Report, Malformed> {
    let (head, list) = data.split_first_chunk::<8>().ok_or(Malformed("list of logical units"))?;
    let told = u32_at(head, 0);
    let told = usize::try_from(told).ok().filter(|len| len.is_multiple_of(8));
    let told = told.ok_or(Malformed("list of logical units"))?;
    let luns = list[..list.len().min(told)].as_chunks().0;
    let luns: Vec<Lun> = luns.iter().map(|lun| Lun(u64::from_be_bytes(*lun))).collect();
    Ok(Report { complete: luns.len() * 8 == told, luns })
}

/// What REPORT LUNS told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// The numbers that arrived.
    pub luns: Vec<Lun>,
    /// No number is missing.
    pub complete: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_back_as_its_number() {
        for number in [0, 1, 255, 256, 0x3FFF] {
            assert_eq!(address(number).number(), Some(number));
        }
        assert_eq!(address(5), Lun(0x0005_0000_0000_0000));
        assert_eq!(address(0x105), Lun(0x4105_0000_0000_0000));
    }

    #[test]
    fn a_report_counts_bytes_and_survives_being_cut() {
        let data = report(&[Lun::ZERO, address(300)]);
        assert_eq!(data[..8], [0, 0, 0, 16, 0, 0, 0, 0]);
        let luns = vec![Lun::ZERO, address(300)];
        assert_eq!(parse(&data), Ok(Report { luns, complete: true }));
        assert_eq!(parse(&data[..20]), Ok(Report { luns: vec![Lun::ZERO], complete: false }));
        assert!(parse(&data[..7]).is_err());
        assert!(parse(&[0, 0, 0, 9, 0, 0, 0, 0]).is_err());
        assert!(!parse(&[0xFF, 0xFF, 0xFF, 0xF8, 0, 0, 0, 0]).unwrap().complete);
    }
}
