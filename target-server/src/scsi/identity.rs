//! Who a logical unit is: INQUIRY data and the vital product data pages.

use outband_protocol::scsi::copy::{Cscd, third_party_page};
use outband_protocol::scsi::inquiry::{
    self, Association, BlockLimits, Designator, Extended, Name, Peripheral, Provisioning, Rotation,
    Standard,
};
use outband_protocol::scsi::sense::{INVALID_FIELD_IN_CDB, Sense};

use uuid::Uuid;

use super::copy::LIMITS;
use super::sbc::{ATOMIC_MAX, TRANSFER_MAX, TRANSFER_OPTIMAL, UNMAP_BLOCKS_MAX, UNMAP_EXTENTS_MAX};
use super::{LogicalUnit, NexusId, Plan, Reply, TargetPort};

/// A company identifier nobody owns: the bit for local assignment is set, as in 02-xx-xx addresses.
pub const LOCAL_COMPANY: [u8; 3] = [0x02, 0x4F, 0x42];

const VENDOR: &str = "OUTBAND";
const PRODUCT: &str = "VIRTUAL-DISK";
/// Four characters: the part of the version that says what it can do.
const REVISION: &str =
    concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));

/// The pages there are, in ascending order.
const PAGES: [u8; 11] = [
    inquiry::SUPPORTED_PAGES,
    inquiry::SERIAL_NUMBER,
    inquiry::IDENTIFICATION,
    inquiry::MANAGEMENT_ADDRESSES,
    inquiry::EXTENDED,
    inquiry::MODE_PAGE_POLICY,
    inquiry::PORTS,
    inquiry::THIRD_PARTY_COPY,
    inquiry::BLOCK_LIMITS,
    inquiry::CHARACTERISTICS,
    inquiry::PROVISIONING,
];

/// Room in a file is given back in pieces of this size; smaller ones would only be zeroed.
const UNMAP_PIECE: u32 = 4096;

/// TPGS: asymmetric access is told by REPORT TARGET PORT GROUPS, and not set by hosts.
const IMPLICIT_ACCESS: u8 = 1;

/// What hosts read in page 86h. Sense data with both descriptors has 28 bytes.
const EXTENDED: Extended = Extended {
    head_of_queue: true,
    ordered: true,
    simple: true,
    volatile_cache: true,
    sense_len_max: 28,
};

/// The names of a logical unit, none of which another one ever has.
fn names(company: [u8; 3], uuid: Uuid) -> [Name; 3] {
    [
        inquiry::naa6(company, uuid.into_bytes()),
        Name::Uuid(uuid.into_bytes()),
        Name::T10(VENDOR.to_owned(), uuid.to_string()),
    ]
}

/// Whether a descriptor of EXTENDED COPY means the logical unit of this identity.
#[must_use]
pub fn is_named(uuid: Uuid, cscd: &Cscd) -> bool {
    let same = |name: &Name| name.is(cscd.code_set, cscd.kind, &cscd.designator);
    cscd.association == Association::LogicalUnit as u8
        && names(LOCAL_COMPANY, uuid).iter().any(same)
}

fn standard(peripheral: Peripheral) -> Vec<u8> {
    let plain = Standard::new(peripheral, VENDOR, PRODUCT, REVISION);
    // Which ports there are can be asked; nobody but the unit changes their state.
    let port_groups = if peripheral == Peripheral::Disk { IMPLICIT_ACCESS } else { 0 };
    Standard { port_groups, ..plain }.bytes().to_vec()
}

/// INQUIRY of a number with nothing behind it. Of the pages, only the list of them.
pub(super) fn absent_inquiry(page: Option<u8>, allocation: u16) -> Result<Plan, Sense> {
    let data = match page {
        None => standard(Peripheral::Absent),
        Some(inquiry::SUPPORTED_PAGES) => {
            inquiry::supported_pages(Peripheral::Absent, &[inquiry::SUPPORTED_PAGES])
        }
        Some(_) => return Err(INVALID_FIELD_IN_CDB.at_cdb(2, None)),
    };
    Ok(Reply::data(data, allocation.into()).into())
}

impl LogicalUnit {
    pub(super) fn inquiry(
        &self,
        nexus: NexusId,
        page: Option<u8>,
        allocation: u16,
    ) -> Result<Plan, Sense> {
        let data = match page {
            None => standard(Peripheral::Disk),
            Some(inquiry::SUPPORTED_PAGES) => inquiry::supported_pages(Peripheral::Disk, &PAGES),
            Some(inquiry::SERIAL_NUMBER) => inquiry::serial_number(&self.config.serial),
            Some(inquiry::IDENTIFICATION) => inquiry::designators(&self.designators(nexus)),
            Some(inquiry::THIRD_PARTY_COPY) => third_party_page(&LIMITS),
            Some(inquiry::MANAGEMENT_ADDRESSES) => inquiry::management_addresses(),
            Some(inquiry::EXTENDED) => EXTENDED.page(),
            Some(inquiry::MODE_PAGE_POLICY) => inquiry::mode_page_policy(),
            Some(inquiry::PORTS) => {
                let names = |port: &TargetPort| vec![Designator::port(Name::Scsi(port.name()))];
                let ports: Vec<_> =
                    self.ports().map(|port| (port.relative, names(&port))).collect();
                inquiry::ports(&ports)
            }
            Some(inquiry::BLOCK_LIMITS) => self.limits().page(),
            Some(inquiry::CHARACTERISTICS) => {
                let still = !self.config.rotational;
                inquiry::characteristics(
                    if still { Rotation::None } else { Rotation::Unknown },
                    self.config.sanitize,
                )
            }
            Some(inquiry::PROVISIONING) => self.provisioning().page(),
            Some(_) => return Err(INVALID_FIELD_IN_CDB.at_cdb(2, None)),
        };
        Ok(Reply::data(data, allocation.into()).into())
    }

    fn designators(&self, nexus: NexusId) -> Vec<Designator> {
        let port = self.port_of(nexus);
        let names = names(self.config.company, self.config.uuid);
        let unit = names.into_iter().map(Designator::unit);
        let numbers = [Name::RelativePort(port.relative), Name::PortGroup(port.group)];
        let ports = numbers.into_iter().chain([Name::Scsi(port.name())]).map(Designator::port);
        let target = Designator::target(Name::Scsi(port.target));
        unit.chain(ports).chain([target]).collect()
    }

    fn limits(&self) -> BlockLimits {
        let (block, physical) = (self.config.block_size, self.config.physical_block_size);
        let limits = BlockLimits {
            granularity: u16::try_from(physical / block).unwrap_or(0),
            transfer_max: TRANSFER_MAX / block,
            transfer_optimal: TRANSFER_OPTIMAL / block,
            compare_and_write_max: self.compare_and_write_max(),
            write_same_max: self.write_same_max(),
            write_same_nonzero: true,
            atomic_max: if self.config.atomic { ATOMIC_MAX / block } else { 0 },
            ..BlockLimits::default()
        };
        if !self.config.unmap {
            return limits;
        }
        let unmap_piece = physical.max(UNMAP_PIECE);
        // One block is no granularity, so none is told. QEMU 7.2 aborts where one is told of
        // blocks larger than 512 bytes.
        let told = unmap_piece > block;
        BlockLimits {
            unmap_blocks_max: UNMAP_BLOCKS_MAX,
            unmap_extents_max: UNMAP_EXTENTS_MAX,
            unmap_granularity: if told { unmap_piece / block } else { 0 },
            unmap_alignment: told.then(|| self.first_aligned(unmap_piece)),
            ..limits
        }
    }

    fn provisioning(&self) -> Provisioning {
        let unmap = self.config.unmap;
        Provisioning { unmap, write_same: unmap, reads_zeros: unmap, thin: unmap }
    }
}
