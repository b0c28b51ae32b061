//! What a disk does: READ, WRITE, VERIFY, SYNCHRONIZE CACHE, UNMAP.

use outband_protocol::scsi::cdb::ByteCheck;
use outband_protocol::scsi::unmap::{self, Extent};
use proptest::prelude::*;

use super::*;

#[test]
fn every_form_of_read_and_write_becomes_a_plan_for_its_blocks() {
    check(
        disk(),
        |talk| {
            for read in [Cdb::Read6, Cdb::Read10, Cdb::Read12, Cdb::Read16] {
                talk.send(A, read(at(7, 9)));
            }
            for write in [Cdb::Write6, Cdb::Write10, Cdb::Write12, Cdb::Write16] {
                talk.send(A, write(at(7, 9)));
            }
        },
        "
        read 7+9
        read 7+9
        read 7+9
        read 7+9
        write 7+9 durable, wanted 36864
        write 7+9 durable, wanted 36864
        write 7+9 durable, wanted 36864
        write 7+9 durable, wanted 36864
        ",
    );
}

#[test]
fn a_six_byte_length_of_zero_is_256_blocks() {
    check(
        disk(),
        |talk| {
            talk.raw(A, Lun::ZERO, &[0x08, 0, 1, 0, 0, 0], 0);
            talk.raw(A, Lun::ZERO, &[0x08, 0, 1, 1, 0, 0], 0);
        },
        "
        read 256+256
        IllegalRequest 21/00 at 1
        ",
    );
}

#[test]
fn the_last_block_is_within_and_the_next_is_not() {
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::read16(511, 1));
            talk.send(A, Cdb::read16(511, 2));
            talk.send(A, Cdb::read16(512, 1));
            talk.send(A, Cdb::read16(u64::MAX, 1));
            talk.send(A, Cdb::read16(u64::MAX, u32::MAX));
            talk.send(A, Cdb::write16(512, 1, false));
            talk.send(A, Cdb::Write12(at(u32::MAX.into(), 1)));
        },
        "
        read 511+1
        IllegalRequest 21/00 at 2
        IllegalRequest 21/00 at 2
        IllegalRequest 21/00 at 2
        IllegalRequest 21/00 at 2
        IllegalRequest 21/00 at 2
        IllegalRequest 21/00 at 2
        ",
    );
}

#[test]
fn no_blocks_are_good_up_to_the_end_of_the_medium() {
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::read16(0, 0));
            talk.send(A, Cdb::read16(512, 0));
            talk.send(A, Cdb::read16(513, 0));
            talk.send(A, Cdb::write16(512, 0, true));
            talk.send(A, Cdb::write16(513, 0, true));
        },
        "
        Good
        Good
        IllegalRequest 21/00 at 2
        Good
        IllegalRequest 21/00 at 2
        ",
    );
}

#[test]
fn sixteen_mebibytes_move_at_once_and_no_more() {
    let large = || LuConfig { blocks: 1 << 20, ..disk() };
    check(
        large(),
        |talk| {
            talk.send(A, Cdb::read16(0, 4096));
            talk.send(A, Cdb::read16(0, 4097));
            talk.send(A, Cdb::Write10(at(0, 4097)));
            talk.send(A, Cdb::Write12(at(0, 4097)));
        },
        "
        read 0+4096
        IllegalRequest 24/00 at 10
        IllegalRequest 24/00 at 7
        IllegalRequest 24/00 at 6
        ",
    );
    check(
        LuConfig { block_size: 512, ..large() },
        |talk| {
            talk.send(A, Cdb::read16(0, 32768));
            talk.send(A, Cdb::read16(0, 32769));
        },
        "
        read 0+32768
        IllegalRequest 24/00 at 10
        ",
    );
}

#[test]
fn a_write_is_durable_with_fua_or_without_a_cache() {
    check(
        LuConfig { write_cache: true, ..disk() },
        |talk| {
            talk.send(A, Cdb::write16(0, 1, false));
            talk.send(A, Cdb::write16(0, 1, true));
            talk.send(A, Cdb::Write10(Transfer { dpo: true, ..at(0, 1) }));
            // Obsolete FUA_NV means nothing.
            talk.raw(A, Lun::ZERO, &[0x2A, 0x02, 0, 0, 0, 0, 0, 0, 1, 0], 4096);
        },
        "
        write 0+1, wanted 4096
        write 0+1 durable, wanted 4096
        write 0+1, wanted 4096
        write 0+1, wanted 4096
        ",
    );
}

#[test]
fn protection_information_is_refused() {
    let protect = |protect| Transfer { protect, ..at(0, 1) };
    let verify = Verify { lba: 0, blocks: 1, protect: 1, dpo: false, check: ByteCheck::Medium };
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::Read10(protect(1)));
            talk.send(A, Cdb::Read16(protect(7)));
            talk.send(A, Cdb::Write12(protect(4)));
            talk.send(A, Cdb::Verify16(verify));
        },
        "
        IllegalRequest 24/00 at 1.7
        IllegalRequest 24/00 at 1.7
        IllegalRequest 24/00 at 1.7
        IllegalRequest 24/00 at 1.7
        ",
    );
}

/// The five cases of `iscsi-test-cu`'s residual tests, in the order of that suite.
#[test]
fn a_write_that_offers_less_writes_whole_blocks_and_one_that_offers_more_all() {
    check(
        small_blocks(),
        |talk| {
            talk.offer(A, Cdb::Write10(at(0, 1)), 0);
            talk.offer(A, Cdb::Write10(at(0, 1)), 1024);
            talk.offer(A, Cdb::Write10(at(0, 2)), 512);
            talk.offer(A, Cdb::Write10(at(0, 1)), 10_000);
            talk.offer(A, Cdb::Write10(at(0, 1)), 200);
        },
        "
        Good, wanted 512
        write 0+1 durable, wanted 512
        write 0+1 durable, wanted 1024
        write 0+1 durable, wanted 512
        IllegalRequest 0E/03, wanted 512
        ",
    );
}

#[test]
fn writes_to_what_cannot_be_written_are_refused_before_their_data_is_asked_for() {
    let everything = |talk: &mut Talk| {
        talk.send(A, Cdb::read16(0, 1));
        talk.send(A, Cdb::write16(0, 1, false));
        talk.send(A, Cdb::Unmap { anchor: false, len: 24 });
        talk.send(A, Cdb::flush());
        talk.send(A, Cdb::write16(600, 1, false));
    };
    check(
        LuConfig { read_only: true, ..disk() },
        everything,
        "
        read 0+1
        DataProtect 27/00
        DataProtect 27/00
        flush
        IllegalRequest 21/00 at 2
        ",
    );
    check(
        disk(),
        |talk| {
            talk.unit.set_faulted(true);
            everything(talk);
            talk.unit.set_faulted(false);
            talk.send(A, Cdb::write16(0, 1, false));
        },
        "
        read 0+1
        MediumError 0C/00
        MediumError 0C/00
        MediumError 0C/00
        IllegalRequest 21/00 at 2
        write 0+1 durable, wanted 4096
        ",
    );
}

#[test]
fn verify_reads_the_medium_or_compares_what_is_sent() {
    let verify = |lba, blocks, check| Verify { lba, blocks, protect: 0, dpo: true, check };
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::Verify10(verify(3, 2, ByteCheck::Medium)));
            talk.send(A, Cdb::Verify12(verify(3, 2, ByteCheck::Compare)));
            talk.send(A, Cdb::Verify16(verify(3, 2, ByteCheck::CompareOne)));
            talk.send(A, Cdb::Verify16(verify(3, 2, ByteCheck::Reserved)));
            talk.send(A, Cdb::Verify16(verify(512, 0, ByteCheck::Compare)));
            talk.send(A, Cdb::Verify16(verify(512, 1, ByteCheck::Compare)));
            talk.offer(A, Cdb::Verify16(verify(0, 2, ByteCheck::Compare)), 4096);
        },
        "
        verify 3+2
        verify 3+2 compare
        parameters 4096
        IllegalRequest 24/00 at 1.2
        Good
        IllegalRequest 21/00 at 2
        IllegalRequest 0E/03, wanted 8192
        ",
    );
}

#[test]
fn a_flush_checks_its_range_and_flushes_everything() {
    let sync = |lba, blocks| Synchronize { lba, blocks, immed: true };
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::flush());
            talk.send(A, Cdb::SynchronizeCache10(sync(1, 1)));
            talk.send(A, Cdb::SynchronizeCache16(sync(512, 0)));
            talk.send(A, Cdb::SynchronizeCache16(sync(512, 1)));
            talk.send(A, Cdb::SynchronizeCache10(sync(513, 0)));
        },
        "
        flush
        flush
        flush
        IllegalRequest 21/00 at 2
        IllegalRequest 21/00 at 2
        ",
    );
}

/// UNMAP of these extents, with the length its list has.
fn unmap_all(talk: &mut Talk, extents: &[(u64, u32)]) {
    let extents: Vec<_> =
        extents.iter().map(|(lba, blocks)| Extent { lba: *lba, blocks: *blocks }).collect();
    let list = unmap::build(&extents);
    let len = u16::try_from(list.len()).unwrap();
    talk.list(A, Cdb::Unmap { anchor: false, len }, &list);
}

#[test]
fn unmap_gives_back_the_blocks_of_its_list() {
    check(
        disk(),
        |talk| {
            unmap_all(talk, &[(0, 8), (9, 0), (500, 12)]);
            unmap_all(talk, &[(512, 0)]);
            unmap_all(talk, &[]);
            talk.send(A, Cdb::Unmap { anchor: false, len: 0 });
        },
        "
        parameters 56
        zero [(0, 8), (500, 12)] unmap
        parameters 24
        Good, wanted 24
        parameters 8
        Good, wanted 8
        Good
        ",
    );
}

#[test]
fn unmap_does_nothing_when_any_part_of_its_list_is_wrong() {
    check(
        LuConfig { blocks: 1 << 21, ..disk() },
        |talk| {
            unmap_all(talk, &[(0, 8), (1 << 21, 1)]);
            unmap_all(talk, &[(u64::MAX, 2)]);
            unmap_all(talk, &[(0, 1 << 20)]);
            unmap_all(talk, &[(0, 1 << 20), (1 << 20, 1)]);
            unmap_all(talk, &[(0, u32::MAX); 256]);
            unmap_all(talk, &[(0, 1); 257]);
            let cut = unmap::build(&[Extent { lba: 0, blocks: 1 }]);
            talk.list(A, Cdb::Unmap { anchor: false, len: 24 }, &cut[..20]);
            talk.send(A, Cdb::Unmap { anchor: true, len: 24 });
        },
        "
        parameters 40
        IllegalRequest 21/00, wanted 40
        parameters 24
        IllegalRequest 21/00, wanted 24
        parameters 24
        zero [(0, 1048576)] unmap
        parameters 40
        IllegalRequest 26/00, wanted 40
        parameters 4104
        IllegalRequest 26/00, wanted 4104
        parameters 4120
        IllegalRequest 26/00, wanted 4120
        parameters 24
        IllegalRequest 1A/00, wanted 24
        IllegalRequest 24/00 at 1.0
        ",
    );
    check(
        LuConfig { unmap: false, ..disk() },
        |talk| unmap_all(talk, &[(0, 1)]),
        "IllegalRequest 20/00",
    );
}

#[test]
fn what_happened_while_a_list_was_on_its_way_counts() {
    let mut talk = Talk::new(disk());
    let list = unmap::build(&[Extent { lba: 0, blocks: 1 }]);
    let Plan::Parameters { cdb, .. } = talk.send(A, Cdb::Unmap { anchor: false, len: 24 }) else {
        panic!("no list was asked for");
    };
    talk.unit.set_faulted(true);
    let plan = talk.unit.with_parameters(A, &cdb, &list);
    assert_eq!(describe(&plan), "MediumError 0C/00, wanted 24");
}

proptest! {
    /// Whatever is sent, no plan leaves the medium, and none asks for more than is offered.
    #[test]
    fn no_plan_leaves_the_medium(
        cdb in prop::array::uniform16(any::<u8>()),
        opcode in prop::sample::select(&[
            0x08, 0x0A, 0x28, 0x2A, 0xA8, 0xAA, 0x88, 0x8A, 0x2F, 0xAF, 0x8F, 0x35, 0x91, 0x42u8,
        ][..]),
        offered in 0u32..40_000,
        zeros in prop::collection::vec(1usize..16, 0..16),
    ) {
        let mut cdb = cdb;
        cdb[0] = opcode;
        zeros.into_iter().for_each(|at| cdb[at] = 0);
        let mut talk = Talk::new(disk());
        let plan = talk.raw(A, Lun::ZERO, &cdb, offered);
        match &plan {
            Plan::Read { lba, blocks }
            | Plan::Write { lba, blocks, .. }
            | Plan::Verify { lba, blocks, .. } => {
                prop_assert!(*blocks > 0);
                prop_assert!(lba.saturating_add(u64::from(*blocks)) <= 512);
            }
            _ => {}
        }
        if !matches!(plan, Plan::Parameters { .. }) {
            prop_assert!(plan.data_out(4096) <= u64::from(offered));
        }
    }

    #[test]
    fn no_parameter_list_panics(list in prop::collection::vec(any::<u8>(), 0..80), ten: bool) {
        let mut talk = Talk::new(disk());
        let select = outband_protocol::scsi::cdb::ModeSelect { page_format: true, save: false, len: 80 };
        let select = if ten { Cdb::ModeSelect10(select) } else { Cdb::ModeSelect6(select) };
        for cdb in [select, Cdb::Unmap { anchor: false, len: 80 }] {
            let plan = talk.unit.with_parameters(A, &cdb, &list);
            if let Plan::Zero { ranges, .. } = plan {
                prop_assert!(ranges.iter().all(|(lba, blocks)| lba + blocks <= 512));
            }
        }
    }
}
