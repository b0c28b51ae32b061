//! What a logical unit is made of.

use uuid::Uuid;

use super::{LOCAL_COMPANY, TargetPort, Wiping};

/// What does not change while a logical unit lives, and what it starts with.
#[derive(Clone, Debug)]
pub struct LuConfig {
    /// The volume. Names are derived from it, never from the unit that serves it.
    pub uuid: Uuid,
    /// The IEEE company identifier in the NAA name.
    pub company: [u8; 3],
    /// UNIT SERIAL NUMBER.
    pub serial: String,
    /// Where it is reached: the port of one portal group, from which those of others are numbered.
    pub port: TargetPort,
    /// The portal groups by which it is reached, in ascending order.
    pub portal_groups: Vec<u16>,
    /// Blocks on the medium.
    pub blocks: u64,
    /// Bytes in a block: 512 or 4096.
    pub block_size: u32,
    /// Bytes the device writes at once; a power of two times the block size.
    pub physical_block_size: u32,
    /// The block of the volume that it begins at; above 0 in partitions only.
    pub first_block: u64,
    /// Write policy *high*: a write is answered from the cache, until FUA or a flush (WCE=1).
    pub write_cache: bool,
    /// The medium forgets when its process ends. Its cache cannot be switched off.
    pub volatile: bool,
    /// Writes are refused.
    pub read_only: bool,
    /// Blocks can be given back, and then read as zeros.
    pub unmap: bool,
    /// Writes can happen as a whole or not at all.
    pub atomic: bool,
    /// SANITIZE and FORMAT UNIT may be asked for.
    pub sanitize: bool,
    /// Which of them began and did not end.
    pub wipe_failed: Option<Wiping>,
    /// Seeking costs.
    pub rotational: bool,
}

impl LuConfig {
    /// A logical unit of so many blocks that is reached by one port, with durable writes and nothing
    /// that needs more than reading and writing. Whatever else it can takes `..LuConfig::new(…)`.
    #[must_use]
    pub fn new(uuid: Uuid, port: TargetPort, blocks: u64, block_size: u32) -> Self {
        Self {
            uuid,
            company: LOCAL_COMPANY,
            serial: uuid.simple().to_string(),
            portal_groups: vec![port.portal_group],
            port,
            blocks,
            block_size,
            physical_block_size: block_size,
            first_block: 0,
            write_cache: false,
            volatile: false,
            read_only: false,
            unmap: false,
            atomic: false,
            sanitize: false,
            wipe_failed: None,
            rotational: false,
        }
    }
}
