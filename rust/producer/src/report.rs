//! What became of the records, by topic and partition.

use std::collections::BTreeMap;

/// The records of one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Handed over.
    pub attempted: u64,
    /// Acknowledged.
    pub acknowledged: u64,
    /// Acknowledged, but sent twice since the first answer got lost, and not numbered.
    pub perhaps_twice: u64,
    /// Given up, by the number of the error.
    pub failed: BTreeMap<i32, u64>,
    /// Given up, but sent before, so that they may have arrived.
    pub perhaps_arrived: u64,
}
