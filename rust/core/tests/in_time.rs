//! Events in order of time: the same events as in the order of entities, each in its place.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::ops::Range;
use std::sync::Arc;

use common::{Read, bank_of, concat, part};
use datagen_core::batch::{Bank, EVER, InTime, Lanes};
use datagen_core::catalog::{Relation, STREAMS};
use datagen_core::column::Batch;
use datagen_core::encode::kafka::partition;
use datagen_core::encode::{Format, encode, text};
use datagen_core::plan::{DEFAULT_AS_OF, Plan};
use proptest::prelude::*;

/// An event: its time and its bytes.
type Event = (i64, Vec<u8>);

const DAY: i64 = 86_400_000;

fn events(batch: &Batch) -> Vec<Event> {
    let time = batch.relation().topic().expect("a stream").time;
    let rows = encode(batch, Format::Json);
    (0..).zip(batch.longs(time)).map(|(row, time)| (*time, rows.get(row).to_vec())).collect()
}

/// What a lane should have: a stable sort of the rows in the order of entities, so that those of one time
/// are in the order of entities and of their numbers.
fn expected(
    bank: &Arc<Bank>,
    stream: &'static Relation,
    customers: Range<u64>,
    span: &Range<i64>,
    partitions: u32,
) -> Vec<Vec<Event>> {
    let rows = part(bank, stream.name, customers, 5_000);
    let key = stream.position(stream.topic().expect("a stream").key).expect("its key");
    let keys = text(&rows.columns()[key], &stream.fields[key]).expect("a text");
    let mut lanes = vec![Vec::new(); partitions as usize];
    for (event, partition) in events(&rows).into_iter().zip(partition(&keys, partitions)) {
        if span.contains(&event.0) {
            lanes[partition as usize].push(event);
        }
    }
    for lane in &mut lanes {
        lane.sort_by_key(|event| event.0);
    }
    lanes
}

/// The events of each lane, by slice; the entities of `at_once` customers are added at a time.
fn made(bank: &Bank, lanes: &Lanes, at_once: u64, batch_rows: usize) -> Vec<Vec<Vec<Event>>> {
    let mut all = lanes.lanes();
    let customers = lanes.customers();
    for first in customers.clone().step_by(at_once as usize) {
        let some = lanes.entities(first..customers.end.min(first + at_once));
        all.iter_mut().zip(some).for_each(|(lane, entities)| lane.add(entities));
    }
    let of = |lane: &mut datagen_core::batch::Lane| {
        let slices = 0..lanes.slices();
        let of_slice = |slice| {
            let mut of_slice = Vec::new();
            while let Some(batch) = lane.next_batch(bank, slice, batch_rows) {
                assert!((1..=batch_rows).contains(&batch.rows()));
                of_slice.extend(events(&batch));
            }
            of_slice
        };
        slices.map(of_slice).collect::<Vec<_>>()
    };
    all.iter_mut().map(of).collect()
}

prop_compose! {
    fn plans()(
        seed: u64,
        customers in 1_u64..400,
        days in 1_u32..200,
        hours in 0_i64..24 * 1_800,
    ) -> Plan {
        let as_of = DEFAULT_AS_OF - hours * 3_600_000 - 1_234;
        Plan::try_new(seed, customers, as_of, days).expect("a plan")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_event_is_in_its_place(
        plan in plans(),
        partitions: [u8; 4],
        at_once in 1_u64..150,
        batch_rows in 1_usize..3_000,
        (one, other) in (0_u64..400, 0_u64..400),
        days in proptest::option::of((-10_i64..210, -10_i64..210)),
    ) {
        let bank = bank_of(plan);
        let (one, other) = (one.min(plan.customers()), other.min(plan.customers()));
        let customers = one.min(other)..one.max(other);
        let day = |day: i64| plan.start() + day * DAY;
        let span = days.map_or(EVER, |(one, other)| day(one.min(other))..day(one.max(other)));
        let partitions = partitions.map(|count| u32::from(count % 7) + 1);
        let streams: Vec<_> = STREAMS.into_iter().zip(partitions).collect();
        let lanes = Lanes::new(&bank, &streams, customers.clone(), span.clone()).expect("lanes");
        let found = made(&bank, &lanes, at_once, batch_rows);

        let mut number = 0;
        for (stream, partitions) in &streams {
            let expected = expected(&bank, stream, customers.clone(), &span, *partitions);
            for expected in expected {
                prop_assert_eq!(found[number].concat(), expected, "{}", stream.name);
                number += 1;
            }
        }
        // No lane is in a slice of which another has passed the end.
        let mut before = i64::MIN;
        for slice in 0..lanes.slices() {
            let times = || found.iter().flat_map(|lane| &lane[slice]).map(|event| event.0);
            prop_assert!(times().all(|time| time >= before));
            before = times().max().map_or(before, |time| time.max(before));
        }
    }

    #[test]
    fn spans_of_time_follow_one_another(plan in plans(), cuts in prop::collection::vec(-9_i64..209, 1..4)) {
        let bank = bank_of(plan);
        let mut cuts: Vec<i64> = cuts.iter().map(|day| plan.start() + day * DAY + 777).collect();
        cuts.extend([i64::MIN, i64::MAX]);
        cuts.sort_unstable();
        let in_time = |span| {
            let streams = STREAMS.map(|stream| (stream, 1));
            let lanes = Lanes::new(&bank, &streams, 0..plan.customers(), span).expect("lanes");
            InTime::new(lanes, 1_000).collect::<Vec<_>>()
        };
        let whole = in_time(EVER);
        let parts: Vec<_> = cuts.windows(2).flat_map(|cut| in_time(cut[0]..cut[1])).collect();
        for stream in STREAMS {
            let of = |batches: &[Batch]| {
                let those = batches.iter().filter(|batch| batch.relation() == stream);
                events(&concat(stream, those.cloned()))
            };
            prop_assert_eq!(of(&parts), of(&whole));
            let cut_by_entity = |cut: &[i64]| {
                let batches = bank.batches(stream, 0..plan.customers(), 100).expect("a range");
                events(&concat(stream, batches.within(cut[0]..cut[1])))
            };
            let mut by_entity: Vec<_> = cuts.windows(2).flat_map(cut_by_entity).collect();
            by_entity.sort_unstable();
            let mut all = of(&whole);
            all.sort_unstable();
            prop_assert_eq!(by_entity, all);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn events_until_one_instant_after_the_other_are_all_events(
        plan in plans(),
        cuts in prop::collection::vec((0_usize..1_100, -2_i64..3), 0..40),
        batch_rows in 1_usize..3_000,
        left_early in prop::collection::vec(any::<bool>(), 40),
    ) {
        let bank = bank_of(plan);
        let open = || {
            let streams = STREAMS.map(|stream| (stream, 1));
            let lanes = Lanes::new(&bank, &streams, 0..plan.customers(), EVER).expect("lanes");
            InTime::new(lanes, batch_rows)
        };
        let whole: Vec<_> = open().collect();
        let mut times: Vec<i64> = whole.iter().flat_map(events).map(|event| event.0).collect();
        times.sort_unstable();
        // At an event or beside it, before all and after all.
        let mut cuts: Vec<i64> = cuts
            .iter()
            .map(|(place, beside)| {
                times.get(place * times.len() / 1_000).copied().unwrap_or(plan.as_of()) + beside
            })
            .collect();
        cuts.sort_unstable();
        let mut found = Vec::new();
        let mut rest = open();
        for (limit, early) in cuts.into_iter().zip(left_early) {
            let passed = found.iter().map(Batch::rows).sum::<usize>();
            prop_assert_eq!(rest.peek(), times.get(passed).copied());
            if early {
                // A caller that asks once, and then for another instant.
                found.extend(rest.next_before(limit));
            }
            while let Some(batch) = rest.next_before(limit) {
                prop_assert!((1..=batch_rows).contains(&batch.rows()));
                found.push(batch);
            }
            let passed = found.iter().map(Batch::rows).sum::<usize>();
            prop_assert_eq!(passed, times.partition_point(|time| *time < limit));
        }
        found.extend(&mut rest);
        prop_assert_eq!(rest.peek(), None);
        for stream in STREAMS {
            let of = |batches: &[Batch]| {
                let those = batches.iter().filter(|batch| batch.relation() == stream);
                events(&concat(stream, those.cloned()))
            };
            prop_assert_eq!(of(&found), of(&whole));
        }
    }
}

/// A slice is an hour, or at most 100 000 events.
#[test]
fn slices_are_short() {
    let bank = bank_of(Plan::try_new(42, 6_000, DEFAULT_AS_OF, 30).expect("a plan"));
    let streams = STREAMS.map(|stream| (stream, 1));
    let lanes = Lanes::new(&bank, &streams, 0..6_000, EVER).expect("lanes");
    let found = made(&bank, &lanes, 1_000, 8_192);
    let total: usize = found.iter().flatten().map(Vec::len).sum();
    assert!(lanes.slices() >= total / 100_000, "{} slices", lanes.slices());
    for slice in 0..lanes.slices() {
        let times: Vec<i64> = found.iter().flat_map(|lane| &lane[slice]).map(|e| e.0).collect();
        let (first, last) = (times.iter().min(), times.iter().max());
        let long = first.zip(last).is_some_and(|(first, last)| last - first >= 3_600_000);
        assert!(!long || times.len() <= 100_000, "{} events", times.len());
    }
    // Some slices have many events, so that record batches are not cut short.
    assert!(lanes.slices() <= total / 40_000, "{} slices of {total}", lanes.slices());
}

#[test]
fn what_is_out_of_range_is_refused() {
    let bank = bank_of(Plan::try_new(42, 10, DEFAULT_AS_OF, 30).expect("a plan"));
    // Reference rows come about in no time.
    let stocks = datagen_core::catalog::TABLES[2];
    assert!(Lanes::new(&bank, &[(stocks, 1)], 0..10, EVER).is_err());
    assert!(Lanes::new(&bank, &[(STREAMS[0], 1)], 0..11, EVER).is_err());
    let many = bank_of(Plan::try_new(42, 9_000_000, DEFAULT_AS_OF, 1).expect("a plan"));
    assert!(Lanes::new(&many, &[(STREAMS[0], 1)], 0..9_000_000, EVER).is_err());
    assert!(Lanes::new(&many, &[(STREAMS[0], 2)], 0..9_000_000, EVER).is_ok());
}
