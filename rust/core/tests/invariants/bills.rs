//! Bills of credit cards, as an account that pays them sees them.

use std::collections::BTreeMap;
use std::ops::Bound;

use datagen_core::entity::card::CreditCard;
use datagen_core::entity::customer::Customer;
use datagen_core::entity::layout::{Block, Product};
use datagen_core::entity::skeleton::Skeleton;
use datagen_core::event::card_transaction::{self, Payment, Purchases};
use datagen_core::event::{Cursor, History};

use crate::common::{Read, days};
use crate::worlds::{World, in_every_world};

/// Gives the row of each card, what makes its cursor, and its payments.
fn each_card(world: &World, mut check: impl FnMut(usize, &CreditCard, &Purchases, &[Payment])) {
    let history = History::new(world.plan);
    let context = &history.context;
    for owner in 0..world.plan.customers() {
        let block = Block::of(context, owner);
        let Some(row) = block.row_of(Product::Card, owner) else { continue };
        let holder = Customer::new(context, owner);
        let skeleton = Skeleton::new(context, &holder);
        let (card, _) = CreditCard::new(context, row, &holder, &skeleton);
        let cursor = Purchases::new(&history, &card, &skeleton);
        let mut drained = cursor.clone();
        let payments: Vec<Payment> =
            std::iter::from_fn(|| drained.next_payment(&history, world.plan.as_of())).collect();
        let mut times = card_transaction::payments(&history, &card, &skeleton);
        times.sort_unstable();
        assert!(times.iter().eq(payments.iter().map(|payment| &payment.paid_at)), "card {row}");
        check(row as usize, &card, &cursor, &payments);
    }
}

fn month_of(at: i64) -> i32 {
    let (year, month, _) = days::ymd(days::local(at).0);
    year * 12 + month as i32 - 1
}

#[test]
fn payments_come_in_order_and_are_counted_without_amounts() {
    let (mut all, mut on_business_days) = (0, 0);
    in_every_world(|world| {
        each_card(world, |row, card, _, payments| {
            assert!(payments.is_sorted_by_key(|payment| payment.paid_at));
            for payment in payments {
                let Payment { paid_at, amount, bill_total, due_day, .. } = *payment;
                assert!((world.plan.start()..world.plan.as_of()).contains(&paid_at));
                assert!((0..=bill_total).contains(&amount), "card {row}: {payment:?}");
                assert_eq!(days::ymd(due_day).2, card.due_day);
                // A due date on a day without banking may wait for the next with banking.
                let last =
                    (due_day..due_day + 8).find(|day| days::is_business_day(*day)).expect("a day");
                all += 1;
                on_business_days += u32::from(days::local(paid_at).0 <= last);
            }
        });
    });
    assert!(on_business_days * 100 > all * 90, "{on_business_days} of {all} in time");
}

/// A card that is issued within the history owes what was bought with it, and nothing else.
#[test]
fn bills_are_the_purchases_of_their_cycles() {
    let (mut bills, mut charged, mut free) = (0, 0, 0);
    in_every_world(|world| {
        let events = &world.purchases;
        let purchases: BTreeMap<_, _> = events.groups("card_id").into_iter().collect();
        let statuses = events.symbols("status");
        each_card(world, |row, card, _, payments| {
            if card.issued_at < world.plan.start() {
                return;
            }
            let mut due: BTreeMap<i32, i64> = BTreeMap::new();
            for event in purchases.get(&card.id).cloned().unwrap_or(0..0) {
                if statuses[event] != "APPROVED" {
                    continue;
                }
                let at = events.longs("occurred_at")[event];
                let day = days::ymd(days::local(at).0).2;
                let first = month_of(at) + i32::from(day > card.closing_day);
                let amount = events.longs("amount")[event];
                let parcels = i32::from(events.shorts("installments")[event]);
                let each = amount / i64::from(parcels);
                for later in 1..parcels {
                    *due.entry(first + later).or_default() += each;
                }
                *due.entry(first).or_default() += amount - each * i64::from(parcels - 1);
            }
            let (mut left, mut fee, mut charges, mut before) = (0, 0, 0, i32::MIN / 2);
            for payment in payments {
                // What was not paid is charged; all cycles since the last payment are in it.
                let cycles = (Bound::Excluded(before), Bound::Included(payment.cycle));
                let bought: i64 = due.range(cycles).map(|(_, sum)| sum).sum();
                // The first, or the one after the last.
                let next = before < 0 || payment.cycle - before <= 1;
                let charge = payment.bill_total - bought - left;
                assert!(charge >= 0, "card {row}: {payment:?}, {bought} and {left}");
                if next {
                    assert!(charge <= left * 18 / 100 + fee, "card {row}: {charge} on {left}");
                }
                let last =
                    (payment.due_day..payment.due_day + 8).find(|day| days::is_business_day(*day));
                let late = days::local(payment.paid_at).0 - last.expect("a day");
                bills += 1;
                charged += u32::from(charge > 0);
                free += u32::from(charge == 0);
                if left == 0 && fee == 0 && next {
                    assert_eq!(charge, 0, "card {row}");
                    charges = 0;
                }
                charges += charge;
                assert!(charges <= payment.bill_total, "more interest than principal");
                left = payment.bill_total - payment.amount;
                fee = if late > 0 { payment.bill_total * 3 / 100 } else { 0 };
                before = payment.cycle;
            }
        });
    });
    assert!(bills > 5 && free > charged, "{charged} and {free} of {bills}");
}

#[test]
fn what_is_left_of_a_limit_is_that_of_the_table() {
    in_every_world(|world| {
        let limits = world.cards.longs("credit_limit");
        let available = world.cards.longs("available_limit");
        let history = History::new(world.plan);
        each_card(world, |row, _, cursor, payments| {
            let mut cursor = cursor.clone();
            let mut paid = 0;
            while cursor.peek().is_some() || cursor.next_beside() < world.plan.as_of() {
                let beside = cursor.next_beside();
                if cursor.peek().is_some_and(|purchase| purchase < beside) {
                    cursor.skip(&history);
                } else {
                    paid += usize::from(cursor.pass_beside(&history).is_some());
                }
            }
            assert_eq!(paid, payments.len());
            let standing = cursor.standing();
            assert_eq!((standing.limit, standing.available), (limits[row], available[row]));
        });
    });
}
