//! The versions of rows: a table as it was at one instant, with the changes up to another, is the table at that.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use common::{Id, Read, bank_of};
use datagen_core::batch::{Bank, Changes, EVER};
use datagen_core::brazil::calendar;
use datagen_core::catalog::{Relation, TABLES, relation};
use datagen_core::column::Batch;
use datagen_core::encode::{Format, encode};
use datagen_core::plan::{DEFAULT_AS_OF, Plan};
use proptest::prelude::*;

const DAY: i64 = 86_400_000;

/// A row: when it changed last, and its bytes.
type Row = (i64, Vec<u8>);
/// The rows of each table.
type Tables = BTreeMap<&'static str, BTreeMap<Id, Row>>;

fn rows(batch: &Batch) -> impl Iterator<Item = (Id, Row)> {
    let bytes = encode(batch, Format::Json);
    let ids = batch.ids(batch.relation().fields[0].name);
    let times = batch.longs("updated_at");
    (0..batch.rows()).map(move |row| (ids[row], (times[row], bytes.get(row).to_vec())))
}

fn tables(bank: &Arc<Bank>, customers: &Range<u64>, until: i64) -> Tables {
    let of = |table: &'static Relation| {
        let batches = bank.batches(table, customers.clone(), 700).expect("a range");
        let mut found = BTreeMap::new();
        let mut count = 0;
        for batch in batches.within(EVER.start..until) {
            count += batch.rows() as u64;
            found.extend(rows(&batch));
        }
        assert_eq!(found.len() as u64, count, "{}: ids are unique", table.name);
        let counted = bank.rows_before(table, customers.clone(), until).expect("a range");
        assert_eq!(counted, count, "{} before {until}", table.name);
        (table.name, found)
    };
    TABLES.into_iter().map(of).collect()
}

prop_compose! {
    fn plans()(
        seed: u64,
        customers in 1_u64..120,
        days in 1_u32..200,
        // At the end of a local day too, which may be that of a billing cycle.
        hours in prop_oneof![(0_i64..24 * 1_800).prop_map(|hours| hours * 3_600_000 + 1_234),
            (1_i64..300).prop_map(|days| days * DAY - 3 * 3_600_000)],
    ) -> Plan {
        Plan::try_new(seed, customers, DEFAULT_AS_OF - hours, days).expect("a plan")
    }
}

/// Instants of a history, some of them before or after it, or at one of its changes or beside it.
#[derive(Debug, Clone)]
enum Cut {
    Day(i64),
    Change(usize, i64),
    Before,
    After,
}

fn cuts() -> impl Strategy<Value = Cut> {
    prop_oneof![
        4 => (-20_000_000_i64..200 * DAY).prop_map(Cut::Day),
        4 => (0_usize..1_000, -1_i64..2).prop_map(|(place, beside)| Cut::Change(place, beside)),
        1 => Just(Cut::Before),
        1 => Just(Cut::After),
        1 => (-16 * 365 * DAY..0).prop_map(Cut::Day),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn tables_with_their_changes_are_the_tables_later(
        plan in plans(),
        (one, other) in (0_u64..120, 0_u64..120),
        cuts in prop::collection::vec(cuts(), 2..6),
        batch_rows in 1_usize..500,
        open: bool,
    ) {
        let bank = bank_of(plan);
        let (one, other) = (one.min(plan.customers()), other.min(plan.customers()));
        let customers = one.min(other)..one.max(other);
        let mut times: Vec<i64> = tables(&bank, &customers, EVER.end)
            .values()
            .flat_map(|rows| rows.values().map(|row| row.0))
            .collect();
        times.sort_unstable();
        let mut cuts: Vec<i64> = cuts
            .into_iter()
            .map(|cut| match cut {
                Cut::Day(after) => plan.start() + after,
                Cut::Change(place, beside) => times[place * times.len() / 1_000] + beside,
                Cut::Before => EVER.start,
                Cut::After => EVER.end,
            })
            .collect();
        cuts.sort_unstable();
        let (since, end) = (cuts[0], cuts[cuts.len() - 1]);
        let span = since..if open { EVER.end } else { end };
        let mut changes = Changes::new(&bank, customers.clone(), span, batch_rows).expect("changes");
        let mut state = tables(&bank, &customers, since);
        let mut before = since;
        for until in cuts.into_iter().skip(1) {
            let first = changes.peek();
            let (mut earliest, mut last_table) = (i64::MAX, 0);
            let mut seen = BTreeSet::new();
            while let Some(batch) = changes.next_before(until) {
                prop_assert!((1..=batch_rows.max(42)).contains(&batch.rows()));
                let name = batch.relation().name;
                let table = TABLES.iter().position(|table| table.name == name).expect("a table");
                prop_assert!(table >= last_table, "{} comes late", name);
                last_table = table;
                for (id, row) in rows(&batch) {
                    prop_assert!((before..until).contains(&row.0), "{} of {}", row.0, name);
                    earliest = earliest.min(row.0);
                    prop_assert!(seen.insert((table, id)), "{} twice", name);
                    let known = state.get_mut(name).expect("a table").insert(id, row.clone());
                    prop_assert!(known.is_none_or(|known| known.0 < row.0), "{}", name);
                }
            }
            // The last version of a row may be later than its first.
            prop_assert!(first.is_none_or(|first| first >= before));
            prop_assert_eq!(first.is_some_and(|first| first < until), !seen.is_empty());
            prop_assert!(seen.is_empty() || first.is_some_and(|first| first <= earliest));
            let expected = tables(&bank, &customers, until);
            for (name, rows) in &state {
                prop_assert!(rows == &expected[name], "{} before {}", name, until);
            }
            before = until;
        }
    }
}

/// Every change alone: asked for at its instant, a row differs from its version before in a value.
#[test]
fn each_version_has_another_value() {
    let bank = bank_of(Plan::try_new(7, 60, DEFAULT_AS_OF, 90).expect("a plan"));
    let mut state: BTreeMap<Id, Vec<u8>> = BTreeMap::new();
    let mut changes = Changes::new(&bank, 0..60, EVER, 100).expect("changes");
    let mut versions = BTreeMap::new();
    while let Some(time) = changes.peek() {
        while let Some(batch) = changes.next_before(time + 1) {
            let name = batch.relation().name;
            let json = encode(&batch, Format::Json);
            for (row, id) in batch.ids(batch.relation().fields[0].name).iter().enumerate() {
                assert_eq!(batch.longs("updated_at")[row], time, "{name}");
                // `updated_at` is the last member.
                let text = json.get(row);
                let at = text.windows(12).position(|w| w == b"\"updated_at\"").expect("a member");
                let known = state.insert(*id, text[..at].to_vec());
                assert!(known.is_none_or(|known| known != text[..at]), "{name} at {time}");
                *versions.entry(name).or_insert(0) += 1;
            }
        }
    }
    // Some have moved.
    assert!((60..75).contains(&versions["customers"]), "{versions:?}");
    assert!(versions["accounts"] > 90 * 10 && versions["credit_cards"] > 42 * 10, "{versions:?}");
    assert!(versions["loans"] > 21 * 3, "{versions:?}");
}

/// The balance of an account is that after its last movement, at any instant, and dates from the last that
/// moved it.
#[test]
fn balances_are_those_of_the_movements() {
    let plan = Plan::try_new(42, 200, DEFAULT_AS_OF, 60).expect("a plan");
    let bank = bank_of(plan);
    let movements = common::all(&bank, "banking.transactions");
    let accounts = relation("accounts").expect("a table");
    for until in [plan.start() + 20 * DAY, plan.as_of()] {
        let batches = bank.batches(accounts, 0..200, 1_000).expect("a range");
        let accounts = common::concat(accounts, batches.within(EVER.start..until));
        // What happens at one instant is one change.
        let mut instants: BTreeMap<Id, BTreeMap<i64, i64>> = BTreeMap::new();
        for row in 0..movements.rows() {
            let time = movements.longs("occurred_at")[row];
            if time < until {
                let id = movements.ids("account_id")[row];
                let balance = movements.longs("balance_after")[row];
                instants.entry(id).or_default().insert(time, balance);
            }
        }
        let changed = accounts.some_longs("status_changed_at");
        for (row, changed) in changed.into_iter().enumerate() {
            let id = accounts.ids("account_id")[row];
            let mut balance = accounts.longs("opening_balance")[row];
            let mut since = accounts.longs("opened_at")[row];
            for (time, after) in instants.remove(&id).unwrap_or_default() {
                if after != balance {
                    (balance, since) = (after, time);
                }
            }
            let since = changed.map_or(since, |at| at.max(since));
            let found = (accounts.longs("balance")[row], accounts.longs("updated_at")[row]);
            assert_eq!(found, (balance, since));
        }
    }
}

/// A loan is late from the morning after the last day on which it could be paid without charge, in default from the
/// 91st day after the due date, and neither any more as soon as what is overdue is paid.
#[test]
fn loans_are_late_and_in_default_from_the_day_on() {
    const RUN: i64 = 6 * 3_600_000;
    let bank = bank_of(Plan::try_new(11, 2_000, DEFAULT_AS_OF, 90).expect("a plan"));
    let mut versions: BTreeMap<Id, Vec<(i64, &str, i64)>> = BTreeMap::new();
    let mut changes = Changes::new(&bank, 0..2_000, EVER, 1_000).expect("changes");
    let loans = relation("loans").expect("a table");
    let events = common::all(&bank, "banking.installments");
    let mut cuts: BTreeSet<i64> = events.longs("occurred_at").iter().map(|time| time + 1).collect();
    cuts.extend(common::all(&bank, "loans").longs("contracted_at").iter().map(|time| time + 1));
    let due = events.ints("due_date");
    let payable =
        |due: i32| (due..due + 8).find(|&day| calendar::is_business_day(day)).expect("a day");
    let run = |day: i32| calendar::instant(day, RUN);
    for due in due {
        cuts.extend([run(payable(*due) + 1) + 1, run(due + 91) + 1]);
    }
    // Of several versions before an instant only the last is told of, so none of these may be passed.
    for until in cuts {
        while let Some(batch) = changes.next_before(until) {
            if batch.relation().name != loans.name {
                continue;
            }
            let (status, owed) = (batch.symbols("status"), batch.longs("outstanding_balance"));
            for (row, id) in batch.ids("loan_id").iter().enumerate() {
                let since = batch.longs("updated_at")[row];
                versions.entry(*id).or_default().push((since, status[row], owed[row]));
            }
        }
    }
    let (paid, times) = (events.valid("paid_at"), events.longs("occurred_at"));
    let (mut late, mut defaults, mut cures) = (0, 0, 0);
    for (id, rows) in events.groups("loan_id") {
        let of = &versions[&id];
        let state = |at: i64| of.iter().rev().find(|version| version.0 <= at).expect("a version").1;
        let mut oldest_since = 0;
        for row in rows {
            let end = if paid[row] { times[row] } else { DEFAULT_AS_OF };
            let (overdue, lost) = (run(payable(due[row]) + 1), run(due[row] + 91));
            // While it is the oldest that is not paid.
            if overdue > oldest_since && overdue < end {
                assert_eq!(state(overdue - 1), "ACTIVE");
                assert_eq!(state(overdue), "LATE");
                late += 1;
            }
            if lost > oldest_since && lost < end {
                assert_eq!((state(lost - 1), state(lost)), ("LATE", "DEFAULTED"));
                defaults += 1;
            }
            if !paid[row] {
                break;
            }
            cures += usize::from(state(end - 1) == "LATE" && state(end) == "ACTIVE");
            oldest_since = end;
        }
    }
    assert!(late > 100 && defaults > 10 && cures > 100, "{late} {defaults} {cures}");
}
