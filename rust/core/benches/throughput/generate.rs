//! Generation of every table and stream, and of all streams with their Avro, in rows per second.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput};
use datagen_core::batch::Bank;
use datagen_core::catalog::{Relation, STREAMS, TABLES};
use datagen_core::encode::{Format, encode};

use crate::{BATCH_ROWS, CUSTOMERS, bank, batches};

pub fn relations(criterion: &mut Criterion) {
    let bank = bank(CUSTOMERS);
    let mut group = criterion.benchmark_group("generate");
    for relation in TABLES.into_iter().chain(STREAMS) {
        group.throughput(Throughput::Elements(rows(&bank, relation)));
        group.bench_function(relation.name, |bencher| {
            bencher.iter(|| {
                for batch in batches(&bank, relation, 0..CUSTOMERS) {
                    black_box(batch);
                }
            });
        });
    }
    group.finish();
}

/// What a load does for Kafka before a client is involved, by rows to a batch.
pub fn events_as_avro(criterion: &mut Criterion) {
    let bank = bank(CUSTOMERS);
    let format = Format::Avro { schema_id: Some(1) };
    let mut group = criterion.benchmark_group("all streams as avro");
    group.throughput(Throughput::Elements(STREAMS.into_iter().map(|s| rows(&bank, s)).sum()));
    for size in [4_096, BATCH_ROWS, 65_536] {
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                for stream in STREAMS {
                    for batch in bank.batches(stream, 0..CUSTOMERS, size).expect("a valid range") {
                        black_box(encode(&batch, format));
                    }
                }
            });
        });
    }
    group.finish();
}

fn rows(bank: &Arc<Bank>, relation: &'static Relation) -> u64 {
    bank.rows(relation, 0..CUSTOMERS).expect("a valid range")
}
