//! The Gregorian calendar in integers: days since 1970-01-01 and year, month, day.

/// Year, month (1–12) and day of a day number (Howard Hinnant, "chrono-compatible low-level date
/// algorithms").
#[inline]
pub const fn from_days(days: i32) -> (i32, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097) as u32;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era as i32 + era * 400 + (month <= 2) as i32, month, day)
}

/// The day number of a year, month (1–12) and day.
#[inline]
pub const fn to_days(year: i32, month: u32, day: u32) -> i32 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400) as u32;
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era as i32 - 719_468
}

/// The day number of `months` months after a month, at a day of the month that every month has.
#[inline]
pub const fn add_months(year: i32, month: u32, day: u32, months: i32) -> i32 {
    let index = year * 12 + month as i32 - 1 + months;
    to_days(index.div_euclid(12), index.rem_euclid(12) as u32 + 1, day)
}
