//! Any records, in batches of any codec and limits, read back as they were.

#![no_main]

#[path = "../../tests/kafka/model.rs"]
mod model;

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use datagen_core::encode::kafka::{Codec, Limits, Producer};
use libfuzzer_sys::fuzz_target;
use model::{Case, HeaderValue};

#[derive(Arbitrary, Debug)]
struct Input {
    codec: u8,
    bytes: u16,
    records: u8,
    producer: Option<(u32, u16, u32)>,
    one_timestamp: bool,
    headers: BTreeMap<String, (Vec<u8>, Vec<Vec<u8>>)>,
    rows: Vec<Row>,
}

#[derive(Arbitrary, Debug)]
struct Row {
    key: Vec<u8>,
    value: Vec<u8>,
    /// Copies of the value, one after the other, for more than one block.
    times: u16,
    timestamp: i64,
}

impl From<Input> for Case {
    fn from(input: Input) -> Self {
        const MOST_BYTES: usize = 200_000;
        let value = |(first, mut more): (Vec<u8>, Vec<Vec<u8>>)| {
            if more.is_empty() {
                return HeaderValue::Same(first);
            }
            more.push(first);
            HeaderValue::Cycle(more)
        };
        let record = |row: Row| {
            let times = usize::from(row.times).min(MOST_BYTES / row.value.len().max(1));
            // The reader adds timestamps up, and minds when that goes over.
            (row.key, row.value.repeat(times), row.timestamp / 4)
        };
        Self {
            codec: Codec::ALL[usize::from(input.codec) % Codec::ALL.len()],
            limits: Limits { bytes: input.bytes.into(), records: input.records.max(1).into() },
            producer: input.producer.map_or(Producer::NONE, |(id, epoch, sequence)| Producer {
                id: id.into(),
                epoch: (epoch / 2) as i16,
                sequence: (sequence / 2) as i32,
            }),
            one_timestamp: input.one_timestamp,
            headers: input.headers.into_iter().map(|(k, v)| (k, value(v))).collect(),
            records: input.rows.into_iter().map(record).collect(),
        }
    }
}

fuzz_target!(|input: Input| Case::from(input).check());
