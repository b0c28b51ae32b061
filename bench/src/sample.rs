//! What the benches measure with: a logical unit, a volume, and who may log in to it.

use outband_control::access::{ANY_HOST, AccessTable, Epoch, Grant};
use outband_control::api::{TARGET_PREFIX, TargetNames};
use outband_protocol::ids::{IscsiName, Isid, Lun};
use outband_protocol::scsi::reserve::InitiatorPort;
use outband_target_server::media::{
    Media, Piece, Place, VolumeName, VolumeSpec, VolumeState, WritePolicy, ZeroWith,
};
use outband_target_server::scsi::{
    LOCAL_COMPANY, LogicalUnit, LuConfig, NexusId, Request, TargetPort,
};
use uuid::Uuid;

/// Bytes in a block of every sample.
pub const BLOCK_LEN: u32 = 512;
/// The session that [`logical_unit`] knows.
pub const HOST: NexusId = NexusId(1);

/// A command for the one logical unit.
#[must_use]
pub const fn request(cdb: &[u8], offered: u32) -> Request<'_> {
    Request { lun: Lun::ZERO, cdb, offered }
}

/// 1 TiB that [`HOST`] uses, with nothing left to be told.
#[must_use]
pub fn logical_unit() -> LogicalUnit {
    let mut unit = LogicalUnit::new(LuConfig {
        uuid: Uuid::nil(),
        company: LOCAL_COMPANY,
        serial: "bench".to_owned(),
        port: TargetPort {
            target: "iqn.2026-11.local.outband:bench:volume".to_owned(),
            portal_group: 1,
            group: 1,
            relative: 1,
        },
        blocks: 1 << 31,
        block_size: BLOCK_LEN,
        physical_block_size: 4096,
        first_block: 0,
        write_cache: false,
        volatile: false,
        read_only: false,
        unmap: true,
        atomic: true,
        sanitize: false,
        sanitize_failed: None,
        rotational: false,
    });
    let name = IscsiName::new("iqn.2026-11.local.outband:host").expect("a name");
    unit.attach(HOST, InitiatorPort { name, isid: Isid([0x80, 0, 0, 0, 0, 1]) });
    // The first command of a session is told of the power on; it is not what is measured.
    unit.begin(HOST, &request(&[0; 6], 0));
    unit
}

/// How the targets of the samples are called.
#[must_use]
pub fn names() -> TargetNames {
    TargetNames::new(TARGET_PREFIX, "local")
}

/// Volume number `number`, the first `len` bytes of `media`.
#[must_use]
pub fn volume(number: u32, media: Media, len: u64) -> VolumeSpec {
    let volatile = matches!(media, Media::Memory);
    let piece = Piece { device: Uuid::nil(), media, offset: 0, len, zero: ZeroWith::Writes };
    VolumeSpec {
        id: Uuid::from_u128(u128::from(number) + 1),
        name: VolumeName::new(format!("bench{number}")).expect("a plain word"),
        block_size: BLOCK_LEN,
        physical_block_size: 4096,
        blocks: len / u64::from(BLOCK_LEN),
        write_policy: WritePolicy::High,
        state: VolumeState::Online,
        read_only: false,
        volatile,
        rotational: false,
        pieces: vec![piece],
        partitions: Vec::new(),
        epoch_floor: 0,
        place: Place::default(),
        journal: None,
        allow_sanitize: false,
    }
}

/// Any host may use the volumes `0..count`.
#[must_use]
pub fn access(count: u32) -> AccessTable {
    let mut table = AccessTable::new(names());
    for number in 0..count {
        let grant = Grant {
            subject: format!("bench{number}").parse().expect("a volume's name is a subject"),
            host: ANY_HOST.to_owned(),
            chap: None,
            sources: Vec::new(),
            epoch: Epoch(1),
            sessions_per_portal: 1,
        };
        table.grant(grant).expect("no grant is there twice");
    }
    table
}
