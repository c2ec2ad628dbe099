//! Scenarios of fraud: what befalls an account or a card in a calendar month.
//!
//! Whether something does, what, when and in which steps are draws of the row and the month in a domain of their own, so
//! that no other value moves. The sums of an account's steps follow from its balance then; each step is an event
//! as any other, and looks like one in each of its columns.

mod account;
mod card;

use super::History;
use crate::brazil::calendar::{DAY, HOUR, Month, instant, local_day};
use crate::catalog::{Direction, Role, Scenario, TransactionType};
use crate::event::timeline::Timeline;
use crate::id::mix;
use crate::rng::{Domain, Word};

/// Bits of a step's number that say which of the steps it is; those above say who is on the other side.
const STEP_BITS: u8 = 4;
/// What may happen to one thing in one month, as the places of their rates.
const OF_ACCOUNTS: [Scenario; 4] =
    [Scenario::PixScam, Scenario::AccountTakeover, Scenario::MuleChain, Scenario::Structuring];
const OF_CARDS: [Scenario; 3] = [Scenario::CardTesting, Scenario::ClonedCard, Scenario::BustOut];
/// Rates are of so many.
const MILLION: u64 = 1_000_000;

/// What an instance is about. The numbers are part of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A CORRENTE account, by the row of its holder.
    Account = 0,
    /// A card.
    Card = 1,
    /// A loan.
    Loan = 2,
    /// An account that is closed, by its own row.
    Closed = 3,
}

/// One occurrence of a scenario.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Which.
    pub scenario: Scenario,
    /// Its own id.
    pub id: [u8; 16],
    /// In order of time.
    pub steps: Vec<Step>,
    /// How long after the last step the bank learns of it, in milliseconds.
    pub delay: i64,
}

/// One event of a scenario.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Milliseconds.
    pub time: i64,
    /// Which step it is, and who is on the other side.
    pub number: u8,
    /// What it is for.
    pub role: Role,
    /// What is done.
    pub act: Act,
}

/// What is done in a step.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// Money moves.
    Move(TransactionType, Direction, Size),
    /// Something is bought.
    Buy(Buying),
}

/// How much moves.
#[derive(Debug, Clone, Copy)]
pub enum Size {
    /// As people pay, times so many percent.
    Usual(u64),
    /// Nearly all there is.
    Rest,
    /// Centavos.
    Sum(i64),
}

/// What is bought.
#[derive(Debug, Clone, Copy)]
pub enum Buying {
    /// From afar, for amounts that are so many times the usual as a binary logarithm times 2^16.
    Online(i32),
    /// In person, in a city by its number.
    In(u16),
    /// At home, for as much as uses up the limit in so many purchases.
    UpTheLimit(u8),
}

impl Instance {
    /// The step of a number.
    pub fn step(&self, number: u8) -> Option<&Step> {
        self.steps.iter().find(|step| step.number == number)
    }

    /// When it begins, in milliseconds.
    pub fn started_at(&self) -> i64 {
        self.steps[0].time
    }

    /// When the bank learns of it, in milliseconds.
    pub fn known_at(&self) -> i64 {
        self.steps[self.steps.len() - 1].time + self.delay
    }
}

/// Numbers that follow from one draw.
struct Draws {
    key: u64,
    n: u64,
}

impl Draws {
    fn next(&mut self) -> Word {
        self.n += 1;
        Word(mix(self.n.wrapping_mul(0x9E37_79B9_7F4A_7C15), self.key))
    }

    /// A number in `low..=high`.
    fn between(&mut self, low: i64, high: i64) -> i64 {
        self.next().between(low, high)
    }
}

/// The id of an instance.
pub fn id(history: &History, subject: Subject, row: u64, month: i32) -> [u8; 16] {
    history.context.event_id(Domain::Scenario, row, (month as u32) << 2 | subject as u32)
}

/// What befalls a row in a month, and the draws that say how.
fn drawn(
    history: &History,
    subject: Subject,
    row: u64,
    month: i32,
    of: &[Scenario],
) -> Option<(Scenario, Draws)> {
    let rates = history.context.plan.labels()?;
    let place = (month as u64) << 2 | subject as u64;
    let [lot, key, ..] = history.context.rng.four(Domain::Scenario, row, place, 0);
    let mut lot = lot.below(MILLION);
    for &scenario in of {
        let rate = u64::from(rates.of(scenario as usize));
        if lot < rate {
            return Some((scenario, Draws { key: key.0, n: 0 }));
        }
        lot -= rate;
    }
    None
}

/// What befalls the CORRENTE account of a customer in a month.
pub fn of_account(history: &History, customer: u64, month: &Month) -> Option<Instance> {
    let (subject, number) = (Subject::Account, month.number);
    let (scenario, mut draws) = drawn(history, subject, customer, number, &OF_ACCOUNTS)?;
    let steps = account::steps(history, scenario, month, &mut draws);
    instance(scenario, id(history, subject, customer, number), steps, &mut draws)
}

/// What befalls a card in a month (months since the year 0), whose holder lives in a city.
pub fn of_card(history: &History, card: u64, home: u16, month: i32) -> Option<Instance> {
    let (scenario, mut draws) = drawn(history, Subject::Card, card, month, &OF_CARDS)?;
    let steps = card::steps(history, scenario, history.days.month(month), home, &mut draws);
    instance(scenario, id(history, Subject::Card, card, month), steps, &mut draws)
}

/// The first month of some in which the limit of a card is run up, and its bills are not paid from then on.
pub fn bust_out(
    history: &History,
    card: u64,
    mut months: std::ops::RangeInclusive<i32>,
) -> Option<i32> {
    let rates = history.context.plan.labels()?;
    if rates.of(Scenario::BustOut as usize) == 0 {
        return None;
    }
    months.find(|&month| {
        let found = drawn(history, Subject::Card, card, month, &OF_CARDS);
        found.is_some_and(|(scenario, _)| scenario == Scenario::BustOut)
    })
}

fn instance(
    scenario: Scenario,
    id: [u8; 16],
    steps: Vec<Step>,
    draws: &mut Draws,
) -> Option<Instance> {
    // Most claims come within days, the last ones within the time for them.
    let (least, most) = match scenario {
        Scenario::PixScam => (HOUR, 80 * DAY),
        Scenario::AccountTakeover => (HOUR, 30 * DAY),
        Scenario::CardTesting => (HOUR, 45 * DAY),
        Scenario::ClonedCard => (2 * HOUR, 60 * DAY),
        Scenario::BustOut => (45 * DAY, 80 * DAY),
        _ => (2 * DAY, 90 * DAY),
    };
    let place = (draws.next().0 >> 48) as i64;
    let share = place * place / 65_536 * place / 65_536;
    let delay = least + (most - least) / 65_536 * share;
    (!steps.is_empty()).then_some(Instance { scenario, id, steps, delay })
}

/// A time of a day as events have it, in milliseconds; nothing if the day is not in the history.
fn some_time(
    history: &History,
    timeline: &Timeline,
    day: i32,
    hours: (i64, i64),
    draws: &mut Draws,
) -> Option<i64> {
    let plan = &history.context.plan;
    if day < local_day(plan.start()) || day > local_day(plan.as_of() - 1) {
        return None;
    }
    let (from, until) = (hours.0 * HOUR, hours.1 * HOUR);
    for _ in 0..8 {
        let time = timeline.time_of_day(day, draws.next())?;
        if (from..until).contains(&time) {
            return Some(instant(day, time));
        }
    }
    Some(instant(day, from + draws.next().below((until - from) as u64) as i64))
}

/// Adds a step.
fn add(steps: &mut Vec<Step>, time: i64, party: usize, role: Role, act: Act) {
    let number = steps.len() as u8 | (party as u8) << STEP_BITS;
    steps.push(Step { time, number, role, act });
}
