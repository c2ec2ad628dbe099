//! `banking.transactions`: the ledger of an account.
//!
//! A ledger plans a month at a time. What falls due in the month is known beforehand (incomes, bills, what other
//! products of the customer ask for, payments between customers), and so is how much else happens; times and counts follow
//! from no balance. Amounts of the rest do: nobody spends what must be paid before the next month, and two
//! movements to and from an account elsewhere keep what is left near what is usual.

mod amounts;
mod counterparty;
mod feeds;
mod inside;
mod month;
mod movement;
mod output;
mod routine;
mod woven;

pub use feeds::{Claims, Feeds};
pub use inside::{CIRCLE, Masks, partner_at};
pub use woven::Passed;

use std::num::NonZeroU32;

use month::{Due, Prospect, What, clip};
use movement::Movement;
use output::OtherSide;
use routine::Habits;

use super::{Cursor, History, prefetch};
use crate::brazil::data::Payer;
use crate::catalog::Channel;
use crate::catalog::Direction;
use crate::catalog::TransactionStatus;
use crate::catalog::TransactionType;
use crate::catalog::{Currency, PixKeyType};
use crate::column::{Nullable, Texts, columns};
use crate::entity::account::Account;
use crate::entity::skeleton::Standing;
use crate::rng::{Domain, Half, Word, log_normal};

columns! {
    /// Columns of `banking.transactions`.
    TransactionColumns for TRANSACTIONS {
        transaction_id: Vec<[u8; 16]>,
        account_id: Vec<[u8; 16]>,
        transaction_type: Vec<TransactionType>,
        direction: Vec<Direction>,
        amount: Vec<i64>,
        balance_after: Vec<i64>,
        currency: Vec<Currency>,
        channel: Vec<Channel>,
        status: Vec<TransactionStatus>,
        description: Nullable<Texts>,
        counterparty_name: Nullable<Texts>,
        counterparty_document: Nullable<Texts>,
        counterparty_ispb: Nullable<Texts>,
        pix_key_type: Nullable<Vec<PixKeyType>>,
        pix_key: Nullable<Texts>,
        end_to_end_id: Nullable<Texts>,
        original_transaction_id: Nullable<Vec<[u8; 16]>>,
        occurred_at: Vec<i64>,
    }
}

/// ISPB of the bank whose data this is: none that the Banco Central has given out.
const OWN_ISPB: [u8; 8] = *b"99860010";
/// People and firms whom an account pays, and is paid by, again and again.
const CONTACTS: u64 = 6;

/// What the rest of a month leaves on average of what an account has by its incomes and bills, in percent: where the income
/// comes on its paydays, and elsewhere.
const LEFT: [i64; 2] = [79, 73];

/// A payment that can be given back.
#[derive(Debug, Clone, Copy)]
struct Refundable {
    /// Its number, from 1.
    number: NonZeroU32,
    place: u64,
    amount: i64,
}

/// The movements of an account, one after the other.
#[derive(Debug, Clone)]
pub struct Ledger {
    account: Account,
    habits: Habits,
    feeds: Feeds,
    /// Number of the next event.
    k: u32,
    balance: i64,
    /// Centavos below zero times milliseconds since interest was last charged, and up to when.
    owed: i64,
    owed_until: i64,
    refundable: Option<Refundable>,
    /// The month of the next event, among those of the history, and how the holder stands in it.
    month: u16,
    standing: Standing,
    /// What is due in it, in order; the first that is not passed, and its time.
    dues: Box<[Due]>,
    due: u16,
    due_time: i64,
    /// How much else happens, how much of that is passed, and when the next of it is.
    free: u16,
    passed: u16,
    free_time: i64,
    /// Only times are asked for, and no amount.
    counting: bool,
}

impl Ledger {
    /// All movements in this history of an account with a balance before it, in centavos.
    pub fn new(history: &History, account: Account, balance: i64, feeds: Feeds) -> Self {
        let mut ledger = Self::idle(history, account, feeds);
        ledger.balance = balance;
        ledger.begin(history, None);
        ledger
    }

    /// The same of a CORRENTE account, whose balance before the history follows from what is due about then.
    pub fn checking(history: &History, account: Account, feeds: Feeds) -> Self {
        let mut ledger = Self::idle(history, account, feeds);
        let plan = &history.context.plan;
        let (opened, closed) = (ledger.account.opened_at, ledger.account.closed_at);
        let open = opened < plan.start() && closed >= plan.start();
        let month = history.months.first().filter(|_| open);
        let first = month.map(|month| Prospect::new(history, &ledger.account, month));
        if let Some(first) = &first {
            ledger.balance = ledger.opening_balance(history, first);
        }
        ledger.begin(history, first.as_ref());
        ledger
    }

    /// A ledger that has planned no month: one whose times are asked for.
    pub fn idle(history: &History, account: Account, feeds: Feeds) -> Self {
        let habits = Habits::new(history, &account);
        Self {
            habits,
            feeds,
            k: 0,
            balance: 0,
            owed: 0,
            owed_until: history.context.plan.start(),
            refundable: None,
            month: 0,
            standing: Standing::default(),
            dues: Box::default(),
            due: 0,
            due_time: i64::MAX,
            free: 0,
            passed: 0,
            free_time: i64::MAX,
            counting: false,
            account,
        }
    }

    /// Plans the first month, of which something may be known, and finds the first event.
    fn begin(&mut self, history: &History, first: Option<&Prospect<'_>>) {
        match first {
            Some(first) => self.plan(history, first),
            None => self.plan_month(history),
        }
        if (self.month as usize) < history.months.len() {
            self.find_next(history);
        }
    }

    /// How many movements an account has.
    pub fn count(history: &History, account: Account, feeds: Feeds) -> u64 {
        let mut ledger = Self::idle(history, account, feeds);
        ledger.counting = true;
        let mut count = 0;
        for month in &history.months {
            let prospect = Prospect::new(history, &ledger.account, month);
            let clip = clip(history, &ledger.account, month, prospect.standing);
            if !clip.is_empty() {
                count += u64::from(ledger.free_in(&prospect, &clip));
                count += ledger.find_in_no_order(history, &prospect, clip, true).len() as u64;
            }
        }
        count
    }

    /// The times of the movements of an account, in milliseconds; found without their other fields.
    pub fn times(history: &History, account: Account, feeds: Feeds) -> Vec<i64> {
        let mut ledger = Self::idle(history, account, feeds);
        ledger.counting = true;
        let mut times = Vec::new();
        for (number, month) in history.months.iter().enumerate() {
            ledger.month = number as u16;
            ledger.plan_month(history);
            ledger.find_free_time(history);
            let before = times.len();
            times.extend(ledger.dues.iter().map(|due| due.time(month)));
            while ledger.passed < ledger.free {
                times.push(ledger.free_time);
                ledger.passed += 1;
                ledger.find_free_time(history);
            }
            times[before..].sort_unstable();
        }
        times
    }

    /// The balance of a CORRENTE account before the history, in centavos: what is usually left, and what is not spent yet
    /// of the last income.
    fn opening_balance(&mut self, history: &History, first: &Prospect<'_>) -> i64 {
        if self.account.life.dormant {
            return self.hardly(6_300);
        }
        if first.standing.distress > 1 || first.standing.shunned {
            return self.hardly(2_200);
        }
        // As it was made when the month was squared, and what has come and gone since, as far as that follows from no
        // balance.
        let (squared, mut level) = self.level(history, first, history.context.plan.start());
        if !squared {
            let before = history.days.month(first.month.number - 1);
            let before = Prospect::new(history, &self.account, before);
            level += self.level(history, &before, first.month.instants().start).1;
        }
        // Less what else is spent ≈.
        let is_paid = self.habits.is_main && self.account.life.payer() != Payer::Nobody;
        level.max(0) * LEFT[usize::from(!is_paid)] / 100
    }

    /// What there is where hardly anything is left, around so many centavos.
    fn hardly(&self, median: u64) -> i64 {
        let left = log_normal(Half(self.habits.contacts as u32), median, 75) as i64;
        left.min(self.habits.usual)
    }

    /// Whether a month is squared before an instant, and what there is then; or else what has come since its beginning.
    fn level(&mut self, history: &History, prospect: &Prospect<'_>, at: i64) -> (bool, i64) {
        let month = prospect.month;
        let dues = self.find(history, prospect, month.instants(), false);
        let is_before = |due: &Due| due.time(month) < at;
        let sweep = dues.iter().position(|due| due.what == What::Sweep && is_before(due));
        let since = sweep.map_or(i64::MIN, |sweep| dues[sweep].time(month));
        let (mut sum, mut least, mut passed) = (0, 0, 0);
        for due in dues.iter().filter(|due| due.time(month) >= since) {
            sum += due.amount();
            least = least.min(sum);
            if is_before(due) {
                passed = sum;
            }
        }
        match sweep {
            Some(_) => (true, (self.habits.usual.max(-least) + passed).max(0)),
            None => (dues.is_empty(), passed + if dues.is_empty() { self.habits.usual } else { 0 }),
        }
    }

    /// The account.
    pub const fn account(&self) -> &Account {
        &self.account
    }

    /// The balance after the events so far.
    pub const fn balance(&self) -> i64 {
        self.balance
    }

    /// Finds what a month has, if there is one.
    fn plan_month(&mut self, history: &History) {
        if let Some(month) = history.months.get(self.month as usize) {
            self.plan(history, &Prospect::new(history, &self.account, month));
        }
    }

    /// Finds what the month has.
    fn plan(&mut self, history: &History, prospect: &Prospect<'_>) {
        (self.due, self.passed, self.free) = (0, 0, 0);
        self.dues = Box::default();
        self.standing = prospect.standing;
        let clip = clip(history, &self.account, prospect.month, prospect.standing);
        if clip.is_empty() {
            return;
        }
        // A copy of its size fits where those of other ledgers were; what is left of a larger one fits nowhere.
        self.dues = self.find(history, prospect, clip.clone(), true).as_slice().into();
        self.free = self.free_in(prospect, &clip);
        if !self.counting {
            self.find_free_time(history);
        }
    }

    /// Where the draws of a movement that is not known beforehand are.
    const fn place_of_free(month: u32, number: u16) -> u64 {
        (month as u64) << 16 | number as u64
    }

    fn month_number(&self, history: &History) -> u32 {
        history.months[self.month as usize].number as u32
    }

    fn find_free_time(&mut self, history: &History) {
        self.free_time = i64::MAX;
        if self.passed < self.free {
            let place = Self::place_of_free(self.month_number(history), self.passed);
            let [when, ..] =
                history.context.rng.four(Domain::Transaction, self.account.row, place, 0);
            self.free_time = self.time_of_free(history, when);
        }
    }

    /// When the next of what else happens is: they are spread over the instants of the month.
    #[inline]
    fn time_of_free(&self, history: &History, when: Word) -> i64 {
        let month = &history.months[self.month as usize];
        let clip = clip(history, &self.account, month, self.standing);
        let spread = history.movements.spread(clip.start, clip.end, self.free.into());
        history.movements.time_in(&spread, self.passed.into(), when)
    }

    /// When the next event happens; at the end of time if there is none.
    fn time(&self) -> i64 {
        self.due_time.min(self.free_time)
    }

    /// Finds when the next event is, in this month or a later one.
    fn find_next(&mut self, history: &History) {
        loop {
            let month = &history.months[self.month as usize];
            let due = self.dues.get(self.due as usize);
            self.due_time = due.map_or(i64::MAX, |due| due.time(month));
            if self.time() < i64::MAX || self.month as usize + 1 >= history.months.len() {
                return;
            }
            self.month += 1;
            self.plan_month(history);
        }
    }

    /// The next event if it was known beforehand.
    fn next_due(&self) -> Option<Due> {
        self.dues.get(self.due as usize).filter(|_| self.due_time <= self.free_time).copied()
    }

    /// What can be spent now: what no due of the month needs, down to what the holder lets it come to.
    fn available(&self) -> i64 {
        let (mut sum, mut least) = (0, 0);
        for due in &self.dues[self.due as usize..] {
            sum += due.amount();
            least = least.min(sum);
        }
        self.balance + least + self.floor()
    }

    /// How far below zero the holder goes.
    const fn floor(&self) -> i64 {
        if self.standing.distress > 1 {
            self.account.overdraft_limit
        } else {
            self.account.overdraft_limit * self.habits.red as i64 / 100
        }
    }

    /// Where the draws of the other side are: for what comes back, and for every second of the other
    /// movements, at a place that many movements share.
    #[inline]
    fn place_of_other(&self, due: Option<Due>, place: u64) -> u64 {
        match (due, self.refundable) {
            (Some(Due { what: What::Refund, .. }), Some(paid)) => return paid.place,
            (Some(Due { what: What::Woven, .. }), _) => return woven::place_of_other(place),
            (Some(due), _) => return u64::MAX - 16 - CONTACTS - due.what as u64,
            _ => {}
        }
        // The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
        let mut mixed = self.habits.contacts ^ place;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        let (one, another) = Word(mixed ^ mixed >> 31).halves();
        // The first contacts are met more often.
        let contact = one.below(CONTACTS as u32).min(another.below(CONTACTS as u32));
        std::hint::select_unpredictable(
            one.0 & 1 == 0,
            u64::MAX - 16 - u64::from(contact),
            1 << 48 | place,
        )
    }

    /// Passes the next event; `draws` are its own, and `when` places the next that is not known beforehand.
    #[inline]
    fn step(
        &mut self,
        history: &History,
        due: Option<Due>,
        draws: [Word; 4],
        when: Word,
        place: u64,
    ) -> Movement {
        let time = self.time();
        if self.balance < 0 {
            let owed = (time - self.owed_until).saturating_mul(-self.balance);
            self.owed = self.owed.saturating_add(owed);
        }
        self.owed_until = time;
        if due.is_some() {
            self.due += 1;
        } else {
            self.passed += 1;
            self.free_time =
                if self.passed < self.free { self.time_of_free(history, when) } else { i64::MAX };
        }
        let movement = self.movement(history, due, time, draws);
        self.balance = movement.balance;
        if movement.is_refundable() {
            let number = NonZeroU32::MIN.saturating_add(self.k);
            self.refundable = Some(Refundable { number, place, amount: movement.amount });
        }
        self.k += 1;
        self.find_next(history);
        movement
    }

    /// Passes the next event.
    fn pass(&mut self, history: &History) -> Movement {
        let due = self.next_due();
        let (place, after) = self.places(history, due);
        let [draws, [when, ..]] = history.context.rng.fours_at(
            Domain::Transaction,
            self.account.row,
            [(place, 0), (after, 0)],
        );
        let other = self.place_of_other(due, place);
        self.step(history, due, draws, when, other)
    }

    /// Where the draws of the next event are, and of the one after it that is not known beforehand.
    fn places(&self, history: &History, due: Option<Due>) -> (u64, u64) {
        let month = self.month_number(history);
        if let Some(due) = due {
            let of_due = 0x8000 | u16::from(due.what as u8) << 8 | u16::from(due.number & 0x7F);
            (Self::place_of_free(month, of_due), 0)
        } else {
            let place = Self::place_of_free(month, self.passed);
            (place, place + 1)
        }
    }
}

/// A movement as an event.
pub struct Moved {
    k: u32,
    month: u16,
    movement: Movement,
    side: OtherSide,
}

impl Cursor for Ledger {
    type Columns = TransactionColumns;
    type Event = Moved;

    fn id(&self) -> [u8; 16] {
        self.account.id
    }

    #[inline]
    fn peek(&self) -> Option<i64> {
        Some(self.time()).filter(|time| *time < i64::MAX)
    }

    fn skip(&mut self, history: &History) {
        self.pass(history);
    }

    /// What is due in the rest of the month says what can be spent now.
    #[inline]
    fn prefetch(&self) {
        const IN_A_LINE: usize = 64 / size_of::<Due>();
        for due in self.dues.iter().skip(self.due as usize).step_by(IN_A_LINE) {
            prefetch(due);
        }
    }

    #[inline]
    fn take(&mut self, history: &History) -> Moved {
        let (k, row, rng) = (self.k, self.account.row, &history.context.rng);
        let due = self.next_due();
        let (place, after) = self.places(history, due);
        let other = self.place_of_other(due, place);
        let month = self.month;
        let [draws, [when, ..], who] =
            rng.fours_at(Domain::Transaction, row, [(place, 0), (after, 0), (other, 0)]);
        let movement = self.step(history, due, draws, when, other);
        Moved { k, month, movement, side: OtherSide { place: other, draws: who, id: draws[0] } }
    }

    fn write(&self, history: &History, event: &Moved, columns: &mut TransactionColumns) {
        self.write_movement(history, event, columns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_small() {
        assert!(size_of::<Ledger>() <= 248, "{}", size_of::<Ledger>());
        assert!(size_of::<Due>() <= 12, "{}", size_of::<Due>());
        assert!(size_of::<feeds::Claim>() <= 12, "{}", size_of::<feeds::Claim>());
    }
}
