//! What prices do over days and years: how they vary, and with what.

#![allow(missing_docs, reason = "a test crate")]

mod common;

use std::collections::BTreeMap;

use common::{data, days};
use datagen_core::event::History;
use datagen_core::event::price::Prices;
use datagen_core::plan::Plan;

const STOCKS: usize = 42;

fn prices(seed: u64, end: (i32, u32, u32), length: u32) -> Prices {
    let plan = Plan::try_new(seed, 1, days::utc(end, 12, 0), length).expect("a plan");
    History::new(plan).prices
}

/// Sessions of a history that ends on a day at noon UTC, but the first and the last day.
fn sessions(end: (i32, u32, u32), length: u32) -> Vec<i32> {
    let last = days::day(end.0, end.1, end.2);
    (last - length as i32 + 1..last).filter(|&day| days::is_session_day(day)).collect()
}

fn price(cents: i64) -> f64 {
    f64::from(i32::try_from(cents).expect("a price"))
}

fn opening(prices: &Prices, stock: usize, day: i32) -> f64 {
    let at = |day: i32, time| i64::from(day) * days::DAY + time + 3 * days::HOUR;
    price(prices.at(stock, at(day, days::session(day).0)))
}

/// Logarithms of the close over the close of the session before.
fn returns(prices: &Prices, stock: usize, sessions: &[i32]) -> Vec<f64> {
    let close = |day: &i32| price(prices.close(stock, *day)).ln();
    sessions.windows(2).map(|pair| close(&pair[1]) - close(&pair[0])).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / f64::from(u32::try_from(values.len()).expect("few"))
}

fn covariance(x: &[f64], y: &[f64]) -> f64 {
    let (of_x, of_y) = (mean(x), mean(y));
    mean(&x.iter().zip(y).map(|(x, y)| (x - of_x) * (y - of_y)).collect::<Vec<_>>())
}

fn correlation(x: &[f64], y: &[f64]) -> f64 {
    covariance(x, y) / (covariance(x, x) * covariance(y, y)).sqrt()
}

fn deviation(x: &[f64]) -> f64 {
    covariance(x, x).sqrt()
}

struct Listed {
    ticker: &'static str,
    sector: &'static str,
    cents: f64,
    volatility: f64,
    beta: f64,
    factor: &'static str,
}

fn listed() -> Vec<Listed> {
    let number = |text: &str| text.parse::<f64>().expect("a number");
    data(include_str!("../data/stocks.csv"))
        .into_iter()
        .map(|fields| Listed {
            ticker: fields[0],
            sector: fields[2],
            cents: number(fields[5]),
            volatility: number(fields[6]) / 10_000.0,
            beta: number(fields[7]) / 100.0,
            factor: fields[8],
        })
        .collect()
}

#[test]
fn betas_are_in_their_range_and_leave_something_to_the_stock() {
    let stocks = listed();
    assert_eq!(stocks.len(), STOCKS);
    for stock in stocks {
        assert!((0.6..=1.4).contains(&stock.beta), "{}", stock.ticker);
        assert!(stock.beta * 0.011 < 0.75 * stock.volatility, "{}", stock.ticker);
    }
}

#[test]
fn stocks_move_together_over_a_year() {
    let stocks = listed();
    let end = (2026, 6, 30);
    let sessions = sessions(end, 365);
    for seed in [1, 2, 3, 42, 99, u64::MAX] {
        let prices = prices(seed, end, 365);
        let moves: Vec<Vec<f64>> =
            (0..STOCKS).map(|stock| returns(&prices, stock, &sessions)).collect();
        // By whether they share sector and factor.
        let mut found: BTreeMap<(bool, bool), Vec<f64>> = BTreeMap::new();
        for i in 0..STOCKS {
            for j in 0..i {
                let (one, other) = (&stocks[i], &stocks[j]);
                found
                    .entry((one.sector == other.sector, one.factor == other.factor))
                    .or_default()
                    .push(correlation(&moves[i], &moves[j]));
            }
        }
        let all: Vec<f64> = found.values().flatten().copied().collect();
        assert!((0.2..=0.4).contains(&mean(&all)), "seed {seed}: {}", mean(&all));
        let [apart, sector] = [(false, false), (true, false)].map(|kind| mean(&found[&kind]));
        assert!(sector > apart + 0.08, "seed {seed}: {sector} in a sector, {apart} else");
        // PETR3 and PETR4, ITUB4 and ITSA4.
        let same = &found[&(true, true)];
        assert_eq!(same.len(), 2);
        assert!(same.iter().all(|&one| one > 0.9), "seed {seed}: {same:?}");
    }
}

#[test]
fn returns_vary_as_listed_and_follow_the_market_by_beta() {
    // Seven years for each of two seeds: what is left to chance is 2%.
    let end = (2027, 12, 31);
    let length = 7 * 365;
    let sessions = sessions(end, length);
    let stocks = listed();
    for seed in [5, 42] {
        let prices = prices(seed, end, length);
        let moves: Vec<Vec<f64>> =
            (0..STOCKS).map(|stock| returns(&prices, stock, &sessions)).collect();
        let market: Vec<f64> = (0..moves[0].len())
            .map(|day| mean(&moves.iter().map(|of_stock| of_stock[day]).collect::<Vec<_>>()))
            .collect();
        let betas: Vec<f64> = moves
            .iter()
            .map(|one| covariance(one, &market) / covariance(&market, &market))
            .collect();
        let listed: Vec<f64> = stocks.iter().map(|stock| stock.beta).collect();
        assert!(correlation(&betas, &listed) > 0.85, "{}", correlation(&betas, &listed));
        for (stock, moves) in stocks.iter().zip(&moves) {
            let of_listed = deviation(moves) / stock.volatility;
            assert!((0.9..=1.1).contains(&of_listed), "{}: {of_listed} of it", stock.ticker);
        }
    }
}

#[test]
fn a_part_of_the_variance_comes_overnight() {
    let end = (2026, 6, 30);
    let sessions = sessions(end, 1_500);
    let prices = prices(8, end, 1_500);
    for (stock, listed) in listed().iter().enumerate() {
        let gaps: Vec<f64> = sessions
            .windows(2)
            .map(|pair| {
                let closed = price(prices.close(stock, pair[0]));
                (opening(&prices, stock, pair[1]) / closed).ln()
            })
            .collect();
        let part = (deviation(&gaps) / listed.volatility).powi(2);
        assert!((0.2..=0.4).contains(&part), "{}: {part}", listed.ticker);
        let days = returns(&prices, stock, &sessions);
        let during: Vec<f64> = days.iter().zip(&gaps).map(|(day, gap)| day - gap).collect();
        assert!(correlation(&gaps, &during).abs() < 0.12, "{}", listed.ticker);
    }
}

#[test]
fn a_session_goes_from_its_opening_to_its_close_without_a_jump() {
    let end = (2026, 6, 30);
    let length = 240;
    let prices = prices(11, end, length);
    let stocks = listed();
    let mut squares: [Vec<f64>; 2] = Default::default();
    for (n, day) in sessions(end, length).into_iter().enumerate() {
        let stock = (7 * n) % STOCKS;
        let (opens, ends) = days::session(day);
        let at = |time| price(prices.at(stock, i64::from(day) * days::DAY + time + 3 * days::HOUR));
        let path: Vec<f64> =
            (opens / days::MINUTE..ends / days::MINUTE).map(|one| at(one * days::MINUTE)).collect();
        let close = price(prices.close(stock, day));
        assert_eq!(path.last(), Some(&close), "{}", days::date_text(day));
        assert_eq!((at(ends), at(23 * days::HOUR)), (close, close));
        // A minute moves by less than a fifth of what a day does, and a centavo of rounding.
        let volatility = stocks[stock].volatility;
        for pair in path.windows(2) {
            let moved = (pair[1] / pair[0]).ln().abs();
            assert!(moved < 0.2 * volatility + 1.1 / pair[0], "{moved} in a minute");
        }
        if stocks[stock].cents > 3_000.0 {
            let scaled = |step: usize| -> f64 {
                let ends: Vec<f64> = path.iter().step_by(step).copied().collect();
                let sum: f64 = ends.windows(2).map(|pair| (pair[1] / pair[0]).ln().powi(2)).sum();
                sum / volatility.powi(2)
            };
            squares[0].push(scaled(5));
            squares[1].push(scaled(60));
        }
    }
    // As of a walk: by the minute and by the hour the same, 72% of the variance of a day.
    for squares in squares {
        assert!(squares.len() > 50);
        assert!((0.55..0.95).contains(&mean(&squares)), "{}", mean(&squares));
    }
}

#[test]
fn plans_agree_about_prices() {
    let end = (2025, 9, 17);
    let [short, long] = [20, 900].map(|length| prices(42, end, length));
    let later = prices(42, (2026, 4, 1), 300);
    let other = prices(43, end, 20);
    let mut differ = 0;
    for day in sessions(end, 20) {
        for stock in 0..STOCKS {
            assert_eq!(short.close(stock, day), long.close(stock, day));
            assert_eq!(short.close(stock, day), later.close(stock, day));
            differ += usize::from(short.close(stock, day) != other.close(stock, day));
            let instant = i64::from(day) * days::DAY + 16 * days::HOUR + 12_345;
            assert_eq!(short.at(stock, instant), long.at(stock, instant));
            assert_eq!(short.at(stock, instant), later.at(stock, instant));
        }
    }
    assert!(differ > 400);
}

#[test]
fn days_without_a_session_have_the_close_before() {
    // From Saturday 1 July, before any session of a year of levels.
    let end = (2023, 7, 10);
    let [short, long] = [9, 30].map(|length| prices(3, end, length));
    for stock in 0..STOCKS {
        let friday = long.close(stock, days::day(2023, 6, 30));
        for day in [1, 2] {
            let day = days::day(2023, 7, day);
            assert_eq!(long.close(stock, day), friday);
            assert!((short.close(stock, day) - friday).abs() <= 1);
        }
    }
}

#[test]
fn the_reference_price_is_that_of_the_catalogues_date() {
    let prices = prices(42, (2026, 7, 10), 365);
    for (stock, listed) in listed().iter().enumerate() {
        let close = price(prices.close(stock, days::day(2026, 6, 30)));
        assert!((close - listed.cents).abs() <= 1.0, "{}: {close}", listed.ticker);
    }
}

#[test]
fn prices_do_not_drift_away() {
    // Ten years, which end as late as any may.
    let end = (2099, 12, 31);
    let mut extremes = (0.0_f64, 0.0_f64);
    let mut means = Vec::new();
    for seed in [1, 2, 3] {
        let prices = prices(seed, end, 3_660);
        let last = days::day(end.0, end.1, end.2);
        for (stock, listed) in listed().iter().enumerate() {
            let mut logs = Vec::new();
            for day in (last - 3_650..last).step_by(50) {
                let close = prices.close(stock, day);
                assert!(close > 0);
                let log = (price(close) / listed.cents).ln();
                extremes = (extremes.0.min(log), extremes.1.max(log));
                logs.push(log);
            }
            means.push(mean(&logs));
        }
    }
    assert!(extremes.0 > -2.5 && extremes.1 < 2.5, "{extremes:?}");
    assert!(mean(&means).abs() < 0.1, "{}", mean(&means));
}
