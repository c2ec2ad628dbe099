//! When an investor puts money by and takes some out. Nothing here depends on what there is.

use super::sittings::place;
use crate::brazil::calendar::{HOUR, Month, instant, local_day};
use crate::brazil::hours::time_between;
use crate::entity::skeleton::{Pot, Skeleton, Standing};
use crate::event::History;
use crate::rng::{Domain, Word};

/// What happens to the cash of an investor beside trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// So many centavos come from the account of the same holder.
    Contribution(i64),
    /// So many percent of what is free go.
    Withdrawal(i64),
    /// So many centavos come from an account elsewhere, with which the account begins.
    Funding(i64),
}

/// From when on an account that is opened at an instant has money: if that is in the history, some minutes later.
pub fn funded_at(history: &History, opened_at: i64) -> i64 {
    let start = history.context.plan.start();
    if opened_at < start { start } else { opened_at + HOUR / 6 }
}

/// The contributions and withdrawals of an investor, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Flows {
    /// When the next is; [`i64::MAX`] after the last.
    pub time: i64,
    pub next: Flow,
    /// Position among the months of the history of the first that is not looked at.
    month: u16,
    /// The month before that one has a withdrawal still to come.
    withdrawal: bool,
}

/// The draws of a month: whether, when and how much is taken.
fn draws(history: &History, row: u64, number: i32) -> [Word; 4] {
    history.context.rng.four(Domain::Trade, row, place::month(number), 0)
}

/// Whether there is a withdrawal in a month: three times a year, and in want for as long as there is something to sell.
fn withdraws(standing: Standing, [_, chance, ..]: [Word; 4]) -> bool {
    let wants = matches!(standing.distress, 1..=3) && !standing.shunned;
    wants || standing.is_good() && chance.halves().0.chance(2_500)
}

/// When there is a withdrawal in a month that has one, and what percentage of the free cash it is. No contribution
/// of the month is later.
fn withdrawal(history: &History, row: u64, skeleton: &Skeleton, month: &Month) -> (i64, i64) {
    let number = history.days.at(month.first_day).month;
    let [_, _, when, part] = draws(history, row, number);
    let (day, time) = when.halves();
    let day = history.days.business_day_until(month.first_day + 19 + day.below(9) as i32);
    let want = skeleton.distress(number) > 0;
    let percent = if want { 97 } else { 1 + part.below(3) as i64 };
    (instant(day, time_between(10..18, time)), percent)
}

impl Flows {
    /// All from an instant of the history on, at which so much comes if the account is opened in the history.
    pub fn new(
        history: &History,
        row: u64,
        skeleton: &Skeleton,
        since: i64,
        funds: Option<i64>,
    ) -> Self {
        let months = &history.months;
        let first = months.partition_point(|month| month.first_day <= local_day(since)) - 1;
        let next = Flow::Withdrawal(0);
        let mut flows = Self { time: i64::MAX, next, month: first as u16, withdrawal: false };
        match funds {
            _ if skeleton.dormant => {}
            Some(amount) => (flows.time, flows.next) = (since, Flow::Funding(amount)),
            None => flows.find(history, row, skeleton, since),
        }
        flows
    }

    /// Goes to the next.
    pub fn pass(&mut self, history: &History, row: u64, skeleton: &Skeleton) {
        let since = if matches!(self.next, Flow::Funding(_)) { self.time + 1 } else { i64::MIN };
        self.find(history, row, skeleton, since);
    }

    fn find(&mut self, history: &History, row: u64, skeleton: &Skeleton, since: i64) {
        loop {
            let found = if self.withdrawal {
                self.withdrawal = false;
                let month = &history.months[usize::from(self.month) - 1];
                let (time, percent) = withdrawal(history, row, skeleton, month);
                Some((time, Flow::Withdrawal(percent)))
            } else {
                let Some(month) = history.months.get(usize::from(self.month)) else {
                    self.time = i64::MAX;
                    return;
                };
                self.month += 1;
                let (standing, found) = skeleton.standing_and_contribution(month, Pot::Investments);
                self.withdrawal = withdraws(standing, draws(history, row, month.number));
                found.map(|(time, amount)| (time, Flow::Contribution(amount)))
            };
            if let Some((time, next)) = found
                && time >= since
            {
                let ended = time >= history.context.plan.as_of();
                self.time = if ended { i64::MAX } else { time };
                self.next = next;
                return;
            }
        }
    }
}
