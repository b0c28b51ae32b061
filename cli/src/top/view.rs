//! The state on a screen.

use outband_pool_api::{LatencyBucket, Rate, Volume, VolumeRates};
use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Cell as Field, Paragraph, Row as Drawn, Table as Widget, TableState};

use super::rows::{self, Cell, Lead, Table, Tone, megabytes, short, time};
use super::state::State;

const HELP: &str = "\
  1 2 3 4, Tab     units, volumes, hosts, sessions
  Up Down j k      choose a row; PageUp, PageDown, Home, End too
  Enter            look closer: a unit's or a host's volumes, a volume's latencies
  Esc              back
  s                sort by the next column
  r                the other way round
  /                only rows with what is typed; Enter keeps it, Esc ends it
  q                leave

  IO/S are commands, MB are 10^6 bytes. P50 and P99: half of the commands, and 99
  of a hundred, were answered faster. QD: commands under way. `-`: not known.";

/// Draws everything; `colour` is for terminals that are to have it.
pub(super) fn draw(frame: &mut Frame<'_>, state: &State, colour: bool) {
    let areas = [Constraint::Length(2), Constraint::Min(0), Constraint::Length(1)];
    let [head, body, foot] = Layout::vertical(areas).areas(frame.area());
    frame.render_widget(Paragraph::new(header(state, colour)), head);
    match (&state.close, state.is_helping) {
        (_, true) => frame.render_widget(Paragraph::new(HELP), body),
        (Some(volume), _) => frame.render_widget(Paragraph::new(close(state, volume)), body),
        (None, _) => table(frame, state, body, colour),
    }
    frame.render_widget(Paragraph::new(footer(state)), foot);
}

/// Rows of the table that fit on a screen of this height.
pub(super) fn page(height: u16) -> usize {
    usize::from(height.saturating_sub(4))
}

fn tone(tone: Tone, colour: bool) -> Style {
    match tone {
        Tone::Trouble if colour => Style::new().fg(Color::Red),
        Tone::Look if colour => Style::new().fg(Color::Yellow),
        Tone::Trouble => Style::new().add_modifier(Modifier::BOLD),
        _ => Style::new(),
    }
}

fn header(state: &State, colour: bool) -> Vec<Line<'static>> {
    let first = match (&state.problem, &state.snapshot) {
        (Some(why), _) => Line::styled(why.clone(), tone(Tone::Trouble, colour)),
        (None, None) => Line::raw("asking the station"),
        (None, Some(at)) => {
            let load = at.units.iter().filter_map(|unit| unit.load);
            let load: outband_pool_api::Load = load.sum();
            let (pool, down) = (&at.pool, at.pool.units.down);
            let down = if down > 0 { format!(" ({down} down)") } else { String::new() };
            Line::raw(format!(
                "{}: {} units{down}, {} volumes, {} sessions, {} io/s, {} MB/s, {} free",
                pool.name,
                pool.units.joined,
                pool.volumes,
                load.sessions,
                short(load.iops),
                megabytes(load.bytes_per_second),
                pool.free,
            ))
        }
    };
    vec![first, tabs(state)]
}

fn tabs(state: &State) -> Line<'static> {
    let tab = |(index, table): (usize, &Table)| {
        let style = if *table == state.table {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        [Span::styled(format!(" {} {} ", index + 1, table.title()), style), Span::raw(" ")]
    };
    let mut line: Vec<Span<'_>> = Table::ALL.iter().enumerate().flat_map(tab).collect();
    match &state.within {
        Some(Lead::Unit(name)) => line.push(Span::raw(format!("on {name} "))),
        Some(Lead::Host(name)) => line.push(Span::raw(format!("of {name} "))),
        _ => {}
    }
    let silent = state.snapshot.as_ref().map_or(0, |at| at.rates.silent.len());
    if silent > 0 {
        line.push(Span::raw(format!("({silent} units tell no rates)")));
    }
    Line::from(line)
}

fn footer(state: &State) -> String {
    if state.is_typing {
        return format!("/{}_", state.filter);
    }
    let column = state.table.columns()[state.sort[state.table as usize]].0.to_lowercase();
    let filter = match state.filter.as_str() {
        "" => String::new(),
        filter => format!("  only \"{filter}\""),
    };
    format!("? help  q leave  Enter closer  Esc back  / filter  s sort: {column}{filter}")
}

fn table(frame: &mut Frame<'_>, state: &State, area: Rect, colour: bool) {
    let columns = state.table.columns();
    let sorted = state.sort[state.table as usize];
    let heads = columns.iter().enumerate().map(|(index, (name, _))| {
        let style = Style::new().add_modifier(Modifier::BOLD);
        let style = if index == sorted { style.add_modifier(Modifier::UNDERLINED) } else { style };
        let side = if is_number(state.table, index) { Alignment::Right } else { Alignment::Left };
        Field::new(Line::raw(*name).alignment(side)).style(style)
    });
    let rows = state.rows();
    let drawn = rows.iter().map(|row| {
        let cell = |cell: &Cell| {
            let side = match cell {
                Cell::Number(..) => Alignment::Right,
                Cell::Text(_) => Alignment::Left,
            };
            Field::new(Line::raw(cell.text().to_owned()).alignment(side))
        };
        Drawn::new(row.cells.iter().map(cell)).style(tone(row.tone, colour))
    });
    let widths = columns.iter().map(|(_, width)| match width {
        0 => Constraint::Fill(1),
        width => Constraint::Length(*width),
    });
    if rows.is_empty() && state.snapshot.is_some() {
        let height = area.height.saturating_sub(1).min(1);
        let inner = Rect { y: area.y + height, height, ..area };
        frame.render_widget(Paragraph::new("none").alignment(Alignment::Left), inner);
    }
    let chosen = Style::new().add_modifier(Modifier::REVERSED);
    let widget = Widget::new(drawn, widths).header(Drawn::new(heads)).row_highlight_style(chosen);
    let index = (!rows.is_empty()).then(|| state.index(&rows));
    let mut at = TableState::default().with_selected(index);
    frame.render_stateful_widget(widget, area, &mut at);
}

/// Names and words come first in each table.
fn is_number(table: Table, column: usize) -> bool {
    column >= if table == Table::Hosts { 1 } else { 3 }
}

fn close(state: &State, name: &str) -> Vec<Line<'static>> {
    let mut lines =
        vec![Line::styled(format!("volume {name}"), Style::new().add_modifier(Modifier::BOLD))];
    let volumes = state.snapshot.iter().flat_map(|at| &at.volumes);
    let Some(volume) = volumes.into_iter().find(|volume| volume.name == name) else {
        lines.push(Line::raw("it is gone; Esc leads back"));
        return lines;
    };
    lines.push(Line::raw(said(volume)));
    let Some(rates) = state.near() else {
        lines.push(Line::raw("asking its unit"));
        return lines;
    };
    if rates.volumes.is_empty() {
        lines.push(Line::raw("its unit tells no rates of it"));
    }
    for one in &rates.volumes {
        lines.push(Line::raw(""));
        lines.extend(speed(one).into_iter().map(Line::raw));
    }
    for session in &rates.sessions {
        lines.push(Line::raw(format!(
            "from {} to {}: {} io/s, {} MB/s read, {} MB/s written, {} of {} under way",
            session.source,
            session.portal,
            short(session.commands_per_second),
            megabytes(session.read_bytes_per_second),
            megabytes(session.written_bytes_per_second),
            session.queue_depth,
            session.window,
        )));
    }
    lines
}

fn said(volume: &Volume) -> String {
    let facts = rows::facts(volume).into_iter().map(|(name, value)| format!("{name} {value}"));
    facts.collect::<Vec<_>>().join("   ")
}

fn speed(one: &VolumeRates) -> Vec<String> {
    let rate = |name: &str, rate: Rate| {
        let micros = |micros: Option<u64>| micros.map_or_else(|| "-".to_owned(), time);
        format!(
            "{name:<6}{:>7}/s {:>9} MB/s   p50 {:>6}   p99 {:>6}",
            short(rate.per_second),
            megabytes(rate.bytes_per_second),
            micros(rate.p50_micros),
            micros(rate.p99_micros)
        )
    };
    let mut lines = vec![
        format!(
            "{} on {}: {} under way, {} sessions",
            one.volume, one.unit, one.queue_depth, one.sessions
        ),
        rate("read", one.read),
        rate("write", one.write),
    ];
    if one.failed_per_second > 0 {
        lines.push(format!("{} commands a second fail", short(one.failed_per_second)));
    }
    lines.extend(histogram(&one.latency));
    lines
}

/// Characters of the longest bar.
const BAR: u64 = 40;

/// One bar a bucket, from the first to the last that has anything.
fn histogram(buckets: &[LatencyBucket]) -> Vec<String> {
    let all = |bucket: &LatencyBucket| bucket.reads.saturating_add(bucket.writes);
    let most = buckets.iter().map(all).max().unwrap_or(0);
    let Some(first) = buckets.iter().position(|bucket| all(bucket) > 0) else {
        return Vec::new();
    };
    let mut lines = vec!["commands by how long they took, since the unit serves it".to_owned()];
    lines.extend(buckets[first..].iter().map(|bucket| {
        let bound = bucket.up_to_micros.map_or_else(|| "more".to_owned(), time);
        // Whatever there is, is seen.
        let length = (u128::from(all(bucket)) * u128::from(BAR)).div_ceil(u128::from(most.max(1)));
        let bar = "#".repeat(usize::try_from(length).unwrap_or(0));
        format!("{bound:>7} {:>6} {bar}", short(all(bucket)))
    }));
    lines
}
