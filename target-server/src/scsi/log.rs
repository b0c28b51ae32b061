//! LOG SENSE: which pages there are, and that there is nothing to be warned of. Nothing is counted for
//! hosts, and no temperature is known.

use outband_protocol::scsi::cdb::LogSense;
use outband_protocol::scsi::log::{self, ALL_SUBPAGES, EXCEPTIONS, SUPPORTED_PAGES};
use outband_protocol::scsi::sense::{INVALID_FIELD_IN_CDB, Sense};

use super::{Plan, Reply};

/// The pages there are, and their subpages, in ascending order.
const PAGES: [(u8, u8); 3] =
    [(SUPPORTED_PAGES, 0), (SUPPORTED_PAGES, ALL_SUBPAGES), (EXCEPTIONS, 0)];

/// Neither page has thresholds or counters, so which values are asked for (PC) makes no difference.
pub(super) fn sense(fields: &LogSense) -> Result<Plan, Sense> {
    if fields.save {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(0)));
    }
    let page = match (fields.page, fields.subpage) {
        (SUPPORTED_PAGES, 0) => log::supported_pages(&[SUPPORTED_PAGES, EXCEPTIONS]),
        (SUPPORTED_PAGES, ALL_SUBPAGES) => log::supported_subpages(&PAGES),
        // Faults are told with the commands they concern (DEXCPT=1), and not once more here.
        (EXCEPTIONS, 0) => log::exceptions((0, 0)),
        (SUPPORTED_PAGES | EXCEPTIONS, _) => return Err(INVALID_FIELD_IN_CDB.at_cdb(3, None)),
        _ => return Err(INVALID_FIELD_IN_CDB.at_cdb(2, Some(5))),
    };
    // No parameter has a higher number than 0.
    if fields.parameter != 0 {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(5, None));
    }
    Ok(Reply::data(page, fields.allocation.into()).into())
}
