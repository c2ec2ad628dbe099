//! What stocks do from close to close: as much as market, sector, issuer and chance have them do.
//!
//! The daily return of a stock is its beta times that of the market, and parts of its sector, of its issuer and
//! of its own, all normal; about a quarter of the variance comes overnight. Levels do not drift away: each year
//! ends at one that is drawn anew around the reference price, which is that of 1 July 2026, and what its days lack
//! to get there is spread over them. So levels follow from the year they lie in, and histories that begin or end
//! on other days agree about them.

use crate::brazil::data::Stock;
use crate::civil::from_days;
use crate::rng::{Domain, Half, Rng, normal_q16};

/// Daily volatility of the market in basis points (≈, Ibovespa: 17% a year).
const MARKET: u64 = 110;
/// What sector, issuer and the stock itself have of the variance that the market leaves, in percent (≈).
const SHARES: [u64; 3] = [25, 70, 5];
/// What comes overnight of the variance of a day, in percent (≈).
const NIGHT: u64 = 28;
/// Half of the sessions of a year: two levels as far from the reference price as half a year of returns goes are
/// as far from one another as those of a whole year go.
const HALF_YEAR: u64 = 126;
/// The year whose 1 July has the reference prices.
const REFERENCE_YEAR: i32 = 2026;

/// Rows of the draws of market, sectors, issuers and stocks.
pub const FACTORS: u64 = 1 << 32;
/// Market, sector, issuer and the stock itself.
pub const KINDS: usize = 4;

/// What a factor does to a stock.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    factor: usize,
    /// Standard deviations of levels: overnight, over a session, and at the end of a year.
    night: i64,
    pub session: i64,
    year: i64,
}

/// A session of a stock in a walk that begins at zero.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub open: i64,
    pub close: i64,
    /// Draws of the session by kind of factor.
    pub draws: [Half; KINDS],
}

/// Walks of all stocks.
#[derive(Debug)]
pub struct Walks {
    rng: Rng,
    /// How many factors there are of each kind.
    counts: [usize; KINDS],
    /// By stock.
    pub loads: Vec<[Load; KINDS]>,
}

/// The year of levels in which a day lies, by the 1 July with which it begins.
pub const fn year_of(day: i32) -> i32 {
    let (year, month, _) = from_days(day);
    if month < 7 { year - 1 } else { year }
}

/// The factors of each stock, counted through kind by kind, and how many there are of each.
fn factors(stocks: &[Stock]) -> (Vec<[usize; KINDS]>, [usize; KINDS]) {
    let mut names: [Vec<&str>; KINDS] = Default::default();
    let mut places = vec![[0; KINDS]; stocks.len()];
    for (stock, places) in stocks.iter().zip(&mut places) {
        let own = ["", stock.sector, stock.factor, stock.ticker];
        for ((name, names), place) in own.iter().zip(&mut names).zip(places) {
            *place = names.iter().position(|one| one == name).unwrap_or(names.len());
            if *place == names.len() {
                names.push(name);
            }
        }
    }
    let counts = names.map(|names| names.len());
    let firsts: [usize; KINDS] = std::array::from_fn(|kind| counts[..kind].iter().sum());
    for places in &mut places {
        *places = std::array::from_fn(|kind| firsts[kind] + places[kind]);
    }
    (places, counts)
}

impl Load {
    /// Those of a stock with these factors.
    fn all(stock: &Stock, factors: [usize; KINDS]) -> [Self; KINDS] {
        // Squares of basis points times 2^16.
        let square = |basis_points: u64| (basis_points << 16).pow(2);
        let market = square(MARKET) / 10_000 * u64::from(stock.beta).pow(2);
        let rest = square(stock.volatility.into()) - market;
        let [sector, issuer, own] = SHARES.map(|percent| rest / 100 * percent);
        let variances = [market, sector, issuer, own];
        // As levels: 94 548 / 65 536 = 1 / ln 2.
        let level = |square: u64| (square.isqrt() * 94_548 / 10_000 / 256) as i64;
        std::array::from_fn(|kind| Self {
            factor: factors[kind],
            night: level(variances[kind] / 100 * NIGHT),
            session: level(variances[kind] / 100 * (100 - NIGHT)),
            year: level(variances[kind] * HALF_YEAR),
        })
    }

    /// The sum of what `part` says of each.
    fn sum(loads: &[Self; KINDS], part: impl Fn(&Self) -> i64) -> i64 {
        loads.iter().map(part).sum::<i64>() >> 16
    }
}

impl Walks {
    pub fn new(rng: Rng, stocks: &[Stock]) -> Self {
        let (factors, counts) = factors(stocks);
        let loads = stocks.iter().zip(factors).map(|(stock, own)| Load::all(stock, own)).collect();
        Self { rng, counts, loads }
    }

    /// Two draws for each factor at `k`.
    fn draw(&self, k: u64, draws: &mut Vec<[Half; 2]>) {
        draws.clear();
        for (row, count) in (FACTORS..).zip(self.counts) {
            let end = draws.len() + count;
            for block in 0..count.div_ceil(4) as u64 {
                let four = self.rng.four(Domain::Price, row, k, block);
                draws.extend(four.map(|word| <[Half; 2]>::from(word.halves())));
            }
            draws.truncate(end);
        }
    }

    /// The level of each stock on 1 July of a year.
    pub fn levels(&self, year: i32) -> Vec<i64> {
        let mut draws = Vec::new();
        self.draw(u64::MAX - year as u64, &mut draws);
        let drawn = |load: &Load| load.year * i64::from(normal_q16(draws[load.factor][0]));
        let level = |loads| if year == REFERENCE_YEAR { 0 } else { Load::sum(loads, drawn) };
        self.loads.iter().map(level).collect()
    }

    /// The walks over these sessions, by session and stock.
    pub fn over(&self, sessions: &[i32]) -> Vec<Step> {
        let mut draws = Vec::new();
        let mut normal: Vec<[i64; 2]> = Vec::new();
        let mut at = vec![0; self.loads.len()];
        let mut steps = Vec::with_capacity(sessions.len() * at.len());
        for &day in sessions {
            self.draw(day as u64, &mut draws);
            normal.clear();
            normal.extend(draws.iter().map(|halves| halves.map(|half| normal_q16(half).into())));
            for (loads, at) in self.loads.iter().zip(&mut at) {
                let open = *at + Load::sum(loads, |load| load.night * normal[load.factor][0]);
                *at = open + Load::sum(loads, |load| load.session * normal[load.factor][1]);
                let draws = loads.map(|load| draws[load.factor][1]);
                steps.push(Step { open, close: *at, draws });
            }
        }
        steps
    }
}
