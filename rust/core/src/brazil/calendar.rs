//! Days and hours as a Brazilian bank counts them, at UTC−3 (no daylight saving since 2019).

use std::ops::Range;

use crate::civil::{add_months, from_days, to_days};

/// Milliseconds of a day.
pub const DAY: i64 = 86_400_000;
/// Milliseconds of an hour.
pub const HOUR: i64 = 3_600_000;
/// Milliseconds of a minute.
pub const MINUTE: i64 = 60_000;
/// What Brasília is behind UTC.
const OFFSET: i64 = 3 * HOUR;

/// The local day of an instant.
#[inline]
pub const fn local_day(instant: i64) -> i32 {
    (instant - OFFSET).div_euclid(DAY) as i32
}

/// Milliseconds since local midnight.
#[inline]
pub const fn local_time(instant: i64) -> i64 {
    (instant - OFFSET).rem_euclid(DAY)
}

/// The instant of a local day and a time of day in milliseconds.
#[inline]
pub const fn instant(local_day: i32, time: i64) -> i64 {
    local_day as i64 * DAY + time + OFFSET
}

/// Of [`weekday`].
pub const SATURDAY: i32 = 5;

/// 0 for Monday to 6 for Sunday.
#[inline]
pub const fn weekday(day: i32) -> i32 {
    // 1970-01-01 was a Thursday.
    (day + 3).rem_euclid(7)
}

/// Easter Sunday (anonymous Gregorian computus).
#[expect(clippy::many_single_char_names, reason = "the letters of the published algorithm")]
const fn easter(year: i32) -> i32 {
    let a = year % 19;
    let (b, c) = (year / 100, year % 100);
    let (d, e) = (b / 4, b % 4);
    let g = (8 * b + 13) / 25;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 19 * l) / 433;
    let month = (h + l - 7 * m + 90) / 25;
    let day = (h + l - 7 * m + 33 * month + 19) % 32;
    to_days(year, month as u32, day as u32)
}

/// A day on which banks are closed: national holidays, Carnival and Corpus Christi.
pub const fn is_holiday(day: i32) -> bool {
    let (year, month, day_of_month) = from_days(day);
    let fixed = matches!(
        (month, day_of_month),
        (1 | 5, 1) | (4, 21) | (9, 7) | (10, 12) | (11, 2 | 15) | (12, 25)
    );
    // Law 14.759 of 2023 made 20 November a national holiday.
    let black_awareness = year >= 2024 && month == 11 && day_of_month == 20;
    // Carnival Monday and Tuesday, Good Friday, Corpus Christi: from 2 February to 24 June.
    let movable = matches!(month, 2..=6) && matches!(day - easter(year), -48 | -47 | -2 | 60);
    fixed || black_awareness || movable
}

/// A day on which banks settle.
pub const fn is_business_day(day: i32) -> bool {
    weekday(day) < 5 && !is_holiday(day)
}

/// A day on which B3 has a session: business days but 24 and 31 December and, until 2021, two holidays of
/// São Paulo, 25 January and 9 July (B3's calendars of 2021 and 2022).
pub const fn is_session_day(day: i32) -> bool {
    if !is_business_day(day) {
        return false;
    }
    match from_days(day) {
        (_, 12, 24 | 31) => false,
        (year, 1, 25) | (year, 7, 9) => year > 2021,
        _ => true,
    }
}

/// The first Sunday of a month, given its first day.
const fn first_sunday(first_day: i32) -> i32 {
    first_day + (6 - weekday(first_day))
}

/// A day on which New York is on standard time: from the first Sunday of November to the second of March
/// (Energy Policy Act of 2005).
pub const fn is_winter_in_new_york(day: i32) -> bool {
    let (year, month, _) = from_days(day);
    match month {
        3 => day < first_sunday(to_days(year, 3, 1)) + 7,
        11 => day >= first_sunday(to_days(year, 11, 1)),
        month => month < 3 || month > 11,
    }
}

/// The first session day after `day`. A trade settles on the second.
fn session_day_after(day: i32) -> i32 {
    (day + 1..day + 8).find(|&day| is_session_day(day)).expect("no week is without one")
}

/// Months since the year 0, with January of that year as 0.
const fn month_number(year: i32, month: u32) -> i32 {
    year * 12 + month as i32 - 1
}

/// A day on which the session of B3 begins late: Ash Wednesday, at 13:00.
pub const fn opens_late(day: i32) -> bool {
    let (year, _, _) = from_days(day);
    day - easter(year) == -46
}

/// When the continuous session of B3 begins and ends, in milliseconds since midnight: from 10:00, and on Ash
/// Wednesday from 13:00, to 16:55, and to 17:55 while New York is on standard time.
pub const fn session_hours(day: i32) -> (i64, i64) {
    let opens = if opens_late(day) { 13 } else { 10 };
    let ends = if is_winter_in_new_york(day) { 18 } else { 17 };
    (opens * HOUR, ends * HOUR - 5 * MINUTE)
}

/// A day of a history, or before it.
#[derive(Debug, Clone, Copy)]
pub struct Day {
    /// Banks settle.
    pub business: bool,
    /// When a trade of this day settles.
    pub settlement: i32,
    /// Months since the year 0, with January of that year as 0.
    pub month: i32,
    /// Day of the month, from 1.
    pub day_of_month: u32,
}

/// What is asked of the days of a history again and again, computed once.
#[derive(Debug)]
pub struct Days {
    first: i32,
    all: Vec<Day>,
    /// Their months, and the number of the first.
    first_month: i32,
    months: Vec<Month>,
}

impl Days {
    /// The days from `first` to `last`.
    pub fn new(first: i32, last: i32) -> Self {
        // Backwards, so that the session days that follow are known, and each day is looked at once.
        let next = session_day_after(last);
        let mut following = (next, session_day_after(next));
        let day = |day| {
            let (year, month, day_of_month) = from_days(day);
            let settlement = following.1;
            if is_session_day(day) {
                following = (day, following.0);
            }
            Day {
                business: is_business_day(day),
                settlement,
                month: month_number(year, month),
                day_of_month,
            }
        };
        let mut all: Vec<Day> = (first..=last).rev().map(day).collect();
        all.reverse();
        let (year, month, _) = from_days(first);
        Self { first, all, first_month: month_number(year, month), months: Month::all(first, last) }
    }

    /// A day of the history, by its number.
    #[inline]
    pub fn at(&self, day: i32) -> Day {
        self.all[(day - self.first) as usize]
    }

    /// A month of the history, or before it, by its number since January of the year 0.
    pub fn month(&self, month: i32) -> &Month {
        &self.months[(month - self.first_month) as usize]
    }

    /// A day, or the first business day after it.
    pub fn business_day_from(&self, day: i32) -> i32 {
        (day..day + 8).find(|&day| self.at(day).business).expect("no week is without one")
    }

    /// A day, or the last business day before it.
    pub fn business_day_until(&self, day: i32) -> i32 {
        (self.first..=day).rev().find(|&day| self.at(day).business).unwrap_or(day)
    }
}

/// A month of a history, and the days of it on which money comes and goes.
#[derive(Debug, Clone, Copy)]
pub struct Month {
    /// Months since the year 0, with January of that year as 0.
    pub number: i32,
    /// The number of its first day.
    pub first_day: i32,
    /// How many days it has.
    pub days: i32,
    /// Its first five business days: benefits of social security come on one of them, salaries on the
    /// last (CLT, article 459, § 1).
    pub business_days: [i32; 5],
    /// Its last five business days, of which servants are paid on the last.
    pub last_business_days: [i32; 5],
    /// Its business days: bit 0 is the first day.
    business: u32,
    /// The first day, or the business day before it.
    until_first: i32,
    /// A half of the thirteenth salary: by 30 November and 20 December (Law 4.749 of 1965).
    pub thirteenth: Option<i32>,
}

impl Month {
    /// The month of a day.
    pub fn of(day: i32) -> Self {
        let (year, month, _) = from_days(day);
        let first_day = to_days(year, month, 1);
        let mut business_days = (first_day..).filter(|&day| is_business_day(day));
        let latest = match month {
            11 => Some(first_day + 29),
            12 => Some(first_day + 19),
            _ => None,
        };
        let thirteenth =
            latest.and_then(|latest| (latest - 9..=latest).rev().find(|&day| is_business_day(day)));
        let business_days =
            std::array::from_fn(|_| business_days.next().expect("a month has five business days"));
        let next = add_months(year, month, 1, 1);
        let mut from_the_end = (first_day..next).rev().filter(|&day| is_business_day(day));
        let mut last_business_days =
            std::array::from_fn(|_| from_the_end.next().expect("a month has five business days"));
        last_business_days.reverse();
        Self {
            number: year * 12 + month as i32 - 1,
            first_day,
            days: next - first_day,
            business_days,
            last_business_days,
            business: (first_day..next)
                .filter(|&day| is_business_day(day))
                .map(|day| 1 << (day - first_day))
                .sum(),
            until_first: (first_day - 8..=first_day)
                .rev()
                .find(|&day| is_business_day(day))
                .expect("no week is without one"),
            thirteenth,
        }
    }

    /// The day so many days after the first, or the business day before it.
    pub const fn business_day_until(&self, days: i32) -> i32 {
        let before = self.business & ((2 << days) - 1);
        if before == 0 { self.until_first } else { self.first_day + before.ilog2() as i32 }
    }

    /// A day of the month, or the first business day of it after that.
    pub const fn business_day_from(&self, day: i32) -> i32 {
        let place = day - self.first_day;
        day + (self.business >> place).trailing_zeros() as i32
    }

    /// When the benefit of a month comes: one of ten business days, the last five of this month and the first five
    /// of the next for benefits of a minimum wage; for others one of the first five (INSS).
    pub const fn benefit_day(&self, place: u8) -> i32 {
        match place {
            0..5 => self.last_business_days[place as usize],
            _ => self.business_days[place as usize - 5],
        }
    }

    /// Its instants.
    pub fn instants(&self) -> Range<i64> {
        instant(self.first_day, 0)..instant(self.first_day + self.days, 0)
    }

    /// The day on which salaries come.
    pub const fn payday(&self) -> i32 {
        self.business_days[4]
    }

    /// The months from that of `first` to that of `last`.
    pub fn all(first: i32, last: i32) -> Vec<Self> {
        let mut months = vec![Self::of(first)];
        loop {
            let (year, month, _) = from_days(months[months.len() - 1].first_day);
            let next = add_months(year, month, 1, 1);
            if next > last {
                return months;
            }
            months.push(Self::of(next));
        }
    }
}
