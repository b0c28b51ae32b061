//! Keys and screens, without a terminal and without a station.

use outband_pool_api::{
    Duty, Host, LatencyBucket, Load, PoolStatus, Rate, Rates, SessionRates, Size, Unit, UnitCounts,
    UnitState, Volume, VolumeRates, VolumeState, WritePolicy,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use uuid::Uuid;

use super::rows::{Table, megabytes, short, time};
use super::snapshot::Snapshot;
use super::state::{Key, Outcome, State};
use super::view::{draw, page};

fn unit(number: u128, name: &str, state: UnitState, iops: u64) -> Unit {
    Unit {
        id: Uuid::from_u128(number),
        name: name.to_owned(),
        state,
        approved: true,
        portals: Vec::new(),
        api: String::new(),
        version: "0.1.0".to_owned(),
        incarnation: 1,
        total: Size(100 << 30),
        free: Size(25 << 30),
        volumes: 2,
        duty: Duty::Active,
        labels: std::collections::BTreeMap::new(),
        quarantined_until: None,
        must_leave: Vec::new(),
        revision: 1,
        devices: Vec::new(),
        load: Some(Load { sessions: 1, iops, bytes_per_second: iops * 4096 }),
        heard_seconds_ago: Some(0),
    }
}

fn volume(name: &str, unit: u128, host: Option<&str>) -> Volume {
    Volume {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        size: Size(1 << 30),
        state: VolumeState::Granted,
        unit: Uuid::from_u128(unit),
        unit_name: format!("unit-{unit}"),
        host: host.map(str::to_owned),
        epoch: 3,
        block_size: 4096,
        write_policy: WritePolicy::Normal,
        job: None,
        revision: 1,
        connection: None,
    }
}

fn rates(name: &str, unit: &str, reads: u64) -> VolumeRates {
    VolumeRates {
        volume: name.to_owned(),
        unit: unit.to_owned(),
        over_millis: 1000,
        read: Rate {
            per_second: reads,
            bytes_per_second: reads * 4096,
            p50_micros: Some(90),
            p99_micros: Some(1500),
        },
        write: Rate::default(),
        failed_per_second: 0,
        queue_depth: 8,
        sessions: 1,
        latency: Vec::new(),
    }
}

fn session(volume: &str, unit: &str, initiator: &str) -> SessionRates {
    SessionRates {
        volume: volume.to_owned(),
        unit: unit.to_owned(),
        initiator: initiator.to_owned(),
        source: "192.0.2.200:40123".to_owned(),
        portal: "192.0.2.1:3260".to_owned(),
        commands_per_second: 12_000,
        read_bytes_per_second: 49_152_000,
        written_bytes_per_second: 0,
        queue_depth: 8,
        window: 128,
    }
}

fn host(name: &str, volumes: &[&str]) -> Host {
    Host {
        name: name.to_owned(),
        iqn: format!("iqn.2026-11.test:{name}"),
        volumes: volumes.iter().map(|name| (*name).to_owned()).collect(),
        created: 0,
        quota: None,
        used: Size(2 << 30),
        replaced_by: None,
        revision: 1,
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        pool: PoolStatus {
            name: "main".into(),
            total: Size(200 << 30),
            granted: Size(2 << 30),
            free: Size(50 << 30),
            largest: Size(25 << 30),
            used_percent: 75,
            warnings: Vec::new(),
            units: UnitCounts { joined: 1, down: 1, ..UnitCounts::default() },
            volumes: 3,
            hosts: 2,
        },
        units: vec![
            unit(1, "unit-1", UnitState::Joined, 12_000),
            unit(2, "unit-2", UnitState::Down, 0),
        ],
        volumes: vec![
            volume("archive", 2, Some("db2")),
            volume("db-data", 1, Some("db1")),
            volume("db-log", 1, Some("db1")),
        ],
        hosts: vec![host("db1", &["db-data", "db-log"]), host("db2", &["archive"])],
        rates: Rates {
            volumes: vec![rates("db-data", "unit-1", 900), rates("db-log.p1", "unit-1", 12_000)],
            sessions: vec![session("db-log.p1", "unit-1", "iqn.2026-11.test:db1")],
            silent: vec!["unit-2".to_owned()],
        },
        close: None,
    }
}

fn state() -> State {
    let mut state = State::default();
    state.take(Ok(snapshot()));
    state
}

fn names(state: &State) -> Vec<String> {
    state.rows().iter().map(|row| row.cells[0].text().to_owned()).collect()
}

fn keys(state: &mut State, keys: &[Key]) {
    for key in keys {
        assert_eq!(state.on_key(*key), Outcome::GoOn);
    }
}

fn screen(state: &State, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state, false)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned()).collect()
}

#[test]
fn the_busiest_volume_comes_first_and_every_column_sorts_both_ways() {
    let mut state = state();
    assert_eq!(names(&state), ["db-log", "db-data", "archive"]);
    keys(&mut state, &[Key::Char('r')]);
    assert_eq!(names(&state), ["archive", "db-data", "db-log"]);
    keys(&mut state, &[Key::Char('r')]);
    for _ in 0..Table::Volumes.columns().len() {
        keys(&mut state, &[Key::Char('s')]);
        assert_eq!(names(&state).len(), 3);
    }
    assert_eq!(names(&state), ["db-log", "db-data", "archive"], "it has come round");
}

#[test]
fn only_rows_with_what_is_typed_are_left_and_escape_brings_the_others_back() {
    let mut state = state();
    keys(&mut state, &[Key::Char('/'), Key::Char('D'), Key::Char('q'), Key::Backspace]);
    keys(&mut state, &[Key::Char('b'), Key::Char('-'), Key::Enter]);
    assert_eq!(names(&state), ["db-log", "db-data"]);
    assert!(screen(&state, 80, 24)[23].contains("only \"Db-\""));
    keys(&mut state, &[Key::Escape]);
    assert_eq!(names(&state).len(), 3);
    keys(&mut state, &[Key::Char('/'), Key::Char('x'), Key::Escape]);
    assert_eq!(names(&state).len(), 3);
}

#[test]
fn a_row_that_is_chosen_stays_so_in_the_next_snapshot_wherever_it_is() {
    let mut state = state();
    keys(&mut state, &[Key::Down]);
    let chosen = |state: &State| {
        let rows = state.rows();
        rows[state.index(&rows)].cells[0].text().to_owned()
    };
    assert_eq!(chosen(&state), "db-data");
    let mut later = snapshot();
    later.rates.volumes[0] = rates("db-data", "unit-1", 99_000);
    state.take(Ok(later));
    assert_eq!((names(&state)[0].as_str(), chosen(&state).as_str()), ("db-data", "db-data"));
    keys(&mut state, &[Key::End, Key::Down, Key::Char('j')]);
    assert_eq!(chosen(&state), "archive", "there is nothing behind the last");
    keys(&mut state, &[Key::PageUp, Key::Up]);
    assert_eq!(chosen(&state), "db-data");
}

#[test]
fn units_and_hosts_lead_to_their_volumes_and_volumes_to_their_latencies_and_back() {
    let mut state = state();
    keys(&mut state, &[Key::Char('1'), Key::Enter]);
    assert_eq!(
        (state.table, names(&state)),
        (Table::Volumes, vec!["db-log".into(), "db-data".into()])
    );
    assert!(screen(&state, 80, 24)[1].contains("on unit-1"));
    keys(&mut state, &[Key::Escape]);
    assert_eq!(state.table, Table::Units);
    keys(&mut state, &[Key::Tab, Key::Tab, Key::End, Key::Enter]);
    assert_eq!(names(&state), ["archive"]);
    keys(&mut state, &[Key::Enter]);
    assert_eq!(state.close.as_deref(), Some("archive"));
    keys(&mut state, &[Key::Escape]);
    assert_eq!((state.close.clone(), names(&state)), (None, vec!["archive".to_owned()]));
    keys(&mut state, &[Key::Escape, Key::BackTab, Key::Char('4'), Key::Enter]);
    assert_eq!(state.close.as_deref(), Some("db-log"), "the volume of the partition");
}

#[test]
fn it_is_left_by_q_and_by_control_c_but_not_while_typing() {
    assert_eq!(state().on_key(Key::Char('q')), Outcome::Quit);
    let mut typing = state();
    keys(&mut typing, &[Key::Char('/'), Key::Char('q')]);
    assert_eq!(typing.on_key(Key::Interrupt), Outcome::Quit);
}

#[test]
fn every_table_is_whole_at_80_by_24() {
    let mut state = state();
    for table in Table::ALL {
        let digit = char::from_digit(table as u32 + 1, 10).unwrap();
        keys(&mut state, &[Key::Char(digit)]);
        let lines = screen(&state, 80, 24);
        let fixed: u16 = table.columns().iter().map(|(_, width)| width + 1).sum();
        assert!(80 - fixed >= 8, "{table:?} leaves {} for names", 80 - fixed);
        for (head, _) in table.columns() {
            assert!(lines[2].contains(head), "{head} in {:?}", lines[2]);
        }
    }
    let lines = screen(&state, 80, 24);
    assert!(
        lines[0].starts_with("main: 1 units (1 down), 3 volumes, 2 sessions, 12k io/s, 49.1 MB/s")
    );
    assert!(lines[1].contains("(1 units tell no rates)"));
    assert!(lines[3].contains("db-log.p1") && lines[3].contains("db1"), "{lines:?}");
    keys(&mut state, &[Key::Char('2')]);
    let lines = screen(&state, 80, 24);
    let busiest: Vec<&str> = lines[3].split_whitespace().collect();
    assert_eq!(busiest, ["db-log", "db1", "unit-1", "12k", "0", "49.1", "90us", "1.5ms", "8"]);
    assert!(lines[5].ends_with('-'), "of a silent unit's volume nothing is known: {:?}", lines[5]);
}

#[test]
fn a_close_look_shows_latencies_and_sessions() {
    let mut state = state();
    keys(&mut state, &[Key::Enter]);
    assert!(screen(&state, 80, 24).iter().any(|line| line == "asking its unit"));
    let mut near = snapshot();
    let bucket = |up_to_micros, reads| LatencyBucket { up_to_micros, reads, writes: 0 };
    let latency = vec![bucket(Some(8), 0), bucket(Some(16), 400), bucket(None, 1)];
    let own = VolumeRates { latency, ..rates("db-log", "unit-1", 12_000) };
    let sessions = near.rates.sessions.clone();
    near.close =
        Some(("db-log".into(), Rates { volumes: vec![own], sessions, silent: Vec::new() }));
    state.take(Ok(near));
    let lines = screen(&state, 80, 24);
    let text = lines.join("\n");
    assert!(
        text.contains("size 1 GiB   state granted   unit unit-1   host db1   epoch 3"),
        "{text}"
    );
    let longest = format!("   16us    400 {}", "#".repeat(40));
    assert!(lines.contains(&longest) && lines.contains(&"   more      1 #".to_owned()), "{text}");
    assert!(!text.contains("    8us "), "empty ones before the first are left out: {text}");
    assert!(text.contains("from 192.0.2.200:40123 to 192.0.2.1:3260: 12k io/s"), "{text}");
    keys(&mut state, &[Key::Char('?')]);
    let help = screen(&state, 80, 24);
    assert!(help.iter().any(|line| line.contains("look closer")));
    assert!(help.iter().all(|line| line.chars().count() <= 80));
}

#[test]
fn an_answer_that_fails_is_told_above_what_was_known_before() {
    let mut state = State::default();
    assert_eq!(screen(&state, 80, 24)[0], "asking the station");
    state.take(Ok(snapshot()));
    state.take(Err("cannot reach the station".to_owned()));
    let lines = screen(&state, 80, 24);
    assert_eq!(lines[0], "cannot reach the station");
    assert!(lines[3].starts_with("db-log"));
}

#[test]
fn no_name_and_no_size_of_a_screen_does_harm() {
    let mut named = snapshot();
    named.units[0].name = "\u{1b}[2J\u{7}\nname\u{202e}".to_owned();
    named.volumes[0].name = "\u{1f980}".repeat(40);
    let mut state = State::default();
    state.take(Ok(named));
    for (width, height) in [(1, 1), (2, 3), (10, 4), (79, 5), (80, 24), (300, 60)] {
        for digit in ['1', '2', '3', '4', '?'] {
            keys(&mut state, &[Key::Char(digit)]);
            state.page = page(height);
            let text = screen(&state, width, height).concat();
            assert!(!text.contains(char::is_control), "{text:?}");
        }
        keys(&mut state, &[Key::Escape, Key::Char('2'), Key::PageDown, Key::Enter]);
        screen(&state, width, height);
    }
}

#[test]
fn figures_are_short() {
    for (number, said) in
        [(9_999, "9999"), (10_000, "10k"), (9_999_999, "9999k"), (u64::MAX, "18446744073G")]
    {
        assert_eq!(short(number), said);
    }
    for (bytes, said) in [(0, "0.0"), (1, "<0.1"), (1_550_000, "1.5"), (123_400_000, "123")] {
        assert_eq!(megabytes(bytes), said);
    }
    for (micros, said) in
        [(0, "0us"), (999, "999us"), (1_500, "1.5ms"), (999_999, "999ms"), (8_388_608, "8.3s")]
    {
        assert_eq!(time(micros), said);
    }
}
