//! Record batches of ours with some bytes changed, and bytes that are none: nothing panics, and one that is cut into
//! parts has as many records as before, from the same key on.

#![no_main]

use std::sync::{Arc, LazyLock};

use arbitrary::{Result, Unstructured};
use datagen_core::batch::Bank;
use datagen_core::catalog::relation;
use datagen_core::encode::Format;
use datagen_core::encode::kafka::{Codec, EventFormat, Events, Packer, first_key, split};
use datagen_core::plan::Plan;

/// 2026-07-01.
const AS_OF: i64 = 1_782_864_000_000;
/// Where a batch has its number of records, as Kafka's protocol guide lays it out.
const COUNT: std::ops::Range<usize> = 57..61;

/// A batch of each codec.
static BATCHES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let bank = Arc::new(Bank::new(Plan::try_new(11, 3, AS_OF, 90).expect("a plan")));
    let trades = relation("banking.trades").expect("a relation");
    let batch = bank.batches(trades, 0..3, 1000).expect("a range").next().expect("rows");
    let format = EventFormat {
        value: Format::Avro { schema_id: Some(7) },
        cloudevents: true,
        content_type: false,
        timestamp: None,
    };
    let packed = |codec| {
        let (mut packer, mut out) = (Packer::new(1, 100_000, codec), Vec::new());
        packer.push(&Events::new(&batch, format), &mut out);
        packer.finish(0, &mut out);
        out.swap_remove(0).bytes
    };
    Codec::ALL.into_iter().map(packed).collect()
});

fn records(batch: &[u8]) -> usize {
    let count = batch[COUNT].try_into().expect("four bytes");
    usize::try_from(i32::from_be_bytes(count)).expect("a number of records")
}

fn check(u: &mut Unstructured) -> Result<()> {
    let parts = u.int_in_range(0..=300)?;
    let batch: Vec<u8> = if u.ratio(1, 8)? {
        u.arbitrary()?
    } else {
        let mut batch = u.choose(&BATCHES)?.clone();
        for _ in 0..u.int_in_range(0..=3)? {
            let at = u.choose_index(batch.len())?;
            batch[at] = u.arbitrary()?;
        }
        batch.truncate(u.int_in_range(0..=batch.len() * 2)?);
        batch
    };
    let key = first_key(&batch);
    if let Some(found) = split(&batch, parts) {
        assert_eq!(found.iter().map(|(records, _)| records).sum::<usize>(), records(&batch));
        assert!(found.iter().all(|(count, bytes)| *count == records(bytes)));
        if let Some((key, _)) = key {
            assert_eq!(first_key(&found[0].1).map(|(key, _)| key), Some(key));
        }
    }
    Ok(())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Bytes that are too few are no values.
    let _ = check(&mut Unstructured::new(data));
});
