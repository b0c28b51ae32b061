//! What is looked at, and what a key changes of that. Pure.

use outband_pool_api::Rates;

use super::rows::{Cell, Lead, Row, Table, rows};
use super::snapshot::Snapshot;

/// What a key means, whatever it is called on a keyboard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Tab,
    BackTab,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Control and C.
    Interrupt,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    GoOn,
    Quit,
}

/// Everything that decides what is on the screen.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) snapshot: Option<Snapshot>,
    /// Why there is no newer one.
    pub(super) problem: Option<String>,
    pub(super) table: Table,
    /// Only what belongs to this unit or host.
    pub(super) within: Option<Lead>,
    /// The one volume that is looked at closely.
    pub(super) close: Option<String>,
    pub(super) is_helping: bool,
    pub(super) is_typing: bool,
    pub(super) filter: String,
    /// By column; 0 is the name.
    pub(super) sort: [usize; 4],
    pub(super) is_reversed: bool,
    /// Key of the row that is chosen.
    chosen: Option<String>,
    /// Rows that fit on the screen.
    pub(super) page: usize,
}

impl Default for State {
    fn default() -> Self {
        Self {
            snapshot: None,
            problem: None,
            table: Table::Volumes,
            within: None,
            close: None,
            is_helping: false,
            is_typing: false,
            filter: String::new(),
            // What is busy comes first.
            sort: [3, 5, 4, 3],
            is_reversed: false,
            chosen: None,
            page: 20,
        }
    }
}

impl State {
    /// The station has answered, or not.
    pub(super) fn take(&mut self, answer: Result<Snapshot, String>) {
        match answer {
            Ok(snapshot) => (self.snapshot, self.problem) = (Some(snapshot), None),
            Err(why) => self.problem = Some(why),
        }
    }

    /// What is in the table now, in its order.
    pub(super) fn rows(&self) -> Vec<Row> {
        let Some(snapshot) = &self.snapshot else {
            return Vec::new();
        };
        let mut rows = rows(snapshot, self.table);
        let wanted = self.filter.to_lowercase();
        let matches = |cell: &Cell| cell.text().to_lowercase().contains(&wanted);
        rows.retain(|row| self.is_within(row) && row.cells.iter().any(matches));
        let column = self.sort[self.table as usize];
        rows.sort_by(|one, other| {
            let order = one.cells[column].cmp(&other.cells[column]);
            // Of numbers the largest comes first; what is alike is in the order of its names.
            let order = match one.cells[column] {
                Cell::Number(..) => order.reverse(),
                Cell::Text(_) => order,
            };
            let order = if self.is_reversed { order.reverse() } else { order };
            order.then_with(|| one.cells[0].cmp(&other.cells[0])).then(one.key.cmp(&other.key))
        });
        rows
    }

    fn is_within(&self, row: &Row) -> bool {
        match (&self.within, self.table) {
            (Some(Lead::Unit(unit)), Table::Volumes) => row.cells[2].text() == unit,
            (Some(Lead::Host(host)), Table::Volumes) => row.cells[1].text() == host,
            _ => true,
        }
    }

    /// Which of these rows is chosen: the one that was, or the first.
    pub(super) fn index(&self, rows: &[Row]) -> usize {
        let chosen = self.chosen.as_deref();
        rows.iter().position(|row| Some(row.key.as_str()) == chosen).unwrap_or(0)
    }

    /// What is known of the volume that is looked at.
    pub(super) fn near(&self) -> Option<&Rates> {
        let (name, rates) = self.snapshot.as_ref()?.close.as_ref()?;
        (Some(name) == self.close.as_ref()).then_some(rates)
    }

    pub(super) fn on_key(&mut self, key: Key) -> Outcome {
        if key == Key::Interrupt {
            return Outcome::Quit;
        }
        if self.is_helping {
            self.is_helping = false;
        } else if self.is_typing {
            self.on_typed(key);
        } else {
            return self.on_command(key);
        }
        Outcome::GoOn
    }

    fn on_typed(&mut self, key: Key) {
        match key {
            Key::Enter => self.is_typing = false,
            Key::Escape => (self.is_typing, self.filter) = (false, String::new()),
            Key::Backspace => drop(self.filter.pop()),
            Key::Char(c) if self.filter.len() < 64 => self.filter.push(c),
            _ => {}
        }
    }

    fn on_command(&mut self, key: Key) -> Outcome {
        match key {
            Key::Char('q') => return Outcome::Quit,
            Key::Char('?' | 'h') => self.is_helping = true,
            Key::Escape | Key::Backspace => self.go_back(),
            Key::Char(digit @ '1'..='4') => {
                let index = digit as usize - '1' as usize;
                self.show(Table::ALL[index]);
            }
            Key::Tab => self.show_next(1),
            Key::BackTab => self.show_next(Table::ALL.len() - 1),
            // What is beneath a close look stays as it is.
            _ if self.close.is_some() => {}
            Key::Char('/') => self.is_typing = true,
            Key::Char('s') => {
                let sort = &mut self.sort[self.table as usize];
                *sort = (*sort + 1) % self.table.columns().len();
            }
            Key::Char('r') => self.is_reversed = !self.is_reversed,
            Key::Enter => self.go_in(),
            _ => self.on_movement(key),
        }
        Outcome::GoOn
    }

    fn on_movement(&mut self, key: Key) {
        let rows = self.rows();
        let Some(last) = rows.len().checked_sub(1) else {
            return;
        };
        let (at, page) = (self.index(&rows), self.page.max(1));
        let to = match key {
            Key::Up | Key::Char('k') => at.saturating_sub(1),
            Key::Down | Key::Char('j') => at + 1,
            Key::PageUp => at.saturating_sub(page),
            Key::PageDown => at + page,
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => last,
            _ => at,
        };
        self.chosen = Some(rows[to.min(last)].key.clone());
    }

    fn show(&mut self, table: Table) {
        (self.table, self.within, self.close, self.chosen) = (table, None, None, None);
    }

    fn show_next(&mut self, steps: usize) {
        let next = (self.table as usize + steps) % Table::ALL.len();
        self.show(Table::ALL[next]);
    }

    fn go_in(&mut self) {
        let rows = self.rows();
        let Some(row) = rows.get(self.index(&rows)) else {
            return;
        };
        match row.leads_to.clone() {
            Lead::Volume(name) => self.close = Some(name),
            lead => {
                self.show(Table::Volumes);
                (self.within, self.filter) = (Some(lead), String::new());
            }
        }
    }

    /// One step back to where one has come from.
    fn go_back(&mut self) {
        if self.close.take().is_some() {
            return;
        }
        match self.within.take() {
            Some(Lead::Unit(_)) => self.show(Table::Units),
            Some(_) => self.show(Table::Hosts),
            None => self.filter.clear(),
        }
    }
}
