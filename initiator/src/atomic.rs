//! Writes that happen as a whole or not at all: WRITE ATOMIC(16).

use bytes::Bytes;
use outband_protocol::initiator::Replay;
use outband_protocol::scsi::Cdb;
use outband_protocol::scsi::cdb::WriteAtomic;

use crate::disk::Disk;
use crate::slots::Payload;
use crate::{Error, Geometry};

impl Disk {
    /// Writes `data` at `offset` as a whole: whoever reads, and whoever comes after a power cut,
    /// finds all of it or nothing. A volume takes a bounded length that way, 128 KiB on our own
    /// units; one that takes none says [`Error::Command`].
    pub async fn write_atomic(&self, offset: u64, data: impl Into<Bytes>) -> Result<(), Error> {
        let data = data.into();
        let geometry @ Geometry { block_size, .. } = self.geometry();
        let mut pieces = geometry.pieces(offset, data.len() as u64, u16::MAX.into())?;
        let (Some(piece), None) = (pieces.next(), pieces.next()) else {
            return if data.is_empty() { Ok(()) } else { Err(Error::Misaligned { block_size }) };
        };
        let blocks = u16::try_from(piece.blocks).expect("a piece is at most as long as was asked");
        let write = WriteAtomic { lba: piece.lba, blocks, ..WriteAtomic::default() };
        let cdb = Cdb::WriteAtomic16(write).build();
        let replay = Replay::Blocks { first: piece.lba, count: piece.blocks.into() };
        let pending = self.handle().start(cdb, Payload::Out(data), replay).await?;
        pending.done(geometry.capacity()).await
    }
}
