//! Batches of this crate and of others, as logs have them, and what is wrong with some.

use super::*;
use crate::encode::Encoded;
use crate::encode::kafka::{
    BatchBuilder, Codec, Compressor, Limits, Producer, Records, Timestamps, set_base_offset,
    set_producer,
};

/// Offset, timestamp, key, value, and headers.
type Plain = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

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

fn read(log: &[u8]) -> Vec<Plain> {
    let mut left = log;
    let batch = StoredBatch::take(&mut left).expect("a batch").expect("all of it");
    assert!(left.is_empty());
    plain(&batch).expect("records")
}

/// A batch by this crate, of records whose keys are these numbers.
fn ours(codec: Codec, keys: std::ops::Range<usize>) -> Vec<u8> {
    let rows: Vec<String> = keys.map(|key| format!("{key:050}")).collect();
    let offsets = (0..=rows.len() as i64).map(|row| row * 50).collect();
    let column = Encoded { bytes: rows.concat().into_bytes(), offsets };
    let records = Records::new(&column, &column, &[], Timestamps::Same(7));
    let mut builder = BatchBuilder::new(Limits::default());
    let all: Vec<u32> = (0..rows.len() as u32).collect();
    assert_eq!(builder.append(&records, &all), rows.len());
    let mut bytes = Vec::new();
    builder.finish(&mut Compressor::new(codec), &mut bytes);
    bytes
}

/// Writes the CRC anew.
fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&batch[CRC + 4..]);
    batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn set_attributes(mut batch: Vec<u8>, bits: i16) -> Vec<u8> {
    let attributes = i16::from_be_bytes([batch[21], batch[22]]) | bits;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    sealed(batch)
}

#[test]
fn batches_of_each_codec_come_one_after_the_other() {
    let mut log = Vec::new();
    for (number, codec) in (0..).zip(Codec::ALL) {
        let mut batch = ours(codec, 0..3_000);
        set_base_offset(&mut batch, 3_000 * number);
        log.extend(batch);
    }
    let whole = log.len();
    // The next one is cut off, wherever that may be.
    log.extend_from_slice(&ours(Codec::None, 0..2)[..]);
    for end in whole..log.len() {
        let mut left = &log[..end];
        let mut offset = 0;
        while let Some(batch) = StoredBatch::take(&mut left).expect("no flaw") {
            assert_eq!((batch.base_offset(), batch.last_offset()), (offset, offset + 2_999));
            if end == whole {
                for (row, (at, time, key, value, headers)) in (0..).zip(plain(&batch).unwrap()) {
                    assert_eq!((at, time, headers), (offset + row, 7, Vec::new()));
                    assert_eq!(key, Some(format!("{row:050}").into_bytes()));
                    assert_eq!(value, key);
                }
            }
            offset += 3_000;
        }
        assert_eq!(offset, 15_000);
        assert_eq!(left.len(), end - whole);
    }
}

#[test]
fn what_is_no_batch_has_a_name() {
    for codec in Codec::ALL {
        let batch = ours(codec, 0..200);
        // Whatever byte is another is seen by the length, the format or the CRC.
        for at in 8..batch.len() {
            let mut broken = batch.clone();
            broken[at] ^= 0x10;
            let mut left = &broken[..];
            match StoredBatch::take(&mut left) {
                Ok(Some(found)) if at >= 17 => assert_eq!(plain(&found), Err(Flaw::Crc), "{at}"),
                // The epoch of the leader is the broker's, and no CRC covers it.
                Ok(Some(found)) if (12..16).contains(&at) => assert!(plain(&found).is_ok()),
                Ok(None) | Err((Flaw::Length, 0)) if at < 12 => {}
                Ok(Some(found)) if at < 12 => assert_eq!(plain(&found), Err(Flaw::Crc), "{at}"),
                Err((Flaw::Format(0x12), 0)) if at == 16 => {}
                other => panic!("{at}: {other:?}"),
            }
        }
        // With a CRC that is right, what was written is wrong itself.
        let cut = |len: usize| {
            let mut short = batch[..batch.len() - len].to_vec();
            let size = (short.len() - LENGTH_END) as u32;
            short[8..12].copy_from_slice(&size.to_be_bytes());
            sealed(short)
        };
        let short = cut(20);
        let found = plain(&StoredBatch::take(&mut &short[..]).unwrap().unwrap());
        let wanted = if codec == Codec::None { Flaw::Records } else { Flaw::Codec };
        assert!(found == Err(wanted) || found == Err(Flaw::Records), "{codec:?} {found:?}");
        for records in [199_i32, 201, -1] {
            let mut wrong = batch.clone();
            wrong[57..61].copy_from_slice(&records.to_be_bytes());
            let wrong = sealed(wrong);
            let found = plain(&StoredBatch::take(&mut &wrong[..]).unwrap().unwrap());
            assert_eq!(found, Err(Flaw::Records), "{codec:?} {records}");
        }
    }
    let unknown = set_attributes(ours(Codec::None, 0..1), 7);
    let found = StoredBatch::take(&mut &unknown[..]).unwrap().unwrap();
    assert_eq!(plain(&found), Err(Flaw::Codec));
}

#[test]
fn the_log_s_time_is_that_of_all_records() {
    let mut batch = ours(Codec::Lz4, 0..3);
    batch[35..43].copy_from_slice(&99_i64.to_be_bytes());
    let batch = set_attributes(batch, LOG_APPEND_TIME);
    let times: Vec<_> = read(&batch).into_iter().map(|one| one.1).collect();
    assert_eq!(times, [99, 99, 99]);
}

#[test]
fn batches_say_of_which_transaction_they_are_and_how_it_ended() {
    let batch = |control: bool, key: &[u8]| {
        let column = Encoded { bytes: key.to_vec(), offsets: vec![0, key.len() as i64] };
        let records = Records::new(&column, &column, &[], Timestamps::Same(7));
        let mut builder = BatchBuilder::new(Limits::default());
        builder.append(&records, &[0]);
        let mut bytes = Vec::new();
        builder.finish(&mut Compressor::new(Codec::None), &mut bytes);
        set_producer(&mut bytes, Producer { id: 5, epoch: 0, sequence: -1 });
        set_attributes(bytes, TRANSACTIONAL | if control { CONTROL } else { 0 })
    };
    for (control, key, marker) in [
        (true, [0, 0, 0, 0], Some(Marker::Abort)),
        (true, [0, 0, 0, 1], Some(Marker::Commit)),
        (true, [0, 0, 0, 2], None),
        (false, [0, 0, 0, 0], None),
    ] {
        let bytes = batch(control, &key);
        let found = StoredBatch::take(&mut &bytes[..]).unwrap().unwrap();
        assert!(found.is_transactional());
        assert_eq!((found.is_control(), found.marker()), (control, marker));
        assert_eq!(found.producer_id(), 5);
    }
}

/// A batch of no more than a few bytes says that it has billions.
#[test]
fn lengths_are_not_believed() {
    let huge = |codec: Codec, records: &[u8]| {
        let mut batch = ours(Codec::None, 0..1)[..HEADER_LEN].to_vec();
        batch.extend_from_slice(records);
        let size = (batch.len() - LENGTH_END) as u32;
        batch[8..12].copy_from_slice(&size.to_be_bytes());
        let batch = set_attributes(batch, codec.id());
        plain(&StoredBatch::take(&mut &batch[..]).unwrap().unwrap()).unwrap_err()
    };
    // 4 GiB of Snappy, bare and in a block, in 12 bytes.
    let bare = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0];
    assert_eq!(huge(Codec::Snappy, &bare), Flaw::Codec);
    let block = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..], &[0, 0, 0, 8], &bare].concat();
    assert_eq!(huge(Codec::Snappy, &block), Flaw::Codec);
    // A record of more bytes than there are, and more headers.
    assert_eq!(huge(Codec::None, &[0xfe, 0xff, 0xff, 0xff, 0x0f]), Flaw::Records);
    let headers = [24, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0];
    assert_eq!(huge(Codec::None, &headers), Flaw::Records);
}
