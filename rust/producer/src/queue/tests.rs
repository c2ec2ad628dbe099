//! The queue of a partition by itself, beside brokers that answer at once.

use std::time::Duration;

use datagen_core::encode::Encoded;
use datagen_core::encode::kafka::{
    BatchBuilder, Codec, Compressor, Limits, Records, Timestamps, first_key, split,
};

use super::*;
use crate::config::Client;
use crate::delivery::DeliveryOutcome;

const LOST: Attempt = Attempt::Lost { written: true };
const TRANSPORT: i32 = Local::Transport.code();

fn config(idempotent: bool) -> Config {
    let second = Duration::from_secs(1);
    Config {
        idempotent,
        retries: 3,
        client: Client { retry_backoff: (second, second), ..crate::tests::client() },
        delivery_timeout: 60 * second,
        ..crate::tests::config()
    }
}

fn empty(config: Config) -> PartitionQueue {
    let numbered = Producer { id: 7, epoch: 0, sequence: 0 };
    let producer = if config.idempotent { numbered } else { Producer::NONE };
    PartitionQueue::new(Arc::new(config), producer)
}

fn packed(records: usize) -> Packed {
    let column = Encoded { bytes: vec![b'x'; records], offsets: (0..=records as i64).collect() };
    let all = Records::new(&column, &column, &[], Timestamps::Same(0));
    let mut builder = BatchBuilder::new(Limits::default());
    let rows: Vec<u32> = (0..records as u32).collect();
    assert_eq!(builder.append(&all, &rows), records);
    let mut bytes = Vec::new();
    builder.finish(&mut Compressor::new(Codec::None), &mut bytes);
    Packed { partition: 0, records, bytes }
}

/// A queue with batches of 1, 2, 3, … records.
fn filled(batches: usize, idempotent: bool) -> PartitionQueue {
    let mut queue = empty(config(idempotent));
    for records in 1..=batches {
        assert_eq!(queue.push(packed(records), Instant::now()), None);
    }
    queue
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

/// How many records the batch has that is sent next, and its number.
fn send(queue: &mut PartitionQueue) -> (i32, i32) {
    let bytes = queue.send(1, usize::MAX).unwrap();
    let number = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (number(57), number(53))
}

fn complete(queue: &mut PartitionQueue, attempt: Attempt) -> Option<Delivery> {
    queue.complete(attempt, Instant::now())
}

fn acknowledged(delivery: Option<Delivery>) -> (usize, bool) {
    match delivery {
        Some(Delivery {
            records,
            outcome: DeliveryOutcome::Acknowledged { perhaps_twice },
            ..
        }) => (records, perhaps_twice),
        other => panic!("{other:?}"),
    }
}

fn failed(delivery: Option<Delivery>) -> (usize, i32, bool) {
    match delivery {
        Some(Delivery {
            records,
            outcome: DeliveryOutcome::Failed { code, perhaps_arrived },
            ..
        }) => (records, code, perhaps_arrived),
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_numbers_one_batch_is_in_flight() {
    let mut queue = filled(2, false);
    assert!(queue.may_send(1, later()));
    assert_eq!(send(&mut queue), (1, -1));
    assert!(!queue.may_send(1, later()));
    assert_eq!(acknowledged(complete(&mut queue, Attempt::Acknowledged)), (1, false));
    assert!(queue.may_send(1, later()));
}

#[test]
fn a_batch_that_comes_back_is_sent_before_those_behind_it_and_after_a_wait() {
    let mut queue = filled(2, false);
    send(&mut queue);
    assert_eq!(complete(&mut queue, LOST), None);
    assert!(!queue.may_send(1, Instant::now()));
    assert!(queue.may_send(2, later()));
    assert_eq!(send(&mut queue).0, 1);
    assert_eq!(acknowledged(complete(&mut queue, Attempt::Acknowledged)), (1, true));
    assert_eq!(send(&mut queue).0, 2);
    assert_eq!(acknowledged(complete(&mut queue, Attempt::Acknowledged)), (2, false));
}

#[test]
fn a_batch_that_was_not_written_is_neither_doubtful_nor_counted_as_a_try() {
    let mut queue = filled(1, false);
    for _ in 0..10 {
        send(&mut queue);
        assert_eq!(complete(&mut queue, Attempt::Lost { written: false }), None);
    }
    send(&mut queue);
    assert_eq!(acknowledged(complete(&mut queue, Attempt::Acknowledged)), (1, false));
}

#[test]
fn the_first_number_goes_alone_and_then_five() {
    let mut queue = filled(8, true);
    assert_eq!(send(&mut queue), (1, 0));
    assert!(!queue.may_send(1, later()));
    complete(&mut queue, Attempt::Acknowledged);
    let mut numbers = Vec::new();
    while queue.may_send(1, later()) {
        numbers.push(send(&mut queue));
    }
    assert_eq!(numbers, [(2, 1), (3, 3), (4, 6), (5, 10), (6, 15)]);
    // Another broker would take them in any order.
    complete(&mut queue, Attempt::Acknowledged);
    assert!(queue.may_send(1, later()) && !queue.may_send(2, later()));
}

#[test]
fn numbered_batches_come_back_in_order_and_keep_their_numbers() {
    let mut queue = filled(5, true);
    send(&mut queue);
    complete(&mut queue, Attempt::Acknowledged);
    let before: Vec<_> = (0..3).map(|_| send(&mut queue)).collect();
    let refused = Attempt::Refused(ResponseError::NotEnoughReplicas);
    let gap = Attempt::Refused(ResponseError::OutOfOrderSequenceNumber);
    assert_eq!(complete(&mut queue, refused), None);
    assert!(!queue.may_send(1, later()));
    assert_eq!(complete(&mut queue, gap), None);
    assert_eq!(complete(&mut queue, LOST), None);
    let after: Vec<_> = (0..3).map(|_| send(&mut queue)).collect();
    assert_eq!(after, before);
    let double = Attempt::Refused(ResponseError::DuplicateSequenceNumber);
    assert_eq!(acknowledged(complete(&mut queue, double)), (2, false));
}

#[test]
fn batches_that_come_back_wait_though_none_else_does() {
    let mut queue = filled(4, true);
    send(&mut queue);
    complete(&mut queue, Attempt::Acknowledged);
    for _ in 0..3 {
        send(&mut queue);
    }
    complete(&mut queue, Attempt::Refused(ResponseError::NotEnoughReplicas));
    assert!(queue.give_up(Instant::now(), None).is_empty());
    for _ in 0..2 {
        complete(&mut queue, Attempt::Refused(ResponseError::OutOfOrderSequenceNumber));
    }
    assert!(!queue.may_send(1, Instant::now()));
    assert!(queue.may_send(1, later()));
}

#[test]
fn a_queue_that_was_abandoned_takes_batches_again() {
    let mut queue = filled(0, true);
    for _ in 0..3 {
        queue.push(packed(1), Instant::now());
    }
    send(&mut queue);
    complete(&mut queue, Attempt::Acknowledged);
    for _ in 0..2 {
        send(&mut queue);
    }
    // A record that is too large by itself leaves a gap in the numbers.
    complete(&mut queue, Attempt::Refused(ResponseError::MessageTooLarge));
    assert_eq!(queue.abandon(Local::PurgedInFlight.code()).len(), 1);
    queue.push(packed(2), Instant::now());
    assert!(queue.may_send(1, later()));
}

#[test]
fn what_may_have_arrived_stays_doubtful() {
    let mut queue = filled(1, false);
    for attempt in [LOST, Attempt::Lost { written: false }] {
        send(&mut queue);
        assert_eq!(complete(&mut queue, attempt), None);
    }
    send(&mut queue);
    let refused = Attempt::Refused(ResponseError::InvalidTimestamp);
    assert!(failed(complete(&mut queue, refused)).2);
}

#[test]
fn nothing_is_sent_before_the_numbers_behind_a_gap_are_known() {
    let mut queue = empty(config(true));
    for _ in 0..5 {
        queue.push(packed(1), Instant::now());
    }
    send(&mut queue);
    complete(&mut queue, Attempt::Acknowledged);
    assert_eq!([send(&mut queue).1, send(&mut queue).1, send(&mut queue).1], [1, 2, 3]);
    let large = complete(&mut queue, Attempt::Refused(ResponseError::MessageTooLarge));
    assert!(!failed(large).2);
    for _ in 0..2 {
        assert!(!queue.may_send(1, later()));
        let gap = Attempt::Refused(ResponseError::OutOfOrderSequenceNumber);
        assert_eq!(complete(&mut queue, gap), None);
    }
    assert!(queue.may_send(1, later()));
    assert_eq!([send(&mut queue).1, send(&mut queue).1, send(&mut queue).1], [1, 2, 3]);
}

#[test]
fn a_gap_that_nothing_explains_breaks_the_queue() {
    let mut queue = filled(3, true);
    send(&mut queue);
    let gap = ResponseError::OutOfOrderSequenceNumber;
    let delivery = complete(&mut queue, Attempt::Refused(gap));
    assert_eq!(failed(delivery), (1, gap.code().into(), false));
    let rest = queue.give_up(Instant::now(), None);
    assert_eq!(rest.len(), 2);
    assert!(queue.push(packed(1), Instant::now()).is_some());
}

#[test]
fn retries_end() {
    let mut queue = filled(1, false);
    for _ in 0..3 {
        send(&mut queue);
        assert_eq!(complete(&mut queue, LOST), None);
    }
    send(&mut queue);
    assert_eq!(failed(complete(&mut queue, LOST)), (1, TRANSPORT, true));
}

#[test]
fn what_the_broker_refuses_for_good_fails_alone_without_numbers() {
    let mut queue = filled(2, false);
    send(&mut queue);
    let old = ResponseError::InvalidTimestamp;
    let delivery = complete(&mut queue, Attempt::Refused(old));
    assert_eq!(failed(delivery), (1, old.code().into(), false));
    assert_eq!(send(&mut queue).0, 2);
}

fn at(began: Instant, seconds: u64) -> Instant {
    began + Duration::from_secs(seconds)
}

/// How many batches have run out of time by then.
fn given_up(queue: &mut PartitionQueue, now: Instant) -> usize {
    queue.give_up(now, None).len()
}

fn acknowledge(queue: &mut PartitionQueue, now: Instant) {
    acknowledged(queue.complete(Attempt::Acknowledged, now));
}

#[test]
fn time_runs_out_for_those_that_wait() {
    let began = Instant::now();
    let mut queue = empty(config(false));
    queue.push(packed(1), began);
    queue.push(packed(2), at(began, 50));
    assert_eq!(queue.deadline(), Some(at(began, 60)));
    assert_eq!(given_up(&mut queue, at(began, 59)), 0);
    // The second has its own time, as long as it is not the first's that it waits for.
    assert_eq!(given_up(&mut queue, at(began, 60)), 1);
    queue.restart_clock(at(began, 100));
    assert_eq!(given_up(&mut queue, at(began, 159)), 0);
    assert_eq!(given_up(&mut queue, at(began, 160)), 1);
    assert_eq!(queue.deadline(), None);
}

#[test]
fn a_queue_that_moves_on_does_not_run_out_of_time() {
    let began = Instant::now();
    let mut queue = empty(config(false));
    for _ in 0..10 {
        queue.push(packed(1), began);
    }
    // Each takes most of the time that there is.
    for batch in 1..=9 {
        queue.send(1, usize::MAX).unwrap();
        acknowledge(&mut queue, at(began, batch * 50));
        assert_eq!(given_up(&mut queue, at(began, batch * 50 + 10)), 0);
    }
    assert_eq!(given_up(&mut queue, at(began, 9 * 50 + 59)), 0);
    assert_eq!(given_up(&mut queue, at(began, 9 * 50 + 60)), 1);
}

#[test]
fn waiting_for_other_partitions_of_the_broker_does_not_count() {
    let began = Instant::now();
    let mut queue = empty(config(false));
    queue.push(packed(1), began);
    for round in 1..=10 {
        queue.excuse(at(began, round * 50));
        assert_eq!(given_up(&mut queue, at(began, round * 50 + 59)), 0);
    }
    // Nor does it once it is in flight behind others.
    queue.send(1, usize::MAX).unwrap();
    queue.excuse(at(began, 800));
    assert_eq!(queue.deadline(), Some(at(began, 860)));
}

#[test]
fn refusals_run_out_of_time_whatever_happens_to_others() {
    let began = Instant::now();
    let mut queue = empty(Config { retries: u32::MAX, ..config(false) });
    queue.push(packed(1), began);
    let refused = Attempt::Refused(ResponseError::NotEnoughReplicas);
    let mut now = began;
    for round in 1.. {
        assert!(round < 100, "it would go on for ever");
        queue.send(1, usize::MAX).unwrap();
        queue.complete(refused, now);
        // Others are acknowledged all the time.
        queue.excuse(now + Duration::from_millis(500));
        now += Duration::from_millis(1_001);
        queue.excuse(now);
        if given_up(&mut queue, now) == 1 {
            assert!(round >= 60, "only {round}");
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
    fn take(&mut self, bytes: &[u8]) -> Attempt {
        let number = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let (count, sequence) = (number(57), number(53));
        if bytes.len() > self.most {
            return Attempt::Refused(ResponseError::MessageTooLarge);
        }
        if self.numbered && sequence != self.next {
            return Attempt::Refused(ResponseError::OutOfOrderSequenceNumber);
        }
        self.next += count;
        let parts = split(bytes, count as usize);
        let parts = parts.unwrap_or_else(|| vec![(1, bytes.to_vec())]);
        self.taken.extend(parts.iter().map(|(_, bytes)| first_key(bytes).unwrap().0));
        Attempt::Acknowledged
    }

    /// Sends until nothing is left, as many as may be at a time, and learns the limit as it goes.
    fn serve(&mut self, queue: &mut PartitionQueue, mut most: usize) -> Vec<Delivery> {
        let (mut deliveries, mut now) = (Vec::new(), Instant::now());
        for _ in 0..10_000 {
            let mut in_flight = Vec::new();
            while queue.may_send(1, now) {
                in_flight.push(queue.send(1, most).unwrap());
            }
            if in_flight.is_empty() {
                assert!(!queue.is_waiting());
                return deliveries;
            }
            for bytes in in_flight {
                let attempt = self.take(&bytes);
                if let (Attempt::Refused(error), Some((records, sent))) =
                    (attempt, queue.oldest_in_flight())
                    && is_too_large(error)
                    && records > 1
                {
                    most = most.min(sent.len() / 2);
                }
                deliveries.extend(queue.complete(attempt, now));
            }
            now += Duration::from_secs(1);
        }
        panic!("it would go on for ever");
    }
}

#[test]
fn a_batch_that_is_too_large_is_split_and_keeps_order_and_numbers() {
    for numbered in [false, true] {
        // Known from the first refusal on, or beforehand, or never.
        for most in [usize::MAX, 1_000] {
            let mut queue = empty(config(numbered));
            let sizes = [1, 100, 3, 250, 2, 1, 40];
            let mut expected = Vec::new();
            for size in sizes {
                queue.push(long(size), Instant::now());
                expected.extend((0..size).map(|row| format!("{row:0100}").into_bytes()));
            }
            let mut broker = Strict { most: 1_000, numbered, next: 0, taken: Vec::new() };
            let deliveries = broker.serve(&mut queue, most);
            assert!(broker.taken == expected, "{} of {}", broker.taken.len(), expected.len());
            let (mut records, mut counted) = (0, 0);
            for delivery in deliveries {
                (records, counted) = (records + delivery.records, counted + delivery.bytes);
                assert!(!acknowledged(Some(delivery)).1);
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
    for numbered in [false, true] {
        let mut queue = empty(config(numbered));
        for size in [1, 2, 1, 3] {
            queue.push(long(size), Instant::now());
        }
        let large = long(1).bytes.len();
        // Longer by a record of three hundred bytes.
        let column = Encoded { bytes: vec![b'x'; 300], offsets: vec![0, 300] };
        let all = Records::new(&column, &column, &[], Timestamps::Same(0));
        let mut builder = BatchBuilder::new(Limits::default());
        builder.append(&all, &[0]);
        let mut bytes = Vec::new();
        builder.finish(&mut Compressor::new(Codec::None), &mut bytes);
        queue.push(Packed { partition: 0, records: 1, bytes }, Instant::now());
        for size in [2, 1] {
            queue.push(long(size), Instant::now());
        }
        let mut broker = Strict { most: large, numbered, next: 0, taken: Vec::new() };
        let deliveries = broker.serve(&mut queue, usize::MAX);
        assert_eq!(broker.taken.len(), 10);
        let mut failures = deliveries
            .into_iter()
            .filter(|delivery| matches!(delivery.outcome, DeliveryOutcome::Failed { .. }));
        let code = ResponseError::MessageTooLarge.code().into();
        assert_eq!(failed(failures.next()), (1, code, false));
        assert_eq!(failures.next(), None);
    }
}

#[test]
fn what_may_have_arrived_is_not_split() {
    let mut queue = filled(0, true);
    queue.push(long(100), Instant::now());
    let whole = queue.send(1, usize::MAX).unwrap();
    complete(&mut queue, LOST);
    // Another partition has learned meanwhile that this is too long.
    assert_eq!(queue.send(1, 1_000).unwrap(), whole);
    // But if the broker says so of this one, it is not there.
    complete(&mut queue, Attempt::Refused(ResponseError::MessageTooLarge));
    assert!(queue.send(1, 1_000).unwrap().len() <= 1_000);
}

#[test]
fn what_is_given_up_in_flight_may_have_arrived() {
    let mut queue = filled(2, false);
    send(&mut queue);
    let queued = Local::PurgedInQueue.code();
    let deliveries = queue.give_up(Instant::now(), Some(queued));
    assert_eq!(
        deliveries.into_iter().map(|f| failed(Some(f))).collect::<Vec<_>>(),
        [(2, queued, false)]
    );
    let deliveries = queue.abandon(Local::PurgedInFlight.code());
    assert_eq!(deliveries.len(), 1);
    assert!(failed(deliveries.into_iter().next()).2);
}
