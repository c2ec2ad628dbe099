//! Event streams: one file a stream. When events happen and how many there are follows from the life of the customer
//! and from draws, month by month; amounts, balances, limits and positions from the events before.

pub mod card_transaction;
pub mod installment;
pub mod price;
pub mod scenario;
pub mod timeline;
pub mod trade;
pub mod transaction;

use crate::brazil::calendar::{Days, Month, instant, local_day};
use crate::brazil::reference;
use crate::column::Columns;
use crate::entity::Context;
use crate::entity::customer::LONGEST_TENURE;
use crate::entity::skeleton::LONGEST_EPISODE;
use crate::entity::stock::stock_id;
use crate::plan::Plan;
use card_transaction::Shopping;
use price::Prices;
use timeline::Timeline;
use trade::Sessions;
use transaction::Masks;

/// The events of one entity, one after the other: a state, and the time of the next event.
///
/// Whatever the order in which the events of a bank are made, those of an entity are made by its cursor,
/// and each fold over them (a balance, a limit, what is left of a loan) is in its steps alone.
pub trait Cursor: Send {
    /// What the events are added to.
    type Columns: Columns;
    /// What an event is, beside what stays the same of its entity.
    type Event;

    /// The id of the entity, which is the key of its events.
    fn id(&self) -> [u8; 16];

    /// When the next event happens, in milliseconds; nothing after the last. It is never before the
    /// event before it.
    fn peek(&self) -> Option<i64>;

    /// Passes the next event: only what the events after it depend on is made.
    ///
    /// # Panics
    /// Or a wrong state, if there is no next event; so too `take` and `next`.
    fn skip(&mut self, history: &History);

    /// Passes the next event, and says what it is.
    fn take(&mut self, history: &History) -> Self::Event;

    /// Adds an event that was taken. It may be long ago, as its columns follow from it and from what stays the same: what
    /// takes events and what writes them are much code each, and one that goes on for a while stays in the cache.
    fn write(&self, history: &History, event: &Self::Event, columns: &mut Self::Columns);

    /// Adds the next event to `columns`, and passes it.
    fn next(&mut self, history: &History, columns: &mut Self::Columns) {
        let event = self.take(history);
        self.write(history, &event, columns);
    }

    /// Takes all events before an instant.
    fn take_until(&mut self, history: &History, until: i64, events: &mut Vec<Self::Event>) {
        while self.peek().is_some_and(|time| time < until) {
            events.push(self.take(history));
        }
    }

    /// Asks for the memory that the next event needs beside the cursor's own.
    fn prefetch(&self) {}

    /// Takes what happens next before an instant: of events the first, of a row's versions the last.
    fn take_before(&mut self, history: &History, _until: i64) -> Self::Event {
        self.take(history)
    }

    /// Passes all events before an instant.
    fn skip_until(&mut self, history: &History, until: i64) {
        while self.peek().is_some_and(|time| time < until) {
            self.skip(history);
        }
    }
}

/// Asks for the memory of a value that is read soon.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of::<T>()).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the address is within the value, and nothing is read that the program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast::<i8>().add(line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// What the events of a plan share.
#[derive(Debug)]
pub struct History {
    /// Entities.
    pub context: Context,
    /// When movements of accounts happen.
    pub movements: Timeline,
    /// When purchases happen.
    pub purchases: Timeline,
    /// When trades happen.
    pub session: Timeline,
    /// On which days they may.
    pub sessions: Sessions,
    /// Days of the history, and those of the contracts before it.
    pub days: Days,
    /// Months of the history.
    pub months: Vec<Month>,
    /// Which customers of the bank may pay one another, by when.
    pub masks: Masks,
    /// Where purchases are made, by when.
    pub shopping: Shopping,
    /// Price paths.
    pub prices: Prices,
    /// Ids of the stocks, in the order of the reference data.
    pub stock_ids: Vec<[u8; 16]>,
}

impl History {
    /// The history of a plan.
    pub fn new(plan: Plan) -> Self {
        let context = Context::new(plan);
        let session = Timeline::session(&plan);
        let (first_day, last_day) = (local_day(plan.start()), local_day(plan.as_of()));
        let months = Month::all(first_day, last_day);
        Self {
            movements: Timeline::movements(&plan),
            purchases: Timeline::purchases(&plan),
            sessions: Sessions::new(first_day, last_day, &months, &session),
            session,
            // From the first contract to the month after the latest shock that begins in the history.
            days: Days::new(
                local_day(plan.start() - LONGEST_TENURE) - 1,
                local_day(plan.as_of()) + 31 * (LONGEST_EPISODE + 2),
            ),
            masks: Masks::new(&context.rng, &months),
            months,
            shopping: Shopping::new(),
            prices: Prices::new(&context),
            stock_ids: reference().stocks.items.iter().map(|s| stock_id(s.ticker)).collect(),
            context,
        }
    }
}

impl History {
    /// No event is before this instant: installments are as old as the contract, and customers join in the course of a day.
    pub const fn first_instant(&self) -> i64 {
        instant(local_day(self.context.plan.start() - LONGEST_TENURE), 0)
    }
}
