//! `credit_cards`.

use super::Context;
use super::customer::{Customer, fold};
use crate::brazil::calendar::{DAY, local_day};
use crate::brazil::data::City;
use crate::brazil::documents::{card_prefix, luhn, write_digits};
use crate::catalog::{Brand, CardStatus};
use crate::civil::from_days;
use crate::column::{Texts, columns};
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
        updated_at: Vec<i64>,
    }
}

/// Characters that fit on a card (ISO/IEC 7813).
const EMBOSSED: usize = 26;

/// A credit card: what its events depend on. There are many in memory at a time.
#[derive(Debug, Clone, Copy)]
pub struct CreditCard {
    /// Row in the table.
    pub row: u64,
    /// Id.
    pub id: [u8; 16],
    /// Centavos.
    pub limit: i64,
    /// Where its holder lives.
    pub(crate) home: &'static City,
    /// Day of the month on which the bill closes, 1 to 28.
    pub closing_day: u32,
}

/// What a card has besides.
#[derive(Debug, Clone, Copy)]
pub struct Issue {
    brand: Brand,
    number: [u8; 16],
    status: CardStatus,
    /// Months from issue to expiry.
    validity: i32,
    /// Milliseconds.
    pub issued_at: i64,
}

const fn status(state: Word) -> CardStatus {
    match state.below(100) {
        0..3 => CardStatus::Blocked,
        3..5 => CardStatus::Cancelled,
        _ => CardStatus::Active,
    }
}

/// Whether nothing is bought any more with the card of a row; found without its other fields.
pub fn is_cancelled(context: &Context, row: u64) -> bool {
    let [_, state, ..] = context.rng.four(Domain::CreditCard, row, 0, 1);
    status(state) == CardStatus::Cancelled
}

impl CreditCard {
    /// The card of a row.
    pub fn new(context: &Context, row: u64, holder: &Customer) -> (Self, Issue) {
        let [[brand, prefix, money, dates], [issued, state, ..]] =
            context.rng.fours(Domain::CreditCard, row, 0);
        let brand = match brand.below(1000) {
            0..611 => Brand::Mastercard,
            611..932 => Brand::Visa,
            932..975 => Brand::Elo,
            975..996 => Brand::Hipercard,
            _ => Brand::Amex,
        };
        let mut number = [b'0'; 16];
        write_digits(&mut number[..6], u64::from(card_prefix(brand, prefix.0 >> 16)));
        // American Express has 15 digits; the others one more, drawn.
        let length = if brand == Brand::Amex { 15 } else { 16 };
        if length == 16 {
            number[6] = b'0' + (prefix.0 % 10) as u8;
        }
        write_digits(&mut number[length - 9..length - 1], context.card_numbers.apply(row));
        number[length - 1] = luhn(&number[..length - 1]);
        // From two fifths of a month's income to four incomes, more for a better score; rounded to
        // R$ 100.
        let score = u64::from(holder.score.unsigned_abs());
        let percent = 40 + money.below(100) + score * score / 3_500;
        let limit = (holder.income * percent / 100 / 10_000 * 10_000).max(30_000);
        let (closing, years) = dates.halves();
        let days = ((context.plan.start() - holder.created_at) / DAY - 1).max(1);
        let latest_days = days.min(4 * 365);
        let ago = 1 + issued.below(latest_days as u64) as i64;
        let card = Self {
            row,
            id: context.id(Domain::CreditCard, row),
            limit: limit as i64,
            home: holder.city,
            closing_day: 1 + closing.below(28),
        };
        let issue = Issue {
            brand,
            number,
            status: status(state),
            // Valid for five to eight years.
            validity: 12 * (5 + years.below(4) as i32),
            issued_at: context.plan.start() - ago * DAY + (issued.0 & 0x1FF_FFFF) as i64,
        };
        (card, issue)
    }
}

impl Issue {
    fn number(&self) -> &[u8] {
        &self.number[..if self.brand == Brand::Amex { 15 } else { 16 }]
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
    /// Adds a card; `available` is what its open cycle leaves of the limit, since an instant.
    pub fn push(
        &mut self,
        context: &Context,
        card: &CreditCard,
        issue: &Issue,
        holder: &Customer,
        (updated_at, available): (i64, i64),
    ) {
        let month = |instant| {
            let (year, month, _) = from_days(local_day(instant));
            year * 12 + month as i32 - 1
        };
        let issued = month(issue.issued_at);
        // A card that would have expired has been renewed under its number.
        let renewals = (month(context.plan.as_of()) - issued) / issue.validity;
        let expiry = issued + issue.validity * (1 + renewals);
        self.card_id.push(card.id);
        self.customer_id.push(context.id(Domain::Customer, holder.row));
        self.brand.push(issue.brand);
        self.card_number.push_ascii(issue.number());
        self.holder_name.push_ascii(&embossed(holder));
        self.expiry_month.push((expiry.rem_euclid(12) + 1) as i16);
        self.expiry_year.push(expiry.div_euclid(12) as i16);
        self.credit_limit.push(card.limit);
        self.available_limit.push(available);
        self.closing_day.push(card.closing_day as i16);
        // The bill is due ten days after it closes.
        self.due_day.push(((card.closing_day + 9) % 28 + 1) as i16);
        self.status.push(issue.status);
        self.issued_at.push(issue.issued_at);
        self.updated_at.push(updated_at);
    }
}
