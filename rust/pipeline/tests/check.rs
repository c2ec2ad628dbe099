//! The check of keys: what is refused, and that a refusal leaves nothing behind.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::sync::Arc;

use datagen_core::batch::Bank;
use datagen_core::catalog::{Relation, STREAMS, TABLES};
use datagen_core::column::{Batch, Column, Values};
use datagen_core::error::Error;
use datagen_core::keys::uuids;
use datagen_pipeline::{KeyStore, Parents, SharedKeySet, Violation, Window, parent_word};

use common::{bank, batches, masters, relation};

const STRANGER: [u8; 16] = [0x2a; 16];
const CUSTOMERS: u64 = 60;

fn relations() -> impl Iterator<Item = &'static Relation> {
    TABLES.into_iter().chain(STREAMS)
}

/// All rows of a relation.
fn rows(bank: &Arc<Bank>, relation: &'static Relation) -> Batch {
    let all: Vec<_> = batches(bank, relation, 0..bank.plan().customers()).map(Arc::new).collect();
    let positions = (0..).zip(&all);
    let rows: Vec<_> = positions
        .flat_map(|(part, batch)| (0..batch.rows() as u32).map(move |row| (part, row)))
        .collect();
    Batch::gather(&all, &rows)
}

/// These rows of a batch.
fn some(batch: &Batch, rows: &[u32]) -> Batch {
    let rows: Vec<_> = rows.iter().map(|row| (0, *row)).collect();
    Batch::gather(&[Arc::new(batch.clone())], &rows)
}

/// The batch with another id in a field of a row.
fn with_id(batch: &Batch, field: &str, row: usize, id: [u8; 16]) -> Batch {
    let fields = batch.relation().fields.iter().map(|field| field.name);
    let mut columns: Vec<(_, Column)> = fields.zip(batch.columns().iter().cloned()).collect();
    let column = columns.iter_mut().find(|(name, _)| *name == field).expect("a field");
    let Values::Uuid(ids) = &mut column.1.values else { panic!("an id") };
    ids[row] = id;
    Batch::new(batch.relation(), columns)
}

/// A store of all relations before this one.
fn before(bank: &Arc<Bank>, relation: &'static Relation, unique_events: bool) -> KeyStore {
    let store = KeyStore::new(unique_events);
    for earlier in relations().take_while(|earlier| *earlier != relation) {
        store.add_batch(&rows(bank, earlier)).expect("rows that have their parents");
    }
    store
}

fn count(store: &KeyStore, relation: &Relation) -> u64 {
    store.counts().find(|(one, _)| *one == relation).expect("a relation").1
}

#[test]
fn a_whole_plan_is_taken_and_counted() {
    let bank = bank(CUSTOMERS, 10);
    for unique_events in [false, true] {
        let store = KeyStore::new(unique_events);
        for relation in relations() {
            for batch in bank.batches(relation, 0..CUSTOMERS, 100).expect("a range") {
                assert_eq!(store.add_batch(&batch), Ok(()));
            }
        }
        let planned = relations().map(|one| (one, bank.rows(one, 0..CUSTOMERS).expect("a range")));
        assert!(store.counts().eq(planned));
        store.count(STREAMS[1], 5);
        let more = bank.rows(STREAMS[1], 0..CUSTOMERS).expect("a range") + 5;
        assert_eq!(count(&store, STREAMS[1]), more);
    }
}

#[test]
fn an_orphan_is_refused_by_every_foreign_key() {
    let bank = bank(CUSTOMERS, 10);
    for relation in relations() {
        let right = rows(&bank, relation);
        for key in relation.foreign_keys {
            let store = before(&bank, relation, false);
            let column = right.column(key.field).expect("a field");
            let row = (1..right.rows()).find(|row| column.is_valid(*row)).expect("a value");
            let wrong = with_id(&right, key.field, row, STRANGER);
            let orphan = Violation::Orphan { relation, key, id: STRANGER, row };
            assert_eq!(store.add_batch(&wrong), Err(orphan));
            assert_eq!(store.parents(relation).check(&wrong), Err(orphan));
            assert_eq!(count(&store, relation), 0);
            // Nothing of the refused batch was kept: the right rows are new.
            assert_eq!(store.add_batch(&right), Ok(()));
        }
    }
}

#[test]
fn a_missing_value_has_no_parent_to_be_known() {
    let bank = bank(CUSTOMERS, 10);
    let loans = rows(&bank, relation("loans"));
    let properties = loans.column("property_id").expect("a field");
    let row = (0..loans.rows()).find(|row| !properties.is_valid(*row)).expect("another loan");
    let store = before(&bank, relation("loans"), false);
    assert_eq!(store.add_batch(&with_id(&loans, "property_id", row, STRANGER)), Ok(()));
}

#[test]
fn only_parents_with_the_symbol_will_do() {
    let bank = bank(CUSTOMERS, 10);
    let trades = relation("banking.trades");
    let store = before(&bank, trades, false);
    let accounts = rows(&bank, relation("accounts"));
    let types = accounts.column("account_type").expect("a field");
    let Values::Code(codes) = &types.values else { panic!("an enumeration") };
    // A checking account, which a movement may point at.
    let row = codes.iter().position(|code| *code == 0).expect("a checking account");
    let id = uuids(accounts.column("account_id").expect("a field"))[row];
    let (key, wrong) = (&trades.foreign_keys[0], rows(&bank, trades));
    let wrong = with_id(&wrong, "account_id", 2, id);
    let orphan = Violation::Orphan { relation: trades, key, id, row: 2 };
    assert_eq!(store.add_batch(&wrong), Err(orphan));
    let movements = with_id(&rows(&bank, STREAMS[0]), "account_id", 0, id);
    assert_eq!(before(&bank, STREAMS[0], false).add_batch(&movements), Ok(()));
}

#[test]
fn a_row_is_taken_once() {
    let bank = bank(CUSTOMERS, 10);
    for relation in relations() {
        let store = before(&bank, relation, true);
        let right = rows(&bank, relation);
        let id = |row: usize| uuids(&right.columns()[0])[row];
        let twice: Vec<u32> = (0..right.rows() as u32).chain([3]).collect();
        let duplicate = Violation::Duplicate { relation, id: id(3), row: right.rows() };
        assert_eq!(store.add_batch(&some(&right, &twice)), Err(duplicate));
        assert_eq!(count(&store, relation), 0);
        // The refused batch is forgotten, whole: its rows can be handed over, in any part.
        assert_eq!(store.add_batch(&some(&right, &[0, 1])), Ok(()));
        let duplicate = Violation::Duplicate { relation, id: id(1), row: 1 };
        assert_eq!(store.add_batch(&some(&right, &[2, 1, 3])), Err(duplicate));
        assert_eq!(store.add_batch(&some(&right, &[2, 3])), Ok(()));
        assert_eq!(count(&store, relation), 4);
    }
}

#[test]
fn a_refused_parent_has_no_children() {
    let bank = bank(CUSTOMERS, 10);
    let accounts = rows(&bank, relation("accounts"));
    let store = before(&bank, relation("accounts"), false);
    let twice: Vec<u32> = (0..accounts.rows() as u32).chain([0]).collect();
    assert!(store.add_batch(&some(&accounts, &twice)).is_err());
    for stream in ["banking.transactions", "banking.trades"] {
        let parents = store.parents(relation(stream));
        assert!(parents.keys()[0].read().is_empty());
        assert!(parents.check(&rows(&bank, relation(stream))).is_err());
    }
}

#[test]
fn events_may_come_twice_unless_they_have_to_be_unique() {
    let bank = bank(CUSTOMERS, 10);
    let store = masters(&bank, 0..CUSTOMERS);
    for stream in STREAMS {
        let events = rows(&bank, stream);
        assert_eq!(store.add_batch(&events), Ok(()));
        assert_eq!(store.add_batch(&events), Ok(()));
        assert_eq!(count(&store, stream), 2 * events.rows() as u64);
    }
}

#[test]
fn parents_are_called_by_what_a_row_is() {
    let words: Vec<_> = relations()
        .flat_map(|relation| relation.foreign_keys)
        .map(|key| (key.field, parent_word(key)))
        .collect();
    let expected = [
        ("customer_id", "customer"),
        ("customer_id", "customer"),
        ("customer_id", "customer"),
        ("property_id", "property"),
        ("account_id", "account"),
        ("card_id", "credit card"),
        ("account_id", "INVESTIMENTOS account"),
        ("stock_id", "stock"),
        ("loan_id", "loan"),
    ];
    assert_eq!(words, expected.map(|(field, word)| (field, word.to_owned())));
}

#[test]
fn a_set_is_asked_for_each_foreign_key() {
    let trades = relation("banking.trades");
    for sets in 0..5 {
        let parents = Parents::new(trades, vec![SharedKeySet::default(); sets]);
        assert_eq!(parents.is_some(), sets == 2);
    }
}

#[test]
fn a_window_is_of_streams_and_of_customers_of_the_plan() {
    let bank = bank(CUSTOMERS, 10);
    let store = KeyStore::new(false);
    let window = |name, customers| {
        let parents = vec![store.parents(relation(name)).clone()];
        match Window::by_entity(Arc::clone(&bank), customers, parents) {
            Ok(_) => "fine",
            Err(Error::OutOfRange { option, .. }) => option,
            Err(_) => "another error",
        }
    };
    assert_eq!(window("banking.trades", 0..CUSTOMERS), "fine");
    assert_eq!(window("banking.trades", 0..CUSTOMERS + 1), "start, stop");
    assert_eq!(window("accounts", 0..CUSTOMERS), "streams");
}
