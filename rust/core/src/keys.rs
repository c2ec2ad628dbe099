//! Sets of ids, to check that keys are unique and that references have a parent.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::column::{Batch, Column};

/// What is known of each id, as a big-endian number.
pub type KeyMap<V> = HashMap<u128, V, FixedState>;

/// A set of 16-byte ids.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    ids: HashSet<u128, FixedState>,
}

impl KeySet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Whether `id` is in the set.
    pub fn contains(&self, id: &[u8; 16]) -> bool {
        self.ids.contains(&u128::from_le_bytes(*id))
    }

    /// Adds an id; false if it was there.
    pub fn insert(&mut self, id: &[u8; 16]) -> bool {
        self.ids.insert(u128::from_le_bytes(*id))
    }

    /// Adds the ids of a column, or none of them and tells the first row whose id was there already.
    ///
    /// Rows without a value are left out, and with a `mask` those where that enumeration column has
    /// another symbol than the given one.
    ///
    /// # Panics
    /// If `column` is not of uuids, or the mask's not an enumeration.
    pub fn insert_column(&mut self, column: &Column, mask: Option<(&Column, u8)>) -> Option<usize> {
        let ids = uuids(column);
        if mask.is_none() {
            self.ids.reserve(ids.len());
        }
        let wanted = |row: &usize| {
            column.is_valid(*row)
                && mask.is_none_or(|(of, code)| {
                    of.is_valid(*row) && of.values.stored::<u8>()[*row] == code
                })
        };
        let duplicate = (0..ids.len()).filter(wanted).find(|&row| !self.insert(&ids[row]));
        if let Some(end) = duplicate {
            // Every wanted row before it was new.
            for row in (0..end).filter(wanted) {
                self.ids.remove(&u128::from_le_bytes(ids[row]));
            }
        }
        duplicate
    }

    /// The first row whose id is not in the set. Rows without a value pass.
    ///
    /// # Panics
    /// If `column` is not of uuids.
    pub fn first_missing(&self, column: &Column) -> Option<usize> {
        // The events of one account follow one another, so most rows repeat the id before.
        let mut known = None;
        for (row, id) in uuids(column).iter().enumerate() {
            if known == Some(id) || !column.is_valid(row) {
                continue;
            }
            if !self.contains(id) {
                return Some(row);
            }
            known = Some(id);
        }
        None
    }

    /// The rows of a batch whose primary key is not in the set; the batch itself where that is all.
    pub fn without(&self, batch: Arc<Batch>) -> Arc<Batch> {
        let ids = uuids(&batch.columns()[0]);
        if self.is_empty() || !ids.iter().any(|id| self.contains(id)) {
            return batch;
        }
        let rows = (0..).zip(ids).filter(|(_, id)| !self.contains(id));
        let rows: Vec<(u32, u32)> = rows.map(|(row, _)| (0, row)).collect();
        Arc::new(Batch::gather(&[batch], &rows))
    }
}

/// The ids of a column, whatever they are where a row has no value.
///
/// # Panics
/// If `column` is not of uuids.
pub fn uuids(column: &Column) -> &[[u8; 16]] {
    column.values.stored()
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;
    use crate::column::Values;

    fn id(n: u128) -> [u8; 16] {
        n.to_be_bytes()
    }

    fn column(ids: &[Option<u128>]) -> Column {
        Column {
            values: Values::Uuid(ids.iter().map(|n| id(n.unwrap_or_default())).collect()),
            validity: Some(ids.iter().map(Option::is_some).collect()),
        }
    }

    #[test]
    fn ids_are_added_once() {
        let mut keys = KeySet::new();
        assert!(keys.is_empty() && !keys.contains(&id(7)));
        assert!(keys.insert(&id(7)));
        assert!(!keys.insert(&id(7)));
        assert!(keys.contains(&id(7)));
        assert_eq!(keys.len(), 1);
    }

    #[test]
    fn a_column_with_a_duplicate_adds_nothing() {
        let mut keys = KeySet::new();
        let ids = [Some(1), None, Some(2), None, Some(1), Some(2), Some(3)];
        assert_eq!(keys.insert_column(&column(&ids), None), Some(4));
        assert!(keys.is_empty());
        assert_eq!(keys.insert_column(&column(&ids[..4]), None), None);
        assert_eq!(keys.len(), 2);
        assert!(!keys.contains(&id(0)), "a missing value is no id");
        assert_eq!(keys.insert_column(&column(&[Some(4), Some(2), Some(5)]), None), Some(1));
        assert_eq!(keys.len(), 2);
        assert!(keys.contains(&id(2)) && !keys.contains(&id(4)));
    }

    #[test]
    fn mask_leaves_rows_out() {
        let mut keys = KeySet::new();
        let ids = column(&[Some(1), Some(2), Some(3), Some(1)]);
        let symbols = Column {
            values: Values::Code(vec![2, 0, 2, 2]),
            validity: Some(vec![true, true, false, true]),
        };
        assert_eq!(keys.insert_column(&ids, Some((&symbols, 2))), Some(3));
        assert!(keys.is_empty());
        assert_eq!(keys.insert_column(&ids, Some((&symbols, 0))), None);
        assert_eq!(keys.len(), 1);
        assert!(keys.contains(&id(2)));
    }

    #[test]
    fn first_missing_skips_repeats_and_missing_values() {
        let mut keys = KeySet::new();
        keys.insert_column(&column(&[Some(1), Some(2)]), None);
        assert_eq!(keys.first_missing(&column(&[Some(1), Some(1), None, Some(2)])), None);
        assert_eq!(keys.first_missing(&column(&[Some(1), None, Some(3), Some(3)])), Some(2));
        assert_eq!(keys.first_missing(&column(&[])), None);
    }

    /// Ids that differ in a few bits only, of either half, must not pile up.
    #[test]
    fn hashes_of_similar_ids_differ() {
        let hash = |n: u128| FixedState::default().hash_one(n);
        let mut low: Vec<u64> =
            (0..1000).flat_map(|n| [hash(n) & 0xffff, hash(n << 64) & 0xffff]).collect();
        low.sort_unstable();
        low.dedup();
        assert!(low.len() > 1900, "{} of 2000", low.len());
    }
}
