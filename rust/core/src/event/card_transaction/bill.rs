//! What is owed on a card: bills, payments, interest, and what they leave of the limit.
//!
//! At the start of a history a card has bought before: the cycles just before it are followed with what is usual for the
//! holder in each, spread over installments as purchases are, and what is left of earlier ones is taken as that of a usual
//! month; so the first bills are as others.
//!
//! Whether a bill is paid, when and how far follows from the holder's skeleton alone, and not from what is in an
//! account; so an account can pay the bills of a card, and no card has to wait for an account.

use super::facts::{Facts, How, Slot, Special, month_of, seconds};
use crate::brazil::calendar::local_day;
use crate::catalog::{CardStatus, CardStatusReason};
use crate::entity::card::{CreditCard, Standing, status_for};
use crate::entity::skeleton::{Recalling, around_one, times};
use crate::event::History;
use crate::rng::Half;

/// Interest on what is left of a bill, in percent a month ≈; never more in all than was owed (Law 14.690 of 2023).
const REVOLVING: i64 = 15;
/// What a bank asks for at the least, in percent of the bill, and in centavos.
const MINIMUM: i64 = 15;
const SMALLEST: i64 = 5_000;
/// Limits are rounded to R$ 100, and none is below R$ 300.
const STEP: i64 = 10_000;
const LEAST_LIMIT: i64 = 30_000;
/// The highest limit in centavos.
const MOST: i64 = 1_000_000_000;
/// Cycles before the history that are followed, so that its first bills are as others; and before those, as long as
/// nothing is paid.
const BEFORE: i32 = 3;
/// How the purchases of a cycle before the history are paid: in so many installments, and how many percent of them.
const SPREAD: [(i64, i64); 4] = [(1, 62), (2, 10), (4, 14), (10, 14)];

/// A payment of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payment {
    /// Milliseconds.
    pub paid_at: i64,
    /// Centavos; nothing if nothing is owed.
    pub amount: i64,
    /// Of the bill, in centavos, with what is left of bills before.
    pub bill_total: i64,
    /// The local day on which it falls due.
    pub due_day: i32,
    /// The month in which its cycle closes, as months since the year 0.
    pub cycle: i32,
}

/// What comes next for the bill of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closing,
    Payment,
}

/// The bills of a card: a fold over its purchases, and over what becomes of its bills.
#[derive(Debug, Clone)]
pub(super) struct Bills {
    /// Centavos, as are all amounts.
    limit: i32,
    /// Of bills that are closed: what is owed, and how much of it was charged.
    unpaid: i32,
    charged: i32,
    /// What the last bill came to.
    bill: i32,
    /// What was bought in the open cycle, and in that of the most.
    spent: i32,
    peak: i32,
    /// What is owed in all.
    used: i32,
    /// What falls due in the open cycle, and in those after it.
    future: [i32; 12],
    /// The cycle that closes next, or whose bill is paid next.
    cycle: i32,
    /// Seconds of that, and of what happens besides.
    regular: u32,
    special: u32,
    /// Since when the status is as it is, in seconds; 0 from the beginning.
    changed: u32,
    phase: Phase,
    how: How,
    late: u8,
    /// The bill before was not paid at all.
    missed: bool,
    what: Special,
    status: CardStatus,
    reason: Option<CardStatusReason>,
}

impl Bills {
    /// The bills of a card, with what its purchases before the history leave to be paid; its status is still as at its
    /// issue.
    pub(super) fn new(history: &History, facts: &Facts, card: &CreditCard) -> Self {
        let mut holder = facts.holder(history);
        let start = seconds(history.context.plan.start());
        let issued = seconds(facts.issued());
        let (special, what) = facts.special(history, &holder.skeleton, issued.saturating_sub(1));
        let mut bills = Self {
            limit: card.limit.min(MOST) as i32,
            unpaid: 0,
            charged: 0,
            bill: 0,
            spent: 0,
            peak: 0,
            used: 0,
            future: [0; 12],
            cycle: month_of(local_day(history.context.plan.start())) - BEFORE,
            regular: 0,
            special,
            changed: 0,
            phase: Phase::Closing,
            how: How::Nothing,
            late: 0,
            missed: false,
            what,
            status: CardStatus::Active,
            reason: None,
        };
        if let Some(shock) = holder.episode(bills.cycle) {
            bills.cycle = shock.first - 1;
        }
        let followed = bills.cycle;
        bills.cycle = bills.cycle.max(facts.month_of_issue());
        while facts.closes(bills.cycle) <= facts.issued() {
            bills.cycle += 1;
        }
        bills.regular = seconds(facts.closes(bills.cycle));
        let bought = !facts.sleeps() && issued < start;
        if bought && bills.cycle == followed {
            bills.buy_long_before(facts);
        }
        while bills.regular < start {
            if bought && bills.phase == Phase::Closing {
                bills.buy_before(history, facts, &mut holder, bills.regular);
            }
            bills.pass_regular(history, facts, &mut holder);
        }
        if bought {
            bills.buy_before(history, facts, &mut holder, start);
        }
        (bills.peak, bills.spent) = (0, 0);
        bills
    }

    /// What falls due of the installments of the cycles before those that are followed.
    fn buy_long_before(&mut self, facts: &Facts) {
        let each = facts.usual().1.min(i64::from(self.limit) / 4);
        for (parcels, percent) in SPREAD {
            for left in 1..parcels {
                // Of as many cycles as have so many left.
                let due = (each * percent / 100 / parcels * (parcels - left)) as i32;
                self.future[left as usize - 1] += due;
                self.used += due;
            }
        }
    }

    /// Buys what is usual in the open cycle until an instant before the history.
    fn buy_before(&mut self, history: &History, facts: &Facts, holder: &mut Recalling, until: u32) {
        let day = |at: u32| local_day(i64::from(at) * 1_000);
        let until = until.min(facts.ends());
        let begins = facts.closes(self.cycle - 1).max(facts.issued());
        let days = i64::from(day(until) - local_day(begins));
        if days <= 0 {
            return;
        }
        let outlook = facts.budget_of(holder, month_of(day(until)));
        let noise = facts.hash(history, self.cycle as u64) as u32;
        let amount = times(outlook * days / 30, around_one(Half(noise), 25));
        let amount = amount.min((self.available() - self.available() / 16).max(0));
        for (parcels, percent) in SPREAD {
            self.owe(amount * percent / 100, parcels);
        }
    }

    /// What is left of the limit.
    pub(super) fn available(&self) -> i64 {
        i64::from(self.limit - self.used).max(0)
    }

    /// Whether purchases are refused, since the card is blocked.
    pub(super) fn is_blocked(&self) -> bool {
        self.status != CardStatus::Active
    }

    /// Adds a purchase that is approved.
    #[inline]
    pub(super) fn owe(&mut self, amount: i64, parcels: i64) {
        let amount = amount as i32;
        self.spent += amount;
        self.used += amount;
        if parcels == 1 {
            self.future[0] += amount;
            return;
        }
        let parcels = parcels as i32;
        let each = amount / parcels;
        self.future[0] += amount - each * (parcels - 1);
        for of_month in &mut self.future[1..parcels as usize] {
            *of_month += each;
        }
    }

    /// When something happens next beside purchases, in milliseconds.
    #[inline]
    pub(super) fn peek(&self) -> i64 {
        i64::from(self.regular.min(self.special)) * 1_000
    }

    /// Whether there may be one more payment before an instant: not if the next bill is paid after it, and the bill after
    /// that does not even close by then.
    pub(super) fn are_paid_again(&self, history: &History, facts: &Facts, until: i64) -> bool {
        if self.peek() >= until {
            return false;
        }
        let is_last = self.phase == Phase::Closing && facts.closes(self.cycle + 1) >= until;
        if !is_last || i64::from(self.special) * 1_000 < until {
            return true;
        }
        let Slot { how, at, .. } = facts.slot(history, &mut facts.holder(history), self.cycle);
        how != How::Nothing && i64::from(at) * 1_000 < until
    }

    /// Passes it; there may be a payment in it.
    #[cold]
    pub(super) fn pass(&mut self, history: &History, facts: &Facts) -> Option<Payment> {
        let mut holder = facts.holder(history);
        if self.special <= self.regular {
            self.pass_special(history, facts, &mut holder)
        } else {
            self.pass_regular(history, facts, &mut holder)
        }
    }

    fn pass_special(
        &mut self,
        history: &History,
        facts: &Facts,
        holder: &mut Recalling,
    ) -> Option<Payment> {
        let (at, what) = (self.special, self.what);
        let status = match what {
            Special::Block => Some((CardStatus::Blocked, Some(CardStatusReason::Default))),
            Special::Cancel => Some((CardStatus::Cancelled, Some(CardStatusReason::Default))),
            Special::End => facts.reason().map(|reason| (status_for(reason), Some(reason))),
            Special::Cure if self.reason == Some(CardStatusReason::Default) => {
                Some((CardStatus::Active, None))
            }
            Special::Cure | Special::None => None,
        };
        if let Some((status, reason)) = status {
            (self.status, self.reason, self.changed) = (status, reason, at);
        }
        (self.special, self.what) = facts.special(history, &holder.skeleton, at);
        let paid_at = i64::from(at) * 1_000;
        if facts.is_settled(at) {
            return Some(self.settle(facts, paid_at));
        }
        // What was owed before the history has been followed already.
        if what != Special::Cure || paid_at < history.context.plan.start() {
            return None;
        }
        let amount = self.pay(self.unpaid.into());
        // Nothing of the bill is left for its own payment.
        self.bill = 0;
        let cycle = self.cycle - i32::from(self.phase == Phase::Closing);
        let due_day = facts.due(cycle);
        Some(Payment { paid_at, amount, bill_total: amount, due_day, cycle })
    }

    /// Pays all that is owed, also what falls due later. No bill comes after that.
    fn settle(&mut self, facts: &Facts, paid_at: i64) -> Payment {
        let amount = self.used.into();
        (self.unpaid, self.charged, self.bill, self.used) = (0, 0, 0, 0);
        self.future = [0; 12];
        self.regular = u32::MAX;
        let due_day = facts.due(self.cycle);
        Payment { paid_at, amount, bill_total: amount, due_day, cycle: self.cycle }
    }

    fn pass_regular(
        &mut self,
        history: &History,
        facts: &Facts,
        holder: &mut Recalling,
    ) -> Option<Payment> {
        match self.phase {
            Phase::Closing => {
                self.close(history, facts, holder);
                None
            }
            Phase::Payment => {
                let payment = self.pay_bill(facts);
                self.go_on(facts);
                Some(payment)
            }
        }
    }

    /// Goes on to the closing of the next cycle.
    fn go_on(&mut self, facts: &Facts) {
        self.cycle += 1;
        self.phase = Phase::Closing;
        self.regular = seconds(facts.closes(self.cycle));
    }

    fn close(&mut self, history: &History, facts: &Facts, holder: &mut Recalling) {
        let unpaid = i64::from(self.unpaid);
        if unpaid > 0 {
            // 2% and 1% a month, where nothing was paid.
            let fees = if self.missed { unpaid * 3 / 100 } else { 0 };
            let wanted = unpaid * REVOLVING / 100 + fees;
            let charge = wanted.min(unpaid - 2 * i64::from(self.charged)).max(0) as i32;
            self.charged += charge;
            self.unpaid += charge;
            self.used += charge;
        }
        self.unpaid += self.future[0];
        self.bill = self.unpaid;
        self.future.rotate_left(1);
        self.future[11] = 0;
        self.peak = self.peak.max(self.spent);
        self.spent = 0;
        let Slot { how, at, late, rest, unpaid } = facts.slot(history, holder, self.cycle);
        self.review(facts, unpaid, rest);
        self.missed = how == How::Nothing;
        if self.missed {
            return self.go_on(facts);
        }
        (self.how, self.late, self.regular) = (how, late, at);
        self.phase = Phase::Payment;
    }

    /// Once a year the bank looks at the score; and it cuts the limit of those who have not paid. A cut leaves what is
    /// owed, and what was spent in any cycle of the history.
    fn review(&mut self, facts: &Facts, unpaid: i32, draw: Half) {
        let months = self.cycle - facts.month_of_issue();
        let percent = if unpaid == 2 {
            60 + draw.below(25)
        } else if months < 12 || months % 12 != 0 || self.is_blocked() {
            return;
        } else {
            let lot = i64::from(draw.below(1_000));
            // By the low bits, which hardly chose it.
            let more = draw.0 % 4 * 5;
            match facts.score() {
                score if lot < (score - 250).clamp(50, 600) => 110 + more,
                ..450 if lot > 850 => 70 + more,
                _ => return,
            }
        };
        let floor = i64::from(self.used.max(self.peak));
        let floor = (floor + STEP - 1) / STEP * STEP;
        let wanted = i64::from(self.limit) * i64::from(percent) / 100 / STEP * STEP;
        let wanted = if percent < 100 { wanted.max(floor).min(self.limit.into()) } else { wanted };
        self.limit = wanted.clamp(LEAST_LIMIT, MOST) as i32;
    }

    fn pay_bill(&mut self, facts: &Facts) -> Payment {
        let owed = i64::from(self.unpaid);
        let minimum = (owed * MINIMUM / 100).max(SMALLEST);
        let amount = self.pay(match self.how {
            How::Full => owed,
            How::Minimum => minimum,
            How::Part(percent) => (owed * i64::from(percent) / 100 / 100 * 100).max(minimum),
            How::Nothing => 0,
        });
        if self.late > 0 {
            // On the next bill: 2%, and 1% a month by the day.
            let fee = (owed * 2 / 100 + owed * i64::from(self.late) / 3_000) as i32;
            self.future[0] += fee;
            self.used += fee;
        }
        Payment {
            paid_at: i64::from(self.regular) * 1_000,
            amount,
            bill_total: self.bill.into(),
            due_day: facts.due(self.cycle),
            cycle: self.cycle,
        }
    }

    /// Pays as much as is owed at the most.
    fn pay(&mut self, amount: i64) -> i64 {
        let amount = amount.min(self.unpaid.into()) as i32;
        self.unpaid -= amount;
        self.used -= amount;
        if self.unpaid == 0 {
            self.charged = 0;
            self.missed = false;
        }
        amount.into()
    }

    /// What changes of the card's row.
    pub(super) fn standing(&self) -> Standing {
        Standing {
            limit: self.limit.into(),
            available: self.available(),
            status: self.status,
            reason: self.reason,
            changed_at: (self.changed > 0).then(|| i64::from(self.changed) * 1_000),
        }
    }
}
