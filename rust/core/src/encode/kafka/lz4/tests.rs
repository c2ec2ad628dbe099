//! Frames that are read back, and blocks by the rules of the format.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::encode::kafka::varint::{self, zigzag};

/// Compresses, checks every block by the rules of the format, and returns the length.
fn check(lz4: &mut Lz4, records: &[u8]) -> usize {
    let mut out = Vec::new();
    lz4.compress(records, &mut out);
    let mut again = Vec::new();
    let len = decompress(&out, &mut again).expect("a frame");
    assert!(again[..len] == *records, "{} bytes", records.len());
    let mut left = &out[DESCRIPTOR.len()..];
    loop {
        let (len, rest) = left.split_first_chunk().expect("a length");
        let len = u32::from_le_bytes(*len);
        let (block, rest) = rest.split_at((len & !PLAIN) as usize);
        if len == END {
            assert!(rest.is_empty());
            return out.len();
        }
        if len & PLAIN == 0 {
            check_block(block);
        }
        left = rest;
    }
}

/// LZ4 Block Format, "End of block conditions", and what is said there of offsets.
fn check_block(mut block: &[u8]) {
    let (mut len, mut last) = (0, None);
    loop {
        let token = take(&mut block);
        let literals = whole_len(token >> 4, &mut block);
        len += literals;
        block = &block[literals..];
        if block.is_empty() {
            assert!(len <= BLOCK);
            if let Some(start) = last {
                assert!(literals >= 5 && len - start >= 12, "{literals}, {}", len - start);
            }
            return;
        }
        let offset = usize::from(take(&mut block)) | usize::from(take(&mut block)) << 8;
        assert!((1..=len).contains(&offset), "{offset} at {len}");
        last = Some(len);
        len += whole_len(token & 15, &mut block) + 4;
    }
}

fn take(block: &mut &[u8]) -> u8 {
    let (byte, rest) = block.split_first().expect("another byte");
    *block = rest;
    *byte
}

fn whole_len(short: u8, block: &mut &[u8]) -> usize {
    let mut len = usize::from(short);
    let mut more = short == 15;
    while more {
        let byte = take(block);
        len += usize::from(byte);
        more = byte == 255;
    }
    len
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    varint::put(out, zigzag(bytes.len() as i64));
    out.extend_from_slice(bytes);
}

/// A record of a key, a value, and headers.
fn record(key: &[u8], value: &[u8], headers: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut body = vec![0, 0, 0];
    put(&mut body, key);
    put(&mut body, value);
    varint::put(&mut body, zigzag(headers.len() as i64));
    for (name, value) in headers {
        put(&mut body, name);
        put(&mut body, value);
    }
    let mut out = Vec::new();
    put(&mut out, &body);
    out
}

/// Bytes that do not repeat, others for each `n`.
fn noise(n: u64, len: usize) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| byte()).collect()
}

/// What is known of a record is all that repeats here, and it is found.
#[test]
fn what_repeats_in_a_record_is_written_once() {
    let records: Vec<u8> = (0..100)
        .flat_map(|n| {
            let (key, id) = (noise(3 * n, 36), noise(3 * n + 1, 36));
            let value = [b"\0\0\0\0\x01H", &id[..], b"H", &key, &noise(3 * n + 2, 20)].concat();
            let constant = noise(1_000, 60);
            let headers: [(&[u8], &[u8]); 3] =
                [(b"source", &constant), (b"id", &id), (b"subject", &key)];
            record(&key, &value, &headers)
        })
        .collect();
    // Of each record: key, id and the rest of its value, 92 bytes; its numbers; and six matches.
    let len = check(&mut Lz4::new(), &records);
    assert!((92 * 100..130 * 100).contains(&len), "{len} of {}", records.len());
}

#[test]
fn a_block_ends_by_the_rules_wherever_it_does() {
    let mut lz4 = Lz4::new();
    for len in 0..80 {
        for tail in 0..40 {
            let (value, header) = (vec![b'v'; len], vec![b'h'; tail]);
            let one = record(b"a key of some length", &value, &[(b"name", &header)]);
            check(&mut lz4, &one);
            check(&mut lz4, &one.repeat(2));
            check(&mut lz4, &one.repeat(3));
        }
    }
    for n in 0..12 {
        // A block that is full to its last bytes, and one that is not.
        for short in 0..40 {
            let value = noise(n, BLOCK - 200 - short);
            let last = record(b"key", &[b'v'; 150], &[(b"name", b"value")]);
            check(&mut lz4, &[record(b"key", &value, &[]), last.clone(), last].concat());
        }
    }
}

#[test]
fn a_record_longer_than_a_block() {
    let mut lz4 = Lz4::new();
    for len in [BLOCK - 20, BLOCK - 1, BLOCK, 3 * BLOCK + 17] {
        let long = record(b"key", &vec![b'v'; len], &[(b"name", b"value")]);
        let short = record(b"key", b"value", &[(b"name", b"value")]);
        let all = [&short[..], &long, &short, &short, &long].concat();
        assert!(check(&mut lz4, &all) < len / 50 + 200);
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..60),
        vec(97_u8..99, 0..60),
        (any::<u8>(), 0_usize..400).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_that_have_their_parts_again(
        parts in vec((bytes(), bytes(), bytes(), 0_usize..6, any::<bool>()), 1..80),
        name in bytes(),
        cut in 0_usize..100,
    ) {
        let records: Vec<u8> = parts
            .iter()
            .flat_map(|(key, id, rest, order, headers)| {
                let value = match order {
                    0 => [id, key, rest].map(Vec::as_slice).concat(),
                    1 => [key, id, rest].map(Vec::as_slice).concat(),
                    2 => [rest, key, id].map(Vec::as_slice).concat(),
                    3 => [rest, id].map(Vec::as_slice).concat(),
                    4 => key.clone(),
                    _ => Vec::new(),
                };
                let all: [(&[u8], &[u8]); 3] = [(&name, b"1.0"), (b"id", id), (b"key", key)];
                record(key, &value, if *headers { &all } else { &[] })
            })
            .collect();
        let mut lz4 = Lz4::new();
        let mut first = Vec::new();
        lz4.compress(&records, &mut first);
        check(&mut lz4, &records);
        // No trace of what came before.
        let mut second = Vec::new();
        lz4.compress(&records, &mut second);
        prop_assert_eq!(first, second);
        // Of records, a part; and nothing like them.
        check(&mut lz4, &records[cut.min(records.len())..]);
        check(&mut lz4, &records[..records.len() - cut.min(records.len())]);
    }

    #[test]
    fn bytes_that_are_no_records(bytes in vec(any::<u8>(), 0..300), times in 1_usize..300) {
        check(&mut Lz4::new(), &bytes.repeat(times));
    }
}
