//! The installments on the way to a loan's default: events that are there anyway.

use super::{Cursor, DEFAULTED_AFTER, RUN, Repayment};
use crate::brazil::calendar::{instant, local_day};
use crate::catalog::Role;
use crate::entity::loan::Loan;
use crate::event::History;

/// How many installments before the first that is never paid belong to the way, if they are late.
const BEFORE: u32 = 6;

/// The way of a loan to its default.
#[derive(Debug)]
pub struct Lost {
    /// When the first of its installments fell due, in milliseconds.
    pub started_at: i64,
    /// When the loan is in default, in milliseconds.
    pub known_at: i64,
    /// Number, time and role of each event.
    pub events: Vec<(u32, i64, Role)>,
}

/// The way of a loan to its default, if its installments are not paid from some on.
pub fn lost(history: &History, loan: &Loan) -> Option<Lost> {
    let as_of = history.context.plan.as_of();
    let today = local_day(as_of);
    let first = loan.lost_from.checked_sub(loan.due_month(0))?.max(0) as u32;
    if first >= loan.term || loan.due_date(first) >= today {
        return None;
    }
    let known_at = instant(loan.due_date(first) + DEFAULTED_AFTER + 1, RUN);
    let mut lost = Lost { started_at: i64::MAX, known_at, events: Vec::new() };
    let mut repayment = Repayment::new(history, *loan);
    while let Some(time) = repayment.peek() {
        let (k, is_paid, due) = (repayment.k, repayment.is_paid, repayment.due);
        let late = local_day(time) > due.payable && k + BEFORE >= first;
        if !is_paid || late {
            let role = if is_paid { Role::Late } else { Role::Missed };
            lost.events.push((k, time, role));
            lost.started_at = lost.started_at.min(instant(due.day, 0));
        }
        repayment.skip(history);
    }
    (!lost.events.is_empty()).then_some(lost)
}
