//! How a customer uses a CORRENTE account: what is paid from it every month, and what is left in it.

use crate::brazil::hours::{DAYLIGHT, time_between};
use crate::entity::account::Account;
use crate::entity::skeleton::{ONE, around_one, times};
use crate::event::History;
use crate::rng::{Domain, Half, Word};

/// Bills of a household that come back every month.
pub(super) const BILLS: usize = 5;

/// A bill that comes back every month.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bill {
    /// Centavos; nothing if there is no such bill.
    pub(super) amount: i64,
    /// Day of the month, from 0.
    pub(super) day: i32,
    /// Milliseconds since midnight.
    pub(super) time: i64,
}

/// The habits of an account, the same in every month.
#[derive(Debug, Clone, Copy)]
pub(super) struct Routine {
    /// The income comes into it.
    pub(super) is_main: bool,
    /// Rent, energy, water, telephone, school.
    pub(super) bills: [Bill; BILLS],
    /// For a package of services, in centavos; nothing if there is none.
    pub(super) fee: i64,
    /// On which of the first and last business days of the month it is charged.
    pub(super) fee_on: usize,
}

/// What the movements of an account depend on again and again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// Chooses which movements are with whom the account knows.
    pub(super) contacts: u64,
    /// What is left in the account in the long run, in centavos.
    pub(super) usual: i64,
    /// How far below zero the holder goes in good months, in centavos.
    pub(super) red: i64,
    /// The square root of the income over R$ 3 000, times [`ONE`]: sums grow with it.
    pub(super) scale: u32,
    pub(super) is_main: bool,
}

fn draws(history: &History, account: &Account) -> [[Word; 4]; 3] {
    history.context.rng.fours(Domain::Transaction, account.row, u64::MAX)
}

/// Whether it is the account into which the income comes.
fn is_main(draw: Half) -> bool {
    draw.chance(6_400)
}

impl Habits {
    pub(super) fn new(history: &History, account: &Account) -> Self {
        let [[main, usual, red, _], [contacts, ..], _] = draws(history, account);
        let (main, _) = main.halves();
        let life = &account.life;
        let is_main = is_main(main);
        // Half a month's income on average where it comes in, and a fifth elsewhere.
        let percent = if is_main { 50 } else { 20 };
        let usual = times(life.income * percent / 100, around_one(usual.halves().0, 90));
        let (habit, depth) = red.halves();
        let red = if habit.chance(2_200) { i64::from(20 + depth.below(50)) } else { 0 };
        let (high, low) = contacts.halves();
        Self {
            contacts: u64::from(high.0) << 32 | u64::from(low.0),
            usual,
            red: account.overdraft_limit * red / 100,
            scale: root(life.income) as u32,
            is_main,
        }
    }
}

/// The square root of an income over R$ 3 000, times [`ONE`], from 0.6 to 5.
fn root(income: i64) -> u64 {
    let square = (income as u64 * ONE / 300_000) * ONE;
    square.isqrt().clamp(ONE * 6 / 10, 5 * ONE)
}

impl Routine {
    pub(super) fn new(history: &History, account: &Account) -> Self {
        let [[main, ..], [_, shares, rent, school], [energy, water, internet, fee]] =
            draws(history, account);
        let (main, household) = main.halves();
        let life = &account.life;
        let mut routine =
            Self { is_main: is_main(main), bills: [Bill::default(); BILLS], fee: 0, fee_on: 0 };
        if routine.is_main && household.chance(4_300) {
            let (share, fees) = shares.halves();
            let size = i64::from(share.0 >> 8 & 0xFF);
            // Percent of the income, to R$ 10.
            let of_income = |percent: i64, most: i64| {
                ((life.net * percent / 100).min(most) / 1_000 * 1_000).max(15_000)
            };
            // A fifth of all homes are rented (Census 2022: 20.9%).
            routine.bills = [
                bill(rent, 2_090, 4..10, of_income(17 + i64::from(share.below(11)), 600_000)),
                bill(energy, 8_000, 5..25, 7_000 + size * 55),
                bill(water, 6_000, 5..25, 4_500 + size * 28),
                bill(
                    internet,
                    7_500,
                    5..25,
                    [5_990, 7_990, 9_990, 11_990, 14_990][(fees.0 % 5) as usize],
                ),
                bill(school, 900, 4..10, of_income(8 + i64::from(fees.below(6)), 250_000)),
            ];
        }
        let (has, which) = fee.halves();
        if routine.is_main && has.chance(2_200) {
            routine.fee = [1_290, 1_990, 2_750, 3_490, 4_300][(which.0 % 5) as usize];
            routine.fee_on = (which.0 / 5 % 10) as usize;
        }
        routine
    }
}

fn bill(word: Word, of_10_000: u32, days: std::ops::Range<i32>, amount: i64) -> Bill {
    let (has, when) = word.halves();
    if !has.chance(of_10_000) {
        return Bill::default();
    }
    Bill {
        amount,
        day: days.start + (when.0 % (days.end - days.start) as u32) as i32,
        // Paid in the day, before the night cap.
        time: time_between(DAYLIGHT, when),
    }
}
