//! Events of several streams in order of time, side by side.
//!
//! The order is (event time, stream, entity, k): streams as in the catalogue, entities and their events
//! as they were handed over. Batches are of one stream, so the streams take turns: in a slice of time
//! each has all of its events, and only then does the next slice begin.

use std::array;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::ops::Range;
use std::sync::Arc;
use std::vec;

use crate::catalog::STREAMS;
use crate::column::Batch;

/// A slice of time is as long as this, in milliseconds, ...
pub const SLICE_MILLIS: i64 = 3_600_000;
/// ... and longer where fewer events than this are in it.
pub const SLICE_EVENTS: usize = 8_192;
/// Rows that are sorted at a time: some tenths of a second.
const RUN_ROWS: usize = 1 << 22;

/// Where an event stands in the order: time, batch and row, most significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u128);

impl Place {
    const fn new(time: i64, batch: u32, row: u32) -> Self {
        // With its sign turned, a time is ordered as an unsigned number.
        let time = (time as u64) ^ (1 << 63);
        Self((time as u128) << 64 | (batch as u128) << 32 | row as u128)
    }

    const fn time(self) -> i64 {
        ((self.0 >> 64) as u64 ^ (1 << 63)) as i64
    }

    const fn row(self) -> (u32, u32) {
        ((self.0 >> 32) as u32, self.0 as u32)
    }
}

/// Iterates the events of batches in order of time, as new batches.
///
/// Beside the batches themselves this takes 16 bytes for each event. The new batches are gathered one
/// by one.
#[derive(Debug, Clone)]
pub struct TimeOrder {
    /// Those of the first stream first.
    batches: Vec<Arc<Batch>>,
    /// Where those of each stream are.
    streams: [Range<usize>; STREAMS.len()],
    batch_rows: usize,
    run_rows: usize,
    /// Batches whose events have a place.
    placed: usize,
    /// The places of some batches each, in order.
    runs: Vec<vec::IntoIter<Place>>,
    /// The next place of each run that is not at its end.
    heads: BinaryHeap<Reverse<(Place, usize)>>,
    /// What is left of the present slice, by stream: numbers among its batches, and rows.
    slice: [vec::IntoIter<(u32, u32)>; STREAMS.len()],
}

impl TimeOrder {
    /// The events of these batches, in batches of at most `batch_rows`.
    ///
    /// # Panics
    /// If a batch is of no stream, or `batch_rows` is 0.
    pub fn new(mut batches: Vec<Arc<Batch>>, batch_rows: usize) -> Self {
        assert!(batch_rows > 0, "batches of a row at least");
        // Stable: what was handed over first stays first.
        batches.sort_by_key(|batch| stream(batch));
        let streams = array::from_fn(|number| {
            let before = |limit| batches.partition_point(|batch| stream(batch) < limit);
            before(number)..before(number + 1)
        });
        let (runs, heads, slice) = Default::default();
        Self { batches, streams, batch_rows, run_rows: RUN_ROWS, placed: 0, runs, heads, slice }
    }

    /// With so many rows sorted at a time, where the default's time is too long a wait.
    #[must_use]
    pub const fn with_run_rows(mut self, run_rows: usize) -> Self {
        self.run_rows = run_rows;
        self
    }

    /// Sorts some more events; false once all are. The first batch waits for it otherwise.
    pub fn sort_some(&mut self) -> bool {
        let mut rows = 0;
        let fits = |batch: &&Arc<Batch>| {
            let fits = rows == 0 || rows + batch.rows() <= self.run_rows;
            rows += if fits { batch.rows() } else { 0 };
            fits
        };
        let end = self.placed + self.batches[self.placed..].iter().take_while(fits).count();
        let mut places = Vec::with_capacity(rows);
        for number in self.placed..end {
            let times = (0_u32..).zip(times(&self.batches[number]));
            let number = u32::try_from(number).expect("fewer than 2^32 batches");
            places.extend(times.map(|(row, &time)| Place::new(time, number, row)));
        }
        self.placed = end;
        // No two are equal.
        places.sort_unstable();
        let mut run = places.into_iter();
        if let Some(first) = run.next() {
            self.heads.push(Reverse((first, self.runs.len())));
            self.runs.push(run);
        }
        self.placed < self.batches.len()
    }

    /// The next event in order.
    fn place(&mut self) -> Option<Place> {
        let mut head = self.heads.peek_mut()?;
        let Reverse((place, run)) = *head;
        match self.runs[run].next() {
            Some(next) => *head = Reverse((next, run)),
            None => drop(PeekMut::pop(head)),
        }
        Some(place)
    }

    /// Takes the events of the next slice.
    fn cut(&mut self) {
        let mut slice: [Vec<(u32, u32)>; STREAMS.len()] = Default::default();
        let (mut events, mut end) = (0, i64::MAX);
        while let Some(Reverse((next, _))) = self.heads.peek() {
            if events == 0 {
                end = next.time().saturating_add(SLICE_MILLIS);
            }
            if events >= SLICE_EVENTS && next.time() >= end {
                break;
            }
            let (batch, row) = self.place().expect("the one that was looked at").row();
            let stream = self.streams.iter().rposition(|those| those.start <= batch as usize);
            let stream = stream.expect("the first starts at 0");
            slice[stream].push((batch - self.streams[stream].start as u32, row));
            events += 1;
        }
        self.slice = slice.map(Vec::into_iter);
    }
}

impl Iterator for TimeOrder {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        while self.sort_some() {}
        if self.slice.iter().all(|rows| rows.as_slice().is_empty()) {
            self.cut();
        }
        let stream = self.slice.iter().position(|rows| !rows.as_slice().is_empty())?;
        let rows = &mut self.slice[stream];
        let taken = rows.as_slice().len().min(self.batch_rows);
        let batches = &self.batches[self.streams[stream].clone()];
        let batch = Batch::gather(batches, &rows.as_slice()[..taken]);
        rows.nth(taken - 1);
        Some(batch)
    }
}

/// The position of a batch's stream in the catalogue.
fn stream(batch: &Batch) -> usize {
    let name = batch.relation().name;
    STREAMS.iter().position(|stream| stream.name == name).expect("a batch of a stream")
}

fn times(batch: &Batch) -> &[i64] {
    let topic = batch.relation().topic().expect("a batch of a stream");
    batch.column(topic.time).expect("the catalogue's field").values.stored()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_ordered_by_time_then_batch_then_row() {
        let order = [
            (i64::MIN, u32::MAX, u32::MAX),
            (-1, 0, 7),
            (-1, 1, 0),
            (0, 0, 0),
            (0, 0, 1),
            (1, 0, 0),
            (i64::MAX, 0, 0),
        ];
        let places = order.map(|(time, batch, row)| Place::new(time, batch, row));
        assert!(places.is_sorted_by(|one, next| one < next));
        assert_eq!(places.map(|place| (place.time(), place.row().0, place.row().1)), order);
    }
}
