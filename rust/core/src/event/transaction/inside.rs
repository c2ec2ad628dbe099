//! Pix between two customers of the bank: both legs, each found from its own side alone.
//!
//! A week of a month has a mask, and the mask pairs every customer with the one whose row differs by it: an
//! involution, so that each side finds the other without a look-up. Masks stay within [`CIRCLE`] rows, so a
//! pair meets again, and a partner is beyond the customers of a load only in its last circle. Whether they pay, when,
//! who and how much are draws of the pair.

use super::amounts::round;
use crate::brazil::calendar::{Month, instant, local_day};
use crate::brazil::data::Sums;
use crate::brazil::hours::{DAYLIGHT, time_between};
use crate::entity::Context;
use crate::entity::holder::Holder;
use crate::entity::skeleton::{ONE, Skeleton, times};
use crate::event::History;
use crate::plan::MAX_CUSTOMERS;
use crate::rng::{Domain, Rng, Word, log_normal};

/// Rows within which customers pay one another.
pub const CIRCLE: u64 = 128;
/// Weeks of a month in which a pair may meet; what is left of the month has none.
pub(super) const WEEKS: usize = 4;
/// Of 65 536 weeks of two customers of usual activity, those in which one pays the other.
const RATE: u64 = 16_000;
/// No sum is above this, in centavos.
const MOST: i64 = 500_000;

/// A customer's side of a payment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leg {
    /// Milliseconds.
    pub(super) time: i64,
    /// Whether the customer pays.
    pub(super) pays: bool,
    /// Row of the other customer.
    pub(super) partner: u64,
    /// Centavos.
    pub(super) amount: i64,
    /// For the end-to-end id.
    pub(super) id: Word,
}

/// What a customer's row differs by from that of their partner, by month and week.
#[derive(Debug)]
pub struct Masks {
    /// The number of the first month.
    first: i32,
    all: Vec<[u64; WEEKS]>,
}

impl Masks {
    /// Those of the months of a history, and of the month before.
    pub fn new(rng: &Rng, months: &[Month]) -> Self {
        let first = months.first().map_or(0, |month| month.number) - 1;
        let mask = |month: i32, week: usize| {
            let k = (month as u64) << 8 | week as u64;
            let [mask, reach, ..] = rng.four(Domain::Inside, u64::MAX >> 16, k, 0);
            // Near ones meet more often.
            let bits = 1 + reach.below(7).min(reach.halves().1.below(7).into());
            1 + mask.below((1 << bits) - 1)
        };
        let of_month = |month| std::array::from_fn(|week| mask(month, week));
        Self { first, all: (first..=first + months.len() as i32).map(of_month).collect() }
    }

    fn of(&self, month: i32) -> [u64; WEEKS] {
        self.all[(month - self.first) as usize]
    }
}

/// What a payment depends on of a customer.
#[derive(Debug, Clone, Copy)]
struct Side {
    row: u64,
    life: Skeleton,
    joined_at: i64,
}

impl Side {
    fn of(context: &Context, row: u64) -> Self {
        Holder::with(context, row, |holder| Self {
            row,
            life: *holder.life(context),
            joined_at: holder.customer.created_at,
        })
    }
}

/// The row of who is on the other side of what a customer pays or gets from another at an instant, by the life and the
/// opening of their CORRENTE account. It may be beyond the customers of a plan.
pub fn partner_at(history: &History, life: &Skeleton, joined_at: i64, time: i64) -> Option<u64> {
    let day = local_day(time);
    let month = history.months.iter().rev().find(|month| month.first_day <= day)?;
    leg_at(history, life, joined_at, month, time).map(|leg| leg.partner)
}

/// The customer's side of the payment at an instant of a month, if there is one: only its week is looked at.
pub(super) fn leg_at(
    history: &History,
    life: &Skeleton,
    joined_at: i64,
    month: &Month,
    time: i64,
) -> Option<Leg> {
    let week = (local_day(time) - month.first_day) as usize / 7;
    let partner = life.row() ^ history.masks.of(month.number).get(week)?;
    let place = (life.row().min(partner), (month.number as u64) << 8 | week as u64);
    let [draws] = history.context.rng.fours_of(Domain::Inside, [place], 1);
    let own = Side { row: life.row(), life: *life, joined_at };
    let found = leg(&history.context, &own, partner, (month, week), draws);
    found.filter(|leg| leg.time == time)
}

/// How probable a customer's part in a payment is, of 65 536.
fn rate(life: &Skeleton) -> u64 {
    if life.dormant {
        return 0;
    }
    RATE * u64::from(life.activity) / ONE
}

/// The customer's side of what happens between them and their partner of each week of a month; of a customer whose
/// standing is good in it.
pub(super) fn legs(
    history: &History,
    life: &Skeleton,
    joined_at: i64,
    month: &Month,
) -> [Option<Leg>; WEEKS] {
    let partners = history.masks.of(month.number).map(|mask| life.row() ^ mask);
    let mut week = 0;
    let places = partners.map(|partner| {
        week += 1;
        (life.row().min(partner), (month.number as u64) << 8 | (week - 1))
    });
    let draws = history.context.rng.fours_of(Domain::Inside, places, 1);
    let own = Side { row: life.row(), life: *life, joined_at };
    std::array::from_fn(|week| {
        leg(&history.context, &own, partners[week], (month, week), draws[week])
    })
}

fn leg(
    context: &Context,
    own: &Side,
    partner: u64,
    (month, week): (&Month, usize),
    [happens, when, size, id]: [Word; 4],
) -> Option<Leg> {
    let (happens, sum) = happens.halves();
    let chance = u64::from(happens.0 >> 16);
    // Within the plan's largest possible bank, so that a partner does not depend on the load.
    if partner >= MAX_CUSTOMERS || chance >= rate(&own.life) {
        return None;
    }
    let other = Side::of(context, partner);
    if chance >= rate(&other.life) || !other.life.standing(month.number).is_good() {
        return None;
    }
    let (day, time) = when.halves();
    let day = month.first_day + 7 * week as i32 + day.below(7) as i32;
    // In the day, below the night cap.
    let time = instant(day, time_between(DAYLIGHT, time));
    let (size, side) = size.halves();
    let pays = (side.0 & 1 == 0) == (own.row < partner);
    let payer = if pays { own.life.income } else { other.life.income };
    let scale = ((payer as u64 * ONE / 300_000) * ONE).isqrt().clamp(ONE / 2, 5 * ONE);
    let amount = round(Sums::Mixed, log_normal(size, times(6_500, scale) as u64, 120) as i64, sum);
    // Who joins later than that, or the day before, does not pay yet; who leaves on that day or has left, no more.
    let known = day > 1 + local_day(own.joined_at.max(other.joined_at));
    let stay = own.life.stays_through(day) && other.life.stays_through(day);
    (known && stay).then_some(Leg { time, pays, partner, amount: amount.clamp(500, MOST), id })
}
