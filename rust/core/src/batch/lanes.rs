//! Events in order of time.
//!
//! A *lane* is a stream, or one partition of its topic: the unit of state and of order. It has a
//! cursor for each of its entities, and a calendar in which each cursor is noted once, in the step of its
//! next event. To make a slice, a lane sorts what is noted for each of its steps and takes the events one
//! by one; an entity that comes again within the step waits in a small heap. No event is made twice, moved or
//! merged, and a lane needs no other, so that threads can make lanes side by side. The lane of a table has the
//! versions of its rows in the same way, and gives of each row only the last before the instant asked for.

use std::any::Any;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::sync::Arc;
use std::vec;

use super::client::Client;
use super::makers::{Living, Maker, take_stages};
use super::{Bank, MAX_BATCH_ROWS};
use crate::catalog::Relation;
use crate::column::Batch;
use crate::encode::kafka::partition_of;
use crate::entity::layout::Block;
use crate::error::Error;
use crate::event::{Cursor, History, prefetch};
use crate::order::SLICE_MILLIS;

/// Events of all streams in a slice of time, as far as a sample tells: below the 100 000 that readers who
/// take partitions in step are promised, by more than the sample errs.
const SLICE_EVENTS: u64 = 80_000;
/// Events of all streams in a step, of which a slice has several: so few that hardly an entity comes twice.
const STEP_EVENTS: u64 = 8_192;
/// Events of a lane in a step, on average, where lanes are so many that steps of each would take memory.
const STEP_EVENTS_OF_A_LANE: u64 = 64;
/// Customers of which events are counted to cut the slices: enough to be right within a tenth.
const SAMPLE: u64 = 2_000;
/// Bits of an entity's position in its lane; the rest are milliseconds, enough for 34 years.
const ENTITY_BITS: u32 = 24;

/// Streams or tables of some customers and of a span of time, cut into slices and lanes.
#[derive(Debug)]
pub struct Lanes {
    bank: Arc<Bank>,
    customers: Range<u64>,
    span: Range<i64>,
    streams: Vec<(&'static LaneMaker, u32)>,
    slices: Arc<Slices>,
}

impl Lanes {
    /// The events of these streams, or versions of the rows of these tables, each in so many partitions, of
    /// these customers, in the instants of `span`.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for reference data, for customers that the plan has not, and for more of them than
    /// lanes can have (8 388 608 for each partition).
    pub fn new(
        bank: &Arc<Bank>,
        streams: &[(&'static Relation, u32)],
        customers: Range<u64>,
        span: Range<i64>,
    ) -> Result<Self, Error> {
        let mut found = Vec::with_capacity(streams.len());
        for &(relation, partitions) in streams {
            bank.owners(relation, customers.clone())?;
            // A customer has at most one and a half entities of a stream; keys are spread evenly.
            let most = (1_u64 << ENTITY_BITS) * u64::from(partitions) / 2;
            let given = customers.end - customers.start;
            if given > most {
                return Err(Error::OutOfRange {
                    option: "customers",
                    value: given.to_string(),
                    allowed: format!(
                        "{most} at the most in order of time and in {partitions} partitions"
                    ),
                });
            }
            let maker = Maker::find(relation).lane().ok_or_else(|| Error::OutOfRange {
                option: "streams",
                value: relation.name.to_owned(),
                allowed: "relations whose rows come about in time".to_owned(),
            })?;
            found.push((maker, partitions));
        }
        let slices = Arc::new(Slices::new(bank, &found, &customers, &span));
        Ok(Self { bank: Arc::clone(bank), customers, span, streams: found, slices })
    }

    /// Number of slices.
    pub fn slices(&self) -> usize {
        self.slices.len()
    }

    /// The lanes, without entities: those of the first stream first, and of each by partition.
    pub fn lanes(&self) -> Vec<Lane> {
        let streams = self.streams.iter().enumerate();
        let lanes = streams.flat_map(|(stream, (maker, partitions))| {
            (0..*partitions).map(move |partition| Lane {
                stream,
                partition,
                rest: (maker.lane)(Arc::clone(&self.slices), self.span.end),
            })
        });
        lanes.collect()
    }

    /// The cursors of some of the customers, for each lane. Lanes have to get those of the first customers
    /// first.
    pub fn entities(&self, customers: Range<u64>) -> Vec<Entities> {
        let history = &self.bank.history;
        let mut streams: Vec<Box<dyn Sorted>> =
            self.streams.iter().map(|(maker, count)| (maker.sorted)(*count)).collect();
        let mut left = customers;
        while !left.is_empty() {
            let block = Block::of(&history.context, left.start);
            let end = left.end.min(block.customers().end);
            let clients = Client::some(history, &block, left.start..end, &self.span);
            for stream in &mut streams {
                stream.add(&clients);
            }
            left.start = end;
        }
        streams.into_iter().flat_map(Sorted::lanes).collect()
    }

    /// The customers.
    pub fn customers(&self) -> Range<u64> {
        self.customers.clone()
    }
}

/// Cursors of entities of one lane, in the order of their rows.
pub struct Entities(Box<dyn Any + Send>);

/// The cursors of a stream's entities, by partition.
pub(super) trait Sorted {
    fn add(&mut self, clients: &[Client<'_>]);
    fn lanes(self: Box<Self>) -> Vec<Entities>;
}

struct ByPartition<R: Living>(Vec<Vec<R::Cursor>>);

impl<R: Living> Sorted for ByPartition<R> {
    fn add(&mut self, clients: &[Client<'_>]) {
        let count = self.0.len() as u32;
        take_stages(R::STAGES, clients);
        for client in clients {
            for mut cursor in R::cursors(client) {
                cursor.skip_until(client.history, client.span.start);
                if cursor.peek().is_some_and(|time| time < client.span.end) {
                    let partition = if count == 1 { 0 } else { partition_of(&cursor.id(), count) };
                    self.0[partition as usize].push(cursor);
                }
            }
        }
    }

    fn lanes(self: Box<Self>) -> Vec<Entities> {
        self.0.into_iter().map(|cursors| Entities(Box::new(cursors))).collect()
    }
}

/// What lanes of a stream are made by.
#[derive(Debug)]
pub(super) struct LaneMaker {
    sorted: fn(u32) -> Box<dyn Sorted>,
    lane: fn(Arc<Slices>, i64) -> Box<dyn AnyLane>,
    /// Gives the times of all events of a customer, or versions of rows.
    times: fn(&Client<'_>, &mut dyn FnMut(i64)),
    /// Gives the times of the first of each entity.
    pub(super) births: fn(&Client<'_>, &mut dyn FnMut(i64)),
}

impl LaneMaker {
    pub(super) const fn of<R: Living>() -> Self {
        Self {
            sorted: |partitions| {
                Box::new(ByPartition::<R>((0..partitions).map(|_| Vec::new()).collect()))
            },
            lane: |slices, end| Box::new(Calendar::<R>::new(slices, end)),
            times: |client, count| {
                for mut cursor in R::cursors(client) {
                    while let Some(time) = cursor.peek() {
                        count(time);
                        cursor.skip(client.history);
                    }
                }
            },
            births: |client, give| R::cursors(client).filter_map(|one| one.peek()).for_each(give),
        }
    }
}

/// The slices of a span of time: whole hours, and as many of them as have some ten thousands of events. A
/// slice is made in steps of fewer hours.
#[derive(Debug)]
pub(super) struct Slices {
    /// Where the first hour begins.
    origin: i64,
    /// The step of each hour.
    by_hour: Vec<u32>,
    /// The first step of each slice, and the number of steps.
    first_steps: Vec<usize>,
}

impl Slices {
    fn new(
        bank: &Bank,
        streams: &[(&'static LaneMaker, u32)],
        customers: &Range<u64>,
        span: &Range<i64>,
    ) -> Self {
        let history = &bank.history;
        let first = span.start.max(history.first_instant());
        let origin = first.div_euclid(SLICE_MILLIS) * SLICE_MILLIS;
        let end = span.end.min(bank.plan().as_of()).max(origin + 1);
        let mut hours = vec![0_u64; hour(end - 1 - origin) + 1];
        let given = customers.end - customers.start;
        let stands_for = given.div_ceil(SAMPLE).max(1);
        let mut block = Block::of(&history.context, customers.start);
        for row in customers.clone().step_by(stands_for as usize) {
            let client = Client::new(history, &mut block, row, span.clone());
            for (maker, _) in streams {
                (maker.times)(&client, &mut |time| {
                    if (first..end).contains(&time) {
                        hours[hour(time - origin)] += stands_for;
                    }
                });
            }
        }
        let (mut by_hour, mut first_steps) = (Vec::with_capacity(hours.len()), vec![0]);
        let lanes: u64 = streams.iter().map(|(_, partitions)| u64::from(*partitions)).sum();
        let step_events = STEP_EVENTS.max(lanes * STEP_EVENTS_OF_A_LANE);
        let (mut step, mut of_step, mut of_slice) = (0, 0, 0);
        for count in hours {
            if of_slice > 0 && of_slice + count > SLICE_EVENTS {
                step += 1;
                first_steps.push(step);
                (of_step, of_slice) = (0, 0);
            } else if of_step > 0 && of_step + count > step_events {
                step += 1;
                of_step = 0;
            }
            of_step += count;
            of_slice += count;
            by_hour.push(step as u32);
        }
        first_steps.push(step + 1);
        Self { origin, by_hour, first_steps }
    }

    /// Whether an instant is behind the last hour.
    fn ends_before(&self, instant: i64) -> bool {
        instant - self.origin >= self.by_hour.len() as i64 * SLICE_MILLIS
    }

    fn len(&self) -> usize {
        self.first_steps.len() - 1
    }

    fn steps(&self) -> usize {
        self.first_steps[self.len()]
    }

    /// The step of an instant of the span.
    #[inline]
    fn step(&self, instant: i64) -> usize {
        self.by_hour[hour(instant - self.origin)] as usize
    }
}

#[inline]
const fn hour(millis: i64) -> usize {
    (millis / SLICE_MILLIS) as usize
}

/// A stream, or one partition of its topic.
pub struct Lane {
    /// The position of its stream.
    pub stream: usize,
    /// The partition.
    pub partition: u32,
    rest: Box<dyn AnyLane>,
}

/// Lanes that get their entities little by little.
pub(super) struct Filling {
    pub(super) lanes: Lanes,
    pub(super) made: Vec<Lane>,
    /// Customers whose entities are not in the lanes.
    left: Range<u64>,
}

/// Customers whose cursors are made at a time: some milliseconds.
const CUSTOMERS_AT_ONCE: u64 = 1_000;

impl Filling {
    pub(super) fn new(lanes: Lanes) -> Self {
        let (made, left) = (lanes.lanes(), lanes.customers());
        Self { lanes, made, left }
    }

    /// Adds the entities of some more customers; false once all are there.
    pub(super) fn add_some(&mut self) -> bool {
        let end = self.left.end.min(self.left.start + CUSTOMERS_AT_ONCE);
        let entities = self.lanes.entities(self.left.start..end);
        for (lane, entities) in self.made.iter_mut().zip(entities) {
            lane.add(entities);
        }
        self.left.start = end;
        !self.left.is_empty()
    }

    /// Adds the entities of all customers that are left.
    pub(super) fn add_all(&mut self) {
        while !self.left.is_empty() {
            self.add_some();
        }
    }

    /// The next rows of a lane in a slice, before an instant.
    pub(super) fn next_before(
        &mut self,
        lane: usize,
        slice: usize,
        limit: i64,
        batch_rows: usize,
    ) -> Option<Batch> {
        self.made[lane].next_before(&self.lanes.bank, slice, limit, batch_rows)
    }
}

impl Lane {
    /// Adds entities; their rows are greater than those of the entities before.
    pub fn add(&mut self, entities: Entities) {
        self.rest.add(entities);
    }

    /// The next events of a slice, `batch_rows` at the most; none when the slice is at its end. Each
    /// slice is made once, from the first to the last.
    pub fn next_batch(&mut self, bank: &Bank, slice: usize, batch_rows: usize) -> Option<Batch> {
        self.next_before(bank, slice, i64::MAX, batch_rows)
    }

    /// As `next_batch`, and only events before an instant; the others of the slice come later.
    pub fn next_before(
        &mut self,
        bank: &Bank,
        slice: usize,
        limit: i64,
        batch_rows: usize,
    ) -> Option<Batch> {
        self.rest.next_before(&bank.history, slice, limit, batch_rows.min(MAX_BATCH_ROWS))
    }

    /// When the next event of a slice happens; nothing when the slice is at its end.
    pub fn peek(&mut self, slice: usize) -> Option<i64> {
        self.rest.peek(slice)
    }
}

trait AnyLane: Send {
    fn add(&mut self, entities: Entities);
    fn peek(&mut self, slice: usize) -> Option<i64>;
    fn next_before(
        &mut self,
        history: &History,
        slice: usize,
        limit: i64,
        batch_rows: usize,
    ) -> Option<Batch>;
}

/// An entity and when it comes next: milliseconds since the first hour, then its position in the lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Note(u64);

impl Note {
    /// After all that can be noted.
    const LAST: Self = Self(u64::MAX);

    const fn entity(self) -> usize {
        self.0 as usize & ((1 << ENTITY_BITS) - 1)
    }

    /// Milliseconds since the first hour.
    const fn time(self) -> i64 {
        (self.0 >> ENTITY_BITS) as i64
    }
}

/// The entities of a lane, and when each comes next.
struct Calendar<R: Living> {
    slices: Arc<Slices>,
    end: i64,
    cursors: Vec<R::Cursor>,
    /// By step, in no order.
    notes: Vec<Vec<Note>>,
    /// The step after that which is being made. Of that: what was noted for it, in order, and what has
    /// come again.
    next_step: usize,
    noted: vec::IntoIter<Note>,
    again: BinaryHeap<Reverse<Note>>,
}

impl<R: Living> Calendar<R> {
    fn new(slices: Arc<Slices>, end: i64) -> Self {
        let notes = (0..slices.steps()).map(|_| Vec::new()).collect();
        Self {
            slices,
            end,
            cursors: Vec::new(),
            notes,
            next_step: 0,
            noted: Vec::new().into_iter(),
            again: BinaryHeap::new(),
        }
    }

    fn note(&self, time: i64, entity: usize) -> Note {
        Note(((time - self.slices.origin) as u64) << ENTITY_BITS | entity as u64)
    }

    /// What is noted for an instant, or for a later one, is not less.
    fn limit(&self, instant: i64) -> Note {
        if instant >= self.end || self.slices.ends_before(instant) {
            return Note::LAST;
        }
        self.note(instant.max(self.slices.origin), 0)
    }

    /// Whether there are events in this step, or in one before `end`, which is begun then.
    fn begin_step(&mut self, end: usize) -> bool {
        while self.noted.as_slice().is_empty() && self.again.is_empty() {
            if self.next_step == end {
                return false;
            }
            let mut noted = std::mem::take(&mut self.notes[self.next_step]);
            noted.sort_unstable();
            self.noted = noted.into_iter();
            self.next_step += 1;
        }
        true
    }

    /// The first note of the step that is before `limit`, and whether it has come again.
    #[inline]
    fn first(&self, limit: Note) -> Option<(Note, bool)> {
        let noted = self.noted.as_slice().first().map(|note| (*note, false));
        let again = self.again.peek().map(|Reverse(note)| (*note, true));
        let first = match (noted, again) {
            (Some(noted), Some(again)) => noted.min(again),
            (noted, again) => noted.or(again)?,
        };
        (first.0 < limit).then_some(first)
    }

    /// The entity whose event is the next of the step, if that is before `limit`.
    #[inline]
    fn next_entity(&mut self, limit: Note) -> Option<usize> {
        let (note, again) = self.first(limit)?;
        if again {
            self.again.pop();
        } else {
            self.noted.next();
        }
        Some(note.entity())
    }
}

/// An entity, and an event that was taken of it.
type Taken<R> = (usize, <<R as Living>::Cursor as Cursor>::Event);

impl<R: Living> Calendar<R> {
    /// Adds events that were taken.
    fn write(&self, history: &History, taken: &mut Vec<Taken<R>>, rows: &mut R) {
        for (entity, event) in taken.drain(..) {
            self.cursors[entity].write(history, &event, rows);
        }
    }
}

impl<R: Living> AnyLane for Calendar<R> {
    fn add(&mut self, entities: Entities) {
        let cursors = entities.0.downcast::<Vec<R::Cursor>>().expect("entities of this stream");
        self.cursors.reserve(cursors.len());
        for cursor in *cursors {
            let time = cursor.peek().expect("an entity with an event");
            let note = self.note(time, self.cursors.len());
            self.notes[self.slices.step(time)].push(note);
            self.cursors.push(cursor);
        }
    }

    fn peek(&mut self, slice: usize) -> Option<i64> {
        self.begin_step(self.slices.first_steps[slice + 1]);
        self.first(Note::LAST).map(|(note, _)| self.slices.origin + note.time())
    }

    fn next_before(
        &mut self,
        history: &History,
        slice: usize,
        limit: i64,
        batch_rows: usize,
    ) -> Option<Batch> {
        let until = limit.min(self.end);
        let limit = self.limit(limit);
        let end = self.slices.first_steps[slice + 1];
        self.begin_step(end);
        self.first(limit)?;
        let left = if limit == Note::LAST {
            let noted: usize = self.notes[self.next_step..end].iter().map(Vec::len).sum();
            noted + self.noted.len()
        } else {
            self.noted.as_slice().partition_point(|note| *note < limit)
        } + self.again.len();
        let mut rows = R::with_capacity((left + left / 4).min(batch_rows));
        let mut taken = Vec::with_capacity(AT_ONCE);
        while rows.rows() + taken.len() < batch_rows {
            if taken.len() == AT_ONCE {
                self.write(history, &mut taken, &mut rows);
            }
            if let Some(note) = self.noted.as_slice().get(AHEAD) {
                prefetch(&self.cursors[note.entity()]);
            }
            if let Some(note) = self.noted.as_slice().get(AHEAD / 2) {
                self.cursors[note.entity()].prefetch();
            }
            let Some(entity) = self.next_entity(limit) else {
                // At the end of the step, or of what is before the limit.
                if self.first(Note::LAST).is_none() && self.begin_step(end) {
                    continue;
                }
                break;
            };
            let cursor = &mut self.cursors[entity];
            taken.push((entity, cursor.take_before(history, until)));
            let Some(time) = cursor.peek().filter(|time| *time < self.end) else { continue };
            let (note, step) = (self.note(time, entity), self.slices.step(time));
            if step < self.next_step {
                self.again.push(Reverse(note));
            } else {
                self.notes[step].push(note);
            }
        }
        self.write(history, &mut taken, &mut rows);
        Some(rows.finish())
    }
}

/// Events that are taken one after the other before they are written.
const AT_ONCE: usize = 64;
/// How many events before its own a cursor is asked for: about as long as memory takes, twice.
const AHEAD: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::card_transaction::CardTransactionColumns;
    use crate::event::installment::InstallmentColumns;
    use crate::event::trade::TradeColumns;
    use crate::event::transaction::TransactionColumns;

    /// Bytes of a cursor, and at the most.
    fn cursor<R: Living>(most: usize) -> (usize, usize) {
        (size_of::<R::Cursor>(), most)
    }

    /// What a load in order of time keeps of each account, card, investor and loan, beside what is due in a month and
    /// claimed in the history. A byte more of one of them is a megabyte for a million customers.
    #[test]
    fn cursors_of_streams_are_small() {
        let sizes = [
            cursor::<TransactionColumns>(248),
            cursor::<CardTransactionColumns>(228),
            cursor::<TradeColumns>(224),
            cursor::<InstallmentColumns>(256),
        ];
        assert!(sizes.iter().all(|(size, most)| size <= most), "{sizes:?}");
    }
}
