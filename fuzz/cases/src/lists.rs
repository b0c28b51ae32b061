//! Any bytes are refused as a parameter list, or read into one that survives being built and read again.

use outband_protocol::scsi::mode::{Form, Parameters};
use outband_protocol::scsi::reserve::{self, List, MoveList};
use outband_protocol::scsi::unmap;

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
    for form in [Form::Six, Form::Ten] {
        if let Ok(list) = Parameters::parse(form, input) {
            let _ = list.each().count();
        }
    }
    let _ = reserve::parse_full_status(input);
}
