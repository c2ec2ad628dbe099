//! `loans`, and the schedule of their installments.

use super::Context;
use super::customer::Customer;
use super::property::Property;
use crate::brazil::calendar::{HOUR, instant, local_day};
use crate::brazil::data::Payer;
use crate::catalog::{Amortization, LoanStatus, LoanType};
use crate::civil::{add_months, from_days};
use crate::column::{Nullable, columns};
use crate::rng::{Domain, Half, normal_q16};

columns! {
    /// Columns of `loans`.
    LoanColumns for LOANS {
        loan_id: Vec<[u8; 16]>,
        customer_id: Vec<[u8; 16]>,
        property_id: Nullable<Vec<[u8; 16]>>,
        loan_type: Vec<LoanType>,
        amortization: Vec<Amortization>,
        principal: Vec<i64>,
        monthly_rate: Vec<i64>,
        term_months: Vec<i16>,
        contracted_at: Vec<i64>,
        first_due_date: Vec<i32>,
        outstanding_balance: Vec<i64>,
        status: Vec<LoanStatus>,
        updated_at: Vec<i64>,
    }
}

/// A loan: what its installments depend on.
#[derive(Debug, Clone, Copy)]
pub struct Loan {
    /// Row in the table.
    pub row: u64,
    /// Id.
    pub id: [u8; 16],
    property: Option<u64>,
    kind: LoanType,
    /// How it is paid back.
    pub amortization: Amortization,
    /// Centavos.
    pub principal: i64,
    /// Millionths a month.
    pub rate: i64,
    /// Installments.
    pub term: u32,
    /// Milliseconds.
    pub contracted_at: i64,
    first_due: (i32, u32, u32),
    /// Installments at the end of those due that stay unpaid, if the loan still runs.
    pub arrears: u32,
    /// How many of 10 000 installments are paid late.
    pub lateness: u32,
}

/// `part` of `whole` as a rounded product of centavos and millionths, half up.
const fn interest(balance: i64, rate: i64) -> i64 {
    ((balance as i128 * rate as i128 + 500_000) / 1_000_000) as i64
}

/// 1 in numbers of 56 binary places.
const ONE: u128 = 1 << 56;

/// `(1 + rate)^term` to 56 binary places, for a `rate` in millionths and powers below 256.
const fn growth(rate: i64, term: u32) -> u128 {
    let mut square = ONE * (1_000_000 + rate as u128) / 1_000_000;
    let (mut power, mut left) = (ONE, term);
    while left > 0 {
        if left % 2 == 1 {
            power = (power * square) >> 56;
        }
        left /= 2;
        if left > 0 {
            square = (square * square) >> 56;
        }
    }
    power
}

/// The equal installment of a PRICE loan: `P·i / (1 − (1+i)^−n)`, rounded half up to the centavo.
///
/// `principal` is in centavos, `rate` in millionths a month, `term` in months.
pub const fn price_installment(principal: i64, rate: i64, term: u32) -> i64 {
    let power = growth(rate, term);
    let (numerator, denominator) =
        (principal as u128 * rate as u128 * power, (power - ONE) * 1_000_000);
    ((numerator + denominator / 2) / denominator) as i64
}

/// The principal in centavos of which the first installment is this one, rounded down.
const fn affordable(amortization: Amortization, installment: u64, rate: i64, term: u32) -> u64 {
    let (i, n) = (rate as u128, term as u128);
    let (numerator, denominator) = match amortization {
        Amortization::Sac => (n * 1_000_000, 1_000_000 + i * n),
        Amortization::Price => {
            let power = growth(rate, term);
            ((power - ONE) * 1_000_000, power * i)
        }
    };
    (installment as u128 * numerator / denominator) as u64
}

/// Parts of one installment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installment {
    /// Principal paid back.
    pub principal: i64,
    /// Interest.
    pub interest: i64,
}

/// The installments of a loan, in order; their principals sum to the loan's.
///
/// SAC pays back `P/n` each time: what is left after installment `k` is `P·(n−k)/n`, rounded half up to
/// the centavo, so that every principal is less than a centavo off and the last pays what is left. (Equal
/// principals rounded to the centavo would leave the last up to `n/2` centavos more or less.) In PRICE
/// the last takes the rounding of all.
#[derive(Debug, Clone)]
pub struct Schedule {
    amortization: Amortization,
    principal: i64,
    balance: i64,
    rate: i64,
    term: i64,
    left: u32,
    /// The equal installment of PRICE.
    equal: i64,
}

impl Schedule {
    /// The schedule of `principal` centavos at `rate` millionths a month over `term` months.
    pub const fn new(amortization: Amortization, principal: i64, rate: i64, term: u32) -> Self {
        let equal = match amortization {
            Amortization::Sac => 0,
            Amortization::Price => price_installment(principal, rate, term),
        };
        Self {
            amortization,
            principal,
            balance: principal,
            rate,
            term: term as i64,
            left: term,
            equal,
        }
    }
}

impl Iterator for Schedule {
    type Item = Installment;

    fn next(&mut self) -> Option<Installment> {
        self.left = self.left.checked_sub(1)?;
        let interest = interest(self.balance, self.rate);
        let left = i64::from(self.left);
        let principal = match self.amortization {
            _ if left == 0 => self.balance,
            Amortization::Sac => {
                self.balance - (2 * self.principal * left + self.term) / (2 * self.term)
            }
            Amortization::Price => (self.equal - interest).clamp(0, self.balance),
        };
        self.balance -= principal;
        Some(Installment { principal, interest })
    }
}

/// Percentage of a month's income up to which the first installment of a HOUSING loan may go.
const HOUSING_BUDGET: u64 = 40;

fn around(draw: Half, middle: i64, sigma: i64) -> i64 {
    // Within two sigmas, so that a rate never leaves its market.
    middle + (i64::from(normal_q16(draw)) * sigma / 65_536).clamp(-2 * sigma, 2 * sigma)
}

impl Loan {
    /// The loan of a row; with a property it is for housing.
    pub fn new(
        context: &Context,
        row: u64,
        borrower: &Customer,
        property: Option<&Property>,
    ) -> Self {
        let [[shape, terms, money, date], [arrears, tail, ..]] =
            context.rng.fours(Domain::Loan, row, 0);
        let (shape, rate) = shape.halves();
        let (months, more) = terms.halves();
        let income = borrower.income;
        // Installments are deducted from a payroll or a benefit; who has none of them borrows otherwise.
        let payroll = match borrower.payer() {
            Payer::Nobody => 0,
            Payer::Private => 500,
            Payer::Public => 700,
            Payer::Inss => 750,
        };
        let vehicle = (1_000 - payroll) * if income < 250_000 { 30 } else { 55 } / 100;
        let kind = match (property, shape.below(1_000)) {
            (Some(_), _) => LoanType::Housing,
            (None, place) if place < payroll => LoanType::Payroll,
            (None, place) if place < payroll + vehicle => LoanType::Vehicle,
            _ => LoanType::Personal,
        };
        let as_of_day = local_day(context.plan.as_of());
        let created_day = local_day(borrower.created_at);
        let tenure = (as_of_day - created_day - 1) as u64;
        // A home is seldom the newest thing.
        let latest = if kind == LoanType::Housing { (tenure * 92 / 100).max(1) } else { tenure };
        let contracted = created_day + 1 + date.below(latest) as i32;
        let multiple = |draw: Half, low: u32, high: u32, step: u32| {
            low + draw.below((high - low) / step + 1) * step
        };
        // Rate, term, and least and greatest first installment in percent of a month's income. The law
        // lets 35% be deducted from a payroll, and caps the rate for benefits near that for servants.
        let (rate, term, (low, high)) = match kind {
            LoanType::Housing => {
                // Long ones are commoner: the greater of two draws.
                let term = multiple(Half(months.0.max(more.0)), 120, 420, 60);
                // Insurers ask that it end before the age of 80 years and six months.
                let months_left =
                    (80 * 12 + 6 - (contracted - borrower.birth) * 12 / 365) / 12 * 12;
                let rate = around(rate, 9_600, 450);
                (rate, term.min(months_left.max(120) as u32), (HOUSING_BUDGET, HOUSING_BUDGET))
            }
            LoanType::Payroll if borrower.payer() == Payer::Private => {
                (around(rate, 38_000, 2_000), multiple(months, 12, 96, 12), (8, 35))
            }
            LoanType::Payroll => {
                (around(rate, 18_000, 1_000), multiple(months, 12, 96, 12), (8, 35))
            }
            LoanType::Vehicle => {
                (around(rate, 19_700, 1_500), multiple(months, 12, 60, 12), (10, 30))
            }
            LoanType::Personal => {
                (around(rate, 62_000, 8_000), multiple(months, 6, 48, 6), (5, 25))
            }
        };
        let (count, fee) = tail.halves();
        let amortization = if kind == LoanType::Housing && fee.chance(8_500) {
            Amortization::Sac
        } else {
            Amortization::Price
        };
        let installment = income * (low + money.below(high - low + 1)) / 100;
        let budget = affordable(amortization, installment, rate, term);
        let principal = match property {
            // Loan to value of 50 to 80%, where the income allows.
            Some(property) => budget.min(property.value * (50 + money.below(31)) / 100),
            None => budget.max(50_000),
        };
        let (year, month, day) = from_days(contracted);
        // Chance of more than 90 days late, in 10 000, for a middling score: 6.8% of the loans
        // that still run.
        let odds: i64 = match kind {
            LoanType::Housing => 320,
            LoanType::Payroll => 640,
            LoanType::Vehicle => 890,
            LoanType::Personal => 1_920,
        };
        let odds = odds * (1_150 - i64::from(borrower.score)) / 500;
        let fate = i64::from(arrears.below(10_000) as u32);
        Self {
            row,
            id: context.id(Domain::Loan, row),
            property: property.map(|property| property.row),
            kind,
            amortization,
            // Rounded to R$ 10.
            principal: (principal / 1_000 * 1_000) as i64,
            rate,
            term,
            contracted_at: instant(contracted, 10 * HOUR + (date.0 & 0xFF_FFFF) as i64),
            first_due: (year, month, day.min(28)),
            arrears: match fate {
                f if f < odds => 4 + count.below(5),
                f if f < odds * 7 / 4 => 1 + count.below(3),
                _ => 0,
            },
            lateness: (odds * 3 / 2) as u32,
        }
    }

    /// When installment `k` (from 0) is due: one month after the contract, and so on.
    pub const fn due_date(&self, k: u32) -> i32 {
        let (year, month, day) = self.first_due;
        add_months(year, month, day, k as i32 + 1)
    }

    /// Its installments.
    pub fn schedule(&self) -> Schedule {
        Schedule::new(self.amortization, self.principal, self.rate, self.term)
    }
}

impl LoanColumns {
    /// Adds a loan; `outstanding` and `status` are those since an instant.
    pub fn push(
        &mut self,
        context: &Context,
        loan: &Loan,
        borrower: &Customer,
        (updated_at, (outstanding, status)): (i64, (i64, LoanStatus)),
    ) {
        self.loan_id.push(loan.id);
        self.customer_id.push(context.id(Domain::Customer, borrower.row));
        self.property_id.push(loan.property.map(|row| context.id(Domain::Property, row)));
        self.loan_type.push(loan.kind);
        self.amortization.push(loan.amortization);
        self.principal.push(loan.principal);
        self.monthly_rate.push(loan.rate);
        self.term_months.push(loan.term as i16);
        self.contracted_at.push(loan.contracted_at);
        self.first_due_date.push(loan.due_date(0));
        self.outstanding_balance.push(outstanding);
        self.status.push(status);
        self.updated_at.push(updated_at);
    }
}
