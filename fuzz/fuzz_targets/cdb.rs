//! Any bytes are refused as a command, or read into one that survives being built and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use outband_protocol::scsi::cdb::Cdb;

fuzz_target!(|input: &[u8]| {
    if let Ok(cdb) = Cdb::parse(input) {
        assert_eq!(Cdb::parse(&cdb.build()), Ok(cdb));
    }
});
