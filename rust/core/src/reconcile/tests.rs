use std::sync::Arc;

use super::judge::Seen;
use super::*;
use crate::batch::EVER;
use crate::catalog::{STREAMS, TABLES};
use crate::column::Batch;
use crate::encode::kafka::{
    Codec, Decompressor, EventFormat, Events, Flaw, Packer, Producer, StoredBatch, set_producer,
};
use crate::plan::{DEFAULT_AS_OF, Plan};

const SCHEMA: u32 = 7;
const NOW: i64 = 1_782_864_000_123;
/// Where a batch has the timestamp of its first record, and where its records begin.
const BASE_TIMESTAMP: Range<usize> = 27..35;
const RECORDS: usize = 61;

fn bank() -> Arc<Bank> {
    Arc::new(Bank::new(Plan::try_new(3, 20, DEFAULT_AS_OF, 30).expect("a plan")))
}

/// All ways of which records are made, as they are expected and as they are sent.
fn shapes() -> Vec<(Shape, EventFormat)> {
    let mut all = Vec::new();
    for (value, sent) in [
        (Format::Avro { schema_id: None }, Format::Avro { schema_id: Some(SCHEMA) }),
        (Format::AvroStrings { schema_id: None }, Format::AvroStrings { schema_id: Some(SCHEMA) }),
        (Format::Json, Format::Json),
    ] {
        for number in 0..8 {
            let (cloudevents, content_type) = (number & 1 != 0, number & 2 != 0);
            let event_time = number & 4 != 0;
            let timestamp = (!event_time).then_some(NOW);
            let (partitions, in_time) = (1, false);
            all.push((
                Shape::Records {
                    value,
                    cloudevents,
                    content_type,
                    event_time,
                    partitions,
                    in_time,
                },
                EventFormat { value: sent, cloudevents, content_type, timestamp },
            ));
        }
    }
    all
}

/// What is sent so: tables are sent without headers of events, and have no event's time.
fn relations(format: &EventFormat) -> Vec<&'static Relation> {
    let has_tables = !format.cloudevents && format.timestamp.is_some();
    let tables = TABLES.into_iter().filter(|_| has_tables);
    STREAMS.into_iter().chain(tables).collect()
}

/// The events of a batch as record batches, of so many bytes.
fn packed(batch: &Batch, format: EventFormat, size: usize) -> Vec<Vec<u8>> {
    let (mut packer, mut out) = (Packer::new(1, size, Codec::None), Vec::new());
    packer.push(&Events::new(batch, format), &mut out);
    packer.finish(0, &mut out);
    out.into_iter().map(|one| one.bytes).collect()
}

fn judged(judge: &Judge, bytes: &[u8]) -> Result<Vec<Judged>, Flaw> {
    let (mut room, mut scratch) = (Decompressor::default(), Vec::new());
    let batch = StoredBatch::take(&mut &bytes[..]).expect("a batch").expect("a whole one");
    let is_ours = |schema| Ok::<_, ()>(schema == SCHEMA);
    let records = batch.records(&mut room)?;
    let all = judge.batch(records, 0, &(0..i64::MAX), is_ours, &mut scratch).expect("no error");
    Ok(all?.into_iter().map(|(judged, _)| judged).collect())
}

fn is_planned(judged: &Judged, row: &Row) -> bool {
    matches!(judged.seen, Seen::Ours { content, .. } if content == row.content)
        && judged.id == Some(row.id)
}

/// Records as they are sent need no header read, and are those of the plan; and they are judged alike once their headers
/// were read, as another client hands them over.
#[test]
fn records_as_planned_are_usual() {
    let bank = bank();
    for (shape, format) in shapes() {
        for relation in relations(&format) {
            let judge = Judge::new(&bank, relation, shape, 0..20, EVER).expect("customers");
            let batch = bank.batches(relation, 0..20, 100).expect("customers").next();
            let batch = batch.expect("events");
            let (rows, packed) = (rows_of(&batch, shape), packed(&batch, format, 1 << 20));
            let [bytes] = &packed[..] else { panic!("one batch") };
            let found = judged(&judge, bytes).expect("records");
            assert_eq!(found.len(), rows.len());
            let (mut room, mut scratch) = (Decompressor::default(), Vec::new());
            let stored = StoredBatch::take(&mut &bytes[..]).expect("a batch").expect("a whole one");
            let mut records = stored.records(&mut room).expect("records");
            for (row, found) in rows.iter().zip(&found) {
                assert!(is_planned(found, row), "{} {shape:?}", relation.name);
                let (one, folded) = records.next_folded().expect("a record").expect("as many");
                let key = one.key.expect("a key");
                assert!(judge.is_usual(folded, key), "{} {shape:?}", relation.name);
                records.unfold(folded).expect("headers");
                let framed = |id| Ok::<_, ()>(id == SCHEMA);
                let value = one.value.map(|value| judge.unframed(value, framed).expect("no error"));
                let (headers, timestamp) = (records.headers(), one.timestamp);
                let record =
                    Record { partition: 0, offset: 0, timestamp, key: one.key, value, headers };
                assert!(is_planned(&judge.record(&record, &mut scratch), row));
            }
        }
    }
}

/// Whichever byte of a record is another one: of its key, its value, its headers, or of its timestamp where that counts.
#[test]
fn a_byte_that_is_altered_is_found() {
    let bank = bank();
    for (shape, format) in shapes() {
        for relation in relations(&format) {
            let judge = Judge::new(&bank, relation, shape, 0..20, EVER).expect("customers");
            let batch = bank.batches(relation, 0..20, 1).expect("customers").next();
            let batch = batch.expect("an event");
            let row = rows_of(&batch, shape)[0];
            let mut bytes = packed(&batch, format, 1).swap_remove(0);
            let is_there = |bytes: &mut [u8]| {
                set_producer(bytes, Producer { id: -1, epoch: -1, sequence: -1 });
                judged(&judge, bytes).is_ok_and(|found| found.iter().any(|f| is_planned(f, &row)))
            };
            assert!(is_there(&mut bytes));
            // Behind the length, the attributes, and the distances from the first record, which are 0.
            let key = RECORDS + bytes[RECORDS..].iter().take_while(|b| **b & 0x80 != 0).count() + 4;
            let timestamp = if format.timestamp.is_none() { BASE_TIMESTAMP } else { 0..0 };
            for at in (key..bytes.len()).chain(timestamp) {
                for bit in [0x01, 0x20, 0x80] {
                    bytes[at] ^= bit;
                    assert!(!is_there(&mut bytes), "{} {shape:?}: {at}, {bit:x}", relation.name);
                    bytes[at] ^= bit;
                }
            }
            assert!(is_there(&mut bytes));
        }
    }
}
