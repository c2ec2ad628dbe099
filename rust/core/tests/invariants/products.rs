//! What one product of a customer asks of another.

use std::collections::BTreeMap;

use datagen_core::column::Batch;
use datagen_core::entity::Context;
use datagen_core::entity::customer::Customer;
use datagen_core::entity::skeleton::Skeleton;

use crate::common::{Id, Read, days};
use crate::worlds::{World, in_every_world};

/// Removes what falls into a month in which the customer's accounts are blocked: it is paid from elsewhere, and comes
/// in elsewhere.
fn without_blocked(world: &World, flows: &mut Flows) {
    let context = Context::new(world.plan);
    let rows = world.customers.rows_by_id("customer_id");
    flows.retain(|(customer, at), _| {
        let holder = Customer::new(&context, rows[customer] as u64);
        let (year, month, _) = days::ymd(days::local(*at).0);
        let month = year * 12 + month as i32 - 1;
        !Skeleton::new(&context, &holder).standing(month).blocked
    });
}

/// Centavos by customer and instant.
type Flows = BTreeMap<(Id, i64), i64>;

/// The movements of some types in CORRENTE, or in another kind of account.
fn moved(world: &World, account_type: &str, wanted: &[&str]) -> Flows {
    let (accounts, events) = (&world.accounts, &world.transactions);
    let rows = accounts.rows_by_id("account_id");
    let (kinds, directions) = (events.symbols("transaction_type"), events.symbols("direction"));
    let texts = events.some_texts("description");
    let mut flows = Flows::new();
    for row in 0..events.rows() {
        let account = rows[&events.ids("account_id")[row]];
        let named = wanted.contains(&kinds[row]) || texts[row].is_some_and(|t| wanted.contains(&t));
        if accounts.symbols("account_type")[account] == account_type
            && named
            && events.symbols("status")[row] == "COMPLETED"
        {
            let signed = if directions[row] == "CREDIT" { 1 } else { -1 };
            let customer = accounts.ids("customer_id")[account];
            *flows.entry((customer, events.longs("occurred_at")[row])).or_default() +=
                signed * events.longs("amount")[row];
        }
    }
    flows
}

fn owners(table: &Batch, key: &str) -> BTreeMap<Id, Id> {
    table.ids(key).iter().copied().zip(table.ids("customer_id").iter().copied()).collect()
}

#[test]
fn installments_are_debits_when_they_are_paid() {
    let mut met = 0;
    in_every_world(|world| {
        let owners = owners(&world.loans, "loan_id");
        let events = &world.installments;
        let mut expected = Flows::new();
        let paid = events.some_longs("paid_at");
        for (row, paid_at) in paid.into_iter().enumerate() {
            let Some(at) = paid_at.filter(|at| *at >= world.plan.start()) else { continue };
            let customer = owners[&events.ids("loan_id")[row]];
            *expected.entry((customer, at)).or_default() -= events.longs("amount_paid")[row];
        }
        without_blocked(world, &mut expected);
        met += expected.len();
        assert_eq!(moved(world, "CORRENTE", &["LOAN_INSTALLMENT"]), expected);
    });
    assert!(met > 200, "only {met}");
}

#[test]
fn contracts_are_credits_of_the_principal() {
    let mut met = 0;
    in_every_world(|world| {
        let loans = &world.loans;
        let mut expected = Flows::new();
        for row in 0..loans.rows() {
            let at = loans.longs("contracted_at")[row];
            if at >= world.plan.start() {
                let customer = loans.ids("customer_id")[row];
                *expected.entry((customer, at)).or_default() += loans.longs("principal")[row];
            }
        }
        without_blocked(world, &mut expected);
        met += expected.len();
        assert_eq!(moved(world, "CORRENTE", &["LOAN_DISBURSEMENT"]), expected);
    });
    assert!(met > 5, "only {met}");
}

#[test]
fn trades_of_a_day_settle_net_two_sessions_later() {
    let mut met = 0;
    in_every_world(|world| {
        let owners = owners(&world.accounts, "account_id");
        let trades = &world.trades;
        let mut expected: BTreeMap<(Id, i32), i64> = BTreeMap::new();
        for row in 0..trades.rows() {
            let customer = owners[&trades.ids("account_id")[row]];
            let gross = trades.longs("gross_amount")[row];
            let signed = if trades.symbols("side")[row] == "SELL" { gross } else { -gross };
            *expected.entry((customer, trades.ints("settlement_date")[row])).or_default() +=
                signed - trades.longs("fees")[row];
        }
        let mut found: BTreeMap<(Id, i32), i64> = BTreeMap::new();
        for ((customer, at), amount) in moved(world, "INVESTIMENTOS", &["SETTLEMENT"]) {
            found.insert((customer, days::local(at).0), amount);
        }
        // What settles after the end is not there yet.
        let (last, _) = days::local(world.plan.as_of());
        expected.retain(|(_, day), amount| *day < last && *amount != 0);
        found.retain(|(_, day), _| *day < last);
        met += found.len();
        assert_eq!(found, expected);
    });
    assert!(met > 200, "only {met}");
}

#[test]
fn what_is_put_by_leaves_one_account_as_it_comes_into_the_other() {
    let mut met = 0;
    in_every_world(|world| {
        let negative = |flows: Flows| -> Flows {
            flows.into_iter().map(|(key, amount)| (key, -amount)).collect()
        };
        for (to, there, from) in [
            ("Transferência para a poupança", "POUPANCA", "Transferência da conta corrente"),
            (
                "Transferência para investimentos",
                "INVESTIMENTOS",
                "Transferência da conta corrente",
            ),
        ] {
            let left = negative(moved(world, "CORRENTE", &[to]));
            met += left.len();
            assert_eq!(left, moved(world, there, &[from]), "{there}");
        }
        let left =
            negative(moved(world, "POUPANCA", &["Resgate da poupança", "Encerramento da conta"]));
        met += left.len();
        assert_eq!(left, moved(world, "CORRENTE", &["Resgate da poupança"]));
    });
    assert!(met > 200, "only {met}");
}
