//! When in a day people move money.

use std::ops::Range;

use super::calendar::HOUR;
use crate::rng::Half;

/// Weight of movements by local hour on business days (Pix, from the hourly curve of the Banco
/// Central, rounded ≈), and on days off, which begin and end later.
pub const MOVEMENTS: [[u64; 24]; 2] = [
    [12, 7, 5, 4, 5, 9, 20, 38, 55, 68, 78, 84, 95, 86, 80, 80, 82, 88, 92, 86, 74, 58, 38, 22],
    [18, 10, 6, 4, 4, 6, 11, 22, 38, 56, 70, 80, 84, 76, 68, 66, 68, 74, 82, 84, 76, 64, 50, 36],
];
/// Hours in which persons may send any sum by Pix.
pub const DAYLIGHT: Range<usize> = 6..20;
/// Hours in which people who are awake see to their money.
pub const WAKING: Range<usize> = 7..23;

/// Weights of the hours of a business day before each of them, and of all.
const STARTS: [u64; 25] = {
    let mut starts = [0; 25];
    let mut hour = 0;
    while hour < 24 {
        starts[hour + 1] = starts[hour] + MOVEMENTS[0][hour];
        hour += 1;
    }
    starts
};

/// The hour to which each unit of weight of a business day belongs.
static HOURS: [u8; STARTS[24] as usize] = {
    let mut hours = [0; STARTS[24] as usize];
    let (mut hour, mut unit) = (0, 0);
    while unit < hours.len() {
        while STARTS[hour + 1] <= unit as u64 {
            hour += 1;
        }
        hours[unit] = hour as u8;
        unit += 1;
    }
    hours
};

/// A time within some hours of a business day, in milliseconds since midnight: of what people order themselves.
#[inline]
pub fn time_between(hours: Range<usize>, draw: Half) -> i64 {
    let first = STARTS[hours.start];
    let point = (first << 32) + u64::from(draw.0) * (STARTS[hours.end] - first);
    let hour = usize::from(HOURS[(point >> 32) as usize]);
    let into = point - (STARTS[hour] << 32);
    hour as i64 * HOUR + ((into / MOVEMENTS[0][hour] * HOUR as u64) >> 32) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_within_their_hours_and_follow_the_curve() {
        for hours in [DAYLIGHT, WAKING, 0..24, 9..10] {
            let times: Vec<i64> = (0..=u32::MAX)
                .step_by(1 << 16)
                .chain([u32::MAX])
                .map(|draw| time_between(hours.clone(), Half(draw)))
                .collect();
            assert!(times.is_sorted());
            let within = hours.start as i64 * HOUR..hours.end as i64 * HOUR;
            assert!(times.iter().all(|time| within.contains(time)));
            let total: u64 = MOVEMENTS[0][hours.clone()].iter().sum();
            for hour in hours {
                let of_hour = hour as i64 * HOUR..(hour as i64 + 1) * HOUR;
                let n = times.iter().filter(|time| of_hour.contains(time)).count() as u64;
                let expected = MOVEMENTS[0][hour] * times.len() as u64 / total;
                assert!(n.abs_diff(expected) <= 2, "{hour}: {n}, not {expected}");
            }
        }
    }
}
