//! Any bytes are refused as a command, or read into one that survives being built and read again.

use outband_protocol::scsi::cdb::Cdb;

/// See the module.
pub fn run(input: &[u8]) {
    if let Ok(cdb) = Cdb::parse(input) {
        assert_eq!(Cdb::parse(&cdb.build()), Ok(cdb));
    }
}
