//! What is asked of a bank, cut into tasks.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datagen_core::batch::{self, Bank, EVER, Lanes};
use datagen_core::catalog::Relation;
use datagen_core::column::Batch;
use datagen_core::error::Error;
use datagen_core::plan::DEFAULT_DAYS;

use crate::check::{Parents, SharedKeySet};
use crate::output::Lane;

/// Customers of a task, where the plan has the usual days: the pieces at the end of a task are not
/// full, and with as many customers those are few.
const CUSTOMERS_AT_ONCE: u64 = 1_000;

/// Rows made and encoded at a time, few enough to stay in the processor's cache.
const ROWS_AT_ONCE: usize = 8_192;

/// A lane by its position in the window, and which part of it: a range of customers, or a slice of time.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    pub part: u64,
    pub lane: usize,
}

/// How many tasks there are, and which may be done side by side.
#[derive(Debug, Clone)]
pub struct Tasks {
    /// Parts to be prepared, in order, before the first task.
    pub preparations: u64,
    /// The stream of each lane.
    pub streams: Vec<usize>,
    /// Parts of each lane.
    pub parts: u64,
    /// Whether a lane is at one part at a time.
    pub one_by_one: bool,
}

/// Some streams of a range of customers, and what their events are checked against.
pub struct Window {
    bank: Arc<Bank>,
    streams: Vec<Parents>,
    order: Order,
    there: Option<SharedKeySet>,
}

enum Order {
    /// One entity after the other: a lane is a stream, and a part of it a range of customers.
    Entity(Range<u64>),
    /// In time: a lane is a partition of a stream, and a part of it a slice.
    Time(Lanes, Vec<Mutex<batch::Lane>>),
}

impl Window {
    /// A window in which each stream has one entity after the other.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for customers that the plan has not, and for a table: its rows would have
    /// to be handed over before those of others that point at them.
    pub fn by_entity(
        bank: Arc<Bank>,
        customers: Range<u64>,
        streams: Vec<Parents>,
    ) -> Result<Self, Error> {
        for relation in streams.iter().map(Parents::relation) {
            bank.check_stream(relation, &customers)?;
        }
        Ok(Self { bank, streams, order: Order::Entity(customers), there: None })
    }

    /// A window in which each partition of a stream is in order of time, and no partition is more than a
    /// slice before another; `partitions` has their number for each stream.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] as `by_entity` and [`Lanes::new`].
    pub fn in_time(
        bank: Arc<Bank>,
        customers: Range<u64>,
        streams: Vec<Parents>,
        partitions: &[u32],
    ) -> Result<Self, Error> {
        for relation in streams.iter().map(Parents::relation) {
            bank.check_stream(relation, &customers)?;
        }
        let relations: Vec<(&'static Relation, u32)> =
            streams.iter().map(Parents::relation).zip(partitions.iter().copied()).collect();
        let lanes = Lanes::new(&bank, &relations, customers, EVER)?;
        let made = lanes.lanes().into_iter().map(Mutex::new).collect();
        Ok(Self { bank, streams, order: Order::Time(lanes, made), there: None })
    }

    /// The same window, of which an output has the events with these ids already: they are made and checked, and
    /// not handed over.
    #[must_use]
    pub fn leaving_out(self, there: SharedKeySet) -> Self {
        Self { there: Some(there), ..self }
    }

    /// The rows of a batch that the output does not have.
    pub(crate) fn lacking(&self, batch: Batch) -> Arc<Batch> {
        let batch = Arc::new(batch);
        match &self.there {
            Some(ids) => ids.read().without(batch),
            None => batch,
        }
    }

    /// The streams.
    pub(crate) fn streams(&self) -> &[Parents] {
        &self.streams
    }

    /// The lanes.
    pub(crate) fn lanes(&self) -> Vec<Lane> {
        match &self.order {
            Order::Entity(_) => {
                let streams = 0..self.streams.len();
                streams.map(|stream| Lane { stream, partition: None }).collect()
            }
            Order::Time(_, made) => {
                let lanes = made.iter().map(locked);
                lanes.map(|at| Lane { stream: at.stream, partition: Some(at.partition) }).collect()
            }
        }
    }

    pub(crate) fn tasks(&self, lanes: &[Lane]) -> Tasks {
        let streams = lanes.iter().map(|lane| lane.stream).collect();
        match &self.order {
            Order::Entity(customers) => {
                let parts = self.ranges(customers);
                Tasks { preparations: 0, streams, parts, one_by_one: false }
            }
            Order::Time(lanes, _) => {
                let preparations = self.ranges(&lanes.customers());
                Tasks { preparations, streams, parts: lanes.slices() as u64, one_by_one: true }
            }
        }
    }

    /// Prepares a range of customers. What is returned puts it into the lanes, after those before it.
    pub(crate) fn prepare(&self, range: u64) -> impl FnOnce() + use<'_> {
        let prepared = match &self.order {
            Order::Entity(_) => None,
            Order::Time(lanes, made) => {
                Some((lanes.entities(self.range(&lanes.customers(), range)), made))
            }
        };
        move || {
            for (entities, lane) in
                prepared.into_iter().flat_map(|(all, made)| all.into_iter().zip(made))
            {
                locked(lane).add(entities);
            }
        }
    }

    /// The batches of a task.
    pub(crate) fn batches(&self, task: Task) -> Box<dyn Iterator<Item = Batch> + '_> {
        match &self.order {
            Order::Entity(customers) => {
                let relation = self.streams[task.lane].relation();
                let customers = self.range(customers, task.part);
                let batches = self.bank.batches(relation, customers, ROWS_AT_ONCE);
                Box::new(batches.expect("customers of the plan"))
            }
            Order::Time(_, made) => {
                let mut lane = locked(&made[task.lane]);
                let slice = task.part as usize;
                let batches = move || lane.next_batch(&self.bank, slice, ROWS_AT_ONCE);
                Box::new(std::iter::from_fn(batches))
            }
        }
    }

    fn ranges(&self, customers: &Range<u64>) -> u64 {
        (customers.end - customers.start).div_ceil(self.customers_at_once())
    }

    fn range(&self, customers: &Range<u64>, number: u64) -> Range<u64> {
        let at_once = self.customers_at_once();
        let first = customers.start + number * at_once;
        first..customers.end.min(first + at_once)
    }

    /// So many that their events are about as many whatever the days.
    fn customers_at_once(&self) -> u64 {
        let days = u64::from(self.bank.plan().days().max(DEFAULT_DAYS));
        (CUSTOMERS_AT_ONCE * u64::from(DEFAULT_DAYS) / days).max(1)
    }
}

/// The lock, also after a panic, which ends the pipeline.
fn locked<T>(lane: &Mutex<T>) -> MutexGuard<'_, T> {
    lane.lock().unwrap_or_else(PoisonError::into_inner)
}
