//! Batches of a topic, partition by partition, and the events that they hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use datagen_core::batch::Bank;
use datagen_core::catalog::STREAMS;
use datagen_core::column::Batch;
use datagen_core::encode::Format;
use datagen_core::encode::kafka::{Codec, EventFormat, Events, Packed, Packer, partition};
use datagen_core::order::TimeOrder;
use datagen_core::plan::{DEFAULT_AS_OF, DEFAULT_DAYS, Plan};

use super::model::read;

const FORMAT: EventFormat = EventFormat {
    value: Format::Avro { schema_id: Some(9) },
    cloudevents: true,
    content_type: false,
    timestamp: Some(1_782_864_000_000),
};

fn batches(stream: usize) -> Vec<Batch> {
    let plan = Plan::try_new(3, 200, DEFAULT_AS_OF, DEFAULT_DAYS).unwrap();
    Arc::new(Bank::new(plan)).batches(STREAMS[stream], 0..200, 500).unwrap().collect()
}

fn pack(packer: &mut Packer, batches: &[Batch], format: EventFormat) -> Vec<Packed> {
    let mut out = Vec::new();
    for batch in batches {
        let counts = packer.push(&Events::new(batch, format), &mut out);
        assert_eq!(counts.iter().sum::<usize>(), batch.rows());
    }
    for number in 0..packer.partitions() {
        packer.finish(number, &mut out);
        assert!(!packer.holds(number));
    }
    out
}

#[test]
fn every_event_is_in_the_batch_of_its_partition_and_in_order() {
    for stream in 0..STREAMS.len() {
        let batches = batches(stream);
        let mut expected: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        for batch in &batches {
            let events = Events::new(batch, FORMAT);
            let values = datagen_core::encode::encode(batch, FORMAT.value);
            for (row, number) in partition(events.keys(), 3).into_iter().enumerate() {
                expected.entry(number).or_default().push(values.get(row).to_vec());
            }
        }
        let mut found: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
        for packed in pack(&mut Packer::new(3, 16_384, Codec::Lz4), &batches, FORMAT) {
            let records = read(&Bytes::from(packed.bytes));
            assert_eq!(records.len(), packed.records);
            let values = records.into_iter().map(|record| record.value.unwrap().to_vec());
            found.entry(packed.partition).or_default().extend(values);
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn headers_and_timestamps_are_those_of_the_format() {
    let [batch, ..] = &batches(0)[..] else { panic!("a batch") };
    let names = |format: EventFormat| {
        let [packed, ..] =
            &pack(&mut Packer::new(1, 1 << 20, Codec::None), &batches(0), format)[..]
        else {
            panic!("a batch")
        };
        let record = read(&Bytes::from(packed.bytes.clone())).remove(0);
        let names: Vec<_> = record.headers.keys().map(ToString::to_string).collect();
        (names, record.timestamp)
    };
    let events = [
        "ce_specversion",
        "ce_type",
        "ce_source",
        "ce_id",
        "ce_time",
        "ce_subject",
        "content-type",
    ];
    assert_eq!(
        names(FORMAT),
        (events[..6].iter().map(ToString::to_string).collect(), 1_782_864_000_000)
    );
    let all = EventFormat { content_type: true, timestamp: None, ..FORMAT };
    let (found, timestamp) = names(all);
    assert_eq!(found, events);
    let Some(datagen_core::column::Column { values, .. }) =
        batch.column(STREAMS[0].topic().unwrap().time)
    else {
        panic!("a stream has a time")
    };
    let datagen_core::column::Values::I64(times) = values else { panic!("instants") };
    assert_eq!(timestamp, times[0]);
    assert!(names(EventFormat { cloudevents: false, ..FORMAT }).0.is_empty());
}

#[test]
fn a_batch_has_its_size_as_it_is_sent() {
    let batches = batches(1);
    for codec in Codec::ALL {
        let size = 16_384;
        let sizes: Vec<_> = pack(&mut Packer::new(1, size, codec), &batches, FORMAT)
            .into_iter()
            .map(|packed| packed.bytes.len())
            .collect();
        let (_, full) = sizes.split_last().unwrap();
        assert!(full.len() > 3, "{codec:?}: {sizes:?}");
        // The first one goes by an estimate; the others by the one before.
        for found in &full[1..] {
            assert!((size * 8 / 10..size * 12 / 10).contains(found), "{codec:?}: {sizes:?}");
        }
        assert!((size / 2..size * 2).contains(&full[0]), "{codec:?}: {sizes:?}");
    }
}

#[test]
fn a_batch_keeps_below_what_somebody_takes() {
    let batches = batches(1);
    for codec in Codec::ALL {
        let (size, most) = (512 * 1024, 20_000);
        let mut packer = Packer::new(1, size, codec);
        packer.set_most(most);
        let packed = pack(&mut packer, &batches, FORMAT);
        assert!(packed.len() > 3, "{codec:?}");
        // The first one goes by an estimate too, and there is room for that.
        assert!(packed.iter().all(|one| one.bytes.len() <= most), "{codec:?}");
        let full = &packed[1..packed.len() - 1];
        assert!(full.iter().all(|one| one.bytes.len() > most / 2), "{codec:?}");
        // What is more than anybody asks for changes nothing.
        let bytes =
            |packed: Vec<Packed>| packed.into_iter().map(|one| one.bytes).collect::<Vec<_>>();
        let mut packer = Packer::new(1, size, codec);
        let before = bytes(pack(&mut packer, &batches, FORMAT));
        packer.restart();
        packer.set_most(1_048_588);
        assert_eq!(bytes(pack(&mut packer, &batches, FORMAT)), before);
    }
}

#[test]
fn size_one_is_a_batch_for_each_event() {
    let packed = pack(&mut Packer::new(2, 1, Codec::None), &batches(2), FORMAT);
    assert!(packed.iter().all(|one| one.records == 1));
    assert_eq!(packed.len(), batches(2).iter().map(Batch::rows).sum::<usize>());
}

#[test]
fn a_fresh_start_makes_the_same_batches_whatever_came_before() {
    let bytes = |packed: Vec<Packed>| packed.into_iter().map(|one| one.bytes).collect::<Vec<_>>();
    let mut packer = Packer::new(2, 8_192, Codec::Lz4);
    let alone = bytes(pack(&mut packer, &batches(1), FORMAT));
    pack(&mut packer, &batches(3), FORMAT);
    packer.restart();
    assert_eq!(bytes(pack(&mut packer, &batches(1), FORMAT)), alone);
}

/// Batches of a stream in order of time.
fn in_time(batches: Vec<Batch>) -> Vec<Batch> {
    TimeOrder::new(batches.into_iter().map(Arc::new).collect(), 500).collect()
}

/// The compressor for LZ4 knows our records: a reader gets them as they are, whatever their parts.
#[test]
fn lz4_of_our_records_reads_back() {
    // Where a batch ends depends on the codec: records are compared from the first to the last.
    let read_all = |codec, batches: &[Batch], format| -> Vec<_> {
        let packed = pack(&mut Packer::new(1, 100_000, codec), batches, format);
        let records = packed.into_iter().flat_map(|one| read(&Bytes::from(one.bytes)));
        records.map(|one| (one.timestamp, one.key, one.value, one.headers)).collect()
    };
    for stream in 0..STREAMS.len() {
        for batches in [batches(stream), in_time(batches(stream))] {
            for value in [FORMAT.value, Format::Json] {
                for cloudevents in [true, false] {
                    let timestamp = (!cloudevents).then_some(7);
                    let content_type = cloudevents;
                    let format = EventFormat { value, cloudevents, content_type, timestamp };
                    let records = read_all(Codec::Lz4, &batches, format);
                    assert!(records == read_all(Codec::None, &batches, format), "{format:?}");
                }
            }
        }
    }
}

/// What is gained in time is not lost in bytes: the same records by `lz4_flex`, which searches them all.
#[test]
fn lz4_is_nearly_as_short_as_by_a_search() {
    const HEADER: usize = 61;
    let format = EventFormat { content_type: true, timestamp: None, ..FORMAT };
    for (time, most) in [(false, 110), (true, 106)] {
        let (mut ours, mut searched) = (0, 0);
        for stream in 0..STREAMS.len() {
            let batches = if time { in_time(batches(stream)) } else { batches(stream) };
            let len = |codec, compressed: fn(&[u8]) -> usize| -> usize {
                let packed = pack(&mut Packer::new(1, 400_000, codec), &batches, format);
                packed.iter().map(|one| compressed(&one.bytes[HEADER..])).sum()
            };
            ours += len(Codec::Lz4, <[u8]>::len);
            searched += len(Codec::None, |plain| {
                plain.chunks(65_536).map(|block| 4 + lz4_flex::block::compress(block).len()).sum()
            });
        }
        assert!(ours * 100 <= searched * most, "{ours} bytes for {searched}, in time: {time}");
    }
}
