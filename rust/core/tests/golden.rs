//! Golden values: what has been released stays.
//!
//! Each relation has a file with its first rows and with hashes over all its rows for several plans.
//! A missing file is written, and the test fails once.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::fmt::Write as _;
use std::path::Path;

use common::{Read, all, bank_of, days, part};
use datagen_core::catalog::{CATALOG_VERSION, relation};
use datagen_core::column::{Batch, Values};
use datagen_core::plan::{DEFAULT_AS_OF, DEFAULT_DAYS, Plan};
use sha2::{Digest, Sha256};

const CUSTOMERS: u64 = 1_000;
const SHOWN: usize = 5;

fn plan(seed: u64, as_of: i64, length: u32) -> Plan {
    Plan::try_new(seed, CUSTOMERS, as_of, length).expect("a plan")
}

/// Over names, presence and little-endian values, column after column.
fn hash(batch: &Batch) -> String {
    let mut hash = Sha256::new();
    for (field, column) in batch.relation().fields.iter().zip(batch.columns()) {
        hash.update(field.name);
        for valid in column.validity.iter().flatten() {
            hash.update([u8::from(*valid)]);
        }
        match &column.values {
            Values::Uuid(values) => values.iter().for_each(|v| hash.update(v)),
            Values::Text(texts) => {
                for row in 0..batch.rows() {
                    let text = texts.get(row);
                    hash.update((text.len() as u64).to_le_bytes());
                    hash.update(text);
                }
            }
            Values::I64(values) => values.iter().for_each(|v| hash.update(v.to_le_bytes())),
            Values::I32(values) => values.iter().for_each(|v| hash.update(v.to_le_bytes())),
            Values::I16(values) => values.iter().for_each(|v| hash.update(v.to_le_bytes())),
            Values::Bool(values) => values.iter().for_each(|v| hash.update([u8::from(*v)])),
            Values::Code(values) => hash.update(values),
        }
    }
    format!("{:x}", hash.finalize())
}

fn described(name: &str) -> String {
    let mut text = format!("{name}, catalogue version {CATALOG_VERSION}\n\n");
    for (title, plan) in [
        ("seed 42", plan(42, DEFAULT_AS_OF, DEFAULT_DAYS)),
        ("seed 18446744073709551615", plan(u64::MAX, DEFAULT_AS_OF, DEFAULT_DAYS)),
        // A Saturday at noon, and a history that begins in another year.
        ("seed 42 to 2025-03-01T15:00Z", plan(42, days::utc((2025, 3, 1), 15, 0), 200)),
    ] {
        let rows = all(&bank_of(plan), name);
        let (count, hash) = (rows.rows(), hash(&rows));
        writeln!(text, "{title}, {} days: {count} rows, sha256 {hash}", plan.days()).expect("text");
    }
    let rows = part(&bank_of(plan(42, DEFAULT_AS_OF, DEFAULT_DAYS)), name, 0..100, 1_000);
    for row in 0..SHOWN.min(rows.rows()) {
        writeln!(text, "\nrow {row} of seed 42").expect("text");
        for (column, field) in rows.relation().fields.iter().enumerate() {
            let cell = rows.cell(column, row);
            let (sign, value) = cell.as_ref().map_or((" is null", ""), |value| ("=", value));
            writeln!(text, "{}{sign}{value}", field.name).expect("text");
        }
    }
    text
}

fn compare(name: &str) {
    assert!(relation(name).is_some(), "{name} is not in the catalogue");
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    let found = described(name);
    let Ok(golden) = std::fs::read_to_string(&path) else {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder for goldens");
        std::fs::write(&path, found).expect("a golden");
        panic!("there was no golden for {name}: it has been written, look at it and run again");
    };
    let changed: Vec<String> = golden
        .lines()
        .zip(found.lines())
        .filter(|(golden, found)| golden != found)
        .map(|(golden, found)| format!("- {golden}\n+ {found}"))
        .collect();
    assert!(
        golden == found,
        "values of {name} changed:\n{}\nIf that is meant: raise CATALOG_VERSION, add a line under \
         \"Generated values\" to the changelog, delete {} and run twice.",
        changed.join("\n"),
        path.display()
    );
}

macro_rules! goldens {
    ($($test:ident: $name:literal)*) => {
        $(
            #[test]
            fn $test() {
                compare($name);
            }
        )*

        #[test]
        fn every_relation_has_a_golden() {
            let named: Vec<&str> = common::relations().map(|relation| relation.name).collect();
            assert_eq!(named, [$($name),*]);
        }
    };
}

goldens! {
    customers: "customers"
    properties: "properties"
    stocks: "stocks"
    accounts: "accounts"
    credit_cards: "credit_cards"
    loans: "loans"
    transactions: "banking.transactions"
    card_transactions: "banking.card-transactions"
    trades: "banking.trades"
    installments: "banking.installments"
}
