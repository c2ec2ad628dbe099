//! One batch, from being handed over to its outcome.

use bytes::Bytes;
use datagen_core::encode::kafka::{Packed, Producer, set_producer, split};
use tokio::time::Instant;

use crate::delivery::{Delivery, DeliveryOutcome};

#[derive(Debug)]
pub(super) struct Batch {
    pub(super) bytes: Bytes,
    pub(super) records: usize,
    /// Bytes that it takes of the queue's capacity: parts share those of the whole.
    charged: usize,
    pub(super) queued_at: Instant,
    /// How often it was sent in vain.
    pub(super) failures: u32,
    /// Whether it may have arrived although no broker has acknowledged it.
    pub(super) perhaps_arrived: bool,
    /// Its sequence number, if it has one.
    pub(super) producer: Producer,
    /// Whether the broker has refused it for its length, so that it has not arrived.
    pub(super) too_large: bool,
}

impl Batch {
    pub(super) fn new(packed: Packed, now: Instant) -> Self {
        Self {
            records: packed.records,
            charged: packed.bytes.len(),
            bytes: Bytes::from(packed.bytes),
            queued_at: now,
            failures: 0,
            perhaps_arrived: false,
            producer: Producer::NONE,
            too_large: false,
        }
    }

    pub(super) fn is_numbered(&self) -> bool {
        self.producer != Producer::NONE
    }

    /// Writes a sequence number into the batch.
    pub(super) fn number(&mut self, producer: Producer) {
        let mut bytes = Vec::from(std::mem::take(&mut self.bytes));
        set_producer(&mut bytes, producer);
        (self.bytes, self.producer) = (Bytes::from(bytes), producer);
    }

    /// Its parts in order, if it is longer than `limit` and may be split. They may be too long still.
    pub(super) fn split(&self, limit: usize) -> Option<Vec<Self>> {
        let (len, limit) = (self.bytes.len(), limit.max(1));
        // A broker that has the batch knows it by its sequence number, and those of parts differ.
        let keeps_number = self.perhaps_arrived && self.is_numbered() && !self.too_large;
        if (len <= limit && !self.too_large) || self.records < 2 || keeps_number {
            return None;
        }
        // Parts are not all of one length.
        let parts = split(&self.bytes, (len + len / 8).div_ceil(limit).clamp(2, self.records))?;
        let (mut charged, mut left, mut producer) = (self.charged, parts.len(), self.producer);
        let part = |(records, bytes)| {
            let share = charged / left;
            (charged, left) = (charged - share, left - 1);
            let part = Self {
                bytes: Bytes::from(bytes),
                records,
                charged: share,
                producer,
                too_large: false,
                ..*self
            };
            producer = producer.after(records);
            part
        };
        Some(parts.into_iter().map(part).collect())
    }

    pub(super) fn acknowledge(self) -> Delivery {
        let perhaps_twice = self.perhaps_arrived && !self.is_numbered();
        self.end(DeliveryOutcome::Acknowledged { perhaps_twice })
    }

    pub(super) fn fail(self, code: i32) -> Delivery {
        let perhaps_arrived = self.perhaps_arrived;
        self.end(DeliveryOutcome::Failed { code, perhaps_arrived })
    }

    fn end(self, outcome: DeliveryOutcome) -> Delivery {
        Delivery { records: self.records, bytes: self.charged, outcome }
    }
}
