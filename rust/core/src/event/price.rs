//! One price path for each stock and seed, whatever the plan.
//!
//! Days come from [`walk`]: a session opens elsewhere than the last one closed, and closes elsewhere than it opened.
//! Within a session the price goes from open to close by a Brownian bridge, for which market, sector, issuer and
//! stock each have one of their own, so that stocks move together by the minute too.
//!
//! Levels are logarithms to base 2 of the price over the reference price, times 2^24.

mod walk;

use std::sync::LazyLock;

use crate::brazil::calendar::{DAY, MINUTE, is_session_day, local_day, local_time, session_hours};
use crate::brazil::reference;
use crate::civil::to_days;
use crate::entity::Context;
use crate::rng::{Domain, Half, Rng, exp2_q16, normal_q16};
use walk::{FACTORS, KINDS, Walks, year_of};

/// Fractions of a centavo, so that cheap stocks move.
const UNIT: u64 = 1 << 16;
/// Bridges to choose from; with those turned backwards and upside down four times as many.
const BRIDGES: u16 = 64;
/// Steps of a bridge: more than a session has minutes.
const STEPS: usize = 1 << 9;

/// Bridges of a standard deviation of 1, times 2^13, one after the other.
static BRIDGE_POINTS: LazyLock<Vec<i16>> = LazyLock::new(bridges);

/// What turns levels into prices.
#[derive(Debug)]
struct Path {
    /// Reference price in `UNIT`ths of centavos.
    reference: u64,
    /// Standard deviations of the levels of a session by kind of factor.
    deviations: [i64; KINDS],
}

/// A day, by the session that says its prices.
#[derive(Debug, Clone, Copy)]
struct Day {
    /// The place of its session, or of the last one before.
    place: u32,
    /// When the session opens, in milliseconds since midnight; long ago if it was on a day before.
    opens: i32,
    /// The minute of the close, counted from the opening.
    last: i32,
    /// Steps of a bridge a minute, times 2^16, rounded up: the last minute is at the last step.
    pace: i32,
}

/// A session of a stock.
#[derive(Debug, Clone, Copy)]
struct Quote {
    /// Levels.
    open: i32,
    close: i32,
    /// For each kind of factor a bridge, and how it is turned.
    bridges: [u16; KINDS],
}

/// Prices of every stock.
#[derive(Debug)]
pub struct Prices {
    /// The day before the history.
    first_day: i32,
    days: Vec<Day>,
    /// By session and stock.
    quotes: Vec<Quote>,
    paths: Vec<Path>,
}

/// Walks that return to where they began, the same for every seed.
fn bridges() -> Vec<i16> {
    let rng = Rng::new(0);
    let mut points = Vec::with_capacity(usize::from(BRIDGES) * (STEPS + 1));
    for bridge in 0..u64::from(BRIDGES) {
        let mut walk = vec![0_i64];
        for block in 0..STEPS as u64 / 8 {
            for word in rng.four(Domain::Price, FACTORS + KINDS as u64, bridge, block) {
                for half in <[Half; 2]>::from(word.halves()) {
                    walk.push(walk[walk.len() - 1] + i64::from(normal_q16(half)));
                }
            }
        }
        let end = walk[STEPS];
        // 181 = √512 · 2^16 / 2^13.
        let level = |(step, at): (usize, &i64)| (at - end * step as i64 / STEPS as i64) / 181;
        points.extend(walk.iter().enumerate().map(level).map(|point| point as i16));
    }
    points
}

/// Where a bridge is after so many steps.
#[inline]
fn point(points: &[i16], bridge: u16, step: usize) -> i64 {
    let (which, turned) = (usize::from(bridge % BRIDGES), bridge / BRIDGES);
    let step = if turned & 1 == 1 { STEPS - step } else { step };
    let point = i64::from(points[which * (STEPS + 1) + step]);
    if turned & 2 == 2 { -point } else { point }
}

impl Path {
    /// A level as centavos.
    #[inline]
    fn price(&self, level: i64) -> i64 {
        let price = exp2_q16(self.reference, (level >> 8) as i32);
        ((price + UNIT / 2) / UNIT).max(1) as i64
    }
}

impl Day {
    fn of(day: i32, place: usize) -> Self {
        let (opens, ends) = session_hours(day);
        let last = ((ends - opens) / MINUTE - 1) as i32;
        let opens = if is_session_day(day) { opens } else { -DAY } as i32;
        Self { place: place as u32, opens, last, pace: ((STEPS as i32) << 16) / last + 1 }
    }
}

impl Prices {
    /// The paths over the history of a plan.
    pub fn new(context: &Context) -> Self {
        let plan = &context.plan;
        Self::between(context.rng, local_day(plan.start()) - 1, local_day(plan.as_of()))
    }

    /// The paths from a day to another.
    fn between(rng: Rng, first_day: i32, last_day: i32) -> Self {
        let stocks = &reference().stocks.items;
        let walks = Walks::new(rng, stocks);
        let paths = stocks.iter().zip(&walks.loads).map(|(stock, loads)| Path {
            reference: stock.price * UNIT,
            deviations: loads.map(|load| load.session),
        });
        let paths: Vec<Path> = paths.collect();
        let mut prices = Self { first_day, days: Vec::new(), quotes: Vec::new(), paths };
        let mut start = walks.levels(year_of(first_day));
        // What holds until the first session, if none of the year is before the history.
        let quote = |level| Quote { open: level, close: level, bridges: [0; KINDS] };
        prices.quotes.extend(start.iter().map(|&level| quote(level as i32)));
        for year in year_of(first_day)..=year_of(last_day) {
            let end = walks.levels(year + 1);
            prices.add_year(&walks, year, last_day, [&start, &end]);
            start = end;
        }
        prices
    }

    /// The days of a year up to the last one, from and to given levels.
    fn add_year(&mut self, walks: &Walks, year: i32, last_day: i32, levels: [&[i64]; 2]) {
        let days = to_days(year, 7, 1)..to_days(year + 1, 7, 1);
        let sessions: Vec<i32> = days.clone().filter(|&day| is_session_day(day)).collect();
        let steps = walks.over(&sessions);
        // Where the days alone do not lead is reached in equal parts, overnight.
        let [start, end] = levels;
        let stocks = self.paths.len();
        let walked = &steps[steps.len() - stocks..];
        let missing: Vec<i64> = (0..stocks)
            .map(|stock| end[stock] - start[stock] - walked[stock].close)
            .map(|missing| (missing << 8) / sessions.len() as i64)
            .collect();
        let mut sessions = (1..).zip(&sessions).zip(steps.chunks(stocks)).peekable();
        for day in days.start..days.end.min(last_day + 1) {
            if let Some(((n, _), steps)) = sessions.next_if(|((_, session), _)| **session == day) {
                if day <= self.first_day {
                    self.quotes.clear();
                }
                self.quotes.extend(steps.iter().enumerate().map(|(stock, step)| {
                    let from = start[stock] + ((missing[stock] * n) >> 8);
                    // What a normal draw hardly feels says which bridge.
                    let bridges = step.draws.map(|half| half.0 as u16 % (4 * BRIDGES));
                    let [open, close] = [step.open, step.close].map(|level| (from + level) as i32);
                    Quote { open, close, bridges }
                }));
            }
            if day >= self.first_day {
                self.days.push(Day::of(day, self.quotes.len() / stocks - 1));
            }
        }
    }

    fn day(&self, day: i32) -> Day {
        self.days[(day - self.first_day) as usize]
    }

    fn quote(&self, day: Day, stock: usize) -> &Quote {
        &self.quotes[day.place as usize * self.paths.len() + stock]
    }

    /// The price of a stock at an instant of the history, in centavos: another one every minute of a
    /// session, which begins with the opening price and ends with that of the close.
    #[inline]
    pub fn at(&self, stock: usize, instant: i64) -> i64 {
        let day = self.day(local_day(instant));
        let since = local_time(instant) as i32 - day.opens;
        let minute = (since / MINUTE as i32).clamp(0, day.last);
        let step = ((minute * day.pace) >> 16) as usize;
        let quote = self.quote(day, stock);
        let (open, close) = (i64::from(quote.open), i64::from(quote.close));
        let path = &self.paths[stock];
        let points = &**BRIDGE_POINTS;
        let bridge: i64 = (path.deviations.iter().zip(quote.bridges))
            .map(|(deviation, bridge)| deviation * point(points, bridge, step))
            .sum();
        path.price(open + (((close - open) * step as i64) >> 9) + (bridge >> 13))
    }

    /// The price at which a stock closed on a day of the history or the day before it, in centavos; without a
    /// session it is that of the last one.
    pub fn close(&self, stock: usize, day: i32) -> i64 {
        self.paths[stock].price(self.quote(self.day(day), stock).close.into())
    }
}
