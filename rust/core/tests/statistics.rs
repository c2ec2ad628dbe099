//! Means and shares that the streams promise, within what chance may do to 5 000 customers.
//!
//! `cargo test --test statistics -- --nocapture` shows them all.

#![allow(missing_docs, reason = "a test crate")]
#![allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

mod common;

use std::sync::{Arc, LazyLock};

use common::figures::{check, mean, median, rank_correlation, share, shares, where_is};
use common::{Read, all, days};
use datagen_core::batch::Bank;
use datagen_core::column::Batch;
use datagen_core::entity::card::CreditCard;
use datagen_core::entity::customer::Customer;
use datagen_core::entity::layout::{Block, Product};
use datagen_core::entity::skeleton::Skeleton;
use datagen_core::event::card_transaction::Purchases;
use datagen_core::event::{Cursor, History};

const CUSTOMERS: u64 = 5_000;

static BANK: LazyLock<Arc<Bank>> = LazyLock::new(|| common::bank(42, CUSTOMERS, 90));

macro_rules! relation {
    ($static:ident, $name:literal) => {
        static $static: LazyLock<Batch> = LazyLock::new(|| all(&BANK, $name));
    };
}
relation!(ACCOUNTS, "accounts");
relation!(CARDS, "credit_cards");
relation!(LOANS, "loans");
relation!(TRANSACTIONS, "banking.transactions");
relation!(PURCHASES, "banking.card-transactions");
relation!(TRADES, "banking.trades");
relation!(INSTALLMENTS, "banking.installments");

#[test]
fn volumes() {
    let per = |batch: &Batch, rows: usize| batch.rows() as f64 / rows as f64;
    check("transactions a customer", per(&TRANSACTIONS, CUSTOMERS as usize), 19.6..=20.8);
    // 57.14; the standard error of 3 500 cards is 1.2.
    check("purchases a card", per(&PURCHASES, CARDS.rows()), 54.0..=60.5);
    let traders =
        ACCOUNTS.symbols("account_type").iter().filter(|k| **k == "INVESTIMENTOS").count();
    // A few trade hundreds of times, so that the mean of 1 625 investors tells little.
    check("trades an account", per(&TRADES, traders), 18.0..=22.0);
    check("installments a loan", per(&INSTALLMENTS, LOANS.rows()), 26.5..=30.1);
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
    // Of persons; the R$ 40.6 thousand of the Banco Central are of treasuries too.
    check("mean TED, R$ thousand", mean(&of("TED")) / 100_000.0, 2.0..=25.0);
    let channels = events.symbols("channel");
    // Of what people order themselves.
    let kinds = events.symbols("transaction_type");
    let ordered = where_is(&channels, |row| {
        matches!(kinds[row], "PIX" | "TED" | "TRANSFER" | "CARD_BILL" | "DEPOSIT" | "WITHDRAWAL")
    });
    let mobile = share(ordered.len(), |row| ordered[row] == "MOBILE");
    check("mobile %", mobile, 77.0..=96.0);
}

#[test]
fn counterparties_and_keys() {
    let events = &*TRANSACTIONS;
    let (kinds, directions) = (events.symbols("transaction_type"), events.symbols("direction"));
    let documents = events.some_texts("counterparty_document");
    let sent = |row: usize| kinds[row] == "PIX" && directions[row] == "DEBIT";
    let firms = where_is(&documents, |row| kinds[row] == "PIX");
    let firms = share(firms.len(), |row| firms[row].is_some_and(|d| !d.starts_with('*')));
    // 41% of all Pix, and 48% of those that persons send (Banco Central).
    check("Pix with firms %", firms, 39.0..=50.0);
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
    check("in installments below R$ 100 %", parcelled(0, 10_000), 0.0..=0.0);
    check("in installments above R$ 150 %", parcelled(15_000, i64::MAX), 45.0..=80.0);
    // 42.7% of the value of credit (Abecs, 3rd quarter of 2025).
    let value = |of: &[i64]| of.iter().sum::<i64>() as f64;
    let in_parts = value(&where_is(amounts, |row| parcels[row] > 1)) / value(amounts);
    check("in installments, of value %", 100.0 * in_parts, 36.0..=49.0);
    let statuses = events.symbols("status");
    let declined = share(events.rows(), |row| statuses[row] == "DECLINED");
    check("declined %", declined, 1.0..=10.0);
}

/// Purchases of each card: when, how much if they were approved, and their rows.
fn by_card() -> Vec<(usize, std::ops::Range<usize>)> {
    let cards = CARDS.rows_by_id("card_id");
    PURCHASES.groups("card_id").into_iter().map(|(id, rows)| (cards[&id], rows)).collect()
}

#[test]
fn cards_are_used_as_people_are() {
    let customers = all(&BANK, "customers");
    let holders = customers.rows_by_id("customer_id");
    let holder: Vec<usize> = CARDS.ids("customer_id").iter().map(|id| holders[id]).collect();
    let (amounts, times) = (PURCHASES.longs("amount"), PURCHASES.longs("occurred_at"));
    let statuses = PURCHASES.symbols("status");
    let by_card = by_card();
    check(
        "cards that sleep %",
        share(CARDS.rows(), |_| true) - 100.0 * by_card.len() as f64 / CARDS.rows() as f64,
        5.0..=15.0,
    );
    // Business of a month is over-dispersed.
    let as_of = BANK.plan().as_of();
    let month = |row: usize| ((as_of - times[row]) / (30 * days::DAY)).min(2) as usize;
    let (mut over, mut shares_of_income, mut within, mut means) = ([0; 3], Vec::new(), 0.0, 0.0);
    let mut counts = Vec::new();
    for (card, rows) in &by_card {
        let income = customers.longs("monthly_income")[holder[*card]];
        let (mut spent, mut bought) = ([0; 3], [0_i64; 3]);
        for row in rows.clone() {
            bought[month(row)] += 1;
            if statuses[row] == "APPROVED" {
                spent[month(row)] += amounts[row];
            }
        }
        let mean = bought.iter().sum::<i64>() as f64 / 3.0;
        within += bought.iter().map(|n| (*n as f64 - mean).powi(2)).sum::<f64>() / 2.0;
        means += mean;
        counts.push(bought.iter().sum::<i64>());
        for (over, spent) in over.iter_mut().zip(spent) {
            *over += usize::from(spent > income);
        }
        shares_of_income.push(spent[0] * 1_000 / income);
    }
    check("variance of monthly counts to their mean", within / means, 1.5..=20.0);
    let spread = counts.iter().map(|n| (*n as f64).powi(2)).sum::<f64>() / counts.len() as f64;
    check("spread of cards to their mean", spread.sqrt() / mean(&counts), 1.3..=2.2);
    check(
        "spent of the income, median of those who buy, ‰",
        median(&shares_of_income),
        250.0..=450.0,
    );
    for over in over {
        let percent = 100.0 * over as f64 / CARDS.rows() as f64;
        check("who spend more than their income %", percent, 0.0..=8.0);
    }
    // The top supermarket of those who go often.
    let (mccs, shops) = (PURCHASES.texts("mcc"), PURCHASES.ids("merchant_id"));
    let mut tops = Vec::new();
    for (_, rows) in &by_card {
        let mut visits = std::collections::BTreeMap::new();
        let mut all = 0;
        for row in rows.clone().filter(|row| mccs[*row] == "5411") {
            *visits.entry(shops[row]).or_insert(0_i64) += 1;
            all += 1;
        }
        if all >= 20 {
            tops.push(visits.values().max().expect("a visit") * 100 / all);
        }
    }
    check("visits at the top supermarket, median %", median(&tops), 40.0..=65.0);
}

#[test]
fn cards_are_read_as_published() {
    let modes = PURCHASES.symbols("entry_mode");
    let here = where_is(&modes, |row| modes[row] != "ECOMMERCE");
    // Abecs, 3rd quarter of 2025.
    let contactless = share(here.len(), |row| here[row] == "CONTACTLESS");
    check("contactless, of purchases in person %", contactless, 72.0..=73.6);
    let customers = all(&BANK, "customers");
    let holders = customers.rows_by_id("customer_id");
    let births = customers.ints("birth_date");
    let (mut online, mut bought) = ([0; 2], [0; 2]);
    let homes = customers.texts("city");
    let cities = PURCHASES.texts("merchant_city");
    let mut away = 0;
    for (card, rows) in by_card() {
        let holder = holders[&CARDS.ids("customer_id")[card]];
        let old = usize::from(births[holder] < days::day(1971, 7, 1));
        for row in rows {
            bought[old] += 1;
            online[old] += i32::from(modes[row] == "ECOMMERCE");
            away += i32::from(modes[row] != "ECOMMERCE" && cities[row] != homes[holder]);
        }
    }
    let percent = |of: i32, all: i32| 100.0 * f64::from(of) / f64::from(all);
    let [young, old] = [0, 1].map(|age| percent(online[age], bought[age]));
    check("online, the young to those over 55", young / old, 1.1..=1.6);
    check("away from home, of purchases in person %", percent(away, here.len() as i32), 5.5..=11.0);
}

#[test]
fn amounts_are_as_people_and_shops_make_them() {
    let (amounts, mccs) = (PURCHASES.longs("amount"), PURCHASES.texts("mcc"));
    let mut of: std::collections::BTreeMap<&str, std::collections::BTreeMap<i64, usize>> =
        std::collections::BTreeMap::new();
    for (mcc, amount) in mccs.iter().zip(amounts) {
        *of.entry(mcc).or_default().entry(*amount).or_default() += 1;
    }
    for (mcc, counts) in &of {
        let all: usize = counts.values().sum();
        let most = counts.values().max().expect("an amount");
        // What comes back every month has one amount, and people say what they fill in.
        let repeated = matches!(*mcc, "5541" | "5968" | "4814" | "4900" | "7997" | "8220" | "5818");
        if !repeated && all > 4_000 {
            check(mcc, 100.0 * *most as f64 / all as f64, 0.0..=1.0);
        }
    }
    let fuel = where_is(amounts, |row| mccs[row] == "5541");
    let round = share(fuel.len(), |row| fuel[row] % 1_000 == 0);
    check("round at the pump %", round, 60.0..=80.0);
    let clothes = where_is(amounts, |row| mccs[row] == "5651");
    let ending = share(clothes.len(), |row| matches!(clothes[row] % 100, 90 | 99));
    check("clothes at ,90 and ,99 %", ending, 40.0..=75.0);
}

#[test]
fn limits_are_used_less_by_those_with_a_better_score() {
    let history = History::new(*BANK.plan());
    let context = &history.context;
    let (mut used, mut scores, mut full, mut paid) = (Vec::new(), Vec::new(), 0, 0);
    for owner in 0..CUSTOMERS {
        let Some(row) = Block::of(context, owner).row_of(Product::Card, owner) else {
            continue;
        };
        let holder = Customer::new(context, owner);
        let skeleton = Skeleton::new(context, &holder);
        let (card, _) = CreditCard::new(context, row, &holder, &skeleton);
        let mut cursor = Purchases::new(&history, &card, &skeleton);
        if cursor.peek().is_none() {
            continue;
        }
        // At each closing, which is at midnight.
        loop {
            let (purchase, beside) = (cursor.peek().unwrap_or(i64::MAX), cursor.next_beside());
            if purchase.min(beside) >= BANK.plan().as_of() {
                break;
            }
            if purchase < beside {
                cursor.skip(&history);
                continue;
            }
            if days::local(beside).1 == 0 {
                let standing = cursor.standing();
                used.push((standing.limit - standing.available) * 1_000 / standing.limit);
                scores.push(i64::from(holder.score));
            }
            if let Some(payment) = cursor.pass_beside(&history) {
                paid += i32::from(payment.bill_total > 0);
                full += i32::from(payment.bill_total > 0 && payment.amount == payment.bill_total);
            }
        }
    }
    check("used of the limit at closing, median ‰", median(&used), 250.0..=350.0);
    check("used of the limit to score", rank_correlation(&used, &scores), -0.7..=-0.3);
    check("bills paid in full %", 100.0 * f64::from(full) / f64::from(paid), 76.0..=85.0);
}

#[test]
fn hours_and_days() {
    // Salaries come with payday, and not by card.
    for (events, time, payday_rise, evening, mondays) in [
        // Incomes, settlements and direct debits come in the morning, and on business days.
        (&*TRANSACTIONS, "occurred_at", 1.8..=3.5, 16.0..=22.0, 14.0..=16.0),
        (&*PURCHASES, "occurred_at", 1.15..=1.9, 20.0..=32.0, 11.0..=15.0),
    ] {
        let times: Vec<(i32, i64)> = events.longs(time).iter().map(|at| days::local(*at)).collect();
        let hours = |from: i64, to: i64| {
            share(times.len(), |row| (from..to).contains(&(times[row].1 / days::HOUR)))
        };
        check("from midnight to five %", hours(0, 5), 0.3..=4.0);
        check("at lunch, %", hours(11, 14), 14.0..=30.0);
        check("in the evening, %", hours(17, 20), evening);
        check("on Mondays, %", share(times.len(), |row| (times[row].0 + 3) % 7 == 0), mondays);
        // The fifth business day of June 2026, after Corpus Christi on the fourth.
        let payday = days::day(2026, 6, 8);
        let on = |day: i32| times.iter().filter(|(local, _)| *local == day).count() as f64;
        check("payday to the Monday two weeks later", on(payday) / on(payday + 14), payday_rise);
    }
}

/// What people order themselves is done at the hours at which people are awake, and on any day.
#[test]
fn people_choose_when() {
    let texts = TRANSACTIONS.texts("description");
    let times: Vec<(i32, i64)> =
        TRANSACTIONS.longs("occurred_at").iter().map(|at| days::local(*at)).collect();
    for (what, mondays) in [
        ("Transferência para a poupança", 9.0..=18.0),
        ("Transferência para investimentos", 9.0..=18.0),
        ("Transferência da conta corrente", 9.0..=18.0),
        ("Pix enviado", 12.0..=19.0),
        ("Pix recebido", 12.0..=19.0),
        ("Conta de luz", 12.0..=17.0),
        ("Internet e telefone", 12.0..=17.0),
        ("Pagamento via QR Code", 12.0..=19.0),
        ("Transferência para conta própria", 8.0..=14.5),
        ("Pagamento da fatura do cartão", 14.0..=20.0),
    ] {
        let of = where_is(&times, |row| texts[row] == what);
        let monday = share(of.len(), |row| (of[row].0 + 3) % 7 == 0);
        check(&format!("{what} on Mondays, %"), monday, mondays);
        let evening = share(of.len(), |row| (17..20).contains(&(of[row].1 / days::HOUR)));
        check(&format!("{what} in the evening, %"), evening, 19.0..=29.0);
        let night = share(of.len(), |row| of[row].1 < 6 * days::HOUR);
        check(&format!("{what} at night, %"), night, 0.0..=6.0);
    }
}

#[test]
fn trades() {
    let tickers = TRADES.texts("ticker");
    let odd = share(tickers.len(), |row| tickers[row].ends_with('F'));
    // Of those who cannot pay a lot, and of sales of what they have; the ticker ends in F.
    check("odd lots %", odd, 40.0..=65.0);
    let vale = share(tickers.len(), |row| tickers[row].starts_with("VALE3"));
    check("VALE3 %", vale, 8.0..=14.5);
    let sides = TRADES.symbols("side");
    check("purchases %", share(sides.len(), |row| sides[row] == "BUY"), 50.0..=70.0);
}

/// What people have does not grow or melt away: a quarter leaves it about as it was.
#[test]
fn money_is_steady() {
    let kinds = ACCOUNTS.symbols("account_type");
    for kind in ["CORRENTE", "POUPANCA", "INVESTIMENTOS"] {
        let sum = |column| {
            let of = where_is(ACCOUNTS.longs(column), |row| kinds[row] == kind);
            of.iter().sum::<i64>() as f64
        };
        let ratio = sum("balance") / sum("opening_balance");
        check(&format!("{kind}, end by beginning"), ratio, 0.9..=1.15);
    }
}

#[test]
fn investors_differ() {
    let groups = TRADES.groups("account_id");
    let kinds = ACCOUNTS.symbols("account_type");
    let investors = where_is(ACCOUNTS.ids("account_id"), |row| kinds[row] == "INVESTIMENTOS");
    let mut counts: Vec<i64> = groups.iter().map(|(_, rows)| rows.len() as i64).collect();
    counts.resize(investors.len(), 0);
    counts.sort_unstable();
    let percentile = |n: usize| counts[(counts.len() - 1) * n / 100] as f64;
    check("asleep %", share(counts.len(), |at| counts[at] == 0), 15.0..=35.0);
    check("median of trades", median(&counts), 5.0..=14.0);
    check("99th percentile", percentile(99), 110.0..=220.0);
    check("most", percentile(100), 250.0..=900.0);
    let different = counts.iter().collect::<std::collections::BTreeSet<_>>().len();
    check("different counts", different as f64, 90.0..=400.0);

    let days_of: Vec<i32> =
        TRADES.longs("executed_at").iter().map(|at| days::local(*at).0).collect();
    let (sides, stocks) = (TRADES.symbols("side"), TRADES.ids("stock_id"));
    let active: Vec<_> =
        groups.iter().map(|(_, rows)| rows).filter(|rows| rows.len() >= 10).collect();
    let day_trades = |rows: &std::ops::Range<usize>| {
        let mut seen = std::collections::BTreeSet::new();
        rows.clone().any(|row| {
            let other = if sides[row] == "BUY" { "SELL" } else { "BUY" };
            seen.insert((days_of[row], stocks[row], sides[row]));
            seen.contains(&(days_of[row], stocks[row], other))
        })
    };
    check(
        "day traders among the active %",
        share(active.len(), |i| day_trades(active[i])),
        5.0..=40.0,
    );
    // Bursts: the next trade is within the hour, where chance would have it in a week.
    let times = TRADES.longs("executed_at");
    let soon = |row: usize| times[row + 1] - times[row] < 3_600_000;
    let within: Vec<usize> = active.iter().flat_map(|rows| rows.start..rows.end - 1).collect();
    check("within the hour %", share(within.len(), |at| soon(within[at])), 35.0..=75.0);
}

#[test]
fn merchants_sell_at_their_hours() {
    let events = &*PURCHASES;
    let mccs = events.texts("mcc");
    let times: Vec<(bool, i64)> = events
        .longs("occurred_at")
        .iter()
        .map(|at| days::local(*at))
        .map(|(day, time)| (days::is_business_day(day), time / days::HOUR))
        .collect();
    let within = |of: &[&str], when: &dyn Fn((bool, i64)) -> bool| {
        let rows = where_is(&times, |row| of.is_empty() || of.contains(&mccs[row]));
        share(rows.len(), |row| when(rows[row]))
    };
    let office = |(business, hour): (bool, i64)| business && (7..20).contains(&hour);
    check("doctors in office hours %", within(&["8011", "8021"], &office), 93.0..=100.0);
    check("all in office hours %", within(&[], &office), 40.0..=65.0);
    let morning = |(_, hour): (bool, i64)| (6..10).contains(&hour);
    check("bakeries in the morning %", within(&["5462"], &morning), 25.0..=60.0);
    check("restaurants in the morning %", within(&["5812"], &morning), 0.5..=7.0);
    // Days off begin later.
    let of_kind = |wanted: bool| {
        let hours = where_is(&times, |row| times[row].0 == wanted);
        share(hours.len(), |row| (6..9).contains(&hours[row].1))
    };
    check("before nine, business days to days off", of_kind(true) / of_kind(false), 1.25..=3.0);
}

#[test]
fn people_are_met_again() {
    let events = &*TRANSACTIONS;
    let (documents, texts) =
        (events.some_texts("counterparty_document"), events.some_texts("description"));
    // Bills come back anyway, and have these texts.
    let bills = ["Sal", "Déc", "Ben", "Alu", "Conta de", "Int", "Mensalidade esc"];
    let (mut all, mut again) = (0, 0);
    for (_, rows) in events.groups("account_id") {
        let mut seen = std::collections::BTreeSet::new();
        for row in rows {
            let bill = texts[row].is_some_and(|t| bills.iter().any(|start| t.starts_with(start)));
            if let (Some(document), false) = (documents[row], bill) {
                all += 1;
                again += usize::from(!seen.insert(document));
            }
        }
    }
    check("with somebody met before %", 100.0 * again as f64 / f64::from(all), 15.0..=60.0);
}

/// How arrears begin and roll on, by what due dates and payments say.
#[test]
fn arrears_roll_on() {
    let events = all(&common::bank(42, 20_000, 90), "banking.installments");
    let (due, times, paid) =
        (events.ints("due_date"), events.longs("occurred_at"), events.valid("paid_at"));
    let (today, _) = days::local(datagen_core::plan::DEFAULT_AS_OF - 1);
    let end = |row: usize| if paid[row] { days::local(times[row]).0 } else { today };
    let on_time: Vec<i64> = (0..events.rows())
        .filter(|&row| paid[row])
        .map(|row| (end(row) - due[row]).into())
        .collect();
    let among = |delay: std::ops::RangeInclusive<i64>| {
        share(on_time.len(), |row| delay.contains(&on_time[row]))
    };
    check("paid on the due date %", among(0..=0), 45.0..=60.0);
    let weekend = |row: usize| (end(row) + 3).rem_euclid(7) >= 5;
    check(
        "paid at the weekend %",
        share(events.rows(), |row| paid[row] && weekend(row)),
        10.0..=22.0,
    );
    let mode =
        (-20..20).map(|delay| (among(delay..=delay), delay)).max_by(|a, b| a.0.total_cmp(&b.0));
    check("commonest delay, days", mode.expect("a delay").1 as f64, 0.0..=0.0);
    let statuses = events.symbols("payment_status");
    let late = share(events.rows(), |row| statuses[row] == "PAID_LATE");
    check("paid late %", late, 5.0..=10.0);
    // For how long the oldest that is not paid was overdue, where the one before had been paid in time.
    let mut spells = Vec::new();
    for (_, rows) in events.groups("loan_id") {
        let mut free = true;
        let mut before = i32::MIN;
        for row in rows {
            if free && before <= due[row] {
                spells.push(end(row) - due[row]);
            }
            before = end(row);
            free = paid[row];
        }
    }
    let reaching = |days: i32| spells.iter().filter(|spell| **spell > days).count() as f64;
    check("from 30 days to 60 %", 100.0 * reaching(60) / reaching(30), 35.0..=54.0);
    check("from 60 days to 90 %", 100.0 * reaching(90) / reaching(60), 32.0..=54.0);
}
