//! Events of several streams in order of time.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::sync::Arc;

use common::{Read, bank, concat};
use datagen_core::catalog::{STREAMS, TABLES};
use datagen_core::column::Batch;
use datagen_core::order::TimeOrder;

fn batches(rows: usize) -> Vec<Arc<Batch>> {
    let bank = bank(7, 200, 30);
    STREAMS
        .into_iter()
        .flat_map(|stream| bank.batches(stream, 0..200, rows).expect("a range").map(Arc::new))
        .collect()
}

/// More events than are sorted at a time come as those that are sorted in one go.
#[test]
fn runs_are_merged() {
    let in_one = TimeOrder::new(batches(100), 1_000);
    for run_rows in [1, 300, 5_000] {
        let in_many = TimeOrder::new(batches(100), 1_000).with_run_rows(run_rows);
        assert!(in_one.clone().eq(in_many), "{run_rows} rows at a time");
    }
}

/// A stable sort by time of all rows of a stream, one by one.
#[test]
fn rows_are_those_that_were_given() {
    let given = batches(100);
    let found: Vec<Batch> = TimeOrder::new(given.clone(), 777).collect();
    for stream in STREAMS {
        let of = |batch: &&Batch| batch.relation() == stream;
        let before = concat(stream, given.iter().map(|batch| &**batch).filter(of).cloned());
        let after = concat(stream, found.iter().filter(of).cloned());
        let time = stream.topic().expect("a stream").time;
        let mut rows: Vec<usize> = (0..before.rows()).collect();
        rows.sort_by_key(|&row| before.longs(time)[row]);
        assert_eq!(after.rows(), before.rows());
        for (row, from) in rows.into_iter().enumerate() {
            for column in 0..stream.fields.len() {
                assert_eq!(after.cell(column, row), before.cell(column, from));
            }
        }
    }
}

#[test]
#[should_panic(expected = "a batch of a stream")]
fn a_table_has_no_time() {
    let bank = bank(7, 2, 30);
    let customers = bank.batches(TABLES[0], 0..2, 10).expect("a range").map(Arc::new);
    drop(TimeOrder::new(customers.collect(), 10));
}
