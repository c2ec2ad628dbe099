//! `banking.card-transactions`.
//!
//! When a card is used, and how often, is drawn month by month ([`agenda`]); what is bought is drawn then, and what
//! becomes of it is a fold over the card's purchases and bills ([`bill`]).

mod agenda;
mod bill;
mod facts;
mod merchant;
mod shopping;
mod woven;

pub use bill::Payment;
pub use merchant::{MerchantFacts, merchant};
pub use shopping::Shopping;
pub use woven::{Woven, woven};

use super::{Cursor, History};
use crate::brazil::calendar::local_day;
use crate::brazil::data::{Category, Label};
use crate::catalog::{CardTransactionStatus, Currency, EntryMode};
use crate::column::{Nullable, Texts, columns};
use crate::entity::card::{CreditCard, Standing};
use crate::entity::skeleton::Skeleton;
use crate::rng::{Domain, Half, Word};
use agenda::{Agenda, Next, Place, WOVEN, number};
use bill::Bills;
use facts::Facts;
use merchant::Merchant;

columns! {
    /// Columns of `banking.card-transactions`.
    CardTransactionColumns for CARD_TRANSACTIONS {
        card_transaction_id: Vec<[u8; 16]>,
        card_id: Vec<[u8; 16]>,
        merchant_id: Vec<[u8; 16]>,
        merchant_name: Texts,
        merchant_document: Texts,
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

/// Why a purchase within the limit may be declined; the last where a PIN is entered.
const REASONS: [&str; 4] =
    ["SUSPECTED_FRAUD", "ISSUER_UNAVAILABLE", "MERCHANT_NOT_ALLOWED", "INVALID_PIN"];
/// Of 100 people, those who know what their limit leaves.
const AWARE: u32 = 85;
/// Of 10 000 purchases, those declined for such a reason.
const REFUSED: u32 = 150;

/// How many purchases a card has; found without making them.
pub fn count(history: &History, card: &CreditCard, skeleton: &Skeleton) -> u32 {
    agenda::count(history, &Facts::new(history, card, skeleton))
}

/// When the bills of a card are paid in the history, in milliseconds and in no order; found without any amount.
pub fn payments(history: &History, card: &CreditCard, skeleton: &Skeleton) -> Vec<i64> {
    Facts::new(history, card, skeleton).payments(history)
}

/// The times of the purchases with a card, in milliseconds; found without their other fields.
pub fn times(
    history: &History,
    card: &CreditCard,
    skeleton: &Skeleton,
) -> impl Iterator<Item = i64> {
    let facts = Facts::new(history, card, skeleton);
    let mut agenda = Agenda::new(history, &facts);
    std::iter::from_fn(move || {
        let time = agenda.peek()?;
        let when = after(history, &facts, &agenda);
        agenda.pass(history, &facts, when);
        Some(time)
    })
}

/// The draw that places the purchase after the next.
fn after(history: &History, facts: &Facts, agenda: &Agenda) -> Word {
    let Next::Bought(j) = agenda.what() else { return Word(0) };
    let k = number(agenda.month(), j + 1);
    history.context.rng.four(Domain::CardTransaction, facts.row.into(), k, 0)[0]
}

/// What becomes of a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Approved,
    /// Its card is blocked.
    Blocked,
    /// More than the limit leaves.
    Insufficient,
    /// For another reason.
    Refused,
}

/// A purchase, as far as the limit depends on it.
struct Purchase {
    category: &'static Category,
    amount: i64,
    parcels: i16,
    verdict: Verdict,
    place: Place,
    /// What is left of its draws.
    draw: Half,
    rank: Half,
}

/// A purchase as an event.
pub struct Bought {
    k: u32,
    /// It comes back every month.
    recurs: bool,
    time: i64,
    purchase: Purchase,
    /// The draw of the authorization code, or of the reason why there is none.
    code: Word,
}

/// A purchase that comes back every month, at one merchant, for one amount.
struct Subscription {
    category: &'static Category,
    amount: i64,
    rank: Half,
}

impl Subscription {
    /// The one at a place among the categories whose purchases come back.
    fn new(history: &History, facts: &Facts, place: u32) -> Self {
        let category = history.shopping.recurring(place);
        let draws = u64::MAX - 2 - u64::from(place);
        let [size, merchant, ..] =
            history.context.rng.four(Domain::CardTransaction, facts.row.into(), draws, 0);
        let (rate, budget) = facts.usual();
        let scale = history.shopping.scale(budget, rate);
        Self {
            category,
            amount: category.amount(scale, size.halves().0),
            rank: merchant.halves().0,
        }
    }
}

/// The draws of the purchase that comes next, where the one before has asked for them already: they say when it is.
/// Who passes one purchase after the other keeps them, so that none are drawn twice.
#[derive(Debug, Clone, Default)]
pub struct Ahead {
    number: u64,
    draws: [Word; 4],
}

impl Ahead {
    /// The draws of a purchase, and the one that places the purchase after it.
    #[inline]
    fn pass(&mut self, history: &History, facts: &Facts, this: u64) -> ([Word; 4], Word) {
        let (rng, row) = (&history.context.rng, u64::from(facts.row));
        let (draws, next) = if self.number == this {
            (self.draws, rng.four(Domain::CardTransaction, row, this + 1, 0))
        } else {
            let places = [(this, 0), (this + 1, 0)];
            rng.fours_at(Domain::CardTransaction, row, places).into()
        };
        *self = Self { number: this + 1, draws: next };
        (draws, next[0])
    }

    /// The same, and the draw of the authorization code.
    #[inline]
    fn pass_with_code(
        &mut self,
        history: &History,
        facts: &Facts,
        this: u64,
    ) -> ([Word; 4], Word, Word) {
        let (rng, row) = (&history.context.rng, u64::from(facts.row));
        let (draws, next, [code, ..]) = if self.number == this {
            let places = [(this + 1, 0), (this, 1)];
            let [next, more] = rng.fours_at(Domain::CardTransaction, row, places);
            (self.draws, next, more)
        } else {
            let places = [(this, 0), (this + 1, 0), (this, 1)];
            rng.fours_at(Domain::CardTransaction, row, places).into()
        };
        *self = Self { number: this + 1, draws: next };
        (draws, next[0], code)
    }
}

/// The purchases with a card, one after the other, and its bills.
#[derive(Debug, Clone)]
pub struct Purchases {
    id: [u8; 16],
    facts: Facts,
    agenda: Agenda,
    bills: Bills,
}

impl Purchases {
    /// All purchases with a card in this history, as at its start.
    pub fn new(history: &History, card: &CreditCard, skeleton: &Skeleton) -> Self {
        let mut purchases = Self::since_issue(history, card, skeleton);
        let start = history.context.plan.start();
        while purchases.bills.peek() < start {
            purchases.bills.pass(history, &purchases.facts);
        }
        purchases
    }

    /// The same, and what happens to the card before the history comes first.
    pub fn since_issue(history: &History, card: &CreditCard, skeleton: &Skeleton) -> Self {
        let facts = Facts::new(history, card, skeleton);
        let agenda = Agenda::new(history, &facts);
        let bills = Bills::new(history, &facts, card);
        Self { id: card.id, facts, agenda, bills }
    }

    /// What changes of the card's row, as it is now.
    pub fn standing(&self) -> Standing {
        self.bills.standing()
    }

    /// When something else than a purchase happens next, in milliseconds: a bill closes or is paid, or the status
    /// changes. It may be after the history.
    pub fn next_beside(&self) -> i64 {
        self.bills.peek()
    }

    /// Passes that.
    pub fn pass_beside(&mut self, history: &History) -> Option<Payment> {
        self.bills.pass(history, &self.facts)
    }

    /// The next payment of a bill before an instant of the history; passes it, and all before it. What comes after the last
    /// that a payment depends on is not looked at.
    pub fn next_payment(&mut self, history: &History, until: i64) -> Option<Payment> {
        let mut ahead = Ahead::default();
        while self.bills.are_paid_again(history, &self.facts, until) {
            let beside = self.next_beside();
            while self.peek().is_some_and(|purchase| purchase < beside) {
                self.pass(history, &mut ahead);
            }
            if let Some(payment) = self.pass_beside(history) {
                return Some(payment);
            }
        }
        None
    }

    /// Passes the next purchase: only what those after it depend on is made.
    pub fn pass(&mut self, history: &History, ahead: &mut Ahead) {
        match self.agenda.what() {
            Next::Bought(j) => {
                let this = number(self.agenda.month(), j);
                let (draws, when) = ahead.pass(history, &self.facts, this);
                self.buy(history, draws, when);
            }
            Next::Recurring(place) => {
                self.renew(history, place);
            }
        }
    }

    /// The same, with all that its columns follow from.
    #[inline]
    fn take_with(&mut self, history: &History, ahead: &mut Ahead) -> Bought {
        let (k, time) = (self.agenda.k, self.agenda.peek().expect("a purchase"));
        match self.agenda.what() {
            Next::Bought(j) => {
                let this = number(self.agenda.month(), j);
                let (draws, when, code) = ahead.pass_with_code(history, &self.facts, this);
                let purchase = self.buy(history, draws, when);
                Bought { k, recurs: false, time, purchase, code }
            }
            Next::Recurring(place) => {
                let purchase = self.renew(history, place);
                let code = Word(self.facts.hash(history, time as u64 + 1));
                Bought { k, recurs: place < WOVEN, time, purchase, code }
            }
        }
    }

    /// Passes what else happens until an instant, which belongs to it.
    #[inline]
    fn catch_up(&mut self, history: &History, until: i64) {
        while self.bills.peek() <= until {
            self.bills.pass(history, &self.facts);
        }
    }

    /// Makes the purchase of a month by its draws, and passes it.
    #[inline]
    fn buy(
        &mut self,
        history: &History,
        [_, what, money, rest]: [Word; 4],
        when: Word,
    ) -> Purchase {
        let time = self.agenda.peek().expect("a purchase");
        self.catch_up(history, time);
        let ((size, draw), (rank, lot)) = (money.halves(), rest.halves());
        let place = self.agenda.whereabouts();
        let category = if place == Place::OnTheWay {
            history.shopping.on_the_way(what)
        } else {
            history.shopping.category(history.days.at(local_day(time)), time, what)
        };
        let amount = self.affordable(category, size);
        let parcels = category.parcels(amount, lot);
        let verdict = self.judge(amount, parcels, draw);
        self.agenda.pass(history, &self.facts, when);
        Purchase { category, amount, parcels, verdict, place, draw, rank }
    }

    /// The amount of a purchase: who knows that the limit will not do mostly buys something smaller.
    #[inline]
    fn affordable(&self, category: &Category, size: Half) -> i64 {
        let (amount, available) =
            (category.amount(self.agenda.scale, size), self.bills.available());
        if amount <= available || size.0 % 100 >= AWARE {
            return amount;
        }
        let another = Half(size.0.wrapping_mul(0x9E37_79B9) >> 1);
        let smaller = category.amount(self.agenda.scale, another);
        if smaller <= available { smaller } else { amount }
    }

    /// Makes one that comes back, and passes it.
    fn renew(&mut self, history: &History, place: u32) -> Purchase {
        if place >= WOVEN {
            return self.buy_woven(history, place);
        }
        let time = self.agenda.peek().expect("a purchase");
        self.catch_up(history, time);
        let subscription = Subscription::new(history, &self.facts, place);
        let Subscription { category, amount, rank } = subscription;
        let draw = Half(self.facts.hash(history, time as u64) as u32);
        let verdict = self.judge(amount, 1, draw);
        self.agenda.pass(history, &self.facts, Word(0));
        Purchase { category, amount, parcels: 1, verdict, place: Place::Home, draw, rank }
    }

    #[inline]
    fn judge(&mut self, amount: i64, parcels: i16, draw: Half) -> Verdict {
        if self.bills.is_blocked() {
            Verdict::Blocked
        } else if draw.chance(REFUSED) {
            Verdict::Refused
        } else if amount > self.bills.available() {
            Verdict::Insufficient
        } else {
            self.bills.owe(amount, parcels.into());
            Verdict::Approved
        }
    }

    /// How the card is read, and where.
    #[inline]
    fn merchant(
        &self,
        history: &History,
        purchase: &Purchase,
        recurs: bool,
    ) -> (EntryMode, Merchant) {
        let Purchase { category, place, .. } = *purchase;
        let (online, way) = (purchase.draw.0 % 100, purchase.draw.0 / 100 % 1_000);
        // What is hardly bought otherwise is bought online by people of any age.
        let share = match category.ecommerce_pct {
            share @ 90.. => share,
            share => (share * u32::from(self.facts.online) / 100).min(95),
        };
        let rank = history.shopping.rank(category, purchase.rank);
        let at = match place {
            Place::Away(city) => city,
            _ => self.facts.home().index as u16,
        };
        // Of purchases in person 72.8% are contactless (Abecs, 3rd quarter of 2025).
        let mode = match way {
            _ if recurs || place == Place::OnTheWay || online < share => EntryMode::Ecommerce,
            0..728 => EntryMode::Contactless,
            728..986 => EntryMode::Chip,
            _ => EntryMode::Magstripe,
        };
        let merchant = if mode == EntryMode::Ecommerce && category.far {
            Merchant::from_afar(history, &self.facts, category, rank)
        } else {
            Merchant::favourite(history, &self.facts, category, at, rank)
        };
        (mode, merchant)
    }
}

impl Cursor for Purchases {
    type Columns = CardTransactionColumns;
    type Event = Bought;

    fn id(&self) -> [u8; 16] {
        self.id
    }

    #[inline]
    fn peek(&self) -> Option<i64> {
        self.agenda.peek()
    }

    fn skip(&mut self, history: &History) {
        self.pass(history, &mut Ahead::default());
    }

    fn skip_until(&mut self, history: &History, until: i64) {
        let mut ahead = Ahead::default();
        while self.peek().is_some_and(|time| time < until) {
            self.pass(history, &mut ahead);
        }
    }

    fn take(&mut self, history: &History) -> Bought {
        self.take_with(history, &mut Ahead::default())
    }

    fn take_until(&mut self, history: &History, until: i64, events: &mut Vec<Bought>) {
        let mut ahead = Ahead::default();
        while self.peek().is_some_and(|time| time < until) {
            events.push(self.take_with(history, &mut ahead));
        }
    }

    fn write(&self, history: &History, event: &Bought, columns: &mut CardTransactionColumns) {
        let &Bought { k, recurs, time, ref purchase, code } = event;
        let (mode, merchant) = self.merchant(history, purchase, recurs);
        let category = purchase.category;
        let row = u64::from(self.facts.row);
        let id = history.context.event_id(Domain::CardTransaction, row, k);
        columns.card_transaction_id.push(id);
        columns.card_id.push(self.id);
        columns.merchant_id.push(merchant.id(history));
        columns.merchant_name.push_padded(merchant.name.map(Label::padded));
        columns.merchant_document.push_ascii(&merchant.document);
        columns.mcc.push_ascii(&category.mcc);
        columns.merchant_category.push_padded([category.name.padded()]);
        columns.amount.push(purchase.amount);
        columns.currency.push(Currency::Brl);
        columns.installments.push(purchase.parcels);
        columns.entry_mode.push(mode);
        columns.merchant_city.push_padded([merchant.city.name.padded()]);
        columns.merchant_state.push_ascii(&merchant.city.state);
        columns.occurred_at.push(time);
        let reason = match purchase.verdict {
            Verdict::Approved => {
                columns.status.push(CardTransactionStatus::Approved);
                columns.decline_reason.push(None);
                let mut letters = [0; 6];
                // Halves of words are divided faster.
                let mut rest = (code.0 % 34_u64.pow(6)) as u32;
                for letter in &mut letters {
                    *letter = b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"[(rest % 34) as usize];
                    rest /= 34;
                }
                return columns.authorization_code.push_ascii(&letters);
            }
            Verdict::Blocked => "CARD_BLOCKED",
            Verdict::Insufficient => "INSUFFICIENT_LIMIT",
            Verdict::Refused => {
                let reasons = if mode == EntryMode::Chip { 4 } else { 3 };
                REASONS[(code.0 % reasons) as usize]
            }
        };
        columns.status.push(CardTransactionStatus::Declined);
        columns.decline_reason.push(Some(reason));
        columns.authorization_code.push(None);
    }
}
