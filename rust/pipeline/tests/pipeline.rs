//! A pipeline with an output in memory, beside the plain iteration of the same rows.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use datagen_core::batch::{EVER, Lanes};
use datagen_core::catalog::STREAMS;
use datagen_core::encode::kafka::{Codec, Events, Packed, Packer};
use datagen_core::keys::uuids;
use datagen_pipeline::kafka::{RecordBatches, Stamp, Topic};
use datagen_pipeline::{Halt, Pipeline, Progress, SharedKeySet, Violation, Window, count};

use common::{BATCH, Json, LIMIT, Lines, Memory, bank, batches, json, masters, relation, window};

/// Customers of a task, where the plan is of 90 days or fewer.
const TASK: u64 = 1_000;

/// Starts a pipeline of all streams, whose master rows are there up to a customer.
fn start(
    customers: u64,
    known: u64,
    output: &Memory<Lines>,
    workers: usize,
    encoder: &Json,
) -> Pipeline<Memory<Lines>> {
    let bank = bank(customers, 3);
    let window = window(&bank, 0..customers, &masters(&bank, 0..known));
    Pipeline::start(window, output.clone(), workers, || encoder.clone()).expect("threads")
}

fn events(progress: &[Progress]) -> Vec<u64> {
    progress.iter().map(|stream| stream.events).collect()
}

#[test]
fn any_number_of_workers_hands_over_what_plain_iteration_makes() {
    let (bank, customers) = (bank(2_500, 2), 300..2_500);
    let store = masters(&bank, 0..2_500);
    let plain = STREAMS.map(|stream| json(batches(&bank, stream, customers.clone())));
    let rows = STREAMS.map(|stream| bank.rows(stream, customers.clone()).expect("a range"));
    for workers in 1..=8 {
        let output = Memory::new(STREAMS.len(), usize::MAX);
        let window = window(&bank, customers.clone(), &store);
        let pipeline = Pipeline::start(window, output.clone(), workers, || Json::new(70));
        let pipeline = pipeline.expect("threads");
        assert_eq!(pipeline.wait(LIMIT), Some(Ok(())));
        for (stream, expected) in plain.iter().enumerate() {
            assert!(
                output.rows(stream) == *expected,
                "{workers} workers: {}",
                STREAMS[stream].name
            );
        }
        let progress = pipeline.progress();
        assert_eq!(events(&progress), rows);
        assert!(progress.iter().zip(STREAMS).all(|(one, stream)| one.relation == stream));
        assert!(progress.iter().all(|one| one.last > Duration::ZERO));
        // What comes after the end changes nothing.
        pipeline.cancel();
        assert_eq!(pipeline.wait(Duration::ZERO), Some(Ok(())));
    }
}

/// The number of records of each batch, and its bytes.
type Batches = Vec<(usize, Vec<u8>)>;

/// By stream and partition, the batches in order.
fn by_partition(streams: Vec<Vec<Packed>>) -> BTreeMap<(usize, u32), Batches> {
    let mut found = BTreeMap::<_, Batches>::new();
    for (stream, packed) in streams.into_iter().enumerate() {
        for one in packed {
            found.entry((stream, one.partition)).or_default().push((one.records, one.bytes));
        }
    }
    found
}

#[test]
fn record_batches_are_those_of_each_thousand_customers() {
    let customers = 2_200;
    let bank = bank(customers, 6);
    let store = masters(&bank, 0..customers);
    let (size, codec) = (8_192, Codec::Lz4);
    let stamp =
        Stamp { cloudevents: true, content_type: false, event_time: true, avro_strings: false };
    let topic = |stream: usize| Topic {
        // Two topics share a packer.
        partitions: [3, 2, 3, 1][stream],
        schema_id: (stream != 1).then_some(40 + stream as u32),
    };
    let topics: Vec<_> = (0..STREAMS.len()).map(topic).collect();
    let plain = STREAMS.iter().zip(&topics).map(|(stream, topic)| {
        let mut packed = Vec::new();
        for first in (0..customers).step_by(TASK as usize) {
            let mut packer = Packer::new(topic.partitions, size, codec);
            for batch in batches(&bank, stream, first..customers.min(first + TASK)) {
                let events = Events::new(&batch, stamp.format(topic.schema_id));
                packer.push(&events, &mut packed);
            }
            (0..topic.partitions).for_each(|number| packer.finish(number, &mut packed));
        }
        packed
    });
    let plain = by_partition(plain.collect());
    assert!(plain.values().map(Vec::len).max() > Some(3), "several batches to a partition");
    // As little capacity as leads to many hand-overs within a task, too.
    for (workers, capacity) in [(1, usize::MAX), (3, 1), (8, 10_000)] {
        let output = Memory::new(STREAMS.len(), capacity);
        let encoder = || RecordBatches::new(topics.clone(), size, codec, stamp);
        let window = window(&bank, 0..customers, &store);
        let pipeline = Pipeline::start(window, output.clone(), workers, encoder);
        let pipeline = pipeline.expect("threads");
        let end = Instant::now() + LIMIT;
        while pipeline.wait(Duration::from_millis(1)).is_none() {
            assert!(Instant::now() < end, "{workers} workers go on");
            output.send();
        }
        let taken = std::mem::take(&mut output.state().taken);
        assert!(by_partition(taken) == plain, "{workers} workers");
    }
}

/// The bytes of batches of one partition, joined: the same whatever was handed over at once.
#[test]
fn partitions_in_time_are_those_of_lanes_for_any_number_of_workers() {
    let (customers, all) = (150..5_000, 5_000);
    let bank = bank(all, 30);
    let store = masters(&bank, 0..all);
    let (size, codec) = (8_192, Codec::Lz4);
    let stamp =
        Stamp { cloudevents: true, content_type: false, event_time: true, avro_strings: false };
    let partitions = [3, 2, 3, 1];
    let topic = |partitions| Topic { partitions, schema_id: Some(40) };
    let topics = partitions.map(topic).to_vec();

    let streams: Vec<_> = STREAMS.into_iter().zip(partitions).collect();
    let lanes = Lanes::new(&bank, &streams, customers.clone(), EVER).expect("lanes");
    let mut plain = BTreeMap::<_, Batches>::new();
    let mut made = lanes.lanes();
    for (lane, entities) in made.iter_mut().zip(lanes.entities(customers.clone())) {
        lane.add(entities);
    }
    assert!(lanes.slices() > 1);
    let mut events = 0;
    for slice in 0..lanes.slices() {
        for lane in &mut made {
            let (mut packer, mut packed) = (Packer::new(1, size, codec), Vec::new());
            while let Some(batch) = lane.next_batch(&bank, slice, BATCH) {
                events += batch.rows() as u64;
                let format = stamp.format(Some(40));
                packer.push(&Events::new(&batch, format), &mut packed);
            }
            packer.finish(0, &mut packed);
            let of_lane = plain.entry((lane.stream, lane.partition)).or_default();
            of_lane.extend(packed.into_iter().map(|one| (one.records, one.bytes)));
        }
    }
    let rows = STREAMS.map(|stream| bank.rows(stream, customers.clone()).expect("a range"));
    assert_eq!(events, rows.iter().sum::<u64>());

    for (workers, capacity) in [(1, usize::MAX), (3, 1), (8, 10_000), (16, usize::MAX)] {
        let output = Memory::new(STREAMS.len(), capacity);
        let encoder = || RecordBatches::new(topics.clone(), size, codec, stamp);
        let parents = STREAMS.map(|stream| store.parents(stream).clone()).to_vec();
        let bank = Arc::clone(&bank);
        let window = Window::in_time(bank, customers.clone(), parents, &partitions);
        let pipeline = Pipeline::start(window.expect("lanes"), output.clone(), workers, encoder);
        let pipeline = pipeline.expect("threads");
        let end = Instant::now() + LIMIT;
        while pipeline.wait(Duration::from_millis(1)).is_none() {
            assert!(Instant::now() < end, "{workers} workers go on");
            output.send();
        }
        assert_eq!(self::events(&pipeline.progress()), rows);
        let taken = std::mem::take(&mut output.state().taken);
        assert!(by_partition(taken) == plain, "{workers} workers");
    }
}

#[test]
fn an_orphan_in_time_is_found() {
    let (customers, known) = (2_000, 1_500);
    let bank = bank(customers, 20);
    let store = masters(&bank, 0..known);
    for workers in 1..=3 {
        let parents = STREAMS.map(|stream| store.parents(stream).clone()).to_vec();
        let window = Window::in_time(Arc::clone(&bank), 0..customers, parents, &[2; 4]);
        let (window, output) = (window.expect("lanes"), Memory::new(STREAMS.len(), usize::MAX));
        let pipeline = Pipeline::start(window, output.clone(), workers, || Json::new(50));
        let ended = pipeline.expect("threads").wait(LIMIT);
        let Some(Err(Halt::Violated(Violation::Orphan { .. }))) = ended else {
            panic!("{ended:?}")
        };
    }
}

#[test]
fn no_more_is_made_than_the_output_has_capacity_for() {
    let (customers, capacity, workers, piece) = (3_000, 4_000, 3, 100);
    let bank = bank(customers, 90);
    let store = masters(&bank, 0..customers);
    let stream = relation("banking.transactions");
    let parents = vec![store.parents(stream).clone()];
    let window = Window::by_entity(Arc::clone(&bank), 0..customers, parents).expect("a window");
    let planned = bank.rows(stream, 0..customers).expect("a range") as usize;
    // A full output, as much again that is held, and a batch and the last piece of each worker. The
    // last customer may take a batch over its size.
    let most = 2 * capacity + workers * (BATCH + BATCH / 8 + piece);
    let task = planned / customers as usize * TASK as usize;
    assert!(workers * task > most, "a task has {task} events, which are few");
    let (output, encoder) = (Memory::new(1, capacity), Json::new(piece));
    let made = Arc::clone(&encoder.seen);
    let pipeline = Pipeline::start(window, output.clone(), workers, || encoder.clone());
    let pipeline = pipeline.expect("threads");
    let (mut rounds, mut sent, end) = (0, 0, Instant::now() + LIMIT);
    while sent < planned {
        // Until no more is made.
        let (mut before, mut now) = (0, 1);
        while before < now || (now < planned && output.state().waiting < capacity) {
            assert!(Instant::now() < end, "{sent} events are sent");
            thread::sleep(Duration::from_millis(20));
            (before, now) = (now, made.load(Ordering::Relaxed));
        }
        assert!(now - sent <= most, "{} events are made and not sent", now - sent);
        sent += output.send();
        rounds += 1;
    }
    assert!(rounds > 4, "{rounds}");
    assert_eq!(pipeline.wait(LIMIT), Some(Ok(())));
    assert!(output.rows(0) == json(batches(&bank, stream, 0..customers)));
}

#[test]
fn a_pipeline_is_cancelled_in_the_midst() {
    let customers = 3_000;
    let output = Memory::new(STREAMS.len(), 500);
    let pipeline = start(customers, customers, &output, 3, &Json::new(40));
    output.wait_until_full();
    // The output is stuck: nothing goes on without the cancellation.
    assert_eq!(pipeline.wait(Duration::from_millis(50)), None);
    pipeline.cancel();
    assert_eq!(pipeline.wait(Duration::ZERO), Some(Err(Halt::Cancelled)));
    let bank = bank(customers, 3);
    for (stream, relation) in STREAMS.into_iter().enumerate() {
        let (taken, all) = (output.rows(stream), json(batches(&bank, relation, 0..customers)));
        assert!(taken.len() < all.len() && all.starts_with(&taken), "{}", relation.name);
    }
}

#[test]
fn a_pipeline_that_is_dropped_ends() {
    let output = Memory::new(STREAMS.len(), 500);
    let pipeline = start(3_000, 3_000, &output, 2, &Json::new(40));
    output.wait_until_full();
    drop(pipeline);
    // The threads let go of the output.
    let end = Instant::now() + LIMIT;
    while output.holders() > 1 {
        assert!(Instant::now() < end, "threads go on");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_orphan_comes_after_all_that_is_before_it_in_its_stream() {
    let (customers, known) = (3_000, 1_500);
    let bank = bank(customers, 2);
    let store = masters(&bank, 0..known);
    for relation in STREAMS {
        let parents = store.parents(relation);
        let before = json(batches(&bank, relation, 0..1_000));
        // The task of customers 1 000 to 2 000 has the first of them.
        let mut task = batches(&bank, relation, 1_000..2_000);
        let expected = task.find_map(|batch| parents.check(&batch).err()).expect("an orphan");
        assert!(matches!(expected, Violation::Orphan { .. }));
        for workers in 1..=3 {
            let window = Window::by_entity(Arc::clone(&bank), 0..customers, vec![parents.clone()]);
            let (window, output) = (window.expect("a window"), Memory::new(1, usize::MAX));
            let pipeline = Pipeline::start(window, output.clone(), workers, || Json::new(50));
            let ended = pipeline.expect("threads").wait(LIMIT);
            assert_eq!(ended, Some(Err(Halt::Violated(expected))));
            assert!(output.rows(0) == before, "{workers} workers: {}", relation.name);
        }
    }
}

#[test]
fn an_orphan_of_one_stream_halts_all() {
    let (customers, known) = (4_000, 1_500);
    let output = Memory::new(STREAMS.len(), usize::MAX);
    let pipeline = start(customers, known, &output, 3, &Json::new(50));
    let Some(Err(Halt::Violated(Violation::Orphan { relation, .. }))) = pipeline.wait(LIMIT) else {
        panic!("no orphan")
    };
    let bank = bank(customers, 3);
    for (stream, other) in STREAMS.into_iter().enumerate() {
        let taken = output.rows(stream);
        let before = json(batches(&bank, other, 0..1_000));
        // Every stream has its orphan in the same range.
        assert!(before.starts_with(&taken), "{}", other.name);
        assert!(other != relation || taken == before, "{}", other.name);
    }
}

#[test]
fn a_worker_that_panics_ends_the_pipeline() {
    for workers in [1, 3] {
        let output = Memory::new(STREAMS.len(), usize::MAX);
        let mut encoder = Json::new(50);
        encoder.panics_at = 700;
        let pipeline = start(2_000, 2_000, &output, workers, &encoder);
        assert_eq!(pipeline.wait(LIMIT), Some(Err(Halt::Panicked)));
    }
}

#[test]
fn a_pipeline_ends_with_its_output() {
    for workers in [1, 3] {
        let output = Memory::new(STREAMS.len(), 500);
        let pipeline = start(2_000, 2_000, &output, workers, &Json::new(50));
        output.wait_until_full();
        let before = output.state().taken.iter().map(Vec::len).sum::<usize>();
        output.fail();
        assert_eq!(pipeline.wait(LIMIT), Some(Err(Halt::OutputFailed)));
        let after = output.state().taken.iter().map(Vec::len).sum::<usize>();
        // A hand-over may have begun before.
        assert!(before <= after && output.state().waiting < 2_000, "{before}, {after}");
    }
}

#[test]
fn events_are_counted_alike_by_any_number_of_threads() {
    let bank = bank(3_500, 3);
    for stream in STREAMS {
        for customers in [0..0, 7..8, 100..3_500, 0..3_500] {
            let rows = bank.rows(stream, customers.clone()).expect("a valid range");
            for threads in [0, 1, 2, 5] {
                let counted = count(&bank, stream, customers.clone(), threads);
                assert_eq!(counted.ok(), Some(rows), "{} of {customers:?}", stream.name);
            }
        }
        assert!(count(&bank, stream, 0..3_501, 2).is_err());
    }
    assert!(count(&bank, relation("loans"), 0..1, 2).is_err());
}

/// In both orders and for any number of workers: what the output has is made and checked, and comes no more.
#[test]
fn what_the_output_has_is_left_out() {
    let (bank, customers) = (bank(1_200, 2), 100..1_200);
    let store = masters(&bank, 0..1_200);
    // Two of three events of each stream, in no order of theirs.
    let there = SharedKeySet::default();
    let mut left = Vec::new();
    for stream in STREAMS {
        let mut lacking = 0;
        for batch in batches(&bank, stream, customers.clone()) {
            for (row, id) in uuids(&batch.columns()[0]).iter().enumerate() {
                if row % 3 == 0 {
                    lacking += 1;
                } else {
                    assert!(there.write().insert(id));
                }
            }
        }
        left.push(lacking);
    }
    let rows = STREAMS.map(|stream| bank.rows(stream, customers.clone()).expect("a range"));
    let whole: Vec<u64> = rows.iter().zip(&left).map(|(rows, left)| rows - left).collect();
    let windows = || {
        let parents = || STREAMS.map(|stream| store.parents(stream).clone()).into();
        let partitions = [2, 3, 1, 2];
        [
            window(&bank, customers.clone(), &store),
            Window::in_time(Arc::clone(&bank), customers.clone(), parents(), &partitions)
                .expect("a window"),
        ]
    };
    for workers in [1, 3] {
        for window in windows() {
            let output = Memory::new(STREAMS.len(), usize::MAX);
            let window = window.leaving_out(there.clone());
            let pipeline = Pipeline::start(window, output.clone(), workers, || Json::new(70));
            let pipeline = pipeline.expect("threads");
            assert_eq!(pipeline.wait(LIMIT), Some(Ok(())));
            let progress = pipeline.progress();
            assert_eq!(events(&progress), left);
            assert_eq!(progress.iter().map(|one| one.there).collect::<Vec<_>>(), whole);
            let state = output.state();
            let handed =
                state.taken.iter().map(|all| all.iter().map(|one| one.records as u64).sum());
            assert_eq!(handed.collect::<Vec<u64>>(), left);
        }
    }
}
