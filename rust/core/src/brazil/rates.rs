//! What laws, the Banco Central and the Union set by date: the minimum wage, interest and the tax on credit.
//!
//! Days are local. Before the first row of a file its values hold, and after the last one those of the last. Rates are
//! in millionths but where it says otherwise.

use std::sync::LazyLock;

use serde::Deserialize;

use super::data::read;

/// Most that an overdraft may cost persons, in millionths a month (CMN Resolution 4.765 of 2019).
pub const OVERDRAFT_MONTH: i64 = 80_000;
/// Days for which the daily IOF is due at the most (Decree 6.306 of 2007, article 7, § 1).
pub const IOF_DAYS: i64 = 365;

/// A trillion, as which interest is computed.
const ONE: u128 = 1_000_000_000_000;
/// The TBF of a month, as a share of the Selic's monthly rate, in percent (CMN Resolution 4.624 of 2018; it is of
/// market rates, near the Selic ≈).
const TBF: u128 = 93;
/// What divides the TBF: from these rates on, in millionths a month, a and b of R = a + b · TBF, in
/// hundred-millionths (CMN Resolution 5.124 of 2024; ≈ for the years before).
const REDUCERS: [(u128, u128, u128); 5] = [
    (13_134, 100_500_000, 48_000_000),
    (9_856, 99_869_130, 96_034_591),
    (8_462, 100_500_000, 32_000_000),
    (7_323, 100_010_877, 89_838_243),
    (0, 100_500_000, 23_000_000),
];

/// What holds from a day on.
trait Dated {
    fn from(&self) -> i32;
}

/// A line of `minimum_wage.csv`.
#[derive(Debug, Deserialize)]
struct Wage {
    #[serde(deserialize_with = "read::date")]
    from: i32,
    cents: i64,
}

/// A line of `selic.csv`.
#[derive(Debug, Deserialize)]
struct Target {
    #[serde(deserialize_with = "read::date")]
    from: i32,
    /// Hundredths of a percent a year.
    rate: i64,
}

/// A line of `iof.csv`, in hundred-millionths.
#[derive(Debug, Deserialize)]
struct Tax {
    #[serde(deserialize_with = "read::date")]
    from: i32,
    once: i64,
    daily: i64,
}

/// What follows from a target of the Selic.
#[derive(Debug)]
struct Interest {
    from: i32,
    selic: i64,
    tr: i64,
    savings: i64,
}

macro_rules! dated {
    ($($name:ident),+) => {
        $(impl Dated for $name {
            fn from(&self) -> i32 {
                self.from
            }
        })+
    };
}
dated!(Wage, Interest, Tax);

static WAGES: LazyLock<Vec<Wage>> =
    LazyLock::new(|| read::read(include_str!("../../data/minimum_wage.csv")).collect());
static INTEREST: LazyLock<Vec<Interest>> = LazyLock::new(|| {
    read::read(include_str!("../../data/selic.csv")).map(|target| Interest::of(&target)).collect()
});
static TAXES: LazyLock<Vec<Tax>> =
    LazyLock::new(|| read::read(include_str!("../../data/iof.csv")).collect());

/// The one that holds on a day.
fn on<T: Dated>(rows: &[T], day: i32) -> &T {
    let later = rows.partition_point(|row| row.from() <= day);
    &rows[later.saturating_sub(1)]
}

/// The rate of a month that twelve times gives that of a year, both as parts of [`ONE`], rounded down.
fn monthly(yearly: u128) -> u128 {
    let times = |a: u128, b: u128| a * b / ONE;
    let year_of = |month: u128| {
        let three = times(times(ONE + month, ONE + month), ONE + month);
        let six = times(three, three);
        times(six, six)
    };
    // No rate of a month is above that of the year.
    let (mut low, mut high) = (0, yearly + 1);
    while high - low > 1 {
        let middle = u128::midpoint(low, high);
        if year_of(middle) <= ONE + yearly { low = middle } else { high = middle }
    }
    low
}

/// Parts of [`ONE`] as millionths.
const fn millionths(rate: u128) -> i64 {
    const MILLIONTH: u128 = ONE / 1_000_000;
    ((rate + MILLIONTH / 2) / MILLIONTH) as i64
}

impl Interest {
    fn of(target: &Target) -> Self {
        let selic = target.rate as u128 * (ONE / 10_000);
        let tbf = monthly(selic) * TBF / 100;
        let reducer = REDUCERS.iter().find(|(from, ..)| tbf >= from * (ONE / 1_000_000));
        let (_, a, b) = reducer.expect("one for any rate");
        let reducer = (a * ONE + b * tbf) / ONE;
        // (1 + TBF) / R − 1, and never below zero.
        let tr = millionths(((ONE + tbf) * 100_000_000 / reducer).saturating_sub(ONE));
        // 0.5% a month while the Selic is above 8.5%, else 70% of it.
        let more = if target.rate > 850 { ONE / 200 } else { monthly(selic * 70 / 100) };
        let savings = millionths(more + tr as u128 * (ONE + more) / 1_000_000);
        Self { from: target.from, selic: target.rate * 100, tr, savings }
    }
}

/// The national minimum wage, in centavos a month.
pub fn minimum_wage(day: i32) -> i64 {
    on(&WAGES, day).cents
}

/// Copom's target of the Selic, in millionths a year.
pub fn selic(day: i32) -> i64 {
    on(&INTEREST, day).selic
}

/// The TR of a month that begins on a day, in millionths: that of the Selic's monthly rate ≈.
pub fn tr_month(day: i32) -> i64 {
    on(&INTEREST, day).tr
}

/// What savings yield for a month that begins on a day, in millionths: the TR, and on top of it 0.5% while the Selic
/// is above 8.5% a year, else what 70% of the Selic is in a month (Law 8.177 of 1991, article 12; Law 12.703 of
/// 2012).
pub fn savings_month(day: i32) -> i64 {
    on(&INTEREST, day).savings
}

/// IOF on credit of persons that is due once, in hundred-millionths of the principal.
pub fn iof_once(day: i32) -> i64 {
    on(&TAXES, day).once
}

/// IOF on credit of persons for each day, in hundred-millionths of the principal.
pub fn iof_daily(day: i32) -> i64 {
    on(&TAXES, day).daily
}

/// IOF in centavos, rounded half up, on so many centavos that a person borrows on a day for so many days.
pub fn iof(day: i32, principal: i64, days: i64) -> i64 {
    let rate = iof_once(day) + iof_daily(day) * days.clamp(0, IOF_DAYS);
    ((i128::from(principal) * i128::from(rate) + 50_000_000) / 100_000_000) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::brazil::calendar::is_business_day;
    use crate::civil::to_days;

    #[test]
    fn wages_hold_from_their_day_on() {
        for (date, cents) in [
            ((2015, 1, 1), 110_000),
            ((2021, 1, 1), 110_000),
            ((2021, 12, 31), 110_000),
            ((2022, 1, 1), 121_200),
            ((2023, 4, 30), 130_200),
            ((2023, 5, 1), 132_000),
            ((2024, 6, 30), 141_200),
            ((2025, 12, 31), 151_800),
            ((2026, 1, 1), 162_100),
            ((2099, 1, 1), 162_100),
        ] {
            assert_eq!(minimum_wage(to_days(date.0, date.1, date.2)), cents, "{date:?}");
        }
    }

    #[test]
    fn targets_hold_from_the_business_day_after_the_meeting() {
        for (date, rate) in [
            ((2021, 1, 1), 20_000),
            ((2021, 3, 17), 20_000),
            ((2021, 3, 18), 27_500),
            ((2022, 6, 16), 127_500),
            ((2022, 6, 17), 132_500),
            ((2023, 8, 2), 137_500),
            ((2024, 5, 9), 105_000),
            ((2025, 6, 19), 147_500),
            ((2025, 12, 31), 150_000),
            ((2026, 3, 18), 150_000),
            ((2026, 3, 19), 147_500),
        ] {
            assert_eq!(selic(to_days(date.0, date.1, date.2)), rate, "{date:?}");
        }
        assert!(INTEREST.iter().all(|row| is_business_day(row.from)));
        assert!(INTEREST.is_sorted_by(|one, next| one.from < next.from));
    }

    #[test]
    fn months_make_up_the_year() {
        let month = monthly(ONE * 15 / 100);
        // 1.15^(1/12) = 1.011 714 916 919 85…; products are rounded down.
        assert!((11_714_916_919..=11_714_916_921).contains(&month), "{month}");
        assert_eq!(monthly(0), 0);
    }

    #[test]
    fn the_tr_is_near_the_published_one() {
        // Of months that begin on these days, in millionths (Banco Central).
        for (date, published, apart) in [
            ((2021, 6, 1), 0, 0),
            ((2021, 11, 1), 0, 0),
            ((2022, 3, 1), 971, 300),
            ((2022, 12, 1), 2_072, 500),
            ((2023, 7, 1), 1_581, 300),
            ((2024, 1, 1), 875, 10),
            ((2024, 7, 1), 739, 100),
            ((2024, 9, 1), 675, 10),
            ((2025, 4, 1), 1_689, 100),
        ] {
            let tr = tr_month(to_days(date.0, date.1, date.2));
            assert!((tr - published).abs() <= apart, "{date:?}: {tr}, not {published}");
        }
    }

    #[test]
    fn savings_follow_the_selic_up_to_eight_and_a_half() {
        // 70% of 2% and of 7.75% a year; from 9.25% on half a percent and the TR.
        for (date, yields) in [((2021, 1, 1), 1_159), ((2021, 11, 1), 4_412)] {
            assert_eq!(savings_month(to_days(date.0, date.1, date.2)), yields, "{date:?}");
        }
        for date in [(2021, 12, 9), (2024, 7, 1), (2026, 7, 1)] {
            let day = to_days(date.0, date.1, date.2);
            let tr = tr_month(day);
            assert!((50..=2_000).contains(&tr), "{date:?}: {tr}");
            assert_eq!(savings_month(day), 5_000 + tr + tr / 200 + i64::from(tr % 200 >= 100));
        }
    }

    #[test]
    fn the_tax_on_credit_was_higher_for_a_quarter() {
        for (date, daily) in [
            ((2019, 1, 1), 8_200),
            ((2021, 9, 19), 8_200),
            ((2021, 9, 20), 11_180),
            ((2021, 12, 31), 11_180),
            ((2022, 1, 1), 8_200),
            ((2025, 7, 1), 8_200),
        ] {
            let day = to_days(date.0, date.1, date.2);
            assert_eq!((iof_once(day), iof_daily(day)), (380_000, daily), "{date:?}");
        }
        let day = to_days(2026, 1, 5);
        // R$ 1 000 for a month: 3.80 and 30 times 0.082; for two years as for one.
        assert_eq!(iof(day, 100_000, 30), 380 + 246);
        assert_eq!(iof(day, 100_000, 730), iof(day, 100_000, 365));
        assert_eq!(iof(day, 100_000, 365), 380 + 2_993);
    }
}
