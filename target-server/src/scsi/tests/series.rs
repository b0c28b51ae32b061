//! Commands that are more than one read or write: COMPARE AND WRITE, ORWRITE, WRITE SAME, WRITE AND
//! VERIFY; and those around provisioning.

use outband_protocol::scsi::cdb::{ByteCheck, WriteSame};
use outband_protocol::scsi::lba_status;

use super::*;

const fn verify(lba: u64, blocks: u32, check: ByteCheck) -> Verify {
    Verify { lba, blocks, protect: 0, dpo: false, check }
}

const fn same(lba: u64, blocks: u32) -> WriteSame {
    WriteSame { lba, blocks, protect: 0, anchor: false, unmap: false, no_data: false }
}

fn compare_and_write(lba: u64, blocks: u32) -> Cdb {
    Cdb::CompareAndWrite(at(lba, blocks))
}

#[test]
fn compare_and_write_takes_exactly_twice_its_blocks() {
    check(
        disk(),
        |talk| {
            talk.send(A, compare_and_write(7, 1));
            talk.offer(A, compare_and_write(7, 1), 4096);
            talk.offer(A, compare_and_write(7, 1), 3 * 4096);
            talk.offer(A, compare_and_write(7, 1), 0);
            talk.send(A, compare_and_write(7, 0));
            talk.offer(A, compare_and_write(7, 0), 8192);
            talk.send(A, compare_and_write(511, 1));
            talk.send(A, compare_and_write(511, 2));
            talk.send(A, compare_and_write(u64::MAX, 1));
            talk.send(A, compare_and_write(0, 128));
            talk.send(A, compare_and_write(0, 129));
            talk.send(A, Cdb::CompareAndWrite(Transfer { protect: 1, ..at(7, 1) }));
            talk.send(A, Cdb::CompareAndWrite(Transfer { dpo: true, fua: true, ..at(7, 1) }));
        },
        "
        compare and write 7+1 durable
        IllegalRequest 24/00 at 13, wanted 8192
        IllegalRequest 24/00 at 13, wanted 8192
        IllegalRequest 24/00 at 13, wanted 8192
        Good
        IllegalRequest 24/00 at 13
        compare and write 511+1 durable
        IllegalRequest 21/00 at 2
        IllegalRequest 21/00 at 2
        compare and write 0+128 durable
        IllegalRequest 24/00 at 13
        IllegalRequest 24/00 at 1.7
        compare and write 7+1 durable
        ",
    );
    let mut small = Talk::new(small_blocks());
    small.send(A, compare_and_write(0, 255));
    assert_eq!(small.trace, "compare and write 0+255 durable\n");
}

#[test]
fn with_a_write_cache_only_fua_makes_an_update_durable() {
    check(
        LuConfig { write_cache: true, ..disk() },
        |talk| {
            for fua in [false, true] {
                talk.send(A, Cdb::CompareAndWrite(Transfer { fua, ..at(7, 1) }));
                talk.send(A, Cdb::OrWrite16(Transfer { fua, ..at(7, 1) }));
            }
            talk.send(A, Cdb::WriteAndVerify16(verify(7, 1, ByteCheck::Medium)));
        },
        "
        compare and write 7+1
        or-write 7+1, wanted 4096
        compare and write 7+1 durable
        or-write 7+1 durable, wanted 4096
        write and verify 7+1, wanted 4096
        ",
    );
}

#[test]
fn orwrite_and_write_and_verify_take_what_a_write_takes() {
    let write_and_verify = |lba, blocks, check| Cdb::WriteAndVerify16(verify(lba, blocks, check));
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::OrWrite16(at(510, 2)));
            talk.send(A, Cdb::OrWrite16(at(510, 3)));
            talk.send(A, Cdb::OrWrite16(at(512, 0)));
            talk.offer(A, Cdb::OrWrite16(at(0, 2)), 4096);
            talk.offer(A, Cdb::OrWrite16(at(0, 2)), 4095);
            talk.send(A, Cdb::OrWrite16(Transfer { protect: 2, ..at(0, 1) }));
            for form in [Cdb::WriteAndVerify10, Cdb::WriteAndVerify12, Cdb::WriteAndVerify16] {
                talk.send(A, form(verify(7, 2, ByteCheck::Compare)));
            }
            talk.offer(A, write_and_verify(7, 2, ByteCheck::Medium), 4096);
            talk.offer(A, write_and_verify(7, 2, ByteCheck::Medium), 0);
            talk.send(A, write_and_verify(513, 0, ByteCheck::Medium));
            talk.send(A, write_and_verify(0, 1, ByteCheck::Reserved));
            talk.send(A, write_and_verify(0, 1, ByteCheck::CompareOne));
        },
        "
        or-write 510+2 durable, wanted 8192
        IllegalRequest 21/00 at 2
        Good
        or-write 0+1 durable, wanted 8192
        IllegalRequest 0E/03, wanted 8192
        IllegalRequest 24/00 at 1.7
        write and verify 7+2 compare, wanted 8192
        write and verify 7+2 compare, wanted 8192
        write and verify 7+2 compare, wanted 8192
        write and verify 7+1, wanted 8192
        Good, wanted 8192
        IllegalRequest 21/00 at 2
        IllegalRequest 24/00 at 1.2
        IllegalRequest 24/00 at 1.2
        ",
    );
}

#[test]
fn verify_with_one_block_compares_it_with_each() {
    check(
        disk(),
        |talk| {
            talk.list(A, Cdb::Verify16(verify(7, 3, ByteCheck::CompareOne)), &[0xAB; 4096]);
            talk.offer(A, Cdb::Verify10(verify(7, 3, ByteCheck::CompareOne)), 4095);
            talk.send(A, Cdb::Verify12(verify(7, 0, ByteCheck::CompareOne)));
            talk.send(A, Cdb::Verify12(verify(510, 3, ByteCheck::CompareOne)));
        },
        "
        parameters 4096
        verify 7+3, each block AB 4096
        IllegalRequest 0E/03, wanted 4096
        Good
        IllegalRequest 21/00 at 2
        ",
    );
}

#[test]
fn write_same_repeats_one_block_and_makes_zeros_the_short_way() {
    check(
        disk(),
        |talk| {
            talk.list(A, Cdb::WriteSame10(same(7, 3)), &[0xAB; 4096]);
            talk.list(A, Cdb::WriteSame16(same(7, 3)), &[0; 4096]);
            let unmap = WriteSame { unmap: true, ..same(7, 3) };
            talk.list(A, Cdb::WriteSame10(unmap), &[0; 4096]);
            // Unmapped, they would read as something else than was sent.
            talk.list(A, Cdb::WriteSame16(unmap), &[1; 4096]);
            talk.send(A, Cdb::WriteSame16(WriteSame { no_data: true, ..unmap }));
            talk.send(A, Cdb::WriteSame16(WriteSame { no_data: true, ..same(7, 3) }));
        },
        "
        parameters 4096
        fill 7+3 with AB 4096
        parameters 4096
        zero [(7, 3)]
        parameters 4096
        zero [(7, 3)] unmap
        parameters 4096
        fill 7+3 with 01 4096
        zero [(7, 3)] unmap
        zero [(7, 3)]
        ",
    );
}

#[test]
fn write_same_of_no_blocks_or_of_too_many_is_refused() {
    let no_data = |lba, blocks| {
        Cdb::WriteSame16(WriteSame { no_data: true, unmap: true, ..same(lba, blocks) })
    };
    check(
        LuConfig { blocks: 1 << 20, ..disk() },
        |talk| {
            talk.send(A, no_data(7, 4096));
            talk.send(A, no_data(7, 4097));
            talk.send(A, no_data((1 << 20) - 1, 2));
            talk.send(A, no_data(u64::MAX, u32::MAX));
            talk.send(A, no_data(7, 0));
            talk.send(A, Cdb::WriteSame10(same(0, 0)));
        },
        "
        zero [(7, 4096)] unmap
        IllegalRequest 24/00 at 10
        IllegalRequest 21/00 at 2
        IllegalRequest 21/00 at 2
        IllegalRequest 24/00 at 10
        IllegalRequest 24/00 at 7
        ",
    );
}

#[test]
fn write_same_refuses_what_is_not_offered() {
    check(
        LuConfig { unmap: false, ..disk() },
        |talk| {
            talk.send(A, Cdb::WriteSame16(WriteSame { unmap: true, ..same(0, 1) }));
            talk.send(A, Cdb::WriteSame16(WriteSame { anchor: true, ..same(0, 1) }));
            talk.send(A, Cdb::WriteSame10(WriteSame { protect: 1, ..same(0, 1) }));
            talk.offer(A, Cdb::WriteSame10(same(0, 1)), 2048);
            talk.offer(A, Cdb::WriteSame10(same(0, 1)), 8192);
        },
        "
        IllegalRequest 24/00 at 1.3
        IllegalRequest 24/00 at 1.4
        IllegalRequest 24/00 at 1.7
        IllegalRequest 0E/03, wanted 4096
        IllegalRequest 0E/03, wanted 4096
        ",
    );
}

#[test]
fn what_changes_blocks_is_refused_on_a_write_protected_medium() {
    let refused = LuConfig { read_only: true, ..disk() };
    check(
        refused,
        |talk| {
            talk.send(A, compare_and_write(7, 1));
            talk.send(A, Cdb::OrWrite16(at(7, 1)));
            talk.send(A, Cdb::WriteAndVerify10(verify(7, 1, ByteCheck::Medium)));
            talk.send(A, Cdb::WriteSame10(same(7, 1)));
            talk.send(A, Cdb::Verify10(verify(7, 1, ByteCheck::Medium)));
        },
        "
        DataProtect 27/00
        DataProtect 27/00
        DataProtect 27/00
        DataProtect 27/00
        verify 7+1
        ",
    );
}

#[test]
fn pre_fetch_checks_its_range_and_keeps_nothing() {
    let fetch = |lba, blocks| Cdb::PreFetch16(Synchronize { lba, blocks, immed: false });
    check(
        disk(),
        |talk| {
            talk.send(A, fetch(0, 0));
            talk.send(A, fetch(511, 1));
            talk.send(A, fetch(511, 2));
            talk.send(A, fetch(513, 0));
            talk.send(A, Cdb::PreFetch10(Synchronize { lba: 3, blocks: 4, immed: true }));
        },
        "
        Good
        Good
        IllegalRequest 21/00 at 2
        IllegalRequest 21/00 at 2
        Good
        ",
    );
}

#[test]
fn lba_status_asks_for_as_many_stretches_as_there_is_room_for() {
    let status = |lba, allocation| Cdb::GetLbaStatus { lba, allocation };
    check(
        disk(),
        |talk| {
            talk.send(A, status(0, 24));
            talk.send(A, status(511, 0));
            talk.send(A, status(9, 56));
            talk.send(A, status(9, u32::MAX));
            talk.send(A, status(512, 24));
            talk.send(A, status(u64::MAX, 24));
        },
        "
        survey 0+512, 1 in 24
        survey 511+1, 1 in 0
        survey 9+503, 3 in 56
        survey 9+503, 256 in 4294967295
        IllegalRequest 21/00 at 2
        IllegalRequest 21/00 at 2
        ",
    );
}

#[test]
fn without_provisioning_every_block_is_mapped() {
    let mut talk = Talk::new(LuConfig { unmap: false, ..disk() });
    let told = data(talk.send(A, Cdb::GetLbaStatus { lba: 9, allocation: 64 }));
    let all =
        lba_status::Descriptor { lba: 9, blocks: 503, status: lba_status::Provisioning::Mapped };
    assert_eq!(lba_status::parse(&told), Ok(vec![all]));
    talk.trace.clear();
    talk.send(A, Cdb::GetLbaStatus { lba: 512, allocation: 24 });
    assert_eq!(talk.trace, "IllegalRequest 21/00 at 2\n");
}
