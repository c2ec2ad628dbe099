//! Scenarios are off unless asked for; where they are on, each label is of an event, and all else holds as it did.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use common::{Id, Read, all, bank_of, concat, days, part, relations};
use datagen_core::batch::Bank;
use datagen_core::catalog::{self, LABELS, Relation, STREAMS};
use datagen_core::column::Batch;
use datagen_core::plan::{DEFAULT_AS_OF, MOST_LABELLED, Plan, Rates, SCENARIOS};
use proptest::prelude::*;

/// Rates at which something happens to everybody soon.
fn many() -> Rates {
    let mut rates = Rates::default();
    for (name, _) in SCENARIOS {
        rates = rates.with(name, MOST_LABELLED).expect("a rate");
    }
    rates
}

fn plan(seed: u64, customers: u64, days: u32) -> Plan {
    Plan::try_new(seed, customers, DEFAULT_AS_OF, days).expect("a plan")
}

static LABELLED: LazyLock<Arc<Bank>> =
    LazyLock::new(|| bank_of(plan(42, 600, 120).with_labels(Some(many()))));

fn stream(name: &str) -> &'static Relation {
    STREAMS.into_iter().find(|stream| stream.name == name).expect("a stream")
}

#[test]
fn without_labels_there_are_none() {
    let bank = bank_of(plan(1, 60, 90));
    assert_eq!(all(&bank, "labels").rows(), 0);
    assert_eq!(bank.rows(&LABELS, 0..60), Ok(0));
}

#[test]
fn rates_of_nothing_change_no_event() {
    let mut none = Rates::default();
    for (name, _) in SCENARIOS {
        none = none.with(name, 0).expect("a rate");
    }
    let plain = bank_of(plan(1, 200, 90));
    let labelled = bank_of(plan(1, 200, 90).with_labels(Some(none)));
    for relation in relations() {
        assert!(all(&plain, relation.name) == all(&labelled, relation.name), "{}", relation.name);
    }
    // What is there anyway has labels all the same.
    let labels = all(&labelled, "labels");
    let found: BTreeSet<_> = labels.symbols("scenario").into_iter().collect();
    assert!(found.is_subset(&BTreeSet::from(["DEFAULT_PATH", "CHURN"])), "{found:?}");
}

#[test]
fn each_label_is_of_an_event_that_is_known_later() {
    let bank = &*LABELLED;
    let labels = all(bank, "labels");
    labels.rows_by_id("event_id");
    let mut scenarios = BTreeSet::new();
    let accounts = all(bank, "accounts");
    let owner: BTreeMap<Id, Id> = accounts
        .ids("account_id")
        .iter()
        .copied()
        .zip(accounts.ids("customer_id").iter().copied())
        .collect();
    let events: BTreeMap<&str, (Batch, BTreeMap<Id, usize>)> = STREAMS
        .into_iter()
        .map(|stream| {
            let batch = all(bank, stream.name);
            let rows = batch.rows_by_id(stream.fields[0].name);
            (stream.name, (batch, rows))
        })
        .collect();
    let mut began: BTreeMap<Id, (i64, i64, &str)> = BTreeMap::new();
    for row in 0..labels.rows() {
        let name = labels.texts("stream")[row];
        let (batch, rows) = &events[name];
        let topic = stream(name).topic().expect("a stream");
        let event = rows[&labels.ids("event_id")[row]];
        let entity = labels.ids("entity_id")[row];
        assert_eq!(batch.ids(topic.key)[event], entity);
        let time = batch.longs(topic.time)[event];
        let (started, known) = (labels.longs("started_at")[row], labels.longs("known_at")[row]);
        assert!(started <= time && time < known, "{started} {time} {known}");
        let scenario = labels.symbols("scenario")[row];
        scenarios.insert(scenario);
        let of_instance = (started, if scenario == "DEFAULT_PATH" { 0 } else { known }, scenario);
        assert_eq!(*began.entry(labels.ids("instance")[row]).or_insert(of_instance), of_instance);
        if let Some(owner) = owner.get(&entity) {
            assert_eq!(*owner, labels.ids("customer_id")[row]);
        }
    }
    assert_eq!(scenarios.len(), SCENARIOS.len() + 2, "{scenarios:?}");
}

#[test]
fn roles_are_played_as_they_are_told() {
    let bank = &*LABELLED;
    let (labels, movements) = (all(bank, "labels"), all(bank, "banking.transactions"));
    let purchases = all(bank, "banking.card-transactions");
    let cards = all(bank, "credit_cards");
    let rows = movements.rows_by_id("transaction_id");
    let bought = purchases.rows_by_id("card_transaction_id");
    let mut of_instances: BTreeMap<Id, Vec<usize>> = BTreeMap::new();
    for row in 0..labels.rows() {
        of_instances.entry(labels.ids("instance")[row]).or_default().push(row);
    }
    let (events, scenarios, roles) =
        (labels.ids("event_id"), labels.symbols("scenario"), labels.symbols("role"));
    let (directions, kinds) =
        (movements.symbols("direction"), movements.symbols("transaction_type"));
    let mut seen = BTreeMap::new();
    for of_one in of_instances.values() {
        let count = |role| of_one.iter().filter(|row| roles[**row] == role).count();
        *seen.entry(scenarios[of_one[0]]).or_insert(0) += 1;
        let event = |row: &usize| rows[&events[*row]];
        match scenarios[of_one[0]] {
            "PIX_SCAM" => assert!(
                of_one
                    .iter()
                    .all(|row| { (kinds[event(row)], directions[event(row)]) == ("PIX", "DEBIT") })
            ),
            "MULE_CHAIN" => {
                for row in of_one {
                    let way = if roles[*row] == "MULE_IN" { "CREDIT" } else { "DEBIT" };
                    assert_eq!(directions[event(row)], way);
                }
            }
            "STRUCTURING" => assert!(of_one.iter().all(|row| {
                kinds[event(row)] == "DEPOSIT"
                    && (180_000..200_000).contains(&movements.longs("amount")[event(row)])
            })),
            "CLONED_CARD" => {
                let places: BTreeSet<&str> = of_one
                    .iter()
                    .map(|row| purchases.texts("merchant_state")[bought[&events[*row]]])
                    .collect();
                assert_eq!(places.len(), 1);
            }
            "CARD_TESTING" => assert!(count("PROBE") >= count("CASH_OUT")),
            _ => {}
        }
    }
    assert_eq!(seen.len(), 9, "{seen:?}");
    // Cards whose limit was run up are blocked for it.
    let last = DEFAULT_AS_OF - 90 * days::DAY;
    let statuses = cards.symbols("status");
    let places = cards.rows_by_id("card_id");
    for row in 0..labels.rows() {
        if scenarios[row] == "BUST_OUT" && labels.longs("started_at")[row] < last {
            assert_ne!(statuses[places[&labels.ids("entity_id")[row]]], "ACTIVE");
        }
    }
}

#[test]
fn an_account_that_is_taken_over_is_emptied() {
    let bank = &*LABELLED;
    let (labels, movements) = (all(bank, "labels"), all(bank, "banking.transactions"));
    let rows = movements.rows_by_id("transaction_id");
    let (roles, amounts) = (labels.symbols("role"), movements.longs("amount"));
    let mut emptied = 0;
    let mut last: BTreeMap<Id, usize> = BTreeMap::new();
    for row in 0..labels.rows() {
        if labels.symbols("scenario")[row] == "ACCOUNT_TAKEOVER" && roles[row] == "CASH_OUT" {
            last.insert(labels.ids("instance")[row], rows[&labels.ids("event_id")[row]]);
        }
    }
    for row in last.values() {
        let after = movements.longs("balance_after")[*row];
        emptied += usize::from(after < (after + amounts[*row]) / 3);
    }
    assert!(emptied * 2 > last.len() && last.len() > 20, "{emptied} of {}", last.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_customer_alone_is_as_among_others(
        seed: u64, customers in 20_u64..160, length in 1_u32..200, ended in 0_i64..1_000, cut: prop::sample::Index,
    ) {
        let as_of = DEFAULT_AS_OF - ended * 21 * days::HOUR;
        let plan = Plan::try_new(seed, customers, as_of, length).expect("a plan");
        let bank = bank_of(plan.with_labels(Some(many())));
        let cut = cut.index(customers as usize) as u64;
        for relation in relations().filter(|one| one.name != "stocks").chain([&LABELS]) {
            let whole = all(&bank, relation.name);
            let parts = [0..cut, cut..cut + 1, cut + 1..customers];
            let parts = parts.map(|range| part(&bank, relation.name, range, 7));
            prop_assert!(whole == concat(relation, parts), "{}", relation.name);
            let rows = bank.rows(relation, 0..customers).expect("a range");
            prop_assert_eq!(rows, whole.rows() as u64, "{}", relation.name);
        }
        // Labels until an instant are those of the events before it.
        let until = as_of - i64::from(length) * days::DAY / 2;
        let labels = bank.batches(&LABELS, 0..customers, 1_000).expect("a range");
        let labels = concat(&LABELS, labels.within(i64::MIN..until));
        let times: BTreeMap<Id, i64> = STREAMS.into_iter().flat_map(|stream| {
            let events = all(&bank, stream.name);
            let ids = events.ids(stream.fields[0].name).to_vec();
            ids.into_iter().zip(events.longs(stream.topic().expect("one").time).to_vec())
        }).collect();
        let of_all = all(&bank, "labels");
        let early: Vec<&Id> =
            of_all.ids("event_id").iter().filter(|id| times[*id] < until).collect();
        prop_assert_eq!(early, labels.ids("event_id").iter().collect::<Vec<_>>());
        prop_assert_eq!(catalog::relation("labels").map(|found| found.name), Some("labels"));
    }
}
