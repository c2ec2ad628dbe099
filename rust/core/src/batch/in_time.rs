//! The events of streams in order of time, on one thread.

use super::lanes::{Filling, Lanes};
use crate::column::Batch;

/// Iterates the events of lanes slice by slice, and in each stream by stream.
pub struct InTime {
    filling: Filling,
    slice: usize,
    lane: usize,
    batch_rows: usize,
}

impl InTime {
    /// Batches of `batch_rows` at the most.
    pub fn new(lanes: Lanes, batch_rows: usize) -> Self {
        Self { filling: Filling::new(lanes), slice: 0, lane: 0, batch_rows }
    }

    /// Makes the cursors of some more customers; false once all are made. The first batch waits for it
    /// otherwise.
    pub fn prepare_some(&mut self) -> bool {
        self.filling.add_some()
    }

    /// The next events before an instant; none once all of them have come. The next call goes on there, with
    /// any instant.
    pub fn next_before(&mut self, limit: i64) -> Option<Batch> {
        // It passes slices that are at their end.
        while self.peek().is_some_and(|time| time < limit) {
            while self.lane < self.filling.made.len() {
                let (lane, slice) = (self.lane, self.slice);
                let batch = self.filling.next_before(lane, slice, limit, self.batch_rows);
                if batch.is_some() {
                    return batch;
                }
                self.lane += 1;
            }
            self.lane = 0;
        }
        self.lane = 0;
        None
    }

    /// When the next event happens; nothing after the last.
    pub fn peek(&mut self) -> Option<i64> {
        self.filling.add_all();
        while self.slice < self.filling.lanes.slices() {
            let slice = self.slice;
            let first = self.filling.made.iter_mut().filter_map(|lane| lane.peek(slice)).min();
            if first.is_some() {
                return first;
            }
            (self.slice, self.lane) = (slice + 1, 0);
        }
        None
    }
}

impl Iterator for InTime {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.next_before(i64::MAX)
    }
}
