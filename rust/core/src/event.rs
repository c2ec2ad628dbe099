//! Event streams: one file a stream. Event `k` of an entity is a function of (seed, stream, entity, k);
//! its time follows from `k` alone, and balances, limits and positions from the events before it.

pub mod card_transaction;
pub mod installment;
pub mod price;
mod recurring;
pub mod timeline;
pub mod trade;
pub mod transaction;

use crate::brazil::calendar::{Days, Month, local_day};
use crate::brazil::reference;
use crate::entity::Context;
use crate::entity::customer::LONGEST_TENURE;
use crate::entity::stock::stock_id;
use crate::plan::{DEFAULT_DAYS, Plan};
use crate::rng::Half;
use card_transaction::Shopping;
use price::Prices;
use timeline::Timeline;

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
    /// Days of the history, and those of the contracts before it.
    pub days: Days,
    /// Months of the history.
    pub months: Vec<Month>,
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
        Self {
            movements: Timeline::movements(&plan),
            purchases: Timeline::purchases(&plan),
            session: Timeline::session(&plan),
            // From the first contract to the latest payment of what falls due at the end.
            days: Days::new(
                local_day(plan.start() - LONGEST_TENURE) - 1,
                local_day(plan.as_of()) + 31,
            ),
            months: Month::all(local_day(plan.start()), local_day(plan.as_of())),
            shopping: Shopping::new(),
            prices: Prices::new(&context),
            stock_ids: reference().stocks.items.iter().map(|s| stock_id(s.ticker)).collect(),
            context,
        }
    }
}

/// `events` in the default number of days, scaled to those of the plan; fractions are settled by lot.
const fn scaled(events: u32, plan: &Plan, lot: Half) -> u32 {
    let exact = ((events as u64 * plan.days() as u64) << 32) / DEFAULT_DAYS as u64;
    ((exact + lot.0 as u64) >> 32) as u32
}
