//! What changes in the rows of tables, from one instant to the next.

use std::ops::Range;
use std::sync::Arc;

use super::lanes::{Filling, Lanes};
use super::{Bank, check_batch_rows};
use crate::catalog::TABLES;
use crate::column::Batch;
use crate::error::Error;

/// The rows of all tables that are born or change in a span of time.
pub struct Changes {
    filling: Filling,
    /// Of each lane, which is a table.
    slices: Vec<usize>,
    /// The one whose rows are next.
    lane: usize,
    batch_rows: usize,
}

impl Changes {
    /// Of the rows that belong to these customers; reference rows never change.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] as [`Bank::batches`] and [`Lanes::new`].
    pub fn new(
        bank: &Arc<Bank>,
        customers: Range<u64>,
        span: Range<i64>,
        batch_rows: usize,
    ) -> Result<Self, Error> {
        check_batch_rows(batch_rows)?;
        let tables = TABLES.into_iter().filter(|table| !table.is_reference());
        let tables: Vec<_> = tables.map(|table| (table, 1)).collect();
        let span = span.start..span.end.min(bank.plan().as_of());
        let lanes = Lanes::new(bank, &tables, customers, span)?;
        let slices = vec![0; tables.len()];
        Ok(Self { filling: Filling::new(lanes), slices, lane: 0, batch_rows })
    }

    /// Makes the cursors of some more customers; false once all are made.
    pub fn prepare_some(&mut self) -> bool {
        self.filling.add_some()
    }

    /// The next rows that are born or change before an instant and after the one of the calls before, table by table in
    /// the catalogue's order, each once, as it is before the instant; none once all have come.
    pub fn next_before(&mut self, limit: i64) -> Option<Batch> {
        while self.lane < self.slices.len() {
            if self.peek_in(self.lane).is_some_and(|time| time < limit) {
                let (lane, slice) = (self.lane, self.slices[self.lane]);
                let batch = self.filling.next_before(lane, slice, limit, self.batch_rows);
                if batch.is_some() {
                    return batch;
                }
            } else {
                self.lane += 1;
            }
        }
        self.lane = 0;
        None
    }

    /// When the next row is born or changes; nothing after the last.
    pub fn peek(&mut self) -> Option<i64> {
        (0..self.slices.len()).filter_map(|lane| self.peek_in(lane)).min()
    }

    /// The same of a table.
    fn peek_in(&mut self, lane: usize) -> Option<i64> {
        self.filling.add_all();
        while self.slices[lane] < self.filling.lanes.slices() {
            let first = self.filling.made[lane].peek(self.slices[lane]);
            if first.is_some() {
                return first;
            }
            self.slices[lane] += 1;
        }
        None
    }
}
