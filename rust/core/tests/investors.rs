//! Investors: every order is one that the cash or the shares allow, and the cash of the account follows from the
//! trades.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::collections::BTreeMap;
use std::ops::Range;

use common::{Id, Read, all, bank_of, days};
use datagen_core::catalog::AccountType;
use datagen_core::column::Batch;
use datagen_core::entity::account::{Account, LEAST_INVESTED};
use datagen_core::entity::customer::Customer;
use datagen_core::entity::layout::Block;
use datagen_core::entity::skeleton::{Episode, Pot, Shock, Skeleton};
use datagen_core::event::History;
use datagen_core::event::trade::{CashFlow, CashKind, Investor, cash_events, count, funded_at};
use datagen_core::plan::Plan;
use proptest::prelude::*;

/// Everybody with an INVESTIMENTOS account.
struct Holder {
    row: u64,
    id: Id,
    skeleton: Skeleton,
    opening: (i64, i64),
}

impl Holder {
    fn all(history: &History) -> Vec<Self> {
        let context = &history.context;
        let holder = |row| {
            let account = Block::of(context, row).accounts(row).investments?;
            let customer = Customer::new(context, row);
            let skeleton = Skeleton::new(context, &customer);
            let (Account { id, opened_at, .. }, balance) =
                Account::new(context, account, AccountType::Investments, &customer, &skeleton);
            let opening = (opened_at, balance);
            Some(Self { row: account, id, skeleton, opening })
        };
        (0..context.plan.customers()).filter_map(holder).collect()
    }

    fn flows(&self, history: &History) -> Vec<CashFlow> {
        let mut investor = Investor::new(history, self.row, &self.skeleton, self.opening);
        let mut flows = Vec::new();
        while let Some(time) = investor.peek_cash_event(history) {
            let flow = investor.next_cash_event(history, &self.skeleton).expect("a flow");
            assert_eq!(flow.time, time);
            flows.push(flow);
            let balance: i64 = flows.iter().map(|flow| flow.amount).sum();
            assert_eq!(investor.settled(), self.opening.1 + balance);
        }
        assert_eq!(investor.next_cash_event(history, &self.skeleton), None);
        flows
    }
}

/// Any seed, and histories of all lengths; the longest of a few customers.
fn plans() -> impl Strategy<Value = Plan> {
    let lengths = prop_oneof![1_u32..10, Just(90), 30_u32..400, 400_u32..1_500, Just(3_660)];
    let instants = prop_oneof![
        days::utc((2031, 1, 15), 0, 0)..days::utc((2036, 1, 1), 0, 0),
        Just(days::utc((2036, 7, 1), 0, 0)),
    ];
    (any::<u64>(), instants, lengths).prop_map(|(seed, as_of, length)| {
        let customers = 20 + 20_000 / u64::from(length).max(90);
        let as_of = as_of.max(days::utc((2021, 1, 2), 0, 0) + i64::from(length) * days::DAY);
        Plan::try_new(seed, customers, as_of, length).expect("a plan")
    })
}

/// The rows of each account.
struct ByAccount(BTreeMap<Id, Range<usize>>);

impl ByAccount {
    fn new(trades: &Batch) -> Self {
        Self(trades.groups("account_id").into_iter().collect())
    }

    fn of(&self, holder: &Holder) -> Range<usize> {
        self.0.get(&holder.id).cloned().unwrap_or(0..0)
    }
}

/// What a trade adds to the cash, in centavos.
fn cash_of(trades: &Batch, row: usize) -> i64 {
    let (gross, fees) = (trades.longs("gross_amount")[row], trades.longs("fees")[row]);
    if trades.symbols("side")[row] == "BUY" { -gross - fees } else { gross - fees }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn nobody_spends_what_they_do_not_have(plan in plans()) {
        let history = History::new(plan);
        let trades = all(&bank_of(plan), "banking.trades");
        let groups = ByAccount::new(&trades);
        let cash: Vec<i64> = (0..trades.rows()).map(|row| cash_of(&trades, row)).collect();
        let times = trades.longs("executed_at");
        let sides = trades.symbols("side");
        for holder in Holder::all(&history) {
            let rows = groups.of(&holder);
            let is_new = holder.opening.0 >= plan.start();
            prop_assert!(holder.opening.1 >= LEAST_INVESTED || is_new || rows.is_empty());
            prop_assert_eq!(
                count(&history, holder.row, &holder.skeleton, holder.opening.0) as usize,
                rows.len()
            );
            // Beside settlements, which only say when.
            let mut flows = holder.flows(&history);
            flows.retain(|flow| !matches!(flow.kind, CashKind::Settlement { .. }));
            let mut flows = flows.into_iter().peekable();
            let mut has = holder.opening.1;
            let mut shares: BTreeMap<Id, i32> = BTreeMap::new();
            for row in rows {
                while let Some(flow) = flows.next_if(|flow| flow.time <= times[row]) {
                    has += flow.amount;
                }
                let buys = sides[row] == "BUY";
                // A purchase leaves two fifths at the least.
                prop_assert!(!buys || -cash[row] * 5 <= has * 3, "{} of {has}", cash[row]);
                has += cash[row];
                let held = shares.entry(trades.ids("stock_id")[row]).or_default();
                *held += trades.ints("quantity")[row] * if buys { 1 } else { -1 };
                prop_assert!(*held >= 0 && has >= 0);
            }
        }
    }

    #[test]
    fn the_cash_of_an_account_follows_from_its_trades(plan in plans()) {
        let history = History::new(plan);
        let trades = all(&bank_of(plan), "banking.trades");
        let groups = ByAccount::new(&trades);
        for holder in Holder::all(&history) {
            let flows = holder.flows(&history);
            prop_assert!(flows.is_sorted_by_key(|flow| flow.time));
            prop_assert_eq!(
                cash_events(&history, holder.row, &holder.skeleton, holder.opening.0) as usize,
                flows.len()
            );
            let mut notes: BTreeMap<i32, (i32, i64)> = BTreeMap::new();
            for row in groups.of(&holder) {
                let day = days::local(trades.longs("executed_at")[row]).0;
                let settles = trades.ints("settlement_date")[row];
                notes.entry(day).or_insert((settles, 0)).1 += cash_of(&trades, row);
            }
            // Of an account that is opened in the history, from its first deposit on.
            let is_new = holder.opening.0 >= plan.start();
            let since = if is_new { funded_at(&history, holder.opening.0) + 1 } else { plan.start() };
            let mut contributions: BTreeMap<i64, i64> = history.months.iter()
                .filter_map(|month| {
                    holder.skeleton.standing_and_contribution(month, Pot::Investments).1
                })
                .filter(|(time, _)| (since..plan.as_of()).contains(time))
                .collect();
            let mut balance = holder.opening.1;
            for flow in flows {
                prop_assert!((plan.start()..plan.as_of()).contains(&flow.time));
                // Purchases and sales of a day may come to nothing, though they hardly ever do.
                let settles = matches!(flow.kind, CashKind::Settlement { .. });
                prop_assert!(flow.amount != 0 || settles);
                let (day, time) = days::local(flow.time);
                let is_first = is_new && flow.time < since;
                prop_assert!(is_first == (is_new && balance == 0));
                let any_day = is_first || flow.kind == CashKind::Contribution;
                prop_assert!(any_day || history.days.at(day).business);
                let (opens, closes) = match flow.kind {
                    _ if is_first => (9, 24),
                    CashKind::Settlement { trade_day } => {
                        prop_assert_eq!(notes.remove(&trade_day), Some((day, flow.amount)));
                        (8, 10)
                    }
                    CashKind::Contribution => {
                        prop_assert_eq!(contributions.remove(&flow.time), Some(flow.amount));
                        (10, 23)
                    }
                    CashKind::Withdrawal => {
                        prop_assert!(flow.amount > 0 || balance + flow.amount >= 30_000);
                        prop_assert_eq!(flow.amount % 5_000, 0);
                        (10, 18)
                    }
                };
                prop_assert!((opens * days::HOUR..closes * days::HOUR).contains(&time));
                balance += flow.amount;
                prop_assert!(balance >= 0);
            }
            prop_assert!(contributions.is_empty());
            // What is left settles at the end of the history, or after it.
            let (end, _) = days::local(plan.as_of());
            prop_assert!(notes.values().all(|(settles, _)| *settles >= end));
        }
    }

    #[test]
    fn blocked_and_shunned_accounts_are_quiet(plan in plans()) {
        let history = History::new(plan);
        let trades = all(&bank_of(plan), "banking.trades");
        let groups = ByAccount::new(&trades);
        for holder in Holder::all(&history) {
            let one = &holder.skeleton;
            let month_of = |time| history.days.at(days::local(time).0).month;
            let blocked = |month| {
                matches!(one.episode(month), Some(Episode { shock: Shock::Blocked, .. }))
            };
            for flow in holder.flows(&history) {
                prop_assert!(!blocked(month_of(flow.time)), "{flow:?}");
            }
            for row in groups.of(&holder) {
                let month = month_of(trades.longs("executed_at")[row]);
                prop_assert!(!blocked(month) && !one.is_shunned(month) && one.distress(month) < 3);
            }
        }
    }
}

/// What does not depend on the length of a history: times and sizes of a day are drawn for the day.
#[test]
fn a_longer_history_adds_trades_before_the_others() {
    let as_of = days::utc((2026, 7, 1), 0, 0);
    let history = |length| History::new(Plan::try_new(5, 400, as_of, length).expect("a plan"));
    let (short, long) = (history(20), history(21));
    let mut all = 0;
    for (one, other) in Holder::all(&short).iter().zip(Holder::all(&long)) {
        let times = |history, holder: &Holder| {
            datagen_core::event::trade::times(history, holder.row, &one.skeleton, holder.opening.0)
        };
        let (less, more) = (times(&short, one), times(&long, &other));
        assert!(more.ends_with(&less));
        all += more.len();
    }
    assert!(all > 400, "{all} trades");
}
