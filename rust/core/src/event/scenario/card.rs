//! What happens to a card.

use super::{Act, Buying, Draws, Step, add, some_time};
use crate::brazil::calendar::Month;
use crate::brazil::reference;
use crate::catalog::{Role, Scenario};
use crate::event::History;

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;

pub(super) fn steps(
    history: &History,
    scenario: Scenario,
    month: &Month,
    home: u16,
    draws: &mut Draws,
) -> Vec<Step> {
    let mut steps = Vec::new();
    if scenario == Scenario::BustOut {
        run_up(history, month, draws, &mut steps);
        return steps;
    }
    let day = month.first_day + draws.between(0, 25) as i32;
    let hours = if scenario == Scenario::ClonedCard { (9, 19) } else { (0, 24) };
    let Some(mut time) = some_time(history, &history.purchases, day, hours, draws) else {
        return steps;
    };
    if scenario == Scenario::CardTesting {
        for _ in 0..draws.between(4, 8) {
            add(&mut steps, time, 0, Role::Probe, Act::Buy(Buying::Online(-2 << 16)));
            time += draws.between(5 * SECOND, 90 * SECOND);
        }
        for _ in 0..draws.between(1, 2) {
            time += draws.between(MINUTE, 20 * MINUTE);
            add(&mut steps, time, 0, Role::CashOut, Act::Buy(Buying::Online(1 << 16)));
        }
        return steps;
    }
    let city = elsewhere(home, draws);
    for _ in 0..draws.between(3, 7) {
        add(&mut steps, time, 0, Role::Clone, Act::Buy(Buying::In(city)));
        time += draws.between(6 * MINUTE, 50 * MINUTE);
    }
    steps
}

/// A city of another state.
fn elsewhere(home: u16, draws: &mut Draws) -> u16 {
    let cities = &reference().cities;
    let state = cities.items[home as usize].state;
    loop {
        let city = cities.pick(draws.next());
        if city.state != state {
            return city.index as u16;
        }
    }
}

/// The limit is used up within days.
fn run_up(history: &History, month: &Month, draws: &mut Draws, steps: &mut Vec<Step>) {
    let first = month.first_day + draws.between(1, 17) as i32;
    let (many, days) = (draws.between(9, 15) as u8, draws.between(2, 4) as i32);
    for n in 0..many {
        let day = first + i32::from(n) * days / i32::from(many);
        if let Some(time) = some_time(history, &history.purchases, day, (7, 23), draws) {
            let act = Act::Buy(Buying::UpTheLimit(many - n));
            steps.push(Step { time, number: n, role: Role::RunUp, act });
        }
    }
    steps.sort_by_key(|step| (step.time, step.number));
}
