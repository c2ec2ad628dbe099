//! How deliveries ended: of each batch, and counted by topic and partition.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicPartition {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
}

/// A batch whose outcome is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) records: usize,
    /// What the batch took of the queue's capacity.
    pub(crate) bytes: usize,
    pub(crate) outcome: DeliveryOutcome,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DeliveryOutcome {
    /// The broker has the batch, perhaps twice.
    Acknowledged { perhaps_twice: bool },
    /// The batch was given up, and perhaps the broker has it nevertheless.
    Failed { code: i32, perhaps_arrived: bool },
}

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

impl Tally {
    pub(crate) fn add(&mut self, delivery: &Delivery) {
        let records = delivery.records as u64;
        match delivery.outcome {
            DeliveryOutcome::Acknowledged { perhaps_twice } => {
                self.acknowledged += records;
                self.perhaps_twice += if perhaps_twice { records } else { 0 };
            }
            DeliveryOutcome::Failed { code, perhaps_arrived } => {
                *self.failed.entry(code).or_default() += records;
                self.perhaps_arrived += if perhaps_arrived { records } else { 0 };
            }
        }
    }
}
