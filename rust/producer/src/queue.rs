//! The batches of one partition in order: which may be sent, and what becomes of each.
//!
//! The order of a partition holds whatever happens. A batch that comes back goes to the front, and
//! nothing behind it is sent before all batches in flight have been answered or lost. Numbered
//! batches (KIP-98) keep their sequence numbers, so that the broker drops those it has already.
//!
//! A batch that the broker finds too large is split; the parts share its sequence numbers, since the
//! broker has taken none of them.

mod batch;
mod clock;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use datagen_core::encode::kafka::{Packed, Producer};
use kafka_protocol::error::ResponseError;
use tokio::time::Instant;

use crate::config::Config;
use crate::delivery::Delivery;
use crate::error::Local;
use batch::Batch;
use clock::DeliveryClock;

/// Numbered batches that a broker remembers of each producer and partition.
const REMEMBERED: usize = 5;

/// How an attempt to send a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    Acknowledged,
    /// The broker has answered with an error.
    Refused(ResponseError),
    /// The connection was lost before the answer, and perhaps before all of the batch was written.
    Lost {
        written: bool,
    },
}

#[derive(Debug)]
pub(crate) struct PartitionQueue {
    config: Arc<Config>,
    waiting: VecDeque<Batch>,
    /// Sent and not answered, the oldest first.
    in_flight: VecDeque<Batch>,
    /// The broker that they were sent to.
    sent_to: i32,
    /// Came back, and wait until no batch is in flight any more.
    returned: Vec<Batch>,
    retry_at: Option<Instant>,
    clock: DeliveryClock,
    /// What numbers the next batch.
    producer: Producer,
    /// The number of a batch that was too large by itself, and how many came back before it: those
    /// behind it move up.
    gap: Option<(Producer, usize)>,
    /// Whether the broker has a numbered batch.
    has_numbered: bool,
    /// Why no batch can be sent any more.
    broken: Option<i32>,
}

/// Whether the broker has refused a batch for its length, so that it has not taken it.
pub(crate) const fn is_too_large(error: ResponseError) -> bool {
    matches!(error, ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge)
}

impl PartitionQueue {
    pub(crate) fn new(config: Arc<Config>, producer: Producer) -> Self {
        Self {
            config,
            waiting: VecDeque::new(),
            in_flight: VecDeque::new(),
            sent_to: -1,
            returned: Vec::new(),
            retry_at: None,
            clock: DeliveryClock::new(Instant::now()),
            producer,
            gap: None,
            has_numbered: false,
            broken: None,
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The broker that has batches to answer.
    pub(crate) fn sent_to(&self) -> Option<i32> {
        (!self.in_flight.is_empty()).then_some(self.sent_to)
    }

    /// How many records the oldest batch in flight has, and its bytes.
    pub(crate) fn oldest_in_flight(&self) -> Option<(usize, &[u8])> {
        self.in_flight.front().map(|batch| (batch.records, &batch.bytes[..]))
    }

    /// Numbers the batches that are sent from here on.
    pub(crate) const fn set_producer(&mut self, producer: Producer) {
        self.producer = producer;
    }

    pub(crate) fn push(&mut self, packed: Packed, now: Instant) -> Option<Delivery> {
        let batch = Batch::new(packed, now);
        if let Some(code) = self.broken {
            return Some(batch.fail(code));
        }
        if self.waiting.is_empty() && self.in_flight.is_empty() && self.returned.is_empty() {
            self.restart_clock(now);
        }
        self.waiting.push_back(batch);
        None
    }

    /// Whether the next batch may be sent to a broker now.
    pub(crate) fn may_send(&self, broker: i32, now: Instant) -> bool {
        // A batch that comes back must not find its successors there already. Brokers see to that
        // for numbered ones, once they have one of them: before, they take any number.
        let most = if self.config.idempotent && self.has_numbered { REMEMBERED } else { 1 };
        !self.waiting.is_empty()
            && (self.producer != Producer::NONE || !self.config.idempotent)
            && self.in_flight.len() < most
            && self.returned.is_empty()
            && self.gap.is_none()
            && (self.in_flight.is_empty() || self.sent_to == broker)
            && self.retry_at.is_none_or(|moment| moment <= now)
    }

    /// When a batch that came back may be sent again.
    pub(crate) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// The bytes of the next batch, which is in flight to `broker` from now on. It is no longer than
    /// `limit`, unless it is a single record, or may have arrived already.
    pub(crate) fn send(&mut self, broker: i32, limit: usize) -> Option<Bytes> {
        while let Some(parts) = self.waiting.front().and_then(|batch| batch.split(limit)) {
            self.waiting.pop_front();
            parts.into_iter().rev().for_each(|part| self.waiting.push_front(part));
        }
        let mut batch = self.waiting.pop_front()?;
        if let Some(moment) = self.retry_at.take() {
            self.clock.count_until(moment);
        }
        if !batch.is_numbered() && self.producer != Producer::NONE {
            batch.number(self.producer);
            self.producer = self.producer.after(batch.records);
        }
        let bytes = batch.bytes.clone();
        self.in_flight.push_back(batch);
        self.sent_to = broker;
        Some(bytes)
    }

    /// Ends the attempt of the oldest batch in flight.
    pub(crate) fn complete(&mut self, attempt: Attempt, now: Instant) -> Option<Delivery> {
        let mut batch = self.in_flight.pop_front()?;
        let delivery = match attempt {
            // A broker that has it twice has acknowledged it before, and that answer got lost.
            Attempt::Acknowledged | Attempt::Refused(ResponseError::DuplicateSequenceNumber) => {
                self.has_numbered |= batch.is_numbered();
                self.restart_clock(now);
                Some(batch.acknowledge())
            }
            // The one before it came back, so the broker misses it too.
            Attempt::Refused(ResponseError::OutOfOrderSequenceNumber)
                if !self.returned.is_empty() || self.gap.is_some() =>
            {
                self.returned.push(batch);
                None
            }
            Attempt::Refused(error) if is_too_large(error) => {
                // The broker answers, and has looked at it.
                self.restart_clock(now);
                self.shorten(batch, error.code().into())
            }
            Attempt::Refused(error) if !error.is_retriable() => {
                Some(self.fail(batch, error.code().into()))
            }
            Attempt::Refused(error) => {
                batch.failures += 1;
                batch.perhaps_arrived |= matches!(
                    error,
                    ResponseError::RequestTimedOut | ResponseError::NotEnoughReplicasAfterAppend
                );
                self.retry(batch, error.code().into(), now)
            }
            Attempt::Lost { written } => {
                batch.failures += u32::from(written);
                batch.perhaps_arrived |= written;
                self.retry(batch, Local::Transport.code(), now)
            }
        };
        if self.in_flight.is_empty() {
            self.put_back();
        }
        delivery
    }

    /// Lets a batch that is too large be split, or gives it up if it cannot be.
    fn shorten(&mut self, mut batch: Batch, code: i32) -> Option<Delivery> {
        if batch.records > 1 && !batch.too_large {
            // It would have been too large before, too.
            (batch.too_large, batch.perhaps_arrived) = (true, false);
            self.returned.push(batch);
            return None;
        }
        if self.gap.is_none() && batch.is_numbered() {
            self.gap = Some((batch.producer, self.returned.len()));
        }
        Some(batch.fail(code))
    }

    /// Lets a batch be sent again, or gives it up if that was the last time.
    fn retry(&mut self, batch: Batch, code: i32, now: Instant) -> Option<Delivery> {
        if batch.failures > self.config.retries {
            return Some(self.fail(batch, code));
        }
        self.retry_at = Some(now + self.config.client.backoff(batch.failures));
        self.returned.push(batch);
        None
    }

    fn fail(&mut self, batch: Batch, code: i32) -> Delivery {
        if self.config.idempotent {
            // Its number is missing for good, and the broker takes no other for it.
            self.broken = Some(code);
        }
        batch.fail(code)
    }

    fn put_back(&mut self) {
        for batch in self.returned.drain(..).rev() {
            self.waiting.push_front(batch);
        }
        if let Some((producer, before)) = self.gap.take() {
            // None of these has been taken, for the broker misses the one before.
            let behind = self.waiting.iter_mut().skip(before);
            behind.for_each(|batch| batch.producer = Producer::NONE);
            self.producer = producer;
        }
    }

    /// Counts the time of all batches anew.
    pub(crate) const fn restart_clock(&mut self, now: Instant) {
        self.clock = DeliveryClock::new(now);
    }

    /// The broker has acknowledged another partition, or has asked for a pause: the time until now was
    /// spent waiting for that. A wait after a refusal counts nevertheless.
    pub(crate) fn excuse(&mut self, now: Instant) {
        if let Some(moment) = self.retry_at {
            self.clock.count_until(moment);
        }
        self.clock.excuse(now);
    }

    /// When the next batch runs out of time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let oldest = [self.waiting.front(), self.in_flight.front(), self.returned.first()];
        oldest.into_iter().flatten().map(|batch| self.deadline_of(batch)).min()
    }

    fn deadline_of(&self, batch: &Batch) -> Instant {
        self.clock.deadline(batch.queued_at, self.config.delivery_timeout)
    }

    /// Gives up batches that wait and whose time is over, or with `code` all that wait.
    pub(crate) fn give_up(&mut self, now: Instant, code: Option<i32>) -> Vec<Delivery> {
        let mut given_up = Vec::new();
        // A batch in flight may still be answered, and come back before those that wait.
        let may_time_out = self.in_flight.is_empty();
        while let Some(batch) = self.waiting.pop_front() {
            let timed_out = may_time_out && self.deadline_of(&batch) <= now;
            let timed_out = timed_out.then_some(Local::MessageTimedOut.code());
            let Some(code) = code.or(self.broken).or(timed_out) else {
                self.waiting.push_front(batch);
                break;
            };
            // A number that was used is missing for good.
            if batch.is_numbered() {
                self.broken.get_or_insert(code);
            }
            given_up.push(batch.fail(code));
        }
        if self.waiting.is_empty() && self.returned.is_empty() {
            self.retry_at = None;
        }
        given_up
    }

    /// Gives up batches in flight too.
    pub(crate) fn abandon(&mut self, code: i32) -> Vec<Delivery> {
        self.in_flight.iter_mut().for_each(|batch| batch.perhaps_arrived = true);
        let mut all: Vec<_> = self.in_flight.drain(..).collect();
        self.put_back();
        all.extend(self.waiting.drain(..));
        all.into_iter().map(|batch| batch.fail(code)).collect()
    }
}

#[cfg(test)]
mod tests;
