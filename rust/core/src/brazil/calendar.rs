//! Days and hours as a Brazilian bank counts them, at UTC−3 (no daylight saving since 2019).

use crate::civil::{from_days, to_days};

/// Milliseconds of a day.
pub const DAY: i64 = 86_400_000;
/// Milliseconds of an hour.
pub const HOUR: i64 = 3_600_000;
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
    // Carnival Monday and Tuesday, Good Friday, Corpus Christi.
    fixed || black_awareness || matches!(day - easter(year), -48 | -47 | -2 | 60)
}

/// A day on which banks settle.
pub const fn is_business_day(day: i32) -> bool {
    weekday(day) < 5 && !is_holiday(day)
}

/// A day on which B3 has a session: business days but 24 and 31 December.
pub const fn is_session_day(day: i32) -> bool {
    let (_, month, day_of_month) = from_days(day);
    is_business_day(day) && !(month == 12 && (day_of_month == 24 || day_of_month == 31))
}

/// The day on which a trade of `day` settles: two session days later.
const fn settlement(day: i32) -> i32 {
    let mut later = day;
    let mut left = 2;
    while left > 0 {
        later += 1;
        if is_session_day(later) {
            left -= 1;
        }
    }
    later
}

/// What is asked of the days of a history again and again, computed once.
#[derive(Debug)]
pub struct Days {
    first: i32,
    business: Vec<bool>,
    settlement: Vec<i32>,
}

impl Days {
    /// The days from `first` to `last`.
    pub fn new(first: i32, last: i32) -> Self {
        Self {
            first,
            business: (first..=last).map(is_business_day).collect(),
            settlement: (first..=last).map(settlement).collect(),
        }
    }

    /// Whether a day of the history is a business day.
    #[inline]
    pub fn is_business_day(&self, day: i32) -> bool {
        self.business[(day - self.first) as usize]
    }

    /// The day on which a trade of a day of the history settles.
    #[inline]
    pub fn settlement(&self, day: i32) -> i32 {
        self.settlement[(day - self.first) as usize]
    }
}

/// Which business day of its month a business day is, from 1.
pub fn business_day_of_month(day: i32) -> usize {
    let (year, month, _) = from_days(day);
    (to_days(year, month, 1)..=day).filter(|&d| is_business_day(d)).count()
}
