//! Copying from one volume of a unit to another without the bytes coming here: EXTENDED COPY.

use outband_protocol::initiator::Replay;
use outband_protocol::scsi::Cdb;
use outband_protocol::scsi::copy::{Cscd, List, Segment, Usage};
use outband_protocol::scsi::inquiry::{Association, Designator, IDENTIFICATION, Name};

use crate::disk::{Disk, page};
use crate::slots::Payload;
use crate::split::Piece;
use crate::{Error, Geometry};

/// Blocks of a segment: its field has sixteen bits, and a whole number of 4 KiB is easier to write.
const SEGMENT_BLOCKS: u32 = 32 * 1024;
/// Segments in one command, so that each ends within a command's time.
const SEGMENTS: usize = 8;

impl Disk {
    /// Has the unit copy `len` bytes at `offset` to `at` of `destination`, which may be another
    /// volume of the same unit or this one; where the two ranges overlap, all of it is copied as it
    /// was. This host needs grants on both. When this returns the copy is as durable as the
    /// destination's write policy says. It may have been done in part when it fails.
    pub async fn copy_to(
        &self,
        offset: u64,
        len: u64,
        destination: &Self,
        at: u64,
    ) -> Result<(), Error> {
        let (from, to) = (self.geometry(), destination.geometry());
        let blocks = u64::from(from.block_size) * u64::from(SEGMENT_BLOCKS);
        let to_blocks = u32::try_from(blocks / u64::from(to.block_size)).unwrap_or(SEGMENT_BLOCKS);
        let (pieces, fit) =
            (from.pieces(offset, len, SEGMENT_BLOCKS)?, to.pieces(at, len, to_blocks)?);
        let mut segments: Vec<_> = pieces.zip(fit).map(|(from, to)| segment(&from, &to)).collect();
        let this = self.named().await?;
        let that = destination.named().await?;
        if this.designator == that.designator && offset < at {
            // The unit copies each segment as if it were read first, but not all of them.
            segments.reverse();
        }
        for segments in segments.chunks(SEGMENTS) {
            let cscds = vec![this.clone(), that.clone()];
            let segments = segments.to_vec();
            let list = List { id: 0, usage: Usage::Unidentified, cscds, segments }.build();
            let len = u32::try_from(list.len()).expect("a few hundred bytes");
            let cdb = Cdb::ExtendedCopy { len }.build();
            let payload = Payload::Out(list.into());
            let pending = self.handle().start(cdb, payload, Replay::Never).await?;
            pending.done(self.capacity()).await?;
        }
        Ok(())
    }

    /// A descriptor that means this volume, by its NAA name.
    async fn named(&self) -> Result<Cscd, Error> {
        let page = page(self.handle(), IDENTIFICATION).await?;
        let malformed = |_| Error::Nonsense("its names are malformed");
        let names = Designator::parse_page(&page).map_err(malformed)?;
        let naa = names.into_iter().find_map(|name| match name {
            Designator { of: Association::LogicalUnit, name: Name::Naa(bytes) } => Some(bytes),
            _ => None,
        });
        let designator = naa.ok_or(Error::Unsupported("an NAA name"))?;
        let Geometry { block_size, .. } = self.geometry();
        let (code_set, association, kind) = (1, Association::LogicalUnit as u8, 3);
        Ok(Cscd { peripheral: 0, code_set, association, kind, designator, pad: false, block_size })
    }
}

fn segment(from: &Piece, to: &Piece) -> Segment {
    Segment {
        source: 0,
        destination: 1,
        destination_count: false,
        concatenate: false,
        blocks: u16::try_from(from.blocks).expect("SEGMENT_BLOCKS fit"),
        source_lba: from.lba,
        destination_lba: to.lba,
    }
}
