//! From a plan to batches: whole relations, or the part that belongs to a range of customers.

mod changes;
mod client;
mod find;
mod in_time;
mod labels;
mod lanes;
mod makers;
mod versions;
mod window;

pub use changes::Changes;
pub use find::{Found, Lost};
pub use in_time::InTime;
pub use lanes::{Entities, Lane, Lanes};
pub use window::{Order, Window};

use std::ops::Range;
use std::sync::Arc;

use client::Client;
use makers::{Count, Living, Maker, Rows, push_versions, take_stages};

use crate::catalog::Relation;
use crate::column::Batch;
use crate::entity::layout::{Block, customer_of_account};
use crate::error::Error;
use crate::event::transaction::Ledger;
use crate::event::{Cursor, History};
use crate::plan::Plan;

/// All instants.
pub const EVER: Range<i64> = i64::MIN..i64::MAX;

/// Most rows that a batch may be asked to have.
pub const MAX_BATCH_ROWS: usize = 1 << 20;

/// A plan made ready: what the rows of all relations share is computed once, here.
#[derive(Debug)]
pub struct Bank {
    history: History,
}

impl Bank {
    /// Prepares a plan.
    pub fn new(plan: Plan) -> Self {
        Self { history: History::new(plan) }
    }

    /// The plan.
    pub const fn plan(&self) -> &Plan {
        &self.history.context.plan
    }

    /// The customers to make rows of `relation` for. Reference data always comes whole, as if all of it
    /// were the first customer's.
    fn owners(&self, relation: &Relation, customers: Range<u64>) -> Result<Range<u64>, Error> {
        let all = self.plan().customers();
        if customers.start <= customers.end && customers.end <= all {
            return Ok(if relation.is_reference() { 0..1 } else { customers });
        }
        Err(Error::OutOfRange {
            option: "start, stop",
            value: format!("{}, {}", customers.start, customers.end),
            allowed: format!("0 <= start <= stop <= {all}"),
        })
    }

    /// Refuses what events cannot be made of.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a table, and for a range that is not within the plan's customers.
    pub fn check_stream(&self, relation: &Relation, customers: &Range<u64>) -> Result<(), Error> {
        if relation.topic().is_none() {
            let (value, allowed) = (relation.name.to_owned(), "names of streams".to_owned());
            return Err(Error::OutOfRange { option: "streams", value, allowed });
        }
        self.owners(relation, customers.clone()).map(drop)
    }

    /// How many rows of `relation` belong to these customers.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a range that is not within the plan's customers.
    pub fn rows(&self, relation: &'static Relation, customers: Range<u64>) -> Result<u64, Error> {
        self.rows_before(relation, customers, EVER.end)
    }

    /// The same, of a table only those rows that are born before an instant.
    ///
    /// # Errors
    /// As `rows`.
    pub fn rows_before(
        &self,
        relation: &'static Relation,
        customers: Range<u64>,
        until: i64,
    ) -> Result<u64, Error> {
        let owners = self.owners(relation, customers)?;
        let context = &self.history.context;
        let maker = Maker::find(relation);
        let mut block = Block::of(context, owners.start);
        let mut each = |rows: &dyn Fn(&Client<'_>) -> u64| {
            let of_one =
                |row| rows(&Client::new(&self.history, &mut block, row, EVER.start..until));
            owners.clone().map(of_one).sum()
        };
        Ok(match (&maker.count, maker.lane()) {
            (Count::Before(_), Some(lane)) if until < self.plan().as_of() => each(&|client| {
                let mut born = 0;
                (lane.births)(client, &mut |time| born += u64::from(time < until));
                born
            }),
            (Count::Before(rows), _) => {
                let before = |customer| rows(&Block::of(context, customer), customer);
                before(owners.end) - before(owners.start)
            }
            (Count::Each(rows), _) => each(rows),
        })
    }

    /// The times of the movements of the account of a row, in milliseconds; found without their other fields, in the time
    /// of its own events.
    pub fn movement_times(&self, account: u64) -> Vec<i64> {
        let context = &self.history.context;
        let owner = customer_of_account(context, account);
        let mut block = Block::of(context, owner);
        let client = Client::new(&self.history, &mut block, owner, EVER);
        let (row, kind) =
            client.accounts().find(|(row, _)| *row == account).expect("an account of its owner");
        let (account, feeds) = client.moved(row, kind);
        Ledger::times(&self.history, account, feeds)
    }

    /// The rows of `relation` that belong to these customers, in batches of about `batch_rows`.
    ///
    /// All events of an entity are in one batch. Reference data (the stocks) belongs to
    /// no customer and always comes whole.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] for a range that is not within the plan's customers, or a batch size that
    /// is not within 1 to 1 048 576.
    pub fn batches(
        self: &Arc<Self>,
        relation: &'static Relation,
        customers: Range<u64>,
        batch_rows: usize,
    ) -> Result<Batches, Error> {
        let owners = self.owners(relation, customers)?;
        check_batch_rows(batch_rows)?;
        let (bank, next) = (Arc::clone(self), Maker::find(relation).next_batch);
        Ok(Batches { bank, next, owners, span: EVER, batch_rows })
    }

    /// The same rows of a table, each as it is when it is born: its keys, in half of the time, since nothing happens
    /// to it.
    ///
    /// # Errors
    /// As `batches`.
    pub fn births(
        self: &Arc<Self>,
        table: &'static Relation,
        customers: Range<u64>,
        batch_rows: usize,
    ) -> Result<Batches, Error> {
        let next = Maker::find(table).next_births;
        // What comes after the beginning does not matter.
        let span = EVER.start..self.plan().start();
        Ok(Batches { next, span, ..self.batches(table, customers, batch_rows)? })
    }

    /// The same rows of a table in all their versions: as each is at an instant, if it is born by then, and after each
    /// change from there on. All versions of a row are in one batch.
    ///
    /// # Errors
    /// As `batches`.
    pub fn versions(
        self: &Arc<Self>,
        table: &'static Relation,
        customers: Range<u64>,
        since: i64,
        batch_rows: usize,
    ) -> Result<Batches, Error> {
        let next = Maker::find(table).next_versions;
        let span = since..EVER.end;
        Ok(Batches { next, span, ..self.batches(table, customers, batch_rows)? })
    }
}

fn check_batch_rows(batch_rows: usize) -> Result<(), Error> {
    if (1..=MAX_BATCH_ROWS).contains(&batch_rows) {
        return Ok(());
    }
    Err(Error::OutOfRange {
        option: "batch_rows",
        value: batch_rows.to_string(),
        allowed: format!("1 to {MAX_BATCH_ROWS}"),
    })
}

/// Rows of a customer, about as many as there are of the streams that have most.
const USUAL_ROWS: usize = 32;

/// Iterates the batches of one relation.
#[derive(Debug)]
pub struct Batches {
    bank: Arc<Bank>,
    next: fn(&mut Self) -> Option<Batch>,
    owners: Range<u64>,
    span: Range<i64>,
    batch_rows: usize,
}

impl Batches {
    /// Only events of these instants; rows of tables as they are at the end of these.
    #[must_use]
    pub fn within(self, span: Range<i64>) -> Self {
        Self { span, ..self }
    }

    fn fill<R: Rows>(&mut self) -> Option<Batch> {
        // The last customer may take the batch over its size.
        let mut rows = R::with_capacity(self.batch_rows + self.batch_rows / 16);
        let history = &self.bank.history;
        let mut block = Block::of(&history.context, self.owners.start);
        while rows.rows() < self.batch_rows && !self.owners.is_empty() {
            let first = self.owners.start;
            if !block.customers().contains(&first) {
                block = Block::of(&history.context, first);
            }
            // As few as will surely find place: of the others nothing would be kept.
            let some = ((self.batch_rows - rows.rows()) / USUAL_ROWS).max(1) as u64;
            let end = self.owners.end.min(block.customers().end).min(first + some);
            let clients = Client::some(history, &block, first..end, &self.span);
            take_stages(R::STAGES, &clients);
            self.owners.start += rows.push_clients(&clients, self.batch_rows) as u64;
        }
        (rows.rows() > 0).then(|| rows.finish())
    }

    fn fill_births<R: Rows + Living>(&mut self) -> Option<Batch> {
        self.fill_by::<R>(|rows, client| {
            for mut cursor in R::cursors(client) {
                cursor.next(client.history, rows);
            }
        })
    }

    fn fill_versions<R: Rows + Living>(&mut self) -> Option<Batch> {
        self.fill_by::<R>(push_versions)
    }

    fn fill_by<R: Rows>(&mut self, push: impl Fn(&mut R, &Client<'_>)) -> Option<Batch> {
        let mut rows = R::with_capacity(self.batch_rows + self.batch_rows / 16);
        let history = &self.bank.history;
        let mut block = Block::of(&history.context, self.owners.start);
        while rows.rows() < self.batch_rows {
            let Some(row) = self.owners.next() else { break };
            push(&mut rows, &Client::new(history, &mut block, row, self.span.clone()));
        }
        (rows.rows() > 0).then(|| rows.finish())
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        (self.next)(self)
    }
}
