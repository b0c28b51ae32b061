//! A snapshot as rows: what each table has in its columns, and by what it is sorted.

use std::collections::BTreeMap;

use outband_pool_api::{
    Rate, SessionRates, Size, Unit, UnitState, Volume, VolumeRates, VolumeState,
};

use super::snapshot::Snapshot;

/// One of the tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Table {
    Units,
    Volumes,
    Hosts,
    Sessions,
}

impl Table {
    pub(super) const ALL: [Self; 4] = [Self::Units, Self::Volumes, Self::Hosts, Self::Sessions];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Units => "Units",
            Self::Volumes => "Volumes",
            Self::Hosts => "Hosts",
            Self::Sessions => "Sessions",
        }
    }

    /// Heads and widths in characters, which with a space between any two fill 80 at most; 0 takes
    /// what is left.
    pub(super) fn columns(self) -> &'static [(&'static str, u16)] {
        match self {
            Self::Units => &[
                ("UNIT", 0),
                ("STATE", 8),
                ("DUTY", 11),
                ("IO/S", 7),
                ("MB/S", 8),
                ("SESS", 5),
                ("VOLS", 5),
                ("USED", 4),
                ("HEARD", 6),
            ],
            Self::Volumes => &[
                ("VOLUME", 0),
                ("HOST", 10),
                ("UNIT", 10),
                ("READ/S", 6),
                ("WRITE/S", 7),
                ("MB/S", 7),
                ("P50", 6),
                ("P99", 6),
                ("QD", 3),
            ],
            Self::Hosts => &[
                ("HOST", 0),
                ("VOLUMES", 7),
                ("SIZE", 10),
                ("SESS", 5),
                ("IO/S", 7),
                ("READ MB/S", 9),
                ("WRITE MB/S", 10),
                ("QD", 4),
            ],
            Self::Sessions => &[
                ("VOLUME", 0),
                ("HOST", 10),
                ("FROM", 21),
                ("IO/S", 7),
                ("READ MB/S", 9),
                ("WRITE MB/S", 10),
                ("QD", 7),
            ],
        }
    }
}

/// One thing in a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Row {
    /// By which it is found again in the next snapshot.
    pub(super) key: String,
    pub(super) cells: Vec<Cell>,
    pub(super) tone: Tone,
    /// The volume behind it, the host, the unit: where it leads to.
    pub(super) leads_to: Lead,
}

/// What is shown of a row more closely.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Lead {
    Unit(String),
    Host(String),
    Volume(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    Plain,
    Look,
    Trouble,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Cell {
    Text(String),
    /// What it is sorted by, and how it is shown.
    Number(u64, String),
}

impl Cell {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(_, text) => text,
        }
    }

    fn word(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    fn count(number: impl Into<u64>) -> Self {
        let number = number.into();
        Self::Number(number, short(number))
    }

    fn megabytes(bytes: u64) -> Self {
        Self::Number(bytes, megabytes(bytes))
    }

    fn micros(micros: Option<u64>) -> Self {
        Self::Number(micros.unwrap_or(0), micros.map_or_else(|| "-".to_owned(), time))
    }
}

/// In four digits or fewer, with a letter behind them.
pub(super) fn short(number: u64) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{}k", number / 1_000),
        10_000_000..10_000_000_000 => format!("{}M", number / 1_000_000),
        _ => format!("{}G", number / 1_000_000_000),
    }
}

/// Bytes as disks are measured: 1 MB is 10^6 bytes.
pub(super) fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    match tenths {
        0 if bytes > 0 => "<0.1".to_owned(),
        0..1000 => format!("{}.{}", tenths / 10, tenths % 10),
        _ => (tenths / 10).to_string(),
    }
}

/// Microseconds in five characters.
pub(super) fn time(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros}us"),
        1_000..10_000 => format!("{}.{}ms", micros / 1_000, micros / 100 % 10),
        10_000..1_000_000 => format!("{}ms", micros / 1_000),
        _ => format!("{}.{}s", micros / 1_000_000, micros / 100_000 % 10),
    }
}

/// All rows of a table, as they come.
pub(super) fn rows(of: &Snapshot, table: Table) -> Vec<Row> {
    match table {
        Table::Units => of.units.iter().map(unit).collect(),
        Table::Volumes => volumes(of),
        Table::Hosts => hosts(of),
        Table::Sessions => sessions(of),
    }
}

fn unit(unit: &Unit) -> Row {
    let load = unit.load.unwrap_or_default();
    let used = unit.total.0.saturating_sub(unit.free.0);
    let percent = used.saturating_mul(100).checked_div(unit.total.0).unwrap_or(0);
    let heard = match unit.heard_seconds_ago {
        Some(seconds) => Cell::Number(seconds, format!("{}s", short(seconds))),
        None => Cell::Number(u64::MAX, "never".to_owned()),
    };
    Row {
        key: unit.id.to_string(),
        cells: vec![
            Cell::word(&unit.name),
            Cell::word(unit.state.to_string()),
            Cell::word(unit.duty.to_string()),
            Cell::count(load.iops),
            Cell::megabytes(load.bytes_per_second),
            Cell::count(load.sessions),
            Cell::count(unit.volumes),
            Cell::Number(percent, format!("{percent}%")),
            heard,
        ],
        tone: match unit.state {
            UnitState::Joined => Tone::Plain,
            UnitState::Down => Tone::Trouble,
            _ => Tone::Look,
        },
        leads_to: Lead::Unit(unit.name.clone()),
    }
}

/// A volume, with its partitions taken together where they are what is used.
fn volumes(of: &Snapshot) -> Vec<Row> {
    let mut rates: BTreeMap<(&str, &str), Vec<&VolumeRates>> = BTreeMap::new();
    for one in &of.rates.volumes {
        rates.entry((whole(&one.volume), &one.unit)).or_default().push(one);
    }
    let row = |volume: &Volume| {
        let own = rates.get(&(volume.name.as_str(), volume.unit_name.as_str()));
        volume_row(volume, own.map(Vec::as_slice).unwrap_or_default())
    };
    of.volumes.iter().map(row).collect()
}

/// The volume of a volume or partition. A volume's name may itself end as a partition's does; then its
/// parts are not told apart from it, which does no harm here.
fn whole(name: &str) -> &str {
    let split = name.rsplit_once(".p");
    let part = split.filter(|(_, number)| number.parse::<u16>().is_ok());
    part.map_or(name, |(volume, _)| volume)
}

fn volume_row(volume: &Volume, rates: &[&VolumeRates]) -> Row {
    let sum = |of: fn(&VolumeRates) -> Rate| {
        rates.iter().map(|one| of(one)).fold(Rate::default(), Rate::plus)
    };
    let (read, write) = (sum(|one| one.read), sum(|one| one.write));
    let both = read.plus(write);
    let queue: u64 = rates.iter().map(|one| u64::from(one.queue_depth)).sum();
    let mut cells = vec![
        Cell::word(&volume.name),
        Cell::word(volume.host.as_deref().unwrap_or("-")),
        Cell::word(&volume.unit_name),
    ];
    cells.extend(match rates {
        [] => vec![Cell::Number(0, "-".to_owned()); 6],
        _ => vec![
            Cell::count(read.per_second),
            Cell::count(write.per_second),
            Cell::megabytes(both.bytes_per_second),
            Cell::micros(both.p50_micros),
            Cell::micros(both.p99_micros),
            Cell::count(queue),
        ],
    });
    Row {
        key: format!("{} {}", volume.name, volume.unit),
        cells,
        tone: match volume.state {
            VolumeState::Missing | VolumeState::Conflict => Tone::Trouble,
            VolumeState::Granted | VolumeState::Free => Tone::Plain,
            _ => Tone::Look,
        },
        leads_to: Lead::Volume(volume.name.clone()),
    }
}

fn hosts(of: &Snapshot) -> Vec<Row> {
    let row = |host: &outband_pool_api::Host| {
        let own = || of.rates.sessions.iter().filter(|session| session.initiator == host.iqn);
        let sum = |figure: fn(&SessionRates) -> u64| own().map(figure).fold(0, u64::saturating_add);
        Row {
            key: host.name.clone(),
            cells: vec![
                Cell::word(&host.name),
                Cell::count(host.volumes.len() as u64),
                Cell::Number(host.used.0, host.used.to_string()),
                Cell::count(own().count() as u64),
                Cell::count(sum(|session| session.commands_per_second)),
                Cell::megabytes(sum(|session| session.read_bytes_per_second)),
                Cell::megabytes(sum(|session| session.written_bytes_per_second)),
                Cell::count(sum(|session| session.queue_depth.into())),
            ],
            tone: if host.replaced_by.is_some() { Tone::Look } else { Tone::Plain },
            leads_to: Lead::Host(host.name.clone()),
        }
    };
    of.hosts.iter().map(row).collect()
}

fn sessions(of: &Snapshot) -> Vec<Row> {
    let names: BTreeMap<&str, &str> =
        of.hosts.iter().map(|host| (host.iqn.as_str(), host.name.as_str())).collect();
    let row = |session: &SessionRates| {
        let host = names.get(session.initiator.as_str()).copied();
        let queue = format!("{}/{}", session.queue_depth, session.window);
        Row {
            key: format!("{} {} {}", session.volume, session.source, session.portal),
            cells: vec![
                Cell::word(&session.volume),
                Cell::word(host.unwrap_or(&session.initiator)),
                Cell::word(&session.source),
                Cell::count(session.commands_per_second),
                Cell::megabytes(session.read_bytes_per_second),
                Cell::megabytes(session.written_bytes_per_second),
                Cell::Number(session.queue_depth.into(), queue),
            ],
            tone: Tone::Plain,
            leads_to: Lead::Volume(whole(&session.volume).to_owned()),
        }
    };
    of.rates.sessions.iter().map(row).collect()
}

/// Name and value of what is said of one volume beside its rates.
pub(super) fn facts(volume: &Volume) -> Vec<(&'static str, String)> {
    vec![
        ("size", Size(volume.size.0).to_string()),
        ("state", volume.state.to_string()),
        ("unit", volume.unit_name.clone()),
        ("host", volume.host.clone().unwrap_or_else(|| "-".to_owned())),
        ("epoch", volume.epoch.to_string()),
    ]
}
