//! `banking.card-transactions`.

use super::recurring::Dues;
use super::timeline::purchases_of_a_year;
use super::{Cursor, History, scaled};
use crate::brazil::calendar::{Day, HOUR, instant, local_day, local_time};
use crate::brazil::data::Category;
use crate::brazil::reference;
use crate::catalog::{CardTransactionStatus, Currency, EntryMode};
use crate::civil::to_days;
use crate::column::{Nullable, Texts, columns};
use crate::entity::card::{CreditCard, is_cancelled};
use crate::rng::{Domain, Half, Weighted, Word, fit, log_normal};

columns! {
    /// Columns of `banking.card-transactions`.
    CardTransactionColumns for CARD_TRANSACTIONS {
        card_transaction_id: Vec<[u8; 16]>,
        card_id: Vec<[u8; 16]>,
        merchant_name: Texts,
        mcc: Texts,
        merchant_category: Texts,
        amount: Vec<i64>,
        currency: Vec<Currency>,
        installments: Vec<i16>,
        entry_mode: Vec<EntryMode>,
        merchant_city: Texts,
        merchant_state: Texts,
        status: Vec<CardTransactionStatus>,
        decline_reason: Nullable<Texts>,
        authorization_code: Nullable<Texts>,
        occurred_at: Vec<i64>,
    }
}

/// Purchases in the default number of days, drawn evenly; the mean of 58.31 over the cards that are not
/// cancelled is 57.14 over all.
const PURCHASES: [u32; 16] = [12, 18, 24, 30, 35, 40, 45, 50, 55, 61, 68, 76, 85, 97, 112, 125];
/// Purchases of a card in a month of 30.44 days, in tenths, and a twentieth more for those that fall into
/// one part with another: by so much a share of purchases becomes a chance to have one that comes back.
const MONTHLY_PURCHASES: u64 = 207;
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
    let parts = history.purchases.parts(n);
    let mut dues = subscriptions(history, card, n);
    dues.pass_until(k);
    if let Some(due) = dues.at(history, k) {
        return due.time;
    }
    parts.time(k, draws(history, card.row, k)[0])
}

/// The draws that decide what an event does to the limit.
fn draws(history: &History, row: u64, k: u32) -> [Word; 4] {
    history.context.rng.four(Domain::CardTransaction, row, u64::from(k), 0)
}

/// What people buy, by hour of the day and kind of day.
#[derive(Debug)]
pub struct Shopping {
    /// Categories by hour, on business days and on days off.
    by_hour: [[Weighted; 24]; 2],
    /// Positions of the categories whose purchases come back, with the chance in 10 000 that a card has
    /// one.
    recurring: Vec<(usize, u32)>,
}

impl Shopping {
    /// From the reference data alone. Over a usual year each category keeps its share of purchases, and
    /// each hour its own.
    #[expect(clippy::new_without_default, reason = "it reads files")]
    pub fn new() -> Self {
        let reference = reference();
        let categories = &reference.categories.items;
        // A billion to a part, so that rounding down does not show.
        let fine = |part: u64| part * 1_000_000_000;
        let shares: Vec<u64> =
            categories.iter().map(|c| fine(c.weight * (100 - c.recurring_pct))).collect();
        // By category and hour, of both kinds of day.
        let mut weights: Vec<Vec<u64>> = categories
            .iter()
            .map(|c| reference.hours[c.profile].iter().flatten().copied().map(fine).collect())
            .collect();
        fit(&mut weights, &shares, &purchases_of_a_year().concat());
        let at = |hour: usize| Weighted::new(weights.iter().map(|category| category[hour]));
        let recurring = (0..).zip(categories).filter(|(_, c)| c.recurring_pct > 0);
        Self {
            by_hour: [0, 24].map(|first| std::array::from_fn(|hour| at(first + hour))),
            recurring: recurring
                .map(|(position, c)| {
                    let chance = c.weight * c.recurring_pct * MONTHLY_PURCHASES / 100;
                    (position, chance as u32)
                })
                .collect(),
        }
    }

    #[inline]
    fn category(&self, day: Day, time: i64, draw: Word) -> &'static Category {
        let hour = (local_time(time) / HOUR) as usize;
        let choice = &self.by_hour[usize::from(!day.business)][hour];
        &reference().categories.items[choice.pick(draw)]
    }
}

/// A purchase that comes back every month, on one day, at one merchant, for one amount.
struct Subscription {
    category: &'static Category,
    amount: i64,
    /// Of the month, from 1.
    day: i32,
    /// Of the day, in milliseconds.
    time: i64,
    merchant: Word,
    city: Word,
}

impl Subscription {
    /// The one at a place among the categories whose purchases come back.
    fn new(history: &History, card: &CreditCard, place: usize) -> Self {
        let (position, _) = history.shopping.recurring[place];
        let category = &reference().categories.items[position];
        let draws = u64::MAX - 2 - place as u64;
        let [size, when, merchant, city] =
            history.context.rng.four(Domain::CardTransaction, card.row, draws, 0);
        let (day, time) = when.halves();
        Self {
            category,
            amount: amount_of(category, card, size.halves().0),
            day: 1 + day.below(28) as i32,
            // Merchants run their lists in the morning.
            time: 6 * HOUR + i64::from(time.below(6 * HOUR as u32)),
            merchant,
            city,
        }
    }
}

/// When what a card pays every month is due among its `n` events.
fn subscriptions(history: &History, card: &CreditCard, n: u32) -> Dues {
    // Which of them a card has: a draw of 32 bits for each, of eight at the most.
    let words = history.context.rng.four(Domain::CardTransaction, card.row, u64::MAX - 1, 0);
    let recurring = history.shopping.recurring.iter().enumerate();
    let all: Vec<(usize, Subscription)> = recurring
        .filter(|(place, (_, chance))| {
            let (high, low) = words[place / 2].halves();
            (if place % 2 == 0 { high } else { low }).chance(*chance)
        })
        .map(|(place, _)| (place, Subscription::new(history, card, place)))
        .collect();
    Dues::new(history, &history.purchases.parts(n), n, |month| {
        let first_day = month.first_day;
        all.iter().map(move |(place, s)| (*place, instant(first_day + s.day - 1, s.time)))
    })
}

/// People with a small limit make small purchases.
#[inline]
fn amount_of(category: &Category, card: &CreditCard, size: Half) -> i64 {
    let scale = card.limit.clamp(USUAL_LIMIT / 5, USUAL_LIMIT * 3);
    let usual = log_normal(size, category.median, category.sigma_pct) as i64;
    (usual * scale / USUAL_LIMIT).clamp(category.min as i64, category.max as i64)
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
#[derive(Debug, Clone, Copy)]
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
        history: &History,
        card: &CreditCard,
        subscription: Option<&Subscription>,
        time: i64,
        [_, what, money, merchant]: [Word; 4],
        open: &mut Cycle,
    ) -> Self {
        let (size, draw) = money.halves();
        let day = history.days.at(local_day(time));
        let (category, amount, merchant) = if let Some(subscription) = subscription {
            (subscription.category, subscription.amount, subscription.merchant)
        } else {
            let category = history.shopping.category(day, time, what);
            (category, amount_of(category, card, size), merchant)
        };
        let number = cycle(day, card.closing_day);
        let spent = open.spent_in(number);
        let refused = draw.chance(150);
        let approved = !refused && spent + amount <= card.limit;
        *open = Cycle { number, spent: spent + if approved { amount } else { 0 } };
        Self { time, category, amount, approved, refused, draw, merchant }
    }
}

/// The billing cycle of a local day, as a number of months; it ends with the closing day.
const fn cycle(day: Day, closing_day: u32) -> i32 {
    day.month + (day.day_of_month > closing_day) as i32
}

/// The local day on which a billing cycle begins: that after the closing day of the month before.
fn first_day(cycle: i32, closing_day: u32) -> i32 {
    let month = cycle - 1;
    to_days(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, closing_day) + 1
}

/// The purchases with a card, one after the other.
#[derive(Debug, Clone)]
pub struct Purchases {
    card: CreditCard,
    n: u32,
    k: u32,
    /// Of event `k`.
    time: i64,
    open: Cycle,
    dues: Dues,
}

impl Purchases {
    /// All purchases with a card in this history.
    pub fn new(history: &History, card: CreditCard) -> Self {
        let n = count(history, &card);
        let mut purchases = Self {
            n,
            k: 0,
            time: 0,
            open: Cycle { number: 0, spent: 0 },
            dues: subscriptions(history, &card, n),
            card,
        };
        let [when, ..] = draws(history, purchases.card.row, 0);
        purchases.time = purchases.time_of_next(history, when);
        purchases
    }

    /// The card.
    pub const fn card(&self) -> &CreditCard {
        &self.card
    }

    /// What the purchases so far leave of the limit, until their cycle closes.
    pub const fn available(&self) -> i64 {
        self.card.limit - self.open.spent
    }

    /// The last instant of the cycle in which something was spent: nothing is carried into the next.
    pub fn closing(&self) -> Option<i64> {
        (self.open.spent > 0)
            .then(|| instant(first_day(self.open.number + 1, self.card.closing_day), 0) - 1)
    }

    /// Closes that cycle.
    pub const fn close(&mut self) {
        self.open.spent = 0;
    }

    /// Goes to the first purchase of so many cycles before the one that is open at an instant, when nothing has been
    /// spent; false if that is before the history.
    pub fn begin_before(&mut self, history: &History, at: i64, cycles: i32) -> bool {
        let plan = &history.context.plan;
        let day = history.days.at(local_day(at.clamp(plan.start(), plan.as_of())));
        let last = cycle(day, self.card.closing_day);
        let begins = instant(first_day(last - cycles, self.card.closing_day), 0);
        if begins <= plan.start() || self.n == 0 {
            return false;
        }
        self.k = history.purchases.parts(self.n).holding(begins);
        self.dues.pass_until(self.k);
        let [when, ..] = draws(history, self.card.row, self.k);
        self.time = self.time_of_next(history, when);
        self.skip_until(history, begins);
        self.open.spent = 0;
        true
    }

    /// The time of event `k`, which `when` places within its part.
    fn time_of_next(&self, history: &History, when: Word) -> i64 {
        if self.k == self.n {
            return i64::MAX;
        }
        let due = self.dues.at(history, self.k);
        due.map_or_else(|| history.purchases.parts(self.n).time(self.k, when), |due| due.time)
    }

    /// What is due in the place of the next event.
    #[inline]
    fn subscription(&self, history: &History) -> Option<Subscription> {
        let due = self.dues.at(history, self.k)?;
        Some(Subscription::new(history, &self.card, due.what))
    }

    /// Makes the next purchase by its draws; `when` places the one after it.
    #[inline]
    fn step(
        &mut self,
        history: &History,
        subscription: Option<&Subscription>,
        draws: [Word; 4],
        when: Word,
    ) -> Purchase {
        let (card, time) = (&self.card, self.time);
        let purchase = Purchase::new(history, card, subscription, time, draws, &mut self.open);
        if subscription.is_some() {
            self.dues.pass();
        }
        self.k += 1;
        self.time = self.time_of_next(history, when);
        purchase
    }
}

impl Cursor for Purchases {
    type Columns = CardTransactionColumns;

    fn id(&self) -> [u8; 16] {
        self.card.id
    }

    #[inline]
    fn peek(&self) -> Option<i64> {
        (self.k < self.n).then_some(self.time)
    }

    fn skip(&mut self, history: &History) {
        let subscription = self.subscription(history);
        let places = [(u64::from(self.k), 0), (u64::from(self.k) + 1, 0)];
        let [draws, [when, ..]] =
            history.context.rng.fours_at(Domain::CardTransaction, self.card.row, places);
        self.step(history, subscription.as_ref(), draws, when);
    }

    #[inline]
    fn next(&mut self, history: &History, columns: &mut CardTransactionColumns) {
        let (k, row) = (self.k, self.card.row);
        let places = [(u64::from(k), 0), (u64::from(k) + 1, 0), (u64::from(k), 1)];
        let [draws, [when, ..], [place, rest, code, _]] =
            history.context.rng.fours_at(Domain::CardTransaction, row, places);
        let subscription = self.subscription(history);
        let purchase = self.step(history, subscription.as_ref(), draws, when);
        let Purchase { category, amount, approved, .. } = purchase;
        let (parcels, away) = rest.halves();
        // No card is shown for a recurring purchase.
        let (mode, place, parcels) = match subscription {
            Some(subscription) => (EntryMode::Ecommerce, subscription.city, 1),
            None => (
                entry_mode(category, purchase.draw),
                place,
                installments(category, amount, parcels),
            ),
        };
        // Shops are near home, but for one in twelve; most of those online are anywhere.
        let elsewhere = if mode == EntryMode::Ecommerce { category.far } else { away.chance(800) };
        let city = if elsewhere { reference().cities.pick(place) } else { self.card.home };

        let id = history.context.event_id(Domain::CardTransaction, row, k);
        columns.card_transaction_id.push(id);
        columns.card_id.push(self.card.id);
        let merchant = category.merchants.pick(purchase.merchant);
        columns.merchant_name.push_padded([merchant.name.padded()]);
        columns.mcc.push_ascii(&category.mcc);
        columns.merchant_category.push_padded([category.name.padded()]);
        columns.amount.push(amount);
        columns.currency.push(Currency::Brl);
        columns.installments.push(parcels);
        columns.entry_mode.push(mode);
        columns.merchant_city.push_padded([city.name.padded()]);
        columns.merchant_state.push_ascii(&city.state);
        columns.status.push(if approved {
            CardTransactionStatus::Approved
        } else {
            CardTransactionStatus::Declined
        });
        columns.decline_reason.push(match (approved, purchase.refused) {
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
            columns.authorization_code.push_ascii(&letters);
        } else {
            columns.authorization_code.push(None);
        }
        columns.occurred_at.push(purchase.time);
    }
}

fn entry_mode(category: &Category, draw: Half) -> EntryMode {
    let (online, way) = (draw.0 % 100, draw.0 / 100 % 100);
    match way {
        _ if online < category.ecommerce_pct => EntryMode::Ecommerce,
        0..56 => EntryMode::Contactless,
        56..98 => EntryMode::Chip,
        _ => EntryMode::Magstripe,
    }
}

fn installments(category: &Category, amount: i64, draw: Half) -> i16 {
    if category.max_installments < 2 || amount < WORTH_PARCELLING || !draw.chance(4_500) {
        return 1;
    }
    2 + (draw.0 % (category.max_installments - 1)) as i16
}
