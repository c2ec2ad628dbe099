//! The encoders on ready-made batches, in rows per second.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use datagen_core::catalog::{FieldType, STREAMS, TABLES, relation};
use datagen_core::column::Batch;
use datagen_core::encode::{Format, encode, text};

use crate::{CUSTOMERS, bank, batches, total};

pub fn formats(criterion: &mut Criterion) {
    let bank = bank(CUSTOMERS);
    let avro = Format::Avro { schema_id: Some(1) };
    for (name, format, relations) in [
        ("avro", avro, STREAMS.as_slice()),
        ("json", Format::Json, STREAMS.as_slice()),
        ("pgcopy", Format::PgCopy, TABLES.as_slice()),
    ] {
        let mut group = criterion.benchmark_group(name);
        for relation in relations {
            let ready: Vec<Batch> = batches(&bank, relation, 0..CUSTOMERS).collect();
            group.throughput(Throughput::Elements(total(&ready)));
            group.bench_function(relation.name, |bencher| {
                bencher.iter(|| {
                    for batch in &ready {
                        black_box(encode(batch, format));
                    }
                });
            });
        }
        group.finish();
    }
}

/// Keys and headers: the id and the time of a transaction.
pub fn texts(criterion: &mut Criterion) {
    let bank = bank(CUSTOMERS);
    let stream = relation("banking.transactions").expect("a stream of the catalogue");
    let ready: Vec<Batch> = batches(&bank, stream, 0..CUSTOMERS).collect();
    let mut group = criterion.benchmark_group("text");
    group.throughput(Throughput::Elements(total(&ready)));
    for field in stream.fields {
        if !matches!(field.ty, FieldType::Uuid | FieldType::Instant) {
            continue;
        }
        let position = stream.position(field.name).expect("its own field");
        group.bench_function(field.name, |bencher| {
            bencher.iter(|| {
                for batch in &ready {
                    black_box(text(&batch.columns()[position], field));
                }
            });
        });
    }
    group.finish();
}
