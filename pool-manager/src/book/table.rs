//! The records of one kind, by their keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::records::Stored;

#[derive(Debug)]
pub struct Table<T>(BTreeMap<String, Arc<Stored<T>>>);

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Table<T> {
    pub fn get(&self, key: &str) -> Option<&Arc<Stored<T>>> {
        self.0.get(key)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// In the order of their keys.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Stored<T>>> {
        self.0.values()
    }

    pub(super) fn put(&mut self, row: Arc<Stored<T>>) {
        self.0.insert(row.key.clone(), row);
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Arc<Stored<T>>> {
        self.0.remove(key)
    }
}
