//! Relations of some customers, in an order, as one sequence of batches.

use std::ops::Range;
use std::sync::Arc;
use std::vec;

use super::{Bank, Batches, EVER, InTime, Lanes};
use crate::catalog::Relation;
use crate::column::Batch;
use crate::error::Error;

/// The order of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Relation by relation, and one customer after the other with all events of an entity.
    Entity,
    /// By time, and where several events have one time, by the row of their entity. Batches are of one
    /// stream, so streams take turns: each has all of its events of a slice, and then the next slice begins.
    Time,
}

impl Order {
    /// All orders, by the names that callers give.
    pub const ALL: [(&'static str, Self); 2] = [("entity", Self::Entity), ("time", Self::Time)];
}

/// Iterates the batches of relations.
pub struct Window(Inner);

enum Inner {
    Entity(vec::IntoIter<Batches>),
    Time(Box<InTime>),
}

impl Window {
    /// The rows of these relations that belong to these customers, and of streams those in the instants
    /// of `span`, in batches of about `batch_rows`. Balances, limits and debts in tables are those at the end
    /// of the span, after all events before.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] as [`Bank::batches`] and [`Lanes::new`]; for a table in the order of time, or
    /// from an instant on, as its rows have none.
    pub fn new(
        bank: &Arc<Bank>,
        relations: &[&'static Relation],
        customers: Range<u64>,
        span: Range<i64>,
        order: Order,
        batch_rows: usize,
    ) -> Result<Self, Error> {
        let mut batches = Vec::with_capacity(relations.len());
        for relation in relations {
            let is_table = relation.topic().is_none();
            if is_table && (order == Order::Time || span.start != EVER.start) {
                let option = if order == Order::Time { "order" } else { "since" };
                let (value, name) = (order.name().to_owned(), relation.name);
                let allowed = format!("entity and no since for {name}, whose rows have no time");
                return Err(Error::OutOfRange { option, value, allowed });
            }
            let of_one = bank.batches(relation, customers.clone(), batch_rows)?;
            batches.push(of_one.within(span.clone()));
        }
        Ok(Self(match order {
            Order::Entity => Inner::Entity(batches.into_iter()),
            Order::Time => {
                let streams: Vec<_> = relations.iter().map(|relation| (*relation, 1)).collect();
                let lanes = Lanes::new(bank, &streams, customers, span)?;
                Inner::Time(Box::new(InTime::new(lanes, batch_rows)))
            }
        }))
    }

    /// Does some of what the first batch would have to wait for; false once all of it is done.
    pub fn prepare_some(&mut self) -> bool {
        match &mut self.0 {
            Inner::Entity(_) => false,
            Inner::Time(events) => events.prepare_some(),
        }
    }

    /// The events, if they are in order of time.
    pub fn in_time(&mut self) -> Option<&mut InTime> {
        match &mut self.0 {
            Inner::Entity(_) => None,
            Inner::Time(events) => Some(events),
        }
    }
}

impl Order {
    fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, order)| *order == self);
        found.expect("one of all").0
    }
}

impl From<Batches> for Window {
    fn from(batches: Batches) -> Self {
        Self(Inner::Entity(vec![batches].into_iter()))
    }
}

impl Iterator for Window {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        match &mut self.0 {
            Inner::Time(events) => events.next(),
            Inner::Entity(relations) => loop {
                let batches = relations.as_mut_slice().first_mut()?;
                if let Some(batch) = batches.next() {
                    return Some(batch);
                }
                relations.next();
            },
        }
    }
}
