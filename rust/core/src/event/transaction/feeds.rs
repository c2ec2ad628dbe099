//! What moves an account from outside.
//!
//! No other product asks what is in a CORRENTE account, so what they ask of it is known for a whole history before its
//! first movement: a few bytes for each payment, where the cursors that find them take hundreds.

use std::ops::Range;

use super::Ledger;
use super::month::{Due, Found, What};
use crate::entity::account::Account;
use crate::entity::loan::Loan;
use crate::entity::skeleton::Pot;
use crate::event::card_transaction::Payment;
use crate::event::installment::Repayment;
use crate::event::trade::Investor;
use crate::event::{Cursor, History};

/// What moves an account from outside.
#[derive(Debug, Clone)]
pub enum Feeds {
    /// What other products of the customer ask of a CORRENTE account, in order of time.
    Claims(Box<[Claim]>),
    /// Trades and what is put by for them, of an INVESTIMENTOS account.
    Investor(Box<Investor>),
}

impl Default for Feeds {
    fn default() -> Self {
        Self::Claims(Box::default())
    }
}

/// What happens at the time of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A movement.
    Due(What),
    /// From now on money is put by in the POUPANCA account.
    SavingsOpen,
    /// From now on none is.
    SavingsClose,
    /// The same of the INVESTIMENTOS account.
    InvestmentsOpen,
    InvestmentsClose,
}

/// When money begins to be put by in an account, and when that ends.
const fn bounds(pot: Pot) -> [Kind; 2] {
    match pot {
        Pot::Savings => [Kind::SavingsOpen, Kind::SavingsClose],
        Pot::Investments => [Kind::InvestmentsOpen, Kind::InvestmentsClose],
    }
}

/// A movement that another product asks for. There are many in memory at a time: times have 48 bits, and amounts 40, up
/// to five billion reais.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    time: [u16; 3],
    kind: Kind,
    high: i8,
    low: u32,
}

impl Claim {
    fn new(time: i64, kind: Kind, amount: i64) -> Self {
        let time_parts = [time as u16, (time >> 16) as u16, (time >> 32) as u16];
        let high = (amount >> 32) as i8;
        let claim = Self { time: time_parts, kind, high, low: amount as u32 };
        assert!(claim.time() == time && claim.amount() == amount, "{time}, {amount}");
        claim
    }

    /// Milliseconds.
    const fn time(&self) -> i64 {
        let [low, middle, high] = self.time;
        (high as i16 as i64) << 32 | (middle as i64) << 16 | low as i64
    }

    /// Centavos, negative if they are paid.
    const fn amount(&self) -> i64 {
        (self.high as i64) << 32 | self.low as i64
    }
}

impl Feeds {
    /// Adds what is due of the claims on an account.
    pub(super) fn claims_in(&self, found: &mut Found, instants: &Range<i64>) {
        let Self::Claims(claims) = self else { return };
        let first = claims.partition_point(|claim| claim.time() < instants.start);
        for claim in claims[first..].iter().take_while(|claim| claim.time() < instants.end) {
            if let Kind::Due(what) = claim.kind {
                found.add(what, claim.time(), claim.amount());
            }
        }
    }

    /// When money is put by in an account of the customer: never if there is none.
    pub(super) fn pot(&self, pot: Pot) -> Range<i64> {
        let Self::Claims(claims) = self else { return 0..0 };
        let at = |kind| claims.iter().find(|claim| claim.kind == kind).map(Claim::time);
        let [opens, closes] = bounds(pot).map(at);
        opens.map_or(0..0, |opens| opens..closes.unwrap_or(i64::MAX))
    }
}

/// Claims on a CORRENTE account, product by product.
#[derive(Debug)]
pub struct Claims<'a> {
    history: &'a History,
    /// The instants of which claims are kept: whole months, as these are planned.
    span: Range<i64>,
    all: Vec<Claim>,
}

impl<'a> Claims<'a> {
    /// None yet. They are found as far as the movements before an instant of the history depend on them.
    pub fn new(history: &'a History, until: i64) -> Self {
        let span = history.context.plan.start()..Self::end(history, until);
        Self { history, span, all: Vec::new() }
    }

    /// The instant before which they are found: months are planned as a whole.
    pub fn end(history: &History, until: i64) -> i64 {
        let mut ends = history.months.iter().map(|month| month.instants().end);
        ends.find(|end| *end >= until).unwrap_or(i64::MAX).min(history.context.plan.as_of())
    }

    fn add(&mut self, what: What, time: i64, amount: i64) {
        if self.span.contains(&time) {
            self.all.push(Claim::new(time, Kind::Due(what), amount));
        }
    }

    /// Adds what is put by in an account of the customer, which may be between these instants.
    pub fn add_pot(&mut self, pot: Pot, open: Range<i64>) {
        if open.start < self.span.end && open.end > self.span.start {
            let [opens, closes] = bounds(pot);
            self.all.push(Claim::new(open.start, opens, 0));
            if open.end < self.span.end {
                self.all.push(Claim::new(open.end, closes, 0));
            }
        }
    }

    /// Adds what comes from a POUPANCA account, as at the start of the history.
    pub fn add_savings(&mut self, mut savings: Ledger) {
        while savings.peek().is_some_and(|time| time < self.span.end) {
            let (time, due) = (savings.time(), savings.next_due());
            let movement = savings.pass(self.history);
            if let Some(Due { what: What::FromSavings | What::Close, .. }) = due {
                // One that comes to nothing is something else in either account.
                let taken = matches!(movement.what, What::FromSavings | What::Close);
                self.add(What::FromSavings, time, if taken { movement.amount } else { 0 });
            }
        }
    }

    /// The same, if no amounts are asked for.
    pub fn add_savings_times(&mut self, account: Account) {
        let mut savings = Ledger::idle(self.history, account, Feeds::default());
        for month in &self.history.months {
            for due in savings.dues_of(self.history, month) {
                if matches!(due.what, What::FromSavings | What::Close) {
                    self.add(What::FromSavings, due.time(month), 0);
                }
            }
        }
    }

    /// Adds the bills of a card.
    pub fn add_bills(&mut self, payments: &[Payment]) {
        for payment in payments {
            self.add(What::CardBill, payment.paid_at, -payment.amount);
        }
    }

    /// The same, if no amounts are asked for: the times of its payments.
    pub fn add_bill_times(&mut self, times: &[i64]) {
        for &time in times {
            self.add(What::CardBill, time, 0);
        }
    }

    /// Adds what a loan brings and asks for.
    pub fn add_loan(&mut self, loan: Loan) {
        let mut repayment = Repayment::since(self.history, loan, self.span.start);
        while repayment.peek_payment().is_some_and(|time| time < self.span.end) {
            let payment = repayment.next_payment(self.history).expect("a payment");
            self.add(What::Installment, payment.paid_at, -payment.amount);
        }
        self.add(What::Disbursement, loan.contracted_at, loan.principal);
        if loan.is_for_something() {
            // The bank pays the seller.
            self.add(What::Purchase, loan.contracted_at, -loan.principal);
        }
    }

    /// All of them.
    pub fn into_feeds(mut self) -> Feeds {
        self.all.sort_by_key(Claim::time);
        Feeds::Claims(self.all.as_slice().into())
    }
}
