//! When investors trade: on some days, and then several times within minutes. Nothing here depends on an amount.

use super::TRADES;
use super::flows::funded_at;
use crate::brazil::calendar::{Month, instant, local_day, local_time};
use crate::civil::from_days;
use crate::entity::customer::log2_q16;
use crate::entity::skeleton::{ONE, Skeleton, around_one};
use crate::event::History;
use crate::event::timeline::Timeline;
use crate::rng::{Domain, Half, Word};

/// Places of draws: those of a month, and of a day with its trades, are below that of the person.
pub(super) mod place {
    pub const PERSON: u64 = u64::MAX;
    const MONTHS: u64 = 1 << 40;

    /// Of a month, as months since the year 0.
    pub const fn month(number: i32) -> u64 {
        MONTHS | number as u64
    }

    /// Of a local day: of what all of its trades share, and then of each.
    pub const fn day(day: i32) -> u64 {
        (day as u64) << 16
    }
}

/// Session days in the default number of days, times 4.
const SESSION_DAYS: u64 = 243;
/// What brings the mean over all INVESTIMENTOS accounts to [`TRADES`], times [`ONE`]: some sleep, some have lost
/// their income, and the activity of customers has a mean of its own.
const CALIBRATION: u64 = 87_400;
/// Percent of the investors who buy once and wait for years.
const ASLEEP: u32 = 9;
/// Trades of an investor on a session day at the most, on average over a month.
const MOST_A_DAY: u64 = 12 * ONE;
/// Trades of one day at the most.
const MOST_OF_ONE_DAY: u64 = 250;

/// The sessions of a history.
#[derive(Debug)]
pub struct Sessions {
    first_day: i32,
    /// The last millisecond of each day's session since local midnight; 0 on a day without one.
    last: Vec<u32>,
    months: Vec<SessionMonth>,
}

/// The sessions of a month.
#[derive(Debug, Clone, Copy)]
struct SessionMonth {
    /// Months since the year 0.
    number: i32,
    first_day: i32,
    /// Days with a session, the first of the month in the lowest bit.
    days: u32,
}

impl Sessions {
    /// The sessions of a history of these months.
    pub fn new(first_day: i32, last_day: i32, months: &[Month], session: &Timeline) -> Self {
        let last_of = |day| session.time_of_day(day, Word(u64::MAX)).unwrap_or(0) as u32;
        let last: Vec<u32> = (first_day..=last_day).map(last_of).collect();
        let month = |month: &Month| {
            let (year, number, _) = from_days(month.first_day);
            let has_session = |day: i32| {
                let place = usize::try_from(day - first_day).ok();
                let in_month = from_days(day).1 == number;
                in_month && place.and_then(|place| last.get(place)).is_some_and(|last| *last > 0)
            };
            let days =
                (0..31).map(|bit| u32::from(has_session(month.first_day + bit)) << bit).sum();
            SessionMonth { number: year * 12 + number as i32 - 1, first_day: month.first_day, days }
        };
        Self { first_day, months: months.iter().map(month).collect(), last }
    }

    /// How long the session of an instant goes on, in milliseconds.
    fn left(&self, time: i64) -> i64 {
        let place = (local_day(time) - self.first_day) as usize;
        i64::from(self.last[place]) - local_time(time)
    }
}

/// An exponential draw of mean one, times [`ONE`], with straight lines between powers of two.
fn exponential(draw: Half) -> u64 {
    // −log2(u) is 3 / 2 on average, by straight lines as it is.
    ((32 << 16) - log2_q16(u64::from(draw.0) + 1)) as u64 * 2 / 3
}

/// The draws of a trade that say when the next one of the day follows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub kind: Half,
    pub length: Half,
    pub rest: Half,
}

impl Gap {
    /// Milliseconds to the next trade, when the session goes on for so many.
    fn millis(self, left: i64) -> i64 {
        const MINUTE: u64 = 60_000;
        // While at it, or when one looks again.
        let mean = if self.kind.below(100) < 82 { 5 * MINUTE } else { 70 * MINUTE };
        let gap = ((exponential(self.length) * mean) >> 16) as i64;
        if gap < left { gap } else { (left * i64::from(self.rest.0)) >> 32 }
    }
}

/// The times of an investor's trades, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Sittings {
    /// When the next trade is; [`i64::MAX`] after the last.
    pub time: i64,
    /// Trades on a session day in a month of usual business, on average, times [`ONE`].
    rate: u32,
    /// Of this month: trades beyond the first on a day that has any, on average, times [`ONE`].
    more: u32,
    /// Of this month: days with trades after this one.
    days: u32,
    /// The number of the next trade.
    pub k: u32,
    month: u16,
    /// Trades of the day from the next on, and its number among them.
    left: u16,
    index: u16,
    /// Trades beyond the first on a day of somebody who hardly trades, in 64ths.
    burst: u8,
    /// It is a month of want.
    pub want: bool,
}

impl Sittings {
    /// All times from an instant on.
    pub fn all(history: &History, row: u64, skeleton: &Skeleton, opened_at: i64) -> Self {
        let since = funded_at(history, opened_at);
        let [level, burst, ..] = history.context.rng.four(Domain::Trade, row, place::PERSON, 0);
        Self::new(history, row, skeleton, since, [level, burst])
    }

    /// The same, from an instant of the history on; `habits` are the first two draws of the person.
    pub fn new(
        history: &History,
        row: u64,
        skeleton: &Skeleton,
        since: i64,
        habits: [Word; 2],
    ) -> Self {
        let [(level, sleep), (burst, _)] = habits.map(Word::halves);
        let asleep = skeleton.dormant || sleep.below(100) < ASLEEP;
        let mean = const { (TRADES as u64 * 4 * CALIBRATION) / SESSION_DAYS };
        let activity = (u64::from(skeleton.activity) * around_one(level, 65)) >> 16;
        let rate = ((activity * mean) >> 16).min(MOST_A_DAY);
        let square = (u64::from(burst.0) * u64::from(burst.0)) >> 32;
        let months = &history.sessions.months;
        let first = months.partition_point(|month| month.first_day <= local_day(since)) - 1;
        let mut sittings = Self {
            time: i64::MAX,
            rate: if asleep { 0 } else { rate as u32 },
            more: 0,
            days: 0,
            k: 0,
            month: first as u16,
            left: 0,
            index: 0,
            burst: (13 + ((square * 150) >> 32)) as u8,
            want: false,
        };
        if sittings.rate > 0 {
            sittings.begin_month(history, row, skeleton);
            sittings.days &= u32::MAX << (local_day(since) - months[first].first_day);
            sittings.begin_day(history, row, skeleton, since);
        }
        sittings
    }

    /// Draws the days of the month on which there are trades.
    fn begin_month(&mut self, history: &History, row: u64, skeleton: &Skeleton) {
        let months = &history.sessions.months;
        let month = &months[usize::from(self.month)];
        let (standing, business) = skeleton.standing_and_business(month.number);
        self.want = standing.distress > 0;
        self.days = 0;
        let quarters = match standing.distress {
            0 => 4,
            // Nothing was bought that could be sold.
            _ if self.k == 0 => 0,
            1 => 2,
            2 => 1,
            _ => 0,
        };
        if standing.shunned || standing.blocked || quarters == 0 {
            return;
        }
        let rate = (u64::from(self.rate) * business) >> 16;
        let rate = rate.min(MOST_A_DAY) * quarters / 4;
        // One in so many days that a day with trades may have more than one, and the mean stays.
        self.more = (u64::from(self.burst) * (ONE / 64) + rate) as u32;
        let odds = (rate << 16) / (ONE + u64::from(self.more));
        let k = place::month(month.number);
        let words = history.context.rng.fours_at(Domain::Trade, row, [(k, 1), (k, 2)]);
        // Sixteen bits for each day, so that a processor compares many at a time.
        let mut draws = [0_u16; 32];
        for (four, word) in draws.chunks_exact_mut(4).zip(words.as_flattened()) {
            let word = word.0;
            four.copy_from_slice(&[word, word >> 16, word >> 32, word >> 48].map(|w| w as u16));
        }
        let odds = odds as u16;
        for (bit, draw) in draws.iter().enumerate() {
            self.days |= u32::from(*draw < odds) << bit;
        }
        self.days &= month.days;
        if standing.blocked_next {
            // What is traded is settled before.
            let next = months.get(usize::from(self.month) + 1).map(|next| next.first_day);
            let next = next.unwrap_or(month.first_day + 31);
            let late = |bit: &i32| {
                self.days >> bit & 1 == 1
                    && history.days.at(month.first_day + bit).settlement >= next
            };
            self.days &= !(0..31).filter(late).map(|bit| 1_u32 << bit).sum::<u32>();
        }
    }

    /// Goes to the first trade of the next day that has one from an instant on.
    fn begin_day(&mut self, history: &History, row: u64, skeleton: &Skeleton, since: i64) {
        let (rng, sessions) = (&history.context.rng, &history.sessions);
        loop {
            while self.days == 0 {
                self.month += 1;
                if usize::from(self.month) == sessions.months.len() {
                    self.time = i64::MAX;
                    return;
                }
                self.begin_month(history, row, skeleton);
            }
            let first_day = sessions.months[usize::from(self.month)].first_day;
            let day = first_day + self.days.trailing_zeros() as i32;
            self.days &= self.days - 1;
            let [when, size, ..] = rng.four(Domain::Trade, row, place::day(day), 0);
            let (size, part) = size.halves();
            let more = (exponential(size) * u64::from(self.more)) >> 16;
            self.left = (1 + ((more + u64::from(part.0 >> 16)) >> 16)).min(MOST_OF_ONE_DAY) as u16;
            self.index = 0;
            // Who has much to do begins early.
            let when = (when.0 >> 32) as u32 / (3 + u32::from(self.left));
            let when = Word(u64::from(when) << 34);
            let time = history.session.time_of_day(day, when).expect("a session");
            self.time = instant(day, time);
            while self.time < since && self.left > 0 {
                let [_, _, how, gap] = self.draws(history, row);
                self.pass_within(history, Self::gap(how, gap));
            }
            if self.left > 0 {
                if self.time >= history.context.plan.as_of() {
                    self.time = i64::MAX;
                }
                return;
            }
        }
    }

    /// The draws of the next trade.
    #[inline]
    pub fn draws(&self, history: &History, row: u64) -> [Word; 4] {
        let k = place::day(local_day(self.time)) + 1 + u64::from(self.index);
        history.context.rng.four(Domain::Trade, row, k, 0)
    }

    /// What the last two draws of a trade say about the next; the first half of `how` is left.
    #[inline]
    pub fn gap(how: Word, gap: Word) -> Gap {
        let (length, rest) = gap.halves();
        Gap { kind: how.halves().1, length, rest }
    }

    #[inline]
    fn pass_within(&mut self, history: &History, gap: Gap) {
        self.left -= 1;
        self.index += 1;
        if self.left > 0 {
            self.time += gap.millis(history.sessions.left(self.time));
        }
    }

    /// Goes to the next trade.
    #[inline]
    pub fn pass(&mut self, history: &History, row: u64, skeleton: &Skeleton, gap: Gap) {
        self.k += 1;
        self.pass_within(history, gap);
        if self.left == 0 {
            self.begin_day(history, row, skeleton, i64::MIN);
        } else if self.time >= history.context.plan.as_of() {
            self.time = i64::MAX;
        }
    }

    /// Goes to the first trade of the next day with one.
    pub fn pass_day(&mut self, history: &History, row: u64, skeleton: &Skeleton) {
        if local_day(self.time) < local_day(history.context.plan.as_of()) {
            self.k += u32::from(self.left);
            self.begin_day(history, row, skeleton, i64::MIN);
            return;
        }
        // The history ends on this day.
        while self.time < i64::MAX {
            let [_, _, how, gap] = self.draws(history, row);
            self.pass(history, row, skeleton, Self::gap(how, gap));
        }
    }
}
