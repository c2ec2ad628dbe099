//! Events in order of time, in rows per second.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use datagen_core::batch::{EVER, InTime, Lanes};
use datagen_core::catalog::STREAMS;
use datagen_core::column::Batch;
use datagen_core::encode::{Format, encode};
use datagen_core::order::TimeOrder;

use crate::{bank, batches, total};

/// The largest load that is kept in memory without being asked for.
const CUSTOMERS: u64 = 9_999;
/// Rows of a batch on its way to a topic.
const SENT_ROWS: usize = 8_192;

pub fn in_time(criterion: &mut Criterion) {
    let bank = bank(CUSTOMERS);
    let made: Vec<Batch> =
        STREAMS.into_iter().flat_map(|stream| batches(&bank, stream, 0..CUSTOMERS)).collect();
    let events = total(&made);
    let made: Vec<Arc<Batch>> = made.into_iter().map(Arc::new).collect();

    let mut group = criterion.benchmark_group("order");
    group.throughput(Throughput::Elements(events));
    group.bench_function("events in time", |bencher| {
        bencher.iter(|| TimeOrder::new(made.clone(), SENT_ROWS).map(black_box).count());
    });
    group.finish();
}

/// The events of all streams made in order of time, and their Avro: what a load in that order does before
/// records are packed.
pub fn made_in_time(criterion: &mut Criterion) {
    let bank = bank(100_000);
    let format = Format::Avro { schema_id: Some(1) };
    let streams = STREAMS.map(|stream| {
        let topic = stream.topic().expect("a stream");
        (stream, topic.parallel_partitions)
    });
    let in_time = || {
        let lanes = Lanes::new(&bank, &streams, 0..bank.plan().customers(), EVER);
        InTime::new(lanes.expect("lanes"), SENT_ROWS)
    };
    let events = in_time().map(|batch| batch.rows() as u64).sum();
    let mut group = criterion.benchmark_group("made in time");
    group.sample_size(10).throughput(Throughput::Elements(events));
    group.bench_function("events", |bencher| bencher.iter(|| in_time().map(black_box).count()));
    group.bench_function("as avro", |bencher| {
        bencher.iter(|| {
            for batch in in_time() {
                black_box(encode(&batch, format));
            }
        });
    });
    group.finish();
}
