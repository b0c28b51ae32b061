//! Mode pages (SPC-4 §7.5, SBC-3 §6): headers, block descriptors, and the three pages a disk of
//! this kind has.

use super::{Malformed, put, u16_at, u32_at};

/// PAGE CODE of the caching page.
pub const CACHING: u8 = 0x08;
/// PAGE CODE of the control page.
pub const CONTROL: u8 = 0x0A;
/// PAGE CODE of the informational exceptions control page.
pub const EXCEPTIONS: u8 = 0x1C;
/// PAGE CODE that asks for every page.
pub const ALL_PAGES: u8 = 0x3F;
/// SUBPAGE CODE that asks for every subpage.
pub const ALL_SUBPAGES: u8 = 0xFF;

/// The caching page, 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Caching {
    /// WCE: a write may be answered before it is on the medium.
    pub write_cache: bool,
}

impl Caching {
    /// Writes the page.
    #[must_use]
    pub fn page(self) -> [u8; 20] {
        let mut page = [0; 20];
        page[..3].copy_from_slice(&[CACHING, 18, u8::from(self.write_cache) << 2]);
        page
    }
}

/// The control page, 12 bytes. What it does not name is fixed: one task set for all nexuses,
/// commands of other nexuses are ended without an answer (TAS=0), nothing is logged (GLTSD=1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Control {
    /// D_SENSE: sense comes in descriptor format.
    pub descriptor_sense: bool,
    /// SWP: writes are refused.
    pub write_protect: bool,
}

const GLTSD: u8 = 0x02;
/// QUEUE ALGORITHM MODIFIER 1: SIMPLE commands run in any order.
const UNRESTRICTED_REORDERING: u8 = 0x10;

impl Control {
    /// Writes the page.
    #[must_use]
    pub fn page(self) -> [u8; 12] {
        let mut page = self.mask();
        page[2] |= GLTSD;
        page[3] = UNRESTRICTED_REORDERING;
        page
    }

    /// The page with nothing but the named fields, for changeable values.
    #[must_use]
    pub fn mask(self) -> [u8; 12] {
        let mut page = [0; 12];
        page[..2].copy_from_slice(&[CONTROL, 10]);
        page[2] = u8::from(self.descriptor_sense) << 2;
        page[4] = u8::from(self.write_protect) << 3;
        page
    }
}

/// The informational exceptions control page, 12 bytes: none are reported (DEXCPT=1, MRIE=0).
#[must_use]
pub fn exceptions() -> [u8; 12] {
    let mut page = exceptions_mask();
    page[2] = 0x08;
    page
}

/// The same, with no field that can change.
#[must_use]
pub fn exceptions_mask() -> [u8; 12] {
    let mut page = [0; 12];
    page[..2].copy_from_slice(&[EXCEPTIONS, 10]);
    page
}

/// Which of the two headers: each command has its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// Four bytes, MODE SENSE(6) and MODE SELECT(6).
    Six,
    /// Eight bytes, MODE SENSE(10) and MODE SELECT(10).
    Ten,
}

/// What precedes the pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Header {
    /// WP: the medium is write protected, for whatever reason.
    pub write_protected: bool,
    /// DPOFUA: both bits are honoured.
    pub dpo_fua: bool,
    /// A block descriptor, when asked for.
    pub descriptor: Option<Descriptor>,
}

/// A block descriptor for direct access devices (SBC-3 §6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Blocks on the medium; the short form says FFFFFFFFh when there are more.
    pub blocks: u64,
    /// Bytes in a block.
    pub block_size: u32,
    /// The long form, sixteen bytes.
    pub long: bool,
}

impl Descriptor {
    fn bytes(&self) -> Vec<u8> {
        if self.long {
            let mut bytes = vec![0; 16];
            put(&mut bytes, 0, self.blocks.to_be_bytes());
            put(&mut bytes, 12, self.block_size.to_be_bytes());
            return bytes;
        }
        let mut bytes = vec![0; 8];
        let blocks = u32::try_from(self.blocks).unwrap_or(u32::MAX);
        put(&mut bytes, 0, blocks.to_be_bytes());
        // The byte above the three of the block size is reserved.
        put(&mut bytes, 4, (self.block_size & 0x00FF_FFFF).to_be_bytes());
        bytes
    }

    fn parse(bytes: &[u8], long: bool) -> Option<Self> {
        match (long, bytes.len()) {
            (_, 0) => None,
            (true, 16..) => {
                let blocks = u64::from(u32_at(bytes, 0)) << 32 | u64::from(u32_at(bytes, 4));
                Some(Self { blocks, block_size: u32_at(bytes, 12), long })
            }
            (false, 8..) => Some(Self {
                blocks: u32_at(bytes, 0).into(),
                block_size: u32_at(bytes, 4) & 0x00FF_FFFF,
                long,
            }),
            _ => None,
        }
    }
}

/// MODE SENSE parameter data: header, descriptor, pages.
///
/// # Panics
/// If the pages are longer than the form's length field can say.
#[must_use]
pub fn build(form: Form, header: &Header, pages: &[u8]) -> Vec<u8> {
    let specific = u8::from(header.write_protected) << 7 | u8::from(header.dpo_fua) << 4;
    let descriptor = header.descriptor.map_or_else(Vec::new, |descriptor| descriptor.bytes());
    let len = u8::try_from(descriptor.len()).expect("a descriptor is at most 16 bytes");
    let long = header.descriptor.is_some_and(|descriptor| descriptor.long);
    let mut data = match form {
        Form::Six => vec![0, 0, specific, len],
        Form::Ten => vec![0, 0, 0, specific, u8::from(long), 0, 0, len],
    };
    data.extend(descriptor);
    data.extend(pages);
    match form {
        Form::Six => data[0] = u8::try_from(data.len() - 1).expect("three short pages"),
        Form::Ten => super::put_length_u16(&mut data, 0),
    }
    data
}

/// Parameter data of MODE SENSE or MODE SELECT, read as far as it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameters<'a> {
    /// What preceded the pages.
    pub header: Header,
    /// The pages, back to back.
    pub pages: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// Reads header and descriptor. MODE DATA LENGTH is not looked at: in MODE SELECT it is
    /// reserved, and in MODE SENSE it counts data that may have been cut.
    pub fn parse(form: Form, data: &'a [u8]) -> Result<Self, Malformed> {
        let short = Malformed("mode parameters");
        let (specific, long, len, rest) = match form {
            Form::Six => {
                let (head, rest) = data.split_first_chunk::<4>().ok_or(short)?;
                (head[2], false, usize::from(head[3]), rest)
            }
            Form::Ten => {
                let (head, rest) = data.split_first_chunk::<8>().ok_or(short)?;
                (head[3], head[4] & 0x01 != 0, usize::from(u16_at(head, 6)), rest)
            }
        };
        let (descriptor, pages) = rest.split_at_checked(len).ok_or(short)?;
        let header = Header {
            write_protected: specific & 0x80 != 0,
            dpo_fua: specific & 0x10 != 0,
            descriptor: Descriptor::parse(descriptor, long),
        };
        Ok(Self { header, pages })
    }

    /// The pages one by one; a page that was cut is an error and the last.
    pub fn each(&self) -> impl Iterator<Item = Result<Page<'a>, Malformed>> + use<'a> {
        let mut rest = self.pages;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let page = Page::split(rest);
            rest = page.map_or(&[], |(_, rest)| rest);
            Some(page.map(|(page, _)| page).ok_or(Malformed("mode page")))
        })
    }

    /// The caching page, if it is there.
    pub fn caching(&self) -> Result<Option<Caching>, Malformed> {
        let page =
            self.each().find(|page| page.is_err() || page.is_ok_and(|page| page.code == CACHING));
        let write_cache = |page: Page<'_>| page.body.first().is_some_and(|flags| flags & 0x04 != 0);
        Ok(page.transpose()?.map(|page| Caching { write_cache: write_cache(page) }))
    }
}

/// One page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page<'a> {
    /// PAGE CODE.
    pub code: u8,
    /// SUBPAGE CODE, when the page has the form with one (SPF).
    pub subpage: Option<u8>,
    /// The page with its code and length.
    pub bytes: &'a [u8],
    /// What follows the length.
    pub body: &'a [u8],
}

impl<'a> Page<'a> {
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let code = bytes.first()?;
        let (subpage, head, len) = match code & 0x40 {
            0 => (None, 2, usize::from(*bytes.get(1)?)),
            _ => (Some(*bytes.get(1)?), 4, usize::from(u16_at(bytes.get(..4)?, 2))),
        };
        let (page, rest) = bytes.split_at_checked(head + len)?;
        Some((Self { code: code & 0x3F, subpage, bytes: page, body: &page[head..] }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Descriptor = Descriptor { blocks: 1 << 20, block_size: 4096, long: false };

    #[test]
    fn the_header_of_each_form_counts_what_follows_its_length() {
        let header = Header { write_protected: true, dpo_fua: true, descriptor: Some(SHORT) };
        let page = Caching { write_cache: true }.page();
        let six = build(Form::Six, &header, &page);
        assert_eq!(six[..12], [31, 0, 0x90, 8, 0, 0x10, 0, 0, 0, 0, 0x10, 0]);
        let ten = build(Form::Ten, &header, &page);
        assert_eq!(ten[..8], [0, 34, 0, 0x90, 0, 0, 0, 8]);
        for (form, data) in [(Form::Six, six), (Form::Ten, ten)] {
            let parsed = Parameters::parse(form, &data).unwrap();
            assert_eq!(parsed.header, header);
            assert_eq!(parsed.caching(), Ok(Some(Caching { write_cache: true })));
        }
    }

    #[test]
    fn a_long_descriptor_holds_what_the_short_one_cannot() {
        let large = Descriptor { blocks: 1 << 40, ..SHORT };
        let header =
            Header { descriptor: Some(Descriptor { long: true, ..large }), ..Header::default() };
        let data = build(Form::Ten, &header, &[]);
        assert_eq!(data.len(), 24);
        assert_eq!(Parameters::parse(Form::Ten, &data).unwrap().header, header);
        let data = build(Form::Six, &Header { descriptor: Some(large), ..header }, &[]);
        assert_eq!(data[4..8], [0xFF; 4]);
    }

    #[test]
    fn the_pages_have_the_bits_of_the_standard() {
        let control = Control { descriptor_sense: true, write_protect: true };
        assert_eq!(control.page(), [0x0A, 10, 0x06, 0x10, 0x08, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(control.mask(), [0x0A, 10, 0x04, 0, 0x08, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(exceptions()[..4], [0x1C, 10, 0x08, 0]);
        assert_eq!(Caching { write_cache: true }.page()[..3], [0x08, 18, 0x04]);
    }

    #[test]
    fn pages_cut_anywhere_are_an_error_not_a_panic() {
        let pages = [&Caching::default().page()[..], &[0x4A, 1, 0, 2, 9, 9]].concat();
        let data = build(Form::Ten, &Header::default(), &pages);
        let codes = |data: &[u8]| -> Result<Vec<(u8, Option<u8>)>, Malformed> {
            let parsed = Parameters::parse(Form::Ten, data)?;
            parsed.each().map(|page| page.map(|page| (page.code, page.subpage))).collect()
        };
        assert_eq!(codes(&data), Ok(vec![(CACHING, None), (CONTROL, Some(1))]));
        let whole = [8, 28];
        for cut in (0..data.len()).filter(|cut| !whole.contains(cut)) {
            assert!(codes(&data[..cut]).is_err(), "cut at {cut}");
        }
    }
}
