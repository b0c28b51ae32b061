//! Whatever a target says about itself is refused, or read without a panic.

use outband_protocol::scsi::capacity::Capacity;
use outband_protocol::scsi::inquiry::{self, BlockLimits, Designator, Provisioning, Standard};
use outband_protocol::scsi::{Sense, lba_status, log, luns, port_groups, reserve};

/// See the module.
pub fn run(input: &[u8]) {
    if let Ok(sense) = Sense::parse(input) {
        // A field that the other format has no room for is left out of it, and nothing else.
        let read = Sense::parse(&sense.descriptors()).expect("what was built can be read");
        assert!(read.is(&sense));
    }
    let _ = Standard::parse(input);
    let _ = BlockLimits::parse(input);
    let _ = Provisioning::parse(input);
    let _ = Designator::parse_page(input);
    let _ = inquiry::parse_supported_pages(input);
    let _ = inquiry::parse_serial_number(input);
    let _ = inquiry::parse_characteristics(input);
    let _ = Capacity::parse_short(input);
    let _ = Capacity::parse_long(input);
    let _ = luns::parse(input);
    let _ = log::parse(input);
    let _ = lba_status::parse(input);
    let _ = port_groups::parse(input);
    let _ = reserve::parse_keys(input);
    let _ = reserve::parse_reservation(input);
    let _ = reserve::parse_full_status(input);
}
