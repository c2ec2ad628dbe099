//! What joins the products of a customer: month by month income, shocks, trips and spending.
//!
//! A skeleton is drawn before anything that a customer has, and all of it follows the skeleton: an account gets the
//! income, a card is used where its holder is, a loan is not paid when the income stops. Each month is a
//! function of (seed, customer, calendar month), so an entity can be made alone and in any order, and a longer history
//! adds months without a change in those that are there. Shocks, and how a customer stands by them, are in `shocks.rs`.

mod shocks;

pub use shocks::{Episode, Recalling, Shock, Standing};
pub(crate) use shocks::{LONGEST_EPISODE, months_near};

use super::Context;
use super::customer::{Customer, MINIMUM_WAGE, log2_q16};
use super::layout::{Block, Product};
use crate::brazil::calendar::{HOUR, Month, instant, local_day};
use crate::brazil::data::{Business, City, Payer};
use crate::brazil::hours::{WAKING, time_between};
use crate::brazil::reference;
use crate::civil::from_days;
use crate::plan::{FIRST_START, Plan};
use crate::rng::{Domain, Half, Rng, Word, exp2_q16, normal_q16};

/// Months from that of joining on without a shock.
const SPARED: i32 = 2;
/// Of those who may leave the bank, half have left after so many days of a history, half of the others after as many more,
/// and so on: 0.35% of all customers a month at the beginning ≈, by our own choice.
const HALF_LEAVE: u32 = 1_350;
/// Days of a history in which no customer leaves, so that what comes before it is in the history.
const STAY: i32 = 10;
/// Days before that on which a customer leaves, at the most, of what comes before it.
pub(super) const NOTICE: i32 = 7;
/// No month without the whole income, nor a block, is so near to leaving, in months.
const GOOD_BEFORE: i32 = 3;
/// One, of factors.
pub const ONE: u64 = 1 << 16;

/// Places of draws that belong to no month.
mod place {
    pub const SELF: u64 = u64::MAX;
    pub const ERAS: u64 = u64::MAX / 2;
}

/// Blocks of the draws of a month.
mod of_month {
    pub const LEVEL: u64 = 0;
    pub const TRIP: u64 = 1;
    pub const CONTRIBUTIONS: u64 = 2;
}

/// On which days an income is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payday {
    /// The fifth business day, the latest that the law allows (CLT, article 459, § 1).
    Fifth,
    /// The first day of the month, or the business day before.
    First,
    /// The last business day of the month.
    Last,
    /// 40% on the fifteenth, and the rest on the fifth business day.
    Advance,
    /// A benefit of social security, by the final digit of its number.
    Benefit(u8),
}

impl Payday {
    /// A number of one byte.
    const fn code(self) -> u8 {
        match self {
            Self::Fifth => 0,
            Self::First => 1,
            Self::Last => 2,
            Self::Advance => 3,
            Self::Benefit(place) => 4 + place,
        }
    }

    /// The one with a number.
    const fn of(code: u8) -> Self {
        match code {
            0 => Self::Fifth,
            1 => Self::First,
            2 => Self::Last,
            3 => Self::Advance,
            place => Self::Benefit(place - 4),
        }
    }

    /// Whether an income comes in the last days of its month.
    pub const fn is_late(self) -> bool {
        matches!(self, Self::Last | Self::Benefit(0..5))
    }
}

/// What of a customer's time with the bank begins or ends about the history, in two bytes: no customer who joins within a
/// history leaves in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Membership(u16);

impl Membership {
    /// It begins before the history, and has no end.
    const LASTING: Self = Self(0);
    /// From here on numbers are of days on which it ends, and those below are of months after which it has begun.
    const ENDS: u16 = 1 << 15;
    /// Days from 1970 to the first of any history.
    const FIRST_DAY: i32 = local_day(FIRST_START);

    /// It begins within the history, and there is no shock before a month.
    const fn spared_until(month: i32) -> Self {
        Self(month as u16)
    }

    /// It ends on a local day.
    const fn until(day: i32) -> Self {
        Self(Self::ENDS | (day - Self::FIRST_DAY) as u16)
    }

    /// The first month in which there may be a shock.
    const fn shocks_since(self) -> i32 {
        if self.0 < Self::ENDS { self.0 as i32 } else { 0 }
    }

    /// The local day on which it ends.
    const fn end(self) -> Option<i32> {
        match self.0.checked_sub(Self::ENDS) {
            Some(day) => Some(Self::FIRST_DAY + day as i32),
            None => None,
        }
    }
}

/// A stay in another city, in local days.
#[derive(Debug, Clone, Copy)]
pub struct Trip {
    /// The first day.
    pub first: i32,
    /// The day of return, which is no day of the trip.
    pub end: i32,
    /// Where.
    pub city: &'static City,
}

/// An account of the customer's own into which they put money month by month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pot {
    /// POUPANCA.
    Savings = 0,
    /// INVESTIMENTOS.
    Investments = 1,
}

/// The life of a customer, as far as their products share it.
#[derive(Debug, Clone, Copy)]
pub struct Skeleton {
    rng: Rng,
    row: u32,
    /// Centavos a month before tax: that of the table.
    pub income: i64,
    /// Centavos a month as they come.
    pub net: i64,
    /// How much a customer does, beside the mean of all, times [`ONE`].
    pub activity: u32,
    /// Chance in 65 536 of a shock in an era.
    odds: u16,
    /// Percent of the income that go into each pot in the months in which something does.
    shares: [u8; 2],
    phase: u8,
    payer: Payer,
    /// As of [`Payday::code`].
    payday: u8,
    /// Among the companies of their kind.
    employer: u16,
    membership: Membership,
    /// Eras that are known to have no shock, as of [`Skeleton::era_of`].
    calm: shocks::Calm,
    /// Nothing happens in the accounts.
    pub dormant: bool,
}

/// A skeleton in fewer bytes, for cursors of which there are many.
#[derive(Debug, Clone, Copy)]
pub struct Compact {
    row: u32,
    /// Centavos; no income comes near the greatest number.
    income: u32,
    net: u32,
    activity: u32,
    odds: u16,
    employer: u16,
    membership: Membership,
    shares: [u8; 2],
    phase: u8,
    payer: Payer,
    payday: u8,
    dormant: bool,
    /// No shock is near the history.
    calm: bool,
}

impl Compact {
    /// Whether the customer leaves the bank about the time of the history.
    pub const fn leaves(&self) -> bool {
        self.membership.end().is_some()
    }

    /// The whole of it.
    pub fn whole(&self, context: &Context) -> Skeleton {
        let calm = if self.calm {
            shocks::Calm::of(&context.months, self.phase)
        } else {
            shocks::Calm::default()
        };
        Skeleton {
            rng: context.rng,
            row: self.row,
            income: self.income.into(),
            net: self.net.into(),
            activity: self.activity,
            odds: self.odds,
            shares: self.shares,
            phase: self.phase,
            payer: self.payer,
            payday: self.payday,
            employer: self.employer,
            membership: self.membership,
            calm,
            dormant: self.dormant,
        }
    }
}

/// `value · factor`, for factors times [`ONE`].
#[inline]
pub const fn times(value: i64, factor: u64) -> i64 {
    ((value as i128 * factor as i128) >> 16) as i64
}

/// A log-normal factor of mean one, times [`ONE`]; `sigma_pct` is sigma times 100.
#[inline]
pub fn around_one(draw: Half, sigma_pct: i64) -> u64 {
    // e^(sigma · z − sigma² / 2), and 94 548 / 65 536 = 1 / ln 2.
    let exponent =
        i64::from(normal_q16(draw)) * sigma_pct / 100 - sigma_pct * sigma_pct * 65_536 / 20_000;
    exp2_q16(ONE, (exponent * 94_548 / 65_536) as i32)
}

/// Whether nothing happens in the accounts of the customer to whom the last draw of all months belongs.
const fn is_dormant(sleep: Word) -> bool {
    sleep.halves().0.chance(850)
}

/// The same of the customers of successive rows, without the rest of their skeletons.
pub(super) fn dormant<const N: usize>(rng: Rng, first: u64) -> [bool; N] {
    rng.rows::<N>(Domain::Skeleton, first, place::SELF).map(|[.., sleep]| is_dormant(sleep))
}

/// The calendar month of a local day, as months since the year 0.
pub(crate) const fn month_of(day: i32) -> i32 {
    let (year, month, _) = from_days(day);
    year * 12 + month as i32 - 1
}

/// Spending by month of the year, in percent.
const SEASONS: [u64; 12] = [96, 93, 97, 97, 101, 98, 99, 98, 97, 99, 106, 119];
/// Trips by month of the year, in percent.
const TRAVEL: [u32; 12] = [165, 105, 75, 85, 75, 85, 155, 80, 85, 85, 85, 120];

impl Skeleton {
    /// The skeleton of a customer.
    pub fn new(context: &Context, customer: &Customer) -> Self {
        let rng = context.rng;
        let [[active, shares, work, sleep]] =
            rng.fours::<1>(Domain::Skeleton, customer.row, place::SELF);
        let payer = customer.payer();
        let income = customer.income as i64;
        // After tax and social security ≈.
        let kept = match payer {
            Payer::Nobody => 100,
            Payer::Inss => 97,
            Payer::Private | Payer::Public => {
                95 - ((log2_q16(customer.income / 100_000 + 1) * 4) >> 16).min(20)
            }
        };
        let (level, phase) = active.halves();
        let years = (local_day(context.plan.start()) - customer.birth) * 4 / 1_461;
        let of_age = match years {
            ..25 => 115,
            25..35 => 125,
            35..45 => 112,
            45..55 => 96,
            55..65 => 76,
            _ => 52,
        };
        let doublings = log2_q16(customer.income) - const { log2_q16(MINIMUM_WAGE) };
        // With the power of 0.35 of the income.
        let of_income = exp2_q16(ONE, (doublings * 35 / 100) as i32) * 74 / 100;
        let activity = ((around_one(level, 70) * of_income) >> 16) * of_age / 100;
        // Nine in ten at a score of 300, and half as many for each 92 points more.
        let against = 300 - i64::from(customer.score);
        let odds = exp2_q16(66_000, (against * 65_536 / 92) as i32).clamp(400, 60_000) as u16;
        let odds = match payer {
            Payer::Nobody | Payer::Private => odds,
            Payer::Public | Payer::Inss => odds / 2,
        };
        let (saves, invests) = shares.halves();
        let (employer, digit) = work.halves();
        let companies = &reference().companies[business_of(payer) as usize];
        let employer =
            companies.pick_position(Word(u64::from(employer.0) << 32 | u64::from(digit.0)));
        let is_least = income <= context.minimum_wage as i64;
        let phase = phase.below(shocks::ERA as u32) as u8;
        let mut life = Self {
            rng,
            row: u32::try_from(customer.row).expect("a row of the largest bank"),
            income,
            net: income * kept / 100,
            activity: activity.min(40 * ONE) as u32,
            odds,
            shares: [3 + saves.below(12) as u8, 4 + invests.below(16) as u8],
            phase,
            payer,
            payday: payday(payer, employer as u64, digit, is_least).code(),
            employer: employer as u16,
            membership: Membership::LASTING,
            calm: shocks::Calm::default(),
            dormant: is_dormant(sleep),
        };
        if customer.created_at >= context.plan.start() {
            let month = month_of(local_day(customer.created_at));
            life.membership = Membership::spared_until(month + SPARED);
        }
        life.look_ahead(&context.months);
        if customer.created_at < context.plan.start()
            && let Some(day) = life.leaving_day(&context.plan, sleep.halves().1)
            && !life.has_ties(context)
        {
            life.membership = Membership::until(day);
        }
        life
    }

    /// The same in fewer bytes.
    pub fn compact(&self) -> Compact {
        let centavos = |amount: i64| amount.clamp(0, u32::MAX.into()) as u32;
        Compact {
            row: self.row,
            income: centavos(self.income),
            net: centavos(self.net),
            activity: self.activity,
            odds: self.odds,
            employer: self.employer,
            membership: self.membership,
            shares: self.shares,
            phase: self.phase,
            payer: self.payer,
            payday: self.payday,
            dormant: self.dormant,
            calm: self.is_calm(),
        }
    }

    /// Row of the customer.
    #[inline]
    pub const fn row(&self) -> u64 {
        self.row as u64
    }

    /// The day on which a customer of old leaves the bank about the time of the history, by a draw of all months and unless
    /// something ties them.
    fn leaving_day(&self, plan: &Plan, lot: Half) -> Option<i32> {
        let halved = lot.0.leading_zeros();
        let within = Half(lot.0.checked_shl(halved + 1).unwrap_or(0)).below(HALF_LEAVE);
        let day = local_day(plan.start()) + STAY + (halved * HALF_LEAVE + within) as i32;
        let is_near = day <= local_day(plan.as_of()) + NOTICE;
        (is_near && !self.dormant && self.owes_nothing(local_day(plan.start()), day)).then_some(day)
    }

    /// Whether all that was left unpaid in the shocks up to a day was paid, months before it.
    fn owes_nothing(&self, start: i32, day: i32) -> bool {
        let month = month_of(day);
        self.episodes(month_of(start) - shocks::REMEMBERED, month + 1)
            .all(|shock| shock.cures && shock.end() + GOOD_BEFORE <= month)
    }

    /// Whether the customer has borrowed or invests here.
    fn has_ties(&self, context: &Context) -> bool {
        let block = Block::of(context, self.row());
        [Product::Loan, Product::Investments].iter().any(|&product| block.has(product, self.row()))
    }

    /// When the customer leaves the bank, if they do about the time of the history: by day.
    pub fn leaves_at(&self) -> Option<i64> {
        let time = 11 * HOUR + (self.row().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as i64;
        self.membership.end().map(|day| instant(day, time))
    }

    /// Whether the customer has not left by the end of a local day.
    pub fn stays_through(&self, day: i32) -> bool {
        self.membership.end().is_none_or(|end| day < end)
    }

    /// Who pays the income.
    pub const fn payer(&self) -> Payer {
        self.payer
    }

    /// Kind of who pays the income.
    pub const fn business_of_payer(&self) -> Business {
        business_of(self.payer)
    }

    /// On which days the income comes.
    pub const fn payday(&self) -> Payday {
        Payday::of(self.payday)
    }

    /// Position of who pays the income among the companies of their kind.
    pub const fn employer(&self) -> usize {
        self.employer as usize
    }

    fn draws(&self, month: i32, block: u64) -> [Word; 4] {
        self.rng.four(Domain::Skeleton, self.row(), month as u64, block)
    }

    /// What comes in during a month, in centavos.
    pub fn income_in(&self, month: i32) -> i64 {
        if self.is_shunned(month) {
            return 0;
        }
        match self.episode(month).map(|episode| episode.shock) {
            Some(Shock::Stops) => 0,
            Some(Shock::Halves) => self.net / 2,
            Some(Shock::Blocked) | None => self.net,
        }
    }

    /// The same, where the standing of the month is known.
    pub fn income_with(&self, standing: Standing, month: i32) -> i64 {
        match standing {
            Standing { shunned: true, .. } => 0,
            Standing { distress: 0, .. } => self.net,
            _ => self.income_in(month),
        }
    }

    /// The trip of a month, if there is one.
    pub fn trip(&self, month: i32) -> Option<Trip> {
        let [chance, when, place, _] = self.draws(month, of_month::TRIP);
        let doublings =
            (log2_q16(self.income as u64) - const { log2_q16(MINIMUM_WAGE) }).max(0) >> 16;
        let percent = (46 + 14 * doublings as u32).min(95);
        let of_10_000 = percent * TRAVEL[month.rem_euclid(12) as usize];
        if !chance.halves().0.chance(of_10_000) || self.distress(month) > 0 {
            return None;
        }
        let (length, start) = when.halves();
        let days = 2 + length.below(10) as i32;
        let first = crate::civil::to_days(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1)
            + start.below((28 - days) as u32) as i32;
        Some(Trip { first, end: first + days, city: reference().cities.pick(place) })
    }

    /// When the income of a month comes: local days with the percentage of it.
    pub fn paydays(&self, month: &Month) -> [Option<(i32, i64)>; 2] {
        if self.payer == Payer::Nobody {
            return [None, None];
        }
        match self.payday() {
            Payday::Fifth => [Some((month.business_days[4], 100)), None],
            Payday::First => [Some((month.business_day_until(0), 100)), None],
            Payday::Last => [Some((month.last_business_days[4], 100)), None],
            Payday::Advance => {
                [Some((month.business_days[4], 60)), Some((month.business_day_until(14), 40))]
            }
            Payday::Benefit(place) => [Some((month.benefit_day(place), 100)), None],
        }
    }

    /// What goes into each pot in a month whose standing is known.
    pub fn contributions(&self, month: &Month, standing: Standing) -> [Option<(i64, i64)>; 2] {
        if self.dormant || !standing.is_good() {
            return [None; 2];
        }
        let words = self.draws(month.number, of_month::CONTRIBUTIONS);
        [Pot::Savings, Pot::Investments].map(|pot| self.put_by(month, pot, words))
    }

    fn put_by(&self, month: &Month, pot: Pot, words: [Word; 4]) -> Option<(i64, i64)> {
        let (chance, when) = words[pot as usize].halves();
        let of_10_000 = [6_500, 8_000][pot as usize];
        if self.dormant || !chance.chance(of_10_000) {
            return None;
        }
        let percent = i64::from(self.shares[pot as usize]);
        // People put by round sums: fifties, and hundreds from a thousand on.
        let amount = self.net * percent / 100;
        let step = if amount < 100_000 { 5_000 } else { 10_000 };
        // In the days after payday, and when what is traded until the day has settled.
        let day = month.payday() + 1 + when.below(6) as i32;
        let (savings, investments) = words[2].halves();
        let time = match pot {
            Pot::Savings => time_between(WAKING, savings),
            Pot::Investments => time_between(10..WAKING.end, investments),
        };
        Some((instant(day, time), (amount / step * step).max(5_000)))
    }
}

const fn business_of(payer: Payer) -> Business {
    match payer {
        Payer::Public => Business::Government,
        Payer::Inss => Business::Inss,
        Payer::Private | Payer::Nobody => Business::Firm,
    }
}

/// By employer, so that all who work there are paid on one day.
fn payday(payer: Payer, employer: u64, digit: Half, is_least: bool) -> Payday {
    match payer {
        Payer::Public => Payday::Last,
        // Benefits of a minimum wage are paid by digit over ten days, greater ones over five.
        Payer::Inss if is_least => Payday::Benefit(digit.below(10) as u8),
        Payer::Inss => Payday::Benefit(5 + digit.below(5) as u8),
        Payer::Private | Payer::Nobody => {
            match employer.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 & 0xF {
                0..9 => Payday::Fifth,
                9..11 => Payday::First,
                11..13 => Payday::Last,
                _ => Payday::Advance,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::DEFAULT_AS_OF;

    pub(super) const MONTH: i32 = 2_026 * 12 + 4;

    pub(super) fn skeletons(n: u64) -> Vec<Skeleton> {
        let context = Context::new(Plan::try_new(1, n, DEFAULT_AS_OF, 90).expect("a plan"));
        (0..n).map(|row| Skeleton::new(&context, &Customer::new(&context, row))).collect()
    }

    /// In thousandths.
    fn mean(all: &[Skeleton], of: impl Fn(&Skeleton) -> u64) -> u64 {
        all.iter().map(|one| of(one) * 1_000).sum::<u64>() / all.len() as u64
    }

    #[test]
    fn shares_are_as_meant() {
        let all = skeletons(20_000);
        let activity = mean(&all, |s| u64::from(s.activity)) / ONE;
        let distressed = mean(&all, |s| u64::from(s.distress(MONTH) > 0));
        let shunned = mean(&all, |s| u64::from(s.is_shunned(MONTH)));
        let away = mean(&all, |s| s.trip(MONTH).map_or(0, |t| (t.end - t.first) as u64)) / 31;
        assert!((850..1_100).contains(&activity), "{activity}");
        assert!((20..60).contains(&distressed), "{distressed}");
        // Of all adults, 49.7% owe something overdue somewhere (Serasa, December 2025).
        assert!((110..190).contains(&shunned), "{shunned}");
        assert!((50..110).contains(&away), "{away}");
    }
}
