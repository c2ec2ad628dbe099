//! Master data: one file a table. Each entity is a function of (seed, row) and of the entities it
//! belongs to; what its events add (balances, limits) is handed in by the caller.

pub mod account;
mod address;
pub mod card;
pub mod customer;
pub mod holder;
pub mod household;
pub mod layout;
pub mod loan;
pub mod property;
pub mod skeleton;
pub mod stock;

use std::ops::RangeInclusive;

use crate::brazil::calendar::local_day;
use crate::brazil::data::{HOME_PLACES, SURNAME_PLACES};
use crate::brazil::rates;
use crate::id::{Ids, Origin, Permutation};
use crate::plan::Plan;
use crate::rng::{Domain, Rng};

/// What every entity needs: the plan, its draws, its ids, and its distinct numbers.
#[derive(Debug)]
pub struct Context {
    /// The plan.
    pub plan: Plan,
    /// Draws.
    pub rng: Rng,
    /// Ids.
    pub ids: Ids,
    /// At the beginning of the history, in centavos a month.
    pub(crate) minimum_wage: u64,
    /// The months of which it is asked again and again whether there was a shock.
    months: RangeInclusive<i32>,
    pub(crate) cpf_roots: Permutation,
    pub(crate) phones: Permutation,
    pub(crate) homes: Permutation,
    pub(crate) bearers: Permutation,
    pub(crate) registrations: Permutation,
    pub(crate) account_numbers: Permutation,
    pub(crate) card_numbers: Permutation,
}

impl Context {
    /// The context of a plan.
    pub fn new(plan: Plan) -> Self {
        let rng = Rng::new(plan.seed());
        Self {
            plan,
            rng,
            ids: Ids::new(&rng),
            minimum_wage: rates::minimum_wage(local_day(plan.start())) as u64,
            months: skeleton::months_near(&plan),
            cpf_roots: Permutation::new(&rng, 1, customer::CPF_ROOTS),
            phones: Permutation::new(&rng, 2, 40_000_000),
            homes: Permutation::new(&rng, 6, HOME_PLACES),
            bearers: Permutation::new(&rng, 7, SURNAME_PLACES),
            registrations: Permutation::new(&rng, 3, 10_000_000),
            account_numbers: Permutation::new(&rng, 4, 1_000_000_000),
            card_numbers: Permutation::new(&rng, 5, 100_000_000),
        }
    }

    /// The id of a row of a table.
    #[inline]
    pub fn id(&self, domain: Domain, row: u64) -> [u8; 16] {
        self.event_id(domain, row, 0)
    }

    /// The id of event `k` of an entity.
    #[inline]
    pub fn event_id(&self, domain: Domain, row: u64, k: u32) -> [u8; 16] {
        self.ids.encode(Origin { domain, row, k })
    }
}
