//! `banking.trades`.

use std::array;

use super::{Cursor, History, scaled};
use crate::brazil::calendar::local_day;
use crate::brazil::reference;
use crate::catalog::{OrderType, Side};
use crate::column::{Texts, columns};
use crate::entity::account::Account;
use crate::entity::stock::ROUND_LOT;
use crate::rng::{Domain, Half, Word};

columns! {
    /// Columns of `banking.trades`.
    TradeColumns for TRADES {
        trade_id: Vec<[u8; 16]>,
        account_id: Vec<[u8; 16]>,
        stock_id: Vec<[u8; 16]>,
        ticker: Texts,
        side: Vec<Side>,
        quantity: Vec<i32>,
        unit_price: Vec<i64>,
        gross_amount: Vec<i64>,
        fees: Vec<i64>,
        settlement_date: Vec<i32>,
        order_type: Vec<OrderType>,
        executed_at: Vec<i64>,
    }
}

/// Trades of an INVESTIMENTOS account in the default number of days.
const TRADES: u32 = 20;
/// Stocks in a portfolio at the most.
const PORTFOLIO: usize = 8;
/// Fees and emoluments of B3, in thousandths of a percent.
const FEES: i64 = 30;

/// How many trades the account of this row has, given that it trades.
pub fn count(history: &History, row: u64) -> u32 {
    if history.session.is_empty() {
        return 0;
    }
    let [lot, ..] = history.context.rng.four(Domain::Trade, row, u64::MAX, 0);
    scaled(TRADES, &history.context.plan, lot.halves().0)
}

/// The time of event `k` of the `n` of an account, in milliseconds; found without its
/// other fields.
pub fn time(history: &History, account: &Account, k: u32, n: u32) -> i64 {
    history.session.parts(n).time(k, draws(history, account.row, k)[0])
}

/// The trades of an INVESTIMENTOS account, one after the other.
#[derive(Debug, Clone)]
pub struct Trader {
    row: u64,
    id: [u8; 16],
    n: u32,
    k: u32,
    /// Of event `k`.
    time: i64,
    /// Stocks by their positions in the reference data, and the shares that are held of each.
    portfolio: [u8; PORTFOLIO],
    shares: [i32; PORTFOLIO],
}

impl Trader {
    /// All trades of the account of this row.
    pub fn new(history: &History, row: u64) -> Self {
        let stocks = &reference().stocks;
        let rng = &history.context.rng;
        let [_, picks @ ..] = rng.fours::<3>(Domain::Trade, row, u64::MAX);
        let mut trader = Self {
            row,
            id: history.context.id(Domain::Account, row),
            n: count(history, row),
            k: 0,
            time: 0,
            portfolio: array::from_fn(|i| stocks.pick_position(picks[i / 4][i % 4]) as u8),
            shares: [0; PORTFOLIO],
        };
        let [when, ..] = draws(history, row, 0);
        trader.time = trader.time_of_next(history, when);
        trader
    }

    /// The time of event `k`, which `when` places within its part.
    fn time_of_next(&self, history: &History, when: Word) -> i64 {
        if self.k == self.n {
            return i64::MAX;
        }
        history.session.parts(self.n).time(self.k, when)
    }

    /// Makes the next trade.
    #[inline]
    fn step(&mut self, history: &History) -> Trade {
        let places = [(u64::from(self.k), 0), (u64::from(self.k) + 1, 0)];
        let [[_, what, size, how], [when, ..]] =
            history.context.rng.fours_at(Domain::Trade, self.row, places);
        let time = self.time;
        let (which, side) = what.halves();
        let (lot, size) = size.halves();
        let of_all = 3 + (self.row % 6) as u32;
        let stock = self.portfolio[which.below(of_all) as usize];
        // The same stock may have been picked twice; its first place holds the shares.
        let place = self.portfolio.iter().position(|&one| one == stock).expect("one of them");
        let held = self.shares[place];

        let selling = held > 0 && side.chance(4_200);
        let round = if selling { held >= ROUND_LOT } else { lot.chance(6_500) };
        let quantity = match (selling, round) {
            (false, true) => ROUND_LOT * (1 + size.below(10) as i32),
            (false, false) => 1 + size.below(99) as i32,
            (true, true) => ROUND_LOT * (1 + size.below((held / ROUND_LOT) as u32) as i32),
            (true, false) => 1 + size.below(held as u32) as i32,
        };
        self.shares[place] += if selling { -quantity } else { quantity };
        self.k += 1;
        self.time = self.time_of_next(history, when);
        Trade { time, stock: stock.into(), selling, round, quantity, how: how.halves().0 }
    }
}

/// What an event does to the shares.
struct Trade {
    time: i64,
    stock: usize,
    selling: bool,
    round: bool,
    quantity: i32,
    /// What is left of its draws.
    how: Half,
}

/// The draws of an event.
fn draws(history: &History, row: u64, k: u32) -> [Word; 4] {
    history.context.rng.four(Domain::Trade, row, u64::from(k), 0)
}

impl Cursor for Trader {
    type Columns = TradeColumns;

    fn id(&self) -> [u8; 16] {
        self.id
    }

    #[inline]
    fn peek(&self) -> Option<i64> {
        (self.k < self.n).then_some(self.time)
    }

    fn skip(&mut self, history: &History) {
        self.step(history);
    }

    #[inline]
    fn next(&mut self, history: &History, columns: &mut TradeColumns) {
        let (k, row) = (self.k, self.row);
        let Trade { time, stock, selling, round, quantity, how } = self.step(history);
        let price = history.prices.at(stock, time);
        let gross = price * i64::from(quantity);
        columns.trade_id.push(history.context.event_id(Domain::Trade, row, k));
        columns.account_id.push(self.id);
        columns.stock_id.push(history.stock_ids[stock]);
        // The odd-lot market has tickers of its own.
        let ticker = reference().stocks.items[stock].ticker;
        columns.ticker.push_parts(&[ticker, if round { "" } else { "F" }]);
        columns.side.push(if selling { Side::Sell } else { Side::Buy });
        columns.quantity.push(quantity);
        columns.unit_price.push(price);
        columns.gross_amount.push(gross);
        columns.fees.push((gross * FEES + 50_000) / 100_000);
        columns.settlement_date.push(history.days.at(local_day(time)).settlement);
        let limit = how.chance(4_500);
        columns.order_type.push(if limit { OrderType::Limit } else { OrderType::Market });
        columns.executed_at.push(time);
    }
}
