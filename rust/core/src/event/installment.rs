//! `banking.installments`.

use super::History;
use crate::brazil::calendar::{DAY, HOUR, instant, local_day};
use crate::catalog::{LoanStatus, PaymentStatus};
use crate::column::{Nullable, columns};
use crate::entity::loan::{Installment, Loan};
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

/// The events of a loan in order: a fold over its schedule.
fn events<'a>(history: &'a History, loan: &'a Loan) -> impl Iterator<Item = Event> + 'a {
    let run = arrears_run(history.context.plan.as_of());
    let n = count(history, loan);
    let mut remaining = loan.principal;
    loan.schedule().zip(0..n).map(move |(installment, k)| {
        let (delay, paid_at) = payment(history, loan, k, n);
        let days_late =
            if paid_at.is_some() { delay.max(0) } else { local_day(run) - loan.due_date(k) };
        let owed = installment.principal + installment.interest;
        // 2%, and 1% a month by the day.
        let days = i64::from(days_late);
        let late_fee = if days > 0 { owed * 2 / 100 + owed * days / 3_000 } else { 0 };
        if paid_at.is_some() {
            remaining -= installment.principal;
        }
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
            occurred_at: paid_at.unwrap_or(run),
        }
    })
}

/// Principal still to be paid and state of a loan at the end of the history.
pub fn standing(history: &History, loan: &Loan) -> (i64, LoanStatus) {
    let mut remaining = loan.principal;
    let mut worst = 0;
    for event in events(history, loan) {
        remaining = event.remaining;
        if event.status == PaymentStatus::Overdue {
            worst = worst.max(event.days_late);
        }
    }
    let status = match (worst, remaining) {
        (91.., _) => LoanStatus::Defaulted,
        (1.., _) => LoanStatus::Late,
        (_, 0) => LoanStatus::Settled,
        _ => LoanStatus::Active,
    };
    (remaining, status)
}

impl InstallmentColumns {
    /// Adds all installments of a loan that fell due.
    pub fn push(&mut self, history: &History, loan: &Loan) {
        for (event, k) in events(history, loan).zip(0..) {
            self.installment_event_id.push(history.context.event_id(
                Domain::Installment,
                loan.row,
                k,
            ));
            self.loan_id.push(loan.id);
            self.installment_number.push(k as i16 + 1);
            self.due_date.push(loan.due_date(k));
            self.principal_amount.push(event.installment.principal);
            self.interest_amount.push(event.installment.interest);
            self.late_fee.push(event.late_fee);
            self.amount_paid.push(event.paid);
            self.remaining_balance.push(event.remaining);
            self.days_late.push(event.days_late as i16);
            self.payment_status.push(event.status);
            self.paid_at.push(event.paid_at);
            self.occurred_at.push(event.occurred_at);
        }
    }
}
