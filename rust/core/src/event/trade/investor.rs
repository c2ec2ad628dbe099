//! What an investor has: cash and shares. Every order is one that the cash or the shares allow.
//!
//! **Cash.** There is the settled cash, and at most two notes that have not settled: a note settles on the second
//! session day after its trades, before the session opens. Let S be the settled cash and N1, N2 the notes.
//! S, S + N1 and S + N1 + N2 are never negative. A purchase costs less than S + N1 + N2 and changes only the last
//! note; a sale brings at least as much as its fees; a withdrawal takes less than the least of the three; a
//! contribution adds to all of them. So the balance is not negative after any flow.
//!
//! **A steady state.** An investor keeps most of what the account began with: purchases of the usual kind leave that, and
//! when there is no more, something is sold. What is bought hardly depends on what a share costs: who has little cash buys
//! one share of it.
//!
//! **An order is always possible.** The cash S + N1 + N2 begins with [`RESERVE`] · 5 / 2 or more, a purchase of any
//! kind leaves [`RESERVE`], and a withdrawal leaves more. While there is a share, it can be sold. When there is
//! none, one share of the cheapest of all stocks can be bought for three fifths of the cash. Only such a
//! purchase takes the cash below the reserve, by one share of the cheapest, and what it loses until it is sold is a
//! matter of centavos: the cheapest costs less than R$ 10 today, and would have to cost more than R$ 120 while all the others
//! cost even more, or thousands of such purchases would have to lose one after the other.

use super::flows::{Flow, Flows, funded_at};
use super::sittings::{Sittings, place};
use crate::brazil::calendar::{HOUR, instant, local_day};
use crate::brazil::reference;
use crate::entity::account::LEAST_INVESTED;
use crate::entity::skeleton::Skeleton;
use crate::entity::stock::ROUND_LOT;
use crate::event::History;
use crate::rng::{Domain, Half, Word, log_normal};

/// Stocks in a portfolio at the most.
const PORTFOLIO: usize = 8;
/// Fees and emoluments of B3, in thousandths of a percent.
const FEES: i64 = 30;
/// Centavos that purchases leave at the least.
const RESERVE: i64 = 20_000;
/// What purchases of the usual kind leave, in percent of what the account began with.
const KEPT: i64 = 99;
/// What purchases leave of what is put by, in percent.
const SAVED: i64 = 60;
/// Centavos that withdrawals leave.
const LEFT: i64 = 30_000;
/// Lots of one order at the most.
const MOST_LOTS: i64 = 10_000;
/// Shares of one stock from which on none is bought.
const MOST_SHARES: i32 = 1 << 30;
/// No note.
const NONE: i32 = i32::MIN;

/// Why the cash of an INVESTIMENTOS account changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CashKind {
    /// The trades of a local day settle, net of purchases, sales and fees.
    Settlement {
        /// The day.
        trade_day: i32,
    },
    /// Money comes from the holder's CORRENTE account.
    Contribution,
    /// Money goes to the holder's account at another bank; where nothing is free, some comes from there, and the
    /// amount is positive.
    Withdrawal,
}

/// A change of the cash of an INVESTIMENTOS account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CashFlow {
    /// When, in milliseconds.
    pub time: i64,
    /// Why.
    pub kind: CashKind,
    /// Centavos: what comes is positive.
    pub amount: i64,
}

/// The orders of an INVESTIMENTOS account and its cash, in the order of time. There are many in memory at a time.
#[derive(Debug, Clone)]
pub struct Investor {
    /// Row of the account.
    pub(super) row: u64,
    /// Centavos that have settled, and those of the notes that have not, the older first.
    settled: i64,
    notes: [i64; 2],
    /// Centavos that purchases of the usual kind leave.
    kept: i64,
    pub(super) sittings: Sittings,
    flows: Flows,
    /// Of each stock of the portfolio.
    shares: [i32; PORTFOLIO],
    /// The days of the notes.
    note_days: [i32; 2],
    /// Stocks by their positions in the reference data, without repetition.
    portfolio: [u8; PORTFOLIO],
    stocks: u8,
    /// Stocks that are held, and those that were bought and sold on the day of the last trade: bits.
    held: u8,
    bought: u8,
    sold: u8,
    /// Buys and sells one stock on one day.
    quick: bool,
}

/// An order that was executed.
#[derive(Debug, Clone, Copy)]
pub struct Trade {
    pub time: i64,
    /// Position of the stock in the reference data.
    pub stock: usize,
    pub selling: bool,
    pub quantity: i32,
    /// Centavos a share.
    pub price: i64,
    /// Centavos.
    pub fees: i64,
    /// What is left of the draws.
    pub how: Half,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
struct Order {
    place: usize,
    selling: bool,
    quantity: i32,
    price: i64,
}

impl Order {
    const fn fees(&self) -> i64 {
        fees_of(self.price * self.quantity as i64)
    }

    /// Centavos that it adds to the cash.
    const fn cash(&self) -> i64 {
        let gross = self.price * self.quantity as i64;
        (if self.selling { gross } else { -gross }) - self.fees()
    }
}

/// Fees of so many centavos, rounded half up.
const fn fees_of(gross: i64) -> i64 {
    (gross * FEES + 50_000) / 100_000
}

/// The first of some places from one on, and then from the first on.
const fn from_on(places: u8, place: usize) -> usize {
    let later = places & (u8::MAX << place);
    (if later == 0 { places } else { later }).trailing_zeros() as usize
}

/// How many of these shares are asked for: round lots from one on, and what people like to say.
fn said(shares: i64, taste: Half) -> i32 {
    let rest = match shares {
        10..100 if taste.chance(5_000) => shares % 10,
        10..100 if taste.chance(7_500) => shares % 5,
        100..1_000 => shares % 100,
        1_000..10_000 => shares % 500,
        10_000.. => shares % 1_000,
        _ => 0,
    };
    (shares - rest) as i32
}

impl Investor {
    /// The investor of the INVESTIMENTOS account of this row, which is opened at an instant with so many centavos:
    /// R$ 500 or more.
    pub fn new(
        history: &History,
        row: u64,
        skeleton: &Skeleton,
        (opened_at, opening): (i64, i64),
    ) -> Self {
        let stocks = &reference().stocks;
        let rng = &history.context.rng;
        let [[level, burst, kind, funds], picks @ ..] =
            rng.fours::<3>(Domain::Trade, row, place::PERSON);
        let since = funded_at(history, opened_at);
        // Enough for an order, whatever is drawn.
        let funds = (opened_at >= history.context.plan.start()).then(|| {
            let more = log_normal(funds.halves().0, skeleton.income as u64, 90) as i64;
            LEAST_INVESTED + more / 10_000 * 10_000
        });
        let (several, quick) = kind.halves();
        let several = 3 + several.below(PORTFOLIO as u32 - 2) as usize;
        let (mut portfolio, mut found) = ([0; PORTFOLIO], 0);
        let mut chosen = 0_u64;
        for word in picks.as_flattened() {
            let stock = stocks.pick_position(*word);
            portfolio[found] = stock as u8;
            found += usize::from(chosen >> stock & 1 == 0);
            chosen |= 1 << stock;
            if found == several {
                break;
            }
        }
        Self {
            row,
            settled: opening,
            notes: [0; 2],
            kept: opening * KEPT / 100,
            sittings: Sittings::new(history, row, skeleton, since, [level, burst]),
            flows: Flows::new(history, row, skeleton, since, funds),
            shares: [0; PORTFOLIO],
            note_days: [NONE; 2],
            portfolio,
            stocks: found as u8,
            held: 0,
            bought: 0,
            sold: 0,
            quick: quick.chance(1_200),
        }
    }

    /// The balance of the account: centavos after the last flow.
    pub const fn settled(&self) -> i64 {
        self.settled
    }

    /// Centavos for purchases.
    const fn cash(&self) -> i64 {
        self.settled + self.notes[0] + self.notes[1]
    }

    /// When the older note settles: between 08:00 and 09:45, before the session.
    fn settlement(&self, history: &History, trade_day: i32) -> i64 {
        let day = history.days.at(trade_day).settlement;
        // Spread over accounts and days by multiplication, which is enough for a time that nothing depends on.
        let place = self.row.wrapping_mul(0x9E37_79B9_7F4A_7C15)
            ^ (day as u64).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let place = Word(place.wrapping_mul(0x94D0_49BB_1331_11EB));
        instant(day, 8 * HOUR + place.below(7 * HOUR as u64 / 4) as i64)
    }

    fn settle_older(&mut self) {
        self.settled += self.notes[0];
        self.notes = [self.notes[1], 0];
        self.note_days = [self.note_days[1], NONE];
    }

    /// Settles what settles until a time of this day, which is not before 10:00.
    #[inline]
    fn settle_until(&mut self, history: &History, day: i32) {
        while self.note_days[0] != NONE && history.days.at(self.note_days[0]).settlement <= day {
            self.settle_older();
        }
    }

    /// When the cash changes next.
    pub fn peek_cash_event(&self, history: &History) -> Option<i64> {
        let trade_day = match self.note_days[0] {
            NONE if self.sittings.time == i64::MAX => None,
            NONE => Some(local_day(self.sittings.time)),
            day => Some(day),
        };
        let settles = trade_day.map_or(i64::MAX, |day| self.settlement(history, day));
        let time = settles.min(self.flows.time);
        (time < history.context.plan.as_of()).then_some(time)
    }

    /// The next change of the cash; orders until then are executed.
    pub fn next_cash_event(&mut self, history: &History, skeleton: &Skeleton) -> Option<CashFlow> {
        let time = self.peek_cash_event(history)?;
        while self.sittings.time < time {
            self.trade(history, skeleton);
        }
        if time >= self.flows.time {
            return Some(self.flow(history, skeleton));
        }
        let (trade_day, amount) = (self.note_days[0], self.notes[0]);
        self.settle_older();
        Some(CashFlow { time, kind: CashKind::Settlement { trade_day }, amount })
    }

    /// Makes the next contribution or withdrawal.
    fn flow(&mut self, history: &History, skeleton: &Skeleton) -> CashFlow {
        let (time, flow) = (self.flows.time, self.flows.next);
        self.settle_until(history, local_day(time));
        let (kind, amount) = match flow {
            Flow::Contribution(amount) => (CashKind::Contribution, amount),
            Flow::Withdrawal(percent) => (CashKind::Withdrawal, -self.withdrawn(percent)),
            Flow::Funding(amount) => (CashKind::Withdrawal, amount),
        };
        self.settled += amount;
        match flow {
            Flow::Contribution(amount) => self.kept += amount * SAVED / 100,
            // What is used up in want is not kept any more; what else is taken comes back by what is sold.
            Flow::Withdrawal(_) if self.sittings.want => self.kept = self.kept.min(self.cash()),
            Flow::Withdrawal(_) => {}
            Flow::Funding(amount) => self.kept = amount * KEPT / 100,
        }
        self.flows.pass(history, self.row, skeleton);
        CashFlow { time, kind, amount }
    }

    /// Centavos of a withdrawal: a round part of what is there now and stays when all has settled.
    fn withdrawn(&self, percent: i64) -> i64 {
        let (first, both) = (self.notes[0], self.notes[0] + self.notes[1]);
        let free = (self.settled + first.min(both).min(0) - LEFT).max(0) * percent / 100;
        match free {
            // Nothing worth the while: R$ 100 or more are brought.
            ..5_000 => -(10_000 + percent * 500 / 5_000 * 5_000),
            5_000..100_000 => free / 5_000 * 5_000,
            100_000..1_000_000 => free / 10_000 * 10_000,
            _ => free / 100_000 * 100_000,
        }
    }

    /// Makes the next trade, and what comes before it.
    #[inline]
    pub(super) fn trade(&mut self, history: &History, skeleton: &Skeleton) -> Trade {
        while self.flows.time <= self.sittings.time {
            self.flow(history, skeleton);
        }
        let time = self.sittings.time;
        let day = local_day(time);
        let draws = self.sittings.draws(history, self.row);
        self.settle_until(history, day);
        let note = match self.note_days {
            [first, _] if first == day => 0,
            [_, second] if second == day => 1,
            days => {
                // Two sessions are the most between a trade and its settlement.
                let free = usize::from(days[0] != NONE);
                debug_assert!(days[free] == NONE);
                self.note_days[free] = day;
                (self.bought, self.sold) = (0, 0);
                free
            }
        };
        let mut order = self.order(history, time, draws);
        if self.notes[note] + order.cash() == 0 {
            order = self.uneven(order);
        }
        let Order { place, selling, quantity, price } = order;
        let fees = order.fees();
        self.notes[note] += order.cash();
        if selling {
            self.shares[place] -= quantity;
            self.sold |= 1 << place;
        } else {
            self.shares[place] += quantity;
            self.bought |= 1 << place;
        }
        self.held = self.held & !(1 << place) | u8::from(self.shares[place] > 0) << place;
        debug_assert!(self.cash() >= 0 && self.shares[place] >= 0);
        let stock = self.portfolio[place].into();
        let [_, _, how, gap] = draws;
        self.sittings.pass(history, self.row, skeleton, Sittings::gap(how, gap));
        Trade { time, stock, selling, quantity, price, fees, how: how.halves().0 }
    }

    fn price(&self, history: &History, place: usize, time: i64) -> i64 {
        history.prices.at(self.portfolio[place].into(), time)
    }

    /// Chooses what is bought or sold, of what the cash and the shares allow.
    #[inline]
    fn order(&mut self, history: &History, time: i64, [what, size, ..]: [Word; 4]) -> Order {
        let ((which, side), (size, taste)) = (what.halves(), size.halves());
        let want = self.sittings.want;
        let (held, bought, sold) = (self.held, self.bought, self.sold);
        let mut place = which.below(self.stocks.into()) as usize;
        let chance = side.below(10_000);
        // One does not sell what one has bought today, nor the other way round, but for a few.
        let fixed = !self.quick && chance % 128 > 0;
        let mut sells = want || chance < 4_500 || fixed && sold >> place & 1 == 1;
        let again = held & bought & !sold;
        if self.quick && again != 0 && chance % 2 == 0 {
            place = again.trailing_zeros() as usize;
            sells = true;
        }
        let for_sale = if fixed && !want { held & !bought } else { held };
        // Who has nothing to sell goes below what is kept.
        if for_sale == 0 || !sells && self.room() > 0 {
            let all = u8::MAX >> (8 - self.stocks);
            // Who has sold all on one day buys some of it back.
            let mut rest = if fixed { all & !sold } else { all };
            if rest == 0 && held == 0 {
                rest = all;
            }
            while rest != 0 {
                place = from_on(rest, place);
                let price = self.price(history, place, time);
                let quantity = self.affordable(price, size, taste);
                if quantity > 0 && self.shares[place] < MOST_SHARES {
                    return Order { place, selling: false, quantity, price };
                }
                rest &= !(1 << place);
            }
            if held == 0 {
                return self.last_resort(history, time, place);
            }
        }
        place = from_on(if for_sale == 0 { held } else { for_sale }, place);
        let price = self.price(history, place, time);
        self.sale(place, price, size, taste)
    }

    /// Centavos above what purchases of the usual kind leave.
    fn room(&self) -> i64 {
        self.cash() - self.kept.max(RESERVE)
    }

    /// How many shares a purchase is. It takes 4 to 25% of the cash, as far as that leaves what is kept but for a 64th of the
    /// cash, or up to 10% for one lot, which need not leave it. One share may cost up to 60%, so that what a share costs
    /// hardly says which stock is bought; 0 if there is no cash for one.
    fn affordable(&self, price: i64, size: Half, taste: Half) -> i32 {
        let (cash, room) = (self.cash(), self.room());
        let percent = 4 + i64::from(size.below(22));
        // Fees are less than a 2 048th.
        let room_or_little = (room - room / 2_048 - 1).max((cash - RESERVE) / 64);
        let budget = (cash * percent / 100).min(room_or_little);
        let lot = price * i64::from(ROUND_LOT);
        let shares = if budget >= lot {
            (budget as u64 / price as u64) as i64
        } else if lot + fees_of(lot) <= (cash - RESERVE).min(cash / 10) && !taste.chance(700) {
            // Most rather buy a whole lot.
            ROUND_LOT.into()
        } else if budget >= price {
            (budget as u64 / price as u64) as i64
        } else {
            i64::from(price + fees_of(price) <= (cash - RESERVE).min(cash * 3 / 5))
        };
        said(shares.min(MOST_LOTS * i64::from(ROUND_LOT)), taste)
    }

    /// Sells some of what is held, or all.
    fn sale(&self, place: usize, price: i64, size: Half, taste: Half) -> Order {
        let held = self.shares[place];
        let all = size.0 % 16 < if self.sittings.want { 2 } else { 10 };
        let percent = 20 + size.below(41);
        let part = (i64::from(held) * i64::from(percent) / 100).max(1);
        let quantity = match (held >= ROUND_LOT, all) {
            (true, true) => held / ROUND_LOT * ROUND_LOT,
            (true, false) => said(part.max(i64::from(ROUND_LOT)), taste),
            (false, true) => held,
            (false, false) => said(part, taste),
        };
        Order { place, selling: true, quantity, price }
    }

    /// The order after which the note is not of nothing: one share less, or one more, or bought instead of sold.
    #[cold]
    fn uneven(&self, order: Order) -> Order {
        let Order { place, selling, quantity, price } = order;
        let more = price * i64::from(quantity + 1);
        let affordable = more + fees_of(more) <= self.cash();
        match quantity {
            2..ROUND_LOT => Order { quantity: quantity - 1, ..order },
            1 if selling && self.shares[place] > 1 => Order { quantity: 2, ..order },
            1 if affordable => Order { selling: false, quantity: 2, ..order },
            _ => order,
        }
    }

    /// One share of the cheapest of all stocks, when nothing is held and the cash is at the reserve.
    #[cold]
    fn last_resort(&mut self, history: &History, time: i64, place: usize) -> Order {
        let prices = (0..reference().stocks.items.len()).map(|one| history.prices.at(one, time));
        let (stock, price) =
            prices.enumerate().min_by_key(|(_, price)| *price).expect("some stocks");
        debug_assert!(price + fees_of(price) <= self.cash() * 3 / 5);
        let known =
            self.portfolio.iter().take(self.stocks.into()).position(|&one| one == stock as u8);
        let place = known.unwrap_or(place);
        self.portfolio[place] = stock as u8;
        Order { place, selling: false, quantity: 1, price }
    }
}

/// How often the cash of an account changes in the history; found without amounts.
pub fn cash_events(history: &History, row: u64, skeleton: &Skeleton, opened_at: i64) -> u32 {
    let mut investor = Investor::new(history, row, skeleton, (opened_at, 0));
    let as_of = history.context.plan.as_of();
    let mut count = 0;
    while investor.flows.time < i64::MAX {
        count += 1;
        investor.flows.pass(history, row, skeleton);
    }
    while investor.sittings.time < i64::MAX {
        let day = local_day(investor.sittings.time);
        count += u32::from(investor.settlement(history, day) < as_of);
        investor.sittings.pass_day(history, row, skeleton);
    }
    count
}
