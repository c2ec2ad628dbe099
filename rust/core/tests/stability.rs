//! The same plan gives the same rows, whole or in parts; a larger plan begins with the smaller one;
//! an id leads back to its row.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::sync::Arc;

use common::{Id, Read, all, bank_of, concat, days, part, relations};
use datagen_core::batch::Bank;
use datagen_core::catalog::AccountType;
use datagen_core::catalog::{FieldType, Relation};
use datagen_core::column::Batch;
use datagen_core::entity::Context;
use datagen_core::entity::account::Account;
use datagen_core::entity::card::CreditCard;
use datagen_core::entity::customer::Customer;
use datagen_core::entity::layout::{Block, Product, customer_of, customer_of_account};
use datagen_core::entity::loan::Loan;
use datagen_core::entity::property::Property;
use datagen_core::entity::skeleton::Skeleton;
use datagen_core::event::{History, card_transaction, installment, trade};
use datagen_core::id::{Ids, Origin};
use datagen_core::plan::Plan;
use datagen_core::rng::{Domain, Rng};
use proptest::prelude::*;

const CASES: u32 = 16;

/// A seed, an instant at which the history ends, and its length.
fn histories() -> impl Strategy<Value = (u64, i64, u32)> {
    let seeds = prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    // From June 2022 on; the longest history then starts in 2021.
    let instants = prop_oneof![
        days::utc((2022, 6, 1), 0, 0)..days::utc((2100, 1, 1), 0, 0),
        (19_150_i64..47_000).prop_map(|day| day * days::DAY),
    ];
    let lengths = prop_oneof![Just(1), Just(90), 1_u32..60, 60_u32..500];
    (seeds, instants, lengths)
}

fn plans(customers: std::ops::Range<u64>) -> impl Strategy<Value = Plan> {
    (histories(), customers).prop_map(|((seed, as_of, length), customers)| {
        Plan::try_new(seed, customers, as_of, length).expect("a plan")
    })
}

fn with_seed(plan: &Plan, seed: u64) -> Plan {
    Plan::try_new(seed, plan.customers(), plan.as_of(), plan.days()).expect("a plan")
}

fn with_customers(plan: &Plan, customers: u64) -> Plan {
    Plan::try_new(plan.seed(), customers, plan.as_of(), plan.days()).expect("a plan")
}

/// Relations of which customers have parts: all but the stocks, which always come whole.
fn owned() -> impl Iterator<Item = &'static Relation> {
    relations().filter(|relation| relation.name != "stocks")
}

fn own_ids(batch: &Batch) -> &[Id] {
    batch.ids(batch.relation().fields[0].name)
}

/// Compared without printing a thousand rows when it fails.
fn same(left: &Batch, right: &Batch) -> bool {
    left == right
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn parts_concatenate_to_the_whole(
        plan in plans(1..130),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 3),
        batch_rows in 1_usize..2_000,
    ) {
        let bank = bank_of(plan);
        let mut cuts: Vec<u64> =
            cuts.iter().map(|cut| cut.index(plan.customers() as usize + 1) as u64).collect();
        cuts.sort_unstable();
        let [i, j, k] = cuts[..] else { unreachable!("three cuts") };
        for relation in owned() {
            let name = relation.name;
            let ranges = [0..i, i..j, j..k, k..plan.customers()];
            let parts = ranges.map(|range| part(&bank, name, range, batch_rows));
            prop_assert!(same(&concat(relation, parts), &all(&bank, name)), "{name}");
            let inner = [i..j, j..k].map(|range| part(&bank, name, range, batch_rows));
            prop_assert!(same(&concat(relation, inner), &part(&bank, name, i..k, 97)), "{name}");
        }
    }

    #[test]
    fn each_customer_alone_has_the_rows_of_the_whole(plan in plans(1..25)) {
        let bank = bank_of(plan);
        // A bank for each, as other processes would have.
        let banks: Vec<Arc<Bank>> = (0..plan.customers()).map(|_| bank_of(plan)).collect();
        for relation in owned() {
            let alone = (0..).zip(&banks).map(|(row, bank)| {
                part(bank, relation.name, row..row + 1, 1)
            });
            prop_assert!(
                same(&concat(relation, alone), &all(&bank, relation.name)),
                "{}", relation.name
            );
        }
    }

    #[test]
    fn a_larger_plan_begins_with_the_smaller_one(
        plan in plans(1..90),
        more in prop_oneof![1_u64..90, Just(50_000_000)],
    ) {
        let smaller = bank_of(plan);
        let larger = bank_of(with_customers(&plan, plan.customers() + more));
        for relation in relations() {
            let start = part(&larger, relation.name, 0..plan.customers(), 1_000);
            prop_assert!(same(&start, &all(&smaller, relation.name)), "{}", relation.name);
        }
    }

    #[test]
    fn the_size_of_batches_does_not_matter(plan in plans(1..80), batch_rows in 1_usize..3_000) {
        let bank = bank_of(plan);
        for relation in relations() {
            let everyone = 0..plan.customers();
            let batches: Vec<Batch> =
                bank.batches(relation, everyone.clone(), batch_rows).expect("a range").collect();
            if relation.name != "stocks" {
                // Full as soon as asked, and never much fuller: the events of a customer stay together.
                for batch in &batches[..batches.len().saturating_sub(1)] {
                    prop_assert!(batch.rows() >= batch_rows, "{}", relation.name);
                }
                prop_assert!(batches.iter().all(|batch| batch.rows() > 0));
            }
            let one = part(&bank, relation.name, everyone, 1 << 20);
            prop_assert!(same(&concat(relation, batches), &one), "{}", relation.name);
        }
    }

    #[test]
    fn rows_are_counted_as_they_are_generated(
        plan in plans(1..130),
        ends in prop::array::uniform2(any::<prop::sample::Index>()),
    ) {
        let bank = bank_of(plan);
        let [i, j] = ends.map(|end| end.index(plan.customers() as usize + 1) as u64);
        for relation in relations() {
            for range in [i.min(j)..i.max(j), i..i, 0..plan.customers()] {
                let counted = bank.rows(relation, range.clone()).expect("a range");
                let generated = part(&bank, relation.name, range.clone(), 500).rows() as u64;
                prop_assert_eq!(counted, generated, "{} of {:?}", relation.name, range);
            }
        }
    }

    #[test]
    fn ranges_outside_the_plan_are_refused(plan in plans(1..130), beyond in 1_u64..100) {
        let bank = bank_of(plan);
        let all = plan.customers();
        // Backwards, and past the end.
        for range in [std::ops::Range { start: 1, end: 0 }, 0..all + beyond, all + beyond..all + beyond] {
            for relation in relations() {
                prop_assert!(bank.rows(relation, range.clone()).is_err());
                prop_assert!(bank.batches(relation, range.clone(), 10).is_err());
            }
        }
    }

    #[test]
    fn a_second_bank_gives_equal_rows(plan in plans(1..60)) {
        let (first, second) = (bank_of(plan), bank_of(plan));
        for relation in relations() {
            // In another order, so that nothing may depend on what was made before.
            let backwards = part(&second, relation.name, 0..plan.customers(), 3);
            prop_assert!(same(&all(&first, relation.name), &backwards), "{}", relation.name);
        }
    }

    #[test]
    fn another_seed_changes_everything_but_the_stocks(plan in plans(20..60), seed in any::<u64>()) {
        prop_assume!(seed != plan.seed());
        let (one, other) = (bank_of(plan), bank_of(with_seed(&plan, seed)));
        for relation in relations() {
            let (one, other) = (all(&one, relation.name), all(&other, relation.name));
            if relation.name == "stocks" {
                prop_assert!(same(&one, &other));
                continue;
            }
            let ids: std::collections::BTreeSet<&Id> = own_ids(&one).iter().collect();
            prop_assert!(own_ids(&other).iter().all(|id| !ids.contains(id)), "{}", relation.name);
            // No text, amount or instant that is always there stays as it was, once there are enough
            // rows to tell.
            let rows = one.rows().min(other.rows());
            for (column, field) in relation.fields.iter().enumerate() {
                let telling = match field.ty {
                    FieldType::Text | FieldType::Char(_) | FieldType::Instant => !field.nullable,
                    FieldType::Decimal { .. } => field.name != "late_fee",
                    _ => false,
                };
                let cells = |batch: &Batch| -> Vec<Option<String>> {
                    (0..rows).map(|row| batch.cell(column, row)).collect()
                };
                prop_assert!(
                    !telling || rows < 10 || cells(&one) != cells(&other),
                    "{}.{}", relation.name, field.name
                );
            }
        }
    }

    #[test]
    fn ids_of_rows_lead_back_to_the_row_and_its_customer(plan in plans(1..200)) {
        let bank = bank_of(plan);
        let context = Context::new(plan);
        let ids = context.ids;
        let customers = all(&bank, "customers");
        let customers = customers.ids("customer_id");
        for (name, domain) in [
            ("customers", Domain::Customer),
            ("properties", Domain::Property),
            ("accounts", Domain::Account),
            ("credit_cards", Domain::CreditCard),
            ("loans", Domain::Loan),
        ] {
            let table = all(&bank, name);
            for (row, id) in (0..).zip(own_ids(&table)) {
                prop_assert_eq!(ids.decode(*id), Some(Origin { domain, row, k: 0 }));
                let customer = match domain {
                    Domain::Account => customer_of_account(&context, row),
                    Domain::CreditCard => customer_of(&context, Product::Card, row),
                    Domain::Loan => customer_of(&context, Product::Loan, row),
                    Domain::Property => customer_of(&context, Product::Property, row),
                    _ => row,
                };
                if domain != Domain::Property {
                    let given = table.ids("customer_id")[row as usize];
                    prop_assert_eq!(given, customers[customer as usize], "{} row {}", name, row);
                }
            }
        }
        // A property's customer is the one whose loan it secures.
        let loans = all(&bank, "loans");
        let valid = loans.valid("property_id");
        for (row, property) in loans.ids("property_id").iter().enumerate().filter(|(row, _)| valid[*row]) {
            let origin = ids.decode(*property).expect("an id of this seed");
            let owner = customer_of(&context, Product::Property, origin.row);
            prop_assert_eq!(customers[owner as usize], loans.ids("customer_id")[row]);
        }
    }

    #[test]
    fn ids_of_events_lead_back_to_the_entity_and_number(plan in plans(1..100)) {
        let bank = bank_of(plan);
        let ids = Ids::new(&Rng::new(plan.seed()));
        for (name, key, domain, parent) in [
            ("banking.transactions", "account_id", Domain::Transaction, Domain::Account),
            ("banking.card-transactions", "card_id", Domain::CardTransaction, Domain::CreditCard),
            ("banking.trades", "account_id", Domain::Trade, Domain::Account),
            ("banking.installments", "loan_id", Domain::Installment, Domain::Loan),
        ] {
            let events = all(&bank, name);
            for (id, rows) in events.groups(key) {
                let entity = ids.decode(id).expect("an id of this seed");
                prop_assert_eq!(entity.domain, parent);
                for (k, row) in (0..).zip(rows) {
                    let origin = Origin { domain, row: entity.row, k };
                    prop_assert_eq!(ids.decode(own_ids(&events)[row]), Some(origin));
                }
            }
        }
    }

    #[test]
    fn times_do_not_decrease_and_are_found_without_the_rest(plan in plans(1..100)) {
        let bank = bank_of(plan);
        let explained = Explained::new(plan);
        for relation in relations().filter(|relation| relation.topic().is_some()) {
            let topic = relation.topic().expect("a stream");
            let events = all(&bank, relation.name);
            let times = events.longs(topic.time);
            for (id, rows) in events.groups(topic.key) {
                prop_assert!(times[rows.clone()].is_sorted(), "{}", relation.name);
                prop_assert_eq!(
                    explained.times(relation.name, id), &times[rows],
                    "{}", relation.name
                );
            }
        }
    }
}

/// One entity at a time, found from its id.
struct Explained {
    history: History,
    bank: Bank,
}

impl Explained {
    fn new(plan: Plan) -> Self {
        Self { history: History::new(plan), bank: Bank::new(plan) }
    }

    fn times(&self, stream: &str, entity: Id) -> Vec<i64> {
        let history = &self.history;
        let context = &history.context;
        let row = context.ids.decode(entity).expect("an id of this seed").row;
        match stream {
            "banking.card-transactions" => {
                let owner = customer_of(context, Product::Card, row);
                let holder = Customer::new(context, owner);
                let skeleton = Skeleton::new(context, &holder);
                let (card, _) = CreditCard::new(context, row, &holder, &skeleton);
                let times: Vec<i64> = card_transaction::times(history, &card, &skeleton).collect();
                let n = card_transaction::count(history, &card, &skeleton);
                assert_eq!(times.len(), n as usize);
                times
            }
            "banking.installments" => {
                let owner = customer_of(context, Product::Loan, row);
                let customer = Customer::new(context, owner);
                let property = Block::of(context, owner)
                    .row_of(Product::Property, owner)
                    .map(|row| Property::new(context, row, &customer));
                let loan = Loan::new(context, row, &customer, property.as_ref());
                let n = installment::count(history, &loan);
                (0..n).map(|k| installment::time(history, &loan, k)).collect()
            }
            _ => {
                let owner = customer_of_account(context, row);
                let accounts = Block::of(context, owner).accounts(owner);
                let kind = match row {
                    row if row == accounts.checking => AccountType::Checking,
                    row if Some(row) == accounts.savings => AccountType::Savings,
                    _ => AccountType::Investments,
                };
                let holder = Customer::new(context, owner);
                let life = Skeleton::new(context, &holder);
                let (account, _) = Account::new(context, row, kind, &holder, &life);
                if stream == "banking.trades" {
                    let n = trade::count(history, row, &account.life, account.opened_at);
                    let times = trade::times(history, row, &account.life, account.opened_at);
                    assert_eq!(times.len(), n as usize);
                    times
                } else {
                    self.bank.movement_times(row)
                }
            }
        }
    }
}

fn counted(bank: &Arc<Bank>, name: &str) -> u64 {
    let relation = datagen_core::catalog::relation(name).expect("a relation");
    bank.rows(relation, 0..bank.plan().customers()).expect("a range")
}

#[test]
fn shares_are_exact_for_multiples_of_twenty() {
    for blocks in (1..300).chain([5_000, 4_999_999]) {
        let n = blocks * 20;
        let bank = common::bank(42, n, 1);
        assert_eq!(counted(&bank, "customers"), n);
        assert_eq!(counted(&bank, "credit_cards") * 100, n * 70);
        assert_eq!(counted(&bank, "loans") * 100, n * 35);
        assert_eq!(counted(&bank, "properties") * 100, n * 10);
        assert_eq!(counted(&bank, "stocks"), 42);
        // 32.5% and 17% on top of one each: exact for multiples of 200, rounded down each otherwise.
        let accounts = counted(&bank, "accounts") * 1_000;
        assert!((0..2_000).contains(&(n * 1_495 - accounts)), "{accounts} for {n}");
        assert!(n % 200 != 0 || accounts == n * 1_495, "{accounts} for {n}");
    }
}

#[test]
fn shares_are_never_off_by_more_than_a_block() {
    for n in 1..500 {
        let bank = common::bank(7, n, 1);
        // In thousandths of a row: a block of 20 customers has 14 cards, 7 loans, 2 properties.
        for (name, share, block) in [
            ("credit_cards", 700, 14),
            ("loans", 350, 7),
            ("properties", 100, 2),
            ("accounts", 1_495, 31),
        ] {
            let off = (counted(&bank, name) * 1_000).abs_diff(n * share);
            assert!(off <= block * 1_000, "{name}: off by {off} thousandths for {n}");
        }
    }
}

#[test]
fn batch_sizes_outside_their_range_are_refused() {
    let bank = common::bank(42, 10, 1);
    for relation in relations() {
        for batch_rows in [0, (1 << 20) + 1, usize::MAX] {
            assert!(bank.batches(relation, 0..10, batch_rows).is_err());
        }
    }
}

#[test]
fn plans_outside_their_range_are_refused() {
    let as_of = datagen_core::plan::DEFAULT_AS_OF;
    for (customers, as_of, days) in [
        (0, as_of, 90),
        (100_000_000, as_of, 90),
        (u64::MAX, as_of, 90),
        (1, i64::MIN, 90),
        (1, i64::MAX, 90),
        (1, as_of, 0),
        (1, as_of, u32::MAX),
    ] {
        assert!(Plan::try_new(1, customers, as_of, days).is_err(), "{customers} {as_of} {days}");
    }
}

#[test]
fn the_last_customers_of_the_largest_plan_can_be_made() {
    let largest = datagen_core::plan::MAX_CUSTOMERS;
    let bank = common::bank(42, largest, 3);
    for relation in relations() {
        let rows = part(&bank, relation.name, largest - 40..largest, 1_000);
        assert!(rows.rows() > 0, "{}", relation.name);
    }
}
