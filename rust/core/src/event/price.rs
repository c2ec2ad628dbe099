//! One price path for each stock and seed, whatever the plan: of market, sectors and issuers.
//!
//! The daily return of a stock is its beta times that of the market, and parts of its sector, of its issuer and
//! of its own, all normal. About a quarter of the variance comes overnight, so that a session opens elsewhere than
//! the last one closed; from there the price goes by a Brownian bridge to the close. A path does not drift away:
//! each year ends at a level drawn anew around the reference price, which is that of 1 July 2026, and what its
//! days lack to get there is spread over them. So a price is found from the year it lies in, and histories that
//! begin or end on other days agree about it.
//!
//! Levels are logarithms to base 2 of the price over the reference price, times 2^24.

use std::sync::LazyLock;

use crate::brazil::calendar::{MINUTE, is_session_day, local_day, local_time, session_hours};
use crate::brazil::data::Stock;
use crate::brazil::reference;
use crate::civil::{from_days, to_days};
use crate::entity::Context;
use crate::rng::{Domain, Half, Rng, exp2_q16, normal_q16};

/// Daily volatility of the market in basis points (≈, Ibovespa: 17% a year).
const MARKET: u64 = 110;
/// What sector, issuer and the stock itself have of the variance that the market leaves, in percent (≈).
const SHARES: [u64; 3] = [25, 70, 5];
/// What comes overnight of the variance of a day, in percent (≈).
const NIGHT: u64 = 28;
/// Half of the sessions of a year: years end as far from the reference price as half a year of returns goes, so
/// that a whole year's returns vary as the sum of its days.
const HALF_YEAR: u64 = 126;
/// The year whose 1 July has the reference prices.
const REFERENCE_YEAR: i32 = 2026;
/// Fractions of a centavo, so that cheap stocks move.
const UNIT: u64 = 1 << 16;

/// Rows of draws of market, sectors, issuers and stocks, beyond those of stocks.
const FACTORS: u64 = 1 << 32;
/// What moves a stock: one factor of each kind.
const KINDS: usize = 4;

/// Bridges to choose from; with those turned upside down and backwards four times as many.
const BRIDGES: u16 = 128;
/// Steps of a bridge: more than a session has minutes.
const STEPS: usize = 1 << 9;
/// Bridges of a standard deviation of 1, times 2^13, one after the other.
static BRIDGE_POINTS: LazyLock<Vec<i16>> = LazyLock::new(bridges);

/// What a factor does to a stock.
#[derive(Debug, Clone, Copy)]
struct Load {
    factor: usize,
    /// Standard deviation overnight, over a session, and of the level at the end of a year.
    night: i64,
    session: i64,
    year: i64,
}

/// What a path depends on.
#[derive(Debug)]
struct Path {
    /// Reference price in `UNIT`ths of centavos.
    reference: u64,
    loads: [Load; KINDS],
}

/// Day and hours of a session.
#[derive(Debug, Clone, Copy)]
struct Session {
    day: i32,
    /// Milliseconds since midnight.
    opens: i64,
    /// The minute of the close, counted from the opening.
    last: i64,
    /// Steps of a bridge a minute, times 2^16, rounded up: the last minute is at the last step.
    pace: i64,
}

/// Levels of a session.
#[derive(Debug, Clone, Copy)]
struct Quote {
    open: i32,
    close: i32,
}

/// Prices of every stock.
#[derive(Debug)]
pub struct Prices {
    /// The day before the history.
    first_day: i32,
    /// For each day the place of its session, or of the last one before.
    places: Vec<u16>,
    sessions: Vec<Session>,
    /// By session and stock.
    quotes: Vec<Quote>,
    /// By session and factor: a bridge, and how it is turned.
    bridges: Vec<u16>,
    paths: Vec<Path>,
    factors: usize,
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

/// Market, sectors, issuers and stocks, counted through.
struct Factors {
    /// How many there are of each kind.
    counts: [usize; KINDS],
}

impl Factors {
    /// The factors of all stocks, and those of each.
    fn of(stocks: &[Stock]) -> (Self, Vec<[usize; KINDS]>) {
        let mut names: [Vec<&str>; KINDS] = Default::default();
        let places: Vec<[usize; KINDS]> = stocks
            .iter()
            .map(|stock| {
                let mut own = ["", stock.sector, stock.factor, stock.ticker].into_iter();
                names.each_mut().map(|names| {
                    let name = own.next().expect("a name for each kind");
                    names.iter().position(|one| *one == name).unwrap_or_else(|| {
                        names.push(name);
                        names.len() - 1
                    })
                })
            })
            .collect();
        let counts = names.map(|names| names.len());
        let firsts: [usize; KINDS] = std::array::from_fn(|kind| counts[..kind].iter().sum());
        let numbers = |own: [usize; KINDS]| std::array::from_fn(|kind| firsts[kind] + own[kind]);
        (Self { counts }, places.into_iter().map(numbers).collect())
    }

    fn count(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Two draws for each factor at `k`.
    fn draw(&self, rng: &Rng, k: u64, draws: &mut Vec<[Half; 2]>) {
        draws.clear();
        for (row, count) in (FACTORS..).zip(self.counts) {
            let end = draws.len() + count;
            for block in 0..count.div_ceil(4) as u64 {
                let four = rng.four(Domain::Price, row, k, block);
                draws.extend(four.map(|word| <[Half; 2]>::from(word.halves())));
            }
            draws.truncate(end);
        }
    }
}

impl Path {
    fn new(stock: &Stock, factors: [usize; KINDS]) -> Self {
        // Squares of basis points times 2^16.
        let square = |basis_points: u64| (basis_points << 16).pow(2);
        let market = square(MARKET) / 10_000 * u64::from(stock.beta).pow(2);
        let rest = square(stock.volatility.into()) - market;
        let [sector, issuer, own] = SHARES.map(|percent| rest / 100 * percent);
        let mut variances = [market, sector, issuer, own].into_iter();
        // As levels: 94 548 / 65 536 = 1 / ln 2.
        let level = |square: u64| (square.isqrt() * 94_548 / 10_000 >> 8) as i64;
        let loads = factors.map(|factor| {
            let variance = variances.next().expect("a variance for each kind");
            Load {
                factor,
                night: level(variance / 100 * NIGHT),
                session: level(variance / 100 * (100 - NIGHT)),
                year: level(variance * HALF_YEAR),
            }
        });
        Self { reference: stock.price * UNIT, loads }
    }

    /// Sums over the factors of what `load` says of one.
    fn sum(&self, load: impl Fn(Load) -> i64) -> i64 {
        self.loads.iter().map(|one| load(*one)).sum::<i64>() >> 16
    }

    /// A level as centavos.
    fn price(&self, level: i64) -> i64 {
        let price = exp2_q16(self.reference, (level >> 8) as i32);
        ((price + UNIT / 2) / UNIT).max(1) as i64
    }
}

impl Session {
    fn of(day: i32) -> Self {
        let (opens, ends) = session_hours(day);
        let last = (ends - opens) / MINUTE - 1;
        Self { day, opens, last, pace: (((STEPS as i64) << 16) + last - 1) / last }
    }
}

/// The year of levels in which a day lies, by the 1 July with which it begins.
const fn year_of(day: i32) -> i32 {
    let (year, month, _) = from_days(day);
    if month < 7 { year - 1 } else { year }
}

impl Prices {
    /// The paths over the history of a plan.
    pub fn new(context: &Context) -> Self {
        let plan = &context.plan;
        Self::between(&context.rng, local_day(plan.start()) - 1, local_day(plan.as_of()))
    }

    /// The paths from a day to another.
    fn between(rng: &Rng, first_day: i32, last_day: i32) -> Self {
        let stocks = &reference().stocks.items;
        let (factors, numbers) = Factors::of(stocks);
        let mut prices = Self {
            first_day,
            places: Vec::new(),
            sessions: Vec::new(),
            quotes: Vec::new(),
            bridges: Vec::new(),
            paths: stocks.iter().zip(numbers).map(|(stock, own)| Path::new(stock, own)).collect(),
            factors: factors.count(),
        };
        let mut start = prices.levels(rng, &factors, year_of(first_day));
        // What holds until the first session, if none of the year is before the history.
        let before = Session { day: i32::MIN, ..Session::of(first_day) };
        let quotes = start.iter().map(|&level| Quote { open: level as i32, close: level as i32 });
        prices.push(before, quotes.collect::<Vec<_>>(), &vec![0; prices.factors]);
        for year in year_of(first_day)..=year_of(last_day) {
            let end = prices.levels(rng, &factors, year + 1);
            prices.add_year(rng, &factors, year, [&start, &end]);
            start = end;
        }
        let mut place = 0;
        for day in first_day..=last_day {
            place += usize::from(prices.sessions.get(place + 1).is_some_and(|next| next.day == day));
            prices.places.push(place as u16);
        }
        prices
    }

    /// The level of each stock on 1 July of a year.
    fn levels(&self, rng: &Rng, factors: &Factors, year: i32) -> Vec<i64> {
        let mut draws = Vec::new();
        factors.draw(rng, u64::MAX - year as u64, &mut draws);
        let level = |path: &Path| match year {
            REFERENCE_YEAR => 0,
            _ => path.sum(|load| load.year * i64::from(normal_q16(draws[load.factor][0]))),
        };
        self.paths.iter().map(level).collect()
    }

    /// The sessions of a year, from and to given levels.
    fn add_year(&mut self, rng: &Rng, factors: &Factors, year: i32, levels: [&[i64]; 2]) {
        let days = to_days(year, 7, 1)..to_days(year + 1, 7, 1);
        let days: Vec<i32> = days.filter(|&day| is_session_day(day)).collect();
        // First where the days alone would lead.
        let mut draws = Vec::with_capacity(self.factors + KINDS);
        let mut bridges = Vec::with_capacity(days.len() * self.factors);
        let mut walks = Vec::with_capacity(days.len() * self.paths.len());
        let mut walked = vec![0; self.paths.len()];
        for &day in &days {
            factors.draw(rng, day as u64, &mut draws);
            // What a normal draw hardly feels says which bridge.
            bridges.extend(draws.iter().map(|[_, session]| session.0 as u16 % (4 * BRIDGES)));
            let normal: Vec<[i64; 2]> =
                draws.iter().map(|halves| halves.map(|half| normal_q16(half).into())).collect();
            for (path, at) in self.paths.iter().zip(&mut walked) {
                let open = *at + path.sum(|load| load.night * normal[load.factor][0]);
                *at = open + path.sum(|load| load.session * normal[load.factor][1]);
                walks.push([open, *at]);
            }
        }
        // Then what is missing, in equal parts overnight.
        let [start, end] = levels;
        let missing: Vec<i64> = (0..walked.len())
            .map(|stock| ((end[stock] - start[stock] - walked[stock]) << 8) / days.len() as i64)
            .collect();
        let days = (1..).zip(&days).zip(walks.chunks(walked.len()));
        for (((n, &day), walk), bridges) in days.zip(bridges.chunks(self.factors)) {
            if day <= self.first_day {
                self.sessions.clear();
                self.quotes.clear();
                self.bridges.clear();
            }
            let quotes = walk.iter().enumerate().map(|(stock, &levels)| {
                let from = start[stock] + (missing[stock] * n >> 8);
                let [open, close] = levels.map(|level| (from + level) as i32);
                Quote { open, close }
            });
            self.push(Session::of(day), quotes, bridges);
        }
    }

    fn push(
        &mut self,
        session: Session,
        quotes: impl IntoIterator<Item = Quote>,
        bridges: &[u16],
    ) {
        self.sessions.push(session);
        self.quotes.extend(quotes);
        self.bridges.extend_from_slice(bridges);
    }

    /// The place of the session of a day, or of the last one before.
    fn place(&self, day: i32) -> usize {
        self.places[(day - self.first_day) as usize].into()
    }

    fn quote(&self, place: usize, stock: usize) -> Quote {
        self.quotes[place * self.paths.len() + stock]
    }

    /// The price of a stock at an instant of the history, in centavos: another one every minute of a
    /// session, which begins with the opening price and ends with that of the close.
    pub fn at(&self, stock: usize, instant: i64) -> i64 {
        let place = self.place(local_day(instant));
        let session = &self.sessions[place];
        let minute = if session.day == local_day(instant) {
            ((local_time(instant) - session.opens) / MINUTE).clamp(0, session.last)
        } else {
            session.last
        };
        let step = ((minute * session.pace) >> 16) as usize;
        let Quote { open, close } = self.quote(place, stock);
        let (open, close) = (i64::from(open), i64::from(close));
        let path = &self.paths[stock];
        let bridges = &self.bridges[place * self.factors..][..self.factors];
        let points = &**BRIDGE_POINTS;
        let load = |load: &Load| load.session * point(points, bridges[load.factor], step);
        let bridge: i64 = path.loads.iter().map(load).sum();
        path.price(open + ((close - open) * step as i64 >> 9) + (bridge >> 13))
    }

    /// The price at which a stock closed on a day of the history or the day before it, in centavos; without a
    /// session it is that of the last one.
    pub fn close(&self, stock: usize, day: i32) -> i64 {
        self.paths[stock].price(self.quote(self.place(day), stock).close.into())
    }
}

/// Where a bridge is after so many steps.
#[inline]
fn point(points: &[i16], bridge: u16, step: usize) -> i64 {
    let (which, turned) = (usize::from(bridge % BRIDGES), bridge / BRIDGES);
    let step = if turned & 1 == 1 { STEPS - step } else { step };
    let point = i64::from(points[which * (STEPS + 1) + step]);
    if turned & 2 == 2 { -point } else { point }
}
