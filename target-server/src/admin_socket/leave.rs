//! A unit leaves its pool: it forgets the secret that the station gave it. At its next start it asks to
//! be enrolled, by its join token, as one that has never been.

use std::path::Path;

use outband_control::access_store::Store;

use super::AdminError;
use crate::media::Catalog;

/// Only while no unit runs, which the lock on the catalog tells: a unit that runs has its secret in
/// memory, and would go on by it.
pub(super) fn leave_pool(state_dir: &Path) -> Result<(), AdminError> {
    let _alone = Catalog::open(state_dir)?;
    let left = Store::open(state_dir).and_then(|store| store.leave_pool());
    left.map_err(|error| AdminError::Refused(error.to_string()))
}
