//! Events in order of time, in rows per second.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use datagen_core::catalog::STREAMS;
use datagen_core::column::Batch;
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
