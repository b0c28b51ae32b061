//! Commands that every device has (SPC-4): REQUEST SENSE, REPORT LUNS, MODE SENSE, MODE SELECT.

use outband_protocol::ids::Lun;
use outband_protocol::scsi::cdb::{Cdb, ModeSelect, ModeSense, PageControl};
use outband_protocol::scsi::luns::{self, Select};
use outband_protocol::scsi::mode::{
    self, ALL_PAGES, ALL_SUBPAGES, CACHING, CONTROL, Caching, Control, Descriptor, EXCEPTIONS,
    Form, Header, Page, Parameters,
};
use outband_protocol::scsi::sense::{
    INVALID_FIELD_IN_CDB, INVALID_FIELD_IN_LIST, NO_SENSE, PARAMETER_LIST_LENGTH_ERROR,
    SAVING_NOT_SUPPORTED, START_REQUIRED, Sense,
};

use super::{Attention, LogicalUnit, NexusId, Plan, Reply};

/// The parameter data of REQUEST SENSE, in the format it asks for.
pub(super) fn sense_data(sense: &Sense, descriptors: bool, allocation: u8) -> Reply {
    let data = if descriptors { sense.descriptors() } else { sense.fixed().to_vec() };
    Reply::data(data, allocation.into())
}

/// One volume, one target: LUN 0 is all there is, whichever number was asked.
pub(super) fn report_luns(select: u8, allocation: u32) -> Result<Plan, Sense> {
    let select = Select::from_code(select).ok_or(INVALID_FIELD_IN_CDB.at_cdb(2, None))?;
    // Room for the header and one number is the least (SPC-4 §6.33).
    if allocation < 16 {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(6, None));
    }
    let data = match select {
        Select::Addressable | Select::All => luns::report(&[Lun::ZERO]),
        Select::WellKnown => luns::report(&[]),
    };
    Ok(Reply::data(data, allocation).into())
}

/// Values are not kept over power loss yet, and pages in a vendor's format are not known.
pub(super) fn mode_select(cdb: Cdb, fields: &ModeSelect) -> Result<Plan, Sense> {
    if fields.save {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(0)));
    }
    if fields.len == 0 {
        return Ok(Reply::good().into());
    }
    if !fields.page_format {
        return Err(INVALID_FIELD_IN_CDB.at_cdb(1, Some(4)));
    }
    Ok(Plan::Parameters { cdb, len: fields.len.into() })
}

fn form(cdb: &Cdb) -> Form {
    if matches!(cdb, Cdb::ModeSense6(_) | Cdb::ModeSelect6(_)) { Form::Six } else { Form::Ten }
}

impl LogicalUnit {
    /// A unit attention that is owed is told here, as data (SPC-4 §6.39).
    pub(super) fn request_sense(
        &mut self,
        nexus: NexusId,
        descriptors: bool,
        allocation: u8,
    ) -> Reply {
        // Telling takes it off the list, so there must be room to tell it.
        let owed = if allocation == 0 { None } else { self.attentions.take(nexus) };
        // Without one, what TEST UNIT READY would be told (SPC-4 §6.39).
        let state = if self.stopped { START_REQUIRED } else { NO_SENSE };
        let state = self.unsanitized().unwrap_or(state);
        sense_data(&owed.unwrap_or(state), descriptors, allocation)
    }

    pub(super) fn mode_sense(&self, cdb: &Cdb, fields: &ModeSense) -> Result<Plan, Sense> {
        let pages = self.pages(fields)?;
        let descriptor = Descriptor {
            blocks: self.config.blocks,
            block_size: self.config.block_size,
            long: fields.long_lba,
        };
        let header = Header {
            write_protected: self.write_protected(),
            dpo_fua: true,
            descriptor: (!fields.no_descriptor).then_some(descriptor),
        };
        let data = mode::build(form(cdb), &header, &pages);
        Ok(Reply::data(data, fields.allocation.into()).into())
    }

    fn pages(&self, fields: &ModeSense) -> Result<Vec<u8>, Sense> {
        if fields.control == PageControl::Saved {
            return Err(SAVING_NOT_SUPPORTED);
        }
        // No page here has subpages, so all subpages of a page are the page.
        if !matches!(fields.subpage, 0 | ALL_SUBPAGES) {
            return Err(INVALID_FIELD_IN_CDB.at_cdb(3, None));
        }
        let page = |code| self.page(code, fields.control);
        let pages = match fields.page {
            ALL_PAGES => Some(
                [CACHING, CONTROL, EXCEPTIONS].into_iter().filter_map(page).flatten().collect(),
            ),
            code => page(code),
        };
        pages.ok_or(INVALID_FIELD_IN_CDB.at_cdb(2, Some(5)))
    }

    /// One page; there are three.
    fn page(&self, code: u8, control: PageControl) -> Option<Vec<u8>> {
        Some(match code {
            CACHING => self.caching(control).page().to_vec(),
            CONTROL => self.control(control),
            EXCEPTIONS if control == PageControl::Changeable => mode::exceptions_mask().to_vec(),
            EXCEPTIONS => mode::exceptions().to_vec(),
            _ => return None,
        })
    }

    fn caching(&self, control: PageControl) -> Caching {
        let write_cache = match control {
            PageControl::Changeable => !self.config.volatile,
            PageControl::Default => self.config.write_cache || self.config.volatile,
            PageControl::Current | PageControl::Saved => self.write_cache,
        };
        Caching { write_cache }
    }

    fn control(&self, control: PageControl) -> Vec<u8> {
        let current = self.mode().control;
        match control {
            PageControl::Changeable => {
                Control { descriptor_sense: true, write_protect: true }.mask().to_vec()
            }
            PageControl::Default => Control::default().page().to_vec(),
            PageControl::Current | PageControl::Saved => current.page().to_vec(),
        }
    }

    /// MODE SELECT's list: all of it is checked before any of it counts (SPC-4, MODE SELECT(6)).
    pub(super) fn mode_list(
        &mut self,
        nexus: NexusId,
        cdb: &Cdb,
        list: &[u8],
    ) -> Result<Plan, Sense> {
        let list = Parameters::parse(form(cdb), list).map_err(|_| PARAMETER_LIST_LENGTH_ERROR)?;
        if list.header.descriptor.is_some_and(|wanted| !self.is_same_medium(&wanted)) {
            return Err(INVALID_FIELD_IN_LIST);
        }
        let mut mode = self.mode();
        for page in list.each() {
            let page = page.map_err(|_| PARAMETER_LIST_LENGTH_ERROR)?;
            self.check_unchanged(&page)?;
            match page.code {
                CACHING => mode.write_cache = page.bytes[2] & 0x04 != 0,
                CONTROL => {
                    mode.control.descriptor_sense = page.bytes[2] & 0x04 != 0;
                    mode.control.write_protect = page.bytes[4] & 0x08 != 0;
                }
                _ => {}
            }
        }
        Ok(self.change_mode(nexus, mode))
    }

    /// A block descriptor may repeat what is; it changes nothing. Zero blocks mean the same.
    fn is_same_medium(&self, descriptor: &Descriptor) -> bool {
        let (blocks, block_size) = (self.config.blocks, self.config.block_size);
        let shown = if descriptor.long { blocks } else { blocks.min(u32::MAX.into()) };
        descriptor.block_size == block_size
            && (descriptor.blocks == 0 || descriptor.blocks == shown)
    }

    /// Every bit of a page that MODE SELECT cannot change must be as MODE SENSE shows it.
    fn check_unchanged(&self, page: &Page<'_>) -> Result<(), Sense> {
        let known = page.subpage.is_none();
        let current = self.page(page.code, PageControl::Current).filter(|_| known);
        let changeable = self.page(page.code, PageControl::Changeable);
        let (Some(current), Some(changeable)) = (current, changeable) else {
            return Err(INVALID_FIELD_IN_LIST);
        };
        // The length is byte 1. PS, the top bit of byte 0, is reserved here (SPC-4 §7.5).
        let same = |at: usize| (page.bytes[at] ^ current[at]) & !changeable[at] == 0;
        let unchanged = page.bytes.len() == current.len() && (2..current.len()).all(same);
        if unchanged { Ok(()) } else { Err(INVALID_FIELD_IN_LIST) }
    }

    /// What MODE SELECT can change, as it is.
    const fn mode(&self) -> Mode {
        let (descriptor_sense, write_protect) = (self.descriptor_sense, self.write_protect);
        Mode { write_cache: self.write_cache, control: Control { descriptor_sense, write_protect } }
    }

    fn change_mode(&mut self, nexus: NexusId, mode: Mode) -> Plan {
        let cache_ends = self.write_cache && !mode.write_cache;
        if self.mode() != mode {
            self.attentions.owe_all(Attention::ModeChanged, Some(nexus));
        }
        self.write_cache = mode.write_cache;
        self.write_protect = mode.control.write_protect;
        self.descriptor_sense = mode.control.descriptor_sense;
        // Without a cache every answered write is durable, those from before too (SBC-3 §4.15).
        if cache_ends { Plan::Flush } else { Reply::good().into() }
    }
}

/// What MODE SELECT can change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Mode {
    write_cache: bool,
    control: Control,
}
