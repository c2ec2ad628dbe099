//! `banking.installments`.

mod lost;
mod payments;

pub use lost::{Lost, lost};

use std::ops::Range;

use super::{Cursor, History};
use crate::brazil::calendar::{DAY, HOUR, instant, local_day};
use crate::catalog::{LoanStatus, PaymentStatus};
use crate::column::{Nullable, columns};
use crate::entity::loan::{Installment, Loan, Schedule};
use crate::rng::Domain;
use payments::{Due, Payments};

columns! {
    /// Columns of `banking.installments`.
    InstallmentColumns for INSTALLMENTS {
        installment_event_id: Vec<[u8; 16]>,
        loan_id: Vec<[u8; 16]>,
        installment_number: Vec<i16>,
        due_date: Vec<i32>,
        principal_amount: Vec<i64>,
        interest_amount: Vec<i64>,
        late_fee: Vec<i64>,
        amount_paid: Vec<i64>,
        remaining_balance: Vec<i64>,
        days_late: Vec<i16>,
        payment_status: Vec<PaymentStatus>,
        paid_at: Nullable<Vec<i64>>,
        occurred_at: Vec<i64>,
    }
}

/// When on a day arrears are found.
const RUN: i64 = 6 * HOUR;
/// Most days late without being in default.
const DEFAULTED_AFTER: i32 = 90;

/// Of what is not told of.
const NOT_YET: Due = Due { day: i32::MAX / 2, payable: i32::MAX / 2 };

/// The last arrears run of the history, at 06:00: it reports what is overdue.
fn arrears_run(as_of: i64) -> i64 {
    let today = instant(local_day(as_of), RUN);
    if today < as_of { today } else { today - DAY }
}

/// How many installments there are to tell of: those that were paid, some of them before they fell due, and those
/// found to be overdue by the last arrears run.
pub fn count(history: &History, loan: &Loan) -> u32 {
    count_of(history, &mut Payments::new(history, *loan))
}

fn count_of(history: &History, payments: &mut Payments) -> u32 {
    let as_of = history.context.plan.as_of();
    let today = local_day(arrears_run(as_of));
    let loan = *payments.loan();
    let mut n = loan.due_before(today);
    // The last may be paid without charge on the next business day, and the next have been paid before the day.
    if n > 0 && payments.due(history, n - 1).payable >= today {
        n -= 1;
    }
    while n < loan.term && payments.paid_at(history, n) < as_of {
        n += 1;
    }
    n
}

/// How many payments there are in a span of the history; found without their amounts.
pub fn payments(history: &History, loan: &Loan, span: Range<i64>) -> u32 {
    let mut payments = Payments::new(history, *loan);
    let until = span.end.min(history.context.plan.as_of());
    payments.before(history, until).saturating_sub(payments.before(history, span.start))
}

/// The time of event `k` of a loan, in milliseconds; found without its other fields.
pub fn time(history: &History, loan: &Loan, k: u32) -> i64 {
    let as_of = history.context.plan.as_of();
    let mut payments = Payments::new(history, *loan);
    let paid_at = payments.paid_at(history, k);
    if paid_at < as_of {
        return paid_at;
    }
    let run = arrears_run(as_of);
    match payments.before(history, as_of) {
        0 => run,
        paid => run.max(payments.paid_at(history, paid - 1)),
    }
}

/// What is paid for an installment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// Milliseconds.
    pub paid_at: i64,
    /// Centavos: principal, interest and late fee.
    pub amount: i64,
    /// Number of the installment, from 1.
    pub number: i16,
}

/// One event, without its ids.
pub struct Event {
    k: u32,
    /// The day on which it falls due.
    due: i32,
    installment: Installment,
    late_fee: i64,
    paid: i64,
    remaining: i64,
    days_late: i32,
    status: PaymentStatus,
    paid_at: Option<i64>,
    occurred_at: i64,
}

/// The installments of a loan that there are to tell of, one after the other: a fold over its schedule.
#[derive(Debug, Clone)]
pub struct Repayment {
    payments: Payments,
    schedule: Schedule,
    n: u32,
    k: u32,
    /// Of those so far, how many are paid: the first ones.
    paid: u32,
    /// When event `k` happens, whether it is a payment, and of what.
    time: i64,
    is_paid: bool,
    due: Due,
    /// When the first that is not paid falls due.
    oldest: Due,
    /// Principal still to be paid.
    remaining: i64,
}

impl Repayment {
    /// All installments of a loan in this history.
    pub fn new(history: &History, loan: Loan) -> Self {
        Self::since(history, loan, i64::MIN)
    }

    /// The installments that are paid, or found to be overdue, from an instant on: of the older ones only what they
    /// left to be paid is found. From the start of the history on, its payments are those of the account's history.
    pub fn since(history: &History, loan: Loan, start: i64) -> Self {
        let mut payments = Payments::new(history, loan);
        let mut repayment = Self {
            schedule: loan.schedule(),
            n: count_of(history, &mut payments),
            payments,
            k: 0,
            paid: 0,
            time: i64::MIN,
            is_paid: false,
            due: NOT_YET,
            oldest: NOT_YET,
            remaining: loan.principal,
        };
        if start <= loan.contracted_at {
            repayment.find_time(history);
        } else {
            repayment.skip_until(history, start);
        }
        repayment
    }

    /// The loan.
    pub const fn loan(&self) -> &Loan {
        self.payments.loan()
    }

    /// When the next payment is made; nothing after the last of the history.
    pub fn peek_payment(&self) -> Option<i64> {
        (self.k < self.n && self.is_paid).then_some(self.time)
    }

    /// The next payment, which is passed. It has the amount of the event that tells of it.
    pub fn next_payment(&mut self, history: &History) -> Option<Payment> {
        let paid_at = self.peek_payment()?;
        let event = self.step(history);
        Some(Payment { paid_at, amount: event.paid, number: self.k as i16 })
    }

    /// Principal still to be paid, and the state of the loan, after the events so far and at an instant.
    pub fn standing(&self, at: i64) -> (i64, LoanStatus) {
        // The day of the last arrears run.
        let today = local_day(at - RUN);
        let status = match self.oldest {
            _ if self.paid == self.loan().term => LoanStatus::Settled,
            Due { payable, .. } if payable >= today => LoanStatus::Active,
            Due { day, .. } if today - day > DEFAULTED_AFTER => LoanStatus::Defaulted,
            _ => LoanStatus::Late,
        };
        (self.remaining, status)
    }

    /// The arrears run after an instant, and before the next event, that finds the loan in another state: late, or
    /// so late as to be in default.
    pub fn next_arrears(&self, since: i64) -> Option<i64> {
        let (next, Due { day, payable }) = (self.peek()?, self.oldest);
        let run = |day| Some(instant(day, RUN)).filter(|at| (since + 1..next).contains(at));
        run(payable + 1).or_else(|| run(day + DEFAULTED_AFTER + 1))
    }

    /// Finds when the next event happens.
    fn find_time(&mut self, history: &History) {
        self.due = NOT_YET;
        if self.k < self.n {
            let as_of = history.context.plan.as_of();
            self.due = self.payments.due(history, self.k);
            let paid_at = self.payments.paid_when_due(history, self.k, self.due);
            self.is_paid = paid_at < as_of;
            // What is overdue is not reported before the last payment.
            self.time = if self.is_paid { paid_at } else { arrears_run(as_of).max(self.time) };
        }
        if self.k == self.paid {
            self.oldest = self.due;
        }
    }

    fn step(&mut self, history: &History) -> Event {
        let (occurred_at, is_paid, k, due) = (self.time, self.is_paid, self.k, self.due.day);
        let installment = self.schedule.next().expect("an installment to tell of");
        let today = local_day(occurred_at);
        let is_late = today > self.due.payable;
        let days_late = if is_late { today - self.due.day } else { 0 };
        let owed = installment.principal + installment.interest;
        // 2%, and 1% a month by the day.
        let days = i64::from(days_late);
        let late_fee = if is_late { owed * 2 / 100 + owed * days / 3_000 } else { 0 };
        if is_paid {
            self.remaining -= installment.principal;
            self.paid += 1;
        }
        let remaining = self.remaining;
        self.k += 1;
        self.find_time(history);
        Event {
            k,
            due,
            installment,
            late_fee,
            paid: if is_paid { owed + late_fee } else { 0 },
            remaining,
            days_late,
            status: match (is_paid, is_late) {
                (true, false) => PaymentStatus::Paid,
                (true, true) => PaymentStatus::PaidLate,
                (false, _) => PaymentStatus::Overdue,
            },
            paid_at: is_paid.then_some(occurred_at),
            occurred_at,
        }
    }
}

impl Cursor for Repayment {
    type Columns = InstallmentColumns;
    type Event = Event;

    fn id(&self) -> [u8; 16] {
        self.loan().id
    }

    fn peek(&self) -> Option<i64> {
        (self.k < self.n).then_some(self.time)
    }

    fn skip(&mut self, history: &History) {
        self.step(history);
    }

    fn skip_until(&mut self, history: &History, until: i64) {
        // Payments before the last arrears run are passed together.
        let run = arrears_run(history.context.plan.as_of());
        let paid = self.payments.before(history, until.min(run));
        if paid > self.k {
            self.schedule.pass(paid - self.k);
            self.remaining = self.schedule.balance();
            (self.k, self.paid) = (paid, paid);
        }
        self.find_time(history);
        while self.peek().is_some_and(|time| time < until) {
            self.skip(history);
        }
    }

    #[inline]
    fn take(&mut self, history: &History) -> Event {
        self.step(history)
    }

    fn write(&self, history: &History, event: &Event, columns: &mut InstallmentColumns) {
        let id = history.context.event_id(Domain::Installment, self.loan().row, event.k);
        columns.installment_event_id.push(id);
        columns.loan_id.push(self.loan().id);
        columns.installment_number.push(event.k as i16 + 1);
        columns.due_date.push(event.due);
        columns.principal_amount.push(event.installment.principal);
        columns.interest_amount.push(event.installment.interest);
        columns.late_fee.push(event.late_fee);
        columns.amount_paid.push(event.paid);
        columns.remaining_balance.push(event.remaining);
        columns.days_late.push(event.days_late as i16);
        columns.payment_status.push(event.status);
        columns.paid_at.push(event.paid_at);
        columns.occurred_at.push(event.occurred_at);
    }
}
