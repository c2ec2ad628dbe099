//! The plans that every invariant is tried on, each generated once.

use std::ops::Range;
use std::sync::LazyLock;

use datagen_core::column::Batch;
use datagen_core::plan::{Plan, Rates, SCENARIOS};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::common::{all, bank_of, days, part};

/// All rows of a plan.
pub struct World {
    pub plan: Plan,
    pub customers: Batch,
    pub properties: Batch,
    pub stocks: Batch,
    pub accounts: Batch,
    pub cards: Batch,
    pub loans: Batch,
    pub transactions: Batch,
    pub purchases: Batch,
    pub trades: Batch,
    pub installments: Batch,
}

impl World {
    /// All rows.
    fn new(plan: Plan) -> Self {
        Self::with_events_of(plan, 0..plan.customers())
    }

    /// The tables alone, with streams that have no event.
    fn of_tables(plan: Plan) -> Self {
        Self::with_events_of(plan, 0..0)
    }

    fn with_events_of(plan: Plan, customers: Range<u64>) -> Self {
        let bank = bank_of(plan);
        let events = |name| part(&bank, name, customers.clone(), 10_000);
        Self {
            plan,
            customers: all(&bank, "customers"),
            properties: all(&bank, "properties"),
            stocks: all(&bank, "stocks"),
            accounts: all(&bank, "accounts"),
            cards: all(&bank, "credit_cards"),
            loans: all(&bank, "loans"),
            transactions: events("banking.transactions"),
            purchases: events("banking.card-transactions"),
            trades: events("banking.trades"),
            installments: events("banking.installments"),
        }
    }

    pub fn batches(&self) -> [&Batch; 10] {
        [
            &self.customers,
            &self.properties,
            &self.stocks,
            &self.accounts,
            &self.cards,
            &self.loans,
            &self.transactions,
            &self.purchases,
            &self.trades,
            &self.installments,
        ]
    }
}

/// Plans drawn anew in every run, besides the chosen ones. `PROPTEST_CASES` says how many.
const DRAWN: usize = 6;

/// Histories that end and begin where something might break; all within 2024 to 2027, the years
/// whose holidays are listed.
fn chosen() -> Vec<Plan> {
    let plan = |seed, customers, as_of, length| {
        Plan::try_new(seed, customers, as_of, length).expect("a plan")
    };
    vec![
        plan(42, 400, days::utc((2026, 7, 1), 0, 0), 90),
        // Saturday of Carnival, and a single day without a session.
        plan(0, 100, days::utc((2026, 2, 14), 13, 37) + 11_123, 1),
        // Carnival Monday.
        plan(u64::MAX, 120, days::utc((2025, 3, 3), 12, 0), 2),
        // The last millisecond of a year in Brasília.
        plan(1, 60, days::utc((2026, 1, 1), 3, 0) - 1, 7),
        // Midnight in Brasília, after more than a year.
        plan(2, 60, days::utc((2025, 3, 1), 3, 0), 400),
        // Good Friday at 06:00 in Brasília, when arrears are reported.
        plan(3, 120, days::utc((2026, 4, 3), 9, 0), 30),
        // In the middle of a session, and two hours before one opens.
        plan(4, 400, days::utc((2025, 6, 13), 15, 5), 1),
        plan(5, 300, days::utc((2025, 6, 16), 11, 0), 1),
        // From 29 February to the day after a 29th that is not.
        plan(6, 20, days::utc((2025, 3, 1), 12, 0), 366),
        // With much fraud.
        plan(7, 200, days::utc((2026, 7, 1), 0, 0), 90).with_labels(Some(frauds())),
    ]
}

/// Rates at which each scenario befalls one account or card in ten in a month.
fn frauds() -> Rates {
    let names = SCENARIOS.into_iter().map(|(name, _)| name);
    names.fold(Rates::default(), |rates, name| rates.with(name, 100_000).expect("a rate"))
}

fn drawn() -> impl Strategy<Value = Plan> {
    let instants = prop_oneof![
        days::utc((2025, 2, 5), 0, 0)..days::utc((2026, 12, 31), 0, 0),
        (20_124_i64..20_818).prop_map(|day| day * days::DAY),
    ];
    let lengths = prop_oneof![1_u32..10, 10_u32..100, 100_u32..=400];
    (any::<u64>(), 20_u64..=400, instants, lengths).prop_map(|(seed, customers, as_of, length)| {
        // A long history of few or a short one of many, so that no plan is large.
        let customers = customers.min(20 + 20_000 / u64::from(length));
        Plan::try_new(seed, customers, as_of, length).expect("a plan")
    })
}

/// Plans of all the years that there may be, for the tables alone.
fn of_any_time() -> impl Strategy<Value = Plan> {
    let lengths = prop_oneof![Just(1), Just(90), 1_u32..400, 400_u32..=3_660, Just(3_660)];
    (any::<u64>(), 60_u64..=200, 0_i64..1_000_000, lengths).prop_map(
        |(seed, customers, place, length)| {
            let first = days::utc((2021, 1, 1), 0, 0) + i64::from(length) * days::DAY;
            let span = days::utc((2100, 1, 1), 0, 0) - first;
            Plan::try_new(seed, customers, first + span / 1_000_000 * place, length)
                .expect("a plan")
        },
    )
}

/// As many plans as there are to be drawn.
fn draw(plans: &impl Strategy<Value = Plan>) -> Vec<Plan> {
    let more = std::env::var("PROPTEST_CASES").map_or(DRAWN, |n| n.parse().expect("a number"));
    let mut runner = TestRunner::default();
    (0..more).map(|_| plans.new_tree(&mut runner).expect("a plan").current()).collect()
}

static WORLDS: LazyLock<Vec<World>> =
    LazyLock::new(|| chosen().into_iter().chain(draw(&drawn())).map(World::new).collect());

static TABLES: LazyLock<Vec<World>> =
    LazyLock::new(|| draw(&of_any_time()).into_iter().map(World::of_tables).collect());

/// Names the plan if a check fails in it, so that it can join the chosen ones.
struct Naming<'a>(&'a Plan);

impl Drop for Naming<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with {:?}", self.0);
        }
    }
}

/// Tries a check on every plan with its events.
pub fn in_every_world(check: impl FnMut(&World)) {
    each(&WORLDS, check);
}

/// Tries a check of tables alone on those plans and on others of any time and length.
pub fn in_every_table(check: impl Fn(&World)) {
    each(&WORLDS, &check);
    each(&TABLES, check);
}

fn each(worlds: &[World], mut check: impl FnMut(&World)) {
    for world in worlds {
        let _named_if_it_fails = Naming(&world.plan);
        check(world);
    }
}
