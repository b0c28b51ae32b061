//! Changing blocks only if they are what one thinks they are: COMPARE AND WRITE.

use bytes::{Bytes, BytesMut};
use outband_protocol::initiator::Replay;
use outband_protocol::scsi::Cdb;
use outband_protocol::scsi::sense::SenseKey;

use crate::Error;
use crate::disk::Disk;
use crate::slots::Payload;

/// What became of a [`Disk::compare_and_write`] that the volume carried out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Swap {
    /// The volume held what was expected, and now holds what was to be written.
    Written,
    /// It did not, and nothing was written.
    Miscompare {
        /// The first byte that differs, counted from the start of what was expected; `None` where
        /// the target does not tell.
        at: Option<u64>,
    },
}

impl Disk {
    /// Writes `new` at `offset` if the volume holds `expected` there, with nobody between the two.
    /// Both are the same number of blocks, at most
    /// [`Geometry::compare_and_write_blocks_max`](crate::Geometry::compare_and_write_blocks_max).
    /// It is as durable as a write.
    ///
    /// It is never done twice: when the connection is lost under it, it ends with
    /// [`Error::Unknown`] and may have been done. Who needs to know reads the blocks.
    pub async fn compare_and_write(
        &self,
        offset: u64,
        expected: &[u8],
        new: &[u8],
    ) -> Result<Swap, Error> {
        let geometry = self.geometry();
        let len = expected.len();
        let piece = geometry.pieces(offset, len as u64, u32::MAX)?.next();
        let Some(piece) = piece.filter(|_| len == new.len()) else {
            return Err(Error::Misaligned { block_size: geometry.block_size });
        };
        let blocks = u8::try_from(piece.blocks)
            .ok()
            .filter(|blocks| *blocks <= geometry.compare_and_write_blocks_max)
            .ok_or(Error::Unsupported("COMPARE AND WRITE of so many blocks"))?;
        let mut data = BytesMut::with_capacity(2 * len);
        data.extend_from_slice(expected);
        data.extend_from_slice(new);
        let cdb = Cdb::compare_and_write(piece.lba, blocks, false).build();
        let payload = Payload::Out(Bytes::from(data));
        let pending = self.handle().start(cdb, payload, Replay::Never).await?;
        match pending.done(geometry.capacity()).await {
            Ok(()) => Ok(Swap::Written),
            Err(Error::Command { sense: Some(sense), .. }) if sense.key == SenseKey::Miscompare => {
                Ok(Swap::Miscompare { at: sense.information })
            }
            Err(error) => Err(error),
        }
    }
}
