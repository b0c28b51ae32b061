//! Which unit a volume comes from: `choose(pool, request)`, a pure function.
//!
//! An existing volume that was never given to anybody is taken first (it reads as zeros), the
//! smallest that fits and at most twice what was asked for; else new extents; else whatever fits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outband_pool_api::{BlockSize, Placement, Size};
use uuid::Uuid;

/// Extents start and end on this boundary, so sizes are rounded up to it.
pub const EXTENT: u64 = 1 << 20;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pool {
    pub units: Vec<UnitSpace>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnitSpace {
    pub id: Uuid,
    pub name: Arc<str>,
    /// Why nothing new may come here, whatever is asked for.
    pub unfit: Option<Unfit>,
    pub labels: Arc<BTreeMap<String, String>>,
    /// Lasting space that no volume holds or is about to hold.
    pub free: u64,
    /// The same of memory.
    pub free_volatile: u64,
    /// Volumes of the asking host that are here already.
    pub volumes_of_host: u32,
    pub idle: Arc<[IdleVolume]>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unfit {
    #[error("it waits for approval")]
    Pending,
    #[error("it has no secret of its own yet")]
    NotEnrolled,
    #[error("it was stopped")]
    Left,
    #[error("it misses its ALIVE")]
    Suspect,
    #[error("it does not answer")]
    Down,
    #[error("what it holds is not known yet")]
    Unread,
    #[error("it is cordoned")]
    Cordoned,
    #[error("it is draining")]
    Draining,
    #[error("it is in maintenance")]
    Maintenance,
    #[error("it is a spare")]
    Spare,
    #[error("it was lost too often, and is in quarantine")]
    Quarantined,
}

/// A volume on a unit that no host was ever given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdleVolume {
    pub id: Uuid,
    pub name: String,
    pub size: u64,
    /// Bytes in one of its blocks.
    pub block_size: u32,
    pub volatile: bool,
    /// Its host may ask for SANITIZE.
    pub allow_sanitize: bool,
}

impl IdleVolume {
    /// Whether it is of the kind asked for, whatever its size.
    fn suits(&self, request: &Request) -> bool {
        let block_size = request.block_size.map(BlockSize::bytes);
        self.volatile == request.volatile
            && self.allow_sanitize == request.allow_sanitize
            && block_size.is_none_or(|asked| asked == self.block_size)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    pub size: u64,
    pub block_size: Option<BlockSize>,
    pub placement: Placement,
    pub pinned: Option<Uuid>,
    pub volatile: bool,
    pub allow_sanitize: bool,
    /// An existing volume keeps its name, so one can be taken only if no name was asked for.
    pub reuse: bool,
    /// Labels that the unit must have.
    pub labels: BTreeMap<String, String>,
    /// The units of volumes that it is to be near: it must be all of these.
    pub near: BTreeSet<Uuid>,
    /// The units of volumes that it must share no failure domain with.
    pub apart: BTreeSet<Uuid>,
    /// The label that names a unit's failure domain.
    pub domain: Option<String>,
}

impl Request {
    /// For `size` bytes, wherever there is room.
    #[must_use]
    pub fn anywhere(size: u64) -> Self {
        Self {
            size,
            block_size: None,
            placement: Placement::MostFree,
            pinned: None,
            volatile: false,
            allow_sanitize: false,
            reuse: true,
            labels: BTreeMap::new(),
            near: BTreeSet::new(),
            apart: BTreeSet::new(),
            domain: None,
        }
    }
}

/// Why a unit is not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Rejection {
    #[error("{0}")]
    Unfit(Unfit),
    #[error("another unit is asked for")]
    NotPinned,
    #[error("it has no label {0}={1}")]
    Label(String, String),
    #[error("a volume that it is to be near is elsewhere")]
    NotNear,
    #[error("a volume that it is to be apart from is in the same failure domain")]
    NotApart,
    #[error("{} are free", Size(*.0))]
    TooSmall(u64),
}

/// What placement has to say of one unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    pub unit: Uuid,
    pub rejection: Option<Rejection>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Chosen {
    Existing { unit: Uuid, volume: IdleVolume, why: String },
    New { unit: Uuid, size: u64, why: String },
}

/// Why there is no place.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Why {
    #[error("a volume needs at least one byte")]
    Empty,
    #[error("no unit is joined")]
    NoUnit,
    #[error("the unit that is asked for cannot take it: {0}")]
    PinnedNotUsable(Rejection),
    #[error("no unit is as asked for: {0}")]
    Unsuited(Rejection),
    #[error("the largest possible volume is {} ({} bytes){}", Size(*.largest), .largest, on_which(.pinned))]
    TooLarge { largest: u64, pinned: bool },
}

fn on_which(pinned: &bool) -> &'static str {
    if *pinned { " on the unit it is pinned to" } else { "" }
}

pub fn choose(pool: &Pool, request: &Request) -> Result<Chosen, Why> {
    let candidates: Vec<&UnitSpace> = candidates(pool, request)?;
    let size = request.size.checked_next_multiple_of(EXTENT).unwrap_or(u64::MAX);
    if let Some(chosen) = existing(&candidates, request, request.size.saturating_mul(2)) {
        return Ok(chosen);
    }
    let fitting = candidates.iter().filter(|unit| free(unit, request) >= size);
    let best = fitting.min_by_key(|unit| rank(unit, request));
    let Some(unit) = best else {
        // Rather a volume that is much too large than none.
        if let Some(chosen) = existing(&candidates, request, u64::MAX) {
            return Ok(chosen);
        }
        let largest = largest(&candidates, request);
        return Err(Why::TooLarge { largest, pinned: request.pinned.is_some() });
    };
    let why = match (request.pinned, request.placement) {
        (Some(_), _) => "pinned".to_owned(),
        (None, Placement::MostFree) => {
            format!("most free: {}", Size(free(unit, request)))
        }
        (None, Placement::Spread) => {
            format!("spread: {} volumes of this host are there", unit.volumes_of_host)
        }
    };
    Ok(Chosen::New { unit: unit.id, size, why })
}

/// The largest request that `choose` would grant now.
pub fn largest(units: &[&UnitSpace], request: &Request) -> u64 {
    let free = units.iter().map(|unit| free(unit, request) / EXTENT * EXTENT);
    let idle = units.iter().flat_map(|unit| &*unit.idle);
    let idle =
        idle.filter(|volume| request.reuse && volume.suits(request)).map(|volume| volume.size);
    free.chain(idle).max().unwrap_or(0)
}

fn candidates<'a>(pool: &'a Pool, request: &Request) -> Result<Vec<&'a UnitSpace>, Why> {
    if request.size == 0 {
        return Err(Why::Empty);
    }
    let domains = domains(pool, request);
    let judged = pool.units.iter().map(|unit| (unit, rejection(unit, request, &domains)));
    let judged: Vec<(&UnitSpace, Option<Rejection>)> = judged.collect();
    let units: Vec<&UnitSpace> =
        judged.iter().filter(|(_, no)| no.is_none()).map(|(unit, _)| *unit).collect();
    if !units.is_empty() {
        return Ok(units);
    }
    let rejections = || judged.iter().filter_map(|(unit, no)| Some((unit, no.clone()?)));
    let pinned = rejections().find(|(unit, _)| request.pinned == Some(unit.id));
    let wanted = rejections().find(|(_, no)| !matches!(no, Rejection::Unfit(_)));
    Err(match (request.pinned, pinned, wanted) {
        (Some(_), Some((_, no)), _) => Why::PinnedNotUsable(no),
        (Some(_), None, _) => Why::PinnedNotUsable(Rejection::Unfit(Unfit::Unread)),
        (None, _, Some((_, no))) => Why::Unsuited(no),
        (None, _, None) => Why::NoUnit,
    })
}

/// Failure domains that the volume must not be in.
fn domains<'a>(pool: &'a Pool, request: &'a Request) -> BTreeSet<Domain<'a>> {
    let apart = pool.units.iter().filter(|unit| request.apart.contains(&unit.id));
    apart.map(|unit| domain(unit, request)).collect()
}

/// A label's value, or the unit by itself if it has no such label.
type Domain<'a> = Result<&'a str, Uuid>;

fn domain<'a>(unit: &'a UnitSpace, request: &Request) -> Domain<'a> {
    let value = request.domain.as_ref().and_then(|label| unit.labels.get(label));
    value.map(String::as_str).ok_or(unit.id)
}

/// Why the unit cannot take it, however small it is.
fn rejection(
    unit: &UnitSpace,
    request: &Request,
    not_in: &BTreeSet<Domain<'_>>,
) -> Option<Rejection> {
    let label = request.labels.iter().find(|(name, value)| unit.labels.get(*name) != Some(value));
    match (unit.unfit, label) {
        _ if request.pinned.is_some_and(|pinned| pinned != unit.id) => Some(Rejection::NotPinned),
        (Some(unfit), _) => Some(Rejection::Unfit(unfit)),
        (None, Some((name, value))) => Some(Rejection::Label(name.clone(), value.clone())),
        _ if request.near.iter().any(|near| *near != unit.id) => Some(Rejection::NotNear),
        _ if not_in.contains(&domain(unit, request)) => Some(Rejection::NotApart),
        _ => None,
    }
}

/// What `choose` thinks of each unit, in the order of the pool.
pub fn explain(pool: &Pool, request: &Request) -> Vec<Verdict> {
    let domains = domains(pool, request);
    let size = request.size.checked_next_multiple_of(EXTENT).unwrap_or(u64::MAX);
    let verdict = |unit: &UnitSpace| {
        let fits = free(unit, request) >= size || existing(&[unit], request, u64::MAX).is_some();
        let small = (!fits).then(|| Rejection::TooSmall(free(unit, request)));
        Verdict { unit: unit.id, rejection: rejection(unit, request, &domains).or(small) }
    };
    pool.units.iter().map(verdict).collect()
}

fn existing(units: &[&UnitSpace], request: &Request, at_most: u64) -> Option<Chosen> {
    if !request.reuse {
        return None;
    }
    let fits = |volume: &IdleVolume| {
        volume.suits(request) && volume.size >= request.size && volume.size <= at_most
    };
    let idle = units.iter().flat_map(|unit| unit.idle.iter().map(move |volume| (unit, volume)));
    let (unit, volume) = idle
        .filter(|(_, volume)| fits(volume))
        .min_by_key(|(unit, volume)| (volume.size, rank(unit, request), volume.id))?;
    let why = format!("the free volume {} fits", volume.name);
    Some(Chosen::Existing { unit: unit.id, volume: volume.clone(), why })
}

fn free(unit: &UnitSpace, request: &Request) -> u64 {
    if request.volatile { unit.free_volatile } else { unit.free }
}

/// Smaller is better. The id last, so that the same pool always gives the same answer.
fn rank(unit: &UnitSpace, request: &Request) -> (u32, u64, Uuid) {
    let crowded = match request.placement {
        Placement::MostFree => 0,
        Placement::Spread => unit.volumes_of_host,
    };
    (crowded, u64::MAX - free(unit, request), unit.id)
}

#[cfg(test)]
mod tests;
