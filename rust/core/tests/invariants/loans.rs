//! Loans and installments.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use datagen_core::brazil::calendar;
use datagen_core::catalog::Amortization;
use datagen_core::entity::Context;
use datagen_core::entity::customer::Customer;
use datagen_core::entity::layout::{Block, Product};
use datagen_core::entity::loan::{Installment, Loan, Schedule};
use datagen_core::entity::property::Property;
use datagen_core::entity::skeleton::{Episode, Skeleton};
use datagen_core::event::History;
use datagen_core::event::installment::{self, Payment, Repayment};
use datagen_core::plan::Plan;

use crate::common::{Id, Read, days};
use crate::customers::paid_by;
use crate::worlds::{World, in_every_table, in_every_world};

fn each_loan(world: &World, check: impl Fn(usize, Range<usize>)) {
    let mut groups: BTreeMap<Id, Range<usize>> =
        world.installments.groups("loan_id").into_iter().collect();
    for (row, id) in world.loans.ids("loan_id").iter().enumerate() {
        check(row, groups.remove(id).unwrap_or(0..0));
    }
    assert!(groups.is_empty(), "installments of no loan");
}

#[test]
fn housing_loans_and_properties_are_one_to_one() {
    in_every_table(|world| {
        let loans = &world.loans;
        let secured = loans.valid("property_id");
        for (kind, secured) in loans.symbols("loan_type").into_iter().zip(&secured) {
            assert_eq!(kind == "HOUSING", *secured);
        }
        let pledged: Vec<Id> = (0..loans.rows())
            .filter(|row| secured[*row])
            .map(|row| loans.ids("property_id")[row])
            .collect();
        let distinct: BTreeSet<&Id> = pledged.iter().collect();
        let properties: BTreeSet<&Id> = world.properties.ids("property_id").iter().collect();
        assert_eq!(pledged.len(), distinct.len());
        assert_eq!(distinct, properties);
    });
}

#[test]
fn housing_loans_are_at_most_four_fifths_of_the_value() {
    in_every_table(|world| {
        let properties = world.properties.rows_by_id("property_id");
        let secured = world.loans.valid("property_id");
        for loan in (0..world.loans.rows()).filter(|loan| secured[*loan]) {
            let property = properties[&world.loans.ids("property_id")[loan]];
            let value = world.properties.longs("appraised_value")[property];
            let principal = world.loans.longs("principal")[loan];
            assert!(principal * 100 <= value * 80, "{principal} of {value}");
        }
    });
}

#[test]
fn terms_and_rates_are_those_of_the_kind() {
    in_every_table(|world| {
        let loans = &world.loans;
        let amortizations = loans.symbols("amortization");
        for (row, kind) in loans.symbols("loan_type").into_iter().enumerate() {
            let rate = loans.longs("monthly_rate")[row];
            let (rates, terms) = match kind {
                "HOUSING" => (8_700..=10_500, 120..=420),
                "VEHICLE" => (16_000..=23_000, 12..=60),
                "PAYROLL" => (16_000..=42_000, 12..=96),
                _ => (45_000..=80_000, 6..=48),
            };
            assert!(rates.contains(&rate), "{rate} for {kind}");
            assert!(terms.contains(&loans.shorts("term_months")[row]), "{kind}");
            assert!(kind == "HOUSING" || amortizations[row] == "PRICE", "{kind}");
            assert!(loans.longs("principal")[row] > 0);
            let (contracted, _) = days::local(loans.longs("contracted_at")[row]);
            let first_due = loans.ints("first_due_date")[row];
            if kind == "PAYROLL" {
                // Soon after payday.
                assert!(matches!(days::ymd(first_due).2, 5 | 10), "{}", days::date_text(first_due));
                assert!((25..=56).contains(&(first_due - contracted)), "row {row}");
                continue;
            }
            // A month after the contract, on a day that every month has.
            let (year, month, day) = days::ymd(contracted);
            let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            assert_eq!(first_due, days::day(year, month, day.min(28)));
        }
    });
}

#[test]
fn loans_are_contracted_when_banks_are_open() {
    in_every_table(|world| {
        let loans = &world.loans;
        let borrowers = world.customers.rows_by_id("customer_id");
        let (today, _) = days::local(world.plan.as_of());
        for row in 0..loans.rows() {
            let (day, time) = days::local(loans.longs("contracted_at")[row]);
            let borrower = borrowers[&loans.ids("customer_id")[row]];
            let (joined, _) = days::local(world.customers.longs("created_at")[borrower]);
            let open = |day: i32| is_listed(day) && days::is_business_day(day);
            if (joined + 1..today).any(open) {
                assert!((9 * days::HOUR..17 * days::HOUR).contains(&time), "row {row}: {time}");
                // The years whose holidays are listed.
                assert!(!is_listed(day) || days::is_business_day(day), "{}", days::date_text(day));
            }
        }
    });
}

/// Whether a day is of the years whose holidays are listed.
fn is_listed(day: i32) -> bool {
    (2024..=2027).contains(&days::ymd(day).0)
}

/// A day, or the next on which banks are open.
fn payable(day: i32) -> i32 {
    (day..day + 8).find(|&day| calendar::is_business_day(day)).expect("no week is without one")
}

#[test]
fn payroll_loans_are_of_those_who_have_a_payroll_or_benefit() {
    in_every_table(|world| {
        let loans = &world.loans;
        let borrowers = world.customers.rows_by_id("customer_id");
        let occupations = world.customers.texts("occupation");
        let kinds = loans.symbols("loan_type");
        for row in (0..loans.rows()).filter(|row| kinds[*row] == "PAYROLL") {
            let occupation = occupations[borrowers[&loans.ids("customer_id")[row]]];
            // Around 1.8% a month for servants and the retired, around 3.8% for others.
            let rates = match paid_by(occupation) {
                "public" | "inss" => 16_000..=20_000,
                "private" => 34_000..=42_000,
                other => panic!("{occupation} is paid by {other}"),
            };
            let rate = loans.longs("monthly_rate")[row];
            assert!(rates.contains(&rate), "{rate} for {occupation}");
        }
    });
}

#[test]
fn installments_are_affordable() {
    in_every_table(|world| {
        let loans = &world.loans;
        let borrowers = world.customers.rows_by_id("customer_id");
        let (kinds, amortizations) = (loans.symbols("loan_type"), loans.symbols("amortization"));
        for row in 0..loans.rows() {
            let borrower = borrowers[&loans.ids("customer_id")[row]];
            let income = world.customers.longs("monthly_income")[borrower];
            let principal = loans.longs("principal")[row];
            let (rate, term) = (loans.longs("monthly_rate")[row], loans.shorts("term_months")[row]);
            let first = match amortizations[row] {
                "SAC" => principal / i64::from(term) + principal * rate / 1_000_000,
                _ => equal_installment(principal, rate, term),
            };
            let percent = match kinds[row] {
                "HOUSING" | "PAYROLL" => 35,
                "VEHICLE" => 33,
                _ => 30,
            };
            assert!(first * 100 <= income * percent + 100, "{first} with {income}: {}", kinds[row]);
            assert!(principal >= 50_000, "{principal}");
        }
    });
}

#[test]
fn housing_loans_end_before_the_insurers_limit_or_are_of_the_shortest_term() {
    in_every_table(|world| {
        let loans = &world.loans;
        let borrowers = world.customers.rows_by_id("customer_id");
        let kinds = loans.symbols("loan_type");
        for row in (0..loans.rows()).filter(|row| kinds[*row] == "HOUSING") {
            let birth =
                world.customers.ints("birth_date")[borrowers[&loans.ids("customer_id")[row]]];
            let term = i32::from(loans.shorts("term_months")[row]);
            let age = (days::local(loans.longs("contracted_at")[row]).0 - birth) * 4 / 1_461;
            assert!(term == 120 || age * 12 + term <= 81 * 12, "{term} months at {age}");
        }
    });
}

#[test]
fn installments_are_numbered_and_due_month_by_month() {
    in_every_world(|world| {
        let (loans, events) = (&world.loans, &world.installments);
        let paid = events.valid("paid_at");
        let (today, _) = days::local(world.plan.as_of());
        each_loan(world, |loan, rows| {
            let (year, month, day) = days::ymd(loans.ints("first_due_date")[loan]);
            let due = |k: usize| {
                let months = month as usize - 1 + k;
                days::day(year + (months / 12) as i32, (months % 12 + 1) as u32, day)
            };
            for (k, row) in rows.clone().enumerate() {
                assert_eq!(events.shorts("installment_number")[row] as usize, k + 1);
                assert_eq!(events.ints("due_date")[row], due(k));
                // What is not yet due is there if it is paid.
                assert!(payable(due(k)) < today || paid[row], "row {row}");
            }
            // All that fell due before yesterday are there.
            let term = loans.shorts("term_months")[loan] as usize;
            assert!(rows.len() <= term);
            let next = rows.len();
            assert!(next == term || payable(due(next)) >= today - 1, "loan {loan}");
        });
    });
}

#[test]
fn amounts_are_those_of_sac_and_price() {
    in_every_world(|world| {
        let (loans, events) = (&world.loans, &world.installments);
        let amortizations = loans.symbols("amortization");
        each_loan(world, |loan, rows| {
            let principal = loans.longs("principal")[loan];
            let rate = loans.longs("monthly_rate")[loan];
            let term = loans.shorts("term_months")[loan];
            let equal = equal_installment(principal, rate, term);
            let mut owed = principal;
            for row in rows {
                let part = events.longs("principal_amount")[row];
                let interest = events.longs("interest_amount")[row];
                assert_eq!(interest, (owed * rate + 500_000) / 1_000_000, "row {row}");
                let left = i64::from(term - events.shorts("installment_number")[row]);
                // The last installment takes the rounding.
                if left == 0 {
                    assert_eq!(part, owed);
                } else if amortizations[loan] == "SAC" {
                    // What is left is P·left/n, rounded half up.
                    let (twice, term) = (2 * principal * left, i64::from(term));
                    let rest = twice / (2 * term) + i64::from(twice % (2 * term) >= term);
                    assert_eq!(owed - part, rest);
                } else {
                    assert_eq!(part + interest, equal);
                }
                owed -= part;
            }
            assert!(owed >= 0);
        });
    });
}

/// `P·i / (1 − (1+i)^−n)`; the error of floating point is far below half a centavo.
fn equal_installment(principal: i64, rate: i64, term: i16) -> i64 {
    let number = |n: i64| f64::from(u32::try_from(n).expect("a number of 32 bits"));
    let i = number(rate) / 1e6;
    (number(principal) * i / (1.0 - (1.0 + i).powi(-i32::from(term)))).round() as i64
}

#[test]
fn principals_sum_to_the_loan() {
    in_every_world(|world| {
        let (loans, events) = (&world.loans, &world.installments);
        let amortizations = loans.symbols("amortization");
        let statuses = loans.symbols("status");
        each_loan(world, |loan, rows| {
            let amortization = match amortizations[loan] {
                "SAC" => Amortization::Sac,
                _ => Amortization::Price,
            };
            let principal = loans.longs("principal")[loan];
            let schedule: Vec<Installment> = Schedule::new(
                amortization,
                principal,
                loans.longs("monthly_rate")[loan],
                loans.shorts("term_months")[loan] as u32,
            )
            .collect();
            assert_eq!(schedule.iter().map(|part| part.principal).sum::<i64>(), principal);
            // The events are the beginning of the schedule.
            let paid_back = &events.longs("principal_amount")[rows.clone()];
            let planned: Vec<i64> = schedule.iter().map(|part| part.principal).collect();
            assert_eq!(paid_back, &planned[..rows.len()]);
            if statuses[loan] == "SETTLED" {
                assert_eq!(paid_back.iter().sum::<i64>(), principal);
            }
        });
    });
}

#[test]
fn payments_agree_with_their_status() {
    in_every_world(|world| {
        let events = &world.installments;
        let statuses = events.symbols("payment_status");
        let paid = events.valid("paid_at");
        let loans = world.loans.rows_by_id("loan_id");
        let kinds = world.loans.symbols("loan_type");
        for (row, status) in statuses.into_iter().enumerate() {
            let occurred = events.longs("occurred_at")[row];
            let (day, due) = (days::local(occurred).0, events.ints("due_date")[row]);
            // What is due on a day off may be paid on the next business day without charge.
            let late = if day <= payable(due) { 0 } else { day - due };
            let owed = events.longs("principal_amount")[row] + events.longs("interest_amount")[row];
            let fee = events.longs("late_fee")[row];
            assert_eq!(i32::from(events.shorts("days_late")[row]), late, "row {row}");
            match status {
                "PAID" => assert!(late == 0, "row {row}"),
                _ => assert!(late > 0, "row {row}"),
            }
            assert_eq!(paid[row], status != "OVERDUE");
            if paid[row] {
                assert_eq!(events.longs("paid_at")[row], occurred);
                assert!(day - due >= -16, "row {row}: paid on {}", days::date_text(day));
                // Who pays by their own hand does so on any day; what is deducted comes with the income.
                if kinds[loans[&events.ids("loan_id")[row]]] == "PAYROLL" {
                    assert!(calendar::is_business_day(day), "paid on {}", days::date_text(day));
                    assert!(!is_listed(day) || days::is_business_day(day));
                }
                assert_eq!(events.longs("amount_paid")[row], owed + fee);
            } else {
                assert_eq!(events.longs("amount_paid")[row], 0);
            }
            // 2%, and 1% for 30 days; each part may be rounded.
            let exact = owed * i64::from(if late > 0 { 60 + late } else { 0 });
            assert!((fee * 3_000 - exact).abs() <= 2 * 3_000, "row {row}: a fee of {fee}");
        }
    });
}

#[test]
fn times_of_a_loan_never_decrease() {
    in_every_world(|world| {
        let times = world.installments.longs("occurred_at");
        each_loan(world, |loan, rows| {
            let contracted = world.loans.longs("contracted_at")[loan];
            assert!(times[rows.clone()].is_sorted(), "loan {loan}");
            assert!(rows.clone().all(|row| times[row] > contracted), "loan {loan}");
        });
    });
}

/// What is long overdue, or was when it was paid, was so because of a shock; and what a shock kept from being paid
/// is paid soon after it, or never.
#[test]
fn default_has_a_story() {
    in_every_world(|world| {
        let events = &world.installments;
        let paid = events.valid("paid_at");
        let context = Context::new(world.plan);
        let owners = world.loans.ids("customer_id");
        each_loan(world, |loan, rows| {
            let row = context.ids.decode(owners[loan]).expect("an id of this seed").row;
            let skeleton = Skeleton::new(&context, &Customer::new(&context, row));
            let month = |day: i32| {
                let (year, month, _) = days::ymd(day);
                year * 12 + month as i32 - 1
            };
            let contracted = month(days::local(world.loans.longs("contracted_at")[loan]).0);
            let mut lost = false;
            for row in rows {
                let (due, late) = (events.ints("due_date")[row], events.shorts("days_late")[row]);
                assert!(!lost || !paid[row], "row {row} is paid in spite of a default");
                // Two months of forgetfulness, and a day off.
                if late <= 67 {
                    continue;
                }
                // That which ended last before the month, or holds on.
                let shocks = skeleton.episodes(contracted, month(due) + 1);
                let shocks = shocks.filter(|shock| shock.first >= contracted + 3);
                let hits: Vec<Episode> =
                    shocks.filter(|shock| !shock.cures || shock.end() >= month(due)).collect();
                assert!(!hits.is_empty(), "row {row} is {late} days late without a shock");
                lost |= !paid[row] && hits.iter().all(|shock| !shock.cures);
                if paid[row] {
                    let (day, _) = days::local(events.longs("occurred_at")[row]);
                    let end =
                        hits.iter().map(Episode::end).find(|end| (end - month(day)).abs() <= 1);
                    assert!(end.is_some(), "row {row} is paid on {}", days::date_text(day));
                }
            }
        });
    });
}

/// What an account pays is what the events say, to the centavo, and can be counted alone.
#[test]
fn payments_of_the_history_are_those_of_the_events() {
    in_every_world(|world| {
        let (plan, events) = (world.plan, &world.installments);
        let (history, paid) = (History::new(world.plan), events.valid("paid_at"));
        let loans = loans_of(plan);
        each_loan(world, |row, rows| {
            let loan = loans[row];
            assert_eq!(loan.id, world.loans.ids("loan_id")[row]);
            let expected: Vec<Payment> = rows
                .filter(|&row| paid[row] && events.longs("paid_at")[row] >= plan.start())
                .map(|row| Payment {
                    paid_at: events.longs("paid_at")[row],
                    amount: events.longs("amount_paid")[row],
                    number: events.shorts("installment_number")[row],
                })
                .collect();
            let mut cursor = Repayment::since(&history, loan, plan.start());
            let found: Vec<Payment> = std::iter::from_fn(|| {
                let next = cursor.peek_payment();
                let payment = cursor.next_payment(&history);
                assert_eq!(next, payment.map(|payment| payment.paid_at));
                payment
            })
            .collect();
            assert_eq!(found, expected, "loan {row}");
            // Month by month, or by any other part.
            let mut from = plan.start();
            while from < plan.as_of() {
                let until = (from + 31 * days::DAY).min(plan.as_of());
                let span = from..until;
                let among = expected.iter().filter(|payment| span.contains(&payment.paid_at));
                let counted = installment::payments(&history, &loan, span.clone());
                assert_eq!(counted as usize, among.count(), "loan {row}");
                from = until;
            }
            let contracted = world.loans.longs("contracted_at")[row];
            let credit = (contracted, world.loans.longs("principal")[row]);
            assert_eq!(loan.credit(plan.start()), (contracted >= plan.start()).then_some(credit));
        });
    });
}

/// The loans of a plan.
fn loans_of(plan: Plan) -> Vec<Loan> {
    let context = Context::new(plan);
    let holders = (0..plan.customers()).filter_map(|row| {
        let block = Block::of(&context, row);
        let loan = block.row_of(Product::Loan, row)?;
        let borrower = Customer::new(&context, row);
        let property = block.row_of(Product::Property, row);
        let property = property.map(|row| Property::new(&context, row, &borrower));
        Some(Loan::new(&context, loan, &borrower, property.as_ref()))
    });
    holders.collect()
}

#[test]
fn outstanding_balance_and_standing_follow_from_the_events() {
    in_every_world(|world| {
        let (loans, events) = (&world.loans, &world.installments);
        let (statuses, standings) = (events.symbols("payment_status"), loans.symbols("status"));
        each_loan(world, |loan, rows| {
            let mut remaining = loans.longs("principal")[loan];
            let (mut overdue, mut worst) = (false, 0);
            for row in rows.clone() {
                if statuses[row] == "OVERDUE" {
                    overdue = true;
                    worst = worst.max(events.shorts("days_late")[row]);
                } else {
                    assert!(!overdue, "row {row} is paid before an older one");
                    remaining -= events.longs("principal_amount")[row];
                }
                assert_eq!(events.longs("remaining_balance")[row], remaining, "row {row}");
            }
            assert_eq!(loans.longs("outstanding_balance")[loan], remaining);
            let standing = match (worst, remaining) {
                (91.., _) => "DEFAULTED",
                (1.., _) => "LATE",
                (_, 0) => "SETTLED",
                _ => "ACTIVE",
            };
            assert_eq!(standings[loan], standing, "loan {loan}");
            let term = loans.shorts("term_months")[loan] as usize;
            assert!(standing != "SETTLED" || rows.len() == term);
        });
    });
}
