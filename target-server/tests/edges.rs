//! The edges of a volume, over a socket, through the real shard: 8 EiB of it, kept only where it is
//! written; both block sizes; the largest transfer and one block more; nothing at all; and expected
//! lengths that are not the command's.

#![allow(clippy::unwrap_used, reason = "helpers of tests; a failure here is a failed test")]

mod common;

use common::scsi::{Answer, ScsiHost};
use common::{Target, memory_of};
use outband_protocol::initiator::Data;
use outband_protocol::pdu::Residual;
use outband_protocol::scsi::capacity::Capacity;
use outband_protocol::scsi::cdb::{ByteCheck, Synchronize, Transfer, Verify};
use outband_protocol::scsi::sense::{
    INVALID_FIELD_IN_CDB, INVALID_FIELD_IN_INFORMATION_UNIT, INVALID_FIELD_IN_LIST,
    LBA_OUT_OF_RANGE, MISCOMPARE_DURING_VERIFY,
};
use outband_protocol::scsi::unmap::{self, Extent};
use outband_protocol::scsi::{Cdb, Status};

const BLOCK_SIZES: [u32; 2] = [512, 4096];
const LARGEST: u64 = 1 << 63;
const TRANSFER_MAX: usize = 16 << 20;

/// A session with a volume of so many bytes, and the target to keep.
async fn volume(len: u64, block_size: u32) -> (Target, ScsiHost) {
    let mut target = Target::start(|config| config.shards = 1);
    let host = target.open(&memory_of("v", len, block_size)).await;
    (target, host)
}

fn at(lba: u64, blocks: u32) -> Transfer {
    Transfer { lba, blocks, ..Transfer::default() }
}

fn verify(lba: u64, blocks: u32, check: ByteCheck) -> Cdb {
    Cdb::Verify16(Verify { lba, blocks, protect: 0, dpo: false, check })
}

fn synchronize(lba: u64, blocks: u32) -> Cdb {
    Cdb::SynchronizeCache16(Synchronize { lba, blocks, immed: false })
}

fn unmap(host: &mut ScsiHost, lba: u64, blocks: u32) -> Answer {
    let list = unmap::build(&[Extent { lba, blocks }]);
    host.write(Cdb::Unmap { anchor: false, len: u16::try_from(list.len()).unwrap() }, &list)
}

/// WRITE SAME(16) with one block of data.
fn write_same(host: &mut ScsiHost, lba: u64, blocks: u32, block: &[u8]) -> Answer {
    let mut cdb = [0; 16];
    cdb[0] = 0x93;
    cdb[2..10].copy_from_slice(&lba.to_be_bytes());
    cdb[10..14].copy_from_slice(&blocks.to_be_bytes());
    host.command(cdb, Data::Out(u32::try_from(block.len()).unwrap()), block)
}

/// Bytes that tell blocks and places in them apart.
fn pattern(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| seed ^ u8::try_from((at / 512 + at * 7) % 251).unwrap()).collect()
}

#[tokio::test]
async fn the_last_blocks_of_eight_exbibytes_are_like_any_other() {
    for block_size in BLOCK_SIZES {
        let (_target, mut host) = volume(LARGEST, block_size).await;
        let (block, blocks) = (block_size as usize, LARGEST / u64::from(block_size));
        let last = blocks - 1;
        let short = host.read(Cdb::ReadCapacity10, 8).data;
        assert_eq!((&short[..4], &short[4..]), (&[0xFF; 4][..], &block_size.to_be_bytes()[..]));
        let long = host.read(Cdb::ReadCapacity16 { allocation: 32 }, 32).data;
        let capacity = Capacity::parse_long(&long).unwrap();
        assert_eq!((capacity.blocks, capacity.block_size), (blocks, block_size));
        assert_eq!(block << capacity.physical_exponent, 4096);

        // From the first block to the last, and a transfer that ends with the last.
        for (lba, count) in [(0, 1), (last, 1), (last - 1, 2), (blocks - 2048, 2048), (1 << 32, 3)]
        {
            let len = count as usize * block;
            let data = pattern(u8::try_from(count & 0x7F).unwrap(), len);
            assert!(host.read(Cdb::read16(lba, count), len).is_good());
            assert!(host.write(Cdb::write16(lba, count, true), &data).is_good());
            assert!(host.read(Cdb::read16(lba, count), len).data == data, "{count} at {lba}");
            assert!(host.nothing(verify(lba, count, ByteCheck::Medium)).is_good());
            assert!(host.write(verify(lba, count, ByteCheck::Compare), &data).is_good());
            let other = host.write(verify(lba, count, ByteCheck::Compare), &vec![0xEE; len]);
            assert!(other.says(&MISCOMPARE_DURING_VERIFY), "{other:?}");
            assert!(host.nothing(synchronize(lba, count)).is_good());
            assert!(write_same(&mut host, lba, count, &data[..block]).is_good());
            let same = host.read(Cdb::read16(lba, count), len).data;
            assert!(same.chunks(block).all(|each| *each == data[..block]), "{count} at {lba}");
            assert!(unmap(&mut host, lba, count).is_good());
            let zeros = host.read(Cdb::read16(lba, count), len).data;
            assert!(zeros.len() == len && zeros.iter().all(|byte| *byte == 0));
        }
    }
}

#[tokio::test]
async fn nothing_past_the_end_is_there_however_the_numbers_wrap() {
    for (len, block_size) in [(LARGEST, 512), (LARGEST, 4096), (1 << 20, 512), (1 << 20, 4096)] {
        let (_target, mut host) = volume(len, block_size).await;
        let (block, blocks) = (block_size as usize, len / u64::from(block_size));
        let wraps = 1u64 << (64 - block_size.ilog2());
        let beyond = [
            (blocks, 1),
            (blocks - 1, 2),
            (blocks + 1, 0),
            (blocks + 1, 1),
            // Times the block size, these are 0 and 512 or 4096 again, if nobody looks.
            (wraps, 1),
            (wraps + 1, 1),
            (1 << 63, 1),
            (u64::MAX, 0),
            (u64::MAX, 1),
            (u64::MAX, u32::MAX),
            (u64::MAX - 1, 2),
            (u64::MAX - 7, 8),
        ];
        for (lba, count) in beyond {
            let data = vec![0x5A; block * 8];
            let refused = [
                host.read(Cdb::read16(lba, count), block),
                host.write(Cdb::write16(lba, count, false), &data),
                host.nothing(verify(lba, count, ByteCheck::Medium)),
                host.write(verify(lba, count, ByteCheck::Compare), &data),
                host.nothing(synchronize(lba, count)),
                unmap(&mut host, lba, count),
            ];
            for (at, answer) in refused.iter().enumerate() {
                // More than MAXIMUM UNMAP LBA COUNT is found out first.
                let much = at == 5 && count == u32::MAX && answer.says(&INVALID_FIELD_IN_LIST);
                let past = answer.says(&LBA_OUT_OF_RANGE);
                assert!(past || much, "{at}: {count} at {lba}: {answer:?}");
            }
            // No blocks, and more than MAXIMUM WRITE SAME LENGTH, are refused whatever the address.
            let same = write_same(&mut host, lba, count, &data[..block]);
            let said = [LBA_OUT_OF_RANGE, INVALID_FIELD_IN_CDB];
            assert!(said.iter().any(|sense| same.says(sense)), "{count} at {lba}: {same:?}");
        }
        // Nothing of all that was written anywhere that a wrapped number leads to.
        for lba in [0, 1, blocks - 1] {
            assert!(host.read(Cdb::read16(lba, 1), block).data.iter().all(|byte| *byte == 0));
        }
        // No blocks at the very end are no harm.
        assert!(host.read(Cdb::read16(blocks, 0), 0).is_good());
        assert!(host.write(Cdb::write16(blocks, 0, true), &[]).is_good());
        assert!(unmap(&mut host, blocks, 0).is_good());
        assert!(host.nothing(synchronize(blocks, 0)).is_good());
    }
}

#[tokio::test]
async fn the_short_capacity_is_told_up_to_where_its_field_ends() {
    for (blocks, told) in [
        (2048, 2047),
        ((1 << 32) - 1, u32::MAX - 1),
        (1 << 32, u32::MAX),
        ((1 << 32) + 1, u32::MAX),
    ] {
        let (_target, mut host) = volume(blocks * 512, 512).await;
        let short = host.read(Cdb::ReadCapacity10, 8).data;
        assert_eq!(short[..4], told.to_be_bytes(), "{blocks} blocks");
        let long = host.read(Cdb::ReadCapacity16 { allocation: 32 }, 32).data;
        assert_eq!(Capacity::parse_long(&long).unwrap().blocks, blocks);
    }
}

#[tokio::test]
async fn a_short_command_reaches_over_the_end_of_its_own_addresses() {
    for block_size in BLOCK_SIZES {
        let (_target, mut host) = volume(LARGEST, block_size).await;
        let block = block_size as usize;
        let last = u64::from(u32::MAX);
        let data = pattern(3, 3 * block);
        assert!(host.write(Cdb::Write10(at(last, 3)), &data).is_good());
        for read in [Cdb::Read10(at(last, 3)), Cdb::Read12(at(last, 3)), Cdb::Read16(at(last, 3))] {
            assert!(host.read(read, 3 * block).data == data);
        }
        assert!(host.read(Cdb::read16(1 << 32, 1), block).data == data[block..2 * block]);
        assert!(host.read(Cdb::read16(0, 1), block).data.iter().all(|byte| *byte == 0));
    }
    // On a volume that ends there, it is one block too many.
    let (_target, mut host) = volume(512 << 32, 512).await;
    let last = u64::from(u32::MAX);
    assert!(host.read(Cdb::Read10(at(last, 1)), 512).is_good());
    assert!(host.read(Cdb::Read10(at(last, 2)), 1024).says(&LBA_OUT_OF_RANGE));
    assert!(host.write(Cdb::Write10(at(last, 2)), &[1; 1024]).says(&LBA_OUT_OF_RANGE));
    assert!(host.read(Cdb::Read10(at(last, 1)), 512).data.iter().all(|byte| *byte == 0));
}

#[tokio::test]
async fn sixteen_mebibytes_move_at_once_and_one_block_more_is_refused() {
    for block_size in BLOCK_SIZES {
        let (_target, mut host) = volume(64 << 20, block_size).await;
        let block = block_size as usize;
        let most = u32::try_from(TRANSFER_MAX / block).unwrap();
        let data = pattern(9, TRANSFER_MAX + block);
        let limits = host.read(Cdb::inquiry(Some(0xB0), 64), 64).data;
        assert_eq!(limits[8..12], most.to_be_bytes(), "MAXIMUM TRANSFER LENGTH");
        for lba in [0, 5, u64::from(most)] {
            assert!(host.write(Cdb::write16(lba, most, false), &data[..TRANSFER_MAX]).is_good());
            let read = host.read(Cdb::read16(lba, most), TRANSFER_MAX);
            assert!(read.is_good() && read.data == data[..TRANSFER_MAX], "at {lba}");
            let compare = verify(lba, most, ByteCheck::Compare);
            assert!(host.write(compare, &data[..TRANSFER_MAX]).is_good());
        }
        let more = most + 1;
        let refused = [
            host.write(Cdb::write16(0, more, false), &data),
            host.write(Cdb::Write12(at(0, more)), &data),
            host.write(verify(0, more, ByteCheck::Compare), &data),
            host.read(Cdb::read16(0, more), data.len()),
            host.read(Cdb::Read12(at(0, more)), data.len()),
            host.read(Cdb::read16(0, u32::MAX / 4096), data.len()),
        ];
        for (at, answer) in refused.iter().enumerate() {
            let past = answer.says(&LBA_OUT_OF_RANGE) && at == 5;
            assert!(answer.says(&INVALID_FIELD_IN_CDB) || past, "{at}: {answer:?}");
            assert_eq!(answer.data.len(), 0);
        }
        // All of the data was taken and dropped: the session is as it was.
        assert!(host.read(Cdb::read16(0, 1), block).is_good());
    }
}

#[tokio::test]
async fn no_blocks_are_moved_by_a_command_for_none() {
    for block_size in BLOCK_SIZES {
        let (_target, mut host) = volume(1 << 20, block_size).await;
        let none = at(7, 0);
        for read in [Cdb::Read10(none), Cdb::Read12(none), Cdb::Read16(none)] {
            assert!(host.nothing(read).is_good());
            assert!(host.read(read, 0).is_good());
            let more = host.read(read, 4096);
            assert_eq!((more.status, more.residual), (Status::Good, Residual::Underflow(4096)));
        }
        for write in [Cdb::Write10(none), Cdb::Write12(none), Cdb::Write16(none)] {
            assert!(host.nothing(write).is_good());
            assert!(host.write(write, &[]).is_good());
            let more = host.write(write, &[1; 4096]);
            assert_eq!((more.status, more.residual), (Status::Good, Residual::Underflow(4096)));
        }
        for check in [ByteCheck::Medium, ByteCheck::Compare] {
            assert!(host.nothing(verify(7, 0, check)).is_good());
        }
        let first = host.read(Cdb::read16(0, 8), 8 * block_size as usize);
        assert!(first.data.iter().all(|byte| *byte == 0));
        // In six bytes, none means 256, which are not there from block 1 on if these are large.
        let six = host.read(Cdb::Read6(at(0, 256)), 256 * block_size as usize);
        assert!(six.is_good(), "{six:?}");
    }
}

/// READ of eight blocks with any expected length: as many bytes come as fit, and the residual says
/// what was left over or missing (RFC 7143 §11.4.5.1).
#[tokio::test]
async fn a_read_fills_what_is_expected_and_tells_the_difference() {
    for block_size in BLOCK_SIZES {
        let (_target, mut host) = volume(1 << 20, block_size).await;
        let wanted = 8 * block_size as usize;
        let data = pattern(5, wanted);
        assert!(host.write(Cdb::write16(3, 8, false), &data).is_good());
        let block = block_size as usize;
        for expected in [
            0,
            1,
            block - 1,
            block,
            block + 1,
            wanted - 1,
            wanted,
            wanted + 1,
            2 * wanted,
            TRANSFER_MAX,
            TRANSFER_MAX + 5,
        ] {
            let answer = host.read(Cdb::read16(3, 8), expected);
            assert_eq!(answer.status, Status::Good, "{expected}");
            assert!(answer.data == data[..expected.min(wanted)], "{expected}");
            assert_eq!(answer.residual, residual(expected, wanted), "{expected}");
        }
        // Nothing is expected at all: neither R nor W.
        let nothing = host.nothing(Cdb::read16(3, 8));
        assert_eq!(nothing.residual, residual(0, wanted));
    }
}

/// WRITE of eight blocks with any expected length: whole blocks are written, the last bytes of a
/// block that is not there are an error, and what is too much is dropped (§11.4.5.2).
#[tokio::test]
async fn a_write_takes_whole_blocks_of_what_is_offered_and_tells_the_difference() {
    for block_size in BLOCK_SIZES {
        let (_target, mut host) = volume(1 << 20, block_size).await;
        let block = block_size as usize;
        let wanted = 8 * block;
        for (offered, written) in [
            (0, Some(0)),
            (1, None),
            (block - 1, None),
            (block, Some(1)),
            (block + 1, None),
            (7 * block, Some(7)),
            (wanted - 1, None),
            (wanted, Some(8)),
            (wanted + 1, Some(8)),
            (wanted + block, Some(8)),
            (1 << 20, Some(8)),
            (TRANSFER_MAX + 5, Some(8)),
        ] {
            assert!(host.write(Cdb::write16(0, 16, false), &vec![0x11; 2 * wanted]).is_good());
            let data = pattern(1, offered);
            let answer = host.write(Cdb::write16(3, 8, false), &data);
            match written {
                Some(_) => assert_eq!(answer.status, Status::Good, "{offered}"),
                None => assert!(answer.says(&INVALID_FIELD_IN_INFORMATION_UNIT), "{offered}"),
            }
            assert_eq!(answer.residual, residual(offered, wanted), "{offered}");
            let bytes = written.unwrap_or(0) * block;
            let mut expected = vec![0x11; 2 * wanted];
            expected[3 * block..][..bytes].copy_from_slice(&data[..bytes]);
            assert!(host.read(Cdb::read16(0, 16), 2 * wanted).data == expected, "{offered}");
        }
    }
}

fn residual(expected: usize, wanted: usize) -> Residual {
    let difference = |more: usize, less: usize| u32::try_from(more - less).unwrap();
    match expected.cmp(&wanted) {
        std::cmp::Ordering::Less => Residual::Overflow(difference(wanted, expected)),
        std::cmp::Ordering::Equal => Residual::None,
        std::cmp::Ordering::Greater => Residual::Underflow(difference(expected, wanted)),
    }
}
