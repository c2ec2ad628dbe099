//! What is known beforehand of a month of an account: what falls due in it, and how much else happens.

use std::cell::OnceCell;
use std::ops::Range;

use super::inside::{self, Leg};
use super::routine::Routine;
use super::{Feeds, Ledger};
use crate::brazil::calendar::{DAY, HOUR, Month, SATURDAY, instant, local_day, weekday};
use crate::brazil::data::Payer;
use crate::brazil::hours::{DAYLIGHT, WAKING, time_between};
use crate::catalog::AccountType;
use crate::entity::account::Account;
use crate::entity::skeleton::{ONE, Pot, Standing};
use crate::event::History;
use crate::event::trade::CashKind;
use crate::rng::{Domain, Half, Word, poisson};

/// What a movement is; what is not `Free` is known beforehand. The numbers are positions in `dues.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum What {
    Salary,
    Advance,
    Thirteenth,
    Benefit,
    Earnings,
    Rent,
    Energy,
    Water,
    Internet,
    School,
    CardBill,
    Installment,
    Disbursement,
    ToSavings,
    FromSavings,
    ToInvestments,
    FromChecking,
    Fee,
    Overdraft,
    Tax,
    /// From an account elsewhere, so that what falls due can be paid.
    Cover,
    /// To the account elsewhere, so that no more is left than usual.
    Sweep,
    InsideIn,
    InsideOut,
    Refund,
    Yield,
    Settlement,
    ToElsewhere,
    Close,
    Purchase,
    /// The first deposit, from an account elsewhere.
    Opening,
    Free,
    /// A step of a scenario, whose number is that of the due.
    Woven,
}

impl What {
    /// Whether it leaves the account, and has to.
    pub(super) const fn is_paid(self) -> bool {
        matches!(
            self,
            Self::Rent
                | Self::Energy
                | Self::Water
                | Self::Internet
                | Self::School
                | Self::CardBill
                | Self::Installment
                | Self::ToSavings
                | Self::ToInvestments
                | Self::Fee
                | Self::InsideOut
                | Self::Purchase
        )
    }
}

/// A movement that is known beforehand, in order of time. There are many in memory at a time, so that amounts have 48
/// bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    /// Milliseconds of the month.
    at: u32,
    pub(super) what: What,
    /// Which of its kind in the month.
    pub(super) number: u8,
    high: i16,
    low: u32,
}

impl Due {
    fn new(at: i64, what: What, number: u8, amount: i64) -> Self {
        let high = (amount >> 32) as i16;
        let due = Self { at: at as u32, what, number, high, low: amount as u32 };
        assert!(due.amount() == amount, "{amount} centavos");
        due
    }

    /// Centavos, negative if they are paid; 0 if they follow from the balance.
    pub(super) const fn amount(&self) -> i64 {
        (self.high as i64) << 32 | self.low as i64
    }

    /// When it happens, in milliseconds.
    pub(super) const fn time(&self, month: &Month) -> i64 {
        instant(month.first_day, self.at as i64)
    }
}

/// Movements of usual accounts in 30 days that are not known beforehand, times [`ONE`]: where the income comes in, and
/// elsewhere.
const FREE_MAIN: u64 = ONE * 168 / 100;
const FREE_SIDE: u64 = ONE * 70 / 100;
/// The same of a POUPANCA account.
const FREE_SAVINGS: u64 = ONE / 4;
/// How long after an account is opened the first deposit comes, in milliseconds.
const FIRST_DEPOSIT: i64 = HOUR / 4;
/// Centavos of it at the most.
const MOST_AT_FIRST: i64 = 500_000;

/// What is known of a month before what is due in it.
pub(super) struct Prospect<'a> {
    pub(super) month: &'a Month,
    pub(super) standing: Standing,
    /// How much happens beside other months of the customer, times [`ONE`].
    business: u64,
    /// Draws that are of no single movement.
    draws: [Word; 4],
    /// Payments between customers, found when they are asked for.
    legs: OnceCell<[Option<Leg>; inside::WEEKS]>,
}

impl<'a> Prospect<'a> {
    pub(super) fn new(history: &History, account: &Account, month: &'a Month) -> Self {
        let (standing, business) = account.life.standing_and_business(month.number);
        let place = (month.number as u64) << 16 | 0xFFFF;
        let draws = history.context.rng.four(Domain::Transaction, account.row, place, 0);
        Self { month, standing, business, draws, legs: OnceCell::new() }
    }

    fn legs(&self, history: &History, account: &Account) -> &[Option<Leg>] {
        if !self.standing.is_good() {
            return &[];
        }
        let find = || inside::legs(history, &account.life, account.opened_at, self.month);
        self.legs.get_or_init(find)
    }
}

/// How many kinds of dues there are.
const KINDS: usize = What::Woven as usize + 1;
/// Dues of a month at the most that ask for no more memory while they are found.
const USUAL: usize = 32;

/// What is found of a month in one go.
pub(super) struct Found {
    pub(super) dues: Vec<Due>,
    /// How many there are of each kind.
    of_kind: [u8; KINDS],
    begins: i64,
    clip: Range<i64>,
}

impl Found {
    fn new(month: &Month, clip: Range<i64>) -> Self {
        let begins = instant(month.first_day, 0);
        Self { dues: Vec::with_capacity(USUAL), of_kind: [0; KINDS], begins, clip }
    }

    pub(super) fn add(&mut self, what: What, time: i64, amount: i64) {
        if self.clip.contains(&time) {
            let number = self.of_kind[what as usize];
            self.of_kind[what as usize] += 1;
            self.dues.push(Due::new(time - self.begins, what, number, amount));
        }
    }

    /// Adds what has a number of its own, and an amount that follows from the balance.
    pub(super) fn add_numbered(&mut self, what: What, number: u8, time: i64) {
        if self.clip.contains(&time) {
            self.dues.push(Due::new(time - self.begins, what, number, 0));
        }
    }

    /// In the month, so many days after its first.
    fn add_on(&mut self, what: What, day: i32, time: i64, amount: i64) {
        self.add(what, self.begins + i64::from(day) * DAY + time, amount);
    }
}

/// The instants of a month in which an account moves: open, not blocked, and within the history.
pub(super) fn clip(
    history: &History,
    account: &Account,
    month: &Month,
    standing: Standing,
) -> Range<i64> {
    let plan = &history.context.plan;
    let instants = month.instants();
    let sleeps = account.kind == AccountType::Checking && account.life.dormant;
    let start = instants.start.max(plan.start()).max(account.opened_at);
    if standing.blocked || sleeps {
        // But for the end of an account.
        let end = account.closed_at.saturating_add(1).min(plan.as_of());
        return if instants.contains(&account.closed_at) {
            account.closed_at.max(start)..end
        } else {
            0..0
        };
    }
    start..instants.end.min(plan.as_of()).min(account.closed_at.saturating_add(1))
}

impl Ledger {
    /// How many movements of a month are not known beforehand.
    pub(super) fn free_in(&self, prospect: &Prospect<'_>, clip: &Range<i64>) -> u16 {
        let life = &self.account.life;
        let base = match self.account.kind {
            AccountType::Checking if self.habits.is_main => FREE_MAIN,
            AccountType::Checking => FREE_SIDE,
            AccountType::Savings => FREE_SAVINGS,
            AccountType::Investments => return 0,
        };
        if life.dormant {
            return 0;
        }
        let usual = (((base * u64::from(life.activity)) >> 16) * prospect.business) >> 16;
        let span = (clip.end - clip.start) as u64;
        let mean = usual * (span / 1_000) / (30 * DAY as u64 / 1_000);
        poisson(prospect.draws[0].halves().0, mean.min(600 * ONE)) as u16
    }

    /// What is due in a month, in order; it follows from no balance. Amounts are those that are known beforehand. What
    /// other products ask for is left out unless they are `fed`.
    pub(super) fn find(
        &mut self,
        history: &History,
        prospect: &Prospect<'_>,
        clip: Range<i64>,
        fed: bool,
    ) -> Vec<Due> {
        let mut dues = self.find_in_no_order(history, prospect, clip, fed);
        dues.sort_unstable();
        dues
    }

    /// The same, for those who only count.
    pub(super) fn find_in_no_order(
        &mut self,
        history: &History,
        prospect: &Prospect<'_>,
        clip: Range<i64>,
        fed: bool,
    ) -> Vec<Due> {
        let mut found = Found::new(prospect.month, clip);
        if self.account.closed_at < found.clip.end {
            found.add(What::Close, self.account.closed_at, 0);
        }
        match self.account.kind {
            AccountType::Checking if self.account.life.dormant => {}
            AccountType::Checking => self.find_checking(history, &mut found, prospect, fed),
            AccountType::Savings => self.find_savings(&mut found, prospect),
            AccountType::Investments => self.find_investments(history, &mut found, prospect.month),
        }
        found.dues
    }

    fn find_checking(
        &mut self,
        history: &History,
        found: &mut Found,
        prospect: &Prospect<'_>,
        fed: bool,
    ) {
        let (month, clip) = (prospect.month, found.clip.clone());
        let [_, days, sides, refunds] = prospect.draws;
        let distress = prospect.standing.distress;
        let life = self.account.life;
        if self.account.opened_at >= history.context.plan.start() {
            let usual = self.habits.usual * (50 + (days.0 >> 20 & 0x7F) as i64) / 100;
            let time = self.account.opened_at + FIRST_DEPOSIT;
            found.add(What::Opening, time, (usual / 1_000 * 1_000).clamp(1_000, MOST_AT_FIRST));
        }
        // Who joins is paid here, and pays from here, from the next month on.
        let has_moved = month.first_day > local_day(self.account.opened_at);
        if self.habits.is_main && has_moved {
            let routine = Routine::new(history, &self.account);
            self.find_income(prospect, found);
            let bills = [What::Rent, What::Energy, What::Water, What::Internet, What::School];
            for (what, bill) in bills.into_iter().zip(&routine.bills) {
                if bill.amount > 0 && distress < 2 {
                    // Meters and contracts move by a day or two.
                    let metered = matches!(what, What::Energy | What::Water);
                    let shift = (days.0 >> (4 * what as u32 % 32) & 0x3) as i32 - 1;
                    let percent = if metered {
                        80 + (sides.0 >> (5 * what as u32 % 48) & 0x1F) as i64 * 40 / 31
                    } else {
                        100
                    };
                    found.add_on(what, bill.day + shift, bill.time, -(bill.amount * percent / 100));
                }
            }
            if routine.fee > 0 {
                let days = [month.business_days, month.last_business_days];
                let day = days.as_flattened()[routine.fee_on];
                found.add(What::Fee, instant(day, 6 * HOUR + HOUR / 2), -routine.fee);
            }
        }
        for leg in prospect.legs(history, &self.account).iter().flatten() {
            let (what, amount) = if leg.pays {
                (What::InsideOut, -leg.amount)
            } else {
                (What::InsideIn, leg.amount)
            };
            found.add(what, leg.time, amount);
        }
        if fed {
            self.find_obligations(found, prospect);
        }
        if self.floor() > 0 || distress > 1 && self.account.overdraft_limit > 0 {
            let own = (life.row().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as usize % 10;
            let days = [month.business_days, month.last_business_days];
            let day = days.as_flattened()[own];
            let (interest, tax) = Word(refunds.0.rotate_left(23)).halves();
            found.add(What::Overdraft, instant(day, time_between(7..13, interest)), 0);
            found.add(What::Tax, instant(day, time_between(13..20, tax)), 0);
        }
        if refunds.halves().0.chance(350) {
            found.add_on(
                What::Refund,
                3 + (refunds.0 % 24) as i32,
                time_between(WAKING, Half((refunds.0 >> 6) as u32)),
                0,
            );
        }
        // About payday what is left is made what is usual, and enough for the rest of the month; what must be paid before
        // is covered before the first of it.
        let squared = self.squared_at(month, sides);
        let first =
            found.dues.iter().filter(|due| due.what.is_paid()).map(|due| due.time(month)).min();
        if self.habits.is_main || first.is_some() {
            found.add(What::Sweep, squared, 0);
        }
        if let Some(first) = first.filter(|&first| first < squared || squared < clip.start) {
            let (late, time) = sides.halves();
            // On one of the days until then, at most a week from the first on.
            let begins = local_day(clip.start);
            let days = (local_day(first) - begins).clamp(1, 7) as u32;
            let day = begins + late.below(days) as i32;
            let time = Some(instant(day, time_between(WAKING, time)))
                .filter(|time| (clip.start..first).contains(time))
                .unwrap_or_else(|| {
                    let before = first.min(clip.start + DAY) - clip.start;
                    clip.start + sides.below(before.max(1) as u64) as i64
                });
            found.add(What::Cover, time, 0);
        }
        if history.context.plan.labels().is_some() {
            self.find_woven(history, found, prospect);
        }
    }

    /// When in a month what is left is squared: in the days from payday on, or where there is none on a day of the
    /// customer's own.
    fn squared_at(&self, month: &Month, draw: Word) -> i64 {
        let life = &self.account.life;
        let (day, time) = draw.halves();
        let own = month.first_day
            + 1
            + (life.row().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as i32 % 26;
        let payday = life.paydays(month)[0].map(|(day, _)| day).filter(|_| self.habits.is_main);
        let day = match payday {
            None => own,
            // Those who are paid at the end of a month move it at the beginning of the next.
            Some(last) if last > month.first_day + 15 => month.first_day + day.below(6) as i32,
            // Half of the people see to it at the weekend, and the others at once or in the next days.
            Some(payday) if day.0 & 1 == 0 => {
                let saturday = payday + (SATURDAY - weekday(payday)).rem_euclid(7);
                saturday + day.below(2) as i32
            }
            Some(payday) => payday + day.below(5) as i32,
        };
        instant(day, time_between(8..23, time))
    }

    /// The incomes of a month.
    fn find_income(&self, prospect: &Prospect<'_>, found: &mut Found) {
        let (month, [_, days, ..]) = (prospect.month, prospect.draws);
        let life = &self.account.life;
        let income = life.income_with(prospect.standing, month.number);
        // At night, when banks run the files of those who pay.
        let night = 5 * HOUR + i64::from(days.halves().0.below(3 * HOUR as u32));
        let benefit = life.payer() == Payer::Inss;
        for (n, (day, percent)) in life.paydays(month).into_iter().flatten().enumerate() {
            let what = if benefit {
                What::Benefit
            } else if n == 0 {
                What::Salary
            } else {
                What::Advance
            };
            if income > 0 {
                found.add(what, instant(day, night), income * percent / 100);
            }
        }
        if let Some(day) = month.thirteenth.filter(|_| income > 0 && life.payer() != Payer::Nobody)
        {
            found.add(What::Thirteenth, instant(day, night), income / 2);
        }
        if life.payer() == Payer::Nobody && income > 0 {
            // Those who work for themselves are paid by their clients.
            let clients = 1 + days.below(3) as i64;
            for n in 0..clients {
                let part = days.0.rotate_left(13 * n as u32) & 0x3F;
                let amount = income / clients * (70 + part as i64 * 60 / 63) / 100;
                let day = (days.0.rotate_left(7 + 11 * n as u32) % 26) as i32;
                let time = Half(days.0.rotate_left(17 + 9 * n as u32) as u32);
                let time = time_between(DAYLIGHT, time);
                found.add_on(What::Earnings, day, time, amount / 1_000 * 1_000);
            }
        }
    }

    fn find_savings(&self, found: &mut Found, prospect: &Prospect<'_>) {
        let life = &self.account.life;
        // On the day of the month on which the first deposit was made, up to the 28th (Law 8.177 of 1991).
        let day = (self.account.row % 28) as i32;
        found.add_on(What::Yield, day, 5 * HOUR, 0);
        let contributions = life.contributions(prospect.month, prospect.standing);
        if let Some((time, amount)) = contributions[Pot::Savings as usize] {
            found.add(What::FromChecking, time, amount);
        }
        let [_, chance, when, _] = prospect.draws;
        let often = if prospect.standing.is_needy() { 9_000 } else { 900 };
        if !life.dormant && chance.halves().0.chance(often) {
            let time = time_between(WAKING, when.halves().0);
            found.add_on(What::FromSavings, 1 + (when.0 % 26) as i32, time, 0);
        }
    }
}

impl Ledger {
    /// What other products of the customer ask for in a month.
    fn find_obligations(&self, found: &mut Found, prospect: &Prospect<'_>) {
        let (life, month) = (&self.account.life, prospect.month);
        let pots = [Pot::Savings, Pot::Investments].map(|pot| self.feeds.pot(pot));
        if pots.iter().any(|pot| !pot.is_empty()) {
            let whats = [What::ToSavings, What::ToInvestments];
            let all = life.contributions(month, prospect.standing).into_iter().zip(whats);
            for (pot, (contribution, what)) in pots.iter().zip(all) {
                if let Some((time, amount)) = contribution.filter(|(time, _)| pot.contains(time)) {
                    found.add(what, time, -amount);
                }
            }
        }
        self.feeds.claims_in(found, &month.instants());
    }

    /// What is due in a month beside what other products ask for, in no order.
    pub(super) fn dues_of(&mut self, history: &History, month: &Month) -> Vec<Due> {
        let prospect = Prospect::new(history, &self.account, month);
        let clip = clip(history, &self.account, month, prospect.standing);
        if clip.is_empty() {
            Vec::new()
        } else {
            self.find_in_no_order(history, &prospect, clip, false)
        }
    }

    /// What an investor's cash does in a month.
    fn find_investments(&mut self, history: &History, found: &mut Found, month: &Month) {
        let life = self.account.life;
        let Feeds::Investor(investor) = &mut self.feeds else { return };
        let end = month.instants().end;
        while investor.peek_cash_event(history).is_some_and(|time| time < end) {
            let flow = investor.next_cash_event(history, &life).expect("a flow");
            let what = match flow.kind {
                CashKind::Settlement { .. } => What::Settlement,
                CashKind::Contribution => What::FromChecking,
                CashKind::Withdrawal => What::ToElsewhere,
            };
            found.add(what, flow.time, flow.amount);
        }
    }
}
