//! A volume as an application sees it.

use std::collections::VecDeque;
use std::sync::{Arc, RwLock};

use bytes::{Bytes, BytesMut};
use outband_protocol::initiator::Replay;
use outband_protocol::scsi::Cdb;
use outband_protocol::scsi::capacity::Capacity;
use outband_protocol::scsi::inquiry::{
    BLOCK_LIMITS, BlockLimits, SERIAL_NUMBER, parse_serial_number,
};
use outband_protocol::scsi::unmap::{self, Extent};

use crate::session::{Handle, Pending};
use crate::slots::Payload;
pub use crate::split::Geometry;
use crate::{Config, Error};

/// Pieces of one large request that are under way at a time.
const PIECES_AT_ONCE: usize = 16;
/// Room for a page of vital product data.
const PAGE_LEN: u16 = 255;
/// Most blocks in one UNMAP where the volume names no limit.
const UNMAP_BLOCKS: u32 = 1 << 20;

/// A volume. Cheap to clone; any number of tasks may use it at once. The session ends with the
/// last clone, or with [`close`](Self::close).
#[derive(Clone, Debug)]
pub struct Disk {
    handle: Handle,
    geometry: Arc<RwLock<Geometry>>,
}

impl Disk {
    /// Logs in and learns what the volume is like.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let handle = Handle::connect(config).await?;
        let news = handle.news_of_capacity();
        let geometry = measure(&handle).await?;
        if let Some(news) = news {
            news.known();
        }
        Ok(Self { handle, geometry: Arc::new(RwLock::new(geometry)) })
    }

    /// Bytes on the volume.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.geometry().capacity()
    }

    /// Bytes in a block: offsets and lengths are multiples of it.
    #[must_use]
    pub fn block_size(&self) -> u32 {
        self.geometry().block_size
    }

    /// What the volume is like, as far as is known now.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        *self.geometry.read().expect("nobody panics while holding this")
    }

    /// Asks for the volume's size again: it may have grown. Happens by itself when the unit tells.
    pub async fn refresh(&self) -> Result<Geometry, Error> {
        let geometry = measure(&self.handle).await?;
        *self.geometry.write().expect("nobody panics while holding this") = geometry;
        Ok(geometry)
    }

    /// Whether a session stands at this moment. Requests wait for one that does not.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.handle.is_up()
    }

    /// The volume's serial number.
    pub async fn serial_number(&self) -> Result<String, Error> {
        let page = page(&self.handle, SERIAL_NUMBER).await?;
        parse_serial_number(&page).map_err(|_| Error::Nonsense("its serial number is malformed"))
    }

    /// Reads `len` bytes at `offset`.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, Error> {
        let geometry = self.current().await?;
        let mut pieces =
            geometry.pieces(offset, len as u64, geometry.transfer_blocks_max)?.peekable();
        let mut room = BytesMut::zeroed(len);
        let mut whole = BytesMut::new();
        let mut under_way = VecDeque::new();
        while pieces.peek().is_some() || !under_way.is_empty() {
            if under_way.len() < PIECES_AT_ONCE
                && let Some(piece) = pieces.next()
            {
                let bytes = geometry.bytes(piece.blocks);
                let payload = Payload::In(room.split_to(bytes));
                let cdb = Cdb::read16(piece.lba, piece.blocks).build();
                let pending = self.handle.start(cdb, payload, Replay::Always).await?;
                under_way.push_back((pending, bytes));
            } else if let Some((pending, bytes)) = under_way.pop_front() {
                // The pieces lie side by side in memory, so this copies nothing.
                whole.unsplit(pending.filled(bytes, geometry.capacity()).await?);
            }
        }
        Ok(whole.freeze())
    }

    /// Reads into `buffer`, at `offset`. Copies once more than [`read_at`](Self::read_at).
    pub async fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        let bytes = self.read_at(offset, buffer.len()).await?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    /// Writes `data` at `offset`. When this returns it is as durable as the volume's write policy
    /// says; [`flush`](Self::flush) makes sure. A large write may have been done in part when it
    /// fails.
    pub async fn write_at(&self, offset: u64, data: impl Into<Bytes>) -> Result<(), Error> {
        self.write(offset, data.into(), false).await
    }

    /// Writes `data` at `offset` and returns when it is on stable storage (FUA).
    pub async fn write_through(&self, offset: u64, data: impl Into<Bytes>) -> Result<(), Error> {
        self.write(offset, data.into(), true).await
    }

    async fn write(&self, offset: u64, mut data: Bytes, fua: bool) -> Result<(), Error> {
        let geometry = self.current().await?;
        let pieces = geometry.pieces(offset, data.len() as u64, geometry.transfer_blocks_max)?;
        let mut under_way = Pieces::new(geometry);
        for piece in pieces {
            let payload = Payload::Out(data.split_to(geometry.bytes(piece.blocks)));
            let cdb = Cdb::write16(piece.lba, piece.blocks, fua).build();
            let replay = Replay::Blocks { first: piece.lba, count: piece.blocks.into() };
            if !under_way.push(self.handle.start(cdb, payload, replay).await?).await {
                break;
            }
        }
        under_way.finish().await
    }

    /// Returns when every write that was acknowledged before is on stable storage, as far as the
    /// unit still has it: with the write policy `high`, what it had only cached when it lost power
    /// is gone, and no later flush tells.
    pub async fn flush(&self) -> Result<(), Error> {
        let cdb = Cdb::SynchronizeCache10(Default::default()).build();
        let pending = self.handle.start(cdb, Payload::None, Replay::Always).await?;
        pending.done(self.capacity()).await
    }

    /// Says that `len` bytes at `offset` hold nothing that is needed any more. They read as zeros
    /// where [`Geometry::unmapped_reads_zeros`] says so.
    pub async fn unmap(&self, offset: u64, len: u64) -> Result<(), Error> {
        let geometry = self.current().await?;
        if !geometry.unmap {
            return Err(Error::Unsupported("UNMAP"));
        }
        let mut under_way = Pieces::new(geometry);
        for piece in geometry.pieces(offset, len, geometry.unmap_blocks_max)? {
            let list = unmap::build(&[Extent { lba: piece.lba, blocks: piece.blocks }]);
            let list_len = u16::try_from(list.len()).expect("one extent is 24 bytes");
            let cdb = Cdb::Unmap { anchor: false, len: list_len }.build();
            // Unmapping gives blocks a content as writing does.
            let replay = Replay::Blocks { first: piece.lba, count: piece.blocks.into() };
            let pending = self.handle.start(cdb, Payload::Out(list.into()), replay).await?;
            if !under_way.push(pending).await {
                break;
            }
        }
        under_way.finish().await
    }

    /// Logs out when all that was started is over. Other clones are of no use after that.
    pub async fn close(self) -> Result<(), Error> {
        self.handle.close().await
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The geometry, asked for anew if the unit said that it changed.
    async fn current(&self) -> Result<Geometry, Error> {
        let Some(news) = self.handle.news_of_capacity() else {
            return Ok(self.geometry());
        };
        let geometry = self.refresh().await?;
        news.known();
        Ok(geometry)
    }
}

/// Pieces of one request, a bounded number of them under way. All that were started are waited
/// for, even after one has failed: nothing of the request happens once its caller goes on.
struct Pieces {
    under_way: VecDeque<Pending>,
    capacity: u64,
    result: Result<(), Error>,
}

impl Pieces {
    fn new(geometry: Geometry) -> Self {
        Self { under_way: VecDeque::new(), capacity: geometry.capacity(), result: Ok(()) }
    }

    /// Whether more may be started.
    async fn push(&mut self, pending: Pending) -> bool {
        self.under_way.push_back(pending);
        if self.under_way.len() >= PIECES_AT_ONCE {
            self.wait_for_one().await;
        }
        self.result.is_ok()
    }

    async fn wait_for_one(&mut self) {
        if let Some(first) = self.under_way.pop_front() {
            let done = first.done(self.capacity).await;
            self.result = std::mem::replace(&mut self.result, Ok(())).and(done);
        }
    }

    async fn finish(mut self) -> Result<(), Error> {
        while !self.under_way.is_empty() {
            self.wait_for_one().await;
        }
        self.result
    }
}

async fn measure(handle: &Handle) -> Result<Geometry, Error> {
    let cdb = Cdb::ReadCapacity16 { allocation: 32 }.build();
    let payload = Payload::In(BytesMut::zeroed(32));
    let data = handle.start(cdb, payload, Replay::Always).await?.parameters().await?;
    let capacity =
        Capacity::parse_long(&data).map_err(|_| Error::Nonsense("its capacity is malformed"))?;
    // A volume without this page has no limits to tell.
    let limits = match page(handle, BLOCK_LIMITS).await {
        Ok(page) => BlockLimits::parse(&page).ok(),
        Err(Error::Command { .. }) => None,
        Err(error) => return Err(error),
    };
    let transfer_max = limits.as_ref().map_or(0, |limits| limits.transfer_max);
    let unmap_max = limits.as_ref().map_or(UNMAP_BLOCKS, |limits| limits.unmap_blocks_max);
    Ok(Geometry {
        block_size: capacity.block_size,
        blocks: capacity.blocks,
        physical_block_size: capacity.block_size.saturating_mul(1 << capacity.physical_exponent),
        unmap: capacity.provisioned && unmap_max > 0,
        unmapped_reads_zeros: capacity.unmapped_reads_zeros,
        compare_and_write_blocks_max: limits.map_or(0, |limits| limits.compare_and_write_max),
        atomic_blocks_max: limits.map_or(0, |limits| limits.atomic_max),
        transfer_blocks_max: Geometry::transfer_limit(capacity.block_size, transfer_max),
        unmap_blocks_max: unmap_max.clamp(1, UNMAP_BLOCKS),
    })
}

pub(crate) async fn page(handle: &Handle, code: u8) -> Result<Bytes, Error> {
    let cdb = Cdb::inquiry(Some(code), PAGE_LEN).build();
    let payload = Payload::In(BytesMut::zeroed(PAGE_LEN.into()));
    handle.start(cdb, payload, Replay::Always).await?.parameters().await
}
