//! Values as ASCII text: digits, dates, instants, uuids.
//!
//! A uuid and a decimal are written in place: a detour through an array was measurably slower.

/// Characters of a uuid.
pub(super) const UUID_LEN: usize = 36;
/// Characters of a date.
pub(super) const DATE_LEN: usize = 10;
/// Characters of an instant.
pub(super) const INSTANT_LEN: usize = 24;
/// Most characters of a decimal: sign, point, the 19 digits of an `i64`, and a leading zero.
pub(super) const DECIMAL_LEN: usize = 22;

const MS_PER_DAY: i64 = 86_400_000;

/// Two hexadecimal digits for each byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = [digits[i >> 4], digits[i & 15]];
        i += 1;
    }
    table
};

/// Two decimal digits for each number below 100.
const TWO: [[u8; 2]; 100] = {
    let mut table = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        table[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    table
};

/// Lower case, in groups of 8-4-4-4-12 (RFC 9562).
#[inline]
pub(super) fn uuid(id: &[u8; 16], out: &mut [u8; UUID_LEN]) {
    const DIGITS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    for (byte, at) in id.iter().zip(DIGITS) {
        [out[at], out[at + 1]] = HEX[usize::from(*byte)];
    }
    for at in HYPHENS {
        out[at] = b'-';
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
///
/// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years start
/// in March, so that the leap day is the last of its year, and repeat every 400 years.
#[inline]
pub(super) fn civil(days: i32) -> (i32, u32, u32) {
    const DAYS_PER_ERA: i32 = 146_097;
    let days = days + 719_468; // from 0000-03-01
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA) as u32;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let (month, next) =
        if month_from_march < 10 { (month_from_march + 3, 0) } else { (month_from_march - 9, 1) };
    (era * 400 + year_of_era as i32 + next, month, day)
}

/// `YYYY-MM-DD`, for the years 0 to 9999.
#[inline]
pub(super) fn date(days: i32) -> [u8; DATE_LEN] {
    let (year, month, day) = civil(days);
    let mut out = *b"0000-00-00";
    out[..2].copy_from_slice(&TWO[(year / 100) as usize]);
    out[2..4].copy_from_slice(&TWO[(year % 100) as usize]);
    out[5..7].copy_from_slice(&TWO[month as usize]);
    out[8..].copy_from_slice(&TWO[day as usize]);
    out
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`, for the years 0 to 9999.
#[inline]
pub(super) fn instant(millis: i64) -> [u8; INSTANT_LEN] {
    let of_day = millis.rem_euclid(MS_PER_DAY) as u32;
    let seconds = of_day / 1000;
    let millis_of_second = of_day % 1000;
    let mut out = *b"0000-00-00T00:00:00.000Z";
    out[..10].copy_from_slice(&date(millis.div_euclid(MS_PER_DAY) as i32));
    out[11..13].copy_from_slice(&TWO[(seconds / 3600) as usize]);
    out[14..16].copy_from_slice(&TWO[(seconds / 60 % 60) as usize]);
    out[17..19].copy_from_slice(&TWO[(seconds % 60) as usize]);
    out[20] = b'0' + (millis_of_second / 100) as u8;
    out[21..23].copy_from_slice(&TWO[(millis_of_second % 100) as usize]);
    out
}

/// Writes `units` of `10^-scale` with exactly `scale` decimals (`-12.30`, `0.019700`, `7`), and
/// returns the length.
#[inline]
pub(super) fn decimal(units: i64, scale: u8, out: &mut [u8; DECIMAL_LEN]) -> usize {
    let scale = usize::from(scale);
    let start = usize::from(units < 0);
    let mut rest = units.unsigned_abs();
    let digits = rest.checked_ilog10().map_or(1, |log| log as usize + 1).max(scale + 1);
    let len = start + digits + usize::from(scale > 0);

    out[0] = b'-';
    let mut end = len;
    if scale > 0 {
        put_digits(&mut out[len - scale..len], &mut rest);
        end = len - scale - 1;
        out[end] = b'.';
    }
    put_digits(&mut out[start..end], &mut rest);
    len
}

/// Fills `out` with the last digits of `rest`, and takes them from it.
#[inline]
fn put_digits(out: &mut [u8], rest: &mut u64) {
    let mut pairs = out.rchunks_exact_mut(2);
    for pair in &mut pairs {
        pair.copy_from_slice(&TWO[(*rest % 100) as usize]);
        *rest /= 100;
    }
    if let [digit] = pairs.into_remainder() {
        *digit = b'0' + (*rest % 10) as u8;
        *rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every day of the years 0 to 9999, against a calendar that only counts.
    #[test]
    fn every_day_follows_the_one_before() {
        let mut expected = (0, 1, 1);
        for days in -719_528..=2_932_896 {
            assert_eq!(civil(days), expected);
            let (year, month, day) = expected;
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let last = match month {
                2 => 28 + u32::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            };
            expected = match (month, day) {
                (12, 31) => (year + 1, 1, 1),
                (_, day) if day == last => (year, month + 1, 1),
                _ => (year, month, day + 1),
            };
        }
        assert_eq!(expected, (10_000, 1, 1));
        assert_eq!(civil(0), (1970, 1, 1));
    }

    #[test]
    fn decimals_of_any_scale() {
        let decimal = |units, scale| {
            let mut out = [0; DECIMAL_LEN];
            let len = decimal(units, scale, &mut out);
            String::from_utf8(out[..len].to_vec()).expect("ASCII")
        };
        assert_eq!(decimal(i64::MIN, 0), "-9223372036854775808");
        assert_eq!(decimal(i64::MIN, 2), "-92233720368547758.08");
        assert_eq!(decimal(i64::MAX, 3), "9223372036854775.807");
        assert_eq!(decimal(-7, 18), "-0.000000000000000007");
        assert_eq!(decimal(0, 1), "0.0");
        assert_eq!(decimal(99, 0), "99");
        assert_eq!(decimal(100, 0), "100");
    }
}
