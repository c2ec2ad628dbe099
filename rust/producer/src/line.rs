//! The batches of one partition, in line: what may be sent, and what an answer means.
//!
//! The order of a partition holds whatever happens. A batch that comes back goes to the front, and
//! nothing behind it is sent before all that was on its way has been answered or lost. Numbered
//! batches (KIP-98) keep their numbers, so that the broker drops those it has already.

use std::collections::VecDeque;

use bytes::Bytes;
use datagen_core::encode::kafka::{Packed, Producer, set_producer};
use kafka_protocol::error::ResponseError;
use tokio::time::Instant;

use crate::error::Local;

/// Numbered batches that a broker remembers of each producer and partition.
const REMEMBERED: usize = 5;

/// A batch, from being handed over to its end.
#[derive(Debug)]
struct Batch {
    bytes: Bytes,
    records: usize,
    deadline: Instant,
    /// How often it was sent and came back.
    failures: u32,
    /// Whether it may have arrived although nobody said so.
    unsure: bool,
    numbered: bool,
}

/// What became of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The broker has it; perhaps twice.
    Acknowledged { records: usize, bytes: usize, perhaps_twice: bool },
    /// It was given up; perhaps it has arrived nevertheless.
    Failed { records: usize, bytes: usize, code: i32, perhaps_arrived: bool },
}

/// How a batch that was sent came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Acknowledged.
    Taken,
    /// The broker's error.
    Refused(ResponseError),
    /// The connection was lost before the answer, and perhaps before all of it was written.
    Lost { written: bool },
}

#[derive(Debug)]
pub(crate) struct Line {
    waiting: VecDeque<Batch>,
    /// On their way, the oldest first.
    sent: VecDeque<Batch>,
    /// The broker that they are on their way to.
    sent_to: i32,
    /// Came back, and wait until nothing is on its way any more.
    back: Vec<Batch>,
    not_before: Option<Instant>,
    /// What numbers the next batch.
    producer: Producer,
    /// Whether the broker has a numbered batch.
    known: bool,
    /// Why nothing can be sent any more.
    broken: Option<i32>,
}

/// What a line has to know of its producer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) idempotent: bool,
    pub(crate) retries: u32,
}

impl Line {
    pub(crate) const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            sent_to: -1,
            back: Vec::new(),
            not_before: None,
            producer: Producer::NONE,
            known: false,
            broken: None,
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Where batches are on their way to.
    pub(crate) fn sent_to(&self) -> Option<i32> {
        (!self.sent.is_empty()).then_some(self.sent_to)
    }

    /// Numbers what comes from here on.
    pub(crate) const fn set_producer(&mut self, producer: Producer) {
        self.producer = producer;
    }

    pub(crate) fn push(&mut self, packed: Packed, deadline: Instant) -> Option<Fate> {
        let batch = Batch {
            records: packed.records,
            bytes: Bytes::from(packed.bytes),
            deadline,
            failures: 0,
            unsure: false,
            numbered: false,
        };
        if self.broken.is_some() {
            return Some(batch.fail(Local::PurgedInQueue.code()));
        }
        self.waiting.push_back(batch);
        None
    }

    /// Whether the next batch may be sent to a broker now.
    pub(crate) fn may_send(&self, broker: i32, rules: Rules, now: Instant) -> bool {
        // A batch that comes back must not find its successors there already. Brokers see to that
        // for numbered ones, once they have one of them: before, they take any number.
        let most = if rules.idempotent && self.known { REMEMBERED } else { 1 };
        !self.waiting.is_empty()
            && self.sent.len() < most
            && self.back.is_empty()
            && (self.sent.is_empty() || self.sent_to == broker)
            && self.not_before.is_none_or(|moment| moment <= now)
    }

    /// When a batch that came back may be sent again.
    pub(crate) const fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// The bytes of the next batch, which is on its way to `broker` from now on.
    pub(crate) fn send(&mut self, broker: i32) -> Option<Bytes> {
        let mut batch = self.waiting.pop_front()?;
        self.not_before = None;
        if self.producer != Producer::NONE && !batch.numbered {
            let mut bytes = Vec::from(std::mem::take(&mut batch.bytes));
            set_producer(&mut bytes, self.producer);
            self.producer = self.producer.after(batch.records);
            (batch.bytes, batch.numbered) = (Bytes::from(bytes), true);
        }
        let bytes = batch.bytes.clone();
        self.sent.push_back(batch);
        self.sent_to = broker;
        Some(bytes)
    }

    /// Takes the answer for the oldest batch on its way.
    pub(crate) fn answered(
        &mut self,
        answer: &Answer,
        rules: Rules,
        now: Instant,
        wait: impl Fn(u32) -> std::time::Duration,
    ) -> Option<Fate> {
        let mut batch = self.sent.pop_front()?;
        let fate = match answer {
            // The broker has had it before: what got lost was the acknowledgement.
            Answer::Taken | Answer::Refused(ResponseError::DuplicateSequenceNumber) => {
                let perhaps_twice = batch.unsure && !batch.numbered;
                self.known |= batch.numbered;
                let (records, bytes) = (batch.records, batch.bytes.len());
                Some(Fate::Acknowledged { records, bytes, perhaps_twice })
            }
            // The one before it came back, so the broker misses it too.
            Answer::Refused(ResponseError::OutOfOrderSequenceNumber) if !self.back.is_empty() => {
                self.back.push(batch);
                None
            }
            Answer::Refused(error) if !error.is_retriable() => Some(batch.fail(error.code().into())),
            Answer::Refused(_) | Answer::Lost { .. } => {
                batch.unsure |= matches!(
                    answer,
                    Answer::Lost { written: true }
                        | Answer::Refused(
                            ResponseError::RequestTimedOut
                                | ResponseError::NotEnoughReplicasAfterAppend
                        )
                );
                batch.failures += u32::from(*answer != Answer::Lost { written: false });
                if batch.failures > rules.retries {
                    let code = match answer {
                        Answer::Refused(error) => error.code().into(),
                        _ => Local::Transport.code(),
                    };
                    Some(batch.fail(code))
                } else {
                    self.not_before = Some(now + wait(batch.failures.max(1)));
                    self.back.push(batch);
                    None
                }
            }
        };
        if rules.idempotent && let Some(Fate::Failed { code, .. }) = fate {
            // Its number is missing for good, and the broker takes no other in its place.
            self.broken = Some(code);
        }
        self.put_back();
        fate
    }

    /// What came back goes to the front once nothing is on its way.
    fn put_back(&mut self) {
        if self.sent.is_empty() {
            for batch in self.back.drain(..).rev() {
                self.waiting.push_front(batch);
            }
        }
    }

    /// When the next batch runs out of time.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let all = self.waiting.front().into_iter().chain(self.sent.front()).chain(self.back.first());
        all.map(|batch| batch.deadline).min()
    }

    /// Gives up batches that wait and whose time is over, or with `code` all that wait.
    pub(crate) fn give_up(&mut self, now: Instant, code: Option<i32>, rules: Rules) -> Vec<Fate> {
        let mut fates = Vec::new();
        let timed_out = Local::MessageTimedOut.code();
        if self.sent.is_empty() {
            while let Some(batch) = self.waiting.pop_front() {
                if code.is_none() && self.broken.is_none() && batch.deadline > now {
                    self.waiting.push_front(batch);
                    break;
                }
                // A number that was used is missing for good.
                if rules.idempotent && batch.numbered {
                    self.broken = Some(code.unwrap_or(timed_out));
                }
                fates.push(batch.fail(code.unwrap_or(timed_out)));
            }
        } else if code.is_some() || self.broken.is_some() {
            // What is on its way may still be answered.
            fates.extend(self.waiting.drain(..).map(|b| b.fail(code.unwrap_or(timed_out))));
        }
        fates
    }

    /// Gives up what is on its way too.
    pub(crate) fn abandon(&mut self, code: i32) -> Vec<Fate> {
        let sent = std::mem::take(&mut self.sent);
        let all = sent.into_iter().map(|mut batch| {
            batch.unsure = true;
            batch
        });
        let all = all.chain(self.back.drain(..)).chain(self.waiting.drain(..));
        all.map(|batch| batch.fail(code)).collect()
    }

    /// Starts the clock of all that wait anew.
    pub(crate) fn set_deadlines(&mut self, deadline: Instant) {
        for batch in &mut self.waiting {
            batch.deadline = deadline;
        }
    }
}

impl Batch {
    fn fail(self, code: i32) -> Fate {
        let (records, bytes) = (self.records, self.bytes.len());
        Fate::Failed { records, bytes, code, perhaps_arrived: self.unsure }
    }
}
