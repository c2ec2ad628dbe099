//! What a movement does to the balance.

use super::amounts::{amount, round};
use super::month::{Due, What};
use super::{Ledger, Refundable};
use crate::brazil::calendar::{DAY, HOUR, local_day, local_time};
use crate::brazil::data::{Party, Purpose, Sums};
use crate::brazil::{rates, reference};
use crate::catalog::AccountType;
use crate::catalog::Direction::{self, Credit, Debit};
use crate::catalog::TransactionStatus::{self, Completed, Declined, Reversed};
use crate::catalog::TransactionType::{
    self, CardBill, Deposit, Fee, Interest, LoanDisbursement, LoanInstallment, Pix, Salary,
    Settlement, Tax, Ted, Transfer, Withdrawal,
};
use crate::event::History;
use crate::rng::{Half, Word};

/// Most that a person may send by Pix between 20:00 and 06:00, in centavos (Banco Central ≈).
pub(super) const NIGHT_CAP: i64 = 100_000;
/// Most that comes at once to who is in want, beside what is left of the income, in centavos.
const GIVEN: i64 = 18_000;

/// What an event does to the account.
pub(super) struct Movement {
    pub(super) time: i64,
    pub(super) what: What,
    pub(super) kind: TransactionType,
    pub(super) direction: Direction,
    pub(super) amount: i64,
    pub(super) status: TransactionStatus,
    pub(super) balance: i64,
    /// What is left of its draws.
    pub(super) draw: Half,
    pub(super) purpose: Option<&'static Purpose>,
    /// The payment that it gives back.
    pub(super) original: Option<u32>,
}

impl Movement {
    /// Whether a firm was paid that may give the money back.
    pub(super) fn is_refundable(&self) -> bool {
        self.what == What::Free
            && self.kind == Pix
            && self.direction == Debit
            && self.status == Completed
            && self.purpose.is_some_and(|purpose| purpose.party == Party::Firm)
    }
}

fn kind(history: &History, account: AccountType, time: i64, draw: Half) -> TransactionType {
    let (of_day, business) = (local_time(time), history.days.at(local_day(time)).business);
    // TED is ordered on business days, before 17:00; machines give no cash at night (Febraban).
    let ted = business && (7 * HOUR..17 * HOUR).contains(&of_day);
    let cash = (6 * HOUR..22 * HOUR).contains(&of_day);
    match (account, draw.below(1000)) {
        (AccountType::Checking, 0..40) if ted => Ted,
        (AccountType::Checking, 40..75) | (AccountType::Savings, 0..450) if cash => Deposit,
        (AccountType::Checking, 75..165) | (AccountType::Savings, 450..850) if cash => Withdrawal,
        _ => Pix,
    }
}

impl Ledger {
    /// What the next event does; the dues before it are passed.
    #[inline]
    pub(super) fn movement(
        &mut self,
        history: &History,
        due: Option<Due>,
        time: i64,
        draws: [Word; 4],
    ) -> Movement {
        if let Some(due) = due.filter(|due| due.what == What::Woven)
            && let Some(movement) = self.woven(history, &due, time, draws)
        {
            return movement;
        }
        if let Some(due) = due
            && let Some((kind, signed)) = self.of_due(&due, time, draws)
        {
            let (direction, amount) = if signed < 0 { (Debit, -signed) } else { (Credit, signed) };
            let original = (due.what == What::Refund)
                .then(|| self.refundable.take().map(|one| one.number.get() - 1))
                .flatten();
            let what = match due.what {
                What::Sweep | What::ToElsewhere if signed > 0 => What::Cover,
                what => what,
            };
            return Movement {
                time,
                what,
                kind,
                direction,
                amount,
                status: Completed,
                balance: self.balance + signed,
                draw: draws[2].halves().1,
                purpose: None,
                original,
            };
        }
        let closes = due.is_some_and(|due| due.what == What::Close);
        if closes || self.account.kind == AccountType::Investments {
            return self.of_nothing(time, draws);
        }
        self.of_choice(history, time, draws)
    }

    /// An order to send more than there is: what a movement of nothing is where no other may come.
    fn of_nothing(&self, time: i64, [_, _, money, _]: [Word; 4]) -> Movement {
        let (size, draw) = money.halves();
        Movement {
            time,
            what: What::ToElsewhere,
            kind: Transfer,
            direction: Debit,
            amount: ((self.balance + self.account.overdraft_limit) / 5_000
                + 1
                + i64::from(size.below(20)))
                * 5_000,
            status: Declined,
            balance: self.balance,
            draw,
            purpose: None,
            original: None,
        }
    }

    /// Type and centavos of what was known beforehand; nothing if it comes to nothing.
    fn of_due(&mut self, due: &Due, time: i64, draws: [Word; 4]) -> Option<(TransactionType, i64)> {
        let signed = match due.what {
            What::Cover | What::Sweep => self.square(due.what, draws[2].halves().0)?,
            What::Overdraft => -self.interest()?,
            What::Tax => -self.tax(time)?,
            What::Refund => {
                let Refundable { amount, .. } = self.refundable?;
                amount
            }
            What::Yield => self.yielded(time)?,
            What::FromSavings if self.account.kind == AccountType::Savings => {
                -self.taken(draws[2])?
            }
            What::Close => -self.balance,
            _ => due.amount(),
        };
        if signed == 0 {
            return None;
        }
        let kind = match due.what {
            What::Salary | What::Advance | What::Thirteenth | What::Benefit => Salary,
            What::CardBill => CardBill,
            What::Installment => LoanInstallment,
            What::Disbursement => LoanDisbursement,
            What::ToSavings
            | What::FromSavings
            | What::ToInvestments
            | What::FromChecking
            | What::Cover
            | What::Sweep
            | What::ToElsewhere
            | What::Opening
            | What::Close => Transfer,
            What::Fee => Fee,
            What::Overdraft | What::Yield => Interest,
            What::Tax => Tax,
            What::Settlement => Settlement,
            What::Purchase => Ted,
            _ => Pix,
        };
        Some((kind, signed))
    }

    /// What has to come so that all dues of the month can be paid, or goes so that no more is left than usual; in round
    /// sums.
    fn square(&self, what: What, draw: Half) -> Option<i64> {
        let available = self.available();
        if available < 0 {
            return Some((999 - available) / 1_000 * 1_000);
        }
        let usual = self.usual() * i64::from(70 + draw.below(61)) / 100;
        let excess = self.balance - usual;
        if what == What::Cover || excess < (usual / 8).max(10_000) {
            return None;
        }
        let sum = excess.min(available);
        let step = if sum >= 100_000 { 5_000 } else { 1_000 };
        (sum >= step).then_some(-(sum / step * step))
    }

    /// What is left in the account in the long run: in want hardly anything.
    const fn usual(&self) -> i64 {
        if self.standing.is_needy() { 5_000 } else { self.habits.usual }
    }

    /// What the overdraft of the time since the last interest costs.
    fn interest(&mut self) -> Option<i64> {
        let owed = std::mem::take(&mut self.owed);
        let rate = i128::from(rates::OVERDRAFT_MONTH);
        let interest = (i128::from(owed) * rate / (30 * i128::from(DAY) * 1_000_000)) as i64;
        let most = self.available() - self.floor() + self.account.overdraft_limit;
        let interest = interest.min(most / 2);
        (interest > 0).then_some(interest)
    }

    /// IOF on what is owed, for a month.
    fn tax(&self, at: i64) -> Option<i64> {
        let most = self.available() - self.floor() + self.account.overdraft_limit;
        let tax = rates::iof(local_day(at), (-self.balance).max(0), 30).min(most);
        (tax > 0).then_some(tax)
    }

    /// Interest of a month of POUPANCA.
    fn yielded(&self, at: i64) -> Option<i64> {
        let rate = i128::from(rates::savings_month(local_day(at)));
        let interest = (i128::from(self.balance) * rate / 1_000_000) as i64;
        (interest > 0).then_some(interest)
    }

    /// What is taken out of POUPANCA at a time, in tens of reais; in want nearly all.
    fn taken(&self, draw: Word) -> Option<i64> {
        let want = self.standing.is_needy();
        let (share, _) = draw.halves();
        let percent = if want { 92 } else { 5 + i64::from(share.below(30)) };
        let sum = self.balance * percent / 100 / 1_000 * 1_000;
        (sum > 0).then_some(sum)
    }

    /// A movement that was not known beforehand.
    fn of_choice(
        &self,
        history: &History,
        time: i64,
        [_, what, money, fate]: [Word; 4],
    ) -> Movement {
        let (which, side) = what.halves();
        let (size, draw) = money.halves();
        let (portion, fate) = fate.halves();
        let kind = kind(history, self.account.kind, time, which);
        let available = self.available();
        // Money comes in when there is little, and goes out when there is much.
        let usual = self.usual();
        let credits = match self.balance {
            _ if self.account.kind == AccountType::Savings => 5_500,
            balance if balance < usual / 2 => 5_600,
            balance if balance < usual => 4_600,
            // Who is in want spends what comes.
            _ if self.standing.is_needy() => 1_000,
            balance if balance < usual * 2 => 3_600,
            balance if balance < usual * 5 => 2_600,
            _ => 1_500,
        };
        let wants = match kind {
            Deposit => Credit,
            Withdrawal => Debit,
            _ if side.chance(credits) => Credit,
            _ => Debit,
        };
        // Those who have nothing to give are given.
        let broke = wants == Debit && available < 1_000;
        let declined = broke && kind != Withdrawal && fate.0 % 6 == 0;
        let (kind, direction) = match (broke && !declined, kind) {
            (true, Withdrawal) => (Deposit, Credit),
            (true, _) => (Pix, Credit),
            (false, _) => (kind, wants),
        };
        let choice = Word(
            (u64::from(side.0) << 32 | u64::from(portion.0)).wrapping_mul(0x9E37_79B9_7F4A_7C15),
        );
        let purposes = &reference().purposes[kind as usize][direction as usize];
        let mut purpose = purposes.pick(choice);
        let night = !(6 * HOUR..20 * HOUR).contains(&local_time(time));
        let most = match direction {
            _ if kind == Pix && night => NIGHT_CAP,
            Credit if self.standing.is_needy() => GIVEN,
            _ => i64::MAX,
        };
        let within = if direction == Debit && !declined { available } else { i64::MAX };
        if most.min(within) < purpose.least {
            purpose = purposes.plain(purpose);
        }
        let mut amount = amount(purpose, self.habits.scale.into(), most, size);
        // Most people look at their balance first and pay what they can.
        if amount > within {
            let sums = if kind == Withdrawal { Sums::Notes } else { Sums::Mixed };
            let least = if self.standing.is_needy() { 50 } else { 10 };
            let percent = i64::from(least + portion.below(80 - least));
            let part = purpose.least + (available - purpose.least) * percent / 100;
            amount = round(sums, part, draw);
            if amount > available {
                amount = if kind == Withdrawal {
                    available / 1_000 * 1_000
                } else {
                    available.min(part)
                };
            }
        }
        let declined = declined && amount > self.balance + self.account.overdraft_limit;
        let status = match () {
            () if declined => Declined,
            () if direction == Debit && amount > available => Reversed,
            () if fate.0 % 400 == 0 => Reversed,
            () => Completed,
        };
        let moved = match (status, direction) {
            (Completed, Credit) => amount,
            (Completed, _) => -amount,
            _ => 0,
        };
        Movement {
            time,
            what: What::Free,
            kind,
            direction,
            amount,
            status,
            balance: self.balance + moved,
            draw,
            purpose: Some(purpose),
            original: None,
        }
    }
}
