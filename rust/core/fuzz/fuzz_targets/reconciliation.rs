//! What a service may hold, held against a plan: bytes of a COPY cut anywhere, and records of any key, value and
//! headers. Nothing panics, and what was found is no more than what was handed over.

#![no_main]

use std::sync::{Arc, LazyLock};

use arbitrary::{Result, Unstructured};
use datagen_core::batch::{Bank, EVER};
use datagen_core::catalog::{Relation, relation};
use datagen_core::encode::{Encoded, Format, encode, pgcopy};
use datagen_core::plan::Plan;
use datagen_core::reconcile::{Kind, Reconciliation, Record, Row, Shape, rows_of};

/// 2026-07-01.
const AS_OF: i64 = 1_782_864_000_000;
const CUSTOMERS: u64 = 3;

/// The plan's rows of a relation, and what a service holds of them.
struct Held {
    relation: &'static Relation,
    shape: Shape,
    rows: Vec<Row>,
    encoded: Encoded,
}

static BANK: LazyLock<Arc<Bank>> =
    LazyLock::new(|| Arc::new(Bank::new(Plan::try_new(11, CUSTOMERS, AS_OF, 90).expect("a plan"))));
static HELD: LazyLock<Vec<Held>> = LazyLock::new(|| {
    let records = |value| Shape::Records {
        value,
        cloudevents: true,
        content_type: false,
        event_time: false,
        partitions: 2,
        in_time: true,
    };
    let avro = Format::Avro { schema_id: None };
    [
        ("customers", Shape::Tuples, Format::PgCopy),
        ("banking.trades", records(avro), avro),
        ("banking.trades", records(Format::Json), Format::Json),
    ]
    .map(|(name, shape, format)| {
        let relation = relation(name).expect("a relation");
        let mut batches = BANK.batches(relation, 0..CUSTOMERS, 1000).expect("a range");
        let batch = batches.next().expect("rows");
        Held { relation, shape, rows: rows_of(&batch, shape), encoded: encode(&batch, format) }
    })
    .into()
});

/// One of the rows that are there, with some bytes changed; or any bytes.
fn row(u: &mut Unstructured, encoded: &Encoded) -> Result<Vec<u8>> {
    if u.ratio(1, 4)? {
        return u.arbitrary();
    }
    let mut bytes = encoded.get(u.choose_index(encoded.len())?).to_vec();
    for _ in 0..u.int_in_range(0..=2)? {
        let at = u.choose_index(bytes.len())?;
        bytes[at] = u.arbitrary()?;
    }
    Ok(bytes)
}

fn find_copied(u: &mut Unstructured, held: &Held, found: &mut Reconciliation) -> Result<()> {
    let mut bytes = pgcopy::HEADER.to_vec();
    for _ in 0..u.int_in_range(0..=4)? {
        bytes.extend(row(u, &held.encoded)?);
    }
    bytes.extend(pgcopy::TRAILER);
    let step = u.int_in_range(1..=300)?;
    // Bytes that are no COPY are refused.
    let _ = bytes.chunks(step).try_for_each(|part| found.find_copied(part));
    Ok(())
}

fn find_records(u: &mut Unstructured, held: &Held, found: &mut Reconciliation) -> Result<()> {
    let (judge, mut scratch) = (Arc::clone(found.judge()), Vec::new());
    for offset in 0..u.int_in_range(0..=4)? {
        let value: Option<Vec<u8>> =
            if u.ratio(1, 9)? { None } else { Some(row(u, &held.encoded)?) };
        let key: Option<&[u8]> = u.arbitrary()?;
        let mut headers = Vec::new();
        for _ in 0..u.int_in_range(0..=3)? {
            let names: [&[u8]; 4] = [b"ce_id", b"ce_source", b"ce_time", b""];
            headers.push((*u.choose(&names)?, u.arbitrary::<Option<&[u8]>>()?));
        }
        let record = Record {
            partition: u.int_in_range(0..=3)?,
            offset,
            timestamp: u.arbitrary()?,
            key,
            value: value.as_deref(),
            headers: &headers,
        };
        found.find(&judge.record(&record, &mut scratch), value.as_deref().unwrap_or_default());
    }
    Ok(())
}

fn check(u: &mut Unstructured) -> Result<()> {
    let held = &HELD[u.choose_index(HELD.len())?];
    let mut found = Reconciliation::new(&BANK, held.relation, held.shape, 0..CUSTOMERS, EVER, 3)
        .expect("a range");
    for again in [false, true] {
        found.expect(&held.rows);
        match held.shape {
            Shape::Tuples => find_copied(u, held, &mut found)?,
            Shape::Records { .. } => find_records(u, held, &mut found)?,
        }
        if again {
            found.finish();
        } else if !found.next_exact(u.int_in_range(0..=100)?) {
            break;
        }
    }
    assert_eq!(found.sides().0.rows, held.rows.len() as u64);
    assert!(found.findings().len() <= 3 * Kind::ALL.len());
    Ok(())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    // Bytes that are too few are no values.
    let _ = check(&mut Unstructured::new(data));
});
