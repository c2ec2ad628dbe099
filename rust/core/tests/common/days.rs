//! Days counted one by one, and the days on which Brazilian banks were and will be closed.

use std::sync::LazyLock;

/// Milliseconds of a minute, an hour and a day.
pub const MINUTE: i64 = 60_000;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// Days from 1900-01-01 to 1970-01-01: 70 years and 17 leap days.
const BEFORE_1970: i32 = 70 * 365 + 17;

/// Year, month and day of every day from 1900-01-01 to 2200-12-31.
static CALENDAR: LazyLock<Vec<(i32, u32, u32)>> = LazyLock::new(|| {
    let mut calendar = Vec::new();
    for year in 1900..=2200 {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        for (month, length) in (1..).zip([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
            let length = if month == 2 && leap { 29 } else { length };
            calendar.extend((1..=length).map(|day| (year, month, day)));
        }
    }
    calendar
});

/// Every day number of the calendar.
pub fn all() -> std::ops::Range<i32> {
    -BEFORE_1970..CALENDAR.len() as i32 - BEFORE_1970
}

/// Year, month and day of a day number.
pub fn ymd(day: i32) -> (i32, u32, u32) {
    CALENDAR[(day + BEFORE_1970) as usize]
}

/// The number of a day.
pub fn day(year: i32, month: u32, day: u32) -> i32 {
    let position = CALENDAR.binary_search(&(year, month, day)).expect("a date of 1900 to 2200");
    position as i32 - BEFORE_1970
}

/// An instant in UTC.
pub fn utc(date: (i32, u32, u32), hour: i64, minute: i64) -> i64 {
    i64::from(day(date.0, date.1, date.2)) * DAY + hour * HOUR + minute * MINUTE
}

/// Day and milliseconds since midnight, three hours behind UTC.
pub fn local(instant: i64) -> (i32, i64) {
    let local = instant - 3 * HOUR;
    (local.div_euclid(DAY) as i32, local.rem_euclid(DAY))
}

/// 0 for Monday to 6 for Sunday.
pub fn weekday(day: i32) -> i32 {
    // 2024-01-01 was a Monday, and day 19 723.
    (day - 19_723).rem_euclid(7)
}

/// `2026-07-01`.
pub fn date_text(day: i32) -> String {
    let (year, month, day) = ymd(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// `2026-07-01T00:00:00.000Z`.
pub fn instant_text(instant: i64) -> String {
    let time = instant.rem_euclid(DAY);
    format!(
        "{}T{:02}:{:02}:{:02}.{:03}Z",
        date_text(instant.div_euclid(DAY) as i32),
        time / HOUR,
        time / MINUTE % 60,
        time / 1_000 % 60,
        time % 1_000
    )
}

/// Moving and fixed holidays of banks (FEBRABAN's list).
pub const HOLIDAYS: [(i32, u32, u32); 88] = [
    (2021, 1, 1),
    (2021, 2, 15),
    (2021, 2, 16),
    (2021, 4, 2),
    (2021, 4, 21),
    (2021, 5, 1),
    (2021, 6, 3),
    (2021, 9, 7),
    (2021, 10, 12),
    (2021, 11, 2),
    (2021, 11, 15),
    (2021, 12, 25),
    (2022, 1, 1),
    (2022, 2, 28),
    (2022, 3, 1),
    (2022, 4, 15),
    (2022, 4, 21),
    (2022, 5, 1),
    (2022, 6, 16),
    (2022, 9, 7),
    (2022, 10, 12),
    (2022, 11, 2),
    (2022, 11, 15),
    (2022, 12, 25),
    (2023, 1, 1),
    (2023, 2, 20),
    (2023, 2, 21),
    (2023, 4, 7),
    (2023, 4, 21),
    (2023, 5, 1),
    (2023, 6, 8),
    (2023, 9, 7),
    (2023, 10, 12),
    (2023, 11, 2),
    (2023, 11, 15),
    (2023, 12, 25),
    (2024, 1, 1),
    (2024, 2, 12),
    (2024, 2, 13),
    (2024, 3, 29),
    (2024, 4, 21),
    (2024, 5, 1),
    (2024, 5, 30),
    (2024, 9, 7),
    (2024, 10, 12),
    (2024, 11, 2),
    (2024, 11, 15),
    (2024, 11, 20),
    (2024, 12, 25),
    (2025, 1, 1),
    (2025, 3, 3),
    (2025, 3, 4),
    (2025, 4, 18),
    (2025, 4, 21),
    (2025, 5, 1),
    (2025, 6, 19),
    (2025, 9, 7),
    (2025, 10, 12),
    (2025, 11, 2),
    (2025, 11, 15),
    (2025, 11, 20),
    (2025, 12, 25),
    (2026, 1, 1),
    (2026, 2, 16),
    (2026, 2, 17),
    (2026, 4, 3),
    (2026, 4, 21),
    (2026, 5, 1),
    (2026, 6, 4),
    (2026, 9, 7),
    (2026, 10, 12),
    (2026, 11, 2),
    (2026, 11, 15),
    (2026, 11, 20),
    (2026, 12, 25),
    (2027, 1, 1),
    (2027, 2, 8),
    (2027, 2, 9),
    (2027, 3, 26),
    (2027, 4, 21),
    (2027, 5, 1),
    (2027, 5, 27),
    (2027, 9, 7),
    (2027, 10, 12),
    (2027, 11, 2),
    (2027, 11, 15),
    (2027, 11, 20),
    (2027, 12, 25),
];

/// A day, of 2021 to 2027, on which banks settle.
pub fn is_business_day(day: i32) -> bool {
    assert!((2021..=2027).contains(&ymd(day).0), "{} is not listed", date_text(day));
    weekday(day) < 5 && !HOLIDAYS.contains(&ymd(day))
}

/// Days on which banks work and B3 does not.
const CLOSED: [(i32, u32, u32); 12] = [
    (2021, 1, 25),
    (2021, 7, 9),
    (2021, 12, 24),
    (2021, 12, 31),
    (2024, 12, 24),
    (2024, 12, 31),
    (2025, 12, 24),
    (2025, 12, 31),
    (2026, 12, 24),
    (2026, 12, 31),
    (2027, 12, 24),
    (2027, 12, 31),
];

/// A day, of 2021 to 2027, on which B3 has a session.
pub fn is_session_day(day: i32) -> bool {
    is_business_day(day) && !CLOSED.contains(&ymd(day))
}

/// Sundays on which New York began and ended daylight saving time, of 2021 to 2027.
pub const SUMMERS_IN_NEW_YORK: [[(u32, u32); 2]; 7] = [
    [(3, 14), (11, 7)],
    [(3, 13), (11, 6)],
    [(3, 12), (11, 5)],
    [(3, 10), (11, 3)],
    [(3, 9), (11, 2)],
    [(3, 8), (11, 1)],
    [(3, 14), (11, 7)],
];

/// When B3 opens and ends its continuous session on a day of 2021 to 2027.
pub fn session(day: i32) -> (i64, i64) {
    let (year, month, of_month) = ymd(day);
    let [from, to] = SUMMERS_IN_NEW_YORK[(year - 2021) as usize];
    let summer = (from..to).contains(&(month, of_month));
    let opens = if ASH_WEDNESDAYS.contains(&ymd(day)) { 13 } else { 10 };
    (opens * HOUR, if summer { 16 } else { 17 } * HOUR + 55 * MINUTE)
}

/// The `n`th session day after a day.
pub fn session_days_after(day: i32, n: usize) -> i32 {
    (day + 1..).filter(|&later| is_session_day(later)).nth(n - 1).expect("a later day")
}

/// Which business day of its month a day is, from 1.
pub fn business_day_of_month(day: i32) -> Option<usize> {
    let first = day - ymd(day).2 as i32 + 1;
    is_business_day(day).then(|| (first..=day).filter(|&d| is_business_day(d)).count())
}

/// Ash Wednesdays, on which B3 opens at 13:00.
pub const ASH_WEDNESDAYS: [(i32, u32, u32); 7] = [
    (2021, 2, 17),
    (2022, 3, 2),
    (2023, 2, 22),
    (2024, 2, 14),
    (2025, 3, 5),
    (2026, 2, 18),
    (2027, 2, 10),
];
