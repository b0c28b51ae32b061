//! What the benches measure with: a logical unit, a volume, and who may log in to it.

use outband_control::access::{ANY_HOST, AccessTable, Epoch, Grant};
use outband_control::api::{TARGET_PREFIX, TargetNames};
use outband_protocol::ids::{IscsiName, Isid, Lun};
use outband_protocol::scsi::reserve::InitiatorPort;
use outband_target_server::exports::DEFAULT_GROUP;
use outband_target_server::media::{Media, Piece, VolumeName, VolumeSpec, WritePolicy, ZeroWith};
use outband_target_server::scsi::{LogicalUnit, LuConfig, NexusId, Request, TargetPort};
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
    let port = TargetPort::first("iqn.2026-11.local.outband:bench:volume".to_owned());
    let config = LuConfig::new(Uuid::nil(), port, 1 << 31, BLOCK_LEN);
    let mut unit = LogicalUnit::new(LuConfig {
        physical_block_size: 4096,
        unmap: true,
        atomic: true,
        ..config
    });
    let name = IscsiName::new("iqn.2026-11.local.outband:host").expect("a name");
    let isid = Isid([0x80, 0, 0, 0, 0, 1]);
    unit.attach(HOST, InitiatorPort { name, isid }, DEFAULT_GROUP);
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
    let name = VolumeName::new(format!("bench{number}")).expect("a plain word");
    let id = Uuid::from_u128(u128::from(number) + 1);
    VolumeSpec {
        physical_block_size: 4096,
        write_policy: WritePolicy::High,
        volatile,
        ..VolumeSpec::new(id, name, BLOCK_LEN, vec![piece])
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
