//! When the installments of a loan are paid: from the life of its borrower and draws of its own, and from no
//! balance. So payments can be found and counted without their amounts.

use crate::brazil::calendar::{HOUR, instant, local_day};
use crate::brazil::hours::{WAKING, time_between};
use crate::entity::loan::{Arrears, Loan};
use crate::event::History;
use crate::rng::{Domain, Word};

/// Of what is not paid within the history.
const NEVER: i64 = i64::MAX;
/// Delay and earliness that are drawn, in days; what is debited on a day off moves on by four days at the most, to
/// the next business day. Due dates are at least 28 days apart, so no payment is later than the next.
const LONGEST_DELAY: u32 = 13;
const EARLIEST: u32 = 5;
/// How long before the due date an installment is paid at the earliest; what is deducted from a benefit is paid when
/// that comes, by the end of the month before.
const LONGEST_LEAD: i32 = 16;
/// How many of 10 000 are paid some days early.
const EARLY: u32 = 1_300;
/// Installments of which one at the most begins to be forgotten.
const HALF_YEAR: u32 = 6;
/// Place of the draws of a half-year, after those of installments.
const HALF_YEARS: u64 = 1 << 32;

/// Installments that wait for a day on which they are paid together.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// First and last calendar month; that of the day is the last.
    from: i32,
    until: i32,
    /// When the first of them is paid, and how long after it the next, in milliseconds.
    at: i64,
    step: i64,
}

/// When an installment falls due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    pub day: i32,
    /// The last day on which it may be paid without charge: the due date or, if that is without banking, the next
    /// business day (Law 7.089 of 1983).
    pub payable: i32,
}

/// When the installments of a loan are paid.
#[derive(Debug, Clone)]
pub(super) struct Payments {
    loan: Loan,
    /// What is due from this day on is not paid in the history.
    beyond: i32,
    /// The era of which `waiting` is.
    era: i32,
    waiting: Option<Waiting>,
    /// The half-year of which `forgotten` is: the first installment that is forgotten, and that with which it is
    /// paid.
    half_year: u32,
    forgotten: Option<(u32, u32)>,
}

/// Between 40 and 160 seconds.
const fn moment(draw: Word) -> i64 {
    40_000 + draw.below(120_000) as i64
}

/// Between nine and seven, when people see to their debts.
fn by_day(draw: Word) -> i64 {
    time_between(9..19, draw.halves().0)
}

impl Payments {
    pub(super) const fn new(history: &History, loan: Loan) -> Self {
        Self {
            loan,
            beyond: local_day(history.context.plan.as_of()) + LONGEST_LEAD,
            era: i32::MIN,
            waiting: None,
            half_year: u32::MAX,
            forgotten: None,
        }
    }

    pub(super) const fn loan(&self) -> &Loan {
        &self.loan
    }

    /// When installment `k` falls due.
    pub(super) fn due(&self, history: &History, k: u32) -> Due {
        let day = self.loan.due_date(k);
        // Beyond the history the days without banking are not looked at.
        let payable = if day < self.beyond { history.days.business_day_from(day) } else { day };
        Due { day, payable }
    }

    /// When installment `k` is paid; the end of time if it is not in this history. It never decreases with `k`.
    pub(super) fn paid_at(&mut self, history: &History, k: u32) -> i64 {
        let due = self.due(history, k);
        self.paid_when_due(history, k, due)
    }

    /// The same, if it is known when it falls due.
    pub(super) fn paid_when_due(&mut self, history: &History, k: u32, due: Due) -> i64 {
        let month = self.loan.due_month(k);
        if month >= self.loan.lost_from {
            return NEVER;
        }
        let own = match self.forgotten(history, k) {
            Some((first, last)) if (first..=last).contains(&k) => {
                let due = self.due(history, last);
                let [_, time, step, _] = self.draws(history, last);
                if due.day < self.beyond {
                    instant(due.payable, by_day(time)) + i64::from(k - first) * moment(step)
                } else {
                    NEVER
                }
            }
            _ => self.usual(history, k, due),
        };
        match self.waiting(history, month) {
            Some(Waiting { from, at, step, .. }) => {
                let first = (from - self.loan.due_month(0)).max(0) as u32;
                own.max(at.saturating_add(i64::from(k - first) * step))
            }
            None => own,
        }
    }

    /// How many installments are paid before an instant of the history.
    pub(super) fn before(&mut self, history: &History, instant: i64) -> u32 {
        let loan = &self.loan;
        if instant <= loan.contracted_at {
            return 0;
        }
        let unpaid = loan.lost_from.saturating_sub(loan.due_month(0)).max(0) as u32;
        let mut k = loan.due_before(local_day(instant) + LONGEST_LEAD).min(unpaid);
        while k > 0 && self.paid_at(history, k - 1) >= instant {
            k -= 1;
        }
        k
    }

    fn draws(&self, history: &History, k: u32) -> [Word; 4] {
        history.context.rng.four(Domain::Installment, self.loan.row, k.into(), 0)
    }

    /// When installment `k` is paid if nothing happens.
    fn usual(&self, history: &History, k: u32, due: Due) -> i64 {
        if due.day >= self.beyond {
            return NEVER;
        }
        let [when, time, ..] = self.draws(history, k);
        if self.loan.is_deducted() {
            let time = 12 * HOUR + time.below(5 * HOUR as u64) as i64;
            return instant(self.deducted_on(history, k, due).min(due.payable), time);
        }
        let (chance, days) = when.halves();
        // Who pays by their own hand does so on any day.
        let paid_on = match chance.below(10_000) {
            chance if chance < self.loan.lateness => {
                // A few days more often than many: the lesser of two draws.
                let less = days.below(LONGEST_DELAY).min(((days.0 & 0xFFFF) * LONGEST_DELAY) >> 16);
                (due.day + 1 + less as i32).max(due.payable + 1)
            }
            chance if chance >= 10_000 - EARLY => due.day - 1 - days.below(EARLIEST) as i32,
            _ if self.loan.by_hand => due.day,
            _ => due.payable,
        };
        instant(paid_on, time_between(WAKING, time.halves().0))
    }

    /// The payday from whose income an installment is deducted: the last before it is due.
    fn deducted_on(&self, history: &History, k: u32, due: Due) -> i32 {
        let skeleton = &self.loan.skeleton;
        let month = self.loan.due_month(k) - i32::from(skeleton.payday().is_late());
        let [payday, _] = skeleton.paydays(history.days.month(month));
        payday.map_or(due.day, |(day, _)| day)
    }

    /// The installments around `k` that are paid together with a later one, since they were forgotten, from the
    /// first to that one.
    fn forgotten(&mut self, history: &History, k: u32) -> Option<(u32, u32)> {
        if self.loan.slips == 0 {
            return None;
        }
        let half_year = k / HALF_YEAR;
        if half_year != self.half_year {
            self.half_year = half_year;
            self.forgotten = self.find_forgotten(history, half_year);
        }
        self.forgotten
    }

    fn find_forgotten(&mut self, history: &History, half_year: u32) -> Option<(u32, u32)> {
        let place = HALF_YEARS + u64::from(half_year);
        let [chance, length, first, _] =
            history.context.rng.four(Domain::Installment, self.loan.row, place, 0);
        if chance.below(10_000) >= self.loan.slips.into() {
            return None;
        }
        // Three in ten are noticed after two months only.
        let months = if length.below(10) < 3 { 2 } else { 1 };
        let first = half_year * HALF_YEAR + first.below(4) as u32;
        let last = first + months;
        // Who waits for an income has forgotten nothing.
        let mut due = self.loan.due_month(first)..=self.loan.due_month(last);
        let minds = due.any(|m| m >= self.loan.lost_from || self.waiting(history, m).is_some());
        (last < self.loan.term && !minds).then_some((first, last))
    }

    /// What waits in a month.
    fn waiting(&mut self, history: &History, month: i32) -> Option<Waiting> {
        let era = self.loan.skeleton.era_of(month);
        if era != self.era {
            self.era = era;
            self.waiting = self.find_waiting(history, era);
        }
        // What is due in the month after may have to wait too, as payments are made in order.
        let meets = |one: &Waiting| (one.from..=one.until.saturating_add(1)).contains(&month);
        let before = self.loan.skeleton.era_of(month - 1);
        self.waiting.filter(meets).or_else(|| {
            if before == era { None } else { self.find_waiting(history, before).filter(meets) }
        })
    }

    fn find_waiting(&self, history: &History, era: i32) -> Option<Waiting> {
        let Arrears { from, until, draws: [time, step] } =
            self.loan.arrears(history.context.rng, era)?;
        let Some(until) = until else {
            return Some(Waiting { from, until: i32::MAX, at: NEVER, step: 0 });
        };
        let today = local_day(history.context.plan.as_of());
        let month = history.days.at(today).month;
        let payday = (until <= month).then(|| {
            let month = history.days.month(until);
            let [payday, _] = self.loan.skeleton.paydays(month);
            payday.map_or_else(|| month.payday(), |(day, _)| day)
        });
        let at = match payday {
            Some(payday) if payday <= today => {
                // The low bits hardly chose the time of day.
                let day = history.days.business_day_from(payday + (time.0 % 4) as i32);
                instant(day, by_day(time))
            }
            _ => NEVER,
        };
        Some(Waiting { from, until, at, step: moment(step) })
    }
}
