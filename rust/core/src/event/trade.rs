//! `banking.trades`.

use super::{History, scaled};
use crate::brazil::calendar::local_day;
use crate::brazil::reference;
use crate::catalog::{OrderType, Side};
use crate::column::{Texts, columns};
use crate::entity::account::Account;
use crate::entity::stock::ROUND_LOT;
use crate::rng::Domain;

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
    let [when, ..] = history.context.rng.four(Domain::Trade, account.row, u64::from(k), 0);
    history.session.parts(n).time(k, when)
}

impl TradeColumns {
    /// Adds all trades of the INVESTIMENTOS account of this row.
    pub fn push(&mut self, history: &History, row: u64) {
        let id = history.context.id(Domain::Account, row);
        let stocks = &reference().stocks;
        let rng = &history.context.rng;
        let [_, picks @ ..] = rng.fours::<3>(Domain::Trade, row, u64::MAX);
        let portfolio: [usize; PORTFOLIO] =
            std::array::from_fn(|i| stocks.pick_position(picks[i / 4][i % 4]));
        let held_stocks = 3 + (row % 6) as usize;
        let mut positions = [0_i32; PORTFOLIO];

        let n = count(history, row);
        let parts = history.session.parts(n);
        for k in 0..n {
            let [when, what, size, how] = rng.four(Domain::Trade, row, u64::from(k), 0);
            let time = parts.time(k, when);
            let (which, side) = what.halves();
            let (lot, size) = size.halves();
            let slot = which.below(held_stocks as u32) as usize;
            // The same stock may have been picked twice; its first place holds the position.
            let slot = portfolio.iter().position(|&s| s == portfolio[slot]).unwrap_or(slot);
            let stock = &stocks.items[portfolio[slot]];
            let held = positions[slot];

            let selling = held > 0 && side.chance(4_200);
            let round = if selling { held >= ROUND_LOT } else { lot.chance(6_500) };
            let quantity = match (selling, round) {
                (false, true) => ROUND_LOT * (1 + size.below(10) as i32),
                (false, false) => 1 + size.below(99) as i32,
                (true, true) => ROUND_LOT * (1 + size.below((held / ROUND_LOT) as u32) as i32),
                (true, false) => 1 + size.below(held as u32) as i32,
            };
            positions[slot] += if selling { -quantity } else { quantity };
            let price = history.prices.at(portfolio[slot], time);
            let gross = price * i64::from(quantity);

            self.trade_id.push(history.context.event_id(Domain::Trade, row, k));
            self.account_id.push(id);
            self.stock_id.push(history.stock_ids[portfolio[slot]]);
            // The odd-lot market has tickers of its own.
            self.ticker.push_parts(&[stock.ticker, if round { "" } else { "F" }]);
            self.side.push(if selling { Side::Sell } else { Side::Buy });
            self.quantity.push(quantity);
            self.unit_price.push(price);
            self.gross_amount.push(gross);
            self.fees.push((gross * FEES + 50_000) / 100_000);
            self.settlement_date.push(history.days.at(local_day(time)).settlement);
            let limit = how.halves().0.chance(4_500);
            self.order_type.push(if limit { OrderType::Limit } else { OrderType::Market });
            self.executed_at.push(time);
        }
    }
}
