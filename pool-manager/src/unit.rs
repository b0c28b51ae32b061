//! A unit as the rules see it: what it reports, what can be asked of it, and how it says no. The
//! real one is behind HTTPS (`connect.rs`); tests have their own. A unit knows a volume by its name,
//! which is unique there and never changes.

use std::collections::BTreeMap;

use outband_control::api::Counts;
use outband_pool_api::{BlockSize, Chap, WritePolicy};
use uuid::Uuid;

use crate::visits::visit;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UnitView {
    pub devices: Vec<DeviceView>,
    pub volumes: Vec<VolumeView>,
}

impl UnitView {
    pub fn volume(&self, id: Uuid) -> Option<&VolumeView> {
        self.volumes.iter().inspect(|volume| visit(*volume)).find(|volume| volume.id == id)
    }

    pub fn volume_named(&self, name: &str) -> Option<&VolumeView> {
        self.volumes.iter().inspect(|volume| visit(*volume)).find(|volume| volume.name == name)
    }
}

/// The volumes of one report, found by what is asked for; for who looks for many of them.
#[derive(Debug, Default)]
pub struct VolumeIndex<'a> {
    by_id: BTreeMap<Uuid, &'a VolumeView>,
    by_name: BTreeMap<&'a str, &'a VolumeView>,
}

impl<'a> VolumeIndex<'a> {
    pub fn of(view: &'a UnitView) -> Self {
        let mut index = Self::default();
        for volume in view.volumes.iter().inspect(|volume| visit(*volume)) {
            // One that is reported twice is the first.
            index.by_id.entry(volume.id).or_insert(volume);
            index.by_name.entry(&volume.name).or_insert(volume);
        }
        index
    }

    pub fn volume(&self, id: Uuid) -> Option<&'a VolumeView> {
        self.by_id.get(&id).copied().inspect(|volume| visit(*volume))
    }

    pub fn volume_named(&self, name: &str) -> Option<&'a VolumeView> {
        self.by_name.get(name).copied().inspect(|volume| visit(*volume))
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceView {
    pub id: Uuid,
    pub path: String,
    pub total: u64,
    pub free: u64,
    pub volatile: bool,
    pub healthy: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VolumeView {
    pub id: Uuid,
    pub name: String,
    pub size: u64,
    pub block_size: u32,
    pub start_lba: u64,
    pub end_lba: u64,
    pub blocks: u64,
    pub target: String,
    pub lun: u64,
    pub volatile: bool,
    /// Its hosts may ask for SANITIZE.
    pub allow_sanitize: bool,
    pub readiness: Readiness,
    pub partitioned: bool,
    /// Only epochs above it are taken.
    pub floor: u64,
    /// It was never given to anybody: no host can have written to it, and it reads as zeros.
    pub untouched: bool,
    pub grants: Vec<GrantView>,
}

impl VolumeView {
    /// It may become any host's.
    pub fn is_untouched(&self) -> bool {
        self.untouched && !self.partitioned && self.grants.is_empty()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Readiness {
    Online,
    /// New space is being cleared. It cannot be granted yet.
    Zeroing,
    /// Reads only, until its operator recovers it.
    Faulted,
    /// A device of it is missing.
    Incomplete,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GrantView {
    pub iqn: String,
    pub epoch: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewVolume {
    pub name: String,
    pub size: u64,
    pub block_size: Option<BlockSize>,
    pub write_policy: WritePolicy,
    pub volatile: bool,
    pub allow_sanitize: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewGrant {
    pub volume: String,
    pub iqn: String,
    pub chap: Chap,
    pub epoch: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence {
    pub volume: String,
    /// Of the volume that is meant, should another have its name by now.
    pub id: Option<Uuid>,
    pub iqn: String,
    pub epoch: u64,
}

/// What the station asks of a unit. Every call may be repeated: a unit that has already done it
/// says so, or refuses and reports it as done.
pub trait UnitApi: Send + Sync {
    fn inventory(&self) -> impl Future<Output = Result<UnitView, UnitError>> + Send;
    /// What it has counted by now.
    fn counts(&self) -> impl Future<Output = Result<Counts, UnitError>> + Send;
    fn create(&self, volume: &NewVolume) -> impl Future<Output = Result<(), UnitError>> + Send;
    fn grow(&self, volume: &str, size: u64) -> impl Future<Output = Result<(), UnitError>> + Send;
    /// Deletes the volume of this name and identity; another of its name is left alone.
    fn delete(&self, volume: &str, id: Uuid) -> impl Future<Output = Result<(), UnitError>> + Send;
    fn grant(&self, grant: &NewGrant) -> impl Future<Output = Result<(), UnitError>> + Send;
    /// Returns when no write of that grant can land any more.
    fn fence(&self, fence: &Fence) -> impl Future<Output = Result<(), UnitError>> + Send;
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnitError {
    /// No answer. It may have happened, or not.
    #[error("the unit does not answer: {0}")]
    Unreachable(String),
    /// It did not happen, and asking again changes nothing.
    #[error("the unit refuses: {detail}")]
    Refused { refusal: Refusal, detail: String },
    /// The unit has a fault of its own; asking again may help.
    #[error("the unit failed: {0}")]
    Failed(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The epoch is not above the one the volume has seen.
    StaleEpoch,
    /// Another host's grant has to be fenced first.
    Held,
    NotFound,
    NoSpace,
    Other,
}
