use proptest::prelude::*;

use super::*;

#[test]
#[allow(clippy::too_many_lines, reason = "a table, a row a line")]
fn every_command_is_read_from_the_bytes_of_the_standard() {
    let at = |lba, blocks| Transfer { lba, blocks, ..Transfer::default() };
    let verify = |lba, blocks, check| Verify { lba, blocks, protect: 0, dpo: false, check };
    let sync = |lba, blocks, immed| Synchronize { lba, blocks, immed };
    let same = |lba, blocks| WriteSame { lba, blocks, ..WriteSame::default() };
    let defects = ReadDefects { primary: true, grown: true, format: 5, ..ReadDefects::default() };
    let sense = ModeSense {
        no_descriptor: true,
        long_lba: false,
        control: PageControl::Changeable,
        page: 0x08,
        subpage: 0xFF,
        allocation: 24,
    };
    let select = ModeSelect { page_format: true, save: true, len: 24 };
    let table: &[(&[u8], Cdb)] = &[
        (&[0x00, 0, 0, 0, 0, 0], Cdb::TestUnitReady),
        (&[0x03, 1, 0, 0, 252, 0], Cdb::RequestSense { descriptors: true, allocation: 252 }),
        (
            &[0x04, 0x7D, 0, 0, 0, 0],
            Cdb::FormatUnit(FormatUnit {
                protect: 1,
                long_header: true,
                has_list: true,
                complete: true,
                defect_format: 5,
            }),
        ),
        (&[0x12, 0, 0, 1, 0, 0], Cdb::Inquiry { page: None, allocation: 256 }),
        (&[0x12, 1, 0x83, 0, 255, 0], Cdb::Inquiry { page: Some(0x83), allocation: 255 }),
        (&[0xA0, 0, 2, 0, 0, 0, 0, 0, 2, 0, 0, 0], Cdb::ReportLuns { select: 2, allocation: 512 }),
        (
            &[0x4D, 1, 0x6F, 2, 0, 0x01, 0x02, 0x10, 0, 0],
            Cdb::LogSense(LogSense {
                save: true,
                control: 1,
                page: 0x2F,
                subpage: 2,
                parameter: 0x102,
                allocation: 4096,
            }),
        ),
        (&[0x1A, 0x08, 0x48, 0xFF, 24, 0], Cdb::ModeSense6(sense)),
        (
            &[0x5A, 0x18, 0x48, 0xFF, 0, 0, 0, 0, 24, 0],
            Cdb::ModeSense10(ModeSense { long_lba: true, ..sense }),
        ),
        (&[0x15, 0x11, 0, 0, 24, 0], Cdb::ModeSelect6(select)),
        (&[0x55, 0x11, 0, 0, 0, 0, 0, 0, 24, 0], Cdb::ModeSelect10(select)),
        (&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], Cdb::ReadCapacity10),
        (
            &[0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0],
            Cdb::ReadCapacity16 { allocation: 32 },
        ),
        (
            &[0x37, 0, 0x1D, 0, 0, 0, 0, 1, 2, 0],
            Cdb::ReadDefectData10(ReadDefects { allocation: 0x102, ..defects }),
        ),
        (
            &[0xB7, 0x1D, 0, 0, 0, 7, 0, 0, 1, 2, 0, 0],
            Cdb::ReadDefectData12(ReadDefects { index: 7, allocation: 0x102, ..defects }),
        ),
        (&[0x08, 0x1F, 0xFF, 0xFF, 1, 0], Cdb::Read6(at(0x1F_FFFF, 1))),
        (&[0x0A, 0, 0, 7, 0, 0], Cdb::Write6(at(7, 256))),
        (
            &[0x28, 0x18, 1, 2, 3, 4, 0, 5, 6, 0],
            Cdb::Read10(Transfer { dpo: true, fua: true, ..at(0x0102_0304, 0x0506) }),
        ),
        (
            &[0x2A, 0x22, 1, 2, 3, 4, 0, 5, 6, 0],
            Cdb::Write10(Transfer { protect: 1, ..at(0x0102_0304, 0x0506) }),
        ),
        (&[0xA8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0], Cdb::Read12(at(0x0102_0304, 0x0506_0708))),
        (
            &[0xAA, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0],
            Cdb::Write12(Transfer { fua: true, ..at(0x0102_0304, 0x0506_0708) }),
        ),
        (
            &[0x88, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0],
            Cdb::Read16(at(0x0102_0304_0506_0708, 0x090A_0B0C)),
        ),
        (
            &[0x8A, 0xE0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0],
            Cdb::Write16(Transfer { protect: 7, ..at(0x0102_0304_0506_0708, 0x090A_0B0C) }),
        ),
        (&[0x2F, 0x02, 0, 0, 0, 9, 0, 0, 1, 0], Cdb::Verify10(verify(9, 1, ByteCheck::Compare))),
        (
            &[0xAF, 0x06, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0],
            Cdb::Verify12(verify(9, 1, ByteCheck::CompareOne)),
        ),
        (
            &[0x8F, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0],
            Cdb::Verify16(verify(9, 1, ByteCheck::Medium)),
        ),
        (&[0x35, 2, 0, 0, 0, 9, 0, 0, 1, 0], Cdb::SynchronizeCache10(sync(9, 1, true))),
        (
            &[0x91, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0],
            Cdb::SynchronizeCache16(sync(9, 1, false)),
        ),
        (
            &[0x89, 0x28, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 255, 0, 0],
            Cdb::CompareAndWrite(Transfer {
                protect: 1,
                fua: true,
                ..at(0x0102_0304_0506_0708, 255)
            }),
        ),
        (
            &[0x8B, 0x10, 0, 0, 0, 0, 0, 0, 0, 9, 1, 0, 0, 0, 0, 0],
            Cdb::OrWrite16(Transfer { dpo: true, ..at(9, 1 << 24) }),
        ),
        (
            &[0x2E, 0x02, 0, 0, 0, 9, 0, 0, 1, 0],
            Cdb::WriteAndVerify10(verify(9, 1, ByteCheck::Compare)),
        ),
        (
            &[0xAE, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0],
            Cdb::WriteAndVerify12(verify(9, 1, ByteCheck::Medium)),
        ),
        (
            &[0x8E, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0],
            Cdb::WriteAndVerify16(verify(9, 1, ByteCheck::Medium)),
        ),
        (
            &[0x41, 0x38, 0, 0, 0, 9, 0, 0, 1, 0],
            Cdb::WriteSame10(WriteSame { protect: 1, anchor: true, unmap: true, ..same(9, 1) }),
        ),
        (
            &[0x93, 0x09, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0],
            Cdb::WriteSame16(WriteSame { unmap: true, no_data: true, ..same(9, 1) }),
        ),
        (&[0x34, 2, 0, 0, 0, 9, 0, 0, 1, 0], Cdb::PreFetch10(sync(9, 1, true))),
        (&[0x90, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0], Cdb::PreFetch16(sync(9, 1, false))),
        (
            &[0x9E, 0x12, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 24, 0, 0],
            Cdb::GetLbaStatus { lba: 9, allocation: 24 },
        ),
        (&[0x42, 1, 0, 0, 0, 0, 0, 0, 24, 0], Cdb::Unmap { anchor: true, len: 24 }),
        (
            &[0xA3, 0x0C, 0x82, 0x9E, 0, 0x10, 0, 0, 1, 0, 0, 0],
            Cdb::ReportSupportedOpcodes(SupportedOpcodes {
                timeouts: true,
                which: Which::Action(0x9E, 0x10),
                allocation: 256,
            }),
        ),
        (
            &[0xA3, 0x0D, 0x80, 0, 0, 0, 0, 0, 0, 16, 0, 0],
            Cdb::ReportSupportedTaskManagement { extended: true, allocation: 16 },
        ),
        (
            &[0xA3, 0x2A, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
            Cdb::ReportTargetPortGroups { extended: true, allocation: 256 },
        ),
        (
            &[0x5E, 3, 0, 0, 0, 0, 0, 1, 0, 0],
            Cdb::PersistentReserveIn { what: ReserveIn::ReadFullStatus, allocation: 256 },
        ),
        (
            &[0x5F, 5, 0x06, 0, 0, 0, 0, 0, 24, 0],
            Cdb::PersistentReserveOut(ReserveOut {
                action: ReserveOutAction::PreemptAndAbort,
                scope: 0,
                kind: 6,
                len: 24,
            }),
        ),
        (&[0x16, 0, 0, 0, 0, 0], Cdb::Reserve6),
        (&[0x17, 0, 0, 0, 0, 0], Cdb::Release6),
        (
            &[0x1B, 1, 0, 0, 0x35, 0],
            Cdb::StartStopUnit(StartStop {
                immed: true,
                power_condition: 3,
                no_flush: true,
                load_eject: false,
                start: true,
            }),
        ),
        (
            &[0x1D, 0x54, 0, 1, 2, 0],
            Cdb::SendDiagnostic(SendDiagnostic {
                code: 2,
                page_format: true,
                self_test: true,
                offline: 0,
                len: 258,
            }),
        ),
        (&[0x1E, 0, 0, 0, 1, 0], Cdb::PreventAllowMediumRemoval { prevent: 1 }),
    ];
    for (bytes, cdb) in table {
        assert_eq!(Cdb::parse(bytes), Ok(*cdb), "{bytes:02X?}");
        // Obsolete FUA_NV in the WRITE(10) above is the one bit that is read over.
        let mut padded = [0; 16];
        padded[..bytes.len()].copy_from_slice(bytes);
        padded[1] &= if cdb.opcode() == opcode::WRITE_10 { !0x02 } else { 0xFF };
        assert_eq!(cdb.build(), padded);
    }
}

#[test]
fn what_is_not_offered_is_an_invalid_operation_code() {
    // SERVICE ACTION BIDIRECTIONAL, a vendor's, a variable length command, an empty one, LOG SELECT.
    let others: [&[u8]; 5] =
        [&[0x9D, 0x10], &[0xC0], &[0x7F], &[], &[0x4C, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF]];
    for other in others {
        let mut cdb = [0; 16];
        cdb[..other.len()].copy_from_slice(other);
        let cdb = if other.is_empty() { &[] } else { &cdb[..] };
        assert_eq!(Cdb::parse(cdb), Err(INVALID_OPCODE), "{other:02X?}");
    }
}

#[test]
fn naca_and_reserved_bits_of_control_are_refused() {
    for (opcode, control) in [(0x00, 5), (0x28, 9), (0xA8, 11), (0x88, 15)] {
        for bit in 0..8 {
            let mut cdb = [0; 16];
            cdb[0] = opcode;
            cdb[control] = 1 << bit;
            let refused = INVALID_FIELD_IN_CDB.at_cdb(control.try_into().unwrap(), Some(bit));
            let expected = if (2..6).contains(&bit) { Some(refused) } else { None };
            assert_eq!(Cdb::parse(&cdb).err(), expected, "{opcode:02X} bit {bit}");
        }
    }
}

#[test]
fn an_inquiry_for_a_page_without_evpd_is_refused() {
    let page = INVALID_FIELD_IN_CDB.at_cdb(2, None);
    assert_eq!(Cdb::parse(&[0x12, 0, 0x83, 0, 255, 0]), Err(page));
    let cmddt = INVALID_FIELD_IN_CDB.at_cdb(1, Some(1));
    assert_eq!(Cdb::parse(&[0x12, 2, 0, 0, 255, 0]), Err(cmddt));
}

#[test]
fn a_host_expects_as_many_bytes_as_the_command_moves() {
    assert_eq!(Cdb::read16(0, 8).expected(4096), Expected::In(32768));
    assert_eq!(Cdb::write16(0, u32::MAX, true).expected(4096), Expected::Out(0xFFFF_FFFF * 4096));
    assert_eq!(Cdb::compare_and_write(0, 3, true).expected(512), Expected::Out(3072));
    let same = |no_data| Cdb::WriteSame16(WriteSame { blocks: 9, no_data, ..WriteSame::default() });
    assert_eq!(same(false).expected(512), Expected::Out(512));
    assert_eq!(same(true).expected(512), Expected::Nothing);
    assert_eq!(Cdb::flush().expected(512), Expected::Nothing);
    assert_eq!(Cdb::inquiry(Some(0xB0), 64).expected(512), Expected::In(64));
    assert_eq!(Cdb::ReadCapacity10.expected(512), Expected::In(8));
    let verify = |check| Verify { lba: 0, blocks: 4, protect: 0, dpo: false, check };
    assert_eq!(Cdb::Verify16(verify(ByteCheck::Medium)).expected(512), Expected::Nothing);
    assert_eq!(Cdb::Verify16(verify(ByteCheck::Compare)).expected(512), Expected::Out(2048));
    assert_eq!(Cdb::Verify16(verify(ByteCheck::CompareOne)).expected(512), Expected::Out(512));
}

#[test]
#[should_panic(expected = "16-byte command")]
fn an_address_is_never_cut_to_fit_a_short_command() {
    let _ = Cdb::Read10(Transfer { lba: 1 << 32, blocks: 1, ..Transfer::default() }).build();
}

fn transfer(lba: u64, blocks: u32) -> impl Strategy<Value = Transfer> {
    (0..=lba, 0..=blocks, 0u8..8, any::<bool>(), any::<bool>())
        .prop_map(|(lba, blocks, protect, dpo, fua)| Transfer { lba, blocks, protect, dpo, fua })
}

fn six() -> impl Strategy<Value = Transfer> {
    (0u64..1 << 21, 1u32..257).prop_map(|(lba, blocks)| Transfer {
        lba,
        blocks,
        ..Transfer::default()
    })
}

fn verify(lba: u64, blocks: u32) -> impl Strategy<Value = Verify> {
    let check = prop_oneof![
        Just(ByteCheck::Medium),
        Just(ByteCheck::Compare),
        Just(ByteCheck::Reserved),
        Just(ByteCheck::CompareOne)
    ];
    (transfer(lba, blocks), check).prop_map(
        |(Transfer { lba, blocks, protect, dpo, .. }, check)| Verify {
            lba,
            blocks,
            protect,
            dpo,
            check,
        },
    )
}

fn synchronize(lba: u64, blocks: u32) -> impl Strategy<Value = Synchronize> {
    transfer(lba, blocks).prop_map(|at| Synchronize {
        lba: at.lba,
        blocks: at.blocks,
        immed: at.fua,
    })
}

fn write_same(lba: u64, blocks: u32, long: bool) -> impl Strategy<Value = WriteSame> {
    (transfer(lba, blocks), any::<bool>()).prop_map(move |(at, no_data)| WriteSame {
        lba: at.lba,
        blocks: at.blocks,
        protect: at.protect,
        anchor: at.dpo,
        unmap: at.fua,
        no_data: no_data && long,
    })
}

fn mode_sense(long_lba: bool, allocation: u16) -> impl Strategy<Value = ModeSense> {
    let control = prop_oneof![
        Just(PageControl::Current),
        Just(PageControl::Changeable),
        Just(PageControl::Default),
        Just(PageControl::Saved)
    ];
    (any::<bool>(), any::<bool>(), control, 0u8..64, any::<u8>(), 0..=allocation).prop_map(
        move |(no_descriptor, long, control, page, subpage, allocation)| {
            let long_lba = long && long_lba;
            ModeSense { no_descriptor, long_lba, control, page, subpage, allocation }
        },
    )
}

fn mode_select(len: u16) -> impl Strategy<Value = ModeSelect> {
    (any::<bool>(), any::<bool>(), 0..=len).prop_map(|(page_format, save, len)| ModeSelect {
        page_format,
        save,
        len,
    })
}

#[allow(clippy::too_many_lines, reason = "a table, a command a line")]
fn any_cdb() -> impl Strategy<Value = Cdb> {
    const SHORT: u64 = u32::MAX as u64;
    let primary = prop_oneof![
        Just(Cdb::TestUnitReady),
        Just(Cdb::ReadCapacity10),
        any::<(bool, bool, u16)>().prop_map(|(primary, grown, allocation)| {
            let allocation = allocation.into();
            let fields = ReadDefects { primary, grown, format: 5, index: 0, allocation };
            Cdb::ReadDefectData10(fields)
        }),
        any::<(bool, bool, u32, u32)>().prop_map(|(primary, grown, index, allocation)| {
            Cdb::ReadDefectData12(ReadDefects { primary, grown, format: 2, index, allocation })
        }),
        any::<(bool, u8)>()
            .prop_map(|(descriptors, allocation)| Cdb::RequestSense { descriptors, allocation }),
        any::<(Option<u8>, u16)>().prop_map(|(page, allocation)| Cdb::Inquiry { page, allocation }),
        any::<(u8, u32)>().prop_map(|(select, allocation)| Cdb::ReportLuns { select, allocation }),
        (any::<bool>(), 0u8..4, 0u8..64, any::<(u8, u16, u16)>()).prop_map(
            |(save, control, page, (subpage, parameter, allocation))| {
                Cdb::LogSense(LogSense { save, control, page, subpage, parameter, allocation })
            }
        ),
        any::<u32>().prop_map(|allocation| Cdb::ReadCapacity16 { allocation }),
        any::<(bool, u16)>().prop_map(|(anchor, len)| Cdb::Unmap { anchor, len }),
        any::<u32>().prop_map(|len| Cdb::ExtendedCopy { len }),
        (0u8..4, any::<[bool; 3]>(), 0u8..8).prop_map(|(protect, flags, defect_format)| {
            let [long_header, has_list, complete] = flags;
            let fields = FormatUnit { protect, long_header, has_list, complete, defect_format };
            Cdb::FormatUnit(fields)
        }),
        (prop::sample::select(vec![1u8, 2, 0x1F]), any::<(bool, bool, u16)>()).prop_map(
            |(action, (immed, unrestricted, len))| {
                Cdb::Sanitize(Sanitize { action, immed, unrestricted, len })
            }
        ),
        (prop::sample::select(vec![0u8, 1, 3, 4]), any::<u8>(), any::<u32>()).prop_map(
            |(action, list, allocation)| Cdb::ReceiveCopyResults { action, list, allocation }
        ),
        mode_sense(false, 255).prop_map(Cdb::ModeSense6),
        mode_sense(true, u16::MAX).prop_map(Cdb::ModeSense10),
        mode_select(255).prop_map(Cdb::ModeSelect6),
        mode_select(u16::MAX).prop_map(Cdb::ModeSelect10),
    ];
    let medium = prop_oneof![
        six().prop_map(Cdb::Read6),
        six().prop_map(Cdb::Write6),
        transfer(SHORT, 0xFFFF).prop_map(Cdb::Read10),
        transfer(SHORT, 0xFFFF).prop_map(Cdb::Write10),
        transfer(SHORT, u32::MAX).prop_map(Cdb::Read12),
        transfer(SHORT, u32::MAX).prop_map(Cdb::Write12),
        transfer(u64::MAX, u32::MAX).prop_map(Cdb::Read16),
        transfer(u64::MAX, u32::MAX).prop_map(Cdb::Write16),
        (transfer(u64::MAX, 0xFFFF), any::<u16>()).prop_map(|(at, boundary)| {
            let (lba, protect, dpo, fua) = (at.lba, at.protect, at.dpo, at.fua);
            let blocks = u16::try_from(at.blocks).unwrap();
            Cdb::WriteAtomic16(WriteAtomic { lba, blocks, boundary, protect, dpo, fua })
        }),
        verify(SHORT, 0xFFFF).prop_map(Cdb::Verify10),
        verify(SHORT, u32::MAX).prop_map(Cdb::Verify12),
        verify(u64::MAX, u32::MAX).prop_map(Cdb::Verify16),
        synchronize(SHORT, 0xFFFF).prop_map(Cdb::SynchronizeCache10),
        synchronize(u64::MAX, u32::MAX).prop_map(Cdb::SynchronizeCache16),
    ];
    let more = prop_oneof![
        transfer(u64::MAX, 255).prop_map(Cdb::CompareAndWrite),
        transfer(u64::MAX, u32::MAX).prop_map(Cdb::OrWrite16),
        verify(SHORT, 0xFFFF).prop_map(Cdb::WriteAndVerify10),
        verify(SHORT, u32::MAX).prop_map(Cdb::WriteAndVerify12),
        verify(u64::MAX, u32::MAX).prop_map(Cdb::WriteAndVerify16),
        write_same(SHORT, 0xFFFF, false).prop_map(Cdb::WriteSame10),
        write_same(u64::MAX, u32::MAX, true).prop_map(Cdb::WriteSame16),
        synchronize(SHORT, 0xFFFF).prop_map(Cdb::PreFetch10),
        synchronize(u64::MAX, u32::MAX).prop_map(Cdb::PreFetch16),
        any::<(u64, u32)>().prop_map(|(lba, allocation)| Cdb::GetLbaStatus { lba, allocation }),
    ];
    let which = prop_oneof![
        Just(Which::All),
        any::<u8>().prop_map(Which::Opcode),
        any::<(u8, u16)>().prop_map(|(opcode, action)| Which::Action(opcode, action)),
        any::<(u8, u16)>().prop_map(|(opcode, action)| Which::Either(opcode, action)),
    ];
    let maintenance = prop_oneof![
        (any::<bool>(), which, any::<u32>()).prop_map(|(timeouts, which, allocation)| {
            Cdb::ReportSupportedOpcodes(SupportedOpcodes { timeouts, which, allocation })
        }),
        any::<(bool, u32)>().prop_map(|(extended, allocation)| {
            Cdb::ReportSupportedTaskManagement { extended, allocation }
        }),
    ];
    let what = prop_oneof![
        Just(ReserveIn::ReadKeys),
        Just(ReserveIn::ReadReservation),
        Just(ReserveIn::ReportCapabilities),
        Just(ReserveIn::ReadFullStatus)
    ];
    let action = prop_oneof![
        Just(ReserveOutAction::Register),
        Just(ReserveOutAction::Reserve),
        Just(ReserveOutAction::Release),
        Just(ReserveOutAction::Clear),
        Just(ReserveOutAction::Preempt),
        Just(ReserveOutAction::PreemptAndAbort),
        Just(ReserveOutAction::RegisterAndIgnore),
        Just(ReserveOutAction::RegisterAndMove)
    ];
    let state = prop_oneof![
        any::<(bool, u32)>().prop_map(|(extended, allocation)| {
            Cdb::ReportTargetPortGroups { extended, allocation }
        }),
        (what, any::<u16>())
            .prop_map(|(what, allocation)| Cdb::PersistentReserveIn { what, allocation }),
        (action, 0u8..16, 0u8..16, any::<u32>()).prop_map(|(action, scope, kind, len)| {
            Cdb::PersistentReserveOut(ReserveOut { action, scope, kind, len })
        }),
        Just(Cdb::Reserve6),
        Just(Cdb::Release6),
        (0u8..16, any::<[bool; 4]>()).prop_map(|(power_condition, flags)| {
            let [immed, no_flush, load_eject, start] = flags;
            Cdb::StartStopUnit(StartStop { immed, power_condition, no_flush, load_eject, start })
        }),
        (0u8..8, any::<[bool; 2]>(), 0u8..4, any::<u16>()).prop_map(
            |(code, flags, offline, len)| {
                let [page_format, self_test] = flags;
                Cdb::SendDiagnostic(SendDiagnostic { code, page_format, self_test, offline, len })
            }
        ),
        (0u8..4).prop_map(|prevent| Cdb::PreventAllowMediumRemoval { prevent }),
    ];
    prop_oneof![primary, medium, more, maintenance, state]
}

proptest! {
    #[test]
    fn a_command_comes_back_as_what_it_was(cdb in any_cdb()) {
        prop_assert_eq!(Cdb::parse(&cdb.build()), Ok(cdb));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        if let Ok(cdb) = Cdb::parse(&bytes) {
            prop_assert_eq!(Cdb::parse(&cdb.build()), Ok(cdb));
        }
    }
}
