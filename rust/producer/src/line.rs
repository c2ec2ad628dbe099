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
        if let Some(code) = self.broken {
            return Some(batch.fail(code));
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
            Answer::Refused(error) if !error.is_retriable() => {
                Some(batch.fail(error.code().into()))
            }
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
        if rules.idempotent
            && let Some(Fate::Failed { code, .. }) = fate
        {
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
        let all =
            self.waiting.front().into_iter().chain(self.sent.front()).chain(self.back.first());
        all.map(|batch| batch.deadline).min()
    }

    /// Gives up batches that wait and whose time is over, or with `code` all that wait.
    pub(crate) fn give_up(&mut self, now: Instant, code: Option<i32>, rules: Rules) -> Vec<Fate> {
        let mut fates = Vec::new();
        // What is on its way may still be answered, and come back before those that wait.
        let may_time_out = self.sent.is_empty();
        while let Some(batch) = self.waiting.pop_front() {
            let timed_out = may_time_out && batch.deadline <= now;
            let timed_out = timed_out.then_some(Local::MessageTimedOut.code());
            let Some(code) = code.or(self.broken).or(timed_out) else {
                self.waiting.push_front(batch);
                break;
            };
            // A number that was used is missing for good.
            if rules.idempotent && batch.numbered {
                self.broken.get_or_insert(code);
            }
            fates.push(batch.fail(code));
        }
        if self.waiting.is_empty() {
            self.not_before = None;
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datagen_core::encode::Encoded;
    use datagen_core::encode::kafka::{
        BatchBuilder, Codec, Compressor, Limits, Records, Timestamps,
    };

    use super::*;

    const NUMBERED: Rules = Rules { idempotent: true, retries: 3 };
    const PLAIN: Rules = Rules { idempotent: false, retries: 3 };
    const LOST: Answer = Answer::Lost { written: true };
    const TRANSPORT: i32 = Local::Transport.code();

    fn packed(records: usize) -> Packed {
        let column =
            Encoded { bytes: vec![b'x'; records], offsets: (0..=records as i64).collect() };
        let all = Records::new(&column, &column, &[], Timestamps::Same(0));
        let mut builder = BatchBuilder::new(Limits::default());
        let rows: Vec<u32> = (0..records as u32).collect();
        assert_eq!(builder.append(&all, &rows), records);
        let mut bytes = Vec::new();
        builder.finish(&mut Compressor::new(Codec::None), &mut bytes);
        Packed { partition: 0, records, bytes }
    }

    /// A line with batches of 1, 2, 3, … records.
    fn line(batches: usize, rules: Rules) -> Line {
        let mut line = Line::new();
        if rules.idempotent {
            line.set_producer(Producer { id: 7, epoch: 0, sequence: 0 });
        }
        for records in 1..=batches {
            assert_eq!(line.push(packed(records), soon()), None);
        }
        line
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    /// How many records the batch has that is sent next, and its number.
    fn send(line: &mut Line) -> (i32, i32) {
        let bytes = line.send(1).unwrap();
        let number = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        (number(57), number(53))
    }

    fn answer(line: &mut Line, answer: &Answer, rules: Rules) -> Option<Fate> {
        line.answered(answer, rules, Instant::now(), |_| Duration::from_secs(1))
    }

    fn acknowledged(fate: Option<Fate>) -> (usize, bool) {
        match fate {
            Some(Fate::Acknowledged { records, perhaps_twice, .. }) => (records, perhaps_twice),
            other => panic!("{other:?}"),
        }
    }

    fn failed(fate: Option<Fate>) -> (usize, i32, bool) {
        match fate {
            Some(Fate::Failed { records, code, perhaps_arrived, .. }) => {
                (records, code, perhaps_arrived)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn without_numbers_one_batch_is_on_its_way() {
        let mut line = line(2, PLAIN);
        assert!(line.may_send(1, PLAIN, later()));
        assert_eq!(send(&mut line), (1, -1));
        assert!(!line.may_send(1, PLAIN, later()));
        assert_eq!(acknowledged(answer(&mut line, &Answer::Taken, PLAIN)), (1, false));
        assert!(line.may_send(1, PLAIN, later()));
    }

    #[test]
    fn a_batch_that_comes_back_is_sent_before_those_behind_it_and_after_a_wait() {
        let mut line = line(2, PLAIN);
        send(&mut line);
        assert_eq!(answer(&mut line, &LOST, PLAIN), None);
        assert!(!line.may_send(1, PLAIN, Instant::now()));
        assert!(line.may_send(2, PLAIN, later()));
        assert_eq!(send(&mut line).0, 1);
        assert_eq!(acknowledged(answer(&mut line, &Answer::Taken, PLAIN)), (1, true));
        assert_eq!(send(&mut line).0, 2);
        assert_eq!(acknowledged(answer(&mut line, &Answer::Taken, PLAIN)), (2, false));
    }

    #[test]
    fn a_batch_that_was_not_written_is_neither_doubtful_nor_counted_as_a_try() {
        let mut line = line(1, PLAIN);
        for _ in 0..10 {
            send(&mut line);
            assert_eq!(answer(&mut line, &Answer::Lost { written: false }, PLAIN), None);
        }
        send(&mut line);
        assert_eq!(acknowledged(answer(&mut line, &Answer::Taken, PLAIN)), (1, false));
    }

    #[test]
    fn the_first_number_goes_alone_and_then_five() {
        let mut line = line(8, NUMBERED);
        assert_eq!(send(&mut line), (1, 0));
        assert!(!line.may_send(1, NUMBERED, later()));
        answer(&mut line, &Answer::Taken, NUMBERED);
        let mut numbers = Vec::new();
        while line.may_send(1, NUMBERED, later()) {
            numbers.push(send(&mut line));
        }
        assert_eq!(numbers, [(2, 1), (3, 3), (4, 6), (5, 10), (6, 15)]);
        // Another broker would take them in any order.
        answer(&mut line, &Answer::Taken, NUMBERED);
        assert!(line.may_send(1, NUMBERED, later()) && !line.may_send(2, NUMBERED, later()));
    }

    #[test]
    fn numbered_batches_come_back_in_order_and_keep_their_numbers() {
        let mut line = line(4, NUMBERED);
        send(&mut line);
        answer(&mut line, &Answer::Taken, NUMBERED);
        let before: Vec<_> = (0..3).map(|_| send(&mut line)).collect();
        let refused = Answer::Refused(ResponseError::NotEnoughReplicas);
        let gap = Answer::Refused(ResponseError::OutOfOrderSequenceNumber);
        assert_eq!(answer(&mut line, &refused, NUMBERED), None);
        assert!(!line.may_send(1, NUMBERED, later()));
        assert_eq!(answer(&mut line, &gap, NUMBERED), None);
        assert_eq!(answer(&mut line, &LOST, NUMBERED), None);
        let after: Vec<_> = (0..3).map(|_| send(&mut line)).collect();
        assert_eq!(after, before);
        let double = Answer::Refused(ResponseError::DuplicateSequenceNumber);
        assert_eq!(acknowledged(answer(&mut line, &double, NUMBERED)), (2, false));
    }

    #[test]
    fn a_gap_that_nothing_explains_breaks_the_line() {
        let mut line = line(3, NUMBERED);
        send(&mut line);
        let gap = ResponseError::OutOfOrderSequenceNumber;
        let fate = answer(&mut line, &Answer::Refused(gap), NUMBERED);
        assert_eq!(failed(fate), (1, gap.code().into(), false));
        let rest = line.give_up(Instant::now(), None, NUMBERED);
        assert_eq!(rest.len(), 2);
        assert!(line.push(packed(1), soon()).is_some());
    }

    #[test]
    fn retries_end() {
        let mut line = line(1, PLAIN);
        for _ in 0..3 {
            send(&mut line);
            assert_eq!(answer(&mut line, &LOST, PLAIN), None);
        }
        send(&mut line);
        assert_eq!(failed(answer(&mut line, &LOST, PLAIN)), (1, TRANSPORT, true));
    }

    #[test]
    fn what_the_broker_refuses_for_good_fails_alone_without_numbers() {
        let mut line = line(2, PLAIN);
        send(&mut line);
        let large = ResponseError::MessageTooLarge;
        let fate = answer(&mut line, &Answer::Refused(large), PLAIN);
        assert_eq!(failed(fate), (1, large.code().into(), false));
        assert_eq!(send(&mut line).0, 2);
    }

    #[test]
    fn time_runs_out_for_those_that_wait() {
        let mut line = line(1, PLAIN);
        line.push(packed(2), Instant::now() + Duration::from_secs(3_600));
        assert!(line.give_up(later(), None, PLAIN).is_empty());
        let fates = line.give_up(Instant::now() + Duration::from_secs(61), None, PLAIN);
        assert_eq!(fates.len(), 1);
        line.set_deadlines(Instant::now());
        assert_eq!(line.give_up(later(), None, PLAIN).len(), 1);
        assert_eq!(line.deadline(), None);
    }

    #[test]
    fn what_is_given_up_on_its_way_may_have_arrived() {
        let mut line = line(2, PLAIN);
        send(&mut line);
        let queued = Local::PurgedInQueue.code();
        let fates = line.give_up(Instant::now(), Some(queued), PLAIN);
        assert_eq!(
            fates.into_iter().map(|f| failed(Some(f))).collect::<Vec<_>>(),
            [(2, queued, false)]
        );
        let fates = line.abandon(Local::PurgedInFlight.code());
        assert_eq!(fates.len(), 1);
        assert!(failed(fates.into_iter().next()).2);
    }
}
