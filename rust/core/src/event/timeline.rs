//! When events happen: an intensity by day and by time of day, and its inverse.
//!
//! Event `k` of `n` falls in the `k`-th of `n` parts of equal weight of the history, at a drawn place
//! within it. So its time needs no other event, and times never decrease with `k`.

use crate::brazil::calendar::{
    business_day_of_month, instant, is_business_day, is_session_day, local_day, local_time, weekday,
};
use crate::civil::{from_days, to_days};
use crate::plan::Plan;
use crate::rng::{Search, Word};

const SLOT: i64 = 300_000;
const SLOTS_PER_HOUR: usize = 12;
const SLOTS: usize = 24 * SLOTS_PER_HOUR;
/// Scale of the weights of slots, so that a point names a millisecond.
const FINE: u64 = 256;

/// Weight of movements by local hour (Pix, from the hourly curve of the Banco Central, rounded ≈).
const MOVEMENTS_BY_HOUR: [u64; 24] =
    [12, 7, 5, 4, 5, 9, 20, 38, 55, 68, 78, 84, 95, 86, 80, 80, 82, 88, 92, 86, 74, 58, 38, 22];
/// Weight of card purchases by local hour (≈).
const PURCHASES_BY_HOUR: [u64; 24] =
    [6, 3, 2, 2, 2, 4, 12, 28, 40, 50, 58, 75, 98, 85, 62, 58, 62, 75, 95, 100, 85, 55, 30, 14];
/// Weight by weekday, Monday first (≈).
const MOVEMENTS_BY_WEEKDAY: [u64; 7] = [100, 98, 100, 104, 116, 88, 70];
const PURCHASES_BY_WEEKDAY: [u64; 7] = [90, 92, 95, 100, 118, 122, 98];
/// B3's continuous session, 10:00 to 16:55.
const SESSION: std::ops::Range<usize> = 10 * SLOTS_PER_HOUR..17 * SLOTS_PER_HOUR - 1;

/// Intensity over the days of a history.
#[derive(Debug)]
pub struct Timeline {
    first_day: i32,
    day_weights: Vec<Divisor>,
    days: Search,
    slots: Search,
    slot_weights: Vec<Divisor>,
    start: i64,
    end: i64,
    from: u64,
    span: u64,
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

/// The parts of a history in which the events of one entity lie.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    timeline: &'a Timeline,
    n: Divisor,
    /// Weight of a part, and how much all of them leave.
    each: u64,
    rest: u64,
}

/// Payday is the fifth business day; the days up to it and the last two of the month are busy.
fn busy(day: i32, payday: u64) -> u64 {
    let (year, month, day_of_month) = from_days(day);
    let next_month = crate::civil::add_months(year, month, 1, 1);
    let percent = if is_business_day(day) && business_day_of_month(day) == 5 {
        payday
    } else if day - to_days(year, month, 1) < 8 {
        112
    } else if next_month - day <= 2 {
        110
    } else {
        100
    };
    let december = if month == 12 && day_of_month <= 24 { 120 } else { 100 };
    percent * december
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
    fn new(plan: &Plan, day_weight: impl Fn(i32) -> u64, slot_weights: Vec<u64>) -> Self {
        let (start, end) = (plan.start(), plan.as_of());
        let first_day = local_day(start);
        let day_weights: Vec<u64> = (first_day..=local_day(end)).map(day_weight).collect();
        let slots = Search::new(slot_weights.iter().copied());
        let days = Search::new(day_weights.iter().map(|weight| weight * slots.total()));
        let weights = |values: Vec<u64>| values.into_iter().map(Divisor::new).collect();
        let mut timeline = Self {
            first_day,
            day_weights: weights(day_weights),
            days,
            slots,
            slot_weights: weights(slot_weights),
            start,
            end,
            from: 0,
            span: 0,
        };
        timeline.from = timeline.weight_before(start);
        timeline.span = timeline.weight_before(end) - timeline.from;
        timeline
    }

    /// Movements of accounts: at any hour, more on business days and around payday.
    pub fn movements(plan: &Plan) -> Self {
        let weight = |day| MOVEMENTS_BY_WEEKDAY[weekday(day) as usize] * busy(day, 150) / 1_000;
        Self::new(plan, weight, by_slot(MOVEMENTS_BY_HOUR))
    }

    /// Card purchases: lunch and early evening, Fridays and Saturdays.
    pub fn purchases(plan: &Plan) -> Self {
        let weight = |day| PURCHASES_BY_WEEKDAY[weekday(day) as usize] * busy(day, 130) / 1_000;
        Self::new(plan, weight, by_slot(PURCHASES_BY_HOUR))
    }

    /// Trades: inside the session, busiest after the opening and before the close.
    pub fn session(plan: &Plan) -> Self {
        let weight = |day| if is_session_day(day) { 1_000 } else { 0 };
        let middle = i64::midpoint(SESSION.start as i64, SESSION.end as i64);
        let slots = (0..SLOTS as i64).map(|slot| {
            let from_middle = (slot - middle).unsigned_abs();
            if SESSION.contains(&(slot as usize)) { (40 + from_middle) * FINE } else { 0 }
        });
        Self::new(plan, weight, slots.collect())
    }

    /// Whether nothing can happen: no session falls into the history.
    pub const fn is_empty(&self) -> bool {
        self.span == 0
    }

    fn weight_before(&self, instant: i64) -> u64 {
        let day = (local_day(instant) - self.first_day) as usize;
        let time = local_time(instant);
        let slot = (time / SLOT) as usize;
        let within = self.slot_weights[slot].value * (time % SLOT) as u64 / SLOT as u64;
        self.days.start(day) + self.day_weights[day].value * (self.slots.start(slot) + within)
    }

    /// The parts of `n` events.
    #[inline]
    pub fn parts(&self, n: u32) -> Parts<'_> {
        let n = Divisor::new(n.max(1).into());
        Parts { timeline: self, n, each: self.span / n.value, rest: self.span % n.value }
    }

    /// The time at which the weight before is `point`.
    #[inline]
    fn time_at(&self, point: u64) -> i64 {
        let (day, into_day) = self.days.find(point);
        let weight = self.day_weights[day];
        let of_slots = weight.divide(into_day);
        let (slot, into_slot) = self.slots.find(of_slots);
        let remainder = into_day - of_slots * weight.value;
        // (into_slot + remainder / weight) · SLOT / slot_weight, rounded down once.
        let place = into_slot * SLOT as u64 + weight.divide(remainder * SLOT as u64);
        let within = self.slot_weights[slot].divide(place);
        let time = slot as i64 * SLOT + within as i64;
        instant(self.first_day + day as i32, time).clamp(self.start, self.end - 1)
    }
}

impl Parts<'_> {
    /// Where part `k` begins: span · k / n, rounded down.
    #[inline]
    fn start(&self, k: u64) -> u64 {
        self.each * k + self.n.divide(self.rest * k)
    }

    /// The time of event `k`, in milliseconds; `draw` places it within its part.
    #[inline]
    pub fn time(&self, k: u32, draw: Word) -> i64 {
        let (low, high) = (self.start(k.into()), self.start(u64::from(k) + 1));
        self.timeline.time_at(self.timeline.from + low + draw.below(high - low))
    }

    /// The event in whose part an instant of the history lies: those before it are not later than the
    /// instant, and those after it not earlier.
    pub fn holding(&self, instant: i64) -> u32 {
        let weight = self.timeline.weight_before(instant) - self.timeline.from;
        let span = u128::from(self.timeline.span);
        let mut k = (u128::from(weight) * u128::from(self.n.value) / span) as u64;
        // What rounding makes of it, one at the most.
        while k + 1 < self.n.value && self.start(k + 1) <= weight {
            k += 1;
        }
        k as u32
    }
}
