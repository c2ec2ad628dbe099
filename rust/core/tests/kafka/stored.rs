//! Batches of another encoder, with compressors of its own, and of this crate, taken apart.

use bytes::{Bytes, BytesMut};
use datagen_core::encode::kafka::{Decompressor, Flaw, StoredBatch};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// Offset, timestamp, key, value, and headers.
pub type Plain = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn plain(batch: &StoredBatch<'_>) -> Result<Vec<Plain>, Flaw> {
    let mut room = Decompressor::default();
    let (mut records, mut all) = (batch.records(&mut room)?, Vec::new());
    while let Some(one) = records.next()? {
        let owned = |bytes: &[u8]| bytes.to_vec();
        let headers =
            records.headers().iter().map(|(name, value)| (name.to_vec(), value.map(owned)));
        all.push((
            one.offset,
            one.timestamp,
            one.key.map(owned),
            one.value.map(owned),
            headers.collect(),
        ));
    }
    Ok(all)
}

/// The records of a batch, by this crate's reader.
pub fn taken(log: &[u8]) -> Vec<Plain> {
    let mut left = log;
    let batch = StoredBatch::take(&mut left).expect("a batch").expect("all of it");
    assert!(left.is_empty());
    plain(&batch).expect("records")
}

fn part() -> impl Strategy<Value = Option<Vec<u8>>> {
    prop_oneof![
        1 => Just(None),
        8 => vec(any::<u8>(), 0..40).prop_map(Some),
        1 => (1_usize..100_000, any::<u8>()).prop_map(|(len, byte)| Some(vec![byte; len])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever another encoder writes, by compressors that are not ours.
    #[test]
    fn another_encoder_s_batches_are_read(
        codec in prop_oneof![
            Just(Compression::None), Just(Compression::Gzip), Just(Compression::Snappy),
            Just(Compression::Lz4), Just(Compression::Zstd),
        ],
        first in 0_i64..1 << 40,
        time in 0_i64..1 << 41,
        rows in vec((part(), part(), vec(("[a-z]{1,8}", part()), 0..4), 0_i64..1_000_000), 1..30),
    ) {
        let mut wanted = Vec::new();
        let records: Vec<_> = (0..).zip(rows).map(|(row, (key, value, headers, later))| {
            let headers: IndexMap<_, _> = headers
                .into_iter()
                .map(|(name, value)| (StrBytes::from_string(name), value.map(Bytes::from)))
                .collect();
            let named = headers.iter().map(|(name, value)| {
                (name.as_bytes().to_vec(), value.as_ref().map(|value| value.to_vec()))
            });
            wanted.push((first + row, time + later, key.clone(), value.clone(), named.collect()));
            Record {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
                producer_id: NO_PRODUCER_ID,
                producer_epoch: NO_PRODUCER_EPOCH,
                timestamp_type: TimestampType::Creation,
                offset: first + row,
                sequence: row as i32,
                timestamp: time + later,
                key: key.map(Bytes::from),
                value: value.map(Bytes::from),
                headers,
            }
        }).collect();
        let options = RecordEncodeOptions { version: 2, compression: codec };
        let mut batch = BytesMut::new();
        RecordBatchEncoder::encode(&mut batch, &records, &options).expect("a batch");
        prop_assert_eq!(taken(&batch), wanted);
    }
}
