//! `banking.card-transactions`.

use super::{History, scaled};
use crate::brazil::calendar::{instant, local_day};
use crate::brazil::data::{Category, City};
use crate::brazil::reference;
use crate::civil::{from_days, to_days};
use crate::column::{Nullable, Texts, columns};
use crate::entity::card::{CreditCard, is_cancelled};
use crate::rng::{Domain, Half, Word, log_normal};

columns! {
    /// Columns of `banking.card-transactions`.
    CardTransactionColumns for "banking.card-transactions" {
        card_transaction_id: Vec<[u8; 16]>,
        card_id: Vec<[u8; 16]>,
        merchant_name: Texts,
        mcc: Texts,
        merchant_category: Texts,
        amount: Vec<i64>,
        currency: Vec<u8>,
        installments: Vec<i16>,
        entry_mode: Vec<u8>,
        merchant_city: Texts,
        merchant_state: Texts,
        status: Vec<u8>,
        decline_reason: Nullable<Texts>,
        authorization_code: Nullable<Texts>,
        occurred_at: Vec<i64>,
    }
}

// Positions in the catalogue's lists.
const CHIP: u8 = 0;
const CONTACTLESS: u8 = 1;
const ECOMMERCE: u8 = 2;
const MAGSTRIPE: u8 = 3;
const APPROVED: u8 = 0;
const DECLINED: u8 = 1;

/// Purchases in the default number of days, drawn evenly; the mean of 58.31 over the cards that are not
/// cancelled is 57.14 over all.
const PURCHASES: [u32; 16] = [12, 18, 24, 30, 35, 40, 45, 50, 55, 61, 68, 76, 85, 97, 112, 125];
/// Why a purchase within the limit may be declined.
const REASONS: [&str; 4] =
    ["SUSPECTED_FRAUD", "INVALID_PIN", "ISSUER_UNAVAILABLE", "MERCHANT_NOT_ALLOWED"];
/// Limit at which purchases have the amounts of their category, in centavos.
const USUAL_LIMIT: i64 = 400_000;
/// Purchases from here on are often paid in installments.
const WORTH_PARCELLING: i64 = 15_000;

/// How many purchases a card has.
pub fn count(history: &History, card: &CreditCard) -> u32 {
    count_of(history, card.row)
}

/// The same by its row.
pub fn count_of(history: &History, row: u64) -> u32 {
    if is_cancelled(&history.context, row) {
        return 0;
    }
    let [draw, ..] = history.context.rng.four(Domain::CardTransaction, row, u64::MAX, 0);
    let (place, lot) = draw.halves();
    scaled(PURCHASES[place.below(16) as usize], &history.context.plan, lot)
}

/// The time of event `k` of the `n` of a card, in milliseconds; found without its other
/// fields.
pub fn time(history: &History, card: &CreditCard, k: u32, n: u32) -> i64 {
    let [when, ..] = history.context.rng.four(Domain::CardTransaction, card.row, u64::from(k), 0);
    history.purchases.parts(n).time(k, when)
}

/// The billing cycle of a local day, as a number of months; it ends with the closing day.
fn cycle(day: i32, closing_day: u32) -> i32 {
    let (year, month, day_of_month) = from_days(day);
    year * 12 + month as i32 + i32::from(day_of_month > closing_day)
}

/// What an event does to the limit.
struct Purchase {
    time: i64,
    category: &'static Category,
    amount: i64,
    approved: bool,
    /// Declined although the limit would do.
    refused: bool,
    /// What is left of its draws.
    draw: Half,
    merchant: Word,
}

/// What has been spent in the open cycle.
#[derive(Clone, Copy)]
struct Cycle {
    number: i32,
    spent: i64,
}

impl Cycle {
    const fn spent_in(self, number: i32) -> i64 {
        if self.number == number { self.spent } else { 0 }
    }
}

impl Purchase {
    fn new(
        card: &CreditCard,
        time: i64,
        [_, what, money, merchant]: [Word; 4],
        open: &mut Cycle,
    ) -> Self {
        let category = reference().categories.pick(what);
        let (size, draw) = money.halves();
        // People with a small limit make small purchases.
        let scale = card.limit.clamp(USUAL_LIMIT / 5, USUAL_LIMIT * 3);
        let usual = log_normal(size, category.median, category.sigma_pct) as i64;
        let amount = (usual * scale / USUAL_LIMIT).clamp(category.min as i64, category.max as i64);
        let number = cycle(local_day(time), card.closing_day);
        let spent = open.spent_in(number);
        let refused = draw.chance(150);
        let approved = !refused && spent + amount <= card.limit;
        *open = Cycle { number, spent: spent + if approved { amount } else { 0 } };
        Self { time, category, amount, approved, refused, draw, merchant }
    }
}

/// The local day on which a billing cycle begins: that after the closing day of the month before.
fn first_day(cycle: i32, closing_day: u32) -> i32 {
    let month = cycle - 2;
    to_days(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, closing_day) + 1
}

/// What the cycle that is open when the history ends leaves of the limit.
pub fn available_limit(history: &History, card: &CreditCard) -> i64 {
    let mut open = Cycle { number: 0, spent: 0 };
    let n = count(history, card);
    let parts = history.purchases.parts(n);
    let last = cycle(local_day(history.context.plan.as_of()), card.closing_day);
    // Nothing is carried from one cycle into the next.
    let begins = instant(first_day(last, card.closing_day), 0);
    let first = if begins > history.context.plan.start() { parts.holding(begins) } else { 0 };
    for k in first..n {
        let draws = history.context.rng.four(Domain::CardTransaction, card.row, u64::from(k), 0);
        Purchase::new(card, parts.time(k, draws[0]), draws, &mut open);
    }
    card.limit - open.spent_in(last)
}

fn entry_mode(category: &Category, draw: Half) -> u8 {
    let (online, way) = (draw.0 % 100, draw.0 / 100 % 100);
    match way {
        _ if online < category.ecommerce_pct => ECOMMERCE,
        0..56 => CONTACTLESS,
        56..98 => CHIP,
        _ => MAGSTRIPE,
    }
}

fn installments(category: &Category, amount: i64, draw: Half) -> i16 {
    if category.max_installments < 2 || amount < WORTH_PARCELLING || !draw.chance(4_500) {
        return 1;
    }
    2 + (draw.0 % (category.max_installments - 1)) as i16
}

impl CardTransactionColumns {
    /// Adds all purchases of a card whose holder lives in `home`.
    pub fn push(&mut self, history: &History, card: &CreditCard, home: &City) {
        let n = count(history, card);
        let parts = history.purchases.parts(n);
        let mut open = Cycle { number: 0, spent: 0 };
        for k in 0..n {
            let [draws, [place, rest, code, _]] =
                history.context.rng.fours(Domain::CardTransaction, card.row, u64::from(k));
            let purchase = Purchase::new(card, parts.time(k, draws[0]), draws, &mut open);
            let Purchase { category, amount, approved, .. } = purchase;
            let (parcels, away) = rest.halves();
            let mode = entry_mode(category, purchase.draw);
            // Shops are near home, but for one in twelve; those online are anywhere.
            let elsewhere = mode == ECOMMERCE || away.chance(800);
            let city = if elsewhere { reference().cities.pick(place) } else { home };

            self.card_transaction_id.push(history.context.event_id(
                Domain::CardTransaction,
                card.row,
                k,
            ));
            self.card_id.push(card.id);
            self.merchant_name.push_padded([category
                .merchants
                .pick(purchase.merchant)
                .label
                .padded()]);
            self.mcc.push_ascii(&category.mcc);
            self.merchant_category.push_padded([category.name.padded()]);
            self.amount.push(amount);
            self.currency.push(0);
            self.installments.push(installments(category, amount, parcels));
            self.entry_mode.push(mode);
            self.merchant_city.push_padded([city.name.padded()]);
            self.merchant_state.push_ascii(&city.state);
            self.status.push(if approved { APPROVED } else { DECLINED });
            self.decline_reason.push(match (approved, purchase.refused) {
                (true, _) => None,
                (false, true) => Some(REASONS[(code.0 % 4) as usize]),
                (false, false) => Some("INSUFFICIENT_LIMIT"),
            });
            if approved {
                let mut letters = [0; 6];
                let mut rest = code.0;
                for letter in &mut letters {
                    *letter = b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"[(rest % 34) as usize];
                    rest /= 34;
                }
                self.authorization_code.push_ascii(&letters);
            } else {
                self.authorization_code.push(None);
            }
            self.occurred_at.push(purchase.time);
        }
    }
}
