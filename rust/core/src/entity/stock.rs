//! `stocks`: reference data, the same for every seed.

use crate::brazil::reference;
use crate::column::{Texts, columns};
use crate::id::{Ids, Origin};
use crate::rng::{Domain, Rng};

columns! {
    /// Columns of `stocks`.
    StockColumns for STOCKS {
        stock_id: Vec<[u8; 16]>,
        ticker: Texts,
        company: Texts,
        sector: Texts,
        isin: Texts,
        lot_size: Vec<i32>,
        reference_price: Vec<i64>,
        updated_at: Vec<i64>,
    }
}

/// Shares in a round lot of B3's cash market.
pub const ROUND_LOT: i32 = 100;

/// When the list was entered, 2000-01-01T00:00:00Z: before any history, and nothing in it changes.
const ENTERED: i64 = 946_684_800_000;

/// The id of a ticker: the row is its six bytes, and the seed is always 0.
pub fn stock_id(ticker: &str) -> [u8; 16] {
    let mut bytes = [0; 8];
    bytes[2..2 + ticker.len()].copy_from_slice(ticker.as_bytes());
    let origin = Origin { domain: Domain::Stock, row: u64::from_be_bytes(bytes), k: 0 };
    Ids::new(&Rng::new(0)).encode(origin)
}

impl StockColumns {
    /// Adds all stocks.
    pub fn push_all(&mut self) {
        for stock in &reference().stocks.items {
            self.stock_id.push(stock_id(stock.ticker));
            self.ticker.push(stock.ticker);
            self.company.push(stock.company);
            self.sector.push(stock.sector);
            self.isin.push(stock.isin);
            self.lot_size.push(ROUND_LOT);
            self.reference_price.push(stock.price as i64);
            self.updated_at.push(ENTERED);
        }
    }
}
