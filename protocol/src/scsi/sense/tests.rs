use proptest::prelude::*;

use super::*;

/// A part of T10's list of additional sense codes, as published (asc, ascq, words).
const T10: &[(u8, u8, &str)] = &[
    (0x00, 0x00, "NO ADDITIONAL SENSE INFORMATION"),
    (0x00, 0x16, "OPERATION IN PROGRESS"),
    (0x04, 0x01, "LOGICAL UNIT IS IN PROCESS OF BECOMING READY"),
    (0x04, 0x02, "LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED"),
    (0x04, 0x04, "LOGICAL UNIT NOT READY, FORMAT IN PROGRESS"),
    (0x04, 0x1B, "LOGICAL UNIT NOT READY, SANITIZE IN PROGRESS"),
    (0x08, 0x04, "UNREACHABLE COPY TARGET"),
    (0x0C, 0x00, "WRITE ERROR"),
    (0x0C, 0x0C, "WRITE ERROR - UNEXPECTED UNSOLICITED DATA"),
    (0x0C, 0x0D, "WRITE ERROR - NOT ENOUGH UNSOLICITED DATA"),
    (0x0D, 0x01, "THIRD PARTY DEVICE FAILURE"),
    (0x0D, 0x02, "COPY TARGET DEVICE NOT REACHABLE"),
    (0x0D, 0x03, "INCORRECT COPY TARGET DEVICE TYPE"),
    (0x0E, 0x03, "INVALID FIELD IN COMMAND INFORMATION UNIT"),
    (0x11, 0x00, "UNRECOVERED READ ERROR"),
    (0x1A, 0x00, "PARAMETER LIST LENGTH ERROR"),
    (0x1D, 0x00, "MISCOMPARE DURING VERIFY OPERATION"),
    (0x20, 0x00, "INVALID COMMAND OPERATION CODE"),
    (0x21, 0x00, "LOGICAL BLOCK ADDRESS OUT OF RANGE"),
    (0x24, 0x00, "INVALID FIELD IN CDB"),
    (0x25, 0x00, "LOGICAL UNIT NOT SUPPORTED"),
    (0x26, 0x00, "INVALID FIELD IN PARAMETER LIST"),
    (0x26, 0x04, "INVALID RELEASE OF PERSISTENT RESERVATION"),
    (0x26, 0x06, "TOO MANY TARGET DESCRIPTORS"),
    (0x26, 0x07, "UNSUPPORTED TARGET DESCRIPTOR TYPE CODE"),
    (0x26, 0x08, "TOO MANY SEGMENT DESCRIPTORS"),
    (0x26, 0x09, "UNSUPPORTED SEGMENT DESCRIPTOR TYPE CODE"),
    (0x26, 0x0A, "UNEXPECTED INEXACT SEGMENT"),
    (0x26, 0x0B, "INLINE DATA LENGTH EXCEEDED"),
    (0x27, 0x00, "WRITE PROTECTED"),
    (0x27, 0x07, "SPACE ALLOCATION FAILED WRITE PROTECT"),
    (0x29, 0x00, "POWER ON, RESET, OR BUS DEVICE RESET OCCURRED"),
    (0x29, 0x03, "BUS DEVICE RESET FUNCTION OCCURRED"),
    (0x29, 0x07, "I_T NEXUS LOSS OCCURRED"),
    (0x2A, 0x01, "MODE PARAMETERS CHANGED"),
    (0x2A, 0x03, "RESERVATIONS PREEMPTED"),
    (0x2A, 0x04, "RESERVATIONS RELEASED"),
    (0x2A, 0x05, "REGISTRATIONS PREEMPTED"),
    (0x2A, 0x09, "CAPACITY DATA HAS CHANGED"),
    (0x2F, 0x00, "COMMANDS CLEARED BY ANOTHER INITIATOR"),
    (0x31, 0x00, "MEDIUM FORMAT CORRUPTED"),
    (0x31, 0x01, "FORMAT COMMAND FAILED"),
    (0x31, 0x03, "SANITIZE COMMAND FAILED"),
    (0x39, 0x00, "SAVING PARAMETERS NOT SUPPORTED"),
    (0x3A, 0x00, "MEDIUM NOT PRESENT"),
    (0x3F, 0x0E, "REPORTED LUNS DATA HAS CHANGED"),
    (0x44, 0x00, "INTERNAL TARGET FAILURE"),
    (0x47, 0x05, "PROTOCOL SERVICE CRC ERROR"),
    (0x47, 0x7F, "SOME COMMANDS CLEARED BY ISCSI PROTOCOL EVENT"),
    (0x49, 0x00, "INVALID MESSAGE ERROR"),
    (0x4B, 0x00, "DATA PHASE ERROR"),
    (0x55, 0x03, "INSUFFICIENT RESOURCES"),
    (0x55, 0x04, "INSUFFICIENT REGISTRATION RESOURCES"),
];

#[test]
fn every_named_condition_is_on_the_t10_list_under_its_own_words() {
    assert_eq!(NAMED.len(), T10.len());
    for ((sense, text), listed) in NAMED.iter().zip(T10) {
        assert_eq!((sense.asc, sense.ascq, *text), *listed);
    }
}

#[test]
fn sense_keys_have_the_numbers_of_the_standard() {
    for code in 0..16 {
        assert_eq!(SenseKey::from_code(code).code(), code);
    }
    assert_eq!(SenseKey::IllegalRequest.code(), 5);
    assert_eq!(SenseKey::UnitAttention.code(), 6);
    assert_eq!(SenseKey::AbortedCommand.code(), 0xB);
    assert_eq!(SenseKey::Miscompare.code(), 0xE);
}

#[test]
fn an_invalid_field_points_at_its_byte_and_bit() {
    let data = INVALID_FIELD_IN_CDB.at_cdb(1, Some(7)).fixed();
    assert_eq!(data, [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xCF, 0, 1]);
    let data = INVALID_FIELD_IN_LIST.at_list(8).descriptors();
    assert_eq!(data, [0x72, 5, 0x26, 0, 0, 0, 0, 8, 2, 6, 0, 0, 0x80, 0, 8, 0]);
}

#[test]
fn a_copy_points_into_its_segment_and_a_sanitize_tells_its_progress() {
    let data = UNREACHABLE_COPY_TARGET.in_segment(3, Some(6)).fixed();
    assert_eq!(data, [0x70, 0, 0xA, 0, 0, 0, 0, 10, 0, 0, 0, 3, 8, 4, 0, 0xA0, 0, 6]);
    let data = SANITIZE_IN_PROGRESS.with_progress(0x8001).fixed();
    assert_eq!(data[12..], [4, 0x1B, 0, 0x80, 0x80, 1]);
}

#[test]
fn information_too_wide_for_the_fixed_format_is_not_called_valid() {
    let sense = UNRECOVERED_READ_ERROR.with_information(1 << 32);
    assert_eq!(sense.fixed()[0], 0x70);
    assert_eq!(Sense::parse(&sense.descriptors()), Ok(sense));
}

#[test]
fn deferred_sense_is_told_apart() {
    let sense = Sense { deferred: true, ..WRITE_ERROR };
    assert_eq!(sense.fixed()[0], 0x71);
    assert_eq!(Sense::parse(&sense.fixed()), Ok(sense));
    assert_eq!(Sense::parse(&sense.descriptors()), Ok(sense));
}

#[test]
fn sense_without_a_key_is_malformed() {
    for data in [&[][..], &[0x70], &[0x70, 0], &[0x72, 5, 0x20, 0, 0, 0, 0], &[0x7F; 18]] {
        assert_eq!(Sense::parse(data), Err(Malformed("sense data")));
    }
}

#[test]
fn sense_reads_as_words() {
    assert_eq!(
        LBA_OUT_OF_RANGE.to_string(),
        "IllegalRequest 21/00 (LOGICAL BLOCK ADDRESS OUT OF RANGE)"
    );
    assert_eq!(Sense::new(SenseKey::NotReady, 0x99, 1).to_string(), "NotReady 99/01");
}

prop_compose! {
    fn any_sense()(
        key in 0u8..16, asc: u8, ascq: u8, deferred: bool, information: Option<u32>,
        field: Option<(bool, u16, Option<u8>)>, segment in 1u32.., progress: u16,
    ) -> Sense {
        let key = SenseKey::from_code(key);
        let sense = Sense::new(key, asc, ascq);
        let field = field.map(|(in_cdb, byte, bit)| {
            let in_cdb = in_cdb && key == SenseKey::IllegalRequest;
            FieldPointer { in_cdb, byte, bit: bit.map(|bit| bit & 7) }
        });
        let sense = match key {
            SenseKey::IllegalRequest => Sense { field, ..sense },
            SenseKey::CopyAborted => Sense { field, command_specific: Some(segment), ..sense },
            SenseKey::NoSense | SenseKey::NotReady => sense.with_progress(progress),
            _ => sense,
        };
        Sense { deferred, information: information.map(u64::from), ..sense }
    }
}

proptest! {
    #[test]
    fn both_formats_come_back_as_what_they_were(sense in any_sense()) {
        prop_assert_eq!(Sense::parse(&sense.fixed()), Ok(sense));
        prop_assert_eq!(Sense::parse(&sense.descriptors()), Ok(sense));
    }

    #[test]
    fn sense_cut_anywhere_or_made_up_never_panics(
        sense in any_sense(), cut in 0usize..30, noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let data = sense.descriptors();
        let _ = Sense::parse(&data[..cut.min(data.len())]);
        let data = sense.fixed();
        let _ = Sense::parse(&data[..cut.min(data.len())]);
        let _ = Sense::parse(&noise);
    }
}
