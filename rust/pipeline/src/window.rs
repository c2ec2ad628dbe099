//! What is asked of a bank, cut into tasks.

use std::ops::Range;
use std::sync::Arc;

use datagen_core::batch::{Bank, Batches};
use datagen_core::error::Error;
use datagen_core::plan::DEFAULT_DAYS;

use crate::check::Parents;

/// Customers of a task, where the plan has the usual days: the pieces at the end of a task are not
/// full, and with as many customers those are few.
const CUSTOMERS_AT_ONCE: u64 = 1_000;

/// Rows made and encoded at a time, few enough to stay in the processor's cache.
const ROWS_AT_ONCE: usize = 8_192;

/// A stream by its position in the window, and a range of customers.
#[derive(Debug, Clone, Copy)]
pub struct Task {
    pub range: u64,
    pub stream: usize,
}

/// Some streams of a range of customers, and what their events are checked against.
#[derive(Debug)]
pub struct Window {
    bank: Arc<Bank>,
    customers: Range<u64>,
    streams: Vec<Parents>,
}

impl Window {
    /// A window of a bank.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for customers that the plan has not, and for a table: its rows would have
    /// to be handed over before those of others that point at them.
    pub fn try_new(
        bank: Arc<Bank>,
        customers: Range<u64>,
        streams: Vec<Parents>,
    ) -> Result<Self, Error> {
        for relation in streams.iter().map(Parents::relation) {
            if relation.topic().is_none() {
                let (value, allowed) = (relation.name.to_owned(), "names of streams".to_owned());
                return Err(Error::OutOfRange { option: "streams", value, allowed });
            }
            bank.batches(relation, customers.clone(), ROWS_AT_ONCE)?;
        }
        Ok(Self { bank, customers, streams })
    }

    /// The streams.
    pub(crate) fn streams(&self) -> &[Parents] {
        &self.streams
    }

    /// Tasks of each stream.
    pub(crate) fn ranges(&self) -> u64 {
        (self.customers.end - self.customers.start).div_ceil(self.customers_at_once())
    }

    /// The batches of a task; they depend on nothing else.
    pub(crate) fn batches(&self, task: Task) -> Batches {
        let at_once = self.customers_at_once();
        let first = self.customers.start + task.range * at_once;
        let customers = first..self.customers.end.min(first + at_once);
        let relation = self.streams[task.stream].relation();
        self.bank.batches(relation, customers, ROWS_AT_ONCE).expect("customers of the plan")
    }

    /// So many that their events are about as many whatever the days.
    fn customers_at_once(&self) -> u64 {
        let days = u64::from(self.bank.plan().days().max(DEFAULT_DAYS));
        (CUSTOMERS_AT_ONCE * u64::from(DEFAULT_DAYS) / days).max(1)
    }
}
