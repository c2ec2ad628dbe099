//! What it takes to turn a plan into batches for Kafka, on one thread, in events per second: the whole
//! chain, and beside it each of its stages on what the stages before it have made.
//!
//! Of 10 000 customers come the events of each stream, and of all four in their natural mix.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use datagen_core::batch::Bank;
use datagen_core::catalog::{Relation, STREAMS, Topic, relation};
use datagen_core::column::Batch;
use datagen_core::encode::kafka::{
    BatchBuilder, Codec, Compressor, EventFormat, Events, Header, Limits, Packed, Packer, Producer,
    Records, Timestamps, partition, rows_by_partition, set_producer,
};
use datagen_core::encode::{Encoded, Format, encode, text};
use datagen_core::keys::KeySet;
use datagen_core::order::TimeOrder;
use datagen_core::plan::{DEFAULT_AS_OF, DEFAULT_DAYS, Plan};
use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};

const CUSTOMERS: u64 = 10_000;
/// Columns of so many rows stay in a processor's second-level cache, or nearly.
const ROWS: usize = 8_192;
const PARTITIONS: u32 = 6;
/// Bytes of a batch before compression.
const HALF_MIB: usize = 512 * 1024;
const MIB: usize = 1024 * 1024;
const PRODUCER: Producer = Producer { id: 4_000, epoch: 0, sequence: 0 };

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let bank =
        Bank::new(Plan::try_new(42, CUSTOMERS, DEFAULT_AS_OF, DEFAULT_DAYS).expect("a valid plan"));
    let bank = Arc::new(bank);
    let streams = STREAMS.map(|relation| Stream::new(&bank, relation));
    for stream in &streams {
        let mut group = criterion.benchmark_group(stream.relation.name);
        group.throughput(Throughput::Elements(stream.events));
        stages(&mut group, &bank, stream);
        chains(&mut group, &bank, std::slice::from_ref(stream));
        group.finish();
    }
    let mut group = criterion.benchmark_group("all streams");
    group.throughput(Throughput::Elements(streams.iter().map(|stream| stream.events).sum()));
    chains(&mut group, &bank, &streams);
    group.finish();
    codecs(&mut criterion, &bank, &streams[0]);
    lz4(&mut criterion, &bank);
    criterion.final_summary();
}

/// A stream, and the keys that its foreign keys may have.
struct Stream {
    relation: &'static Relation,
    topic: &'static Topic,
    events: u64,
    parents: Vec<(&'static str, KeySet)>,
}

impl Stream {
    fn new(bank: &Arc<Bank>, relation: &'static Relation) -> Self {
        let parents = relation.foreign_keys.iter().map(|key| (key.field, ids(bank, key.table)));
        Self {
            relation,
            topic: relation.topic().expect("a stream"),
            events: bank.rows(relation, 0..CUSTOMERS).expect("a valid range"),
            parents: parents.collect(),
        }
    }

    fn batches(&self, bank: &Arc<Bank>) -> impl Iterator<Item = Batch> {
        bank.batches(self.relation, 0..CUSTOMERS, ROWS).expect("a valid range")
    }

    fn check(&self, batch: &Batch) {
        for (field, ids) in &self.parents {
            let column = batch.column(field).expect("its own field");
            assert_eq!(ids.first_missing(column), None, "an unknown {field}");
        }
    }

    fn text(&self, batch: &Batch, field: &str) -> Encoded {
        let at = self.relation.position(field).expect("its own field");
        text(&batch.columns()[at], &self.relation.fields[at]).expect("a field with a text")
    }

    fn texts(&self, batch: &Batch) -> Texts {
        Texts {
            keys: self.text(batch, self.topic.key),
            ids: self.text(batch, self.relation.fields[0].name),
            times: self.text(batch, self.topic.time),
        }
    }

    /// Gives the records of a batch to the builders of their partitions; `full` gets a full one.
    fn append(
        &self,
        texts: &Texts,
        values: &Encoded,
        rows: &[Vec<u32>],
        builders: &mut [BatchBuilder],
        full: &mut impl FnMut(&mut BatchBuilder),
    ) {
        let headers = [
            Header::same("ce_specversion", b"1.0"),
            Header::same("ce_type", self.topic.ce_type.as_bytes()),
            Header::same("ce_source", b"data-gen/financial"),
            Header::each("ce_id", &texts.ids),
            Header::each("ce_time", &texts.times),
            Header::each("ce_subject", &texts.keys),
        ];
        let records = Records::new(&texts.keys, values, &headers, Timestamps::Same(DEFAULT_AS_OF));
        for (rows, builder) in rows.iter().zip(builders) {
            let mut rest = &rows[..];
            while !rest.is_empty() {
                rest = &rest[builder.append(&records, rest)..];
                if !rest.is_empty() {
                    full(builder);
                }
            }
        }
    }
}

/// Keys and headers of the rows of a batch.
struct Texts {
    keys: Encoded,
    ids: Encoded,
    times: Encoded,
}

/// The first column of a table.
fn ids(bank: &Arc<Bank>, table: &str) -> KeySet {
    let table = relation(table).expect("a table of the catalogue");
    let mut ids = KeySet::new();
    for batch in bank.batches(table, 0..CUSTOMERS, ROWS).expect("a valid range") {
        assert_eq!(ids.insert_column(&batch.columns()[0], None), None, "ids are unique");
    }
    ids
}

fn avro(batch: &Batch) -> Encoded {
    encode(batch, Format::Avro { schema_id: Some(1) })
}

fn rows(keys: &Encoded, partitions: u32) -> Vec<Vec<u32>> {
    rows_by_partition(&partition(keys, partitions), partitions)
}

fn builders(partitions: u32, bytes: usize) -> Vec<BatchBuilder> {
    let limits = Limits { bytes, ..Limits::default() };
    (0..partitions).map(|_| BatchBuilder::new(limits)).collect()
}

/// Everything: events, checks, Avro, keys and headers, partitions, record batches. Returns their bytes.
fn chain(
    bank: &Arc<Bank>,
    stream: &Stream,
    builders: &mut [BatchBuilder],
    compressor: &mut Compressor,
    out: &mut Vec<u8>,
) -> usize {
    let mut bytes = 0;
    let mut finish = |builder: &mut BatchBuilder| {
        out.clear();
        builder.finish(compressor, out);
        set_producer(out, PRODUCER);
        bytes += out.len();
    };
    for batch in stream.batches(bank) {
        stream.check(&batch);
        let (texts, values) = (stream.texts(&batch), avro(&batch));
        let rows = rows(&texts.keys, builders.len() as u32);
        stream.append(&texts, &values, &rows, builders, &mut finish);
    }
    for builder in builders.iter_mut().filter(|builder| !builder.is_empty()) {
        finish(builder);
    }
    bytes
}

fn chains(group: &mut BenchmarkGroup<WallTime>, bank: &Arc<Bank>, streams: &[Stream]) {
    let mut compressor = Compressor::new(Codec::Lz4);
    let mut out = Vec::new();
    for (partitions, bytes) in [(3, HALF_MIB), (6, HALF_MIB), (3, MIB), (6, MIB)] {
        let mut builders = builders(partitions, bytes);
        let name = format!("chain, {partitions} partitions, {} KiB", bytes / 1024);
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut chain =
                    |stream| chain(bank, stream, &mut builders, &mut compressor, &mut out);
                streams.iter().map(&mut chain).sum::<usize>()
            });
        });
    }
}

/// The stages of [`chain`], each on what is there already.
fn stages(group: &mut BenchmarkGroup<WallTime>, bank: &Arc<Bank>, stream: &Stream) {
    group.bench_function("generate", |bencher| {
        bencher.iter(|| stream.batches(bank).map(black_box).count());
    });
    let ready: Vec<Batch> = stream.batches(bank).collect();
    group.bench_function("check keys", |bencher| {
        bencher.iter(|| ready.iter().for_each(|batch| stream.check(batch)));
    });
    group.bench_function("avro", |bencher| {
        bencher.iter(|| ready.iter().map(|batch| black_box(avro(batch)).len()).sum::<usize>());
    });
    let topic = stream.topic;
    for (name, field) in [
        ("text of key", topic.key),
        ("text of ce_id", stream.relation.fields[0].name),
        ("text of ce_time", topic.time),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                ready.iter().map(|batch| black_box(stream.text(batch, field)).len()).sum::<usize>()
            });
        });
    }
    let texts: Vec<Texts> = ready.iter().map(|batch| stream.texts(batch)).collect();
    group.bench_function("partition", |bencher| {
        bencher.iter(|| {
            texts.iter().map(|texts| black_box(rows(&texts.keys, PARTITIONS)).len()).sum::<usize>()
        });
    });
    let parts = |(batch, texts): (&Batch, Texts)| {
        let rows = rows(&texts.keys, PARTITIONS);
        (texts, avro(batch), rows)
    };
    let records: Vec<(Texts, Encoded, Vec<Vec<u32>>)> =
        ready.iter().zip(texts).map(parts).collect();
    // The second less the first is what compression takes.
    for (name, codec) in [("records and CRC", Codec::None), ("records, lz4 and CRC", Codec::Lz4)] {
        let mut builders = builders(PARTITIONS, HALF_MIB);
        let mut compressor = Compressor::new(codec);
        let mut out = Vec::new();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for (texts, values, rows) in &records {
                    stream.append(texts, values, rows, &mut builders, &mut |builder| {
                        out.clear();
                        builder.finish(&mut compressor, &mut out);
                        black_box(&out);
                    });
                }
            });
        });
    }
}

/// The whole chain with each codec.
fn codecs(criterion: &mut Criterion, bank: &Arc<Bank>, stream: &Stream) {
    let mut group = criterion.benchmark_group("codecs");
    group.throughput(Throughput::Elements(stream.events));
    for codec in Codec::ALL {
        let mut builders = builders(PARTITIONS, HALF_MIB);
        let mut compressor = Compressor::new(codec);
        let mut out = Vec::new();
        group.bench_function(codec.name(), |bencher| {
            bencher.iter(|| chain(bank, stream, &mut builders, &mut compressor, &mut out));
        });
    }
    group.finish();
}

/// LZ4 of the record batches of all streams in their natural mix, beside a search of all their bytes by
/// `lz4_flex`; in the order of the entities and in that of time. Bytes go to standard output.
fn lz4(criterion: &mut Criterion, bank: &Arc<Bank>) {
    /// Few enough that what is compressed was written a moment ago, as in a producer.
    const ENTITIES: u64 = 2_000;
    const HEADER: usize = 61;
    const BLOCK: usize = 64 * 1024;
    const FORMAT: EventFormat = EventFormat {
        value: Format::Avro { schema_id: Some(1) },
        cloudevents: true,
        content_type: true,
        timestamp: None,
    };
    let made =
        |stream| bank.batches(stream, 0..ENTITIES, ROWS).expect("a valid range").map(Arc::new);
    let by_entity: Vec<Arc<Batch>> = STREAMS.into_iter().flat_map(made).collect();
    let in_time: Vec<Arc<Batch>> = TimeOrder::new(by_entity.clone(), ROWS).map(Arc::new).collect();
    for (order, batches) in [("by entity", by_entity), ("in time", in_time)] {
        let count: u64 = batches.iter().map(|batch| batch.rows() as u64).sum();
        let events: Vec<Vec<Events>> = STREAMS
            .iter()
            .map(|stream| {
                let of_stream = |batch: &&Arc<Batch>| batch.relation().name == stream.name;
                batches.iter().filter(of_stream).map(|batch| Events::new(batch, FORMAT)).collect()
            })
            .collect();
        // Batches of equal length before compression, so that records and blocks are the same.
        let pack = |codec| -> Vec<Packed> {
            let size = if codec == Codec::None { HALF_MIB } else { HALF_MIB / 3 };
            let mut out = Vec::new();
            for events in &events {
                let mut packer = Packer::new(PARTITIONS, size, codec);
                for events in events {
                    packer.push(events, &mut out);
                }
                (0..PARTITIONS).for_each(|number| packer.finish(number, &mut out));
            }
            out
        };
        let plain = pack(Codec::None);
        let mut table = CompressTable::large();
        let mut room = vec![0; get_maximum_output_size(BLOCK)];
        let mut search = |plain: &Packed| -> usize {
            let blocks = plain.bytes[HEADER..].chunks(BLOCK);
            let len = |block| compress_into_with_table(block, &mut room, &mut table);
            blocks.map(len).map(|len| 4 + len.expect("room for a block")).sum()
        };
        let searched: usize = plain.iter().map(&mut search).sum();
        let guided: usize = pack(Codec::Lz4).iter().map(|one| one.bytes.len() - HEADER).sum();
        let [searched, guided] = [searched, guided].map(|bytes| bytes as u64 * 1_000 / count);
        println!("{order}, bytes of 1 000 events: {searched} by lz4_flex, {guided} by ours");

        let mut group = criterion.benchmark_group(format!("lz4, {order}"));
        group.throughput(Throughput::Elements(count));
        // The second less the first is what compression takes.
        group.bench_function("records and CRC", |bencher| bencher.iter(|| pack(Codec::None)));
        group.bench_function("records, lz4 and CRC", |bencher| bencher.iter(|| pack(Codec::Lz4)));
        group.bench_function("lz4_flex", |bencher| {
            bencher.iter(|| plain.iter().map(&mut search).sum::<usize>());
        });
        group.finish();
    }
}
