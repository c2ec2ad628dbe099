//! What people buy, by the hour of the day, and for how much.

use std::hint::select_unpredictable;

use crate::brazil::calendar::{Day, HOUR, local_time};
use crate::brazil::data::Category;
use crate::brazil::reference;
use crate::entity::customer::log2_q16;
use crate::event::timeline::purchases_of_a_year;
use crate::rng::{Half, Weighted, Word, exp2_q16, fit, normal_q16};

/// Purchases of a card in a month of 30.44 days, in tenths: by so much a share of purchases becomes a chance to have
/// one that comes back.
const MONTHLY_PURCHASES: u64 = 207;
/// Binary logarithm of e, times 2^16.
const LOG2_E: i64 = 94_548;
/// How far amounts may be from those of their category, as a binary logarithm times 2^16.
const MOST: i64 = 170_000;
/// How often an amount is drawn until it is within the bounds of its category.
const TRIES: u32 = 5;
/// Purchases from here on are often paid in installments.
const WORTH_PARCELLING: i64 = 10_000;
/// An installment is of so much, at the least.
const SMALLEST_PARCEL: i64 = 3_000;

/// How amounts end, 32 lots for each [`Pricing`] and for small amounts of it, which are met often enough: to the centavo,
/// ,00, ,50, ,90, ,99, at ten centavos, at fifty, or at what people say at the pump; who fills the tank pays by the litre.
const ENDS: [[u8; 32]; 10] = [
    [0; 32],
    [0; 32],
    lots([7, 3, 0, 14, 8, 0, 0, 0]),
    lots([8, 3, 4, 5, 4, 8, 0, 0]),
    lots([10, 0, 0, 0, 0, 0, 0, 22]),
    lots([10, 0, 0, 0, 0, 0, 0, 22]),
    lots([13, 0, 0, 0, 0, 15, 4, 0]),
    lots([13, 0, 0, 0, 0, 15, 4, 0]),
    lots([6, 18, 0, 8, 0, 0, 0, 0]),
    lots([17, 6, 4, 5, 0, 0, 0, 0]),
];

/// The lots of the ends, by how many each has.
const fn lots(counts: [usize; 8]) -> [u8; 32] {
    let mut lots = [0; 32];
    let (mut end, mut lot) = (0, 0);
    while end < counts.len() {
        let mut left = counts[end];
        while left > 0 {
            lots[lot] = end as u8;
            lot += 1;
            left -= 1;
        }
        end += 1;
    }
    assert!(lot == lots.len(), "32 lots");
    lots
}

/// What people buy, by hour of the day and kind of day.
#[derive(Debug)]
pub struct Shopping {
    /// Categories by hour, on business days and on days off.
    by_hour: [[Weighted; 24]; 2],
    /// Categories of what is bought from afar.
    online: Weighted,
    /// Positions of the categories whose purchases come back, with the chance in 10 000 that a card has
    /// one.
    recurring: Vec<(usize, u32)>,
    /// Binary logarithm of the mean purchase in centavos, times 2^16.
    log_mean: i64,
    /// Which of their favourites people go to, where they keep to one shop, and where they do not.
    ranks: [Weighted; 2],
}

impl Shopping {
    /// From the reference data alone. Over a usual year each category keeps its share of purchases, and
    /// each hour its own.
    #[expect(clippy::new_without_default, reason = "it reads files")]
    pub fn new() -> Self {
        let reference = reference();
        let categories = &reference.categories.items;
        // A billion to a part, so that rounding down does not show.
        let fine = |part: u64| part * 1_000_000_000;
        let chosen = |c: &Category| c.weight * (100 - c.recurring_pct);
        let shares: Vec<u64> = categories.iter().map(|c| fine(chosen(c))).collect();
        // By category and hour, of both kinds of day.
        let mut weights: Vec<Vec<u64>> = categories
            .iter()
            .map(|c| reference.hours[c.profile].iter().flatten().copied().map(fine).collect())
            .collect();
        fit(&mut weights, &shares, &purchases_of_a_year().concat());
        let at = |hour: usize| Weighted::new(weights.iter().map(|category| category[hour]));
        let recurring = (0..).zip(categories).filter(|(_, c)| c.recurring_pct > 0);
        // The mean of a log-normal is median · e^(sigma² / 2).
        let mean = |c: &Category| {
            let sigma = i64::from(c.sigma_pct);
            exp2_q16(c.median, (sigma * sigma * LOG2_E / 20_000) as i32)
        };
        let sum: u64 = categories.iter().map(|c| mean(c) * chosen(c)).sum();
        Self {
            by_hour: [0, 24].map(|first| std::array::from_fn(|hour| at(first + hour))),
            online: Weighted::new(
                categories.iter().map(|c| chosen(c) * u64::from(c.ecommerce_pct * c.ecommerce_pct)),
            ),
            recurring: recurring
                .map(|(position, c)| {
                    let chance = c.weight * c.recurring_pct * MONTHLY_PURCHASES / 100;
                    (position, chance as u32)
                })
                .collect(),
            log_mean: log2_q16(sum / categories.iter().map(chosen).sum::<u64>()),
            ranks: [
                Weighted::new([24, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 2, 1]),
                Weighted::new([54, 17, 9, 6, 5, 4, 3, 2]),
            ],
        }
    }

    #[inline]
    pub(super) fn category(&self, day: Day, time: i64, draw: Word) -> &'static Category {
        let hour = (local_time(time) / HOUR) as usize;
        let choice = &self.by_hour[usize::from(!day.business)][hour];
        &reference().categories.items[choice.pick(draw)]
    }

    /// What is bought by somebody who is on the way.
    pub(super) fn on_the_way(&self, draw: Word) -> &'static Category {
        &reference().categories.items[self.online.pick(draw)]
    }

    /// Which of the purchases that come back a card has, a bit for each: a draw of 32 bits for each, of eight at the
    /// most.
    pub(super) fn subscriptions(&self, words: [Word; 4]) -> u8 {
        let recurring = self.recurring.iter().enumerate();
        recurring.fold(0, |found, (place, (_, chance))| {
            let (high, low) = words[place / 2].halves();
            let has = (if place % 2 == 0 { high } else { low }).chance(*chance);
            found | u8::from(has) << place
        })
    }

    /// The category of the one at a place.
    pub(super) fn recurring(&self, place: u32) -> &'static Category {
        &reference().categories.items[self.recurring[place as usize].0]
    }

    /// How many times the amounts of their categories purchases have, as a binary logarithm times 2^16, where so much
    /// is to be spent in so many purchases, which are given times [`crate::entity::skeleton::ONE`].
    pub(super) fn scale(&self, budget: i64, rate: u64) -> i32 {
        let each = log2_q16(budget.max(1) as u64) - log2_q16(rate.max(1)) + (16 << 16);
        (each - self.log_mean).clamp(-MOST, MOST) as i32
    }

    /// Which of its holder's favourites a purchase is at.
    #[inline]
    pub(super) fn rank(&self, category: &Category, draw: Half) -> usize {
        let low = draw.0.wrapping_mul(0x9E37_79B9);
        self.ranks[usize::from(category.habit)].pick(Word(u64::from(draw.0) << 32 | u64::from(low)))
    }
}

impl Category {
    /// An amount in centavos: of the category's distribution, times 2^(`scale` / 2^16) as far as amounts of the
    /// category follow that, and with an end as prices have it.
    #[inline]
    pub(super) fn amount(&self, scale: i32, size: Half) -> i64 {
        let (low, high) = (self.min as i64, self.max as i64);
        let shift = i64::from(scale) * i64::from(self.elastic_pct) / 100;
        let drawn = |size: Half| {
            let wide = i64::from(normal_q16(size)) * i64::from(self.sigma_pct) * LOG2_E;
            let amount = exp2_q16(self.median, (wide / 6_553_600 + shift) as i32);
            self.priced(amount, Half(size.0 << 14))
        };
        // What is outside its bounds is drawn again.
        let (mut again, mut tries) = (size.0, TRIES);
        let amount = loop {
            let amount = drawn(Half(again));
            if (low..=high).contains(&amount) {
                return amount;
            }
            tries -= 1;
            if tries == 0 {
                break amount;
            }
            again = again.wrapping_mul(0x9E37_79B9).wrapping_add(0x7F4A_7C15);
        };
        // Near the bound that is always passed.
        let width = (if amount < low { low } else { high / 3 }).min(high - low);
        let place = i64::from(Half(again).below(width as u32));
        if amount < low { low + place } else { high - place }
    }

    /// An amount as prices end: all ends that it may have are worked out, since no branch could be foreseen.
    #[inline]
    fn priced(&self, exact: u64, lot: Half) -> i64 {
        let reais = exact / 100 * 100;
        let least = select_unpredictable(exact < 2_500, 2_000, 3_000);
        let pump = (exact + 2_500) / 5_000 * 5_000;
        let pump = select_unpredictable(exact < 4_000, least, pump);
        let ends = [
            exact,
            reais,
            reais + 50,
            reais + 90,
            reais + 99,
            exact / 10 * 10,
            exact / 50 * 50,
            pump,
        ];
        let small = usize::from(exact < 6_000);
        let end = ENDS[self.pricing as usize * 2 + small][(lot.0 >> 27) as usize];
        ends[end as usize] as i64
    }

    /// In how many installments an amount is paid; `draw` has some bits left.
    #[inline]
    pub(super) fn parcels(&self, amount: i64, draw: Half) -> i16 {
        // One branch, as each of the three could not be foreseen.
        let has = self.max_installments >= 2;
        let (worth, wanted) = (amount >= WORTH_PARCELLING, draw.chance(8_300));
        if !(has & worth & wanted) {
            return 1;
        }
        let most = i64::from(self.max_installments).min(amount / SMALLEST_PARCEL) as u32;
        2 + (draw.0 % (most - 1)) as i16
    }
}
