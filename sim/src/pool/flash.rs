//! What a process's own store lies on: survives it, and loses what was not synced when the power
//! goes. A life of the process that is over writes nothing any more.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use crate::rng::Rng;

#[derive(Debug, Default)]
struct Cells {
    /// As the process sees it.
    bytes: Vec<u8>,
    /// What is on stable storage.
    stable: Vec<u8>,
    /// Writes since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
    life: u64,
    lies: bool,
}

/// A file, for the whole of a simulation.
#[derive(Clone, Debug, Default)]
pub struct Flash(Arc<Mutex<Cells>>);

/// The file as one life of a process has it.
#[derive(Debug)]
pub struct FlashFile {
    cells: Arc<Mutex<Cells>>,
    life: u64,
}

fn lock(cells: &Mutex<Cells>) -> MutexGuard<'_, Cells> {
    cells.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flash {
    /// One that says that it has synced, and has not. No store can answer for that: it is here to
    /// prove that the simulator sees it.
    #[must_use]
    pub fn lying() -> Self {
        Self(Arc::new(Mutex::new(Cells { lies: true, ..Cells::default() })))
    }

    /// For a new life of the process; the one before is over.
    #[must_use]
    pub fn open(&self) -> FlashFile {
        let mut cells = lock(&self.0);
        cells.life += 1;
        FlashFile { cells: Arc::clone(&self.0), life: cells.life }
    }

    /// The process is killed.
    pub fn kill(&self) {
        lock(&self.0).life += 1;
    }

    /// The power goes: of what was not synced any part is left.
    pub fn cut_power(&self, rng: &mut Rng) {
        let mut cells = lock(&self.0);
        cells.life += 1;
        let lies = cells.lies;
        for (at, bytes) in std::mem::take(&mut cells.unsynced) {
            if !lies && rng.coin() && at + bytes.len() <= cells.stable.len() {
                cells.stable[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
        cells.bytes = cells.stable.clone();
    }

    /// What is on it, to look for what should not be.
    #[must_use]
    pub fn len(&self) -> usize {
        lock(&self.0).bytes.len()
    }

    /// Whether nothing was ever written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FlashFile {
    /// `None` when this life is over.
    fn cells(&self) -> Option<MutexGuard<'_, Cells>> {
        Some(lock(&self.cells)).filter(|cells| cells.life == self.life)
    }
}

fn at(offset: u64) -> usize {
    usize::try_from(offset).expect("a few megabytes")
}

impl StorageBackend for FlashFile {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(lock(&self.cells).bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let cells = lock(&self.cells);
        let from = cells.bytes.get(at(offset)..at(offset) + out.len());
        out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        if let Some(mut cells) = self.cells() {
            cells.bytes.resize(at(len), 0);
            if !cells.lies {
                cells.stable.resize(at(len), 0);
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        if let Some(mut cells) = self.cells().filter(|cells| !cells.lies) {
            for (at, bytes) in std::mem::take(&mut cells.unsynced) {
                if let Some(room) = cells.stable.get_mut(at..at + bytes.len()) {
                    room.copy_from_slice(&bytes);
                }
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        if let Some(mut cells) = self.cells() {
            let room = cells.bytes.get_mut(at(offset)..at(offset) + data.len());
            room.ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
            cells.unsynced.push((at(offset), data.to_vec()));
        }
        Ok(())
    }
}
