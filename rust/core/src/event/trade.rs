//! `banking.trades`.

mod flows;
mod investor;
mod sittings;

pub use flows::funded_at;
pub use investor::{CashFlow, CashKind, Investor, cash_events};
pub use sittings::Sessions;

use super::{Cursor, History};
use crate::brazil::calendar::local_day;
use crate::brazil::reference;
use crate::catalog::{OrderType, Side};
use crate::column::{Texts, columns};
use crate::entity::skeleton::Skeleton;
use crate::entity::stock::ROUND_LOT;
use crate::rng::Domain;
use investor::Trade;
use sittings::Sittings;

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

/// Trades of an INVESTIMENTOS account in the default number of days, on average.
const TRADES: u32 = 20;

/// How many trades an account has that is opened at an instant; found without amounts.
pub fn count(history: &History, row: u64, skeleton: &Skeleton, opened_at: i64) -> u32 {
    let mut sittings = Sittings::all(history, row, skeleton, opened_at);
    while sittings.time < i64::MAX {
        sittings.pass_day(history, row, skeleton);
    }
    sittings.k
}

/// The times of these trades, in milliseconds; found without amounts.
pub fn times(history: &History, row: u64, skeleton: &Skeleton, opened_at: i64) -> Vec<i64> {
    let mut sittings = Sittings::all(history, row, skeleton, opened_at);
    let mut times = Vec::new();
    while sittings.time < i64::MAX {
        times.push(sittings.time);
        let [_, _, how, gap] = sittings.draws(history, row);
        sittings.pass(history, row, skeleton, Sittings::gap(how, gap));
    }
    times
}

/// The trades of an INVESTIMENTOS account, one after the other.
#[derive(Debug, Clone)]
pub struct Trades {
    investor: Investor,
    skeleton: Skeleton,
    id: [u8; 16],
}

impl Trades {
    /// All trades of an account that is opened at an instant with so many centavos.
    pub fn new(history: &History, row: u64, skeleton: Skeleton, opening: (i64, i64)) -> Self {
        Self {
            investor: Investor::new(history, row, &skeleton, opening),
            skeleton,
            id: history.context.id(Domain::Account, row),
        }
    }
}

impl Cursor for Trades {
    type Columns = TradeColumns;
    /// With its number.
    type Event = (u32, Trade);

    fn id(&self) -> [u8; 16] {
        self.id
    }

    #[inline]
    fn peek(&self) -> Option<i64> {
        let time = self.investor.sittings.time;
        (time < i64::MAX).then_some(time)
    }

    fn skip(&mut self, history: &History) {
        self.investor.trade(history, &self.skeleton);
    }

    #[inline]
    fn take(&mut self, history: &History) -> (u32, Trade) {
        (self.investor.sittings.k, self.investor.trade(history, &self.skeleton))
    }

    fn write(&self, history: &History, &(k, trade): &(u32, Trade), columns: &mut TradeColumns) {
        let row = self.investor.row;
        let Trade { time, stock, selling, quantity, price, fees, how } = trade;
        columns.trade_id.push(history.context.event_id(Domain::Trade, row, k));
        columns.account_id.push(self.id);
        columns.stock_id.push(history.stock_ids[stock]);
        // The odd-lot market has tickers of its own.
        let ticker = reference().stocks.items[stock].ticker;
        columns.ticker.push_parts(&[ticker, if quantity < ROUND_LOT { "F" } else { "" }]);
        columns.side.push(if selling { Side::Sell } else { Side::Buy });
        columns.quantity.push(quantity);
        columns.unit_price.push(price);
        columns.gross_amount.push(price * i64::from(quantity));
        columns.fees.push(fees);
        columns.settlement_date.push(history.days.at(local_day(time)).settlement);
        let limit = how.chance(4_500);
        columns.order_type.push(if limit { OrderType::Limit } else { OrderType::Market });
        columns.executed_at.push(time);
    }
}
