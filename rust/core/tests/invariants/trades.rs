//! Trades and prices.

use std::collections::BTreeMap;

use datagen_core::plan::Plan;

use crate::common::{Id, Read, all, bank_of, data, days};
use crate::worlds::in_every_world;

#[test]
fn trades_are_executed_inside_the_session() {
    in_every_world(|world| {
        for at in world.trades.longs("executed_at") {
            let (day, time) = days::local(*at);
            let (opens, ends) = days::session(day);
            assert!(
                days::is_session_day(day) && (opens..ends).contains(&time),
                "a trade at {}",
                days::instant_text(*at)
            );
        }
    });
}

#[test]
fn the_session_of_ash_wednesday_may_end_the_history() {
    let as_of = days::utc((2026, 2, 18), 17, 30);
    let plan = Plan::try_new(42, 2_000, as_of, 1).expect("a plan");
    let trades = all(&bank_of(plan), "banking.trades");
    let times = trades.longs("executed_at");
    assert!(times.len() > 20, "{} trades", times.len());
    assert!(times.iter().all(|at| (days::utc((2026, 2, 18), 16, 0)..as_of).contains(at)));
}

#[test]
fn a_history_without_a_session_has_no_trades() {
    // From Friday's close to Monday's opening, over Carnival.
    let plan = Plan::try_new(42, 200, days::utc((2026, 2, 18), 13, 0), 4).expect("a plan");
    assert_eq!(all(&bank_of(plan), "banking.trades").rows(), 0);
    assert!(all(&bank_of(plan), "banking.transactions").rows() > 0);
}

#[test]
fn quantities_are_round_lots_or_odd_lots() {
    in_every_world(|world| {
        let trades = &world.trades;
        let stocks = world.stocks.rows_by_id("stock_id");
        let tickers = world.stocks.texts("ticker");
        for (row, ticker) in trades.texts("ticker").into_iter().enumerate() {
            let quantity = trades.ints("quantity")[row];
            let stock = stocks[&trades.ids("stock_id")[row]];
            assert_eq!(world.stocks.ints("lot_size")[stock], 100);
            // No ticker of the index ends in F itself.
            let odd = ticker.strip_suffix('F');
            assert_eq!(odd.unwrap_or(ticker), tickers[stock]);
            if odd.is_some() {
                assert!((1..=99).contains(&quantity), "{quantity} {ticker}");
            } else {
                assert!(quantity > 0 && quantity % 100 == 0, "{quantity} {ticker}");
            }
        }
    });
}

#[test]
fn nobody_sells_what_they_do_not_have() {
    in_every_world(|world| {
        let trades = &world.trades;
        let sides = trades.symbols("side");
        let mut positions: BTreeMap<(Id, Id), i32> = BTreeMap::new();
        for (row, side) in sides.into_iter().enumerate() {
            let holding = (trades.ids("account_id")[row], trades.ids("stock_id")[row]);
            let position = positions.entry(holding).or_default();
            *position += trades.ints("quantity")[row] * if side == "BUY" { 1 } else { -1 };
            assert!(*position >= 0, "row {row}");
        }
    });
}

#[test]
fn amounts_and_fees_follow_from_price_and_quantity() {
    in_every_world(|world| {
        let trades = &world.trades;
        for row in 0..trades.rows() {
            let price = trades.longs("unit_price")[row];
            let gross = trades.longs("gross_amount")[row];
            assert!(price > 0);
            assert_eq!(gross, price * i64::from(trades.ints("quantity")[row]));
            // 0.03%, rounded half up.
            assert_eq!(trades.longs("fees")[row], (gross * 3 + 5_000) / 10_000);
        }
    });
}

#[test]
fn trades_settle_on_the_second_session_day_after() {
    in_every_world(|world| {
        let settled = world.trades.ints("settlement_date");
        for (at, settled) in world.trades.longs("executed_at").iter().zip(settled) {
            let (day, _) = days::local(*at);
            assert_eq!(*settled, days::session_days_after(day, 2), "{}", days::date_text(day));
        }
    });
}

#[test]
fn a_price_is_the_same_for_everybody() {
    // Many trades on few days, so that some fall into one minute; the last one inside a session.
    let plan = |customers| {
        Plan::try_new(42, customers, days::utc((2026, 6, 18), 17, 0), 2).expect("a plan")
    };
    let mut prices: BTreeMap<(Id, i64), i64> = BTreeMap::new();
    let mut met = 0;
    for customers in [6_000, 40] {
        let trades = all(&bank_of(plan(customers)), "banking.trades");
        for row in 0..trades.rows() {
            let minute = trades.longs("executed_at")[row] / days::MINUTE;
            let price = trades.longs("unit_price")[row];
            let seen = prices.insert((trades.ids("stock_id")[row], minute), price);
            assert!(seen.is_none_or(|seen| seen == price), "row {row}: {price}, not {seen:?}");
            met += usize::from(seen.is_some());
        }
    }
    assert!(met > 10, "only {met} trades met");
}

#[test]
fn prices_lie_around_the_reference_price_by_the_volatility() {
    let volatilities: BTreeMap<&str, f64> = data(include_str!("../../data/stocks.csv"))
        .into_iter()
        .map(|fields| (fields[0], fields[6].parse::<f64>().expect("basis points") / 10_000.0))
        .collect();
    in_every_world(|world| {
        let stocks = world.stocks.rows_by_id("stock_id");
        let tickers = world.stocks.texts("ticker");
        for row in 0..world.trades.rows() {
            let stock = stocks[&world.trades.ids("stock_id")[row]];
            let price = |cents: i64| f64::from(i32::try_from(cents).expect("a price"));
            let reference = price(world.stocks.longs("reference_price")[stock]);
            let moved = (price(world.trades.longs("unit_price")[row]) / reference).ln().abs();
            // Five sigmas of a walk of half a year and a day, and a centavo.
            let bound = 5.0 * volatilities[tickers[stock]] * 127_f64.sqrt();
            assert!(moved < bound + 1.5 / reference, "{}: {moved}, not {bound}", tickers[stock]);
        }
    });
}
