//! Log pages (SPC-4 §7.3): which there are, and the one of informational exceptions.

use super::{Malformed, u16_at};

/// PAGE CODE of the list of pages.
pub const SUPPORTED_PAGES: u8 = 0x00;
/// PAGE CODE of informational exceptions.
pub const EXCEPTIONS: u8 = 0x2F;
/// SUBPAGE CODE with which the list of pages has their subpages, too.
pub const ALL_SUBPAGES: u8 = 0xFF;

/// DS: nothing of the page is kept over power loss.
const DISABLE_SAVE: u8 = 0x80;
const SUBPAGE_FORMAT: u8 = 0x40;
/// TSD, and a list in binary form (FORMAT AND LINKING 11b).
const PARAMETER_CONTROL: u8 = 0x23;
/// MOST RECENT TEMPERATURE READING that nobody has taken.
const NO_TEMPERATURE: u8 = 0xFF;

/// The list of pages.
#[must_use]
pub fn supported_pages(pages: &[u8]) -> Vec<u8> {
    page(SUPPORTED_PAGES, 0, pages)
}

/// The list of pages and subpages.
#[must_use]
pub fn supported_subpages(pages: &[(u8, u8)]) -> Vec<u8> {
    let pairs: Vec<u8> = pages.iter().flat_map(|(page, subpage)| [*page, *subpage]).collect();
    page(SUPPORTED_PAGES, ALL_SUBPAGES, &pairs)
}

/// Informational exceptions: what is to be told (ADDITIONAL SENSE CODE and its qualifier; zeros for
/// nothing). No temperature is known.
#[must_use]
pub fn exceptions(code: (u8, u8)) -> Vec<u8> {
    let parameter = [0, 0, PARAMETER_CONTROL, 4, code.0, code.1, NO_TEMPERATURE, 0];
    let mut page = page(EXCEPTIONS, 0, &parameter);
    page[0] |= DISABLE_SAVE;
    page
}

fn page(code: u8, subpage: u8, body: &[u8]) -> Vec<u8> {
    let format = if subpage == 0 { 0 } else { SUBPAGE_FORMAT };
    let len = u16::try_from(body.len()).expect("pages are short");
    let mut page = vec![format | code, subpage];
    page.extend(len.to_be_bytes());
    page.extend(body);
    page
}

/// Page code, subpage code and body of a page that has come.
pub fn parse(data: &[u8]) -> Result<(u8, u8, &[u8]), Malformed> {
    let wrong = Malformed("log page");
    let (head, rest) = data.split_first_chunk::<4>().ok_or(wrong)?;
    let body = rest.get(..usize::from(u16_at(head, 2))).ok_or(wrong)?;
    Ok((head[0] & 0x3F, head[1], body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_have_the_bytes_of_the_standard() {
        assert_eq!(supported_pages(&[0x00, 0x2F]), [0, 0, 0, 2, 0x00, 0x2F]);
        let pairs = supported_subpages(&[(0, 0), (0, 0xFF), (0x2F, 0)]);
        assert_eq!(pairs, [0x40, 0xFF, 0, 6, 0, 0, 0, 0xFF, 0x2F, 0]);
        let exceptions = exceptions((0x5D, 0x00));
        assert_eq!(exceptions, [0xAF, 0, 0, 8, 0, 0, 0x23, 4, 0x5D, 0, 0xFF, 0]);
    }

    #[test]
    fn a_page_cut_anywhere_is_an_error_not_a_panic() {
        let page = exceptions((0, 0));
        assert_eq!(parse(&page), Ok((EXCEPTIONS, 0, &page[4..])));
        for cut in 0..page.len() {
            assert!(parse(&page[..cut]).is_err(), "cut at {cut}");
        }
    }
}
