//! Writes a segment of a Kafka log: the transactions of 50 customers in batches of each codec, for
//! Kafka's own `DumpLogSegments` to read.
//!
//! `cargo run --package datagen-core --example record_batches -- 00000000000000000000.log`

use std::sync::Arc;

use datagen_core::batch::Bank;
use datagen_core::catalog::relation;
use datagen_core::encode::kafka::{
    BatchBuilder, Codec, Compressor, Header, Limits, Producer, Records, Timestamps,
    set_base_offset, set_producer,
};
use datagen_core::encode::{Encoded, Format, encode, text};
use datagen_core::plan::{DEFAULT_AS_OF, DEFAULT_DAYS, Plan};

const CUSTOMERS: u64 = 50;
/// Several batches of each codec, and several blocks in a batch.
const LIMITS: Limits = Limits { bytes: 200_000, records: 400 };

fn main() -> std::io::Result<()> {
    let Some(path) = std::env::args().nth(1) else {
        return Err(std::io::Error::other("usage: record_batches FILE"));
    };
    std::fs::write(path, segment())
}

fn segment() -> Vec<u8> {
    let plan = Plan::try_new(42, CUSTOMERS, DEFAULT_AS_OF, DEFAULT_DAYS).expect("a valid plan");
    let stream = relation("banking.transactions").expect("a stream of the catalogue");
    let topic = stream.topic().expect("a stream");
    let batch = Arc::new(Bank::new(plan))
        .batches(stream, 0..CUSTOMERS, 65_536)
        .expect("a valid range")
        .next()
        .expect("transactions");
    let column = |name: &str| -> Encoded {
        let at = stream.position(name).expect("a field");
        text(&batch.columns()[at], &stream.fields[at]).expect("a field with a text")
    };
    let (keys, times, ids) = (column(topic.key), column(topic.time), column(stream.fields[0].name));
    let headers = [
        Header::same("ce_specversion", b"1.0"),
        Header::same("ce_type", topic.ce_type.as_bytes()),
        Header::same("ce_source", b"data-gen/financial"),
        Header::each("ce_id", &ids),
        Header::each("ce_time", &times),
        Header::each("ce_subject", &keys),
    ];
    // Text, because the tool prints values as such.
    let values = encode(&batch, Format::Json);
    let timestamps: Vec<i64> = (0..keys.len() as i64).map(|row| DEFAULT_AS_OF - row).collect();
    let records = Records::new(&keys, &values, &headers, Timestamps::Each(&timestamps));
    let rows: Vec<u32> = (0..records.len() as u32).collect();

    let mut builder = BatchBuilder::new(LIMITS);
    let mut out = Vec::new();
    let mut offset = 0;
    // The last sequence numbers that there are, and then 0.
    let mut producer = Producer { id: 4_000, epoch: 1, sequence: i32::MAX - 1_000 };
    for codec in Codec::ALL {
        let mut compressor = Compressor::new(codec);
        let mut rest = &rows[..];
        while !rest.is_empty() {
            rest = &rest[builder.append(&records, rest)..];
            let (start, count) = (out.len(), builder.len());
            builder.finish(&mut compressor, &mut out);
            set_base_offset(&mut out[start..], offset);
            set_producer(&mut out[start..], producer);
            offset += count as i64;
            producer = producer.after(count);
        }
    }
    out
}
