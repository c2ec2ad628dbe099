//! `banking.installments`.

use super::{Cursor, History};
use crate::brazil::calendar::{DAY, HOUR, instant, local_day};
use crate::catalog::{LoanStatus, PaymentStatus};
use crate::column::{Nullable, columns};
use crate::entity::loan::{Installment, Loan, Schedule};
use crate::rng::Domain;

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

/// Delay and earliness that are drawn, in days; what falls on a day off moves on by four days at the most,
/// to the next business day or, if it is to be in time, to the one before. Due dates are at least 28 days
/// apart, so no payment is later than the next.
const LONGEST_DELAY: u32 = 16;
const EARLIEST: u32 = 2;

/// The last arrears run of the history, at 06:00: it reports what is overdue.
fn arrears_run(as_of: i64) -> i64 {
    let today = instant(local_day(as_of), 6 * HOUR);
    if today < as_of { today } else { today - DAY }
}

/// How many installments fell due before the day of the last arrears run.
pub fn count(history: &History, loan: &Loan) -> u32 {
    let today = local_day(arrears_run(history.context.plan.as_of()));
    // Due dates are at least 28 days apart, so this bounds the search from above.
    let longest = ((today - loan.due_date(0)) / 28 + 1).max(0) as u32;
    let (mut low, mut high) = (0, longest.min(loan.term));
    while low < high {
        let middle = (low + high).div_ceil(2);
        if loan.due_date(middle - 1) < today { low = middle } else { high = middle - 1 }
    }
    low
}

/// What becomes of installment `k` of the `n` that fell due: its delay in days (negative when early),
/// and when it is paid, if it is.
fn payment(history: &History, loan: &Loan, k: u32, n: u32) -> (i32, Option<i64>) {
    let [late, time, ..] = history.context.rng.four(Domain::Installment, loan.row, u64::from(k), 0);
    let (late, days) = late.halves();
    let (due, calendar) = (loan.due_date(k), &history.days);
    let paid_on = if late.chance(loan.lateness) {
        calendar.business_day_from(due + 1 + days.below(LONGEST_DELAY) as i32)
    } else {
        calendar.business_day_until(due - days.below(EARLIEST + 1) as i32)
    };
    let paid_at = instant(paid_on, history.movements.time_of_business_day(time));
    let first_unpaid = if n < loan.term { n.saturating_sub(loan.arrears) } else { n };
    (paid_on - due, (k < first_unpaid && paid_at < history.context.plan.as_of()).then_some(paid_at))
}

/// The time of event `k` of the `n` of a loan, in milliseconds; found without its other fields.
pub fn time(history: &History, loan: &Loan, k: u32, n: u32) -> i64 {
    payment(history, loan, k, n).1.unwrap_or_else(|| arrears_run(history.context.plan.as_of()))
}

/// One event, without its ids.
struct Event {
    installment: Installment,
    late_fee: i64,
    paid: i64,
    remaining: i64,
    days_late: i32,
    status: PaymentStatus,
    paid_at: Option<i64>,
    occurred_at: i64,
}

/// The installments of a loan that fell due, one after the other: a fold over its schedule.
#[derive(Debug, Clone)]
pub struct Repayment {
    loan: Loan,
    schedule: Schedule,
    n: u32,
    k: u32,
    /// Of event `k`: its time, and its delay in days and its payment.
    time: i64,
    payment: (i32, Option<i64>),
    remaining: i64,
    /// Most days that an installment is overdue.
    overdue: i32,
}

impl Repayment {
    /// All installments of a loan that fell due in this history.
    pub fn new(history: &History, loan: Loan) -> Self {
        let n = count(history, &loan);
        let mut repayment = Self {
            schedule: loan.schedule(),
            n,
            k: 0,
            time: 0,
            payment: (0, None),
            remaining: loan.principal,
            overdue: 0,
            loan,
        };
        repayment.find_payment(history);
        repayment
    }

    /// The loan.
    pub const fn loan(&self) -> &Loan {
        &self.loan
    }

    /// Principal still to be paid, and the state of the loan, after the events so far.
    pub const fn standing(&self) -> (i64, LoanStatus) {
        let status = match (self.overdue, self.remaining) {
            (91.., _) => LoanStatus::Defaulted,
            (1.., _) => LoanStatus::Late,
            (_, 0) => LoanStatus::Settled,
            _ => LoanStatus::Active,
        };
        (self.remaining, status)
    }

    /// Finds when the next installment is paid.
    fn find_payment(&mut self, history: &History) {
        if self.k < self.n {
            self.payment = payment(history, &self.loan, self.k, self.n);
            let run = || arrears_run(history.context.plan.as_of());
            self.time = self.payment.1.unwrap_or_else(run);
        }
    }

    fn step(&mut self, history: &History) -> Event {
        let occurred_at = self.time;
        let installment = self.schedule.next().expect("an installment that fell due");
        let (delay, paid_at) = self.payment;
        let days_late = if paid_at.is_some() {
            delay.max(0)
        } else {
            local_day(occurred_at) - self.loan.due_date(self.k)
        };
        let owed = installment.principal + installment.interest;
        // 2%, and 1% a month by the day.
        let days = i64::from(days_late);
        let late_fee = if days > 0 { owed * 2 / 100 + owed * days / 3_000 } else { 0 };
        if paid_at.is_some() {
            self.remaining -= installment.principal;
        } else {
            self.overdue = self.overdue.max(days_late);
        }
        let remaining = self.remaining;
        self.k += 1;
        self.find_payment(history);
        Event {
            installment,
            late_fee,
            paid: if paid_at.is_some() { owed + late_fee } else { 0 },
            remaining,
            days_late,
            status: match (paid_at, delay) {
                (Some(_), ..=0) => PaymentStatus::Paid,
                (Some(_), _) => PaymentStatus::PaidLate,
                (None, _) => PaymentStatus::Overdue,
            },
            paid_at,
            occurred_at,
        }
    }
}

impl Cursor for Repayment {
    type Columns = InstallmentColumns;

    fn id(&self) -> [u8; 16] {
        self.loan.id
    }

    fn peek(&self) -> Option<i64> {
        (self.k < self.n).then_some(self.time)
    }

    fn skip(&mut self, history: &History) {
        self.step(history);
    }

    fn next(&mut self, history: &History, columns: &mut InstallmentColumns) {
        let k = self.k;
        let event = self.step(history);
        let id = history.context.event_id(Domain::Installment, self.loan.row, k);
        columns.installment_event_id.push(id);
        columns.loan_id.push(self.loan.id);
        columns.installment_number.push(k as i16 + 1);
        columns.due_date.push(self.loan.due_date(k));
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
