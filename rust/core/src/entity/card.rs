//! `credit_cards`.

use super::Context;
use super::customer::{Customer, fold};
use super::layout::{Product, customer_of};
use super::skeleton::{NOTICE, Skeleton};
use crate::brazil::calendar::{DAY, HOUR, instant, local_day};
use crate::brazil::data::City;
use crate::brazil::documents::{card_prefix, luhn, write_digits};
use crate::catalog::{Brand, CardStatus, CardStatusReason};
use crate::civil::from_days;
use crate::column::{Nullable, Texts, columns};
use crate::plan::MAX_CUSTOMERS;
use crate::rng::{Domain, Word};

columns! {
    /// Columns of `credit_cards`.
    CreditCardColumns for CREDIT_CARDS {
        card_id: Vec<[u8; 16]>,
        customer_id: Vec<[u8; 16]>,
        brand: Vec<Brand>,
        card_number: Texts,
        holder_name: Texts,
        expiry_month: Vec<i16>,
        expiry_year: Vec<i16>,
        credit_limit: Vec<i64>,
        available_limit: Vec<i64>,
        closing_day: Vec<i16>,
        due_day: Vec<i16>,
        status: Vec<CardStatus>,
        issued_at: Vec<i64>,
        status_reason: Nullable<Vec<CardStatusReason>>,
        status_changed_at: Nullable<Vec<i64>>,
        updated_at: Vec<i64>,
    }
}

/// Characters that fit on a card (ISO/IEC 7813).
const EMBOSSED: usize = 26;

/// How long before the history a card may have been lost, or given back.
const LONGEST_PAST: i64 = 120 * DAY;
/// Days between a card and its loss, at the least.
const SHORTEST_USE: i64 = 20 * DAY;
/// Of 100 000 cards, those issued on a day of the history: about 2% in 90 days.
const ISSUED_A_DAY: u32 = 222;

/// A credit card: what its events depend on.
#[derive(Debug, Clone, Copy)]
pub struct CreditCard {
    /// Row in the table.
    pub row: u64,
    /// Id.
    pub id: [u8; 16],
    /// Limit at the start of the history, in centavos.
    pub limit: i64,
    /// Where its holder lives.
    pub(crate) home: &'static City,
    /// Day of the month on which the bill closes, 1 to 28.
    pub closing_day: u32,
    /// Day of the month on which it is due, 1 to 28.
    pub due_day: u32,
    /// Milliseconds.
    pub issued_at: i64,
    /// Score of the holder.
    pub(crate) score: i16,
    /// Age of the holder in years.
    pub(crate) age: i32,
    /// How it ends, if its holder is not to blame.
    pub(crate) exit: Option<Exit>,
}

/// The end of a card that is lost, misused or given back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exit {
    /// Milliseconds, of whole seconds.
    pub at: i64,
    pub reason: CardStatusReason,
}

/// What a card has besides.
#[derive(Debug, Clone, Copy)]
pub struct Issue {
    brand: Brand,
    /// Chooses the digits that follow from no row.
    prefix: Word,
    /// Months from issue to expiry.
    validity: i32,
}

/// The values of a card that change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Centavos.
    pub limit: i64,
    /// What is left of it, in centavos.
    pub available: i64,
    /// State.
    pub status: CardStatus,
    /// Why, unless it is ACTIVE.
    pub reason: Option<CardStatusReason>,
    /// Since when, in milliseconds, if it has not been ACTIVE from the beginning.
    pub changed_at: Option<i64>,
}

/// The state that a reason brings about.
pub(crate) const fn status_for(reason: CardStatusReason) -> CardStatus {
    match reason {
        CardStatusReason::HolderRequest => CardStatus::Cancelled,
        _ => CardStatus::Blocked,
    }
}

/// The end of a card: that of a leaving customer's time with the bank, or one that is drawn so that as many cards are blocked
/// and cancelled at the end of any history.
fn exit(
    context: &Context,
    life: &Skeleton,
    issued_at: i64,
    state: Word,
    when: Word,
) -> Option<Exit> {
    if let Some(leaves) = life.leaves_at() {
        let at = leaves - (1 + when.below(NOTICE as u64) as i64) * DAY;
        let reason = CardStatusReason::HolderRequest;
        return Some(Exit { at: at / 1_000 * 1_000, reason });
    }
    let reason = match state.below(1000) {
        0..7 => CardStatusReason::Lost,
        7..12 => CardStatusReason::Stolen,
        12..20 => CardStatusReason::FraudSuspected,
        20..38 => CardStatusReason::HolderRequest,
        _ => return None,
    };
    let plan = &context.plan;
    let from = (issued_at + SHORTEST_USE).max(plan.start() - LONGEST_PAST);
    let span = plan.as_of() - from;
    let at = from + when.below(span.max(1) as u64) as i64;
    (span > 0).then_some(Exit { at: at / 1_000 * 1_000, reason })
}

/// When a card was issued: within four years before the history, or in it.
fn issued_at(context: &Context, holder: &Customer, life: &Skeleton, when: Word, lot: Word) -> i64 {
    let plan = &context.plan;
    let (start, days) = (plan.start(), plan.days());
    let time = (when.0 & 0x1FF_FFFF) as i64;
    // None is issued while the accounts are blocked.
    let is_blocked = |at: i64| {
        let (year, month, _) = from_days(local_day(at));
        life.standing(year * 12 + month as i32 - 1).blocked
    };
    if holder.created_at >= start {
        let joined = local_day(holder.created_at);
        let left = (plan.as_of() - holder.created_at) / DAY - 1;
        let at = |days: i32| instant(joined + 1 + days, 9 * HOUR + time);
        let at_last = at(when.below(left.max(1) as u64) as i32);
        return if is_blocked(at_last) { at(0) } else { at_last };
    }
    let (chance, place) = lot.halves();
    if life.leaves_at().is_none() && chance.chance((days * ISSUED_A_DAY / 100).min(4_000)) {
        let day = start + i64::from(place.below(days)) * DAY + DAY / 2;
        let at = instant(local_day(day), 9 * HOUR + time).clamp(start, plan.as_of() - 1_000);
        if !is_blocked(at) {
            return at;
        }
    }
    let tenure = ((start - holder.created_at) / DAY - 1).max(1);
    start - (1 + when.below(tenure.min(4 * 365) as u64) as i64) * DAY + time
}

impl CreditCard {
    /// The card of a row.
    pub fn new(context: &Context, row: u64, holder: &Customer, life: &Skeleton) -> (Self, Issue) {
        let [[brand, prefix, money, dates], [issued, state, lot, left]] =
            context.rng.fours(Domain::CreditCard, row, 0);
        let brand = match brand.below(1000) {
            0..611 => Brand::Mastercard,
            611..932 => Brand::Visa,
            932..975 => Brand::Elo,
            975..996 => Brand::Hipercard,
            _ => Brand::Amex,
        };
        // From half a month's income to four and a half incomes, more for a better score; rounded to
        // R$ 100.
        let score = u64::from(holder.score.unsigned_abs());
        let percent = 50 + money.below(100) + score * score / 3_300;
        let limit = (holder.income * percent / 100 / 10_000 * 10_000).max(30_000);
        let (closing, years) = dates.halves();
        let issued_at = issued_at(context, holder, life, issued, lot);
        let closing_day = 1 + closing.below(28);
        let card = Self {
            row,
            id: context.id(Domain::CreditCard, row),
            limit: limit as i64,
            home: holder.city,
            closing_day,
            // The bill is due ten days after it closes.
            due_day: (closing_day + 9) % 28 + 1,
            issued_at,
            score: holder.score,
            age: (local_day(context.plan.start()) - holder.birth) * 4 / 1_461,
            exit: exit(context, life, issued_at, state, left),
        };
        let issue = Issue {
            brand,
            prefix,
            // Valid for five to eight years.
            validity: 12 * (5 + years.below(4) as i32),
        };
        (card, issue)
    }
}

/// The row of the card with a number, if there is such a card: the digits before the last are those of its row.
pub fn by_number(context: &Context, digits: &[u8]) -> Option<u64> {
    let own = digits.len().checked_sub(9)?;
    let drawn = digits[own..own + 8].iter();
    let place = drawn.fold(0, |number, digit| number * 10 + u64::from(digit.wrapping_sub(b'0')));
    let row = context.card_numbers.invert(place)?;
    let holder = customer_of(context, Product::Card, row);
    let holder = (holder < MAX_CUSTOMERS).then(|| Customer::new(context, holder))?;
    let (_, issue) = CreditCard::new(context, row, &holder, &Skeleton::new(context, &holder));
    (&issue.number(context, row)[..issue.digits()] == digits).then_some(row)
}

impl Issue {
    /// Digits of the number: American Express has 15, the others one more, drawn.
    fn digits(&self) -> usize {
        if self.brand == Brand::Amex { 15 } else { 16 }
    }

    /// The number of the card of a row, and behind it zeros up to 16 digits.
    fn number(&self, context: &Context, row: u64) -> [u8; 16] {
        let (mut number, digits) = ([b'0'; 16], self.digits());
        let prefix = self.prefix.0;
        write_digits(&mut number[..6], u64::from(card_prefix(self.brand, prefix >> 16)));
        if digits == 16 {
            number[6] = b'0' + (prefix % 10) as u8;
        }
        write_digits(&mut number[digits - 9..digits - 1], context.card_numbers.apply(row));
        number[digits - 1] = luhn(&number[..digits - 1]);
        number
    }
}

/// The name in capitals without accents; where it is too long for a card without its particles, and
/// then with initials for the names between the first and the last, from the back.
fn embossed(holder: &Customer) -> Vec<u8> {
    let name = holder.name();
    let mut words: Vec<&str> = Vec::with_capacity(16);
    words.extend(name.iter().flat_map(|piece| piece.split_ascii_whitespace()));
    let letters = |word: &str| word.chars().count();
    let width = |words: &[&str]| words.iter().map(|word| letters(word) + 1).sum::<usize>() - 1;
    let mut used = width(&words);
    if used > EMBOSSED {
        words.retain(|word| !word.as_bytes()[0].is_ascii_lowercase());
        used = width(&words);
    }
    let last = words.len() - 1;
    let mut whole = last;
    while used > EMBOSSED && whole > 1 {
        whole -= 1;
        used -= letters(words[whole]) - 1;
    }
    let mut line = Vec::with_capacity(used);
    for (place, word) in words.iter().enumerate() {
        if place > 0 {
            line.push(b' ');
        }
        let initial = (whole..last).contains(&place);
        line.extend(fold(word).take(if initial { 1 } else { EMBOSSED }));
    }
    line.make_ascii_uppercase();
    line
}

impl CreditCardColumns {
    /// Adds a card; what changes of it is so since an instant.
    pub fn push(
        &mut self,
        context: &Context,
        card: &CreditCard,
        issue: &Issue,
        holder: &Customer,
        (updated_at, standing): (i64, Standing),
    ) {
        let month = |instant| {
            let (year, month, _) = from_days(local_day(instant));
            year * 12 + month as i32 - 1
        };
        let issued = month(card.issued_at);
        // A card that would have expired has been renewed under its number.
        let renewals = (month(context.plan.as_of()) - issued) / issue.validity;
        let expiry = issued + issue.validity * (1 + renewals);
        self.card_id.push(card.id);
        self.customer_id.push(context.id(Domain::Customer, holder.row));
        self.brand.push(issue.brand);
        self.card_number.push_padded([(&issue.number(context, card.row), issue.digits())]);
        self.holder_name.push(str::from_utf8(&embossed(holder)).expect("ASCII"));
        self.expiry_month.push((expiry.rem_euclid(12) + 1) as i16);
        self.expiry_year.push(expiry.div_euclid(12) as i16);
        self.credit_limit.push(standing.limit);
        self.available_limit.push(standing.available);
        self.closing_day.push(card.closing_day as i16);
        self.due_day.push(card.due_day as i16);
        self.status.push(standing.status);
        self.issued_at.push(card.issued_at);
        self.status_reason.push(standing.reason);
        self.status_changed_at.push(standing.changed_at);
        self.updated_at.push(updated_at);
    }
}
