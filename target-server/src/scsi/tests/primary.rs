//! What every device does: INQUIRY, REPORT LUNS, MODE SENSE and MODE SELECT, and other numbers.

use outband_protocol::scsi::capacity::Capacity;
use outband_protocol::scsi::cdb::{ModeSelect, ModeSense, PageControl, ReadDefects};
use outband_protocol::scsi::inquiry::{
    self, Association, BlockLimits, Designator, Name, Peripheral, Provisioning, Rotation, Standard,
};
use outband_protocol::scsi::luns;
use outband_protocol::scsi::mode::{self, Form, Parameters};

use super::*;

fn page(talk: &mut Talk, code: u8) -> Vec<u8> {
    data(talk.send(A, Cdb::inquiry(Some(code), 255)))
}

#[test]
fn an_inquiry_says_what_the_disk_is() {
    let mut talk = Talk::new(disk());
    let said = Standard::parse(&data(talk.send(A, Cdb::inquiry(None, 255)))).unwrap();
    assert_eq!(said.peripheral, Peripheral::Disk);
    assert_eq!((said.version, said.queueing, said.port_groups), (6, true, 1));
    assert_eq!((said.vendor.as_str(), said.product.as_str()), ("OUTBAND", "VIRTUAL-DISK"));
    assert_eq!(said.standards, [0x00A0, 0x0960, 0x0460, 0x04C0]);
}

#[test]
fn every_page_that_is_listed_can_be_read_and_no_other() {
    let mut talk = Talk::new(disk());
    let listed = page(&mut talk, 0x00);
    let listed = inquiry::parse_supported_pages(&listed).unwrap();
    assert_eq!(listed, [0, 0x80, 0x83, 0x85, 0x86, 0x87, 0x88, 0x8F, 0xB0, 0xB1, 0xB2]);
    for code in 0..=u8::MAX {
        let plan = talk.send(A, Cdb::inquiry(Some(code), 255));
        if listed.contains(&code) {
            let data = data(plan);
            assert_eq!(data[1], code);
            assert_eq!(data.len(), 4 + usize::from(u16::from_be_bytes([data[2], data[3]])));
        } else {
            assert_eq!(describe(&plan), "IllegalRequest 24/00 at 2", "page {code:02X}");
        }
    }
}

#[test]
fn the_identity_comes_from_the_volume_and_the_port() {
    let mut talk = Talk::new(disk());
    assert_eq!(inquiry::parse_serial_number(&page(&mut talk, 0x80)).as_deref(), Ok("S-1"));

    let list = Designator::parse_page(&page(&mut talk, 0x83)).unwrap();
    let uuid = disk().uuid;
    assert_eq!(list[0], Designator::unit(inquiry::naa6(LOCAL_COMPANY, uuid.into_bytes())));
    assert_eq!(list[1], Designator::unit(Name::Uuid(uuid.into_bytes())));
    assert_eq!(list[2], Designator::unit(Name::T10("OUTBAND".into(), uuid.to_string())));
    assert_eq!(list[3], Designator::port(Name::RelativePort(2)));
    assert_eq!(list[4], Designator::port(Name::PortGroup(3)));
    let port = "iqn.2026-11.local.outband:pool:vol,t,0x0001";
    assert_eq!(list[5], Designator::port(Name::Scsi(port.to_owned())));
    assert_eq!(list[6].of, Association::TargetDevice);
}

#[test]
fn the_limits_are_told_in_blocks() {
    for (config, factor) in [(disk(), 1), (small_blocks(), 8)] {
        let physical = u16::try_from(factor).unwrap();
        let mut talk = Talk::new(config);
        let limits = BlockLimits::parse(&page(&mut talk, 0xB0)).unwrap();
        let expected = BlockLimits {
            granularity: physical,
            transfer_max: 4096 * factor,
            transfer_optimal: 256 * factor,
            unmap_blocks_max: 1 << 20,
            unmap_extents_max: 256,
            unmap_granularity: if factor == 1 { 0 } else { factor },
            unmap_alignment: (factor > 1).then_some(0),
            compare_and_write_max: if factor == 1 { 128 } else { 255 },
            write_same_max: u64::from(4096 * factor),
            write_same_nonzero: true,
            atomic_max: 32 * factor,
        };
        assert_eq!(limits, expected);
    }
}

/// A partition that begins at block 3: where physical blocks of 4096 bytes begin in it.
#[test]
fn a_partition_tells_where_its_physical_blocks_begin() {
    for (config, piece, first) in [
        (small_blocks(), 8, 5),
        (disk(), 1, 0),
        (LuConfig { physical_block_size: 512, ..small_blocks() }, 1, 0),
    ] {
        let mut talk = Talk::new(LuConfig { first_block: 3, ..config });
        let capacity = data(talk.send(A, Cdb::ReadCapacity16 { allocation: 32 }));
        let capacity = Capacity::parse_long(&capacity).unwrap();
        assert_eq!((1 << capacity.physical_exponent, capacity.lowest_aligned), (piece, first));
        // Room is given back in pieces of 4096 bytes, however small the physical blocks are.
        let limits = BlockLimits::parse(&page(&mut talk, 0xB0)).unwrap();
        assert_eq!(limits.unmap_alignment, (capacity.block_size == 512).then_some(5));
    }
}

#[test]
fn unmap_is_told_of_everywhere_or_nowhere() {
    for unmap in [true, false] {
        let mut talk = Talk::new(LuConfig { unmap, ..disk() });
        let limits = BlockLimits::parse(&page(&mut talk, 0xB0)).unwrap();
        assert_eq!((limits.unmap_blocks_max > 0, limits.unmap_extents_max > 0), (unmap, unmap));
        let provisioning = Provisioning::parse(&page(&mut talk, 0xB2)).unwrap();
        assert_eq!(
            provisioning,
            Provisioning { unmap, write_same: unmap, reads_zeros: unmap, thin: unmap }
        );
        let capacity = data(talk.send(A, Cdb::ReadCapacity16 { allocation: 32 }));
        let capacity = Capacity::parse_long(&capacity).unwrap();
        assert_eq!((capacity.provisioned, capacity.unmapped_reads_zeros), (unmap, unmap));
    }
}

#[test]
fn a_medium_that_does_not_turn_says_so() {
    for (rotational, said) in [(false, Rotation::None), (true, Rotation::Unknown)] {
        let mut talk = Talk::new(LuConfig { rotational, ..disk() });
        assert_eq!(inquiry::parse_characteristics(&page(&mut talk, 0xB1)), Ok(said));
    }
}

#[test]
fn the_capacity_is_told_by_both_commands() {
    let mut talk = Talk::new(small_blocks());
    let short = data(talk.send(A, Cdb::ReadCapacity10));
    assert_eq!(short, [0, 0, 0x0F, 0xFF, 0, 0, 2, 0]);
    let long = data(talk.send(A, Cdb::ReadCapacity16 { allocation: 32 }));
    let long = Capacity::parse_long(&long).unwrap();
    assert_eq!((long.blocks, long.block_size, long.physical_exponent), (4096, 512, 3));
    assert_eq!(data(talk.send(A, Cdb::ReadCapacity16 { allocation: 12 })).len(), 12);
}

#[test]
fn the_lists_of_defects_are_there_and_empty() {
    let mut talk = Talk::new(disk());
    let grown = ReadDefects { grown: true, format: 5, allocation: 32, ..ReadDefects::default() };
    assert_eq!(data(talk.send(A, Cdb::ReadDefectData10(grown))), [0, 0x0D, 0, 0]);
    let primary = ReadDefects { primary: true, grown: false, index: 9, ..grown };
    assert_eq!(data(talk.send(A, Cdb::ReadDefectData12(primary))), [0, 0x15, 0, 0, 0, 0, 0, 0]);
    let short = ReadDefects { allocation: 2, ..grown };
    assert_eq!(data(talk.send(A, Cdb::ReadDefectData12(short))), [0, 0x0D]);
}

#[test]
fn parameter_data_is_cut_to_the_room_there_is() {
    check(
        disk(),
        |talk| {
            for allocation in [0, 5, 36, 96, 255] {
                talk.send(A, Cdb::inquiry(None, allocation));
            }
            talk.send(A, Cdb::RequestSense { descriptors: false, allocation: 4 });
            talk.send(A, Cdb::RequestSense { descriptors: false, allocation: 252 });
            talk.send(A, Cdb::RequestSense { descriptors: true, allocation: 252 });
        },
        "
        Good
        Good, wanted 5
        Good, wanted 36
        Good, wanted 96
        Good, wanted 96
        Good, wanted 4
        Good, wanted 18
        Good, wanted 8
        ",
    );
}

#[test]
fn a_number_without_a_logical_unit_is_absent_not_an_error() {
    let lun = luns::address(1);
    check(
        disk(),
        |talk| {
            let inquiry = data(talk.raw(A, lun, &Cdb::inquiry(None, 96).build(), 0));
            assert_eq!(inquiry[0], 0x7F);
            let pages = data(talk.raw(A, lun, &Cdb::inquiry(Some(0), 96).build(), 0));
            assert_eq!(pages, [0x7F, 0, 0, 1, 0]);
            talk.raw(A, lun, &Cdb::inquiry(Some(0x83), 96).build(), 0);
            let report = Cdb::ReportLuns { select: 0, allocation: 16 };
            let report = data(talk.raw(A, lun, &report.build(), 0));
            assert_eq!(luns::parse(&report).unwrap().luns, [Lun::ZERO]);
            let sense = Cdb::RequestSense { descriptors: false, allocation: 18 };
            let sense = data(talk.raw(A, lun, &sense.build(), 0));
            assert_eq!(Sense::parse(&sense), Ok(sense::LUN_NOT_SUPPORTED));
            talk.raw(A, lun, &Cdb::TestUnitReady.build(), 0);
            talk.raw(A, lun, &Cdb::read16(0, 1).build(), 0);
            talk.raw(A, lun, &[0xC0; 16], 0);
        },
        "
        Good, wanted 96
        Good, wanted 5
        IllegalRequest 24/00 at 2
        Good, wanted 16
        Good, wanted 18
        IllegalRequest 25/00
        IllegalRequest 25/00
        IllegalRequest 25/00
        ",
    );
}

#[test]
fn zero_is_found_under_flat_addressing_too() {
    let mut talk = Talk::new(disk());
    let plan = talk.raw(A, Lun(0x4000 << 48), &Cdb::read16(0, 1).build(), 0);
    assert_eq!(describe(&plan), "read 0+1");
}

#[test]
fn report_luns_wants_room_and_knows_three_selections() {
    check(
        disk(),
        |talk| {
            for (select, allocation) in [(0, 16), (1, 16), (2, 512), (3, 512), (0, 15)] {
                talk.send(A, Cdb::ReportLuns { select, allocation });
            }
        },
        "
        Good, wanted 16
        Good, wanted 8
        Good, wanted 16
        IllegalRequest 24/00 at 2
        IllegalRequest 24/00 at 6
        ",
    );
}

#[test]
fn what_is_not_offered_is_an_invalid_operation_code_or_field() {
    check(
        disk(),
        |talk| {
            // LOG SENSE, SERVICE ACTION BIDIRECTIONAL, a vendor's, and a service action of READ
            // CAPACITY(16)'s operation code.
            for cdb in [[0x4C, 0], [0x9D, 0], [0xC1, 0], [0x9E, 0x1F]] {
                let mut block = [0; 16];
                block[..2].copy_from_slice(&cdb);
                talk.raw(A, Lun::ZERO, &block, 0);
            }
            // NACA.
            talk.raw(A, Lun::ZERO, &[0, 0, 0, 0, 0, 4], 0);
        },
        "
        IllegalRequest 20/00
        IllegalRequest 20/00
        IllegalRequest 20/00
        IllegalRequest 24/00 at 1.4
        IllegalRequest 24/00 at 5.2
        ",
    );
}

const SENSE: ModeSense = ModeSense {
    no_descriptor: true,
    long_lba: false,
    control: PageControl::Current,
    page: mode::ALL_PAGES,
    subpage: 0,
    allocation: 255,
};

/// The pages MODE SENSE(6) returns: code and the bytes after the length.
fn pages(talk: &mut Talk, fields: ModeSense) -> Vec<(u8, Vec<u8>)> {
    let data = data(talk.send(A, Cdb::ModeSense6(fields)));
    assert_eq!(usize::from(data[0]), data.len() - 1);
    let parsed = Parameters::parse(Form::Six, &data).unwrap();
    parsed.each().map(|page| page.map(|page| (page.code, page.body.to_vec())).unwrap()).collect()
}

#[test]
fn mode_sense_shows_three_pages_one_by_one_or_together() {
    let mut talk = Talk::new(disk());
    let all = pages(&mut talk, SENSE);
    let codes: Vec<u8> = all.iter().map(|(code, _)| *code).collect();
    assert_eq!(codes, [0x08, 0x0A, 0x1C]);
    assert_eq!(pages(&mut talk, ModeSense { subpage: mode::ALL_SUBPAGES, ..SENSE }), all);
    // PS is 0 in each: nothing is saved (SPC-4 §7.5).
    let bytes = data(talk.send(A, Cdb::ModeSense6(SENSE)));
    let list = Parameters::parse(Form::Six, &bytes).unwrap();
    assert!(list.each().all(|page| page.unwrap().bytes[0] & 0x80 == 0));
    for (code, body) in all {
        assert_eq!(pages(&mut talk, ModeSense { page: code, ..SENSE }), [(code, body)]);
    }
}

#[test]
fn mode_sense_refuses_what_is_not_there() {
    check(
        disk(),
        |talk| {
            talk.send(A, Cdb::ModeSense6(ModeSense { page: 0x01, ..SENSE }));
            talk.send(A, Cdb::ModeSense6(ModeSense { subpage: 1, ..SENSE }));
            talk.send(A, Cdb::ModeSense10(ModeSense { control: PageControl::Saved, ..SENSE }));
        },
        "
        IllegalRequest 24/00 at 2.5
        IllegalRequest 24/00 at 3
        IllegalRequest 39/00
        ",
    );
}

#[test]
fn the_transport_has_no_mode_pages_of_its_own() {
    // RFC 7143 §5: neither 18h nor 19h, with which other transports set up themselves.
    for page in [0x18, 0x19] {
        let mut talk = Talk::new(disk());
        let plan = talk.send(A, Cdb::ModeSense10(ModeSense { page, ..SENSE }));
        assert_eq!(describe(&plan), "IllegalRequest 24/00 at 2.5");
    }
}

#[test]
fn the_header_tells_the_truth_about_writing_and_size() {
    for (read_only, specific) in [(false, 0x10), (true, 0x90)] {
        let mut talk = Talk::new(LuConfig { read_only, ..disk() });
        let six = data(talk.send(A, Cdb::ModeSense6(ModeSense { no_descriptor: false, ..SENSE })));
        assert_eq!(six[1..12], [0, specific, 8, 0, 0, 2, 0, 0, 0, 0x10, 0]);
        let long = ModeSense { no_descriptor: false, long_lba: true, ..SENSE };
        let ten = data(talk.send(A, Cdb::ModeSense10(long)));
        assert_eq!(ten[2..8], [0, specific, 1, 0, 0, 16]);
        assert_eq!(ten[8..24], [0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0x10, 0]);
    }
}

#[test]
fn the_cache_is_told_as_it_is() {
    let wce = |talk: &mut Talk, control| {
        pages(talk, ModeSense { page: mode::CACHING, control, ..SENSE })[0].1[0] & 0x04 != 0
    };
    let table = [(false, false, [false, true, false]), (true, false, [true, true, true])];
    for (write_cache, volatile, told) in
        table.into_iter().chain([(false, true, [true, false, true])])
    {
        let mut talk = Talk::new(LuConfig { write_cache, volatile, ..disk() });
        let controls = [PageControl::Current, PageControl::Changeable, PageControl::Default];
        assert_eq!(controls.map(|control| wce(&mut talk, control)), told);
    }
}

fn select(talk: &mut Talk, nexus: NexusId, pages: &[u8]) {
    let list = [&[0, 0, 0, 0], pages].concat();
    let len = u16::try_from(list.len()).unwrap();
    talk.list(nexus, Cdb::ModeSelect6(ModeSelect { page_format: true, save: false, len }), &list);
}

fn caching(write_cache: bool) -> [u8; 20] {
    mode::Caching { write_cache }.page()
}

#[test]
fn mode_select_switches_the_cache_until_a_reset_and_tells_the_others() {
    check(
        disk(),
        |talk| {
            talk.join(B);
            talk.send(B, Cdb::TestUnitReady);
            select(talk, A, &caching(true));
            talk.send(A, Cdb::write16(0, 1, false));
            talk.send(B, Cdb::TestUnitReady);
            // What was written from the cache becomes durable before the cache is gone.
            select(talk, B, &caching(false));
            talk.send(B, Cdb::write16(0, 1, false));
            talk.send(A, Cdb::TestUnitReady);
            // Nothing changes, so nobody is told.
            select(talk, A, &caching(false));
            talk.send(B, Cdb::TestUnitReady);
            select(talk, A, &caching(true));
            talk.unit.reset();
            talk.send(A, Cdb::TestUnitReady);
            talk.send(A, Cdb::write16(0, 1, false));
        },
        "
        UnitAttention 29/00
        parameters 24
        Good, wanted 24
        write 0+1, wanted 4096
        UnitAttention 2A/01
        parameters 24
        flush
        write 0+1 durable, wanted 4096
        UnitAttention 2A/01
        parameters 24
        Good, wanted 24
        Good
        parameters 24
        Good, wanted 24
        UnitAttention 29/03
        write 0+1 durable, wanted 4096
        ",
    );
}

#[test]
fn software_write_protection_is_obeyed_and_shown() {
    let control = |write_protect| mode::Control { write_protect, ..Default::default() }.page();
    let mut talk = Talk::new(disk());
    select(&mut talk, A, &control(true));
    talk.send(A, Cdb::write16(0, 1, false));
    assert_eq!(data(talk.send(A, Cdb::ModeSense6(SENSE)))[2], 0x90);
    select(&mut talk, A, &control(false));
    talk.send(A, Cdb::write16(0, 1, false));
    let told: Vec<_> = talk.trace.lines().collect();
    let select = ["parameters 16", "Good, wanted 16"];
    let protected = ["DataProtect 27/00", "Good, wanted 48"];
    let written = ["write 0+1 durable, wanted 4096"];
    assert_eq!(told, [&select[..], &protected, &select, &written].concat());
}

#[test]
fn mode_select_changes_nothing_when_any_of_it_is_wrong() {
    let mut readahead = caching(true);
    readahead[2] |= 0x01;
    let vendor = [0x00, 1, 0];
    check(
        disk(),
        |talk| {
            select(talk, A, &[&caching(true)[..], &readahead].concat());
            select(talk, A, &[&caching(true)[..], &vendor].concat());
            select(talk, A, &caching(true)[..19]);
            let (page_format, len) = (true, 24);
            talk.send(A, Cdb::ModeSelect6(ModeSelect { page_format, save: true, len }));
            talk.send(A, Cdb::ModeSelect10(ModeSelect { page_format: false, save: false, len }));
            talk.send(A, Cdb::ModeSelect10(ModeSelect { page_format, save: false, len: 0 }));
            talk.send(A, Cdb::write16(0, 1, false));
        },
        "
        parameters 44
        IllegalRequest 26/00, wanted 44
        parameters 27
        IllegalRequest 26/00, wanted 27
        parameters 23
        IllegalRequest 1A/00, wanted 23
        IllegalRequest 24/00 at 1.0
        IllegalRequest 24/00 at 1.4
        Good
        write 0+1 durable, wanted 4096
        ",
    );
    check(
        LuConfig { volatile: true, ..disk() },
        |talk| select(talk, A, &caching(false)),
        "
        parameters 24
        IllegalRequest 26/00, wanted 24
        ",
    );
}

#[test]
fn mode_select_with_the_data_of_mode_sense_is_accepted() {
    for ten in [false, true] {
        let fields = ModeSense { no_descriptor: false, ..SENSE };
        let mut talk = Talk::new(disk());
        let cdb = if ten { Cdb::ModeSense10(fields) } else { Cdb::ModeSense6(fields) };
        let list = data(talk.send(A, cdb));
        let len = u16::try_from(list.len()).unwrap();
        let fields = ModeSelect { page_format: true, save: false, len };
        let cdb = if ten { Cdb::ModeSelect10(fields) } else { Cdb::ModeSelect6(fields) };
        let plan = talk.unit.with_parameters(A, &cdb, &list);
        assert_eq!(describe(&plan), format!("Good, wanted {len}"));
    }
}

#[test]
fn sense_comes_with_descriptors_while_d_sense_is_set() {
    let control =
        |descriptor_sense| mode::Control { descriptor_sense, ..Default::default() }.page();
    let mut talk = Talk::new(disk());
    talk.join(B);
    talk.send(B, Cdb::TestUnitReady);
    let code = |talk: &Talk| talk.unit.sense_data(&sense::LBA_OUT_OF_RANGE)[0];
    assert_eq!(code(&talk), 0x70);
    select(&mut talk, A, &control(true));
    assert_eq!(code(&talk), 0x72);
    let shown = pages(&mut talk, ModeSense { page: mode::CONTROL, ..SENSE });
    assert_eq!(shown[0].1[0] & 0x04, 0x04);
    assert_eq!(describe(&talk.send(B, Cdb::TestUnitReady)), "UnitAttention 2A/01");
    // REQUEST SENSE has a bit of its own (DESC).
    let ask = Cdb::RequestSense { descriptors: false, allocation: 252 };
    assert_eq!(data(talk.send(A, ask))[0], 0x70);
    talk.unit.reset();
    assert_eq!(code(&talk), 0x70);
}

#[test]
fn the_pages_of_the_way_to_the_unit_name_its_port() {
    let mut talk = Talk::new(disk());
    assert_eq!(page(&mut talk, 0x85), [0, 0x85, 0, 0]);
    let extended = inquiry::Extended::parse(&page(&mut talk, 0x86)).unwrap();
    assert!(extended.head_of_queue && extended.ordered && extended.simple);
    assert!(
        usize::from(extended.sense_len_max)
            >= sense::LBA_OUT_OF_RANGE.with_information(1).at_cdb(2, None).descriptors().len()
    );
    assert_eq!(page(&mut talk, 0x87), [0, 0x87, 0, 4, 0x3F, 0xFF, 0, 0]);
    let ports = page(&mut talk, 0x88);
    assert_eq!(ports[4..8], [0, 0, 0, 2]);
    // One target port descriptor, as page 83h has it too.
    let len = usize::from(u16::from_be_bytes([ports[14], ports[15]]));
    assert_eq!(ports.len(), 16 + len);
    let identification = page(&mut talk, 0x83);
    assert!(identification.windows(len).any(|window| *window == ports[16..]));
}
