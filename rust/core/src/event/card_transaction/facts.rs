//! What the events of a card depend on: how much its holder buys, when its life begins and ends, and when its
//! bills are paid. All of it follows the holder's skeleton and the card's own draws, so that times and
//! numbers of events are found without any amount.

use crate::brazil::calendar::{DAY, HOUR, instant, local_day};
use crate::brazil::data::City;
use crate::brazil::hours::{WAKING, time_between};
use crate::brazil::reference;
use crate::catalog::{CardStatus, CardStatusReason};
use crate::civil::to_days;
use crate::entity::card::{CreditCard, status_for};
pub(super) use crate::entity::skeleton::month_of;
use crate::entity::skeleton::{Compact, Episode, Recalling, Shock, Skeleton, around_one, times};
use crate::event::{History, scenario};
use crate::id::mix;
use crate::rng::{Domain, Half, exp2_q16, normal_q16};

/// Purchases a month with a card of a holder of mean activity, times [`ONE`]; it gives 57.14 in 90 days over all
/// cards, those that sleep, are blocked or cancelled too.
const USUAL_RATE: i64 = 1_505_700;
/// Percent of the income that go through the card, in the middle.
const USUAL_SHARE: i64 = 33;
/// Percent of the limit that somebody means to spend in a month, at the most: at a score of 600, and one more for so many
/// points less. At one share for all, those whose limit is small beside what they spend would all use the same of it.
const SHARE_OF_LIMIT: i64 = 21;
const POINTS_FOR_A_PERCENT: i64 = 30;
/// Months that a product must have been there for when the income stops, to be left unpaid.
const SEASONED: i32 = 3;
/// Days after the first bill without a payment on which a card is blocked, and from there those until it is
/// cancelled.
const BLOCKED_AFTER: i32 = 35;
const CANCELLED_AFTER: i64 = 150 * DAY;
/// How long after a block a card is still tried, in vain.
const ATTEMPTS: i64 = 2 * DAY;
/// Months before one in which a shock may have begun whose consequences reach into it.
const REACH: i32 = 16;
/// Months before the history of which something is asked, at the most.
const BEFORE: i32 = 6;
/// No month.
const NEVER: i32 = i32::MAX;

/// A day of a month, from 1.
pub(super) const fn day_of(month: i32, day: u32) -> i32 {
    to_days(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, day)
}

/// The first instant of a month.
pub(super) const fn first_instant(month: i32) -> i64 {
    instant(day_of(month, 1), 0)
}

/// Whole seconds, which fit in half a word until 2106.
pub(super) const fn seconds(millis: i64) -> u32 {
    millis.div_euclid(1_000) as u32
}

/// What becomes of the bill of a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// All of it is paid.
    Full,
    /// As little as the bank asks for.
    Minimum,
    /// So many percent.
    Part(u8),
    /// Nothing, and there is no payment.
    Nothing,
}

/// The payment of a cycle's bill.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot {
    pub how: How,
    /// Seconds.
    pub at: u32,
    /// Days after the last one on which it is in time.
    pub late: u8,
    /// Left of its draws.
    pub rest: Half,
    /// For how many months the income has not been as usual when it falls due.
    pub unpaid: i32,
}

/// What happens to a card beside purchases and bills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    /// Nothing any more.
    None,
    /// It is blocked, since nothing has been paid.
    Block,
    /// All is paid, and it is unblocked.
    Cure,
    /// It is lost, misused, given back or in default for good.
    End,
    /// One that is in default is cancelled.
    Cancel,
}

/// Until when a month is spent as usual, and how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outlook {
    /// In which instants the card is used.
    pub from: i64,
    pub until: i64,
    /// Purchases that are expected of a whole month, times [`ONE`].
    pub rate: u64,
    /// Centavos that are meant to be spent.
    pub budget: i64,
}

/// The facts of a card.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    holder: Compact,
    pub row: u32,
    /// Purchases a month, times [`ONE`].
    rate: u32,
    /// Centavos a month.
    budget: u32,
    /// Seconds, rounded up.
    issued: u32,
    /// Seconds of the end, or the greatest number.
    ends: u32,
    /// The month of the first bill that is never paid.
    defaults_in: i32,
    /// The month from which on a shock leaves the card unpaid.
    seasoned: i32,
    score: i16,
    home: u16,
    pub closing_day: u8,
    due_day: u8,
    /// What is bought online by somebody of this age, in percent of the mean.
    pub online: u8,
    /// A bit for each of the purchases that come back.
    pub subscriptions: u8,
    reason: Option<CardStatusReason>,
    /// No shock leaves bills of the card unpaid.
    spared: bool,
    /// Seldom pays all of a bill.
    revolves: bool,
    /// Pays by direct debit, on the due date: one in ten ≈.
    automatic: bool,
}

impl Facts {
    pub(super) fn new(history: &History, card: &CreditCard, skeleton: &Skeleton) -> Self {
        let context = &history.context;
        let words = context.rng.fours::<2>(Domain::CardTransaction, card.row, u64::MAX);
        let [[person, habits, ..], recurring] = words;
        let (own, noise) = person.halves();
        let (habit, automatic) = habits.halves();
        let rate = times(times(USUAL_RATE, skeleton.activity.into()), around_one(own, 25)) as u64;
        // Who buys more often than others of the same income spends more, but not in proportion.
        let busier = i64::from(normal_q16(own)) * 25 / 100;
        let score = i64::from(card.score);
        let against = (600 - score).clamp(-400, 400);
        let exponent =
            i64::from(normal_q16(noise)) * 40 / 100 + busier / 3 + against * 65_536 / 650;
        let usual = skeleton.income * USUAL_SHARE / 100;
        let budget = exp2_q16(usual as u64, (exponent * 94_548 / 65_536) as i32);
        // Three in five at a score of 300, one in seven at 800.
        let revolves = i64::from(habit.below(1_000)) < (885 - score * 93 / 100).clamp(60, 800);
        // Who owes something already spends less.
        let budget = budget as i64 * if revolves { 75 } else { 100 } / 100;
        let share = SHARE_OF_LIMIT + against / POINTS_FOR_A_PERCENT;
        let budget = budget.min(card.limit * share / 100);
        let asleep = skeleton.dormant;
        let subscriptions = history.shopping.subscriptions(recurring);
        let mut facts = Self {
            holder: skeleton.compact(),
            row: card.row as u32,
            rate: if asleep { 0 } else { rate.min(1 << 31) as u32 },
            budget: if asleep { 0 } else { budget.min(1 << 30) as u32 },
            issued: seconds(card.issued_at + 999),
            ends: u32::MAX,
            defaults_in: NEVER,
            seasoned: month_of(local_day(card.issued_at)) + SEASONED,
            score: card.score,
            home: card.home.index as u16,
            closing_day: card.closing_day as u8,
            due_day: card.due_day as u8,
            online: match card.age {
                ..25 => 135,
                25..35 => 130,
                35..45 => 108,
                45..55 => 85,
                55..65 => 62,
                _ => 42,
            },
            subscriptions: if asleep { 0 } else { subscriptions },
            reason: None,
            spared: false,
            revolves,
            automatic: automatic.chance(1_000),
        };
        facts.find_end(history, card, skeleton);
        facts.find_bust_out(history);
        facts
    }

    fn find_end(&mut self, history: &History, card: &CreditCard, skeleton: &Skeleton) {
        if let Some(exit) = card.exit {
            (self.ends, self.reason) = (seconds(exit.at), Some(exit.reason));
        }
        let last = month_of(local_day(history.context.plan.as_of())) + 1;
        let first = month_of(local_day(history.context.plan.start())) - BEFORE;
        self.spared = skeleton.is_calm() && self.seasoned >= first;
        if self.spared {
            return;
        }
        let mut worst: Option<Episode> = None;
        self.spared = true;
        for episode in skeleton.episodes(self.seasoned, last) {
            if self.hits(&episode) {
                self.spared = false;
                if !episode.cures {
                    worst = Some(episode);
                    break;
                }
            }
        }
        if let Some(episode) = worst {
            self.defaults_in = episode.first + 1;
            let block = seconds(self.blocked_at(&episode));
            if block < self.ends {
                (self.ends, self.reason) = (block, Some(CardStatusReason::Default));
            }
        }
    }

    /// Ends a card whose limit is run up in a scenario: its bills are not paid from the next month on.
    fn find_bust_out(&mut self, history: &History) {
        let last = month_of(local_day(history.context.plan.as_of()));
        let months = self.month_of_issue()..=last;
        let Some(month) = scenario::bust_out(history, self.row.into(), months) else { return };
        if self.sleeps() || self.settles() || month + 1 >= self.defaults_in {
            return;
        }
        self.defaults_in = month + 1;
        let block = seconds(self.blocked_in(month));
        if block < self.ends {
            (self.ends, self.reason) = (block, Some(CardStatusReason::Default));
        }
    }

    /// Whether a shock leaves bills of the card unpaid.
    const fn hits(&self, episode: &Episode) -> bool {
        !matches!(episode.shock, Shock::Blocked) && episode.first >= self.seasoned
    }

    /// When the card is blocked because of a shock that goes on until then.
    const fn blocked_at(&self, episode: &Episode) -> i64 {
        self.blocked_in(episode.first)
    }

    /// The same, if what happens begins in a month.
    const fn blocked_in(&self, month: i32) -> i64 {
        let due = day_of(month + 1, self.due_day as u32);
        instant(due + BLOCKED_AFTER, 9 * HOUR + (self.row as i64 * 7_919 % 10_800) * 1_000)
    }

    /// When all is paid after a shock: days after the first payday.
    fn cured_at(&self, history: &History, skeleton: &Skeleton, episode: &Episode) -> i64 {
        let month = history.days.month(episode.end());
        let payday = skeleton.paydays(month)[0].map_or(month.payday(), |(day, _)| day);
        let day = payday + 1 + (self.row % 3) as i32;
        instant(day, 10 * HOUR + (i64::from(self.row) * 6_271 % 28_800) * 1_000)
    }

    /// The skeleton of the holder.
    pub(super) fn holder(&self, history: &History) -> Recalling {
        Recalling::new(self.holder.whole(&history.context))
    }

    pub(super) fn home(&self) -> &'static City {
        &reference().cities.items[self.home as usize]
    }

    pub(super) const fn score(&self) -> i64 {
        self.score as i64
    }

    /// The first instant at which the card is there.
    pub(super) const fn issued(&self) -> i64 {
        self.issued as i64 * 1_000
    }

    /// The month in which it was issued.
    pub(super) const fn month_of_issue(&self) -> i32 {
        self.seasoned - SEASONED
    }

    /// Whether nothing is ever bought.
    pub(super) const fn sleeps(&self) -> bool {
        self.rate == 0
    }

    /// A number of the card's own for each use.
    pub(super) const fn hash(&self, history: &History, what: u64) -> u64 {
        let seed = history.context.plan.seed();
        mix(mix(self.row as u64, seed), 0x9E37_79B9_7F4A_7C15u64.wrapping_mul(what + 1))
    }

    /// What is to be expected of a month within the history.
    pub(super) fn outlook(&self, history: &History, holder: &mut Recalling, month: i32) -> Outlook {
        let plan = &history.context.plan;
        let tried = match self.reason {
            Some(reason) if matches!(status_for(reason), CardStatus::Blocked) => ATTEMPTS,
            _ => 0,
        };
        let end = if self.ends == u32::MAX { i64::MAX } else { i64::from(self.ends) * 1_000 };
        let mut from = first_instant(month).max(plan.start()).max(self.issued());
        let mut until = first_instant(month + 1).min(plan.as_of()).min(end.saturating_add(tried));
        let (mut unpaid, mut wants) = (0, false);
        for shock in holder.shocks(month) {
            wants |= shock.shock != Shock::Blocked && month < shock.end();
            if !self.hits(&shock) {
                continue;
            }
            if shock.cures && shock.first < self.defaults_in && month <= shock.end() + 1 {
                let block = self.blocked_at(&shock);
                let cure = self.cured_at(history, &holder.skeleton, &shock);
                if block < cure {
                    if month_of(local_day(block)) == month {
                        until = until.min(block + ATTEMPTS);
                    } else if block < from {
                        from = from.max(cure);
                    }
                }
            }
            unpaid = unpaid.max(if month < shock.end() { month - shock.first } else { 0 });
        }
        let (spending, business) = holder.levels(month);
        let days = (day_of(month + 1, 1) - day_of(month, 1)) as u64;
        // In tenths of a mean month's days.
        let rate = times(self.rate.into(), business) as u64 * days * 10 / 304;
        let budget = times(i64::from(self.budget), spending);
        let (rate, budget) = match (unpaid, wants) {
            (2.., _) => (rate / 8, budget / 8),
            (_, true) => (rate * 3 / 4, budget),
            _ => (rate, budget),
        };
        Outlook { from, until: until.max(from), rate, budget }
    }

    /// Seconds of its end.
    pub(super) const fn ends(&self) -> u32 {
        self.ends
    }

    /// For how many months nothing has been coming in that would pay the card; 0 in good months.
    pub(super) fn is_unpaid(&self, holder: &mut Recalling, month: i32) -> i32 {
        match holder.episode(month) {
            Some(episode) if self.hits(&episode) => month - episode.first + 1,
            _ => 0,
        }
    }

    /// Centavos that are meant to be spent in a month.
    pub(super) fn budget_of(&self, holder: &mut Recalling, month: i32) -> i64 {
        let budget = times(i64::from(self.budget), holder.levels(month).0);
        if self.is_unpaid(holder, month) > 2 { budget / 8 } else { budget }
    }

    /// Purchases and centavos of a usual month.
    pub(super) const fn usual(&self) -> (u64, i64) {
        (self.rate as u64, self.budget as i64)
    }

    /// When the bill of a cycle closes: at the end of the closing day.
    pub(super) const fn closes(&self, cycle: i32) -> i64 {
        instant(day_of(cycle, self.closing_day as u32) + 1, 0)
    }

    /// When the bill of a cycle falls due.
    pub(super) const fn due(&self, cycle: i32) -> i32 {
        day_of(self.month_of_due(cycle), self.due_day as u32)
    }

    const fn month_of_due(&self, cycle: i32) -> i32 {
        cycle + (self.due_day < self.closing_day) as i32
    }

    /// How and when the bill of a cycle is paid.
    pub(super) fn slot(&self, history: &History, holder: &mut Recalling, cycle: i32) -> Slot {
        let row = u64::from(self.row);
        let [how, when, time, rest] =
            history.context.rng.four(Domain::CreditCard, row, cycle as u64, 2);
        let (due, month) = (self.due(cycle), self.month_of_due(cycle));
        let distress = self.is_unpaid(holder, month);
        let (how, part) = how.halves();
        let how = match distress {
            _ if month >= self.defaults_in => How::Nothing,
            2.. => How::Nothing,
            1 => How::Minimum,
            _ => match (self.revolves, how.below(100)) {
                (true, 0..56) | (false, 0..96) => How::Full,
                (true, 56..80) | (false, 96..98) => How::Minimum,
                _ => How::Part(40 + part.below(50) as u8),
            },
        };
        // What falls due on a day without banking is paid in time on the next (Law 7.089 of 1983).
        let days = &history.days;
        let in_time = days.business_day_from(due);
        let (place, span) = when.halves();
        let late_of_1000 = if self.revolves { 110 } else { 25 };
        let (day, hours) = match place.below(1_000) {
            _ if self.automatic && distress == 0 => (in_time, 6..7),
            // Who pays in person may do so on any day.
            lot if lot < late_of_1000 => (in_time + 1 + span.below(6) as i32, WAKING),
            0..550 => (due, WAKING),
            _ => (due - 1 - span.below(5) as i32, WAKING),
        };
        let at = instant(day, time_between(hours, time.halves().0));
        let late = if day > in_time { (day - due) as u8 } else { 0 };
        // Nothing leaves accounts that are blocked.
        let blocked = holder.episode(month_of(day)).is_some_and(|e| e.shock == Shock::Blocked);
        let how = if blocked { How::Nothing } else { how };
        Slot { how, at: seconds(at), late, rest: rest.halves().0, unpaid: distress }
    }

    /// What happens first after some second, and when.
    pub(super) fn special(
        &self,
        history: &History,
        skeleton: &Skeleton,
        after: u32,
    ) -> (u32, Special) {
        let earlier = |found: (u32, Special), at: u32, what| {
            if at > after && at < found.0 { (at, what) } else { found }
        };
        let mut first = earlier((u32::MAX, Special::None), self.ends, Special::End);
        if self.reason == Some(CardStatusReason::Default) {
            let at = i64::from(self.ends) * 1_000 + CANCELLED_AFTER;
            first = earlier(first, seconds(at), Special::Cancel);
        }
        if self.spared || self.is_settled(after) {
            return first;
        }
        let month = month_of(local_day(i64::from(after) * 1_000));
        let last = month_of(local_day(history.context.plan.as_of())) + 1;
        for shock in skeleton.episodes(month - REACH, last.min(self.defaults_in)) {
            if self.hits(&shock) && shock.cures {
                let block = seconds(self.blocked_at(&shock));
                let cure = seconds(self.cured_at(history, skeleton, &shock));
                if block < cure && block < self.ends {
                    first = earlier(first, block, Special::Block);
                }
                first = earlier(first, cure, Special::Cure);
            }
        }
        first
    }

    /// When there are payments in the history, in milliseconds and in no order; found without any amount.
    pub(super) fn payments(&self, history: &History) -> Vec<i64> {
        let plan = &history.context.plan;
        let mut holder = self.holder(history);
        let span = plan.start()..plan.as_of();
        let (first, last) = (month_of(local_day(span.start)), month_of(local_day(span.end - 1)));
        let mut times = Vec::new();
        // What closed two months before is paid before: within four weeks.
        for cycle in first - 1..=last {
            if (self.issued() + 1..span.end).contains(&self.closes(cycle)) {
                let slot = self.slot(history, &mut holder, cycle);
                if slot.how != How::Nothing {
                    times.push(i64::from(slot.at) * 1_000);
                }
            }
        }
        let skeleton = &holder.skeleton;
        let cures = skeleton.episodes(first - REACH, (last + 1).min(self.defaults_in));
        let cures = cures.filter(|shock| shock.cures && self.hits(shock));
        times.extend(cures.map(|shock| self.cured_at(history, skeleton, &shock)));
        if self.settles() {
            let ends = i64::from(self.ends) * 1_000;
            times.retain(|at| *at < ends);
            times.push(ends);
        }
        times.retain(|at| span.contains(at));
        times
    }

    /// Whether all that is owed is paid when it ends, also what falls due later: the holder is about to leave.
    pub(super) const fn settles(&self) -> bool {
        self.holder.leaves()
    }

    /// Whether that is done at some second.
    pub(super) const fn is_settled(&self, at: u32) -> bool {
        self.settles() && at >= self.ends
    }

    /// Why it ended.
    pub(super) const fn reason(&self) -> Option<CardStatusReason> {
        self.reason
    }
}
