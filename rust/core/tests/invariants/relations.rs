//! What holds for every table and stream: keys, references, times, and the shape of values.

use std::collections::BTreeSet;

use datagen_core::catalog::{FieldType, Kind, Relation};
use datagen_core::column::{Batch, Values};

use crate::common::{Id, Read, days};
use crate::worlds::{World, in_every_world};

fn named<'a>(world: &'a World, name: &str) -> &'a Batch {
    let batches = world.batches();
    batches.into_iter().find(|batch| batch.relation().name == name).expect("a relation")
}

#[test]
fn ids_are_distinct_over_everything() {
    in_every_world(|world| {
        let mut seen: BTreeSet<Id> = BTreeSet::new();
        for batch in world.batches() {
            for id in batch.ids(batch.relation().fields[0].name) {
                assert!(seen.insert(*id), "{id:02x?} comes twice");
            }
        }
    });
}

#[test]
fn unique_columns_are_unique() {
    in_every_world(|world| {
        for batch in world.batches() {
            let relation = batch.relation();
            let Kind::Table(keys) = relation.kind else { continue };
            // People do not share phones here either, although a bank would allow it.
            let phone = (relation.name == "customers").then_some("phone");
            for name in keys.unique.iter().copied().chain(phone) {
                let column = relation.position(name).expect("a field");
                let mut seen = BTreeSet::new();
                for value in (0..batch.rows()).filter_map(|row| batch.cell(column, row)) {
                    assert!(seen.insert(value.clone()), "{}.{name} {value} twice", relation.name);
                }
            }
        }
    });
}

#[test]
fn references_have_a_parent() {
    in_every_world(|world| {
        for batch in world.batches() {
            for reference in batch.relation().foreign_keys {
                let parents = named(world, reference.table);
                let wanted: Vec<bool> = match reference.only {
                    Some((field, symbol)) => {
                        parents.symbols(field).iter().map(|found| *found == symbol).collect()
                    }
                    None => vec![true; parents.rows()],
                };
                let key = parents.relation().fields[0].name;
                let ids: BTreeSet<&Id> = parents
                    .ids(key)
                    .iter()
                    .zip(wanted)
                    .filter_map(|(id, wanted)| wanted.then_some(id))
                    .collect();
                let valid = batch.valid(reference.field);
                for (row, id) in batch.ids(reference.field).iter().enumerate() {
                    assert!(!valid[row] || ids.contains(id), "{}", batch.relation().name);
                }
            }
        }
    });
}

#[test]
fn investment_accounts_alone_trade() {
    in_every_world(|world| {
        let accounts = world.accounts.rows_by_id("account_id");
        let kinds = world.accounts.symbols("account_type");
        for id in world.trades.ids("account_id") {
            assert_eq!(kinds[accounts[id]], "INVESTIMENTOS");
        }
    });
}

/// Calls `check` with the instant of each row and that of its parent.
fn with_parent(
    child: (&Batch, &str, &str),
    parent: (&Batch, &str, &str),
    check: impl Fn(i64, i64),
) {
    let (children, reference, child_time) = child;
    let (parents, key, parent_time) = parent;
    let rows = parents.rows_by_id(key);
    for (id, at) in children.ids(reference).iter().zip(children.longs(child_time)) {
        check(*at, parents.longs(parent_time)[rows[id]]);
    }
}

#[test]
fn nothing_happens_before_its_parent_began() {
    in_every_world(|world| {
        let customers = (&world.customers, "customer_id", "created_at");
        let accounts = (&world.accounts, "account_id", "opened_at");
        let cards = (&world.cards, "card_id", "issued_at");
        let loans = (&world.loans, "loan_id", "contracted_at");
        for (child, parent) in [
            ((&world.accounts, "customer_id", "opened_at"), customers),
            ((&world.cards, "customer_id", "issued_at"), customers),
            ((&world.loans, "customer_id", "contracted_at"), customers),
            ((&world.transactions, "account_id", "occurred_at"), accounts),
            ((&world.trades, "account_id", "executed_at"), accounts),
            ((&world.purchases, "card_id", "occurred_at"), cards),
            ((&world.installments, "loan_id", "occurred_at"), loans),
        ] {
            with_parent(child, parent, |at, began| {
                assert!(at >= began, "{}: {at} before {began}", child.0.relation().name);
            });
        }
    });
}

#[test]
fn everything_is_before_the_end_of_the_history() {
    in_every_world(|world| {
        for batch in world.batches() {
            for field in batch.relation().fields {
                if field.ty != FieldType::Instant {
                    continue;
                }
                let latest = batch.longs(field.name).iter().max();
                assert!(latest.is_none_or(|at| *at < world.plan.as_of()), "{}", field.name);
            }
        }
        let start = world.plan.as_of() - i64::from(world.plan.days()) * days::DAY;
        for (events, time) in [
            (&world.transactions, "occurred_at"),
            (&world.purchases, "occurred_at"),
            (&world.trades, "executed_at"),
        ] {
            assert!(events.longs(time).iter().all(|at| *at >= start));
        }
    });
}

#[test]
fn times_of_an_entity_do_not_decrease() {
    in_every_world(|world| {
        for batch in world.batches() {
            let Some(topic) = batch.relation().topic() else { continue };
            for (_, rows) in batch.groups(topic.key) {
                assert!(batch.longs(topic.time)[rows].is_sorted(), "{}", batch.relation().name);
            }
        }
    });
}

#[test]
fn values_fit_their_types() {
    in_every_world(|world| {
        for batch in world.batches() {
            let Relation { name, fields, .. } = batch.relation();
            for (column, field) in fields.iter().enumerate() {
                let values = &batch.columns()[column];
                for row in 0..batch.rows() {
                    let context = || format!("{name}.{} row {row}", field.name);
                    let valid = values.is_valid(row);
                    match (&values.values, field.ty) {
                        (Values::Text(texts), ty) => {
                            let text = std::str::from_utf8(texts.get(row)).expect("UTF-8");
                            let fits = match ty {
                                _ if !valid => text.is_empty(),
                                FieldType::Char(n) => {
                                    text.is_ascii() && text.len() == usize::from(n)
                                }
                                _ => (1..=100).contains(&text.chars().count()),
                            };
                            assert!(fits && text.trim() == text, "{}: {text:?}", context());
                            assert!(!text.contains(|c: char| c.is_control()), "{}", context());
                        }
                        (Values::Code(codes), FieldType::Enum(symbols)) => {
                            assert!(usize::from(codes[row]) < symbols.len(), "{}", context());
                            assert!(valid || codes[row] == 0, "{}", context());
                        }
                        (Values::I64(numbers), FieldType::Decimal { precision, .. }) => {
                            let top = 10_u64.pow(precision.into());
                            assert!(numbers[row].unsigned_abs() < top, "{}", context());
                        }
                        (Values::Uuid(ids), _) if valid => {
                            let (version, variant) = (ids[row][6] >> 4, ids[row][8] >> 6);
                            assert_eq!((version, variant), (4, 2), "{}", context());
                        }
                        // A row without a value holds the type's zero.
                        (Values::Uuid(ids), _) => assert_eq!(ids[row], [0; 16], "{}", context()),
                        (Values::I64(numbers), _) => assert!(valid || numbers[row] == 0),
                        (Values::I32(numbers), _) => assert!(valid || numbers[row] == 0),
                        (Values::I16(numbers), _) => assert!(valid || numbers[row] == 0),
                        (Values::Bool(_) | Values::Code(_), _) => {}
                    }
                }
            }
        }
    });
}

#[test]
fn money_is_never_negative_but_for_balances() {
    in_every_world(|world| {
        for batch in world.batches() {
            for field in batch.relation().fields {
                let FieldType::Decimal { .. } = field.ty else { continue };
                let least = batch.longs(field.name).iter().min();
                let may_fall = matches!(field.name, "balance" | "balance_after");
                assert!(may_fall || least.is_none_or(|least| *least >= 0), "{}", field.name);
            }
        }
    });
}

#[test]
fn every_customer_has_at_most_one_card_and_loan() {
    in_every_world(|world| {
        for table in [&world.cards, &world.loans] {
            let holders: BTreeSet<&Id> = table.ids("customer_id").iter().collect();
            assert_eq!(holders.len(), table.rows());
        }
    });
}
