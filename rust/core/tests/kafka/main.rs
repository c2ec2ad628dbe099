//! Record batches, read back by the crate `kafka-protocol`, and figures that Kafka published.

#![allow(missing_docs, reason = "a test crate")]

mod model;
mod packing;
mod stored;

use bytes::{Bytes, BytesMut};
use datagen_core::encode::kafka::{
    BatchBuilder, Codec, Compressor, Header, Limits, Producer, Records, Timestamps, first_key,
    murmur2, partition, rows_by_partition, set_base_offset, set_producer, split,
};
use kafka_protocol::records::{Compression, RecordBatchEncoder, RecordEncodeOptions};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use model::{Case, HeaderValue, encoded, read};

const ANY_NUMBER: Limits = Limits { bytes: usize::MAX, records: usize::MAX };

/// Of Kafka's `UtilsTest.testMurmur2`.
#[test]
fn murmur2_as_published() {
    for (key, hash) in [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ] {
        assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
    }
}

#[test]
fn equal_keys_share_a_partition() {
    let keys = encoded(&["21", "21", "abc", "21", "", "", "foobar"]);
    // Without its sign bit the hash of "21" is 1173551340, of "foobar" 1357151166; the partition of
    // ten is the last digit. That of no bytes is in a test of kafka-python.
    assert_eq!(murmur2(b""), 275_646_681);
    let partitions = partition(&keys, 10);
    assert_eq!(partitions, [0, 0, 7, 0, 1, 1, 6]);
    let rows = rows_by_partition(&partitions, 10);
    for (number, expected) in [(0, &[0, 1, 3][..]), (1, &[4, 5]), (2, &[]), (6, &[6]), (7, &[2])] {
        assert_eq!(rows[number], expected);
    }
    assert_eq!(partition(&keys, 1), [0; 7]);
}

/// Of Kafka's `DefaultRecordBatchTest.testIncrementSequence`, and its neighbours.
#[test]
fn sequences_go_on_from_zero() {
    let after = |sequence, records| Producer { id: 1, epoch: 0, sequence }.after(records).sequence;
    assert_eq!(after(5, 5), 10);
    assert_eq!(after(i32::MAX, 0), i32::MAX);
    assert_eq!(after(i32::MAX, 1), 0);
    assert_eq!(after(i32::MAX - 5, 10), 4);
    assert_eq!(after(i32::MAX, i32::MAX as usize), i32::MAX - 1);
}

/// RFC 3720, appendix B.4, by a routine that knows no tables.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78))
    })
}

fn two_records(limits: Limits) -> (BatchBuilder, [usize; 2]) {
    let keys = encoded(&["ana", "bia"]);
    let values = encoded(&["12", "345"]);
    let headers = [Header::same("a", b"b"), Header::each("c", &keys)];
    let records = Records::new(&keys, &values, &headers, Timestamps::Each(&[1_000, 999]));
    let mut builder = BatchBuilder::new(limits);
    let taken = [builder.append(&records, &[0]), builder.append(&records, &[1])];
    (builder, taken)
}

/// Every byte, derived by hand from "Message Format" in Kafka's documentation.
#[test]
fn a_batch_byte_by_byte() {
    let (mut builder, taken) = two_records(Limits::default());
    assert_eq!((taken, builder.len(), builder.size()), ([1, 1], 2, 61 + 22 + 23));
    let mut batch = b"what was there".to_vec();
    builder.finish(&mut Compressor::new(Codec::None), &mut batch);
    let (before, batch) = batch.split_at_mut(14);
    assert_eq!(before, b"what was there");

    let producer = Producer { id: 0x0102_0304_0506_0708, epoch: 9, sequence: 0x0a0b_0c0d };
    set_producer(batch, producer);
    set_base_offset(batch, 0x1112_1314_1516_1718);
    let content = [
        &[0, 0][..],                                     // attributes: no codec
        &[0, 0, 0, 1],                                   // last offset delta
        &[0, 0, 0, 0, 0, 0, 3, 0xe8],                    // base timestamp: of the first record
        &[0, 0, 0, 0, 0, 0, 3, 0xe8],                    // greatest timestamp
        &[1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 10, 11, 12, 13], // producer id, epoch, base sequence
        &[0, 0, 0, 2],                                   // number of records
        // Length, attributes, timestamp delta and offset delta, and then what has a length itself.
        &[42, 0, 0, 0],
        b"\x06ana",
        b"\x0412",
        &[4],
        b"\x02a\x02b",
        b"\x02c\x06ana",
        &[44, 0, 1, 2],
        b"\x06bia",
        b"\x06345",
        &[4],
        b"\x02a\x02b",
        b"\x02c\x06bia",
    ]
    .concat();
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    let expected = [
        &[0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18][..], // base offset
        &(9 + content.len() as u32).to_be_bytes(),
        &[0xff; 4], // no leader epoch
        &[2],       // magic
        &crc32c(&content).to_be_bytes(),
        &content,
    ]
    .concat();
    assert_eq!(batch, expected);
}

#[test]
fn a_batch_is_full_when_the_next_record_does_not_fit() {
    for (bytes, records, second) in [(106, 2, 1), (105, 2, 0), (106, 1, 0), (0, 0, 0)] {
        let (builder, taken) = two_records(Limits { bytes, records });
        // The first always fits: else it could not be sent at all.
        assert_eq!((taken, builder.len()), ([1, second], 1 + second));
    }
}

/// A producer encodes in threads of its own.
#[test]
fn encoders_can_go_to_another_thread() {
    fn check<T: Send>() {}
    check::<BatchBuilder>();
    check::<Compressor>();
    check::<Records>();
}

#[test]
fn nothing_comes_of_no_records() {
    let mut out = Vec::new();
    let mut builder = BatchBuilder::new(Limits::default());
    builder.finish(&mut Compressor::new(Codec::Zstd), &mut out);
    assert!(builder.is_empty() && out.is_empty());
}

/// What no codec can shorten, in more than one block of each.
#[test]
fn random_bytes_in_every_codec() {
    let mut state = 1_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    for len in [65_000, 65_536, 300_000] {
        let value: Vec<u8> = (0..len).map(|_| byte()).collect();
        let records = vec![(b"key".to_vec(), value, 7); 2];
        for codec in Codec::ALL {
            let case = Case {
                codec,
                limits: ANY_NUMBER,
                producer: Producer::NONE,
                one_timestamp: false,
                headers: Vec::new(),
                records: records.clone(),
            };
            case.check();
        }
    }
}

#[test]
#[should_panic(expected = "columns of equal length")]
fn columns_of_unequal_length() {
    let keys = encoded(&["a"]);
    Records::new(&keys, &encoded::<&str>(&[]), &[], Timestamps::Same(0));
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..80),
        2 => vec(97_u8..100, 0..400),
        1 => (any::<u8>(), prop_oneof![60_usize..70, 8_180_usize..8_200, 60_000_usize..140_000])
            .prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn headers() -> impl Strategy<Value = Vec<(String, HeaderValue)>> {
    let value = prop_oneof![
        bytes().prop_map(HeaderValue::Same),
        vec(bytes(), 1..4).prop_map(HeaderValue::Cycle),
    ];
    // Distinct names, for the reader keeps the last value only of a name.
    btree_map("[a-z_]{0,12}|[çãé漢😀]{1,20}|x{60,70}", value, 0..8)
        .prop_map(|headers| headers.into_iter().collect())
}

fn case() -> impl Strategy<Value = Case> {
    let record = (bytes(), bytes(), -(1_i64 << 60)..1 << 60);
    let near = (bytes(), bytes(), 1_782_863_999_900_i64..1_782_864_000_100);
    let records = prop_oneof![vec(record, 0..20), vec(near, 0..100)];
    let limits = (0_usize..20_000, 1_usize..50)
        .prop_map(|(bytes, records)| Limits { bytes, records })
        .boxed();
    let producer = prop_oneof![
        Just(Producer::NONE),
        (0..=i64::MAX, 0..=i16::MAX, prop_oneof![0..100, i32::MAX - 50..=i32::MAX])
            .prop_map(|(id, epoch, sequence)| Producer { id, epoch, sequence }),
    ];
    (
        select(&Codec::ALL[..]),
        records,
        headers(),
        prop_oneof![limits, Just(ANY_NUMBER).boxed()],
        producer,
        any::<bool>(),
    )
        .prop_map(|(codec, records, headers, limits, producer, one_timestamp)| Case {
            codec,
            limits,
            producer,
            one_timestamp,
            headers,
            records,
        })
}

#[test]
fn what_is_no_batch_has_no_parts() {
    let (mut builder, _) = two_records(ANY_NUMBER);
    let mut batch = Vec::new();
    builder.finish(&mut Compressor::new(Codec::Lz4), &mut batch);
    assert!(split(&batch, 2).is_some());
    for len in 0..batch.len() {
        assert_eq!(split(&batch[..len], 2), None, "{len}");
    }
    batch[22] = 7; // no codec
    assert_eq!(split(&batch, 2), None);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn round_trip(case in case()) {
        case.check();
    }

    /// `kafka-protocol` also writes batches: when nothing is compressed, ours must be theirs.
    #[test]
    fn the_same_bytes_as_another_encoder(case in case()) {
        let case = Case {
            codec: Codec::None,
            limits: ANY_NUMBER,
            // They take the least timestamp for the base, we the first, as Java does.
            one_timestamp: true,
            ..case
        };
        for batch in case.batches() {
            let mut theirs = BytesMut::new();
            let options = RecordEncodeOptions { version: 2, compression: Compression::None };
            let records = read(&Bytes::copy_from_slice(&batch));
            RecordBatchEncoder::encode(&mut theirs, &records, &options).expect("a batch");
            prop_assert_eq!(&batch, &theirs);
        }
    }
}

proptest! {
    // Each batch is made and compressed three times.
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 64,
        ..ProptestConfig::default()
    })]

    /// The parts of a batch are what would have been made of their records in the first place.
    #[test]
    fn parts_of_a_batch(case in case(), parts in 0_usize..9) {
        let whole = Case { limits: ANY_NUMBER, ..case };
        let count = whole.records.len();
        for batch in whole.batches() {
            if count == 1 {
                prop_assert_eq!(split(&batch, parts), None);
                let (key, len) = first_key(&batch).expect("a record");
                prop_assert_eq!(&key, &whole.records[0].0);
                prop_assert!(len > key.len() + whole.records[0].1.len());
                continue;
            }
            let found = split(&batch, parts).expect("two records and more");
            let records = count.div_ceil(parts.clamp(2, count));
            let parted = Case {
                limits: Limits { records, ..ANY_NUMBER },
                codec: whole.codec,
                producer: whole.producer,
                one_timestamp: whole.one_timestamp,
                headers: whole.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
                records: whole.records.clone(),
            };
            let expected = parted.batches();
            prop_assert_eq!(found.len(), expected.len());
            for ((_, part), expected) in found.iter().zip(expected) {
                let mut expected = expected.to_vec();
                set_base_offset(&mut expected, 0);
                prop_assert_eq!(part, &expected);
            }
            prop_assert_eq!(found.iter().map(|(records, _)| records).sum::<usize>(), count);
        }
    }
}
