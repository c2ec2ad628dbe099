//! The batches of one partition, in line: what may be sent, and what an answer means.
//!
//! The order of a partition holds whatever happens. A batch that comes back goes to the front, and
//! nothing behind it is sent before all that was on its way has been answered or lost. Numbered
//! batches (KIP-98) keep their numbers, so that the broker drops those it has already.
//!
//! The time of a batch runs while its partition gets no acknowledgement, and not while the broker has
//! others to answer or wants to be left alone. A batch that the broker finds too large is split; the
//! parts share its numbers, since the broker has taken none of them.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use datagen_core::encode::kafka::{Packed, Producer, set_producer, split};
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
    /// Bytes that it counts for in the queue: parts share those of the whole.
    counted: usize,
    /// When it was handed over.
    since: Instant,
    /// How often it was sent and came back.
    failures: u32,
    /// Whether it may have arrived although nobody said so.
    unsure: bool,
    /// Its number, if it has one.
    sequence: Option<i32>,
    /// Whether the broker has said that it takes no batch as long as this.
    too_large: bool,
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
    /// From when on the time of the oldest batch is counted.
    since: Instant,
    /// Until when waiting for others has been taken into account.
    excused: Instant,
    /// What numbers the next batch.
    producer: Producer,
    /// The number of a batch that was too large by itself, and how many came back before it: those
    /// behind it move up.
    missing: Option<(i32, usize)>,
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
    /// How long a partition may go without an acknowledgement.
    pub(crate) timeout: Duration,
}

/// Whether the broker has refused a batch for its length, so that it has not taken it.
pub(crate) const fn is_too_large(error: ResponseError) -> bool {
    matches!(error, ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge)
}

impl Line {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            sent_to: -1,
            back: Vec::new(),
            not_before: None,
            since: now,
            excused: now,
            producer: Producer::NONE,
            missing: None,
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

    /// How many records the oldest batch on its way has, and its bytes.
    pub(crate) fn oldest_sent(&self) -> Option<(usize, &[u8])> {
        self.sent.front().map(|batch| (batch.records, &batch.bytes[..]))
    }

    /// Numbers what comes from here on.
    pub(crate) const fn set_producer(&mut self, producer: Producer) {
        self.producer = producer;
    }

    pub(crate) fn push(&mut self, packed: Packed, now: Instant) -> Option<Fate> {
        let batch = Batch {
            records: packed.records,
            counted: packed.bytes.len(),
            bytes: Bytes::from(packed.bytes),
            since: now,
            failures: 0,
            unsure: false,
            sequence: None,
            too_large: false,
        };
        if let Some(code) = self.broken {
            return Some(batch.fail(code));
        }
        if self.waiting.is_empty() && self.sent.is_empty() && self.back.is_empty() {
            self.start_clock(now);
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
            && self.missing.is_none()
            && (self.sent.is_empty() || self.sent_to == broker)
            && self.not_before.is_none_or(|moment| moment <= now)
    }

    /// When a batch that came back may be sent again.
    pub(crate) const fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    /// The bytes of the next batch, which is on its way to `broker` from now on. It is no longer than
    /// `most`, unless that is a single record, or something that may have arrived already.
    pub(crate) fn send(&mut self, broker: i32, most: usize) -> Option<Bytes> {
        while self.split_next(most) {}
        let mut batch = self.waiting.pop_front()?;
        if let Some(moment) = self.not_before.take() {
            // The wait after a refusal counts.
            self.excused = self.excused.max(moment);
        }
        if self.producer != Producer::NONE && batch.sequence.is_none() {
            let mut bytes = Vec::from(std::mem::take(&mut batch.bytes));
            set_producer(&mut bytes, self.producer);
            batch.sequence = Some(self.producer.sequence);
            self.producer = self.producer.after(batch.records);
            batch.bytes = Bytes::from(bytes);
        }
        let bytes = batch.bytes.clone();
        self.sent.push_back(batch);
        self.sent_to = broker;
        Some(bytes)
    }

    /// Splits the next batch if it is longer than `most`, and says whether that may have to be done
    /// again.
    fn split_next(&mut self, most: usize) -> bool {
        let Some(batch) = self.waiting.front() else { return false };
        let (len, most) = (batch.bytes.len(), most.max(1));
        // The broker knows again what it has by its numbers, and those of parts are others.
        let may_be_there = batch.unsure && batch.sequence.is_some() && !batch.too_large;
        if (len <= most && !batch.too_large) || batch.records < 2 || may_be_there {
            return false;
        }
        // Parts are not all of one length.
        let parts = (len + len / 8).div_ceil(most).clamp(2, batch.records);
        let Some(found) = split(&batch.bytes, parts) else { return false };
        let Some(whole) = self.waiting.pop_front() else { return false };
        let (mut counted, mut left) = (whole.counted, found.len());
        let mut producer = Producer { sequence: whole.sequence.unwrap_or(-1), ..self.producer };
        let mut pieces = Vec::with_capacity(left);
        for (records, bytes) in found {
            let share = counted / left;
            (counted, left) = (counted - share, left - 1);
            pieces.push(Batch {
                bytes: Bytes::from(bytes),
                records,
                counted: share,
                since: whole.since,
                failures: whole.failures,
                unsure: whole.unsure,
                sequence: whole.sequence.map(|_| producer.sequence),
                too_large: false,
            });
            producer = producer.after(records);
        }
        for piece in pieces.into_iter().rev() {
            self.waiting.push_front(piece);
        }
        true
    }

    /// Takes the answer for the oldest batch on its way.
    pub(crate) fn answered(
        &mut self,
        answer: &Answer,
        rules: Rules,
        now: Instant,
        wait: impl Fn(u32) -> Duration,
    ) -> Option<Fate> {
        let mut batch = self.sent.pop_front()?;
        let mut too_large = false;
        let fate = match answer {
            // The broker has had it before: what got lost was the acknowledgement.
            Answer::Taken | Answer::Refused(ResponseError::DuplicateSequenceNumber) => {
                let perhaps_twice = batch.unsure && batch.sequence.is_none();
                self.known |= batch.sequence.is_some();
                self.start_clock(now);
                let (records, bytes) = (batch.records, batch.counted);
                Some(Fate::Acknowledged { records, bytes, perhaps_twice })
            }
            // The one before it came back, so the broker misses it too.
            Answer::Refused(ResponseError::OutOfOrderSequenceNumber)
                if !self.back.is_empty() || self.missing.is_some() =>
            {
                self.back.push(batch);
                None
            }
            Answer::Refused(error) if is_too_large(*error) => {
                // The broker is there and has looked at it.
                self.start_clock(now);
                if batch.records > 1 && !batch.too_large {
                    // It would have been too large before, too.
                    (batch.too_large, batch.unsure) = (true, false);
                    self.back.push(batch);
                    None
                } else {
                    too_large = true;
                    if self.missing.is_none() {
                        let before = self.back.len();
                        self.missing = batch.sequence.map(|sequence| (sequence, before));
                    }
                    Some(batch.fail(error.code().into()))
                }
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
            && !too_large
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
            if let Some((sequence, before)) = self.missing.take() {
                // None of these has been taken, for the broker misses the one before.
                self.waiting.iter_mut().skip(before).for_each(|batch| batch.sequence = None);
                self.producer.sequence = sequence;
            }
        }
    }

    /// Counts the time of all batches anew.
    pub(crate) const fn start_clock(&mut self, now: Instant) {
        (self.since, self.excused) = (now, now);
    }

    /// The broker has acknowledged something else, or wants to be left alone: the time until now was
    /// spent waiting for that. A wait after a refusal counts nevertheless.
    pub(crate) fn excuse(&mut self, now: Instant) {
        let from = self.not_before.map_or(self.excused, |moment| moment.max(self.excused));
        if from < now {
            (self.since, self.excused) = (self.since + (now - from), now);
        }
    }

    /// When the next batch runs out of time.
    pub(crate) fn deadline(&self, rules: Rules) -> Option<Instant> {
        let all =
            self.waiting.front().into_iter().chain(self.sent.front()).chain(self.back.first());
        all.map(|batch| batch.since.max(self.since) + rules.timeout).min()
    }

    /// Gives up batches that wait and whose time is over, or with `code` all that wait.
    pub(crate) fn give_up(&mut self, now: Instant, code: Option<i32>, rules: Rules) -> Vec<Fate> {
        let mut fates = Vec::new();
        // What is on its way may still be answered, and come back before those that wait.
        let may_time_out = self.sent.is_empty();
        while let Some(batch) = self.waiting.pop_front() {
            let deadline = batch.since.max(self.since) + rules.timeout;
            let timed_out = may_time_out && deadline <= now;
            let timed_out = timed_out.then_some(Local::MessageTimedOut.code());
            let Some(code) = code.or(self.broken).or(timed_out) else {
                self.waiting.push_front(batch);
                break;
            };
            // A number that was used is missing for good.
            if rules.idempotent && batch.sequence.is_some() {
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
}

impl Batch {
    fn fail(self, code: i32) -> Fate {
        let (records, bytes) = (self.records, self.counted);
        Fate::Failed { records, bytes, code, perhaps_arrived: self.unsure }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datagen_core::encode::Encoded;
    use datagen_core::encode::kafka::{
        BatchBuilder, Codec, Compressor, Limits, Records, Timestamps, first_key,
    };

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);
    const NUMBERED: Rules = Rules { idempotent: true, retries: 3, timeout: TIMEOUT };
    const PLAIN: Rules = Rules { idempotent: false, retries: 3, timeout: TIMEOUT };
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
            assert_eq!(line.push(packed(records), Instant::now()), None);
        }
        line
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    /// How many records the batch has that is sent next, and its number.
    fn send(line: &mut Line) -> (i32, i32) {
        let bytes = line.send(1, usize::MAX).unwrap();
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
        assert!(line.push(packed(1), Instant::now()).is_some());
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
        let old = ResponseError::InvalidTimestamp;
        let fate = answer(&mut line, &Answer::Refused(old), PLAIN);
        assert_eq!(failed(fate), (1, old.code().into(), false));
        assert_eq!(send(&mut line).0, 2);
    }

    fn at(began: Instant, seconds: u64) -> Instant {
        began + Duration::from_secs(seconds)
    }

    /// How many batches have run out of time by then.
    fn given_up(line: &mut Line, now: Instant) -> usize {
        line.give_up(now, None, PLAIN).len()
    }

    fn acknowledge(line: &mut Line, now: Instant) {
        let fate = line.answered(&Answer::Taken, PLAIN, now, |_| Duration::from_secs(1));
        assert!(matches!(fate, Some(Fate::Acknowledged { .. })));
    }

    #[test]
    fn time_runs_out_for_those_that_wait() {
        let began = Instant::now();
        let mut line = Line::new();
        line.push(packed(1), began);
        line.push(packed(2), at(began, 50));
        assert_eq!(line.deadline(PLAIN), Some(at(began, 60)));
        assert_eq!(given_up(&mut line, at(began, 59)), 0);
        // The second has its own time, as long as it is not the first's that it waits for.
        assert_eq!(given_up(&mut line, at(began, 60)), 1);
        line.start_clock(at(began, 100));
        assert_eq!(given_up(&mut line, at(began, 159)), 0);
        assert_eq!(given_up(&mut line, at(began, 160)), 1);
        assert_eq!(line.deadline(PLAIN), None);
    }

    #[test]
    fn a_line_that_moves_on_does_not_run_out_of_time() {
        let began = Instant::now();
        let mut line = Line::new();
        for _ in 0..10 {
            line.push(packed(1), began);
        }
        // Each takes most of the time that there is.
        for batch in 1..=9 {
            line.send(1, usize::MAX).unwrap();
            acknowledge(&mut line, at(began, batch * 50));
            assert_eq!(given_up(&mut line, at(began, batch * 50 + 10)), 0);
        }
        assert_eq!(given_up(&mut line, at(began, 9 * 50 + 59)), 0);
        assert_eq!(given_up(&mut line, at(began, 9 * 50 + 60)), 1);
    }

    #[test]
    fn waiting_for_other_partitions_of_the_broker_does_not_count() {
        let began = Instant::now();
        let mut line = Line::new();
        line.push(packed(1), began);
        for turn in 1..=10 {
            line.excuse(at(began, turn * 50));
            assert_eq!(given_up(&mut line, at(began, turn * 50 + 59)), 0);
        }
        // Nor does it once it is on its way behind others.
        line.send(1, usize::MAX).unwrap();
        line.excuse(at(began, 800));
        assert_eq!(line.deadline(PLAIN), Some(at(began, 860)));
    }

    #[test]
    fn refusals_run_out_of_time_whatever_happens_to_others() {
        let began = Instant::now();
        let mut line = Line::new();
        let rules = Rules { retries: u32::MAX, ..PLAIN };
        line.push(packed(1), began);
        let refused = Answer::Refused(ResponseError::NotEnoughReplicas);
        let mut now = began;
        for turn in 1.. {
            assert!(turn < 100, "it would go on for ever");
            line.send(1, usize::MAX).unwrap();
            line.answered(&refused, rules, now, |_| Duration::from_secs(1));
            // Others are acknowledged all the time.
            line.excuse(now + Duration::from_millis(500));
            now += Duration::from_millis(1_001);
            line.excuse(now);
            if given_up(&mut line, now) == 1 {
                assert!(turn >= 60, "only {turn}");
                break;
            }
        }
    }

    /// A batch of so many records with different keys, too long for less than a hundred bytes each.
    fn long(records: usize) -> Packed {
        let rows: Vec<String> = (0..records).map(|row| format!("{row:0100}")).collect();
        let offsets = (0..=records as i64).map(|row| row * 100).collect();
        let column = Encoded { bytes: rows.concat().into_bytes(), offsets };
        let all = Records::new(&column, &column, &[], Timestamps::Same(0));
        let mut builder = BatchBuilder::new(Limits::default());
        let rows: Vec<u32> = (0..records as u32).collect();
        assert_eq!(builder.append(&all, &rows), records);
        let mut bytes = Vec::new();
        builder.finish(&mut Compressor::new(Codec::None), &mut bytes);
        Packed { partition: 0, records, bytes }
    }

    /// A broker that takes no batch above `most` bytes, and of numbered ones only the next.
    struct Strict {
        most: usize,
        numbered: bool,
        next: i32,
        taken: Vec<Vec<u8>>,
    }

    impl Strict {
        fn take(&mut self, bytes: &[u8]) -> Answer {
            let number = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            let (count, sequence) = (number(57), number(53));
            if bytes.len() > self.most {
                return Answer::Refused(ResponseError::MessageTooLarge);
            }
            if self.numbered && sequence != self.next {
                return Answer::Refused(ResponseError::OutOfOrderSequenceNumber);
            }
            self.next += count;
            let parts = split(bytes, count as usize);
            let parts = parts.unwrap_or_else(|| vec![(1, bytes.to_vec())]);
            self.taken.extend(parts.iter().map(|(_, bytes)| first_key(bytes).unwrap().0));
            Answer::Taken
        }

        /// Sends until nothing is left, as many as may be at a time, and learns the limit as it goes.
        fn serve(&mut self, line: &mut Line, rules: Rules, mut most: usize) -> Vec<Fate> {
            let (mut fates, mut now) = (Vec::new(), Instant::now());
            for _ in 0..10_000 {
                let mut on_their_way = Vec::new();
                while line.may_send(1, rules, now) {
                    on_their_way.push(line.send(1, most).unwrap());
                }
                if on_their_way.is_empty() {
                    assert!(!line.is_waiting());
                    return fates;
                }
                for bytes in on_their_way {
                    let answer = self.take(&bytes);
                    if let (Answer::Refused(error), Some((records, sent))) =
                        (&answer, line.oldest_sent())
                        && is_too_large(*error)
                        && records > 1
                    {
                        most = most.min(sent.len() / 2);
                    }
                    fates.extend(line.answered(&answer, rules, now, |_| Duration::ZERO));
                }
                now += Duration::from_secs(1);
            }
            panic!("it would go on for ever");
        }
    }

    #[test]
    fn a_batch_that_is_too_large_is_split_and_keeps_order_and_numbers() {
        for rules in [PLAIN, NUMBERED] {
            // Known from the first refusal on, or beforehand, or never.
            for most in [usize::MAX, 1_000] {
                let mut line = line(0, rules);
                let sizes = [1, 100, 3, 250, 2, 1, 40];
                let mut expected = Vec::new();
                for size in sizes {
                    line.push(long(size), Instant::now());
                    expected.extend((0..size).map(|row| format!("{row:0100}").into_bytes()));
                }
                let numbered = rules.idempotent;
                let mut broker = Strict { most: 1_000, numbered, next: 0, taken: Vec::new() };
                let fates = broker.serve(&mut line, rules, most);
                assert!(broker.taken == expected, "{} of {}", broker.taken.len(), expected.len());
                let (mut records, mut counted) = (0, 0);
                for fate in fates {
                    let Fate::Acknowledged { records: some, bytes, perhaps_twice } = fate else {
                        panic!("{fate:?}")
                    };
                    assert!(!perhaps_twice);
                    (records, counted) = (records + some, counted + bytes);
                }
                assert_eq!(records, expected.len());
                // Whatever the parts come to, what was counted in is counted out.
                let before: usize = sizes.iter().map(|size| long(*size).bytes.len()).sum();
                assert_eq!(counted, before);
            }
        }
    }

    #[test]
    fn only_a_record_that_is_too_large_alone_fails() {
        for rules in [PLAIN, NUMBERED] {
            let mut line = line(0, rules);
            for size in [1, 2, 1, 3] {
                line.push(long(size), Instant::now());
            }
            let large = long(1).bytes.len();
            // Longer by a record of three hundred bytes.
            let column = Encoded { bytes: vec![b'x'; 300], offsets: vec![0, 300] };
            let all = Records::new(&column, &column, &[], Timestamps::Same(0));
            let mut builder = BatchBuilder::new(Limits::default());
            builder.append(&all, &[0]);
            let mut bytes = Vec::new();
            builder.finish(&mut Compressor::new(Codec::None), &mut bytes);
            line.push(Packed { partition: 0, records: 1, bytes }, Instant::now());
            for size in [2, 1] {
                line.push(long(size), Instant::now());
            }
            let numbered = rules.idempotent;
            let mut broker = Strict { most: large, numbered, next: 0, taken: Vec::new() };
            let fates = broker.serve(&mut line, rules, usize::MAX);
            assert_eq!(broker.taken.len(), 10);
            let lost: Vec<_> =
                fates.into_iter().filter(|fate| matches!(fate, Fate::Failed { .. })).collect();
            assert_eq!(lost.len(), 1);
            let code = ResponseError::MessageTooLarge.code().into();
            assert_eq!(failed(lost.into_iter().next()), (1, code, false));
        }
    }

    #[test]
    fn what_may_have_arrived_is_not_split() {
        let mut line = line(0, NUMBERED);
        line.push(long(100), Instant::now());
        let whole = line.send(1, usize::MAX).unwrap();
        answer(&mut line, &LOST, NUMBERED);
        // Another partition has learned meanwhile that this is too long.
        assert_eq!(line.send(1, 1_000).unwrap(), whole);
        // But if the broker says so of this one, it is not there.
        answer(&mut line, &Answer::Refused(ResponseError::MessageTooLarge), NUMBERED);
        assert!(line.send(1, 1_000).unwrap().len() <= 1_000);
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
