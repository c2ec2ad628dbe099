//! When events happen: an intensity by day and by time of day, and its inverse.
//!
//! Event `k` of `n` falls in the `k`-th of `n` parts of equal weight of the history, at a drawn place
//! within it. So its time needs no other event, and times never decrease with `k`.

use crate::brazil::calendar::{
    HOUR, Month, instant, is_business_day, is_session_day, local_day, local_time, opens_late,
    session_hours, weekday,
};
use crate::brazil::hours;
use crate::civil::{add_months, from_days, to_days};
use crate::plan::Plan;
use crate::rng::{Search, Word};

const SLOT: i64 = 300_000;
const SLOTS_PER_HOUR: usize = 12;
const SLOTS: usize = 24 * SLOTS_PER_HOUR;
/// Scale of the weights of slots, so that a point names a millisecond.
const FINE: u64 = 256;

/// Weight of card purchases by local hour (≈), on business days and on days off.
const PURCHASES_BY_HOUR: [Hours; 2] = [
    [5, 3, 2, 2, 2, 4, 14, 30, 42, 50, 56, 76, 100, 86, 60, 56, 62, 78, 98, 98, 80, 50, 26, 12],
    [12, 6, 3, 2, 2, 3, 6, 18, 36, 54, 68, 80, 94, 84, 68, 64, 66, 72, 86, 100, 92, 68, 44, 24],
];
/// Weight by weekday, Monday first (≈); holidays count as Sundays.
const MOVEMENTS_BY_WEEKDAY: [u64; 7] = [82, 94, 98, 103, 118, 104, 90];
const PURCHASES_BY_WEEKDAY: [u64; 7] = [90, 92, 95, 100, 118, 122, 98];

/// Events of a month up to which it is divided by a look-up.
const USUAL_OF_A_MONTH: u64 = 1_024;

/// A weight for each hour of the day.
pub type Hours = [u64; 24];

/// Weight of purchases by local hour, on the business days and on the days off of a usual year.
pub fn purchases_of_a_year() -> [Hours; 2] {
    // Ten of 261 weekdays are holidays, which count as Sundays.
    const WEEKDAYS: u64 = 261;
    const HOLIDAYS: u64 = 10;
    let week: u64 = PURCHASES_BY_WEEKDAY[..5].iter().sum();
    let weekend: u64 = PURCHASES_BY_WEEKDAY[5..].iter().sum();
    let off = weekend * WEEKDAYS + 5 * PURCHASES_BY_WEEKDAY[6] * HOLIDAYS;
    let of_days = [week * (WEEKDAYS - HOLIDAYS), off];
    [0, 1].map(|curve: usize| {
        let slots = by_slot(PURCHASES_BY_HOUR[curve]);
        let all: u64 = slots.iter().sum();
        let mut hours = slots.chunks(SLOTS_PER_HOUR).map(|of_hour| of_hour.iter().sum::<u64>());
        std::array::from_fn(|_| hours.next().expect("24 hours") * of_days[curve] / all)
    })
}

/// Intensity over the days of a history.
#[derive(Debug)]
pub struct Timeline {
    first_day: i32,
    days: Search,
    /// For each day its weight, and which of the curves it follows.
    day_weights: Vec<(Divisor, usize)>,
    curves: Vec<Curve>,
    start: i64,
    end: i64,
    from: u64,
    span: u64,
    /// Where each calendar month begins, for entities whose events are drawn month by month: the first of them, and the
    /// weights before each and before the end of the last; and numbers by which a month is divided.
    first_month: i32,
    months: Vec<u64>,
    divisors: Vec<Divisor>,
}

/// Intensity over the slots of a day.
#[derive(Debug)]
struct Curve {
    slots: Search,
    weights: Vec<Divisor>,
}

impl Curve {
    fn new(weights: Vec<u64>) -> Self {
        let slots = Search::new(weights.iter().copied());
        Self { slots, weights: weights.into_iter().map(Divisor::new).collect() }
    }
}

/// A number by which is divided again and again: by multiplication, which is several times faster.
#[derive(Debug, Clone, Copy)]
struct Divisor {
    value: u64,
    /// More than `2^63 / value`, by one at most.
    inverse: u64,
}

impl Divisor {
    fn new(value: u64) -> Self {
        Self { value, inverse: (1 << 63) / value.max(1) + 1 }
    }

    /// `n / value`, for `n · value` below 2^63: then what the inverse is too much by stays below 1.
    #[inline]
    fn divide(self, n: u64) -> u64 {
        debug_assert!(u128::from(n) * u128::from(self.value) < 1 << 63);
        ((u128::from(n) * u128::from(self.inverse)) >> 63) as u64
    }
}

/// Events over a stretch of a history, each in its part of as much intensity as the others' have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spread {
    from: u64,
    span: u64,
    /// A part of the whole, times 2^32.
    step: u32,
}

/// The parts of a calendar month in which the events of one entity lie.
#[derive(Debug, Clone, Copy)]
pub struct MonthParts<'a> {
    timeline: &'a Timeline,
    from: u64,
    span: u64,
    n: Divisor,
}

impl MonthParts<'_> {
    /// Where part `k` begins: span · k / n, rounded down.
    #[inline]
    fn start(&self, k: u64) -> u64 {
        self.n.divide(self.span * k)
    }

    /// The time of event `k`, in milliseconds; `draw` places it within its part.
    #[inline]
    pub fn time(&self, k: u32, draw: Word) -> i64 {
        let (low, high) = (self.start(k.into()), self.start(u64::from(k) + 1));
        self.timeline.time_at(self.from + low + draw.below(high - low))
    }

    /// The event in whose part an instant of the month lies: those before it are not later than the
    /// instant, and those after it not earlier.
    pub fn holding(&self, instant: i64) -> u32 {
        let weight = self.timeline.weight_before(instant) - self.from;
        let mut k = (u128::from(weight) * u128::from(self.n.value) / u128::from(self.span)) as u64;
        // What rounding makes of it, one at the most.
        while k + 1 < self.n.value && self.start(k + 1) <= weight {
            k += 1;
        }
        k.min(self.n.value - 1) as u32
    }
}

/// The days up to payday are busy, and the last two of the month, and those before Christmas.
fn busy(day: i32, payday: u64) -> u64 {
    let (year, month, day_of_month) = from_days(day);
    let percent = if day == Month::of(day).payday() {
        payday
    } else if day_of_month < 9 {
        108
    } else if add_months(year, month, 1, 1) - day <= 2 {
        110
    } else {
        100
    };
    let december = if month == 12 && day_of_month <= 24 { 120 } else { 100 };
    percent * december
}

fn by_weekday(weights: [u64; 7], day: i32) -> u64 {
    const SUNDAY: i32 = 6;
    let holiday = weekday(day) < 5 && !is_business_day(day);
    weights[if holiday { SUNDAY } else { weekday(day) } as usize]
}

/// The second curve is that of days off.
fn day_off(day: i32) -> usize {
    usize::from(!is_business_day(day))
}

/// Hourly weights as weights of slots, by interpolation between the middles of the hours.
fn by_slot(hours: [u64; 24]) -> Vec<u64> {
    (0..SLOTS)
        .map(|slot| {
            let place = slot + SLOTS_PER_HOUR / 2;
            let (hour, part) = (place / SLOTS_PER_HOUR + 23, (place % SLOTS_PER_HOUR) as u64);
            let per_hour = SLOTS_PER_HOUR as u64;
            let (before, after) = (hours[hour % 24], hours[(hour + 1) % 24]);
            (before * (per_hour - part) + after * part) * FINE / per_hour
        })
        .collect()
}

impl Timeline {
    /// `day_weight` says how much happens on a day, and `kind` which of the curves says when.
    fn new(
        plan: &Plan,
        day_weight: impl Fn(i32) -> u64,
        kind: impl Fn(i32) -> usize,
        curves: impl IntoIterator<Item = Vec<u64>>,
    ) -> Self {
        Self::between(plan.start(), plan.as_of(), day_weight, kind, curves)
    }

    fn between(
        start: i64,
        end: i64,
        day_weight: impl Fn(i32) -> u64,
        kind: impl Fn(i32) -> usize,
        curves: impl IntoIterator<Item = Vec<u64>>,
    ) -> Self {
        let first_day = local_day(start);
        let curves: Vec<Curve> = curves.into_iter().map(Curve::new).collect();
        let totals: Vec<u64> = curves.iter().map(|curve| curve.slots.total()).collect();
        let days = first_day..=local_day(end);
        // As much happens on a day whatever the total of its curve.
        let weights: Vec<(u64, usize)> = days
            .map(|day| {
                let curve = kind(day);
                (day_weight(day) * totals[0] / totals[curve], curve)
            })
            .collect();
        let mut timeline = Self {
            first_day,
            days: Search::new(weights.iter().map(|(weight, curve)| weight * totals[*curve])),
            day_weights: weights.iter().map(|(weight, c)| (Divisor::new(*weight), *c)).collect(),
            curves,
            start,
            end,
            from: 0,
            span: 0,
            first_month: 0,
            months: Vec::new(),
            divisors: Vec::new(),
        };
        timeline.from = timeline.weight_before(start);
        timeline.span = timeline.weight_before(end) - timeline.from;
        timeline
    }

    /// Of whole calendar months, from that of the start of a history to that of its end.
    fn of_months(
        plan: &Plan,
        day_weight: impl Fn(i32) -> u64,
        kind: impl Fn(i32) -> usize,
        curves: impl IntoIterator<Item = Vec<u64>>,
    ) -> Self {
        let month = |at: i64| {
            let (year, month, _) = from_days(local_day(at));
            year * 12 + month as i32 - 1
        };
        let first = |month: i32| {
            instant(to_days(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1), 0)
        };
        let (first_month, last) = (month(plan.start()), month(plan.as_of()));
        let ends = first(last + 1);
        let timeline = Self::between(first(first_month), ends, day_weight, kind, curves);
        let months = (first_month..=last + 1).map(|month| timeline.weight_before(first(month)));
        Self {
            first_month,
            months: months.collect(),
            divisors: (0..USUAL_OF_A_MONTH).map(Divisor::new).collect(),
            ..timeline
        }
    }

    /// Movements of accounts: at any hour, more on business days and around payday.
    pub fn movements(plan: &Plan) -> Self {
        let weight = |day| by_weekday(MOVEMENTS_BY_WEEKDAY, day) * busy(day, 125) / 1_000;
        Self::new(plan, weight, day_off, hours::MOVEMENTS.map(by_slot))
    }

    /// Card purchases: lunch and early evening, Fridays and Saturdays.
    pub fn purchases(plan: &Plan) -> Self {
        let weight = |day| by_weekday(PURCHASES_BY_WEEKDAY, day) * busy(day, 130) / 1_000;
        Self::of_months(plan, weight, day_off, PURCHASES_BY_HOUR.map(by_slot))
    }

    /// Trades: inside the session, busiest after the opening and before the close; as many on a day whether
    /// it closes at 16:55 or at 17:55.
    pub fn session(plan: &Plan) -> Self {
        let weight = |day| match day {
            day if !is_session_day(day) => 0,
            day if opens_late(day) => 600,
            _ => 1_000,
        };
        // Those of each hour at which a session opens and closes, whatever days there are of them.
        let kind = |day| {
            let (opens, ends) = session_hours(day);
            2 * usize::from(opens > 10 * HOUR) + usize::from(ends > 17 * HOUR)
        };
        let curves = [(10, 17), (10, 18), (13, 17), (13, 18)].map(|(opens, closes)| {
            let session = opens * SLOTS_PER_HOUR..closes * SLOTS_PER_HOUR - 1;
            let middle = i64::midpoint(session.start as i64, session.end as i64);
            let weight = |slot| (40 + (slot as i64 - middle).unsigned_abs()) * FINE;
            (0..SLOTS).map(|slot| if session.contains(&slot) { weight(slot) } else { 0 }).collect()
        });
        Self::new(plan, weight, kind, curves)
    }

    /// Whether nothing can happen: no session falls into the history.
    pub const fn is_empty(&self) -> bool {
        self.span == 0
    }

    fn weight_before(&self, instant: i64) -> u64 {
        let day = (local_day(instant) - self.first_day) as usize;
        let time = local_time(instant);
        let slot = (time / SLOT) as usize;
        let (weight, curve) = self.day_weights[day];
        let curve = &self.curves[curve];
        let within = curve.weights[slot].value * (time % SLOT) as u64 / SLOT as u64;
        self.days.start(day) + weight.value * (curve.slots.start(slot) + within)
    }

    /// A time of a day of the history, in milliseconds since local midnight, by the intensity over the day; nothing
    /// on a day on which nothing happens.
    #[inline]
    pub fn time_of_day(&self, day: i32, draw: Word) -> Option<i64> {
        let (weight, curve) = self.day_weights[(day - self.first_day) as usize];
        if weight.value == 0 {
            return None;
        }
        let curve = &self.curves[curve];
        let (slot, into_slot) = curve.slots.find(draw.below(curve.slots.total()));
        Some(slot as i64 * SLOT + curve.weights[slot].divide(into_slot * SLOT as u64) as i64)
    }

    /// The parts of `n` events between two instants of the history.
    pub fn spread(&self, since: i64, until: i64, n: u32) -> Spread {
        let from = self.weight_before(since);
        let span = self.weight_before(until) - from;
        Spread { from, span, step: u32::MAX / n.max(1) }
    }

    /// The time of event `j` of a stretch, in milliseconds; `draw` places it within its part.
    #[inline]
    pub fn time_in(&self, spread: &Spread, j: u32, draw: Word) -> i64 {
        let within = ((draw.0 >> 32) * u64::from(spread.step)) >> 32;
        let place = u64::from(spread.step) * u64::from(j) + within;
        let point = ((u128::from(spread.span) * u128::from(place)) >> 32) as u64;
        self.time_at(spread.from + point)
    }

    /// The parts of the `n` events of a calendar month, given as months since the year 0.
    #[inline]
    pub fn month(&self, month: i32, n: u32) -> MonthParts<'_> {
        let place = (month - self.first_month) as usize;
        let (from, to) = (self.months[place], self.months[place + 1]);
        let n = u64::from(n.max(1));
        let divisor = self.divisors.get(n as usize).copied();
        let n = divisor.unwrap_or_else(|| Divisor::new(n));
        MonthParts { timeline: self, from, span: to - from, n }
    }

    /// The time at which the weight before is `point`.
    #[inline]
    fn time_at(&self, point: u64) -> i64 {
        let (day, into_day) = self.days.find(point);
        let (weight, curve) = self.day_weights[day];
        let curve = &self.curves[curve];
        let of_slots = weight.divide(into_day);
        let (slot, into_slot) = curve.slots.find(of_slots);
        let remainder = into_day - of_slots * weight.value;
        // (into_slot + remainder / weight) · SLOT / slot_weight, rounded down once.
        let place = into_slot * SLOT as u64 + weight.divide(remainder * SLOT as u64);
        let within = curve.weights[slot].divide(place);
        let time = slot as i64 * SLOT + within as i64;
        instant(self.first_day + day as i32, time).clamp(self.start, self.end - 1)
    }
}
