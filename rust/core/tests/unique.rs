//! Nothing that must be unique comes twice among ten million customers.
//!
//! `cargo test --release -p datagen-core --test unique -- --ignored --nocapture` takes minutes;
//! `CUSTOMERS` sets another number.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::sync::Arc;

use common::{bank, relations};
use datagen_core::batch::Bank;
use datagen_core::catalog::{FieldType, Kind, Relation};
use datagen_core::column::Values;

/// Calls `each` with the bytes of every value of a column.
fn each_value(
    bank: &Arc<Bank>,
    relation: &'static Relation,
    column: usize,
    mut each: impl FnMut(&[u8]),
) {
    let customers = 0..bank.plan().customers();
    each_of(bank, relation, column, customers, &mut each);
}

/// The same of some customers.
fn each_of(
    bank: &Arc<Bank>,
    relation: &'static Relation,
    column: usize,
    customers: Range<u64>,
    each: &mut impl FnMut(&[u8]),
) {
    for batch in bank.batches(relation, customers, 1 << 16).expect("a range") {
        let values = &batch.columns()[column];
        for row in (0..batch.rows()).filter(|row| values.is_valid(*row)) {
            match &values.values {
                Values::Uuid(ids) => each(&ids[row]),
                Values::Text(texts) => each(texts.get(row)),
                other => panic!("no keys: {other:?}"),
            }
        }
    }
}

fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}

/// How many values a column has, and those that come more than once. Eight bytes are kept of each
/// value; two with the same hash are then looked at themselves.
fn duplicates(
    bank: &Arc<Bank>,
    relation: &'static Relation,
    column: usize,
) -> (usize, Vec<Vec<u8>>) {
    let mut hashes = Vec::new();
    each_value(bank, relation, column, |value| hashes.push(hash(value)));
    let count = hashes.len();
    hashes.sort_unstable();
    let suspects: Vec<u64> =
        hashes.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    drop(hashes);
    if suspects.is_empty() {
        return (count, Vec::new());
    }
    let mut times: BTreeMap<Vec<u8>, u32> = BTreeMap::new();
    each_value(bank, relation, column, |value| {
        if suspects.binary_search(&hash(value)).is_ok() {
            *times.entry(value.to_vec()).or_default() += 1;
        }
    });
    (count, times.into_iter().filter(|(_, times)| *times > 1).map(|(value, _)| value).collect())
}

/// Columns of a table whose values must differ: its id, what the catalogue calls unique, and phones.
fn own_columns(relation: &'static Relation) -> Vec<usize> {
    let Kind::Table(keys) = relation.kind else { return Vec::new() };
    let phone = (relation.name == "customers").then_some("phone");
    let id = relation.fields[0].name;
    let names = [id].into_iter().chain(keys.unique.iter().copied()).chain(phone);
    names.map(|name| relation.position(name).expect("a field")).collect()
}

fn check(customers: u64) {
    // A history of a day, as these columns do not depend on its length.
    let bank = bank(42, customers, 1);
    for relation in relations() {
        for column in own_columns(relation) {
            let name = format!("{}.{}", relation.name, relation.fields[column].name);
            let (count, twice) = duplicates(&bank, relation, column);
            println!("{name}: {count} values, {} more than once", twice.len());
            assert!(twice.is_empty(), "{name}: {twice:?}");
            assert!(count > 0, "{name} is empty");
        }
    }
}

#[test]
fn ten_thousand_customers_share_nothing() {
    check(10_000);
}

/// Addresses and phones are made of names and places, and differ by construction: looked at where numbers
/// are small, among the rows of the middle, and where the last area code has the most.
fn addresses_differ(customers: u64) {
    const LAST: u64 = 99_999_990;
    let bank = bank(42, LAST, 1);
    let table = relations().find(|relation| relation.name == "customers").expect("a table");
    for name in ["email", "phone"] {
        let column = table.position(name).expect("a field");
        let mut hashes = Vec::new();
        for first in [0, LAST / 2, LAST - customers / 4] {
            let count = if first == 0 { customers / 2 } else { customers / 4 };
            each_of(&bank, table, column, first..first + count, &mut |value| {
                hashes.push(hash(value));
            });
        }
        assert_eq!(hashes.len() as u64, customers);
        hashes.sort_unstable();
        let twice = hashes.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert_eq!(twice, 0, "{name} of {customers} customers");
    }
}

#[test]
fn addresses_of_the_first_and_the_last_differ() {
    addresses_differ(200_000);
}

#[test]
#[ignore = "takes half a minute: run it with --ignored"]
fn addresses_of_two_million_customers_differ() {
    addresses_differ(2_000_000);
}

#[test]
fn what_comes_twice_is_found() {
    let bank = bank(42, 1_000, 1);
    let customers = relations().find(|relation| relation.name == "customers").expect("a table");
    let city = customers.position("city").expect("a field");
    assert_eq!(customers.fields[city].ty, FieldType::Text);
    let (count, twice) = duplicates(&bank, customers, city);
    assert!(count == 1_000 && twice.contains(&"Rio de Janeiro".as_bytes().to_vec()));
}

#[test]
#[ignore = "takes minutes: run it with --release and --ignored"]
fn ten_million_customers_share_nothing() {
    let customers = std::env::var("CUSTOMERS").map(|n| n.parse().expect("a number"));
    check(customers.unwrap_or(10_000_000));
}
