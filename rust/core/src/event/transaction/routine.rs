//! What an account gets and pays every month.

use std::ops::Range;

use super::usual_count;
use crate::brazil::calendar::{HOUR, instant};
use crate::brazil::data::{Business, Payer};
use crate::catalog::AccountType;
use crate::entity::account::Account;
use crate::event::History;
use crate::event::recurring::Dues;
use crate::event::timeline::Parts;
use crate::rng::{Domain, Word};

/// From so many movements on a CORRENTE account is the one into which a salary comes, and the one from
/// which a household is paid.
const SALARY_FROM: u32 = 9;
const BILLS_FROM: u32 = 15;

/// What comes back every month; the numbers are positions among the descriptions of bills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Bill {
    Salary = 0,
    Thirteenth = 1,
    Benefit = 2,
    Rent = 3,
    Energy = 4,
    Water = 5,
    Internet = 6,
    School = 7,
}

impl Bill {
    pub(super) const ALL: [Self; 8] = [
        Self::Salary,
        Self::Thirteenth,
        Self::Benefit,
        Self::Rent,
        Self::Energy,
        Self::Water,
        Self::Internet,
        Self::School,
    ];

    pub(super) const fn is_paid_in(self) -> bool {
        matches!(self, Self::Salary | Self::Thirteenth | Self::Benefit)
    }

    /// Whether its amount depends on how much was used.
    pub(super) const fn is_metered(self) -> bool {
        matches!(self, Self::Energy | Self::Water)
    }

    pub(super) const fn business(self, payer: Payer) -> Business {
        match self {
            Self::Salary | Self::Thirteenth => match payer {
                Payer::Public => Business::Government,
                _ => Business::Firm,
            },
            Self::Benefit => Business::Inss,
            Self::Rent => Business::Realty,
            Self::Energy => Business::Energy,
            Self::Water => Business::Water,
            Self::Internet => Business::Telecom,
            Self::School => Business::School,
        }
    }
}

/// Amount, day of the month, and time of day of each bill of an account; without an amount there is none.
#[derive(Debug, Default)]
pub(super) struct Routine {
    /// Chooses which movements are with whom the account knows.
    pub(super) habits: u64,
    pub(super) bills: [(i64, i32, i64); Bill::ALL.len()],
}

impl Routine {
    pub(super) fn new(history: &History, account: &Account) -> Self {
        let [[draw, pay, rent, school], [energy, water, internet, payer]] =
            history.context.rng.fours(Domain::Transaction, account.row, u64::MAX);
        let mut routine = Self { habits: payer.0 ^ school.0.rotate_left(32), ..Self::default() };
        if account.kind != AccountType::Checking {
            return routine;
        }
        let usual = usual_count(account.kind, draw.halves().0);
        if usual >= SALARY_FROM {
            let (net, when) = pay.halves();
            // At night, when banks run the files of those who pay.
            let time = 5 * HOUR + i64::from(when.below(3 * HOUR as u32));
            match account.payer {
                Payer::Private | Payer::Public => {
                    // After tax and social security.
                    let salary = account.income * i64::from(78 + net.below(15)) / 100;
                    routine.bills[Bill::Salary as usize] = (salary, 0, time);
                    routine.bills[Bill::Thirteenth as usize] = (salary / 2, 0, time);
                }
                // On one of five days, by the last digit of its number.
                Payer::Inss => {
                    let day = net.below(5) as i32;
                    routine.bills[Bill::Benefit as usize] = (account.income, day, time);
                }
                Payer::Nobody => {}
            }
        }
        if usual >= BILLS_FROM {
            let mut add =
                |bill: Bill, word: Word, of_10_000: u32, days: Range<i32>, amount: i64| {
                    let (has, when) = word.halves();
                    if has.chance(of_10_000) {
                        let day = days.start + (when.0 % (days.end - days.start) as u32) as i32;
                        // Paid in the day, before the night cap.
                        let time = 8 * HOUR + i64::from(when.below(11 * HOUR as u32));
                        routine.bills[bill as usize] = (amount, day, time);
                    }
                };
            let income = account.income;
            let (share, fees) = payer.halves();
            // Percent of the income, to R$ 10; R$ 3 000 and 6 000 at the most.
            let of_income = |percent: i64, most: i64| {
                ((income * percent / 100).min(most) / 1_000 * 1_000).max(20_000)
            };
            let size = i64::from(share.0 >> 8 & 0xFF);
            // A fifth of all homes are rented (Census 2022: 20.9%).
            add(
                Bill::Rent,
                rent,
                2_090,
                5..11,
                of_income(18 + i64::from(share.below(13)), 600_000),
            );
            add(Bill::Energy, energy, 7_500, 5..26, 9_000 + size * 60);
            add(Bill::Water, water, 5_500, 5..26, 5_000 + size * 30);
            add(
                Bill::Internet,
                internet,
                6_500,
                5..26,
                [7_990, 9_990, 11_990, 14_990][(fees.0 % 4) as usize],
            );
            add(
                Bill::School,
                school,
                900,
                5..11,
                of_income(10 + i64::from(fees.below(6)), 300_000),
            );
        }
        routine
    }

    /// Whether an income comes every month.
    pub(super) const fn is_paid(&self) -> bool {
        self.bills[Bill::Salary as usize].0 > 0 || self.bills[Bill::Benefit as usize].0 > 0
    }

    pub(super) fn dues(&self, history: &History, parts: &Parts<'_>, n: u32) -> Dues {
        Dues::new(history, parts, n, |month| {
            let month = *month;
            Bill::ALL.into_iter().filter_map(move |bill| {
                let (amount, day, time) = self.bills[bill as usize];
                let day = match bill {
                    Bill::Salary => month.payday(),
                    Bill::Benefit => month.business_days[day as usize],
                    Bill::Thirteenth => month.thirteenth?,
                    _ => month.first_day + day - 1,
                };
                (amount > 0).then(|| (bill as usize, instant(day, time)))
            })
        })
    }
}
