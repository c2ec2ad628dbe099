//! What happens to a customer: shocks that stop an income or block accounts, and how the customer stands in a month.

use std::ops::RangeInclusive;

use super::{Pot, SEASONS, Skeleton, around_one, month_of, of_month, place};
use crate::brazil::calendar::{Month, local_day};
use crate::catalog::AccountStatusReason;
use crate::plan::Plan;
use crate::rng::{Domain, Word};

/// Months in which there is one shock at the most.
pub(super) const ERA: i32 = 24;
/// Months of a shock at the most.
pub(crate) const LONGEST_EPISODE: i32 = 14;
/// For how many eras a debt that was never paid follows a customer ≈; claims lapse after five years
/// (Civil Code, article 206, § 5).
const MEMORY: i32 = 3;
/// The same in months, at the most.
pub(super) const REMEMBERED: i32 = MEMORY * ERA;

/// Months before a history whose shocks are asked for again and again.
const BEFORE: i32 = 6;

/// The months of a history, some before it and the one after.
pub(crate) fn months_near(plan: &Plan) -> RangeInclusive<i32> {
    let month = |at: i64| month_of(local_day(at));
    month(plan.start()) - BEFORE..=month(plan.as_of()) + 1
}

/// Eras from one on and before another in which there is no shock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calm {
    from: i16,
    until: i16,
}

impl Calm {
    /// Those of some months, and of the shocks before that are remembered in them.
    pub(super) fn of(months: &RangeInclusive<i32>, phase: u8) -> Self {
        let era = |month: &i32| era_of(*month, phase) as i16;
        Self { from: era(months.start()) - MEMORY as i16 + 1, until: era(months.end()) + 1 }
    }

    #[inline]
    const fn contains(self, era: i32) -> bool {
        self.from as i32 <= era && era < self.until as i32
    }
}

/// The era of a month, by the place of the first month in its era.
const fn era_of(month: i32, phase: u8) -> i32 {
    (month + phase as i32).div_euclid(ERA)
}

/// What happens to an income.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shock {
    /// It stops.
    Stops,
    /// Half of it is left.
    Halves,
    /// Nothing: a court or the bank blocks the accounts.
    Blocked,
}

/// A shock and its months.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Episode {
    /// What happens.
    pub shock: Shock,
    /// The first calendar month, as months since the year 0.
    pub first: i32,
    /// How many.
    pub months: i32,
    /// Whether what was not paid meanwhile is paid afterwards.
    pub cures: bool,
}

/// How a customer stands in a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// As of [`Skeleton::distress`].
    pub distress: u32,
    /// As of [`Skeleton::is_shunned`].
    pub shunned: bool,
    /// The accounts are blocked.
    pub blocked: bool,
    /// They are blocked from the next month on.
    pub blocked_next: bool,
}

impl Standing {
    /// Whether the income comes, and the accounts are open.
    pub const fn is_good(&self) -> bool {
        !self.is_needy() && !self.blocked
    }

    /// Whether the whole income does not come: what there is elsewhere is used up.
    pub const fn is_needy(&self) -> bool {
        self.distress > 0 || self.shunned
    }
}

impl Episode {
    /// The month after the last.
    pub const fn end(&self) -> i32 {
        self.first + self.months
    }
}

/// A skeleton with its last shocks at hand: for those who ask for one month after the other.
#[derive(Debug)]
pub struct Recalling {
    /// The skeleton.
    pub skeleton: Skeleton,
    era: i32,
    /// Of the last eras, up to that of the month.
    found: [Option<Episode>; MEMORY as usize],
}

impl Recalling {
    /// Nothing is at hand yet.
    pub const fn new(skeleton: Skeleton) -> Self {
        Self { skeleton, era: i32::MIN, found: [None; MEMORY as usize] }
    }

    fn recall(&mut self, month: i32) {
        let era = self.skeleton.era_of(month);
        if era != self.era {
            let of = |era| self.skeleton.episode_of_era(era);
            self.found = if era.wrapping_sub(1) == self.era {
                let [_, middle, last] = self.found;
                [middle, last, of(era)]
            } else {
                self.skeleton.episodes_from(era - MEMORY + 1)
            };
            self.era = era;
        }
    }

    /// The shocks that began in the last [`ERA`] months, that of the last month included, in order.
    pub fn shocks(&mut self, month: i32) -> impl Iterator<Item = Episode> + use<> {
        self.recall(month);
        let recent = month - ERA + 1..=month;
        self.found.into_iter().flatten().filter(move |episode| recent.contains(&episode.first))
    }

    /// As [`Skeleton::episode`].
    pub fn episode(&mut self, month: i32) -> Option<Episode> {
        self.shocks(month).find(|episode| month < episode.end())
    }

    /// How much is spent in a month beside other months of the customer, and how much happens; times [`ONE`].
    pub fn levels(&mut self, month: i32) -> (u64, u64) {
        self.recall(month);
        let [level, ..] = self.skeleton.draws(month, of_month::LEVEL);
        let (spending, business) = level.halves();
        let spending = around_one(spending, 30) * SEASONS[month.rem_euclid(12) as usize] / 100;
        let mut found = self.found.iter().flatten();
        // Want, or an older debt that was never paid.
        let halved = found.any(|episode| {
            if episode.end() <= month {
                !episode.cures
            } else {
                episode.shock != Shock::Blocked && episode.first <= month
            }
        });
        (if halved { spending / 2 } else { spending }, around_one(business, 55))
    }
}

impl Skeleton {
    /// The era of a month: one shock at the most falls into each.
    pub const fn era_of(&self, month: i32) -> i32 {
        era_of(month, self.phase)
    }

    /// The shock of an era.
    pub fn episode_of_era(&self, era: i32) -> Option<Episode> {
        if self.calm.contains(era) {
            return None;
        }
        let draws = self.rng.four(Domain::Skeleton, self.row(), place::ERAS + era as u64, 0);
        self.episode_drawn(era, draws)
    }

    fn episode_drawn(&self, era: i32, [chance, shape, ..]: [Word; 4]) -> Option<Episode> {
        let (chance, kind) = chance.halves();
        if chance.0 >> 16 >= u32::from(self.odds) {
            return None;
        }
        let (length, rest) = shape.halves();
        let shock = match kind.below(100) {
            0..12 => Shock::Blocked,
            12..50 => Shock::Halves,
            _ => Shock::Stops,
        };
        // Two to fourteen months, five to six on average.
        let months = match shock {
            Shock::Blocked => 1 + (length.0 >> 16 & 1) as i32,
            _ => {
                2 + ((length.below(LONGEST_EPISODE as u32 - 1) * (rest.0 & 0x3FF)) >> 10) as i32
                    + (length.0 & 1) as i32
            }
        }
        .min(LONGEST_EPISODE);
        let first =
            era * ERA - i32::from(self.phase) + (rest.0 >> 10 & 0xFFFF) as i32 % (ERA - months);
        if first < self.membership.shocks_since() {
            return None;
        }
        // Common before 60 days, rare after 90.
        let cures = match months {
            ..=3 => 94,
            4 => 60,
            5..=6 => 34,
            _ => 20,
        };
        let cures = shock == Shock::Blocked || ((kind.0 & 0xFFFF) * 100) >> 16 < cures;
        Some(Episode { shock, first, months, cures })
    }

    /// Whether no shock is near the history.
    pub const fn is_calm(&self) -> bool {
        self.calm.from < self.calm.until
    }

    /// Notes whether no shock is near the history, by the months of which that is asked.
    pub(super) fn look_ahead(&mut self, months: &RangeInclusive<i32>) {
        const AT_ONCE: usize = 4;
        let calm = Calm::of(months, self.phase);
        let mut eras = (i32::from(calm.from)..i32::from(calm.until)).step_by(AT_ONCE);
        let is_calm = eras.all(|first| {
            let found = self.episodes_from::<AT_ONCE>(first);
            (first..i32::from(calm.until)).zip(found).all(|(_, episode)| episode.is_none())
        });
        if is_calm {
            self.calm = calm;
        }
    }

    /// The shocks of successive eras, in less time than one after the other.
    fn episodes_from<const N: usize>(&self, first: i32) -> [Option<Episode>; N] {
        if self.calm.contains(first) && self.calm.contains(first + N as i32 - 1) {
            return [None; N];
        }
        let eras: [i32; N] = std::array::from_fn(|place| first + place as i32);
        let places = eras.map(|era| (place::ERAS + era as u64, 0));
        let draws = self.rng.fours_at(Domain::Skeleton, self.row(), places);
        std::array::from_fn(|place| self.episode_drawn(eras[place], draws[place]))
    }

    /// The shock of which a month is one.
    pub fn episode(&self, month: i32) -> Option<Episode> {
        self.episode_of_era(self.era_of(month))
            .filter(|episode| (episode.first..episode.end()).contains(&month))
    }

    /// The shocks whose first months are from `since` on and before `until`, in order.
    pub fn episodes(&self, since: i32, until: i32) -> impl Iterator<Item = Episode> {
        (self.era_of(since)..=self.era_of(until - 1))
            .filter_map(move |era| self.episode_of_era(era))
            .filter(move |episode| (since..until).contains(&episode.first))
    }

    /// Why the accounts are blocked in an episode.
    pub fn block_reason(&self, episode: &Episode) -> AccountStatusReason {
        let [why, ..] = self.draws(episode.first, of_month::LEVEL);
        match why.0 % 100 {
            0..40 => AccountStatusReason::CourtOrder,
            40..72 => AccountStatusReason::FraudSuspected,
            _ => AccountStatusReason::DocumentsMissing,
        }
    }

    /// Months of want: 1 in the first month without the income, and so on; 0 in good months. From the second on
    /// nothing is paid that can be left unpaid.
    pub fn distress(&self, month: i32) -> u32 {
        match self.episode(month) {
            Some(Episode { shock: Shock::Stops | Shock::Halves, first, .. }) => {
                (month - first + 1) as u32
            }
            _ => 0,
        }
    }

    /// Whether an older debt was never paid, so that the income goes to another bank.
    pub fn is_shunned(&self, month: i32) -> bool {
        let era = self.era_of(month);
        (era - MEMORY + 1..=era)
            .any(|era| self.episode_of_era(era).is_some_and(|e| !e.cures && e.end() <= month))
    }

    /// How the customer stands in a month: all that its shocks say at once.
    pub fn standing(&self, month: i32) -> Standing {
        self.standing_and_draws(month, of_month::LEVEL).0
    }

    /// That, and how much happens in the month beside other months of the customer, times [`ONE`].
    #[inline]
    pub fn standing_and_business(&self, month: i32) -> (Standing, u64) {
        let (standing, [level, ..]) = self.standing_and_draws(month, of_month::LEVEL);
        (standing, around_one(level.halves().1, 55))
    }

    /// That, and what goes from the CORRENTE account into a pot in the month, which both accounts have: the instant and
    /// centavos. Nothing in a month without the whole income, nor in one in which the accounts are blocked.
    #[inline]
    pub fn standing_and_contribution(
        &self,
        month: &Month,
        pot: Pot,
    ) -> (Standing, Option<(i64, i64)>) {
        let (standing, words) = self.standing_and_draws(month.number, of_month::CONTRIBUTIONS);
        (standing, if standing.is_good() { self.put_by(month, pot, words) } else { None })
    }

    /// The draws of a block of the month with the standing, in less time than one after the other.
    #[inline]
    fn standing_and_draws(&self, month: i32, block: u64) -> (Standing, [Word; 4]) {
        const { assert!(MEMORY == 3) };
        let era = self.era_of(month);
        if self.calm.contains(era - 2) && self.calm.contains(self.era_of(month + 1)) {
            return (Standing::default(), self.draws(month, block));
        }
        let [first, last, now] = [era - 2, era - 1, era].map(|era| (place::ERAS + era as u64, 0));
        let places = [first, last, now, (month as u64, block)];
        let [first, last, this, draws] = self.rng.fours_at(Domain::Skeleton, self.row(), places);
        let first = self.episode_drawn(era - 2, first);
        let (last, this) = (self.episode_drawn(era - 1, last), self.episode_drawn(era, this));
        let lost = |episode: Option<Episode>| episode.is_some_and(|e| !e.cures && e.end() <= month);
        let begun = this.filter(|e| (e.first..e.end()).contains(&month));
        let blocked = begun.is_some_and(|e| e.shock == Shock::Blocked);
        let next = if self.era_of(month + 1) == era { this } else { self.episode_of_era(era + 1) };
        let standing = Standing {
            distress: begun.filter(|_| !blocked).map_or(0, |e| (month - e.first + 1) as u32),
            shunned: lost(first) || lost(last) || lost(this),
            blocked,
            blocked_next: next.is_some_and(|e| {
                e.shock == Shock::Blocked && (e.first..e.end()).contains(&(month + 1))
            }),
        };
        (standing, draws)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MONTH, skeletons};
    use super::*;

    #[test]
    fn an_episode_is_within_its_era_and_found_in_each_of_its_months() {
        for one in skeletons(2_000) {
            for episode in one.episodes(MONTH - 240, MONTH) {
                for month in episode.first..episode.end() {
                    assert_eq!(one.episode(month), Some(episode));
                }
                assert_ne!(one.episode(episode.end()), Some(episode));
                assert_ne!(one.episode(episode.first - 1), Some(episode));
            }
        }
    }

    #[test]
    fn a_standing_is_what_the_shocks_say() {
        for one in skeletons(2_000) {
            let blocked = |month| one.episode(month).is_some_and(|e| e.shock == Shock::Blocked);
            for month in MONTH - 60..MONTH {
                let standing = Standing {
                    distress: one.distress(month),
                    shunned: one.is_shunned(month),
                    blocked: blocked(month),
                    blocked_next: blocked(month + 1),
                };
                assert_eq!(one.standing(month), standing);
                let whole = one.income_in(month) == one.net && !standing.blocked;
                assert_eq!(standing.is_good(), whole);
            }
        }
    }
}
