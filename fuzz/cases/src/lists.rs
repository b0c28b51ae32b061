//! Any bytes are refused as a parameter list, or read into one that survives being built and read again.

use outband_protocol::scsi::cdb::FormatUnit;
use outband_protocol::scsi::copy::{self, Limits};
use outband_protocol::scsi::format::Format;
use outband_protocol::scsi::mode::{Form, Parameters};
use outband_protocol::scsi::reserve::{List, MoveList};
use outband_protocol::scsi::sanitize::Overwrite;
use outband_protocol::scsi::unmap;

const BLOCK_SIZE: u32 = 512;
const LIMITS: Limits = Limits { cscds: 4, segments: 16, list_len: 1024, copies: 1, granularity: 9 };

/// See the module.
pub fn run(input: &[u8]) {
    if let Ok(list) = List::parse(input) {
        assert_eq!(List::parse(&list.build()), Ok(list));
    }
    if let Ok(list) = MoveList::parse(input) {
        assert_eq!(MoveList::parse(&list.build()), Ok(list));
    }
    if let Ok(extents) = unmap::parse(input) {
        assert_eq!(unmap::parse(&unmap::build(&extents)), Ok(extents));
    }
    if let Ok(list) = copy::List::parse(input, &LIMITS) {
        assert_eq!(copy::List::parse(&list.build(), &LIMITS), Ok(list));
    }
    if let Ok(overwrite) = Overwrite::parse(input, BLOCK_SIZE) {
        assert_eq!(Overwrite::parse(&overwrite.build(), BLOCK_SIZE), Ok(overwrite));
    }
    for long_header in [false, true] {
        let fields = FormatUnit { has_list: true, long_header, ..FormatUnit::default() };
        if let Ok((format, len)) = Format::parse(input, &fields, BLOCK_SIZE) {
            assert!(len <= input.len());
            let again = format.build(&fields);
            let len = again.len();
            assert_eq!(Format::parse(&again, &fields, BLOCK_SIZE), Ok((format, len)));
        }
    }
    for form in [Form::Six, Form::Ten] {
        if let Ok(list) = Parameters::parse(form, input) {
            let _ = list.each().count();
        }
    }
}
