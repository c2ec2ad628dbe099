//! How fast the core is on one thread, in rows per second: `cargo bench -p datagen-core`.

mod encode;
mod generate;
mod keys;
mod order;

use std::ops::Range;
use std::sync::Arc;

use criterion::Criterion;
use datagen_core::batch::Bank;
use datagen_core::catalog::Relation;
use datagen_core::column::Batch;
use datagen_core::plan::{DEFAULT_AS_OF, DEFAULT_DAYS, Plan};

/// They have about 150 000 events: several batches, as in a long run.
const CUSTOMERS: u64 = 2_000;
/// The default of the Python binding.
const BATCH_ROWS: usize = 16_384;

fn main() {
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    generate::relations(&mut criterion);
    generate::events_as_avro(&mut criterion);
    encode::formats(&mut criterion);
    encode::texts(&mut criterion);
    keys::checks(&mut criterion);
    order::in_time(&mut criterion);
    order::made_in_time(&mut criterion);
    criterion.final_summary();
}

fn bank(customers: u64) -> Arc<Bank> {
    let plan = Plan::try_new(42, customers, DEFAULT_AS_OF, DEFAULT_DAYS).expect("a valid plan");
    Arc::new(Bank::new(plan))
}

fn batches(
    bank: &Arc<Bank>,
    relation: &'static Relation,
    customers: Range<u64>,
) -> impl Iterator<Item = Batch> {
    bank.batches(relation, customers, BATCH_ROWS).expect("a valid range")
}

fn total(batches: &[Batch]) -> u64 {
    batches.iter().map(|batch| batch.rows() as u64).sum()
}
