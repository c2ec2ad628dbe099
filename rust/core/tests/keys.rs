//! Sets of ids, and the rows of a bank that they leave.

#![allow(missing_docs, reason = "a test crate")]

use std::sync::Arc;

use datagen_core::batch::Bank;
use datagen_core::catalog;
use datagen_core::column::Batch;
use datagen_core::keys::{KeySet, uuids};
use datagen_core::plan::{DEFAULT_AS_OF, Plan};

#[test]
fn rows_that_are_in_a_set_are_left_out() {
    let bank = Bank::new(Plan::try_new(42, 60, DEFAULT_AS_OF, 5).expect("a plan"));
    let batches = Arc::new(bank).batches(&catalog::TRANSACTIONS, 0..60, 1 << 20);
    let batch = Arc::new(batches.expect("a range").next().expect("rows"));
    let mut keys = KeySet::new();
    assert!(Arc::ptr_eq(&keys.without(Arc::clone(&batch)), &batch));
    keys.insert(&[7; 16]);
    assert!(Arc::ptr_eq(&keys.without(Arc::clone(&batch)), &batch), "nothing to leave out");
    let ids = uuids(&batch.columns()[0]).to_vec();
    ids.iter().step_by(3).for_each(|id| assert!(keys.insert(id)));
    let rest = keys.without(Arc::clone(&batch));
    let kept: Vec<(u32, u32)> =
        (0..ids.len() as u32).filter(|row| row % 3 != 0).map(|row| (0, row)).collect();
    assert!(kept.len() > 10);
    assert_eq!(*rest, Batch::gather(&[batch], &kept));
    for id in &ids {
        keys.insert(id);
    }
    assert_eq!(keys.without(rest).rows(), 0);
}
