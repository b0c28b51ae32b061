//! Who a logical unit is, as the real program tells: the same for as long as the volume is there, and
//! nobody else's, then or later.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use std::collections::BTreeSet;
use std::path::Path;

use common::host;
use common::scsi::ScsiHost;
use common::unit::{Unit, everybody};
use outband_control::access::{ANY_HOST, Epoch};
use outband_control::api::TARGET_PREFIX;
use outband_protocol::scsi::inquiry::{
    Association, Designator, IDENTIFICATION, Name, SERIAL_NUMBER, parse_serial_number,
};
use outband_protocol::scsi::{Cdb, Status};

/// Pages 80h and 83h, as they came.
#[derive(PartialEq, Eq, Debug)]
struct Identity {
    serial: Vec<u8>,
    names: Vec<u8>,
}

impl Identity {
    fn of(unit: &Unit<'_>) -> Self {
        let target = format!("{TARGET_PREFIX}:local:v");
        let mut session = ScsiHost::connect(unit.portal.parse().unwrap(), &target, &host("a"));
        let mut page = |code| {
            let answer = session.read(Cdb::inquiry(Some(code), 1024), 1024);
            assert_eq!(answer.status, Status::Good);
            answer.data
        };
        Self { serial: page(SERIAL_NUMBER), names: page(IDENTIFICATION) }
    }

    /// All that it is called by, but for its ports and its target.
    fn called(&self) -> Vec<String> {
        let designators = Designator::parse_page(&self.names).unwrap();
        let units = designators.into_iter().filter(|name| name.of == Association::LogicalUnit);
        let names: Vec<_> = units.map(|designator| designator.name).collect();
        let naa6 =
            |name: &Name| matches!(name, Name::Naa(naa) if naa.len() == 16 && naa[0] >> 4 == 6);
        assert!(names.iter().any(naa6), "{names:?}");
        let serial = parse_serial_number(&self.serial).unwrap();
        assert!(!serial.is_empty());
        names.iter().map(|name| format!("{name:?}")).chain([serial]).collect()
    }
}

#[test]
fn a_volume_is_who_it_was_after_a_stop_and_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut unit = Unit::first(dir.path());
    let first = Identity::of(&unit);
    unit.process.stop();
    let mut unit = Unit::start(dir.path());
    assert_eq!(Identity::of(&unit), first);
    unit.process.kill();
    let unit = Unit::start(dir.path());
    assert_eq!(Identity::of(&unit), first);
}

/// The volume goes, and another of its name comes. What is granted cannot go.
fn made_anew<'d>(unit: &mut Unit<'d>, dir: &'d Path, epoch: u64) {
    unit.process.stop();
    Unit::change(dir, |table| table.fence(&"v".parse().unwrap(), ANY_HOST, Epoch(epoch)));
    *unit = Unit::start(dir);
    unit.outband("volume rm v");
    unit.outband("volume create v 8M --allow-volatile");
    unit.process.stop();
    Unit::change(dir, |table| table.grant(everybody(epoch + 1)).unwrap());
    *unit = Unit::start(dir);
}

#[test]
fn a_volume_of_the_same_name_is_another_one_if_it_is_elsewhere_or_made_anew() {
    let dirs: [_; 2] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let mut units = dirs.each_ref().map(|dir| Unit::first(dir.path()));
    let mut known: Vec<_> = units.iter().map(Identity::of).collect();
    // Nor does a restart in between bring an old name back.
    for epoch in [1, 2] {
        made_anew(&mut units[0], dirs[0].path(), epoch);
        known.push(Identity::of(&units[0]));
    }
    let names: Vec<_> = known.iter().flat_map(Identity::called).collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{names:#?}");
}
