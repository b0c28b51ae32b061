//! The tests of `iscsi-test-cu` that a fixed, writable disk leaves out, and some that follow from what
//! it says of itself, each with its reason. Any other skip is a gap.

use super::{Outcome, Report, Setting, Test};

/// Tests of one family that are left out for one reason.
#[derive(Debug)]
pub(crate) struct Skip {
    family: &'static str,
    /// All of the family, if empty.
    names: &'static [&'static str],
    /// Found in the suite's own words.
    says: &'static str,
    /// In ours.
    pub(crate) why: &'static str,
}

const FIXED: &str = "The medium of a fixed disk cannot be taken out: RMB is 0";

const SAME_SIZE: &str = "A logical block in memory is a physical one: LBPPB is 1. The test has nothing \
                         else to do";
const NO_ZERO: &str = "WSNZ is 1, which SBC-4 leaves to the device server: no number of blocks, which \
                       would be all that follow, is refused, as the test sees. WSNZ of 0 would be as \
                       safe, with MAXIMUM WRITE SAME LENGTH to bound it, and of less use: it would \
                       reach the last 16 MiB only. But then UnmapUntilEnd, of the same family, fails: \
                       it sends ones with UNMAP=1 and wants zeros read, where LBPRZ=1 has a block of \
                       anything but zeros written (SBC-3 §4.7.3.4)";

const SKIPS: [Skip; 10] = [
    Skip { family: "PreventAllow", names: &[], says: "not removable", why: FIXED },
    Skip { family: "StartStopUnit", names: &[], says: "not removable", why: FIXED },
    Skip {
        family: "CompareAndWrite",
        names: &["InvalidDataOutSize"],
        says: "LBPPB < 2",
        why: SAME_SIZE,
    },
    Skip { family: "WriteSame10", names: &[], says: "LBPPB < 2", why: SAME_SIZE },
    Skip { family: "WriteSame16", names: &[], says: "LBPPB < 2", why: SAME_SIZE },
    Skip {
        family: "WriteSame10",
        names: &["ZeroBlocks"],
        says: "does not support 0-blocks",
        why: NO_ZERO,
    },
    Skip {
        family: "WriteSame16",
        names: &["ZeroBlocks"],
        says: "does not support 0-blocks",
        why: NO_ZERO,
    },
    Skip { family: "NoMedia", names: &[], says: "not removable", why: FIXED },
    Skip {
        family: "ReadOnly",
        names: &["ReadOnlySBC"],
        says: "not write-protected",
        why: "The volume can be written; a second run against one that cannot passes this test",
    },
    Skip {
        family: "Sanitize",
        names: &["CryptoErase", "CryptoEraseReserved", "Readonly", "Reservations"],
        says: "CRYPTO_ERASE is not implemented",
        why: "Volumes are not encrypted, so there is no key to forget; of Readonly and \
              Reservations only that part is left out",
    },
];

/// A test that contradicts the standard, or itself: it fails where the target does what it must.
#[derive(Debug)]
pub(crate) struct Fault {
    family: &'static str,
    names: &'static [&'static str],
    only: Only,
    /// Found in each of the assertions that fail.
    says: &'static str,
    pub(crate) why: &'static str,
}

/// Where a fault shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Only {
    Everywhere,
    /// Where the suite has more than one path.
    ByTwoPaths,
    /// Where blocks have more than 512 bytes.
    LargeBlocks,
}

impl Only {
    fn is_at(self, setting: Setting) -> bool {
        match self {
            Self::Everywhere => true,
            Self::ByTwoPaths => setting.paths > 1,
            Self::LargeBlocks => setting.block_size > 512,
        }
    }
}

const FAULTS: [Fault; 4] = [
    Fault {
        family: "GetLBAStatus",
        names: &["UnmapSingle"],
        only: Only::Everywhere,
        says: "lba offset in first descriptor does not",
        why: "Where a physical block has more than one logical block, the test asks for the status at \
              the second block of a physical one and wants an answer that begins at the next physical \
              block; the first descriptor of GET LBA STATUS begins at the block asked for (SBC-4 §5.9). \
              Disks and Linux's `scsi_debug` answer as Outband does, and QEMU refuses the answer that \
              the test wants",
    },
    Fault {
        family: "Sanitize",
        names: &["Reset"],
        only: Only::ByTwoPaths,
        says: "test_sanitize_reset.c:",
        why: "Over two paths, Sanitize.Reservations takes RESERVE(6) by the second one and does not \
              give it back, so that the SANITIZE of the next test, by the first path, meets \
              RESERVATION CONFLICT. By one path that session is logged out, and the test passes",
    },
    Fault {
        family: "ProutReserve",
        names: &["AccessEA", "AccessWE", "AccessEARO", "AccessWERO", "AccessEAAR", "AccessWEAR"],
        only: Only::LargeBlocks,
        says: "test_prout_reserve_access.c:",
        why: "The test sends 512 bytes with a WRITE(10) of one block, whatever the block size. A part \
              of a block cannot be written: INVALID FIELD IN COMMAND INFORMATION UNIT. Versions after \
              1.19.0 send a block",
    },
    Fault {
        family: "WriteAtomic16",
        names: &["Simple"],
        only: Only::LargeBlocks,
        says: "test_writeatomic16_simple.c:",
        why: "The test writes 1 to 256 blocks and stops at MAXIMUM TRANSFER LENGTH only, not at \
              MAXIMUM ATOMIC TRANSFER LENGTH, which is 128 KiB: 32 blocks of 4,096 bytes",
    },
];

/// Why `test`, of a run in this setting, may fail as it did.
pub(crate) fn fault(test: &Test, setting: Setting) -> Option<&'static Fault> {
    FAULTS.iter().find(|fault| {
        let mut errors = test.said.iter().filter(|line| line.contains("CU_"));
        fault.family == test.family
            && fault.names.contains(&test.name.as_str())
            && fault.only.is_at(setting)
            && errors.all(|line| line.contains(fault.says))
    })
}

/// Why `test` may leave out what it left out for `reason`.
pub(crate) fn allowed(test: &Test, reason: &str) -> Option<&'static Skip> {
    SKIPS.iter().find(|skip| {
        skip.family == test.family
            && (skip.names.is_empty() || skip.names.contains(&test.name.as_str()))
            && reason.contains(skip.says)
    })
}

/// What in `report` must not be: tests that failed or did not end, and gaps.
pub(crate) fn offences(report: &Report) -> Vec<String> {
    report.tests.iter().filter_map(|test| offence(test, report.setting)).collect()
}

fn offence(test: &Test, setting: Setting) -> Option<String> {
    let name = test.full_name();
    match test.outcome {
        Outcome::Passed => None,
        Outcome::Failed if fault(test, setting).is_some() => None,
        Outcome::Failed => Some(format!("{name} failed:{}", lines(test))),
        Outcome::Unfinished => Some(format!("{name} did not end:{}", lines(test))),
        Outcome::Skipped => {
            let gaps: Vec<&str> = test.reasons.iter().map(String::as_str).collect();
            let gap = gaps.into_iter().find(|reason| allowed(test, reason).is_none())?;
            Some(format!("{name} was left out: {gap}"))
        }
    }
}

/// The first things it said; one wrong byte can fail a thousand assertions.
fn lines(test: &Test) -> String {
    let shown = test.said.iter().take(12);
    shown.map(|line| format!("\n    {}", line.trim())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_of(family: &str, name: &str, says: &str) -> Report {
        Report::read(&format!("Suite: {family}\n  Test: {name} ...    {says}\n"))
    }

    #[test]
    fn a_listed_skip_is_no_offence_and_any_other_is() {
        let reason = "[SKIPPED] Logical unit is not removable. Skipping test.\npassed";
        assert_eq!(offences(&test_of("PreventAllow", "Eject", reason)), Vec::<String>::new());
        let gap = offences(&test_of("OrWrite", "Simple", reason));
        assert_eq!(
            gap,
            ["OrWrite.Simple was left out: Logical unit is not removable. Skipping test."]
        );
    }

    #[test]
    fn crypto_erase_is_left_out_of_sanitize_but_block_erase_is_not() {
        let crypto = "[SKIPPED] SANITIZE CRYPTO_ERASE is not implemented according to REPORT";
        let block = "[SKIPPED] SANITIZE BLOCK_ERASE is not implemented according to REPORT";
        let both = format!("{crypto}\n    {block}\npassed");
        assert!(
            offences(&test_of("Sanitize", "Readonly", &format!("{crypto}\npassed"))).is_empty()
        );
        assert_eq!(offences(&test_of("Sanitize", "Readonly", &both)).len(), 1);
    }

    #[test]
    fn a_fault_of_the_suite_is_no_offence_and_another_failure_of_that_test_is() {
        let known =
            "\nFAILED\n    1. a.c:135  - CU_FAIL(\"lba offset in first descriptor does not \")";
        assert!(offences(&test_of("GetLBAStatus", "UnmapSingle", known)).is_empty());
        let other = format!("{known}\n    2. a.c:9  - CU_ASSERT_EQUAL(ret,0)");
        assert_eq!(offences(&test_of("GetLBAStatus", "UnmapSingle", &other)).len(), 1);
        assert_eq!(offences(&test_of("GetLBAStatus", "Simple", known)).len(), 1);
    }

    #[test]
    fn a_fault_that_takes_two_paths_is_an_offence_by_one() {
        let said = "\nFAILED\n    1. test_sanitize_reset.c:97  - CU_ASSERT_EQUAL(_r,0)";
        let report = test_of("Sanitize", "Reset", said);
        let by = |paths| {
            let setting = Setting { paths, block_size: 512 };
            offences(&Report { setting, ..report.clone() }).len()
        };
        assert_eq!([by(1), by(2)], [1, 0]);
    }

    #[test]
    fn a_fault_that_takes_large_blocks_is_an_offence_with_small_ones() {
        let said = "\nFAILED\n    1. test_writeatomic16_simple.c:58  - CU_ASSERT_EQUAL(_r,0)";
        let report = test_of("WriteAtomic16", "Simple", said);
        let of = |block_size| {
            let setting = Setting { paths: 2, block_size };
            offences(&Report { setting, ..report.clone() }).len()
        };
        assert_eq!([of(512), of(4096)], [1, 0]);
    }

    #[test]
    fn failures_and_tests_without_an_end_are_offences() {
        let failed = offences(&test_of("Read10", "Simple", "\nFAILED"));
        assert!(failed[0].starts_with("Read10.Simple failed:"), "{failed:?}");
        let hung = offences(&test_of("Read10", "Simple", "[INFO] waiting"));
        assert!(hung[0].starts_with("Read10.Simple did not end:"), "{hung:?}");
    }
}
