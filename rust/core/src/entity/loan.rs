//! `loans`, and the schedule of their installments.

use super::Context;
use super::customer::Customer;
use super::property::Property;
use super::skeleton::{Payday, Shock, Skeleton};
use crate::brazil::calendar::{HOUR, instant, is_business_day, local_day};
use crate::brazil::data::Payer;
use crate::catalog::{Amortization, LoanStatus, LoanType};
use crate::civil::{from_days, to_days};
use crate::column::{Nullable, columns};
use crate::id::mix;
use crate::rng::{Domain, Half, Rng, Word, exp2_q16, normal_q16};

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
    /// Calendar month and day of the first due date.
    first_due: (i32, u32),
    /// The life of the borrower, on which payments depend.
    pub skeleton: Skeleton,
    /// The month from which on nothing is paid; far in the future if all is.
    pub lost_from: i32,
    /// It is paid on the due date, whatever day that is: not debited on the next day with banking.
    pub by_hand: bool,
    /// How many of 10 000 installments are paid some days late.
    pub lateness: u32,
    /// In how many of 10 000 half-years an installment is forgotten until the next.
    pub slips: u32,
}

/// Months between a contract and a shock at the least, for the shock to hit the loan: nobody lends to whom is about
/// to lose an income.
const PROBATION: i32 = 3;

/// Months in which a loan is not paid.
#[derive(Debug, Clone, Copy)]
pub struct Arrears {
    /// The first calendar month whose installment is not paid when it falls due.
    pub from: i32,
    /// The month with the payday on which all is paid; none if it never is.
    pub until: Option<i32>,
    /// Draws for how it is paid.
    pub draws: [Word; 2],
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

impl Schedule {
    /// Passes installments, in less time than one by one.
    pub fn pass(&mut self, installments: u32) {
        match self.amortization {
            Amortization::Sac => {
                self.left -= installments;
                self.balance = self.left_of_sac();
            }
            Amortization::Price => (0..installments).for_each(|_| {
                self.next();
            }),
        }
    }

    /// Principal still to be paid.
    pub const fn balance(&self) -> i64 {
        self.balance
    }

    const fn left_of_sac(&self) -> i64 {
        (2 * self.principal * self.left as i64 + self.term) / (2 * self.term)
    }
}

impl Iterator for Schedule {
    type Item = Installment;

    fn next(&mut self) -> Option<Installment> {
        self.left = self.left.checked_sub(1)?;
        let interest = interest(self.balance, self.rate);
        let principal = match self.amortization {
            _ if self.left == 0 => self.balance,
            Amortization::Sac => self.balance - self.left_of_sac(),
            Amortization::Price => (self.equal - interest).clamp(0, self.balance),
        };
        self.balance -= principal;
        Some(Installment { principal, interest })
    }
}

/// Percentage of a month's income up to which the first installment of a HOUSING loan may go.
const HOUSING_BUDGET: u64 = 35;

fn around(draw: Half, middle: i64, sigma: i64) -> i64 {
    // Within two sigmas, so that a rate never leaves its market.
    middle + (i64::from(normal_q16(draw)) * sigma / 65_536).clamp(-2 * sigma, 2 * sigma)
}

/// The calendar month of a day.
const fn month_of(day: i32) -> i32 {
    let (year, month, _) = from_days(day);
    year * 12 + month as i32 - 1
}

/// The months, if any, in which a loan that was contracted in a month is not paid because of the shock of an era.
fn arrears(
    rng: Rng,
    row: u64,
    kind: LoanType,
    contracted: i32,
    skeleton: &Skeleton,
    era: i32,
) -> Option<Arrears> {
    let episode = skeleton.episode_of_era(era)?;
    // A home is paid for before all else, and what is deducted at source is missed only when the job is lost.
    let percent = match (episode.shock, kind) {
        (Shock::Stops, LoanType::Housing) => 27,
        (Shock::Halves, LoanType::Housing) => 17,
        // Half of a salary is what the insurance of the unemployed leaves ≈.
        (Shock::Halves, LoanType::Payroll) if skeleton.payer() == Payer::Private => 75,
        (Shock::Halves, LoanType::Payroll) => return None,
        (Shock::Halves, LoanType::Vehicle) => 78,
        (Shock::Halves, LoanType::Personal) => 84,
        (Shock::Stops | Shock::Blocked, _) => 100,
    };
    // Whoever cannot use their account pays nothing, however new the loan is.
    let probation = if episode.shock == Shock::Blocked { 0 } else { PROBATION };
    if contracted + probation > episode.first {
        return None;
    }
    let [hit, time, step, _] = rng.four(Domain::Loan, row, era as u64, 2);
    (hit.below(100) < percent).then(|| Arrears {
        // The first month without an income still pays; who cannot use their account pays nothing.
        from: episode.first + i32::from(episode.shock != Shock::Blocked),
        until: episode.cures.then_some(episode.end()),
        draws: [time, step],
    })
}

/// A draw within one of 64 equal parts, each of which belongs to one of 64 rows.
const fn spread(context: &Context, row: u64, draw: Word) -> Word {
    let order = mix(row / 64, context.plan.seed());
    let part = (row % 64).wrapping_mul(order | 1).wrapping_add(order >> 20) % 64;
    Word(part << 58 | draw.0 >> 6)
}

/// When a loan is contracted, and from which month on it is not paid.
fn contract(
    context: &Context,
    row: u64,
    borrower: &Customer,
    skeleton: &Skeleton,
    (kind, term): (LoanType, u32),
    draws: [Word; 4],
) -> (i64, i32) {
    let as_of = context.plan.as_of();
    let (created_day, last_day) = (local_day(borrower.created_at), local_day(as_of));
    let next = |day: i32| (day..day + 8).find(|&day| is_business_day(day));
    let before = |day: i32| (day - 8..day).rev().find(|&day| is_business_day(day));
    let last = before(last_day).expect("no week is without one");
    if last <= created_day {
        // No day with banking between joining and the end of the history.
        let closes = instant(created_day, 17 * HOUR).min(as_of);
        let same_day = is_business_day(created_day) && borrower.created_at + 1 < closes;
        let latest = if same_day { closes } else { as_of };
        return (i64::midpoint(borrower.created_at, latest), i32::MAX);
    }
    let time = |draw: Word| 9 * HOUR + (draw.0 & 0xFF_FFFF) as i64 * 8 * HOUR / 0x100_0000;
    let (tenure, end) = ((last_day - created_day - 1).max(1) as u64, month_of(last_day));
    // A home is seldom the newest thing.
    let latest = if kind == LoanType::Housing { (tenure * 87 / 100).max(1) } else { tenure };
    let mut found = (0, i32::MAX);
    // Each draw twice: from its beginning, and from its middle.
    let tries = draws.into_iter().chain(draws.map(|draw| Word(draw.0.rotate_left(32))));
    for draw in tries {
        let day = created_day + 1 + draw.below(latest) as i32;
        let day = if day >= last { last } else { next(day).unwrap_or(last) };
        let month = month_of(day);
        let eras = skeleton.era_of(month + PROBATION)..=skeleton.era_of(end);
        let lost_from = eras
            .filter_map(|era| arrears(context.rng, row, kind, month, skeleton, era))
            .find(|arrears| arrears.until.is_none())
            .map_or(i32::MAX, |arrears| arrears.from);
        if found.0 == 0 || !skeleton.standing(month).blocked {
            found = (instant(day, time(draw)), lost_from);
        }
        // A debt that is no more held against the borrower is in no books.
        let forgotten =
            lost_from <= end.min(month + term as i32) && !skeleton.standing(end).is_needy();
        if !forgotten && is_lent(skeleton, month) {
            break;
        }
    }
    found
}

/// Whether a bank lends to somebody in a month: they are in no want, nor soon, and owe nothing from before.
fn is_lent(skeleton: &Skeleton, month: i32) -> bool {
    let era = skeleton.era_of(month);
    let in_want = |era| {
        let episode = skeleton.episode_of_era(era);
        episode.is_some_and(|e| e.first < month + PROBATION && month <= e.end())
    };
    let next = skeleton.era_of(month + PROBATION);
    !skeleton.is_shunned(month) && !in_want(era) && (next == era || !in_want(next))
}

impl Loan {
    /// The loan of a row; with a property it is for housing.
    pub fn new(
        context: &Context,
        row: u64,
        borrower: &Customer,
        property: Option<&Property>,
    ) -> Self {
        let [[shape, terms, money, tail], dates] = context.rng.fours(Domain::Loan, row, 0);
        let (shape, rate) = shape.halves();
        let (months, more) = terms.halves();
        let income = borrower.income;
        let skeleton = Skeleton::new(context, borrower);
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
        let multiple = |draw: Half, low: u32, high: u32, step: u32| {
            low + draw.below((high - low) / step + 1) * step
        };
        // Rate, term, and least and greatest first installment in percent of a month's income. The law
        // lets 35% be deducted from a payroll, and caps the rate for benefits near that for servants.
        let (rate, term, (low, high)) = match kind {
            LoanType::Housing => {
                // Long ones are commoner: the greater of two draws.
                let term = multiple(Half(months.0.max(more.0)), 120, 420, 60);
                (around(rate, 9_600, 450), term, (HOUSING_BUDGET, HOUSING_BUDGET))
            }
            LoanType::Payroll if borrower.payer() == Payer::Private => {
                (around(rate, 38_000, 2_000), multiple(months, 12, 96, 12), (17, 35))
            }
            LoanType::Payroll => {
                (around(rate, 18_000, 1_000), multiple(months, 12, 96, 12), (17, 35))
            }
            LoanType::Vehicle => {
                (around(rate, 19_700, 1_500), multiple(months, 12, 60, 12), (17, 33))
            }
            LoanType::Personal => {
                (around(rate, 62_000, 8_000), multiple(months, 6, 48, 6), (11, 30))
            }
        };
        // 64 loans in a row, and of homes 64 homes, are spread evenly over the time of their borrowers here.
        let [first, others @ ..] = dates;
        let dates = [
            spread(context, property.map_or(row, |property| property.row), first),
            others[0],
            others[1],
            others[2],
        ];
        let (contracted_at, lost_from) =
            contract(context, row, borrower, &skeleton, (kind, term), dates);
        let contracted = local_day(contracted_at);
        let term = if kind == LoanType::Housing {
            // Insurers ask that it end before the age of 80 years and six months.
            let months_left = (80 * 12 + 6 - (contracted - borrower.birth) * 12 / 365) / 12 * 12;
            term.min(months_left.max(120) as u32)
        } else {
            term
        };
        let (fee, share) = tail.halves();
        let amortization = if kind == LoanType::Housing && fee.chance(8_500) {
            Amortization::Sac
        } else {
            Amortization::Price
        };
        let installment = income * (low + money.below(high - low + 1)) / 100;
        let budget = affordable(amortization, installment, rate, term);
        let principal = match property {
            // Loan to value of 50 to 80%, where the income allows.
            Some(property) => budget.min(property.value * (50 + u64::from(share.below(31))) / 100),
            None => budget.max(50_000),
        };
        // Some days late in so many of 10 000 cases at a score of 550, and twice as many for 200 points less;
        // forgotten twice as often for 130 points less.
        let (late, slips) = match kind {
            LoanType::Housing => (600, 360),
            LoanType::Payroll => (0, 0),
            LoanType::Vehicle => (1_000, 1_050),
            LoanType::Personal => (1_300, 1_500),
        };
        let by_score = |middle: u64, points: i64| {
            let against = 550 - i64::from(borrower.score);
            exp2_q16(middle, (against * 65_536 / points) as i32).min(4_000) as u32
        };
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
            contracted_at,
            first_due: first_due(contracted, kind, skeleton.payday()),
            skeleton,
            lost_from,
            by_hand: others[2].0 % 4 < 3,
            lateness: by_score(late, 200),
            slips: by_score(slips, 130),
        }
    }

    /// Whether installments are deducted from a salary or a benefit.
    pub fn is_deducted(&self) -> bool {
        self.kind == LoanType::Payroll
    }

    /// The calendar month in which installment `k` (from 0) is due.
    pub const fn due_month(&self, k: u32) -> i32 {
        self.first_due.0 + k as i32
    }

    /// Whether the principal pays for something at once: a home or a vehicle.
    pub const fn is_for_something(&self) -> bool {
        matches!(self.kind, LoanType::Housing | LoanType::Vehicle)
    }

    /// When installment `k` (from 0) is due: on one day of each month.
    pub const fn due_date(&self, k: u32) -> i32 {
        let month = self.due_month(k);
        to_days(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, self.first_due.1)
    }

    /// How many installments are due before a day.
    pub fn due_before(&self, day: i32) -> u32 {
        let (year, month, of_month) = from_days(day);
        let months = year * 12 + month as i32 - 1 - self.first_due.0;
        (months + i32::from(of_month > self.first_due.1)).clamp(0, self.term as i32) as u32
    }

    /// The months, if any, in which it is not paid because of the shock of an era.
    pub fn arrears(&self, rng: Rng, era: i32) -> Option<Arrears> {
        let contracted = month_of(local_day(self.contracted_at));
        arrears(rng, self.row, self.kind, contracted, &self.skeleton, era)
    }

    /// When its principal comes into the account of the borrower, and how much; nothing if it did before `start`.
    pub fn credit(&self, start: i64) -> Option<(i64, i64)> {
        (self.contracted_at >= start).then_some((self.contracted_at, self.principal))
    }

    /// Its installments.
    pub fn schedule(&self) -> Schedule {
        Schedule::new(self.amortization, self.principal, self.rate, self.term)
    }
}

/// Month and day of the first due date: a month after the contract. What is deducted from an income is due
/// soon after that has come, for the first time 25 days after the contract or later.
const fn first_due(contracted: i32, kind: LoanType, payday: Payday) -> (i32, u32) {
    let (year, month, day) = from_days(contracted);
    let month = year * 12 + month as i32 - 1;
    if !matches!(kind, LoanType::Payroll) {
        return (month + 1, if day < 28 { day } else { 28 });
    }
    let due = match payday {
        Payday::First | Payday::Last | Payday::Benefit(0..5) => 5,
        Payday::Fifth | Payday::Advance | Payday::Benefit(_) => 10,
    };
    let (year, of_year, day) = from_days(contracted + 25);
    let month = year * 12 + of_year as i32 - 1;
    (if day <= due { month } else { month + 1 }, due)
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
