//! Writes that happen as a whole or not at all: WRITE ATOMIC(16).

use bytes::Bytes;
use outband_protocol::initiator::Replay;
use outband_protocol::scsi::Cdb;
use outband_protocol::scsi::cdb::WriteAtomic;

use crate::Error;
use crate::disk::Disk;
use crate::slots::Payload;

impl Disk {
    /// Writes `data` at `offset` as a whole: whoever reads, and whoever comes after a power cut,
    /// finds all of it or nothing. That takes no more than
    /// [`Geometry::atomic_blocks_max`](crate::Geometry::atomic_blocks_max) blocks, on our own units
    /// 128 KiB.
    pub async fn write_atomic(&self, offset: u64, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = data.into();
        let geometry = self.geometry();
        let Some(piece) = geometry.pieces(offset, data.len() as u64, u32::MAX)?.next() else {
            return Ok(());
        };
        let blocks = u16::try_from(piece.blocks)
            .ok()
            .filter(|blocks| u32::from(*blocks) <= geometry.atomic_blocks_max)
            .ok_or(Error::Unsupported("WRITE ATOMIC of so many blocks"))?;
        let write = WriteAtomic { lba: piece.lba, blocks, ..WriteAtomic::default() };
        let cdb = Cdb::WriteAtomic16(write).build();
        let replay = Replay::Blocks { first: piece.lba, count: piece.blocks.into() };
        let pending = self.handle().start(cdb, Payload::Out(data), replay).await?;
        pending.done(geometry.capacity()).await
    }
}
