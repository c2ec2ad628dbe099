//! Means and shares that the data promises, within what chance may do to 5 000 customers.
//!
//! `cargo test --test statistics -- --nocapture` shows them all.

#![allow(missing_docs, reason = "a test crate")]
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::ops::RangeInclusive;
use std::sync::{Arc, LazyLock};

use common::{Read, all, days};
use datagen_core::batch::Bank;
use datagen_core::column::Batch;

const CUSTOMERS: u64 = 5_000;

static BANK: LazyLock<Arc<Bank>> = LazyLock::new(|| common::bank(42, CUSTOMERS, 90));

macro_rules! relation {
    ($static:ident, $name:literal) => {
        static $static: LazyLock<Batch> = LazyLock::new(|| all(&BANK, $name));
    };
}
relation!(CUSTOMERS_TABLE, "customers");
relation!(ACCOUNTS, "accounts");
relation!(CARDS, "credit_cards");
relation!(LOANS, "loans");
relation!(TRANSACTIONS, "banking.transactions");
relation!(PURCHASES, "banking.card-transactions");
relation!(TRADES, "banking.trades");
relation!(INSTALLMENTS, "banking.installments");

fn check(what: &str, found: f64, promised: RangeInclusive<f64>) {
    println!("{what}: {found:.3} ({promised:?})");
    assert!(promised.contains(&found), "{what}: {found}, not within {promised:?}");
}

fn mean(values: &[i64]) -> f64 {
    values.iter().map(|value| *value as f64).sum::<f64>() / values.len() as f64
}

fn median(values: &[i64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[sorted.len() / 2] as f64
}

/// Percentage of the rows for which `is` holds.
fn share(rows: usize, is: impl Fn(usize) -> bool) -> f64 {
    100.0 * (0..rows).filter(|row| is(*row)).count() as f64 / rows as f64
}

fn shares<T: PartialEq + std::fmt::Debug>(what: &str, found: &[T], promised: &[(T, f64, f64)]) {
    for (value, percent, tolerance) in promised {
        let found = share(found.len(), |row| found[row] == *value);
        check(&format!("{what} {value:?} %"), found, percent - tolerance..=percent + tolerance);
    }
}

/// Correlation of ranks, which a long tail does not disturb.
fn rank_correlation(xs: &[i64], ys: &[i64]) -> f64 {
    let ranks = |values: &[i64]| -> Vec<f64> {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by_key(|row| values[*row]);
        let mut ranks = vec![0.0; values.len()];
        for (rank, row) in order.into_iter().enumerate() {
            ranks[row] = rank as f64 - (values.len() as f64 - 1.0) / 2.0;
        }
        ranks
    };
    let (xs, ys) = (ranks(xs), ranks(ys));
    let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    product(&xs, &ys) / (product(&xs, &xs) * product(&ys, &ys)).sqrt()
}

fn where_is<T: Copy>(values: &[T], is: impl Fn(usize) -> bool) -> Vec<T> {
    values.iter().enumerate().filter(|(row, _)| is(*row)).map(|(_, value)| *value).collect()
}

#[test]
fn volumes() {
    let per = |batch: &Batch, rows: usize| batch.rows() as f64 / rows as f64;
    check("transactions a customer", per(&TRANSACTIONS, CUSTOMERS as usize), 19.6..=20.8);
    check("purchases a card", per(&PURCHASES, CARDS.rows()), 55.5..=58.8);
    let traders =
        ACCOUNTS.symbols("account_type").iter().filter(|k| **k == "INVESTIMENTOS").count();
    check("trades an account", per(&TRADES, traders), 19.9..=20.1);
    check("installments a loan", per(&INSTALLMENTS, LOANS.rows()), 26.5..=30.1);
}

#[test]
fn customers() {
    let table = &*CUSTOMERS_TABLE;
    shares(
        "state",
        &table.texts("state"),
        &[
            ("SP", 21.87, 2.0),
            ("MG", 10.11, 1.5),
            ("RJ", 7.91, 1.3),
            ("BA", 6.96, 1.2),
            ("RR", 0.31, 0.3),
        ],
    );
    let segments = table.symbols("segment");
    check("VAREJO %", share(table.rows(), |row| segments[row] == "VAREJO"), 70.0..=95.0);
    check("PRIVATE %", share(table.rows(), |row| segments[row] == "PRIVATE"), 0.1..=3.0);
    let scores: Vec<i64> = table.shorts("credit_score").iter().map(|s| i64::from(*s)).collect();
    check("score to income", rank_correlation(&scores, table.longs("monthly_income")), 0.2..=0.8);
    let column = table.relation().position("pep").expect("a field");
    let pep = share(table.rows(), |row| table.cell(column, row).as_deref() == Some("true"));
    check("politically exposed %", pep, 0.1..=0.55);
    // A long tail: the mean is well above the median.
    let incomes = table.longs("monthly_income");
    check("mean to median income", mean(incomes) / median(incomes), 1.2..=2.5);
}

#[test]
fn transactions() {
    let events = &*TRANSACTIONS;
    let kinds = events.symbols("transaction_type");
    let amounts = events.longs("amount");
    let of = |kind: &str| where_is(amounts, |row| kinds[row] == kind);
    check("mean Pix, R$", mean(&of("PIX")) / 100.0, 370.0..=490.0);
    check("median Pix, R$", median(&of("PIX")) / 100.0, 60.0..=110.0);
    // R$ 40 600, with a tail so long that 4 000 of them tell little.
    check("mean TED, R$ thousand", mean(&of("TED")) / 100_000.0, 27.0..=54.0);
    let channels = events.symbols("channel");
    let mobile = share(events.rows(), |row| channels[row] == "MOBILE");
    check("mobile %", mobile, 77.0..=87.0);
}

#[test]
fn counterparties_and_keys() {
    let events = &*TRANSACTIONS;
    let (kinds, directions) = (events.symbols("transaction_type"), events.symbols("direction"));
    let documents = events.some_texts("counterparty_document");
    let sent = |row: usize| kinds[row] == "PIX" && directions[row] == "DEBIT";
    let firms = where_is(&documents, |row| kinds[row] == "PIX");
    let firms = share(firms.len(), |row| firms[row].is_some_and(|d| !d.starts_with('*')));
    check("Pix with firms %", firms, 39.0..=43.0);
    let keys = where_is(&events.some_symbols("pix_key_type"), sent);
    shares(
        "key paid to",
        &keys,
        &[
            (Some("EVP"), 45.2, 3.0),
            (Some("PHONE"), 19.3, 2.0),
            (Some("CPF"), 19.0, 2.0),
            (Some("EMAIL"), 14.9, 1.0),
            (Some("CNPJ"), 1.7, 0.4),
        ],
    );
    let own =
        where_is(&ACCOUNTS.some_symbols("pix_key_type"), |row| ACCOUNTS.valid("pix_key_type")[row]);
    // Of all keys but those of firms, 1.7%.
    shares(
        "own key",
        &own,
        &[
            (Some("EVP"), 46.0, 3.0),
            (Some("PHONE"), 19.6, 2.5),
            (Some("CPF"), 19.3, 2.5),
            (Some("EMAIL"), 15.2, 2.5),
        ],
    );
}

#[test]
fn cards() {
    shares(
        "brand",
        &CARDS.symbols("brand"),
        &[
            ("MASTERCARD", 61.1, 3.0),
            ("VISA", 32.1, 3.0),
            ("ELO", 4.3, 1.3),
            ("HIPERCARD", 2.1, 1.0),
            ("AMEX", 0.4, 0.4),
        ],
    );
    let events = &*PURCHASES;
    shares(
        "category",
        &events.texts("mcc"),
        &[
            ("5411", 20.0, 1.0),
            ("5812", 9.0, 0.7),
            ("5541", 9.0, 0.7),
            ("4121", 7.0, 0.6),
            ("8220", 0.2, 0.1),
        ],
    );
    let (amounts, parcels) = (events.longs("amount"), events.shorts("installments"));
    let parcelled = |from: i64, to: i64| {
        let of = where_is(parcels, |row| (from..to).contains(&amounts[row]));
        share(of.len(), |row| of[row] > 1)
    };
    check("in installments below R$ 150 %", parcelled(0, 15_000), 0.0..=1.0);
    check("in installments above R$ 150 %", parcelled(15_000, i64::MAX), 20.0..=60.0);
    let statuses = events.symbols("status");
    let declined = share(events.rows(), |row| statuses[row] == "DECLINED");
    check("declined %", declined, 1.0..=10.0);
}

#[test]
fn loans() {
    let loans = &*LOANS;
    let (kinds, standings) = (loans.symbols("loan_type"), loans.symbols("status"));
    let open = where_is(&standings, |row| standings[row] != "SETTLED");
    let late = share(open.len(), |row| open[row] == "DEFAULTED");
    check("more than 90 days late % of open loans", late, 5.0..=8.6);
    let of = |kind: &str| {
        let open = where_is(&standings, |row| kinds[row] == kind && standings[row] != "SETTLED");
        share(open.len(), |row| open[row] == "DEFAULTED")
    };
    assert!(of("PERSONAL") > 1.3 * late, "personal {}", of("PERSONAL"));
    assert!(of("HOUSING") < late, "housing {}", of("HOUSING"));
    // Low scores are late more often.
    let borrowers = CUSTOMERS_TABLE.rows_by_id("customer_id");
    let scores: Vec<i64> = loans
        .ids("customer_id")
        .iter()
        .map(|id| i64::from(CUSTOMERS_TABLE.shorts("credit_score")[borrowers[id]]))
        .collect();
    let bad: Vec<i64> =
        standings.iter().map(|s| i64::from(matches!(*s, "LATE" | "DEFAULTED"))).collect();
    let mean_of = |is: i64| mean(&where_is(&scores, |row| bad[row] == is));
    check("score of those in time less that of the late", mean_of(0) - mean_of(1), 10.0..=150.0);
    let sac = where_is(&loans.symbols("amortization"), |row| kinds[row] == "HOUSING");
    check("SAC % of housing", share(sac.len(), |row| sac[row] == "SAC"), 78.0..=92.0);
}

#[test]
fn hours_and_days() {
    // Salaries come with payday, and not by card.
    for (events, time, payday_rise) in
        [(&*TRANSACTIONS, "occurred_at", 2.2..=4.5), (&*PURCHASES, "occurred_at", 1.15..=1.9)]
    {
        let times: Vec<(i32, i64)> = events.longs(time).iter().map(|at| days::local(*at)).collect();
        let hours = |from: i64, to: i64| {
            share(times.len(), |row| (from..to).contains(&(times[row].1 / days::HOUR)))
        };
        check("from midnight to five %", hours(0, 5), 0.3..=4.0);
        check("at lunch, %", hours(11, 14), 18.0..=30.0);
        check("in the evening, %", hours(17, 20), 18.0..=32.0);
        // The fifth business day of June 2026, after Corpus Christi on the fourth.
        let payday = days::day(2026, 6, 8);
        let on = |day: i32| times.iter().filter(|(local, _)| *local == day).count() as f64;
        check("payday to the Monday two weeks later", on(payday) / on(payday + 14), payday_rise);
    }
}

#[test]
fn trades() {
    let tickers = TRADES.texts("ticker");
    let odd = share(tickers.len(), |row| tickers[row].ends_with('F'));
    check("odd lots %", odd, 20.0..=45.0);
    let vale = share(tickers.len(), |row| tickers[row].starts_with("VALE3"));
    check("VALE3 %", vale, 8.5..=14.5);
}
