//! When purchases are made: month by month, and without what they are.

use super::facts::{Facts, Outlook, day_of, first_instant, month_of, seconds};
use crate::brazil::calendar::{DAY, HOUR, local_day};
use crate::brazil::data::City;
use crate::brazil::reference;
use crate::entity::skeleton::Recalling;
use crate::event::{History, scenario};
use crate::rng::{Domain, Half, Word, exp2_q16, normal_q16};

/// After all instants of a month, and after all months.
const NEVER: u32 = u32::MAX;
const NO_MONTH: i32 = i32::MAX;
/// No city is so far down the list.
const NO_CITY: u16 = u16::MAX;
/// Purchases of a month at the most, not counting those that come back, whose draws have the numbers from there on.
const MOST: u32 = 0xFF00;
/// Purchases that are steps of scenarios have these numbers among those that come back.
pub(super) const WOVEN: u32 = 8;
/// From when on a purchase may be the first one in another city, on the first day of a trip; and from when on none is
/// made there on the last.
const ARRIVAL: i64 = 14 * HOUR;
const DEPARTURE: i64 = 8 * HOUR;
const RETURN: i64 = 18 * HOUR;

/// Where the holder of a card is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Home,
    Away(u16),
    OnTheWay,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A purchase of the month, by its number in it.
    Bought(u32),
    /// One that comes back, by its place among those.
    Recurring(u32),
}

/// The purchases of a month: how many there are in the whole of it, and which are in the history.
#[derive(Debug, Clone, Copy)]
struct Planned {
    n: u32,
    first: u32,
    end: u32,
    outlook: Outlook,
}

/// When the purchases with a card are made, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Agenda {
    /// The month, the seconds of its first instant, and the milliseconds from there to the end of what is in the
    /// history.
    month: i32,
    begins: u32,
    until: u32,
    /// Milliseconds of the next purchase of the month, and of the next that comes back.
    next: u32,
    due: u32,
    /// Amounts beside those of their categories, as a binary logarithm times 2^16.
    pub scale: i32,
    /// Number of the next event.
    pub k: u32,
    n: u16,
    j: u16,
    end: u16,
    /// The city of a trip, and its days, from 0.
    away: u16,
    leaves: u8,
    returns: u8,
    what: u8,
}

/// Which draws are those of an event, among those of the card.
pub(super) const fn number(month: i32, j: u32) -> u64 {
    (month as u64) << 16 | j as u64
}

/// A Poisson draw of a mean times 2^16.
fn poisson(mean: u64, draw: Half) -> u32 {
    if mean < 12 << 16 {
        let mut part = exp2_q16(1 << 32, -((mean as i64 * 94_548) >> 16) as i32);
        let (mut sum, mut n) = (part, 0);
        while u64::from(draw.0) >= sum && n < 60 {
            n += 1;
            part = (part * mean / u64::from(n)) >> 16;
            sum += part;
        }
        return n;
    }
    let spread = (((mean as i64) << 16).isqrt() * i64::from(normal_q16(draw))) >> 16;
    ((mean as i64 + spread + (1 << 15)) >> 16).clamp(0, MOST.into()) as u32
}

impl Planned {
    fn new(history: &History, facts: &Facts, holder: &mut Recalling, month: i32) -> Self {
        let outlook = facts.outlook(history, holder, month);
        let empty = Self { n: 0, first: 0, end: 0, outlook };
        if outlook.from == outlook.until || facts.sleeps() {
            return empty;
        }
        let place = number(month, 0xFFFF);
        let [draw, ..] =
            history.context.rng.four(Domain::CardTransaction, facts.row.into(), place, 0);
        let n = poisson(outlook.rate, draw.halves().0);
        if n == 0 {
            return empty;
        }
        let parts = history.purchases.month(month, n);
        let time = |j| parts.time(j, when(history, facts, month, j));
        let first = if outlook.from > first_instant(month) {
            let j = parts.holding(outlook.from);
            j + u32::from(time(j) < outlook.from)
        } else {
            0
        };
        let mut end = n;
        if outlook.until < first_instant(month + 1) {
            end = parts.holding(outlook.until) + 1;
            while end > first && time(end - 1) >= outlook.until {
                end -= 1;
            }
        }
        Self { n, first, end: end.max(first), outlook }
    }
}

/// The draw that places a purchase within its part of the month.
fn when(history: &History, facts: &Facts, month: i32, j: u32) -> Word {
    let row = u64::from(facts.row);
    history.context.rng.four(Domain::CardTransaction, row, number(month, j), 0)[0]
}

/// When a purchase comes back, in milliseconds of the month: on one of 28 days, in the morning, when merchants run their
/// lists.
fn comes_back(history: &History, facts: &Facts, place: u32) -> u32 {
    let draw = Word(facts.hash(history, u64::from(place)));
    let (day, time) = draw.halves();
    day.below(28) * DAY as u32 + 6 * HOUR as u32 + time.below(6 * HOUR as u32)
}

/// The purchases of a month that are steps of a scenario, in milliseconds of the month, and which they are.
fn woven(history: &History, facts: &Facts, month: i32) -> impl Iterator<Item = (u32, u8)> {
    // No scenario befalls the card of a customer who leaves.
    let labelled = history.context.plan.labels().is_some() && !facts.settles();
    let card = u64::from(facts.row);
    let instance =
        labelled.then(|| scenario::of_card(history, card, facts.home().index as u16, month));
    let begins = first_instant(month);
    instance.flatten().into_iter().flat_map(move |instance| {
        instance.steps.into_iter().map(move |step| {
            ((step.time - begins).min(i64::from(NEVER) - 1) as u32, WOVEN as u8 + step.number)
        })
    })
}

/// The first purchase that comes back between two milliseconds of a month, and which it is.
fn first_due(
    history: &History,
    facts: &Facts,
    month: i32,
    after: Option<(u32, u8)>,
    from: u32,
    until: u32,
) -> (u32, u8) {
    let mut first = (NEVER, 0);
    let mut left = facts.subscriptions;
    while left > 0 {
        let place = left.trailing_zeros();
        let due = (comes_back(history, facts, place), place as u8);
        if due.0 >= from && due.0 < until && Some(due) > after && due < first {
            first = due;
        }
        left &= left - 1;
    }
    for due in woven(history, facts, month) {
        if due.0 >= from && due.0 < until && Some(due) > after && due < first {
            first = due;
        }
    }
    first
}

/// The number of events of a card.
pub(super) fn count(history: &History, facts: &Facts) -> u32 {
    if facts.sleeps() {
        return 0;
    }
    let (first, last) = months(history, facts);
    let mut holder = facts.holder(history);
    (first..=last)
        .map(|month| {
            let planned = Planned::new(history, facts, &mut holder, month);
            let begins = first_instant(month);
            let (from, until) = (planned.outlook.from - begins, planned.outlook.until - begins);
            let mut recurring = 0;
            let mut left = facts.subscriptions;
            while left > 0 {
                let at = i64::from(comes_back(history, facts, left.trailing_zeros()));
                recurring += u32::from((from..until).contains(&at));
                left &= left - 1;
            }
            for (at, _) in woven(history, facts, month) {
                recurring += u32::from((from..until).contains(&i64::from(at)));
            }
            planned.end - planned.first + recurring
        })
        .sum()
}

/// The first and the last month in which there may be purchases.
fn months(history: &History, facts: &Facts) -> (i32, i32) {
    let plan = &history.context.plan;
    let first = local_day(plan.start().max(facts.issued()));
    (month_of(first), month_of(local_day(plan.as_of() - 1)))
}

impl Agenda {
    pub(super) fn new(history: &History, facts: &Facts) -> Self {
        let mut agenda = Self {
            month: months(history, facts).0 - 1,
            begins: 0,
            until: 0,
            next: NEVER,
            due: NEVER,
            scale: 0,
            k: 0,
            n: 0,
            j: 0,
            end: 0,
            away: NO_CITY,
            leaves: 0,
            returns: 0,
            what: 0,
        };
        if facts.sleeps() {
            agenda.month = NO_MONTH;
        } else {
            agenda.begin_next(history, facts);
        }
        agenda
    }

    /// The time of the next purchase, in milliseconds.
    #[inline]
    pub(super) fn peek(&self) -> Option<i64> {
        (self.month != NO_MONTH).then(|| self.begins() + i64::from(self.next.min(self.due)))
    }

    /// The first instant of the month.
    #[inline]
    fn begins(&self) -> i64 {
        i64::from(self.begins) * 1_000
    }

    /// What is next.
    #[inline]
    pub(super) fn what(&self) -> Next {
        if self.next <= self.due {
            Next::Bought(self.j.into())
        } else {
            Next::Recurring(self.what.into())
        }
    }

    pub(super) const fn month(&self) -> i32 {
        self.month
    }

    /// Goes to the next month that has purchases.
    #[cold]
    fn begin_next(&mut self, history: &History, facts: &Facts) {
        let (_, last) = months(history, facts);
        let mut holder = facts.holder(history);
        while self.month < last {
            self.month += 1;
            let month = self.month;
            let planned = Planned::new(history, facts, &mut holder, month);
            let Outlook { from, until, rate, budget } = planned.outlook;
            if from == until {
                continue;
            }
            let begins = first_instant(month);
            self.begins = seconds(begins);
            self.until = (until - begins) as u32;
            (self.due, self.what) =
                first_due(history, facts, month, None, (from - begins) as u32, self.until);
            (self.n, self.j, self.end) =
                (planned.n as u16, planned.first as u16, planned.end as u16);
            self.next = NEVER;
            if self.j < self.end {
                self.place(history, when(history, facts, month, self.j.into()));
            }
            if self.next == NEVER && self.due == NEVER {
                continue;
            }
            self.scale = history.shopping.scale(budget, rate);
            self.away = NO_CITY;
            if let Some(trip) =
                holder.skeleton.trip(month).filter(|trip| trip.city.index != facts.home().index)
            {
                let first = day_of(month, 1);
                self.away = trip.city.index as u16;
                (self.leaves, self.returns) =
                    ((trip.first - first) as u8, (trip.end - first) as u8);
            }
            return;
        }
        self.month = NO_MONTH;
    }

    /// Finds the time of purchase `j` by its draw.
    #[inline]
    fn place(&mut self, history: &History, when: Word) {
        let parts = history.purchases.month(self.month, self.n.into());
        self.next = (parts.time(self.j.into(), when) - self.begins()) as u32;
    }

    /// Passes what is next; `when` places the purchase after it.
    #[inline]
    pub(super) fn pass(&mut self, history: &History, facts: &Facts, when: Word) {
        self.k += 1;
        if self.next <= self.due {
            self.j += 1;
            if self.j < self.end {
                return self.place(history, when);
            }
            self.next = NEVER;
        } else {
            let passed = Some((self.due, self.what));
            (self.due, self.what) = first_due(history, facts, self.month, passed, 0, self.until);
        }
        if self.next == NEVER && self.due == NEVER {
            self.begin_next(history, facts);
        }
    }

    /// Where the holder is at the time of the next purchase.
    #[inline]
    pub(super) fn whereabouts(&self) -> Place {
        if self.away == NO_CITY {
            return Place::Home;
        }
        let at = i64::from(self.next.min(self.due));
        let (leaves, returns) = (i64::from(self.leaves) * DAY, i64::from(self.returns) * DAY);
        match at {
            _ if at < leaves + DEPARTURE || at >= returns => Place::Home,
            _ if at < leaves + ARRIVAL || at >= returns - DAY + RETURN => Place::OnTheWay,
            _ => Place::Away(self.away),
        }
    }
}

/// A city by its number.
pub(super) fn city(index: u16) -> &'static City {
    &reference().cities.items[index as usize]
}
