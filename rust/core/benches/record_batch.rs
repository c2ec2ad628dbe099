//! Record batches of transactions with the six headers of `CloudEvents`, in records per second.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use datagen_core::batch::Bank;
use datagen_core::catalog::relation;
use datagen_core::encode::kafka::{
    BatchBuilder, Codec, Compressor, Header, Limits, Records, Timestamps, partition,
    rows_by_partition,
};
use datagen_core::encode::{Encoded, Format, encode, text};
use datagen_core::plan::{DEFAULT_AS_OF, DEFAULT_DAYS, Plan};

const CUSTOMERS: u64 = 1_000;
const ROWS: usize = 65_536;
const PARTITIONS: u32 = 6;

/// What a stream makes of its columns for Kafka.
struct Columns {
    keys: Encoded,
    ids: Encoded,
    times: Encoded,
    values: Encoded,
}

fn columns() -> Columns {
    let plan = Plan::try_new(42, CUSTOMERS, DEFAULT_AS_OF, DEFAULT_DAYS).expect("a valid plan");
    let stream = relation("banking.transactions").expect("a stream of the catalogue");
    let mut batches =
        Arc::new(Bank::new(plan)).batches(stream, 0..CUSTOMERS, ROWS).expect("a valid range");
    let batch = batches.next().expect("transactions");
    let topic = stream.topic().expect("a stream");
    let column = |name| {
        let at = stream.position(name).expect("a field");
        text(&batch.columns()[at], &stream.fields[at]).expect("a field with a text")
    };
    Columns {
        keys: column(topic.key),
        ids: column(stream.fields[0].name),
        times: column(topic.time),
        values: encode(&batch, Format::Avro { schema_id: Some(1) }),
    }
}

/// Makes all batches of all partitions and returns their bytes.
fn batches(
    records: &Records,
    rows: &[Vec<u32>],
    builder: &mut BatchBuilder,
    mut finish: impl FnMut(&mut BatchBuilder) -> usize,
) -> usize {
    let mut bytes = 0;
    for rows in rows {
        let mut rest = &rows[..];
        while !rest.is_empty() {
            rest = &rest[builder.append(records, rest)..];
            bytes += finish(builder);
        }
    }
    bytes
}

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    record_batch(&mut criterion);
    criterion.final_summary();
}

fn record_batch(criterion: &mut Criterion) {
    let Columns { keys, ids, times, values } = columns();
    let headers = [
        Header::same("ce_specversion", b"1.0"),
        Header::same("ce_type", b"banking.transaction.created"),
        Header::same("ce_source", b"data-gen/financial"),
        Header::each("ce_id", &ids),
        Header::each("ce_time", &times),
        Header::each("ce_subject", &keys),
    ];
    let records = Records::new(&keys, &values, &headers, Timestamps::Same(DEFAULT_AS_OF));
    let rows = rows_by_partition(&partition(&keys, PARTITIONS), PARTITIONS);
    let mut builder = BatchBuilder::new(Limits::default());

    let mut group = criterion.benchmark_group("record_batch");
    group.throughput(Throughput::Elements(records.len() as u64));
    group.bench_function("partition", |bencher| {
        bencher.iter(|| rows_by_partition(&partition(black_box(&keys), PARTITIONS), PARTITIONS));
    });
    for codec in Codec::ALL {
        let mut compressor = Compressor::new(codec);
        let mut out = Vec::new();
        group.bench_function(codec.name(), |bencher| {
            bencher.iter(|| {
                batches(black_box(&records), &rows, &mut builder, |builder| {
                    out.clear();
                    builder.finish(&mut compressor, &mut out);
                    out.len()
                })
            });
        });
    }
    group.finish();
}
