//! What happens to an account.

use super::{Act, Draws, Size, Step, add, some_time};
use crate::brazil::calendar::{HOUR, Month, local_day, local_time};
use crate::catalog::Direction::{Credit, Debit};
use crate::catalog::TransactionType::{self, Deposit, Pix, Ted, Withdrawal};
use crate::catalog::{Role, Scenario};
use crate::event::History;
use crate::rng::log_normal;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
/// From so many centavos in cash on, whoever brings it is identified (Banco Central, Circular 3.978 of 2020).
const THRESHOLD: i64 = 200_000;

pub(super) fn steps(
    history: &History,
    scenario: Scenario,
    month: &Month,
    draws: &mut Draws,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if scenario == Scenario::Structuring {
        structure(history, month, draws, &mut steps);
        return steps;
    }
    let day = month.first_day + draws.between(0, 25) as i32;
    let Some(mut time) = some_time(history, &history.movements, day, (0, 24), draws) else {
        return steps;
    };
    match scenario {
        Scenario::PixScam => {
            // Those who have paid once are asked again.
            for n in 0..draws.between(2, 4) as usize {
                let act = Act::Move(Pix, Debit, Size::Usual(180));
                add(&mut steps, time, n / 2, Role::Victim, act);
                time += draws.between(2 * MINUTE, 20 * MINUTE);
            }
        }
        Scenario::AccountTakeover => {
            let many = draws.between(3, 6) as usize;
            for n in 0..many {
                let (role, size) = match n {
                    0 => (Role::Probe, Size::Usual(50)),
                    _ if n + 1 == many => (Role::CashOut, Size::Rest),
                    _ => (Role::CashOut, Size::Usual(150)),
                };
                let kind = if n > 0 { way_out(history, time, draws) } else { Pix };
                add(&mut steps, time, n, role, Act::Move(kind, Debit, size));
                time += draws.between(40 * SECOND, 5 * MINUTE);
            }
        }
        _ => pass_on(history, time, draws, &mut steps),
    }
    steps
}

/// How money is taken away: as it leaves accounts otherwise.
fn way_out(history: &History, time: i64, draws: &mut Draws) -> TransactionType {
    let (of_day, lot) = (local_time(time), draws.next().below(100));
    let business = history.days.at(local_day(time)).business;
    match lot {
        0..4 if business && (7 * HOUR..17 * HOUR).contains(&of_day) => Ted,
        4..14 if (6 * HOUR..22 * HOUR).contains(&of_day) => Withdrawal,
        _ => Pix,
    }
}

/// Money comes from several people, and goes on within minutes.
fn pass_on(history: &History, mut time: i64, draws: &mut Draws, steps: &mut Vec<Step>) {
    let (payers, payees) = (draws.between(2, 4) as usize, draws.between(1, 3) as usize);
    let mut received = 0;
    for n in 0..payers {
        let sum = log_normal(draws.next().halves().0, 14_000, 130) as i64;
        let sum = sum.clamp(2_000, 90_000) / 1_000 * 1_000;
        received += sum;
        let act = Act::Move(Pix, Credit, Size::Sum(sum));
        add(steps, time, n, Role::MuleIn, act);
        time += draws.between(MINUTE, 15 * MINUTE);
    }
    for n in 0..payees {
        let kind = way_out(history, time, draws);
        let share = received * draws.between(84, 98) / 100 / payees as i64;
        let sum = if kind == Withdrawal { share / 1_000 * 1_000 } else { share / 100 * 100 };
        let act = Act::Move(kind, Debit, Size::Sum(sum.max(1_000)));
        add(steps, time, payers + n, Role::MuleOut, act);
        time += draws.between(MINUTE, 8 * MINUTE);
    }
}

/// Cash comes in sums just below what is looked at, day after day.
fn structure(history: &History, month: &Month, draws: &mut Draws, steps: &mut Vec<Step>) {
    let mut day = month.first_day + draws.between(0, 9) as i32;
    for n in 0..draws.between(4, 8) as usize {
        let below = draws.between(1, 20) * 1_000;
        let number = n as u8;
        if let Some(time) = some_time(history, &history.movements, day, (8, 21), draws) {
            let act = Act::Move(Deposit, Credit, Size::Sum(THRESHOLD - below));
            steps.push(Step { time, number, role: Role::Smurf, act });
        }
        day += draws.between(1, 2) as i32;
    }
}
