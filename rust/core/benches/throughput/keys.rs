//! Checks of primary and foreign keys, in rows per second.

use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput};
use datagen_core::batch::Bank;
use datagen_core::catalog;
use datagen_core::column::Batch;
use datagen_core::keys::KeySet;

use crate::{bank, batches, total};

/// More ids than fit into a processor's second-level cache.
const CUSTOMERS: u64 = 50_000;
/// Of these customers come the events that are checked.
const ACTIVE: u64 = 2_000;

/// All rows of a relation that belong to some customers, and where its `account_id` is.
fn with_accounts(bank: &Arc<Bank>, name: &str, customers: Range<u64>) -> (Vec<Batch>, usize) {
    let relation = catalog::relation(name).expect("a relation of the catalogue");
    let position = relation.position("account_id").expect("a relation with accounts");
    (batches(bank, relation, customers).collect(), position)
}

pub fn checks(criterion: &mut Criterion) {
    let bank = bank(CUSTOMERS);
    let (accounts, id) = with_accounts(&bank, "accounts", 0..CUSTOMERS);
    let (transactions, reference) = with_accounts(&bank, "banking.transactions", 0..ACTIVE);
    let insert = |mut keys: KeySet| {
        for batch in &accounts {
            black_box(keys.insert_column(&batch.columns()[id], None));
        }
        keys
    };
    let known = insert(KeySet::new());

    let mut group = criterion.benchmark_group("keys");
    group.throughput(Throughput::Elements(total(&accounts)));
    group.bench_function("insert accounts", |bencher| {
        bencher.iter_batched(KeySet::new, insert, BatchSize::PerIteration);
    });
    group.bench_function("find accounts", |bencher| {
        bencher.iter(|| {
            for batch in &accounts {
                black_box(known.first_missing(&batch.columns()[id]));
            }
        });
    });
    group.throughput(Throughput::Elements(total(&transactions)));
    group.bench_function("find accounts of transactions", |bencher| {
        bencher.iter(|| {
            for batch in &transactions {
                black_box(known.first_missing(&batch.columns()[reference]));
            }
        });
    });
    group.finish();
}
