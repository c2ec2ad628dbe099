//! One price path for each stock and seed: a walk from close to close, and a way between them.

use crate::brazil::calendar::{HOUR, is_session_day, local_day, local_time};
use crate::brazil::reference;
use crate::entity::Context;
use crate::rng::{Domain, Half, Rng, normal_q16};

/// Length of the session in minutes.
const MINUTES: i64 = 415;
/// Fractions of a centavo, so that cheap stocks move.
const UNIT: i64 = 1 << 16;

/// Closes of every stock.
#[derive(Debug)]
pub struct Prices {
    rng: Rng,
    first_day: i32,
    /// For each stock, the close of each day from the one before the history; `UNIT`ths of centavos.
    closes: Vec<Vec<i64>>,
}

/// `price` moved by a normal draw of so many basis points.
fn moved(price: i64, draw: Half, basis_points: i64) -> i64 {
    let move_by = i128::from(price) * i128::from(normal_q16(draw)) * i128::from(basis_points);
    // Never below one centavo.
    (price + (move_by / (10_000 * 65_536)) as i64).max(UNIT)
}

impl Prices {
    /// The paths over the history of a plan.
    pub fn new(context: &Context) -> Self {
        let (first_day, last_day) =
            (local_day(context.plan.start()), local_day(context.plan.as_of()));
        let closes = reference()
            .stocks
            .items
            .iter()
            .enumerate()
            .map(|(index, stock)| {
                let mut close = stock.price as i64 * UNIT;
                let mut closes = vec![close];
                for day in first_day..=last_day {
                    if is_session_day(day) {
                        let draw = context.rng.four(Domain::Price, index as u64, day as u64, 0)[0];
                        close = moved(close, draw.halves().0, i64::from(stock.volatility));
                    }
                    closes.push(close);
                }
                closes
            })
            .collect();
        Self { rng: context.rng, first_day, closes }
    }

    /// The price of a stock at an instant of a session, in centavos; it changes every minute.
    pub fn at(&self, stock: usize, instant: i64) -> i64 {
        let day = local_day(instant);
        let minute = ((local_time(instant) - 10 * HOUR) / 60_000).clamp(0, MINUTES - 1);
        let closes = &self.closes[stock];
        let index = (day - self.first_day) as usize;
        let (open, close) = (closes[index], closes[index + 1]);
        let between = open + (close - open) * minute / MINUTES;
        let draw = self.rng.four(Domain::Price, stock as u64, day as u64, 1 + minute as u64)[0];
        // Minutes wander by a tenth of what days do.
        let volatility = i64::from(reference().stocks.items[stock].volatility) / 10;
        (moved(between, draw.halves().0, volatility) / UNIT).max(1)
    }
}
